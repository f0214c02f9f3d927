"""Intervals for means, shares and differences: numbers in, numbers out, no tables.

Every function takes counts or arrays and returns floats or arrays; what cannot be estimated is NaN, never 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from llm_monitoring.distributions import beta_quantile, binomial_quantile, normal_quantile, student_quantile


class Interval(NamedTuple):
    """An estimate with the ends of its interval."""

    estimate: float
    low: float
    high: float


def wilson(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a share [1]_.

    Parameters
    ----------
    k, n : array_like
        Successes and trials, same shape (or broadcast). Where `n` is 0 both ends are NaN.
    level : float
        Confidence level.

    Returns
    -------
    low, high : ndarray
        Ends of the interval, in [0, 1].

    References
    ----------
    .. [1] Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    Examples
    --------
    >>> low, high = wilson(9, 10)
    >>> print(f"{low:.4f} {high:.4f}")
    0.5958 0.9821
    """
    k, n = np.asarray(k, float), np.asarray(n, float)
    z = normal_quantile((1 + level) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = np.where(k == 0, 0.0, np.clip(middle - half, 0, 1))
    high = np.where(k == n, 1.0, np.clip(middle + half, 0, 1))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def newcombe(k_before: float, n_before: float, k_after: float, n_after: float, level: float = 0.95) -> Interval:
    """Difference of two independent shares, after minus before, by Newcombe's hybrid of two Wilson intervals [1]_.

    References
    ----------
    .. [1] Newcombe, Interval estimation for the difference between independent proportions, Stat. Med. 17 (1998),
       method 10.

    Examples
    --------
    >>> newcombe(48, 80, 56, 70)
    Interval(estimate=0.2..., low=0.0524..., high=0.3338...)
    """
    if not (n_before > 0 and n_after > 0):
        return Interval(np.nan, np.nan, np.nan)
    before, after = k_before / n_before, k_after / n_after
    (l0, h0), (l1, h1) = wilson(k_before, n_before, level), wilson(k_after, n_after, level)
    change = after - before
    low = change - np.hypot(after - l1, h0 - before)
    high = change + np.hypot(h1 - after, before - l0)
    return Interval(float(change), float(low), float(high))


def clopper_pearson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share; NaN for no trials.

    >>> low, high = clopper_pearson(13, 20)
    >>> print(f"{low:.2f} {high:.2f}")
    0.41 0.85
    """
    if n <= 0:
        return np.nan, np.nan
    a = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta_quantile(a, k, n - k + 1))
    high = 1.0 if k == n else float(beta_quantile(1 - a, k + 1, n - k))
    return low, high


def anytime_share(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share that stays valid whenever you stop looking: Robbins' beta mixture, Jeffreys' prior [1]_.

    References
    ----------
    .. [1] Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 41 (1970).

    Examples
    --------
    >>> low, high = anytime_share(13, 20)
    >>> print(f"{low:.2f} {high:.2f}")
    0.31 0.90
    """
    grid = np.linspace(0.0005, 0.9995, 1000)
    evidence = (
        special.betaln(k + 0.5, n - k + 0.5) - special.betaln(0.5, 0.5) - k * np.log(grid) - (n - k) * np.log1p(-grid)
    )
    kept = grid[evidence < np.log(1 / (1 - level))]
    return (0.0 if k == 0 else float(kept.min())), (1.0 if k == n else float(kept.max()))


def mean_t(values: ArrayLike, level: float = 0.95, weights: ArrayLike | None = None) -> Interval:
    """Mean with Student's t interval; the ends are NaN below two values. With weights as many rows as they are worth.

    >>> print("%.2f (%.2f to %.2f)" % mean_t([3, 4, 5, 4]))
    4.00 (2.70 to 5.30)
    """
    mean, variance, n = _moments(values, weights)
    if n < 2:
        return Interval(mean, np.nan, np.nan)
    half = float(student_quantile((1 + level) / 2, n - 1) * np.sqrt(variance / n))
    return Interval(mean, mean - half, mean + half)


def mean_from_sums(n: ArrayLike, total: ArrayLike, squares: ArrayLike, level: float = 0.95):
    """Ends of Student's t interval of means, from counts, sums and sums of squares; NaN below two values.

    >>> low, high = mean_from_sums([4], [16], [66])
    >>> print(f"{low[0]:.2f} {high[0]:.2f}")
    2.70 5.30
    """
    count, sums, squared = (np.asarray(each, float) for each in (n, total, squares))
    count = np.where(count > 1, count, np.nan)
    mean = sums / count
    variance = np.maximum(squared / count - mean**2, 0) / (count - 1)
    half = student_quantile((1 + level) / 2, count - 1) * np.sqrt(variance)
    return mean - half, mean + half


def welch(
    before: ArrayLike,
    after: ArrayLike,
    level: float = 0.95,
    weights: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
) -> Interval:
    """Difference of two means, after minus before, unequal variances (Welch).

    >>> print("%.2f (%.2f to %.2f)" % welch([4, 5, 4, 5], [3, 2, 3, 4]))
    -1.50 (-2.76 to -0.24)
    """
    (mean_a, var_a, n_a), (mean_b, var_b, n_b) = _moments(before, weights[0]), _moments(after, weights[1])
    change = mean_b - mean_a
    if n_a < 2 or n_b < 2:
        return Interval(change, np.nan, np.nan)
    va, vb = var_a / n_a, var_b / n_b
    if va + vb == 0:
        return Interval(change, change, change)
    freedom = (va + vb) ** 2 / (va**2 / (n_a - 1) + vb**2 / (n_b - 1))
    half = float(student_quantile((1 + level) / 2, freedom) * np.sqrt(va + vb))
    return Interval(change, change - half, change + half)


def worth(weights: ArrayLike) -> float:
    """How many rows of equal weight some rows of unequal weight are worth (Kish).

    >>> worth([1, 1, 1, 1]), round(worth([1, 1, 5, 5]), 2)
    (4.0, 2.77)
    """
    w = np.asarray(weights, float)
    return float(w.sum() ** 2 / (w**2).sum()) if len(w) else 0.0


def _moments(values: ArrayLike, weights: ArrayLike | None) -> tuple[float, float, float]:
    """Mean, variance and effective number of the finite values."""
    x = np.asarray(values, float)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    x, w = x[np.isfinite(x)], w[np.isfinite(x)]
    if not len(x):
        return np.nan, np.nan, 0.0
    n, mean = worth(w), float(np.average(x, weights=w))
    return mean, float(np.average((x - mean) ** 2, weights=w)) * n / (n - 1) if n > 1 else np.nan, n


def quantile(values: ArrayLike, q: float, level: float = 0.95) -> Interval:
    """Quantile with its distribution-free interval from order statistics; unknown ends are NaN.

    >>> quantile(range(1, 101), 0.5)
    Interval(estimate=50.5, low=40.0, high=61.0)
    """
    x = np.sort(np.asarray(values, float))
    x = x[np.isfinite(x)]
    n = len(x)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    low, high = (int(binomial_quantile(p, n, q)) for p in ((1 - level) / 2, (1 + level) / 2))
    ends = (x[low - 1] if low >= 1 else np.nan, x[high] if high < n else np.nan)
    return Interval(float(np.quantile(x, q)), float(ends[0]), float(ends[1]))


def bootstrap(values: ArrayLike, statistic, level: float = 0.95, repetitions: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap of a statistic that takes ``axis``; rows in another order give the same interval.

    >>> import numpy as np
    >>> bootstrap([1.0, 2.0, 3.0, 4.0, 5.0], np.median).estimate
    3.0
    """
    x = np.sort(np.asarray(values, float))
    x = x[np.isfinite(x)]
    if len(x) < 2:
        return Interval(float(x[0]) if len(x) else np.nan, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    step = max(1, 4_000_000 // len(x))
    draws = np.concatenate(
        [
            statistic(x[rng.integers(0, len(x), (min(step, repetitions - done), len(x)))], axis=1)
            for done in range(0, repetitions, step)
        ]
    )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(x, axis=0)), float(low), float(high))
