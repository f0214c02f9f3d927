"""The same call on the same rows gives the same on every engine: real servers, no stand-ins.

The reference is pandas frames on the DuckDB inside the process, which `tests/test_metrics.py` holds to pandas itself.
"""

from __future__ import annotations

import functools
import inspect
import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.engines.calls import ALERT, CALLS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ENGINES = ["on_folder", "on_duckdb_file", "on_postgres", "on_spark"]
ELSEWHERE = {"report", "compare_probes"}  # a test of its own; takes no log but a table of probes


def assert_same(found, expected, where: str = "") -> None:
    """Equal in structure, texts and whole numbers; other numbers to a billionth."""
    if isinstance(expected, pd.DataFrame):
        assert len(found) == len(expected), where
        columns = [name for name in expected.columns if name != "source"]
        pd.testing.assert_frame_equal(found[columns], expected[columns], rtol=1e-9, atol=1e-12, check_dtype=False)
    elif isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name in expected:
            assert_same(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), where
    else:
        assert found == expected, where


@pytest.fixture(scope="session")
def reference(tables):
    """What a call gives of frames, worked out once."""
    log = lm.open_log(tables)
    return functools.cache(lambda call: CALLS[call](log))


def test_every_function_of_a_log_is_among_the_calls():
    """A new public function that takes a log is held to all engines, or says why not."""
    takes = {"log", "requests", "signals", "judgements", "log_or_requests", "log_or_files", "probe_results"}
    public = {name: getattr(lm, name) for name in lm.__all__}
    plain = {
        name: each for name, each in public.items() if inspect.isfunction(each) and "online" not in each.__module__
    }
    of_log = {name for name, each in plain.items() if next(iter(inspect.signature(each).parameters), "") in takes}
    assert of_log - {call.split()[0] for call in CALLS} == ELSEWHERE


#: Calls that ask Spark dozens of small queries, or those of another call again: tried there by make test-long.
SLOW_ON_SPARK = {"open_case", "watch", "control_charts", "backtest", "check", "stages", "explore", "review", "satisfaction_metrics",
                 "quality_metrics of everything"}  # fmt: skip


#: Calls of a whole check or more: tried on PostgreSQL and on one of the two that DuckDB reads.
WHOLE = {"check", "control_charts", "watch", "open_case", "stages", "explore"}


def long(engine, call):
    """Whether make test leaves it out: it is slow, and what it holds is held by another engine or call."""
    if engine == "on_spark":
        return call in SLOW_ON_SPARK
    return (engine == "on_folder" and call in WHOLE) or (engine != "on_postgres" and call == "backtest")


@pytest.mark.parametrize(
    ("engine", "call"),
    [
        pytest.param(engine, call, marks=[pytest.mark.long] if long(engine, call) else [])
        for engine in ENGINES
        for call in CALLS
    ],
)
def test_an_engine_gives_the_same_as_frames(engine, call, reference, request):
    log = request.getfixturevalue(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(CALLS[call](log), reference(call))


@pytest.mark.long
@pytest.mark.parametrize("engine", ["on_postgres", "on_spark"])
def test_a_report_says_the_same(engine, tables, request, tmp_path):
    log = request.getfixturevalue(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = lm.report(tables, alert=ALERT, out=tmp_path / "frames", progress=False)
        found = lm.report(log, alert=ALERT, out=tmp_path / "engine", progress=False)
    assert (found.sentence, found.stages, found.failure) == (ours.sentence, ours.stages, None)
    for stage in ("triage", "scope", "isolate", "respond", "learn"):
        one, other = (json.loads((each.folder / "results" / f"{stage}.json").read_text()) for each in (found, ours))
        assert_same(one, other, stage)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sample_in_the_engine_is_the_sample_in_python(engine, tables, request):
    log = request.getfixturevalue(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = set(lm.sample(log, 0.3)["request_id"])
    assert found == {each for each in tables["requests"]["request_id"] if lm.should_sample(each, 0.3)}


@pytest.mark.parametrize("engine", [*ENGINES[:3], pytest.param("on_spark", marks=pytest.mark.long)])
def test_two_runs_give_the_same_bytes(engine, request):
    log = request.getfixturevalue(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = [[lm.window_metrics(log, "1d"), lm.quality_metrics(log)] for _ in range(2)]
    for one, other in zip(*runs):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize(
    "engine", ["on_postgres", *(pytest.param(name, marks=pytest.mark.long) for name in ("on_folder", "on_duckdb_file"))]
)
def test_eight_threads_may_share_a_log_of_any_engine(engine, reference, request):
    log = request.getfixturevalue(engine)
    calls = ["window_metrics by hour", "quality_metrics", "session_metrics", "frames", "sample"] * 4
    expected = [reference(call) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        for found, right in zip(pool.map(lambda call: CALLS[call](log), calls), expected, strict=True):
            assert_same(found, right)


@pytest.mark.long
def test_a_report_of_a_database_is_written_and_holds_no_password(postgres_url, tmp_path):
    secret = postgres_url.replace("tests@", "tests:s3cr3t@")  # the server trusts everybody
    report = lm.report(secret, alert=ALERT, out=tmp_path / "reports", progress=False)
    assert report.path.is_file()
    assert set(report.stages.values()) == {"done"}
    written = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    assert len(written) >= 6
    assert not [path.name for path in written if b"s3cr3t" in path.read_bytes()]
