"""Looks at paired shares: known values of group-sequential designs, McNemar's statistic, and closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from llm_monitoring.probes import sequential
from llm_monitoring.probes.sequential import limits, paired_score, score_interval, spent


def test_limits_are_those_of_gsdesigns_standard_example(monkeypatch):
    sequential._look.cache_clear()
    monkeypatch.setattr(sequential, "GAMMA", -4.0)
    found = limits((20, 40, 60, 80, 100), 100, 0.025)
    sequential._look.cache_clear()
    assert found == pytest.approx([3.2527, 2.9860, 2.6917, 2.3737, 2.0253], abs=0.002)  # gsDesign(k=5, sfHSD, -4)


def test_streams_cross_the_limits_as_often_as_alpha_says():
    counts = (20, 25, 60, 90, 100)
    found = limits(counts, 100, 0.05, last=True)
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((100_000, 100)).cumsum(axis=1)[:, np.array(counts) - 1] / np.sqrt(counts)
    assert (steps >= found).any(axis=1).mean() == pytest.approx(0.05, abs=0.0025)


def test_a_limit_does_not_change_when_looks_are_added():
    assert limits((20, 40), 100, 0.05) == limits((20, 40, 70), 100, 0.05)[:2]


def test_an_early_end_uses_up_all_of_alpha():
    assert limits((50,), 100, 0.05, last=True) == [pytest.approx(norm.isf(0.05))]
    assert spent(0.5, 0.05) < 0.025


@pytest.mark.parametrize(("lost", "won", "n"), [(9, 4, 50), (0, 7, 20), (30, 10, 400)])
def test_the_score_of_no_difference_is_mcnemars(lost, won, n):
    assert paired_score(lost, won, n, 0) == pytest.approx((won - lost) / np.sqrt(lost + won))


def test_the_score_of_pairs_that_never_differ_has_a_closed_form():
    assert paired_score(0, 0, 29, -0.1) == pytest.approx(np.sqrt(29 * 0.1 / 0.9))


def test_the_likeliest_share_of_lost_pairs_is_a_maximum():
    lost, won, n, difference = 21, 9, 120, -0.2
    share = np.linspace(0.2001, 0.6, 200_000)
    likelihood = lost * np.log(share) + won * np.log(share + difference) + (n - 30) * np.log(1 - 2 * share - difference)
    best = share[np.argmax(likelihood)]
    expected = (won - lost - n * difference) / np.sqrt(n * (2 * best + difference - difference**2))
    assert paired_score(lost, won, n, difference) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("lost", "won", "n"), [(0, 0, 29), (9, 4, 50), (5, 0, 5), (0, 3, 3), (30, 30, 60)])
def test_the_interval_holds_just_the_differences_that_are_not_refuted(lost, won, n):
    low, high = score_interval(lost, won, n, 1.96, 0.5)
    assert -1 <= low <= (won - lost) / n <= high <= 1
    for edge, outside in ((low, low - 0.01), (high, high + 0.01)):
        if -1 < outside < 1:
            assert abs(paired_score(lost, won, n, outside, 0.5)) > 1.96
            assert abs(paired_score(lost, won, n, edge, 0.5)) == pytest.approx(1.96, abs=1e-3)
