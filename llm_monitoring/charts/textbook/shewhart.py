"""Shewhart constants, and limits of p charts: binomial, and Laney's p' for windows that vary more than that."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import gammaln, ndtr

from llm_monitoring.charts.arguments import expect, is_number
from llm_monitoring.errors import ConfigError, quote


def shewhart_constants(n: int) -> dict[str, float]:
    """Constants of Xbar, R and S charts for normal subgroups of n values, computed by quadrature.

    Parameters
    ----------
    n : int
        Values in a subgroup, 2 to 1,000.

    Returns
    -------
    dict
        A2, A3, c4, B3, B4, B5, B6, d2, d3, D3, D4, E2 (Montgomery 2013, appendix VI).

    >>> {name: round(value, 3) for name, value in shewhart_constants(5).items() if name in ("A2", "D4", "d2")}
    {'A2': 0.577, 'd2': 2.326, 'D4': 2.114}
    """
    if not (isinstance(n, int | np.integer) and 2 <= n <= 1000):
        raise ConfigError(f"shewhart_constants(n={quote(n)}); expected a whole number from 2 to 1000")
    c4 = float(np.exp(gammaln(n / 2) - gammaln((n - 1) / 2)) * np.sqrt(2 / (n - 1)))
    d2, d3 = _range_moments(int(n))
    around = float(3 * np.sqrt(1 - c4**2))
    return {
        "A2": float(3 / (d2 * np.sqrt(n))), "A3": float(3 / (c4 * np.sqrt(n))), "c4": c4,
        "B3": max(0.0, 1 - around / c4), "B4": 1 + around / c4, "B5": max(0.0, c4 - around), "B6": c4 + around,
        "d2": d2, "d3": d3, "D3": max(0.0, 1 - 3 * d3 / d2), "D4": 1 + 3 * d3 / d2, "E2": 3 / d2,
    }  # fmt: skip


def p_limits(events: ArrayLike, n: ArrayLike, *, L: float = 3.0) -> pd.DataFrame:
    """Limits of a p chart: binomial sampling error only, no day effect.

    Parameters
    ----------
    events, n : array
        Events and answers per window.
    L : float
        Limit in standard errors.

    Returns
    -------
    DataFrame
        `value`, `center`, `lower`, `upper`, `alarm`, one row per window.

    >>> p_limits([5, 4, 30], [100, 100, 100])["alarm"].tolist()
    [False, False, True]
    """
    return _p_chart(events, n, L, spread=1.0)


def laney_limits(events: ArrayLike, n: ArrayLike, *, L: float = 3.0) -> pd.DataFrame:
    """Limits of Laney's p' chart: sampling error times the sd of the z values, from their moving ranges [1]_.

    Parameters and columns as for `p_limits`, and `sigma_z` (1 where the windows vary as binomial ones).

    References
    ----------
    .. [1] Laney 2002, Improved control charts for attributes.

    >>> float(laney_limits([500, 560, 470, 540], [10_000] * 4)["sigma_z"].iloc[0].round(1))
    2.9
    """
    table = _p_chart(events, n, L, spread=1.0)
    share, size = table["center"], np.asarray(n, dtype=float)
    z = (table["value"] - share) / np.sqrt(share * (1 - share) / size)
    sigma = float(np.abs(np.diff(z)).mean() * np.sqrt(np.pi) / 2) if len(z) > 1 else 1.0
    return _p_chart(events, n, L, spread=sigma).assign(sigma_z=sigma)


def _p_chart(events: ArrayLike, n: ArrayLike, L: float, spread: float) -> pd.DataFrame:
    wanted = "as many events as n, numbers of one window each, n above 0 and events from 0 to n"
    expect(is_number(L, above=0), "p_limits", "a number above 0", L=L)
    try:
        k, size = np.asarray(events, dtype=float), np.asarray(n, dtype=float)
    except (TypeError, ValueError):
        raise ConfigError(f"p_limits(events={quote(events)}, n={quote(n)}); expected {wanted}") from None
    fine = k.ndim == 1 and len(k) and k.shape == size.shape and ((size > 0) & (k >= 0) & (k <= size)).all()
    expect(bool(fine), "p_limits", wanted, events=events, n=n)
    share = k.sum() / size.sum()
    reach = L * spread * np.sqrt(share * (1 - share) / size)
    value, lower, upper = k / size, np.maximum(share - reach, 0), np.minimum(share + reach, 1)
    return pd.DataFrame({
        "value": value, "center": share, "lower": lower, "upper": upper, "alarm": (value < lower) | (value > upper)
    })  # fmt: skip


def _range_moments(n: int) -> tuple[float, float]:
    """Mean and sd of the range of n standard normal values (Tippett 1925)."""
    points, weights = np.polynomial.legendre.leggauss(160)
    y, wy = points * 9, weights * 9
    mean = float(wy @ (1 - ndtr(-y) ** n - ndtr(y) ** n))
    x = -9 + (points[None, :] + 1) / 2 * (y[:, None] + 9)
    wx = weights[None, :] * (y[:, None] + 9) / 2
    upper = ndtr(y)[:, None]
    inner = 1 - upper**n - ndtr(-x) ** n + np.maximum(upper - ndtr(x), 0) ** n
    square = 2 * float(wy @ (inner * wx).sum(1))
    return mean, float(np.sqrt(square - mean**2))
