"""Whom it hits, in rows and sentences: what each slice adds to the change, what is shown first, what is said."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.inquiry import Inquiry
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.slices import ALL, Slice
from llm_monitoring.incident.scope import ScopeResult, beside_others
from tests.builders import START, make_requests
from tests.incident.worlds import make_alert

scoping = import_module("llm_monitoring.incident.scope")  # the package gives the function of this name
SINCE = START + pd.Timedelta("20D")
SUPPORT = Slice((("feature_id", "support"),))
SEARCH = Slice((("feature_id", "search"),))
RETURNS = Slice((("feature_id", "support"), ("category", "returns")))
OTHER = Slice((("feature_id", "support"), ("category", "other")))


def inquiry(found=RETURNS, chances=None, probability=(0.1, 0.2, 0.0, 0.69, 0.01), **more):
    """Forty days, eight answers a day in turn of two features and two categories; of support, returns half go bad."""
    rows = make_requests(
        320, every="3h", feature_id=["support", "search"], category=["returns", "returns", "other", "other"]
    )
    hit = RETURNS.mask(rows) & (rows["timestamp"] >= SINCE).to_numpy()
    value = np.where(hit & (np.cumsum(hit) % 2 == 0), 1.0, 0.0)
    alert = read_alert(make_alert(metric="flagged_rate", direction="up"))
    seen = Observations(rows.assign(value=value), rows, ("feature_id", "category"), "share", 1, alert, 1.0)
    slices = [ALL, SUPPORT, SEARCH, RETURNS, OTHER]
    usual = {
        "seen": seen, "slice": found, "since": SINCE, "until": None, "branch": None, "slice_probability": probability,
        "shifts": SimpleNamespace(slices=slices), "finer": SimpleNamespace(slice=None),
        "mix": SimpleNamespace(mix_effect=0.0, within_effect=0.25),
        "chance_of": lambda *kinds: sum((chances or {}).get(kind, 0.0) for kind in kinds),
    }  # fmt: skip
    return SimpleNamespace(**{**usual, **more})


def row(label="support", **fields):
    levels = {"before": 0.1, "after": 0.4, "change": 0.3, "low": 0.2, "high": 0.4, "n_before": 900, "n_after": 1100}
    return {"label": label, "verdict": "worse", **levels, "share_of_change": 1.0, "probability": 0.9, **fields}


def result(kind="slice", **fields):
    usual = {
        "metric": "flagged_rate", "unit": "share", "since": "", "until": "", "slices": [row()], "leaves": [],
        "mix_effect": 0.0, "within_effect": 0.0, "reasons": ["Why."], "next": "",
    }  # fmt: skip
    return ScopeResult(kind, **{**usual, **fields})


@pytest.mark.parametrize(
    ("group", "share"),
    [
        (SUPPORT, 1.0),  # the feature that alerted carries its own change
        (RETURNS, 1.0),  # all of the harm is in returns
        (OTHER, 0.0),
        (SEARCH, 0.0),  # no answer of it belongs to the feature
        (ALL, 0.5),  # 0 to 0.125, on the 80 answers of the feature since: half of 0.25 on 80
    ],
)
def test_the_share_of_a_change_is_the_slices_own_rise_times_its_answers_in_the_feature(group, share):
    assert scoping._row(inquiry(), group, 4)["share_of_change"] == pytest.approx(share)


def test_a_slice_that_was_not_asked_about_has_no_probability_and_the_others_their_own():
    model = Slice((("model_id", "model-a-2026-01-01"),))
    assert scoping._row(inquiry(), model, 1)["probability"] is None
    assert scoping._row(inquiry(), RETURNS, 1)["probability"] == 0.69


def test_only_the_change_of_a_slice_that_was_chosen_is_drawn_towards_its_siblings():
    raw, chosen = (scoping._row(inquiry(), RETURNS, 2, among=among) for among in (False, True))
    assert raw["change"] == pytest.approx(0.5)
    assert 0 < chosen["change"] < 0.5
    assert chosen["after"] == raw["after"] == 0.5
    assert scoping._row(inquiry(), SUPPORT, 2, among=True)["change"] == pytest.approx(0.25)


def test_after_the_fix_nothing_is_counted():
    fixed = inquiry(until=SINCE + pd.Timedelta("10D"))
    assert scoping._row(fixed, RETURNS, 1)["n_after"] == 20  # two a day
    assert scoping._rows_of_feature(fixed, ALL) == 40


@pytest.mark.parametrize(
    ("day", "size", "ends"), [(19, -1.0, False), (20, -1.0, False), (25, -1.0, True), (25, 1.0, False)]
)
def test_the_harm_ends_with_a_shift_to_the_better_after_its_start_or_with_the_version_that_did_it(day, size, ends):
    first, second = SimpleNamespace(at=SINCE, size=1.0), SimpleNamespace(at=START + day * pd.Timedelta("1D"), size=size)
    known = SimpleNamespace(found=(first, second), since=SINCE, left=None)
    assert Inquiry.until.fget(known) == (second.at if ends else None)
    known.left = ("prompt_version v9", START + pd.Timedelta("27D"))
    assert Inquiry.until.fget(known) == (second.at if ends else known.left[1])


def test_the_plain_parts_show_the_worse_first_and_none_has_a_probability():
    leaves = scoping._leaves(inquiry())
    assert leaves[0]["label"] == "support, returns"
    assert [one["verdict"] for one in leaves] == ["worse", *["no change seen"] * 3]
    assert sum(one["n_before"] + one["n_after"] for one in leaves) == 320
    assert {one["probability"] for one in leaves} == {None}


@pytest.mark.parametrize("found", [ALL, SUPPORT, Slice((("category", "returns"),))])
def test_whatever_the_answer_is_the_plain_parts_are_feature_by_category(found):
    assert {tuple(one["where"]) for one in scoping._leaves(inquiry(found))} == {("feature_id", "category")}


def test_the_answer_comes_first_and_runners_up_while_they_keep_some_probability():
    assert scoping._shown(inquiry()) == [RETURNS, SUPPORT, ALL]
    assert scoping._shown(inquiry(SUPPORT)) == [SUPPORT, RETURNS, ALL]


@pytest.mark.parametrize(
    ("found", "chances", "kind"),
    [
        (RETURNS, {}, "slice"),
        (ALL, {}, "all"),
        (RETURNS, {"mix": 0.51}, "mix"),
        (RETURNS, {"none": 0.3, "judge": 0.3}, "none"),
        (RETURNS, {"mix": 0.5}, "slice"),
        (ALL, {"mix": 0.4, "none": 0.2}, "none"),
    ],
)
def test_a_slice_is_named_only_where_a_change_of_answers_is_likelier_than_not(found, chances, kind):
    assert scoping._kind(inquiry(found, chances)) == kind
    assert scoping._next(kind)


@pytest.mark.parametrize("kind", ["all", "slice", "mix", "none"])
def test_the_reasons_say_what_was_compared_and_what_else_moved(kind):
    told = scoping._reasons(inquiry(), kind, [row("support, returns", share_of_change=None)], [row("search")])
    said = " | ".join(told).replace("\u00a0", " ")
    assert "5 slices over feature_id, category were compared; support, returns has probability 0.90." in said
    assert "Mix: 0.0 points; within slices: +25 points." in said
    assert told[-1].replace("\u00a0", " ") == "Also worse: search, 10 % of 900 to 40 % of 1,100."
    assert "It carries" not in said
    assert told[0].startswith("No slice") is (kind in ("mix", "none"))


def test_the_headline_gives_levels_change_and_numbers():
    told = "support: 10 % of 900 before, 40 % of 1,100 since; +30 points (+20 to +40), probability 0.90"
    assert result().headline.replace("\u00a0", " ") == told
    assert result("mix").headline.replace("\u00a0", " ") == f"other questions, no slice got worse; {told}"
    assert result("none").headline.replace("\u00a0", " ") == f"no slice can be named; nearest {told}"


def test_the_headline_without_a_slice_is_the_reason_and_a_branch_or_a_summary_goes_first():
    assert result(slices=[]).headline == "Why."
    assert result(branch="More traffic went to eu.").headline == "More traffic went to eu."
    assert result(branch="More.", summary="A standing level.").headline == "A standing level."


def test_the_table_holds_each_slice_once_the_answer_first():
    frame = result(slices=[row("b"), row("a")], leaves=[row("a"), row("c")]).to_frame()
    assert frame["label"].tolist() == ["b", "a", "c"]
    assert result(slices=[]).to_frame().empty


def test_of_a_standing_level_the_others_take_the_place_of_before():
    standing = row(before=None, n_before=0, others=0.1, others_low=0.05, others_high=0.2, n_others=70)
    shown = beside_others(standing)
    assert (shown["before"], shown["before_low"], shown["before_high"], shown["n_before"]) == (0.1, 0.05, 0.2, 70)
    assert shown["after"] == 0.4
    assert beside_others(row(before=0.3))["before"] is None
