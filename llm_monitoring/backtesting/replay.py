"""A log replayed under a plan: the alerts that would have been, and the charts to try faults on.

An alert that has fired stays as it was, so one check of the whole log is the replay: cut at any moment, the log gives the
alerts that had fired by then. A planted fault leaves the baseline alone, so the charts are fitted once; each trial goes
on from the state that a chart had when the fault began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring import windows
from llm_monitoring.alerts.charting import PlanCharts, control_charts
from llm_monitoring.alerts.checking import check
from llm_monitoring.alerts.measurements import KEYS, WIDTHS, Span, to_windows
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.log import Log
from llm_monitoring.measures import Measure

COLUMNS = ["window_start", "window_end", "value", "n", "sd"]
SEPARATOR = "\x1f"  # between the number of a trial and its feature
DAY = pd.Timedelta("1D")


@dataclass
class Replay:
    """A log, the alerts that a plan would have given on it, and the fitted charts behind them.

    Attributes
    ----------
    span : Span or None
        None for a log without requests.
    alerts : DataFrame
        What `check` gives.
    """

    log: Log
    plan: Plan
    charted: PlanCharts
    alerts: pd.DataFrame
    _states: dict[tuple[Any, Any], dict[pd.Timestamp, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: Log, plan: Plan) -> Replay:
        """One check of the whole log, its charts kept."""
        return cls(log, plan, control_charts(log, plan), check(log, plan))

    @property
    def span(self) -> Span | None:
        """Baseline and watched time."""
        return self.charted.span

    @property
    def months(self) -> float:
        """Months watched."""
        return 0.0 if self.span is None else max((self.span.end - self.span.split) / pd.Timedelta("30D"), 0.0)

    @property
    def own(self) -> tuple[Measure, ...]:
        """Measures of one's own that the log and the plan declare."""
        return self.plan.own_measures(self.log)

    def keys(self, metrics: tuple[str, ...], features: list[str] | None = None) -> list[tuple[Any, Any]]:
        """The charts of some metrics, those by a second judge included, of some features or of all."""
        return [
            key
            for key in self.charted.fitted
            if str(key[1]).split("[")[0] in metrics and (features is None or key[0] in features)
        ]

    def loud(self, keys: list[tuple[Any, Any]]) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
        """Stretches in which one of the charts alarmed without any fault being planted."""
        found = [self.charted.results[key].alarms for key in keys if key in self.charted.results]
        return [(row.start, row.end) for table in found for row in table.itertuples()]

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
        rows: list[tuple] = []
        width_of = self.charted.windows.drop_duplicates(KEYS).set_index(KEYS)["window"]
        for width in WIDTHS:
            keys = [key for key in self.charted.fitted if width_of.get(key) == width]
            mine = [_of(table, keys) for table in (base, hit)]
            if not starts or mine[0].empty:
                continue
            table = mixed_windows(*mine, starts, days, width, self.span)  # type: ignore[arg-type]
            for (named, metric), own in table.groupby(KEYS, sort=True):
                number, feature = str(named).split(SEPARATOR, 1)
                fired = self._first_alarm((feature, metric), own, directions[str(metric).split("[")[0]])
                if fired is not None:
                    rows.append((int(number), feature, metric, fired))
        return pd.DataFrame(rows, columns=["trial", "feature_id", "metric", "fired_at"])

    def _first_alarm(self, key: tuple[Any, Any], own: pd.DataFrame, direction: str) -> pd.Timestamp | None:
        chart = self.charted.fitted[key]
        state = self._state(key, own["window_start"].iloc[0])
        return None if state is None else first_alarm(chart, state, own, direction)

    def _state(self, key: tuple[Any, Any], start: pd.Timestamp) -> dict[str, Any] | None:
        """The state of a chart before a window."""
        if key not in self._states:
            rows = self.charted.windows
            own = rows[(rows["feature_id"] == key[0]) & (rows["metric"] == key[1])]
            self._states[key] = states(self.charted.fitted[key], own[own["window_start"] >= self.span.split])  # type: ignore[union-attr]
        return self._states[key].get(start)


def _of(table: pd.DataFrame, keys: list[tuple[Any, Any]]) -> pd.DataFrame:
    return table[pd.MultiIndex.from_frame(table[KEYS]).isin(keys)] if len(keys) else table.iloc[:0]


def states(chart: ControlChart, stream: pd.DataFrame) -> dict[pd.Timestamp, dict[str, Any]]:
    """The state of a chart before each window of a stream, by the window's start."""
    read = chart._read(stream[COLUMNS], chart._last)
    state, found = chart._blank(), {}
    for start, position, value, n in zip(*(read[name].tolist() for name in ("window_start", "position", "value", "n"))):
        found[start] = {**state, "seams": dict(state["seams"]), "next": position}
        chart._step(state, start, position, value, n, [])
    return found


def first_alarm(
    chart: ControlChart, state: dict[str, Any], stream: pd.DataFrame, direction: str
) -> pd.Timestamp | None:
    """When a chart that stands in a state first alarms in a direction: `known_at` of the window, or None."""
    state = {**state, "seams": dict(state["seams"])}
    position = state.pop("next")
    for value, n, known in zip(stream["value"].tolist(), stream["n"].tolist(), stream["known_at"]):
        found = chart._step(state, None, position, value, n, [])
        if found[4] and found[5] == (1 if direction == "up" else -1):
            return known
        position += 1
    return None


def mixed_windows(
    base: pd.DataFrame, hit: pd.DataFrame, starts: list[pd.Timestamp], days: float, width: str, span: Span
) -> pd.DataFrame:
    """The windows of each chart from each start on, with the fault in the hours that it lasts.

    Returns
    -------
    DataFrame
        As `to_windows` gives it; `feature_id` is the number of the start, a separator, and the feature.
    """
    parts, size = [_baselines(base, span)], windows.width(width)
    late = [table[table["hour"] >= span.split - size].sort_values("hour") for table in (base, hit)]
    hours = [pd.DatetimeIndex(table["hour"]) for table in late]
    for number, start in enumerate(starts):
        end = start + pd.Timedelta(days=days)
        first = windows.floor(pd.Series([start]), width).iloc[0]
        last = windows.floor(pd.Series([end - pd.Timedelta("1us")]), width).iloc[0] + size
        cuts = ((0, first, start), (1, start, end), (0, end, last))
        for which, low, high in cuts:
            a, b = (hours[which].searchsorted(when) for when in (low, high))
            rows = late[which].iloc[a:b]
            parts.append(rows.assign(feature_id=f"{number}{SEPARATOR}" + rows["feature_id"].astype(str)))
    trials = pd.concat(parts[1:], ignore_index=True)
    first = windows.floor(pd.Series([min(starts)]), width).iloc[0]
    scale = _scales(parts[0], trials)
    table = to_windows(pd.concat([scale, trials], ignore_index=True), width, Span(first, span.split, span.end))
    return table[table["feature_id"].str.contains(SEPARATOR, regex=False)].sort_values(
        [*KEYS, "window_start"], ignore_index=True
    )


def _baselines(base: pd.DataFrame, span: Span) -> pd.DataFrame:
    """The baseline of each chart of amounts as one row of sums: what its scale is taken from."""
    early = base[(base["kind"] == "positive") & (base["hour"] < span.split)]
    sums = early.groupby(KEYS, as_index=False)[["n", "weight", "weight2", "total", "squares", "plain"]].sum()
    return sums.assign(kind="positive", low=np.nan, high=np.nan, hour=span.split - DAY, last=pd.NaT)


def _scales(baselines: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """That row for every trial of the chart."""
    named = trials[trials["kind"] == "positive"][KEYS].drop_duplicates()
    named["feature"] = named["feature_id"].str.split(SEPARATOR, n=1).str[1]
    rows = baselines.rename(columns={"feature_id": "feature"}).merge(named, on=["feature", "metric"])
    rows = rows.drop(columns="feature")
    for name in ("hour", "last"):
        rows[name] = pd.to_datetime(rows[name], utc=True).astype(trials[name].dtype)
    return rows[trials.columns]


def quiet_starts(
    span: Span, days: float, loud: list[tuple[pd.Timestamp, pd.Timestamp]], n: int, seed: int
) -> list[pd.Timestamp]:
    """Whole hours at which a fault can begin and end before the log does, with no alarm a day before or while it lasts.

    At most `n`, spread over the watched time and drawn within it by the seed; the same for every size of a fault.

    >>> day = pd.Timestamp("2026-05-11", tz="UTC")
    >>> found = quiet_starts(Span(day, day + 14 * DAY, day + 42 * DAY), 7, [(day + 30 * DAY, day + 31 * DAY)], 4, 0)
    >>> len(found), max(found) + 8 * DAY < day + 31 * DAY or min(found) > day + 31 * DAY
    (4, True)
    """
    lasting = pd.Timedelta(days=days)
    first, last = span.split.ceil("h"), (span.end - lasting).floor("h")
    if last < first:
        return []
    hours = pd.date_range(first, last, freq="h")
    fine = np.ones(len(hours), dtype=bool)
    for start, end in loud:
        fine &= ~((hours - DAY <= end) & (hours + lasting >= start))
    hours = hours[fine]
    if not len(hours):
        return []
    u = np.random.default_rng([seed, 11]).random(n)
    places = np.unique(((np.arange(n) + u) / n * len(hours)).astype(int))
    return [hours[place] for place in places]
