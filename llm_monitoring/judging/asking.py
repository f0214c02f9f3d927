"""One item, asked until there is an answer or a reason for none: tries, waits, validation, cost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from llm_monitoring.errors import quote
from llm_monitoring.judging.answer import Answer, JudgeReply, read_answer
from llm_monitoring.judging.client import Fatal, FunctionJudge, Item, JudgeError, Permanent, RateLimited, Transient
from llm_monitoring.judging.pace import Pace
from llm_monitoring.judging.prompt import MOST_INPUT, MOST_OUTPUT, messages
from llm_monitoring.records import QualityJudgement

MOST_REFUSALS = 12  # 429s per item; they do not count as tries
EDGE = 9_000  # characters; longer than anything that `redact` replaces
MOST_FRUITLESS = 4  # of them in a row, in which no other item was answered either


class Meter(Protocol):
    """Where calls are paid: `reserve` the worst case before, `settle` the true cost after."""

    async def reserve(self, item: Item, worst_usd: float) -> Any:
        """Set the worst case aside; the ticket is for `settle`."""

    def settle(self, item: Item, ticket: Any, usd: float | None) -> None:
        """The true cost; None where unknown: then the worst case stands."""


@dataclass
class Outcome:
    """What became of one item."""

    item: Item
    answer: Answer
    attempts: int = 0
    cost_usd: float | None = None
    model: str | None = None
    fingerprint: str | None = None
    judged_at: str = ""
    fatal: bool = False


async def ask(
    judge: Any,
    item: Item,
    pace: Pace | None = None,
    meter: Meter | None = None,
    redact: Callable[[str], str] = str,
) -> Outcome:
    """Ask a judge about one item; never raises for what a judge or its server did.

    Parameters
    ----------
    judge : Judge or FunctionJudge
    item : Item
    pace : Pace, optional
        Shared by all workers of a run.
    meter : Meter, optional
        Holds the budget; what it raises goes through.
    redact : callable
        Text -> the text as the judge may see it; of a very long one it is given the beginning and the end. Where it
        fails the item is not sent.

    Returns
    -------
    Outcome
        With scores, or with the kind of the last failure and a sentence.
    """
    outcome = Outcome(item, Answer(None))
    if not all(isinstance(text, str) and text.strip() for text in (item.user_input, item.system_output)):
        outcome.answer = Answer(None, error_kind="no_text", error="no question or no answer in the log to be judged")
        return _dated(outcome)
    try:
        shown = item._replace(
            user_input=_redacted(item.user_input, MOST_INPUT, redact),
            system_output=_redacted(item.system_output, MOST_OUTPUT, redact),
        )
    except Exception as error:
        outcome.answer = Answer(None, error_kind="redaction", error=_said(error))
        return _dated(outcome)
    tries = refusals = fruitless = answers = 0
    while True:
        try:
            reply = await _once(judge, shown, outcome, pace, meter)
            outcome.answer = read_answer(reply, judge.rubric)
            outcome.model, outcome.fingerprint = reply.model, reply.fingerprint
            if outcome.answer.scores is not None:
                return _dated(outcome)
        except JudgeError as error:
            outcome.answer = Answer(None, error_kind=error.kind, error=error.sentence)
            outcome.fatal = isinstance(error, Fatal)
            if isinstance(error, Fatal | Permanent):
                return _dated(outcome)
            if isinstance(error, RateLimited):
                refusals += 1
                known, answers = answers, pace.answers if pace else 0
                fruitless = fruitless + 1 if answers == known else 1
                if refusals >= MOST_REFUSALS or fruitless >= MOST_FRUITLESS:
                    return _dated(outcome)
                if pace is None:
                    await asyncio.sleep(_wait(refusals) if error.retry_after is None else min(error.retry_after, 120))
                continue
        tries += 1
        if tries >= judge.max_tries:
            return _dated(outcome)
        await asyncio.sleep(_wait(tries))


def _redacted(text: str, most: int, redact: Callable[[str], str]) -> str:
    """The text as a judge may see it; of a long one only the ends that are shown go through `redact`.

    Each end is redacted with `EDGE` characters more, which then go: so no half of a key is left at the cut.
    """
    if redact is str or len(text) <= most + 2 * EDGE:
        return _as_text(redact(text))
    head, tail = most * 3 // 5, most * 3 // 10  # less than the judge is shown, so that nothing is cut twice
    first, last = _as_text(redact(text[: head + EDGE])), _as_text(redact(text[-tail - EDGE :]))
    left_out = f"\n[... {len(text) - head - tail} characters left out here ...]\n"
    return first[: max(len(first) - EDGE, 0)] + left_out + last[EDGE:]


def _as_text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("redact gave no text; expected a function text -> text")
    return text


async def _once(judge: Any, item: Item, outcome: Outcome, pace: Pace | None, meter: Meter | None) -> JudgeReply:
    said = messages(judge.rubric, item.user_input, item.system_output)
    tokens_in = most_tokens(said)
    if pace:
        await pace.turn(tokens_in + judge.max_output_tokens)
    worst = judge.cost_usd(tokens_in, judge.max_output_tokens)
    ticket = await meter.reserve(item, worst or 0.0) if meter else None
    cost: float | None = None
    outcome.attempts += 1
    try:
        reply = await _reply(judge, item, said)
        cost = judge.cost_usd(reply.input_tokens, reply.output_tokens)
        if pace:
            pace.answered()
        return reply
    except JudgeError as error:
        if error.kind not in ("timeout", "connection", "bad_response"):
            cost = 0.0  # refused before it was worked on
        if pace and isinstance(error, RateLimited):
            pace.refused(error.retry_after)
        raise
    except asyncio.CancelledError:
        ticket = None  # may have been paid: the reservation stays
        raise
    finally:
        if meter and ticket is not None:
            meter.settle(item, ticket, cost)
        paid = worst if cost is None else cost
        if paid is not None:
            outcome.cost_usd = (outcome.cost_usd or 0.0) + paid


async def _reply(judge: Any, item: Item, said: list[dict[str, Any]]) -> JudgeReply:
    """One call under one deadline; whatever a judge raises comes out as a JudgeError."""
    arguments = (said, judge.rubric.answer_schema, judge.timeout_s)
    try:
        async with asyncio.timeout(judge.timeout_s):
            if isinstance(judge, FunctionJudge):
                return await judge.about(item, *arguments)
            reply = await judge(*arguments)
    except JudgeError:
        raise
    except TimeoutError:
        raise Transient("timeout", f"no answer within {judge.timeout_s:g} s") from None
    except OSError as error:
        raise Transient("connection", quote(str(error), 200)) from None
    except (ImportError, ValueError) as error:
        if isinstance(judge, FunctionJudge):
            raise Permanent("judge_error", _said(error)) from None
        raise
    except Exception as error:
        raise Permanent("judge_error", _said(error)) from None
    if not isinstance(reply, JudgeReply):
        raise Permanent("judge_error", f"{type(judge).__name__} returned {quote(reply)}; expected a JudgeReply")
    return reply


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {quote(str(error), 200)}"


def most_tokens(said: list[dict[str, Any]]) -> float:
    """More tokens than the messages will be: a third of the plain characters, two for each other one.

    >>> most_tokens([{"role": "user", "content": "abc" * 100}])
    110.0
    """
    characters = "".join(message["content"] for message in said)
    plain = len(characters.encode("ascii", "ignore"))
    return plain / 3 + 2 * (len(characters) - plain) + 10


def _wait(failures: int) -> float:
    return random.uniform(0.5, 1) * 0.25 * 2 ** min(failures, 6)


def _dated(outcome: Outcome) -> Outcome:
    outcome.judged_at = datetime.now(UTC).isoformat()
    return outcome


def judgement(outcome: Outcome, judge: Any) -> QualityJudgement:
    """The outcome as a record: scores and flag, or None and the reason."""
    answer, rubric = outcome.answer, judge.rubric
    scores, ok = answer.scores or {}, answer.scores is not None
    reason = rubric.flag_reason(scores) if scores else None
    if answer.passed is False:
        reason = "verdict fail"
    return QualityJudgement(
        request_id=outcome.item.request_id,
        feature_id=outcome.item.feature_id,
        quality_score=rubric.quality_score(scores) if scores else None,
        dimensions=scores,
        flagged=reason is not None,
        flag_reason=reason,
        judged_at=outcome.judged_at,
        status="ok" if ok else "failed",
        error=None if ok else ": ".join(part for part in (answer.error_kind, answer.error) if part),
    )
