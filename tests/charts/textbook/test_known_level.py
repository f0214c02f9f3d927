"""EWMA, CUSUM and XmR charts and the e-detector: values by hand, and batch = one window at a time."""

import json

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.charts.run_length import ewma_arl, ewma_limit
from llm_monitoring.charts.textbook.cusum import CUSUMChart
from llm_monitoring.charts.textbook.e_detector import EDetector
from llm_monitoring.charts.textbook.ewma import EWMAChart
from llm_monitoring.charts.textbook.xmr import XmRChart
from llm_monitoring.errors import ConfigError

CHARTS = [
    EWMAChart(),
    EWMAChart(limits="exact"),
    CUSUMChart(),
    CUSUMChart(head_start=0.5),
    XmRChart(),
    EDetector(arl0=100),
]
BASELINE = np.random.default_rng(1).integers(3, 6, 40).astype(float)
STREAM = np.r_[
    np.random.default_rng(2).integers(3, 6, 20), [np.nan], np.random.default_rng(3).integers(1, 3, 20)
].astype(float)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: type(chart).__name__)
def test_one_window_at_a_time_gives_the_same_numbers(chart):
    frame = chart.fit(BASELINE).monitor(STREAM).to_frame()
    rows = pd.DataFrame([chart.update(value) for value in STREAM])
    pd.testing.assert_frame_equal(rows, frame[list(rows)], check_exact=True, check_dtype=False)
    assert frame["alarm"].any()
    assert not frame["alarm"].iloc[20]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: type(chart).__name__)
def test_results_survive_json_and_alarms_have_their_columns(chart):
    result = chart.fit(BASELINE).monitor(STREAM)
    told = json.loads(json.dumps(result.to_dict()))
    assert told["alarms"][0]["direction"] == "down"
    assert result.first_alarm == result.alarms["first_window"].iloc[0]


def test_ewma_follows_roberts_by_hand():
    frame = EWMAChart(lambda_=0.2, arl0=500, center=10.0, sd=2.0).monitor([12, 9]).to_frame()
    assert frame["statistic"].tolist() == pytest.approx([10.4, 10.12])
    assert frame["upper"].iloc[0] == pytest.approx(10 + 2.962 * 2 * (0.2 / 1.8) ** 0.5, abs=2e-3)


def test_exact_limits_open_with_the_windows():
    frame = EWMAChart(lambda_=0.2, limits="exact", center=0.0, sd=1.0).monitor([0, 0]).to_frame()
    L = ewma_limit(0.2, 500, limits="exact")
    assert frame["upper"].tolist() == pytest.approx([0.2 * L, 0.2 * L * (1 + 0.64) ** 0.5])


def test_cusum_follows_page_by_hand():
    frame = CUSUMChart(k=0.5, center=0.0, sd=1.0).monitor([1, 1, -3]).to_frame()
    assert frame["statistic"].tolist() == pytest.approx([0.5, 1.0, -2.5])


def test_xmr_limits_are_mean_moving_range_times_2_66():
    baseline = [10, 12, 11, 13, 12, 10]
    frame = XmRChart().fit(baseline).monitor([11]).to_frame()
    assert frame["upper"].iloc[0] - frame["center"].iloc[0] == pytest.approx(
        2.66 * np.abs(np.diff(baseline)).mean(), rel=1e-3
    )


def test_false_alarm_probability_of_known_parameters_is_that_of_the_run_length():
    result = XmRChart(center=0.0, sd=1.0).monitor([0.0])
    assert result.false_alarm_probability == pytest.approx(1 - (1 - 1 / 370.4) ** 60)
    ewma = EWMAChart(lambda_=1.0, arl0=200, center=0.0, sd=1.0).monitor([0.0])
    assert ewma.false_alarm_probability == pytest.approx(1 - (1 - 1 / 200) ** 60, rel=1e-6)


def test_a_short_baseline_is_named_in_the_notes():
    chart = EWMAChart().fit([4.1, 4.0, 4.2, 4.1])
    assert chart.notes_ == (
        "the limits take centre and sd as known; they come from 4 windows, so false alarms are more frequent than stated. "
        "ControlChart reckons with that",
    )
    assert EWMAChart(center=4.0, sd=0.1).fit().notes_ == ()


def test_a_constant_baseline_is_refused_with_the_way_out():
    with pytest.raises(ConfigError) as error:
        EWMAChart().fit([4.0] * 14)
    assert str(error.value) == (
        "baseline: 14 windows, all of them 4.0; EWMAChart needs 2 distinct values. Give earlier windows, or "
        "kind='proportion' of ControlChart for rare events"
    )


def test_the_original_rule_cannot_alarm_where_ours_does():
    """The value is part of mean and variance before it is asked whether it is far off: (1 - a) > k^2 a never holds."""
    mean, variance, alarms = 4.0, 0.01, 0
    for value in [4.0] * 20 + [1.0] * 20 + [1e6]:
        apart = value - mean
        mean, variance = mean + 0.1 * apart, 0.9 * (variance + 0.1 * apart**2)
        alarms += abs(value - mean) > 3 * variance**0.5
    assert alarms == 0
    assert EWMAChart(center=4.0, sd=0.1).monitor([4.0] * 20 + [1.0]).to_frame()["alarm"].iloc[-1]
    assert ewma_arl(0.1, 2.814, shift=1.0) < 11
