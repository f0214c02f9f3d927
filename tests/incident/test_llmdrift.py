"""The stages on a real silent model update: 6,624 calls around 27 June 2023 (Chen, Zaharia, Zou 2023)."""

from pathlib import Path

import pytest

from llm_monitoring import incident, open_log

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "llmdrift"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"needs the real log at {DATA}")
ALERT = {"metric": "flagged_rate", "feature_id": "opinionqa", "fired_at": "2023-06-28T00:03Z", "direction": "up"}


@pytest.fixture(scope="module")
def log():
    return open_log(DATA)


def test_the_update_is_named_with_the_slice_that_it_hit(log):
    found = incident.scope(log, ALERT)
    cause = incident.isolate(log, ALERT, found)
    assert found.slices[0]["where"] == {"feature_id": "opinionqa", "model": "openaichat/gpt-4"}
    assert found.slices[0]["before"] == pytest.approx(1 - 1470 / 1506)  # picks an option: 1,470 then 352 of 1,506
    assert found.slices[0]["after"] == pytest.approx(1 - 352 / 1506, abs=0.001)
    assert cause.verdict == "chg-0613"
    assert cause.onset["low"] <= "2023-06-27T00:00:00Z" <= cause.onset["high"]


def test_features_that_moved_otherwise_are_told_with_their_direction(log):
    leaves = {row["label"]: row for row in incident.scope(log, ALERT).leaves}
    assert leaves["leetcode_easy, gpt-4"]["verdict"] == "worse"  # directly usable 26 then 5 of 50
    assert leaves["sensitiveq, gpt-4"]["verdict"] == "better"  # refuses 79 then 95 of 100


def test_faster_is_no_success_beside_worse_answers(log):
    found = incident.scope(log, ALERT)
    advice = incident.respond(log, ALERT, found, incident.isolate(log, ALERT, found))
    readings = {row["measure"]: row["reading"] for row in advice.measures}
    assert readings["latency_p50_ms"] == "faster, beside worse share of flagged answers: no gain"
    assert advice.action == "rollback"
    assert "pin openaichat/gpt-4-0314" in advice.options[0]["do"]


def test_two_hours_forty_after_midnight_the_cause_was_already_clear(log):
    early = log.until("2023-06-28T02:40Z")
    assert incident.isolate(early, ALERT).verdict == "chg-0613"
    assert incident.triage(early, ALERT).verdict == "real"


def test_six_hours_after_midnight_the_update_is_not_taken_for_other_questions(log):
    early = log.until("2023-06-27T06:00Z")
    alert = {**ALERT, "metric": "mean_quality", "direction": "down", "fired_at": "2023-06-27T06:00Z"}
    assert incident.triage(early, alert).verdict == "real"
    assert incident.isolate(early, alert).verdict == "chg-0613"
