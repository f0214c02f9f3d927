"""Runaway requests: a few that cost many times what the dearest did, told by how far they lie out.

A request in seventy that costs 150 times the usual trebles the bill of a day, and hardly moves a median, a geometric mean or
a p95; the total of a day, which differs by factors between Sunday and Monday, says it at midnight, if enough of them
came before. So the dearest request of every hour, as a multiple of the typical request of the last 24, is held against those
of the baseline: where within 24 hours the second dearest (the third, the fourth, the sixth, the ninth) of these hours lies so
far out that requests like that should hardly ever come together, the chart of what a request costs has an alarm.

How often requests as dear as that come is counted in the baseline, whatever their distribution; beyond the dearest of
them it falls with the price no faster than it must for a mean to exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.holidays import on_holiday
from llm_monitoring.alerts.measurements import DAY, HOUR, KEYS
from llm_monitoring.alerts.operation import DEAREST
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import RUNAWAY
from llm_monitoring.charts.portfolio import MONTH

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from llm_monitoring.alerts.runs import Run

TOGETHER = (2, 3, 4, 6, 9)  # hours with such a request that must come within 24; each has its part of the share
AROUND = 24  # hours looked at together: every hour of the day is in them
FAR = 3.0  # times as dear as what any 24 hours of the baseline held: a weekly batch of long requests is none
MATTERS = 1.3  # times the usual mean: what the last 24 hours cost a request at least


def runaway_tests(begun: dict[tuple, tuple[pd.Timestamp, bool]]) -> dict[tuple, tuple[pd.Timestamp, bool]]:
    """The tests that take a share of the budget: one for each feature and chart whose requests are looked at.

    Parameters
    ----------
    begun : dict
        Chart -> when it begins, and whether it was there when the first ones began.
    """
    there = {(feature, metric): at for (feature, metric), at in begun.items() if metric in DEAREST}
    priced = {feature for feature, metric in there if metric == "avg_cost_per_request_usd"}
    return {
        (feature, metric, RUNAWAY): at
        for (feature, metric), at in there.items()
        if metric == "avg_cost_per_request_usd" or feature not in priced
    }


def runaway_events(
    runs: list[Run],
    hours: pd.DataFrame,
    tallies: pd.DataFrame,
    shares: dict[tuple, float],
    plan: Plan,
    end: pd.Timestamp,
) -> list[Alert]:
    """Where runaway requests came, one event for each spell of them.

    Parameters
    ----------
    runs : list of Run
        The charts; what a test learns from, and from when on it looks, is that of its chart.
    hours : DataFrame
        As `operation.hours_of` gives it: the dearest request of every hour.
    tallies : DataFrame
        As `measurements.hourly` gives it: what is paid in every hour.
    shares : dict
        False alarms a month that each test may give.
    plan : Plan
    end : Timestamp
        The last moment of which the requests are known.
    """
    tested = {run.key: run for run in runs if (*run.key, RUNAWAY) in shares}
    most = dict(list(hours.groupby("feature_id", sort=False)))
    paid = dict(list(tallies[tallies["metric"].isin(list(DEAREST))].groupby(KEYS, sort=False)))
    events: list[Alert] = []
    for (feature, metric), run in tested.items():
        own = paid[feature, metric].groupby("hour")[["plain", "n", "total"]].sum()
        own = own.assign(most=most[feature].set_index("hour")[f"most_{DEAREST[metric]}"])
        events += _of_chart(_every_hour(own, run, plan, end), run, shares[feature, metric, RUNAWAY])
    return events


def _every_hour(own: pd.DataFrame, run: Run, plan: Plan, end: pd.Timestamp) -> pd.DataFrame:
    """The hours of a chart, 0 where nobody asked; those of holidays are left out."""
    start = max(run.windows["window_start"].iloc[0], own.index[0])
    grid = pd.date_range(start, end.floor("h"), freq="1h", inclusive="left")
    table = own.reindex(grid).fillna(0.0)
    if plan.baseline.holidays:
        table = table[~on_holiday(grid.to_series(), grid.to_series() + HOUR, plan)]
    return table


def _of_chart(hours: pd.DataFrame, run: Run, share: float) -> list[Alert]:
    """The events of one chart; the test learns once more where the chart does, and nothing was runaway by then."""
    again = run.stages[-1][1] if len(run.stages) > 1 else None
    first = hours if again is None else hours[hours.index < again]
    events = _looked_at(first, run.fit_end, run.begin, run.key, share)
    if again is None:
        return events
    learnt, since = (run.fit_end, run.begin) if events else (again, again)
    return _looked_at(hours, learnt, since, run.key, share)


def _looked_at(
    hours: pd.DataFrame, learnt: pd.Timestamp, since: pd.Timestamp, key: tuple[Any, Any], share: float
) -> list[Alert]:
    """The spells from one moment on, against what was learnt up to another."""
    early = np.asarray(hours.index < learnt)
    base = hours[early & (hours["n"] > 0)]
    if base.empty or len(hours) < AROUND or not base["plain"].sum() > 0:
        return []
    plain, n, logs = hours[["plain", "n", "total"]].rolling(AROUND, min_periods=1).sum().to_numpy().T
    typical = np.exp(logs / np.maximum(n, 1.0))  # of these 24 hours: where all are dear no request is runaway
    most = hours["most"].to_numpy() / typical
    days, ordered = early.sum() / AROUND, np.sort(most[early & (hours["n"] > 0)])
    within = np.lib.stride_tricks.sliding_window_view(np.r_[np.zeros(AROUND - 1), most], AROUND)
    ranked = -np.sort(-within, axis=1)[:, np.array(TOGETHER) - 1]
    more_asked = np.maximum(n * days / base["n"].sum(), 1.0)[:, None]
    counted = len(ordered) - np.searchsorted(ordered, ranked)
    rate = alarms_a_day(counted, days * np.maximum(ranked / ordered[-1], 1.0) / more_asked, TOGETHER)
    usual = float(base["plain"].sum() / base["n"].sum())
    level = FAR * ranked[early].max(axis=0)
    outside = (ranked > level) & (rate <= share / (MONTH / DAY) / len(TOGETHER))
    outside &= (plain >= MATTERS * usual * n)[:, None]
    alarm = outside.any(axis=1) & np.asarray(hours.index >= since)
    starts, ends = np.flatnonzero(alarm & ~np.r_[False, alarm[:-1]]), np.flatnonzero(alarm & ~np.r_[alarm[1:], False])
    events = []
    for at, last in zip(starts.tolist(), ends.tolist()):
        chosen = int(np.flatnonzero(outside[at])[0])
        first = at - AROUND + 1 + int(np.flatnonzero(within[at] >= ranked[at, chosen])[0])
        ended = hours.index[last] + HOUR
        events.append(_event(hours.iloc[first : at + 1], key, TOGETHER[chosen], usual, ended, share))
    return events


def _event(
    since: pd.DataFrame, key: tuple[Any, Any], together: int, usual: float, ended: pd.Timestamp, share: float
) -> Alert:
    """The alarm of the last of some hours, begun with the first of the dear requests that count."""
    began, fired = since.index[0], since.index[-1] + HOUR
    before: Any = min(3 * (fired - began) / (together - 1), DAY)  # 95 %, by the pace at which they came
    value, n = float(since["plain"].sum() / since["n"].sum()), int(since["n"].sum())
    return Alert(
        key[1], fired, "up", key[0], since.index[-1], layer="cost", value=value, expected=usual, low=value, high=value, n=n,
        rule="chart", began=began, began_low=began - before, began_by=began + HOUR, ended=ended,
        designed_false_alarms_per_month=share,
    )  # fmt: skip


def alarms_a_day(counted: ArrayLike, days: ArrayLike, together: ArrayLike) -> np.ndarray:
    """How often a day so many hours with such a request come within 24 hours, where so many did in so many days.

    Averaged over what their true rate may be (a gamma distribution): for requests that are alike and independent it is at
    most this, whatever their distribution.

    >>> alarms_a_day([0, 0, 3], [14, 28, 28], [3, 3, 3]).round(5).tolist()
    [0.00091, 0.00012, 0.00232]
    """
    shape, days = np.asarray(counted, float) + 1, np.asarray(days, float)
    return shape / days * special.betainc(np.asarray(together) - 1.0, shape + 1, 1 / (days + 1))
