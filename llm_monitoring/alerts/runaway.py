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

from dataclasses import dataclass
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
QUIET = 5 * 24  # hours after which a burst that was told is over; jobs of every week are apart by six days
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
    events: list[Alert] = []
    for key, own in paid_by_hour(tested, hours, tallies, plan, end).items():
        events += _of_chart(own, tested[key], shares[(*key, RUNAWAY)])
    return events


def paid_by_hour(
    tested: dict[tuple[Any, Any], Run], hours: pd.DataFrame, tallies: pd.DataFrame, plan: Plan, end: pd.Timestamp
) -> dict[tuple[Any, Any], pd.DataFrame]:
    """What each test sees: `plain`, `n`, `total` (of logarithms) and `most` of every hour."""
    narrow = hours[["hour", *(f"most_{name}" for name in DEAREST.values())]]
    most = dict(list(narrow.groupby(hours["feature_id"], sort=False)))
    paid = dict(list(tallies[tallies["metric"].isin(list(DEAREST))].groupby(KEYS, sort=False)))
    found = {}
    for (feature, metric), run in tested.items():
        own = paid[feature, metric].groupby("hour")[["plain", "n", "total"]].sum()
        own = own.assign(most=most[feature].set_index("hour")[f"most_{DEAREST[metric]}"])
        found[feature, metric] = _every_hour(own, run, plan, end)
    return found


def _every_hour(own: pd.DataFrame, run: Run, plan: Plan, end: pd.Timestamp) -> pd.DataFrame:
    """The hours of a chart, 0 where nobody asked; those of holidays are left out."""
    start = max(run.windows["window_start"].iloc[0], own.index[0])
    grid = pd.date_range(start, end.floor("h"), freq="1h", inclusive="left")
    table = own.reindex(grid).fillna(0.0)
    if plan.baseline.holidays:
        table = table[~on_holiday(grid.to_series(), grid.to_series() + HOUR, plan)]
    return table


def _of_chart(hours: pd.DataFrame, run: Run, share: float) -> list[Alert]:
    """The events of one chart."""
    return [_event(hours, one, run.key, share) for one in Followed.of(hours, run, share).spells]


@dataclass(frozen=True)
class Followed:
    """One test from its first look on: what it told, and from when on it held the hours against which others.

    The test learns once more where its chart does, if nothing was runaway by then; and of a burst. A burst is told, and
    learnt once five days have passed without another: a job of dear requests that comes one day in ten is news once or twice,
    not every time. What lasts (in alarm for more than two days, and for half of the time) is never learnt.
    """

    hours: pd.DataFrame
    share: float
    spells: list[_Spell]
    lessons: list[tuple[pd.Timestamp, _Usual]]

    @classmethod
    def of(cls, hours: pd.DataFrame, run: Run, share: float) -> Followed:
        """Follow it through the hours of a chart, as `paid_by_hour` gives them."""
        found = cls(hours, share, [], [])
        if len(hours) < AROUND:
            return found
        looks = _Looks.of(hours)
        again = run.stages[-1][1] if len(run.stages) > 1 else None
        learnt, since = np.asarray(hours.index < run.fit_end), run.begin
        lasting = np.zeros(len(hours), dtype=bool)
        while True:
            usual = _Usual.of(looks, learnt)
            found.lessons.append((since, usual))
            spells = _spells(looks, usual, since, share)
            count = _burst(spells)
            if again is not None and not (count and hours.index[spells[0].fired] < again):
                learnt, since, again = np.asarray(hours.index < again) & ~lasting, again, None
                continue
            burst = spells[:count]
            found.spells.extend(burst)
            over = burst[-1].last + QUIET if burst else len(hours)
            if over >= len(hours):
                return found
            since = hours.index[over]
            hours_in_alarm = sum(one.last + 1 - one.fired for one in burst)
            if hours_in_alarm > max(2 * AROUND, (burst[-1].last - burst[0].fired) / 2):
                lasting[burst[0].first : over] = True
            else:
                learnt = (np.arange(len(hours)) < over) & ~lasting
            if again is not None and (lasting.any() or since >= again):
                again = None

    def first_alarm(self, faulty: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.Timestamp | None:
        """When it tells of what is in `faulty` (as `hours`) from `start` to `end`; None where it does not, or told of something by itself."""
        lessons = [usual for since, usual in self.lessons if since <= start]
        told = [self.hours.index[at] for one in self.spells for at in (one.first, one.last)]
        if not lessons or any(start - DAY <= at < end for at in told):
            return None
        index = self.hours.index
        before, first, last = index.searchsorted([start - 2 * AROUND * HOUR, start, end])
        mixed = pd.concat([self.hours.iloc[before:first], faulty.iloc[first:last]])
        if len(mixed) < AROUND:
            return None
        spells = _spells(_Looks.of(mixed), lessons[-1], start, self.share)
        return mixed.index[spells[0].fired] + HOUR if spells else None


@dataclass(frozen=True)
class _Spell:
    """Places of hours: of the first dear request that counts, of the first and the last alarm; and what a request usually costs."""

    first: int
    fired: int
    last: int
    together: int
    usual: float


def _burst(spells: list[_Spell]) -> int:
    """How many of the first spells follow one another within five days."""
    count = min(len(spells), 1)
    while 0 < count < len(spells) and spells[count].fired - spells[count - 1].last < QUIET:
        count += 1
    return count


@dataclass(frozen=True)
class _Looks:
    """The hours of one chart, each with those before it: what 24 hours cost, and their dearest requests.

    `most` is the dearest request of each hour as a multiple of the typical one of 24 hours: where all are dear none is
    runaway. `within` has it for each of the 24 hours, `ranked` the second of them, the third and so on.
    """

    index: Any
    asked: np.ndarray
    paid: np.ndarray
    plain: np.ndarray
    n: np.ndarray
    most: np.ndarray
    within: np.ndarray
    ranked: np.ndarray

    @classmethod
    def of(cls, hours: pd.DataFrame) -> _Looks:
        plain, n, logs = hours[["plain", "n", "total"]].rolling(AROUND, min_periods=1).sum().to_numpy().T
        most = hours["most"].to_numpy() / np.exp(logs / np.maximum(n, 1.0))
        within = np.lib.stride_tricks.sliding_window_view(np.r_[np.zeros(AROUND - 1), most], AROUND)
        ranked = -np.sort(-within, axis=1)[:, np.array(TOGETHER) - 1]
        return cls(hours.index, hours["n"].to_numpy(), hours["plain"].to_numpy(), plain, n, most, within, ranked)


@dataclass(frozen=True)
class _Usual:
    """What was learnt of some hours: days, requests an hour, what one costs, the dearest of each hour, and how far 24 hours reached."""

    days: float
    asked: float
    cost: float
    ordered: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, looks: _Looks, learnt: np.ndarray) -> _Usual:
        base = learnt & (looks.asked > 0)
        paid, asked = looks.paid[base].sum(), looks.asked[base].sum()
        level = looks.ranked[learnt].max(axis=0) if learnt.any() else np.zeros(len(TOGETHER))
        cost = float(paid / asked) if asked else 0.0
        return cls(learnt.sum() / AROUND, float(asked), cost, np.sort(looks.most[base]), FAR * level)


def _spells(looks: _Looks, usual: _Usual, since: pd.Timestamp, share: float) -> list[_Spell]:
    """The spells from one moment on, against what was learnt."""
    if not usual.cost > 0:
        return []
    more_asked = np.maximum(looks.n * usual.days / usual.asked, 1.0)[:, None]
    counted = len(usual.ordered) - np.searchsorted(usual.ordered, looks.ranked)
    days = usual.days * np.maximum(looks.ranked / usual.ordered[-1], 1.0) / more_asked
    outside = (looks.ranked > usual.level) & (
        alarms_a_day(counted, days, TOGETHER) <= share / (MONTH / DAY) / len(TOGETHER)
    )
    outside &= (looks.plain >= MATTERS * usual.cost * looks.n)[:, None]
    alarm = outside.any(axis=1) & np.asarray(looks.index >= since)
    starts, ends = np.flatnonzero(alarm & ~np.r_[False, alarm[:-1]]), np.flatnonzero(alarm & ~np.r_[alarm[1:], False])
    spells = []
    for at, last in zip(starts.tolist(), ends.tolist()):
        chosen = int(np.flatnonzero(outside[at])[0])
        dear = looks.within[at] >= looks.ranked[at, chosen]
        first = at - AROUND + 1 + int(np.flatnonzero(dear)[0])
        spells.append(_Spell(first, at, last, TOGETHER[chosen], usual.cost))
    return spells


def _event(hours: pd.DataFrame, spell: _Spell, key: tuple[Any, Any], share: float) -> Alert:
    """The alarm of a spell, begun with the first of the dear requests that count."""
    since = hours.iloc[spell.first : spell.fired + 1]
    began, fired = since.index[0], since.index[-1] + HOUR
    before: Any = min(3 * (fired - began) / (spell.together - 1), DAY)  # 95 %, by the pace at which they came
    value, n = float(since["plain"].sum() / since["n"].sum()), int(since["n"].sum())
    return Alert(
        key[1], fired, "up", key[0], since.index[-1], layer="cost", value=value, expected=spell.usual, low=value,
        high=value, n=n, rule="chart", began=began, began_low=began - before, began_by=began + HOUR,
        ended=hours.index[spell.last] + HOUR, designed_false_alarms_per_month=share,
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
