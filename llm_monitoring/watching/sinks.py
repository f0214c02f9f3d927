"""Where alerts are sent: a message through Apprise, or a line of a JSON Lines file. What is shown of an address has no secret."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llm_monitoring import addresses, disk
from llm_monitoring.alerts.plan import Plan, SinkPlan
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.results import iso
from llm_monitoring.watching.messages import Message, Where, messages
from llm_monitoring.watching.state import Event

METRICS = ("prometheus", "otlp", "otlps")  # kinds that show numbers and get no events
KINDS = {"critical": "failure", "warning": "warning", "info": "info"}


class SinkError(Exception):
    """A sink did not take what it was sent; the text says why, without secrets."""


class Sink:
    """One place that alerts are sent to. `key` names it in the state, `shown` to people."""

    def __init__(self, wanted: SinkPlan, url: str):
        self.wanted, self.url = wanted, url
        self.shown = addresses.destination(url)
        self.key = hashlib.sha256(f"{url}\n{wanted.model_dump_json(exclude={'url'})}".encode()).hexdigest()[:16]

    def takes(self, layer: str) -> bool:
        """Whether the plan sends alerts of a layer here."""
        return not self.wanted.layers or layer in self.wanted.layers

    def wants(self, row: dict[str, Any]) -> bool:
        """Whether the plan sends alerts like this one here; one of all features goes to every feature's sink."""
        mine = self.wanted
        return (
            self.takes(row["layer"])
            and row["severity"] in mine.severity
            and (not mine.features or row["feature_id"] is None or row["feature_id"] in mine.features)
        )

    def parcels(self, events: Sequence[Event], where: Where) -> list[Any]:
        """What is sent at once: each has `events`, and is owed again as a whole where it fails."""
        raise NotImplementedError

    def send(self, parcel: Any) -> None:
        """Send one of them.

        Raises
        ------
        SinkError
            It was not taken.
        """
        raise NotImplementedError

    def greeting(self) -> Any:
        """A parcel that says that this place can be reached."""
        raise NotImplementedError


class AppriseSink(Sink):
    """A service that Apprise knows: one message for each feature."""

    def __init__(self, wanted: SinkPlan, url: str):
        import apprise

        super().__init__(wanted, url)
        with _said_by_apprise([]):
            service = apprise.Apprise.instantiate(url)
        if service is None:
            raise ConfigError(
                f"[[sinks]] url = {quote(self.shown)}; expected an address that Apprise can read (see its wiki), jsonl://PATH, "
                "prometheus://HOST:PORT or otlp://HOST:PORT"
            )
        self.service = service
        if "overflow=" not in url:
            self.service.overflow_mode = apprise.OverflowMode.SPLIT

    def parcels(self, events: Sequence[Event], where: Where) -> list[Any]:
        return list(messages(events, where))

    def greeting(self) -> Any:
        body = "This is a test: alerts of llm-monitoring watch arrive here."
        return Message("llm-monitoring: test", body, "info", False)

    def send(self, parcel: Message) -> None:
        import apprise

        said: list[str] = []
        kind = "success" if parcel.recovered else KINDS[parcel.severity]
        with _said_by_apprise(said):
            # by the service itself: the end of a process waits for the threads in which Apprise.notify calls it
            taken = self.service.notify(
                body=parcel.body, title=parcel.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
            )
        if not taken:
            raise SinkError(self._without_secrets("; ".join(dict.fromkeys(said))) or "not taken, no reason given")

    def _without_secrets(self, text: str) -> str:
        text = addresses.without_secrets(" ".join(text.split()), addresses.query_apart(self.url))
        pieces = [piece for piece in re.split(r"[/?&=@:]", self.url.partition("://")[2]) if len(piece) > 5]
        for piece in sorted(pieces, key=len, reverse=True):
            if piece not in self.shown:
                text = text.replace(piece, addresses.HIDDEN)
        return text[:300]


class _Gathered(logging.Handler):
    """What Apprise logs goes to whoever waits for it in this context, which it hands on to its threads.

    The cause of a failure is logged as debugging only: the logger lets such records in, and this filter keeps those that
    were not wanted before from everybody else.
    """

    def __init__(self, log: logging.Logger):
        super().__init__()
        self.wanted = log.getEffectiveLevel()
        log.addHandler(self)
        log.addFilter(self.gather)
        log.setLevel(logging.DEBUG)

    def gather(self, record: logging.LogRecord) -> bool:
        said, text = SAID.get(), record.getMessage()
        if said is not None and record.levelno >= logging.WARNING:
            said.append(text)
        elif said is not None and CAUSE.match(text):
            said.append(_innermost(CAUSE.sub("", text)))
        return record.levelno >= self.wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Nothing: a logger without a handler prints to standard error."""


def _innermost(cause: str) -> str:
    """What a library's error says in the end, without the objects that it names on the way.

    >>> _innermost("Pool(host='h', port=1): Max retries (Caused by E('C(host=h, port=1): [Errno 111] Connection refused'))")
    '[Errno 111] Connection refused'
    >>> _innermost("(550, b'no such user')")
    '550 no such user'
    """
    refusal = re.fullmatch(r"\((\d{3}), b?['\"](.*)['\"]\)", cause, re.S)
    return f"{refusal[1]} {refusal[2]}" if refusal else re.split(r"[)>]: ", cause)[-1].rstrip("'\")")


CAUSE = re.compile(r"(SMTP|Socket|HTTP|Connection)?\s*Exception: ")
SAID: ContextVar[list[str] | None] = ContextVar("said", default=None)
_gathered: list[_Gathered] = []


@contextmanager
def _said_by_apprise(said: list[str]) -> Iterator[None]:
    """Gather what Apprise logs of one message: it gives no other reason, and would print it."""
    if not _gathered:
        _gathered.append(_Gathered(logging.getLogger("apprise")))
    token = SAID.set(said)
    try:
        yield
    finally:
        SAID.reset(token)


class JsonLines(Sink):
    """A file to which one line an event is appended, whole and on the disk before it counts as told."""

    def __init__(self, wanted: SinkPlan, url: str):
        super().__init__(wanted, url)
        self.path = Path(url.partition("://")[2])
        if not self.path.name:
            raise ConfigError(f"[[sinks]] url = {quote(url)}; expected jsonl://PATH")

    def parcels(self, events: Sequence[Event], where: Where) -> list[Any]:
        return [_Lines(tuple(events))]

    def greeting(self) -> Any:
        return _Lines((Event(0, None, "test", None, None, ""),))  # type: ignore[arg-type]

    def send(self, parcel: _Lines) -> None:
        now = iso(datetime.now(UTC))
        lines = [
            {"alert_id": one.alert_id, "event": one.event, "reopens": one.reopens, "sent_at": now, "alert": one.row}
            for one in parcel.events
        ]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        try:
            with disk.appending(self.path) as file:
                _mend(file)
                disk.append(file, data, sync=True)
        except OSError as error:
            raise SinkError(f"{error.filename or self.path}: {error.strerror}") from error


class _Lines:
    def __init__(self, events: tuple[Event, ...]):
        self.events = events


def _mend(file: int) -> None:
    """Close a last line that is whole, cut off one that a killed watch tore: what was in it is owed still."""
    end = os.fstat(file).st_size
    start, tail = end, b""
    while start > 0 and b"\n" not in tail:
        start = max(start - 65536, 0)
        tail = os.pread(file, end - start, start)
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return
    try:
        json.loads(last)
        disk.append(file, b"\n")
    except ValueError:
        os.ftruncate(file, end - len(last))


def sinks_of(plan: Plan) -> list[Sink]:
    """The sinks of a plan that get events, in its order.

    Raises
    ------
    ConfigError
        An address cannot be read, or names a variable that the environment does not hold.
    """
    made = {
        number: (JsonLines if kind == "jsonl" else AppriseSink)(wanted, url)
        for number, (wanted, url, kind) in enumerate(addresses_of(plan), start=1)
        if kind not in METRICS
    }
    places = {number: sink.shown for number, sink in made.items()}
    for number, sink in made.items():
        if list(places.values()).count(sink.shown) > 1:  # two that are shown alike are told apart by their place
            sink.shown = f"{places[number]} ([[sinks]] {number})"
    return list({sink.key: sink for sink in made.values()}.values())


def addresses_of(plan: Plan) -> list[tuple[SinkPlan, str, str]]:
    """Each sink of a plan with its whole address and the kind of it."""
    found = []
    for wanted in plan.sinks:
        url = re.sub(r"\$\{(\w+)\}", _from_environment, wanted.url)
        found.append((wanted, url, url.partition("://")[0].lower()))
    return found


def _from_environment(name: re.Match[str]) -> str:
    value = os.environ.get(name[1])
    if not value:
        raise ConfigError(
            f"[[sinks]] url names ${{{name[1]}}}, which the environment does not have; set it, or write the address"
        )
    return value
