"""Quantiles and chances from scipy.special against scipy.stats, and that a check asks for no more than the former."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from llm_monitoring import distributions as own
from llm_monitoring.probes.passes import _fisher, false_discovery

ROOT = Path(__file__).parents[1]
Q = np.array([1e-9, 0.001, 0.025, 0.3, 0.5, 0.8, 0.975, 0.99, 1 - 1e-9])


def test_quantiles_are_those_of_scipy():
    np.testing.assert_allclose(own.normal_quantile(Q), stats.norm.ppf(Q), rtol=1e-12)
    for freedom in (1, 2, 3.7, 30, 4000):
        np.testing.assert_allclose(own.student_quantile(Q, freedom), stats.t.ppf(Q, freedom), rtol=1e-12)
        np.testing.assert_allclose(own.chi2_quantile(Q, freedom), stats.chi2.ppf(Q, freedom), rtol=1e-12)
        np.testing.assert_allclose(own.beta_quantile(Q, freedom, 2.5), stats.beta.ppf(Q, freedom, 2.5), rtol=1e-9)
    assert np.isnan(own.chi2_quantile(0.5, 0))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 37, 200, 1999, 20_000])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.5, 0.95, 0.99])
def test_binomial_numbers_are_those_of_scipy(n, share):
    k = np.unique(np.linspace(0, n, 60).astype(int))
    np.testing.assert_allclose(own.binomial_at_least(k, n, share), stats.binom.sf(k - 1, n, share), rtol=1e-9)
    np.testing.assert_allclose(own.binomial(k, n, share), stats.binom.pmf(k, n, share), rtol=1e-8, atol=1e-290)
    assert own.binomial_quantile([0.025, 0.975, 0.99], n, share).tolist() == [
        stats.binom.ppf(q, n, share) for q in (0.025, 0.975, 0.99)
    ]
    assert own.binomial_at_least(n + 1, n, share) == 0


def test_chances_of_a_draw_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(200):
        total = int(rng.integers(1, 2000))
        drawn, marked = (int(rng.integers(0, total + 1)) for _ in range(2))
        k = np.arange(-1, min(drawn, marked) + 2)
        expected = stats.hypergeom.pmf(k, total, marked, drawn)
        np.testing.assert_allclose(own.hypergeometric(k, drawn, marked, total), expected, rtol=1e-7, atol=1e-290)


def test_exact_tests_of_probes_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n0, n1 = (int(n) for n in rng.integers(1, 40, 2))
        k0, k1 = int(rng.integers(0, n0 + 1)), int(rng.integers(0, n1 + 1))
        assert _fisher(n0, n1, k0, k1) == pytest.approx(
            stats.fisher_exact([[k0, n0 - k0], [k1, n1 - k1]])[1], abs=1e-10
        )
    p = rng.random(30)
    np.testing.assert_allclose(false_discovery(p), stats.false_discovery_control(p))
    assert false_discovery(np.array([])).size == 0


def test_opening_a_case_imports_no_part_of_scipy_that_takes_long():
    code = """
import sys
import llm_monitoring as lm
from tests.builders import make_log
lm.open_case(make_log(400))
print(*(name for name in ("scipy.stats", "scipy.signal", "scipy.optimize", "scipy.interpolate", "matplotlib") if name in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
