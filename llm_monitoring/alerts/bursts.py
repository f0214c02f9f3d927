"""Bursts of dear windows that a chart has met before: what came, went and comes again is not news.

A batch of long documents every other week, an agent that loops for an hour now and then: such windows are in the baseline
too, and the noise that a chart learns (windows alike, give or take) does not hold them. So windows of a baseline that its
own chart would have told are what the feature is known to do. Later ones like them are not told, unless they lie twice as
far out, or there are twice as many of them within a day or a week: what lasts is told once it has lasted longer.
A burst that was told is known where it came a second time, or where the baseline had bursts, once five days have passed
without another (so weekly ones are learnt): an incident that comes back is told again, the third time it is a habit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from llm_monitoring.alerts.measurements import DAY, WEEK
from llm_monitoring.charts.result import ChartResult

MORE = 2.0  # times as far out (of the logarithm), or as many within a day or a week, as what is known: then it is news
QUIET = 5 * DAY  # after so long without another a burst is over; jobs of every week are apart by six
LASTS = 2 * DAY  # in alarm for longer, and for a quarter of the time, is no burst; it is never known


@dataclass(frozen=True)
class _Shown:
    """What a chart showed of each window: its start in ns, whether it is told, by its own value, and how far it reaches.

    `reach` has three columns: how far out the statistic lies (1 is the limit), and how many windows of the 24 hours and of
    the seven days to this one are beyond the limit by their own value.
    """

    at: np.ndarray
    up: np.ndarray
    itself: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> _Shown:
        """Read off the windows of a `ChartResult`."""
        at = pd.DatetimeIndex(table["window_start"]).as_unit("ns").asi8
        names = ("value", "statistic", "center", "upper")
        value, statistic, center, upper = (table[name].to_numpy(float) for name in names)
        up = table["alarm"].to_numpy(bool) & (statistic > center)
        far = np.zeros(len(at))
        far[up] = np.log(statistic[up] / center[up]) / np.log(upper[up] / center[up])
        itself = up & (value > upper)  # not in the shadow of the windows before it
        counts = np.cumsum(np.r_[0, itself])
        within = [counts[1:] - counts[np.searchsorted(at, at - span.value, side="right")] for span in (DAY, WEEK)]
        return cls(at, up, itself, np.column_stack([far, *within]))


def without_known(result: ChartResult, before: ChartResult, width: pd.Timedelta) -> ChartResult:
    """The result of a chart of costs, without alarms of bursts like earlier ones; one that turns into more begins there.

    Parameters
    ----------
    result : ChartResult
    before : ChartResult
        The same chart over the windows that it was fitted to.
    width : Timedelta
        Of a window.
    """
    rising = result.alarms["direction"] == "up"
    if not rising.any() or (not before.windows["alarm"].any() and len(result.alarms) == 1):
        return result
    table = pd.concat([before.windows, result.windows], ignore_index=True)
    fresh = _fresh(_Shown.of(table), len(before.windows), width)[len(before.windows) :]
    news = pd.DatetimeIndex(result.windows["window_start"][fresh])
    rows = []
    for alarm in result.alarms.to_dict("records"):
        inside = news[(news >= alarm["start"]) & (news < alarm["end"])]
        if alarm["direction"] == "down":
            rows.append(alarm)
        elif len(inside):
            rows.append(alarm | {"first_window": max(inside[0], alarm["first_window"])})
    return replace(result, alarms=pd.DataFrame(rows, columns=result.alarms.columns).astype(result.alarms.dtypes))


def _fresh(shown: _Shown, first: int, width: pd.Timedelta) -> np.ndarray:
    """Which windows from one on are news."""
    at, up = shown.at, shown.up
    learnt, lasting = np.arange(len(at)) < first, np.zeros(len(at), dtype=bool)
    out, since, met = np.zeros(len(at), dtype=bool), first, bool(up[:first].any())
    while True:
        known = MORE * shown.reach[learnt & ~lasting].max(axis=0, initial=0.0)
        fresh = up & (shown.reach > known).any(axis=1)
        fresh[:since] = False
        if not fresh.any():
            return out
        begin = int(np.argmax(fresh))
        spell = begin + np.flatnonzero(up[begin:])
        last = next((here for here, then in pairwise(spell) if at[then] - at[here] > QUIET.value), spell[-1])
        over = int(np.searchsorted(at, at[last] + QUIET.value, side="right"))
        out[begin:over] = fresh[begin:over]
        if over >= len(at):
            return out
        took = int(shown.itself[begin:over].sum()) * width
        if took > max(LASTS, pd.Timedelta(at[last] - at[begin], "ns") / 4):
            lasting[begin:over] = True
        elif met:
            learnt = np.arange(len(at)) < over
        met, since = met or not lasting[begin], over
