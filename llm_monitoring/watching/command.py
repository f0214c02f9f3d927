"""What `llm-monitoring watch` does: one round for cron, or round after round until it is told to stop."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from llm_monitoring import addresses, times, windows
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.errors import ConfigError, LogError
from llm_monitoring.results import iso
from llm_monitoring.watching.delivering import greet
from llm_monitoring.watching.looking import LAYERS, Source
from llm_monitoring.watching.messages import line, plain
from llm_monitoring.watching.rounds import Guard, Round
from llm_monitoring.watching.state import State
from llm_monitoring.wording import moment

NOTHING, TOLD, UNREADABLE = 0, 1, 3


def watch_log(
    log: str,
    opening: Mapping[str, Any],
    *,
    plan: str | None,
    state: str,
    once: bool,
    heartbeat: str | None,
    test_sinks: bool,
    ack: str | None,
    until: str | None,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Do what the command was called for and give back the exit code; `say` prints, `warn` prints as an error.

    Raises
    ------
    ConfigError
        The call, the plan, a sink or the state cannot be used.
    """
    watched = read_plan(plan)
    say, warn = _plainly(say), _plainly(warn)
    if ack is not None or until is not None:
        _acknowledge(state, ack, until, say)
        if not once:
            return NOTHING
    guard = Guard(Source(log, opening), watched, state, heartbeat, plan)
    try:
        if test_sinks:
            return _test(guard, say)
        return _once(guard, say, warn) if once else _until_stopped(guard, watched, say, warn)
    finally:
        guard.close()


def _plainly(out: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: out(plain(text))


def _acknowledge(state: str, ack: str | None, until: str | None, say: Callable[[str], None]) -> None:
    if ack is None or until is None:
        raise ConfigError("--ack ID and --until TIME belong together: which alert is held back, and until when")
    when = times.moment(until, "until")
    kept = State(state)
    try:
        with kept.round():
            kept.acknowledge(ack, str(iso(when)))
            known = any(one.alert_id == ack for one in kept.alerts().values())
    finally:
        kept.close()
    more = "" if known else "; no round has found an alert with this id yet"
    say(f"{ack} is not told until {moment(when, year=True)}{more}")


def _test(guard: Guard, say: Callable[[str], None]) -> int:
    if not guard.sinks and not guard.boards.all:
        raise ConfigError("the plan has no [[sinks]]; there is nothing to test")
    found = [(sink.shown, reason) for sink, reason in greet(guard.sinks)]
    for shown, reason in found:
        say(f"{shown}: {'taken' if reason is None else f'not taken: {reason}'}")
    numbers = guard.boards.test()
    for shown, reason in numbers:
        say(f"{shown}: {'numbers can be shown' if reason is None else f'numbers cannot be shown: {reason}'}")
    return UNREADABLE if any(reason for _, reason in (*found, *numbers)) else NOTHING


def _once(guard: Guard, say: Callable[[str], None], warn: Callable[[str], None]) -> int:
    done = guard.round()
    _print(guard, done, say, warn)
    guard.write_pages(warn)
    if done.fault is not None:
        return UNREADABLE
    return TOLD if done.told or done.waiting else NOTHING


def _print(guard: Guard, done: Round, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """The events reported, then what else is worth knowing; last the line that says when it looked, and how it went."""
    for event in done.told:
        say(line(event))
    for said in done.lines:
        warn(said)
    place = addresses.masked(guard.source.shown)
    if done.fault is not None:
        warn(f"{place} could not be read: {done.fault}")
    how = "could not be read" if done.fault is not None else f"read, {len(done.told)} told"
    owed = f", {done.waiting} still to be delivered" if done.waiting else ""
    last = f"; looked before at {moment(done.looked_before, year=True)}" if done.looked_before else ""
    warn(f"{moment(datetime.now(UTC), year=True)}: {place} {how}{owed}{last}")


def _until_stopped(guard: Guard, plan: Plan, say: Callable[[str], None], warn: Callable[[str], None]) -> int:
    """Round after round, each layer in its own time, until SIGTERM or SIGINT; a round that is under way is ended first."""
    gaps = {layer: windows.width(getattr(plan.watch, layer)).total_seconds() for layer in LAYERS}
    next_look = dict.fromkeys(LAYERS, 0.0)
    with _stopping() as stop, guard.boards.serving():
        while not stop.is_set():
            now = time.monotonic()
            among = tuple(layer for layer in LAYERS if next_look[layer] <= now)
            next_look |= {layer: now + gaps[layer] for layer in among}
            try:
                done = guard.round(among)
                if among or done.told:
                    _print(guard, done, say, warn)
                if not stop.is_set():
                    guard.write_pages(warn, most=1)
            except (LogError, ConfigError, OSError) as error:
                warn(f"{moment(datetime.now(UTC), year=True)}: round not done: {error}")
            waits = [*next_look.values(), time.monotonic() + (guard.delivery.seconds_to_next_try() or 3600)]
            stop.wait(max(min(waits) - time.monotonic(), 0.05))
    warn(f"{moment(datetime.now(UTC), year=True)}: stopped")
    return NOTHING


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Set where SIGTERM or SIGINT asks for an end; a second one ends at once."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            with suppress(TypeError):
                signal.signal(number, handler)
