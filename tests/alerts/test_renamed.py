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
