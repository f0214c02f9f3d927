"""Falls that count only once they have lasted, as those of volume do."""

from __future__ import annotations

from typing import Any

import numpy as np


def all_down(latest: Any, needed: int) -> bool:
    """Whether so many windows are there, all below the centre, the least by half as much as the most."""
    return len(latest) == needed and bool(max(latest) <= 0.5 * min(latest))


def lasting(outside: np.ndarray, rises: np.ndarray, error: np.ndarray, needed: int) -> np.ndarray:
    """The windows outside, but for those of a fall until it has lasted."""
    alarm, fallen = outside.copy(), False
    for i in range(len(alarm)):
        latest = error[max(i + 1 - needed, 0) : i + 1]
        fallen = bool(outside[i] and not rises[i] and (fallen or all_down(latest, needed)))
        alarm[i] &= rises[i] or fallen
    return alarm
