"""Which log, which alert, which verdicts."""

import os
from pathlib import Path

import pandas as pd
import pytest
from builders import make_requests, make_reviews

from llm_monitoring.errors import ConfigError
from llm_monitoring.log import open_log
from llm_monitoring.reporting import case

ROOT = Path(__file__).parents[2]


def row(alert_id, layer="quality", severity="critical", fired_at="2026-05-19T00:00:00Z"):
    return {"alert_id": alert_id, "layer": layer, "severity": severity, "fired_at": fired_at}


def test_quality_comes_before_cost_before_infrastructure_then_severity_then_time():
    rows = [
        row("late", fired_at="2026-05-20T00:00:00Z"),
        row("mild", severity="warning", fired_at="2026-05-01T00:00:00Z"),
        row("slow", layer="infrastructure"),
        row("dear", layer="cost"),
        row("first"),
    ]
    assert [one["alert_id"] for one in sorted(rows, key=case.rank)] == ["first", "late", "mild", "dear", "slow"]


def test_the_sample_is_found_from_a_folder_below(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert case.find_log("logs") == tmp_path / "logs"


def test_the_sample_is_found_from_anywhere_in_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert case.find_log("sample_data") == ROOT / "sample_data"
    assert case.find_log("no such log") == "no such log"


def test_a_log_in_the_current_folder_wins(tmp_path, monkeypatch):
    (tmp_path / "sample_data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert case.find_log("sample_data") == "sample_data"
    assert case.find_log(os.fspath(tmp_path)) == os.fspath(tmp_path)
    assert case.find_log("postgres://host/db") == "postgres://host/db"


def test_a_log_without_requests_is_refused():
    tables = {"requests": make_requests(3, start=pd.Timestamp("2026-05-11", tz="UTC"))}
    with pytest.raises(ConfigError, match=r": no request until 2020-01-01 00:00:00\+00:00; a report needs some$"):
        case.open_case(tables, until="2020-01-01T00:00Z")


def test_verdicts_from_after_the_moment_are_left_out():
    log = open_log({"requests": make_requests(3)})
    reviews = make_reviews(3, start=pd.Timestamp("2026-05-19T12:00Z"), every="1h")
    known = case.read_reviews(log, reviews, pd.Timestamp("2026-05-19T13:30Z"))
    assert len(known) == 2


def test_an_alert_may_be_given_as_a_dict():
    given = {"metric": "error_rate", "fired_at": "2026-05-11T00:30:00Z", "direction": "up", "feature_id": "search"}
    found = case.open_case({"requests": make_requests(60)}, alert=given)
    assert found.incident_id == "20260511-search-error_rate"
    assert found.alert["fired_at"] == "2026-05-11T00:30:00Z"
    assert repr(found) == "20260511-search-error_rate: error_rate"


def test_a_case_shows_hostile_alerts_as_text():
    given = {
        "metric": "error_rate", "fired_at": "2026-05-11T00:30:00Z", "direction": "up", "feature_id": "<img src=x>",
        "message": "<script>1</script>",
    }  # fmt: skip
    shown = case.open_case({"requests": make_requests(60)}, alert=given)._repr_html_()
    assert "<script>" not in shown
    assert "<img" not in shown
