"""Rows from a serving process: whole under threads and processes, mended after a crash, compacted."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
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


def test_an_hour_that_an_earlier_version_left_hidden_is_shown_again_and_compacted(tmp_path):
    Recorder(tmp_path).record(request(0))
    lines = tmp_path / "requests" / "20260511T09.jsonl"
    lines.rename(lines.with_name(".20260511T09.jsonl"))
    Recorder(tmp_path).record(request(1))
    compact(tmp_path, before=LATER)
    assert lm.open_log(tmp_path).requests["request_id"].tolist() == ["r0000", "r0001"]
    assert not list(lines.parent.glob(".*"))


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import pandas, pyarrow.parquet
from llm_monitoring import recorder

calls = 0


def killed(folder, at):
    def kill(event, arguments):
        global calls
        if event in ("open", "os.rename", "os.remove", "os.chmod") and any(str(folder) in str(a) for a in arguments):
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    recorder.compact(folder, before=datetime(2026, 5, 11, 11, tzinfo=UTC))


for folder in sorted(Path(sys.argv[1]).iterdir()):
    if not (child := os.fork()):
        killed(folder, int(folder.name))
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
def test_a_compaction_killed_at_any_step_shows_every_row_once_and_loses_no_torn_line(tmp_path, every):
    """Killed before every single opening, renaming and removing of a file, or some, until one run ends by itself."""
    torn = b'{"request_id": "r9\n'
    folders = [tmp_path / f"{at:02d}" for at in range(1, 30, every)]
    for folder in folders:
        Recorder(folder).record(request(0))
        lines = folder / "requests" / "20260511T09.jsonl"
        lines.write_bytes(torn + lines.read_bytes())
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True)
    ended = [int(code) for code in ran.stdout.split()]
    steps = ended.index(0)
    assert steps > 1
    assert set(ended[:steps]) == {signal.SIGKILL}
    for folder in folders[: steps + 1]:
        assert shown_without(torn, folder, tmp_path / "copy") == ["r0000"]
        Recorder(folder).record(request(1))
        compact(folder, before=LATER)
        assert lm.open_log(folder).requests["request_id"].tolist() == ["r0000", "r0001"]
        assert {path.suffix for path in (folder / "requests").glob("[!.]*")} == {".parquet"}
        assert (folder / "torn" / "requests-20260511T09.jsonl").read_bytes() == torn


def shown_without(torn, folder, copy):
    """The ids that a log shows, read from a copy in which the torn line cannot stop the reading."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    for path in (copy / "requests").glob("[!.]*.jsonl"):
        path.write_bytes(path.read_bytes().replace(torn, b""))
    return lm.open_log(copy).requests["request_id"].tolist()


def test_a_compaction_on_a_full_disk_leaves_the_hour_as_it_was(tmp_path, monkeypatch):
    Recorder(tmp_path).record(request(0))

    def full(frame, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pandas.DataFrame.to_parquet", full)
        with pytest.raises(OSError, match="No space left on device"):
            compact(tmp_path, before=LATER)
    assert [path.name for path in (tmp_path / "requests").iterdir()] == ["20260511T09.jsonl"]
    assert compact(tmp_path, before=LATER) == {"files": 1, "rows": 1, "torn": 0}


def test_a_row_that_fits_the_disk_only_in_part_is_cut_off_again_and_told(tmp_path, monkeypatch):
    recorder, write = Recorder(tmp_path), os.write
    recorder.record(request(0))
    room = [40]

    def nearly_full(file, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = write(file, bytes(data)[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", nearly_full)
        with pytest.raises(OSError, match="No space left on device"):
            recorder.record(request(1))
    recorder.record(request(2))
    assert recorder.recovered == 0
    assert lm.open_log(tmp_path).requests["request_id"].tolist() == ["r0000", "r0002"]


def test_a_row_that_the_system_takes_in_pieces_is_written_whole(tmp_path, monkeypatch):
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, data: write(file, bytes(data)[:7]))
        Recorder(tmp_path).record(request(0))
    assert lm.open_log(tmp_path).requests["request_id"].tolist() == ["r0000"]


def test_eight_threads_share_a_recorder_while_its_hours_are_compacted(tmp_path):
    recorder = Recorder(tmp_path)
    with ThreadPoolExecutor(9) as pool:
        compacting = pool.submit(lambda: [compact(tmp_path, before=LATER) for _ in range(20)])
        list(pool.map(lambda i: recorder.record(request(i)), range(400)))
        compacting.result()
    assert sorted(lm.open_log(tmp_path).requests["request_id"]) == [f"r{i:04d}" for i in range(400)]
    assert recorder.recovered == 0


@pytest.mark.parametrize(("folder", "file", "inner"), [(0o755, 0o600, 0o700), (0o770, 0o660, 0o770)])
def test_recorded_files_are_private_or_for_the_group_of_a_shared_folder(tmp_path, folder, file, inner):
    tmp_path.chmod(folder)
    recorder = Recorder(tmp_path / "log")
    recorder.record(request(0))
    recorder.record(request(1, HOUR + 3600))
    compact(tmp_path / "log", before=datetime(2026, 5, 11, 10, tzinfo=UTC))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "log": inner, "requests": inner, "20260511T09.parquet": file, "20260511T10.jsonl": file,
    }  # fmt: skip


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
