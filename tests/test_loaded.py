"""What comes out of the engine: figures and the rows that are asked for, never the log."""

from __future__ import annotations

import pytest

import llm_monitoring as lm
from llm_monitoring import incident
from tests.builders import make_judgements, make_requests, make_signals

N = 2000


@pytest.fixture
def log(tmp_path):
    requests = make_requests(N, feature_id=["search", "summary"], user_input="a" * 500, system_output="b" * 500)
    requests.to_parquet(tmp_path / "requests.parquet")
    make_signals(300, metadata=None).astype({"metadata": "string"}).to_parquet(tmp_path / "signals.parquet")
    make_judgements(100, dimensions="{}").to_parquet(tmp_path / "judgements.parquet")
    return lm.open_log(tmp_path)


def judge(user_input: str, system_output: str) -> dict[str, int]:
    return {"correctness": 5, "completeness": 5, "tone": 5}


def test_a_table_that_is_touched_is_loaded_once_and_counted(log):
    assert log.loaded["rows"].tolist() == [0, 0, 0]
    assert list(log.loaded.index) == ["requests", "signals", "judgements"]
    assert len(log.requests) == len(log.requests) == N
    counted = log.loaded
    assert N <= counted.loc["requests", "rows"] <= N + 3  # and the row of counts
    assert counted.loc["requests", "bytes"] > N * 1000
    assert counted["rows"].tolist()[1:] == [0, 0]


def test_logs_over_the_same_files_are_counted_apart_and_cuts_with_their_log(log, tmp_path):
    other = lm.open_log(tmp_path)
    assert len(other.until("2027-01-01T00:00Z").requests) == N
    assert log.loaded["rows"].sum() == 0
    assert other.loaded.loc["requests", "rows"] >= N


@pytest.mark.parametrize(
    ("call", "most"),
    [
        (lambda log: lm.window_metrics(log, "1d"), 10),
        (lambda log: lm.quality_metrics(log, window=None), 20),
        (lambda log: lm.satisfaction_metrics(log, window="1d"), 40),
        (lambda log: lm.sample(log, 0.01), N // 50),
        (lambda log: lm.derive_signals(log), 10),
        (lambda log: log.validate(), 3),
        (lambda log: (log.count("requests"), log.span("requests")), 3),
    ],
    ids=["window", "quality", "satisfaction", "sample", "derive", "validate", "count"],
)
def test_figures_come_from_aggregates(log, call, most):
    call(log)
    assert 0 < log.loaded.loc["requests", "rows"] <= most


def test_a_judge_is_shown_texts_that_are_loaded_for_it_alone(log, tmp_path):
    given = {"rate": 0.05, "out": tmp_path / "judgements.db", "progress": False}
    chosen = sum(lm.should_sample(f"req-{i:04d}", 0.05) for i in range(N))
    assert len(lm.judge_sample(log, judge, **given)) == chosen
    before = log.loaded.loc["requests", "bytes"]
    assert chosen * 1000 <= before <= chosen * 1200
    assert len(lm.judge_sample(log, judge, **given)) == chosen
    assert log.loaded.loc["requests", "bytes"] - before <= chosen * 100


def test_stages_load_what_they_slice_by_once_and_the_texts_of_what_they_show(tmp_path):
    n, judged_of = 2 * N, slice(None, None, 3)
    requests = make_requests(
        n, every="10min", feature_id=["search", "summary"], user_input="a" * 2000, system_output="b" * 2000
    )
    requests.to_parquet(tmp_path / "requests.parquet")
    ids, at = requests["request_id"][judged_of], requests["timestamp"][judged_of]
    bad = ((at >= at.iloc[400]) & (ids.index % 12 == 0)).tolist()
    scores = [1.0 if one else 5.0 for one in bad]
    judged = make_judgements(len(ids), dimensions="{}", quality_score=scores, request_id=ids.tolist())
    judged.assign(judged_at=at.tolist()).to_parquet(tmp_path / "judgements.parquet")
    log = lm.open_log(tmp_path)
    alert = {"metric": "flagged_rate", "feature_id": "search", "direction": "up", "fired_at": at.iloc[500]}
    shown = incident.triage(log, alert)
    scope = incident.scope(log, alert)
    incident.respond(log, alert, scope, incident.isolate(log, alert, scope))
    assert shown.verdict == "real"
    found = log.loaded.loc["requests"]
    texts = 1_000 * 4_000  # of one slice, to look inside it, and of the answers shown
    assert found["bytes"] < n * 250 + texts < n * 4_000
    assert found["rows"] < 8 * n  # the columns once, and five measures of the slice
