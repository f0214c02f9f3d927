"""Has the slice recovered? Worlds in which a fix works, does not work, or is not the fix."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import incident, open_log
from llm_monitoring.incident import recovery
from tests.incident.worlds import START, make_alert, make_world

HIT = {"feature_id": "support"}
PROMPT = {"change_id": "chg-prompt", "kind": "prompt", "day": 10.5, "feature_id": "support"}
FIX = {"change_id": "chg-fix", "kind": "prompt", "day": 13.0, "feature_id": "support"}
FIXED = START + pd.Timedelta("13D")


def mended(fix=FIX, at=FIXED, still=0.0, judge=None, days=26):
    """A fall of 1.2 points on day 10.5; from `at` on only `still` of it is left."""
    made = {"days": days, "per_day": 160, "hit": HIT, "changes": [PROMPT, fix] if fix else [PROMPT]}
    bad, good = make_world(drop=1.2, **made), make_world(drop=still, **made)
    late = (bad.requests["timestamp"] >= at).to_numpy()
    scores = good.judgements.where(pd.Series(late), bad.judgements).astype({"flagged": bool, "quality_score": float})
    if judge:
        scores["judge_model"] = np.where(late, judge, "judge-1")
    return open_log({"requests": bad.requests, "judgements": scores, "changes": bad.changes})


def state(log, alert=None):
    alert = alert or make_alert()
    found = incident.scope(log, alert)
    return incident.respond(log, alert, found, incident.isolate(log, alert, found))


@pytest.fixture(scope="module")
def recovered():
    return mended()


def test_a_slice_that_is_back_is_recovered_and_needs_nothing_more(recovered):
    advice = state(recovered)
    test = advice.recovery
    assert test["recovered"] is True
    assert test["fix"] == {"change_id": "chg-fix", "at": "2026-05-17T00:00:00Z"}
    assert 20 <= test["expected_n"] <= test["needed_n"]
    assert test["margin"] == 0.25  # a third of 1.2, capped
    assert test["low"] > -0.25
    assert test["because"].startswith("Recovered: ")
    assert (advice.action, advice.target) == ("none", None)
    assert advice.because == "support has recovered since chg-fix."


def test_what_waiting_cost_is_read_from_before_the_fix(recovered):
    alert = make_alert()
    while_bad = state(recovered.until(FIXED - pd.Timedelta("1h")), alert).cost_of_waiting["affected_per_day"]
    assert state(recovered, alert).cost_of_waiting["affected_per_day"] == pytest.approx(while_bad, rel=0.2)


def test_after_a_fix_triage_and_scope_count_the_harm_and_not_the_recovered_answers(recovered):
    alert = make_alert()
    triage, found = incident.triage(recovered, alert), incident.scope(recovered, alert)
    rows = recovered.requests.merge(recovered.judgements[["request_id", "quality_score"]], on="request_id")
    rows = rows[(rows["feature_id"] == "support") & (rows["timestamp"] >= pd.Timestamp(triage.since))]
    by_hand = rows.loc[rows["timestamp"] < FIXED, "quality_score"]
    assert triage.change["after"] == pytest.approx(by_hand.mean())
    assert triage.change["n_after"] == found.slices[0]["n_after"] == len(by_hand)


def test_what_recovery_needs_is_said_as_a_time():
    now = START + pd.Timedelta("13D")
    test = state(mended(fix=None).until(now)).recovery
    assert test["days"] == pytest.approx(test["needed_n"] / 80, rel=0.25)  # 160 a day, half of them in support
    assert pd.Timestamp(test["by"]) - now == pytest.approx(pd.Timedelta(days=test["days"]), abs=pd.Timedelta("2h"))
    assert "at this traffic, by " in test["test"]
    assert "answers" not in test["test"].split("Wald")[1]
    early = state(mended().until(FIXED + pd.Timedelta("1D"))).recovery
    assert early["recovered"] is None
    assert "more at this traffic, by " in early["because"]


def test_looking_again_later_finds_the_same_decision_at_the_same_answer(recovered):
    first = state(recovered).recovery["decided_at"]
    early = state(recovered.until(pd.Timestamp(first) + pd.Timedelta("10min"))).recovery
    before = state(recovered.until(pd.Timestamp(first) - pd.Timedelta("1s"))).recovery
    assert early["recovered"] is True
    assert abs(pd.Timestamp(early["decided_at"]) - pd.Timestamp(first)) < pd.Timedelta(
        "1D"
    )  # the spread since is pooled in
    assert before["recovered"] is None


def test_a_fix_that_does_not_work_is_not_called_a_recovery():
    test = state(mended(still=1.2)).recovery
    assert test["recovered"] is False
    assert test["because"].startswith("Not recovered: ")


def test_without_a_change_after_the_alert_there_is_nothing_to_test(recovered):
    test = state(mended(fix=None)).recovery
    assert (test["recovered"], test["n"], test["fix"]) == (None, 0, None)
    assert test["because"] == "No change that reaches support is recorded after the alert: nothing to test yet."
    assert test["needed_n"] > 0


def test_a_change_that_cannot_reach_the_slice_is_no_fix():
    test = state(mended(fix={**FIX, "feature_id": "search"})).recovery
    assert test["fix"] is None


def test_answers_of_another_judge_do_not_count_and_are_said():
    test = state(mended(judge="judge-2")).recovery
    assert (test["recovered"], test["n"]) == (None, 0)
    assert test["left_out"] > 100
    assert "were scored by another judge or rubric than judge-1 and do not count" in test["because"]


def test_a_fix_counts_from_the_first_answer_of_its_version():
    log = mended()
    at = log.requests["timestamp"]
    live = FIXED + pd.Timedelta("6h")
    version = np.select([at < START + pd.Timedelta("10.5D"), at < live], ["v1", "v2"], "v3")
    tables = {
        "requests": log.requests.assign(prompt_version=version),
        "judgements": log.judgements,
        "changes": log.changes,
    }
    fix = state(open_log(tables)).recovery["fix"]
    assert live <= pd.Timestamp(fix["at"]) <= live + pd.Timedelta("1h")


@pytest.mark.parametrize(("still", "recovered"), [(0.0, True), (1.2, False)])
def test_a_version_that_left_the_traffic_without_a_record_is_a_fix(still, recovered):
    log = mended(fix=None, still=still)
    requests = log.requests
    at = requests["timestamp"]
    served = (at >= START + pd.Timedelta("10.5D")) & (at < FIXED)
    requests = requests.assign(prompt_version=np.where(served, "v9", "v8"))
    log = open_log({"requests": requests, "judgements": log.judgements, "changes": log.changes})
    advice = state(log)
    assert advice.recovery["fix"]["change_id"] is None
    assert pd.Timestamp(advice.recovery["fix"]["at"]) == at[served].max() + pd.Timedelta("1us")
    assert advice.recovery["recovered"] is recovered
    assert "prompt_version v9 left the traffic" in advice.because
    assert advice.action == ("none" if recovered else "investigate")
    if recovered:
        found = incident.scope(log, make_alert()).slices[0]
        rows = log.judgements.merge(requests[served & (requests["feature_id"] == "support")], on="request_id")
        assert found["n_after"] == len(rows)


@pytest.mark.parametrize(("slow", "expected"), [(False, True), (True, False)])
def test_a_latency_quantile_recovers_when_no_more_answers_than_before_are_above_it(slow, expected):
    world = make_world(days=24, per_day=160)
    at = world.requests["timestamp"]
    hit = (world.requests["feature_id"] == "search") & (at >= START + pd.Timedelta("10.5D"))
    hit &= True if slow else at < FIXED
    requests = world.requests.assign(latency_ms=world.requests["latency_ms"] * (1 + hit))
    fix = {"change_id": "chg-fix", "kind": "config", "timestamp": FIXED, "description": "a smaller index"}
    log = open_log({"requests": requests, "changes": pd.DataFrame([fix])})
    test = state(log, make_alert(feature_id="search", metric="latency_p95_ms", direction="up")).recovery
    assert test["recovered"] is expected
    assert "above the" in test["test"]


@pytest.mark.parametrize("day_sd", [0.0, 0.08])
def test_a_level_worse_by_the_margin_passes_as_recovered_in_one_case_of_twenty_at_most(day_sd):
    generator, wrong, runs = np.random.default_rng(5), 0, 400
    for _ in range(runs):
        day = np.repeat(np.arange(30), 40)
        effect = generator.normal(0, day_sd, 30)[day]
        level = generator.normal(0, 0.1)  # the old level is not known better than this
        at = START + pd.to_timedelta(day + np.tile(np.arange(40) / 40, 30), unit="D")
        after = pd.DataFrame({"timestamp": at, "harm": level + 0.2 + effect + generator.normal(0, 0.8, len(day))})
        base = recovery.Baseline(0.0, 0.1**2, 0.8**2, day_sd**2, 0.2)
        wrong += bool((recovery.log_ratios(after, base)[2] >= np.log(1 / recovery.FALSELY)).any())
    assert wrong / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_the_ratio_is_that_of_two_normal_laws_of_the_difference():
    at = START + pd.to_timedelta([0.1, 0.2, 1.1], unit="D")
    after = pd.DataFrame({"timestamp": at, "harm": [0.3, -0.1, 0.4]})
    base = recovery.Baseline(0.0, 0.02, 0.5, 0.04, 0.25)
    change, variance, ratio = recovery.log_ratios(after, base)
    covariance = 0.02 + 0.5 * np.eye(3) + 0.04 * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    from scipy.stats import multivariate_normal

    x = after["harm"].to_numpy()
    exact = multivariate_normal(np.zeros(3), covariance).logpdf(x) - multivariate_normal(
        np.full(3, 0.25), covariance
    ).logpdf(x)
    assert ratio[-1] == pytest.approx(exact)
    inverse = np.linalg.inv(covariance)
    assert variance[-1] == pytest.approx(1 / inverse.sum())
    assert change[-1] == pytest.approx((inverse @ x).sum() / inverse.sum())


def test_of_two_that_cannot_be_told_apart_the_cheaper_or_later_is_taken_back_first():
    twin = {**PROMPT, "change_id": "chg-a-deploy", "kind": "deployment", "day": 10.501}
    log = make_world(hit=HIT, drop=0.9, changes=[PROMPT, twin])
    advice = state(log)
    assert (advice.action, advice.target) == ("rollback", "chg-prompt")
    assert "is the experiment" in advice.because


def test_what_went_live_before_the_answers_got_worse_has_mended_nothing():
    unlike = {**FIX, "change_id": "chg-other", "day": 10.2}
    log = make_world(days=14, per_day=160, hit=HIT, drop=1.2, changes=[unlike, PROMPT])
    alert = make_alert(day=10.1)  # a chance alert, hours before the harm
    triage, advice = incident.triage(log, alert), state(log, alert)
    assert triage.change["n_after"] > 100
    assert advice.recovery["fix"] is None
