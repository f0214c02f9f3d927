"""Parameters and data that no chart can use are refused in one line, whatever they are."""

from __future__ import annotations

import pytest

import llm_monitoring as lm
from llm_monitoring.charts.phase_one import check_baseline
from llm_monitoring.charts.run_length import cusum_run_length, ewma_run_length
from llm_monitoring.charts.textbook.discrete import binomial_window, ewma_arl_discrete, ordinal_window
from llm_monitoring.charts.textbook.shewhart import laney_limits, p_limits

BASELINE = [4.1, 4.0, 4.2, 4.1, 4.0, 4.2]
CALLS = {
    "EDetector(center)": lambda it: lm.EDetector(center=it),
    "EDetector(high)": lambda it: lm.EDetector(high=it),
    "EDetector(arl0)": lambda it: lm.EDetector(arl0=it),
    "EDetector(horizon)": lambda it: lm.EDetector(horizon=it),
    "EDetector.fit": lambda it: lm.EDetector().fit([it] * 25),
    "EDetector.monitor": lambda it: lm.EDetector(center=3).monitor(it),
    "EWMAChart(center)": lambda it: lm.EWMAChart(center=it, sd=it).fit(BASELINE),
    "CUSUMChart(head_start)": lambda it: lm.CUSUMChart(head_start=it).fit(BASELINE),
    "XmRChart(horizon)": lambda it: lm.XmRChart(horizon=it).fit(BASELINE),
    "check_baseline": lambda it: check_baseline(it),
    "check_baseline(alpha)": lambda it: check_baseline(BASELINE, alpha=it),
    "check_baseline(permutations)": lambda it: check_baseline(BASELINE, permutations=it),
    "ewma_arl(head_start)": lambda it: lm.ewma_arl(0.1, 2.8, head_start=it),
    "ewma_limit(head_start)": lambda it: lm.ewma_limit(0.1, 370, head_start=it),
    "cusum_arl(head_start)": lambda it: lm.cusum_arl(0.5, 4, head_start=it),
    "cusum_limit(k)": lambda it: lm.cusum_limit(it, 370),
    "cusum_run_length": lambda it: cusum_run_length(0.5, it),
    "survival": lambda it: ewma_run_length(0.1, 2.8).survival(it),
    "quantile": lambda it: ewma_run_length(0.1, 2.8).quantile(it),
    "p_limits": lambda it: p_limits(it, [10, 10]),
    "p_limits(L)": lambda it: p_limits([1, 2], [10, 10], L=it),
    "laney_limits": lambda it: laney_limits([it, it], [10, 10]),
    "ordinal_window": lambda it: ordinal_window(it, 5),
    "ordinal_window(scores)": lambda it: ordinal_window([0.5, 0.5], 5, scores=it),
    "binomial_window": lambda it: binomial_window(0.5, it),
    "ewma_arl_discrete": lambda it: ewma_arl_discrete([0, 1], [0.5, 0.5], it, 2.8),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("it", ["a", float("nan"), -1.5, [1, [2]]], ids=repr)
def test_what_no_chart_can_use_is_refused_in_one_line(call, it):
    with pytest.raises(lm.ConfigError) as error:
        CALLS[call](it)
    assert "expected" in str(error.value) or "needs" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_survival_over_no_window_is_certain():
    assert ewma_run_length(0.1, 2.8).survival(0) == 1.0
