"""Bursts of dear windows that a feature has had before are no news; larger, longer and more frequent ones are."""

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.bursts import without_known

START, HOUR, DAY = pd.Timestamp("2026-05-04", tz="UTC"), pd.Timedelta("1h"), pd.Timedelta("1D")
WEEKLY = tuple(range(2, 60, 7))


def told(times, days=60, fitted=14, seed=0, cut=None):
    """Days on which a chart of hourly costs tells news; `times` has by (first hour, hours) how many times as dear they are."""
    rng = np.random.default_rng(seed)
    cost = np.exp(rng.normal(0, 0.1, days * 24))
    for (first, hours), factor in times.items():
        cost[first : first + hours] *= factor * np.exp(rng.normal(0, 0.1, len(cost[first : first + hours])))
    at = pd.date_range(START, periods=len(cost), freq="1h")
    table = pd.DataFrame({"window_start": at, "window_end": at + HOUR, "value": cost, "n": 20.0, "sd": 0.45 * cost})
    chart = lm.ControlChart("positive", arl0=5000, season=24, lambdas=(0.15, 0.5, 1.0)).fit(table[: fitted * 24])
    result = chart.monitor(table[fitted * 24 : cut], at_once=True)
    before = chart.monitor(table[: fitted * 24], at_once=True)
    news = without_known(result, before, HOUR).alarms
    assert len(result.alarms)
    return [int((at - START) / DAY) for at in news.loc[news["direction"] == "up", "first_window"]]


def on(days, hours=3, factor=3.0):
    return {(day * 24 + 10, hours): factor for day in days}


@pytest.mark.parametrize("seed", range(3))
def test_bursts_of_every_week_from_the_beginning_are_no_news(seed):
    assert told(on(WEEKLY), seed=seed) == []


def test_a_burst_that_the_baseline_does_not_know_is_told_and_told_when_it_comes_back_and_then_it_is_a_habit():
    assert told(on([20, 30, 40, 50])) == [20, 30]
    assert told(on([16, 23, 30, 37, 44])) == [16, 23]  # also one of every week


def test_larger_longer_and_more_frequent_bursts_than_known_are_told():
    assert told(on(WEEKLY) | on([37], factor=24.0)) == [37]
    assert told(on(WEEKLY) | on([37], hours=9)) == [37]
    assert told(on(WEEKLY) | on([31, 32, 33]))[0] == 32


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_what_stays_dear_is_told_within_a_day_whatever_bursts_are_known(factor):
    days = told(on(WEEKLY) | {(33 * 24, 100_000): factor})
    assert days[0] in (33, 34)


def test_what_lasted_for_days_is_no_habit_however_often():
    days = told({(day * 24, 72): 1.6 for day in (18, 30, 42)})
    assert [day for day in days if day in (18, 30, 42)] == [18, 30, 42]


def test_at_every_moment_is_told_what_is_told_later_of_it():
    times = on([5, 20, 26]) | on([31], factor=9.0) | on([38, 45], hours=14) | {(52 * 24, 60): 1.7}
    whole = told(times)
    assert len(whole) >= 3
    for cut in np.random.default_rng(1).integers(21 * 24, 60 * 24, 20):
        then = told(times, cut=cut)
        assert then == whole[: len(then)]
        assert all(day >= cut // 24 for day in whole[len(then) :])
