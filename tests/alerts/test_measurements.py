"""Baseline, windows by traffic, sums into windows. Expected values by hand."""

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts import measurements
from llm_monitoring.alerts.charting import control_charts
from llm_monitoring.alerts.lots import own_hours, pools
from llm_monitoring.alerts.measurements import all_features, hourly, tally, to_windows
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.scopes import span_of
from llm_monitoring.measures import measure
from tests.builders import START, make_judgements, make_requests

DAY = pd.Timedelta("1D")


@pytest.fixture(autouse=True)
def _each_window_for_itself(monkeypatch):
    """Sums are checked on two or three answers a window; the test on windows that stand together says so."""
    monkeypatch.setattr(measurements, "FEWEST", 1)


def log_of_days(days: int) -> lm.Log:
    return lm.open_log({"requests": make_requests(days * 24, every="1h")})


@pytest.mark.parametrize("days", [10, 21, 42, 90])
def test_the_first_charts_begin_after_two_weeks_however_long_the_log_is(days):
    span = span_of(log_of_days(days), Plan())
    assert (span.split - span.start) == 14 * DAY


def test_the_plan_names_another_baseline():
    log = log_of_days(28)
    assert span_of(log, read_plan({"baseline": {"days": 7}})).split == START + 7 * DAY
    assert span_of(log, read_plan({"baseline": {"end": "2026-05-20T00:00:00Z"}})).split == START + 9 * DAY


def test_a_log_without_requests_has_no_span():
    assert span_of(lm.open_log({"requests": make_requests(0)}), Plan()) is None


def scope(settle: str = "0h", fit_end=START + 14 * DAY) -> pd.DataFrame:
    return pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "start": START, "fit_end": fit_end,
                         "settle": pd.Timedelta(settle)}, index=[0])  # fmt: skip


def seen(tallies: pd.DataFrame, window: str, end=START + DAY, wait: str = "0h", **settled) -> pd.DataFrame:
    return to_windows(tallies, window, scope(**settled), end, pd.Timedelta(wait))


def hours(n, total, squares=None, kind="mean", **more) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"feature_id": "search", "hour": pd.date_range(START, periods=len(n), freq="1h"), "n": n, "total": total}
    )
    if squares is not None:
        frame["squares"] = squares
    return tally(frame.assign(**more), "mean_quality", kind)


def test_sums_of_hours_give_mean_and_sd_of_a_day():
    # scores 4, 4, 5 and 2: mean 15 / 4, variance ((.25^2) * 2 + 1.25^2 + 1.75^2) / 3
    table = seen(hours([3, 1], [13, 2], [57, 4]), "1d")
    assert table["value"].tolist() == [3.75]
    assert table["n"].tolist() == [4]
    assert table["sd"][0] == pytest.approx(np.sqrt((2 * 0.0625 + 1.5625 + 3.0625) / 3))


def test_a_window_still_open_at_the_end_is_left_out():
    assert seen(hours([3], [12]), "1d", end=START + DAY - pd.Timedelta("1s")).empty


def test_empty_windows_between_are_rows_without_a_value():
    table = seen(hours([1, 0, 1], [4, 0, 4]), "1h")
    assert table["n"].tolist() == [1, 0, 1]
    assert table["value"].isna().tolist() == [False, True, False]


def test_a_window_is_looked_at_when_it_has_settled_with_what_was_known_then():
    came = hours([3, 1], [12, 1]).assign(hour=START, known=[START + pd.Timedelta("1h"), START + pd.Timedelta("30h")])
    table = seen(came, "1h", settle="2h", end=START + 4 * DAY)
    assert table["value"].tolist() == [4.0]
    assert table["known_at"].tolist() == [START + pd.Timedelta("3h")]
    assert table["late"].tolist() == [pd.Timedelta("27h")]
    again = seen(came, "1h", settle="2h", wait="2D", end=START + 4 * DAY)
    assert again["value"].tolist() == [13 / 4]
    assert again["known_at"].tolist() == [START + pd.Timedelta("51h")]


def test_cost_is_charted_as_geometric_mean_scaled_to_the_baselines_mean():
    # baseline hour: 1 and 4 (mean 2.5, geometric 2); later hour: 2 and 8, twice of each
    logs = [np.log(4), np.log(16)]
    frame = hours([2, 2], logs, [np.log(4) ** 2, np.log(2) ** 2 + np.log(8) ** 2], kind="positive", plain=[5, 10])
    table = seen(frame, "1h", fit_end=START + pd.Timedelta("1h"))
    assert table["value"].tolist() == pytest.approx([2.5, 5.0])


def test_the_ends_of_each_judges_scale_reach_its_charts():
    rng, n = np.random.default_rng(5), 1200
    at = pd.date_range(START, periods=n, freq="36min")
    shared = {"every": "36min", "start": START}
    first = make_judgements(
        n, judge_model="judge-a", scale="0..10", quality_score=rng.integers(3, 5, n).tolist(), **shared
    )
    second = make_judgements(n, judge_model="judge-b", scale="0..1", quality_score=rng.random(n).tolist(), **shared)
    judged = pd.concat([first, second], ignore_index=True).assign(dimensions=[{} for _ in range(2 * n)])
    log = lm.open_log({"requests": make_requests(n, timestamp=at), "judgements": judged})
    charted = control_charts(log, {"quality": {"metrics": ["mean_quality", "flagged_rate"]}})
    ends = {metric: (chart.low, chart.high) for (_, metric), chart in charted.fitted.items()}
    assert ends["mean_quality"] == (0, 10)
    assert ends["mean_quality[judge-b]"] == (0, 1)
    assert ends["flagged_rate"] == (None, None)
    assert (charted.results["search", "mean_quality[judge-b]"].windows["upper"].dropna() <= 1).all()
    tallies = hourly(log, [measure("mean_quality")])
    assert all_features(tallies).groupby("metric")["high"].max().to_dict() == {
        "mean_quality": 10,
        "mean_quality[judge-b]": 1,
    }


def test_windows_with_fewer_than_ten_answers_stand_together(monkeypatch):
    """30, then 4, 0, 3 and 5 answers: the fifth window holds the twelve of four windows; days stay as they are."""
    monkeypatch.setattr(measurements, "FEWEST", 10)
    at = pd.date_range(START, periods=6, freq="1h")
    n, total = [30.0, 4, 0, 3, 5, 2], [90.0, 8, 0, 9, 25, 2]
    hours = tally(pd.DataFrame({"feature_id": "search", "hour": at, "n": n, "total": total}), "mean_quality", "mean")
    scope = pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "start": START, "fit_end": START + DAY,
                          "settle": pd.Timedelta(0)}, index=[0])  # fmt: skip
    found = to_windows(hours, "1h", scope, START + DAY, pd.Timedelta(0))
    assert found["n"].tolist() == [30, 0, 0, 0, 12, 0]
    assert found["value"].fillna(-1).tolist() == [3, -1, -1, -1, 3.5, -1]
    assert to_windows(hours, "1d", scope, START + 2 * DAY, pd.Timedelta(0))["n"].tolist() == [44]


def test_lots_of_quiet_hours_end_at_the_same_hours_every_day_whatever_comes_later(monkeypatch):
    """Three answers an hour at night, thirty by day; on some nights five an hour come, and once none for four hours."""
    monkeypatch.setattr(measurements, "FEWEST", 10)
    rng = np.random.default_rng(3)
    at = pd.date_range(START, periods=20 * 24, freq="1h")
    usual = np.where((at.hour < 8) | (at.hour > 19), 3.0, 30.0)
    n = rng.poisson(usual * np.repeat(rng.choice([1.0, 1.7], 20), 24)).astype(float)
    n[15 * 24 : 15 * 24 + 4] = 0
    hours = tally(pd.DataFrame({"feature_id": "search", "hour": at, "n": n, "total": n}), "mean_quality", "mean")
    scope = pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "start": START, "fit_end": START + 14 * DAY,
                          "settle": pd.Timedelta(0)}, index=[0])  # fmt: skip
    found = to_windows(hours, "1h", scope, at[-1] + DAY, pd.Timedelta(0))
    told = found[found["n"] > 0]
    before = told["window_start"] < START + 14 * DAY
    hour = told["window_start"].dt.hour
    assert set(hour[~before]) <= set(hour[before])
    assert told[before].groupby(hour[before]).size().min() >= 7
    for days in (15, 16, 18):
        early = to_windows(hours[hours["hour"] < START + days * DAY], "1h", scope, START + days * DAY, pd.Timedelta(0))
        whole = found[found["window_start"] < START + days * DAY].reset_index(drop=True)
        last = early["window_start"].max()
        pd.testing.assert_frame_equal(early, whole[whole["window_start"] <= last])


def test_an_hour_that_is_busy_on_weekdays_alone_is_told_by_itself(monkeypatch):
    monkeypatch.setattr(measurements, "FEWEST", 10)
    at = pd.date_range(START, periods=14 * 24, freq="1h")
    n = np.where(at.day_of_week < 5, 12.0, 0.0)
    hours = tally(pd.DataFrame({"feature_id": "search", "hour": at, "n": n, "total": n})[n > 0], "mean_quality", "mean")
    scope = pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "start": START, "fit_end": START + 14 * DAY,
                          "settle": pd.Timedelta(0)}, index=[0])  # fmt: skip
    found = to_windows(hours, "1h", scope, at[-1] + DAY, pd.Timedelta(0))
    assert found.loc[found["n"] > 0, "n"].tolist() == [12.0] * 240


def test_nights_of_weekends_are_told_as_one_and_not_with_the_morning(monkeypatch):
    """Four answers an hour at night and twenty-five by day, less than half of it at weekends: what is told at an hour is always of the same hours."""
    monkeypatch.setattr(measurements, "FEWEST", 10)
    rng = np.random.default_rng(4)
    at = pd.date_range(START, periods=28 * 24, freq="1h")
    usual = np.where(at.hour < 6, 4.0, 25.0) * np.where(at.day_of_week < 5, 1.0, 0.45)
    n = rng.poisson(usual).astype(float)
    total = np.where(at.hour < 6, n, 0.0)  # what is told of a lot: the share of its answers that are of the night
    hours = tally(pd.DataFrame({"feature_id": "search", "hour": at, "n": n, "total": total}), "mean_quality", "mean")
    scope = pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "start": START, "fit_end": START + 14 * DAY,
                          "settle": pd.Timedelta(0)}, index=[0])  # fmt: skip
    found = to_windows(hours, "1h", scope, at[-1] + DAY, pd.Timedelta(0)).dropna(subset="value")
    day = found[found["window_start"].dt.hour >= 7]
    assert (day["value"] == 0).all()
    assert (found.loc[found["window_start"].dt.hour == 5, "value"] == 1).all()


def test_what_is_left_of_a_lot_does_not_go_into_one_that_is_full_without_it():
    n, told = np.array([30.0, 3, 4, 12, 3, 4, 4, 9]), np.array([True, False, True, True, False, True, True, True])
    last, begin = pools(n, 10, told)
    assert np.flatnonzero(last).tolist() == [0, 3, 6]
    assert own_hours(begin, n, 10, told)[[0, 3, 6]].tolist() == [0, 3, 4]
