"""Do topics follow the days of the week? Learnt from the reference alone, so that a window meets days of its own kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from llm_monitoring.drift.two_sample import k_means

if TYPE_CHECKING:
    import pandas as pd

KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda weekday: np.zeros_like(weekday),
    "weekend": lambda weekday: (weekday >= 5).astype(int),
    "weekday": lambda weekday: weekday,
}


def rhythm_of(times: pd.Series, vectors: np.ndarray, seed: int = 0) -> str:
    """Which days have topics of their own: ``none``, ``weekend`` (Saturday and Sunday) or ``weekday`` (each of seven).

    The shares of 5 to 30 clusters are compared between the kinds of days; the days are permuted as wholes. A weekend is
    looked for from two of its days and three others, seven kinds from two of each.

    Parameters
    ----------
    times : Series of timestamps (n,), UTC
    vectors : ndarray (n, d)
    seed : int
    """
    days, place = np.unique(times.dt.floor("D").dt.tz_localize(None).to_numpy("datetime64[D]"), return_inverse=True)
    weekday = (days.astype(int) + 3) % 7  # 1 January 1970 was a Thursday
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    unit = unit[np.lexsort([*unit[:, :2].T, place])]  # the order of the rows has no effect
    place = np.sort(place)
    count = int(np.clip(len(unit) / 50, 5, 30))
    if len(days) < 5 or len(unit) < 2 * count:
        return "none"
    cluster = k_means(unit, np.arange(len(unit)), count, seed)
    table = np.zeros((len(days), count))
    np.add.at(table, (place, cluster), 1)
    rng = np.random.default_rng(seed)
    weekend = KINDS["weekend"](weekday)
    has_weekend = (weekend == 1).sum() >= 2 and (weekend == 0).sum() >= 3
    seven = np.bincount(weekday, minlength=7).min() >= 2
    by_weekend = has_weekend and _p(table, weekend, np.zeros_like(weekend), rng) <= 0.05
    if seven and _p(table, weekday, weekend if by_weekend else np.zeros_like(weekend), rng) <= 0.05:
        return "weekday"
    return "weekend" if by_weekend else "none"


def _p(table: np.ndarray, kind: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> float:
    """Permutation p of the chi-square of kinds of days by clusters; days change places within `inside` only."""
    observed = _chi_square(table, kind)
    as_large = 1
    for _ in range(399):
        mixed = kind.copy()
        for group in np.unique(inside):
            mixed[inside == group] = rng.permutation(kind[inside == group])
        as_large += _chi_square(table, mixed) >= observed - 1e-9
    return as_large / 400


def _chi_square(table: np.ndarray, kind: np.ndarray) -> float:
    counts = np.zeros((kind.max() + 1, table.shape[1]))
    np.add.at(counts, kind, table)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return float(((counts - expected) ** 2 / np.where(expected > 0, expected, 1)).sum())
