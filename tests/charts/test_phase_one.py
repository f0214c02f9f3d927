"""The baseline's own check, and when a change began."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.charts.onset import change_point
from llm_monitoring.charts.phase_one import check_baseline
from llm_monitoring.charts.predictive import ControlChart


def test_an_outlier_is_named_and_can_be_set_aside():
    rng = np.random.default_rng(1)
    value = 4 + 0.1 * rng.standard_normal(28)
    value[9] = 2.5
    found = check_baseline(value)
    assert found.outliers == [9]
    assert found.step is None
    chart = ControlChart().fit(value, set_aside=found.outliers, reason="judge outage")
    assert chart.n_baseline_ == 27


def test_a_step_is_dated_with_its_interval():
    rng = np.random.default_rng(2)
    days = pd.date_range("2026-05-01", periods=28, tz="UTC")
    value = 4 + 0.1 * rng.standard_normal(28) - 0.3 * (np.arange(28) >= 15)
    found = check_baseline(pd.DataFrame({"window_start": days, "value": value}))
    assert found.step["low"] <= days[15] <= found.step["high"]
    assert found.step["size"] == pytest.approx(-0.3, abs=0.1)
    assert found.step["p_value"] <= 0.025


def test_quiet_baselines_are_called_quiet_about_as_often_as_promised():
    rng = np.random.default_rng(3)
    quiet = [check_baseline(rng.standard_normal(28), permutations=199, seed=i).quiet for i in range(150)]
    assert np.mean(quiet) >= 0.88  # promised .95, four standard errors


@pytest.mark.parametrize("kind", ["proportion", "count", "positive"])
def test_other_kinds_are_checked_on_their_own_scale(kind):
    rng = np.random.default_rng(4)
    n = 200
    value = {
        "proportion": rng.binomial(n, 0.05, 20) / n,
        "count": rng.poisson(20, 20),
        "positive": np.exp(rng.normal(7, 0.1, 20)),
    }
    given = np.array(value[kind], dtype=float)
    given[7] = {"proportion": 0.4, "count": 90, "positive": 9000}[kind]
    frame = pd.DataFrame({"value": given, "n": 1.0 if kind == "count" else n})
    assert check_baseline(frame, kind=kind).outliers == [7]


def test_the_interval_of_the_change_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    held = []
    for _ in range(400):
        error = rng.standard_normal(24) + 1.5 * (np.arange(24) >= 12)
        found = change_point(error, np.ones(24), latest=20)
        held.append(found.low <= 12 <= found.high)
    assert np.mean(held) >= 0.91  # stated .95, four standard errors
