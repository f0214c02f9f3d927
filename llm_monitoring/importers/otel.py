"""OpenTelemetry GenAI spans (OTLP JSON, collector files, recorded spans), names old and new, and evaluation events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import chosen, feature, named, outcome, pick
from llm_monitoring.importers.messages import answer, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.scores import Scores
from llm_monitoring.importers.spans import Event, Span, leaves, open_spans, wrappers
from llm_monitoring.importers.values import first, mapping, milliseconds, number, parsed, text, whole_input

if TYPE_CHECKING:
    from llm_monitoring.log import Log

CALLS = ("chat", "text_completion", "completion", "generate_content", "responses")
INPUT_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
OUTPUT_TOKENS = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")
CACHED = ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens")
CREATED = ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens")
COSTS = ("gen_ai.usage.cost", "gen_ai.usage.total_cost", "gen_ai.cost.total")
SESSIONS = ("gen_ai.conversation.id", "session.id", "session_id", "traceloop.association.properties.session_id")
INPUTS = ("gen_ai.input.messages", "gen_ai.prompt", "traceloop.entity.input")
OUTPUTS = ("gen_ai.output.messages", "gen_ai.completion", "traceloop.entity.output")
EVALUATION = "gen_ai.evaluation.result"


def otel(source: Any, *, columns: Mapping[str, str] | None = None) -> tuple[Log, ImportReport]:
    """Import OpenTelemetry GenAI spans; the leaf spans of model calls are the requests.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        OTLP JSON (one export, or one a line as a collector's file exporter writes it), recorded spans of an SDK, and
        log records beside them: message events, and ``gen_ai.evaluation.result`` for judgements.
    columns : mapping, optional
        Column of the log -> attribute that holds it, for an application's own attributes:
        ``{"feature_id": "app.team", "category": "app.intent"}``.

    Returns
    -------
    log : Log
        Requests; `request_id` is the call's ``gen_ai.response.id``, or the span's id where it has none. Judgements
        where the source holds evaluation events.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no span.

    Examples
    --------
    >>> span = {"traceId": "t1", "spanId": "s1", "name": "chat gpt-4o", "startTimeUnixNano": "1762160400100000000",
    ...     "endTimeUnixNano": "1762160401420000000", "attributes": {"gen_ai.operation.name": "chat",
    ...     "gen_ai.request.model": "gpt-4o", "app.feature_id": "returns"}}
    >>> log, report = otel([span])
    >>> log.requests[["request_id", "feature_id", "latency_ms"]].values.tolist()
    [['s1', 'returns', 1320.0]]
    """
    draft, spans, records = open_spans("otel", source, columns)
    calls = [span for span in spans if _is_call(span, draft)]
    _join(spans, records, draft)
    for span in leaves(spans, calls, wrappers(calls, spans, through=_tools(spans)), _kind, draft):
        draft.row(span.place, **_row(span, draft))
    _judgements(spans, records, draft)
    return draft.finish()


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


def _join(spans: list[Span], records: list[Event], draft: Draft) -> None:
    """Log records that carry a message or a choice belong to the span that they name."""
    by_id = {span.span_id: span for span in spans if span.span_id}
    for record in records:
        span = by_id.get(record.span_id or "")
        if span is not None and record.name.startswith("gen_ai.") and record.name != EVALUATION:
            span.events.append(record)
            draft.guess("messages were in log records: joined by span id")


def _row(span: Span, draft: Draft) -> dict[str, Any]:
    known = span.attributes
    response_id = text(known.get("gen_ai.response.id"))
    if response_id and draft.request(response_id) is not None:
        draft.guess("a gen_ai.response.id that stands on several spans: the later ones go by their span id")
        response_id = None
    draft.guess("request_id is gen_ai.response.id" if response_id else "request_id is the span's id")
    given = pick("input_tokens", known, INPUT_TOKENS, draft)
    written = pick("output_tokens", known, OUTPUT_TOKENS, draft)
    cached = (number(first(known, *CACHED)) or 0) + (number(first(known, *CREATED)) or 0)
    asked, answered, ending = _texts(span)
    reasons = parsed(
        first(
            known, "gen_ai.response.finish_reasons", "gen_ai.completion.0.finish_reason", "llm.response.finish_reason"
        )
    )
    reason = text(
        reasons[0] if isinstance(reasons, list) and reasons else reasons if isinstance(reasons, str) else ending
    )
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
        "output_tokens": number(written),
        "cost_usd": number(pick("cost_usd", known, COSTS, draft)),
        **outcome(reason, span.error, draft, finished=span.end is not None),
        "session_id": chosen("session_id", known, SESSIONS, draft),
        "user_input": asked,
        "system_output": answered,
        "system_fingerprint": text(
            first(known, "openai.response.system_fingerprint", "gen_ai.openai.response.system_fingerprint")
        ),
        "provider": text(first(known, "gen_ai.provider.name", "gen_ai.system")),
        **named(span, draft),
    }


def _texts(span: Span) -> tuple[str | None, str | None, str | None]:
    """Question, answer and ending, from attributes, else from the events in which older conventions split them."""
    known = dict(span.attributes)
    for event in span.events:
        told = {**event.attributes, **mapping(event.body)}
        known = {**{name: told[name] for name in (*INPUTS, *OUTPUTS) if told.get(name) is not None}, **known}
    asked, answered = said_by_user(first(known, *INPUTS) or _indexed(known, "gen_ai.prompt")), None
    output = parsed(first(known, *OUTPUTS) or _indexed(known, "gen_ai.completion"))
    answered = answer(output)
    last = output[-1] if isinstance(output, list) and output else output
    ending = text(mapping(last).get("finish_reason"))
    for event in span.events:
        told = {**event.attributes, **mapping(event.body)}
        if event.name == "gen_ai.user.message":
            asked = answer(told) or asked
        elif event.name == "gen_ai.choice":
            answered = answered or answer(parsed(first(told, "message", "content")))
            ending = ending or text(told.get("finish_reason"))
    return asked, answered, ending


def _indexed(known: Mapping[str, Any], prefix: str) -> list[dict[str, Any]] | None:
    """Messages spread over numbered attributes: ``gen_ai.prompt.0.role``, ``gen_ai.prompt.0.content`` ..."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in known.items():
        place, _, rest = name.removeprefix(f"{prefix}.").partition(".")
        if name.startswith(f"{prefix}.") and place.isdigit() and rest:
            found.setdefault(int(place), {})[rest] = value
    return [found[place] for place in sorted(found)] or None


def _judgements(spans: list[Span], records: list[Event], draft: Draft) -> None:
    by_span = {
        span.span_id: text(span.attributes.get("gen_ai.response.id")) or span.span_id for span in spans if span.span_id
    }
    scores = Scores(draft)
    found = [(event.span_id, event) for event in records if event.name == EVALUATION]
    found += [(span.span_id, event) for span in spans for event in span.events if event.name == EVALUATION]
    for number_, (span_id, event) in enumerate(found):
        told = {**event.attributes, **mapping(event.body)}
        request = text(told.get("gen_ai.response.id")) or by_span.get(span_id or "")
        scores.add(
            f"evaluation {number_}",
            request,
            name=str(told.get("gen_ai.evaluation.name") or "overall"),
            value=first(told, "gen_ai.evaluation.score.value", "gen_ai.evaluation.score"),
            label=text(told.get("gen_ai.evaluation.score.label")),
            comment=text(told.get("gen_ai.evaluation.explanation")),
            at=event.at,
        )
    scores.judgements()
