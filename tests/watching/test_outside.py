"""Which tables of a source changed, told without reading them."""

import os

import ibis
import pyarrow as pa
import pytest

from llm_monitoring.watching.outside import marks
from tests.builders import make_requests, make_signals
from tests.watching.logs import GrowingLog


def changed(before, after):
    return {table for table in after if before[table] != after[table]}


def test_lines_at_the_end_new_files_and_files_written_anew_are_seen(tmp_path):
    log = GrowingLog(tmp_path, 3)
    before = marks(tmp_path)
    assert changed(before, marks(tmp_path)) == set()
    log.grow(4)
    after = marks(tmp_path)
    assert changed(before, after) == {"requests"}
    log.judge(1, 2)
    assert changed(after, marks(tmp_path)) == {"judgements"}
    whole = (tmp_path / "requests.jsonl").read_bytes()
    after, stamp = marks(tmp_path), (tmp_path / "requests.jsonl").stat()
    (tmp_path / "next").write_bytes(whole)
    os.utime(tmp_path / "next", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (tmp_path / "next").rename(tmp_path / "requests.jsonl")
    assert changed(after, marks(tmp_path)) == {"requests"}  # the same size and time, another file


def test_a_table_in_folders_of_days_is_seen_and_what_lies_beside_it_is_not(tmp_path):
    day = tmp_path / "requests" / "date=2026-05-11"
    day.mkdir(parents=True)
    make_requests(3).to_parquet(day / "a.parquet")
    before = marks(tmp_path)
    (tmp_path / "requests" / ".hidden.part").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    assert changed(before, marks(tmp_path)) == set()
    make_requests(3, request_id=["x1", "x2", "x3"]).to_parquet(day / "b.parquet")
    assert changed(before, marks(tmp_path)) == {"requests"}


@pytest.mark.parametrize("kind", ["file", "url"])
def test_rows_of_a_database_are_seen(tmp_path, kind):
    path = tmp_path / "log.duckdb"
    source = path if kind == "file" else f"duckdb://{path}"

    def write(name, frame):
        base = ibis.duckdb.connect(path)
        base.create_table(name, pa.Table.from_pandas(frame), overwrite=True)
        base.disconnect()

    write("requests", make_requests(3, drop=["error"]))
    write("signals", make_signals(3, drop=["metadata"]))
    before = marks(source)
    assert changed(before, marks(source)) == set()
    write("signals", make_signals(4, drop=["metadata"]))
    assert "signals" in changed(before, marks(source))
