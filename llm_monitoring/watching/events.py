"""From the alerts of a log to what is new in them: what fired, what is over, what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llm_monitoring.results import iso, jsonable
from llm_monitoring.watching.state import Event, Known

FIRED, RECOVERED, REOPENED = "fired", "recovered", "reopened"
SAME = ("layer", "metric", "feature_id", "version", "rule", "direction", "fired_at")


@dataclass(frozen=True)
class Change:
    """What is to be remembered of one alert after a look, and what is to be sent about it."""

    found_as: str
    known: Known
    events: tuple[Event, ...]


def found_as(row: Mapping[str, Any]) -> str:
    """What identifies an alert whatever its id: what fired, of what, and when."""
    return json.dumps([row.get(name) for name in SAME])


def changes(
    alerts: pd.DataFrame,
    known: Mapping[str, Known],
    *,
    log_end: pd.Timestamp,
    held: set[str],
    recent: pd.Timedelta | None = None,
) -> list[Change]:
    """Compare the alerts of a look with what is known.

    Parameters
    ----------
    alerts : DataFrame
        As `check` gives them; `attrs["ended"]` says of each id when it ended, None where it is still open.
    known : dict
        What `State.alerts` gives.
    log_end : Timestamp
        The last moment of the log.
    held : set of str
        Alerts that are acknowledged: they wait.
    recent : Timedelta, optional
        Of a first look: what fired longer ago before `log_end`, or is over, is taken as known.

    Returns
    -------
    list of Change
        Of new and changed alerts, the earliest first.
    """
    ended = alerts.attrs.get("ended", {})
    found = []
    for row in sorted(jsonable(alerts), key=lambda row: (row["fired_at"], row["alert_id"])):
        key, before = found_as(row), known.get(found_as(row))
        over = ended.get(row["alert_id"]) is not None
        name = before.alert_id if before else row["alert_id"]
        row = row | {"alert_id": name}
        waits = bool(row.get("silenced")) or name in held
        old = recent is not None and (over or pd.Timestamp(row["fired_at"]) < log_end - recent)
        told, still_held, happened = _next(before, over, waits, old, row)
        now = Known(name, row, told, over, still_held)
        if now != before:
            when = {RECOVERED: ended.get(row["alert_id"])}
            events = [_event(what, row, when.get(what) or row["fired_at"]) for what in happened]
            found.append(Change(key, now, tuple(events)))
    return found


def _next(
    before: Known | None, over: bool, waits: bool, old: bool, row: Mapping[str, Any]
) -> tuple[bool, bool, list[str]]:
    """Whether people are told of it by now, whether it is held back, and what happened."""
    first = REOPENED if row.get("reopens") else FIRED
    if before is None:
        if old or waits:
            return False, waits and not old and not over, []
        return True, False, [first, RECOVERED] if over else [first]
    if before.held:
        if waits or over:
            return before.told, not over, []
        return True, False, [REOPENED if before.told else first]
    if before.over and not over:
        return (before.told, True, []) if waits else (True, False, [REOPENED])
    if over and not before.over and before.told and not waits:
        return True, False, [RECOVERED]
    return before.told, False, []


def _event(what: str, row: dict[str, Any], at: Any) -> Event:
    reopens = (row.get("reopens") or row["alert_id"]) if what == REOPENED else None
    return Event(0, row["alert_id"], what, reopens, row, at if isinstance(at, str) else str(iso(at)))
