"""From what fired to the alerts table: how bad it is, which alarms share a cause, one row and one sentence for each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from llm_monitoring.alerts.plan import Plan
from llm_monitoring.wording import NBSP, amount, metric_words, moment, number, span

COLUMNS = {
    "alert_id": "str",
    "layer": "str",
    "metric": "str",
    "feature_id": "str",
    "fired_at": "datetime64[us, UTC]",
    "window_start": "datetime64[us, UTC]",
    "value": "float64",
    "expected": "float64",
    "low": "float64",
    "high": "float64",
    "direction": "str",
    "severity": "str",
    "n": "Int64",
    "designed_false_alarms_per_month": "float64",
    "message": "str",
}
SEVERITIES = ("critical", "warning", "info")
BETTER_UP = ("mean_", "explicit_positive_rate", "probe_pass_rate")
NO_SIDE = ("query_drift", "request_count")


@dataclass(frozen=True)
class Event:
    """One metric of one feature outside its limits, as it was known at `fired_at`.

    `began` is when the change most likely began, `began_low` to `began_by` its interval, `ended` the end of the last window outside.
    `value` with its 95 % interval is the mean since the change. `limit` is set where a fixed limit was passed.
    """

    layer: str
    metric: str
    feature_id: str | None
    fired_at: pd.Timestamp
    window_start: pd.Timestamp
    began: pd.Timestamp
    began_low: pd.Timestamp
    began_by: pd.Timestamp
    ended: pd.Timestamp
    value: float
    expected: float
    low: float
    high: float
    direction: str
    n: int
    designed: float
    limit: float | None = None
    words: str | None = None

    @property
    def harmful(self) -> bool:
        """Whether the metric went the way that hurts; drift and volume hurt either way."""
        if self.metric in NO_SIDE:
            return True
        return (self.direction == "down") == self.metric.startswith(BETTER_UP)

    @property
    def unit(self) -> str:
        """How its numbers are read: share, score, ms, usd or count."""
        if self.metric.endswith("_rate"):
            return "share"
        if self.metric.startswith("mean_"):
            return "score"
        return {"_ms": "ms", "sd": "usd"}.get(
            self.metric[-3:] if self.metric.endswith("_ms") else self.metric[-2:], "count"
        )


def severity(event: Event, plan: Plan) -> str:
    """How bad one event is.

    info: the metric went the good way (quality up, cost or latency down), or the questions changed.
    critical: a mean score fell by `critical_fall`, a share of the quality layer rose by `critical_rise`, a cost rose to
    `critical_factor` times the usual, or the interval of an infrastructure metric is beyond twice its limit.
    warning: everything else.
    """
    if not event.harmful or event.metric == "query_drift":
        return "info"
    change = abs(event.value - event.expected)
    if event.limit is not None:
        doubled = event.low >= 2 * event.limit if event.direction == "up" else event.high <= event.limit / 2
        return "critical" if doubled and event.layer == "infrastructure" else "warning"
    if event.layer == "cost":
        return "critical" if event.value >= plan.cost.critical_factor * event.expected else "warning"
    limit = plan.quality.critical_fall if event.unit == "score" else plan.quality.critical_rise
    return "critical" if change >= limit else "warning"


def alerts_table(events: Iterable[Event], plan: Plan, charts: int = 0) -> pd.DataFrame:
    """One row per cause and feature: the most telling metric, the others named in its message.

    Parameters
    ----------
    events : iterable of Event
    plan : Plan
    charts : int
        Charts that share the budget, for the message.

    Returns
    -------
    DataFrame
        The columns of `COLUMNS`, most severe first, then earliest.
    """
    rows = [_row(group, plan, charts) for group in same_cause(events, plan.quality.same_cause_days)]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    order = table.assign(
        severity=table["severity"].map({name: rank for rank, name in enumerate(SEVERITIES)}),
        feature_id=table["feature_id"].fillna(""),
    ).sort_values(["severity", "fired_at", "feature_id", "metric"], kind="stable")
    return _distinct_ids(table.loc[order.index].reset_index(drop=True))


def same_cause(events: Iterable[Event], days: float) -> list[list[Event]]:
    """Events grouped by cause: of one feature, and begun at the same time as far as the data can tell.

    Infrastructure keeps to itself, charts of cost and quality go together. Two events are of one cause where the
    intervals of their beginnings come within `days` of each other; or where they are the same metric in the same
    direction, the later one fired within `days` of the end of the earlier.
    """
    near = pd.Timedelta(days=days)
    groups: list[list[Event]] = []
    for event in sorted(events, key=lambda e: (e.fired_at, e.feature_id or "", e.metric, e.direction)):
        home = next((group for group in groups if any(_same(event, other, near) for other in group)), None)
        if home is None:
            groups.append([event])
        else:
            home.append(event)
    return groups


def _same(event: Event, other: Event, near: pd.Timedelta) -> bool:
    if event.feature_id != other.feature_id or _family(event) != _family(other):
        return False
    again = (event.metric, event.direction) == (other.metric, other.direction) and event.fired_at <= other.ended + near
    return again or (event.began_low <= other.began_by + near and other.began_low <= event.began_by + near)


def _family(event: Event) -> str:
    if event.limit is not None or event.metric in ("query_drift", "probe_pass_rate"):
        return f"{event.layer} {event.metric if event.layer == 'quality' else ''}"
    return "charts"


def _telling(event: Event) -> tuple:
    """Harm first, then quality before what users do before cost; the earliest of these."""
    if event.metric in ("mean_quality", "flagged_rate"):
        rank = 0
    elif event.metric.startswith("mean_") or event.metric in ("refusal_rate", "truncation_rate"):
        rank = 1
    else:
        rank = 3 if event.layer == "cost" else 2
    return (not event.harmful, rank, event.fired_at, event.metric != "mean_quality", event.metric)


def _row(group: list[Event], plan: Plan, charts: int) -> dict:
    first = min(group, key=_telling)
    harmful = [event for event in group if event.harmful]
    worst = min((severity(event, plan) for event in group), key=SEVERITIES.index)
    others = sorted({(e.metric, e.direction) for e in group} - {(first.metric, first.direction)})
    return {
        "alert_id": f"{first.fired_at:%Y%m%d}-{_safe(first.feature_id)}-{_safe(first.metric)}",
        "layer": first.layer,
        "metric": first.metric,
        "feature_id": first.feature_id,
        "fired_at": first.fired_at,
        "window_start": first.window_start,
        "value": first.value,
        "expected": first.expected,
        "low": first.low,
        "high": first.high,
        "direction": first.direction,
        "severity": worst if harmful else "info",
        "n": first.n,
        "designed_false_alarms_per_month": first.designed,
        "message": _message(first, others, plan, charts),
    }


def _message(event: Event, others: list[tuple[str, str]], plan: Plan, charts: int) -> str:
    moved = "".join(f", {metric_words(metric)} {way}" for metric, way in others[:4])
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    also = f"; also{moved[1:]}{more}" if others else ""
    return f"{event.words or _words(event)}{also}; {_designed(event, plan, charts)}."


def _words(event: Event) -> str:
    what = metric_words(event.metric)
    level = f"{amount(event.value, event.unit)} {span(event.low, event.high, event.unit)}"
    verb = {"up": "rose to", "down": "fell to"}[event.direction]
    name = "All features" if event.feature_id is None else one_line(event.feature_id)
    since = moment(event.began)
    return (
        f"{name}: {what} {verb} {level} since {since}, usual is {amount(event.expected, event.unit)} "
        f"({number(event.n)}{NBSP}{counted(event.metric)})"
    )


def _designed(event: Event, plan: Plan, charts: int) -> str:
    if event.limit is not None or not charts:
        return f"by design this rule fires for nothing {_how_often(event.designed)}"
    budget = plan.quality.false_alarms_per_month
    return f"by design this fires for nothing {_how_often(event.designed)}, all {charts} charts and tests {_how_often(budget)}"


def _how_often(a_month: float) -> str:
    """A rate in words that can be pictured.

    >>> _how_often(0.015), _how_often(2)
    ('once in 67 months', '2 times a month')
    """
    if a_month <= 1:
        return "once a month" if a_month > 0.95 else f"once in {number(1 / a_month)} months"
    return f"{number(a_month, 0 if a_month == round(a_month) else 1)} times a month"


def counted(metric: str) -> str:
    """What `n` counts for a metric, in words.

    >>> counted("flagged_rate"), counted("refusal_rate")
    ('judged answers', 'requests')
    """
    if metric.startswith("mean_") or metric in ("flagged_rate", "failed_rate"):
        return "judged answers"
    return {"explicit_positive_rate": "thumbs", "probe_pass_rate": "probe results", "query_drift": "questions"}.get(
        metric, "requests"
    )


def one_line(text: str, most: int = 60) -> str:
    """A logged name on one line, control characters out, cut."""
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", str(text)).split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _safe(text: str | None) -> str:
    """A name for an id: letters, digits, . _ - ; what had to be changed leaves a short hash."""
    if text is None:
        return "all"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:60]
    if plain == text and text != "all":
        return plain
    return f"{plain}.{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:6]}"


def _distinct_ids(table: pd.DataFrame) -> pd.DataFrame:
    twice = table["alert_id"].duplicated(keep=False)
    table.loc[twice, "alert_id"] += table["fired_at"][twice].dt.strftime("-%H%M")
    again = table.groupby("alert_id").cumcount()
    table.loc[again > 0, "alert_id"] += "-" + (again[again > 0] + 1).astype(str)
    return table


def at_least(event: Event, moment_known: pd.Timestamp) -> Event:
    """The event, fired no earlier than a moment."""
    return replace(event, fired_at=max(event.fired_at, moment_known)) if not pd.isna(moment_known) else event


def finite(value: float) -> float:
    """The value as float; NaN where it is unknown."""
    return float(value) if value is not None and np.isfinite(value) else float("nan")
