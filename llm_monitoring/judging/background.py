"""`BackgroundJudge`: judge a share of the answers inside a serving process, without ever holding it up."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.judging.asking import Outcome, ask
from llm_monitoring.judging.client import Item, as_judge
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
                self._start()
            self._submitted += 1
            if self._closed or not should_sample(request_id, self.rate):
                return False
            minute = int(time.time() // 60)
            counts = self._intake.setdefault(minute, [0, 0])
            counts[0] += 1
            try:
                self._queue.put_nowait((Item(request_id, feature_id, user_input, system_output), minute))
            except queue.Full:
                self._dropped += 1
                return False
            counts[1] += 1
            self._accepted += 1
            return True
        except Exception:
            return False  # a monitor must not break what it monitors

    def stats(self) -> dict[str, int]:
        """What this process offered: `submitted` (all), `accepted` (queued), `dropped` (sampled, but no room)."""
        return {"submitted": self._submitted, "accepted": self._accepted, "dropped": self._dropped}

    def close(self, timeout_s: float = 5.0) -> None:
        """Judge what waits, for at most `timeout_s` seconds; what is left by then counts as dropped."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        self._deadline = time.monotonic() + timeout_s
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s + 1)
        left = self._accepted - self._judged
        self._accepted -= left
        self._dropped += left

    def _start(self) -> None:
        self._pid = os.getpid()
        self._submitted = self._accepted = self._dropped = self._judged = 0
        self._intake: dict[int, list[int]] = {}
        self._queue: queue.Queue = queue.Queue(self.queue_size)
        self._deadline = float("inf")
        self._thread = threading.Thread(target=_run, args=(weakref.proxy(self),), name="background-judge", daemon=True)
        self._thread.start()

    async def _work(self, store: Store, pace: Pace) -> None:
        """Take items and judge them, at most `concurrency` at a time, until closed."""
        working: set[asyncio.Task] = set()
        flushed = 0.0
        while True:
            while len(working) < self.concurrency and (taken := self._next()) is not None:
                working.add(asyncio.create_task(self._judge_one(store, pace, *taken)))
            if time.monotonic() - flushed >= 1:
                flushed = time.monotonic()
                self._flush(store)
            if self._closed and (self._late() or (not working and self._queue.empty())):
                break
            if working:
                done, working = await asyncio.wait(working, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0.05)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        self._flush(store)

    def _next(self) -> tuple[Item, int] | None:
        while True:
            try:
                taken = self._queue.get_nowait()
            except queue.Empty:
                return None
            if taken is not None:
                return taken

    def _late(self) -> bool:
        return time.monotonic() >= self._deadline

    async def _judge_one(self, store: Store, pace: Pace, item: Item, minute: int) -> None:
        try:
            await self._judge(store, pace, item, minute)
        except Exception as error:  # a full disk, a missing package: the service goes on, the reason is kept
            self.error = f"{type(error).__name__}: {error}"

    async def _judge(self, store: Store, pace: Pace, item: Item, minute: int) -> None:
        item = item._replace(request_id=str(item.request_id).encode("utf-8", "replace").decode())
        if not store.claim(item.request_id, self.judge):
            self._judged += 1  # another process has it
            return
        try:
            if not store.is_final(item.request_id, self.judge):
                outcome = await self._ask(item, pace)
                store.record(outcome, self.judge, self.rate, minute)
            self._judged += 1
        finally:
            store.release(item.request_id, self.judge)

    async def _ask(self, item: Item, pace: Pace) -> Outcome:
        shown = item
        if isinstance(item.user_input, str) and isinstance(item.system_output, str):
            shown = item._replace(
                user_input=self.redact(item.user_input), system_output=self.redact(item.system_output)
            )
        outcome = await ask(self.judge, shown, pace)
        outcome.item = item
        return outcome

    def _flush(self, store: Store) -> None:
        now = int(time.time() // 60)
        for minute, (offered, taken) in list(self._intake.items()):
            store.count_intake(minute, offered, taken)
            if minute < now - 1:
                self._intake.pop(minute, None)
        store.still_here()


def _run(background: BackgroundJudge) -> None:
    """The thread: a loop of its own, ended when the judge is closed or forgotten."""
    try:
        with Store(background.out) as store:
            store.start_run({"rate": background.rate, "queue_size": background.queue_size, "serving": True})
            try:
                asyncio.run(background._work(store, Pace()))
            finally:
                store.end_run(None)
    except ReferenceError:
        pass  # the judge was let go without close


def _close_at_exit(reference: weakref.ref) -> None:
    background = reference()
    if background is not None:
        background.close(timeout_s=2.0)
