"""What a watch remembers, in one SQLite file: alerts, what is to be sent about them, and which sink has got it.

What was found and what is owed to each sink are written in one transaction, before anything is sent; a sink has got an
event once that is written too. So a watch that is killed anywhere sends again what it cannot know to have arrived, under
the same id, and loses nothing. A lock beside the file lets one round at a time work on it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError, quote

VERSION = 1
ANEW = "Name another file: a new state tells the open alerts of the last day once more, under the same ids"
TABLES = """
create table fact (name text primary key, value text not null) without rowid;
create table alert (
    alert_id text primary key, found_as text not null unique, row text not null, told integer not null,
    over integer not null, held integer not null) without rowid;
create table event (
    number integer primary key autoincrement, alert_id text not null, event text not null, reopens text,
    row text not null, happened_at text not null);
create table delivery (number integer not null, sink text not null, done integer not null, primary key (number, sink))
    without rowid;
create table acknowledged (alert_id text primary key, until text not null) without rowid;
create table page (alert_id text primary key, tries integer not null) without rowid;
"""


@dataclass(frozen=True)
class Known:
    """An alert as the state remembers it: whether people were told of it, whether it is over, whether it is held back."""

    alert_id: str
    row: dict[str, Any]
    told: bool
    over: bool
    held: bool


@dataclass(frozen=True)
class Event:
    """One thing to tell: `event` is fired, recovered or reopened; `row` the alert's row as it was then."""

    number: int
    alert_id: str
    event: str
    reopens: str | None
    row: dict[str, Any]
    happened_at: str


class State:
    """The file of a watch. Use it from one thread, its changes within `round`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     state = State(Path(folder) / "watch.db")
    ...     with state.round():
    ...         state.note("looked_at", "2026-05-19T08:00:00Z")
    ...     state.fact("looked_at")
    '2026-05-19T08:00:00Z'
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._base: sqlite3.Connection | None = None

    @contextmanager
    def round(self, wait_s: float = 600.0) -> Iterator[None]:
        """Keep other rounds off this file for the time of one.

        Raises
        ------
        ConfigError
            Another watch has been at work on it for longer than `wait_s`, or the file is no state of a watch.
        """
        if self.path.is_dir():
            raise ConfigError(f"state {quote(str(self.path))}: is a folder. Name a file in it, such as watch.db")
        if not self.path.parent.is_dir():
            raise ConfigError(
                f"state {quote(str(self.path))}: its folder does not exist. Make it, or name another file"
            )
        file = disk.open_private(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT)
        try:
            self._lock(file, wait_s)
            os.close(disk.open_private(self.path, os.O_RDWR | os.O_CREAT))
            self._open()
            yield
        except sqlite3.Error as error:
            raise ConfigError(
                f"state {quote(str(self.path))}: {error}. Is the disk full, or the file damaged? {ANEW}"
            ) from error
        finally:
            os.close(file)

    def _lock(self, file: int, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while True:
            try:
                return disk.lock(file, wait=False)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ConfigError(
                        f"state {quote(str(self.path))}: another watch has been using it for {wait_s:.0f} s. "
                        "Name another file, or end the other watch"
                    ) from None
            time.sleep(0.05)

    def _open(self) -> None:
        if self._base is not None:
            return
        base = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            version = base.execute("pragma user_version").fetchone()[0]
            if version == 0 and not base.execute("select count(*) from sqlite_master").fetchone()[0]:
                base.executescript(f"begin immediate; {TABLES} pragma user_version = {VERSION}; commit;")
                version = VERSION
        except sqlite3.DatabaseError as error:
            base.close()
            raise ConfigError(f"state {quote(str(self.path))}: {error}. {ANEW}") from None
        if version != VERSION:
            base.close()
            raise ConfigError(f"state {quote(str(self.path))}: not a state that this version of watch wrote. {ANEW}")
        self._base = base

    def close(self) -> None:
        """Close the file; the next round opens it again."""
        if self._base is not None:
            self._base.close()
            self._base = None

    @property
    def base(self) -> sqlite3.Connection:
        self._open()
        return self._base  # type: ignore[return-value]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none of them."""
        self.base.execute("begin immediate")
        try:
            yield
        except BaseException:
            self.base.execute("rollback")
            raise
        self.base.execute("commit")

    def fact(self, name: str) -> str | None:
        """A fact that was noted; None where none was."""
        found = self.base.execute("select value from fact where name = ?", [name]).fetchone()
        return found[0] if found else None

    def note(self, name: str, value: str) -> None:
        """Remember a fact in place of an earlier one of the name."""
        self.base.execute("insert or replace into fact values (?, ?)", [name, value])

    def alerts(self) -> dict[str, Known]:
        """What is known of every alert, by what identifies it whatever its id (`events.found_as`)."""
        rows = self.base.execute("select found_as, alert_id, row, told, over, held from alert")
        return {key: Known(name, json.loads(row), *map(bool, flags)) for key, name, row, *flags in rows}

    def remember(self, found_as: str, known: Known) -> None:
        """Write what is known of an alert; its id stays the first that it had, whatever it is found as later."""
        self.base.execute(
            "insert into alert values (?, ?, ?, ?, ?, ?) on conflict (alert_id) do update set "
            "found_as = excluded.found_as, row = excluded.row, told = excluded.told, over = excluded.over, "
            "held = excluded.held",
            [known.alert_id, found_as, json.dumps(known.row), known.told, known.over, known.held],
        )

    def owe(self, event: Event, sinks: Iterable[str]) -> None:
        """Write an event down, owed to these sinks."""
        number = self.base.execute(
            "insert into event (alert_id, event, reopens, row, happened_at) values (?, ?, ?, ?, ?)",
            [event.alert_id, event.event, event.reopens, json.dumps(event.row), event.happened_at],
        ).lastrowid
        self.base.executemany("insert into delivery values (?, ?, 0)", [(number, sink) for sink in sinks])

    def owed(self, sink: str) -> list[Event]:
        """What a sink has not got yet, the oldest first."""
        rows = self.base.execute(
            "select number, alert_id, event, reopens, row, happened_at from event join delivery using (number) "
            "where sink = ? and not done order by number",
            [sink],
        )
        return [_event(*row) for row in rows]

    def orphaned(self, sinks: Sequence[str]) -> list[Event]:
        """Events that nobody has got and that no sink of these is owed: their sinks have left the plan."""
        marks = ", ".join("?" * len(sinks)) or "null"
        rows = self.base.execute(
            "select number, alert_id, event, reopens, row, happened_at from event e where not exists "
            f"(select 1 from delivery d where d.number = e.number and (done or sink in ({marks}))) and exists "
            "(select 1 from delivery d where d.number = e.number) order by number",
            list(sinks),
        )
        return [_event(*row) for row in rows]

    def hand_over(self, event: Event, sink: str) -> None:
        """Owe an event to one more sink."""
        self.base.execute("insert or ignore into delivery values (?, ?, 0)", [event.number, sink])

    def arrived(self, sink: str, numbers: Iterable[int]) -> None:
        """Note that a sink has got these events."""
        with self.transaction():
            self.base.executemany(
                "update delivery set done = 1 where number = ? and sink = ?", [(number, sink) for number in numbers]
            )

    def waiting(self, sinks: Sequence[str] | None = None, held: AbstractSet[str] = frozenset()) -> int:
        """Deliveries that are owed to these sinks (None: to any), those of alerts that are held back not counted."""
        rows = self.base.execute("select sink, alert_id from event join delivery using (number) where not done")
        return sum((sinks is None or sink in sinks) and name not in held for sink, name in rows)

    def acknowledge(self, alert_id: str, until: str) -> None:
        """Hold an alert back until a moment."""
        self.base.execute("insert or replace into acknowledged values (?, ?)", [alert_id, until])

    def acknowledged(self, now: str) -> set[str]:
        """Alerts that are held back now."""
        return {name for (name,) in self.base.execute("select alert_id from acknowledged where until > ?", [now])}

    def want_page(self, alert_id: str) -> None:
        """Note that the incident folder of an alert is to be written."""
        self.base.execute("insert or ignore into page values (?, 0)", [alert_id])

    def pages_wanted(self, tries: int) -> list[str]:
        """Alerts whose incident folder is still to be written, tried fewer times than this."""
        found = self.base.execute("select alert_id from page where tries < ? order by alert_id", [tries])
        return [name for (name,) in found]

    def page_tried(self, alert_id: str) -> None:
        """Note that an incident folder is about to be written."""
        self.base.execute("update page set tries = tries + 1 where alert_id = ?", [alert_id])

    def page_written(self, alert_id: str) -> None:
        """Note that an incident folder stands."""
        self.base.execute("delete from page where alert_id = ?", [alert_id])


def _event(number: int, alert_id: str, event: str, reopens: str | None, row: str, at: str) -> Event:
    """An event as a line of its table holds it."""
    return Event(number, alert_id, event, reopens, json.loads(row), at)
