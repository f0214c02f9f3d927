"""Hours of the week: found where they are, seldom where they are not, said where a baseline is too short."""

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.seasons import TOO_SHORT, season_of, weekly_p
from tests.builders import make_judgements, make_requests


def hours(days: int, weekend: float = 0.0, seed: int = 1, n: int = 25, day: float = 0.05) -> pd.DataFrame:
    """Hourly means of scores: a pattern of the day, days that differ, and afternoons of weekends with another level."""
    rng = np.random.default_rng(seed)
    times = pd.date_range("2026-03-02", periods=24 * days, freq="1h", tz="UTC")
    level = 4 + 0.1 * np.sin(2 * np.pi * times.hour / 24) + rng.normal(0, day, days)[np.arange(24 * days) // 24]
    level = level - weekend * ((times.day_of_week >= 5) & (times.hour >= 9) & (times.hour < 18))
    value = level + rng.normal(0, 0.8, len(times)) / np.sqrt(n)
    frame = pd.DataFrame(
        {"window_start": times, "window_end": times + pd.Timedelta("1h"), "value": value, "n": float(n)}
    )
    return frame.assign(sd=0.8)


def test_hours_of_the_week_are_found_in_four_weeks_and_not_in_less():
    assert season_of(hours(28, weekend=0.3), "mean", "1h") == (168, ())
    assert season_of(hours(27, weekend=0.3), "mean", "1h") == (24, (TOO_SHORT,))
    assert season_of(hours(28, weekend=0.3), "proportion", "1h") == (24, ())
    assert season_of(hours(28, weekend=0.3), "mean", "1d") == (7, ())


def test_they_are_found_by_chance_as_often_as_stated():
    found = [weekly_p(hours(28, seed=seed), "mean", 24) <= 0.1 for seed in range(100)]
    assert 3 <= sum(found) <= 19  # 10 expected; outside in 1 of 100 runs of other seeds


def test_days_that_differ_as_wholes_are_no_week():
    assert np.median([weekly_p(hours(28, seed=seed, day=0.4), "mean", 24) for seed in range(20)]) > 0.1


def test_a_chart_of_four_weeks_takes_the_hours_of_the_week_and_one_of_two_says_that_it_cannot():
    count = 24 * 12 * 34
    requests = make_requests(count, every="5min")
    times = requests["timestamp"]
    odd = (times.dt.day_of_week >= 5) & (times.dt.hour >= 9) & (times.dt.hour < 18)
    score = np.random.default_rng(3).choice([4.0, 5.0], count) - 2 * odd.to_numpy()
    judgements = make_judgements(count, every="5min", quality_score=list(score))
    log = lm.open_log({"requests": requests, "judgements": judgements})
    charts = lm.control_charts(log, {"quality": {"answers_per_window": 10}})
    run = next(run for run in charts.runs if run.key[1] == "mean_quality")
    first, second = (chart for chart, _, _ in run.stages)
    assert (first.season, second.season) == (24, 168)
    assert TOO_SHORT in first.notes_
    assert TOO_SHORT not in second.notes_
    assert charts.results[run.key].alarms.empty


@pytest.mark.parametrize("season", [24, 168])
def test_false_alarms_where_days_differ_and_weeks_have_their_hours(season):
    found = 0
    for seed in range(12):
        stream = hours(58, weekend=0.1, seed=seed)
        chart = lm.ControlChart(kind="mean", arl0=24 * 30, low=1, high=5, season=season).fit(stream.head(28 * 24))
        found += len(chart.monitor(stream.tail(30 * 24), at_once=True).alarms)
    assert found <= 20  # 12 stated; over 20 in 1 of 100 runs of a right chart
