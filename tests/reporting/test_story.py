"""The story as texts: sections, facts, tables. What it says of each outcome first is in test_outcome."""

import json
import shlex

from reporting.results import (
    make_alert,
    make_cause,
    make_incident,
    make_known,
    make_results,
    make_slice,
    make_triage,
)

from llm_monitoring.reporting.outcome import hit_level
from llm_monitoring.reporting.sections import whom_asked
from llm_monitoring.reporting.story import tell


def texts(value):
    """Every text of a story, in order, with plain spaces."""
    if isinstance(value, str):
        return [value.replace("\u00a0", " ")]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in texts(item)]


def section(story, ident):
    return next(one for one in story["sections"] if one["id"] == ident)


def test_the_sections_follow_the_order_in_which_people_ask():
    story = tell(make_results())
    order = ["time", "real", "who", "why", "do", "known", "stages", "assume", "again"]
    assert [one["id"] for one in story["sections"]] == order


def test_the_lede_names_cause_action_and_recovery():
    lede = tell(make_results())["lede"].replace("\u00a0", " ")
    assert lede == (
        "Almost certainly because of chg-0613: provider moves gpt-4 and gpt-3.5-turbo from 0314 and 0301 to 0613 "
        "(probability 0.98). To do: pin gpt-4-0314 in opinionqa. A fix can be confirmed after about 2 days, by 30 June if fixed now."
    )


def test_there_are_three_answers_and_six_facts_in_the_same_order():
    story = tell(make_results())
    assert [one["question"] for one in story["answers"]] == ["Is it real?", "Whom does it hit?", "What to do?"]
    names = ["Started", "Alert", "Flagged so far", "Change", "Expected false alarms", "Status"]
    assert [one["name"] for one in story["facts"]] == names


def test_the_first_screen_says_what_to_type():
    read, again = tell(make_results())["typed"]
    assert read["command"] == "jupyter lab 1_triage.ipynb"
    assert again["command"] == "llm-monitoring report llmdrift --alert q-opinionqa-flagged_rate-20230627 --force"
    assert "after the fix" in again["words"]
    (only,) = tell(make_results(triage={"metric": "error_rate"}))["typed"]
    assert only == again
    evil = {"alert": make_alert(alert_id="a'; rm -rf ~")}
    shown = tell(make_results(incident=evil))["typed"][1]["command"]
    assert shlex.split(shown)[4] == "a'; rm -rf ~"


def test_what_the_probability_is_of_is_said_in_words_of_the_measure():
    def words(metric):
        return tell(make_results(triage={"metric": metric}))["answers"][0]["words"]

    assert "answers got worse" in words("flagged_rate")
    assert "cost per request got worse, and not by chance" in words("avg_cost_per_request_usd")


def test_what_is_not_known_is_left_out():
    unknown = {"at": None, "low": None, "high": None}
    story = tell(make_results(triage={"designed_false_alarms_per_month": None}, isolate={"onset": unknown}))
    facts = {one["name"]: (one["value"], one["note"]) for one in story["facts"]}
    assert "Expected false alarms" not in facts
    note = "the window that alerted; its start was not narrowed down"
    assert facts["Started"] == ("27\u00a0Jun\u00a000:00\u00a0UTC", note)


def test_flags_are_counted_against_the_number_expected():
    facts = {one["name"]: one for one in tell(make_results())["facts"]}
    assert facts["Flagged so far"]["value"] == "66 of 99 answers"
    assert facts["Flagged so far"]["note"] == "2 would be by the rate before"


def test_a_change_that_is_not_the_plain_difference_says_why():
    for change, why in ((0.56, True), (0.62, False)):  # 0.04 before, 0.66 since
        chosen = make_slice(before=0.04, after=0.66, change=change)
        fact = next(one for one in tell(make_results(scope={"slices": [chosen]}))["facts"] if one["name"] == "Change")
        assert fact["note"].endswith("corrected for having picked the slice that moved most") is why


def test_a_slice_of_few_answers_is_too_few_to_tell():
    told = " ".join(texts(section(tell(make_results()), "who")))
    assert "gpt-4 in sensitiveq and gpt-4 in leetcode_easy: too few to tell" in told


def test_every_moment_has_its_own_verdict_and_cause():
    rows = section(tell(make_results()), "known")["blocks"][0]["rows"]
    cells = [[cell.replace("\u00a0", " ") for cell in row["cells"]] for row in rows]
    assert cells[0] == [
        "28 Jun 00:03 UTC", "alert", "gpt-4 in opinionqa", "66 % (56 to 75) of 94", "inconclusive, > 0.999",
        "chg-0613, 0.98",
    ]  # fmt: skip
    assert cells[1][-2] == "real, > 0.999"


def test_a_moment_without_numbers_says_so():
    nothing = make_known(value=None, low=None, high=None, n=0, cause=None, probability=None)
    story = tell(make_results(incident={"known_when": [nothing]}))
    assert section(story, "known")["blocks"][0]["rows"][0]["cells"][3:6:2] == ["not yet measured", "none named"]


def test_clocks_of_the_stages_start_at_the_alert():
    clocks = [stage["clock"].replace("\u00a0", " ") for stage in section(tell(make_results()), "stages")["stages"]]
    assert clocks == [
        "30 min, to 28 Jun 00:33 UTC", "1 h, to 28 Jun 01:03 UTC", "2 h, to 28 Jun 02:03 UTC", "no limit", "no limit",
    ]  # fmt: skip


def test_a_tie_gives_the_evidence_of_both_causes():
    ranking = [make_cause("prompt-v7", 0.52), make_cause("index-14", 0.44), make_cause("silent", 0.04, recorded=False)]
    tie = {"verdict": "cannot tell apart", "ranking": ranking, "candidates": ["prompt-v7", "index-14"]}
    why = section(tell(make_results(isolate=tie)), "why")
    assert [b["words"] for b in why["blocks"] if b["kind"] == "heading"] == [
        "Evidence: prompt-v7",
        "Evidence: index-14",
    ]
    assert why["answer"] == "Open between prompt-v7 and index-14."


def test_a_failed_stage_keeps_what_stands_and_shows_the_error():
    stages = {"triage": "done", "scope": "done", "isolate": "failed", "respond": "not run", "learn": "not run"}
    failure = {"stage": "isolate", "notebook": "3_isolate.ipynb", "cell": 4, "error": "ValueError: no such column"}
    results = make_results(incident={"failure": failure, "stages": stages, "known_when": []})
    story = tell({name: results[name] for name in ("incident", "triage", "scope")})
    assert [one["id"] for one in story["sections"]][:3] == ["stopped", "real", "who"]
    assert "3_isolate.ipynb, cell 4: ValueError: no such column" in story["lede"]
    assert [one["says"] for one in section(story, "stages")["stages"]][2:] == ["failed", "not run", "not run"]


def test_a_quiet_log_shows_the_charts_and_no_stages():
    quiet = {"verdict": "no alert", "charts": 0, "days": 3, "words": "", "portfolio": [], "next": ""}
    story = tell({"incident": make_incident(alert=None, known_when=[]), "triage": quiet})
    assert [one["id"] for one in story["sections"]] == ["charts", "assume", "again"]
    assert story["answers"] == story["facts"] == []
    assert section(story, "charts")["answer"] == "The log holds too little for a chart."


def test_other_alerts_are_listed():
    story = tell(make_results(incident={"other_alerts": [make_alert(feature_id=None, message="all slow")] * 25}))
    others = section(story, "others")
    assert others["answer"] == "25 alerts beside this one. The first 20 are shown; check lists 5 more."
    assert others["blocks"][0]["rows"][0]["cells"][2:] == ["all", "all slow"]


def test_the_command_repeats_the_parameters_and_quotes_them_for_a_shell():
    given = {"log": "my log", "until": "2023-06-28T02:40:00Z", "alert": "a1", "reviews": "r.jsonl", "seed": 3}
    again = section(tell(make_results(incident={"parameters": given})), "again")
    assert again["blocks"][0]["words"] == (
        "llm-monitoring report 'my log' --alert a1 --until 2023-06-28T02:40:00Z --reviews r.jsonl --seed 3"
    )


def test_tables_and_alerts_in_memory_are_repeated_in_python():
    given = {"log": None, "until": None, "alert": {"metric": "error_rate"}, "reviews": None, "seed": 0}
    again = section(tell(make_results(incident={"parameters": given})), "again")
    assert again["blocks"][0]["words"] == "lm.report(tables, alert={'metric': 'error_rate'})"


def test_a_measure_that_no_judge_gave_needs_no_reading():
    nothing = {"estimate": None, "low": None, "high": None}
    late = make_triage(metric="error_rate", reviewed=0, precision=nothing, reviews=[], reasons=["Errors rose to 9 %."])
    assert tell(make_results(triage=late))["answers"][0]["words"].startswith("Errors rose to 9 %. P: the prob")


def test_nobody_having_read_is_said():
    nothing = {"estimate": None, "low": None, "high": None}
    triage = make_triage(reviewed=0, deserved=0, precision=nothing, reviews=[], decided_at=None)
    story = tell(make_results(triage=triage))
    assert story["answers"][0]["words"].startswith("Nobody has read a flagged answer of this period yet. P: ")


def test_no_sentence_claims_what_statistics_cannot():
    told = " ".join(texts(tell(make_results()))).lower()
    for word in ("significant", "no effect", "all clear", "root cause", "-0 "):
        assert word not in told


def test_a_story_is_the_same_each_time():
    assert tell(make_results()) == tell(make_results())


def test_the_probes_are_told_by_check_with_what_passes_less_in_front():
    row = {
        "label": "code, m: no <b>fence</b>", "before": 1.0, "after": 0.12, "n_before": 50, "n_after": 50, "change": -0.88,
        "low": -0.95, "high": -0.74, "verdict": "passes less",
    }  # fmt: skip
    (section,) = [one for one in tell(make_results(incident={"probes": [row]}))["sections"] if one["id"] == "probes"]
    assert section["answer"] == "1 of 1 check is passed less often."
    assert section["blocks"][0]["rows"][0]["hit"]
    assert section["blocks"][0]["rows"][0]["cells"][-1] == "passes less"


QUOTE = {
    "request_id": "r1",
    "timestamp": "2023-06-27T01:15:00Z",
    "user_input": "why? " * 60,
    "system_output": "no.",
    "why": "no help",
}


def test_bad_answers_are_quoted_beside_a_good_one_cut_with_the_whole_behind():
    quotes = {"bad": [QUOTE, {**QUOTE, "request_id": "r2"}], "good": {**QUOTE, "why": ""}}
    told = tell(make_results(learn={"quotes": quotes}))["quotes"]
    assert [one["tone"] for one in told] == ["bad", "bad", "good"]
    assert told[0]["question"] == QUOTE["user_input"]
    assert len(told[0]["question_cut"]) <= 110
    assert told[0]["why"] == "no help"


def test_a_good_answer_alone_is_no_quote():
    assert tell(make_results(learn={"quotes": {"bad": [], "good": QUOTE}}))["quotes"] == []


EVIL = "@channel <!here> <img src=x onerror=a()> **bold** [x](https://evil.test) `code` # top &lt;b&gt; \u202e www.evil.test"


def test_what_is_pasted_elsewhere_holds_the_story_and_nothing_that_acts():
    quotes = {"bad": [{**QUOTE, "user_input": EVIL, "system_output": EVIL, "why": EVIL}], "good": None}
    incident = {"alert": make_alert(message=EVIL)}
    story = tell(
        make_results(
            incident=incident,
            triage={"feature_id": EVIL},
            respond={"options": [], "target": EVIL},
            learn={"quotes": quotes, "open_points": [EVIL]},
        )
    )
    chat, ticket = (one["words"] for one in story["messages"])
    assert chat.startswith("Real: ")
    assert "Waiting costs" in chat
    assert "Open:" in ticket
    assert "A bad answer" in ticket
    for words in (chat, ticket):
        for mark in ("@channel", "<", ">", "**", "](", "`", "://", "&lt;", "www.", "\u202e"):
            assert mark not in words, mark
        assert not any(line.lstrip().startswith(("#", "-", ">")) for line in words.splitlines())


def test_a_standing_level_is_told_without_a_before():
    row = {**make_triage()["change"], "before": None, "n_before": 0, "estimate": None, "low": None, "high": None}
    triage = {
        "kind": "standing",
        "metric": "abandonment_rate",
        "change": {**row, "after": 0.43},
        "limit": 0.3,
        "summary": "standing: x",
        "chart": [],
        "reviews": [],
    }
    isolate = {"verdict": "nothing to explain", "onset": {"at": None, "low": None, "high": None}, "answers": []}
    slices = [
        {
            **make_slice({"feature_id": "opinionqa"}),
            "before": None,
            "n_before": None,
            "change": None,
            "others": 0.4,
            "n_others": 9,
        }
    ]
    respond = {"action": "investigate", "options": [], "target": None}
    story = tell(
        make_results(
            triage=triage, isolate=isolate, scope={"slices": slices, "leaves": slices, "kind": "all"}, respond=respond
        )
    )
    assert story["opening"] == "Standing:"
    assert (
        story["headline"].replace("\u00a0", " ")
        == "43 % of answers in opinionqa are followed by people leaving (limit 30 %)."
    )
    assert [one["id"] for one in story["sections"]][:2] == ["real", "who"]
    told = " ".join(texts({key: story[key] for key in ("headline", "lede", "facts", "answers")}))
    assert "before" not in told
    assert "unknown" not in told


def test_better_has_nothing_to_do_and_costs_nothing():
    triage, isolate = {"kind": "better", "metric": "mean_quality", "unit": "score"}, {"verdict": "nothing to explain"}
    respond = {
        "action": "none",
        "target": None,
        "options": [],
        "wrong_if": ["Set [baseline]."],
        "cost_of_waiting": {"text": "nothing"},
    }
    story = tell(make_results(triage=triage, isolate=isolate, respond=respond))
    assert story["opening"] == "Better:"
    assert story["lede"] == "Nothing to do, and waiting costs nothing. Set [baseline]."
    assert story["answers"][1]["question"] == "Who gets better answers?"


def test_a_false_positive_asks_for_nothing_in_the_feature():
    told = tell(make_results(triage={"verdict": "false_positive", "next": "Correct the judge or its rubric."}))
    assert told["outcome"] == "false_positive"
    assert told["lede"] == "Correct the judge or its rubric."
    assert told["answers"][2]["answer"] == "Nothing in the feature"
    words = json.dumps(told["sections"])
    assert "If the verdict is wrong:" in words
    assert all("Waiting costs" not in message["words"] for message in told["messages"])


def test_a_branch_that_takes_more_traffic_is_told_by_the_level_of_the_feature():
    branch = "The share of requests with pool=long went from 1.2 % to 15 %."
    results = make_results(scope={"branch": branch})
    plain, told = tell(make_results()), tell(results)
    assert told["headline"] != plain["headline"]
    assert told["answers"][1]["words"].startswith(branch)
    level = hit_level(results)
    assert (level["n_after"], level["change"]) == (210, 0.29)


def test_a_measure_of_tokens_gets_better_somewhere_not_its_answers():
    assert whom_asked({"metric": "avg_output_tokens"}, True) == "Where is it better?"
    assert whom_asked({"metric": "mean_quality"}, True) == "Who gets better answers?"
