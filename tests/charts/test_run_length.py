"""Run lengths against published tables; the longer list of reference values is skipped where it is absent."""

import json
from pathlib import Path

import numpy as np
import pytest

from llm_monitoring.charts import run_length
from llm_monitoring.charts.run_length import (
    cusum_arl,
    cusum_limit,
    cusum_run_length,
    ewma_arl,
    ewma_limit,
    ewma_run_length,
)
from llm_monitoring.charts.textbook import shewhart
from llm_monitoring.errors import ConfigError

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "charts_reference.json"


def reference_cases():
    return json.loads(REFERENCE.read_text())["cases"] if REFERENCE.exists() else []


@pytest.mark.skipif(not REFERENCE.exists(), reason="../shared/data/charts_reference.json is absent")
def test_every_reference_value_is_met_within_its_tolerance():
    missed = []
    for case in reference_cases():
        args = {("lambda_" if k == "lam" else k): v for k, v in case["args"].items()}
        module = shewhart if case["fn"] == "shewhart_constants" else run_length
        found, wanted = getattr(module, case["fn"])(**args), case["value"]
        pairs = [(found[k], wanted[k]) for k in wanted] if isinstance(wanted, dict) else [(found, wanted)]
        close = [np.isclose(f, w, rtol=case.get("rtol", 0), atol=case.get("atol", 0)) for f, w in pairs]
        if not all(close):
            missed.append((case["id"], found, wanted))
    assert not missed


@pytest.mark.parametrize(
    ("lambda_", "L", "shift", "arl"),
    [(0.5, 3.071, 0, 500), (0.5, 3.071, 1, 17.5), (0.03, 2.437, 0.5, 29.3), (0.1, 2.814, 0, 500), (1.0, 3.0, 0, 370.4)],
)
def test_ewma_arl_meets_lucas_and_saccucci_1990(lambda_, L, shift, arl):
    assert ewma_arl(lambda_, L, shift) == pytest.approx(arl, rel=4e-3)


@pytest.mark.parametrize(("shift", "arl"), [(0, 168), (0.5, 26.6), (1, 8.38), (2, 3.34), (5, 1.31)])
def test_cusum_arl_meets_lucas_and_crosier_1982(shift, arl):
    assert cusum_arl(0.5, 4, shift) == pytest.approx(arl, rel=4e-3)


def test_cusum_with_head_start_meets_lucas_and_crosier_1982():
    assert cusum_arl(0.5, 4, 1.5, head_start=2) == pytest.approx(2.86, abs=0.006)


def test_one_sided_cusum_meets_the_exact_values_of_vance_1986_and_waldmann_1986():
    assert cusum_arl(0.0, 10, 0, sides=1) == pytest.approx(124.66, rel=1e-4)
    assert cusum_arl(0.5, 3, -0.5, sides=1) == pytest.approx(1963, rel=1e-3)


def test_shewhart_chart_is_the_ewma_with_lambda_one_in_closed_form():
    from scipy.stats import norm

    run = ewma_run_length(1.0, 3.0, 1.0)
    p = norm.sf(2.0) + norm.cdf(-4.0)
    assert run.mean == pytest.approx(1 / p, rel=1e-9)
    assert run.sd == pytest.approx(np.sqrt(1 - p) / p, rel=1e-9)
    assert run.quantile(0.5) == int(np.ceil(np.log(0.5) / np.log(1 - p)))
    assert run.survival(10) == pytest.approx((1 - p) ** 10, rel=1e-9)


def test_exact_limits_shorten_the_first_run_of_an_early_change_as_in_steiner_1999():
    assert ewma_arl(0.05, 3, 1.5, limits="exact") == pytest.approx(4.5, abs=0.2)
    assert ewma_arl(0.05, 3, 1.5, limits="exact") < ewma_arl(0.05, 3, 1.5)


@pytest.mark.parametrize("limits", ["fixed", "exact"])
@pytest.mark.parametrize("sides", [1, 2])
def test_a_limit_gives_the_arl_that_it_was_made_for(limits, sides):
    L = ewma_limit(0.2, 250, limits=limits, sides=sides)
    assert ewma_arl(0.2, L, limits=limits, sides=sides) == pytest.approx(250, rel=1e-6)
    assert cusum_arl(0.25, cusum_limit(0.25, 250, sides=sides), sides=sides) == pytest.approx(250, rel=1e-6)


def test_mean_sd_and_survival_agree_with_a_simulation_of_the_chart():
    rng = np.random.default_rng(5)
    z, alive, length = np.zeros(20_000), np.ones(20_000, bool), np.zeros(20_000)
    for t in range(1, 400):
        z = 0.8 * z + 0.2 * (rng.standard_normal(20_000) + 0.5)
        limit = 2.5 * np.sqrt(0.2 / 1.8 * (1 - 0.8 ** (2 * t)))
        length += alive
        alive &= np.abs(z) <= limit
    run = ewma_run_length(0.2, 2.5, 0.5, limits="exact")
    assert run.mean == pytest.approx(length.mean(), abs=4 * length.std() / np.sqrt(20_000))
    assert run.sd == pytest.approx(length.std(), rel=0.05)
    assert run.survival(5) == pytest.approx((length > 5).mean(), abs=0.015)


def test_steady_state_of_a_cusum_is_shorter_than_its_zero_state():
    run = cusum_run_length(0.5, 4, 1.0)
    assert run.steady_state < run.mean


def test_parameters_out_of_range_are_named():
    with pytest.raises(ConfigError) as error:
        ewma_arl(1.5, 3)
    assert str(error.value) == "lambda_=1.5; expected a number above 0, at most 1"
    with pytest.raises(ConfigError) as error:
        ewma_arl(0.2, 3, limits="exakt")
    assert str(error.value) == (
        "ewma_arl(limits)='exakt'; expected one of 'fixed', 'exact', 'fir50', 'steiner'; the nearest is 'exact'"
    )
    with pytest.raises(ConfigError) as error:
        cusum_limit(0.5, 1)
    assert str(error.value) == "arl0=1; expected a number of windows above 1"
