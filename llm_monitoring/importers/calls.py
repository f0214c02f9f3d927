"""What the importers of spans share: spans read, those that are requests made rows, evaluation events made judgements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.scores import Scores
from llm_monitoring.importers.spans import Event, Span, open_spans
from llm_monitoring.importers.values import first, mapping, text

if TYPE_CHECKING:
    from llm_monitoring.log import Log

EVALUATION = "gen_ai.evaluation.result"


class Sorted(NamedTuple):
    """Of the spans of a source: the model calls, and by identity those that repeat the work of one inside them."""

    calls: Collection[Span]
    repeating: set[int]


def import_spans(
    format: str,
    source: Any,
    columns: Mapping[str, str] | None,
    scales: Mapping[str, Any] | None,
    *,
    sort: Callable[[list[Span], Draft], Sorted],
    kind: Callable[[Span], str],
    row: Callable[[Span, Draft], dict[str, Any]],
) -> tuple[Log, ImportReport]:
    """A log of the spans of a source.

    Parameters
    ----------
    sort : callable
        Says which spans are model calls, and which of them are wrappers.
    kind : callable
        What a span is that is no model call, for the report.
    row : callable
        The request that a model call is.
    """
    draft, spans, records = open_spans(format, source, columns)
    scores = Scores(draft, scales)
    _join(spans, records, draft)
    calls, repeating = sort(spans, draft)
    called, ids = {id(span) for span in calls}, {}
    for span in spans:
        if id(span) in repeating:
            draft.wrapper()
        elif id(span) not in called:
            draft.other(kind(span))
        elif (made := draft.row(span.place, **row(span, draft))) is not None:
            ids[span.span_id or ""] = made["request_id"]
    _judgements(spans, records, ids, scores)
    return draft.finish()


def _join(spans: list[Span], records: list[Event], draft: Draft) -> None:
    """Log records that carry a message or a choice belong to the span that they name."""
    by_id = {span.span_id: span for span in spans if span.span_id}
    for record in records:
        span = by_id.get(record.span_id or "")
        if span is not None and record.name.startswith("gen_ai.") and record.name != EVALUATION:
            span.events.append(record)
            draft.guess("messages were in log records: joined by span id")


def _judgements(spans: list[Span], records: list[Event], ids: Mapping[str, str], scores: Scores) -> None:
    found = [(event.span_id, event) for event in records if event.name == EVALUATION]
    found += [(span.span_id, event) for span in spans for event in span.events if event.name == EVALUATION]
    for number, (span_id, event) in enumerate(found):
        told = {**event.attributes, **mapping(event.body)}
        scores.add(
            f"evaluation {number}",
            text(told.get("gen_ai.response.id")) or ids.get(span_id or ""),
            name=str(told.get("gen_ai.evaluation.name") or "overall"),
            value=first(told, "gen_ai.evaluation.score.value", "gen_ai.evaluation.score"),
            label=text(told.get("gen_ai.evaluation.score.label")),
            comment=text(told.get("gen_ai.evaluation.explanation")),
            at=event.at,
        )
    scores.judgements()
