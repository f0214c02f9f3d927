"""Control charts of a plan: what is judged, what users do and what is spent, per feature, under one budget of false alarms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, windows
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.measurements import (
    ENDS,
    FEWEST,
    KEYS,
    SEASON,
    WIDTHS,
    Span,
    all_features,
    choose_windows,
    hourly,
    span_of,
    to_windows,
)
from llm_monitoring.alerts.plan import Plan, open_with, read_plan
from llm_monitoring.alerts.weekly import count_tests
from llm_monitoring.charts.portfolio import ChartPortfolio, PortfolioResult
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.intervals import wilson
from llm_monitoring.log import Log, LogLike
from llm_monitoring.measures import Measure, measure
from llm_monitoring.metrics import window_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from llm_monitoring.charts.result import ChartResult

MONTH = pd.Timedelta("30D")


@dataclass(frozen=True, repr=False)
class PlanCharts(PortfolioResult):
    """All charts of a plan: what a portfolio shows, and the windows behind it.

    Attributes
    ----------
    span : Span or None
        Baseline and watched time; None for a log without requests.
    windows : DataFrame
        `feature_id`, `metric`, `kind`, `low`, `high`, `window` (1h, 6h, 1d), `window_start`, `window_end`, `value`, `n`, `sd`,
        `known_at`: baseline and watched windows of every chart.
    fitted : dict
        (feature_id, metric) -> the fitted ControlChart.
    measures : dict
        metric -> what it means.
    """

    span: Span | None = None
    windows: pd.DataFrame = field(default_factory=pd.DataFrame)
    fitted: dict[tuple[Any, Any], ControlChart] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.results)

    def to_frame(self) -> pd.DataFrame:
        """One row per chart and window.

        `feature_id`, `metric`, `layer`, `window_start`, `window_end`, `value`, `n`, `center`, `lower`, `upper` (null in
        the baseline), `alarm` and `baseline` (whether the limits were taken from this window).
        """
        parts = [self._charted(key) for key in self.results]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(FRAME)).astype(FRAME)

    def _charted(self, key: tuple) -> pd.DataFrame:
        own, split = self.windows, self.span.split  # type: ignore[union-attr]
        own = own[(own["feature_id"] == key[0]) & (own["metric"] == key[1]) & (own["window_start"] < split)]
        watched = self.results[key].windows
        table = pd.concat([own.assign(baseline=True), watched.assign(baseline=False)], ignore_index=True)
        named = table.assign(feature_id=key[0], metric=key[1], layer=self.measures[key[1]].layer)
        return named.assign(alarm=named["alarm"].astype("boolean").fillna(False).astype(bool))[list(FRAME)].astype(
            FRAME
        )

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
    span = span_of(log, plan, log.known_until)
    if span is None:
        return _join([], pd.DataFrame(columns=[*KEYS, "reason"]), plan, None, pd.DataFrame(), 1)
    table, own = measured(log, plan, span), plan.own_measures(log)
    found = chart_windows(table, plan, span, others=count_tests(log, plan))
    return replace(found, measures={name: measure(name, own) for name in table["metric"].unique()})


def chart_windows(table: pd.DataFrame, plan: Plan, span: Span, others: int = 0) -> PlanCharts:
    """Fit a chart to the baseline of every feature and metric, and judge the windows after it.

    Each of C charts gets arl0 = C * windows per month / budget, whatever its window's width; `others` is the number of
    tests that are no charts but share the budget.
    """
    before = table[table["window_start"] < span.split]
    usable = before.loc[before["value"].notna()].groupby(KEYS).size()
    known = table.drop_duplicates(KEYS)[KEYS].itertuples(index=False, name=None)
    short = [key for key in known if usable.get(key, 0) < FEWEST]
    reason = f"fewer than {FEWEST} windows with a value in the baseline"
    aside = pd.DataFrame([(*key, reason) for key in short], columns=[*KEYS, "reason"])
    kept = table[~pd.MultiIndex.from_frame(table[KEYS]).isin(short)] if short else table
    total = kept.drop_duplicates(KEYS).shape[0] + others
    parts = []
    for width in WIDTHS:
        mine = kept[kept["window"] == width]
        if mine.empty:
            continue
        share = mine.drop_duplicates(KEYS).shape[0] / total * plan.quality.false_alarms_per_month
        portfolio = ChartPortfolio(false_alarms_per_month=share, season=SEASON[width])
        columns = [*KEYS, "kind", *ENDS, "window_start", "window_end", "value", "n", "sd"]
        early, late = (
            mine.loc[part, columns] for part in (mine["window_start"] < span.split, mine["window_start"] >= span.split)
        )
        portfolio.fit(early)
        parts.append((portfolio, portfolio.monitor(late)))
    return _join(parts, aside, plan, span, table, total)


def _join(
    parts: list, aside: pd.DataFrame, plan: Plan, span: Span | None, table: pd.DataFrame, total: int
) -> PlanCharts:
    skipped = [frame for frame in (aside, *(result.not_charted for _, result in parts)) if len(frame)]
    budget = plan.quality.false_alarms_per_month
    return PlanCharts(
        results={key: one for _, result in parts for key, one in sorted(result.results.items(), key=str)},
        not_charted=pd.concat(skipped, ignore_index=True) if skipped else aside,
        false_alarms_per_month=budget,
        arl0=max(total, 1) * 30 / budget,
        span=span,
        windows=table,
        fitted={key: chart for portfolio, _ in parts for key, chart in portfolio.charts_.items()},
    )


def measured(log: Log, plan: Plan, span: Span) -> pd.DataFrame:
    """The closed windows of every feature and metric of the cost and quality layers, each in the width it fills."""
    own = plan.own_measures(log)
    tallies = hourly(log, charted_measures(log, plan), own)
    layers = {name: _layer(measure(name, own), plan) for name in tallies["metric"].unique()}
    needs = {
        name: plan.quality.answers_per_window if measure(name, own).judged else layer.requests_per_window
        for name, layer in layers.items()
    }
    charts_ = pd.MultiIndex.from_frame(tallies[KEYS].drop_duplicates()).sort_values()
    metric = charts_.get_level_values("metric")
    chosen = choose_windows(tallies, span, pd.Series(metric.map(needs), index=charts_, dtype=float))
    fixed = pd.Series([layers[m].window for m in metric], index=charts_, dtype=object)
    chosen = fixed.where(fixed != "auto", chosen)
    width = chosen.reindex(pd.MultiIndex.from_frame(tallies[KEYS])).to_numpy()
    parts = [to_windows(tallies[width == w], w, span).assign(window=w) for w in WIDTHS if (width == w).any()]
    columns = [*KEYS, "kind", *ENDS, "window", "window_start", "window_end", "value", "n", "sd", "known_at"]
    full = [part for part in parts if len(part)]
    table = pd.concat(full, ignore_index=True)[columns] if full else pd.DataFrame(columns=columns)
    return table.sort_values([*KEYS, "window_start"], ignore_index=True)


def _layer(each: Measure, plan: Plan):
    return plan.cost if each.layer == "cost" else plan.quality


def charted_measures(log: Log, plan: Plan) -> list[Measure]:
    """What the plan charts of a log, layer by layer; dimensions by their names."""
    own = plan.own_measures(log)
    quality: list[str] = [name for name in plan.quality.metrics if name != "dimensions"] if plan.quality.enabled else []
    cost: list[str] = list(plan.cost.metrics) if plan.cost.enabled else []
    if plan.quality.enabled and "dimensions" in plan.quality.metrics and log.has("judgements"):
        quality += [f"mean_{name}" for name in answers.dimension_names(log.table("judgements"))]
    mine = [each for each in own if _layer(each, plan).enabled]
    return [*(measure(name) for name in dict.fromkeys([*cost, *quality])), *mine]


def chart_events(charted: PlanCharts) -> list[Alert]:
    """What alarmed, each event as it was known when it fired: nothing in it uses a later window."""
    events: list[Alert] = []
    for key, result in charted.results.items():
        for alarm in result.alarms.itertuples():
            events.append(_event(charted, key, alarm))
    return events


def _event(charted: PlanCharts, key: tuple, alarm: Any) -> Alert:
    rows = charted.windows
    own = rows[(rows["feature_id"] == key[0]) & (rows["metric"] == key[1])]
    stream = own[(own["window_start"] >= charted.span.split) & (own["window_start"] <= alarm.first_window)]  # type: ignore[union-attr]
    columns = ["window_start", "window_end", "value", "n", "sd"]
    then = charted.fitted[key].monitor(stream[columns])
    first, center = then.alarms.iloc[-1], then.to_frame()["center"].iloc[-1]
    since = stream[(stream["window_start"] >= first["change_start"]) & stream["value"].notna()]
    value, low, high = _mean(since, own["kind"].iloc[0])
    width = windows.width(own["window"].iloc[0])
    return Alert(
        layer=charted.measures[key[1]].layer,
        metric=key[1],
        measure=charted.measures[key[1]],
        rule="chart",
        feature_id=key[0],
        fired_at=stream["known_at"].iloc[-1],
        window_start=stream["window_start"].iloc[-1],
        began=first["change_start"],
        began_low=first["change_low"],
        began_by=first["change_high"] + width,
        ended=alarm.end,
        value=value,
        expected=float(center),
        low=low,
        high=high,
        direction=alarm.direction,
        n=round(since["n"].sum()),
        designed_false_alarms_per_month=MONTH / width / float(then.arl0),
    )


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


def chart_of(
    log: Log,
    alert_metric: str,
    feature_id: str | None,
    plan: Plan | Any = None,
    *,
    window: str = "1d",
    false_alarms_per_month: float | None = None,
) -> ChartResult | None:
    """The control chart of one metric of one feature, day by day, at the false-alarm rate of the plan.

    Parameters
    ----------
    log : Log
    alert_metric : str
        A metric of any layer: a mean, a rate, ``latency_p95_ms``, a cost, ``request_count``.
    feature_id : str or None
        None: all features together.
    plan : path, dict, Plan, optional
    window : {"1d", "6h", "1h"}
    false_alarms_per_month : float, optional
        Of this chart alone, as its alert states it; by default its share of the plan's budget.

    Returns
    -------
    ChartResult or None
        Windows of the baseline first, without limits. None where there is no such chart: too few windows in the
        baseline, nothing that varies, or a metric that is tested and not charted (``query_drift``,
        ``probe_pass_rate``).
    """
    plan = read_plan(plan)
    one_of("window", window, WIDTHS)
    span = span_of(log, plan)
    if span is None:
        return None
    own = plan.own_measures(log)
    found = _windows_of(log, measure(alert_metric, own), own, feature_id, span, window)
    if found is None:
        return None
    table, kind = found
    early, late = table[table["window_start"] < span.split], table[table["window_start"] >= span.split]
    if early["value"].notna().sum() < FEWEST or late.empty:
        return None
    rate = false_alarms_per_month or plan.quality.false_alarms_per_month / charts_of_plan(log, plan, span)
    arl0 = max(MONTH / windows.width(window) / rate, 1.01)
    low, high = (float(early[end].iloc[0]) if end in early and early[end].notna().any() else None for end in ENDS)
    try:
        result = ControlChart(kind=kind, arl0=arl0, season=SEASON[window], low=low, high=high).fit(early).monitor(late)
    except ConfigError:
        return None
    return _after_baseline(result, early)


def _after_baseline(result: ChartResult, early: pd.DataFrame) -> ChartResult:
    """The result with the windows of the baseline in front of those watched, without limits and alarms."""
    shown = result.windows
    before = early[["window_start", "window_end", "value", "n"]].assign(center=shown["center"].mean(), alarm=False)
    return replace(result, windows=pd.concat([before, shown], ignore_index=True)[shown.columns])


def charts_of_plan(log: Log, plan: Plan, span: Span) -> int:
    """How many charts and tests share the budget of a plan on a log."""
    table = measured(log, plan, span)
    before = table[(table["window_start"] < span.split) & table["value"].notna()]
    return max(int((before.groupby(KEYS).size() >= FEWEST).sum()) + count_tests(log, plan), 1)


def _windows_of(
    log: Log, each: Measure, own: tuple[Measure, ...], feature: str | None, span: Span, window: str
) -> tuple[pd.DataFrame, str] | None:
    if each.of not in ("requests", "judgements", "signals", "thumbs"):
        return None
    if each.quantile is not None:
        return _quantile_windows(log, each.name, feature, span, window), "positive"
    if each.total:
        return _sum_windows(log, each, feature, span, window)
    tallies = hourly(log, [replace(each, name=each.name.split("[")[0])], own)
    mine = tallies[tallies["metric"] == each.name]
    mine = all_features(mine) if feature is None else mine[mine["feature_id"] == feature]
    return None if mine.empty else (to_windows(mine, window, span), mine["kind"].iloc[0])


def _sum_windows(log: Log, each: Measure, feature: str | None, span: Span, window: str):
    """Windows of a total: requests, or money spent."""
    kind = "count" if each.name == "request_count" else "positive"
    table = window_metrics(log, window, ["feature_id"] if feature is not None else [], fill=True)
    own = table if feature is None else table[table["feature_id"] == feature]
    own = own[(own["window_start"] >= span.start) & (own["window_end"] <= span.end)]
    value = own[each.name].astype(float)
    value = value if kind == "count" else value.where(value > 0)
    out = own[["window_start", "window_end"]].assign(value=value, n=np.nan, sd=np.nan)
    return out.reset_index(drop=True), kind


def _quantile_windows(log: Log, metric: str, feature: str | None, span: Span, window: str) -> pd.DataFrame:
    table = window_metrics(log, window, ["feature_id"] if feature is not None else [], fill=True)
    own = table if feature is None else table[table["feature_id"] == feature]
    own = own[(own["window_start"] >= span.start) & (own["window_end"] <= span.end)]
    value = own[metric].where(own[metric] > 0)
    out = own[["window_start", "window_end"]].assign(value=value, n=own["n_latency"].where(value.notna(), 0), sd=np.nan)
    return out.reset_index(drop=True)
