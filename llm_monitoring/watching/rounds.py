"""One round of the watch: look, write down what is new, tell it, ping. What is new is safe before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from llm_monitoring import addresses, windows
from llm_monitoring.alerts.alert import COLUMNS
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.errors import ConfigError, LogError
from llm_monitoring.log import LogLike
from llm_monitoring.results import iso
from llm_monitoring.watching import heartbeat as beating
from llm_monitoring.watching.boards import Boards
from llm_monitoring.watching.delivering import Delivery
from llm_monitoring.watching.events import FIRED, REOPENED, changes
from llm_monitoring.watching.looking import LAYERS, Look, Source, look
from llm_monitoring.watching.messages import Where
from llm_monitoring.watching.sinks import Sink, sinks_of
from llm_monitoring.watching.state import Event, Known, State
from llm_monitoring.wording import lasting, moment

CALLER = "caller"  # who gets the events of a plan without sinks
PAGE_TRIES = 2
STALE = pd.Timedelta("1h")


@dataclass(frozen=True)
class Round:
    """What one round did.

    The events `told`, how many are `new`, how many deliveries are `waiting`, what could not be read, what else is worth
    a line, and when the round before it looked.
    """

    told: list[Event]
    new: int
    waiting: int
    fault: LogError | None
    lines: list[str]
    looked_before: str | None

    def to_frame(self) -> pd.DataFrame:
        """The alerts delivered, with `event`: fired, recovered or reopened."""
        rows = [{**event.row, "event": event.event} for event in self.told]
        table = pd.DataFrame(
            rows, columns=list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row), "event"]))
        )
        kinds = {name: kind for name, kind in COLUMNS.items() if kind != "str"}
        for name in ("fired_at", "window_start"):
            table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
        table = table.astype({name: kind for name, kind in kinds.items() if not kind.startswith("datetime")})
        table.attrs |= {"lines": self.lines, "waiting": self.waiting}
        return table


class Guard:
    """A log under watch: its plan, its state and its sinks. `round` does one round, `close` ends it."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        state: str | os.PathLike,
        heartbeat: str | None = None,
        plan_path: str | None = None,
    ):
        self.source, self.plan, self.state, self.heartbeat = source, plan, State(state), heartbeat
        if heartbeat is not None:
            beating.check_address(heartbeat)
        where = Where(source.shown, plan_path, plan.watch.reports)
        self.delivery = Delivery(sinks_of(plan), where)
        self.boards = Boards(source, plan)

    @property
    def sinks(self) -> Sequence[Sink]:
        """The sinks of the plan that get events."""
        return self.delivery.sinks

    def write_pages(self, warn: Callable[[str], None], most: int | None = None) -> None:
        """Write the incident folders that are wanted, each tried twice at most."""
        with self.state.round():
            wanted = self.state.pages_wanted(PAGE_TRIES)[:most]
        for alert_id in wanted:
            with self.state.round():
                self.state.page_tried(alert_id)
            try:
                page = write_page(self.source, self.plan, alert_id)
            except (LogError, ConfigError, OSError) as error:
                warn(f"the page of {alert_id} could not be written: {error}")
                continue
            with self.state.round():
                self.state.page_written(alert_id)
            warn(f"{alert_id}: {page}")

    def close(self) -> None:
        """Close the state."""
        self.state.close()

    def round(self, among: Iterable[str] = LAYERS) -> Round:
        """Look at these layers (at none: only what is owed is sent), tell what is new, and ping where the log was read."""
        among = tuple(among)
        with self.state.round():
            before = self.state.fact("looked_at")
            lines = [*self._clock(before), *self._same_log()]
            fault, new = self._look(among, lines) if among else (None, 0)
            told = self._tell()
            lines += self._failures()
            waiting = self.state.waiting(self._keys(), self._held())
            lines += self.boards.show(self.state, fault is None, waiting) if among else []
            if among and fault is None and self.heartbeat is not None:
                lines += [f"heartbeat: {said}" for said in [beating.ping(self.heartbeat)] if said]
        return Round(told, new, waiting, fault, lines, before)

    def _clock(self, before: str | None) -> list[str]:
        """Note the time of this look; a clock that went back is reported."""
        now = datetime.now(UTC)
        self.state.note("looked_at", str(iso(now)))
        if before is None or pd.Timestamp(before) <= pd.Timestamp(now):
            return []
        back = lasting(now, before)
        return [f"the clock went back by {back}: the last look was at {moment(before, year=True)}"]

    def _same_log(self) -> list[str]:
        """Note which log this state is of; that it was of another is said."""
        place = self.source.shown
        here = place if place == "LOG" or "://" in place else os.path.abspath(place)
        here, before = addresses.masked(here), self.state.fact("log")
        self.state.note("log", here)
        if before in (None, here):
            return []
        return [f"the state {self.state.path} is of another log, {before}: a state remembers one log. Name another "
                f"--state for this one; go on with it where the log has moved"]  # fmt: skip

    def _look(self, among: tuple[str, ...], lines: list[str]) -> tuple[LogError | None, int]:
        try:
            seen = look(self.source, self.plan, self.state, among)
        except LogError as error:
            self.state.note("fault", str(error))
            return error, 0
        self.state.note("read_at", str(iso(datetime.now(UTC))))
        self.state.note("fault", "")
        new = self._write_down(seen, lines) if seen is not None else 0
        lines += self._age()
        return None, new

    def _write_down(self, seen: Look, lines: list[str]) -> int:
        """All that a look found, in one transaction; how many events are new."""
        end, new = seen.log_end, 0
        before = self.state.fact("log_end")
        shorter = end is not None and before is not None and end < pd.Timestamp(before)
        if end is not None and before is not None and shorter:
            lines.append(
                f"the log ends earlier than it did: {moment(end, year=True)}, before {moment(before, year=True)}"
            )
        with self.state.transaction():
            found = []
            if end is not None and seen.alerts is not None:
                since = self._since(end, before) if seen.first else None
                known, held = self.state.alerts(), self._held()
                found = changes(seen.alerts, known, log_end=end, held=held, since=since, shorter=shorter)
            for change in found:
                self.state.remember(change.found_as, change.known)
                for event in change.events:
                    new += self._owe(event)
                if not change.events:
                    new += self._owe_worse(change.before, change.known)
            for name, value in seen.facts.items():
                self.state.note(name, value)
            if end is not None:
                self.state.note("log_end", str(iso(end)))
        if seen.alerts is not None:
            lines += seen.alerts.attrs.get("renamed", [])
            lines += [f"plan: {line}" for line in seen.alerts.attrs.get("not_in_log", [])]
        if seen.first:
            lines += _taken_as_known((one.known for one in found if one.before is None), self.plan.watch.first_round)
        return new

    def _since(self, end: pd.Timestamp, before: str | None) -> pd.Timestamp:
        """From when on a first look tells what fired: of an earlier look under other rules, all since it."""
        since = end - windows.width(self.plan.watch.first_round)
        return min(since, pd.Timestamp(before)) if before else since

    def _owe(self, event: Event) -> int:
        sinks = self.delivery.sinks
        wanted = [sink.key for sink in sinks if sink.wants(event.row)] if sinks else [CALLER]
        self.state.owe(event, wanted)
        if self.plan.watch.report and event.row["layer"] == "quality" and event.event in (FIRED, REOPENED):
            self.state.want_page(event.alert_id)
        return bool(wanted)

    def _owe_worse(self, before: Known | None, now: Known) -> bool:
        """Owe an alert that became more severe to sinks that it was not severe enough for until now."""
        if before is None or not now.told or now.over or now.held or now.row.get("silenced"):
            return False
        wanted = [sink.key for sink in self.sinks if sink.wants(now.row) and not sink.wants(before.row)]
        if wanted:
            self.state.owe(Event(0, now.alert_id, FIRED, None, now.row, now.row["fired_at"]), wanted)
        return bool(wanted)

    def _tell(self) -> list[Event]:
        sinks = self.delivery.sinks
        keys = self._keys()
        for event in self.state.orphaned(keys):
            for key in [sink.key for sink in sinks if sink.wants(event.row)] or keys:
                self.state.hand_over(event, key)
        if sinks:
            return self.delivery.deliver(self.state, self._held())
        owed = [event for event in self.state.owed(CALLER) if event.alert_id not in self._held()]
        self.state.arrived(CALLER, [event.number for event in owed])
        return owed

    def _keys(self) -> list[str]:
        return [sink.key for sink in self.sinks] or [CALLER]

    def _held(self) -> set[str]:
        return self.state.acknowledged(str(iso(datetime.now(UTC))))

    def _failures(self) -> list[str]:
        shown = {sink.key: sink.shown for sink in self.delivery.sinks}
        return [f"{shown[key]} did not take what it was sent: {reason}" for key, reason in self.delivery.failed.items()]

    def _age(self) -> list[str]:
        end = self.state.fact("log_end")
        now = pd.Timestamp(datetime.now(UTC))
        if end is None:
            return ["the log holds no request"]
        if now - pd.Timestamp(end) > STALE:
            return [f"nothing new since {moment(end, year=True)}, {lasting(end, now)} ago"]
        return []


def _taken_as_known(new: Iterable[Known], first_round: str) -> list[str]:
    """What a first look does not tell though it is open, in a line."""
    names = [one.alert_id for one in new if not (one.told or one.over or one.held)]
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    count = "1 open alert" if len(names) == 1 else f"{len(names)} open alerts"
    listed = f"{', '.join(names[:5])}{more}"
    return [
        f"first look: not told as it fired before the last {first_round} of the log ([watch] first_round): {count}, {listed}"
    ]


def write_page(source: Source, plan: Plan, alert_id: str) -> Path:
    """The page of an alert's incident folder, written now; one that stands there is left as it is."""
    from llm_monitoring.alerts.checking import find_alert
    from llm_monitoring.reporting.run import report

    log = source.open(plan)
    found = find_alert(log, alert_id, plan)
    page = Where(source.shown, None, plan.watch.reports).page(found.to_dict())
    if page.exists():
        return page
    return report(log, alert=alert_id, out=plan.watch.reports, plan=plan, progress=False).path


def watch(
    log: LogLike, plan: Plan | Any = None, state: str | os.PathLike = "watch.db", heartbeat: str | None = None
) -> pd.DataFrame:
    """One round of the standing guard: what is new in a log is checked, and each alert is sent once to the plan's sinks.

    Call it from a scheduler as often as you like. A round over a log to which nothing was added reads nothing of it. The
    first round tells what fired within the last day of the log and is still open; older alerts are taken as known. It may
    be killed at any moment, and run twice at a time: an alert is told at least once, always under the same id.

    Parameters
    ----------
    log : path, URL, Log or dict of DataFrames
        Files and databases are opened anew by each round; of a log in memory each round looks at all.
    plan : path, dict or Plan, optional
        What is watched; `[watch]` and `[[sinks]]` say how and where it is told. Without sinks the table returned is the
        telling.
    state : path
        A SQLite file, made where it is not there: what is known and what is owed to each sink.
    heartbeat : str, optional
        An address that is asked for after a round that has read the log.

    Returns
    -------
    DataFrame
        The alerts delivered by this round: the columns of `check`, and ``event`` (fired, recovered, reopened).
        ``attrs["lines"]`` holds what else is worth knowing, ``attrs["waiting"]`` how many deliveries are still owed.

    Raises
    ------
    LogError
        The log cannot be read; what was owed from earlier rounds was sent all the same.
    ConfigError
        The plan, a sink or the state cannot be used.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> lm.watch("my_log", plan="monitoring.toml", state="watch.db")    # doctest: +SKIP
    """
    named = str(plan) if isinstance(plan, str | os.PathLike) else None
    guard = Guard(Source.of(log), read_plan(plan), state, heartbeat, named)
    try:
        done = guard.round()
        guard.write_pages(done.lines.append)
    finally:
        guard.close()
    if done.fault is not None:
        raise done.fault
    return done.to_frame()
