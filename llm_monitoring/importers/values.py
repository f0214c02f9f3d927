"""Single values as other tools write them: moments in many units, numbers as text, JSON inside text, tokens, first known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from llm_monitoring.importers.draft import Draft

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Digits of a count since 1970 tell its unit: seconds have 10 until the year 2286, each finer unit three more.
UNITS = ((1e17, "nanoseconds", 1e9), (1e14, "microseconds", 1e6), (1e11, "milliseconds", 1e3), (0.0, "seconds", 1.0))


def moment(value: Any, draft: Draft, name: str) -> datetime | None:
    """A time in UTC from ISO text, a count since 1970, or a pair of seconds and nanoseconds; None where it is none.

    >>> moment("2025-01-24 09:20:41.847", Draft("x"), "startTime").isoformat()
    '2025-01-24T09:20:41.847000+00:00'
    >>> moment("1762160400100000000", Draft("x"), "start").isoformat()
    '2025-11-03T09:00:00.100000+00:00'
    """
    if isinstance(value, list | tuple):
        seconds, rest = map(number, value) if len(value) == 2 else (None, None)
        return None if seconds is None or rest is None else _after_1970(seconds, rest // 1000)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else _zoned(value, draft, name)
    count = number(value)
    if count is not None:
        return _since_1970(value, count, draft, name)
    try:
        when = datetime.fromisoformat(str(value).strip())
    except ValueError:
        if value not in (None, ""):
            draft.guess(f"{name} cannot be read as a time: unknown")
        return None
    return when.astimezone(UTC) if when.tzinfo else _zoned(when, draft, name)


def _zoned(when: datetime, draft: Draft, name: str) -> datetime:
    draft.guess(f"{name} has no time zone: read as UTC")
    return when.replace(tzinfo=UTC)


def _since_1970(value: Any, count: float, draft: Draft, name: str) -> datetime | None:
    if count <= 0:
        return None
    unit, scale = next((unit, scale) for least, unit, scale in UNITS if count >= least)
    if unit != "nanoseconds":
        draft.guess(f"{name} is a bare number: {unit} since 1970, by its size")
    if not isinstance(value, float) and str(value).strip().isdigit():
        return _after_1970(0, int(value) * 1_000_000 // int(scale))
    return _after_1970(count / scale, 0)


def _after_1970(seconds: float, microseconds: float) -> datetime | None:
    try:
        return EPOCH + timedelta(seconds=seconds, microseconds=microseconds)
    except OverflowError:
        return None


def milliseconds(start: datetime | None, end: datetime | None) -> float | None:
    """The time between two moments, unknown where one is, or where the end is before the start."""
    if start is None or end is None or end < start:
        return None
    return (end - start) / timedelta(milliseconds=1)


class CommaText(str):
    """A cell such as ``0,25`` of a file whose numbers have a decimal comma: a text that `number` reads as 0.25."""


def number(value: Any) -> float | None:
    """A finite number, also from text; None for everything else.

    >>> number("12"), number(""), number(True), number(float("nan"))
    (12.0, None, None, None)
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, CommaText):
        value = value.replace(".", "").replace(",", ".")
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def amount(value: Any, draft: Draft, name: str) -> float | None:
    """A finite number as `number` reads it; what is there and is none is told, once a kind.

    >>> draft = Draft("x")
    >>> amount("0.25", draft, "spend"), amount("$1", draft, "spend"), dict(draft.guesses)
    (0.25, None, {'spend cannot be read as a number: unknown': 1})
    """
    found = number(value)
    if found is None and value not in (None, ""):
        draft.guess(f"{name} cannot be read as a number: unknown")
    return found


def parsed(value: Any) -> Any:
    """The value that a JSON text holds; the text itself where it holds none.

    >>> parsed('{"a": 1}'), parsed("hello")
    ({'a': 1}, 'hello')
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):  # a person may have written a hundred thousand brackets
            return value
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """The JSON object that a value or its text is; an empty one where it is none."""
    found = parsed(value)
    return found if isinstance(found, Mapping) else {}


def listing(value: Any) -> list[Any]:
    """A list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def first(record: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that is known: neither absent nor null nor an empty text."""
    return next((record[name] for name in names if record.get(name) not in (None, "")), None)


def text(value: Any) -> str | None:
    """A text, or None where there is none; numbers as people write them."""
    if value in (None, ""):
        return None
    return str(value)


def whole_input(
    given: Any, cached: Any, draft: Draft, *, output: Any = None, total: Any = None, beside: bool = False
) -> float | None:
    """All tokens that entered the model, those read from a cache included.

    Providers differ: OpenAI counts cached tokens inside the input tokens, Anthropic beside them. A total settles it;
    more cached tokens than input tokens settles it too; otherwise `beside` says what the format does.

    >>> whole_input(5, 1200, Draft("x"))
    1205.0
    >>> whole_input(1500, 1200, Draft("x"))
    1500.0
    """
    tokens, extra = amount(given, draft, "a count of input tokens"), number(cached) or 0.0
    if tokens is None or not extra:
        return tokens
    sum_, rest = number(total), number(output) or 0.0
    if sum_ is not None:
        beside = sum_ >= tokens + extra + rest
    elif extra > tokens:
        beside = True
    where = "beside the input tokens: added" if beside else "inside the input tokens: not added"
    draft.guess(f"cached tokens are counted {where}")
    return tokens + extra if beside else tokens
