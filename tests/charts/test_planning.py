import numpy as np
import pytest

from llm_monitoring.charts.planning import plan_sampling
from llm_monitoring.charts.textbook.ewma import EWMAChart
from llm_monitoring.errors import ConfigError


def test_the_two_window_falls_are_those_of_the_normal_formula():
    # (1.96 + 0.84) 0.9 / sqrt(n): .56, .36, .25, .18, .13 for n = 20, 50, 100, 200, 400
    plan = plan_sampling(traffic=1000, sd=0.9, rate=[0.02, 0.05, 0.1, 0.2, 0.4]).to_frame()
    assert plan["drop_two_windows"].round(2).tolist() == [0.56, 0.36, 0.25, 0.18, 0.13]


def test_the_delay_is_the_run_length_of_the_chart():
    # published: EWMA lambda .1, L 2.814 (ARL0 500), shift 1: 10.3 windows (Lucas and Saccucci 1990)
    plan = plan_sampling(traffic=100, sd=1.0, rate=1.0, drop=0.1, chart=EWMAChart(lambda_=0.1, arl0=500)).to_frame()
    assert plan["delay_windows"][0] == pytest.approx(10.3, abs=0.1)


def test_more_judged_answers_see_less_and_sooner_and_sessions_count_less():
    plan = plan_sampling(traffic=5000).to_frame()
    assert plan["drop_chart"].is_monotonic_decreasing
    assert plan["delay_windows"].is_monotonic_decreasing
    clustered = plan_sampling(traffic=5000, rate=1.0, requests_per_session=5, icc=0.5).to_frame()
    assert clustered["n_effective"][0] == pytest.approx(5000 / 3)


def test_the_cost_counts_repeated_calls_and_anchors():
    plan = plan_sampling(
        1000,
        rate=0.1,
        input_tokens=1000,
        output_tokens=100,
        usd_per_m_input=1,
        usd_per_m_output=10,
        retries=0.1,
        anchors=50,
    )
    assert plan.to_frame()["usd_per_day"][0] == pytest.approx((110 + 50) * 0.002)


def test_every_fault_is_named():
    with pytest.raises(ConfigError) as error:
        plan_sampling(traffic=0, rate=5)
    assert str(error.value) == (
        "plan_sampling(traffic=0); expected a number above 0\nplan_sampling(rate=5); expected shares above 0, at most 1"
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"traffic": "a"}, "plan_sampling(traffic='a'); expected a number above 0"),
        ({"traffic": None}, "plan_sampling(traffic=None); expected a number above 0"),
        ({"rate": "a"}, "plan_sampling(rate='a'); expected shares above 0, at most 1"),
        ({"rate": [[0.1], [0.2]]}, "plan_sampling(rate=[[0.1], [0.2]]); expected shares above 0, at most 1"),
        ({"rate": []}, "plan_sampling(rate=[]); expected shares above 0, at most 1"),
        ({"sd": float("nan")}, "plan_sampling(sd=nan); expected a number above 0"),
        ({"retries": "a"}, "plan_sampling(retries='a'); expected a number of at least 0"),
        ({"usd_per_m_input": "a"}, "plan_sampling(usd_per_m_input='a'); expected a number of at least 0, or None"),
        ({"chart": 3}, "plan_sampling(chart=3); expected a chart with lambda_ and arl0"),
    ],
)
def test_what_is_no_number_is_refused_by_its_name(parameters, sentence):
    with pytest.raises(ConfigError) as error:
        plan_sampling(**{"traffic": 2000, **parameters})
    assert str(error.value) == sentence


def test_one_rate_several_and_those_of_numpy_are_rates():
    for rate in (0.1, np.float32(0.5), np.array([0.1, 0.2]), (1,)):
        assert len(plan_sampling(traffic=np.int64(2000), rate=rate).to_frame()) == np.size(rate)
