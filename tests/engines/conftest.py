"""The same rows on real servers, in files and as frames."""

from __future__ import annotations

import json
import shutil
import warnings

import ibis
import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from tests.builders import make_changes, make_judgements, make_requests, make_signals
from tests.engines import postgres


@pytest.fixture(scope="session")
def tables() -> dict[str, pd.DataFrame]:
    n, rng = 300, np.random.default_rng(0)
    requests = make_requests(
        n,
        every="7min",
        request_id=[f"req-{i:04d}-é" for i in range(n)],
        feature_id=["search", "summary", "summary"],
        category=["returns", None],
        latency_ms=[
            None if i % 38 == 37 else value * (3 if i >= 200 and i % 3 else 1)
            for i, value in enumerate(rng.lognormal(6, 1, n))
        ],
        error=[*[None] * 9, "timeout"],
        finish_reason=["stop", "end_turn", "refusal", "max_tokens", None],
        session_id=[f"ses-{i // 3}" for i in range(n)],
        user_input=["one two", "one two three", "something else"],
    )
    ids = [f"req-{i % 70:04d}-é" for i in range(90)]
    kinds = ["thumbs_up", "thumbs_down", "abandoned", "retry", "correction"]
    signals = make_signals(90, every="20min", request_id=ids, signal_type=kinds, metadata=None)
    judged = [f"req-{i:04d}-é" for i in range(150)]
    judgements = make_judgements(
        150, every="10min", request_id=judged, quality_score=[4, 2, None, 5], inclusion_probability=[0.1, 0.5]
    )
    changes = make_changes(
        2,
        start="2026-05-11T10:00Z",
        every="13h",
        kind=["deployment", "prompt"],
        feature_id=["search", "summary"],
        description=["other ranking", "longer answers"],
    )
    return {"requests": requests, "signals": signals, "judgements": judgements, "changes": changes}


@pytest.fixture(scope="session")
def stored(tables) -> dict[str, pd.DataFrame]:
    """The tables as a database holds them: JSON as text, no column without a type."""
    flat = {}
    for name, table in tables.items():
        objects = {
            c: [None if v is None else json.dumps(v) for v in table[c]]
            for c in ("dimensions", "metadata")
            if c in table
        }
        table = table.assign(**objects)
        flat[name] = table.astype({column: "str" for column in table if table[column].isna().all()})
    return flat


@pytest.fixture(scope="session")
def postgres_url(stored):
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.server() as url:
        connection = ibis.connect(url)
        for name, table in stored.items():
            connection.create_table(name, ibis.memtable(table))
        yield url
        connection.disconnect()


@pytest.fixture(scope="session")
def on_postgres(postgres_url):
    log = lm.open_log(postgres_url)
    yield log
    log.table("requests").get_backend().disconnect()


@pytest.fixture(scope="session")
def on_spark(stored, tmp_path_factory):
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: apt-get install default-jre-headless")
    pyspark = pytest.importorskip("pyspark.sql")
    folder = tmp_path_factory.mktemp("spark")
    options = {
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # small tables: no time for compilers
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "America/New_York",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = pyspark.SparkSession.builder.master("local[1]").config(map=options).getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        for name, table in stored.items():
            table.to_parquet(folder / f"{name}.parquet")
            session.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
        yield lm.open_log(ibis.pyspark.connect(session))
        session.stop()


@pytest.fixture(scope="session")
def on_duckdb_file(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("duckdb") / "log.duckdb"
    connection = ibis.duckdb.connect(path)
    for name, table in stored.items():
        connection.create_table(name, ibis.memtable(table))
    connection.disconnect()
    return lm.open_log(path)


@pytest.fixture(scope="session")
def on_folder(stored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "requests").mkdir()
    for part, rows in enumerate(np.array_split(np.arange(len(stored["requests"])), 3)):
        stored["requests"].iloc[rows].to_parquet(folder / "requests" / f"part-{part}.parquet")
    stored["changes"].to_parquet(folder / "changes.parquet")
    stored["signals"].to_csv(folder / "signals.csv", index=False)
    stored["judgements"].to_json(folder / "judgements.jsonl.gz", orient="records", lines=True, date_format="iso")
    return lm.open_log(folder)
