"""From when a chart learns, how wide its windows are, when it begins and what it may spend. Expected values by hand."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_monitoring.alerts.measurements import KEYS, tally
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.scopes import (
    baselines,
    begins,
    delays,
    delays_by_feature,
    first_values,
    fixed,
    founders,
    shares,
    usual_delay,
    widths,
)
from tests.builders import START, make_judgements, make_requests, open_tables

DAY, HOUR = pd.Timedelta("1D"), pd.Timedelta("1h")
CHART = pd.MultiIndex.from_tuples([("search", "mean_quality")], names=KEYS)


def scope(**more):
    return pd.DataFrame({"start": START, "fit_end": START + 14 * DAY, "enough": 20, **more}, CHART)


def hours(n, every, days=14, **more):
    at = pd.date_range(START, START + days * DAY, freq=every, inclusive="left")
    frame = pd.DataFrame({"feature_id": "search", "hour": at, "n": n, "total": 4.0}).assign(**more)
    return tally(frame, "mean_quality", "mean")


def test_a_baseline_is_two_weeks_from_the_day_of_the_first_value():
    told = baselines(pd.Series([START + 5 * DAY + 7 * HOUR]), Plan())
    assert told.iloc[0].tolist() == [START + 5 * DAY, START + 19 * DAY]


@pytest.mark.parametrize(
    ("plan", "first", "start", "end"),
    [
        ({"days": 5}, 0, 0, 5),
        ({"days": 5}, 9, 9, 14),
        ({"end": "2026-05-21T00:00:00Z"}, 0, 0, 10),
        ({"end": "2026-05-21T00:00:00Z"}, 12, 12, 26),  # what starts after that end has two weeks of its own
        ({"start": "2026-05-14T00:00:00Z"}, 0, 3, 17),
        ({"start": "2026-05-14T00:00:00Z"}, 6, 6, 20),
    ],
)
def test_the_plan_moves_a_baseline(plan, first, start, end):
    plan = read_plan({"baseline": plan})
    told = baselines(pd.Series([START + first * DAY]), plan).iloc[0]
    assert told.tolist() == [START + start * DAY, START + end * DAY]
    assert fixed(plan) is (plan.baseline.start is None)


@pytest.mark.parametrize(
    ("n", "every", "width"),
    [(20, "1h", "1h"), (19, "1h", "6h"), (10, "3h", "6h"), (3, "3h", "1d"), (1, "1D", "1d"), (20, "2h", "6h")],
)
def test_a_chart_has_the_shortest_window_that_is_full_more_often_than_not(n, every, width):
    assert widths(hours(n, every), scope()).tolist() == [width]


def test_what_was_not_known_by_the_end_of_the_baseline_does_not_choose_the_window():
    late = hours(20, "1h", known=START + 14 * DAY + HOUR)
    assert widths(late, scope()).tolist() == ["1d"]
    after = hours(20, "1h")
    after[["hour", "known"]] += 14 * DAY
    assert widths(after, scope()).tolist() == ["1d"]


def windows_of(days, known=None):
    start = [START + day * DAY for day in days]
    at = [one + DAY for one in start] if known is None else known
    return pd.DataFrame(
        {"feature_id": "search", "metric": "mean_quality", "window_start": start, "known_at": at, "value": 4.0}
    )


@pytest.mark.parametrize(
    ("days", "begin"),
    [
        (range(7), 14),
        (range(6), None),  # six windows, and no more come
        ([*range(6), 16], 21),  # the seventh comes in the third week
        ([*range(5), 22, 23], 28),
        ([*range(5), 28, 29], None),
    ],
)
def test_a_chart_begins_once_it_has_seven_windows_after_two_three_or_four_weeks(days, begin):
    told = begins(windows_of(days), scope(), Plan())
    assert told.iloc[0] == START + begin * DAY if begin else pd.isna(told.iloc[0])


def test_a_window_that_was_known_too_late_does_not_count_and_an_empty_one_never():
    table = windows_of(range(7), [START + 15 * DAY] * 7)
    assert begins(table, scope(), Plan()).iloc[0] == START + 21 * DAY
    assert pd.isna(begins(table.assign(value=float("nan")), scope(), Plan()).iloc[0])


def test_charts_of_the_beginning_share_the_budget_without_its_reserve_and_one_beside_a_limit_needs_half():
    day = START + 14 * DAY
    told = shares({("a", "mean_quality"): (day, True), ("a", "request_count"): (day, True)}, Plan())
    budget, reserve = Plan().quality.false_alarms_per_month, Plan().quality.reserve
    assert told["a", "mean_quality"] == pytest.approx(2 / 3 * budget * (1 - reserve))
    assert told["a", "request_count"] == pytest.approx(1 / 3 * budget * (1 - reserve))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(14, 60), st.booleans()), max_size=30))
def test_however_many_charts_begin_the_budget_is_not_exceeded_and_no_later_one_changes_a_share(begun):
    charts = {(i,): (START + day * DAY, founder) for i, (day, founder) in enumerate(begun)}
    told = shares(charts, Plan())
    assert set(told) == set(charts)
    assert all(one > 0 for one in told.values())
    assert sum(told.values()) <= Plan().quality.false_alarms_per_month * (1 + 1e-9)
    early = {key: one for key, one in charts.items() if one[1] or one[0] <= START + 30 * DAY}
    for key, share in shares(early, Plan()).items():
        assert told[key] == pytest.approx(share)


@pytest.mark.parametrize(
    ("days", "plan", "there"), [(7, {}, True), (6, {}, False), (3, {"days": 5}, True), (2, {"days": 5}, False)]
)
def test_a_chart_is_there_from_the_beginning_with_values_on_enough_days(days, plan, there):
    found = founders(hours(1, "1D", days), read_plan({"baseline": plan}), START + 14 * DAY)
    assert found == ({("search", "mean_quality")} if there else set())


def test_many_values_of_one_day_are_one_day():
    assert founders(hours(5, "1h", 1), Plan(), START + 14 * DAY) == set()


def test_a_signal_counts_from_the_day_its_kind_was_first_logged_and_other_metrics_from_their_first_value():
    def marks(feature, metric, day, total):
        at = START + day * DAY + 5 * HOUR
        return tally(pd.DataFrame({"feature_id": [feature], "hour": at, "n": 0, "total": total}), metric, "proportion")

    frame = pd.DataFrame({"feature_id": ["a", "b"], "hour": [START, START + 9 * DAY], "n": 1, "total": 0.0})
    rows = pd.concat([
        tally(frame, "thumbs_down_rate", "proportion"), tally(frame, "mean_quality", "mean"),
        marks("b", "thumbs_down_rate", 4, 1.0),
    ])  # fmt: skip
    told = first_values(rows, {"thumbs_down_rate": "signals", "mean_quality": "judgements"})
    assert told["a", "thumbs_down_rate"] == START + 4 * DAY
    assert told["b", "thumbs_down_rate"] == START + 9 * DAY  # it was not there before
    assert told["a", "mean_quality"] == START


def delayed(*minutes):
    n = len(minutes)
    at = [START + i * HOUR + pd.Timedelta(minutes=late) for i, late in enumerate(minutes)]
    return open_tables(requests=make_requests(n, every="1h"), judgements=make_judgements(n, judged_at=at))


@pytest.mark.parametrize(("share", "minutes"), [(0.5, 5), (0.75, 10), (0.76, 60), (1.0, 60)])
def test_the_usual_delay_is_that_which_the_share_kept_within_in_steps_of_five_minutes(share, minutes):
    found = delays_by_feature(delayed(1, 5, 6, 60), "judgements")
    told = usual_delay(found["search"], START, START + 14 * DAY, share)
    assert told == pd.Timedelta(minutes=minutes)


def test_a_judgement_from_before_its_question_has_no_delay_and_other_features_have_none_either():
    log = delayed(-30, -10)
    found = delays(log, "judgements")
    assert found["steps"].tolist() == [0] * len(found)
    assert set(delays_by_feature(log, "judgements")) == {"search"}
    assert not delays_by_feature(log, "signals")
    assert usual_delay(None, START, START + 14 * DAY, 0.9) == pd.Timedelta(0)


def test_only_days_that_are_over_by_the_end_of_the_baseline_are_usual():
    found = delays_by_feature(delayed(60), "judgements")["search"]
    assert usual_delay(found, START, START + DAY, 0.9) == HOUR
    assert usual_delay(found, START, START + DAY - HOUR, 0.9) == pd.Timedelta(0)
    assert delays(open_tables(requests=make_requests(2)), "judgements").empty
