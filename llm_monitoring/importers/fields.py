"""Columns that no convention names alike: which feature, which prompt version, which session, and how a call ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.spans import Span
from llm_monitoring.importers.values import first, mapping, text
from llm_monitoring.schema import REQUESTS

#: An application's own names, the likeliest first. `columns={...}` of an importer goes before all of them.
FEATURE = (
    "app.feature_id", "feature_id", "app.feature", "feature", "feature.id", "llm.feature", "ai.telemetry.functionId",
    "traceloop.workflow.name", "gen_ai.agent.name",
)  # fmt: skip
CATEGORY = ("app.category", "category", "app.intent", "intent")
PROMPT_VERSION = (
    "app.prompt_version", "prompt_version", "prompt.version", "gen_ai.prompt.version", "llm.prompt_template.version",
    "llm.prompt.version",
)  # fmt: skip
ENVIRONMENT = ("deployment.environment.name", "deployment.environment")


def feature(span: Span, draft: Draft) -> str | None:
    """The feature of a span: an attribute that says so, else the service or the span's name, noted as a guess."""
    known = {**span.attributes, **_metadata(span.attributes)}
    return chosen("feature_id", known, FEATURE, draft) or chosen(
        "feature_id", {**span.resource, "the span's name": span.name}, ("service.name", "the span's name"), draft
    )


def named(span: Span, draft: Draft) -> dict[str, Any]:
    """Category, prompt version, environment, and every column that the caller asked for, where they are known."""
    known = {**span.attributes, **_metadata(span.attributes)}
    return extra(known, draft, environment=text(first({**known, **span.resource}, *ENVIRONMENT)))


def extra(known: Mapping[str, Any], draft: Draft, **more: Any) -> dict[str, Any]:
    """Category and prompt version by their usual names, and the caller's further columns, where they are known."""
    found = {
        "category": chosen("category", known, CATEGORY, draft),
        "prompt_version": chosen("prompt_version", known, PROMPT_VERSION, draft),
        **more,
    }
    further = {column: text(known.get(name)) for column, name in draft.columns.items() if column not in REQUESTS.names}
    return {**{name: value for name, value in found.items() if value is not None}, **further}


def chosen(column: str, known: Mapping[str, Any], names: tuple[str, ...], draft: Draft) -> str | None:
    """As `pick`, as a text."""
    return text(pick(column, known, names, draft))


def pick(column: str, known: Mapping[str, Any], names: tuple[str, ...], draft: Draft) -> Any:
    """The first of these fields that is known, noted in the report; the caller's own choice goes before."""
    if column in draft.columns:
        return known.get(draft.columns[column])
    name = next((each for each in names if known.get(each) not in (None, "")), None)
    if name is None:
        return None
    draft.guess(f"{column} is {name}")
    return known[name]


def _metadata(known: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of an application, under any of the prefixes that frameworks put before it, by its own names."""
    found: dict[str, Any] = dict(mapping(known.get("metadata")))
    for name, value in known.items():
        for prefix in ("metadata.", "ai.telemetry.metadata.", "traceloop.association.properties."):
            if name.startswith(prefix):
                found.setdefault(name.removeprefix(prefix), value)
    return found


def outcome(reason: str | None, error: str | None, draft: Draft, *, finished: bool = True) -> dict[str, Any]:
    """`finish_reason`, its raw word, and `error`. A failed call ends in error, whatever else it says.

    `finished` says whether the call is known to have ended well; then one without a reason reads as end_turn.
    """
    if error is not None:
        return {"finish_reason": "error", "raw_finish_reason": reason, "error": error}
    if reason is None and finished:
        draft.guess("no finish reason beside an answer without error: end_turn")
        return {"finish_reason": "end_turn", "raw_finish_reason": None, "error": None}
    return {"finish_reason": reason, "raw_finish_reason": reason, "error": None}
