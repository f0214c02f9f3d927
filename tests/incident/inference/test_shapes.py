"""Slides, second shifts and fixes that cure half; sizes that are not taken for larger than they are."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import incident, open_log
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.causes import Cause, possible_causes
from llm_monitoring.incident.inference.comparison import corrected_for_alert, corrected_for_choice
from llm_monitoring.incident.inference.lineage import lineage
from llm_monitoring.incident.inference.observations import observe
from llm_monitoring.incident.inference.slices import Slice
from llm_monitoring.incident.inference.weighing import HARM, JUDGE, PAIRED, PROVIDER, _silent_prior, _slice_prior, prior
from tests.incident.worlds import START, make_alert, make_world

PROMPT = {"change_id": "chg-prompt", "kind": "prompt", "day": 10.5, "feature_id": "support"}
BACK = {"change_id": "chg-back", "kind": "prompt", "day": 13.5, "feature_id": "support"}
SUPPORT = {"feature_id": "support"}


def moved(world, fall):
    """The same log with scores of support that lie lower by `fall(day)`."""
    requests = world.requests
    day = ((requests["timestamp"] - START) / pd.Timedelta("1D")).to_numpy()
    off = np.where(requests["feature_id"] == "support", fall(day), 0.0)
    noise = np.random.default_rng(4).uniform(-0.5, 0.5, len(off))
    score = np.clip(np.rint(world.judgements["quality_score"] - off + noise * (off > 0)), 1, 5)
    tables = {"requests": requests, "judgements": world.judgements.assign(quality_score=score, flagged=score <= 2)}
    return open_log(tables | ({"changes": world.changes} if len(world.changes) else {}))


@pytest.fixture(scope="module")
def half_cured():
    world = make_world(days=18, per_day=250, changes=[PROMPT, BACK])
    return moved(world, lambda day: np.where(day < 10.5, 0, np.where(day < 13.5, 1.2, 0.6)))


def test_a_fix_that_cures_half_leaves_the_cause_in_place_and_is_the_second_shift(half_cured):
    cause = incident.isolate(half_cured, make_alert())
    assert cause.ranking[0]["cause"] == "chg-prompt"
    assert [one["cause"] for one in cause.shifts] == ["chg-prompt", "chg-back"]
    fall, cure = (one["size"] for one in cause.shifts)
    assert fall == pytest.approx(-1.1, abs=0.3)  # rounded and cut at 1 and 5: less than the 1.2 and 0.6 that were taken
    assert cure == pytest.approx(0.55, abs=0.3)


def test_a_fix_that_cures_a_little_is_found_and_where_nothing_was_cured_none_is():
    world = make_world(days=18, per_day=80, changes=[PROMPT, BACK])
    for cured in (0.4, 0.0):
        log = moved(world, lambda day: np.where(day < 10.5, 0, np.where(day < 13.5, 0.9, 0.9 - cured)))  # noqa: B023
        found = incident.isolate(log, make_alert())
        assert [one["cause"] for one in found.shifts] == ["chg-prompt", *(["chg-back"] if cured else [])]


def test_answers_after_the_fix_are_not_counted_as_harmed(half_cured):
    rows = half_cured.requests
    late = rows["timestamp"].between(START + pd.Timedelta("10.5D"), START + pd.Timedelta("13.5D"), inclusive="left")
    harmed = int((late & (rows["feature_id"] == "support")).sum())
    found = incident.triage(half_cured, make_alert())
    assert found.change["n_after"] == pytest.approx(harmed, abs=15)


def test_an_innocent_change_in_a_slide_is_not_named_and_the_onset_is_a_ramp():
    innocent = {"change_id": "chg-innocent", "kind": "deployment", "day": 14.0, "feature_id": "support"}
    world = make_world(days=20, per_day=300, changes=[innocent])
    log = moved(world, lambda day: 1.6 * np.clip((day - 10.5) / 8, 0, 1))
    cause = incident.isolate(log, make_alert(day=15.0))
    assert cause.verdict == "no recorded change fits"
    assert cause.onset["shape"] == "ramp"
    assert abs(pd.Timestamp(cause.onset["at"]) - (START + pd.Timedelta("10.5D"))) <= pd.Timedelta("2D")


def test_a_slice_that_stood_out_by_chance_is_drawn_towards_its_siblings_and_one_that_was_hit_stays():
    since = START + pd.Timedelta("10.5D")
    group = Slice((("feature_id", "support"), ("category", "returns")))
    quiet = observe(make_world(), read_alert(make_alert()))
    hit = observe(make_world(hit={**SUPPORT, "category": "returns"}, drop=1.5), read_alert(make_alert()))

    def raw(seen):
        rows = seen.frame[group.mask(seen.frame)]
        return seen.change(rows[rows["timestamp"] < since], rows[rows["timestamp"] >= since])

    assert abs(corrected_for_choice(quiet, group, since)["change"]) < abs(raw(quiet).estimate)
    found = corrected_for_choice(hit, group, since)
    assert found["change"] == pytest.approx(raw(hit).estimate, abs=0.15)
    assert found["low"] < raw(hit).estimate < found["high"]


def test_a_change_no_larger_than_its_error_shrinks_and_a_sure_one_stays():
    seen = observe(make_world(), read_alert(make_alert()))
    small = corrected_for_alert(seen, {"change": -0.1, "low": -0.3, "high": 0.1, "before": 4.0})
    sure = corrected_for_alert(seen, {"change": -0.9, "low": -1.0, "high": -0.8, "before": 4.0})
    assert -0.1 < small["estimate"] < 0
    assert sure["estimate"] == pytest.approx(-0.9, abs=0.03)


def test_the_prior_of_chance_falls_with_the_rate_of_incidents_however_long_the_log_is():
    for days, rate in ((16, 1.0), (16, 4.0), (40, 1.0)):
        found = prior(observe(make_world(days=days), read_alert(make_alert())), [], rate)
        assert found["none"] == pytest.approx(np.exp(-rate * (1 + JUDGE)))
        assert found["judge"] == pytest.approx(JUDGE * found["silent"])  # on top of incidents, all of them silent here


def test_what_nobody_recorded_hits_a_combination_of_two_columns_more_seldom_than_a_value_of_one():
    values = [(column, name) for column, names in (("feature_id", "ab"), ("category", "xy")) for name in names]
    slices = [Slice(()), *(Slice((pair,)) for pair in values), Slice(tuple(values[::2])), Slice((("model", "m"),))]
    found = _silent_prior(slices)
    assert found.sum() == pytest.approx(1)
    assert found[-1] > PROVIDER
    assert found[5] == pytest.approx(PAIRED * found[0])  # one kind each: all answers, and feature by category


def test_a_prompt_of_which_nobody_wrote_the_scope_is_taken_for_one_that_acts_through_what_is_asked():
    slices = [Slice(()), Slice((("feature_id", "a"),)), Slice((("category", "x"),)), Slice((("model", "m"),))]
    through = _slice_prior(slices, np.ones(4, bool), through=("feature_id", "category"))
    assert through == pytest.approx([0.1, 0.4, 0.4, 0.1])
    assert _slice_prior(slices, np.ones(4, bool)) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize(
    ("days", "busy"), [((0, 2, 4, 6, 8, 10), 1.0), ((5, 6, 7, 8, 9, 10), 7 / 5), ((0, 1, 2, 3), 1 / (8 / 3 + 1))]
)
def test_where_more_was_changed_than_usually_more_may_have_gone_wrong(days, busy):
    seen = observe(make_world(), read_alert(make_alert()))  # the alert fires on day 12
    made = [START + pd.Timedelta(days=day) for day in days]
    causes = [Cause(f"chg-{at}", "prompt", "", at, weight=1 / len(days), recorded=True, usual=1.0) for at in made]
    found = prior(seen, causes, 1.0)
    harm = found["judge"] / JUDGE
    assert found["recorded"] == pytest.approx(HARM["recorded"] * harm * busy, rel=0.01)


def test_where_nothing_was_recorded_what_nobody_recorded_is_the_likelier():
    log = make_world(days=16, changes=[PROMPT])
    seen = observe(log, read_alert(make_alert()))
    causes = [cause for cause in possible_causes(log, seen.alert, seen) if cause.recorded]
    alone, beside = prior(seen, [], 1.0), prior(seen, causes, 1.0)
    assert alone["silent"] + alone["judge"] + alone["none"] == pytest.approx(1)
    assert beside["silent"] < alone["silent"]


def test_the_rate_of_the_plan_reaches_the_stages():
    log = make_world(drop=0.15, per_day=60, changes=[PROMPT])
    seldom, often = (
        incident.triage(log, make_alert(), plan={"incident": {"incidents_per_month": rate}}).probability_real
        for rate in (0.1, 10.0)
    )
    assert seldom < often


def test_three_models_that_move_at_one_time_are_each_followed_by_its_own_name():
    days = pd.date_range("2026-05-01", periods=40, freq="12h", tz="UTC")
    rows = [
        {
            "model_id": f"model-{m}-{'2026-01' if day < days[20] else '2026-02-08'}",
            "timestamp": day + pd.Timedelta(minutes=k),
        }
        for day in days
        for k, m in enumerate("xyz")
    ]
    found = lineage(pd.DataFrame(rows), pd.DataFrame())
    assert {found[f"model-{m}-2026-01"] == found[f"model-{m}-2026-02-08"] for m in "xyz"} == {True}
    assert len(set(found.values())) == 3


def test_a_rise_of_errors_is_not_hidden_by_groups_that_had_none_before():
    world = make_world(days=14, per_day=200)
    requests = world.requests
    late = (requests["timestamp"] >= START + pd.Timedelta("10.5D")) & (requests["feature_id"] == "support")
    p = np.where(late, 0.05, 0.005)
    failed = np.random.default_rng(3).uniform(size=len(p)) < p
    log = open_log({"requests": requests.assign(error=np.where(failed, "time-out", None))})
    assert incident.triage(log, make_alert(metric="error_rate", direction="up")).verdict == "real"
