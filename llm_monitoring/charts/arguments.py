"""Whether a parameter is the number that a chart can use. The sentences stand where the parameters are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llm_monitoring.errors import ConfigError, quote


def is_number(
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> bool:
    """Whether the value is a finite number in the range; True and False are no numbers.

    >>> is_number(0.5, above=0, most=1), is_number("0.5"), is_number(True), is_number(float("nan"))
    (True, False, False, False)
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(math.isfinite(value) and above < value < below and least <= value <= most)


def is_whole(value: Any, least: int = 0) -> bool:
    """Whether the value is a whole number of at least `least`.

    >>> is_whole(7), is_whole(7.0), is_whole(-1)
    (True, False, False)
    """
    return bool(isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least)


def expect(fine: bool, owner: str, wanted: str, **given: Any) -> None:
    """Refuse parameters that are not what was wanted.

    >>> expect(is_whole(1.5), "ControlChart", "a whole number", seed=1.5)
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: ControlChart(seed=1.5); expected a whole number
    """
    if not fine:
        shown = ", ".join(f"{name}={quote(value)}" for name, value in given.items())
        raise ConfigError(f"{owner}({shown}); expected {wanted}")
