"""Scores of two raters of the same items, item by item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from llm_monitoring.errors import ConfigError

if TYPE_CHECKING:
    pass


def paired(a: ArrayLike, b: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as floats, without the items that one of them lacks."""
    first, second = np.asarray(a, float).ravel(), np.asarray(b, float).ravel()
    if len(first) != len(second):
        raise ConfigError(f"{name}: {len(first)} and {len(second)} scores; expected one of each per item")
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        raise ConfigError(f"{name}: no item that both scored")
    return first[both], second[both]
