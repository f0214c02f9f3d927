"""LiteLLM: spend logs of the proxy (JSON, JSON Lines, CSV) and standard logging payloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.completions import completion
from llm_monitoring.importers.documents import Document, documents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import FEATURE, chosen, extra, outcome
from llm_monitoring.importers.messages import error_text, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.values import (
    amount,
    first,
    mapping,
    milliseconds,
    moment,
    number,
    parsed,
    text,
    whole_input,
)

if TYPE_CHECKING:
    from llm_monitoring.log import Log

CALLS = (
    "completion",
    "text_completion",
    "responses",
    "anthropic_messages",
    "generate_content",
    "pass_through_endpoint",
)
#: Of each of these a record of LiteLLM has one: its id, its start, and something that no other tool writes.
MARKS = (
    {"request_id", "id"},
    {"startTime", "start_time"},
    {"call_type", "spend", "response_cost", "request_tags", "model_group", "custom_llm_provider"},
)


def litellm(source: Any, *, columns: Mapping[str, str] | None = None) -> tuple[Log, ImportReport]:
    """Import spend logs or standard logging payloads of LiteLLM.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        Rows of ``LiteLLM_SpendLogs``, or payloads as the logging callbacks write them.
    columns : mapping, optional
        Column of the log -> request tag (``feature:search``) or metadata key that holds it.

    Returns
    -------
    log : Log
        Requests; `request_id` is the call's id, latency its end minus its start (``response_time`` is another
        measure, in seconds, and is not used). Times without a zone are UTC, as the proxy writes them.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no call of LiteLLM.

    Examples
    --------
    >>> spent = {"request_id": "c1", "call_type": "acompletion", "spend": 0.000225, "prompt_tokens": 10, "model": "gpt-4o",
    ...     "completion_tokens": 20, "startTime": "2025-01-24 09:20:41.847371", "endTime": "2025-01-24 09:20:42.347371",
    ...     "request_tags": '["feature:search"]', "status": "success", "session_id": "s-1"}
    >>> log, report = litellm([spent])
    >>> log.requests[["request_id", "feature_id", "latency_ms"]].values.tolist()
    [['c1', 'search', 500.0]]
    """
    draft = Draft("litellm", columns=dict(columns or {}))
    for document in documents(source, draft):
        for place, call in _calls(document.place, document.value):
            kind = str(call.get("call_type") or "completion")
            if not all(call.keys() & names for names in MARKS):
                draft.aside(
                    place,
                    call.get("id"),
                    "neither a spend log nor a logging payload: no id, no startTime or no call_type",
                )
            elif kind.removeprefix("a") not in CALLS and kind not in CALLS:
                draft.other(kind)
            else:
                draft.row(place, **_row(call, draft))
    return draft.finish()


def _calls(place: str, value: Any) -> Iterator[Document]:
    if isinstance(value, list):
        for number_, item in enumerate(value):
            yield from _calls(f"{place} item {number_}", item)
    elif isinstance(value, Mapping) and isinstance(first(value, "data", "logs"), list):
        yield from _calls(place, first(value, "data", "logs"))
    else:
        yield Document(place, value if isinstance(value, Mapping) else {})


def _row(call: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    start = moment(first(call, "startTime", "start_time"), draft, "startTime")
    end = moment(first(call, "endTime", "end_time"), draft, "endTime")
    about = mapping(call.get("metadata"))
    said = _said(call.get("response"))
    known = {
        **about,
        **mapping(about.get("requester_metadata")),
        **mapping(about.get("spend_logs_metadata")),
        **_tags(call),
    }
    groups = {"model_group": call.get("model_group"), "call_type": call.get("call_type")}
    failed = "failure" in (call.get("status"), about.get("status"))
    fault = error_text(
        first(mapping(first(call, "error_information") or about.get("error_information")), "error_message")
        or call.get("error_str")
        or "failure"
    )
    usage = mapping(about.get("additional_usage_values"))
    names = ("prompt_tokens", "completion_tokens")
    given, written = (amount(call.get(name), draft, name) for name in names)
    if not given and not written and (number(said.get("given")) or number(said.get("written"))):
        given, written = number(said.get("given")), number(said.get("written"))
    cached = (
        first(usage, "cache_read_input_tokens")
        or mapping(usage.get("prompt_tokens_details")).get("cached_tokens")
        or said.get("cached")
    )
    draft.guess("latency_ms is endTime minus startTime; response_time is not used")
    return {
        "request_id": text(first(call, "request_id", "id")),
        "timestamp": start,
        "feature_id": chosen("feature_id", {**known, **groups}, (*FEATURE, *groups), draft),
        "model_id": text(first(call, "model", "model_group")),
        "latency_ms": milliseconds(start, end),
        "input_tokens": whole_input(given, cached, draft, output=written, total=call.get("total_tokens")),
        "output_tokens": written,
        "cost_usd": amount(first(call, "spend", "response_cost"), draft, "spend"),
        "answered_from_cache": str(call.get("cache_hit")).lower() == "true",
        **outcome(text(said.get("finish_reason")), fault if failed else None, draft),
        "session_id": text(first(call, "session_id", "trace_id")),
        "user_input": said_by_user(first(call, "messages", "proxy_server_request")),
        "system_output": text(said.get("system_output")),
        "system_fingerprint": text(said.get("system_fingerprint")),
        "provider": text(call.get("custom_llm_provider")),
        **extra(known, draft),
    }


def _said(body: Any) -> dict[str, Any]:
    found = mapping(body)
    return completion(found) if found and "error" not in found else {}


def _tags(call: Mapping[str, Any]) -> dict[str, str]:
    """Tags of the form ``feature:search`` as a name and a value."""
    tags = parsed(call.get("request_tags"))
    pairs = [str(tag).partition(":") for tag in tags] if isinstance(tags, list) else []
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and value.strip()}
