"""What was said, out of the many shapes of messages: the user's last words, and the answer.

Shapes read: OpenAI chat completions and responses, Anthropic messages, OpenTelemetry parts, Vercel's AI SDK,
LangChain's serialized messages, and plain text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llm_monitoring.importers.values import first, mapping, parsed

USERS = ("user", "human", "HumanMessage", "HumanMessageChunk")
TEXT_KEYS = ("text", "content", "value", "output_text", "refusal", "input")
TOOL_CALLS = ("tool_use", "tool_call", "tool-call", "function_call")
LISTS = ("messages", "choices", "prompt", "input", "contents", "args")


def said_by_user(value: Any) -> str | None:
    """The last message of the user, or all the text where no role is named.

    >>> said_by_user([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}])
    'Hi'
    >>> said_by_user('{"args": ["What is it?"]}')
    'What is it?'
    """
    found = parsed(value)
    while isinstance(found, Mapping) and "role" not in found and not _is_message(found):
        inner = next((found[name] for name in LISTS if name in found), None)
        if inner is None:
            return _words(found)
        found = parsed(inner)
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    if isinstance(found, list):
        users = [_words(each) for each in found if _role(each) in USERS]
        known = [words for words in users if words]
        if known:
            return known[-1]
        if any(_role(each) for each in found):
            return None
    return _words(found)


def answer(value: Any) -> str | None:
    """The text of an answer; calls of tools as ``name(arguments)``.

    >>> answer({"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]})
    'look({})'
    """
    return _words(parsed(value))


def _role(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    kind = value.get("id")
    named = (
        kind[-1] if isinstance(kind, list) and kind else None
    )  # LangChain: ["langchain", "schema", ..., "HumanMessage"]
    role = first(value, "role", "type") if "kwargs" not in value else named
    return role if isinstance(role, str) and role not in ("text", "message", "output_text") else value.get("role")


def _is_message(value: Mapping[str, Any]) -> bool:
    return "kwargs" in value or ("content" in value and "messages" not in value)


def _words(value: Any) -> str | None:
    """All text in a value, parts in their order, a line each."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return value or None
    if isinstance(value, list):
        lines = [words for words in map(_words, value) if words]
        return "\n".join(lines) or None
    if not isinstance(value, Mapping):
        return str(value)
    if "kwargs" in value:
        return _words(value["kwargs"])
    if isinstance(value.get("function"), Mapping) or "toolName" in value or value.get("type") in TOOL_CALLS:
        return _call(value)
    if value.get("type") in ("thinking", "redacted_thinking", "reasoning"):
        return None
    if "message" in value and not isinstance(value["message"], str):
        return _words(value["message"])
    parts = next(
        (
            value[name]
            for name in ("parts", "contents", "choices", "output", "candidates", "generations")
            if value.get(name)
        ),
        None,
    )
    words = (
        _words(parts)
        if parts is not None
        else _words(next((value[name] for name in TEXT_KEYS if value.get(name)), None))
    )
    calls = _words(first(value, "tool_calls", "toolCalls")) if parts is None else None
    return "\n".join(each for each in (words, calls) if each) or None


def _call(value: Mapping[str, Any]) -> str:
    of = mapping(value.get("function")) or value
    given = first(of, "arguments", "input", "args")
    arguments = given if isinstance(given, str) else json.dumps(given if given is not None else {}, ensure_ascii=False)
    return f"{first(of, 'name', 'toolName') or 'tool'}({arguments})"


def error_text(fault: Any) -> str:
    """What went wrong, in the source's words: ``type: message`` where both are named.

    >>> error_text({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    'overloaded_error: Overloaded'
    """
    found = parsed(fault)
    if not isinstance(found, Mapping):
        return str(found)
    if isinstance(found.get("error"), Mapping):
        return error_text(found["error"])
    kind, message = first(found, "code", "type", "error_class"), first(found, "message", "error_message")
    return ": ".join(str(part) for part in (kind, message) if part) or json.dumps(dict(found), ensure_ascii=False)
