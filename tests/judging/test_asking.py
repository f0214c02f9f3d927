"""One item, asked until there is an answer or a reason for none: how often, at what cost, with what left of its text."""

import asyncio
import re

import pytest

from llm_monitoring.judging import asking
from llm_monitoring.judging.answer import JudgeReply
from llm_monitoring.judging.asking import EDGE, MOST_FRUITLESS, MOST_REFUSALS, ask, judgement, most_tokens
from llm_monitoring.judging.client import Fatal, Item, Permanent, RateLimited, Transient
from llm_monitoring.judging.pace import Pace
from llm_monitoring.judging.prompt import MOST_INPUT, MOST_OUTPUT
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC

ITEM = Item("req-1", "search", "What is a p-chart?", "A chart of shares.")
GOOD = JudgeReply('{"correctness": 4, "completeness": 5, "tone": 4}', "stop", 100, 20, "judge-1")
BAD = JudgeReply("I would rather not say.", "stop", 100, 20, "judge-1")


class Script:
    """A judge that says these things one after another, at 1 USD a token; the last again and again."""

    model, rubric, max_output_tokens, timeout_s = "judge-1", DEFAULT_RUBRIC, 50, 5.0

    def __init__(self, *says, max_tries=3):
        self.says, self.max_tries, self.seen = list(says), max_tries, []

    def cost_usd(self, tokens_in, tokens_out):
        return None if tokens_in is None else float(tokens_in + tokens_out)

    async def __call__(self, messages, schema, timeout_s):
        self.seen.append(messages)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, BaseException):
            raise said
        return said


class Purse:
    """A meter that writes down what it was asked for."""

    def __init__(self):
        self.reserved, self.settled = [], []

    async def reserve(self, item, worst_usd):
        self.reserved.append(worst_usd)
        return len(self.reserved)

    def settle(self, item, ticket, usd):
        self.settled.append((ticket, usd))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(asking, "_wait", lambda failures: 0.0)


def outcome(*says, item=ITEM, max_tries=3, **more):
    judge = Script(*says, max_tries=max_tries)
    return asyncio.run(ask(judge, item, **more)), judge


def test_an_answer_that_cannot_be_read_is_asked_for_again():
    got, judge = outcome(BAD, GOOD)
    assert (got.attempts, len(judge.seen), got.model) == (2, 2, "judge-1")
    assert got.answer.scores["completeness"] == 5


@pytest.mark.parametrize("said", [BAD, Transient("server_error", "500")])
def test_after_as_many_tries_as_the_judge_allows_the_last_reason_stands(said):
    got, judge = outcome(said, max_tries=3)
    assert len(judge.seen) == 3
    assert got.answer.scores is None
    assert got.answer.error_kind
    assert not got.fatal


@pytest.mark.parametrize(("error", "fatal"), [(Permanent("too_long", "context"), False), (Fatal("auth", "401"), True)])
def test_what_will_fail_again_is_asked_once(error, fatal):
    got, judge = outcome(error)
    assert (len(judge.seen), got.fatal, got.answer.error_kind) == (1, fatal, error.kind)


def test_refusals_end_where_no_other_item_is_answered_meanwhile():
    got, judge = outcome(RateLimited(0))
    assert len(judge.seen) == MOST_FRUITLESS
    assert got.answer.error_kind == "rate_limited"


def test_refusals_go_on_while_others_are_answered_but_not_for_ever():
    class Busy(Pace):
        """Another worker has an answer after each refusal of ours; nobody waits."""

        async def turn(self, tokens=0):
            self.answers += 1

    async def run():
        judge = Script(RateLimited(0))
        return await ask(judge, ITEM, Busy()), judge

    _, judge = asyncio.run(run())
    assert len(judge.seen) == MOST_REFUSALS


def test_each_call_is_paid_for_once_and_a_refused_one_costs_nothing():
    purse = Purse()
    got, judge = outcome(RateLimited(0), Transient("timeout", "slow"), GOOD, meter=purse)
    worst = most_tokens(judge.seen[0]) + 50
    assert purse.reserved == [worst] * 3
    # refused: nothing; timed out: unknown, so the worst case stands; answered: 120 tokens
    assert purse.settled == [(1, 0.0), (2, None), (3, 120.0)]
    assert got.cost_usd == worst + 120


def test_a_reply_without_token_counts_costs_its_worst_case():
    purse = Purse()
    got, judge = outcome(JudgeReply(GOOD.text), meter=purse)
    assert purse.settled == [(1, None)]
    assert got.cost_usd == most_tokens(judge.seen[0]) + 50


@pytest.mark.parametrize("missing", [None, "", " \n", float("nan")])
@pytest.mark.parametrize("side", ["user_input", "system_output"])
def test_a_missing_text_is_no_call(side, missing):
    got, judge = outcome(GOOD, item=ITEM._replace(**{side: missing}))
    assert judge.seen == []
    assert (got.answer.error_kind, got.attempts, got.cost_usd) == ("no_text", 0, None)
    assert got.judged_at


@pytest.mark.parametrize("redact", [lambda text: None, lambda text: 1 / 0])
def test_a_text_that_cannot_be_redacted_is_not_sent(redact):
    got, judge = outcome(GOOD, redact=redact)
    assert judge.seen == []
    assert got.answer.error_kind == "redaction"


@pytest.mark.parametrize("most", [MOST_INPUT, MOST_OUTPUT])
def test_of_a_long_text_the_ends_are_redacted_and_no_secret_is_cut_in_half(most):
    def redact(text):
        return re.sub("S+", "[KEY]", text)

    head, tail = most * 3 // 5, most * 3 // 10
    length = most + 4 * EDGE
    for begin in (0, head - 20, head + EDGE - 20, length - tail - 20, length - 40):  # across each place of a cut
        text = "a" * begin + "S" * 40 + "b" * (length - begin - 40)
        shown = asking._redacted(text, most, redact)
        assert "S" not in shown
        assert f"[... {length - head - tail} characters left out here ...]" in shown
        assert len(shown) < most


def test_a_short_text_is_redacted_whole():
    text = "a" * (MOST_INPUT + EDGE) + "S" + "b" * (EDGE - 1)  # one more, and the middle goes
    assert asking._redacted(text, MOST_INPUT, lambda text: text.replace("S", "[KEY]")) == text.replace("S", "[KEY]")


@pytest.mark.parametrize(("content", "tokens"), [("", 10), ("abc", 11), ("é", 12), ("日本", 14), ("abc😀", 13)])
def test_tokens_are_a_third_of_the_plain_characters_and_two_for_each_other_one(content, tokens):
    assert most_tokens([{"content": content}]) == tokens


def test_an_outcome_becomes_a_record_with_scores_or_with_its_reason():
    good, judge = outcome(GOOD)
    record = judgement(good, judge)
    assert (record.status, record.flagged, record.error, record.request_id) == ("ok", False, None, "req-1")
    assert record.quality_score == 4  # mean of 4, 5 and 4, rounded
    failed, judge = outcome(Fatal("auth", "the key is wrong"))
    record = judgement(failed, judge)
    assert (record.status, record.quality_score, record.flagged) == ("failed", None, False)
    assert record.error == "auth: the key is wrong"
    assert record.judged_at
