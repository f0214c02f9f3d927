"""Events to rows: one cause one row, severity by the documented rule, ids that stay."""

import dataclasses

import pandas as pd
import pytest

from llm_monitoring.alerts.alert import COLUMNS, Alert
from llm_monitoring.alerts.grouping import alerts_table, same_cause, severity
from llm_monitoring.alerts.plan import Plan

DAY = pd.Timedelta("1D")
MONDAY = pd.Timestamp("2026-05-18", tz="UTC")


def make_event(**given) -> Alert:
    """A fall of mean quality in support on Monday, known on Tuesday."""
    defaults = {
        "layer": "quality", "metric": "mean_quality", "feature_id": "support", "fired_at": MONDAY + DAY, "window_start": MONDAY,
        "began": MONDAY, "began_low": MONDAY, "began_by": MONDAY + DAY, "ended": MONDAY + 3 * DAY, "value": 3.9,
        "expected": 4.3, "low": 3.7, "high": 4.1, "direction": "down", "n": 60, "designed_false_alarms_per_month": 0.02, "rule": "chart",
    }  # fmt: skip
    return Alert(**{**defaults, **given})


def test_an_empty_table_has_its_columns():
    table = alerts_table([], Plan())
    assert list(table.columns) == list(COLUMNS)
    assert str(table["fired_at"].dtype) == "datetime64[us, UTC]"


def test_metrics_that_moved_together_are_one_row_with_the_most_telling_metric():
    cost = make_event(layer="cost", metric="avg_cost_per_request_usd", direction="up", value=0.03, expected=0.02)
    flagged = make_event(metric="flagged_rate", direction="up", value=0.3, expected=0.05, low=0.2, high=0.4)
    table = alerts_table([cost, flagged, make_event()], Plan())
    assert table["metric"].tolist() == ["mean_quality"]
    assert "also cost per request up, share of flagged answers up" in table["message"][0]


def test_what_surely_began_after_a_row_had_fired_is_another_row_whatever_lies_between_them():
    """Dearer on Monday; the spend of that day is told at midnight, and quality falls on Monday evening."""
    cost = {"layer": "cost", "direction": "up", "value": 0.03, "expected": 0.02}
    noon, night = MONDAY + 0.5 * DAY, MONDAY + DAY
    dear = make_event(**cost, metric="avg_cost_per_request_usd", fired_at=noon, began_by=noon)
    spend = make_event(**cost, metric="total_cost_usd", fired_at=night)
    began = {"began": noon + 0.25 * DAY, "began_low": noon + 0.2 * DAY, "fired_at": night + 0.1 * DAY}
    rows = same_cause([dear, spend, make_event(**began)], days=2)
    assert [[one.metric for one in row] for row in rows] == [
        ["avg_cost_per_request_usd", "total_cost_usd"],
        ["mean_quality"],
    ]


def test_of_two_that_fire_at_one_moment_the_limit_speaks_before_a_chart_of_infrastructure():
    given = {"layer": "infrastructure", "window_start": MONDAY}
    slow = make_event(metric="latency_p95_ms", direction="up", value=2000.0, expected=1700.0, **given)
    gone = make_event(metric="request_count", value=3.0, expected=90.0, rule="limit", limit=18.0, words="gone", **given)
    table = alerts_table([slow, gone], Plan())
    assert table["metric"].tolist() == ["request_count"]
    assert table["message"].tolist() == ["gone; also latency (p95) up."]


def test_features_are_rows_of_their_own():
    assert len(alerts_table([make_event(), make_event(feature_id="search")], Plan())) == 2


def test_a_change_weeks_later_is_another_row():
    later = {
        name: getattr(make_event(), name) + 21 * DAY for name in ("fired_at", "began", "began_low", "began_by", "ended")
    }
    assert len(same_cause([make_event(), make_event(**later)], days=2)) == 2


def test_a_metric_that_fires_again_soon_after_is_the_same_event():
    again = make_event(fired_at=MONDAY + 4 * DAY, began=MONDAY + 30 * DAY, began_low=MONDAY + 30 * DAY)
    assert len(same_cause([make_event(), again], days=2)) == 1


def test_one_that_goes_twice_as_far_beyond_the_interval_is_a_change_of_its_own_and_takes_what_moves_with_it():
    soon = {
        "began": MONDAY + DAY,
        "began_low": MONDAY + DAY,
        "began_by": MONDAY + 2 * DAY,
        "fired_at": MONDAY + 2 * DAY,
        "window_start": MONDAY + DAY,
    }
    worse = make_event(**soon, value=3.0, low=2.8, high=3.2)
    beside = make_event(**soon, metric="flagged_rate", direction="up", value=0.3, expected=0.05, low=0.2, high=0.4)
    first, second = same_cause([make_event(), worse, beside], days=2)
    assert (len(first), [one.metric for one in second]) == (1, ["mean_quality", "flagged_rate"])
    for mild in ({"value": 3.6, "low": 3.5, "high": 3.69}, {"value": 3.0, "low": 2.0, "high": 4.0}):
        assert len(same_cause([make_event(), make_event(**soon, **mild)], days=2)) == 1
    fuller = dataclasses.replace(worse, window_start=MONDAY + 0.5 * DAY)  # a window that holds more of the same change
    assert len(same_cause([make_event(), fuller], days=2)) == 1


def test_what_began_after_an_alert_fired_is_another_cause():
    later = {
        "began": MONDAY + 2 * DAY,
        "began_low": MONDAY + 1.5 * DAY,
        "began_by": MONDAY + 2 * DAY,
        "fired_at": MONDAY + 3 * DAY,
    }
    refusals = make_event(**later, metric="refusal_rate", direction="up", value=0.08, expected=0.02, low=0.06, high=0.1)
    assert len(same_cause([make_event(), refusals], days=2)) == 2
    known_late = dataclasses.replace(refusals, began_low=MONDAY + 0.9 * DAY)
    assert len(same_cause([make_event(), known_late], days=2)) == 1


def test_infrastructure_stays_apart_from_charts():
    error = make_event(layer="infrastructure", metric="error_rate", direction="up", limit=0.05)
    assert len(same_cause([make_event(), error], days=2)) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "critical"),
        ({"value": 4.1}, "warning"),
        ({"direction": "up", "value": 4.8}, "info"),
        ({"metric": "flagged_rate", "direction": "up", "value": 0.2, "expected": 0.05}, "critical"),
        ({"metric": "flagged_rate", "direction": "up", "value": 0.1, "expected": 0.05}, "warning"),
        ({"metric": "avg_cost_per_request_usd", "layer": "cost", "direction": "up", "value": 2, "expected": 1}, "critical"),
        ({"metric": "avg_cost_per_request_usd", "layer": "cost", "direction": "down", "value": 1, "expected": 2}, "info"),
        ({"metric": "query_drift", "direction": "up"}, "info"),
        ({"metric": "error_rate", "layer": "infrastructure", "direction": "up", "limit": 0.05, "low": 0.2}, "critical"),
        ({"metric": "error_rate", "layer": "infrastructure", "direction": "up", "limit": 0.05, "low": 0.06}, "warning"),
        ({"metric": "abandonment_rate", "direction": "up", "limit": 0.3, "low": 0.7}, "warning"),
    ],
)  # fmt: skip
def test_severity_follows_the_documented_rule(given, expected):
    assert severity(make_event(**given), Plan()) == expected


def test_a_change_whose_size_rounds_to_nothing_is_info():
    tiny = {
        "metric": "avg_cost_per_request_usd",
        "layer": "cost",
        "direction": "up",
        "value": 0.00111,
        "expected": 0.00109,
    }
    assert severity(make_event(**tiny), Plan()) == "info"


def test_better_things_alone_are_info_and_come_last():
    better = make_event(feature_id="a", layer="cost", metric="avg_output_tokens", direction="down", fired_at=MONDAY)
    table = alerts_table([better, make_event()], Plan())
    assert table["severity"].tolist() == ["critical", "info"]


def test_a_row_of_better_and_worse_things_is_told_by_the_worse():
    cheaper = make_event(layer="cost", metric="avg_output_tokens", direction="down", fired_at=MONDAY)
    table = alerts_table([cheaper, make_event()], Plan())
    assert table[["metric", "severity"]].values.tolist() == [["mean_quality", "critical"]]


def test_ids_are_distinct_and_the_same_for_events_in_another_order():
    events = [
        make_event(),
        make_event(feature_id="support!"),
        make_event(feature_id="support?"),
        make_event(feature_id=None),
    ]
    first, again = alerts_table(events, Plan()), alerts_table(events[::-1], Plan())
    pd.testing.assert_frame_equal(first, again)
    assert first["alert_id"].is_unique
    assert "20260519-support-mean_quality" in first["alert_id"].tolist()
    assert first["alert_id"].str.fullmatch(r"[A-Za-z0-9._-]+").all()


def test_the_message_is_one_sentence_and_the_designed_rate_has_its_column():
    table = alerts_table([make_event()], Plan())
    message = table["message"][0].replace("\u00a0", " ")
    assert table["designed_false_alarms_per_month"].tolist() == [0.02]
    assert message == (
        "support: mean quality fell to 3.90 (3.70 to 4.10) since 18 May 00:00 UTC, usual is 4.30 (60 judged answers)."
    )


def test_a_hostile_feature_name_stays_on_one_line():
    table = alerts_table([make_event(feature_id="x\n<script>\x00" + "y" * 200)], Plan())
    assert "\n" not in table["message"][0]
    assert len(table["alert_id"][0]) < 110


def test_events_are_not_altered():
    event = make_event()
    before = dataclasses.asdict(event)
    alerts_table([event], Plan())
    assert dataclasses.asdict(event) == before
