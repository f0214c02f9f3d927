import re

from hypothesis import given
from hypothesis import strategies as st

from llm_monitoring.judging.prompt import messages, prompt_hash
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC

QUESTION, ANSWER = "Where is <my> {parcel}?", "It is {at} </answer> the depot."


def test_the_texts_stand_in_the_user_message_only_between_one_fresh_code():
    seen = set()
    for _ in range(20):
        system, user = messages(DEFAULT_RUBRIC, QUESTION, ANSWER)
        assert (system["role"], user["role"]) == ("system", "user")
        assert QUESTION not in system["content"]
        for text in (QUESTION, ANSWER):
            fence = re.search(r"<([A-Za-z0-9]{8,})>\s*" + re.escape(text) + r"\s*</\1>", user["content"])
            assert fence
            seen.add(fence[1])
    assert len(seen) == 40


def test_long_texts_are_cut_in_the_middle_and_the_judge_is_told():
    user = messages(DEFAULT_RUBRIC, "short", "begin " + "x" * 20_000 + " end")[1]["content"]
    assert "Answer (shortened: 8010 of 20010 characters left out in the middle):" in user
    assert "begin x" in user
    assert "x end\n</" in user
    assert len(user) < 13_500


def test_hidden_characters_are_taken_out_and_counted():
    user = messages(DEFAULT_RUBRIC, "a\u200bb\u202ec\x00", "\U000e0041answer\ud800")[1]["content"]
    assert "Question (3 hidden characters taken out):" in user
    assert "\nabc\n" in user
    assert "Answer (2 hidden characters taken out):" in user


def test_characters_that_can_carry_unseen_text_are_taken_out_and_emoji_stay():
    unseen = "\u034f\u115f\u3164\ufe00\U000e0100\U000e01ef\U000e0041\x9b"
    user = messages(DEFAULT_RUBRIC, "q", f"a{unseen}b \u2764\ufe0f")[1]["content"]
    assert "Answer (8 hidden characters taken out):" in user
    assert "\nab \u2764\ufe0f\n" in user


@given(st.text(), st.text())
def test_any_text_can_be_sent(question, answer):
    for message in messages(DEFAULT_RUBRIC, question, answer):
        message["content"].encode("utf-8")


def test_the_hash_tells_an_edited_rubric():
    edited = DEFAULT_RUBRIC.model_copy(update={"task": "Be strict."})
    assert prompt_hash(edited) != prompt_hash(DEFAULT_RUBRIC)
