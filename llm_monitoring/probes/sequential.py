"""Paired shares looked at more than once: score statistics of a difference, and limits that hold over all looks."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq

GAMMA = -1.0  # spends less early than Pocock's limits (about 1), more than those of O'Brien and Fleming (about -4)
GRID = 401


def paired_score(lost: int, won: int, n: int, difference: float, correction: float = 0.0) -> float:
    """Tango's score statistic [1]_ of n pairs: about standard normal where `difference` is the true one.

    Parameters
    ----------
    lost, won : int
        Pairs that passed before only, and after only.
    n : int
        All pairs.
    difference : float
        Share passed after minus share passed before, -1 to 1.
    correction : float
        Taken off the distance of won - lost from its expectation; half a pair keeps the error rate of few cases.

    References
    ----------
    .. [1] Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
       design, Statistics in Medicine 17 (1998).

    Examples
    --------
    McNemar's statistic where the difference is 0, (4 - 9) / sqrt(13):

    >>> round(paired_score(lost=9, won=4, n=50, difference=0), 3)
    -1.387
    """
    linear = lost + won - (2 * n + lost - won) * difference
    root = np.sqrt(max(linear**2 + 8 * n * lost * difference * (1 - difference), 0.0))
    share = (linear + root) / (4 * n)  # of the lost pairs, the likeliest given the difference
    variance = n * (2 * share + difference - difference**2)
    distance = won - lost - n * difference
    distance = float(np.sign(distance) * max(abs(distance) - correction, 0.0))
    if variance <= 1e-12:
        return 0.0 if abs(distance) < 1e-9 else float(np.sign(distance) * np.inf)
    return float(distance / np.sqrt(variance))


def score_interval(lost: int, won: int, n: int, limit: float, correction: float = 0.0) -> tuple[float, float]:
    """All differences whose score statistic is within the limit.

    >>> low, high = score_interval(0, 0, 29, stats.norm.ppf(0.95))  # no pair differs: 1.645**2 / (29 + 1.645**2)
    >>> round(low, 4), round(high, 4)
    (-0.0853, 0.0853)
    """
    middle = (won - lost) / n

    def beyond(difference: float) -> float:
        return abs(paired_score(lost, won, n, difference, correction)) - limit

    def end(edge: float) -> float:
        near = edge * (1 - 1e-9)  # at the very edge the variance is none
        if abs(middle - edge) < 1e-8 or beyond(near) <= 0:
            return edge
        return float(brentq(beyond, middle, near, xtol=1e-7))

    return end(-1.0), end(1.0)


def spent(fraction: float, alpha: float) -> float:
    """How much of alpha may be used up when this fraction of the cases is known (Hwang, Shih and DeCani 1990).

    >>> round(spent(0.5, 0.05), 4), spent(1, 0.05)
    (0.0189, 0.05)
    """
    return float(alpha * (1 - np.exp(-GAMMA * min(fraction, 1.0))) / (1 - np.exp(-GAMMA)))


def limits(counts: tuple[int, ...], total: int, alpha: float, last: bool = False) -> list[float]:
    """Limits of a standard normal statistic looked at after so many pairs: one-sided alpha over all looks together.

    Parameters
    ----------
    counts : tuple of int
        Pairs known at each look so far, rising.
    total : int
        Pairs there will be at the end.
    alpha : float
    last : bool
        The last of the counts is the end, whatever total was planned: all of alpha is used up.

    Returns
    -------
    list of float
        One limit a look; an earlier one does not change as looks are added.

    Notes
    -----
    By recursive integration of the density of the sums that have not crossed (Armitage, McPherson and Rowe 1969).

    Examples
    --------
    >>> [round(limit, 2) for limit in limits((400,), 400, 0.05)]
    [1.64]
    """
    shown = [_look(counts[: k + 1], total, alpha, last and k == len(counts) - 1) for k in range(len(counts))]
    return [look.limit for look in shown]


class _Look(NamedTuple):
    limit: float
    fraction: float
    sums: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=512)
def _look(counts: tuple[int, ...], total: int, alpha: float, last: bool) -> _Look:
    """The limit of the last look, and the density of the sums that have not crossed by then, as points and weights."""
    t = counts[-1] / max(total, counts[-1])
    allowed = alpha if last else spent(t, alpha)
    if len(counts) == 1:
        limit = float(stats.norm.isf(allowed))
        sums = _points(limit, t)
        return _Look(limit, t, sums, stats.norm.pdf(sums, scale=np.sqrt(t)) * _rule(sums))
    before = _look(counts[:-1], total, alpha, False)
    spread = np.sqrt(max(t - before.fraction, 1e-9))
    target = max(allowed - spent(before.fraction, alpha), 1e-12)

    def excess(z: float) -> float:
        return float(before.weights @ stats.norm.sf((z * np.sqrt(t) - before.sums) / spread)) - target

    limit = float(brentq(excess, -2, 12))
    sums = _points(limit, t)
    density = stats.norm.pdf((sums[:, None] - before.sums[None, :]) / spread) @ before.weights / spread
    return _Look(limit, t, sums, density * _rule(sums))


def _points(limit: float, fraction: float) -> np.ndarray:
    return np.linspace(-8 * np.sqrt(fraction), limit * np.sqrt(fraction), GRID)


def _rule(points: np.ndarray) -> np.ndarray:
    weights = np.full(len(points), points[1] - points[0])
    weights[[0, -1]] /= 2
    return weights
