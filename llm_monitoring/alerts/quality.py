"""The quality layer: what is judged and what users do, charted per feature under one budget of false alarms.

The charts of the cost layer share the budget, so they are fitted here too; `charts` shows all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import engines, windows
from llm_monitoring.alerts.cost import COLUMN, cost_tallies, spent
from llm_monitoring.alerts.events import Event, finite
from llm_monitoring.alerts.measurements import (
    FEWEST,
    KEYS,
    SEASON,
    TALLIES,
    WIDTHS,
    Span,
    all_features,
    by_hour,
    choose_windows,
    moment_of,
    request_hours,
    span_of,
    tally,
    to_windows,
)
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.weekly import count_tests
from llm_monitoring.charts.portfolio import ChartPortfolio, PortfolioResult
from llm_monitoring.charts.predictive import ControlChart
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.intervals import wilson
from llm_monitoring.metrics import window_metrics

if TYPE_CHECKING:
    from llm_monitoring.charts.result import ChartResult
    from llm_monitoring.log import Log

SHARES = {"refusal_rate": "refusals", "truncation_rate": "truncated", "error_rate": "errors"}
SIGNALS = {
    "abandonment_rate": "abandoned",
    "retry_rate": "retry",
    "correction_rate": "correction",
    "follow_up_rate": "follow_up",
}
LATENCIES = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
MONTH = pd.Timedelta("30D")


@dataclass(frozen=True, repr=False)
class PlanCharts(PortfolioResult):
    """All charts of a plan: what a portfolio shows, and the windows behind it.

    Attributes
    ----------
    span : Span or None
        Baseline and watched time; None for a log without requests.
    windows : DataFrame
        `feature_id`, `metric`, `kind`, `window` (1h, 6h, 1d), `window_start`, `window_end`, `value`, `n`, `sd`,
        `known_at`: baseline and watched windows of every chart.
    fitted : dict
        (feature_id, metric) -> the fitted ControlChart.
    """

    span: Span | None = None
    windows: pd.DataFrame = field(default_factory=pd.DataFrame)
    fitted: dict[tuple[Any, Any], ControlChart] = field(default_factory=dict)


def charts(log: Log, plan: Plan | Any = None, until: Any = None) -> PlanCharts:
    """Every chart of the plan over a log, alarm or not.

    Parameters
    ----------
    log : Log
    plan : path, dict, Plan, optional
    until : time, optional
        The log as it was known then.

    Returns
    -------
    PlanCharts
        `.to_frame()` one row per chart and window, `.plot()` small multiples, `.not_charted` with reasons.
    """
    plan, when = read_plan(plan), moment_of(until)
    log = log if when is None else log.until(when)
    span = span_of(log, plan, when)
    if span is None:
        return _join([], pd.DataFrame(columns=[*KEYS, "reason"]), plan, None, pd.DataFrame(), 1)
    return chart_windows(measure(log, plan, span), plan, span, others=count_tests(log, plan))


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
        columns = [*KEYS, "kind", "window_start", "window_end", "value", "n", "sd"]
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


def measure(log: Log, plan: Plan, span: Span) -> pd.DataFrame:
    """The closed windows of every feature and metric of the cost and quality layers, each in the width it fills."""
    hours = request_hours(log)
    tallies = pd.concat([cost_tallies(hours, plan), *_quality_tallies(log, hours, plan)], ignore_index=True)
    layers = {metric: plan.cost if metric in COLUMN else plan.quality for metric in tallies["metric"].unique()}
    needs = {
        m: plan.quality.answers_per_window if is_judged(m) else layer.requests_per_window for m, layer in layers.items()
    }
    charts_ = pd.MultiIndex.from_frame(tallies[KEYS].drop_duplicates()).sort_values()
    metric = charts_.get_level_values("metric")
    chosen = choose_windows(tallies, span, pd.Series(metric.map(needs), index=charts_, dtype=float))
    fixed = pd.Series([layers[m].window for m in metric], index=charts_)
    chosen = fixed.where(fixed != "auto", chosen)
    own = chosen.reindex(pd.MultiIndex.from_frame(tallies[KEYS])).to_numpy()
    parts = [to_windows(tallies[own == w], w, span).assign(window=w) for w in WIDTHS if (own == w).any()]
    columns = [*KEYS, "kind", "window", "window_start", "window_end", "value", "n", "sd", "known_at"]
    full = [part for part in parts if len(part)]
    table = pd.concat(full, ignore_index=True)[columns] if full else pd.DataFrame(columns=columns)
    return table.sort_values([*KEYS, "window_start"], ignore_index=True)


def is_judged(metric: str) -> bool:
    """Whether a metric rests on judged answers."""
    return metric.startswith("mean_") or metric in ("flagged_rate", "failed_rate")


def _quality_tallies(log: Log, hours: pd.DataFrame, plan: Plan) -> Iterator[pd.DataFrame]:
    if not plan.quality.enabled:
        return
    wanted = plan.quality.metrics
    yield from _shares(hours, [metric for metric in wanted if metric in SHARES])
    yield from _judged(log, wanted)
    yield from _signalled(log, hours, wanted)


def _shares(hours: pd.DataFrame, metrics: list) -> Iterator[pd.DataFrame]:
    for metric in metrics:
        base = "requests" if metric == "error_rate" else "reasons"
        names = {base: "n", SHARES[metric]: "total"}
        yield tally(hours[["feature_id", "hour", *names]].rename(columns=names), metric, "proportion")


def _judged(log: Log, wanted) -> Iterator[pd.DataFrame]:
    """Sums of the judgements by the hour of the request, weighted by 1 / inclusion_probability where that is known."""
    rows = judged_rows(log)
    if rows.empty:
        return
    ok = rows[rows["quality_score"].notna()]
    if "mean_quality" in wanted:
        yield _sums(ok, ok["quality_score"], "mean_quality", "mean")
    if "flagged_rate" in wanted:
        yield _sums(ok, ok["flagged"].astype(float), "flagged_rate", "proportion")
    if "failed_rate" in wanted:
        yield _sums(rows, rows["quality_score"].isna().astype(float), "failed_rate", "proportion")
    for name, values in dimensions(ok).items():
        if "dimensions" in wanted or f"mean_{name}" in wanted:
            there = values.notna()
            yield _sums(ok[there], values[there], f"mean_{name}", "mean")


def judged_rows(log: Log) -> pd.DataFrame:
    """The latest judgement of each request, with `hour` of the request (of the judgement where that is unknown)."""
    rows = log.judgements.sort_values(["judged_at", "request_id"]).drop_duplicates("request_id", keep="last")
    if rows.empty:
        return rows.assign(hour=rows["judged_at"], weight=np.nan)
    requests, judged = log.table("requests"), log.table("judgements")
    chosen = requests.semi_join(judged, "request_id").select("request_id", "timestamp")
    times = engines.run(chosen).to_pandas().drop_duplicates("request_id").set_index("request_id")["timestamp"]
    asked = pd.Series(times.reindex(rows["request_id"]).array, index=rows.index).fillna(rows["judged_at"])
    chance = rows["inclusion_probability"].fillna(1.0)
    return rows.assign(hour=windows.floor(asked, "1h"), weight=1 / chance.where(chance > 0, 1.0))


def dimensions(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Scores per dimension of the rubric, as one series each."""
    table = pd.DataFrame(rows["dimensions"].tolist(), index=rows.index)
    return {str(name): pd.to_numeric(table[name], errors="coerce") for name in sorted(table.columns, key=str)}


def _sums(rows: pd.DataFrame, values: pd.Series, metric: str, kind: str) -> pd.DataFrame:
    weight = rows["weight"]
    parts = {"weight": weight, "weight2": weight**2, "total": weight * values, "squares": weight * values**2}
    table = pd.DataFrame(
        {"feature_id": rows["feature_id"], "hour": rows["hour"], "last": rows["judged_at"], "n": 1, **parts}
    )
    kinds = dict.fromkeys(["n", *parts], "sum") | {"last": "max"}
    return tally(table.groupby(["feature_id", "hour"], as_index=False).agg(kinds), metric, kind)


def _signalled(log: Log, hours: pd.DataFrame, wanted) -> Iterator[pd.DataFrame]:
    """Shares of requests with a signal, and of thumbs that are up; only signals that are logged at all."""
    if not log.has("signals"):
        return
    found = _signal_hours(log)
    base = hours[["feature_id", "hour", "requests"]].rename(columns={"requests": "n"})
    for metric in (metric for metric in SIGNALS if metric in wanted):
        own = found.loc[found["signal_type"] == SIGNALS[metric], ["feature_id", "hour", "total", "last"]]
        if len(own):
            yield tally(
                base.merge(own, how="left", on=["feature_id", "hour"]).fillna({"total": 0}), metric, "proportion"
            )
    if "explicit_positive_rate" in wanted:
        thumbs = found[found["signal_type"].isin(["thumbs_up", "thumbs_down"])]
        up = thumbs["total"].where(thumbs["signal_type"] == "thumbs_up", 0)
        sums = thumbs.assign(n=thumbs["total"], total=up).groupby(["feature_id", "hour"], as_index=False)
        yield tally(sums.agg({"n": "sum", "total": "sum", "last": "max"}), "explicit_positive_rate", "proportion")


def _signal_hours(log: Log) -> pd.DataFrame:
    """Distinct requests per feature, hour of the request and type of signal, and the last of these signals."""
    signals = log.table("signals").select("request_id", "signal_type", at="timestamp")
    requests = log.table("requests").select("request_id", "feature_id", "timestamp")
    joined = signals.join(requests, "request_id")
    keyed, keys = windows.keyed(joined, "timestamp", "1h", ["feature_id", "signal_type"])
    grouped = keyed.group_by(keys).aggregate(total=keyed.request_id.nunique(), last=keyed["at"].max())
    found = by_hour(engines.run(grouped).to_pandas(), ["feature_id", "signal_type"])
    return found.sort_values(["feature_id", "hour", "signal_type"], ignore_index=True)


def leaving(log: Log, hours: pd.DataFrame) -> pd.DataFrame:
    """Hourly sums of abandonment and thumbs, whatever the plan charts; empty without signals."""
    parts = list(_signalled(log, hours, ("abandonment_rate", "explicit_positive_rate")))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TALLIES)


def chart_events(charted: PlanCharts) -> list[Event]:
    """What alarmed, each event as it was known when it fired: nothing in it uses a later window."""
    events: list[Event] = []
    for key, result in charted.results.items():
        for alarm in result.alarms.itertuples():
            events.append(_event(charted, key, alarm))
    return events


def _event(charted: PlanCharts, key: tuple, alarm: Any) -> Event:
    rows = charted.windows
    own = rows[(rows["feature_id"] == key[0]) & (rows["metric"] == key[1])]
    stream = own[(own["window_start"] >= charted.span.split) & (own["window_start"] <= alarm.first_window)]  # type: ignore[union-attr]
    columns = ["window_start", "window_end", "value", "n", "sd"]
    then = charted.fitted[key].monitor(stream[columns])
    first, center = then.alarms.iloc[-1], then.to_frame()["center"].iloc[-1]
    since = stream[(stream["window_start"] >= first["change_start"]) & stream["value"].notna()]
    value, low, high = _mean(since, own["kind"].iloc[0])
    width = windows.width(own["window"].iloc[0])
    return Event(
        layer="cost" if key[1] in COLUMN else "quality",
        metric=key[1],
        feature_id=key[0],
        fired_at=stream["known_at"].iloc[-1],
        window_start=stream["window_start"].iloc[-1],
        began=first["change_start"],
        began_low=first["change_low"],
        began_by=first["change_high"] + width,
        ended=alarm.end,
        value=value,
        expected=finite(center),
        low=low,
        high=high,
        direction=alarm.direction,
        n=round(since["n"].sum()),
        designed=MONTH / width / result_arl0(then),
    )


def result_arl0(result: ChartResult) -> float:
    """Windows per false alarm that the chart was designed for."""
    return float(result.arl0)


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
    found = _windows_of(log, alert_metric, feature_id, span, window)
    if found is None:
        return None
    table, kind = found
    early, late = table[table["window_start"] < span.split], table[table["window_start"] >= span.split]
    if early["value"].notna().sum() < FEWEST or late.empty:
        return None
    rate = false_alarms_per_month or plan.quality.false_alarms_per_month / charts_of_plan(log, plan, span)
    arl0 = max(MONTH / windows.width(window) / rate, 1.01)
    try:
        result = ControlChart(kind=kind, arl0=arl0, season=SEASON[window]).fit(early).monitor(late)
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
    table = measure(log, plan, span)
    before = table[(table["window_start"] < span.split) & table["value"].notna()]
    return max(int((before.groupby(KEYS).size() >= FEWEST).sum()) + count_tests(log, plan), 1)


def _windows_of(log: Log, metric: str, feature: str | None, span: Span, window: str) -> tuple[pd.DataFrame, str] | None:
    if metric in LATENCIES:
        return _quantile_windows(log, metric, feature, span, window), "positive"
    hours = request_hours(log)
    if metric in ("request_count", "total_cost_usd"):
        return _sum_windows(hours, metric, feature, span, window)
    if metric in COLUMN:
        tallies = spent(hours, [metric])
    else:
        wanted = [metric, "dimensions"] if metric.startswith("mean_") and metric != "mean_quality" else [metric]
        parts = [
            *_shares(hours, [m for m in wanted if m in SHARES]),
            *_judged(log, wanted),
            *_signalled(log, hours, wanted),
        ]
        tallies = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TALLIES)
    own = tallies[tallies["metric"] == metric]
    own = all_features(own) if feature is None else own[own["feature_id"] == feature]
    return None if own.empty else (to_windows(own, window, span), own["kind"].iloc[0])


def _sum_windows(hours: pd.DataFrame, metric: str, feature: str | None, span: Span, window: str):
    """Windows of a total: requests, or money spent."""
    column, kind = ("requests", "count") if metric == "request_count" else ("cost_usd", "positive")
    own = hours if feature is None else hours[hours["feature_id"] == feature]
    total = own.groupby(windows.floor(own["hour"], window))[column].sum()
    table = total.rename("value").rename_axis("window_start").reset_index()
    table["window_end"] = table["window_start"] + windows.width(window)
    table = table[(table["window_start"] >= span.start) & (table["window_end"] <= span.end)]
    return table.assign(value=table["value"].where(table["value"] > 0), n=np.nan, sd=np.nan), kind


def _quantile_windows(log: Log, metric: str, feature: str | None, span: Span, window: str) -> pd.DataFrame:
    table = window_metrics(log, window, ["feature_id"] if feature is not None else [], fill=True)
    own = table if feature is None else table[table["feature_id"] == feature]
    own = own[(own["window_start"] >= span.start) & (own["window_end"] <= span.end)]
    value = own[metric].where(own[metric] > 0)
    out = own[["window_start", "window_end"]].assign(value=value, n=own["n_latency"].where(value.notna(), 0), sd=np.nan)
    return out.reset_index(drop=True)
