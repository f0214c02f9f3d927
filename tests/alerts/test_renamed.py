"""A feature that ends just as another begins is told as one that may have been renamed."""

import tomllib

import numpy as np
import pandas as pd

from llm_monitoring import check
from llm_monitoring.alerts.lines import alert_lines
from llm_monitoring.wording import NBSP

START = pd.Timestamp("2026-05-04T00:00Z")
DAY = pd.Timedelta("1D")


def asked(name, since, days, a_day=96, seed=0):
    times = since + pd.to_timedelta(
        np.sort(np.random.default_rng([seed, a_day]).uniform(0, days, int(a_day * days))), unit="D"
    )
    ids = [f"{name}-{i}" for i in range(len(times))]
    return pd.DataFrame({"request_id": ids, "timestamp": times, "feature_id": name, "model_id": "m-1"})


def found(*parts, plan=None):
    rows = pd.concat(parts).sort_values("timestamp", ignore_index=True)
    return check({"requests": rows}, plan)


SWITCH = START + 20 * DAY + pd.Timedelta("14h")
OLD, REST = asked("chat", START, 20.58), asked("search", START, 24, seed=1)
NEW = asked("assistant", SWITCH, 3.4, seed=2)


def test_a_name_that_ends_as_another_begins_is_told_with_the_line_for_the_plan():
    told = found(OLD, NEW, REST).attrs["renamed"]
    assert len(told) == 1
    assert "assistant began on 24 May 14:00 UTC, as chat ended" in told[0].replace(NBSP, " ")
    line = told[0].split("[features] ")[1].split(" in the plan")[0]
    assert tomllib.loads(line) == {"assistant": ["chat"]}


def test_that_line_makes_one_feature_of_both_and_nothing_is_told_any_more():
    alerts = found(OLD, NEW, REST, plan={"features": {"assistant": ["chat"]}})
    assert alerts.attrs["renamed"] == []
    assert alerts.empty


def test_the_alert_of_the_traffic_that_ended_names_where_it_may_have_gone():
    alerts = found(OLD, NEW, REST)
    message = alerts.loc[alerts["metric"] == "request_count", "message"].iloc[0]
    assert message.startswith("chat: request volume 0")
    assert message.endswith("; perhaps renamed: assistant began then.")
    assert any(line.startswith("renamed? assistant") for line in alert_lines(alerts, as_json=False))


def test_features_that_go_on_begin_later_or_are_asked_far_more_are_no_new_names():
    assert found(asked("chat", START, 24), NEW, REST).attrs["renamed"] == []
    assert (
        found(OLD, asked("assistant", SWITCH + 3 * DAY, 3, seed=2), asked("search", START, 27)).attrs["renamed"] == []
    )
    assert found(OLD, asked("assistant", SWITCH, 3.4, a_day=400), REST).attrs["renamed"] == []
    assert found(OLD, REST).attrs["renamed"] == []


def test_of_two_new_names_the_one_asked_as_often_is_told():
    told = found(OLD, NEW, asked("labels", SWITCH, 3.4, a_day=60, seed=3), REST).attrs["renamed"]
    assert [line.split()[1] for line in told] == ["assistant"]


def test_a_name_that_has_charts_of_its_own_by_now_is_told_no_more():
    assert found(OLD, asked("assistant", SWITCH, 30, seed=2), asked("search", START, 51, seed=1)).attrs["renamed"] == []


def lines_of(alerts):
    return [
        (
            line.split(" began")[0].removeprefix("renamed? "),
            tomllib.loads(line.split("[features] ")[1].split(" in the")[0]),
        )
        for line in alerts.attrs["renamed"]
    ]


def rolled_out(old, new, days, since=SWITCH, seed=5):
    """Requests of the old name go over to the new one day by day."""
    part = ((old["timestamp"] - since) / (days * DAY)).clip(0, 1)
    gone = np.random.default_rng(seed).random(len(old)) < part
    return old.assign(feature_id=np.where(gone, new, old["feature_id"]))


def test_a_roll_out_of_a_week_and_a_day_off_between_are_renamings_too():
    slow = rolled_out(asked("chat", START, 31), "assistant", 7)
    assert lines_of(found(slow, asked("search", START, 31, seed=1))) == [("assistant", {"assistant": ["chat"]})]
    later = asked("assistant", SWITCH + 1.5 * DAY, 3.4, seed=2)
    assert lines_of(found(OLD, later, asked("search", START, 26, seed=1))) == [("assistant", {"assistant": ["chat"]})]


def test_a_name_split_in_two_and_two_names_made_one_are_told_with_all_of_them():
    halves = [asked(name, SWITCH, 3.4, a_day=a_day, seed=a_day) for name, a_day in (("pro", 40), ("assistant", 55))]
    told = found(OLD, *halves, REST)
    assert lines_of(told) == [("assistant and pro", {"assistant": ["pro", "chat"]})]
    assert "perhaps renamed: assistant and pro began then" in told["message"].iloc[0]
    both = asked("assistant", SWITCH, 3.4, a_day=150, seed=2)
    told = found(OLD, asked("bot", START, 20.58, a_day=60, seed=4), both, REST)
    assert lines_of(told) == [("assistant", {"assistant": ["bot", "chat"]})]


def test_a_small_feature_that_begins_while_another_is_about_to_end_is_no_new_name_of_it():
    old = asked("chat", START, 22)
    assert (
        found(old, asked("labels", SWITCH, 6, a_day=30, seed=2), asked("search", START, 27, seed=1)).attrs["renamed"]
        == []
    )
