"""From the alerts of a log to what is new in them: what fired, what is over, what came back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llm_monitoring.results import iso, jsonable
from llm_monitoring.watching.state import Event, Known

FIRED, RECOVERED, REOPENED = "fired", "recovered", "reopened"
SAME = ("layer", "metric", "feature_id", "version", "rule", "direction", "fired_at")
NEAR = pd.Timedelta("2D")  # alerts of one feature that fired this close together may be one, found anew
GONE = "no longer found: rows that came late or were altered or removed, or another plan, took it away"


@dataclass(frozen=True)
class Change:
    """What is to be remembered of one alert after a look, what was known of it before, and what is to be sent about it."""

    found_as: str
    known: Known
    before: Known | None
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
    since: pd.Timestamp | None = None,
    shorter: bool = False,
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
    since : Timestamp, optional
        Of a first look: what fired before this moment, or is over, is taken as known.
    shorter : bool
        Whether the log ends earlier than it did: what is not found any more may come back then, and what was over and is
        open again has not come back. Else it is over, or has.

    Returns
    -------
    list of Change
        Of new and changed alerts, the earliest first.
    """
    ended = alerts.attrs.get("ended", {})
    rows = sorted(jsonable(alerts), key=lambda row: (row["fired_at"], row["alert_id"]))
    missing = {key: one for key, one in known.items() if key not in {found_as(row) for row in rows}}
    names = {one.alert_id for one in known.values()}
    found = []
    for row in rows:
        key, before = found_as(row), known.get(found_as(row))
        if before is None:
            moved = _found_anew(row, missing)
            before = missing.pop(moved) if moved else None
        over = ended.get(row["alert_id"]) is not None
        when = ended.get(row["alert_id"])
        row = row | {"alert_id": before.alert_id if before else _free(row["alert_id"], names)}
        names.add(row["alert_id"])
        found += _change(key, before, row, over, when, str(iso(log_end)), held, since, shorter)
    gone = {key: one for key, one in missing.items() if not shorter and not one.over}
    for key, before in gone.items():
        row = before.row | {"message": f"{str(before.row['message']).removesuffix('.')} ({GONE})."}
        found += _change(key, before, row, True, str(iso(log_end)), str(iso(log_end)), held, since)
    return found


def _change(
    key: str,
    before: Known | None,
    row: dict[str, Any],
    over: bool,
    when: str | None,
    log_end: str,
    held: set[str],
    since: pd.Timestamp | None,
    shorter: bool = False,
) -> list[Change]:
    """The change of one alert, none where nothing is new of it; `when` it was over."""
    waits = bool(row.get("silenced")) or row["alert_id"] in held
    old = since is not None and (over or pd.Timestamp(row["fired_at"]) < since)
    told, still_held, happened = _next(before, over, waits, old, row, shorter)
    now = Known(row["alert_id"], row, told, over, still_held)
    if now == before:
        return []
    at = {RECOVERED: when, REOPENED: log_end if before else None}  # one known before is seen open again now
    events = [_event(what, row, at.get(what) or row["fired_at"]) for what in happened]
    return [Change(key, now, before, tuple(events))]


def _found_anew(row: Mapping[str, Any], missing: Mapping[str, Known]) -> str | None:
    """Which known alert, missing among what is found now, this one is.

    Late rows may move the moment at which it fired, or let another metric of the same trouble fire first. A limit that was
    passed (no judgement came, say) and what a chart found are not the same trouble.
    """
    for key, one in missing.items():
        if one.alert_id == row["alert_id"]:
            return key
    fired = pd.Timestamp(row["fired_at"])
    for key, one in missing.items():
        alike = all(one.row.get(name) == row.get(name) for name in ("layer", "feature_id", "version"))
        alike &= (one.row.get("rule") == "limit") == (row.get("rule") == "limit")
        if alike and not one.over and abs(pd.Timestamp(one.row["fired_at"]) - fired) <= NEAR:
            return key
    return None


def _free(name: str, names: set[str]) -> str:
    """An id that no other alert was told under."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in names else next(each for each in numbered if each not in names)


def _next(
    before: Known | None, over: bool, waits: bool, old: bool, row: Mapping[str, Any], shorter: bool
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
        if shorter:  # the log does not reach as far as its end any more: nothing came back
            return before.told, False, []
        return (before.told, True, []) if waits else (True, False, [REOPENED])
    if over and not before.over and before.told and not waits:
        return True, False, [RECOVERED]
    return before.told, False, []


def _event(what: str, row: dict[str, Any], at: Any) -> Event:
    reopens = (row.get("reopens") or row["alert_id"]) if what == REOPENED else None
    return Event(0, row["alert_id"], what, reopens, row, at if isinstance(at, str) else str(iso(at)))
