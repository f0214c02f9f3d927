"""First sentences of every outcome, after the examples of the page's design."""

import pytest
from reporting.results import make_alert, make_cause, make_incident, make_isolate, make_results, make_slice

from llm_monitoring.reporting.outcome import first_sentence, outcome_of


def said(**results):
    return " ".join(first_sentence(make_results(**results))).replace("\u00a0", " ")


def test_a_real_incident_says_who_how_much_before_and_since_when():
    assert said() == "Real: 67 % of gpt-4 answers in opinionqa are flagged since 27 June; before, 2 %."


def test_a_fall_of_quality_is_told_in_scores():
    score = {"metric": "mean_quality", "unit": "score", "direction": "down"}
    where = {"feature_id": "support", "category": "returns"}
    sentence = said(
        triage=score, scope={**score, "slices": [make_slice(where, label="support, returns", before=4.21, after=3.05)]}
    )
    assert sentence == "Real: returns answers in support score 3.05 of 5 since 27 June; before, 4.21."


def test_an_infrastructure_metric_is_told_by_its_name():
    late = {"metric": "latency_p95_ms", "unit": "ms"}
    where = {"feature_id": "search"}
    sentence = said(triage=late, scope={**late, "slices": [make_slice(where, label="search", before=900, after=2100)]})
    assert sentence == "Real: latency (p95) of answers in search went from 0.90 s to 2.1 s on 27 June."


def test_a_false_positive_says_how_many_flags_were_deserved():
    change = {"estimate": 0.05, "low": 0.0, "high": 0.1, "before": 0.04, "after": 0.09}
    sentence = said(
        triage={"verdict": "false_positive", "feature_id": "search", "change": change, "reviewed": 12, "deserved": 1}
    )
    assert sentence == (
        "False positive: flags in search rose from 4 % to 9 % by 28 June, but only 1 of 12 that were read was deserved; "
        "quality is not lower."
    )


def test_a_false_positive_that_nobody_read_blames_chance_or_other_questions():
    sentence = said(triage={"verdict": "false_positive", "reviewed": 0, "deserved": 0})
    assert sentence.endswith("which chance or other questions explain better than worse answers.")


def test_inconclusive_gives_the_fall_that_is_still_possible():
    change = {"estimate": -0.2, "low": -0.4, "high": 0.05, "before": 4.2, "after": 4.0}
    sentence = said(
        triage={
            "verdict": "inconclusive", "metric": "mean_quality", "unit": "score", "direction": "down",
            "feature_id": "search", "change": change,
        }
    )  # fmt: skip
    assert sentence == "Inconclusive: mean quality of search may have fallen by 0.00 to 0.40 points."


def test_no_alert_says_what_was_watched_and_what_would_have_been_seen():
    results = {
        "incident": make_incident(alert=None),
        "triage": {"charts": 24, "days": 31, "words": "a fall of 0.3 points would have been seen in 8 of 10 cases"},
    }
    assert " ".join(first_sentence(results)) == (
        "No alert: 24 charts, 31 days, nothing outside the limits; "
        "a fall of 0.3 points would have been seen in 8 of 10 cases."
    )


def test_a_log_too_short_for_a_chart_is_not_called_within_limits():
    results = {"incident": make_incident(alert=None), "triage": {"charts": 0, "days": 0, "words": ""}}
    assert " ".join(first_sentence(results)) == (
        "No alert: the log is too short or too thin to fit a chart, so a fall would not have been seen."
    )


def test_a_judge_that_changed_is_a_false_positive():
    ranking = [
        make_cause("judge", 0.97, kind="judge", recorded=False, evidence=["judge-2 scores old answers 0.4 lower."])
    ]
    sentence = said(isolate={"verdict": "judge", "ranking": ranking, "candidates": ["judge"]})
    assert sentence == "False positive: the judge changed, not the answers: judge-2 scores old answers 0.4 lower."


def test_a_mix_shift_names_the_part_of_the_traffic_that_grew():
    leaves = [
        make_slice({"category": "billing"}, label="billing", verdict="no change seen", n_before=100, n_after=310),
        make_slice({"category": "other"}, label="other", verdict="no change seen", n_before=900, n_after=690),
    ]
    sentence = said(scope={"kind": "mix", "leaves": leaves})
    assert sentence == (
        "Real, but the questions changed: billing went from 10 % to 31 % of the answers seen; no slice got worse."
    )


def test_two_causes_that_cannot_be_told_apart_are_both_named():
    ranking = [make_cause("prompt-v7", 0.52), make_cause("index-14", 0.44), make_cause("silent", 0.04, recorded=False)]
    sentence = said(
        isolate={"verdict": "cannot tell apart", "ranking": ranking, "candidates": ["prompt-v7", "index-14"]},
        respond={"next": "Roll back prompt-v7 first."},
    )
    assert sentence == (
        "Real; cause open between two: prompt-v7 (0.52) and index-14 (0.44) cannot be told apart; "
        "roll back prompt-v7 first."
    )


def test_nothing_recorded_fits_says_between_which_hours_something_moved():
    sentence = said(isolate={"verdict": "no recorded change fits"})
    assert sentence == (
        "Real; no recorded change fits: something unlogged moved gpt-4 answers in opinionqa between 26 Jun 23:50 UTC "
        "and 27 Jun 02:00 UTC."
    )


def test_a_stage_that_failed_says_which_and_what_stands():
    stages = {"triage": "done", "scope": "done", "isolate": "failed", "respond": "not run", "learn": "not run"}
    failure = {"stage": "isolate", "notebook": "3_isolate.ipynb", "cell": 4, "error": "ValueError: no"}
    assert said(incident={"failure": failure, "stages": stages}) == (
        "Not finished: stage 3 stopped (message below); triage and scope stand."
    )


def test_recovered_says_what_is_left_before_it_closes():
    recovery = {
        "test": "t", "needed_n": 119, "margin": 0.06, "n": 119, "recovered": True,
        "because": "3 of 119 answers flagged since the pin of 28 June",
    }  # fmt: skip
    assert said(respond={"recovery": recovery}) == (
        "Recovered: 3 of 119 answers flagged since the pin of 28 June; closed when 18 cases are in the eval suite."
    )
    assert said(respond={"recovery": recovery}, learn={"closed": True}).endswith("28 June; closed.")


@pytest.mark.parametrize("verdict", ["false_positive", "inconclusive"])
def test_a_recovery_cannot_be_told_of_something_that_was_not_real(verdict):
    recovery = {**make_results()["respond"]["recovery"], "recovered": True}
    assert outcome_of(make_results(triage={"verdict": verdict}, respond={"recovery": recovery})) == verdict


def test_an_alert_whose_metric_has_no_value_for_single_answers_is_inconclusive():
    nothing = dict.fromkeys(["estimate", "low", "high", "before", "after"])
    sentence = said(
        triage={"verdict": "inconclusive", "metric": "total_cost_usd", "unit": "usd", "change": nothing},
        isolate=make_isolate(ranking=[], verdict="cannot tell apart", candidates=[]),
        incident={"alert": make_alert(metric="total_cost_usd")},
    )
    assert sentence == "Inconclusive: 18 of 20 flagged answers that were read deserved the flag."  # its first reason
