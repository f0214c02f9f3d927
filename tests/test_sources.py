"""The same table written in every way that people use gives the same figures, or is refused by name."""

from __future__ import annotations

import csv
import decimal
import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import llm_monitoring as lm
from tests.builders import make_changes, make_requests

IDS = ["q1", "q2", "q3", "q4"]
TIMES = ["2026-05-11T09:00:00Z", "2026-05-11T09:20:00Z", "2026-05-11T10:00:00Z", "2026-05-11T10:30:00Z"]
LATENCIES = [100.0, None, 400.0, 1000.0]
COSTS = [0.01, 0.02, None, 0.05]
ERRORS = [None, "timeout", None, None]
RIGHT = {
    "request_count": [2, 2],
    "error_rate": [0.5, 0.0],
    "n_latency": [1, 2],
    "latency_p50_ms": [100.0, 700.0],
    "total_cost_usd": [0.03, 0.05],
}


def arrow(**columns) -> pa.Table:
    """The table, columns replaced by Arrow arrays."""
    moments = pa.array(pd.to_datetime(TIMES).as_unit("us"), pa.timestamp("us", "UTC"))
    plain = {
        "request_id": pa.array(IDS),
        "timestamp": moments,
        "feature_id": pa.array(["search"] * 4),
        "model_id": pa.array(["m-1"] * 4),
        "latency_ms": pa.array(LATENCIES),
        "cost_usd": pa.array(COSTS),
        "error": pa.array(ERRORS),
    }
    return pa.table({**plain, **columns})


def moments(kind: pa.DataType) -> pa.Array:
    return arrow()["timestamp"].combine_chunks().cast(kind)


def wide(values, precision: int) -> pa.Array:
    numbers = [None if value is None else decimal.Decimal(str(value)) for value in values]
    return pa.array(numbers, pa.decimal256(precision, 10) if precision > 38 else pa.decimal128(precision, 10))


def lasting(unit: str) -> pa.Array:
    factor = {"s": 0.001, "ms": 1, "us": 1e3, "ns": 1e6}[unit]
    return pa.array(
        [None if ms is None else int(ms * factor) for ms in [1000.0, None, 4000.0, 10000.0]], pa.duration(unit)
    )


def assert_right(log: lm.log.Log, **other) -> None:
    hours = lm.window_metrics(log, "1h", by=[])
    for name, right in {**RIGHT, **other}.items():
        assert hours[name].tolist() == pytest.approx(right), name
    assert hours["window_start"].iloc[0] == pd.Timestamp("2026-05-11T09:00Z")
    log.validate()


PARQUET = {
    "plain": {},
    "NaN beside null": {"latency_ms": pa.array([100.0, float("nan"), 400.0, 1000.0])},
    "float32": {"latency_ms": pa.array(LATENCIES, pa.float32())},
    "float16": {"latency_ms": pa.array([100.0, None, 400.0, 1000.0]).cast(pa.float16())},
    "integers": {"latency_ms": pa.array([100, None, 400, 1000], pa.int16())},
    "unsigned": {"latency_ms": pa.array([100, None, 400, 1000], pa.uint64())},
    "dictionary": {
        "feature_id": pa.array(["search"] * 4).dictionary_encode(),
        "error": pa.array(ERRORS).dictionary_encode(),
    },
    "large texts": {"request_id": pa.array(IDS, pa.large_string())},
    "bytes": {"request_id": pa.array([each.encode() for each in IDS], pa.binary())},
    "decimal": {"cost_usd": wide(COSTS, 38)},
    "milliseconds": {"timestamp": moments(pa.timestamp("ms", "UTC"))},
    "nanoseconds": {"timestamp": moments(pa.timestamp("ns", "UTC"))},
    "another zone": {"timestamp": moments(pa.timestamp("us", "Asia/Kolkata"))},
    "an offset": {"timestamp": moments(pa.timestamp("us", "+05:30"))},
    "text times": {"timestamp": pa.array(TIMES)},
    "error flags": {"error": pa.array([False, True, None, False])},
    "error numbers": {"error": pa.array([0, 1, None, 0])},
    "an empty column": {"finish_reason": pa.nulls(4)},
}


@pytest.mark.parametrize("way", PARQUET)
def test_a_parquet_file_of_any_types_gives_the_same_figures(tmp_path, way):
    pq.write_table(arrow(**PARQUET[way]), tmp_path / "requests.parquet")
    assert_right(lm.open_log(tmp_path))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_duration_is_read_in_its_unit(tmp_path, unit):
    pq.write_table(arrow(latency_ms=lasting(unit)), tmp_path / "requests.parquet")
    assert_right(lm.open_log(tmp_path), latency_p50_ms=[1000.0, 7000.0])
    assert_right(
        lm.open_log({"requests": arrow(latency_ms=lasting(unit)).to_pandas()}), latency_p50_ms=[1000.0, 7000.0]
    )


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        (
            "cost_usd",
            wide(COSTS, 40),
            "cost_usd: holds decimal256(40, 10); expected a number of at most 38 digits. Write it as float64",
        ),
        ("cost_usd", lasting("ms"), "cost_usd: holds duration[ms]; expected number. Write it as a number"),
        (
            "own",
            wide(COSTS, 50),
            "own: holds decimal256(50, 10); expected a number of at most 38 digits. Write it as float64",
        ),
    ],
)
def test_what_the_engine_cannot_hold_is_refused_by_name(tmp_path, column, values, sentence):
    pq.write_table(arrow(**{column: values}), tmp_path / "requests.parquet")
    with pytest.raises(lm.LogError) as error:
        lm.open_log(tmp_path)
    assert str(error.value) == f"requests.parquet, {sentence}"


FRAMES = {
    "numpy": lambda: arrow().to_pandas(),
    "nullable": lambda: arrow().to_pandas().convert_dtypes(),
    "arrow": lambda: arrow().to_pandas(types_mapper=pd.ArrowDtype),
    "objects": lambda: arrow().to_pandas().astype(object),
    "categories": lambda: arrow().to_pandas().astype({"feature_id": "category", "error": "category"}),
    "own index": lambda: arrow().to_pandas().set_axis([7, 7, 8, 9]),
}


@pytest.mark.parametrize("way", FRAMES)
def test_a_frame_of_any_types_gives_the_same_figures(tmp_path, way):
    frame = FRAMES[way]()
    assert_right(lm.open_log({"requests": frame}))
    frame.reset_index(drop=True).to_parquet(tmp_path / "requests.parquet")
    assert_right(lm.open_log(tmp_path))


def text_rows() -> list[dict]:
    return arrow().set_column(1, "timestamp", pa.array(TIMES)).to_pylist()


def as_csv(delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL, ends: str = "\n") -> str:
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, list(text_rows()[0]), delimiter=delimiter, quoting=quoting, lineterminator=ends)
    writer.writeheader()
    writer.writerows(text_rows())
    return made.getvalue()


TEXTS = {
    "csv": as_csv(),
    "mark": "\ufeff" + as_csv(),
    "semicolon": as_csv(";"),
    "tab": as_csv("\t"),
    "tsv": as_csv("\t"),
    "bar": as_csv("|"),
    "a line that names the separator": "sep=;\n" + as_csv(";"),
    "an index": "".join(f"{i if i else ''},{line}\n" for i, line in enumerate(as_csv().splitlines())),
    "a separator at the end": as_csv().replace("\n", ",\n"),
    "blanks in the header": as_csv().replace(",timestamp,", ", timestamp ,"),
    "decimal commas": as_csv(";").replace("0.0", "0,0").replace("400.0", "400,0"),
    "packed": as_csv(ends="\r\n"),
    "quotes": as_csv(quoting=csv.QUOTE_ALL),
    "crlf": as_csv(ends="\r\n"),
    "cr": as_csv(ends="\r"),
    "mixed": as_csv().replace("\n", "\r\n", 2),
    "no end": as_csv().rstrip("\n"),
    "blank lines": as_csv().replace("\n", "\n\n"),
    "a quoted break": as_csv(ends="\r\n").replace("timeout", '"time\nout"'),
    "a quote inside": as_csv(ends="\r\n").replace("timeout", 'screen 5" wide'),
    "zone by name": as_csv().replace("T09:00:00Z", " 05:00:00.000 America/New_York"),
    "zone by city and offset": as_csv().replace("T09:00:00Z", "T11:00:00+02:00[Europe/Berlin]"),
    "small z": as_csv().replace("00Z", "00z"),
    "a blank before the offset": as_csv().replace("T10:00:00Z", " 12:00:00 +0200"),
    "no seconds": as_csv().replace(":00Z", "Z"),
}


@pytest.mark.parametrize("way", TEXTS)
def test_a_csv_file_of_any_dress_gives_the_same_figures(tmp_path, way):
    content = TEXTS[way].encode()
    path = tmp_path / {"packed": "requests.csv.gz", "tsv": "requests.tsv"}.get(way, "requests.csv")
    path.write_bytes(gzip.compress(content) if way == "packed" else content)
    for on_error in ("raise", "quarantine"):
        log = lm.open_log(path, on_error=on_error)
        assert_right(log)
        assert log.set_aside == {}


LINES = [json.dumps(row) for row in text_rows()]
JSON = {
    "lines": "\n".join(LINES),
    "spaces": "\n".join(
        line.replace(":", " :  ")
        .replace("T09 :  00 :  00", "T09:00:00")
        .replace("T09 :  20 :  00", "T09:20:00")
        .replace("T10 :  00 :  00", "T10:00:00")
        .replace("T10 :  30 :  00", "T10:30:00")
        for line in LINES
    ),
    "crlf": "\r\n".join(LINES),
    "cr": "\r".join(LINES),
    "mark": "\ufeff" + "\n".join(LINES),
    "blank lines": "\n\n".join(LINES) + "\n\n",
    "texts for numbers": "\n".join(LINES).replace("100.0", '"100"'),
    "missing keys": "\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in text_rows()),
}


@pytest.mark.parametrize("way", JSON)
def test_json_lines_of_any_dress_give_the_same_figures(tmp_path, way):
    (tmp_path / "requests.jsonl").write_text(JSON[way], newline="")
    for on_error in ("raise", "quarantine"):
        log = lm.open_log(tmp_path, on_error=on_error)
        assert_right(log)
        assert log.set_aside == {}


LISTS = {
    "a list": json.dumps(text_rows()),
    "a list over lines": json.dumps(text_rows(), indent=2),
    "objects over lines": "\n".join(json.dumps(row, indent=1) for row in text_rows()),
    "lines": "\n".join(LINES),
}


@pytest.mark.parametrize("way", LISTS)
def test_a_json_file_of_any_dress_gives_the_same_figures_and_sets_its_broken_element_alone_aside(tmp_path, way):
    path = tmp_path / "requests.json"
    for on_error in ("raise", "quarantine"):
        path.write_text(LISTS[way])
        assert_right(lm.open_log(path, on_error=on_error))
    path.write_text(LISTS[way].replace('"timeout"', '"time "out"').replace("400.0", "-400.0"))
    with pytest.raises(lm.LogError, match=r"^requests.json line \d+: "):
        lm.open_log(path)
    log = lm.open_log(path, on_error="quarantine")
    assert log.requests["request_id"].tolist() == ["q1", "q4"]
    places = ["line 2", "line 3"] if way == "lines" else ["row 1", "row 2"]
    assert log.set_aside["requests"]["place"].tolist() == places
    assert "time" in log.set_aside["requests"]["text"].iloc[0]


BROKEN = {
    "a key twice": (LINES[1][:-1] + ', "cost_usd": 9}', "names the key 'cost_usd' twice; expected each key once"),
    "half a character": (LINES[1].replace("timeout", r"\ud83d"), "holds half a character"),
    "two objects": (LINES[1] + LINES[1], "expected one JSON object a line"),
    "cut": (LINES[1][:30], "expected one JSON object a line"),
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_line_is_named_and_alone_set_aside(tmp_path, way):
    line, reason = BROKEN[way]
    (tmp_path / "requests.jsonl").write_text("\n".join([LINES[0], line, *LINES[2:]]))
    with pytest.raises(lm.LogError, match=r"^requests.jsonl line 2: ") as error:
        lm.open_log(tmp_path).validate()
    assert reason in str(error.value)
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert log.requests["request_id"].tolist() == ["q1", "q3", "q4"]
    assert log.set_aside["requests"]["place"].tolist() == ["line 2"]


@pytest.mark.parametrize(("end", "place"), [(",", "row 4"), (",\n", "row 4"), ("", "row 3")])
def test_a_list_that_was_cut_off_is_named(tmp_path, end, place):
    (tmp_path / "requests.json").write_text("[\n" + ",\n".join(LINES) + end)
    with pytest.raises(lm.LogError, match=r"^requests\.json line \d: .*the list is not closed"):
        lm.open_log(tmp_path).validate()
    aside = lm.open_log(tmp_path, on_error="quarantine").set_aside["requests"]
    assert aside["place"].tolist() == [place]


def test_a_quote_that_is_not_closed_sets_its_line_alone_aside(tmp_path):
    (tmp_path / "requests.csv").write_text(as_csv().replace("timeout", '"timeout'))
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert log.requests["request_id"].tolist() == ["q1", "q3", "q4"]
    assert log.set_aside["requests"][["place", "reason"]].to_numpy().tolist() == [["line 3", "the quote is not closed"]]


def test_a_field_too_many_spoils_no_figure_in_silence(tmp_path):
    (tmp_path / "requests.csv").write_text(as_csv().replace("timeout", "time,out"))
    with pytest.raises(lm.LogError, match=r"requests.csv line 3: .*; expected 7 fields, found 8"):
        lm.window_metrics(lm.open_log(tmp_path), None, by=[])


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("1,250", "Write it with a decimal point, and without a separator of thousands"),
        ("NA", "Leave the field empty where it is unknown"),
        ("None", "Leave the field empty where it is unknown"),
    ],
)
def test_a_number_that_may_mean_two_things_or_none_is_refused_with_what_to_do(tmp_path, written, remedy):
    (tmp_path / "requests.csv").write_text(as_csv(";").replace("100.0", written))
    with pytest.raises(lm.LogError) as error:
        lm.open_log(tmp_path).validate()
    wanted = "expected a number >= 0, or null where unknown"
    assert str(error.value) == f"requests.csv line 2, latency_ms: '{written}'; {wanted}. {remedy}"


@pytest.mark.parametrize("name", ["requests.csv", "requests.jsonl", "requests.json"])
def test_text_that_is_not_utf8_is_named_and_leaves_the_next_log_readable(tmp_path, name):
    texts = {"requests.csv": as_csv(), "requests.jsonl": "\n".join(LINES), "requests.json": LISTS["a list"]}
    (tmp_path / name).write_bytes(texts[name].replace("timeout", "zu spät").encode("latin-1"))
    with pytest.raises(lm.LogError, match="not UTF-8"):
        lm.open_log(tmp_path)
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert log.requests["request_id"].tolist() == ["q1", "q3", "q4"]
    (tmp_path / name).write_bytes(texts[name].encode("utf-16"))
    for on_error in ("raise", "quarantine"):
        with pytest.raises(lm.LogError, match=f"^{name}: holds UTF-16 text; expected UTF-8. Save it as UTF-8$"):
            lm.open_log(tmp_path, on_error=on_error)
    (tmp_path / name).write_text(texts[name])
    assert_right(lm.open_log(tmp_path))


def folder(tmp_path, *tables: pa.Table):
    (tmp_path / "requests").mkdir()
    for number, table in enumerate(tables):
        pq.write_table(table, tmp_path / "requests" / f"{number}.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "changed",
    [
        {"latency_ms": pa.array([400, 1000], pa.int32())},
        {"latency_ms": pa.array(["400", "1000"])},
        {"latency_ms": pa.array([400_000, 1_000_000], pa.duration("us"))},
        {"cost_usd": wide([None, 0.05], 20)},
        {"timestamp": pa.array(TIMES[2:])},
        {"error": pa.array([False, False])},
        {"error": pa.nulls(2)},
    ],
)
def test_files_of_one_table_with_other_types_are_read_as_they_are_meant(tmp_path, changed):
    second = arrow().slice(2)
    for name, values in changed.items():
        second = second.set_column(second.column_names.index(name), name, values)
    assert_right(lm.open_log(folder(tmp_path, arrow().slice(0, 2), second)))


def test_a_file_without_zone_beside_one_with_is_refused_or_read_in_the_zone_given(tmp_path):
    naive = pa.array(pd.to_datetime(["2026-05-11 06:00", "2026-05-11 06:30"]), pa.timestamp("us"))
    second = arrow().slice(2)
    second = second.set_column(1, "timestamp", naive)
    log = folder(tmp_path, arrow().slice(0, 2), second)
    with pytest.raises(
        lm.LogError, match=r"^requests/1.parquet row 0, timestamp: '2026-05-11 06:00:00'; has no time zone"
    ):
        lm.open_log(log).validate()
    assert_right(lm.open_log(log, tz="America/New_York"))


def test_a_column_in_other_letters_is_refused_by_name(tmp_path):
    second = arrow().slice(2)
    second = second.rename_columns([name.replace("latency_ms", "Latency_ms") for name in second.column_names])
    with pytest.raises(lm.LogError) as error:
        lm.open_log(folder(tmp_path, arrow().slice(0, 2), second))
    assert (
        str(error.value) == "1.parquet, Latency_ms: differs from latency_ms in the case of its letters only. Rename it"
    )
    with pytest.raises(lm.LogError, match="Latency_ms: differs from latency_ms"):
        lm.open_log({"requests": second.to_pandas()})


def test_a_star_in_a_path_is_a_star(tmp_path):
    for name in ("a*b", "aXb", "a[X]b", "a?b"):
        (tmp_path / name).mkdir()
        make_requests(2, request_id=[f"{name}-{i}" for i in range(2)]).to_parquet(tmp_path / name / "requests.parquet")
        (tmp_path / name / "signals.csv").write_text("request_id,session_id,signal_type,timestamp\n")
    for name in ("a*b", "a[X]b", "a?b"):
        assert lm.open_log(tmp_path / name).requests["request_id"].tolist() == [f"{name}-0", f"{name}-1"]


def test_a_table_packed_in_a_form_that_is_not_read_is_no_absent_table(tmp_path):
    (tmp_path / "requests.csv").write_text(as_csv())
    (tmp_path / "signals.zip").write_bytes(b"PK")
    with pytest.raises(lm.LogError, match=r"^signals.zip: is not read in this form; expected .parquet, .jsonl or .csv"):
        lm.open_log(tmp_path)


def test_bytes_behind_the_end_of_a_gzip_are_named(tmp_path):
    (tmp_path / "requests.csv.gz").write_bytes(gzip.compress(as_csv().encode()) + b"more")
    with pytest.raises(lm.LogError, match=r"bytes that are not gzip follow the packed data. Write it again"):
        lm.open_log(tmp_path)


def test_duckdb_gives_the_same_figures(tmp_path):
    table = arrow()
    with duckdb.connect(tmp_path / "log.duckdb") as connection:
        connection.register("given", table)
        connection.execute("create table requests as select * from given")
        connection.execute(f"copy requests to '{tmp_path}/requests.parquet'")
    assert_right(lm.open_log(tmp_path / "log.duckdb"))
    (tmp_path / "log.duckdb").unlink()
    assert_right(lm.open_log(tmp_path))


AWKWARD = ["_bad", "_row", "_file", "value", "weight", "n", "errors", "first", "last", "_window", "rows", "distinct",
           "key", "shown", "bad", "reason_1", "filename", "a b", 'a"b', "a'b", "sélect", "select", "at", "mean", "json"]  # fmt: skip


@pytest.mark.parametrize("kind", ["frame", "parquet", "jsonl", "csv"])
def test_any_column_name_is_the_users(tmp_path, kind):
    frame = make_requests(4).assign(**{name: ["x", "y", "x", "y"] for name in AWKWARD})
    source = {"requests": frame}
    if kind != "frame":
        source = tmp_path
        write = {"parquet": frame.to_parquet, "csv": lambda path: frame.to_csv(path, index=False)}
        write["jsonl"] = lambda path: frame.to_json(path, orient="records", lines=True, date_format="iso")
        write[kind](tmp_path / f"requests.{kind}")
    log = lm.open_log(source)
    log.validate()
    read, split = log.requests, lm.window_metrics(log, "1h", by=AWKWARD)
    assert split["request_count"].tolist() == [2, 2]
    for name in AWKWARD:
        assert read[name].tolist() == ["x", "y", "x", "y"], name
        assert split[name].tolist() == ["x", "y"], name
    with pytest.raises(lm.LogError, match=r"^requests row 0, latency_ms: -1"):
        lm.open_log({"requests": frame.assign(latency_ms=-1)}).validate()
    aside = lm.open_log({"requests": frame.assign(latency_ms=[-1, 1, 1, 1])}, on_error="quarantine").set_aside
    assert aside["requests"]["_bad"].tolist() == ["x"]


def test_a_column_with_the_reserved_prefix_is_refused_by_name():
    sentence = "requests, __LM_bad: names that start with '__lm_' are kept for the package's own columns. Rename it"
    with pytest.raises(lm.LogError) as error:
        lm.open_log({"requests": make_requests(1).assign(__LM_bad=1)})
    assert str(error.value) == sentence


def test_a_repeated_id_is_refused_by_every_function_alike(tmp_path):
    frame = make_requests(3, request_id=["a", "b", "a"])
    frame.to_parquet(tmp_path / "requests.parquet")
    for source in (frame, {"requests": frame}, tmp_path):
        opened = source if source is frame else lm.open_log(source)
        for function in (lm.window_metrics, lm.session_metrics, lm.derive_signals, lambda data: lm.sample(data, 0.5)):
            with pytest.raises(lm.LogError, match="row 2, request_id: 'a'; expected each request_id once"):
                function(opened)
    changes = make_changes(2, change_id="c")
    with pytest.raises(lm.LogError, match="change_id: 'c'; expected each change_id once"):
        lm.log.as_table(changes, "changes")


@pytest.mark.parametrize("kind", ["frames", "folder"])
def test_threads_may_share_a_log(tmp_path, kind):
    frame = make_requests(2000, every="1min", latency_ms=[1.0, 2.0, 3.0])
    frame.to_parquet(tmp_path / "requests.parquet")
    log = lm.open_log({"requests": frame} if kind == "frames" else tmp_path)
    right = lm.window_metrics(log)

    def work(number: int) -> pd.DataFrame:
        assert len(log.requests) == 2000
        assert log.count("requests") == 2000
        return lm.window_metrics(log if number % 2 else frame)

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(16)):
            pd.testing.assert_frame_equal(found, right)
