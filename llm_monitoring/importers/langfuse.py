"""Langfuse exports: traces with their observations, pages of observations, and pages of scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.completions import completion, ending, tokens
from llm_monitoring.importers.documents import Document, documents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import chosen, extra, outcome
from llm_monitoring.importers.messages import answer, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.scores import FEEDBACK, Scores
from llm_monitoring.importers.values import amount, first, mapping, milliseconds, moment, number, text
from llm_monitoring.schema import PASS_FAIL, scale_text

if TYPE_CHECKING:
    from llm_monitoring.log import Log

PLAIN = ("input", "output", "prompt_tokens", "completion_tokens")
OUT = re.compile(r"output|completion")


def langfuse(
    source: Any, *, columns: Mapping[str, str] | None = None, scales: Mapping[str, Any] | None = None
) -> tuple[Log, ImportReport]:
    """Import Langfuse exports; the leaf observations of type GENERATION are the requests, scores what people and judges said.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        ``{"trace": ..., "observations": [...]}`` as downloaded, a trace of the API, pages ``{"data": [...]}`` of
        observations or scores, or a blob export (JSON Lines, CSV). Give traces and scores together: they are joined.
    columns : mapping, optional
        Column of the log -> field of the trace, the observation or their metadata that holds it.
    scales : mapping, optional
        Name of a score -> its scale, ``{"helpfulness": (0, 1), "*": "pass_fail"}``; ``*`` holds for all others. A
        score's config, where the source holds it (a page of the API's score configs), says the same.

    Returns
    -------
    log : Log
        Requests (`request_id` is the observation's id, latency its end minus its start), signals from user feedback,
        judgements from a judge's scores on any scale, reviews from people's.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no generation of Langfuse.

    Examples
    --------
    >>> seen = {"id": "o1", "traceId": "t1", "type": "GENERATION", "model": "gpt-4o", "latency": 2.5,
    ...     "startTime": "2025-06-05T15:45:52.000Z", "endTime": "2025-06-05T15:45:54.500Z",
    ...     "usageDetails": {"input": 13, "output": 81, "total": 94}, "totalCost": 0}
    >>> log, report = langfuse({"trace": {"id": "t1", "name": "faq"}, "observations": [seen]})
    >>> log.requests[["request_id", "feature_id", "latency_ms", "cost_usd"]].values.tolist()
    [['o1', 'faq', 2500.0, nan]]
    """
    draft = Draft("langfuse", columns=dict(columns or {}))
    judged = Scores(draft, scales)
    configs: dict[str, str] = {}
    traces: dict[str, Mapping[str, Any]] = {}
    observations: list[Document] = []
    scores: list[Document] = []
    for document in documents(source, draft):
        for place, kind, record in _records(document.place, document.value):
            if kind == "trace":
                traces[str(record.get("id"))] = record
            elif kind == "config":
                configs |= {
                    str(record[name]): scale for name in ("id", "name") if name in record and (scale := _range(record))
                }
            elif kind == "":
                draft.aside(place, None, "neither a trace, an observation nor a score")
            else:
                (observations if kind == "observation" else scores).append(Document(place, record))
    _requests(observations, traces, draft)
    _scores(scores, observations, configs, judged, draft)
    return draft.finish()


def _records(place: str, value: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Traces, observations and scores, whatever they are packed in; fields of blob exports by their API names."""
    if isinstance(value, list):
        for number_, item in enumerate(value):
            yield from _records(f"{place} item {number_}", item)
        return
    if not isinstance(value, Mapping):
        yield place, "", {}
        return
    record = {_camel(name): item for name, item in value.items()}
    trace: Mapping[str, Any] = mapping(record.get("trace")) or record
    if isinstance(record.get("observations"), list):
        trace = {_camel(name): item for name, item in trace.items()}
        yield place, "trace", trace
        for number_, item in enumerate(record["observations"]):
            yield from _records(f"{place} observation {number_}", item)
        scores = first(trace, "scores") or record.get("scores")
        for number_, item in enumerate(scores if isinstance(scores, list) else []):
            if isinstance(item, Mapping):
                yield from _records(f"{place} score {number_}", {"traceId": trace.get("id"), **item})
    elif isinstance(record.get("data"), list):
        yield from _records(place, record["data"])
    elif record.get("type") and first(record, "startTime"):
        yield place, "observation", record
    elif "value" in record and "name" in record and ("source" in record or "dataType" in record):
        yield place, "score", record
    elif "name" in record and "dataType" in record and {"minValue", "maxValue", "isArchived"} & record.keys():
        yield place, "config", record
    elif first(record, "id", "traceId") and first(record, "timestamp"):
        yield place, "trace", record
    else:
        yield place, "", record


def _range(config: Mapping[str, Any]) -> str | None:
    """The scale that a score's config states."""
    if str(config.get("dataType")).upper() == "BOOLEAN":
        return PASS_FAIL
    low, high = number(config.get("minValue")), number(config.get("maxValue"))
    return scale_text((low, high)) if low is not None and high is not None and low < high else None


def _camel(name: Any) -> str:
    head, *rest = str(name).split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _requests(observations: list[Document], traces: Mapping[str, Mapping[str, Any]], draft: Draft) -> None:
    parents = {str(record.value.get("id")): record.value for record in observations}
    calls = {str(each.value.get("id")) for each in observations if str(each.value["type"]).upper() == "GENERATION"}
    repeating: set[str] = set()
    for name in calls:
        above = parents.get(str(parents[name].get("parentObservationId")))
        steps = 0
        while above is not None and str(above["type"]).upper() != "TOOL" and steps < 1000:
            repeating |= {str(above["id"])} & calls
            above, steps = parents.get(str(above.get("parentObservationId"))), steps + 1
    for place, record in observations:
        name = str(record.get("id"))
        if name in repeating:
            draft.wrapper()
        elif name in calls:
            draft.row(place, **_row(record, traces.get(str(record.get("traceId")), {}), draft))
        else:
            draft.other(str(record["type"]).upper())


def _row(record: Mapping[str, Any], trace: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    start, end = moment(record["startTime"], draft, "startTime"), moment(record.get("endTime"), draft, "endTime")
    if record.get("latency") is not None:
        draft.guess(
            "latency_ms is endTime minus startTime: the latency field is in seconds or milliseconds, by version"
        )
    usage = mapping(record.get("usageDetails")) or _old_usage(mapping(record.get("usage"))) or _usage_columns(record)
    said = completion(record.get("output"))
    counted = any(map(number, usage.values())) or not (number(said.get("given")) or number(said.get("written")))
    given, written = _tokens(usage, draft) if usage and counted else tokens(said, draft)
    about = {
        **mapping(trace.get("metadata")),
        **mapping(mapping(record.get("metadata")).get("attributes")),
        **mapping(record.get("metadata")),
    }
    known = {**about, "trace.name": trace.get("name"), "observation.name": record.get("name"), **_own(trace, record)}
    failed = str(record.get("level")).upper() == "ERROR"
    return {
        "request_id": text(record.get("id")),
        "timestamp": start,
        "feature_id": chosen("feature_id", known, ("feature_id", "feature", "trace.name", "observation.name"), draft),
        "model_id": text(first(record, "model", "providedModelName")),
        "latency_ms": milliseconds(start, end),
        "input_tokens": given,
        "output_tokens": written,
        "cost_usd": _cost(record, draft),
        **outcome(
            _reason(record) or text(said.get("finish_reason")),
            (text(record.get("statusMessage")) or "error") if failed else None,
            draft,
            finished=end is not None,
        ),
        "session_id": text(first(trace, "sessionId") or record.get("sessionId")),
        "user_input": said_by_user(record.get("input")),
        "system_output": text(said.get("system_output")) or answer(record.get("output")),
        **extra(known, draft, environment=text(record.get("environment")), version=text(known.get("version"))),
    }


def _own(trace: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The version of the linked prompt, and the version that was written on the observation or the trace."""
    prompt = record.get("promptVersion")
    known = {"prompt_version": prompt, "version": first(record, "version") or trace.get("version")}
    return {name: value for name, value in known.items() if value is not None}


def _tokens(usage: Mapping[str, Any], draft: Draft) -> tuple[float | None, float | None]:
    """All tokens in and out.

    Cached and reasoning tokens stand beside input and output, as Langfuse asks for, unless a total says that they stand
    inside.
    """
    counts = {name: number(value) or 0.0 for name, value in usage.items() if name != "total"}
    given, written = number(first(usage, "input", "prompt_tokens")), number(first(usage, "output", "completion_tokens"))
    details = {name: count for name, count in counts.items() if count and name not in PLAIN}
    if not details or given is None:
        return given, written
    total = number(usage.get("total"))
    beside = total is None or total >= sum(counts.values())
    draft.guess(
        f"{', '.join(sorted(details))}: {'beside input and output, added' if beside else 'inside them, not added'}"
    )
    if not beside:
        return given, written
    out = sum(count for name, count in details.items() if OUT.search(name))
    return given + sum(details.values()) - out, None if written is None else written + out


def _old_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    names = (("input", "promptTokens"), ("output", "completionTokens"), ("total", "totalTokens"))
    found = {new: first(usage, new, old) for new, old in names}
    return {name: value for name, value in found.items() if value is not None}


def _usage_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of an observation that a table holds in columns of their own."""
    names = (("input", "inputTokens", "promptTokens"), ("output", "outputTokens", "completionTokens"))
    found = {new: first(record, *old) for new, *old in (*names, ("total", "totalTokens"))}
    return {name: value for name, value in found.items() if value is not None}


def _cost(record: Mapping[str, Any], draft: Draft) -> float | None:
    cost = number(first(mapping(record.get("costDetails")), "total"))
    return amount(first(record, "totalCost", "calculatedTotalCost"), draft, "totalCost") if cost is None else cost


def _reason(record: Mapping[str, Any]) -> str | None:
    """Why it ended, where the parameters or the attributes of the span say so."""
    attributes = mapping(mapping(record.get("metadata")).get("attributes"))
    said = (
        mapping(record.get("modelParameters")).get("finishReason"),
        attributes.get("ai.response.finishReason"),
        attributes.get("gen_ai.response.finish_reasons"),
    )
    return next((word for each in said if (word := ending(each))), None)


def _scores(
    scores: list[Document], observations: list[Document], configs: Mapping[str, str], judged: Scores, draft: Draft
) -> None:
    """Scores of an observation, or of a trace: then they are about the answer that the user saw, its last one."""
    last: dict[str, dict[str, Any]] = {}
    traces = {str(each.value.get("id")): str(each.value.get("traceId")) for each in observations}
    for row in sorted(draft.requests, key=lambda row: row["timestamp"]):
        last[traces[row["request_id"]]] = row
    for place, score in scores:
        request = draft.request(str(score.get("observationId")))
        if score.get("observationId") is None and str(score.get("traceId")) in last:
            draft.guess("a score of a trace is about its last model call")
            request = last[str(score.get("traceId"))]
        if request is None:
            draft.aside(place, score.get("id"), "the score's trace or observation is not in the source")
            continue
        config = first(score, "config")
        own = _range({_camel(name): item for name, item in mapping(config).items()}) if config else None
        own = own or configs.get(str(score.get("configId"))) or configs.get(str(score.get("name")))
        _score(place, score, request, own, judged, draft)
    judged.judgements()


def _score(
    place: str,
    score: Mapping[str, Any],
    request: Mapping[str, Any],
    own: str | None,
    judged: Scores,
    draft: Draft,
) -> None:
    name, by, kind = str(score.get("name")), str(score.get("source") or "").upper(), str(score.get("dataType")).upper()
    word = text(score.get("stringValue"))
    about: dict[str, Any] = {
        "name": name,
        "value": word if kind == "CATEGORICAL" else score.get("value"),
        "at": moment(first(score, "timestamp", "createdAt"), draft, "a score's time"),
        "comment": text(score.get("comment")),
    }
    own = own or (PASS_FAIL if kind == "BOOLEAN" else None)
    thumb = name.lower() in FEEDBACK or (by == "API" and kind == "BOOLEAN")
    if thumb and not judged.named(name):
        judged.thumb(place, request["request_id"], request.get("session_id"), **about)
    elif by == "ANNOTATION":
        judged.review(place, request["request_id"], by=score.get("authorUserId"), own=own, **about)
    else:
        judged.add(place, request["request_id"], label=word, own=own, **about)
