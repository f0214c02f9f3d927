import numpy as np
import pandas as pd
import pytest
from scipy import stats

from llm_monitoring.raters.bridging import bridge, splice

RNG = np.random.default_rng(5)
PEOPLE = RNG.integers(1, 6, 300)
JUDGE = np.clip(PEOPLE + RNG.choice([-1, 0, 0, 1, 1, 2], 300), 1, 5)
UNUSED_LEVEL = (np.where(PEOPLE == 3, 4, PEOPLE), np.where(JUDGE == 3, 2, JUDGE))


def test_the_bridge_is_the_paired_t_interval():
    found = bridge(PEOPLE, JUDGE)
    expected = stats.ttest_rel(JUDGE, PEOPLE).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.method == "linear"


def test_a_fall_across_a_seam_keeps_its_size_under_a_judge_with_another_slope():
    # old score q, new score .8 q + 1 with noise; the fall is .8 on the old scale (methods: bias of linear equating .05)
    rng = np.random.default_rng(3)
    falls, covered = [], []
    for _ in range(200):
        quality = rng.normal(4, 0.8, 100)
        link = bridge(quality + rng.normal(0, 0.4, 100), 0.8 * quality + 1 + rng.normal(0, 0.4, 100))
        window = 0.8 * rng.normal(3.2, 0.8, 400) + 1 + rng.normal(0, 0.4, 400)
        quality = pd.DataFrame(
            {
                "window_start": pd.date_range("2026-05-11", periods=2, tz="UTC"),
                "mean_quality": [4.0, window.mean()],
                "se_quality": [0.0, window.std(ddof=1) / 20],
            }
        )
        after = splice(quality, link, "2026-05-12").iloc[1]
        falls.append(4.0 - after["mean_quality"])
        covered.append(abs(after["mean_quality"] - 3.2) <= 1.96 * after["se_quality"])
    assert np.mean(falls) == pytest.approx(0.8, abs=0.06)
    assert np.mean(covered) >= 0.88


def test_an_offset_covers_and_leaves_the_windows_before_the_seam_alone():
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(400):
        old = rng.normal(4, 0.9, 60)
        link = bridge(old, old + 0.3 + rng.normal(0, 0.8, 60))
        covered.append(link.low <= 0.3 <= link.high)
    assert 0.92 <= np.mean(covered) <= 0.98
    quality = pd.DataFrame(
        {"window_start": pd.date_range("2026-05-11", periods=1, tz="UTC"), "mean_quality": [4.0], "se_quality": [0.1]}
    )
    assert splice(quality, link, "2026-05-12")[["mean_quality", "se_quality"]].iloc[0].tolist() == [4.0, 0.1]
