"""What was asked and answered in a span: in its attributes, in the events that older SDKs write, or in log records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llm_monitoring.importers.completions import ending
from llm_monitoring.importers.messages import answer, said_by_user
from llm_monitoring.importers.spans import Event, Span, unpack
from llm_monitoring.importers.values import first, listing, mapping, parsed

INPUTS = ("gen_ai.input.messages", "gen_ai.prompt", "traceloop.entity.input")
OUTPUTS = ("gen_ai.output.messages", "gen_ai.completion", "traceloop.entity.output")
CONTENT = ("gen_ai.event.content", "event_body", "event.body", "body")
LISTED = ("events", "all_messages_events")  # attributes in which Pydantic AI keeps its events


class Said(NamedTuple):
    """The user's last words, the answer, and why it ended."""

    asked: str | None = None
    answered: str | None = None
    ending: str | None = None


def contents(span: Span) -> Said:
    """Question, answer and ending, from attributes, else from the events in which older conventions split them."""
    events = [*_events(span)]
    known: dict[str, Any] = dict(span.attributes)
    for _, told in events:
        known = {**{name: told[name] for name in (*INPUTS, *OUTPUTS) if told.get(name) is not None}, **known}
    output = parsed(first(known, *OUTPUTS) or indexed(known, "gen_ai.completion"))
    last = output[-1] if isinstance(output, list) and output else output
    whole = Said(
        said_by_user(first(known, *INPUTS) or indexed(known, "gen_ai.prompt")),
        answer(output),
        ending(mapping(last).get("finish_reason")),
    )
    split = _split(events)
    return Said(split.asked or whole.asked, whole.answered or split.answered, whole.ending or split.ending)


def _events(span: Span) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and fields of each event, those of its content among them, whatever the SDK packs it in."""
    listed = [each for name in LISTED for each in listing(parsed(span.attributes.get(name)))]
    events = [Event(str(first(each, "event.name", "name") or ""), each) for each in map(mapping, listed)]
    for event in [*span.events, *events]:
        told = {**event.attributes, **_fields(event.body)}
        for name in CONTENT:
            told = {**told, **_fields(event.attributes.get(name))}
        name = event.name if event.name.startswith("gen_ai.") else str(told.get("event.name") or event.name)
        yield name, told


def _fields(value: Any) -> Mapping[str, Any]:
    """The fields of an event's content: of its JSON object, of its messages, or the text itself as ``content``."""
    found = parsed(value)
    if isinstance(found, Mapping):
        return unpack(found.get("values")) if set(found) == {"values"} else found
    return {} if found in (None, "", []) else {"content": found}


def _split(events: list[tuple[str, Mapping[str, Any]]]) -> Said:
    """Messages of which each has an event of its own: the last one of the user, the first choice."""
    asked = answered = reason = None
    for name, told in events:
        if name == "gen_ai.user.message":
            asked = answer(first(told, "content", "message", "parts", "gen_ai.prompt")) or asked
        elif name in ("gen_ai.choice", "gen_ai.content.completion"):
            answered = answered or _choice(told)
            reason = reason or ending(told.get("finish_reason"))
        elif name == "gen_ai.content.prompt":
            asked = said_by_user(first(told, "content")) or asked
    return Said(asked, answered, reason)


def _choice(told: Mapping[str, Any]) -> str | None:
    found = parsed(first(told, "message", "content", "parts"))
    beside = {"tool_calls": parsed(told["tool_calls"])} if told.get("tool_calls") else {}
    return answer(found) or answer(beside)


def indexed(known: Mapping[str, Any], prefix: str) -> list[dict[str, Any]] | None:
    """Messages spread over numbered attributes: ``gen_ai.prompt.0.role``, ``gen_ai.prompt.0.content`` ..."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in known.items():
        place, _, rest = name.removeprefix(f"{prefix}.").partition(".")
        if name.startswith(f"{prefix}.") and place.isdecimal() and len(place) < 9 and rest:
            found.setdefault(int(place), {})[rest] = value
    return [found[place] for place in sorted(found)] or None
