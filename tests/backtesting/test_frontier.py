import itertools

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.backtesting.drawing import falls, typical_rows
from llm_monitoring.backtesting.frontier import _features, at_rate
from llm_monitoring.backtesting.replay import Replay


@pytest.fixture(scope="module")
def search(tables):
    replay = Replay.of(lm.open_log(tables), Plan())
    return replay, next(each for each in _features(replay, []) if each.feature == "search")


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 1.0])
def test_another_rate_judges_that_share_of_the_requests(search, rate):
    replay, judged = search
    rows = at_rate(judged, rate, replay, seed=0)
    assert len(rows) / judged.traffic.sum() == pytest.approx(rate, rel=0.06)


def test_a_higher_rate_holds_what_a_lower_one_judges(search):
    replay, judged = search
    held = [set(at_rate(judged, rate, replay, seed=0)["request_id"]) for rate in (0.05, 0.1, judged.rate, 0.5, 0.9)]
    assert all(small <= large for small, large in itertools.pairwise(held))


def test_answers_that_nobody_judged_are_like_those_of_the_feature(search):
    replay, judged = search
    rows = at_rate(judged, 0.9, replay, seed=0)
    drawn = rows[~rows["request_id"].isin(judged.rows["request_id"])]
    assert drawn["score"].mean() == pytest.approx(judged.rows["score"].mean(), abs=0.06)
    assert drawn["score"].std() == pytest.approx(judged.rows["score"].std(), abs=0.06)
    by_day = drawn.groupby(drawn["hour"].dt.floor("D"))["score"].mean()
    assert by_day.std() < 2 * drawn["score"].std() / np.sqrt(len(drawn) / len(by_day))  # no day effect in this log


def test_more_judged_answers_see_more_at_a_higher_price(found):
    table = found.frontier[(found.frontier["feature_id"] == "search") & (found.frontier["size"] == -0.3)]
    assert table["rate"].tolist() == [0.1, 0.25, 0.8]
    assert table["found_rate"].is_monotonic_increasing
    assert table["smallest_seen"].iloc[1] < table["smallest_seen"].iloc[0]  # both in windows of a day
    assert table["median_delay_hours"].iloc[2] < table["median_delay_hours"].iloc[1]
    assert (np.diff(table["judge_cost_usd_per_month"]) > 0).all()
    assert table["current"].tolist() == [False, True, False]


def test_the_cost_is_that_of_the_log_s_own_judgements(found):
    row = found.frontier[(found.frontier["feature_id"] == "search") & found.frontier["current"]].iloc[0]
    assert row["judge_cost_usd_per_month"] == pytest.approx(0.002 * 0.25 * 240 * 30, rel=0.05)


def test_the_sampling_plan_says_the_smallest_fall_of_each_feature(found):
    table = found.sampling.to_frame()
    assert set(table["feature_id"]) == {"search", "other"}
    assert table[table["current"]]["rate"].tolist() == pytest.approx([0.25, 0.25], abs=0.02)
    for _, own in table.groupby("feature_id"):
        assert own["drop_chart"].is_monotonic_decreasing
    assert found.sampling.headline.startswith("At today's rate a chart with a long baseline sees a fall of")


def test_the_figure_of_rates_shows_falls_of_which_something_is_seen_and_features_that_were_tried():
    def frontier(*found):
        rows = [(name, -size, rate) for name in ("a", "b") for size in (0.1, 0.2, 0.5) for rate in (0.05, 1.0)]
        table = pd.DataFrame(rows, columns=["feature_id", "size", "rate"])
        table = table.assign(false_alarms_per_month=1.0, n=20, current=table["rate"] == 0.05, found_rate=0.0)
        for size, rate, value in found:
            table.loc[(table["size"] == -size) & (table["rate"] == rate), "found_rate"] = value
        table.loc[table["feature_id"] == "b", "n"] = 0
        return table

    assert falls(typical_rows(frontier((0.2, 1.0, 0.9), (0.5, 1.0, 1.0)))) == "falls of 0.2"
    assert falls(typical_rows(frontier((0.2, 1.0, 0.1), (0.5, 1.0, 1.0)))) == "falls of 0.5"
    assert falls(typical_rows(frontier())) == "falls of 0.5"
    assert set(typical_rows(frontier())["feature_id"]) == {"a"}
    assert typical_rows(frontier().assign(n=0)).empty


def test_faults_of_other_things_say_nothing_of_sampling_rates(tables):
    cost = [lm.Injection("cost", 2)]
    found = lm.backtest(tables, inject=cost)
    assert found.frontier.empty
    assert found.headline.startswith("Cost")
    assert len(lm.backtest(tables, inject=cost, grid={"rate": [0.2]}).frontier)
