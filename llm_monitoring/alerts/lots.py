"""Windows that hold too little to be judged, put together one after the other until they hold enough."""

from __future__ import annotations

import numpy as np


def regular(usual: np.ndarray, enough: float) -> np.ndarray:
    """Which hours of a day end a lot, where lots are to be the same every day and usually hold `enough`.

    From after the busiest hour on, which ends the last one.

    >>> regular(np.array([1.0, 2.0, 3.0, 9.0, 20.0, 4.0]), 5).tolist()
    [True, False, True, True, True, False]
    """
    last, so_far, busiest = np.zeros(len(usual), dtype=bool), 0.0, int(usual.argmax())
    for at in (np.arange(len(usual)) + busiest + 1) % len(usual):
        so_far += usual[at]
        if so_far >= enough or at == busiest:
            last[at], so_far = True, 0.0
    return last


def pools(n: np.ndarray, enough: float, told: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Windows put together, from the first on, until they hold `enough`: the last of each lot, and where it began.

    Where `told` is given, only windows of these may be the last.

    >>> last, begin = pools(np.array([30, 12, 0, 9, 25, 4]), 20)
    >>> last.tolist(), begin.tolist()
    ([True, False, False, True, True, False], [0, 1, 1, 1, 4, 5])
    """
    last, begin = np.zeros(len(n), dtype=bool), np.zeros(len(n), dtype=int)
    first, total = 0, 0.0
    for i, one in enumerate(n.tolist()):
        begin[i] = first
        total += one
        if total >= enough and (told is None or told[i]):
            last[i], first, total = True, i + 1, 0.0
    return last, begin


def own_hours(begin: np.ndarray, n: np.ndarray, enough: float, told: np.ndarray) -> np.ndarray:
    """Lots without what was left of the hours before them, where their own hours hold enough; where each now begins.

    What few requests of a Sunday night are left does not go into the morning, which the baseline knows without them. `told` are
    the hours that end a lot.

    >>> n, told = np.array([4, 20, 5, 3, 9]), np.array([True, True, True, False, True])
    >>> own_hours(np.array([0, 0, 2, 2, 2]), n, 10, told).tolist()
    [0, 1, 2, 2, 3]
    """
    since = np.maximum.accumulate(np.where(np.r_[True, told[:-1]], np.arange(len(n)), 0))
    return np.where(together(n, since) >= enough, since, begin)


def together(values: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Sums from the beginning of each window's lot to itself."""
    sums = np.r_[0.0, np.cumsum(values)]
    return sums[1:] - sums[begin]
