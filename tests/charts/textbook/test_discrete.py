"""Run lengths over windows that are not normal, against an independent computation."""

import pytest

from llm_monitoring.charts.textbook.discrete import binomial_window, ewma_arl_discrete, ordinal_window


def test_ewma_over_ordinal_and_binomial_windows_meets_the_exact_chain():
    scores = [0.02, 0.05, 0.13, 0.35, 0.45]  # figures of an independent computation of the same chain
    assert ewma_arl_discrete(*ordinal_window(scores, 20), 0.2, 2.962, states=2001) == pytest.approx(489, rel=0.015)
    assert ewma_arl_discrete(*ordinal_window(scores, 1), 0.2, 2.962) == pytest.approx(300, rel=0.015)
    assert ewma_arl_discrete(*binomial_window(0.05, 20), 0.2, 2.962, states=2001) == pytest.approx(366, rel=0.015)
