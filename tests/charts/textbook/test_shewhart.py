"""Shewhart constants and p charts against published values."""

import pytest

from llm_monitoring.charts.textbook import shewhart


def test_shewhart_constants_meet_montgomery_appendix_vi():
    found = shewhart.shewhart_constants(5)
    published = {"A2": 0.577, "A3": 1.427, "c4": 0.9400, "B4": 2.089, "d2": 2.326, "d3": 0.864, "D3": 0, "D4": 2.114}
    assert {k: found[k] for k in published} == pytest.approx(published, abs=6e-4)


def test_laney_limits_are_those_of_the_p_chart_times_sigma_z():
    events, n = [500, 560, 470, 540, 505], [10_000] * 5
    plain, laney = shewhart.p_limits(events, n), shewhart.laney_limits(events, n)
    ratio = (laney["upper"] - laney["center"]) / (plain["upper"] - plain["center"])
    assert ratio.to_numpy() == pytest.approx(laney["sigma_z"].to_numpy())
