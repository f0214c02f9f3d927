"""How well a shift of a slice from a time on explains the rows: closed forms by hand, and what must not move the evidence."""

from dataclasses import replace
from math import lgamma, log

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, sparse

from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference import shifts
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import EFFECTS, log_harm, log_raised, shift_evidence
from llm_monitoring.incident.inference.slices import ALL, Slice
from tests.builders import START, make_requests
from tests.incident.worlds import make_alert

DAY = pd.Timedelta("1D")
SUPPORT, SEARCH = (Slice((("feature_id", name),)) for name in ("support", "search"))
SLICES = [ALL, SUPPORT, SEARCH]
TIMES = pd.DatetimeIndex([START + day * DAY for day in (6, 8, 10, 12)])


def observed(scale="score", drop=1.0, at=10, slice_=SUPPORT, sign=-1, fired=16, **columns):
    """Sixteen days, 24 answers a day in turn of two features; scores of 3 and 5 in turn, or one bad answer of eight.

    From day `at` on those of the slice are lower by `drop`, or as much more of them are bad.
    """
    rows = make_requests(16 * 24, every="1h", feature_id=["support", "search"], **columns)
    hit = slice_.mask(rows) & (rows["timestamp"] >= START + at * DAY).to_numpy()
    turn = rows.groupby("feature_id").cumcount().to_numpy()
    if scale == "score":
        value = np.where(turn % 2, 5.0, 3.0) - drop * hit
    else:
        value = (turn % 8 < np.where(hit, 1 + 8 * drop, 1)).astype(float)
    metric = "mean_quality" if scale == "score" else "flagged_rate"
    alert = read_alert(make_alert(day=fired, metric=metric, direction="down" if sign < 0 else "up"))
    return Observations(rows.assign(value=value), rows, ("feature_id",), scale, sign, alert, 1.0)


def found(seen, times=TIMES, **more):
    return shift_evidence(seen, SLICES, times, **more)


def best(evidence):
    return np.unravel_index(np.argmax(evidence), evidence.shape)


@pytest.mark.parametrize(("scale", "drop", "sign"), [("score", 1.0, -1), ("share", 0.5, 1)])
def test_the_slice_and_the_time_of_a_shift_have_the_most_evidence(scale, drop, sign):
    told = found(observed(scale, drop, sign=sign))
    assert best(told.log_evidence) == (1, 2)
    assert told.log_evidence[1, 2] > 5
    assert told.log_evidence[2, 2] < 0  # the other feature stayed
    assert told.size[1, 2] == pytest.approx(drop, abs=0.15 * drop)


@pytest.mark.parametrize(("scale", "sign"), [("score", -1), ("share", 1)])
def test_where_nothing_moved_every_shift_has_evidence_against_it(scale, sign):
    told = found(observed(scale, 0.0, sign=sign))
    assert (told.log_evidence < 0).all()
    assert np.abs(told.size).max() < 0.05


def test_an_improvement_is_no_evidence_of_harm():
    told = found(observed(drop=-1.0))
    assert told.log_evidence[1, 2] < -3
    assert told.size[1, 2] == pytest.approx(-1.0, abs=0.15)


def test_scores_turned_upside_down_with_their_alert_give_the_same_evidence():
    down, up = observed(), observed(sign=1)
    up.frame["value"] = 8 - down.frame["value"]
    a, b = found(down), found(up)
    np.testing.assert_allclose(a.log_evidence, b.log_evidence, rtol=1e-9)
    np.testing.assert_allclose(a.size, b.size, rtol=1e-9)


@pytest.mark.parametrize(("scale", "drop", "sign"), [("score", 1.0, -1), ("share", 0.5, 1)])
def test_neither_the_names_of_the_features_nor_equal_weights_change_the_evidence(scale, drop, sign):
    seen = observed(scale, drop, sign=sign)
    usual = found(seen)
    weighted = found(replace(seen, frame=seen.frame.assign(weight=7.0)))
    np.testing.assert_allclose(weighted.log_evidence, usual.log_evidence, rtol=1e-9)
    renamed = seen.frame.assign(feature_id=seen.frame["feature_id"].map({"support": "a", "search": "z"}))
    parts = [ALL, *(Slice((("feature_id", name),)) for name in "az")]
    other = shift_evidence(replace(seen, frame=renamed, requests=renamed), parts, TIMES)
    np.testing.assert_allclose(other.log_evidence, usual.log_evidence, rtol=1e-6)


def test_a_row_at_the_time_counts_as_after_it():
    times = pd.DatetimeIndex([START + 10 * DAY, START + 10 * DAY + pd.Timedelta("1us")])
    told = found(observed(slice_=SUPPORT), times)
    assert told.log_evidence[1, 0] > told.log_evidence[1, 1]  # the answer at 10 days sharp is of support, and lower


def test_an_arrival_of_all_rows_from_a_time_on_is_the_step_at_that_time():
    seen = observed()
    arrived = (seen.frame["timestamp"] >= TIMES[2]).to_numpy(float)
    told = found(seen, arrivals=[arrived])
    assert told.log_arrivals.shape == (3, 1)
    np.testing.assert_allclose(told.log_arrivals[:, 0], told.log_evidence[:, 2], rtol=1e-9)
    np.testing.assert_allclose(told.arrival_size[:, 0], told.size[:, 2], rtol=1e-9)


def test_a_slide_fits_a_ramp_better_than_any_step():
    seen = observed(drop=0.0)
    day = ((seen.frame["timestamp"] - START) / DAY).to_numpy()
    seen.frame["value"] -= 2 * np.clip((day - 6) / 8, 0, 1) * SUPPORT.mask(seen.frame)
    told = found(seen, ramps=[(START + 6 * DAY, 8 * DAY)])
    assert told.log_ramps[1, 0] > told.log_evidence.max() + 3
    assert told.ramp_size[1, 0] == pytest.approx(2.0, abs=0.3)


def test_a_large_step_of_a_share_is_no_slide():
    seen = observed("share", 0.42, sign=1)  # from one bad answer of eight to more than half of them
    slides = [(START + day * DAY, length * DAY) for day in (6, 7, 8, 9) for length in (4, 10)]
    told = found(seen, ramps=slides)
    assert told.log_evidence[1].max() > told.log_ramps[1].max() + 3


def test_answers_of_which_a_part_fails_say_less_of_the_hour_at_which_it_began():
    whole, part = observed(drop=1.2), observed(drop=0.0)
    late = (part.frame["timestamp"] >= START + 13 * DAY) & (part.frame["feature_id"] == "support")
    failed = late & (np.arange(len(late)) // 2 % 2 == 0)
    part = replace(part, frame=part.frame.assign(value=np.where(failed, -1.0, part.frame["value"])))
    rows, values = shifts._rows(part)
    wider = shifts._wider(rows, values, shifts._variance(rows, part), part)
    assert wider[late.to_numpy()].mean() > 1.1
    rows, values = shifts._rows(whole)
    unmoved = shifts._wider(rows, values, shifts._variance(rows, whole), whole)
    assert max(wider[~late.to_numpy()].max(), unmoved.max()) < 1.05


def test_what_effects_explain_is_the_same_whichever_are_solved_for_together():
    rng = np.random.default_rng(0)
    design = sparse.csr_matrix(np.hstack([np.eye(6)[rng.integers(6, size=40)], rng.normal(size=(40, 3))]))
    weight, single, dense = rng.uniform(1, 2, 40), rng.uniform(0.5, 1, 7), np.array([[2.0, 0.3], [0.3, 1.0]])
    precision = design.T @ (design.toarray() * weight[:, None]) + linalg.block_diag(np.diag(single), dense)
    sums = design.T @ rng.normal(size=(40, 2))
    told = shifts._whitening(design, weight, [single, dense], slice(0, 6))(sums)
    assert told.T @ told == pytest.approx(sums.T @ np.linalg.solve(precision, sums))


def test_the_best_size_of_a_slide_is_that_of_its_binomial_likelihood():
    bad, good = np.array([1.0, 5.0, 9.0, 2.0]), np.array([9.0, 5.0, 1.0, 8.0])
    dose, usual = np.array([0.0, 0.5, 1.0, 0.0]), 0.15
    levels = usual + (shifts.SIZES * (1 - usual))[:, None] * dose
    ratio = bad * np.log(levels / usual) + good * np.log((1 - levels) / (1 - usual))
    counts = np.column_stack([bad, good])
    with_it, without = (counts[dose == end].sum(0)[:, None] for end in (1, 0))
    told = shifts._best_fit(counts[1:2], dose[1:2, None], with_it, without, usual)
    assert told == pytest.approx(ratio.sum(1).max())


def test_a_time_before_the_first_or_after_the_last_row_says_nothing_of_harm():
    told = found(observed(), pd.DatetimeIndex([START - DAY, START + 40 * DAY]))
    assert np.isfinite(told.log_evidence).all()
    assert (told.log_evidence <= 0).all()


@pytest.mark.parametrize(("size", "effect"), [(1, 1.0), (2, 2.0), (4, 4.0)])
def test_answers_of_a_session_that_are_all_alike_are_worth_one(size, effect):
    # sessions are wholly good or wholly bad, as often one as the other: as many answers as a session has count as one
    n = 20 * size
    frame = pd.DataFrame({"session_id": np.repeat(np.arange(20), size), "request_id": np.arange(n)})
    rows = pd.DataFrame({"leaf": 0, "y": np.repeat([1.0, -1.0] * 10, size)})
    assert shifts._design_effect(rows, frame) == pytest.approx(effect)


def test_answers_without_a_session_or_unlike_within_it_count_fully():
    rows = pd.DataFrame({"leaf": 0, "y": [1.0, -1.0] * 20})
    ids = pd.DataFrame({"request_id": np.arange(40)})
    assert shifts._design_effect(rows, ids) == 1
    assert shifts._design_effect(rows, ids.assign(session_id=None)) == 1
    assert shifts._design_effect(rows, ids.assign(session_id=np.repeat(np.arange(20), 2))) == 1


def test_evidence_of_harm_is_the_mean_over_the_sizes_of_the_ratio_of_two_normals():
    # by summing over true sizes: each of 0.15, 0.4 and 1 give or take a third, none below 0
    v, delta = 0.04, 0.5
    true = np.linspace(0, 4, 400_001)
    ratios = []
    for size in (0.15, 0.4, 1.0):
        prior = np.exp(-0.5 * ((true - size) / (size / 3)) ** 2)
        ratios.append((prior / prior.sum()) @ np.exp((delta * true - true**2 / 2) / v))
    assert log_harm(np.array([delta]), np.array([v]), EFFECTS["score"])[0] == pytest.approx(
        log(np.mean(ratios)), rel=1e-4
    )


@given(st.floats(-3, 3), st.floats(1e-3, 1))
def test_more_harm_is_more_evidence_of_harm(delta, variance):
    low, high = log_harm(np.array([delta, delta + 0.1]), np.array([variance] * 2), EFFECTS["score"])
    assert low < high


@pytest.mark.parametrize("unknown", [(np.nan, 1.0), (0.3, np.nan)])
def test_a_shift_that_cannot_be_measured_is_slightly_against_harm(unknown):
    delta, variance = (np.array([x]) for x in unknown)
    assert log_harm(delta, variance, EFFECTS["score"])[0] == pytest.approx(-log(2))


def test_evidence_from_counts_is_a_binomial_against_a_beta_binomial():
    # 10 bad of 20 before: Beta(10.5, 10.5), median one half; 14 bad of 20 since, asked of a share raised by 0.2
    def log_beta(a, b):
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    expected = 14 * log(0.7) + 6 * log(0.3) - (log_beta(24.5, 16.5) - log_beta(10.5, 10.5))
    assert float(log_raised(14, 20, 10, 20, np.array([0.2]), nodes=1)) == pytest.approx(expected)


@pytest.mark.parametrize(("bad", "sign"), [(4, -1), (36, 1)])
def test_counts_speak_for_a_rise_where_there_is_one_and_against_where_there_is_none(bad, sign):
    assert np.sign(log_raised(bad, 40, 10, 100, np.array([0.4]))) == sign


def test_no_rows_say_nothing_and_shapes_are_kept():
    told = log_raised(np.zeros((2, 3)), np.zeros((2, 3)), np.ones((2, 3)), np.full((2, 3), 9.0), np.array([0.1, 0.3]))
    assert told.shape == (2, 3)
    np.testing.assert_allclose(told, 0, atol=1e-12)
