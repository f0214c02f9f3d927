"""Two sets of runs: expected values by scipy's exact tests and by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, fisher_exact

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError


def runs(before, after, **columns):
    """One row per answer: lists of (probe_id, passed) before and after."""
    rows = [(probe, passed, "old") for probe, passed in before] + [(probe, passed, "new") for probe, passed in after]
    frame = pd.DataFrame(rows, columns=["probe_id", "passed", "model_id"])
    frame["passed"] = frame["passed"].astype("boolean")
    frame["run_at"] = pd.Timestamp("2026-05-01", tz="UTC") + pd.to_timedelta(frame["model_id"].eq("new") * 7, unit="D")
    return frame.assign(**columns)


def single(lost, won, kept, failed):
    before = [True] * (lost + kept) + [False] * (won + failed)
    after = [False] * lost + [True] * (kept + won) + [False] * failed
    return runs([(f"p{i}", b) for i, b in enumerate(before)], [(f"p{i}", a) for i, a in enumerate(after)])


@pytest.mark.parametrize(("lost", "won"), [(9, 1), (5, 5), (20, 8), (0, 7)])
def test_one_answer_a_side_gives_mcnemars_exact_p(lost, won):
    result = lm.compare_probes(single(lost, won, 30, 4), "old", "new")
    assert result.p_value == pytest.approx(binomtest(lost, lost + won).pvalue)
    assert (len(result.lost), len(result.won)) == (lost, won)
    assert result.change == pytest.approx((won - lost) / (34 + lost + won))


def test_one_probe_gives_fishers_exact_p():
    frame = runs([("p", True)] * 9 + [("p", False)], [("p", True)] * 3 + [("p", False)] * 7)
    result = lm.compare_probes(frame, "old", "new")
    expected = fisher_exact([[9, 1], [3, 7]]).pvalue
    assert result.p_value == pytest.approx(expected)
    assert result.to_frame()["p_value"].tolist() == [pytest.approx(expected)]
    assert result.verdict == "changed"


def test_interval_of_the_change_is_agresti_and_mins():
    result = lm.compare_probes(single(10, 4, 30, 6), "old", "new")
    n, b, c = 50, 10, 4
    middle = (c - b) / (n + 2)
    half = 1.959964 * np.sqrt((b + c + 1) - (c - b) ** 2 / (n + 2)) / (n + 2)  # Agresti and Min 2005
    assert (result.low, result.high) == (pytest.approx(middle - half), pytest.approx(middle + half))


def test_false_alarms_stay_under_alpha():
    rng = np.random.default_rng(0)
    share = rng.random(30)
    alarms = 0
    for _ in range(40):
        before, after = ([(f"p{i}", rng.random() < share[i]) for i in range(30) for _ in range(2)] for _ in "ab")
        alarms += lm.compare_probes(runs(before, after), "old", "new").verdict == "changed"
    assert alarms <= 10  # two rules at 5 % each: 99.9 % quantile of Binomial(40, .0975)


def test_calls_without_an_answer_are_not_failures():
    frame = single(0, 0, 20, 0)
    frame.loc[(frame["model_id"] == "new") & frame["probe_id"].isin(["p1", "p2"]), "passed"] = pd.NA
    result = lm.compare_probes(frame, "old", "new")
    assert (result.verdict, result.lost, result.unmeasured, result.n_probes) == ("unchanged", [], 2, 18)
    assert result.unpaired == ["p1", "p2"]


def test_a_model_that_cannot_be_reached_could_not_be_measured():
    frame = single(0, 0, 20, 0)
    frame.loc[frame["model_id"] == "new", "passed"] = pd.NA
    result = lm.compare_probes(frame, "old", "new")
    assert (result.verdict, result.change, result.p_value) == ("could_not_measure", None, None)
    assert result.headline == "Could not measure: no probe has an answer on both sides (20 calls without one)."


def test_a_suite_too_small_to_show_anything_says_so():
    result = lm.compare_probes(single(2, 0, 0, 0), "old", "new")
    assert result.verdict == "could_not_measure"  # two pairs give p = .5 at best
    assert result.detectable is None
    assert result.lost == ["p0", "p1"]


def test_an_unchanged_suite_states_what_it_would_have_seen():
    result = lm.compare_probes(single(0, 0, 40, 0), "old", "new")
    assert result.detectable == 0.15  # six losses give p = 2 / 64; .15 of 40 = 6
    assert "A loss of 15 % of the probes would be seen 8 times in 10." in result.headline


def test_ranges_masks_and_ids_choose_the_same_rows():
    frame = single(9, 1, 30, 4)
    new = frame["model_id"] == "new"
    results = [
        lm.compare_probes(frame, "old", "new"),
        lm.compare_probes(frame, ~new, new),
        lm.compare_probes(frame, (None, "2026-05-05"), ("2026-05-05", None)),
    ]
    assert len({(r.p_value, r.change, tuple(r.lost)) for r in results}) == 1


def test_row_order_changes_nothing():
    frame = single(9, 1, 30, 4)
    shuffled = frame.sample(frac=1, random_state=0)
    assert lm.compare_probes(frame, "old", "new").to_dict() == lm.compare_probes(shuffled, "old", "new").to_dict()


def test_what_was_reported_and_the_length_of_answers_are_compared():
    frame = single(0, 0, 20, 0).assign(output="four", response_model="m-01", system_fingerprint=None, latency_ms=100.0)
    new = frame["model_id"] == "new"
    frame.loc[new, ["output", "response_model", "latency_ms"]] = ["eightchs", "m-02", 100.0]
    measures = {row["measure"]: row for row in lm.compare_probes(frame, "old", "new").measures}
    assert measures["output_characters"]["factor"] == pytest.approx(2)
    assert measures["output_characters"]["p_value"] < 0.001
    assert measures["latency_ms"]["factor"] == pytest.approx(1)
    assert (measures["response_model"]["before"], measures["response_model"]["after"]) == ("m-01", "m-02")
    assert measures["response_model"]["changed"] is True
    assert measures["system_fingerprint"]["changed"] is None


def test_result_survives_json_and_evil_ids():
    frame = single(9, 1, 30, 4)
    frame["probe_id"] = "<script>" + frame["probe_id"] + "$\x00"
    result = lm.compare_probes(frame, "old", "new")
    json.dumps(result.to_dict(), allow_nan=False)
    assert "<script>" not in result._repr_html_()
    result.plot()


@pytest.mark.parametrize(
    ("baseline", "current", "sentence"),
    [
        ("odl", "new", "compare_probes(baseline): 'odl' is not a model_id here ('new', 'old'); the nearest is 'old'"),
        ("old", "old", "compare_probes: 44 rows are in both baseline and current; expected two separate sets"),
        (
            "old",
            [True],
            "compare_probes(current): [True]; expected a boolean mask of 88 rows, a (start, end) of run_at, or a model id",
        ),
        (("x", None), "new", "compare_probes: baseline='x' is not a time; expected one such as '2026-05-12T09:31Z'"),
    ],
)
def test_errors_are_whole_sentences(baseline, current, sentence):
    with pytest.raises(ConfigError) as error:
        lm.compare_probes(single(9, 1, 30, 4), baseline, current)
    assert str(error.value) == sentence
