"""Check a log against a plan: all three layers, one row per cause."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from llm_monitoring import engines
from llm_monitoring.alerts.alert import Alert, read_alert
from llm_monitoring.alerts.charting import PlanCharts, chart_events, charted, nothing, signal_delays
from llm_monitoring.alerts.grouping import alerts_table
from llm_monitoring.alerts.infrastructure import infrastructure_events
from llm_monitoring.alerts.measurements import hourly, hours_of_judging
from llm_monitoring.alerts.names import features_of, not_in_log
from llm_monitoring.alerts.operation import hours_of
from llm_monitoring.alerts.plan import Plan, open_with, read_plan
from llm_monitoring.alerts.renamed import renamed, suggestions, with_new_names
from llm_monitoring.alerts.scopes import Span, span_of
from llm_monitoring.alerts.silent_judges import silent_judge_events
from llm_monitoring.alerts.unwatched import limit_events, not_watched
from llm_monitoring.alerts.versions import version_events
from llm_monitoring.alerts.weekly import abandonment_events, distance_events, drift_events, probe_events
from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.log import Log, LogLike
from llm_monitoring.measures import measure
from llm_monitoring.wording import NBSP, number


def check(log: LogLike, plan: Plan | Any = None, until: Any = None) -> pd.DataFrame:
    """The alerts of a log, of all three layers, each with the false-alarm rate that it was designed for.

    Parameters
    ----------
    log : Log, path, URL or dict of DataFrames
    plan : path of a TOML file, dict or Plan, optional
        What is watched and how closely; see docs/alerts.md. The default plan needs nothing.
    until : time, optional
        Take the log as it was known then.

    Returns
    -------
    DataFrame
        One row per cause and feature, most severe first, then earliest: ``alert_id``, ``layer``, ``metric``,
        ``feature_id`` (null = all), ``fired_at`` (when it could have been known), ``window_start`` (of the window that
        fired), ``value`` (mean since the change began) with its 95 % interval ``low``, ``high``, ``expected`` (the
        baseline's), ``direction``, ``severity``, ``n`` (answers behind `value`),
        ``designed_false_alarms_per_month`` (of this chart or rule alone), ``kind`` (change, standing, better), ``rule``
        (chart, test, limit), ``version`` and ``reopens`` (else null), ``message``.

    Raises
    ------
    LogError, ConfigError
        The log or the plan cannot be used as it stands.

    Examples
    --------
    >>> import pandas as pd
    >>> from llm_monitoring import open_log
    >>> times = pd.date_range("2026-05-04", periods=21 * 24 * 4, freq="15min", tz="UTC")
    >>> requests = pd.DataFrame({"timestamp": times, "feature_id": "search", "model_id": "m-1", "latency_ms": 800.0})
    >>> requests["request_id"] = [f"r{i}" for i in range(len(times))]
    >>> requests["error"] = [("timeout" if t >= times[-200] else None) for t in times]
    >>> check(open_log({"requests": requests}))[["layer", "metric", "feature_id", "severity"]].values.tolist()
    [['infrastructure', 'error_rate', 'search', 'critical']]
    """
    plan = read_plan(plan)
    log = open_with(log, plan)
    log.validate()
    log = log if until is None else log.until(until)
    return with_charts(log, plan)[0]


def with_charts(log: Log, plan: Plan) -> tuple[pd.DataFrame, PlanCharts]:
    """The alerts of an open log, and the charts behind them."""
    span = span_of(log, plan)
    if span is None:
        empty = alerts_table([], plan)
        empty.attrs["not_watched"] = []
        return empty, nothing(plan)
    found = charted(log, plan, span)
    events: list[Alert] = [*infrastructure_events(log, plan, span), *chart_events(found, log, plan)]
    if plan.quality.enabled:
        events += _leaving(log, plan, found, span)
        if len(found.tallies):
            events += limit_events(found.tallies, plan, span)
            by_all = hours_of_judging(log) if log.has("judgements") else None
            events += silent_judge_events(found.tallies, found.measures.values(), hours_of(log), plan, span, by_all)
        events += drift_events(log, plan, span, found.shares) if plan.quality.query_drift else []
        events += probe_events(log, span, found.shares) if plan.quality.probes else []
        events += version_events(found.versions, found.shares, span.end) if len(found.versions) else []
        events += distance_events(log, span, found.shares) if plan.quality.probes else []
    names = renamed(hours_of(log), span)
    table = alerts_table(with_new_names(events, names), plan, span.end)
    table.attrs["renamed"] = suggestions(names, plan.features)
    table.attrs |= {"charts": len(found.shares), "false_alarms_per_month": plan.quality.false_alarms_per_month}
    table.attrs |= {"not_watched": not_watched(found), "not_in_log": not_in_log(log, plan)}
    return table, found


def _leaving(log: Log, plan: Plan, found: PlanCharts, span: Span) -> list[Alert]:
    names = ("abandonment_rate", "explicit_positive_rate")
    there = len(found.tallies) and set(names) <= set(plan.quality.metrics)
    tallies = found.tallies if there else hourly(log, [measure(name) for name in names])
    return abandonment_events(tallies, plan, span, signal_delays(log, plan, tallies))


def find_alert(log: Log, alert: Alert | Mapping[str, Any] | pd.Series | str, plan: Plan | Any = None) -> Alert:
    """The alert that a stage is asked about: by its id, as a row of `check`, as a dict, or as it is.

    A log is checked once for each plan, and remembers what was found.

    Raises
    ------
    ConfigError
        The log has no alert of this id, or the row cannot be read; see `read_alert`.
    """
    if not isinstance(log, Log):
        raise ConfigError(f"log: {quote(log)}; expected what open_log gives, such as lm.open_log('sample_data')")
    plan = read_plan(plan)
    if not isinstance(alert, str):
        read = read_alert(alert, plan.own_measures(log))
        _check_feature(log, read.feature_id)
        return read
    found, _ = checked(log, plan)
    mine = found[found["alert_id"] == alert]
    if mine.empty:
        near = difflib.get_close_matches(alert, found["alert_id"].tolist(), n=5, cutoff=0.0)
        listed = ", ".join(repr(each) for each in near) or "none"
        raise ConfigError(f"alert {quote(alert)}: the log has no such alert; it has {listed}")
    return read_alert(mine.iloc[0], plan.own_measures(log))


def _check_feature(log: Log, feature: str | None) -> None:
    """Refuse a feature of which the log holds no request: a stage would have nothing to compare."""
    requests = log.table("requests")
    if feature is None or engines.run(requests.filter(requests["feature_id"] == feature).limit(1)).num_rows:
        return
    one_of("alert feature_id", feature, features_of(log))


def checked(log: Log, plan: Plan) -> tuple[pd.DataFrame, PlanCharts]:
    """What `check` finds, and the charts behind it, looked for once for each log and plan."""
    key = plan.model_dump_json()
    if key not in log.checked:
        opened = open_with(log, plan)
        opened.validate()
        log.checked[key] = with_charts(opened, plan)
    return log.checked[key]


def detectable(found: PlanCharts) -> str:
    """How many charts watched how long, and which fall of quality they would have seen: for a log without alerts.

    Parameters
    ----------
    found : PlanCharts
        As `control_charts` gives it.

    Returns
    -------
    str
        One sentence.
    """
    if found.span is None:
        return "No chart: the log holds no request."
    days = (found.span.end - found.span.split) / pd.Timedelta("1D")
    falls = {
        feature: result.detectable
        for (feature, metric), result in found.results.items()
        if metric == "mean_quality" and result.detectable is not None
    }
    sizes = f"{number(len(found.results))}{NBSP}charts over {number(max(days, 0))}{NBSP}days after the baseline"
    if not falls:
        return f"{sizes}; no judged answers are charted, so nothing is said about quality."
    best, worst = min(falls, key=falls.__getitem__), max(falls, key=falls.__getitem__)
    seen = f"a fall of quality by {number(falls[best], 1)} points in {best}"
    seen += f" and {number(falls[worst], 1)} in {worst}" if worst != best else ""
    return f"{sizes}; {seen} would have been seen within a week in 8 of 10 cases."
