"""Alerts that come back, that come on top of another, that are known: names and marks of rows."""

import pandas as pd

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.grouping import alerts_table
from llm_monitoring.alerts.plan import Plan, read_plan

DAY = pd.Timedelta("1D")
START = pd.Timestamp("2026-05-11", tz="UTC")


def fall(day: int, **more) -> Alert:
    """A fall of mean quality of search that fired on a day and was over the day after."""
    at = START + day * DAY
    return Alert(
        "mean_quality", at, "down", "search", at - DAY, layer="quality", value=3.0, expected=4.2, low=2.8, high=3.2, n=40,
        rule="chart", began=at - DAY, began_low=at - DAY, began_by=at, ended=at + DAY, designed_false_alarms_per_month=0.01,
        **more,
    )  # fmt: skip


def test_an_alert_that_comes_back_within_two_weeks_names_the_earlier_one():
    table = alerts_table([fall(0), fall(10)], Plan()).sort_values("fired_at", ignore_index=True)
    assert table["alert_id"].tolist() == ["20260511-search-mean_quality", "20260521-search-mean_quality"]
    assert table["reopens"].isna().tolist() == [True, False]
    assert table["reopens"][1] == "20260511-search-mean_quality"


def test_an_alert_that_comes_back_later_stands_alone():
    assert alerts_table([fall(0), fall(20)], Plan())["reopens"].isna().all()


def test_a_second_fall_on_top_of_the_first_is_a_row_of_its_own_that_names_it():
    table = alerts_table([fall(0), fall(1, second=True)], Plan()).sort_values("fired_at", ignore_index=True)
    assert table["alert_id"].tolist() == ["20260511-search-mean_quality", "20260512-search-mean_quality-2"]
    assert table["message"][1].endswith("on top of 20260511-search-mean_quality.")


def test_a_later_row_of_the_same_name_leaves_the_name_of_the_first():
    first = alerts_table([fall(0)], Plan())["alert_id"].tolist()
    both = alerts_table([fall(0), fall(0, second=True)], Plan())["alert_id"].tolist()
    assert first[0] in both


def test_a_silenced_alert_stays_and_is_marked():
    plan = read_plan({"silence": [{"feature": "search", "to": "2026-05-15T00:00:00Z", "reason": "known"}]})
    table = alerts_table([fall(0), fall(10)], plan).sort_values("fired_at")
    assert table["silenced"].tolist() == [True, False]


def test_what_is_told_after_the_end_is_left_out():
    better = Alert(**{**fall(0).__dict__, "direction": "up", "value": 4.9, "kind": None})
    assert alerts_table([better], Plan(), START + DAY).empty
    assert len(alerts_table([better], Plan(), START + 2 * DAY)) == 1
