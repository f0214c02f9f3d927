"""Fixed limits: intervals, not points; several windows in a row; hysteresis; nothing on quiet logs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import llm_monitoring as lm
from llm_monitoring.alerts.grouping import alerts_table
from llm_monitoring.alerts.infrastructure import Stage, decided, falls, infrastructure_events, stretches
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.scopes import span_of
from llm_monitoring.results import iso
from tests.builders import START, make_requests

HOUR, DAY = pd.Timedelta("1h"), pd.Timedelta("1D")


def events(requests: pd.DataFrame, days: int = 2, **plan):
    log = lm.open_log({"requests": requests})
    plan = read_plan({"infrastructure": plan, "baseline": {"days": days}})
    return infrastructure_events(log, plan, span_of(log, plan))


def traffic(days=3, every="30s", **columns) -> pd.DataFrame:
    """A request every thirty seconds: ten in five minutes, 120 an hour."""
    return make_requests(int(pd.Timedelta(f"{days}D") / pd.Timedelta(every)), every=every, **columns)


def test_one_error_of_two_requests_never_fires():
    assert events(make_requests(2, error=["timeout", None]), min_requests=2) == []


def test_an_outage_is_one_event_that_fires_at_the_end_of_its_second_window():
    requests = traffic()
    began = START + 60 * HOUR
    requests["error"] = np.where(
        (requests["timestamp"] >= began) & (requests["timestamp"] < began + 6 * HOUR), "timeout", None
    )
    (event,) = events(requests)
    assert (event.metric, event.direction, event.feature_id) == ("error_rate", "up", "search")
    assert event.fired_at == began + 2 * HOUR
    assert event.ended == began + 6 * HOUR
    assert event.n == 240
    assert event.value == 1.0


def test_a_fast_feature_is_watched_in_the_plans_window():
    requests = traffic(every="10s")
    began = START + 60 * HOUR
    requests["error"] = np.where(requests["timestamp"] >= began, "timeout", None)
    (event,) = events(requests)
    assert event.fired_at == began + pd.Timedelta("10min")


def test_p95_fires_where_significantly_more_than_five_percent_are_over_the_limit():
    requests = traffic(latency_ms=[*[800.0] * 9, 1000.0])
    began = START + 60 * HOUR
    requests.loc[(requests["timestamp"] >= began) & (requests.index % 5 == 0), "latency_ms"] = 5000.0
    p95 = next(event for event in events(requests) if event.metric == "latency_p95_ms")
    assert p95.limit == 2000.0
    assert p95.value == 5000.0
    assert p95.fired_at == began + 2 * HOUR


def test_the_plans_own_latency_limit_counts():
    found = events(traffic(latency_ms=800.0), latency_p95_ms=500)
    assert [event.metric for event in found] == ["latency_p95_ms"]


def test_unknown_latency_says_nothing():
    assert events(traffic(latency_ms=None)) == []


def test_a_stop_of_traffic_fires_and_a_night_does_not():
    requests = traffic(days=6, every="20s")
    night = requests["timestamp"].dt.hour < 6
    stopped = (requests["timestamp"] >= START + 132 * HOUR) & (requests["timestamp"] < START + 136 * HOUR)
    (event,) = events(requests[~night & ~stopped])
    assert (event.metric, event.direction) == ("request_count", "down")
    assert event.value == 0
    assert event.began == START + 132 * HOUR


def test_a_surge_of_traffic_fires():
    requests = traffic(days=6, every="20s")
    surge = make_requests(40_000, start=START + 130 * HOUR, every="300ms")
    surge["request_id"] = "s" + surge["request_id"]
    (event,) = events(pd.concat([requests, surge]))
    assert (event.metric, event.direction) == ("request_count", "up")


def test_a_quiet_log_stays_quiet():
    rng = np.random.default_rng(1)
    requests = traffic(days=14, every="20s")
    requests["latency_ms"] = rng.lognormal(7, 0.6, len(requests))
    requests["error"] = np.where(rng.random(len(requests)) < 0.02, "timeout", None)
    assert events(requests) == []


def test_the_stated_rate_is_the_chance_of_so_many_windows_in_a_row_at_the_limit():
    # 5-minute windows, level .99: .005 per window, two in a row, or both together as rarely; 8,640 windows in 30 days
    requests = traffic(every="10s", error=None)
    requests["error"] = np.where(requests["timestamp"] >= START + 60 * HOUR, "timeout", None)
    assert np.isclose(events(requests)[0].designed_false_alarms_per_month, 2 * 0.005**2 * 8640)


def test_a_window_at_the_limit_is_over_it_no_more_often_than_stated():
    k, n = np.arange(21), 20
    over = stats.binom.sf(k - 1, n, 0.05) < 0.005
    assert stats.binom.pmf(k[over], n, 0.05).sum() < 0.005


def test_an_alert_clears_only_after_as_many_clear_windows():
    over = np.array([1, 1, 0, 1, 0, 0, 1, 1], bool)
    assert stretches(over, ~over, np.ones(8, bool), 2) == [(0, 1, 3), (6, 7, 7)]


def test_windows_that_cannot_be_judged_neither_fire_nor_clear():
    over = np.array([1, 0, 1, 0], bool)
    assert stretches(over, ~over, np.array([1, 0, 1, 0], bool), 2) == [(0, 2, 2)]


def test_windows_with_too_few_requests_are_judged_together():
    """Four requests an hour at night: after fifteen lots of windows, that is forty requests, two lots of twenty have failed."""
    requests = traffic(days=6, every="60s")
    night = requests["timestamp"].dt.hour < 8
    requests = requests[~night | (requests["timestamp"].dt.minute % 15 == 0)].reset_index(drop=True)
    began = START + 96 * HOUR  # midnight; the hours of the day hold sixty, those of the night four
    requests["error"] = np.where(requests["timestamp"] >= began, "timeout", None)
    failed = next(event for event in events(requests) if event.metric == "error_rate")
    asked = requests[(requests["timestamp"] >= began) & (requests["timestamp"] < failed.fired_at)]
    assert failed.fired_at < began + 11 * HOUR
    assert len(asked) <= 3 * 60
    assert failed.value == 1.0
    assert failed.began >= began - HOUR


def test_at_night_an_outage_is_told_after_three_windows_worth_of_requests():
    requests = traffic(days=6, every="60s")
    night = requests["timestamp"].dt.hour < 8
    requests = requests[~night | (requests["timestamp"].dt.minute % 5 == 0)].reset_index(drop=True)  # twelve an hour
    began = START + 96 * HOUR
    requests["error"] = np.where(requests["timestamp"] >= began, "timeout", None)
    failed = next(event for event in events(requests) if event.metric == "error_rate")
    asked = requests[(requests["timestamp"] >= began) & (requests["timestamp"] < failed.fired_at)]
    assert (failed.fired_at, len(asked), failed.window_start) == (began + 4 * HOUR, 48, began + 2 * HOUR)


def test_a_stop_at_night_is_told_once_two_lots_that_would_hold_enough_are_empty():
    requests = traffic(days=20, every="60s")
    night = requests["timestamp"].dt.hour < 10
    requests = requests[~night | (requests["timestamp"].dt.minute % 5 == 0)]
    began = START + 17 * 24 * HOUR
    stopped = (requests["timestamp"] >= began) & (requests["timestamp"] < began + 9 * HOUR)
    (event,) = events(requests[~stopped], days=14)
    assert (event.metric, event.direction, event.value) == ("request_count", "down", 0)
    assert event.began == began
    # the hours were seen twice; of 24 requests none is no fall below a fifth at .005, of 36 it is
    chance = [stats.binom.cdf(0, 2 * usual, 0.2 / (2 + 0.2)) for usual in (24, 36)]
    assert chance[1] < 0.005 < chance[0]
    assert (event.window_start, event.fired_at, event.ended) == (began + 3 * HOUR, began + 6 * HOUR, began + 9 * HOUR)


def test_traffic_that_stops_in_the_morning_is_told_by_the_hour_also_where_windows_are_wider():
    """300 requests a day, few at night and at weekends: windows are of six hours, a fall is counted by the hour."""
    rng = np.random.default_rng(0)
    hours = pd.date_range(START, periods=24 * 35, freq="1h")
    rate = np.where((hours.hour >= 8) & (hours.hour < 20), 20.0, 5.0) * np.where(hours.day_of_week >= 5, 0.6, 1.0)
    stopped = START + 21 * DAY + 9 * HOUR
    n = rng.poisson(np.where(hours >= stopped, 0.0, rate))
    n[-1] = 1  # the log goes on
    at = START + pd.to_timedelta(np.repeat(np.arange(len(n)), n) * 3600 + rng.uniform(0, 3600, n.sum()), unit="s")
    log = make_requests(n.sum(), timestamp=np.sort(at))
    first = min((one for one in events(log, days=14) if one.metric == "request_count"), key=lambda one: one.fired_at)
    assert first.fired_at - stopped <= 5 * HOUR  # three hours hold 60; in windows of six hours 15 had to pass
    assert "in windows of 1h" in first.words


def of_counts(requests, errors):
    """Which hours are beyond the limit of errors, and which are together with the one before."""
    table = pd.DataFrame({"window_start": pd.date_range(START, periods=len(requests), freq="1h"), "requests": requests})
    table = table.assign(known=requests, errors=errors, timed=0)
    return next(iter(decided(table, Plan(), Stage(START, table["window_start"].iloc[-1], "1h", START), {})))


def test_two_windows_that_are_most_likely_over_fire_where_both_together_surely_are():
    """19 of 81 is surely above 5 %, 10 of 79 nearly: one of each is an outage of a fifth of the requests, seen twice."""
    found = of_counts([65, 81, 79, 60, 60], [3, 19, 9, 4, 30])
    assert found.over.tolist() == [False, True, False, False, True]
    assert found.together.tolist() == [False, False, True, False, False]
    told = stretches(found.over, found.clear, found.seen, 2, found.together)
    assert [each[:2] for each in told] == [(1, 2)]
    for end in range(1, 6):  # what is seen first is seen by then
        cut = [stretches(*(each[:end] for each in (found.over, found.clear, found.seen)), 2, found.together[:end])]
        assert [each[:2] for each in cut[0]] == ([(1, 2)] if end >= 3 else [])


def test_windows_at_the_limit_are_together_over_it_no_more_often_than_both_alone():
    rng, windows = np.random.default_rng(0), 1_000_000
    found = of_counts(np.full(windows, 60), rng.binomial(60, 0.05, windows))
    assert found.together.mean() <= 0.005**2 + 3 * 0.005 / np.sqrt(windows)
    assert found.over.mean() < 0.005


def test_volume_at_the_limit_is_below_it_no_more_often_than_stated():
    """Six hundred weeks of one hour, two of them learnt from, of which the rest has a fifth of the traffic."""
    rng, below = np.random.default_rng(0), []
    for _ in range(40):
        hours = 24 * 7 * 60
        count = rng.poisson(np.where(np.arange(hours) < 336, 40.0, 8.0))
        table = pd.DataFrame({"window_start": pd.date_range(START, periods=hours, freq="1h"), "requests": count})
        table = table.assign(known=count, errors=0, timed=0)
        stage = Stage(START + 14 * DAY, None, "1h", START)
        found = list(falls(table, Plan(), stage, {}))
        below.append((found[0].over[336:].mean(), found[0].together[336:].mean()))
    alone, jointly = np.mean(below, axis=0)
    assert alone <= 0.005
    assert jointly <= 0.005**2 * 3  # the hours of the baseline are shared by the windows


def test_what_a_night_holds_is_no_fall():
    rng = np.random.default_rng(3)
    hours = pd.date_range(START, periods=24 * 60, freq="1h")
    n = rng.poisson(np.where(hours.hour < 8, 4.0, 40.0))
    seconds = np.repeat((hours - START).total_seconds().to_numpy(), n) + rng.uniform(0, 3600, n.sum())
    log = make_requests(n.sum(), timestamp=START + pd.to_timedelta(np.sort(seconds), unit="s"))
    log["error"] = np.where(rng.random(len(log)) < 0.02, "timeout", None)
    assert events(log, days=14) == []


@pytest.mark.parametrize("a_day", [1, 2, 5, 12, 40])
def test_a_few_requests_a_day_are_no_fall_until_they_stop(a_day):
    """Most hours of the week had none in the baseline: those that had one are not what is usual."""
    rng, days, stopped = np.random.default_rng(a_day), 90, START + 75 * DAY
    for _ in range(3):
        at = START + pd.to_timedelta(np.sort(rng.uniform(0, days * 24, rng.poisson(days * a_day))), unit="h")
        assert [
            one for one in events(make_requests(len(at), timestamp=at), days=14) if one.metric == "request_count"
        ] == []
        still = at[(at < stopped) | (np.arange(len(at)) == len(at) - 1)]  # the log goes on
        told = [
            one for one in events(make_requests(len(still), timestamp=still), days=14) if one.metric == "request_count"
        ]
        if a_day >= 12:  # at most three lots of 27 or 28 usual requests: it stops inside the first
            assert len(told) == 1
            assert stopped < told[0].fired_at <= stopped + 84 / a_day * DAY + 2 * DAY


@pytest.mark.parametrize(("calm", "over"), [(0, None), (1, None), (2, 20)])
def test_an_alert_is_over_once_its_windows_are_clear_not_where_they_are_not_surely_above_the_limit(calm, over):
    """One error in ten after the burst: of thirty requests not surely more than 5 %, but not below 4 % either."""
    requests = traffic(every="10s")
    began, left = START + 60 * HOUR, START + 61 * HOUR
    at = requests["timestamp"]
    failing = ((at >= began) & (at < began + pd.Timedelta("20min"))) | (
        (at >= began) & (at < left) & (at.index % 10 == 0)
    )
    requests["error"] = np.where(failing, "timeout", None)
    requests = requests[at < left + calm * pd.Timedelta("5min") + pd.Timedelta("1s")]
    (event,) = events(requests)
    assert event.ended == began + pd.Timedelta("20min")
    assert event.over == (None if over is None else began + pd.Timedelta(minutes=over))
    table = alerts_table([event], read_plan(None), at.max())
    assert table.attrs["ended"][table["alert_id"].iloc[0]] == (None if over is None else iso(event.over))
