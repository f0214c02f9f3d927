import numpy as np
import pandas as pd
import pytest

from llm_monitoring.errors import ConfigError
from llm_monitoring.raters.agreeing import agreement
from llm_monitoring.raters.bridging import bridge
from llm_monitoring.raters.correcting import corrected_mean

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
    pd.testing.assert_frame_equal(found.to_frame(), again.to_frame(), rtol=1e-12)  # sums in another order


def test_agreement_of_raters_who_know_one_score_only_is_undefined():
    found = agreement([4, 4, 4], [4, 4, 4], repetitions=10)
    assert np.isnan(found.kappa)
    assert found.to_dict()["kappa"] is None


def test_a_score_off_the_scale_is_named():
    with pytest.raises(ConfigError) as error:
        agreement([1, 2], [1, 2.5])
    assert str(error.value) == "agreement(a, b): 2.5 is not on the scale 1, 2, 3, 4, 5. Give labels=[...]"


def test_results_draw_and_become_json():
    import json

    from matplotlib import pyplot as plt

    for found in (agreement(PEOPLE, JUDGE), corrected_mean(JUDGE, JUDGE[:60], PEOPLE[:60]), bridge(PEOPLE, JUDGE)):
        json.dumps(found.to_dict())
        assert found.headline.endswith(".")
        assert found.plot() is not None
        plt.close("all")
