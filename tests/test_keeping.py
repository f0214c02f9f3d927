"""What is found once: rows under a name in the engine, text files that are parsed once, answers kept with their log."""

from __future__ import annotations

import gc
import weakref

import pytest

import llm_monitoring as lm
from llm_monitoring import engines, incident, sources
from llm_monitoring.alerts.scopes import delays
from tests.builders import make_judgements, make_requests


@pytest.fixture
def folder(tmp_path):
    requests = make_requests(60, error=[None, None, "timeout"], finish_reason=["end_turn", "end_turn", "error"])
    requests.to_json(tmp_path / "requests.jsonl", orient="records", lines=True, date_format="iso")
    make_judgements(20, dimensions="{}").to_parquet(tmp_path / "judgements.parquet")
    return tmp_path


@pytest.fixture
def named(monkeypatch):
    """What was given a name in the engine: whether it was copied."""
    made, plain = [], engines.named
    monkeypatch.setattr(engines, "named", lambda rows, copied=False: made.append(copied) or plain(rows, copied))
    return made


def names_in_engine() -> int:
    engines.run(engines.stored("SELECT 1 AS one"))  # forgets what nobody holds
    found = "SELECT view_name AS n FROM duckdb_views() UNION ALL SELECT table_name FROM duckdb_tables()"
    return sum(name.startswith("llm_monitoring_") for (name,) in engines.fetched(found))


def test_text_files_are_parsed_once_and_parquet_never(folder, named):
    log = lm.open_log(folder)
    assert named == []  # nothing is read on opening
    assert log.count("requests") == len(log.requests) == 60
    assert log.until("2030-01-01T00:00Z").count("requests") == 60
    assert named.count(True) == 1
    assert log.count("judgements") == 20
    assert named.count(True) == 1


def test_large_text_files_are_not_held(folder, named, monkeypatch):
    monkeypatch.setattr(sources, "PARSED_ONCE_BYTES", 100)
    assert lm.open_log(folder).count("requests") == 60
    assert True not in named


def test_a_file_that_grew_is_read_as_it_was(folder):
    log = lm.open_log(folder)
    before = lm.window_metrics(log, None)
    with (folder / "requests.jsonl").open("a") as more:
        more.write('{"request_id": "new", "timestamp": "2026-05-12T00:00:00Z", "feature_id": "x", "model_id": "m"}\n')
    assert lm.window_metrics(log, None).equals(before)
    assert lm.open_log(folder).count("requests") == 61


def test_names_are_forgotten_with_the_log_and_not_while_a_table_of_it_is_held(folder):
    gc.collect()
    before = names_in_engine()
    log = lm.open_log(folder)
    log.validate()
    rows = log.table("requests")
    assert names_in_engine() > before
    del log
    gc.collect()
    assert engines.run(rows.count().as_table()).num_rows == 1
    del rows
    gc.collect()
    assert names_in_engine() == before


def test_tables_in_memory_outlive_the_log_that_they_were_given_to():
    log = lm.open_log({"requests": make_requests(5)})
    log.validate()
    rows = log.table("requests")
    del log
    gc.collect()
    assert engines.run(rows.select("request_id")).num_rows == 5


def test_a_rule_is_looked_at_until_every_row_was():
    rows = make_requests(6, latency_ms=[1.0, 2.0, -3.0])
    with pytest.raises(lm.LogError, match="latency_ms"):
        lm.window_metrics(lm.open_log({"requests": rows}), None)
    log = lm.open_log({"requests": rows})
    for _ in range(2):
        with pytest.raises(lm.LogError, match="latency_ms"):
            log.validate()
        with pytest.raises(lm.LogError, match="latency_ms"):
            lm.window_metrics(log, None)


def test_what_was_found_belongs_to_one_log_and_goes_with_it(folder):
    log = lm.open_log(folder)
    found = delays(log, "judgements")
    assert delays(log, "judgements") is found
    cut = log.until("2030-01-01T00:00Z")
    assert delays(cut, "judgements") is not found
    assert cut.whole is log
    assert cut.until("2029-01-01T00:00Z").whole is log
    assert log.with_reviews(log.reviews).kept == {}
    alert = {
        "metric": "error_rate", "feature_id": "search", "direction": "up", "kind": "standing",
        "fired_at": "2026-05-20T00:00Z",
    }  # fmt: skip
    incident.scope(log, alert)  # a standing level holds the log that it was found in
    gone = weakref.ref(log)
    del log, cut
    gc.collect()
    assert gone() is None


def test_a_question_to_a_log_is_asked_once(folder, monkeypatch):
    asked, plain = [], engines.run
    monkeypatch.setattr(engines, "run", lambda expr: asked.append(1) or plain(expr))
    log = lm.open_log(folder)
    for _ in range(3):
        log.span("requests")
        log.until("2030-01-01T00:00Z").whole.span("requests")
    assert len(asked) == 1
