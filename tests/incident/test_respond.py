"""What is advised, at what price: each rule from small tables, the numbers worked out by hand."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.causes import Cause
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.slices import Slice
from llm_monitoring.incident.respond import RespondResult
from tests.builders import START, make_requests
from tests.incident.worlds import make_alert

responding = import_module("llm_monitoring.incident.respond")  # the package gives the function of this name
DAY = pd.Timedelta("1D")
SINCE = START + 4 * DAY
SUPPORT = Slice((("feature_id", "support"),))
RETURNS = Slice((("feature_id", "support"), ("category", "returns")))


def inquiry(*causes, branch=None, n=96, bad_since=0.5, **columns):
    """Eight days of an answer each two hours; the features take turns; none is bad in the first four days."""
    columns = {"feature_id": ["support", "search"], "category": "other", **columns}
    rows = make_requests(n, every="2h", **columns)
    late = rows["timestamp"] >= SINCE
    value = np.where(late & (rows.groupby(late).cumcount() % 4 < 4 * bad_since), 1.0, 0.0)
    alert = read_alert(make_alert(metric="flagged_rate", direction="up"))
    frame = rows.assign(value=value, model=rows["model_id"])
    seen = Observations(frame, rows, ("feature_id", "category"), "share", 1, alert, 1.0)
    return SimpleNamespace(seen=seen, causes=list(causes), since=SINCE, branch=branch, slice=SUPPORT)


def cause(name="chg-1", kind="prompt", declared=SUPPORT, at=START, recorded=True):
    return Cause(name, kind, "", at, declared, recorded=recorded)


def verdict(name, candidates=(), probability=0.97):
    wrong = ["Something else."]
    ranking = [{"probability": probability}]
    return SimpleNamespace(verdict=name, candidates=list(candidates), ranking=ranking, what_would_change_this=wrong)


def advised(found, isolate, group=SUPPORT):
    return responding._action(found.seen.alert, found, isolate, group)


@pytest.mark.parametrize(
    ("name", "action", "target"),
    [
        ("none", "none", None),
        ("mix", "none", None),
        ("judge", "revert_judge", "judge"),
        ("no recorded change fits", "investigate", None),
    ],
)
def test_what_is_no_change_of_ones_own_is_not_rolled_back(name, action, target):
    assert advised(inquiry(cause()), verdict(name))[:2] == (action, target)


def test_a_change_that_hurts_all_it_touched_is_rolled_back_whatever_its_kind():
    action, target, why = advised(inquiry(cause()), verdict("chg-1"))
    assert (action, target) == ("rollback", "chg-1")
    assert why.replace("\u00a0", " ") == ("chg-1 did it (0.97); support is 100 % of the answers that chg-1 touched.")


@pytest.mark.parametrize(("kind", "action"), [("prompt", "hotfix"), ("config", "rollback"), ("deployment", "rollback")])
def test_only_a_prompt_is_mended_where_the_harm_is_confined(kind, action):
    # the change is for all answers; a fifth of them are of the feature that was hit
    features = ["support", "search", "search", "search", "search"]
    found = inquiry(cause(kind=kind, declared=None), n=95, feature_id=features)
    assert advised(found, verdict("chg-1"))[0] == action


def test_a_prompt_that_hurts_half_of_what_it_touched_is_rolled_back_and_one_category_is_mended():
    found = inquiry(cause(declared=None), category=["returns", "other"])
    assert advised(found, verdict("chg-1"))[0] == "rollback"
    assert advised(found, verdict("chg-1"), RETURNS)[0] == "hotfix"


def test_of_recorded_candidates_one_is_taken_back_and_with_an_unrecorded_one_nothing_is():
    first, second = cause("chg-1", "deployment"), cause("chg-2", "prompt")
    found = inquiry(first, second, cause("silent", "silent", at=None, recorded=False))
    assert advised(found, verdict("cannot tell apart", ["chg-1", "chg-2"]))[:2] == ("rollback", "chg-2")
    action, target, why = advised(found, verdict("cannot tell apart", ["chg-1", "silent"]))
    assert (action, target, why) == ("investigate", None, "chg-1 and something unrecorded cannot be told apart yet.")


@pytest.mark.parametrize(("ordered", "action"), [(True, "hotfix"), (False, "investigate")])
def test_a_bad_branch_is_routed_away_from_where_it_is_known_to_be_of_the_service(ordered, action):
    branch = SimpleNamespace(sorted=ordered, name="region eu", sentence="More went there.", question="Is it yours?")
    got = advised(inquiry(cause(), branch=branch), verdict("no recorded change fits"))
    assert got[0] == action
    assert got[1:] == (("route away from region eu", "More went there.") if ordered else (None, "Is it yours?"))


def test_waiting_costs_the_requests_a_day_times_the_rise_of_the_bad_share():
    # 12 answers a day, half of them of support; there 0 of 24 were bad before, and in the last 4 days (47 answers
    # from the first to the last: 94 hours) 24 of support are; every other one of them is bad
    found = inquiry(bad_since=0.5)
    cost = responding._waiting(None, found.seen.alert, found, SUPPORT, None)
    per_day = 24 / (94 / 24)
    assert cost["requests_per_day"] == pytest.approx(per_day)
    assert cost["affected_per_day"] == pytest.approx(per_day * 0.5)
    assert 0 < cost["low"] < cost["affected_per_day"] < cost["high"] < per_day
    assert cost["usd_per_day"] == pytest.approx(per_day * 0.5 * 0.002)
    assert cost["text"].startswith("about 3 more flagged answers a day (")


def test_waiting_spends_nothing_where_the_cost_of_a_request_is_unknown():
    found = inquiry(cost_usd=None)
    cost = responding._waiting(None, found.seen.alert, found, SUPPORT, None)
    assert cost["usd_per_day"] is None
    assert "spent" not in cost["text"]


def measures(latency=None, cost=None):
    rows = [("latency_p50_ms", latency), ("avg_cost_per_request_usd", cost)]
    return [{"measure": name, "before": pair[0], "after": pair[1]} for name, pair in rows if pair]


@pytest.mark.parametrize(
    ("given", "text", "saves"),
    [
        (measures(), "latency and cost are not logged", ""),
        (measures((800, 800)), "nothing in latency and cost", ""),
        (measures((2000, 800)), "a rise of median latency from 0.80 s to 2.0 s, as before", ""),
        (measures((800, 2000)), "nothing in latency and cost", "median latency falls from 2.0 s to 0.80 s, as before"),
        (measures((2000, 800), (0.002, 0.004)), "a rise of median latency from 0.80 s to 2.0 s, as before",
         "cost per 1,000 requests falls from 4.00 USD to 2.00 USD, as before"),
    ],
)  # fmt: skip
def test_what_going_back_costs_is_told_apart_from_what_it_saves(given, text, saves):
    told = responding._acting(given, per_day=50)
    assert (told["text"].replace("\u00a0", " "), told["saves"].replace("\u00a0", " ")) == (text, saves)


def test_going_back_to_a_dearer_model_costs_its_price_times_the_traffic():
    told = responding._acting(measures((2000, 800), (0.004, 0.001)), per_day=500)
    assert told["latency_ms"] == 1200  # slower by so much
    assert told["usd_per_1000"] == pytest.approx(3.0)
    assert told["usd_per_day"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("name", "reading", "change", "said"),
    [
        ("latency_p50_ms", "worse", 100, "slower"),
        ("latency_p50_ms", "better", -100, "faster"),
        ("avg_cost_per_request_usd", "better", -0.001, "cheaper"),
        ("avg_output_tokens", "worse", 40, "longer"),
        ("avg_output_tokens", "no change seen", 1, "no change seen"),
        ("mean_quality", "worse", -1, "worse"),
    ],
)
def test_a_measure_is_read_in_the_words_for_it(name, reading, change, said):
    assert responding._gain_or_loss(name, reading, change) == said


@pytest.mark.parametrize("action", ["rollback", "hotfix", "revert_judge", "investigate", "none"])
@pytest.mark.parametrize("earlier", [[], ["model-a"]])
def test_every_advice_has_its_options_with_the_advice_first_and_waiting_last(action, earlier):
    acting, waiting = {"text": "1 s", "saves": "2 USD"}, {"text": "3 bad answers a day"}
    target = None if action in ("none", "investigate") else "chg-1"
    options = responding._options(action, target, RETURNS, acting, waiting, earlier, "silent")
    assert options[-1]["do"] == "wait"
    assert options[-1]["costs"] == "3 bad answers a day"
    assert all(set(one) == {"do", "costs", "gains", "undo"} and all(one.values()) for one in options)
    assert "None" not in str(options)
    if action == "rollback":
        step = "pin model-a for support, returns" if earlier else "roll back chg-1"
        assert options[0]["do"] == step
        assert options[0]["gains"] == "an end to 3 bad answers a day; 2 USD"


def test_models_that_stopped_with_the_change_can_be_pinned():
    models = ["model-a"] * 48 + ["model-b"] * 48
    assert responding._earlier_models(inquiry(model_id=models), SUPPORT) == ["model-a"]
    assert responding._earlier_models(inquiry(model_id=["model-a"] * 47 + ["model-b"] * 49), SUPPORT) == ["model-a"]
    assert responding._earlier_models(inquiry(model_id="model-a"), SUPPORT) == []


def test_a_model_that_stopped_days_before_the_start_is_pinned_only_where_none_stopped_later():
    early = ["model-a"] * 12 + ["model-b"] * 12
    assert responding._earlier_models(inquiry(model_id=early + ["model-c"] * 72), SUPPORT) == ["model-b"]
    assert responding._earlier_models(inquiry(model_id=early + ["model-c"] * 24 + ["model-d"] * 48), SUPPORT) == [
        "model-c"
    ]


def test_where_other_questions_are_likeliest_the_advice_is_to_ask_and_not_to_pin():
    given = ("investigate", None, RETURNS, {"text": "1 s", "saves": ""}, {"text": "3 bad answers a day"}, ["model-a"])
    assert responding._options(*given, "mix")[0]["do"] == "ask the owners why other questions come"
    assert responding._options(*given, "silent")[0]["do"] == "pin model-a and ask the owners"


@pytest.mark.parametrize(("declared", "told"), [(SUPPORT, False), (Slice((("feature_id", "search"),)), True)])
def test_a_cause_that_reached_too_little_of_the_slice_makes_the_advice_doubtful(declared, told):
    wrong = responding._wrong_if("rollback", verdict("chg-1"), inquiry(cause(declared=declared)), SUPPORT)
    assert wrong[0] == "Something else."
    assert any("reached only 0\u00a0% of the answers of support" in one for one in wrong) is told


@pytest.mark.parametrize(
    ("recovered", "fix", "begins"),
    [(True, {"change_id": "chg-9"}, "Go on to learn"), (None, {"change_id": "chg-9"}, "chg-9 is live"), (None, None, "Roll back")],
)  # fmt: skip
def test_what_comes_next_follows_the_fix(recovered, fix, begins):
    assert responding._next("rollback", "chg-1", {"recovered": recovered, "fix": fix}).startswith(begins)


def test_the_headline_names_action_reason_and_price():
    empty = {
        "scope": {},
        "options": [],
        "measures": [],
        "cost_of_acting": {},
        "recovery": {},
        "wrong_if": [],
        "next": "",
    }
    said = RespondResult(
        "revert_judge", None, because="the judge changed.", cost_of_waiting={"text": "nothing"}, **empty
    )
    assert said.headline == "revert judge: the judge changed. Waiting costs nothing."
