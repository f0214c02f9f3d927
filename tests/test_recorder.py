"""Rows from a serving process: whole under threads and processes, mended after a crash, compacted."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

import llm_monitoring as lm
from llm_monitoring import RequestMetrics, UserSignal
from llm_monitoring.recorder import Recorder, compact

HOUR = 1778490000.0  # 2026-05-11 09:00 UTC


def request(i: int, at: float = HOUR, **more) -> RequestMetrics:
    return RequestMetrics(f"r{i:04d}", at, "search", "m-1", 812.0, 100, 20, None, "end_turn", None, **more)


def _write(folder: str, first: int) -> None:
    recorder = Recorder(folder)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: recorder.record(request(i), user_input="x" * 5000), range(first, first + 50)))


def test_threads_and_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(str(tmp_path), 50 * i)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    log = lm.open_log(tmp_path)
    assert log.requests["request_id"].tolist() == [f"r{i:04d}" for i in range(100)]
    assert log.requests["cost_usd"].isna().all()


def test_a_torn_last_line_is_set_aside_and_counted(tmp_path):
    Recorder(tmp_path).record(request(0))
    path = tmp_path / "requests" / "20260511T09.jsonl"
    with path.open("ab") as file:
        file.write(b'{"request_id": "r0001", "time')
    recorder = Recorder(tmp_path)
    recorder.record(request(2))
    assert recorder.recovered == 1
    assert lm.open_log(tmp_path).requests["request_id"].tolist() == ["r0000", "r0002"]
    assert (tmp_path / "torn" / "requests-20260511T09.jsonl").read_bytes() == b'{"request_id": "r0001", "time\n'


def test_compacted_and_open_hours_are_read_together(tmp_path):
    recorder = Recorder(tmp_path)
    for i in range(3):
        recorder.record(request(i, HOUR + 3600 * i), category="returns", tags={"tier": 1})
    recorder.record(UserSignal("r0000", "s", "thumbs_up", HOUR, {"page": "x"}))
    before = lm.open_log(tmp_path).requests
    assert compact(tmp_path, before=datetime(2026, 5, 11, 11, tzinfo=UTC)) == {"files": 3, "rows": 3, "torn": 0}
    assert sorted(path.suffix for path in (tmp_path / "requests").iterdir()) == [".jsonl", ".parquet", ".parquet"]
    log = lm.open_log(tmp_path)
    assert log.requests[["request_id", "timestamp", "latency_ms"]].equals(
        before[["request_id", "timestamp", "latency_ms"]]
    )
    assert log.signals["metadata"].tolist() == [{"page": "x"}]


LATER = datetime(2026, 5, 11, 11, tzinfo=UTC)


def test_a_row_that_comes_after_its_hour_was_compacted_is_kept_beside_the_others(tmp_path):
    recorder = Recorder(tmp_path)
    for i in range(3):
        recorder.record(request(i))
        assert compact(tmp_path, before=LATER) == {"files": 1, "rows": 1, "torn": 0}
    assert compact(tmp_path, before=LATER) == {"files": 0, "rows": 0, "torn": 0}
    assert lm.open_log(tmp_path).requests["request_id"].tolist() == ["r0000", "r0001", "r0002"]


@pytest.mark.parametrize("killed", ["before the Parquet file stood", "before the lines were removed"])
def test_a_compaction_that_was_killed_is_ended_by_the_next_without_loss_or_doubles(tmp_path, killed):
    Recorder(tmp_path).record(request(0))
    lines = tmp_path / "requests" / "20260511T09.jsonl"
    held, kept = lines.with_name(".20260511T09.jsonl"), lines.read_bytes()
    if killed == "before the lines were removed":
        compact(tmp_path, before=LATER)
        held.write_bytes(kept)
    else:
        lines.rename(held)
        held.with_suffix(".part").write_bytes(b"half")
    Recorder(tmp_path).record(request(1))
    compact(tmp_path, before=LATER)
    assert lm.open_log(tmp_path).requests["request_id"].tolist() == ["r0000", "r0001"]
    assert not held.exists()


def test_rows_are_neither_lost_nor_doubled_while_two_processes_compact(tmp_path):
    code = f"import llm_monitoring as lm\nfor _ in range(20): lm.compact({str(tmp_path)!r})"
    beside = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    recorder = Recorder(tmp_path)
    for i in range(400):
        recorder.record(request(i))
    assert [each.wait() for each in beside] == [0, 0]
    compact(tmp_path)
    ids = lm.open_log(tmp_path).requests["request_id"]
    assert (len(ids), ids.nunique()) == (400, 400)


def test_only_requests_and_signals_are_recorded(tmp_path):
    with pytest.raises(lm.ConfigError, match=r"record\(dict\): expected a RequestMetrics or a UserSignal"):
        Recorder(tmp_path).record({})
