"""One look at a log: which layers have something new to see, and the alerts of these."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

import llm_monitoring
from llm_monitoring import addresses, windows
from llm_monitoring.alerts.plan import Plan, open_with
from llm_monitoring.errors import ConfigError, Fault, LogError
from llm_monitoring.log import Log
from llm_monitoring.results import iso, jsonable
from llm_monitoring.watching import outside
from llm_monitoring.watching.events import found_as
from llm_monitoring.watching.state import State

LAYERS = ("infrastructure", "cost", "quality")
#: What a layer rests on. Windows of charts are whole hours; a window that is still open cannot alarm.
TABLES = {
    "infrastructure": ("requests",),
    "cost": ("requests",),
    "quality": ("requests", "signals", "judgements", "probe_results", "changes"),
}
HOUR = "1h"
TRIES, PAUSE_S = 3, 1.0


@dataclass(frozen=True)
class Source:
    """A log as the caller named it, and how it is opened."""

    log: Any
    opening: Mapping[str, Any]

    @classmethod
    def of(cls, log: Any) -> Source:
        """Files of a log that is open are opened anew at each look, with the options that it was opened with."""
        if isinstance(log, Log) and log.opening:
            options = dict(log.opening)
            return cls(options.pop("source"), options)
        return cls(log, {})

    @property
    def shown(self) -> str:
        """The log as the command line names it; LOG where it is in memory."""
        return str(self.log) if isinstance(self.log, str) or hasattr(self.log, "__fspath__") else "LOG"

    def open(self, plan: Plan) -> Log:
        return open_with(self.log, plan, **self.opening)


@dataclass(frozen=True)
class Look:
    """What a look saw: the alerts, how far the log reaches, and what to note of it; `first` under these rules of the plan.

    `alerts` is None where only fixed limits were looked at, and nothing of theirs is new.
    """

    alerts: pd.DataFrame | None
    log_end: pd.Timestamp | None
    first: bool
    facts: Mapping[str, str]


def look(source: Source, plan: Plan, state: State, among: Iterable[str] = LAYERS) -> Look | None:
    """Look at the layers that have something new; None where nothing is. What was seen is not written to the state yet.

    Raises
    ------
    LogError
        The log cannot be read, also at the third try where it is being written.
    ConfigError
        The plan does not fit the log.
    """
    for left in reversed(range(TRIES)):
        seen: outside.Marks = None
        try:
            seen = outside.marks(source.log)
            return _look(source, plan, state, tuple(among), seen)
        except ConfigError:
            raise
        except Exception as error:  # every engine has its own; a watch outlives them all
            if not left or not _changing(source, seen):
                raise _as_log_error(source, error) from None
            time.sleep(PAUSE_S)  # files that are being written: a moment later they may be whole
    return None


def _changing(source: Source, seen: outside.Marks) -> bool:
    try:
        return seen is not None and seen != outside.marks(source.log)
    except (LogError, OSError):
        return False


def _look(source: Source, plan: Plan, state: State, among: tuple[str, ...], seen: outside.Marks) -> Look | None:
    rules = _rules(plan)
    silences = json.dumps([each.model_dump(mode="json") for each in plan.silence])
    first, edited = state.fact("rules") != rules, state.fact("silences") not in (None, silences)
    if not first and not edited and not any(_changed(layer, seen, state) for layer in among):
        return None
    from llm_monitoring.alerts.checking import check  # takes a second: not on a quiet round

    log = source.open(plan)
    _, end = log.span("requests")
    _glimpse(seen, end, state)
    due = LAYERS if first or edited else tuple(layer for layer in among if _due(layer, plan, seen, state, end))
    if not due:
        return None
    if due == ("infrastructure",) and not _limits_have_news(check(log, _limits_only(plan)), state):
        found = None
    else:  # only a whole check says what one cause is, and under which id
        found, due = _still_silenced(check(log, plan), plan, end), LAYERS
    noted = {
        f"seen {layer}": json.dumps([seen and _of(layer, seen), iso(end) if end is not None else None]) for layer in due
    }
    facts = {**noted, **{f"late {layer}": "" for layer in due}, "rules": rules, "silences": silences}
    return Look(found, end, first, facts)


def _still_silenced(alerts: pd.DataFrame, plan: Plan, end: pd.Timestamp | None) -> pd.DataFrame:
    """The alerts, `silenced` where a silence that covers them lasts beyond the log's end: one that is over holds nothing back."""
    lasting = [each for each in plan.silence if each.end is None or end is None or end < each.end]
    if len(lasting) == len(plan.silence):
        return alerts
    return alerts.assign(silenced=[any(each.covers(row) for each in lasting) for row in alerts.itertuples()])


def _limits_have_news(alerts: pd.DataFrame, state: State) -> bool:
    """Whether an alert of a fixed limit is not known as it is: it fired, ended or came back since."""
    known, ended = state.alerts(), alerts.attrs.get("ended", {})
    rows = jsonable(alerts[(alerts["layer"] == "infrastructure") & (alerts["rule"] == "limit")])
    limits = {found_as(row): row for row in rows}
    for key, row in limits.items():
        before = known.get(key)
        if before is None or before.over != (ended.get(row["alert_id"]) is not None):
            return True
    mine = (key for key, one in known.items() if not one.over and one.row["layer"] == "infrastructure")
    return any(known[key].row["rule"] == "limit" and key not in limits for key in mine)


def _as_log_error(source: Source, error: Exception) -> LogError:
    if isinstance(error, LogError):
        return error
    words = (str(error).splitlines() or [""])[0]
    reason = addresses.without_secrets(f"{type(error).__name__}: {words}", source.shown)
    return LogError(Fault(addresses.masked(source.shown), expected=f"could not be read ({reason})"))


def _rules(plan: Plan) -> str:
    """What alerts rest on beside the log: the plan without what only says where they are sent, and the version."""
    text = plan.model_dump_json(exclude={"watch", "sinks", "silence"})
    return hashlib.sha256(f"{llm_monitoring.__version__}\n{text}".encode()).hexdigest()[:16]


def _limits_only(plan: Plan) -> Plan:
    off = {"enabled": False}
    return plan.model_copy(
        update={"cost": plan.cost.model_copy(update=off), "quality": plan.quality.model_copy(update=off)}
    )


def _of(layer: str, seen: Mapping[str, str]) -> dict[str, str]:
    return {table: seen[table] for table in TABLES[layer] if table in seen}


def _changed(layer: str, seen: outside.Marks, state: State) -> set[str]:
    """Tables of a layer that differ from what its last look saw; all where that is not known."""
    noted = json.loads(state.fact(f"seen {layer}") or "[null, null]")[0]
    if seen is None or noted is None:
        return set(TABLES[layer])
    now = _of(layer, seen)
    return {table for table in TABLES[layer] if now.get(table) != noted.get(table)}


def _due(layer: str, plan: Plan, seen: outside.Marks, state: State, end: pd.Timestamp | None) -> bool:
    """Whether a layer has something to see: a window has closed, or rows came that are not just the newest requests."""
    changed = _changed(layer, seen, state)
    before = json.loads(state.fact(f"seen {layer}") or "[null, null]")[1]
    if changed != {"requests"} or before is None or end is None:
        return bool(changed)
    width = plan.infrastructure.window if layer == "infrastructure" else HOUR
    closed = [windows.floor(pd.Series([pd.Timestamp(moment)]), width).iloc[0] for moment in (before, end)]
    return closed[0] != closed[1] or bool(state.fact(f"late {layer}"))


def _glimpse(seen: outside.Marks, end: pd.Timestamp | None, state: State) -> None:
    """Note how far the requests reach; where they grew and reach no further, late rows came, and every layer is to look."""
    if seen is None or end is None:
        return
    mark, reach = json.loads(state.fact("glimpse") or "[null, null]")
    if reach is not None and seen["requests"] != mark and end <= pd.Timestamp(reach):
        for layer in LAYERS:
            state.note(f"late {layer}", "yes")
    state.note("glimpse", json.dumps([seen["requests"], iso(end)]))
