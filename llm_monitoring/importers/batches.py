"""What the batch files of the providers share: inputs, results and the batch object, joined by custom_id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llm_monitoring import times
from llm_monitoring.importers.completions import tokens
from llm_monitoring.importers.documents import Document, documents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import FEATURE, chosen, extra
from llm_monitoring.importers.messages import said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.values import first, mapping, moment, text

if TYPE_CHECKING:
    from llm_monitoring.log import Log

TIMES = 'timestamp="2026-05-11T10:00Z", on the command line --timestamp 2026-05-11T10:00Z'


@dataclass
class Batch:
    """The parts of one or more batches: results in their order, inputs by custom_id, the batch objects."""

    results: list[Document] = field(default_factory=list)
    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    objects: list[Mapping[str, Any]] = field(default_factory=list)


def import_batch(
    format: str,
    source: Any,
    columns: Mapping[str, str] | None,
    timestamp: Any,
    *,
    kind: Callable[[Mapping[str, Any]], str],
    said: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> tuple[Log, ImportReport]:
    """A log of the files of one or more batches.

    Parameters
    ----------
    kind : callable
        What a record is: ``result``, ``input``, ``object``, or nothing that the format knows.
    said : callable
        The fields of a result's answer, as `completion` gives them; `other` where it is no answer of a model, `created`
        where it names a time of its own.
    """
    draft = Draft(format, columns=dict(columns or {}))
    batch = Batch()
    for document in documents(source, draft):
        for place, record in _records(document.place, document.value):
            what = kind(record)
            if what == "result":
                batch.results.append(Document(place, record))
            elif what == "input":
                batch.inputs[str(record["custom_id"])] = mapping(record.get("body") or record.get("params"))
            elif what == "object":
                batch.objects.append(record)
            else:
                draft.aside(place, record.get("custom_id"), "neither an input, a result nor a batch object")
    answered = {str(result.value["custom_id"]) for result in batch.results}
    for name in batch.inputs:
        if name not in answered:
            draft.aside("input", name, "no result for this custom_id")
    _rows(batch, [said(result.value) for result in batch.results], _created(batch, timestamp, draft), draft)
    return draft.finish()


def _rows(batch: Batch, answers: list[dict[str, Any]], when: datetime | None, draft: Draft) -> None:
    """Every result as a row, at the batch's time, else at its own, else at that of the batch's first answer."""
    own = [moment(each["created"], draft, "created") if each.get("created") else None for each in answers]
    earliest = min((each for each in own if each is not None), default=None)
    for (place, record), said, at in zip(batch.results, answers, own, strict=True):
        name = str(record["custom_id"])
        if said.get("other"):
            draft.other(str(said["other"]))
            continue
        if when is None and at is not None:
            draft.guess("timestamp is the answer's created: there is no batch object")
        elif when is None and earliest is not None:
            draft.guess("timestamp of a result without a time of its own is that of the earliest answer of its batch")
        found = when or at or earliest
        if found is None:
            draft.aside(place, name, f"no time in the source: add the batch object, or name it: {TIMES}")
        else:
            draft.row(place, **_row(name, said, batch, found, draft))


def _records(place: str, value: Any) -> Iterator[Document]:
    nested = value.get("requests") if isinstance(value, Mapping) else None
    if isinstance(value, list) or isinstance(nested, list):
        for number_, item in enumerate(nested or value):
            yield from _records(f"{place} item {number_}", item)
    else:
        yield Document(place, value if isinstance(value, Mapping) else {})


def _created(batch: Batch, timestamp: Any, draft: Draft) -> datetime | None:
    """When the requests of a batch were made: as the caller says, else when the batch was created."""
    if timestamp is not None:
        return times.moment(timestamp, "timestamp").to_pydatetime()
    if not batch.objects:
        return None
    draft.guess("timestamp is created_at of the batch object: a batch does not say when each request ran")
    if len(batch.objects) > 1:
        draft.guess("several batch objects: the earliest created_at holds for all rows")
    names = ("created_at", "in_progress_at", "completed_at", "ended_at")
    known = [moment(first(each, *names), draft, "created_at") for each in batch.objects if first(each, *names)]
    return min((when for when in known if when is not None), default=None)


def _row(name: str, said: Mapping[str, Any], batch: Batch, when: datetime, draft: Draft) -> dict[str, Any]:
    """One result as a row: texts and model of its input, counts and ending of its answer. No latency, no cost."""
    asked = batch.inputs.get(name)
    if asked is None:
        draft.guess("a result without its input: user_input unknown")
    asked = asked or {}
    about = {key: value for each in batch.objects for key, value in mapping(each.get("metadata")).items()}
    known = {**about, **mapping(asked.get("metadata"))}
    reason, fault = text(said.get("finish_reason")), text(said.get("error"))
    given, written = tokens(said, draft)
    return {
        "request_id": name,
        "timestamp": when,
        "feature_id": chosen("feature_id", {**known, "the format": "batch"}, (*FEATURE, "the format"), draft),
        "model_id": text(said.get("model_id") or asked.get("model")),
        "latency_ms": None,
        "input_tokens": given,
        "output_tokens": written,
        "finish_reason": "error" if fault else reason,
        "raw_finish_reason": None if reason == "error" else reason,
        "error": fault,
        "user_input": said_by_user(asked),
        "system_output": text(said.get("system_output")),
        "system_fingerprint": text(said.get("system_fingerprint")),
        **extra(known, draft),
    }
