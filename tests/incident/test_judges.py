"""A judge that moved, recorded or not: when it is believed, what it clears, and that all stages say the same."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import incident, open_log
from llm_monitoring.incident.inference.inquiry import _likeliest_of_all
from llm_monitoring.incident.inference.reviewed import log_judge_moved
from llm_monitoring.incident.inference.slices import Slice
from llm_monitoring.incident.inference.weighing import _slice_prior
from llm_monitoring.incident.isolate import _verdict
from tests.incident.worlds import START, make_alert, make_world

AT_ITS_START = {"change_id": "chg-judge", "kind": "judge", "day": 10.5}
LONG_AGO = {"change_id": "old-judge", "kind": "judge", "day": 1.5}


def belief(log, alert=None):
    return {row["cause"]: row["probability"] for row in incident.isolate(log, alert or make_alert()).ranking}


def with_others(log, **tables):
    return open_log({"requests": log.requests, "judgements": log.judgements, "changes": log.changes} | tables)


def unmoved_probes(log):
    rows = [
        {"probe_id": f"p{k}", "run_at": START + pd.Timedelta(days=day), "model_id": "model-a-2026-01-01", "input": "?"}
        for day in range(15)
        for k in range(10)
    ]
    return pd.DataFrame(rows).assign(output="4", passed=True)


def test_a_recorded_change_of_the_judge_is_a_judge_that_moved_at_its_own_time_only():
    at_its_start = belief(make_world(judge_drop=0.8, changes=[AT_ITS_START]))
    assert at_its_start["chg-judge"] > 0.8
    quiet, old = belief(make_world(judge_drop=0.8)), belief(make_world(judge_drop=0.8, changes=[LONG_AGO]))
    assert old["old-judge"] < 0.01
    assert old["judge"] <= quiet["judge"]  # one more record of long ago makes no judge likelier today


def test_a_recorded_change_of_the_judge_is_put_back_by_its_name_and_clears_the_alert():
    log, alert = make_world(judge_drop=0.8, changes=[AT_ITS_START]), make_alert()
    cause = incident.isolate(log, alert)
    advice = incident.respond(log, alert, incident.scope(log, alert), cause)
    assert cause.verdict == "chg-judge"
    assert (advice.action, advice.target) == ("revert_judge", "chg-judge")
    assert incident.triage(log, alert).verdict == "false_positive"


@pytest.mark.filterwarnings("error", "ignore:fetch_record_batch:DeprecationWarning")  # of ibis 12 on duckdb 1.5
def test_a_judge_that_was_changed_is_no_cause_of_a_cost():
    log = make_world(changes=[AT_ITS_START])
    late = log.requests["timestamp"] >= START + pd.Timedelta("10.5D")
    log = with_others(log, requests=log.requests.assign(cost_usd=np.where(late, 0.009, 0.003)))
    found = belief(log, make_alert(metric="avg_cost_per_request_usd", direction="up"))
    assert found["chg-judge"] < 1e-6 < found["silent"]


def of_one_model(log):
    return with_others(log, requests=log.requests.assign(model_id="model-a-2026-01-01"))


def test_features_on_several_models_that_fall_alike_speak_for_the_judge():
    log, alert = make_world(judge_drop=0.8), make_alert()
    triage = incident.triage(log, alert)
    assert triage.verdict == "false_positive"
    assert triage.next.startswith("Make sure of the judge, then correct it: Judge 60 answers from before")
    assert incident.isolate(log, alert).verdict == "judge"


@pytest.mark.parametrize("probes", [False, True])
def test_where_nothing_but_the_scores_speaks_for_the_judge_no_stage_acts_on_it(probes):
    log, alert = of_one_model(make_world(judge_drop=0.8)), make_alert()
    log = with_others(log, probe_results=unmoved_probes(log)) if probes else log  # they say nothing of a judge
    cause = incident.isolate(log, alert)
    advice = incident.respond(log, alert, incident.scope(log, alert), cause)
    assert {row["cause"] for row in cause.ranking[:2]} == {"judge", "silent"}
    assert cause.ranking[0]["cause"] == "judge" or not probes
    triage = incident.triage(log, alert)
    assert triage.verdict == "inconclusive"
    assert "again with today's judge" in triage.next
    assert cause.verdict == "cannot tell apart"
    assert "silent" in cause.candidates
    assert "with today's judge" in cause.what_would_change_this[0]
    assert advice.action == "investigate"


def test_no_recorded_change_fits_is_not_said_where_one_may_be_it():
    def verdict(*rows):
        table = [
            {"cause": cause, "kind": kind, "probability": p, "recorded": kind not in ("silent", "none", "judge")}
            for cause, kind, p in rows
        ]
        return _verdict(table, [cause for cause, _, _ in rows])

    assert verdict(("silent", "silent", 0.6), ("chg-1", "config", 0.35)) == "cannot tell apart"
    assert verdict(("silent", "silent", 0.6), ("judge", "judge", 0.35)) == "cannot tell apart"
    assert verdict(("silent", "silent", 0.6), ("none", "none", 0.35)) == "no recorded change fits"
    assert verdict(("silent", "silent", 0.85), ("chg-1", "config", 0.1)) == "no recorded change fits"


def test_more_columns_to_slice_by_make_it_no_likelier_that_the_judge_moved():
    def prior_of_all(columns):
        pairs = [(a, b) for k, a in enumerate(columns) for b in columns[k + 1 :]]
        named = [(), *((c,) for c in columns), *pairs]
        slices = [Slice(tuple((column, "x") for column in where)) for where in named]
        return _slice_prior(slices, np.ones(len(slices), bool))

    assert prior_of_all("abcde")[0] == pytest.approx(prior_of_all("abc")[0]) == pytest.approx(1 / 7)
    assert prior_of_all("abcde").sum() == pytest.approx(1)
    assert prior_of_all("ab") == pytest.approx([0.25] * 4)


def read_by_people(log, found_fine):
    """Three flagged answers of a day, found bad before day 10.5; since then one in two is found fine, if asked."""
    read = log.judgements[log.judgements["flagged"]].groupby(log.requests["timestamp"].dt.floor("D")).head(3)
    late = log.requests.loc[read.index, "timestamp"] >= START + pd.Timedelta("10.5D")
    fine = late & (np.arange(len(read)) % 2 == 0) & found_fine
    return pd.DataFrame(
        {
            "request_id": read["request_id"],
            "verdict": np.where(fine, "false_positive", "real"),
            "reviewer": "ana",
            "reviewed_at": START + pd.Timedelta("13D"),
        }
    )


def test_low_scores_that_people_find_as_bad_as_ever_speak_against_a_judge_that_moved():
    log, since = make_world(judge_drop=0.8), START + pd.Timedelta("10.5D")
    assert log_judge_moved(log, since, read_by_people(log, False)) < -1
    assert log_judge_moved(log, since, read_by_people(log, True)) > 1


def test_a_judge_is_asked_at_the_time_at_which_all_answers_moved():
    times = pd.date_range(START, periods=4, freq="3h")
    evidence = np.array([[0.0, 1.0, 5.0, 2.0], [9.0, 0.0, 0.0, 0.0]])  # of all answers, and of a slice
    shifts = SimpleNamespace(times=times, log_evidence=evidence)
    assert _likeliest_of_all(shifts, times[-1]) == times[2]


def test_what_people_find_of_the_scores_counts_the_same_on_every_scale():
    log = make_world(judge_drop=0.8)
    scores = log.judgements["quality_score"]
    reviews = read_by_people(log, True)
    since = START + pd.Timedelta("10.5D")
    moved = [
        log_judge_moved(
            with_others(log, judgements=log.judgements.assign(quality_score=points, scale=scale)), since, reviews
        )
        for points, scale in ((scores, "1..5"), ((scores - 1) / 4, "0..1"), ((scores - 1) * 25, "0..100"))
    ]
    assert moved[0] > 1
    assert moved == pytest.approx([moved[0]] * 3, rel=1e-6)
