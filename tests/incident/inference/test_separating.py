import pytest

from llm_monitoring import incident
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.inquiry import inquire
from llm_monitoring.incident.inference.separating import separating_step
from tests.incident.worlds import make_alert, make_world

PROMPT = {"change_id": "chg-prompt", "kind": "prompt", "day": 10.5, "feature_id": "support"}


def test_two_changes_at_one_moment_name_the_answers_that_saw_only_one_and_what_to_take_back():
    twin = {**PROMPT, "change_id": "chg-deploy", "kind": "deployment", "day": 10.501}
    world = make_world(hit={"feature_id": "support"}, drop=0.9, changes=[PROMPT, twin])
    cause = incident.isolate(world, make_alert())
    assert cause.verdict == "cannot tell apart"
    told = cause.what_would_change_this[0]
    assert "requests of support that saw chg-" in told
    assert "saw only one" in told
    assert "Take chg-deploy, the later one, back for about" in told


def test_the_judge_is_told_from_the_answers_by_judging_old_answers_again():
    inquiry = inquire(make_world(judge_drop=0.3, days=14), read_alert(make_alert()))
    by_name = {cause.name: cause for cause in inquiry.causes}
    told = separating_step(inquiry, by_name["judge"], by_name["silent"])
    assert told.startswith("Judge ")
    assert "answers from before" in told
    assert "again with today's judge" in told


def test_chance_is_told_from_a_fall_by_as_many_answers_as_a_fall_of_this_size_needs():
    inquiry = inquire(make_world(drop=0.2, per_day=40), read_alert(make_alert()))
    by_name = {cause.name: cause for cause in inquiry.causes}
    told = separating_step(inquiry, by_name["none"], by_name["silent"])
    wanted = int(told.split("about ")[1].split(" ")[0].replace(",", ""))
    rows = inquiry.slice.mask(inquiry.seen.frame)
    y = inquiry.seen.frame["value"].to_numpy()[rows]
    late = (inquiry.seen.frame["timestamp"] >= inquiry.since).to_numpy()[rows]
    shift = y[late].mean() - y[~late].mean()
    assert wanted == pytest.approx((1.645 + 0.842) ** 2 * y.var() / shift**2, abs=1)
