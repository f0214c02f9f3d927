"""OpenTelemetry GenAI spans (OTLP JSON, collector files, recorded spans), names old and new, and evaluation events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.calls import Sorted, import_spans
from llm_monitoring.importers.completions import ending
from llm_monitoring.importers.contents import OUTPUTS, contents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import chosen, feature, named, outcome, pick
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.spans import Span, wrappers
from llm_monitoring.importers.values import amount, first, milliseconds, number, text, whole_input

if TYPE_CHECKING:
    from llm_monitoring.log import Log

CALLS = ("chat", "text_completion", "completion", "generate_content", "responses")
INPUT_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
OUTPUT_TOKENS = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")
CACHED = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
CREATED = ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens")
COSTS = ("gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total")
SESSIONS = ("gen_ai.conversation.id", "session.id", "session_id", "traceloop.association.properties.session_id")
ENDINGS = ("gen_ai.response.finish_reasons", "gen_ai.completion.0.finish_reason", "llm.response.finish_reason")


def otel(
    source: Any, *, columns: Mapping[str, str] | None = None, scales: Mapping[str, Any] | None = None
) -> tuple[Log, ImportReport]:
    """Import OpenTelemetry GenAI spans; the leaf spans of model calls are the requests.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        OTLP JSON (one export, or one a line as a collector's file exporter writes it), recorded spans of an SDK, and
        log records beside them: message events, and ``gen_ai.evaluation.result`` for judgements.
    columns : mapping, optional
        Column of the log -> attribute that holds it, for an application's own attributes:
        ``{"feature_id": "app.team", "category": "app.intent"}``.
    scales : mapping, optional
        Name of a score -> its scale, ``{"helpfulness": (0, 1), "*": "pass_fail"}``; ``*`` holds for all others.

    Returns
    -------
    log : Log
        Requests; `request_id` is the call's ``gen_ai.response.id``, or the span's id where it has none. Judgements
        where the source holds evaluation events.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no request of this format.

    Examples
    --------
    >>> span = {"traceId": "t1", "spanId": "s1", "name": "chat gpt-4o", "startTimeUnixNano": "1762160400100000000",
    ...     "endTimeUnixNano": "1762160401420000000", "attributes": {"gen_ai.operation.name": "chat",
    ...     "gen_ai.request.model": "gpt-4o", "app.feature_id": "returns"}}
    >>> log, report = otel([span])
    >>> log.requests[["request_id", "feature_id", "latency_ms"]].values.tolist()
    [['s1', 'returns', 1320.0]]
    """
    return import_spans("otel", source, columns, scales, sort=_sorted, kind=_kind, row=_row)


def _sorted(spans: list[Span], draft: Draft) -> Sorted:
    calls = [span for span in spans if _is_call(span, draft)]
    return Sorted(calls, wrappers(calls, spans, through=_tools(spans)))


def _kind(span: Span) -> str:
    return str(first(span.attributes, "gen_ai.operation.name", "llm.request.type") or "span without a model call")


def _is_call(span: Span, draft: Draft) -> bool:
    operation = first(span.attributes, "gen_ai.operation.name", "llm.request.type")
    if operation is not None:
        return str(operation).lower() in CALLS
    looks = first(span.attributes, "gen_ai.request.model", "gen_ai.response.model") is not None
    if looks and first(span.attributes, *OUTPUT_TOKENS, *OUTPUTS, "gen_ai.completion.0.content") is not None:
        draft.guess("a span with a model and an answer but no gen_ai.operation.name is a model call")
        return True
    return False


def _tools(spans: list[Span]) -> list[str]:
    return [
        span.span_id
        for span in spans
        if span.attributes.get("gen_ai.operation.name") == "execute_tool" and span.span_id
    ]


def _row(span: Span, draft: Draft) -> dict[str, Any]:
    known = span.attributes
    response_id = text(known.get("gen_ai.response.id"))
    if response_id and draft.request(response_id) is not None:
        draft.guess("a gen_ai.response.id that several spans share: the later ones go by their span id")
        response_id = None
    draft.guess("request_id is gen_ai.response.id" if response_id else "request_id is the span's id")
    given = pick("input_tokens", known, INPUT_TOKENS, draft)
    written = pick("output_tokens", known, OUTPUT_TOKENS, draft)
    cached = (number(first(known, *CACHED)) or 0) + (number(first(known, *CREATED)) or 0)
    said = contents(span)
    reason = ending(first(known, *ENDINGS)) or said.ending
    return {
        "request_id": response_id or span.span_id,
        "timestamp": span.start,
        "feature_id": feature(span, draft),
        "model_id": chosen("model_id", known, ("gen_ai.response.model", "gen_ai.request.model"), draft),
        "latency_ms": milliseconds(span.start, span.end),
        "input_tokens": whole_input(
            given,
            cached,
            draft,
            output=written,
            total=first(known, "llm.usage.total_tokens", "gen_ai.usage.total_tokens"),
        ),
        "output_tokens": amount(written, draft, "a count of output tokens"),
        "cost_usd": amount(pick("cost_usd", known, COSTS, draft), draft, "a cost"),
        **outcome(reason, span.error, draft, finished=span.end is not None),
        "session_id": chosen("session_id", known, SESSIONS, draft),
        "user_input": said.asked,
        "system_output": said.answered,
        "system_fingerprint": text(
            first(known, "openai.response.system_fingerprint", "gen_ai.openai.response.system_fingerprint")
        ),
        "provider": text(first(known, "gen_ai.provider.name", "gen_ai.system")),
        **named(span, draft),
    }
