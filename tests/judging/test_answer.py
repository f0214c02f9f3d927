import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_monitoring.judging.answer import JudgeReply, read_answer
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC

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
        (f"```json\n{json.dumps(GOOD)}\n```", "not_json"),
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
