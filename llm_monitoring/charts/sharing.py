"""What all windows of one day share, where windows are shorter than a day: its variance, learned from the days of a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.charts.posterior import Posterior

DAY = pd.Timedelta("1D")
FEWEST_DAYS = 5


@dataclass(frozen=True)
class SharedDay:
    """Variance between the days of a baseline.

    Attributes
    ----------
    whole : float
        Of the mean of a day: its own effect and the error of its windows.
    error : float
        The part that the windows explain.
    days : int
    kinds : int
        Kinds of days that have centre lines of their own: 7 where the season is a week.
    """

    whole: float
    error: float
    days: int
    kinds: int = 1

    def added(self, found: Posterior, rng: np.random.Generator) -> Posterior:
        """Draws in which every day has an effect of its own, and the centre the error that comes with so few days."""
        free = self.days - self.kinds
        spread = self.whole * free / rng.chisquare(free, found.draws)
        variance = np.maximum(spread - self.error, 0.0)
        daily = float(variance.mean())
        line = found.yardstick
        line = replace(line, daily=daily, center=line.center + daily * self.kinds / self.days)
        return replace(found, yardstick=line, daily=variance, days=self.days, kinds=self.kinds)


def without_days(
    y: np.ndarray, weight: np.ndarray, place: np.ndarray, day: np.ndarray, kinds: int = 1
) -> tuple[np.ndarray, SharedDay | None]:
    """The windows of a baseline without what their days have in common, and how much that is; None where too few tell it.

    Parameters
    ----------
    y, weight : array
        Value of each window, and what it counts.
    place, day : array
        Its place in the season, and the number of its day.
    kinds : int
        Kinds of days that the places tell apart; each takes the mean of its days with it.

    >>> day = np.repeat(np.arange(10), 24)
    >>> y = np.tile([0.5, -0.5], 120) + np.repeat([2.0, -2.0], 120)
    >>> rest, shared = without_days(y, np.ones(240), np.zeros(240, int), day)
    >>> round(shared.whole, 1), round(float(rest[:120].mean()), 1)
    (4.4, 0.0)
    """
    _, place = np.unique(place, return_inverse=True)
    _, day = np.unique(day, return_inverse=True)
    days = int(day.max()) + 1
    freedom = len(y) - days - (int(place.max()) + 1 - kinds)
    if days - kinds < FEWEST_DAYS - 1 or freedom < days:
        return y, None
    residual = y - (np.bincount(place, weight * y) / np.bincount(place, weight))[place]
    total = np.bincount(day, weight)
    mean = np.bincount(day, weight * residual) / total
    within = float((weight * (residual - mean[day]) ** 2).sum()) / freedom
    counts = float(total.sum() - (total**2).sum() / total.sum()) / (days - 1)
    middle = np.average(mean, weights=total)
    whole = float((total * (mean - middle) ** 2).sum()) / (days - kinds) / counts
    own = max(whole - within / counts, 0.0)
    kept = own / (own + within / total) if own > 0 else np.zeros(days)
    return y - (kept * (mean - middle))[day], SharedDay(whole, within / counts, days, kinds)


def days_of(origin: Any, period: pd.Timedelta | None) -> tuple[int, int]:
    """Windows a day, and how many of the first day lie before the first window; (1, 0) where a day holds no two whole ones.

    >>> days_of(pd.Timestamp("2026-05-11T12:00Z"), pd.Timedelta("6h"))
    (4, 2)
    """
    if period is None or not isinstance(origin, pd.Timestamp) or period >= DAY or DAY % period:
        return 1, 0
    return int(DAY / period), int((origin - origin.normalize()) / period)
