import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_monitoring.judging.answer import Answer
from llm_monitoring.judging.asking import Outcome
from llm_monitoring.judging.client import Item, as_judge
from llm_monitoring.judging.store import Store

JUDGE = as_judge(lambda user_input: {"correctness": 4, "completeness": 4, "tone": 4})


def outcome(request_id):
    scores = {"correctness": 4, "completeness": 4, "tone": 4}
    return Outcome(Item(request_id, "search", "q", "a"), Answer(scores), 1, judged_at="2026-05-11T09:00:00+00:00")


def test_a_threads_rows_are_kept_though_anothers_transaction_is_rolled_back(tmp_path):
    inside, written = threading.Event(), threading.Event()

    def fails(store):
        with store.writing():
            store.record(outcome("lost"), JUDGE, 1.0)
            inside.set()
            written.wait(0.2)  # the other thread tries to write meanwhile
            raise RuntimeError("rolled back")

    def writes(store):
        inside.wait(5)
        store.record(outcome("kept"), JUDGE, 1.0)
        written.set()

    with Store(tmp_path / "j.db") as store, ThreadPoolExecutor(2) as pool:
        failing, writing = pool.submit(fails, store), pool.submit(writes, store)
        writing.result(10)
        with pytest.raises(RuntimeError, match="rolled back"):
            failing.result(10)
        assert store.judgements()["request_id"].tolist() == ["kept"]


def test_many_threads_on_one_store_lose_nothing_and_take_no_item_twice(tmp_path):
    ids = [f"req-{i:03d}" for i in range(100)]

    def work(_):
        taken = [request_id for request_id in ids if store.take(request_id, JUDGE)]
        for request_id in taken:
            ticket = store.reserve(0.01, None)
            store.record(outcome(request_id), JUDGE, 1.0)
            store.settle(request_id, ticket, 0.01)
        return taken

    with Store(tmp_path / "j.db") as store, ThreadPoolExecutor(8) as pool:
        taken = sorted(request_id for some in pool.map(work, range(8)) for request_id in some)
        assert taken == ids
        assert store.judgements()["request_id"].tolist() == ids
        assert store.spent_usd() == pytest.approx(1.0)


def _record_then_fail(store):
    with store.writing():
        store.record(outcome("r"), JUDGE, 1.0)
    raise RuntimeError


def test_a_transaction_inside_another_is_a_part_of_it(tmp_path):
    with Store(tmp_path / "j.db") as store:
        with pytest.raises(RuntimeError), store.writing():
            _record_then_fail(store)
        assert store.judgements().empty
    with sqlite3.connect(tmp_path / "j.db") as db:
        assert db.execute("select count(*) from judgement").fetchone() == (0,)
    db.close()


def test_a_clock_that_goes_back_holds_no_claim_for_ever_and_takes_none_from_a_run_that_lives(tmp_path, monkeypatch):
    """A run on another host, whose signs of life are two hours ahead of this clock: alive as long as they change."""
    clock = {"time": 1_800_000_000.0, "monotonic": 50.0}
    monkeypatch.setattr("llm_monitoring.judging.store.time.time", lambda: clock["time"])
    monkeypatch.setattr("llm_monitoring.judging.store.time.monotonic", lambda: clock["monotonic"])
    judge = as_judge(lambda user_input, system_output: {})
    with Store(tmp_path / "judgements.db") as other, Store(tmp_path / "judgements.db") as store:
        other.start_run({})
        other.db.execute("update run set host = 'elsewhere'")
        assert other.claim("r1", judge)
        clock["time"] -= 7200

        def still_claimed() -> bool:
            store.free_dead_claims()
            return not store.claim("r1", judge)

        assert still_claimed()
        for _ in range(3):
            clock["monotonic"] += 100
            clock["time"] += 7300
            other.still_here()
            clock["time"] -= 7200
            assert still_claimed()
        clock["monotonic"] += 119
        assert still_claimed()
        clock["monotonic"] += 2
        assert not still_claimed()
