"""Quantiles and chances of the common distributions, from `scipy.special` alone: `scipy.stats` takes most of a second to import.

All take arrays. A test holds them equal to `scipy.stats`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special


def normal_quantile(q: Any) -> Any:
    """Quantile of the standard normal distribution.

    >>> round(float(normal_quantile(0.975)), 4)
    1.96
    """
    return special.ndtri(q)


def student_quantile(q: Any, freedom: Any) -> Any:
    """Quantile of Student's t.

    >>> round(float(student_quantile(0.975, 9)), 4)
    2.2622
    """
    return special.stdtrit(freedom, q)


def chi2_quantile(q: Any, freedom: Any) -> Any:
    """Quantile of the chi-squared distribution; NaN where it has no degree of freedom.

    >>> round(float(chi2_quantile(0.95, 2)), 4)
    5.9915
    """
    freedom = np.asarray(freedom, float)
    return 2 * special.gammaincinv(np.where(freedom > 0, freedom, np.nan) / 2, q)


def poisson_least(k: Any, tail: float) -> Any:
    """Lower end of the exact interval of a Poisson mean of which `k` came (Garwood 1936); 0 where none came.

    >>> round(float(poisson_least(3, 0.025)), 4), float(poisson_least(0, 0.025))
    (0.6187, 0.0)
    """
    return np.nan_to_num(chi2_quantile(tail, 2 * k) / 2)


def poisson_most(k: Any, tail: float) -> Any:
    """Upper end of that interval.

    >>> round(float(poisson_most(3, 0.025)), 4)
    8.7673
    """
    return chi2_quantile(1 - tail, 2 * k + 2) / 2


def beta_quantile(q: Any, a: Any, b: Any) -> Any:
    """Quantile of the beta distribution.

    >>> float(beta_quantile(0.5, 3, 3))
    0.5
    """
    return special.betaincinv(a, b, q)


def binomial(k: Any, n: Any, share: Any) -> Any:
    """Chance of exactly `k` of `n`.

    >>> binomial([0, 1, 2], 2, 0.5).round(4).tolist()
    [0.25, 0.5, 0.25]
    """
    k = np.asarray(k, float)
    return np.exp(_log_ways(n, k) + special.xlogy(k, share) + special.xlog1py(n - k, -share))


def binomial_at_least(k: Any, n: Any, share: Any) -> np.ndarray:
    """Chance of `k` or more of `n`.

    >>> float(binomial_at_least(2, 2, 0.5)), float(binomial_at_least(0, 2, 0.5))
    (0.25, 1.0)
    """
    k, n, share = np.broadcast_arrays(*(np.asarray(each, float) for each in (k, n, share)))
    inside = (k > 0) & (k <= n)
    chance = special.betainc(np.where(inside, k, 1), np.where(inside, n - k + 1, 1), share)
    return np.where(inside, chance, np.where(k > n, 0.0, 1.0))


def binomial_quantile(q: Any, n: Any, share: Any) -> np.ndarray:
    """The smallest number that is not exceeded with a chance of at least `q`.

    >>> binomial_quantile([0.025, 0.975], 100, 0.5).tolist()
    [40.0, 60.0]
    """
    most = np.ceil(special.bdtrik(q, n, share))
    least = np.maximum(most - 1, 0)
    return np.where(1 - binomial_at_least(least + 1, n, share) >= q, least, most)


def hypergeometric(k: Any, drawn: int, marked: int, total: int) -> np.ndarray:
    """Chance that `k` of those `drawn` from `total` are among the `marked` ones.

    >>> hypergeometric([0, 1, 2], 2, 2, 4).round(4).tolist()
    [0.1667, 0.6667, 0.1667]
    """
    k = np.asarray(k, float)
    there = (k >= max(drawn + marked - total, 0)) & (k <= min(drawn, marked))
    k = np.where(there, k, max(drawn + marked - total, 0))
    ways = _log_ways(marked, k) + _log_ways(total - marked, drawn - k) - _log_ways(total, drawn)
    return np.where(there, np.exp(ways), 0.0)


def _log_ways(n: Any, k: Any) -> Any:
    """Logarithm of the number of ways to choose `k` of `n`."""
    return -special.betaln(n - k + 1, k + 1) - np.log1p(n)
