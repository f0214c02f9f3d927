from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from llm_monitoring.errors import ConfigError
from llm_monitoring.raters import agreement, bridge, corrected_mean, splice

RNG = np.random.default_rng(5)
PEOPLE = RNG.integers(1, 6, 300)
JUDGE = np.clip(PEOPLE + RNG.choice([-1, 0, 0, 1, 1, 2], 300), 1, 5)
UNUSED_LEVEL = (np.where(PEOPLE == 3, 4, PEOPLE), np.where(JUDGE == 3, 2, JUDGE))


@pytest.mark.parametrize(("a", "b"), [(PEOPLE, JUDGE), UNUSED_LEVEL], ids=["all levels", "no threes"])
def test_kappas_equal_scikit_learn(a, b):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the dev group")
    found, labels = agreement(a, b, repetitions=10), [1, 2, 3, 4, 5]
    assert found.kappa == pytest.approx(metrics.cohen_kappa_score(a, b, labels=labels), abs=1e-12)
    quadratic = metrics.cohen_kappa_score(a, b, labels=labels, weights="quadratic")
    assert found.weighted_kappa == pytest.approx(quadratic, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [(PEOPLE, JUDGE), UNUSED_LEVEL], ids=["all levels", "no threes"])
def test_alphas_equal_krippendorff(a, b):
    krippendorff = pytest.importorskip("krippendorff", reason="krippendorff is in the dev group")
    found = agreement(a, b, repetitions=10)
    for scale in ("nominal", "ordinal"):
        expected = krippendorff.alpha(np.array([a, b], float), level_of_measurement=scale)
        assert getattr(found, f"alpha_{scale}") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [(PEOPLE, JUDGE), UNUSED_LEVEL], ids=["all levels", "no threes"])
def test_ac1_equals_truescore(a, b):
    truescore = pytest.importorskip("truescore", reason="truescore is in the dev group")
    assert agreement(a, b, repetitions=10).ac1 == pytest.approx(truescore.gwet_ac1(a, b), abs=1e-12)


def test_the_bootstrap_intervals_hold_the_estimates_and_do_not_depend_on_the_order_of_rows():
    order = RNG.permutation(len(PEOPLE))
    found, again = agreement(PEOPLE, JUDGE), agreement(PEOPLE[order], JUDGE[order])
    for row in found.to_frame().itertuples():
        assert row.low < row.estimate < row.high
    assert found.to_dict() == again.to_dict()


def test_agreement_of_raters_who_know_one_score_only_is_undefined():
    found = agreement([4, 4, 4], [4, 4, 4], repetitions=10)
    assert np.isnan(found.kappa)
    assert found.to_dict()["kappa"] is None


def test_a_score_off_the_scale_is_named():
    with pytest.raises(ConfigError) as error:
        agreement([1, 2], [1, 2.5])
    assert str(error.value) == "agreement(a, b): 2.5 is not on the scale 1, 2, 3, 4, 5. Give labels=[...]"


def test_the_plain_estimate_equals_truescore():
    truescore = pytest.importorskip("truescore", reason="truescore is in the dev group")
    for labelled in (np.arange(40), np.arange(150)):
        expected = truescore.ppi_estimate(JUDGE, PEOPLE[labelled], labelled)
        found = corrected_mean(JUDGE, JUDGE[labelled], PEOPLE[labelled], method="ppi++")
        wanted = (expected.point, expected.low, expected.high)
        assert (found.estimate, found.low, found.high) == pytest.approx(wanted, abs=1e-9)


def simulated(rng, n=1200, slope=0.9, noise=0.6):
    people = np.clip(np.round(rng.normal(3.6, 1.0, n)), 1, 5)
    judge = np.clip(np.round(4.2 + slope * (people - 3.6) + rng.normal(0, noise, n)), 1, 5)
    return judge, people


@pytest.mark.parametrize(("n_labels", "least"), [(20, 0.90), (100, 0.92)])
def test_the_corrected_mean_covers_the_truth_and_is_no_wider_than_the_labels(n_labels, least):
    rng = np.random.default_rng(0)
    judge, people = simulated(rng)
    truth, covered, widths, estimates = people.mean(), [], [], []
    for _ in range(400):
        drawn = rng.choice(len(people), n_labels, replace=False)
        found = corrected_mean(judge, judge[drawn], people[drawn])
        covered.append(found.low <= truth <= found.high)
        widths.append((found.high - found.low) / (found.labels_high - found.labels_low))
        estimates.append(found.estimate)
    assert np.mean(covered) >= least  # 95 % stated; standard error of the share .011
    assert np.mean(widths) <= 0.85
    assert abs(np.mean(estimates) - truth) <= 0.02
    assert judge.mean() - truth > 0.4


def test_rates_cover_where_labels_are_few():
    rng = np.random.default_rng(0)
    people = (rng.random(1500) < 0.85).astype(float)
    judge = np.where(people == 1, rng.random(1500) < 0.95, rng.random(1500) < 0.4).astype(float)
    covered, estimates = [], []
    for _ in range(300):
        drawn = rng.choice(1500, 40, replace=False)
        found = corrected_mean(judge, judge[drawn], people[drawn])
        assert found.method == "post-stratification"
        covered.append(found.low <= people.mean() <= found.high)
        estimates.append(found.estimate)
    assert np.mean(covered) >= 0.92
    assert abs(np.mean(estimates) - people.mean()) <= 0.025


def test_a_judge_without_information_is_left_out_and_said_so():
    rng = np.random.default_rng(1)
    people, judge = rng.integers(1, 6, 500), rng.integers(1, 6, 500)
    found = corrected_mean(judge, judge[:60], people[:60])
    assert (found.estimate, found.low, found.high) == (found.labels_mean, found.labels_low, found.labels_high)
    assert found.note == "the judge carries no information; using labels only"


def test_the_order_of_rows_has_no_effect():
    order = RNG.permutation(300)
    drawn = np.arange(60)
    mixed = RNG.permutation(60)
    one = corrected_mean(JUDGE, JUDGE[drawn], PEOPLE[drawn])
    two = corrected_mean(JUDGE[order], JUDGE[drawn][mixed], PEOPLE[drawn][mixed])
    assert two.estimate == pytest.approx(one.estimate, abs=1e-12)
    assert two.low == pytest.approx(one.low, abs=1e-12)


def test_labelled_items_have_to_be_among_all():
    with pytest.raises(ConfigError) as error:
        corrected_mean([4, 4, 5], [3, 4], [3, 4])
    assert str(error.value) == (
        "corrected_mean(judge_all): lacks some of the scores in judge_labelled; "
        "expected the scores of all judged items, the labelled ones among them"
    )


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


FOLDER = Path(__file__).parents[2] / "shared" / "data" / "judge_agreement"


@pytest.mark.skipif(not FOLDER.exists(), reason="the data folder beside the repository is not there")
def test_real_dialogues_show_a_judge_that_is_too_kind_and_the_corrected_mean_finds_people():
    people = pd.read_parquet(FOLDER / "human_labels.parquet").query("dimension == 'Q0' and source == 'real'")
    judge = pd.read_parquet(FOLDER / "judge_scores.parquet").query("dimension == 'Q0' and source == 'real'")
    both = people.merge(judge, on="item_id")
    assert len(both) == 223
    found = agreement(both["human_score"], both["judge_score"], labels=[1, 2, 3, 4])
    assert found.bias == pytest.approx(3.6143 - 2.8251, abs=1e-3)  # stats.json beside the data
    assert found.weighted_kappa < 0.2
    covered, seed = 0, np.random.default_rng(0)
    for _ in range(200):
        drawn = seed.choice(len(both), 60, replace=False)
        scores = both["judge_expected"].to_numpy(), both["human_score"].to_numpy()
        corrected = corrected_mean(scores[0], scores[0][drawn], scores[1][drawn])
        covered += corrected.low <= scores[1].mean() <= corrected.high
    assert covered / 200 >= 0.93
    assert both["judge_expected"].mean() - both["human_score"].mean() > 0.4


def test_results_draw_and_become_json():
    import json

    from matplotlib import pyplot as plt

    for found in (agreement(PEOPLE, JUDGE), corrected_mean(JUDGE, JUDGE[:60], PEOPLE[:60]), bridge(PEOPLE, JUDGE)):
        json.dumps(found.to_dict())
        assert found.headline.endswith(".")
        assert found.plot() is not None
        plt.close("all")
