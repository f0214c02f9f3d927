"""Any table, written by any of the writers that people use, is read back alike, and its broken rows alone are set aside."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import duckdb
import hypothesis.strategies as st
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import llm_monitoring as lm

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=6)
WORDS = TEXTS.map(lambda text: f"x{text}x") | st.sampled_from(["a,b", 'say "so"', "NA", "None", "1;2", "tab\tinside"])
NUMBERS = st.none() | st.floats(0, 1e9) | st.sampled_from([0.0, 0.1, 1e-9, -1.0])
START = pd.Timestamp("2026-05-11T09:00:00.123456Z")


@st.composite
def tables(draw) -> pd.DataFrame:
    n = draw(st.integers(1, 6))
    column = {
        "latency_ms": NUMBERS,
        "cost_usd": NUMBERS,
        "category": st.none() | WORDS,
        "user_input": st.none() | WORDS,
    }
    made = {name: draw(st.lists(values, min_size=n, max_size=n)) for name, values in column.items()}
    known = {"feature_id": draw(WORDS), "model_id": "m-1", "error": draw(st.sampled_from([None, "time, out"]))}
    times = [START + pd.Timedelta(draw(st.integers(0, 10**12)), "us") for _ in range(n)]
    frame = pd.DataFrame({"request_id": [f"q{i}" for i in range(n)], "timestamp": times, **known, **made})
    return frame.astype({"latency_ms": float, "cost_usd": float, "category": object, "user_input": object})


def _arrow(frame: pd.DataFrame) -> pa.Table:
    kinds = {"timestamp": pa.timestamp("us", "UTC"), "latency_ms": pa.float64(), "cost_usd": pa.float64()}
    fields = [(name, kinds.get(name, pa.string())) for name in frame.columns]
    return pa.Table.from_pandas(frame, pa.schema(fields), preserve_index=False)


def _polars(frame: pd.DataFrame):
    return pytest.importorskip("polars").from_arrow(_arrow(frame))


def _duckdb(frame: pd.DataFrame, path: Path, options: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'America/New_York'")
        connection.register("t", _arrow(frame))
        connection.execute(f"COPY t TO '{path}' ({options})")


def _fastparquet(frame: pd.DataFrame, path: Path) -> None:
    fastparquet = pytest.importorskip("fastparquet")
    texts = [name for name in frame.columns if name not in ("timestamp", "latency_ms", "cost_usd")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of pandas
        fastparquet.write(
            str(path), frame.astype(dict.fromkeys(texts, object)), object_encoding="utf8", write_index=False
        )


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(timestamp=[at.isoformat() for at in frame["timestamp"]])


def _lines(frame: pd.DataFrame, path: Path, **how) -> None:
    rows = _as_text(frame).astype(object).where(frame.notna(), None).to_dict("records")
    path.write_text("\n".join(json.dumps(row, **how) for row in rows))


WRITERS = {
    "pyarrow.parquet": lambda frame, path: pq.write_table(_arrow(frame), path),
    "pyarrow nanoseconds.parquet": lambda frame, path: pq.write_table(
        _arrow(frame).set_column(1, "timestamp", _arrow(frame)["timestamp"].cast(pa.timestamp("ns", "Asia/Tokyo"))),
        path,
    ),
    "pyarrow dictionaries.parquet": lambda frame, path: pq.write_table(
        _arrow(frame).set_column(2, "feature_id", _arrow(frame)["feature_id"].dictionary_encode()), path
    ),
    "pyarrow.csv": lambda frame, path: pyarrow.csv.write_csv(_arrow(frame), path),
    "pandas.parquet": lambda frame, path: frame.to_parquet(path),
    "pandas nullable.parquet": lambda frame, path: frame.convert_dtypes().to_parquet(path),
    "pandas.csv": lambda frame, path: frame.to_csv(path),
    "pandas semicolons.csv": lambda frame, path: frame.to_csv(path, sep=";", index=False, encoding="utf-8-sig"),
    "pandas.jsonl": lambda frame, path: _as_text(frame).to_json(
        path, orient="records", lines=True, double_precision=15
    ),
    "pandas.json": lambda frame, path: _as_text(frame).to_json(path, orient="records", double_precision=15, indent=1),
    "json.jsonl": lambda frame, path: _lines(frame, path, ensure_ascii=False, separators=(" ,\t", " :  ")),
    "polars.parquet": lambda frame, path: _polars(frame).write_parquet(path),
    "polars.csv": lambda frame, path: _polars(frame).write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.f%:z"),
    "polars.ndjson": lambda frame, path: _polars(_as_text(frame).assign(timestamp=frame["timestamp"])).write_ndjson(
        path
    ),
    "duckdb.parquet": lambda frame, path: _duckdb(frame, path, "FORMAT parquet"),
    "duckdb.csv": lambda frame, path: _duckdb(frame, path, "FORMAT csv, HEADER true, DELIMITER '|'"),
    "duckdb.json": lambda frame, path: _duckdb(frame, path, "FORMAT json, ARRAY true"),
    "fastparquet.parquet": _fastparquet,
}


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=4, report_multiple_bugs=False)
@given(frame=tables())
def test_any_table_is_read_back_alike_and_its_broken_rows_alone_are_set_aside(writer, frame):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"requests.{writer.rpartition('.')[2]}"
        WRITERS[writer](frame, path)
        sound = ~(frame["latency_ms"] < 0) & ~(frame["cost_usd"] < 0)
        if sound.all():
            _alike(lm.open_log(path).requests, frame)
            return
        with pytest.raises(lm.LogError, match=r"(latency_ms|cost_usd): -1.0; expected a number >= 0"):
            lm.open_log(path).validate()
        log = lm.open_log(path, on_error="quarantine")
        _alike(log.requests, frame[sound])
        assert log.set_aside["requests"]["request_id"].tolist() == frame["request_id"][~sound].tolist()


def _alike(found: pd.DataFrame, frame: pd.DataFrame) -> None:
    found, right = (each.set_index("request_id").sort_index() for each in (found, frame))
    assert found.index.tolist() == right.index.tolist()
    assert found["timestamp"].tolist() == right["timestamp"].tolist()
    for name in ("latency_ms", "cost_usd"):
        assert found[name].tolist() == pytest.approx(right[name].tolist(), rel=1e-9, abs=1e-9, nan_ok=True), name
    for name in ("feature_id", "model_id", "category", "user_input", "error"):
        texts = [None if pd.isna(value) else value for value in found[name]]
        assert texts == [None if pd.isna(value) else value for value in right[name]], name
