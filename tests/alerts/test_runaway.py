"""A few requests that cost many times what the dearest did: told within a day, and not by chance, by bursts that are usual, or by dear days."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.runaway import AROUND, _of_chart, alarms_a_day

START, HOUR, DAY = pd.Timestamp("2026-05-04", tz="UTC"), pd.Timedelta("1h"), pd.Timedelta("1D")
SINCE = START + 32 * DAY + 10 * HOUR


def requests(seed=0, days=35, a_day=480, cost="cost_usd", dear=0.015, since=SINCE, times=150.0):
    """A quiet feature of which from a moment on so large a share costs so many times as much."""
    rng = np.random.default_rng(seed)
    at = START + pd.to_timedelta(np.sort(rng.uniform(0, days * 24, days * a_day)), unit="h")
    amount = 0.002 * np.exp(rng.normal(0, 0.4, len(at)))
    amount[np.asarray(at >= since) & (rng.random(len(at)) < dear)] *= times
    table = {
        "request_id": [f"r{i}" for i in range(len(at))],
        "timestamp": at,
        "feature_id": "search",
        "model_id": "m-1",
    }
    amounts = {"cost_usd": amount} if cost == "cost_usd" else {cost: np.ceil(amount * 1e5), "cost_usd": np.nan}
    return pd.DataFrame(table | amounts)


def hours_of(rng, days, cost, a_day=480):
    """What the test sees of a feature: per hour the number, sum, sum of logarithms and dearest of its requests."""
    place = np.sort(rng.integers(0, days * 24, days * a_day))
    amount = cost(rng, place)
    most, size = np.zeros(days * 24), days * 24
    np.maximum.at(most, place, amount)
    sums = {
        "plain": np.bincount(place, amount, size),
        "n": np.bincount(place, minlength=size).astype(float),
        "total": np.bincount(place, np.log(amount), size),
    }
    return pd.DataFrame(sums | {"most": most}, index=pd.date_range(START, periods=size, freq="1h"))


def events(hours, share=0.02):
    stages = [(None, START + 14 * DAY, START + 28 * DAY), (None, START + 28 * DAY, None)]
    run = SimpleNamespace(
        key=("search", "avg_cost_per_request_usd"), begin=stages[0][1], fit_end=stages[0][1], stages=stages
    )
    return _of_chart(hours, run, share)


def test_runaway_requests_are_told_within_a_day_and_what_is_paid_is_said():
    for seed in range(2):
        told = lm.check({"requests": requests(seed)})
        told = told[told["metric"] == "avg_cost_per_request_usd"]
        assert len(told) == 1
        assert pd.Timedelta(0) < told["fired_at"].iloc[0] - SINCE <= DAY
        assert told["value"].iloc[0] > 1.3 * told["expected"].iloc[0]
        assert "of the bill" in told["message"].iloc[0]


def test_where_no_price_is_known_tokens_tell_them():
    told = lm.check({"requests": requests(cost="output_tokens")})
    assert (told.set_index("metric").at["avg_output_tokens", "fired_at"] - SINCE) <= DAY


def test_at_every_moment_the_log_says_what_it_said_later_of_that_moment():
    log = lm.open_log({"requests": requests(1)})
    told = lm.check(log)
    at = told["fired_at"].iloc[0]
    names = ["alert_id", "metric", "fired_at", "window_start", "value", "expected", "low", "high"]
    for moment in (at - pd.Timedelta("1s"), at, at + 5 * HOUR, at + 30 * HOUR):
        then = lm.check(log, until=moment)
        pd.testing.assert_frame_equal(pd.DataFrame(then[names]), pd.DataFrame(told[told["fired_at"] <= moment][names]))


def test_a_plan_without_charts_of_cost_has_no_test_of_it():
    for plan in ({"cost": {"enabled": False}}, {"cost": {"metrics": []}}, {"cost": {"metrics": ["total_cost_usd"]}}):
        told = lm.check({"requests": requests()}, plan)
        assert "avg_cost_per_request_usd" not in set(told["metric"])


@pytest.mark.parametrize("together", [2, 3, 6])
def test_the_stated_rate_is_that_of_requests_which_come_by_chance(together):
    """Rates drawn from what three such hours in 28 days leave open; hours with one that have enough of them in the 24 before."""
    rng, days, told = np.random.default_rng(0), 400, 0.0
    for rate in rng.gamma(4, 1 / 28, 2000):
        at = np.sort(rng.uniform(0, days, rng.poisson(rate * days)))
        told += (at[together - 1 :] - at[: len(at) - together + 1] < 1).sum() / days
    assert told / 2000 == pytest.approx(float(alarms_a_day(3, 28, together)), rel=0.25, abs=2e-5)


@pytest.mark.parametrize("sd", [0.4, 1.6, 2.5])
def test_of_requests_that_are_alike_the_test_tells_no_more_than_stated(sd):
    """However heavy the tail: 40 logs of 76 days after the baseline, a share of .05 a month each: 5 stated."""
    found = [events(hours_of(np.random.default_rng(seed), 90, lambda rng, at: np.exp(rng.normal(0, sd, len(at)))), 0.05)
             for seed in range(40)]  # fmt: skip
    assert sum(map(len, found)) <= 10  # more than 10 of 5 expected once in 70 such tests


def test_days_on_which_everything_is_dearer_are_not_runaway_requests():
    def cost(rng, at):
        return np.exp(rng.normal(0, 0.8, len(at)) + rng.normal(0, 0.3, at.max() // 24 + 1)[at // 24])

    assert sum(len(events(hours_of(np.random.default_rng(seed), 90, cost), 0.05)) for seed in range(20)) <= 6


def test_a_weekly_job_of_dear_requests_is_usual_once_the_baseline_has_met_it():
    def cost(rng, at):
        amount = np.exp(rng.normal(0, 0.4, len(at)))
        weekly = (at // 24 % 7 == 2) & (at % 24 >= 9) & (at % 24 < 18) & (rng.random(len(at)) < 0.2)
        return np.where(weekly, 60 * amount, amount)

    assert all(not events(hours_of(np.random.default_rng(seed), 70, cost)) for seed in range(5))


def test_a_burst_that_comes_again_and_again_is_news_once_or_twice_and_learnt_where_a_week_was_quiet():
    """Twelve dear requests in three hours, every ten days from the 30th on: 9 bursts."""

    def cost(rng, at):
        amount = np.exp(rng.normal(0, 0.4, len(at)))
        for day in range(30, 120, 10):
            inside = np.flatnonzero((at >= day * 24 + 9) & (at < day * 24 + 12))
            amount[rng.choice(inside, 12, replace=False)] *= 50
        return amount

    for seed in range(3):
        found = events(hours_of(np.random.default_rng(seed), 120, cost))
        assert [(one.fired_at - START) // DAY for one in found] == [30]


def test_runaway_requests_that_come_back_are_told_again_although_they_stayed_for_days_the_first_time():
    def cost(rng, at):
        amount = np.exp(rng.normal(0, 0.4, len(at)))
        day = at // 24
        hit = (((day >= 30) & (day < 34)) | ((day >= 50) & (day < 54))) & (rng.random(len(at)) < 0.015)
        return np.where(hit, 150 * amount, amount)

    for seed in range(3):
        found = [(one.fired_at - START) // DAY for one in events(hours_of(np.random.default_rng(seed), 70, cost))]
        assert found[0] in (30, 31)
        assert any(day in (50, 51) for day in found)


def test_at_every_moment_bursts_and_what_lasts_are_told_as_they_are_later():
    """Also where the test has learnt in between: the hours that are not there yet decide nothing."""

    def cost(rng, at):
        amount = np.exp(rng.normal(0, 0.4, len(at)))
        for day in (19, 23, 40, 44, 62):
            amount[rng.choice(np.flatnonzero((at >= day * 24) & (at < day * 24 + 3)), 5, replace=False)] *= 60
        return np.where((at // 24 >= 70) & (at // 24 < 75) & (rng.random(len(at)) < 0.015), 150 * amount, amount)

    hours = hours_of(np.random.default_rng(1), 90, cost)
    whole = [(one.fired_at, one.began, one.value, one.expected) for one in events(hours)]
    assert len(whole) >= 3
    for cut in [*np.random.default_rng(2).integers(14 * 24, 90 * 24, 40), 28 * 24, 28 * 24 + 1]:
        then = [(one.fired_at, one.began, one.value, one.expected) for one in events(hours[:cut])]
        assert then == [one for one in whole if one[0] <= START + int(cut) * HOUR]


def test_one_dear_request_is_none():
    hours = hours_of(np.random.default_rng(0), 40, lambda rng, at: np.exp(rng.normal(0, 0.4, len(at))))
    hours.iloc[33 * AROUND, hours.columns.get_indexer(["most", "plain"])] = 5000.0
    assert events(hours) == []
    hours.iloc[33 * AROUND + 5, hours.columns.get_indexer(["most", "plain"])] = 5000.0
    (one,) = events(hours)
    assert one.began == START + 33 * DAY
    assert one.fired_at == START + 33 * DAY + 6 * HOUR
