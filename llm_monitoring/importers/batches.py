"""What the batch files of the providers share: inputs, results and the batch object, joined by custom_id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llm_monitoring.importers.documents import Document, documents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import FEATURE, chosen, extra
from llm_monitoring.importers.messages import said_by_user
from llm_monitoring.importers.values import mapping, moment, number, text, whole_input


@dataclass
class Batch:
    """The parts of one or more batches: results in their order, inputs by custom_id, the batch objects."""

    results: list[Document] = field(default_factory=list)
    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    objects: list[Mapping[str, Any]] = field(default_factory=list)


def open_batch(
    format: str,
    source: Any,
    columns: Mapping[str, str] | None,
    timestamp: Any,
    kind: Callable[[Mapping[str, Any]], str],
) -> tuple[Draft, Batch, datetime | None]:
    """A draft, the records of a source sorted, and when its requests were made, where the caller or a batch object says so.

    `kind` says of a record: result, input, object, or nothing that it knows.
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
    return draft, batch, _created(batch, timestamp, draft)


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
        return moment(timestamp, draft, "timestamp")
    if not batch.objects:
        return None
    draft.guess("timestamp is created_at of the batch object: a batch does not say when each request ran")
    if len(batch.objects) > 1:
        draft.guess("several batch objects: the earliest created_at holds for all rows")
    known = [moment(each.get("created_at"), draft, "created_at") for each in batch.objects]
    return min((when for when in known if when is not None), default=None)


def batch_row(name: str, said: Mapping[str, Any], batch: Batch, when: datetime | None, draft: Draft) -> dict[str, Any]:
    """One result as a row: texts and model of its input, counts and ending of its answer. No latency, no cost."""
    asked = batch.inputs.get(name)
    if asked is None:
        draft.guess("a result without its input: user_input unknown")
    asked = asked or {}
    about = {key: value for each in batch.objects for key, value in mapping(each.get("metadata")).items()}
    known = {**about, **mapping(asked.get("metadata"))}
    reason, fault = text(said.get("finish_reason")), text(said.get("error"))
    return {
        "request_id": name,
        "timestamp": when,
        "feature_id": chosen("feature_id", {**known, "the format": "batch"}, (*FEATURE, "the format"), draft),
        "model_id": text(said.get("model_id") or asked.get("model")),
        "latency_ms": None,
        "input_tokens": whole_input(
            said.get("given"),
            said.get("cached"),
            draft,
            output=said.get("written"),
            total=said.get("total"),
            beside=bool(said.get("beside")),
        ),
        "output_tokens": number(said.get("written")),
        "finish_reason": "error" if fault else reason,
        "raw_finish_reason": None if reason == "error" else reason,
        "error": fault,
        "user_input": said_by_user(asked),
        "system_output": text(said.get("system_output")),
        "system_fingerprint": text(said.get("system_fingerprint")),
        **extra(known, draft),
    }
