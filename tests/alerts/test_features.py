"""`[features]` of a plan: several names are one feature in every table, and the log itself stays as it was."""

import tomllib

import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.plan import default_plan_text, open_with, plan_text, read_plan
from tests.builders import make_changes, make_judgements, make_requests, open_tables

PLAN = {"features": {"assistant": ["chat", "helper", "assistant"]}}


def tables():
    names = ["chat", "helper", "search", "assistant"]
    return {
        "requests": make_requests(8, feature_id=names),
        "judgements": make_judgements(8, feature_id=names, quality_score=[1, 2, 5, 3]),
        "changes": make_changes(2, feature_id=["chat", "search"]),
    }


@pytest.mark.parametrize("opened", [True, False])
def test_renamed_features_are_one_in_every_table(opened):
    given = open_tables(**tables()) if opened else tables()
    log = open_with(given, read_plan(PLAN))
    for name in ("requests", "judgements", "changes"):
        assert set(getattr(log, name)["feature_id"]) == {"assistant", "search"}
    metrics = lm.window_metrics(log, window=None, by="feature_id").set_index("feature_id")
    assert metrics["request_count"].to_dict() == {"assistant": 6, "search": 2}
    assert (
        lm.quality_metrics(log, window=None, by="feature_id").set_index("feature_id")["mean_quality"]["assistant"] == 2
    )


def test_the_log_that_was_given_keeps_its_names():
    log = open_tables(**tables())
    open_with(log, read_plan(PLAN))
    assert set(log.requests["feature_id"]) == {"chat", "helper", "search", "assistant"}


def test_names_can_be_given_back():
    log = open_tables(**tables()).with_features(PLAN["features"])
    assert set(log.requests["feature_id"]) == {"assistant", "search"}
    assert set(log.with_features({}).requests["feature_id"]) == {"chat", "helper", "search", "assistant"}


def test_two_names_that_change_places_are_both_renamed_once():
    log = open_tables(requests=make_requests(3, feature_id=["a", "b", "b"])).with_features({"a": ["b"], "b": ["a"]})
    assert log.requests["feature_id"].tolist() == ["b", "a", "a"]


def test_a_cut_log_keeps_its_renamed_features():
    log = open_tables(**tables()).with_features(PLAN["features"])
    assert set(log.until(log.requests["timestamp"].iloc[3]).requests["feature_id"]) == {"assistant", "search"}


def test_a_plan_writes_and_reads_its_features():
    plan = read_plan({"features": {"my assistant": ["chat", 'say "hi"']}})
    assert tomllib.loads(plan_text(plan))["features"] == plan.features
    assert "features" not in tomllib.loads(default_plan_text())
