"""OpenInference spans: OTLP JSON with ``openinference.span.kind``, and the exports of Phoenix (JSON, CSV, Parquet)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import chosen, feature, named, outcome, pick
from llm_monitoring.importers.messages import answer, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.spans import Span, leaves, open_spans, wrappers
from llm_monitoring.importers.values import first, mapping, milliseconds, number, parsed, text, whole_input

if TYPE_CHECKING:
    from llm_monitoring.log import Log

KIND = "openinference.span.kind"
CACHED = ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_write")
ENDINGS = ("llm.finish_reason", "llm.output_messages.0.message.finish_reason", "llm.finish_reasons.0")


def openinference(source: Any, *, columns: Mapping[str, str] | None = None) -> tuple[Log, ImportReport]:
    """Import OpenInference spans; the leaf spans of kind LLM are the requests.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        OTLP JSON, a page of Phoenix's REST API, or its span table saved as JSON Lines, CSV or Parquet.
    columns : mapping, optional
        Column of the log -> attribute that holds it.

    Returns
    -------
    log : Log
        Requests; `request_id` is the span's id.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no span.

    Examples
    --------
    >>> span = {"context": {"trace_id": "t1", "span_id": "s1"}, "name": "ChatCompletion", "span_kind": "LLM",
    ...     "start_time": "2025-11-03T09:00:00+00:00", "end_time": "2025-11-03T09:00:01+00:00", "status_code": "OK",
    ...     "attributes": {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "metadata": '{"feature": "faq"}'}}
    >>> log, report = openinference({"data": [span]})
    >>> log.requests[["request_id", "feature_id", "finish_reason"]].values.tolist()
    [['s1', 'faq', 'end_turn']]
    """
    draft, spans, _ = open_spans("openinference", source, columns)
    calls = [span for span in spans if _kind(span) == "LLM"]
    tools = [span.span_id for span in spans if _kind(span) == "TOOL" and span.span_id]
    for span in leaves(spans, calls, wrappers(calls, spans, through=tools), _named_kind, draft):
        draft.row(span.place, **_row(span, draft))
    return draft.finish()


def _kind(span: Span) -> str:
    return str(span.attributes.get(KIND) or "").upper()


def _named_kind(span: Span) -> str:
    return _kind(span) or "span without openinference.span.kind"


def _row(span: Span, draft: Draft) -> dict[str, Any]:
    known = span.attributes
    given, written = known.get("llm.token_count.prompt"), known.get("llm.token_count.completion")
    cached = sum(number(known.get(name)) or 0 for name in CACHED)
    output = parsed(known.get("output.value"))
    choices = mapping(output).get("choices")
    reason = text(first(known, *ENDINGS)) or text(first(mapping(output), "finish_reason", "stop_reason"))
    reason = reason or text(mapping(choices[0] if isinstance(choices, list) and choices else None).get("finish_reason"))
    return {
        "request_id": span.span_id,
        "timestamp": span.start,
        "feature_id": feature(span, draft),
        "model_id": chosen("model_id", known, ("llm.model_name", "llm.response.model_name"), draft),
        "latency_ms": milliseconds(span.start, span.end),
        "input_tokens": whole_input(given, cached, draft, output=written, total=known.get("llm.token_count.total")),
        "output_tokens": number(written),
        "cost_usd": number(pick("cost_usd", known, ("llm.cost.total",), draft)),
        **outcome(reason, span.error, draft, finished=span.end is not None),
        "session_id": chosen("session_id", known, ("session.id",), draft),
        "user_input": said_by_user(_messages(known, "llm.input_messages")) or said_by_user(known.get("input.value")),
        "system_output": answer(_messages(known, "llm.output_messages")) or answer(output),
        "provider": text(first(known, "llm.provider", "llm.system")),
        **named(span, draft),
    }


def _messages(known: Mapping[str, Any], prefix: str) -> list[dict[str, Any]] | None:
    """The messages that are spread over ``llm.input_messages.0.message.role``, ``....content`` and its parts."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in known.items():
        if not name.startswith(f"{prefix}."):
            continue
        place, _, rest = name.removeprefix(f"{prefix}.").partition(".message.")
        if not place.isdigit():
            continue
        message = found.setdefault(int(place), {"parts": [], "calls": {}})
        if rest in ("role", "content"):
            message[rest] = value
        elif rest.endswith("message_content.text"):
            message["parts"].append({"text": value})
        elif ".tool_call.function." in rest:
            call = message["calls"].setdefault(rest.split(".")[1], {})
            call[rest.rpartition(".")[2]] = value
    return [_message(found[place]) for place in sorted(found)] or None


def _message(spread: Mapping[str, Any]) -> dict[str, Any]:
    calls = [{"function": call} for call in spread["calls"].values()]
    return {"role": spread.get("role"), "content": spread.get("content") or spread["parts"], "tool_calls": calls}
