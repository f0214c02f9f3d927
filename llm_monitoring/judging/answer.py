"""A judge's reply -> scores, or the reason why there are none. Strict: nothing is repaired, rounded or guessed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_monitoring.errors import quote
from llm_monitoring.judging.rubric import REASON, Rubric


class JudgeReply(NamedTuple):
    """What came back from a judge, before anybody believed it."""

    text: str | None
    finish_reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    fingerprint: str | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class Answer:
    """Scores, or why there are none: exactly one of `scores` and `error_kind` is set."""

    scores: dict[str, int] | None
    reason: str | None = None
    error_kind: str | None = None
    error: str | None = None


STOPPED = {"stop", "end_turn", "completed"}
NOT_STOPPED = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
}


def read_answer(reply: JudgeReply, rubric: Rubric) -> Answer:
    """Check a reply against the rubric.

    Parameters
    ----------
    reply : JudgeReply
    rubric : Rubric

    Returns
    -------
    Answer
        With `scores` where the reply finished, is one JSON object and holds every dimension as an integer from 1
        to 5; else with `error_kind`: refusal, length, content_filter, empty, not_json or schema.

    Examples
    --------
    >>> from llm_monitoring.judging.rubric import DEFAULT_RUBRIC
    >>> good = '{"reason": "fine", "correctness": 5, "completeness": 4, "tone": 4}'
    >>> read_answer(JudgeReply(good), DEFAULT_RUBRIC).scores
    {'correctness': 5, 'completeness': 4, 'tone': 4}
    >>> read_answer(JudgeReply("I would say 4 out of 5."), DEFAULT_RUBRIC).error_kind
    'not_json'
    >>> read_answer(JudgeReply(good.replace("5", "4.5")), DEFAULT_RUBRIC).error
    'correctness: 4.5; expected an integer from 1 to 5'
    """
    if reply.refusal:
        return _unfit("refusal", f"the judge refused: {quote(reply.refusal)}")
    if reply.finish_reason not in STOPPED:
        kind = NOT_STOPPED.get(reply.finish_reason, "unfinished")
        return _unfit(kind, f"finish reason {quote(reply.finish_reason)}; expected 'stop'")
    if reply.text is None:
        return _unfit("empty", "the answer holds no text")
    if not isinstance(reply.text, str):
        return _unfit("not_json", f"{quote(reply.text)} is no text; expected one JSON object as text")
    if not reply.text.strip():
        return _unfit("empty", "the answer holds no text")
    try:
        content = json.loads(reply.text, object_pairs_hook=_object, parse_constant=_no_constant)
    except _Repeated as repeated:
        return _unfit("schema", f"{quote(str(repeated))} stands there twice; expected once")
    except (ValueError, RecursionError):
        return _unfit("not_json", f"{quote(reply.text)}; expected one JSON object and nothing around it")
    if not isinstance(content, dict):
        return _unfit("schema", f"{quote(content)}; expected a JSON object")
    scores = {}
    for name in rubric.names:
        if name not in content:
            return _unfit("schema", f"{name}: missing; expected an integer from 1 to 5")
        value = content[name]
        if type(value) is not int or not 1 <= value <= 5:
            return _unfit("schema", f"{name}: {quote(value)}; expected an integer from 1 to 5")
        scores[name] = value
    reason = content.get(REASON)
    return Answer(scores, reason=reason if isinstance(reason, str) else None)


def _unfit(kind: str, sentence: str) -> Answer:
    return Answer(None, error_kind=kind, error=sentence)


class _Repeated(Exception):
    """A key that stands in one object twice: which of the two would be the verdict?"""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1))
    return content


def _no_constant(name: str) -> None:
    raise ValueError(name)
