"""From what fired to the alerts table: how bad it is, which alerts share a cause, one row and one sentence for each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from llm_monitoring.alerts.alert import COLUMNS, Alert
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.table import Alerts
from llm_monitoring.results import iso
from llm_monitoring.wording import NBSP, amount, moment, number, one_line, span

AGAIN = pd.Timedelta("14D")
TWICE = 2.0  # a change so many times as large as the one before it, and beyond its interval, is another one
SEVERITIES = ("critical", "warning", "info")
TEXT = pd.Series([""]).dtype  # a text column that keeps null, whatever the version of pandas calls it


def severity(event: Alert, plan: Plan) -> str:
    """How bad one alert is.

    info: the metric went the good way (quality up, cost or latency down), the questions changed, the size of the
    change rounds to nothing, or a version that was there from the first week is worse than the others.
    critical: a mean score fell by `critical_fall`, a share of the quality layer rose by `critical_rise`, a cost rose to
    `critical_factor` times the usual, or the interval of an infrastructure metric is beyond twice its limit.
    warning: everything else.
    """
    if not event.harmful or event.metric == "query_drift":
        return "info"
    if event.version_column is not None and event.kind == "standing":
        return "info"
    if event.limit is None and amount(event.value, event.unit) == amount(event.expected, event.unit, like=event.value):
        return "info"
    change = abs(event.value - event.expected)
    if event.limit is None and change < _smallest(event, plan):
        return "info"
    if event.limit is not None:
        doubled = event.low >= 2 * event.limit if event.direction == "up" else event.high <= event.limit / 2
        return "critical" if doubled and event.layer == "infrastructure" else "warning"
    if event.layer == "infrastructure":
        return "critical" if not 0.5 < event.value / event.expected < 2 else "warning"
    if event.layer == "cost":
        return "critical" if event.value >= plan.cost.critical_factor * event.expected else "warning"
    limit = plan.quality.critical_fall if event.unit == "score" else plan.quality.critical_rise
    return "critical" if change >= limit else "warning"


def _smallest(event: Alert, plan: Plan) -> float:
    """The size below which a change is info."""
    if event.layer == "cost":
        return plan.cost.smallest_change * event.expected
    return plan.quality.smallest_change if event.layer == "quality" else 0.0


def alerts_table(events: Iterable[Alert], plan: Plan, end: pd.Timestamp | None = None) -> pd.DataFrame:
    """One row per cause and feature: the most telling metric, the others named in its message.

    Parameters
    ----------
    events : iterable of Alert
    plan : Plan
    end : Timestamp, optional
        The last moment known: what is told later is left out, and what is over by then has ended.

    Returns
    -------
    DataFrame
        The columns of `COLUMNS`, most severe first, then earliest. `attrs["ended"]` says of each id when it ended, None
        where it is still open at `end`.
    """
    groups = same_cause(events, plan.quality.same_cause_days, end)
    told = _reopened(_distinct_ids([_row(group, plan) for group in groups]), groups)
    told = [replace(row, silenced=any(each.covers(row) for each in plan.silence)) for row in told]
    rows = [{name: getattr(row, name) for name in COLUMNS} for row in told]
    ended = [_ended(group, end) for group in groups]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.astype({name: TEXT if kind == "str" else kind for name, kind in COLUMNS.items()})
    order = table.assign(
        severity=table["severity"].map({name: rank for rank, name in enumerate(SEVERITIES)}),
        feature_id=table["feature_id"].fillna(""),
    ).sort_values(["severity", "fired_at", "feature_id", "metric"], kind="stable")
    table = Alerts(table.loc[order.index].reset_index(drop=True))
    table.attrs["ended"] = {name: ended[at] for name, at in zip(table["alert_id"], order.index)}
    return table


def _ended(group: Iterable[Alert], log_end: pd.Timestamp | None) -> str | None:
    """When all alerts of a cause were over.

    Of a chart two windows have passed since the last one outside, of a test two looks, of a window's limit as many clear
    windows as the plan says.
    """
    ends = []
    for alert in group:
        charted = alert.rule == "chart"
        over = alert.ended if charted else alert.over
        if log_end is None or alert.window_start is None or over is None:
            return None
        if charted and over + 2 * (alert.fired_at - alert.window_start) > log_end:
            return None
        ends.append(over)
    return iso(max(ends))


def same_cause(events: Iterable[Alert], days: float, end: pd.Timestamp | None = None) -> list[list[Alert]]:
    """Events grouped by cause: of one feature, and begun at the same time as far as the data can tell.

    Infrastructure keeps to itself, charts of cost and quality go together, and spend with the volume that makes it. Two events are of one cause where the
    intervals of their beginnings come within `days` of each other and the later one may have begun before the first of the
    row fired (what began after an alert did not raise it, also where a third event lies between them); or where they are the same metric in the same
    direction, the later one fired within `days` of the end of the earlier, or, of judged answers, of the row. One that goes twice as far as what it would
    be joined to, and beyond its interval, is a change of its own. Events are taken in the order in which they
    fire, so that later ones never change a group but by joining it. What got better is told `days` later: by then it is
    known whether something got worse beside it, and then it is no alert of its own.
    """
    near = pd.Timedelta(days=days)
    groups: list[list[Alert]] = []
    told = [event if event.harmful else replace(event, fired_at=event.fired_at + near) for event in events]
    told = [event for event in told if end is None or event.fired_at <= end]
    for event in sorted(told, key=lambda e: (e.fired_at, *_telling(e), e.feature_id or "")):
        alike = (group for group in reversed(groups) if any(_same(event, other, near, group) for other in group))
        home = next((group for group in alike if not _outgrown(event, group)), None)
        if home is None or (event.harmful and not home[0].harmful):
            groups.append([event])
        else:
            home.append(event)
    return groups


def _same(event: Alert, other: Alert, near: pd.Timedelta, group: list[Alert]) -> bool:
    """Whether an event may be of the cause of another in the row of a group: not where it surely began after the first had fired.

    The same metric goes on with its row as long as that is in alarm; of judged answers, flags and scores speak for each other.
    """
    if event.feature_id != other.feature_id or not _families(event) & _families(other) or event.second != other.second:
        return False
    lasts = [
        one.ended
        for one in group
        if one is other or (event.judged and one.judged and one.harmful and one.rule == "chart")
    ]
    again = (event.metric, event.direction) == (other.metric, other.direction) and event.fired_at <= max(lasts) + near
    together = event.began_low <= other.began_by + near and other.began_low <= event.began_by + near
    return again or (together and event.began_low <= min(other.fired_at, group[0].fired_at))


def _outgrown(event: Alert, group: list[Alert]) -> bool:
    """Whether the same metric went the same way before, and now goes twice as far and beyond the interval of then.

    In a window that began after the other had fired: 24 hours that hold more of one change than those before do are no second one.
    Where an alarm goes on for seven windows, `charting` tells a second change on top of it from the level since the first.
    """
    before = [one for one in group if (one.metric, one.direction) == (event.metric, event.direction)]
    up = event.direction == "up"
    return bool(before) and all(
        event.rule == one.rule == "chart"
        and (event.window_start is None or event.window_start >= one.fired_at)
        and (event.low > one.high if up else event.high < one.low)
        and abs(event.value - event.expected) >= TWICE * abs(one.value - one.expected)
        for one in before
    )


def _families(event: Alert) -> set[str]:
    """What an alert may share a cause with: spend with what a request costs, and with the volume that it is spent on."""
    if event.metric == "request_count":
        return {"volume"} if _more_asked(event) else {"volume", "infrastructure"}
    if event.layer == "infrastructure":
        return {event.layer}
    if event.version_column is not None:
        return {f"{event.version_column} {event.version}"}
    if event.limit is not None or event.metric in ("query_drift", "probe_pass_rate", "probe_distance"):
        return {f"{event.layer} {event.metric if event.layer == 'quality' else ''}"}
    return {"charts", "volume"} if event.metric == "total_cost_usd" else {"charts"}


def _more_asked(event: Alert) -> bool:
    """Whether the chart of volume rose: spend rises with it, and speaks for both."""
    return event.metric == "request_count" and event.direction == "up" and event.rule == "chart"


def _telling(event: Alert) -> tuple:
    """Harm first, then quality before what users do before cost before volume that rose; the earliest of these; a limit passed before a chart of the layer."""
    if event.metric in ("mean_quality", "flagged_rate"):
        rank = 0
    elif event.metric in ("refusal_rate", "truncation_rate") or (event.judged and event.unit == "score"):
        rank = 1
    else:
        rank = 4 if _more_asked(event) else 3 if event.layer == "cost" else 2
    charted = event.rule != "limit" and event.layer == "infrastructure"
    return (not event.harmful, rank, event.fired_at, event.metric != "mean_quality", charted, event.metric)


def _row(group: list[Alert], plan: Plan) -> Alert:
    """The alert of a group: that which fired first, of several at that moment the most telling."""
    first = group[0]
    harmful = [alert for alert in group if alert.harmful]
    worst = min((severity(alert, plan) for alert in group), key=SEVERITIES.index)
    others = {(a.metric, a.direction): f"{a.measure.words} {a.direction}" for a in group}
    del others[first.metric, first.direction]
    return replace(
        first,
        alert_id=f"{first.fired_at:%Y%m%d}-{_safe(first.feature_id)}-{_safe(first.metric)}{_ending(first)}",
        severity=worst if harmful else "info",
        message=_message(first, [others[key] for key in sorted(others, key=_volume_first)]),
    )


def _volume_first(moved: tuple[str, str]) -> tuple:
    return (moved[0] != "request_count", moved)


def _ending(first: Alert) -> str:
    if first.version_column is not None:
        return f"-{_safe(first.version_column)}-{_safe(first.version)}"
    return "-2" if first.second else ""


def _message(event: Alert, others: list[str]) -> str:
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    also = f"; also {', '.join(others[:4])}{more}" if others else ""
    return f"{event.words or _words(event)}{also}."


def _words(event: Alert) -> str:
    what = event.measure.words
    level = f"{amount(event.value, event.unit)} {span(event.low, event.high, event.unit, like=event.value)}"
    verb = {"up": "rose to", "down": "fell to"}[event.direction]
    name = "All features" if event.feature_id is None else one_line(event.feature_id)
    since = moment(event.began)
    counted = ("day" if event.n == 1 else "days") if event.measure.total else event.measure.counted
    return (
        f"{name}: {what} {verb} {level} since {since}, usual is {amount(event.expected, event.unit, like=event.value)} "
        f"({number(event.n)}{NBSP}{counted})"
        f"{f'; {event.split}' if event.split else ''}"
    )


def _safe(text: str | None) -> str:
    """A name for an id: letters, digits, . _ - ; what had to be changed leaves a short hash."""
    if text is None:
        return "all"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:60]
    if plain == text and text != "all":
        return plain
    return f"{plain}.{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:6]}"


def _reopened(rows: list[Alert], groups: list[list[Alert]]) -> list[Alert]:
    """Rows in order: one that comes back within 14 days re-opens the earlier, a second change names the first."""
    out: list[Alert] = []
    for place, row in enumerate(rows):
        earlier = [
            (out[i], other)
            for i in range(place)
            for other in groups[i]
            if other.fired_at <= row.fired_at  # what joined the earlier one after this had fired is not known yet
            and (other.feature_id, other.metric, other.direction) == (row.feature_id, row.metric, row.direction)
            and _families(other) == _families(row)
        ]
        if row.second and earlier:
            first = earlier[-1][0].alert_id
            row = replace(row, message=f"{str(row.message).removesuffix('.')}; on top of {first}.")
        elif earlier and row.harmful and row.fired_at - earlier[-1][1].ended <= AGAIN:
            row = replace(row, reopens=earlier[-1][0].alert_id)
        out.append(row)
    return out


def _distinct_ids(rows: list[Alert]) -> list[Alert]:
    """Rows in the order in which they fired; of two with one name the later is number 2."""
    seen: dict[str, int] = {}
    out = []
    for row in rows:
        seen[str(row.alert_id)] = number_ = seen.get(str(row.alert_id), 0) + 1
        out.append(row if number_ == 1 else replace(row, alert_id=f"{row.alert_id}-{number_}"))
    return out
