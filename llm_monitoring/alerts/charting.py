"""Control charts of a plan: what is judged, what users do and what is spent, per feature, under one budget of false alarms."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, windows
from llm_monitoring.alerts import operation
from llm_monitoring.alerts import scopes as scoping
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.bursts import without_known
from llm_monitoring.alerts.holidays import without_holidays
from llm_monitoring.alerts.measurements import DAY, ENDS, KEYS, TIME, WIDTHS, hourly, to_windows
from llm_monitoring.alerts.paying import paid
from llm_monitoring.alerts.plan import Plan, open_with, read_plan
from llm_monitoring.alerts.prices import price_events, price_tests
from llm_monitoring.alerts.runaway import runaway_events, runaway_tests
from llm_monitoring.alerts.runs import Run, joined, make_runs, run_all
from llm_monitoring.alerts.scopes import FEWEST_IN_BASELINE, Span, span_of
from llm_monitoring.alerts.versions import version_looks, version_tests
from llm_monitoring.alerts.weekly import tests_of
from llm_monitoring.charts.portfolio import MONTH, PortfolioResult
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.intervals import wilson
from llm_monitoring.log import Log, LogLike
from llm_monitoring.measures import Measure, measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llm_monitoring.charts.result import ChartResult

COSTS = {*operation.DEAREST, operation.SPEND}  # what bursts of dear requests raise
NO_WAIT = pd.Timedelta(0)
LOOKS = DAY, 7 * DAY  # after its first look a window of which something came late is looked at again


@dataclass(frozen=True, repr=False)
class PlanCharts(PortfolioResult):
    """All charts of a plan: what a portfolio shows, and the windows behind it.

    Attributes
    ----------
    span : Span or None
        Baseline and watched time; None for a log without requests.
    windows : DataFrame
        `feature_id`, `metric`, `kind`, `low`, `high`, `window` (1h, 6h, 1d), `window_start`, `window_end`, `value`, `n`, `sd`,
        `known_at`, `plain`: baseline and watched windows of every chart, as they were first looked at.
    fitted : dict
        (feature_id, metric) -> the ControlChart as fitted last.
    measures : dict
        metric -> what it means.
    runs : list of Run
        Each chart from its baseline to the last window.
    shares : dict
        Chart or test -> false alarms a month that it may give.
    later : list of DataFrame
        The windows as looked at again, a day and a week later, of charts of which something came late.
    between : DataFrame
        Totals of 24 hours that end between midnights.
    levels : dict
        (feature_id, metric) -> mean over the whole log.
    tallies : DataFrame
        The hourly sums behind the windows.
    versions : DataFrame
        Every comparison of versions that serve side by side; see `versions.version_looks`.
    """

    span: Span | None = None
    windows: pd.DataFrame = field(default_factory=pd.DataFrame)
    fitted: dict[tuple[Any, Any], ControlChart] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    shares: dict[tuple, float] = field(default_factory=dict)
    later: list[pd.DataFrame] = field(default_factory=list)
    between: pd.DataFrame = field(default_factory=pd.DataFrame)
    levels: dict[tuple, float] = field(default_factory=dict)
    tallies: pd.DataFrame = field(default_factory=pd.DataFrame)
    versions: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        return len(self.results)

    def to_frame(self) -> pd.DataFrame:
        """One row per chart and window.

        `feature_id`, `metric`, `layer`, `window_start`, `window_end`, `value`, `n`, `center`, `lower`, `upper` (null in
        the baseline), `alarm` and `baseline` (whether the limits were taken from this window).
        """
        parts = [self._charted(run)[list(FRAME)] for run in self.runs if run.key in self.results]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(FRAME)).astype(FRAME)

    def drawn(self, feature: str | None, metric: str) -> pd.DataFrame:
        """The rows of one chart, and `statistic`: the mean that its limits are for, null in the baseline."""
        return self._charted(next(run for run in self.runs if run.key == (feature, metric)))

    def _charted(self, run: Run) -> pd.DataFrame:
        key, watched = run.key, self.results[run.key].windows
        before = run.windows[run.windows["window_start"] < run.begin]
        table = pd.concat([before.assign(baseline=True), watched.assign(baseline=False)], ignore_index=True)
        named = table.assign(feature_id=key[0], metric=key[1], layer=self.measures[key[1]].layer)
        named["alarm"] = named["alarm"].astype("boolean").fillna(False).astype(bool)
        return named[[*FRAME, "statistic"]].astype(FRAME)

    def plot(
        self, ax: Axes | None = None, *, feature: str | None = None, metric: str | None = None, **options: Any
    ) -> Axes:
        """Small multiples, the charts with alarms first; of one feature or one metric where it is named."""
        chosen = {
            key: one
            for key, one in self.results.items()
            if (feature is None or key[0] == feature) and (metric is None or key[1] == metric)
        }
        if self.results and not chosen:
            for place, name, asked in ((0, "feature", feature), (1, "metric", metric)):
                if asked is not None:
                    one_of(name, asked, sorted({str(key[place]) for key in self.results}))
            raise ConfigError(
                f"no chart of feature={feature!r} with metric={metric!r}; see .to_frame() for those there are"
            )
        if len(chosen) == 1:
            return next(iter(chosen.values())).plot(ax)
        return PortfolioResult.plot(replace(self, results=chosen), ax, **options)


FRAME: dict[str, Any] = {
    "feature_id": object,
    "metric": object,
    "layer": object,
    "window_start": "datetime64[us, UTC]",
    "window_end": "datetime64[us, UTC]",
    **dict.fromkeys(["value", "n", "center", "lower", "upper"], "float64"),
    **dict.fromkeys(["alarm", "baseline"], bool),
}


def control_charts(log: LogLike, plan: Plan | Any = None, until: Any = None) -> PlanCharts:
    """Every control chart that `check` looks at, alarm or not.

    Parameters
    ----------
    log : Log, path, URL or dict of DataFrames
    plan : path, dict, Plan, optional
    until : time, optional
        The log as it was known then.

    Returns
    -------
    PlanCharts
        ``len()`` charts; ``.to_frame()`` one row per chart and window, those of the baseline too; ``.not_charted`` with
        reasons; ``.plot(feature=None, metric=None)``.

    Raises
    ------
    LogError, ConfigError
        The log or the plan cannot be used as it stands.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> charts = lm.control_charts("sample_data")
    >>> charts.to_frame().columns[:3].tolist()
    ['feature_id', 'metric', 'layer']
    """
    plan = read_plan(plan)
    log = open_with(log, plan)
    log = log if until is None else log.until(until)
    span = span_of(log, plan)
    if span is None:
        return nothing(plan)
    found = charted(log, plan, span)
    return replace(found, results={run.key: joined(run) for run in found.runs})


def nothing(plan: Plan) -> PlanCharts:
    budget = plan.quality.false_alarms_per_month
    return PlanCharts({}, pd.DataFrame(columns=[*KEYS, "reason"]), budget, 30 / budget)


def charted(log: Log, plan: Plan, span: Span) -> PlanCharts:
    """Every chart of a log, fitted, without `results`; each is settled by its own baseline and its day of beginning alone."""
    own = plan.own_measures(log)
    tallies = hourly(log, charted_measures(log, plan), own, plan.baseline.days or scoping.FIRST)
    names = [*tallies["metric"].unique(), *operation.watched(plan)]
    measures = {name: measure(name, own) for name in names}
    looks = version_looks(log, plan, span.end, plan.baseline.days or scoping.FIRST)
    tests = tests_of(log, plan, span) | version_tests(looks)
    if not names:
        return replace(nothing(plan), span=span, shares=scoping.shares(tests, plan), versions=looks)
    scopes, table, first = pd.DataFrame(), pd.DataFrame(), set()
    if len(tallies):
        scopes = _scopes(log, plan, tallies, measures)
        table, first = windows_of(tallies, scopes, span.end), scoping.founders(tallies, plan, span.split)
    later = _later_looks(tallies, scopes, table, span.end) if len(tallies) else []
    later = [without_holidays(each, plan) for each in later]
    more, between, wider, there = operation.operation_windows(log, plan, span)
    scopes = pd.concat([part for part in (scopes, wider) if len(part)])
    full = [part for part in (table, more) if len(part)]
    table = without_holidays(pd.concat(full, ignore_index=True), plan) if full else windows_table()
    scopes["begin"] = scoping.begins(table, scopes, plan)
    first = first | there
    begins: Any = scopes["begin"].items()
    begun: dict[tuple, tuple[pd.Timestamp, bool]] = {
        key: (when, key in first) for key, when in begins if pd.notna(when) or key in first
    }
    tests |= runaway_tests(begun) | price_tests(log, plan, scopes["start"], begun)
    shares = scoping.shares(begun | tests, plan)
    spend = operation.spend_by_hour(log, plan, span)
    runs = make_runs(table, scopes, shares, span.end, again=not scoping.fixed(plan), hours=spend)
    aside = run_all(runs, span.end)
    there = {run.key for run in runs}
    lines: Any = scopes.iterrows()
    known = [(*key, _too_few(line, span)) for key, line in lines if key not in there]
    skipped = [*known, *((*key, reason) for key, reason in aside)]
    budget, running = plan.quality.false_alarms_per_month, [run for run in runs if run.stages]
    return PlanCharts(
        results={},
        not_charted=pd.DataFrame(skipped, columns=[*KEYS, "reason"]),
        false_alarms_per_month=budget,
        arl0=max(len(running) + len(tests), 1) * 30 / budget,
        span=span,
        windows=table,
        fitted={run.key: run.stages[-1][0] for run in running},
        measures=measures,
        runs=running,
        shares=shares,
        later=later,
        between=without_holidays(between, plan) if len(between) else windows_table(),
        levels=_levels(tallies, table),
        tallies=tallies,
        versions=looks,
    )


def _levels(tallies: pd.DataFrame, table: pd.DataFrame) -> dict[tuple, float]:
    sums = tallies.groupby(KEYS)[["plain", "weight"]].sum()
    found: Any = (sums["plain"] / sums["weight"].where(sums["weight"] > 0)).items()
    whole: Any = table.groupby(KEYS)["plain"].mean().items()
    return dict(whole) | dict(found)


def _scopes(log: Log, plan: Plan, tallies: pd.DataFrame, measures: dict[str, Measure]) -> pd.DataFrame:
    """By (feature_id, metric): `start`, `fit_end`, `window`, `settle`."""
    of = {name: each.of for name, each in measures.items()}
    found = scoping.baselines(scoping.first_values(tallies, of), plan)
    metric = found.index.get_level_values("metric")
    found["enough"] = [_enough(measures[name], plan) for name in metric]
    fixed = pd.Series([_width(measures[name], plan) for name in metric], index=found.index, dtype=object)
    found["window"] = fixed.where(fixed != "auto", scoping.widths(tallies, found))
    found["settle"] = settles(log, plan, found, of)
    return found


def _width(each: Measure, plan: Plan) -> str:
    """The width that the plan asks for; of errors a day, since what is sudden is for their limit."""
    return "1d" if each.layer == "infrastructure" else _layer(each, plan).window


def _enough(each: Measure, plan: Plan) -> float:
    return plan.quality.answers_per_window if each.judged else _layer(each, plan).requests_per_window


def settles(log: Log, plan: Plan, scopes: pd.DataFrame, of: dict[str, str]) -> pd.Series:
    """How long after its end a window is looked at: 0 for what is known with the request."""
    asked = plan.quality.settle
    if isinstance(asked, str):
        waits = {"judgements": windows.width(asked), "signals": windows.width(asked)}
    out, known = [], {}
    lines: Any = scopes.iterrows()
    for (feature, metric), line in lines:
        table = "signals" if of[metric] == "thumbs" else of[metric]
        if table not in ("judgements", "signals"):
            out.append(pd.Timedelta(0))
        elif isinstance(asked, str):
            out.append(waits[table])
        else:
            key = (table, feature, line["start"], line["fit_end"])
            if key not in known:
                own = scoping.delays_by_feature(log, table).get(feature)
                known[key] = scoping.usual_delay(own, line["start"], line["fit_end"], asked)
            out.append(known[key])
    return pd.Series(out, index=scopes.index, dtype="timedelta64[us]")


def signal_delays(log: Log, plan: Plan, tallies: pd.DataFrame) -> dict[str, pd.Timedelta]:
    """Per feature, how long after the end of a week its signals are waited for."""
    first = tallies[tallies["metric"] == "abandonment_rate"].groupby(KEYS)["hour"].min()
    scopes = scoping.baselines(first, plan)
    found: Any = settles(log, plan, scopes, {"abandonment_rate": "signals"}).items()
    return {key[0]: wait for key, wait in found}


def windows_of(
    tallies: pd.DataFrame, scopes: pd.DataFrame, end: pd.Timestamp, wait: pd.Timedelta = NO_WAIT
) -> pd.DataFrame:
    """The windows of every chart, each in its width, looked at `wait` after it has settled."""
    width = scopes["window"].reindex(pd.MultiIndex.from_frame(tallies[KEYS])).to_numpy()
    lines = scopes.reset_index()
    parts = [
        to_windows(tallies[width == w], w, lines[lines["window"] == w], end, wait).assign(window=w)
        for w in WIDTHS
        if (width == w).any()
    ]
    full = [part for part in parts if len(part)]
    if not full:
        return windows_table()
    return pd.concat(full, ignore_index=True)[WINDOWS].sort_values([*KEYS, "window_start"], ignore_index=True)


WINDOWS = [
    *KEYS,
    "kind",
    *ENDS,
    "window",
    "window_start",
    "window_end",
    "value",
    "n",
    "sd",
    "known_at",
    "plain",
    "late",
]


def windows_table() -> pd.DataFrame:
    """The table of windows without a row."""
    times = dict.fromkeys(["window_start", "window_end", "known_at"], TIME)
    numbers = dict.fromkeys([*ENDS, "value", "n", "sd", "plain"], "float64")
    return pd.DataFrame(columns=WINDOWS).astype(times | numbers | {"late": "timedelta64[us]"})


def _later_looks(tallies: pd.DataFrame, scopes: pd.DataFrame, table: pd.DataFrame, end: pd.Timestamp):
    """The windows of charts of which something came between two looks, as they stood at the later one."""
    found, before = [], pd.Timedelta(0)
    for wait in LOOKS:
        came = table[(table["late"] > before) & (table["late"] <= wait)] if len(table) else table
        keys = pd.MultiIndex.from_frame(came[KEYS]).unique()
        if len(keys):
            mine = tallies[pd.MultiIndex.from_frame(tallies[KEYS]).isin(keys)]
            found.append(windows_of(mine, scopes[scopes.index.isin(keys)], end, wait))
    return found


def _too_few(line: pd.Series, span: Span) -> str:
    days = (span.end - line["start"]) / DAY
    if pd.notna(line["begin"]) or days < scoping.FIRST:
        whole = int(max(days, 0))
        return f"{whole} day{'' if whole == 1 else 's'} of history"
    return f"fewer than {FEWEST_IN_BASELINE} windows with a value in the baseline"


def _layer(each: Measure, plan: Plan):
    return plan.cost if each.layer == "cost" else plan.quality


def charted_measures(log: Log, plan: Plan) -> list[Measure]:
    """What the plan charts of a log, layer by layer; dimensions by their names."""
    own = plan.own_measures(log)
    quality: list[str] = [name for name in plan.quality.metrics if name != "dimensions"] if plan.quality.enabled else []
    cost: list[str] = [name for name in plan.cost.metrics if name != operation.SPEND] if plan.cost.enabled else []
    if plan.quality.enabled and "dimensions" in plan.quality.metrics and log.has("judgements"):
        quality += [f"mean_{name}" for name in answers.dimension_names(log.table("judgements"))]
    errors = ["error_rate"] if plan.infrastructure.enabled and "error_rate" in plan.infrastructure.metrics else []
    mine = [each for each in own if _layer(each, plan).enabled]
    return [*(measure(name) for name in dict.fromkeys([*cost, *quality, *errors])), *mine]


def chart_events(found: PlanCharts, log: Log, plan: Plan) -> list[Alert]:
    """What alarmed, each event as it was known when it fired: nothing in it uses a later window."""
    own = plan.own_measures(log)
    events = _alarms(found)
    if found.span is not None and any(key[-1] == scoping.RUNAWAY for key in found.shares):
        hours, tallies, end = operation.hours_of(log), found.tallies, found.span.asked
        events = [*price_events(found.runs, log, found.shares, plan, end), *events]  # of one moment it says most
        events += runaway_events(found.runs, hours, tallies, found.shares, plan, end)
    return [_as_paid(event, found, log, own) for event in events]


def _alarms(found: PlanCharts) -> list[Alert]:
    events: list[Alert] = []
    for table in (None, *found.later):
        for run in _looked(found.runs, table):
            for chart, result, stream in alarming(run):
                for alarm in result.alarms.itertuples():
                    event = _event(found, run, chart, stream, alarm)
                    events += [event, *_on_top(found, run, event, result)]
    events += _explained(_rises(found))
    return events + _spent(found, events)


def _looked(runs: list[Run], table: pd.DataFrame | None) -> list[Run]:
    """The runs over their windows as they stood at another look; without one as they are."""
    if table is None:
        return runs
    if table.empty:
        return []
    own = {key: part.reset_index(drop=True) for key, part in table.groupby(KEYS, sort=False)}
    return [replace(run, windows=own[run.key]) for run in runs if run.key in own]


def alarming(run: Run, direction: str = "both") -> Iterator[tuple[ControlChart, ChartResult, pd.DataFrame]]:
    """Each stage of a chart that alarmed: the chart, what it saw and the windows that it was shown."""
    for chart, since, before in run.stages:
        chart, inside = _facing(chart, direction), run.charted(since, before)
        if not len(inside.value) or chart.quiet(inside):
            continue
        result = chart.monitor(inside, at_once=True)
        if run.key[1] in COSTS:
            result = without_known(result, chart.monitor(run.baseline(since), at_once=True), windows.width(run.width))
        if len(result.alarms):
            yield chart, result, run.stream(since, before)


def _facing(chart: ControlChart, direction: str) -> ControlChart:
    """The chart with an eye on shifts of one direction."""
    chart = copy.copy(chart)
    chart.direction = direction
    return chart


def _rises(found: PlanCharts) -> list[Alert]:
    """Rises of a total over 24 hours that end between midnights, against the limits of its days.

    The chart's budget covers them: a fall takes half of it, and hardly ever lasts long enough to count.
    """
    events = []
    for run in _looked(found.runs, found.between):
        charts = [(_facing(chart, "up"), since, before) for chart, since, before in run.stages]
        for hour in np.unique(run._starts.hour):
            inside = [(chart, run.charted_at(hour, since, before)) for chart, since, before in charts]
            if all(not len(own.value) or chart.quiet(own) for chart, own in inside):
                continue
            looked = run.at_hour(hour)
            for chart, result, stream in alarming(looked, "up"):
                events += [_event(found, looked, chart, stream, alarm) for alarm in result.alarms.itertuples()]
    return events


def _explained(rises: list[Alert]) -> list[Alert]:
    """Rises without those of spend that volume does not explain: they wait for midnight, when cost per request says why.

    A rise of spend between midnights is told where requests rose in the 24 hours before, too.
    """
    volume = [one for one in rises if one.metric == "request_count"]

    def explained(one: Alert) -> bool:
        near = [other for other in volume if other.feature_id == one.feature_id]
        return any(pd.Timedelta(0) <= one.fired_at - other.fired_at < DAY for other in near)

    return [one for one in rises if one.metric == "request_count" or explained(one)]


def _spent(found: PlanCharts, events: list[Alert]) -> list[Alert]:
    """The spend that a rise of volume brings with it, told at that moment: its own chart may take hours more to be sure.

    Where spend rose by less than half as much (of the logarithm), or has alarmed by itself, nothing is added.
    """
    runs = {run.key: run for run in found.runs}
    between = {run.key: run for run in _looked(found.runs, found.between)}
    told = {(one.feature_id, one.fired_at) for one in events if one.metric == operation.SPEND}
    more = []
    for one in (one for one in events if one.metric == "request_count" and one.direction == "up"):
        run, at = runs.get((one.feature_id, operation.SPEND)), one.window_start
        if run is None or at is None or (one.feature_id, one.fired_at) in told:
            continue
        run = between[run.key].at_hour(at.hour) if at.hour else run
        since = run.stream(one.began, at + DAY).dropna(subset=["value"])
        stage = next((stage for stage in run.stages if stage[1] <= at and (stage[2] is None or at < stage[2])), None)
        if since.empty or stage is None:
            continue
        usual = float(stage[0].monitor(run.charted(stage[1], at + DAY), at_once=True).windows["center"].iloc[-1])
        value, low, high = _of_windows(run, since)
        if np.log(value / usual) >= 0.5 * np.log(one.value / one.expected):
            of: dict[str, Any] = {
                "metric": operation.SPEND,
                "measure": found.measures[operation.SPEND],
                "layer": "cost",
            }
            more.append(replace(one, **of, value=value, low=low, high=high, expected=usual))
    return more


def _on_top(found: PlanCharts, run: Run, first: Alert, result: ChartResult) -> list[Alert]:
    """A second change the same way, on top of one that has alarmed and is not over: against the level since that change.

    The level is that of the first seven windows since the change, with its error in the limits.
    """
    rows = run.windows
    since = rows[(rows["window_start"] >= first.began) & rows["value"].notna()]
    if len(since) <= FEWEST_IN_BASELINE:
        return []
    level, after = since.iloc[:FEWEST_IN_BASELINE], since["window_start"].iloc[FEWEST_IN_BASELINE]
    told = result.windows[result.windows["window_start"] >= first.window_start]
    outside = told["alarm"].rolling(4, min_periods=1).max().to_numpy() > 0  # over after three quiet windows
    over = told["window_start"].to_numpy()[~outside]
    last = pd.Timestamp(over[0]) if len(over) else None
    stream = run.stream(after, last)
    if stream.empty or (last is not None and last <= after):
        return []
    chart = run.chart()
    chart.tail = run.tail(first.began)
    try:
        chart.fit(level[["window_start", "window_end", "value", "n", "sd"]])
    except ConfigError:
        return []
    alarms = chart.monitor(stream, at_once=True).alarms
    same = alarms[alarms["direction"] == first.direction]
    return [replace(_event(found, run, chart, stream, alarm), second=True) for alarm in list(same.itertuples())[:1]]


def _event(found: PlanCharts, run: Run, chart: ControlChart, stream: pd.DataFrame, alarm: Any) -> Alert:
    then = chart.monitor(stream[stream["window_start"] <= alarm.first_window], at_once=True)
    first, center = then.alarms.iloc[-1], then.to_frame()["center"].iloc[-1]
    rows = run.windows[run.windows["window_start"] <= alarm.first_window]
    since = rows[(rows["window_start"] >= first["change_start"]) & rows["value"].notna()]
    each = found.measures[run.key[1]]
    whole = each.total or each.quantile is not None
    value, low, high = _of_windows(run, since) if whole else _mean(since, run.kind)
    return Alert(
        layer=each.layer,
        metric=run.key[1],
        measure=each,
        rule="chart",
        feature_id=run.key[0],
        fired_at=rows["known_at"].iloc[-1],
        window_start=rows["window_start"].iloc[-1],
        began=_begin(run, first["change_start"]),
        began_low=_begin(run, first["change_low"]),
        began_by=first["change_high"] + windows.width(run.width),
        ended=alarm.end,
        value=value,
        expected=float(center),
        low=low,
        high=high,
        direction=alarm.direction,
        n=len(since) if each.total else round(since["n"].sum()),
        designed_false_alarms_per_month=MONTH / windows.width(run.width) / run.arl0,
    )


def _begin(run: Run, start: pd.Timestamp) -> pd.Timestamp:
    """Where a window begins that stands for others, which held too few answers, before it."""
    before = run.windows[(run.windows["window_start"] < start) & run.windows["value"].notna()]
    end = before["window_end"].iloc[-1] if len(before) else start
    return end if windows.width(run.width) < DAY and start - end < DAY else start


def _as_paid(event: Alert, found: PlanCharts, log: Log, own: tuple[Measure, ...]) -> Alert:
    """Of what is charted by its typical size: what is paid since the change, and who makes it."""
    each = event.measure
    if each.kind != "positive" or each.total or each.quantile is not None or each.of != "requests":
        return event
    run = next(run for run in found.runs if run.key == (event.feature_id, event.metric))
    start = run.windows["window_start"].iloc[0]
    value, low, high, usual, n, split = paid(
        log, each, str(event.feature_id), own, (start, run.fit_end), (event.began, event.fired_at)
    )
    if event.rule == "test" and not low > usual:  # a new price, too few requests to say what is paid: a usual one at it
        return event
    if not (value > usual if event.direction == "up" else value < usual):
        return replace(event, split="of the typical request")
    told = "; ".join(filter(None, (event.split, split))) or None
    return replace(event, value=value, low=low, high=high, expected=usual, n=n, split=told)


def _of_windows(run: Run, since: pd.DataFrame) -> tuple[float, float, float]:
    """Mean of whole windows (totals, quantiles), and its interval from how much windows of the baseline differ."""
    before = run.windows[(run.windows["window_start"] < run.fit_end) & run.windows["value"].notna()]
    spread = float(np.log(before["value"]).std(ddof=1))
    value, reach = float(since["value"].mean()), np.exp(1.96 * spread / np.sqrt(len(since)))
    return value, value / reach, value * reach


def _mean(rows: pd.DataFrame, kind: str) -> tuple[float, float, float]:
    """Mean of windows together, and its 95 % interval from the spread within them."""
    n = rows["n"].to_numpy(float)
    if kind == "positive":
        logs = rows.assign(value=np.log(rows["value"]), sd=rows["sd"] / rows["value"])
        return tuple(float(np.exp(end)) for end in _mean(logs, "mean"))  # type: ignore[return-value]
    value = float(np.average(rows["value"], weights=n)) if n.sum() > 0 else float("nan")
    if kind == "proportion":
        low, high = wilson(value * n.sum(), n.sum())
        return value, float(low), float(high)
    freedom = np.where(rows["sd"].notna(), np.maximum(n - 1, 0), 0)
    if not freedom.sum():
        return value, float("nan"), float("nan")
    sd = np.sqrt((freedom * rows["sd"].fillna(0) ** 2).sum() / freedom.sum())
    return value, value - 1.96 * sd / np.sqrt(n.sum()), value + 1.96 * sd / np.sqrt(n.sum())
