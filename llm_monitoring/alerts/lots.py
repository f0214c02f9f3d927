"""Windows that hold too little to be judged, put together one after the other until they hold enough."""

from __future__ import annotations

import numpy as np


def pools(n: np.ndarray, enough: float) -> tuple[np.ndarray, np.ndarray]:
    """Windows put together, from the first on, until they hold `enough`: the last of each lot, and where it began.

    >>> last, begin = pools(np.array([30, 12, 0, 9, 25, 4]), 20)
    >>> last.tolist(), begin.tolist()
    ([True, False, False, True, True, False], [0, 1, 1, 1, 4, 5])
    """
    last, begin = np.zeros(len(n), dtype=bool), np.zeros(len(n), dtype=int)
    first, total = 0, 0.0
    for i, one in enumerate(n.tolist()):
        begin[i] = first
        total += one
        if total >= enough:
            last[i], first, total = True, i + 1, 0.0
    return last, begin


def together(values: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Sums from the beginning of each window's lot to itself."""
    sums = np.r_[0.0, np.cumsum(values)]
    return sums[1:] - sums[begin]
