"""The chart of one metric of one feature, as the page and triage show it beside an alert."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import windows
from llm_monitoring.alerts import operation
from llm_monitoring.alerts import scopes as scoping
from llm_monitoring.alerts.charting import charted, settles, windows_of
from llm_monitoring.alerts.holidays import without_holidays
from llm_monitoring.alerts.measurements import DAY, WIDTHS, all_features, hourly
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.runs import Run, joined, run_all
from llm_monitoring.alerts.scopes import FEWEST_IN_BASELINE, Span, span_of
from llm_monitoring.errors import one_of
from llm_monitoring.log import Log
from llm_monitoring.measures import Measure, measure
from llm_monitoring.metrics import window_metrics

if TYPE_CHECKING:
    from llm_monitoring.charts.result import ChartResult


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
    table = _windows_of(log, measure(alert_metric, own), own, feature_id, plan, span, window)
    if table is None or table.empty:
        return None
    table = without_holidays(table, plan)
    start, fit_end = table["start"].iloc[0], table["fit_end"].iloc[0]
    rate = false_alarms_per_month or plan.quality.false_alarms_per_month / max(len(charted(log, plan, span).shares), 1)
    again = None if scoping.fixed(plan) else fit_end + (scoping.AGAIN - scoping.FIRST) * DAY
    run = Run((feature_id, alert_metric), table[table["window_start"] >= start], window, fit_end, fit_end,
              table["known_at"].iloc[0] - table["window_end"].iloc[0], rate, again)  # fmt: skip
    if alert_metric == operation.SPEND:
        run.hours = operation.spend_by_hour(log, plan, span).get(run.key)
    early = run.stream(start, fit_end)
    if early["value"].notna().sum() < FEWEST_IN_BASELINE or run.stream(fit_end, None).empty:
        return None
    run_all([run], span.end)
    return _after_baseline(joined(run), early) if run.stages else None


def _after_baseline(result: ChartResult, early: pd.DataFrame) -> ChartResult:
    """The result with the windows of the baseline in front of those watched, without limits and alarms."""
    shown = result.windows
    before = early[["window_start", "window_end", "value", "n"]].assign(center=shown["center"].iloc[0], alarm=False)
    return replace(result, windows=pd.concat([before, shown], ignore_index=True)[shown.columns])


def _windows_of(
    log: Log, each: Measure, own: tuple[Measure, ...], feature: str | None, plan: Plan, span: Span, window: str
) -> pd.DataFrame | None:
    """The windows of one metric of one feature, or of all together, with `start`, `fit_end` of the baseline."""
    if each.of not in ("requests", "judgements", "signals", "thumbs"):
        return None
    if each.quantile is not None or each.total:
        table = (_quantile_windows if each.quantile is not None else _sum_windows)(log, each, feature, span, window)
        return None if table.empty else _with_scope(table, plan)
    tallies = hourly(log, [replace(each, name=each.name.split("[")[0])], own, plan.baseline.days or scoping.FIRST)
    mine = tallies[tallies["metric"] == each.name]
    mine = all_features(mine).assign(feature_id="") if feature is None else mine[mine["feature_id"] == feature]
    if mine.empty:
        return None
    scopes = scoping.baselines(scoping.first_values(mine, {each.name: each.of}), plan).assign(window=window)
    scopes["settle"] = settles(log, plan, scopes, {each.name: each.of})
    table = windows_of(mine, scopes, span.end)
    return table.assign(start=scopes["start"].iloc[0], fit_end=scopes["fit_end"].iloc[0])


def _with_scope(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    scope = scoping.baselines(table["window_start"].iloc[:1], plan).iloc[0]
    return table.assign(
        known_at=table["window_end"], low=np.nan, high=np.nan, start=scope["start"], fit_end=scope["fit_end"]
    )


def _sum_windows(log: Log, each: Measure, feature: str | None, span: Span, window: str) -> pd.DataFrame:
    """Windows of a total: requests, or money spent."""
    hours = operation.hours_of(log)
    hours = hours if feature is None else hours[hours["feature_id"] == feature]
    if hours.empty:
        return hours
    value = operation.total(hours, each.name, window, span.start, span.asked)
    starts = pd.DatetimeIndex(value.index)
    table = {
        "window_start": starts,
        "window_end": starts + windows.width(window),
        "value": value.to_numpy(),
        "n": np.nan,
        "sd": np.nan,
    }
    return pd.DataFrame(table).assign(kind="positive")


def _whole_windows(log: Log, feature: str | None, span: Span, window: str) -> pd.DataFrame:
    table = window_metrics(log, window, ["feature_id"] if feature is not None else [], fill=True)
    own = table if feature is None else table[table["feature_id"] == feature]
    return own[(own["window_start"] >= span.start) & (own["window_end"] <= span.end)].reset_index(drop=True)


def _quantile_windows(log: Log, each: Measure, feature: str | None, span: Span, window: str) -> pd.DataFrame:
    own = _whole_windows(log, feature, span, window)
    value = own[each.name].where(own[each.name] > 0)
    n = own["n_latency"].where(value.notna(), 0)
    return own[["window_start", "window_end"]].assign(value=value, n=n, sd=np.nan, kind="positive")
