"""`judge_sample`: a sample of a log through a judge, durable and resumable, within a budget."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines, frames
from llm_monitoring.errors import ConfigError, Fault, LogError, quote
from llm_monitoring.judging.asking import Outcome, ask
from llm_monitoring.judging.client import Item, as_judge
from llm_monitoring.judging.group_commit import GroupCommit
from llm_monitoring.judging.pace import Pace
from llm_monitoring.judging.redaction import redactor
from llm_monitoring.judging.store import Store
from llm_monitoring.log import as_table
from llm_monitoring.sampling import chances

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

    from llm_monitoring.log import TableLike

TEXTS = ("user_input", "system_output")


def judge_sample(
    log_or_requests: TableLike,
    judge: Any,
    rate: float = 0.05,
    out: str | Path = "judgements.db",
    *,
    concurrency: int = 16,
    budget_usd: float | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    retry_failed: bool = False,
    progress: bool = True,
    boost: Mapping[str, Any] | None = None,
    redact: bool | Callable[[str], str] = False,
) -> pd.DataFrame:
    """Judge a sample of the requests; can be stopped or killed at any moment and called again.

    Parameters
    ----------
    log_or_requests : Log, DataFrame or Ibis table
        With `user_input` and `system_output`.
    judge : Judge or callable
    rate : float
        Share of requests, by the hash of their ids: the same requests every time.
    out : str or Path
        SQLite file that keeps every judgement and every cent. A request that has a judgement of this judge and this
        rubric in it is not asked again.
    concurrency : int
        Calls at a time.
    budget_usd : float, optional
        What this file may spend in its life, over all runs. The worst case of a call is set aside before it. Needs the
        judge's prices.
    rpm, tpm : float, optional
        Requests and tokens a minute that the provider allows; unknown limits are found from its refusals.
    retry_failed : bool
        Ask again about items that failed for a reason that passes (time-out, connection, server error).
    progress : bool
        A bar with what was spent and the time left; silent where nobody looks.
    boost : mapping, optional
        Higher rates for some requests, see `sample`; the inclusion probability of every row is kept.
    redact : bool or callable
        True takes personal data out of the judge's copy by the built-in patterns; a function text -> text does it its
        own way.

    Returns
    -------
    DataFrame
        The judgements of this sample by this judge and rubric: the log's `judgements` table. Items that failed are
        rows with status failed, a null score and the reason; items not reached (budget, stop) have no row, and
        ``.attrs["stopped"]`` says why. A run whose first ten answers fail for one reason stops, with the reason and
        what to do. ``.attrs["unwrapped"]`` counts the answers that came in a code fence or after a block of thinking.

    Raises
    ------
    ConfigError
        Where a budget has no price, or the rubric was edited under its old version.
    LogError
        Where the requests have no texts.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> requests = pd.DataFrame({"request_id": ["r1", "r2"], "timestamp": pd.Timestamp("2026-05-11T09:00Z"),
    ...     "feature_id": "search", "model_id": "m-1", "user_input": "2 + 2?", "system_output": ["4", "5"]})
    >>> def judge(user_input, system_output):
    ...     score = 5 if system_output == "4" else 1
    ...     return {"correctness": score, "completeness": 5, "tone": 4}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = judge_sample(requests, judge, rate=1, out=f"{folder}/judgements.db")
    >>> found[["request_id", "quality_score", "flagged"]]
      request_id  quality_score  flagged
    0         r1            5.0    False
    1         r2            3.0     True
    """
    judge = as_judge(judge)
    if budget_usd is not None and judge.cost_usd(1, 1) is None:
        raise ConfigError(
            f"judge_sample(budget_usd={quote(budget_usd)}): the judge has no prices. "
            "Give them: Judge(..., usd_per_m_input=..., usd_per_m_output=...)"
        )
    if not (isinstance(concurrency, Integral) and concurrency >= 1):
        raise ConfigError(f"judge_sample(concurrency={quote(concurrency)}); expected a whole number >= 1")
    for name, value in (("budget_usd", budget_usd), ("rpm", rpm), ("tpm", tpm)):
        if not (value is None or (isinstance(value, Real) and 0 < value < float("inf"))):
            raise ConfigError(f"judge_sample({name}={quote(value)}); expected a number above 0, or None for no limit")
    chosen = chances(log_or_requests, rate, boost=boost)
    with Store(out) as store:
        store.check_prompt(judge)
        items = items_of(log_or_requests, store.pending(chosen, judge, retry_failed))
        run = _Run(store, judge, chosen, items, Pace(rpm, tpm), budget_usd, retry_failed, redactor(redact))
        store.start_run({"rate": rate, "budget_usd": budget_usd, "rpm": rpm, "tpm": tpm, "concurrency": concurrency})
        try:
            run_in_thread(lambda: run.judge_all(concurrency, _shown(progress)))
        finally:
            store.end_run(run.stopped)
        frame = store.judgements(list(chosen), judge)
    frame.attrs["stopped"] = run.stopped
    return frame


def items_of(log_or_requests: TableLike, ids: Collection[str]) -> dict[str, Item]:
    """These requests by id, in the order given, with their texts; nothing else is loaded."""
    import pandas as pd

    rows = as_table(log_or_requests, "requests").rows
    wanted = frames.small_table(pd.DataFrame({"request_id": list(ids)}, dtype="str"))
    asked = rows.semi_join(wanted, "request_id").select("request_id", "feature_id", *TEXTS)
    frame = engines.run(asked).to_pandas()
    if any(len(frame) and frame[name].isna().all() for name in TEXTS):
        _check_texts(rows)
    texts = frame.astype(object).where(frame.notna(), "")
    found = {row[0]: Item(*row) for row in texts.itertuples(index=False, name=None)}
    return {request_id: found[request_id] for request_id in ids if request_id in found}


def _check_texts(rows: ir.Table) -> None:
    """Refuse requests none of which has a text."""
    counts = engines.run(rows.aggregate(**{name: rows[name].count() for name in TEXTS})).to_pylist()[0]
    missing = [name for name in TEXTS if not counts[name]]
    if missing:
        raise LogError(
            [Fault("requests", column=name, expected="no text in any row; a judge needs it") for name in missing]
        )


MOST_ALIKE = 10  # failures of one kind, with nothing else before them, after which a run stops
REMEDIES = {
    "not_json": "Ask for plain JSON in the rubric's task, or take a model that keeps to a response format",
    "schema": "Look at what the judge answers: its fields and its scale have to be the rubric's",
    "length": "Give the judge more room: Judge(max_output_tokens=...)",
    "timeout": "Give the judge more time: Judge(timeout_s=...), or ask less at a time: concurrency=",
    "connection": "See whether the server runs at base_url, then call again with retry_failed=True",
    "bad_response": "See whether base_url is the address of an OpenAI-compatible server, such as http://host/v1",
    "rate_limited": "Name the provider's limits: rpm=, tpm=",
    "judge_error": "Fix the judge, then call again with retry_failed=True",
    "empty": "See what the model writes; where it thinks first, give it more room: Judge(max_output_tokens=...)",
    "refusal": "Word the rubric's task so that the judge rates a text and does not answer it, or take another model",
    "content_filter": "The provider filters these texts; take another model, or redact=",
}


def remedy(kind: str) -> str:
    """What to do about failures of one kind.

    >>> remedy("http_503")
    'The server fails; call again later with retry_failed=True'
    """
    if kind.startswith("http_5"):
        return "The server fails; call again later with retry_failed=True"
    return REMEDIES.get(kind, "Fix what the server reports, then judge into a new file: out=")


class BudgetSpent(Exception):
    """The budget does not hold another call."""


class _Run:
    """One call of `judge_sample`: which items are left, who works on them, what stopped it."""

    def __init__(self, store, judge, chosen, items, pace, budget_usd, retry_failed, redact):
        self.store, self.judge, self.chosen, self.items, self.pace = store, judge, chosen, items, pace
        self.budget_usd, self.retry_failed, self.redact = budget_usd, retry_failed, redact
        self.stopped: str | None = "stopped before the end"
        self.commit = GroupCommit(store.writing)
        self.in_flight = 0
        self._freed = asyncio.Event()
        self._tried: set[str] = set()
        self._alike: list[str] | None = []  # kinds of the failures so far; None once an answer was read

    async def judge_all(self, concurrency: int, shown: bool) -> None:
        from tqdm.auto import tqdm

        self.stopped = None
        todo = self._todo()
        with tqdm(total=len(todo), desc="judging", unit="answer", disable=not shown) as bar:
            life = asyncio.create_task(self._stay_alive())
            try:
                while todo and self.stopped is None:
                    items = iter(todo)
                    workers = [asyncio.create_task(self._work(items, bar)) for _ in range(min(concurrency, len(todo)))]
                    await _all_or_first_error(workers)
                    todo = self._todo()
                    if todo and self.stopped is None:  # other processes are at these: wait, or take over
                        await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                self.stopped = "interrupted"
                raise
            finally:
                life.cancel()
                self.commit.flush()
            if self.stopped and shown:
                bar.write(f"judging stopped: {self.stopped}", file=sys.stderr)

    def _todo(self) -> list[str]:
        self.store.free_dead_claims()
        todo = self.store.pending(self.items, self.judge, self.retry_failed)
        return [request_id for request_id in todo if request_id not in self._tried]

    async def _work(self, items, bar) -> None:
        for request_id in items:
            if self.stopped is not None:
                break
            # in the transaction that keeps this worker's last row: a kill costs at most one call of each worker
            key = {"request_id": request_id, "judge": self.judge}
            if not await self.commit.done(partial(Store.take, **key, retry_failed=self.retry_failed)):
                continue
            try:
                await self._judge_one(request_id)
                bar.update()
                if not bar.disable:
                    bar.set_postfix_str(self._spent(), refresh=False)
            except BudgetSpent as spent:
                self.stopped = str(spent)
            finally:
                self.commit.soon(partial(Store.release, **key))
        await self.commit.done(lambda store: None)

    async def _judge_one(self, request_id: str) -> None:
        item, probability = self.items[request_id], self.chosen[request_id]
        outcome = await ask(self.judge, item, self.pace, self, self.redact)
        self._tried.add(request_id)
        self.commit.soon(lambda store: store.record(outcome, self.judge, probability))
        self._look_at_the_first(outcome)
        if outcome.fatal:
            self.stopped = f"{outcome.answer.error_kind}: {outcome.answer.error}"

    def _look_at_the_first(self, outcome: Outcome) -> None:
        """Stop where the first answers all failed for one reason: the rest would cost as much and fail as well."""
        if self._alike is None or not outcome.attempts:
            return
        self._alike.append(outcome.answer.error_kind or "")
        if outcome.answer.error_kind is None or len(set(self._alike)) > 1:
            self._alike = None
        elif len(self._alike) == MOST_ALIKE:
            kind = self._alike[0]
            self.stopped = f"the first {MOST_ALIKE} answers all failed: {kind}: {outcome.answer.error}. {remedy(kind)}"

    async def reserve(self, item: Item, worst_usd: float) -> float:
        """Set the worst case aside; where only calls in flight stand in the way, wait for them."""
        while worst_usd > 0:
            reserved, hopeless = await self.commit.done(lambda store: self._set_aside(store, worst_usd))
            if hopeless:
                raise BudgetSpent(f"budget of {self.budget_usd:g} USD: another call could exceed it")
            if reserved is not None:
                return reserved
            await self._freed.wait()
        return 0.0

    def _set_aside(self, store: Store, worst_usd: float) -> tuple[float | None, bool]:
        """What was set aside, if anything, and whether waiting for the calls in flight is no use."""
        # until one true cost is known, one call at a time: the worst case is only as good as its token count
        alone = self.budget_usd is not None and self.in_flight and not store.knows_costs()
        reserved = None if alone else store.reserve(worst_usd, self.budget_usd)
        if reserved is not None:
            self.in_flight += 1
        else:
            self._freed.clear()
        return reserved, not self.in_flight

    def settle(self, item: Item, ticket: float, usd: float | None) -> None:
        """Put the true cost in place and wake who waits."""
        if ticket > 0:
            self.commit.soon(lambda store: self._put_right(store, item, ticket, usd))

    def _put_right(self, store: Store, item: Item, ticket: float, usd: float | None) -> None:
        store.settle(item.request_id, ticket, usd)
        self.in_flight -= 1
        self._freed.set()

    def _spent(self) -> str:
        if self.judge.cost_usd(1, 1) is None:
            return ""
        limit = "" if self.budget_usd is None else f" of {self.budget_usd:g}"
        return f"{self.store.spent_usd():.2f}{limit} USD"

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(5)
            self.store.still_here()


async def _all_or_first_error(tasks: list[asyncio.Task]) -> None:
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run_in_thread(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end on a loop in a thread of its own: notebooks have a loop running in theirs already.

    Ctrl-C cancels the work, waits until the file is consistent, and goes on as KeyboardInterrupt.
    """
    outcome: list[BaseException] = []
    ended = threading.Event()
    handle: dict[str, Any] = {}

    async def main() -> None:
        handle.update(loop=asyncio.get_running_loop(), task=asyncio.current_task())
        await start()

    def target() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            outcome.append(error)
        finally:
            ended.set()

    threading.Thread(target=target, name="judging", daemon=True).start()
    try:
        while not ended.wait(0.1):  # not join: interrupted, it takes a running thread for ended (Python 3.11)
            pass
    except BaseException:
        if "task" in handle and not ended.is_set():
            handle["loop"].call_soon_threadsafe(handle["task"].cancel)
        ended.wait(10)
        raise
    if outcome:
        raise outcome[0]


def _shown(progress: bool) -> bool:
    """Whether somebody looks: a terminal, or a notebook."""
    return progress and (sys.stderr.isatty() or "ipykernel" in sys.modules)
