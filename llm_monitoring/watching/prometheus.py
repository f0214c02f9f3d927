"""The infrastructure layer of a plan for Prometheus and Grafana: alerting rules over the numbers of `watch`, and a dashboard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from llm_monitoring import disk
from llm_monitoring.alerts.plan import Plan, open_with, read_plan
from llm_monitoring.log import LogLike
from llm_monitoring.watching.gauges import FRONT
from llm_monitoring.watching.levels import QUANTILES, Levels, levels_of

SILENT_S = 900


def export_prometheus(log: LogLike, plan: Plan | Any = None, out: str | os.PathLike = "prometheus") -> list[Path]:
    """Write `rules.yml` and `dashboard.json` for the infrastructure layer of a plan.

    The rules read what a running `watch` shows under ``prometheus://HOST:PORT``. They fire where the plan's limits do:
    the gauges ``..._low`` and ``..._high`` are ends of the plan's interval, over as many windows as its `for` says.

    Parameters
    ----------
    log : Log, path, URL or dict of DataFrames
        Limits that are multiples of the usual are taken from its baseline.
    plan : path, dict or Plan, optional
    out : path
        A folder, made where it is not there.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    LogError, ConfigError
        The log or the plan cannot be used as it stands.

    Examples
    --------
    >>> export_prometheus("my_log", "monitoring.toml", "prometheus")    # doctest: +SKIP
    [PosixPath('prometheus/rules.yml'), PosixPath('prometheus/dashboard.json')]
    """
    import yaml

    watched = read_plan(plan)
    levels = levels_of(open_with(log, watched), watched)
    folder = disk.make_folder(out)
    rules = yaml.safe_dump(rules_of(watched, levels), sort_keys=False, allow_unicode=False, width=1000)
    board = json.dumps(dashboard_of(watched, levels), indent=1)
    return [disk.write(folder / "rules.yml", rules), disk.write(folder / "dashboard.json", board + "\n")]


def rules_of(plan: Plan, levels: Levels) -> dict[str, Any]:
    """Alerting rules as Prometheus reads them."""
    settings, rules = plan.infrastructure, []
    if settings.enabled:
        rules.append(
            _rule("LLMErrorRate", f"{FRONT}error_rate_low > {settings.error_rate!r}", "critical",
                  f"error rate is over {100 * settings.error_rate:g} %", "{{ $value | humanizePercentage }} at least")
        )  # fmt: skip
        for feature, level in levels.features.iterrows():
            for name, share in QUANTILES.items():
                limit = float(level[f"{name}_limit"])
                if limit == limit:
                    where = f"{{feature_id={_text(str(feature))}}}"
                    rules.append(
                        _rule(f"LLMLatencyP{100 * share:g}", f"{FRONT}{name}_low{where} > {limit!r}", "warning",
                              f"{100 * share:g} % quantile of the latency is over {limit:.0f} ms",
                              "{{ $value | humanize }} ms at least", str(feature))
                    )  # fmt: skip
        count, usual = f"{FRONT}request_count", f"{FRONT}request_count_usual"
        rules += [
            _rule("LLMRequestsMissing", f"{count}_high < {settings.volume_low!r} * {usual}", "critical",
                  f"fewer requests than {100 * settings.volume_low:g} % of the usual", "{{ $value | humanize }} at most"),
            _rule("LLMRequestsSurge", f"{count}_low > {settings.volume_high!r} * {usual}", "warning",
                  f"more requests than {settings.volume_high:g} times the usual", "{{ $value | humanize }} at least"),
        ]  # fmt: skip
    silent = f"(time() - {FRONT}read_timestamp_seconds > {SILENT_S}) or absent({FRONT}read_timestamp_seconds)"
    rules.append({
        "alert": "LLMWatchSilent", "expr": silent, "for": "5m", "labels": {"severity": "critical"},
        "annotations": {"summary": "llm-monitoring watch has not read its log for a quarter of an hour"},
    })  # fmt: skip
    return {"groups": [{"name": "llm_monitoring", "rules": rules}]}


def _rule(
    name: str, expression: str, severity: str, words: str, value: str, feature: str | None = None
) -> dict[str, Any]:
    """One rule; names of features reach its texts by label only, since texts are templates.

    Rules of one name that are each for one feature bear it as a label, as a quoted text of a template: two rules alike in
    name and labels are one fault to `promtool`.
    """
    labels = {"severity": severity, "layer": "infrastructure"}
    return {
        "alert": name,
        "expr": expression,
        "labels": labels if feature is None else labels | {"feature_id": f"{{{{ {_text(feature)} }}}}"},
        "annotations": {
            "summary": f"{{{{ $labels.feature_id }}}}: {words}",
            "description": f"{{{{ $labels.feature_id }}}}, windows of {{{{ $labels.window }}}}: {value}.",
        },
    }


def _text(text: str) -> str:
    """A text as PromQL and Go's templates write it: no pairs of escapes for one letter, as JSON has them."""
    return json.dumps(text.encode(errors="replace").decode(), ensure_ascii=False)


def dashboard_of(plan: Plan, levels: Levels) -> dict[str, Any]:
    """A Grafana dashboard of the same numbers, features side by side, limits drawn in."""
    settings = plan.infrastructure
    panels = [
        ("Error rate", ["error_rate"], "percentunit", settings.error_rate),
        ("Latency, 95 % and 99 % quantile", ["latency_p95_ms", "latency_p99_ms"], "ms", None),
        ("Requests a window, and the usual", ["request_count", "request_count_usual"], "short", None),
        ("Cost of the window", ["total_cost_usd"], "currencyUSD", None),
    ]
    made = [_graph(i, *panel) for i, panel in enumerate(panels)]
    alerts = f'{FRONT}alert_open{{feature_id=~"$feature|"}}'
    made.append({
        "id": 5, "type": "table", "title": "Open alerts of all layers", "datasource": DATASOURCE,
        "gridPos": {"x": 0, "y": 16, "w": 18, "h": 8},
        "targets": [{"refId": "A", "expr": alerts, "format": "table", "instant": True, "datasource": DATASOURCE}],
    })  # fmt: skip
    age = f"time() - {FRONT}log_end_timestamp_seconds"
    made.append({
        "id": 6, "type": "stat", "title": "Age of the last request", "datasource": DATASOURCE,
        "gridPos": {"x": 18, "y": 16, "w": 6, "h": 8}, "fieldConfig": {"defaults": {"unit": "s"}, "overrides": []},
        "targets": [{"refId": "A", "expr": age, "datasource": DATASOURCE}],
    })  # fmt: skip
    features = {
        "name": "feature", "type": "query", "datasource": DATASOURCE, "multi": True, "includeAll": True,
        "query": f"label_values({FRONT}request_count, feature_id)", "refresh": 2, "sort": 1,
        "current": {"text": ["All"], "value": ["$__all"]},
    }  # fmt: skip
    source = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "title": "LLM features", "uid": "llm-monitoring", "schemaVersion": 39, "version": 1, "editable": True,
        "tags": ["llm-monitoring"], "time": {"from": "now-7d", "to": "now"}, "refresh": "1m", "timezone": "utc",
        "templating": {"list": [source, features]}, "panels": made,
    }  # fmt: skip


DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _graph(number: int, title: str, names: list[str], unit: str, limit: float | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": "red", "value": limit}] if limit is not None else []
    targets = [
        {"refId": "AB"[i], "expr": f'{FRONT}{name}{{feature_id=~"$feature"}}', "datasource": DATASOURCE,
         "legendFormat": "{{feature_id}}" + (f" {name.rpartition('latency_')[2]}" if len(names) > 1 else "")}
        for i, name in enumerate(names)
    ]  # fmt: skip
    drawn = {"thresholdsStyle": {"mode": "line"}} if limit is not None else {}
    defaults = {"unit": unit, "custom": drawn, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "id": number + 1, "type": "timeseries", "title": title, "datasource": DATASOURCE, "targets": targets,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }  # fmt: skip
