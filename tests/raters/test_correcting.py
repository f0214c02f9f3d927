from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.errors import ConfigError
from llm_monitoring.raters.agreeing import agreement
from llm_monitoring.raters.correcting import corrected_mean

RNG = np.random.default_rng(5)
PEOPLE = RNG.integers(1, 6, 300)
JUDGE = np.clip(PEOPLE + RNG.choice([-1, 0, 0, 1, 1, 2], 300), 1, 5)
UNUSED_LEVEL = (np.where(PEOPLE == 3, 4, PEOPLE), np.where(JUDGE == 3, 2, JUDGE))


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


FOLDER = Path(__file__).parents[3] / "shared" / "data" / "judge_agreement"


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
