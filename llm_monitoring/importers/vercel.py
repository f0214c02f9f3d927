"""Spans of Vercel's AI SDK (``experimental_telemetry``): recorded spans or OTLP JSON, versions 4 to 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.calls import Sorted, import_spans
from llm_monitoring.importers.completions import ending
from llm_monitoring.importers.contents import contents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import chosen, feature, named, outcome, pick
from llm_monitoring.importers.messages import answer, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.spans import Span
from llm_monitoring.importers.values import amount, first, milliseconds, text, whole_input

if TYPE_CHECKING:
    from llm_monitoring.log import Log

WRAPPERS = ("ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject")
LEAVES = tuple(f"{name}.{step}" for name in WRAPPERS for step in ("doGenerate", "doStream"))
SESSIONS = ("ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.session_id", "ai.telemetry.metadata.chatId",
            "gen_ai.conversation.id", "session.id")  # fmt: skip
INPUT_TOKENS = ("ai.usage.inputTokens", "ai.usage.promptTokens", "gen_ai.usage.input_tokens")
OUTPUT_TOKENS = ("ai.usage.outputTokens", "ai.usage.completionTokens", "gen_ai.usage.output_tokens")


def vercel(
    source: Any, *, columns: Mapping[str, str] | None = None, scales: Mapping[str, Any] | None = None
) -> tuple[Log, ImportReport]:
    """Import spans of Vercel's AI SDK; ``doGenerate`` and ``doStream`` are the requests, the calls around them wrappers.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        Recorded spans (times as [seconds, nanoseconds]) or OTLP JSON.
    columns : mapping, optional
        Column of the log -> attribute that holds it.
    scales : mapping, optional
        Name of a score -> its scale, ``{"helpfulness": (0, 1), "*": "pass_fail"}``; ``*`` holds for all others.

    Returns
    -------
    log : Log
        Requests; `request_id` is the span's id, `feature_id` the ``functionId``.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no request of this format.

    Examples
    --------
    >>> span = {"name": "ai.generateText.doGenerate", "spanContext": {"traceId": "t1", "spanId": "s1"},
    ...     "startTime": [1770131992, 242000000], "endTime": [1770131994, 0], "status": {"code": 0},
    ...     "attributes": {"ai.operationId": "ai.generateText.doGenerate", "ai.response.model": "gpt-4o-mini-2024-07-18",
    ...     "ai.telemetry.functionId": "haiku", "ai.response.finishReason": "stop"}}
    >>> log, report = vercel([span])
    >>> log.requests[["request_id", "feature_id", "latency_ms"]].values.tolist()
    [['s1', 'haiku', 1758.0]]
    """
    return import_spans("vercel", source, columns, scales, sort=_sorted, kind=_kind, row=_row)


def _sorted(spans: list[Span], draft: Draft) -> Sorted:
    calls = [span for span in spans if _operation(span) in LEAVES]
    outer = [span for span in spans if _operation(span) in WRAPPERS]
    if outer and not calls:
        draft.guess("there are only outer spans, no doGenerate or doStream: the outer ones are the requests")
        calls, outer = outer, []
    return Sorted(calls, {id(span) for span in outer})


def _operation(span: Span) -> str:
    """The operation without the function's name, which some versions put behind it."""
    return str(first(span.attributes, "ai.operationId", "operation.name") or "").split(" ")[0]


def _kind(span: Span) -> str:
    return _operation(span) or "span of another library"


def _row(span: Span, draft: Draft) -> dict[str, Any]:
    known = span.attributes
    split = contents(span)
    written = pick("output_tokens", known, OUTPUT_TOKENS, draft)
    models = ("ai.response.model", "gen_ai.response.model", "ai.model.id", "gen_ai.request.model")
    return {
        "request_id": span.span_id,
        "timestamp": span.start,
        "feature_id": feature(span, draft),
        "model_id": chosen("model_id", known, models, draft),
        "latency_ms": milliseconds(span.start, span.end),
        "input_tokens": whole_input(
            pick("input_tokens", known, INPUT_TOKENS, draft),
            known.get("ai.usage.cachedInputTokens"),
            draft,
            output=written,
            total=known.get("ai.usage.totalTokens"),
        ),
        "output_tokens": amount(written, draft, "a count of output tokens"),
        **outcome(
            ending(known.get("ai.response.finishReason")) or split.ending,
            span.error,
            draft,
            finished=span.end is not None,
        ),
        "session_id": chosen("session_id", known, SESSIONS, draft),
        "user_input": said_by_user(first(known, "ai.prompt.messages", "ai.prompt")) or split.asked,
        "system_output": text(first(known, "ai.response.text", "ai.response.object"))
        or answer(known.get("ai.response.toolCalls"))
        or split.answered,
        "provider": text(first(known, "ai.model.provider", "gen_ai.system")),
        **named(span, draft),
    }
