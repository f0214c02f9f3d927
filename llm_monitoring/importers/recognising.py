"""What a source looks like, by the names of its fields: which importer, or which other call, would read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm_monitoring.importers.values import parsed

#: How much of a source is looked at.
VALUES, OBJECTS, DEPTH = 50, 2_000, 12
#: What is known by its fields and not read, with what to do about it.
UNREAD = {
    "Jaeger's JSON, which is not read: export the traces as OTLP JSON": {"operationName", "spanID"},
    "Zipkin's JSON, which is not read: export the traces as OTLP JSON": {"traceId", "duration", "tags"},
    "metrics of OpenTelemetry, which do not hold single calls: give the traces": {"resourceMetrics"},
}


def looks_like(values: Iterable[Any]) -> dict[str, int]:
    """How many objects of a source show the marks of each format, the most frequent first.

    >>> looks_like([{"id": "r1", "run_type": "llm"}])
    {'langsmith': 1}
    """
    found: dict[str, int] = {}
    for record in _objects(values):
        for name in _formats(record):
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _objects(values: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """The objects in the values, from outside to inside, a bounded number of them."""
    level, left = list(values)[:VALUES], OBJECTS
    for _ in range(DEPTH):
        inside: list[Any] = []
        for value in level[:OBJECTS]:
            given = parsed(value) if isinstance(value, str) and len(value) < 10_000 else value
            if isinstance(given, Mapping):
                if left <= 0:
                    return
                left -= 1
                yield given
                inside += list(given.values())[:VALUES]
            elif isinstance(given, list):
                inside += given[:VALUES]
        level = inside


def _formats(record: Mapping[str, Any]) -> Iterator[str]:
    names = {str(name) for name in record}
    key = record.get("key")  # an attribute of OTLP is an object of key and value
    names |= {key} if isinstance(key, str) and "value" in names else set()
    kind = str(record.get("type"))
    if any(name.startswith(("gen_ai.", "llm.usage.", "llm.request.")) for name in names):
        yield "otel"
    if any(name.removeprefix("attributes.").startswith(("openinference.", "llm.token_count")) for name in names):
        yield "openinference"
    if any(name.startswith(("ai.operationId", "ai.model.", "ai.response.", "ai.telemetry.")) for name in names):
        yield "vercel"
    if {"observations"} <= names or (kind in ("GENERATION", "SPAN", "EVENT") and names & {"startTime", "start_time"}):
        yield "langfuse"
    if "run_type" in names and "id" in names:
        yield "langsmith"
    if "call_type" in names and names & {"startTime", "start_time", "spend", "response_cost"}:
        yield "litellm"
    if ("custom_id" in names and names & {"response", "body"}) or record.get("object") == "batch":
        yield "openai_batch"
    if ("custom_id" in names and names & {"result", "params"}) or kind == "message_batch":
        yield "anthropic_batch"
    if {"request_id", "timestamp", "feature_id", "model_id"} <= names:
        yield "log"
    yield from (told for told, marks in UNREAD.items() if marks <= names)


def advice(format: str, values: Iterable[Any], given: str) -> str:
    """What a source without a request of `format` looks like, and the call that would read it."""
    found = [name for name in looks_like(values) if name != format]
    if not found:
        return ""
    if found[0] == "log":
        return f". It looks like a log that needs no import: lm.open_log({given})"
    if found[0] in UNREAD:
        return f". It looks like {found[0]}"
    found = [name for name in found if name not in UNREAD]
    calls = " or ".join(f"lm.importers.{name}({given})" for name in found[:2] if name != "log")
    return f". It looks like {' or '.join(name for name in found[:2] if name != 'log')}: {calls}"
