"""What speaks for a cause beside the time at which answers changed: versions, fingerprints, roll-outs, probes, people."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import incident, open_log
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.causes import possible_causes
from llm_monitoring.incident.inference.inquiry import inquire
from llm_monitoring.incident.inference.observations import observe
from llm_monitoring.incident.inference.shifts import shift_evidence
from llm_monitoring.incident.inference.slices import candidates
from llm_monitoring.incident.inference.weighing import Grouping, weigh
from tests.incident.worlds import START, make_alert, make_world

PROMPT = {"change_id": "chg-prompt", "kind": "prompt", "day": 10.5, "feature_id": "support"}
TWIN = {**PROMPT, "change_id": "chg-twin", "day": 10.3}
CONFIG = {"change_id": "chg-config", "kind": "config", "day": 9.5}
SUPPORT = {"feature_id": "support"}


def tables(log, **others):
    names = ("requests", "judgements", "changes", "signals", "probe_results", "reviews")
    return {name: getattr(log, name) for name in names if len(getattr(log, name))} | others


def belief(log, alert=None):
    return {row["cause"]: row["probability"] for row in incident.isolate(log, alert or make_alert()).ranking}


def versioned(log, late, new="v8", old="v7"):
    return log.requests.assign(prompt_version=np.where(late, new, old))


def test_a_prompt_whose_version_reached_the_traffic_is_told_from_one_whose_did_not():
    world = make_world(hit=SUPPORT, drop=0.9, changes=[PROMPT, TWIN])
    blind = belief(world)
    late = (world.requests["timestamp"] >= START + pd.Timedelta("10.5D")) & (world.requests["feature_id"] == "support")
    seen = belief(open_log(tables(world, requests=versioned(world, late))))
    assert seen["chg-prompt"] > 0.9 > blind["chg-prompt"]
    assert seen["chg-twin"] < blind["chg-twin"]


@pytest.mark.parametrize("scope", [{"model_id": "model-c-2026-06-01"}, {"model_id": []}])
def test_a_change_of_a_model_that_no_request_has_named_is_ranked_with_the_others(scope):
    log = make_world(
        hit=SUPPORT, drop=0.9, changes=[PROMPT, {"change_id": "chg-c", "kind": "model_version", "day": 11.0, **scope}]
    )
    cause = incident.isolate(log, make_alert())
    assert cause.ranking[0]["cause"] == "chg-prompt"
    told = [" ".join(row["evidence"]) for row in cause.ranking if row["cause"] == "chg-c"]
    assert all("Its scope (model-c-2026-06-01) holds 0" in words for words in told if scope["model_id"])


def test_a_gradual_roll_out_is_told_by_the_version_of_each_answer_and_needs_no_time():
    world = make_world(changes=[{**PROMPT, "ends_at": START + pd.Timedelta("14D")}])
    requests = world.requests
    day = (requests["timestamp"] - START) / pd.Timedelta("1D")
    lucky = np.random.default_rng(5).uniform(size=len(requests)) < np.clip((day - 10.5) / 3.5, 0, 1)
    got_it = lucky & (requests["feature_id"] == "support")
    scores = world.judgements.assign(
        quality_score=np.clip(world.judgements["quality_score"] - 1.5 * got_it.to_numpy(), 1, 5)
    )
    log = open_log(tables(world, requests=versioned(world, got_it), judgements=scores))
    cause = incident.isolate(log, make_alert(day=14))
    assert cause.verdict == "chg-prompt"
    assert any("prompt_version v8 was first seen" in words for words in cause.ranking[0]["evidence"])


def test_a_roll_out_that_was_recorded_with_its_end_is_found_without_a_version_column():
    rollout = {**PROMPT, "kind": "deployment", "ends_at": START + pd.Timedelta("13D")}
    world = make_world(changes=[rollout, {**CONFIG, "day": 12.0}])
    day = (world.requests["timestamp"] - START) / pd.Timedelta("1D")
    dose = np.clip((day - 10.5) / 2.5, 0, 1) * (world.requests["feature_id"] == "support")
    scores = world.judgements.assign(
        quality_score=np.clip(world.judgements["quality_score"] - 1.2 * dose.to_numpy(), 1, 5)
    )
    found = belief(open_log(tables(world, judgements=scores)), make_alert(day=14))
    assert found["chg-prompt"] > 0.8


def test_a_new_fingerprint_that_nobody_recorded_is_named_as_what_silently_moved():
    hit = {"model_id": "model-a-2026-01-01"}
    world = make_world(hit=hit, drop=0.6, changes=[{**CONFIG, "day": 10.6}])
    late = (world.requests["timestamp"] >= START + pd.Timedelta("10.5D")) & (
        world.requests["model_id"] == hit["model_id"]
    )
    requests = world.requests.assign(system_fingerprint=np.where(late, "fp-2", "fp-1"))
    before, log = belief(world, make_alert(feature_id=None)), open_log(tables(world, requests=requests))
    cause = incident.isolate(log, make_alert(feature_id=None))
    told = {row["cause"]: row for row in cause.ranking}["silent"]
    assert told["probability"] > before["silent"]
    assert cause.verdict == "no recorded change fits"
    assert any("system_fingerprint fp-2 of model-a-2026-01-01 first appeared" in words for words in told["evidence"])


def test_a_judge_of_another_name_is_a_change_of_the_judge():
    world = make_world(judge_drop=0.5, changes=[PROMPT, CONFIG])
    late = world.requests["timestamp"] >= START + pd.Timedelta("10.5D")
    judgements = world.judgements.assign(judge_model=np.where(late, "judge-2", "judge-1"))
    silent, log = belief(world), open_log(tables(world, judgements=judgements))
    cause = incident.isolate(log, make_alert())
    assert cause.verdict == "judge"
    assert belief(log)["judge"] > silent["judge"]
    assert any("judge_model judge-2" in words for words in cause.ranking[0]["evidence"])
    assert incident.triage(log, make_alert()).verdict == "false_positive"


def probe_runs(passed_since):
    days = np.repeat(np.arange(0, 16, 2), 10)
    late = days >= 10.5
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "probe_id": [f"p-{i % 10}" for i in range(len(days))],
            "run_at": START + pd.to_timedelta(days, unit="D"),
            "model_id": "model-a-2026-01-01",
            "input": "2 + 2",
            "output": "4",
            "passed": rng.uniform(size=len(days)) < np.where(late, passed_since, 0.95),
        }
    )


def test_probes_that_fail_speak_for_the_model_and_probes_that_hold_against_it():
    world = make_world(hit={"model_id": "model-a-2026-01-01"}, drop=0.35, changes=[{**CONFIG, "day": 10.5}])
    alert = make_alert(feature_id=None)
    alone = belief(world, alert)["silent"]
    failing = belief(open_log(tables(world, probe_results=probe_runs(0.3))), alert)["silent"]
    holding = belief(open_log(tables(world, probe_results=probe_runs(0.95))), alert)["silent"]
    assert holding < alone < failing


def test_users_who_are_not_helped_speak_against_the_judge():
    world = make_world(drop=0.5, changes=[CONFIG], days=14)
    rng = np.random.default_rng(4)
    late = world.requests["timestamp"] >= START + pd.Timedelta("10.5D")
    pressed = world.requests[rng.uniform(size=len(late)) < np.where(late, 0.25, 0.05)]
    signals = pressed[["request_id", "session_id", "timestamp"]].assign(signal_type="thumbs_down", metadata=None)
    quiet, heard = belief(world), belief(open_log(tables(world, signals=signals)))
    assert heard["judge"] < quiet["judge"] / 2
    sentence = "Sessions with a sign that the user was not helped"
    ranking = incident.isolate(open_log(tables(world, signals=signals)), make_alert()).ranking
    assert any(sentence in words for row in ranking if row["cause"] == "silent" for words in row["evidence"])


def verdicts(log, bad):
    """People read low scores of before and since; `bad` says which they find bad, by score and period."""
    scored = log.judgements.merge(log.requests[["request_id", "timestamp"]], on="request_id")
    late = scored["timestamp"] >= START + pd.Timedelta("10.5D")
    rows = pd.concat(
        [
            scored[late & (scored["quality_score"] <= 2)].head(20),
            scored[~late & (scored["quality_score"] <= 3)].head(60),
        ]
    )
    late = rows["timestamp"] >= START + pd.Timedelta("10.5D")
    return pd.DataFrame(
        {
            "request_id": rows["request_id"],
            "verdict": np.where([bad(s, x) for s, x in zip(rows["quality_score"], late)], "real", "false_positive"),
            "reviewer": "someone",
            "reviewed_at": rows["timestamp"] + pd.Timedelta("1h"),
        }
    )


def test_people_who_find_todays_low_scores_fine_speak_for_the_judge():
    world = make_world(judge_drop=0.9, changes=[CONFIG])
    fine = open_log(tables(world, reviews=verdicts(world, lambda score, late: score <= 2 and not late)))
    bad = open_log(tables(world, reviews=verdicts(world, lambda score, late: score <= 2)))
    assert belief(fine)["judge"] > belief(world)["judge"] > belief(bad)["judge"]
    assert incident.triage(fine, make_alert()).verdict == "false_positive"


def test_a_change_of_several_features_is_a_slice_of_its_own():
    world = make_world(
        hit={"category": "returns"}, drop=1.0, changes=[{**CONFIG, "day": 10.5, "category": "returns, billing"}]
    )
    scope = incident.scope(world, make_alert())
    assert scope.slices[0]["where"] == {"category": "returns"}
    scopes = [s.to_dict() for s in inquire(world, read_alert(make_alert())).shifts.slices]
    assert {"category": ["returns", "billing"]} in scopes


def test_a_part_of_what_a_prompt_reached_is_a_kind_of_question_rather_than_a_model():
    of_question = {"feature_id": "support", "category": "returns"}
    of_service = {"feature_id": "support", "model": "model-a"}
    world = make_world(changes=[PROMPT, {**CONFIG, "feature_id": "support"}])
    seen = observe(world, read_alert(make_alert()))
    slices = candidates(seen.frame, seen.columns, "support")
    where = [found.to_dict() for found in slices]
    odds = {}
    for cause in (cause for cause in possible_causes(world, seen.alert, seen) if cause.recorded):
        flat = shift_evidence(seen, slices, pd.DatetimeIndex([cause.at]))
        flat = replace(flat, log_evidence=0 * flat.log_evidence)
        told = weigh(cause, seen, flat, Grouping.of(seen, slices), np.array([], int), {"recorded": 1.0}, ("category",))
        named = [i for i, one in enumerate(where) if one.keys() == of_question.keys()]
        other = [i for i, one in enumerate(where) if one.keys() == of_service.keys()]
        odds[cause.kind] = np.exp(told[named]).sum() / np.exp(told[other]).sum()
    assert odds["prompt"] == pytest.approx(4.0)
    assert odds["config"] == pytest.approx(1.0)


def test_answers_of_one_session_count_as_less_than_as_many_sessions():
    world = make_world(hit=SUPPORT, drop=0.35, changes=[PROMPT], per_day=60)
    apart = belief(world)["none"]
    twice = pd.concat([world.requests, world.requests.assign(request_id=world.requests["request_id"] + "b")])
    again = world.judgements.assign(request_id=world.judgements["request_id"] + "b")
    doubled = open_log(tables(world, requests=twice, judgements=pd.concat([world.judgements, again])))
    assert belief(doubled)["none"] == pytest.approx(apart, abs=0.1)


def test_answers_judged_because_they_looked_bad_are_weighted_by_how_likely_that_was():
    """From day 10.5 on every bad answer is judged and one in five of the others: no answer got worse."""
    world = make_world(days=16, per_day=400, changes=[PROMPT])
    late = world.requests["timestamp"] >= START + pd.Timedelta("10.5D")
    bad = (world.judgements["quality_score"] <= 3).to_numpy()
    probability = np.where(late & bad, 1.0, 0.2)
    taken = np.random.default_rng(6).uniform(size=len(bad)) < probability
    judged = world.judgements.assign(inclusion_probability=probability)[taken]
    weighted = belief(open_log(tables(world, judgements=judged)))
    blind = belief(open_log(tables(world, judgements=judged.drop(columns="inclusion_probability"))))
    assert weighted["none"] > 0.3
    assert blind["none"] < 0.01


def test_two_errors_in_a_quiet_feature_are_no_incident():
    world = make_world(days=14)
    support = world.requests.index[
        (world.requests["feature_id"] == "support") & (world.requests["timestamp"] >= START + pd.Timedelta("11.5D"))
    ]
    failed = world.requests["error"].astype(object)
    failed.loc[support[[3, 17]]] = "time-out"
    log = open_log({"requests": world.requests.assign(error=failed)})
    alert = make_alert(metric="error_rate", direction="up")
    assert incident.triage(log, alert).verdict != "real"
    assert belief(log, alert)["none"] > 0.3
