"""Volume, spend and latency as they are charted: by the day, empty days counted, latency in windows that hold enough."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.alerts.charting import control_charts
from llm_monitoring.alerts.checking import check
from llm_monitoring.alerts.operation import NOBODY, operation_windows, watched
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.scopes import span_of
from tests.builders import START, make_requests, open_tables, times

DAY, HOUR = pd.Timedelta("1D"), pd.Timedelta("1h")
PLAN = {"infrastructure": {"metrics": ["request_count"]}, "quality": {"metrics": []}}


def made(requests, plan=None):
    plan = read_plan(plan)
    log = open_tables(requests=requests)
    return operation_windows(log, plan, span_of(log, plan))


def of(found, metric, feature="search"):
    table = found[0]
    return table[(table["metric"] == metric) & (table["feature_id"] == feature)]


def test_the_plan_says_what_is_charted():
    assert set(watched(Plan())) == {"request_count", "latency_p50_ms", "latency_p95_ms", "total_cost_usd"}
    assert watched(read_plan({"infrastructure": {"enabled": False}})) == ["total_cost_usd"]
    assert "total_cost_usd" not in watched(read_plan({"cost": {"enabled": False}}))
    nothing = made(make_requests(3), {"infrastructure": {"enabled": False}, "cost": {"enabled": False}})
    assert [len(part) for part in nothing] == [0, 0, 0, 0]


def test_a_day_without_a_request_counts_and_has_no_spend():
    at = [START + hour * pd.Timedelta("1h") for hour in (0, 1, 2, 49, 73)]  # 3, 0, 1 and the day that is not over
    found = made(make_requests(5, timestamp=at, cost_usd=[1.0, 2.0, 4.0, 8.0, 16.0]))
    count, spend = of(found, "request_count"), of(found, "total_cost_usd")
    assert count["value"].tolist() == [3, NOBODY, 1]
    assert spend["value"].iloc[[0, 2]].tolist() == [7, 8]
    assert np.isnan(spend["value"].iloc[1])
    assert (count["known_at"] == count["window_start"] + DAY).all()


def test_a_first_day_that_begins_at_noon_has_no_total():
    found = made(make_requests(60, start=START + pd.Timedelta("12h"), every="1h"))
    assert of(found, "request_count")["value"].fillna(-1).tolist() == [-1, 24]
    assert of(found, "total_cost_usd")["value"].notna().tolist() == [False, True]


def test_a_fall_of_two_days_is_a_holiday_and_of_three_an_alarm():
    rng = np.random.default_rng(5)
    counts = rng.poisson(200, 50)
    for low, fired in (([35], None), ([35, 36], None), ([35, 36, 37], 38), ([35, 36, 37, 38], 38)):
        n = counts.copy()
        n[low] = 60
        at = START + pd.to_timedelta(
            np.repeat(np.arange(50), n) * 86400.0 + np.concatenate([np.arange(k) for k in n]), unit="s"
        )
        log = open_tables(
            requests=make_requests(len(at), timestamp=at, cost_usd=None, latency_ms=None, drop=["user_input"])
        )
        alerts = check(log, PLAN)
        found = alerts[(alerts["metric"] == "request_count") & (alerts["rule"] == "chart")]
        assert found["fired_at"].tolist() == ([] if fired is None else [START + fired * DAY])
        drawn = control_charts(log, PLAN).drawn("search", "request_count")
        first = (
            drawn["window_end"][drawn["alarm"]].head(1).tolist()
        )  # a small chart marks what is an alert, nothing else
        assert first == found["fired_at"].tolist()


def test_a_rise_of_one_day_is_told_at_once():
    n = np.random.default_rng(6).poisson(200, 50)
    n[35] = 500
    at = START + pd.to_timedelta(
        np.repeat(np.arange(50), n) * 86400.0 + np.concatenate([np.arange(k) for k in n]), unit="s"
    )
    log = open_tables(
        requests=make_requests(len(at), timestamp=at, cost_usd=None, latency_ms=None, drop=["user_input"])
    )
    alerts = check(log, {"infrastructure": {"metrics": ["request_count"]}, "quality": {"metrics": []}})
    # all of a day's requests come soon after midnight: the 24 hours to 05:00 hold the rise
    assert alerts[alerts["rule"] == "chart"]["fired_at"].tolist() == [START + 35 * DAY + 5 * HOUR]


def test_twice_as_many_requests_are_told_within_a_day_whenever_they_begin():
    rng = np.random.default_rng(7)
    for hour in (3, 10, 14, 20):
        hours = np.arange(36 * 24)
        mean = np.where(hours % 24 < 7, 4.0, 25.0) * np.where(hours // 24 % 7 > 4, 0.6, 1.0)
        began = 30 * 24 + hour
        n = rng.poisson(mean * np.where(hours >= began, 2, 1))
        at = START + pd.to_timedelta(np.repeat(hours, n) * 3600 + np.concatenate([np.arange(k) for k in n]), unit="s")
        log = open_tables(
            requests=make_requests(len(at), timestamp=at, cost_usd=None, latency_ms=None, drop=["user_input"])
        )
        plan = PLAN | {"quality": {"metrics": [], "false_alarms_per_month": 0.02}}
        (fired,) = check(log, plan).query("rule == 'chart'").fired_at
        assert START + began * HOUR < fired <= START + (began + 24) * HOUR


def test_spend_is_told_between_midnights_where_more_requests_make_it_and_waits_where_they_do_not():
    rng = np.random.default_rng(7)
    hours = np.arange(36 * 24)
    began = 30 * 24 + 11
    plan = PLAN | {"quality": {"metrics": [], "false_alarms_per_month": 0.02}}
    told = {}
    for name, factor, price in (("volume", 2, 1.0), ("price", 1, 3.0)):
        n = rng.poisson(25 * np.where(hours >= began, factor, 1))
        at = START + pd.to_timedelta(np.repeat(hours, n) * 3600 + np.concatenate([np.arange(k) for k in n]), unit="s")
        cost = 0.01 * np.where(np.repeat(hours, n) >= began, price, 1.0)
        log = open_tables(requests=make_requests(len(at), timestamp=at, cost_usd=list(cost), latency_ms=None))
        alerts = check(log, plan).query("rule == 'chart' and metric == 'total_cost_usd'")
        told[name] = (alerts.fired_at.min() - START) / HOUR
    assert told["volume"] % 24 in (5, 11, 17)
    assert told["volume"] <= began + 24
    assert told["price"] % 24 == 0


def test_24_hours_between_midnights_are_told_as_the_day_that_they_are_in():
    """A week of 20 requests an hour, 10 on its weekend: Friday's 24 hours to Saturday 17:00 are a Saturday's."""
    hours = np.arange(21 * 24)
    n = np.where(hours // 24 % 7 > 4, 10, 20)  # START is a Monday
    found = made(
        make_requests(n.sum(), timestamp=START + pd.to_timedelta(np.repeat(hours, n), unit="h"), cost_usd=None)
    )
    table = found[1]
    assert table["window_start"].dt.hour.unique().tolist() == [5, 11, 17]
    day = (table["window_start"] + 7 * HOUR).dt.floor("D")
    assert np.allclose(table["value"], np.where(day.dt.day_name().isin(["Saturday", "Sunday"]), 240, 480))


def test_a_request_of_unknown_cost_adds_nothing_to_the_spend():
    found = made(make_requests(49, every="1h", cost_usd=[0.1, None]))
    assert of(found, "total_cost_usd")["value"].tolist() == pytest.approx([1.2, 1.2])  # twelve times 0.1


@pytest.mark.parametrize(("every", "width"), [("1min", "1h"), ("15min", "6h"), ("2h", "1d")])
def test_latency_is_charted_in_windows_that_hold_enough_requests(every, width):
    n = min(pd.Timedelta("15D") // pd.Timedelta(every), 21_600)
    _, _, scopes, there = made(make_requests(n, every=every), {"quality": {"requests_per_window": 20}})
    assert scopes.loc[("search", "latency_p50_ms"), "window"] == width
    assert scopes.loc[("search", "request_count"), "window"] == "1d"
    assert ("search", "latency_p50_ms") in there


def test_a_latency_is_the_quantile_of_the_known_ones_and_empty_windows_have_none():
    at = [*times(10, START), *times(10, START + 2 * DAY), START + 4 * DAY]
    latency = [100.0, 200, 300, 400, None, None, 500, None, None, None] + [50.0] * 11
    found = made(make_requests(21, timestamp=at, latency_ms=latency))
    middle = of(found, "latency_p50_ms")
    assert middle["value"].dropna().tolist() == [300, 50]
    assert middle["n"].tolist() == [5, 0, 10]
    assert middle["window"].unique().tolist() == ["1d"]


def test_a_feature_that_began_late_is_not_there_from_the_beginning():
    rows = pd.concat([
        make_requests(20 * 24, every="1h"),
        make_requests(8 * 24, start=START + 10 * DAY, every="1h", feature_id="new", request_id=[f"n{i}" for i in range(192)]),
    ], ignore_index=True)  # fmt: skip
    _, _, scopes, there = made(rows)
    assert {feature for feature, _ in there} == {"search"}
    assert scopes.loc[("new", "request_count"), "start"] == START + 10 * DAY
    assert scopes.loc[("new", "request_count"), "fit_end"] == START + 24 * DAY


def test_a_feature_without_traffic_on_some_days_of_the_week_has_nothing_to_be_held_against_there():
    at = pd.DatetimeIndex([START + hour * HOUR for hour in range(21 * 24)])
    at = at[at.day_of_week < 4]  # no request on three days in a row
    between = made(make_requests(len(at), timestamp=list(at), cost_usd=None))[1]
    whole_days_off = between["window_start"].dt.day_of_week.isin([4, 5])
    assert between.loc[whole_days_off & (between["window_start"].dt.hour == 11), "value"].isna().all()
    assert between["value"].notna().any()
    assert np.isfinite(between["value"].dropna()).all()


def test_volume_and_the_spend_that_it_makes_are_one_alert_of_spend():
    rng = np.random.default_rng(11)
    for hour in (3, 11, 19):
        hours = np.arange(36 * 24)
        began = 30 * 24 + hour
        n = rng.poisson(np.where(hours % 24 < 7, 5.0, 25.0) * np.where(hours >= began, 2, 1))
        at = START + pd.to_timedelta(np.repeat(hours, n) * 3600 + np.concatenate([np.arange(k) for k in n]), unit="s")
        cost = 0.01 * rng.lognormal(0, 1.5, len(at))  # spend scatters more than volume: its own chart is later
        log = open_tables(
            requests=make_requests(len(at), timestamp=at, cost_usd=list(cost), latency_ms=None, drop=["user_input"])
        )
        alerts = check(log, PLAN | {"quality": {"metrics": [], "false_alarms_per_month": 0.02}})
        assert alerts[["layer", "metric", "direction"]].to_numpy().tolist() == [["cost", "total_cost_usd", "up"]]
        assert "; also request volume up" in alerts["message"].iloc[0]
        assert START + began * HOUR < alerts["fired_at"].iloc[0] <= START + (began + 24) * HOUR


def test_volume_whose_spend_did_not_rise_is_an_alert_of_its_own():
    rng = np.random.default_rng(12)
    hours = np.arange(36 * 24)
    n = rng.poisson(np.where(hours >= 30 * 24, 50, 25))
    at = START + pd.to_timedelta(np.repeat(hours, n) * 3600 + np.concatenate([np.arange(k) for k in n]), unit="s")
    cost = 0.01 * rng.lognormal(0, 0.5, len(at)) * np.where(np.repeat(hours, n) >= 30 * 24, 0.5, 1)
    log = open_tables(
        requests=make_requests(len(at), timestamp=at, cost_usd=list(cost), latency_ms=None, drop=["user_input"])
    )
    alerts = check(log, PLAN | {"quality": {"metrics": [], "false_alarms_per_month": 0.02}})
    assert alerts.loc[alerts["direction"] == "up", "metric"].tolist() == ["request_count"]
