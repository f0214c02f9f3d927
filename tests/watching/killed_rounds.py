"""Rounds that are killed: a server of forks, each a round over a log that grew, ended by SIGKILL at a line drawn by lot.

Run as a script, so that no engine has started threads before the forks: SEED, KILLS, COPIES (rounds at a time) and a
folder in, JSON out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import llm_monitoring as lm
import llm_monitoring.log
import llm_monitoring.watching.rounds
from llm_monitoring.alerts import checking
from tests.watching.logs import GrowingLog, alert, as_known_at

WATCHING = str(Path(lm.__file__).parent / "watching")


def some_alerts(rng: random.Random, hours: int) -> list[dict]:
    """Storms and single alerts, of which some end and some come back under another id."""
    rows = []
    for hour in range(1, hours):
        for i in range(rng.choice([0, 1, 1, 6])):
            ended = rng.choice([None, hour + rng.randint(1, 5)])
            rows.append(alert(f"a{hour}-{i}", hour, ended, feature_id=rng.choice(["search", "chat"])))
    return rows


def die_at(line: int, count: list[int]):
    """A tracer that counts lines of the watch in all threads, and ends the process at one of them."""

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(WATCHING):
            return None
        if event == "line":
            count[0] += 1
            if count[0] == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def rounds(log: GrowingLog, folder: Path, lines: list[int]) -> list[int | None]:
    """Rounds at the same time, a fork each; the lines that each ran, None where it was killed. `line` 0: to its end."""
    return [end() for end in [one_round(log, folder, line) for line in lines]]


def one_round(log: GrowingLog, folder: Path, line: int) -> Callable[[], int | None]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        count = [0]
        threading.settrace(die_at(line, count))
        sys.settrace(die_at(line, count))
        lm.watch(str(log.folder), {"sinks": [{"url": f"jsonl://{folder}/told.jsonl"}]}, folder / "watch.db")
        sys.settrace(None)
        os.write(write, str(count[0]).encode())
        os._exit(0)
    os.close(write)

    def end() -> int | None:
        _, status = os.waitpid(child, 0)
        said = os.read(read, 100)
        os.close(read)
        if os.WIFSIGNALED(status) != (not said):
            raise SystemExit(f"a round ended with {status} and said {said!r}")
        return int(said) if said else None

    return end


def main(seed: int, kills: int, copies: int, folder: Path) -> None:
    rng = random.Random(seed)
    hours = kills + 10
    rows = some_alerts(rng, hours)
    checking.check = lambda log, plan=None, until=None: as_known_at(rows, log.span("requests")[1])
    log = GrowingLog(folder / "log", 0)
    longest, killed, hour = rounds(log, folder, [0])[0] or 1, 0, 0
    while killed < kills:
        hour = min(hour + rng.choice([0, 1, 1]), kills)
        log.grow(hour)
        for ran in rounds(log, folder, [rng.randint(1, longest) for _ in range(copies)]):
            killed += ran is None
            longest = max(longest, ran or 0)
    log.grow(hours + 10)
    rounds(log, folder, [0] * copies)
    over = [row["alert_id"] for row in rows if row["ended"] is not None]
    print(json.dumps({"killed": killed, "fired": [row["alert_id"] for row in rows], "over": over}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
