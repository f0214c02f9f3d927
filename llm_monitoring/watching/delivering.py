"""What is owed to each sink, sent: every sink in a thread of its own, so that one that fails or hangs stops no other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from llm_monitoring.watching.messages import Where
from llm_monitoring.watching.sinks import Sink, SinkError
from llm_monitoring.watching.state import Event, State

LIMIT_S = 10.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 120.0


@dataclass
class _Try:
    """One sink's thread: what it has sent, and why it stopped."""

    sink: Sink
    thread: threading.Thread
    done: queue.SimpleQueue[tuple[Any, str | None]]
    enough: threading.Event


@dataclass
class Delivery:
    """Sends what the state says is owed, and remembers for how long a sink that failed is let alone.

    `failed` holds the reason of each sink's last failure.
    """

    sinks: Sequence[Sink]
    where: Where
    limit_s: float = LIMIT_S
    failed: dict[str, str] = field(default_factory=dict)
    _fails: dict[str, int] = field(default_factory=dict)
    _again_at: dict[str, float] = field(default_factory=dict)
    _tries: dict[str, _Try] = field(default_factory=dict)

    def deliver(self, state: State, held: AbstractSet[str] = frozenset()) -> list[Event]:
        """Try every sink that is owed something and is not let alone; give back the events that arrived somewhere.

        Alerts that are `held` stay owed.
        """
        arrived = [event for one in list(self._tries.values()) for event in self._collect(one, state)]
        for sink in self.sinks:
            if sink.key in self._tries or time.monotonic() < self._again_at.get(sink.key, 0):
                continue
            owed = [event for event in state.owed(sink.key) if event.alert_id not in held]
            if owed:
                self._tries[sink.key] = _start(sink, sink.parcels(owed, self.where))
        end = time.monotonic() + self.limit_s
        for one in list(self._tries.values()):
            one.thread.join(max(end - time.monotonic(), 0))
            one.enough.set()
            arrived += self._collect(one, state)
        return sorted({event.number: event for event in arrived}.values(), key=lambda event: event.number)

    def seconds_to_next_try(self) -> float | None:
        """How long until a sink that failed is tried again; None where none waits."""
        waits = [self._again_at[key] for key in self.failed if key in self._again_at]
        return max(min(waits) - time.monotonic(), 0.0) if waits else None

    def _collect(self, one: _Try, state: State) -> list[Event]:
        """Write down what a thread has sent so far."""
        alive, found = one.thread.is_alive(), []
        reason: str | None = None
        while not one.done.empty():
            parcel, reason = one.done.get()
            if reason is None:
                state.arrived(one.sink.key, [event.number for event in parcel.events])
                found += parcel.events
        if not alive:
            del self._tries[one.sink.key]
        self._judge(one.sink, f"no answer within {self.limit_s:.0f} s" if alive and one.enough.is_set() else reason)
        return found

    def _judge(self, sink: Sink, reason: str | None) -> None:
        if reason is None:
            self.failed.pop(sink.key, None)
            self._fails.pop(sink.key, None)
            self._again_at.pop(sink.key, None)
            return
        wait = min(FIRST_WAIT_S * 2 ** self._fails.get(sink.key, 0), LONGEST_WAIT_S)
        self._fails[sink.key] = self._fails.get(sink.key, 0) + 1
        self._again_at[sink.key] = time.monotonic() + wait
        self.failed[sink.key] = reason


def greet(sinks: Sequence[Sink], limit_s: float = LIMIT_S) -> list[tuple[Sink, str | None]]:
    """Send one message to each sink: None where it was taken, else the reason."""
    tries = [_start(sink, [sink.greeting()]) for sink in sinks]
    end = time.monotonic() + limit_s
    for one in tries:
        one.thread.join(max(end - time.monotonic(), 0))
    silent = f"no answer within {limit_s:.0f} s"
    return [(one.sink, silent if one.done.empty() else one.done.get()[1]) for one in tries]


def _start(sink: Sink, parcels: Sequence[Any]) -> _Try:
    done: queue.SimpleQueue[tuple[Any, str | None]] = queue.SimpleQueue()
    enough = threading.Event()

    def send_all() -> None:
        for parcel in parcels:
            reason = _reason(sink, parcel)
            done.put((parcel, reason))
            if reason is not None or enough.is_set():
                return

    thread = threading.Thread(target=send_all, daemon=True, name=f"sink {sink.shown}")
    thread.start()
    return _Try(sink, thread, done, enough)


def _reason(sink: Sink, parcel: Any) -> str | None:
    """Send a parcel; None where it was taken, else why not."""
    try:
        sink.send(parcel)
    except SinkError as error:
        return str(error)
    except Exception as error:  # a fault in a sink may not end the watch; its text may hold a secret
        return type(error).__name__
    return None
