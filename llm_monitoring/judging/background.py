"""`BackgroundJudge`: judge a share of the answers inside a serving process, without ever holding it up."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.judging.asking import ask
from llm_monitoring.judging.client import Item, as_judge
from llm_monitoring.judging.group_commit import GroupCommit
from llm_monitoring.judging.pace import Pace
from llm_monitoring.judging.redaction import redactor
from llm_monitoring.judging.store import Store
from llm_monitoring.sampling import should_sample


class BackgroundJudge:
    """A bounded queue, and one daemon thread that judges what is in it.

    Sampling is by the hash of the request's id. Where the queue is full the item is dropped and counted; the drops of
    each minute lower the `inclusion_probability` of the answers that were judged, so that busy minutes keep their
    weight. After a fork the child starts a thread of its own on the same file.

    Parameters
    ----------
    judge : Judge or callable
    rate : float
        Share of requests.
    out : str or Path
        The same kind of file that `judge_sample` writes.
    queue_size : int
        Items that may wait.
    concurrency : int
        Calls at a time.
    redact : bool or callable
        See `judge_sample`.

    Examples
    --------
    >>> import tempfile
    >>> def judge(user_input, system_output):
    ...     return {"correctness": 5, "completeness": 4, "tone": 4}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     background = BackgroundJudge(judge, rate=1, out=f"{folder}/judgements.db")
    ...     background.submit(request_id="r1", feature_id="search", user_input="2 + 2?", system_output="4")
    ...     background.close(timeout_s=10)
    ...     background.stats()
    True
    {'submitted': 1, 'accepted': 1, 'dropped': 0}
    """

    _pid: int
    _thread: threading.Thread

    def __init__(
        self,
        judge: Any,
        rate: float = 0.05,
        out: str | Path = "judgements.db",
        queue_size: int = 1000,
        *,
        concurrency: int = 8,
        redact: bool | Callable[[str], str] = False,
    ):
        if not 0 <= rate <= 1:
            raise ConfigError(f"BackgroundJudge(rate={quote(rate)}); expected a share from 0 to 1, such as 0.05")
        if not queue_size >= 1:
            raise ConfigError(f"BackgroundJudge(queue_size={quote(queue_size)}); expected a whole number >= 1")
        self.judge, self.rate, self.out = as_judge(judge), rate, Path(out)
        self.queue_size, self.concurrency, self.redact = queue_size, concurrency, redactor(redact)
        if hasattr(self.judge, "prepare"):
            self.judge.prepare()
        with Store(out) as store:  # faults of the file and the rubric come up here, not in the thread
            store.check_prompt(self.judge)
        self.error: str | None = None  # the last thing that went wrong outside of a judge's answer
        self._closed = False
        self._start()
        atexit.register(_close_at_exit, weakref.ref(self))

    def submit(self, *, request_id: str, feature_id: str, user_input: str, system_output: str) -> bool:
        """Offer one answer; returns at once.

        Returns
        -------
        bool
            True where it will be judged; False where it is not in the sample, or dropped.
        """
        try:
            if self._pid != os.getpid():
                with _file_open:  # of the threads of a forked child the first starts the work
                    if self._pid != os.getpid():
                        self._start()
            sampled = should_sample(request_id, self.rate)
            with self._counting:
                return self._take(Item(request_id, feature_id, user_input, system_output), sampled)
        except Exception as error:
            self._note(error)
            return False  # a monitor must not break what it monitors

    def _take(self, item: Item, sampled: bool) -> bool:
        self._submitted += 1
        if self._closed or not sampled:
            return False
        minute = int(time.time() // 60)
        counts = self._intake.setdefault(minute, [0, 0])
        counts[0] += 1
        if len(self._waiting) >= self.queue_size:
            self._dropped += 1
            return False
        self._waiting.append((item, minute))
        counts[1] += 1
        self._accepted += 1
        return True

    def stats(self) -> dict[str, int]:
        """What this process offered: `submitted` (all), `accepted` (queued), `dropped` (sampled, but no room)."""
        with self._counting:
            return {"submitted": self._submitted, "accepted": self._accepted, "dropped": self._dropped}

    def close(self, timeout_s: float = 5.0) -> None:
        """Judge what waits, for at most `timeout_s` seconds; what is left by then counts as dropped."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        self._deadline = time.monotonic() + timeout_s
        self._thread.join(timeout_s + 1)
        with self._counting:
            left = self._accepted - self._judged
            self._accepted -= left
            self._dropped += left

    def _start(self) -> None:
        self._counting = threading.Lock()  # held for a few additions, never across a call or a write
        self._submitted = self._accepted = self._dropped = self._judged = 0
        self._run_id = uuid.uuid4().hex
        self._intake: dict[int, list[int]] = {}
        self._waiting: deque[tuple[Item, int]] = deque()
        self._deadline = float("inf")
        self._thread: threading.Thread = threading.Thread(
            target=_run, args=(weakref.proxy(self),), name="background-judge", daemon=True
        )
        self._thread.start()
        self._pid: int = os.getpid()  # last: whoever sees it finds all of the above

    async def _work(self) -> None:
        """Take items and judge them, at most `concurrency` at a time, until closed."""
        pace, commit, working = Pace(), GroupCommit(self._opened), set[asyncio.Task]()
        flushed = 0.0
        while True:
            while len(working) < self.concurrency and self._waiting:
                working.add(asyncio.create_task(self._judge_one(pace, commit, *self._waiting.popleft())))
            if time.monotonic() - flushed >= 1:
                flushed = time.monotonic()
                self._flush()
            if self._closed and (self._late() or (not working and not self._waiting)):
                break
            if working:
                _, working = await asyncio.wait(working, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0.05)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        self._flush()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Store]:
        """The file, for one transaction. It is never open across a fork, which SQLite would not survive."""
        with _file_open, Store(self.out, run_id=self._run_id) as store, store.writing():
            yield store

    def _late(self) -> bool:
        return time.monotonic() >= self._deadline

    async def _judge_one(self, pace: Pace, commit: GroupCommit, item: Item, minute: int) -> None:
        item = item._replace(request_id=str(item.request_id).encode("utf-8", "replace").decode())
        with self._noting_errors():
            if await commit.done(lambda store: store.take(item.request_id, self.judge)):
                try:
                    outcome = await ask(self.judge, item, pace, redact=self.redact)
                    await commit.done(lambda store: store.record(outcome, self.judge, self.rate, minute))
                except BaseException:
                    with self._opened() as store:
                        store.release(item.request_id, self.judge)
                    raise
            self._judged += 1

    def _flush(self) -> None:
        now = int(time.time() // 60)
        with self._counting:
            counts = [(minute, *count) for minute, count in self._intake.items()]
        with self._noting_errors(), self._opened() as store:
            for row in counts:
                store.count_intake(*row)
            store.still_here()
            with self._counting:
                for minute, *_ in counts:
                    if minute < now - 1:
                        self._intake.pop(minute, None)

    @contextlib.contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """A full disk, a missing package: the service goes on, the reason is kept."""
        try:
            yield
        except ReferenceError:
            raise
        except Exception as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        """Keep the reason in `error`, and log it where it is another than the last."""
        said = f"{type(error).__name__}: {error}"
        if said != self.error:
            logging.getLogger(__name__).warning("%s", said)
        self.error = said


def _run(background: BackgroundJudge) -> None:
    """The thread: a loop of its own, ended when the judge is closed or forgotten."""
    settings = {"rate": background.rate, "queue_size": background.queue_size, "serving": True}
    try:
        with background._noting_errors(), background._opened() as store:
            store.start_run(settings)
        asyncio.run(background._work())
        with background._noting_errors(), background._opened() as store:
            store.end_run(None)
    except ReferenceError:
        pass  # the judge was let go without close


_file_open = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_file_open.acquire, after_in_parent=_file_open.release, after_in_child=_file_open.release
    )


def _close_at_exit(reference: weakref.ref) -> None:
    background = reference()
    if background is not None:
        background.close(timeout_s=2.0)
