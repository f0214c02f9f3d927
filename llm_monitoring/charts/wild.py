"""Totals of a day that hang on a few requests: how far they stray, told from the hours of a baseline.

Where single hours differ by factors (nights of few and dear requests), the sum of a day has a long tail upwards, on the log
scale too, and fourteen sums hardly show it. The hours do: there are 24 times as many, and each is close to lognormal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from llm_monitoring.charts.posterior import Noise, Posterior
from llm_monitoring.charts.scatter import scatter

HOURS, DRAWS = 24, 20_000
ENOUGH = 10  # values of an hour of the day that tell by themselves how much it scatters; those before and after it help fewer
SKEWED = 0.3  # skewness of the log of a day's total above which its tail is drawn


def wild_days(hour: np.ndarray, total: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Deviations of the log of a day's total, drawn from what the hours of a baseline were.

    Parameters
    ----------
    hour : array of int
        Hour of the day of each hour.
    total : array
        Of each hour, 0 where there was nothing.
    seed : int

    Returns
    -------
    array or None
        None where the log of such a sum is hardly skewed: then a normal says enough.

    >>> hour, z = np.arange(14 * 24) % 24, np.random.default_rng(1).standard_normal(14 * 24)
    >>> wild_days(hour, np.exp(0.5 * z)) is None
    True
    >>> wild = wild_days(hour, np.exp(np.where(hour < 8, 2.0, 0.5) * z))
    >>> bool(wild.max() > -2 * wild.min())
    True
    """
    there = total > 0
    place, y = hour[there], np.log(total[there])
    known = np.bincount(place, minlength=HOURS)
    often = known / np.maximum(np.bincount(hour, minlength=HOURS), 1)
    middle = np.bincount(place, y, HOURS) / np.maximum(known, 1)
    own = np.bincount(place, (y - middle[place]) ** 2, HOURS) / np.maximum(known - 1, 1)
    squares, freedom = scatter(y, np.ones(len(y)), place, HOURS)
    variance = np.where(known > ENOUGH, own, squares / np.maximum(freedom, 1.0))
    one, two, three = (often * np.exp(k * middle + k * k * variance / 2) for k in (1, 2, 3))
    whole = (two - one**2).sum()
    if not whole > 0:
        return None
    skew = (three - 3 * one * two + 2 * one**3).sum() / whole**1.5
    if skew - 3 * np.sqrt(whole) / one.sum() < SKEWED:  # what is left of it on the log scale
        return None
    rng, shape = np.random.default_rng([seed, HOURS]), (DRAWS, HOURS)
    sums = (np.exp(middle + np.sqrt(variance) * rng.standard_normal(shape)) * (rng.random(shape) < often)).sum(axis=1)
    logs = np.log(sums[sums > 0])
    return (logs - logs.mean()).astype(np.float32)


def with_tail(found: Posterior, tail: np.ndarray, seed: int) -> Posterior:
    """Draws whose windows stray as `tail` does, and beyond that normally, as far as the baseline says that they stray more."""
    left = max(1 - float(tail.var()) / found.yardstick.variance(1.0), 0.0)

    def deviations(n: np.ndarray, where: np.ndarray, noise: Noise, pick: Any = None) -> np.ndarray:
        out = found.deviations(n, where, noise._replace(normal=noise.normal * np.float32(np.sqrt(left))), pick)
        return out + tail[np.random.default_rng([seed, 3]).integers(len(tail), size=out.shape)]

    return replace(found, deviations=deviations)
