"""Scores of two raters of the same items, item by item."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from llm_monitoring.errors import ConfigError, quote


def scores(given: ArrayLike, name: str) -> np.ndarray:
    """Scores as floats, NaN where one is unknown."""
    try:
        return np.asarray(given, float).ravel()
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: {quote(given)}; expected one number per item") from None


def paired(a: ArrayLike, b: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as floats, without the items that one of them lacks."""
    first, second = scores(a, name), scores(b, name)
    if len(first) != len(second):
        raise ConfigError(f"{name}: {len(first)} and {len(second)} scores; expected one of each per item")
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        raise ConfigError(f"{name}: no item that both scored")
    return first[both], second[both]
