"""Spans of a trace from the shapes in which tools write them: OTLP JSON, recorded SDK objects, Phoenix rows, flat attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llm_monitoring.importers.documents import documents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.values import first, listing, mapping, moment, number, parsed, text

#: OTLP's wrappers, from outside to inside. Some exporters leave the outer ones away: one resource, or one scope, a line.
WRAPPERS = dict.fromkeys(("resourceSpans", "resource_spans", "batches", "scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans", "spans"), "span")  # fmt: skip
WRAPPERS |= dict.fromkeys(("resourceLogs", "resource_logs", "scopeLogs", "scope_logs", "logRecords", "log_records"), "record")  # fmt: skip
NOT_SPANS = ("resourceSpans", "resourceLogs", "resourceMetrics", "resource_metrics", "scopeMetrics")
AROUND = ("data", "trace", "traces", "result")  # what the APIs of tracing stores put around an export
TYPED = ("stringValue", "doubleValue", "boolValue", "bytesValue", "string_value", "double_value", "bool_value", "bytes_value")  # fmt: skip
STARTS = ("startTimeUnixNano", "start_time_unix_nano", "startTime", "start_time")


@dataclass
class Event:
    """Something that was written during a span, or as a log record beside it."""

    name: str
    attributes: Mapping[str, Any]
    body: Any = None
    at: datetime | None = None
    span_id: str | None = None


@dataclass
class Span:
    """One step of a trace, its attributes flat."""

    place: str
    name: str
    span_id: str | None
    trace_id: str | None
    parent_id: str | None
    start: datetime | None
    end: datetime | None
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False
    message: str | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def error(self) -> str | None:
        """What went wrong: the status message, else the exception that was recorded, else the error's type."""
        if not self.failed and not self.attributes.get("error.type"):
            return None
        exceptions = [event.attributes for event in self.events if event.name == "exception"]
        thrown = [first(each, "exception.message", "exception.type") for each in exceptions]
        return (
            text(
                first(
                    {"m": self.message, "x": next(iter(thrown), None), "t": self.attributes.get("error.type")},
                    "m",
                    "x",
                    "t",
                )
            )
            or "error"
        )


def open_spans(format: str, source: Any, columns: Mapping[str, str] | None) -> tuple[Draft, list[Span], list[Event]]:
    """A draft, all spans of a source, each once however many exports hold it, and the log records beside them."""
    draft = Draft(format, columns=dict(columns or {}))
    spans: list[Span] = []
    records: list[Event] = []
    met: set[tuple[str | None, str]] = set()
    for document in documents(source, draft):
        for place, kind, value, resource in _containers(document.place, document.value):
            if kind == "record":
                records.append(_record(value, draft))
            elif kind == "span":
                span = _span(place, value, resource, draft)
                if span.span_id and (span.trace_id, span.span_id) in met:
                    draft.aside(place, span.span_id, "this span was read already")
                    continue
                met.add((span.trace_id, span.span_id or ""))
                spans.append(span)
            else:
                draft.aside(place, None, "neither a span nor a log record")
    return draft, spans, records


def _containers(place: str, value: Any) -> Iterator[tuple[str, str, Any, Mapping[str, Any]]]:
    """Place, kind, value and service of all spans and log records in a value, whichever of OTLP's wrappers it has."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _containers(f"{place} item {number}", item)
        return
    if not isinstance(value, Mapping):
        yield place, "", value, {}
        return
    wrapped = [name for name in WRAPPERS if isinstance(value.get(name), list)]
    about = unpack(mapping(value.get("resource")).get("attributes"))
    if wrapped:
        found = [(WRAPPERS[name], item) for name in wrapped for item in _unwrapped(value[name], WRAPPERS[name], about)]
        for number, (kind, (item, service)) in enumerate(found):
            yield f"{place} {kind} {number}", kind if isinstance(item, Mapping) else "", item, service
    elif (inner := next((value[name] for name in AROUND if _holds_spans(value.get(name))), None)) is not None:
        yield from _containers(place, inner)
    elif not any(name in value for name in NOT_SPANS):
        bare = "body" in value and not any(name in value for name in STARTS)
        yield place, "record" if bare else "span", value, about


def _holds_spans(value: Any) -> bool:
    """Whether a value is a list of spans, or an export, inside something else."""
    return isinstance(value, list) or (isinstance(value, Mapping) and any(name in value for name in WRAPPERS))


def _unwrapped(items: list[Any], kind: str, about: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """What stands inside resources and scopes, with the attributes of the service that sent it."""
    for item in items:
        held = mapping(item)
        service = unpack(mapping(held.get("resource")).get("attributes")) or about
        inner = [held[name] for name, of in WRAPPERS.items() if of == kind and isinstance(held.get(name), list)]
        for each in inner:
            yield from _unwrapped(each, kind, service)
        if not inner and not {"resource", "scope", "instrumentationLibrary"} & held.keys() - {"resource"}:
            yield item, service


def unpack(attributes: Any) -> dict[str, Any]:
    """OTLP's list of keys and typed values, or a plain object, as a flat dict.

    >>> unpack([{"key": "n", "value": {"intValue": "12"}}])
    {'n': 12}
    """
    if isinstance(attributes, Mapping):
        return {str(name): value for name, value in attributes.items()}
    items = [item for item in listing(attributes) if isinstance(item, Mapping) and "key" in item]
    return {str(item["key"]): _value(item.get("value")) for item in items}


def _value(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if (given := first(value, "intValue", "int_value")) is not None:
        whole = number(given)
        return None if whole is None else int(whole) if abs(whole) < 2**53 else int(given)
    if (listed := first(value, "arrayValue", "array_value")) is not None:
        return [_value(item) for item in listing(mapping(listed).get("values"))]
    if (pairs := first(value, "kvlistValue", "kvlist_value")) is not None:
        return unpack(mapping(pairs).get("values"))
    return next((value[name] for name in TYPED if name in value), None)


def _span(place: str, raw: Mapping[str, Any], resource: Mapping[str, Any], draft: Draft) -> Span:
    context = mapping(first(raw, "spanContext", "context"))
    parent = mapping(raw.get("parentSpanContext"))
    status = raw.get("status")
    code = mapping(status).get("code", mapping(status).get("status_code", raw.get("status_code")))
    attributes = _attributes(raw)
    return Span(
        place=place,
        name=str(raw.get("name") or ""),
        span_id=text(first(raw, "spanId", "span_id", "context.span_id") or first(context, "spanId", "span_id")),
        trace_id=text(first(raw, "traceId", "trace_id", "context.trace_id") or first(context, "traceId", "trace_id")),
        parent_id=text(first(raw, "parentSpanId", "parent_span_id", "parent_id") or first(parent, "spanId", "span_id")),
        start=_time(first(raw, *STARTS), draft),
        end=_time(first(raw, "endTimeUnixNano", "end_time_unix_nano", "endTime", "end_time"), draft),
        attributes=attributes,
        resource=resource,
        failed=str(code).upper() in ("2", "ERROR", "STATUS_CODE_ERROR", "STATUSCODE.ERROR"),
        message=text(first(mapping(status), "message", "description") or raw.get("status_message")),
        events=[_event(each, draft) for each in listing(parsed(raw.get("events"))) if isinstance(each, Mapping)],
    )


def _attributes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Flat attributes of a span; of a Phoenix row the columns that begin with ``attributes.``; else the object itself."""
    given = parsed(raw.get("attributes"))
    if isinstance(given, list):
        return unpack(given)
    if isinstance(given, Mapping):
        return dict(flat(given))
    columns = {name.removeprefix("attributes."): value for name, value in raw.items() if name.startswith("attributes.")}
    if columns:
        kind = {"openinference.span.kind": raw["span_kind"]} if raw.get("span_kind") else {}
        return {**kind, **dict(flat(columns))}
    return dict(raw)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested objects, and lists of objects, as dotted names: the form in which attributes are documented.

    >>> dict(flat({"llm": {"input_messages": [{"message.role": "user"}]}}))
    {'llm.input_messages.0.message.role': 'user'}
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from flat(item, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from flat(item, f"{prefix}.{number}")
    elif value is not None:
        yield prefix, value


def _time(value: Any, draft: Draft) -> datetime | None:
    return None if value is None else moment(value, draft, "a span's time")


def _event(raw: Mapping[str, Any], draft: Draft) -> Event:
    at = first(raw, "timeUnixNano", "time_unix_nano", "time", "timestamp")
    return Event(str(raw.get("name") or ""), unpack(raw.get("attributes")), at=_time(at, draft))


def _record(raw: Mapping[str, Any], draft: Draft) -> Event:
    attributes = unpack(raw.get("attributes"))
    at = first(raw, "timeUnixNano", "time_unix_nano", "observedTimeUnixNano")
    name = first(raw, "eventName", "event_name") or attributes.get("event.name") or ""
    return Event(
        str(name), attributes, _value(raw.get("body")), _time(at, draft), text(first(raw, "spanId", "span_id"))
    )


def wrappers(calls: Iterable[Span], spans: Iterable[Span], through: Iterable[str] = ()) -> set[int]:
    """Of the spans that are model calls, those with another model call inside them, by identity.

    Parameters
    ----------
    calls, spans : iterables of Span
        The model calls, and all spans of the source.
    through : iterable of str
        Ids of spans at which the walk up stops: a call that a tool made is not the work of the call above the tool.
    """
    by_id: dict[tuple[str | None, str | None], Span] = {(span.trace_id, span.span_id): span for span in spans}
    by_id = {key: span for key, span in by_id.items() if span.span_id}
    called = {id(span) for span in calls}
    stops, found = set(through), set()
    for span in calls:
        above, steps = by_id.get((span.trace_id, span.parent_id)), 0
        while above is not None and above.span_id not in stops and steps < 1000:
            if id(above) in called:
                found.add(id(above))
            above, steps = by_id.get((above.trace_id, above.parent_id)), steps + 1
    return found
