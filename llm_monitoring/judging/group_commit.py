"""Writes of many workers, one transaction per turn of the event loop: a commit costs more than what it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from llm_monitoring.judging.store import Store

Act = Callable[[Store], Any]


class GroupCommit:
    """Acts on a store, collected while the event loop's turn lasts and then done in order, in one transaction.

    Parameters
    ----------
    transaction : callable
        Gives a context manager that opens the store in a transaction; left without an exception, it commits.

    Examples
    --------
    >>> import tempfile
    >>> async def main(path):
    ...     with Store(path) as store:
    ...         commit = GroupCommit(store.writing)
    ...         commit.soon(lambda store: store.count_intake(minute=1, offered=5, taken=4))
    ...         return await commit.done(lambda store: store.spent_usd())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(f"{folder}/judgements.db"))
    0.0
    """

    def __init__(self, transaction: Callable[[], AbstractContextManager[Store]]):
        self._transaction = transaction
        self._waiting: list[tuple[Act, asyncio.Future | None]] = []
        self._error: Exception | None = None  # that nobody waited for

    def soon(self, act: Act) -> None:
        """Do it in this turn's transaction, before all that is asked for later."""
        self._add(act, None)

    async def done(self, act: Act) -> Any:
        """Do it, and go on once it is committed, with what it returned."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        future = asyncio.get_running_loop().create_future()
        self._add(act, future)
        return await future

    def _add(self, act: Act, future: asyncio.Future | None) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((act, future))

    def flush(self) -> None:
        """Do now what waits; what somebody stopped waiting for is left out."""
        acts, self._waiting = self._waiting, []
        acts = [(act, future) for act, future in acts if future is None or not future.done()]
        if not acts:
            return
        try:
            with self._transaction() as store:
                results = [act(store) for act, _ in acts]
        except Exception as error:
            waited = [future for _, future in acts if future is not None]
            self._error = None if waited else error
            for one in waited:
                one.set_exception(error)
            return
        for (_, future), result in zip(acts, results, strict=True):
            if future is not None:
                future.set_result(result)
