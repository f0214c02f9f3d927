"""Which sections a page has for which story, and what each says; the results are made by hand."""

import shlex

import pytest

from llm_monitoring.reporting import outcome, sections
from tests.reporting.results import HIT, make_alert, make_cause, make_known, make_results, make_slice

WHOLE = ["time", "real", "who", "why", "do", "known", "stages", "assume", "again"]


def page(story="real", **results):
    return {section["id"]: section for section in sections.all_of(story, make_results(**results))}


def blocks(section, kind):
    return [block for block in section["blocks"] if block["kind"] == kind]


def plain(text):
    return text.replace("\u00a0", " ")


def test_a_whole_incident_has_every_section_in_the_order_of_the_page():
    assert list(page()) == WHOLE


@pytest.mark.parametrize(
    ("story", "absent"), [("standing", {"why", "known"}), ("better", set()), ("judge", set()), ("mix", set())]
)
def test_a_story_leaves_out_what_it_does_not_ask(story, absent):
    assert set(WHOLE) - set(page(story)) == absent


def test_every_section_has_an_own_id_a_link_and_a_heading():
    made = sections.all_of("real", make_results(incident={"other_alerts": [make_alert()]}))
    assert len({section["id"] for section in made}) == len(made)
    assert all(section["link"] and section["heading"] for section in made)


def test_a_stage_that_stopped_comes_first_with_what_did_not_run():
    failure = {"stage": "isolate", "notebook": "3_isolate.ipynb", "cell": 4, "error": "KeyError: <b>x</b>"}
    ran = {"triage": "done", "scope": "done", "isolate": "failed", "respond": "not run", "learn": "not run"}
    results = make_results(incident={"failure": failure, "stages": ran})
    for stage in ("isolate", "respond", "learn"):
        results[stage] = None
    made = {section["id"]: section for section in sections.all_of("failed", results)}
    assert next(iter(made)) == "stopped"
    assert made["stopped"]["answer"] == "Stage isolate stopped; respond and learn did not run."
    assert made["stopped"]["blocks"][0]["lead"] == "3_isolate.ipynb, cell 4:"
    assert made["stopped"]["blocks"][0]["words"] == "KeyError: <b>x</b>"  # escaped where HTML is made
    assert not {"time", "why", "do"} & set(made)


def test_the_alert_comes_so_long_after_the_start():
    # from 20 past midnight of the 27th to 3 past midnight of the 28th: 23 h 43 min
    assert plain(page()["time"]["answer"]) == "It begins 27 Jun 00:20 UTC, and the alert comes 24 h later."


@pytest.mark.parametrize(
    ("verdict", "word"), [("real", "Yes."), ("false_positive", "No."), ("inconclusive", "Not decided.")]
)
def test_is_it_real_is_answered_in_a_word(verdict, word):
    assert page(triage={"verdict": verdict})["real"]["answer"].startswith(word)


def test_a_window_that_is_not_over_is_explained_under_the_chart():
    caption = blocks(page()["real"], "figure")[0]["caption"]
    assert plain(caption).startswith("Expected 4.1 %. Band:")
    assert "Expected false alarms of this chart: 0.08 a month." in caption
    assert "Open diamond: the window is not over" in caption
    over = [{"center": 0.041, "alarm": False}]
    assert "Open diamond" not in blocks(page(triage={"chart": over})["real"], "figure")[0]["caption"]


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        ("all", "All answers alike"),
        ("mix", "Nobody gets worse answers"),
        ("none", "No slice can be named."),
    ],
)
def test_whom_it_hits_is_answered_for_every_kind_of_scope(kind, begins):
    assert page(scope={"kind": kind})["who"]["answer"].startswith(begins)


def test_of_a_mix_no_figure_of_slices_is_drawn():
    assert blocks(page("mix", scope={"kind": "mix"})["who"], "figure") == []
    assert [block["name"] for block in blocks(page("mix")["why"], "figure")] == ["mix", "why"]


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        ([make_slice()], ""),
        ([make_slice(), make_slice(label="a", verdict="worse")], "a: worse."),
        ([make_slice(label=n, verdict="no change seen") for n in "ab"], "A and b: no change seen."),
        ([make_slice(label=n, verdict="too few to tell") for n in "abc"], "3 other slices: too few to tell."),
        ([make_slice(label="a", verdict="too few to tell"), make_slice(label="b", verdict="worse")],
         "b: worse; a: too few to tell."),
    ],
)  # fmt: skip
def test_the_other_slices_are_named_up_to_two_and_counted_beyond(leaves, told):
    assert sections.other_slices({"slices": [make_slice()], "kind": "slice", "leaves": leaves}) == told


def test_columns_that_were_not_searched_are_grouped_by_their_reason():
    looked = {
        "looked_at": ["model", "category"],
        "not_looked_at": {"a": "too many values", "b": "one value", "c": "too many values"},
    }
    words = blocks(page(scope=looked)["who"], "text")[0]["words"]
    assert words == "Looked at: model, category. Not looked at: a and c (too many values); b (one value)."


@pytest.mark.parametrize(
    ("losses", "gains", "said"),
    [
        (1, 0, "1 of 2 checks is passed less often."),
        (2, 0, "2 of 2 checks are passed less often."),
        (1, 1, "1 of 2 checks is passed less often; 1 of 2 checks is passed more often."),
        (0, 0, "None of 2 checks is passed more or less often than before."),
    ],
)
def test_probes_are_counted_by_what_became_of_them(losses, gains, said):
    verdicts = ["passes less"] * losses + ["passes more"] * gains + ["no change seen"] * (2 - losses - gains)
    numbers = {"before": 1.0, "after": 0.5, "n_before": 8, "n_after": 8, "change": -0.5, "low": -0.8, "high": -0.1}
    rows = [{"label": f"check {i}", "verdict": verdict, **numbers} for i, verdict in enumerate(verdicts)]
    assert page(incident={"probes": rows})["probes"]["answer"] == said


@pytest.mark.parametrize(("story", "said"), [
    ("real", "Chg-0613, almost certain (0.98)."),
    ("judge", "The judge, almost certain (0.98)."),
    ("mix", "Other questions, almost certain (0.98)."),
    ("unrecorded", "Something that is not in the change log, almost certain (0.98)."),
    ("tie", "Open between chg-0613 and something unrecorded."),
])  # fmt: skip
def test_the_cause_is_told_with_its_probability_as_the_story_has_it(story, said):
    candidates = ["chg-0613", "silent"] if story == "tie" else ["chg-0613"]
    told = page(story, isolate={"candidates": candidates})["why"]["answer"]
    assert told == said or (story == "real" and told.lower() == said.lower())


def test_an_improvement_that_nobody_recorded_needs_no_cause():
    cause = make_cause("silent", 0.9, recorded=False)
    assert "why" not in page("better", isolate={"ranking": [cause]})
    assert "why" in page("better")


def test_advice_does_not_say_twice_what_would_make_it_wrong():
    wrong = ["An unlogged change of the gpt-4 route in the same two hours.", "Something else."]
    said = [block["words"] for block in blocks(page(respond={"wrong_if": wrong})["do"], "text")]
    assert "Something else." in said
    assert not any("unlogged" in words for words in said)


def test_what_was_known_when_marks_this_page_and_calls_others_earlier():
    moments = [make_known(False), make_known(at="2023-06-28T01:00:00Z"), make_known()]
    rows = blocks(page(incident={"known_when": moments})["known"], "table")[0]["rows"]
    assert [row["cells"][1] for row in rows] == ["alert", "an earlier page", "this page"]
    assert [row["hit"] for row in rows] == [False, False, True]
    unknown = make_known(value=None, cause=None)
    cells = blocks(page(incident={"known_when": [unknown]})["known"], "table")[0]["rows"][0]["cells"]
    assert cells[3] == "not yet measured"
    assert cells[5] == "none named"


@pytest.mark.parametrize(("alerts", "rows", "more"), [(1, 1, False), (20, 20, False), (23, 20, True)])
def test_of_other_alerts_twenty_are_shown_and_the_rest_counted(alerts, rows, more):
    section = page(incident={"other_alerts": [make_alert()] * alerts})["others"]
    assert len(blocks(section, "table")[0]["rows"]) == rows
    assert ("The first 20 are shown; check lists 3 more." in section["answer"]) is more


def called(**given):
    usual = {"log": "my log", "until": None, "alert": None, "reviews": None, "seed": 0}
    return sections._call({**usual, **given})


def test_the_command_is_one_that_a_shell_reads_back():
    line = called(
        alert="it's <one>", tz="Europe/Berlin", until="2026-05-11T00:00Z", override={"by": "Ada L", "because": "done"}
    )
    assert shlex.split(line) == [
        "llm-monitoring", "report", "my log", "--tz", "Europe/Berlin", "--alert", "it's <one>",
        "--until", "2026-05-11T00:00Z", "--close-by", "Ada L", "--because", "done",
    ]  # fmt: skip


def test_scales_are_a_flag_each():
    assert shlex.split(called(log="l", scales={"judge a": "0..1", "b": "1..10"})) == [
        "llm-monitoring", "report", "l", "--scale", "judge a=0..1", "--scale", "b=1..10",
    ]  # fmt: skip


def test_tables_and_alerts_made_in_python_are_told_in_python():
    assert called(log=None) == "lm.report(tables)"
    assert called(log=None, tz="UTC", seed=3) == "lm.report(lm.open_log(tables, tz='UTC'), seed=3)"
    assert called(alert={"metric": "error_rate"}) == "lm.report('my log', alert={'metric': 'error_rate'})"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reviewed": 20, "deserved": 18}, "18 of 20 flags read in review were deserved (95 % interval 59 to 99 %, wide because only 20 were read)."),
        ({"reviewed": 20, "deserved": 1}, "1 of 20 flags read in review was deserved (95 % interval 59 to 99 %, wide because only 20 were read)."),
        ({"reviewed": 40, "deserved": 36}, "36 of 40 flags read in review were deserved (95 % interval 59 to 99 %)."),
        ({"reviewed": 1, "deserved": 1, "precision": {"low": None, "high": None}}, "1 of 1 flags read in review was deserved."),
        ({"reviewed": 0}, "Nobody has read a flagged answer of this period yet."),
        ({"reviewed": 0, "metric": "error_rate"}, "18 of 20 flagged answers that were read deserved the flag."),
    ],
)  # fmt: skip
def test_reviews_are_told_with_their_interval_and_why_it_is_wide(fields, said):
    assert sections.review_words(make_results(triage=fields)["triage"]) == said


def test_the_level_of_what_was_hit_is_the_slices_else_that_of_the_feature():
    assert outcome.hit_level(make_results())["n_after"] == 99
    assert outcome.hit_level(make_results())["where"] == HIT
    for kind in ("none", "mix"):
        got = outcome.hit_level(make_results(scope={"kind": kind}))
        assert (got["n_after"], got["change"]) == (210, 0.29)
