import json

import pandas as pd
import pytest

from llm_monitoring import incident
from tests.incident.worlds import START, make_alert, make_world

PROMPT = {"change_id": "chg-prompt", "kind": "prompt", "day": 10.5, "feature_id": "support"}
CONFIG = {"change_id": "chg-config", "kind": "config", "day": 9.5}
INDEX = {"change_id": "chg-index", "kind": "rag_index", "day": 11.0, "feature_id": "search"}
HIT = {"feature_id": "support", "category": "returns"}


@pytest.fixture(scope="module")
def world():
    return make_world(hit=HIT, drop=1.2, changes=[PROMPT, CONFIG, INDEX])


def reviews(log, verdict, n=20):
    late = log.requests["timestamp"] >= START + pd.Timedelta("10.5D")
    ids = log.requests.loc[late & (log.requests["feature_id"] == "support"), "request_id"]
    flagged = log.judgements.loc[log.judgements["flagged"] & log.judgements["request_id"].isin(ids), "request_id"].head(
        n
    )
    return pd.DataFrame(
        {
            "request_id": flagged,
            "verdict": verdict,
            "reviewer": "someone",
            "reviewed_at": START + pd.Timedelta("12.5D"),
            "note": None,
        }
    )


def test_a_prompt_that_hurts_one_category_is_found_with_its_slice_and_start(world):
    alert = make_alert()
    found = incident.scope(world, alert)
    assert found.kind == "slice"
    assert found.slices[0]["where"] == HIT
    cause = incident.isolate(world, alert, found)
    assert cause.verdict == "chg-prompt"
    assert cause.onset["low"] <= "2026-05-14T12:00:00Z" <= cause.onset["high"]
    assert sum(row["probability"] for row in cause.ranking) == pytest.approx(1)


def test_the_decoys_get_a_sentence_that_says_why_not(world):
    ranking = {row["cause"]: row for row in incident.isolate(world, make_alert()).ranking}
    assert "before the earliest start" in ranking["chg-config"]["evidence"][0]
    assert "holds 0\u00a0% of the answers of support, returns" in ranking["chg-index"]["evidence"][1]


def test_reviews_that_confirm_make_it_more_certain_and_reviews_that_deny_clear_it(world):
    alert = make_alert()
    unread = incident.triage(world, alert)
    read = incident.triage(world, alert, reviews(world, "real"))
    denied = incident.triage(world, alert, reviews(world, "false_positive"))
    assert (unread.verdict, read.verdict, denied.verdict) == ("real", "real", "false_positive")
    assert denied.probability_real < unread.probability_real <= 0.97 < read.probability_real
    assert (read.reviewed, read.deserved) == (20, 20)


def test_the_prompt_is_mended_where_the_harm_is_confined_to_a_category(world):
    alert = make_alert()
    found = incident.scope(world, alert)
    advice = incident.respond(world, alert, found, incident.isolate(world, alert, found))
    assert (advice.action, advice.target, advice.scope) == ("hotfix", "chg-prompt", HIT)
    assert advice.cost_of_waiting["low"] <= advice.cost_of_waiting["affected_per_day"] <= advice.cost_of_waiting["high"]
    assert advice.recovery["recovered"] is None


def test_a_change_that_hurts_all_it_touches_is_rolled_back():
    world = make_world(hit={"feature_id": "support"}, drop=0.8, changes=[PROMPT, CONFIG])
    alert = make_alert()
    found = incident.scope(world, alert)
    advice = incident.respond(world, alert, found, incident.isolate(world, alert, found))
    assert (advice.action, advice.target) == ("rollback", "chg-prompt")


def test_nothing_recorded_fits_where_nobody_wrote_it_down():
    world = make_world(hit={"model_id": "model-a-2026-01-01"}, drop=0.9, changes=[{**CONFIG, "day": 4.0}])
    assert incident.isolate(world, make_alert(feature_id=None)).verdict == "no recorded change fits"


def test_two_changes_at_one_moment_cannot_be_told_apart():
    twin = {**PROMPT, "change_id": "chg-deploy", "kind": "deployment", "day": 10.501}
    world = make_world(hit={"feature_id": "support"}, drop=0.9, changes=[PROMPT, twin])
    cause = incident.isolate(world, make_alert())
    assert cause.verdict == "cannot tell apart"
    assert set(cause.candidates) == {"chg-prompt", "chg-deploy"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_quiet_log_is_not_called_real_and_no_change_is_blamed(seed):
    world = make_world(changes=[PROMPT, CONFIG, INDEX], seed=seed)
    assert incident.triage(world, make_alert()).verdict != "real"
    assert incident.isolate(world, make_alert()).verdict in ("none", "cannot tell apart")


def test_a_judge_that_got_stricter_is_not_called_real():
    world = make_world(judge_drop=0.8, changes=[PROMPT, INDEX])
    assert incident.triage(world, make_alert()).verdict != "real"
    assert incident.isolate(world, make_alert()).ranking[0]["cause"] in ("judge", "silent")


def test_other_questions_are_called_mix_and_no_slice_is_blamed():
    world = make_world(mix=0.75, changes=[PROMPT])
    triage, found = incident.triage(world, make_alert()), incident.scope(world, make_alert())
    assert triage.verdict == "false_positive"
    assert found.kind == "mix"
    assert found.mix_effect < -0.5
    assert abs(found.within_effect) < 0.15


def test_without_reviews_the_flagged_answers_become_cases_and_the_incident_stays_open(world, tmp_path):
    lesson = incident.learn(world, make_alert(), None, tmp_path)
    cases = [json.loads(line) for line in (tmp_path / "eval_cases.jsonl").read_text().splitlines()]
    assert len(cases) == lesson.cases > 5
    assert not any(case["reviewed"] for case in cases)
    assert not lesson.closed
    assert {case["category"] for case in cases} == {"returns"}


def test_a_metric_that_no_single_answer_has_goes_through_the_stages_window_by_window(world):
    alert = make_alert(metric="request_count")
    found = incident.scope(world, alert)
    cause = incident.isolate(world, alert, found)
    advice = incident.respond(world, alert, found, cause)
    assert incident.triage(world, alert).headline.startswith(
        "false positive (P 0.16): request volume in support went from"
    )
    assert (found.kind, cause.verdict, advice.action) == ("all", "none", "none")
    assert sum(row["probability"] for row in cause.ranking) == pytest.approx(1)


def test_latency_is_sliced_like_quality():
    world = make_world(days=14)
    slow = world.requests["timestamp"] >= START + pd.Timedelta("10.5D")
    slow &= world.requests["feature_id"] == "search"
    from llm_monitoring import open_log

    requests = world.requests.assign(latency_ms=world.requests["latency_ms"] * (1 + slow))
    log = open_log({"requests": requests})
    alert = make_alert(feature_id="search", metric="latency_p95_ms", direction="up")
    assert incident.triage(log, alert).verdict == "real"
    assert incident.scope(log, alert).slices[0]["where"] == {"feature_id": "search"}


def test_rows_in_another_order_give_the_same_answer(world):
    from llm_monitoring import open_log

    mixed = open_log(
        {name: getattr(world, name).sample(frac=1, random_state=3) for name in ("requests", "judgements", "changes")}
    )
    for stage in (incident.triage, incident.scope, incident.isolate):
        assert stage(mixed, make_alert()).to_dict() == stage(world, make_alert()).to_dict()


def test_the_saved_json_rebuilds_each_result_and_its_plot(world, tmp_path):
    from matplotlib import pyplot as plt

    alert = make_alert()
    found = incident.scope(world, alert)
    cause = incident.isolate(world, alert, found)
    results = [
        incident.triage(world, alert, reviews(world, "real")),
        found,
        cause,
        incident.respond(world, alert, found, cause),
        incident.learn(world, alert, None, tmp_path),
    ]
    for result in results:
        again = type(result)(**json.loads(json.dumps(result.to_dict(), allow_nan=False)))
        assert again == result
        assert result.headline in result._repr_html_().replace("&gt;", ">").replace("&lt;", "<")
        assert again.plot() is not None
        plt.close("all")


def test_nothing_from_after_until_is_used(world):
    early = world.until(START + pd.Timedelta("12D"))
    assert incident.triage(early, make_alert()).until <= "2026-05-16T00:00:00Z"


def test_a_start_between_two_points_of_the_coarse_grid_is_inside_the_interval():
    from llm_monitoring import open_log

    world = make_world(days=14)
    at = START + pd.Timedelta("10D") + pd.Timedelta("3.5h")
    late = (world.requests["timestamp"] >= at) & (world.requests["feature_id"] == "search")
    requests = world.requests.assign(error=late.map({True: "down", False: None}))
    alert = make_alert(day=11.0, feature_id="search", metric="error_rate", direction="up")
    onset = incident.isolate(open_log({"requests": requests}), alert).onset
    first = world.requests.loc[late, "timestamp"].min()
    assert pd.Timestamp(onset["low"]) <= first <= pd.Timestamp(onset["high"]) + pd.Timedelta("30min")
    assert pd.Timestamp(onset["high"]) >= at - pd.Timedelta("1h")


def test_a_frame_of_reviews_that_cannot_be_read_names_rows_and_columns(world):
    from llm_monitoring import LogError

    table = pd.DataFrame({"request_id": ["req-1", "req-2"], "verdict": ["real", "bad"]})
    with pytest.raises(LogError) as caught:
        incident.triage(world, make_alert(), table)
    lines = str(caught.value).splitlines()
    assert "reviews, reviewed_at: the column is missing" in lines
    assert "reviews row 1, verdict: 'bad'; expected one of real, false_positive, unsure" in lines


def test_the_chart_of_an_alert_by_a_limit_is_at_the_usual_rate(world):
    alert = make_alert() | {"rule": "limit", "kind": "change", "designed_false_alarms_per_month": 4e-17}
    assert incident.triage(world, alert).chart == incident.triage(world, make_alert()).chart
