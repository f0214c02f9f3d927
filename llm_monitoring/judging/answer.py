"""A judge's reply -> scores, or the reason why there are none. Strict: nothing is repaired, rounded or guessed.

What is taken off is one code fence around the whole answer, and one closed block of thinking before it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from llm_monitoring.errors import quote
from llm_monitoring.judging.rubric import PASS_FAIL, REASON, VERDICT, Rubric


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
    """Scores, or why there are none: exactly one of `scores` and `error_kind` is set.

    A pass / fail judge gives no scores (an empty dict) and says whether the answer `passed`. `unwrapped` says what was
    taken off the reply: ``"fence"``, ``"thinking"`` or ``"thinking, fence"``.
    """

    scores: dict[str, float] | None
    reason: str | None = None
    error_kind: str | None = None
    error: str | None = None
    passed: bool | None = None
    unwrapped: str | None = None


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
        With `scores` where the reply finished, is one JSON object and holds every dimension as a number on the
        rubric's scale (from 1 to 5: a whole one), or the verdict; else with `error_kind`: refusal, length, content_filter, empty, not_json or schema.

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
        return _unfit("not_json", f"{quote(reply.text)} is not text; expected one JSON object as text")
    if not reply.text.strip():
        return _unfit("empty", "the answer holds no text")
    text, unwrapped = unwrap(reply.text)
    if text is None:
        return _unfit("not_json", f"{quote(reply.text)}; {unwrapped}")
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except _Repeated as repeated:
        return _unfit("schema", f"{quote(str(repeated))} occurs twice; expected once")
    except (ValueError, RecursionError):
        return _unfit("not_json", f"{quote(reply.text)}; expected one JSON object and nothing around it")
    if not isinstance(content, dict):
        return _unfit("schema", f"{quote(content)}; expected a JSON object")
    reason = content.get(REASON)
    found = _verdict(content) if rubric.scale == PASS_FAIL else _scores(content, rubric)
    return replace(found, reason=reason if isinstance(reason, str) else None, unwrapped=unwrapped)


def unwrap(text: str) -> tuple[str | None, str | None]:
    """The JSON inside a reply and what was taken off, or None and why it cannot be found.

    >>> unwrap('<think>Perhaps {"tone": 5}? No.</think>{"tone": 2}')
    ('{"tone": 2}', 'thinking')
    >>> unwrap('<think>Perhaps {"tone": 5}')
    (None, 'expected the thinking to be closed, once, before the answer')
    """
    text, taken = text.strip(), []
    block = re.match(r"<(think|thinking|reasoning)>", text, re.IGNORECASE)
    if block:
        tag = re.escape(block[1])
        opened, closed = (re.findall(mark, text, re.IGNORECASE) for mark in (f"<{tag}>", f"</{tag}>"))
        if len(opened) != 1 or len(closed) != 1:
            return None, "expected the thinking to be closed, once, before the answer"
        text = text[text.lower().index(closed[0].lower()) + len(closed[0]) :].strip()
        taken.append("thinking")
    fenced = re.match(r"```[ \t]*\w{0,20}\s*(?=\{)", text)
    if fenced and text.endswith("```") and len(text) >= fenced.end() + 3:
        text = text[fenced.end() : -3].strip()
        taken.append("fence")
    return text, ", ".join(taken) or None


def _scores(content: dict[str, Any], rubric: Rubric) -> Answer:
    low, high = rubric.ends
    expected = f"expected {'an integer' if rubric.is_usual else 'a number'} from {low:g} to {high:g}"
    kinds = (int,) if rubric.is_usual else (int, float)
    scores = {}
    for name in rubric.names:
        if name not in content:
            return _unfit("schema", f"{name}: missing; {expected}")
        value = content[name]
        if type(value) not in kinds or not low <= value <= high:
            return _unfit("schema", f"{name}: {quote(value)}; {expected}")
        scores[name] = value
    return Answer(scores)


def _verdict(content: dict[str, Any]) -> Answer:
    said = quote(content[VERDICT]) if VERDICT in content else "missing"
    if content.get(VERDICT) not in ("pass", "fail"):
        return _unfit("schema", f"{VERDICT}: {said}; expected 'pass' or 'fail'")
    return Answer({}, passed=content[VERDICT] == "pass")


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
