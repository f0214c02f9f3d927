import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_monitoring.judging.answer import JudgeReply, read_answer
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric

GOOD = {"reason": "fine", "correctness": 5, "completeness": 4, "tone": 3}


def read(text, **reply):
    return read_answer(JudgeReply(text, **reply), DEFAULT_RUBRIC)


def test_a_good_answer_gives_its_scores_and_reason():
    found = read(json.dumps(GOOD))
    assert (found.scores, found.reason) == ({"correctness": 5, "completeness": 4, "tone": 3}, "fine")


@pytest.mark.parametrize("value", [True, 4.0, 4.5, "4", None, 0, 6, -1, 10**400, [4], {"score": 4}])
def test_only_an_integer_from_1_to_5_is_a_score(value):
    found = read(json.dumps({**GOOD, "tone": value}))
    assert (found.scores, found.error_kind) == (None, "schema")
    assert found.error.startswith("tone: ")
    assert found.error.endswith("; expected an integer from 1 to 5")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, "empty"),
        (" \n", "empty"),
        ("5", "schema"),
        ("[5, 5, 5]", "schema"),
        (f"Here you are: {json.dumps(GOOD)}", "not_json"),
        (json.dumps(GOOD)[:-1], "not_json"),
        ("[" * 100_000, "not_json"),
        ("9" * 5_000, "not_json"),
        ('{"correctness": Infinity, "completeness": 4, "tone": 4}', "not_json"),
    ],
)
def test_what_is_no_json_object_is_unfit(text, kind):
    assert read(text).error_kind == kind


@pytest.mark.parametrize(
    ("reason", "kind"), [("length", "length"), ("content_filter", "content_filter"), ("tool_calls", "unfinished")]
)
def test_an_answer_that_did_not_finish_is_unfit_even_where_it_reads_well(reason, kind):
    assert read(json.dumps(GOOD), finish_reason=reason).error_kind == kind


def test_a_refusal_beside_scores_is_a_refusal():
    found = read(json.dumps(GOOD), refusal="I would rather not.")
    assert (found.error_kind, found.error) == ("refusal", "the judge refused: 'I would rather not.'")


@given(st.text())
def test_no_text_at_all_becomes_a_score_unless_it_is_the_object_asked_for(text):
    assert read(text).scores is None


@pytest.mark.parametrize("text", [5, b'{"correctness": 5, "completeness": 4, "tone": 4}', {"correctness": 5}])
def test_what_is_no_text_is_no_score(text):
    answer = read_answer(JudgeReply(text), DEFAULT_RUBRIC)
    assert (answer.scores, answer.error_kind) == (None, "not_json")


PLAIN = json.dumps(GOOD)
DRAFT = json.dumps({"reason": "draft", "correctness": 1, "completeness": 1, "tone": 1})


@pytest.mark.parametrize(
    ("text", "unwrapped"),
    [
        (PLAIN, None),
        (f"```json\n{PLAIN}\n```", "fence"),
        (f"\n```\n{PLAIN}\n```\n", "fence"),
        (f"```JSON\r\n{PLAIN}\r\n```", "fence"),
        (f"```json{PLAIN}```", "fence"),
        (f"<think>Perhaps {DRAFT}? No.</think>\n{PLAIN}", "thinking"),
        (f"<think>```json\n{DRAFT}\n```</think>\n```json\n{PLAIN}\n```", "thinking, fence"),
        (f"<THINK></THINK>{PLAIN}", "thinking"),
        (PLAIN.replace("fine", "see ```json {} ``` and <think>"), None),
        ("```\n" + PLAIN.replace("fine", "it says ``` twice ```") + "\n```", "fence"),
    ],
)
def test_one_fence_around_all_and_one_closed_thinking_before_all_are_taken_off(text, unwrapped):
    found = read(text)
    assert (found.scores, found.unwrapped) == ({"correctness": 5, "completeness": 4, "tone": 3}, unwrapped)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>Perhaps {DRAFT}",
        f"<think>{DRAFT}</think>",
        f"{DRAFT}</think>{PLAIN}",
        f"<think>a<think>b</think>{DRAFT}</think>{PLAIN}",
        f"<think>a</think>{DRAFT}</think>{PLAIN}",
        f"<think>a</think><think>b</think>{PLAIN}",
        f"<think>a</think>Here: {PLAIN}",
        f"Well. <think>a</think>{PLAIN}",
        f"```json\n{DRAFT}\n```\n```json\n{PLAIN}\n```",
        f"```json\n{DRAFT}\n{PLAIN}\n```",
        f"Here:\n```json\n{PLAIN}\n```",
        f"```json\n{PLAIN}\n```\nDone.",
        f"```json\n{PLAIN}",
        f"````json\n```json\n{PLAIN}\n```\n````",
        f"```json\n<think>{DRAFT}</think>{PLAIN}\n```",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_score(text):
    found = read(text)
    assert (found.scores, found.error_kind) == (None, "not_json")
    assert found.error


@pytest.mark.parametrize("piece", ["<think>", "</think>", "```", "```json\n{", "\n", "<think> </think>"])
def test_a_hostile_reply_is_read_at_once(piece):
    assert read("<think>" + piece * 50_000).scores is None
    assert read(piece * 50_000 + PLAIN).error_kind in ("not_json", None)


UNIT = Rubric(version="1", scale=(0, 1), dimensions=[{"name": "a"}, {"name": "b"}], flag={"quality_at_most": 0.3})
VERDICT = Rubric(version="1", scale="pass_fail")


@pytest.mark.parametrize("value", [0, 1, 0.5, 0.0, 1.0])
def test_numbers_on_the_rubrics_scale_are_scores_as_they_are(value):
    assert read_answer(JudgeReply(json.dumps({"a": value, "b": 1})), UNIT).scores == {"a": value, "b": 1}


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.5", None, 2, 10**400])
def test_a_number_off_the_rubrics_scale_is_no_score(value):
    found = read_answer(JudgeReply(json.dumps({"a": value, "b": 1})), UNIT)
    assert (found.scores, found.error_kind) == (None, "schema")
    assert found.error.endswith("; expected a number from 0 to 1")


@pytest.mark.parametrize(("verdict", "passed"), [("pass", True), ("fail", False)])
def test_a_verdict_is_read(verdict, passed):
    found = read_answer(JudgeReply(json.dumps({"reason": "r", "verdict": verdict})), VERDICT)
    assert (found.passed, found.scores, found.reason) == (passed, {}, "r")


@pytest.mark.parametrize(
    "content", [{}, {"verdict": True}, {"verdict": "PASS"}, {"verdict": "maybe"}, {"verdict": ["pass"]}]
)
def test_what_is_no_verdict_is_a_failure(content):
    found = read_answer(JudgeReply(json.dumps(content)), VERDICT)
    assert (found.passed, found.scores, found.error_kind) == (None, None, "schema")
    assert found.error.endswith("; expected 'pass' or 'fail'")
