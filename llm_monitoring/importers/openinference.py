"""OpenInference spans: OTLP JSON with ``openinference.span.kind``, and the exports of Phoenix (JSON, CSV, Parquet)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.calls import Sorted, import_spans
from llm_monitoring.importers.completions import completion, ending, tokens
from llm_monitoring.importers.contents import contents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import chosen, feature, named, outcome, pick
from llm_monitoring.importers.messages import answer, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.spans import Span, wrappers
from llm_monitoring.importers.values import amount, first, milliseconds, number, parsed, text

if TYPE_CHECKING:
    from llm_monitoring.log import Log

KIND = "openinference.span.kind"
CACHED = ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_write")
ENDINGS = ("llm.finish_reason", "llm.output_messages.0.message.finish_reason", "llm.finish_reasons.0")


def openinference(
    source: Any, *, columns: Mapping[str, str] | None = None, scales: Mapping[str, Any] | None = None
) -> tuple[Log, ImportReport]:
    """Import OpenInference spans; the leaf spans of kind LLM are the requests.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        OTLP JSON, a page of Phoenix's REST API, or its span table saved as JSON Lines, CSV or Parquet.
    columns : mapping, optional
        Column of the log -> attribute that holds it.
    scales : mapping, optional
        Name of a score -> its scale, ``{"helpfulness": (0, 1), "*": "pass_fail"}``; ``*`` holds for all others.

    Returns
    -------
    log : Log
        Requests; `request_id` is the span's id.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no request of this format.

    Examples
    --------
    >>> span = {"context": {"trace_id": "t1", "span_id": "s1"}, "name": "ChatCompletion", "span_kind": "LLM",
    ...     "start_time": "2025-11-03T09:00:00+00:00", "end_time": "2025-11-03T09:00:01+00:00", "status_code": "OK",
    ...     "attributes": {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "metadata": '{"feature": "faq"}'}}
    >>> log, report = openinference({"data": [span]})
    >>> log.requests[["request_id", "feature_id", "finish_reason"]].values.tolist()
    [['s1', 'faq', 'end_turn']]
    """
    return import_spans("openinference", source, columns, scales, sort=_sorted, kind=_named_kind, row=_row)


def _sorted(spans: list[Span], _: Draft) -> Sorted:
    calls = [span for span in spans if _kind(span) == "LLM"]
    tools = [span.span_id for span in spans if _kind(span) == "TOOL" and span.span_id]
    return Sorted(calls, wrappers(calls, spans, through=tools))


def _kind(span: Span) -> str:
    return str(span.attributes.get(KIND) or "").upper()


def _named_kind(span: Span) -> str:
    return _kind(span) or "span without openinference.span.kind"


def _row(span: Span, draft: Draft) -> dict[str, Any]:
    known = span.attributes
    output = parsed(known.get("output.value"))
    body = completion(output) if isinstance(output, Mapping) else {}
    split = contents(span)
    given, written = known.get("llm.token_count.prompt"), known.get("llm.token_count.completion")
    counted = {"given": given, "written": written, "total": known.get("llm.token_count.total")}
    counted["cached"] = sum(number(known.get(name)) or 0 for name in CACHED)
    came_in, came_out = tokens(_counted(counted, body), draft)
    reason = ending(first(known, *ENDINGS)) or text(body.get("finish_reason")) or split.ending
    return {
        "request_id": span.span_id,
        "timestamp": span.start,
        "feature_id": feature(span, draft),
        "model_id": chosen("model_id", known, ("llm.model_name", "llm.response.model_name"), draft),
        "latency_ms": milliseconds(span.start, span.end),
        "input_tokens": came_in,
        "output_tokens": came_out,
        "cost_usd": amount(pick("cost_usd", known, ("llm.cost.total",), draft), draft, "llm.cost.total"),
        **outcome(reason, span.error, draft, finished=span.end is not None),
        "session_id": chosen("session_id", known, ("session.id",), draft),
        "user_input": said_by_user(_messages(known, "llm.input_messages"))
        or said_by_user(known.get("input.value"))
        or split.asked,
        "system_output": answer(_messages(known, "llm.output_messages")) or answer(output) or split.answered,
        "provider": text(first(known, "llm.provider", "llm.system")),
        **named(span, draft),
    }


def _counted(counted: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of the span, else those of the answer inside it."""
    own, inside = ([number(each.get(name)) for name in ("given", "written")] for each in (counted, body))
    return dict(body) if any(inside) and not any(own) else counted


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
