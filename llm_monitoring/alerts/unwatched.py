"""What has no chart, why, and what its level is beside the others; and absolute limits for what has no baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.charting import PlanCharts
from llm_monitoring.alerts.measurements import DAY
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.alerts.spells import spells
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.intervals import wilson
from llm_monitoring.measures import measure
from llm_monitoring.wording import NBSP, amount, moment, number, one_line, span

FEWEST_ANSWERS = 20
TELLING = ("flagged_rate", "mean_quality", "error_rate", "refusal_rate", "abandonment_rate", "avg_cost_per_request_usd")


def not_watched(found: PlanCharts) -> list[dict[str, Any]]:
    """What has no chart: `feature_id`, `metric`, `reason`, `level` and `others` (lowest and highest level of other features)."""
    levels = found.levels
    rows = []
    for line in found.not_charted.itertuples():
        others = [level for key, level in levels.items() if key[1] == line.metric and key[0] != line.feature_id]
        known = [level for level in others if np.isfinite(level)]
        level = levels.get((line.feature_id, line.metric), float("nan"))
        rows.append({
            "feature_id": line.feature_id, "metric": line.metric, "reason": line.reason,
            "level": float(level) if np.isfinite(level) else None, "others": [min(known), max(known)] if known else None,
        })  # fmt: skip
    return rows


def sentences(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each feature and reason, with the most telling level.

    >>> row = {"feature_id": "returns", "metric": "flagged_rate", "reason": "3 days of history", "level": 0.34}
    >>> sentences([row | {"others": [0.02, 0.03]}])[0].replace(NBSP, " ")
    'not watched: returns: share of flagged answers: 3 days of history; share of flagged answers 34 %, the other features 2.0 to 3.0 %'
    """
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["feature_id"], row["reason"]), []).append(row)
    out = []
    for (feature, reason), own in groups.items():
        own = sorted(own, key=lambda row: _rank(row["metric"]))
        told = next((row for row in own if row["level"] is not None), None)
        few = [measure_words(row["metric"]) for row in own]
        what = "" if len(own) > 5 else f": {', '.join(few)}"
        level = "" if told is None else f"; {_level(told)}"
        out.append(f"not watched: {one_line(str(feature))}{what}: {reason}{level}")
    return out


def measure_words(metric: str) -> str:
    """The metric in words, or its name where it is one of the user's own."""
    try:
        return measure(metric).words
    except ValueError:
        return metric


def _rank(metric: str) -> tuple[int, str]:
    return (TELLING.index(metric) if metric in TELLING else len(TELLING), metric)


def _level(row: dict[str, Any]) -> str:
    try:
        unit = measure(row["metric"]).shown_in
    except ValueError:
        unit = "count"
    told = f"{measure_words(row['metric'])} {amount(row['level'], unit)}"
    if row["others"] is None:
        return told
    low, high = (amount(end, unit) for end in row["others"])
    between = low if low == high else f"{low.removesuffix(f'{NBSP}%')} to {high}"
    return f"{told}, the other features {between}"


def limit_events(tallies: pd.DataFrame, plan: Plan, span_: Span) -> list[Alert]:
    """Features whose flagged answers or mean quality are beyond the plan's absolute limits, baseline or not.

    Looked at every day: the answers of the last seven days that are known by then, 20 at least, with their 95 % interval
    wholly beyond the limit.
    """
    settings = plan.quality
    limits = {
        "flagged_rate": (settings.flagged_rate_limit, "up"),
        "mean_quality": (settings.mean_quality_limit, "down"),
    }
    events: list[Alert] = []
    for (feature, metric), own in tallies.groupby(["feature_id", "metric"], sort=True):
        limit, direction = limits.get(str(metric), (None, ""))
        if limit is None:
            continue
        start = own["hour"].min().floor("D")
        looks: list[tuple[pd.Timestamp, Alert | None]] = []
        for day in pd.date_range(start + DAY, span_.end.floor("D"), freq="D"):
            inside = own[(own["hour"] >= day - 7 * DAY) & (own["hour"] < day) & (own["known"] <= day)]
            value, low, high, n = _known(inside, str(metric))
            if n < FEWEST_ANSWERS:
                continue
            if not (low > limit if direction == "up" else high < limit):
                looks.append((day, None))
                continue
            each = measure(str(metric))
            unit = each.shown_in
            words = (
                f"{one_line(str(feature))}: {each.words} {amount(value, unit)} {span(low, high, unit, like=value)} in the week to "
                f"{moment(day)}, limit {amount(limit, unit, like=value)} ({number(n)}{NBSP}{each.counted})"
            )
            since = max(day - 7 * DAY, start)
            alert = Alert(
                str(metric), day, direction, str(feature), since, layer="quality", value=value, expected=limit, low=low,
                high=high, n=round(n), rule="limit", kind="standing", limit=limit, words=words, began=since,
                began_low=since, began_by=day, ended=day, designed_false_alarms_per_month=0.025 * MONTH / (7 * DAY),
            )  # fmt: skip
            looks.append((day, alert))
        events += spells(looks)
    return events


def _known(rows: pd.DataFrame, metric: str) -> tuple[float, float, float, float]:
    weight, weight2, total, squares = (rows[name].sum() for name in ("weight", "weight2", "total", "squares"))
    if not weight > 0:
        return np.nan, np.nan, np.nan, 0.0
    value, n = total / weight, weight**2 / weight2
    if metric == "flagged_rate":
        low, high = wilson(value * n, n)
        return value, float(low), float(high), n
    reach = 1.96 * np.sqrt(max(squares / weight - value**2, 0) / max(n - 1, 1))
    return value, value - reach, value + reach, n
