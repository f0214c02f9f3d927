"""Whether the hours of a week have levels of their own, learned from the weeks of a baseline."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from llm_monitoring.alerts.measurements import DAY, SEASON
from llm_monitoring.charts.measurements import Windows, as_windows

WEEKS, P_LIMIT, PERMUTATIONS = 4, 0.01, 999
TOO_SHORT = (
    f"levels of the hours of the week are looked for in a baseline of {WEEKS} weeks; "
    "until then, and where none are found, hours of the day have theirs"
)


def season_of(baseline: pd.DataFrame | Windows, kind: str, width: str) -> tuple[int, tuple[str, ...]]:
    """Windows of a chart's season: a day of hours, or a week of them where the same hours of the weeks resemble each other.

    The windows less their hour of the day and their day are summed by hour of the week; kinds of days change places as
    wholes in 999 permutations, so that what a day has of its own, whatever its size, gives no week.

    Parameters
    ----------
    baseline : DataFrame or Windows
        `window_start`, `value`, `n` of a chart's baseline, in the order of time.
    kind : str
        Of the chart. Shares and counts have no seasons.
    width : str
        ``"1h"``, ``"6h"`` or ``"1d"``.

    Returns
    -------
    tuple of int and tuple of str
        The season, and what is to be said of it.

    >>> times = pd.date_range("2026-05-04", periods=28 * 4, freq="6h", tz="UTC")
    >>> value = 4 + 0.01 * np.sin(np.arange(112) ** 2) - 0.5 * ((times.day_of_week == 6) & (times.hour == 12))
    >>> weeks = pd.DataFrame({"window_start": times, "value": value, "n": 30.0})
    >>> season_of(weeks, "mean", "6h"), season_of(weeks.head(56), "mean", "6h")[0]
    ((28, ()), 4)
    """
    of_day = SEASON[width]
    windows = as_windows(baseline, "baseline")
    if width == "1d" or kind in ("proportion", "count") or not len(windows.value):
        return of_day, ()
    if windows.window_start[-1] - windows.window_start[0].floor("D") < (7 * WEEKS - 1) * DAY:
        return of_day, (TOO_SHORT,)
    if _used(windows).sum() < 3 * 7 * of_day or weekly_p(windows, kind, of_day) > P_LIMIT:
        return of_day, ()
    return 7 * of_day, ()


def _used(windows: Windows) -> np.ndarray:
    return ~np.isnan(windows.value) & ~(windows.n == 0)


def weekly_p(baseline: pd.DataFrame | Windows, kind: str, of_day: int) -> float:
    """Permutation p of levels of the hours of the week beyond those of the hour of the day and of each day."""
    windows = as_windows(baseline, "baseline")
    used = _used(windows)
    value, starts = windows.value[used], windows.window_start[used]
    value = np.log(value) if kind == "positive" else value
    n = np.where(np.isnan(windows.n), 1.0, windows.n)[used]
    weight = np.minimum(n, np.median(n))
    index, day = pd.factorize(starts.floor("D"))
    hour = np.asarray(starts.hour) * of_day // 24
    left = value - _mean(value, weight, hour)[hour]
    left = left - _mean(left, weight, index)[index]
    sums, weights = np.zeros((2, len(day), of_day))
    np.add.at(sums, (index, hour), weight * left)
    np.add.at(weights, (index, hour), weight)
    kinds = _kinds(tuple(pd.DatetimeIndex(day).day_of_week))
    held = kinds @ weights
    between = ((kinds @ sums) ** 2 / np.where(held > 0, held, 1)).sum(axis=(1, 2))
    return float((between >= between[0] * (1 - 1e-12)).mean())


@lru_cache(maxsize=4)
def _kinds(weekday: tuple[int, ...]) -> np.ndarray:
    """Which days are of each kind, as they are and after permutations, (1 + permutations, 7, day): alike for all charts."""
    rng = np.random.default_rng(0)
    labels = np.stack([weekday, *(rng.permutation(weekday) for _ in range(PERMUTATIONS))])
    return np.eye(7)[labels].transpose(0, 2, 1)


def _mean(value: np.ndarray, weight: np.ndarray, group: np.ndarray) -> np.ndarray:
    total = np.bincount(group, weight)
    return np.bincount(group, weight * value) / np.where(total > 0, total, 1)
