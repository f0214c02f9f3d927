"""One chart's life: fitted after its baseline, fitted once more at four weeks if nothing alarmed, charted window by window.

What is said of a window rests on windows before it alone, so a longer log only adds to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring import windows
from llm_monitoring.alerts.measurements import DAY, ENDS, KEYS
from llm_monitoring.alerts.scopes import AGAIN, FIRST
from llm_monitoring.alerts.seasons import season_of
from llm_monitoring.charts.measurements import Windows, as_windows
from llm_monitoring.charts.portfolio import MONTH, set_limits
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.charts.result import ChartResult
from llm_monitoring.charts.wild import wild_days
from llm_monitoring.errors import ConfigError
from llm_monitoring.measures import BUILT_IN

COLUMNS = ["window_start", "window_end", "value", "n", "sd"]
FITTED: dict[bytes, dict[tuple[Any, Any], ControlChart | str]] = {}  # by what the charts were fitted to
MOST_KEPT = 4_000
TOTALS = [name for name, each in BUILT_IN.items() if each.total]  # of a day; a holiday halves them
JUMPING = [*TOTALS, *(name for name, each in BUILT_IN.items() if each.layer == "cost")]
HOLIDAYS, QUICK = (
    2,
    (0.15, 0.5, 1.0),
)  # days in a row that nobody named; EWMAs of what can jump from one window to the next


@dataclass
class Run:
    """One chart: its windows in the order of time, when it begins, its share of the budget; then what was fitted.

    `hours` are those of a total that may hang on a few of them. `stages` lists each fitted chart with the first window that it judges and the one it no longer does.
    """

    key: tuple[Any, Any]
    windows: pd.DataFrame
    width: str
    begin: pd.Timestamp
    fit_end: pd.Timestamp
    settle: pd.Timedelta
    share: float
    again: pd.Timestamp | None = None
    hours: pd.Series | None = None
    stages: list[tuple[ControlChart, pd.Timestamp, pd.Timestamp | None]] = field(default_factory=list)

    @cached_property
    def kind(self) -> str:
        return str(self.windows["kind"].iloc[0])

    @property
    def arl0(self) -> float:
        """Windows between two false alarms."""
        return max(float(MONTH / windows.width(self.width)) / self.share, 1.01)

    def baseline(self, before: pd.Timestamp) -> Windows:
        """The windows that the limits are taken from."""
        return self._read.between(0, int(self._starts.searchsorted(before)))

    def stream(self, since: pd.Timestamp, before: pd.Timestamp | None) -> pd.DataFrame:
        """The windows from one moment to another."""
        return self.windows[COLUMNS].iloc[slice(*self._places(since, before))]

    def charted(self, since: pd.Timestamp, before: pd.Timestamp | None) -> Windows:
        """The same windows, as a chart takes them."""
        return self._read.between(*self._places(since, before))

    def _places(self, since: pd.Timestamp, before: pd.Timestamp | None) -> tuple[int, int]:
        last = len(self._starts) if before is None else self._starts.searchsorted(before)
        return int(self._starts.searchsorted(since)), int(last)

    @cached_property
    def _read(self) -> Windows:
        return as_windows(self.windows, "windows")

    @cached_property
    def _starts(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.windows["window_start"])

    def at_hour(self, hour: int) -> Run:
        """The same chart over those of its windows that begin at one hour of the day."""
        return replace(self, windows=self.windows[self._starts.hour == hour].reset_index(drop=True))

    def charted_at(self, hour: int, since: pd.Timestamp, before: pd.Timestamp | None) -> Windows:
        """Of the windows from one moment to another those that begin at one hour of the day."""
        start = self._read.window_start
        inside = (start.hour == hour) & (start >= since)
        return self._read.at(inside if before is None else inside & (start < before))

    def tail(self, before: pd.Timestamp) -> np.ndarray | None:
        """How far a total strays where single hours make it, going by the hours before a moment."""
        if self.hours is None:
            return None
        early = self.hours[(self.hours.index >= self._starts[0]) & (self.hours.index < before)]
        return wild_days(pd.DatetimeIndex(early.index).hour.to_numpy(), early.to_numpy())

    @cached_property
    def _ends(self) -> dict[str, float]:
        """The ends of the scale, where it has any."""
        ends = {end: self.windows[end].iloc[0] for end in ENDS}
        return {end: float(value) for end, value in ends.items() if pd.notna(value)}

    def chart(self, season: int = 1) -> ControlChart:
        """A chart of the kind and rate of this one, not fitted yet."""
        given: dict[str, Any] = dict(self._ends)
        if self.key[1] in JUMPING:
            given["lambdas"] = QUICK
        if self.key[1] in TOTALS:
            given["lasting_falls"] = HOLIDAYS + 1
        return ControlChart(kind=self.kind, arl0=self.arl0, season=season, **given)


def run_all(runs: Iterable[Run], end: pd.Timestamp) -> list[tuple[tuple[Any, Any], str]]:
    """Fit all charts, those that were quiet till then once more; those that cannot be fitted are given back with the reason."""
    runs = list(runs)
    aside: list[tuple[tuple[Any, Any], str]] = []
    for run, chart in _fitted([(run, run.fit_end) for run in runs], aside):
        again = None if run.again is None or run.again <= run.begin else run.again
        run.stages = [(chart, run.begin, again)]
    waiting = [
        run for run in runs if run.stages and run.stages[0][2] is not None and run.stages[0][2] + run.settle <= end
    ]
    quiet = [run for run in waiting if run.stages[0][0].quiet(run.charted(*run.stages[0][1:]))]
    fitted = {id(run): chart for run, chart in _fitted([(run, run.again) for run in quiet], [])}
    for run in waiting:
        first, begin, again = run.stages[0]
        newer = fitted.get(id(run))
        if newer is None or again is None:  # it has alarmed before: it goes on as it is
            run.stages = [(first, begin, None)]
        else:
            run.stages.append((newer, again, None))
    return aside


def _fitted(asked: list[tuple[Run, Any]], aside: list) -> list[tuple[Run, ControlChart]]:
    """Charts fitted to the windows before a moment; those of one metric that learn at the same time learn from each other."""
    groups: dict[tuple, list[tuple[Run, Windows]]] = {}
    for run, before in asked:
        first = run._starts[0].floor("D")
        together = (run.key[1], run.kind, run.width, first, before, run.begin, run.settle)
        groups.setdefault(together, []).append((run, run.baseline(before)))
    found = []
    for several in groups.values():
        charts = _together(several)
        for run, _ in several:
            chart = charts[run.key]
            if isinstance(chart, str):
                aside.append((run.key, chart))
            else:
                found.append((run, chart))
    return found


def _together(several: list[tuple[Run, Windows]]) -> dict[tuple[Any, Any], ControlChart | str]:
    """Charts of one metric by key, fitted, or why not; the same baselines are fitted once in a process."""
    told = hashlib.sha256()
    for run, baseline in several:
        chart = run.chart()
        told.update(repr((run.key, run.width, chart.kind, chart.arl0, chart.low, chart.high)).encode())
        times = baseline.window_start.asi8, baseline.window_end.asi8
        for column in (*times, baseline.value, baseline.n, baseline.sd):
            told.update(column.tobytes())
        if run.hours is not None:
            told.update(run.hours[: baseline.window_end[-1]].to_numpy().tobytes())
    key = told.digest()
    if key not in FITTED:
        if len(FITTED) >= MOST_KEPT:
            FITTED.clear()
        FITTED[key] = _fit(several)
    return FITTED[key]


def _fit(several: list[tuple[Run, Windows]]) -> dict[tuple[Any, Any], ControlChart | str]:
    charts: dict[tuple[Any, Any], ControlChart | str] = {}
    said = {}
    for run, baseline in several:
        season, said[run.key] = season_of(baseline, run.kind, run.width)
        try:
            charts[run.key] = chart = run.chart(season).read(baseline)
            chart.tail = run.tail(baseline.window_end[-1])
        except ConfigError as error:
            charts[run.key] = str(error)
    fitted = {key: chart for key, chart in charts.items() if isinstance(chart, ControlChart)}
    set_limits(fitted)
    for key, chart in fitted.items():
        chart.notes_ = (*chart.notes_, *said[key])
    return charts


def joined(run: Run) -> ChartResult:
    """The result of the last stage with the windows and alarms of all of them."""
    *_, last = results = [
        chart.monitor(run.charted(since, before), at_once=True) for chart, since, before in run.stages
    ]
    if len(results) == 1:
        return last
    parts = [result.windows for result in results if len(result.windows)]
    alarms = [result.alarms for result in results if len(result.alarms)]
    return replace(
        last,
        windows=pd.concat(parts, ignore_index=True) if parts else last.windows,
        alarms=pd.concat(alarms, ignore_index=True) if alarms else last.alarms,
    )


def make_runs(
    table: pd.DataFrame,
    scopes: pd.DataFrame,
    share: dict[tuple, float],
    end: pd.Timestamp,
    again: bool,
    hours: dict[tuple, pd.Series],
) -> list[Run]:
    """The charts that have begun by `end`, from their windows and what was settled of them; `hours` of those of totals."""
    runs = []
    lines = scopes.to_dict("index")
    key: Any
    for key, own in table.groupby(KEYS, sort=True):
        line = lines[key]
        if pd.isna(line["begin"]) or line["begin"] + line["settle"] > end:
            continue
        fit_end = line["fit_end"] if not again else line["begin"]
        more = line["fit_end"] + (AGAIN - FIRST) * DAY if again else None
        runs.append(
            Run(key, own.reset_index(drop=True), line["window"], line["begin"], fit_end, line["settle"], share[key],
                more, hours.get(key))
        )  # fmt: skip
    return runs
