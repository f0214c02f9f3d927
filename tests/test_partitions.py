"""Files that hold nothing of a period are not read, and a log stays what it was when it was opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import ibis
import pandas as pd
import pyarrow as pa
import pytest

import llm_monitoring as lm
from tests.builders import START, make_judgements, make_requests

DAYS = 10


def day(i: int) -> pd.Timestamp:
    return START + pd.Timedelta(days=i)


def write_days(folder: Path, place, write) -> Path:
    for i in range(DAYS):
        path = folder / "requests" / place(day(i))
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = [f"req-{i}-{k:03d}" for k in range(200)]
        text = [f"{each} {'x' * 300}" for each in ids]
        write(make_requests(200, start=day(i), every="7min", request_id=ids, user_input=text), path)
    return folder


@pytest.fixture
def daily(tmp_path) -> Path:
    return write_days(tmp_path, lambda when: f"{when:%Y-%m-%d}.parquet", lambda rows, path: rows.to_parquet(path))


def arrow(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows.drop(columns="error"), preserve_index=False)


def read_bytes() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def test_a_cut_log_reads_the_files_of_its_period_alone(daily):
    if not Path("/proc/self/io").exists():
        pytest.skip("only Linux counts the bytes that a process reads")
    assert len(lm.open_log(daily).requests)  # modules that are loaded late are read once, here
    log = lm.open_log(daily)
    size = sum(file.stat().st_size for file in (daily / "requests").iterdir())
    before = read_bytes()
    assert len(log.between(day(4), day(5)).requests) == 200
    part = read_bytes() - before
    before = read_bytes()
    assert len(log.requests) == 200 * DAYS
    whole = read_bytes() - before
    assert part < whole / 4
    assert part < size


def test_files_outside_a_period_may_be_gone(daily):
    log = lm.open_log(daily)
    for i in range(3, DAYS):
        (daily / "requests" / f"{day(i):%Y-%m-%d}.parquet").unlink()
    cut = log.until(day(3) - pd.Timedelta(minutes=1))
    assert (cut.count("requests"), len(cut.requests)) == (600, 600)
    assert lm.window_metrics(cut, "1d")["request_count"].tolist() == [200] * 3
    assert log.between(day(1), day(2)).count("requests") == 200
    with pytest.raises(lm.LogError, match="was removed after the log was opened; open it again"):
        log.count("requests")


def test_the_same_rows_and_columns_come_from_few_files_as_from_all(daily):
    more = make_requests(5, start=day(11), request_id=[f"more-{i}" for i in range(5)], tenant="acme")
    more.to_parquet(daily / "requests" / "more.parquet")
    whole, cut = lm.open_log(daily), lm.open_log(daily).between(day(2), day(4))
    rows = whole.requests
    rows = rows[(rows["timestamp"] >= day(2)) & (rows["timestamp"] < day(4))].reset_index(drop=True)
    assert cut.requests["tenant"].isna().all()
    pd.testing.assert_frame_equal(cut.requests, rows, check_dtype=False)
    assert whole.until(START - pd.Timedelta(days=5)).requests.columns.tolist() == whole.requests.columns.tolist()


def test_times_without_a_zone_keep_a_day_on_either_side(tmp_path):
    def write(rows, path):
        rows.assign(timestamp=rows["timestamp"].dt.tz_localize(None)).to_parquet(path)

    write_days(tmp_path, lambda when: f"{when:%Y-%m-%d}.parquet", write)
    log = lm.open_log(tmp_path, tz="Pacific/Kiritimati")  # 14 hours before UTC
    cut = log.between(day(4), day(5))
    assert cut.count("requests") == len(log.requests[log.requests["timestamp"].between(day(4), day(5), "left")])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_folders_named_by_day_are_left_out_where_that_is_what_they_mean(tmp_path, ending):
    def write(rows, path):
        if ending == "parquet":
            rows.to_parquet(path)
        elif ending == "csv":
            rows.to_csv(path, index=False)
        else:
            rows.to_json(path, orient="records", lines=True, date_format="iso")

    write_days(tmp_path, lambda when: f"date={when:%Y-%m-%d}/part.{ending}", write)
    log = lm.open_log(tmp_path, partition_time="date")
    shutil.rmtree(tmp_path / "requests" / f"date={day(8):%Y-%m-%d}")
    cut = log.between(day(4), day(5))
    assert cut.requests["date"].unique().tolist() == [f"{day(4):%Y-%m-%d}"]
    assert cut.count("requests") == 200
    assert log.opening["partition_time"] == "date"
    if ending != "parquet":  # a day on either side is read
        with pytest.raises(lm.LogError, match="was removed"):
            log.between(day(7), day(7) + pd.Timedelta(hours=1)).count("requests")


def test_without_being_told_a_folder_name_means_nothing(tmp_path):
    write_days(
        tmp_path, lambda when: "date=2020-01-01/" + f"{when:%d}.csv", lambda rows, path: rows.to_csv(path, index=False)
    )
    assert lm.open_log(tmp_path).between(day(4), day(5)).count("requests") == 200
    assert lm.open_log(tmp_path, partition_time="date").between(day(4), day(5)).count("requests") == 0


def test_a_partition_that_is_none_is_named(tmp_path):
    write_days(
        tmp_path, lambda when: f"date={when:%B}/{when:%d}.csv", lambda rows, path: rows.to_csv(path, index=False)
    )
    with pytest.raises(lm.ConfigError, match=r"folder 'date=May'; expected a day such as date=2026-05-11"):
        lm.open_log(tmp_path, partition_time="date")
    with pytest.raises(lm.ConfigError, match=r"no folder in .* is named day=\.\.\."):
        lm.open_log(tmp_path, partition_time="day")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_lines_and_files_that_come_later_are_not_read(tmp_path, ending):
    rows = make_requests(300, user_input="a question")
    text = (
        rows.to_csv(index=False) if ending == "csv" else rows.to_json(orient="records", lines=True, date_format="iso")
    )
    lines = text.splitlines(keepends=True)
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / f"hour.{ending}").write_text("".join(lines[:100]))
    log = lm.open_log(tmp_path)
    n = log.count("requests")
    for start in (100, 200):
        with (folder / f"hour.{ending}").open("a") as file:
            file.writelines(lines[start : start + 100])
        make_requests(9, request_id=[f"new-{i}" for i in range(9)]).to_parquet(folder / f"later-{start}.parquet")
        assert len(log.requests) == log.count("requests") == n == log.table("requests").count().to_pyarrow().as_py()
        assert lm.window_metrics(log, None, by=[])["request_count"].tolist() == [n]
    assert lm.open_log(tmp_path).count("requests") == n + 200 + 18


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    make_requests(100).to_csv(tmp_path / "requests.csv", index=False)
    make_judgements(100).to_parquet(tmp_path / "judgements.parquet")
    log = lm.open_log(tmp_path)
    make_requests(300, latency_ms=1.0).to_csv(tmp_path / "requests.csv", index=False)
    make_judgements(90).to_parquet(tmp_path / "judgements.parquet")
    for name in ("requests", "judgements"):
        with pytest.raises(lm.LogError, match=rf"{name}.*: changed after the log was opened; open it again"):
            log.count(name)


def test_rows_that_come_into_a_database_later_are_not_read(tmp_path):
    connection = ibis.duckdb.connect(tmp_path / "log.duckdb")
    connection.create_table("requests", arrow(make_requests(50)))
    log = lm.open_log(connection)
    assert log.count("requests") == 50
    more = make_requests(80, request_id=[f"new-{i}" for i in range(80)], start=day(1))
    connection.insert("requests", arrow(more))
    assert (len(log.requests), log.count("requests")) == (50, 50)
    assert lm.open_log(connection).count("requests") == 130
