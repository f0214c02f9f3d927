"""The same call on the same rows gives the same numbers on every engine: real servers, no stand-ins.

The reference is pandas frames on the DuckDB inside the process, which `tests/test_metrics.py` holds to pandas itself.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import ibis
import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import incident
from llm_monitoring.results import jsonable
from tests.builders import make_judgements, make_requests, make_signals
from tests.engines import postgres

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TABLES = ("requests", "signals", "judgements")
CALLS = {
    "window_metrics by hour": lambda log: lm.window_metrics(log, "1h", intervals=True),
    "window_metrics of everything": lambda log: lm.window_metrics(log, None, by=[]),
    "quality_metrics": lambda log: lm.quality_metrics(log, by=["feature_id", "category"]),
    "satisfaction_metrics": lambda log: lm.satisfaction_metrics(log, window="1d"),
    "session_metrics": lambda log: lm.session_metrics(log),
    "derive_signals": lambda log: lm.derive_signals(log.table("requests")),
    "sample": lambda log: lm.sample(log, 0.2),
    "validate": lambda log: log.validate(),
    "frames": lambda log: log.requests,
    "check": lambda log: lm.check(log),
    "control_charts": lambda log: lm.control_charts(log).to_frame(),
    "own measure": lambda log: lm.window_metrics(log, "6h", measures=[SPEED, SLOW]),
    **{stage: lambda log, stage=stage: told(stages(log)[stage]) for stage in ("triage", "scope", "isolate", "respond")},
}
SPEED = lm.Measure("speed", sql="output_tokens / latency_ms", kind="positive", worse="down")
SLOW = lm.Measure("slow", sql="latency_ms > 400", kind="proportion")
ALERT = {"metric": "latency_p50_ms", "fired_at": "2026-05-12T06:00Z", "direction": "up", "feature_id": "summary"}


def stages(log: lm.Log) -> dict:
    """The stages on one alert, from the first to the fourth."""
    scope = incident.scope(log, ALERT)
    cause = incident.isolate(log, ALERT, scope)
    found = {"triage": incident.triage(log, ALERT), "scope": scope, "isolate": cause}
    return found | {"respond": incident.respond(log, ALERT, scope, cause)}


def told(result) -> pd.DataFrame:
    """A result as a table of one row, its numbers rounded as JSON texts."""
    texts = {name: json.dumps(jsonable(value), sort_keys=True) for name, value in result.to_dict().items()}
    return pd.DataFrame([{name: re.sub(r"\d+\.\d+", _rounded, text) for name, text in texts.items()}])


def _rounded(match: re.Match) -> str:
    return f"{float(match[0]):.6g}"


@pytest.fixture(scope="session")
def tables() -> dict[str, pd.DataFrame]:
    n, rng = 300, np.random.default_rng(0)
    requests = make_requests(
        n,
        every="7min",
        request_id=[f"req-{i:04d}-é" for i in range(n)],
        feature_id=["search", "summary", "summary"],
        category=["returns", None],
        latency_ms=[*rng.lognormal(6, 1, 37), None],
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
    return {"requests": requests, "signals": signals, "judgements": judgements}


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
def reference(tables) -> dict[str, pd.DataFrame]:
    log = lm.open_log(tables)
    return {name: call(log) for name, call in CALLS.items()}


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
    stored["signals"].to_csv(folder / "signals.csv", index=False)
    stored["judgements"].to_json(folder / "judgements.jsonl.gz", orient="records", lines=True, date_format="iso")
    return lm.open_log(folder)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("engine", ["on_folder", "on_duckdb_file", "on_postgres", "on_spark"])
def test_an_engine_gives_the_same_numbers_as_frames(engine, call, reference, request):
    log = request.getfixturevalue(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CALLS[call](log)
    columns = [name for name in reference[call].columns if name != "source"]
    pd.testing.assert_frame_equal(found[columns], reference[call][columns], rtol=1e-9, atol=1e-9, check_dtype=False)


@pytest.mark.parametrize("engine", ["on_folder", "on_duckdb_file", "on_postgres", "on_spark"])
def test_the_sample_in_the_engine_is_the_sample_in_python(engine, tables, request):
    log = request.getfixturevalue(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = set(lm.sample(log, 0.3)["request_id"])
    assert found == {each for each in tables["requests"]["request_id"] if lm.should_sample(each, 0.3)}


@pytest.mark.parametrize("engine", ["on_folder", "on_duckdb_file", "on_postgres"])
def test_eight_threads_may_share_a_log_of_any_engine(engine, reference, request):
    log = request.getfixturevalue(engine)
    calls = ["window_metrics by hour", "quality_metrics", "session_metrics", "frames", "sample"] * 4

    def asked(call: str) -> pd.DataFrame:
        later = log.until("2026-05-20T00:00Z") if call == "frames" else log
        return CALLS[call](later)

    with ThreadPoolExecutor(8) as pool:
        for call, found in zip(calls, pool.map(asked, calls), strict=True):
            columns = list(reference[call].columns)
            pd.testing.assert_frame_equal(found[columns], reference[call], rtol=1e-9, atol=1e-9, check_dtype=False)


def test_a_report_of_a_database_is_written_and_holds_no_password(postgres_url, tmp_path):
    secret = postgres_url.replace("tests@", "tests:s3cr3t@")  # the server trusts everybody
    report = lm.report(secret, alert=ALERT, out=tmp_path / "reports", progress=False)
    assert report.path.is_file() and set(report.stages.values()) == {"done"}
    written = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    assert len(written) >= 6
    assert not [path.name for path in written if b"s3cr3t" in path.read_bytes()]
