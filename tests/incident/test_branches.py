"""More traffic down a bad branch of the service is harm; only a moved mix of questions explains an alert away."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import ConfigError, incident, open_log
from tests.incident.worlds import START, make_alert, make_world

BALANCER = {"change_id": "cfg-balancer", "kind": "config", "day": 10.5}
DECOY = {"change_id": "dep-ui", "kind": "deployment", "day": 9.2, "feature_id": "support"}


def moved_branch(column, changes=(BALANCER, DECOY)):
    """A branch that always answers 1.6 points worse takes 2 % of the requests, and 30 % from day 10.5 on."""
    world = make_world(per_day=200, days=14, changes=list(changes))
    late = world.requests["timestamp"] >= START + np.timedelta64(int(10.5 * 24), "h")
    took = np.random.default_rng(8).uniform(size=len(late)) < np.where(late, 0.3, 0.02)
    score = np.clip(world.judgements["quality_score"] - 1.6 * took, 1, 5)
    tables = {
        "requests": world.requests.assign(**{column: np.where(took, "long", "short")}),
        "judgements": world.judgements.assign(quality_score=score, flagged=score <= 2),
    }
    return open_log(tables | ({"changes": world.changes} if len(world.changes) else {}))


@pytest.fixture(scope="module")
def pool():
    return moved_branch("serving_pool")


def test_a_bad_pool_that_takes_more_traffic_is_real_and_the_change_at_its_start_is_rolled_back(pool):
    alert = make_alert()
    found = incident.scope(pool, alert)
    cause = incident.isolate(pool, alert, found)
    advice = incident.respond(pool, alert, found, cause)
    assert incident.triage(pool, alert).verdict == "real"
    assert found.slices[0]["where"]["serving_pool"] == "long"
    assert "serving_pool=long went from" in found.headline
    assert cause.verdict == "cfg-balancer"
    assert (advice.action, advice.target) == ("rollback", "cfg-balancer")


def test_the_shares_of_all_requests_say_when_it_began(pool):
    """The scores alone leave half a day open, and in it a change that did nothing."""
    cause = incident.isolate(pool, make_alert())
    began = START + np.timedelta64(int(10.5 * 24), "h")
    low, high = (pd.Timestamp(cause.onset[end]) for end in ("low", "high"))
    assert began - pd.Timedelta("3h") <= low <= began <= high <= began + pd.Timedelta("3h")
    assert next(row for row in cause.ranking if row["cause"] == "dep-ui")["probability"] < 0.05


def test_without_a_recorded_change_the_traffic_is_routed_away_from_the_bad_pool():
    log, alert = moved_branch("serving_pool", changes=()), make_alert()
    found = incident.scope(log, alert)
    advice = incident.respond(log, alert, found, incident.isolate(log, alert, found))
    assert (advice.action, advice.target) == ("hotfix", "route away from serving_pool=long")
    assert advice.options[0]["do"] == "route away from serving_pool=long"


def test_a_column_that_may_be_either_never_clears_an_alert_and_the_question_is_asked():
    log, alert = moved_branch("region"), make_alert()
    triage, found = incident.triage(log, alert), incident.scope(log, alert)
    advice = incident.respond(log, alert, found, incident.isolate(log, alert, found))
    assert triage.verdict == "inconclusive"
    assert triage.next.startswith("Is region something that users bring, or something that you choose?")
    assert (advice.action, advice.because) == ("investigate", triage.next)


@pytest.mark.parametrize(("role", "verdict"), [("question", "false_positive"), ("service", "real")])
def test_the_plan_says_what_a_column_is_of(role, verdict):
    log = moved_branch("region")
    assert incident.triage(log, make_alert(), plan={"slices": {role: ["region"]}}).verdict == verdict


def test_a_column_in_both_lists_of_the_plan_is_refused(pool):
    with pytest.raises(ConfigError, match="'region' is in both"):
        incident.triage(pool, make_alert(), plan={"slices": {"question": ["region"], "service": ["region"]}})


def test_a_column_of_the_service_is_asked_whatever_the_number_of_columns_before_it(pool):
    rng = np.random.default_rng(4)
    others = {name: rng.choice(["a", "b", "c"], len(pool.requests)) for name in ("app", "browser", "channel", "device")}
    tables = {"requests": pool.requests.assign(**others), "judgements": pool.judgements, "changes": pool.changes}
    found = incident.scope(open_log(tables), make_alert())
    assert found.slices[0]["where"]["serving_pool"] == "long"


@pytest.mark.parametrize(("seed", "judged"), [(1, 6), (4, 5)])
def test_more_traffic_down_a_bad_branch_is_real_before_many_of_its_answers_are_judged(pool, seed, judged):
    log = pool.until(START + np.timedelta64(12 * 24, "h"))
    scores, late = log.judgements, (log.requests["timestamp"] >= START + np.timedelta64(int(10.5 * 24), "h")).to_numpy()
    drawn = np.random.default_rng(seed).uniform(size=len(late)) < np.where(late, 0.02, 0.5)
    assert (drawn & late).sum() == judged
    log = open_log({"requests": log.requests, "judgements": scores[drawn], "changes": log.changes})
    assert incident.scope(log, make_alert()).slices[0]["where"] == {"feature_id": "support", "serving_pool": "long"}
    assert incident.triage(log, make_alert()).verdict == "real"


def test_a_pool_that_takes_more_traffic_and_answers_as_well_is_no_harm():
    world = make_world(per_day=200, days=14, changes=[BALANCER])
    late = world.requests["timestamp"] >= START + np.timedelta64(int(10.5 * 24), "h")
    took = np.random.default_rng(8).uniform(size=len(late)) < np.where(late, 0.6, 0.02)
    requests = world.requests.assign(serving_pool=np.where(took, "long", "short"))
    log = open_log({"requests": requests, "judgements": world.judgements, "changes": world.changes})
    assert incident.triage(log, make_alert()).verdict != "real"
    assert incident.scope(log, make_alert()).branch is None
