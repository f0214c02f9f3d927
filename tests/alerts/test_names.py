"""Names of a plan that its log does not have are said, with the nearest."""

import pandas as pd

from llm_monitoring import check
from llm_monitoring.alerts.lines import alert_lines
from tests.builders import make_requests

ROWS = pd.concat([
    make_requests(4, feature_id="search", region="eu"),
    make_requests(4, feature_id="chat", region="us", request_id=[f"c{i}" for i in range(4)]),
])  # fmt: skip


def said(plan):
    return check({"requests": ROWS}, plan).attrs["not_in_log"]


def test_a_plan_whose_names_are_there_says_nothing():
    assert said({}) == []
    assert said({
        "sinks": [{"url": "jsonl://a", "features": ["assistant"]}], "silence": [{"feature": "chat", "metric": "latency_p95_ms"}],
        "features": {"assistant": ["search", "old"]}, "slices": {"question": ["region"]},
        "quality": {"versions": ["prompt_version", "region"]},
    }) == []  # fmt: skip


def test_the_old_name_of_a_renamed_feature_is_said():
    plan = {"sinks": [{"url": "jsonl://a", "features": ["old"]}], "features": {"assistant": ["search", "old"]}}
    assert said(plan) == ["[[sinks]] features: 'old' is a name of the feature 'assistant' ([features]); write that"]


def test_features_that_are_not_there_are_said_wherever_they_stand():
    assert said({
        "sinks": [{"url": "jsonl://a", "features": ["search1", "chat"]}], "silence": [{"feature": "caht"}],
        "features": {"assistant": ["assist", "old"]},
    }) == [
        "[[sinks]] features: 'search1' is not a feature of the log; the nearest is 'search'",
        "[[silence]] feature: 'caht' is not a feature of the log; the nearest is 'chat'",
        "[features] assistant: the log has none of 'assist', 'old'",
    ]  # fmt: skip


def test_metrics_and_columns_that_are_not_there_are_said():
    assert said({
        "silence": [{"metric": "latency_95_ms"}], "slices": {"question": ["region_id"], "service": ["pool"]},
        "quality": {"versions": ["regions"]},
    }) == [
        "[quality] versions: 'regions' is not a column of requests; the nearest is 'region'",
        "[slices] question: 'region_id' is not a column of requests; the nearest is 'region'",
        "[slices] service: 'pool' is not a column of requests",
        "[[silence]] metric 'latency_95_ms' is not known; the nearest is 'latency_p95_ms'",
    ]  # fmt: skip


def test_what_is_printed_names_the_plan():
    lines = list(alert_lines(check({"requests": ROWS}, {"silence": [{"feature": "caht"}]}), False))
    assert "plan: [[silence]] feature: 'caht' is not a feature of the log; the nearest is 'chat'" in lines
