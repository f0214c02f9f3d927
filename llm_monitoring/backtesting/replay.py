"""A log replayed under a plan: the alerts that would have been, and the charts to try faults on.

An alert that has fired stays as it was, so one check of the whole log is the replay: cut at any moment, the log gives the
alerts that had fired by then. A planted fault leaves the baseline alone, so the charts are fitted once; each trial goes
on from the state that a chart had when the fault began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.alerts.charting import PlanCharts, alarming
from llm_monitoring.alerts.checking import checked
from llm_monitoring.alerts.measurements import DAY, HOUR, KEYS, SUMS, hourly
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.runs import Run
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.log import Log
from llm_monitoring.measures import Measure, measure
from llm_monitoring.windows import floor, width

Key = tuple[Any, Any]
Stretches = list[tuple[pd.Timestamp, pd.Timestamp]]
FOUND = ["trial", "feature_id", "metric", "fired_at"]
KEPT = 12  # of so many windows a chart's state before one is kept; from there the others are a few steps away


@dataclass
class Replay:
    """A log, the alerts that a plan would have given on it, and the fitted charts behind them.

    Attributes
    ----------
    log, plan, charted
    alerts : DataFrame
        What `check` gives.
    """

    log: Log
    plan: Plan
    charted: PlanCharts
    alerts: pd.DataFrame
    _watched: dict[Key, WatchedChart] = field(default_factory=dict)
    _hourly: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, log: Log, plan: Plan) -> Replay:
        """One check of the whole log, its charts kept; that of an earlier look at the same log and plan."""
        alerts, charted = checked(log, plan)
        return cls(log, plan, charted, alerts.copy())

    @property
    def span(self) -> Span:
        """Baseline and watched time."""
        if self.charted.span is None:
            raise ValueError("a log without requests has no time")
        return self.charted.span

    @property
    def months(self) -> float:
        """Months watched."""
        return max((self.span.end - self.span.split) / MONTH, 0.0)

    @property
    def own(self) -> tuple[Measure, ...]:
        """Custom measures that the log and the plan declare."""
        return self.plan.own_measures(self.log)

    def keys(self, metrics: tuple[str, ...], features: list[str] | None = None) -> list[Key]:
        """The charts of some metrics, those by a second judge included, of some features or of all."""
        return [
            key
            for key in self.charted.fitted
            if str(key[1]).split("[")[0] in metrics and (features is None or key[0] in features)
        ]

    def loud(self, keys: list[Key]) -> dict[Key, Stretches]:
        """For each chart when any chart of its feature alarmed without a fault, and when it was fitted once more.

        A fault that lasts while a chart is fitted would be in its baseline.
        """
        found = {key: list(self._alarms.get(key[0], [])) for key in keys}
        for key in found:
            if key in self._runs:
                found[key] += [(begin, begin) for _, begin, _ in self._runs[key].stages[1:]]
        return found

    @cached_property
    def _alarms(self) -> dict[Any, Stretches]:
        by_feature: dict[Any, Stretches] = {}
        for run in self.charted.runs:
            for _, result, _ in alarming(run):
                by_feature.setdefault(run.key[0], []).extend(zip(result.alarms["start"], result.alarms["end"]))
        return by_feature

    @cached_property
    def _runs(self) -> dict[Key, Run]:
        return {run.key: run for run in self.charted.runs}

    def run_of(self, key: Key) -> Run:
        """The life of one chart: its windows, what was fitted, its share of the budget."""
        return self._runs[key]

    def hourly(self, metrics: tuple[str, ...]) -> pd.DataFrame:
        """Hourly sums of some metrics as the log has them, asked for once."""
        if metrics not in self._hourly:
            self._hourly[metrics] = hourly(self.log, [measure(name, self.own) for name in metrics], self.own)
        return self._hourly[metrics]

    def lasting(self, days: float) -> float:
        """How long a fault lasts in a log: at most half of the time watched."""
        half = (self.span.end - self.span.split) / HOUR // 2
        return float(min(days, max(half, 1.0) / 24))

    def seen(
        self, base: pd.DataFrame, hit: pd.DataFrame, starts: list[pd.Timestamp], days: float, directions: dict[str, str]
    ) -> pd.DataFrame:
        """When each chart alarms if the fault begins at each of the starts.

        Parameters
        ----------
        base, hit : DataFrame
            Hourly sums (`TALLIES`) of the charts concerned, without the fault and with it from beginning to end.
        starts : list of Timestamp
            Whole hours.
        days : float
            How long the fault lasts.
        directions : dict
            Metric, without a judge's name -> the direction in which the fault moves it.

        Returns
        -------
        DataFrame
            `trial` (number of the start), `feature_id`, `metric`, `fired_at`: a row for each chart that alarmed.
        """
        without = dict(list(base.groupby(KEYS, sort=True)))
        loud = self.loud(list(without))  # type: ignore[arg-type]
        rows: list[tuple] = []
        for key, own in hit.groupby(KEYS, sort=True):
            if key not in self.charted.fitted or key not in without:
                continue
            chart = self.watched(key)  # type: ignore[arg-type]
            hours = HourlySums.of(without[key], own, self.run_of(key))  # type: ignore[arg-type]
            direction = directions[str(key[1]).split("[")[0]]  # type: ignore[index]
            for number, start in enumerate(starts):
                if is_loud(loud[key], start, days):  # type: ignore[index]
                    continue
                fired = chart.first_alarm(hours, start, start + pd.Timedelta(days=days), direction)
                if fired is not None:
                    rows.append((number, *key, fired))  # type: ignore[misc]
        return pd.DataFrame(rows, columns=FOUND)

    def watched(self, key: Key) -> WatchedChart:
        """A chart with its windows and its state before each of them."""
        if key not in self._watched:
            self._watched[key] = WatchedChart(self.run_of(key))
        return self._watched[key]


def hours_of(times: Any) -> np.ndarray:
    """Times as whole hours since 1970."""
    index = pd.DatetimeIndex(times)
    return index.as_unit("s").asi8 // 3600


class HourlySums:
    """Sums of one chart hour by hour, with and without a fault: any span of hours is one difference."""

    def __init__(self, first: int, without: np.ndarray, within: np.ndarray):
        self.first = first
        self._ahead = [np.vstack([np.zeros(sums.shape[1]), np.cumsum(sums, axis=0)]) for sums in (without, within)]

    @classmethod
    def of(cls, base: pd.DataFrame, hit: pd.DataFrame, run: Run) -> HourlySums:
        """From the rows of one chart in two tables of hourly sums, as far as they were known when its windows were looked at."""
        size = width(run.width)
        base, hit = (
            table[table["known"] <= floor(table["hour"], run.width) + size + run.settle] for table in (base, hit)
        )
        places = [hours_of(table["hour"]) for table in (base, hit)]
        first, last = min(at.min() for at in places), max(at.max() for at in places)
        both = []
        for at, table in zip(places, (base, hit)):
            sums = np.zeros((last - first + 1, len(SUMS)))
            np.add.at(sums, at - first, table[SUMS].to_numpy(float))
            both.append(sums)
        return cls(int(first), *both)

    def between(self, start: np.ndarray, end: np.ndarray, fault: bool) -> np.ndarray:
        """The sums from each start to each end, in hours since 1970."""
        ahead = self._ahead[int(fault)]
        most = len(ahead) - 1
        low, high = (np.minimum(np.maximum(at - self.first, 0), most) for at in (start, end))
        return ahead[high] - ahead[low]


class WatchedChart:
    """One chart over the windows of a log: its stages, and the state in which it stood before any window.

    Parameters
    ----------
    run : Run
        Its windows, those of the baseline too, and the fitted charts.
    """

    def __init__(self, run: Run):
        self.table = table = run.windows
        self.opens = hours_of(table["window_start"])
        self.size = int((table["window_end"].iloc[0] - table["window_start"].iloc[0]) // HOUR)
        self.positive = table["kind"].iloc[0] == "positive"
        self._states: dict[int, tuple[ControlChart, dict[str, Any]]] = {}
        self._nearest = np.full(
            len(table), -1
        )  # the window before each one of which the state is kept; -1 before there is a chart
        self._read = np.full((3, len(table)), np.nan)  # position, value and n, as the chart takes them
        for chart, begin, before in run.stages:
            self._remember(chart, begin, before)
            self._last = chart

    @property
    def smallest_seen(self) -> float:
        """The change that the chart, as it was fitted last, sees within seven windows in 8 of 10 cases."""
        return float(self._last.detectable_)

    def _remember(self, chart: ControlChart, begin: pd.Timestamp, before: pd.Timestamp | None) -> None:
        since = self.table["window_start"]
        places = np.flatnonzero(since >= begin if before is None else (since >= begin) & (since < before))
        if not len(places):
            return
        stream = self.table.loc[places, ["window_start", "window_end", "value", "n", "sd"]]
        read = chart._read(stream, chart._last)
        self._read[:, places] = read.position, read.value, read.n
        self._nearest[places] = places[np.arange(len(places)) // KEPT * KEPT]
        state = chart._blank()
        for place in places.tolist():
            if self._nearest[place] == place:
                self._states[place] = chart, _copied(state)
            self._charted(chart, state, place)

    def _charted(self, chart: ControlChart, state: dict[str, Any], place: int) -> None:
        """One window of the log goes into the state."""
        position, value, n = self._read[:, place].tolist()
        chart._step(state, None, int(position), value, n, [])

    def _before(self, place: int) -> tuple[ControlChart, dict[str, Any]]:
        """The chart in the state in which it stood before a window."""
        nearest = int(self._nearest[place])
        chart, kept = self._states[nearest]
        state = _copied(kept)
        for passed in range(nearest, place):
            self._charted(chart, state, passed)
        return chart, state

    def first_alarm(
        self, hours: HourlySums, start: pd.Timestamp, end: pd.Timestamp, direction: str
    ) -> pd.Timestamp | None:
        """When the chart first alarms in a direction, if the fault lasts from `start` to `end`; None where it does not."""
        touched = self.touched(start, end)
        if touched is None:
            return None
        value, n = self.mixed(hours, *touched, *hours_of([start, end]))
        return self.alarm_from(touched[0], value, n, direction)

    def touched(self, start: pd.Timestamp, end: pd.Timestamp) -> tuple[int, int] | None:
        """The windows that a fault from `start` to `end` reaches: the first, and the one after the last."""
        begins, ends = hours_of([start, end])
        first = int(np.searchsorted(self.opens, begins, side="right")) - 1
        if first < 0 or self._nearest[first] < 0 or self.opens[first] + self.size <= begins:
            return None
        return first, int(np.searchsorted(self.opens, ends))

    def alarm_from(self, first: int, value: list[float], n: list[float], direction: str) -> pd.Timestamp | None:
        """When the chart first alarms in a direction, if the windows from `first` on have these values."""
        chart, state = self._before(first)
        position = int(self._read[0, first])
        sign = 1 if direction == "up" else -1
        for place, now, size in zip(range(first, first + len(value)), value, n):
            found = chart._step(state, None, position, now, size, [])
            if found[4] and found[5] == sign:
                return self.table["known_at"].iloc[place]
            position += 1
        return None

    def mixed(self, hours: HourlySums, first: int, last: int, start: int, end: int) -> tuple[list[float], list[float]]:
        """Value and n of some windows, with the fault in the hours that it lasts."""
        sums = self.sums(hours, first, last, start, end)
        _, weight, weight2, total, _, _ = sums.T
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(weight > 0, total / weight, np.nan)
            n = np.where(weight > 0, weight**2 / weight2, 0.0)
        value = np.exp(mean) * self._scale(hours) if self.positive else mean
        return value.tolist(), n.tolist()

    def sums(self, hours: HourlySums, first: int, last: int, start: int, end: int) -> np.ndarray:
        """Sums of some windows, with the fault in the hours that it lasts."""
        opens = self.opens[first:last]
        closes = opens + self.size
        begins, ends = (np.minimum(np.maximum(at, opens), closes) for at in (start, end))
        return (
            hours.between(opens, begins, False) + hours.between(begins, ends, True) + hours.between(ends, closes, False)
        )

    def _scale(self, hours: HourlySums) -> float:
        """What geometric means of this chart are multiplied by: the same in all its windows, so one says it."""
        known = int(np.flatnonzero(self.table["value"].notna().to_numpy())[0])
        sums = hours.between(self.opens[[known]], self.opens[[known]] + self.size, False)[0]
        return float(self.table["value"].iloc[known] / np.exp(sums[3] / sums[1]))


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "seams": dict(state["seams"])}


def quiet_starts(
    since: pd.Timestamp, until: pd.Timestamp, days: float, loud: list[Stretches], n: int, seed: int
) -> list[pd.Timestamp]:
    """Whole hours at which a fault can begin and end before the log does, while half of the charts or more are quiet.

    At most `n`, spread over the watched time and drawn within it by the seed; the same for every size of a fault.

    >>> day = pd.Timestamp("2026-05-11", tz="UTC")
    >>> found = quiet_starts(day + 14 * DAY, day + 42 * DAY, 7, [[(day + 30 * DAY, day + 31 * DAY)]], 4, 0)
    >>> len(found), any(day + 23 * DAY <= start <= day + 32 * DAY for start in found)
    (4, False)
    """
    lasting = pd.Timedelta(days=days)
    first, last = since.ceil("h"), (until - lasting).floor("h")
    if last < first or not loud:
        return []
    hours = pd.date_range(first, last, freq="h")
    quiet = np.zeros(len(hours))
    for stretches in loud:
        fine = np.ones(len(hours), dtype=bool)
        for start, end in stretches:
            fine &= ~((hours - DAY <= end) & (hours + lasting >= start))
        quiet += fine
    hours = hours[quiet >= len(loud) / 2]
    if not len(hours):
        return []
    u = np.random.default_rng([seed, 11]).random(n)
    places = np.unique(((np.arange(n) + u) / n * len(hours)).astype(int))
    return [hours[place] for place in places]


def is_loud(stretches: Stretches, start: pd.Timestamp, days: float) -> bool:
    """Whether a chart alarmed by itself in the day before a fault, or while it lasts."""
    end = start + pd.Timedelta(days=days)
    return any(start - DAY <= last and end >= first for first, last in stretches)
