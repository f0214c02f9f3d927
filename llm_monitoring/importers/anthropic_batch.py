"""Anthropic message batches: the results file, joined with the requests by custom_id, times from the batch object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.batches import import_batch
from llm_monitoring.importers.completions import completion
from llm_monitoring.importers.messages import error_text
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.values import mapping

if TYPE_CHECKING:
    from llm_monitoring.log import Log


def anthropic_batch(
    source: Any, *, timestamp: Any = None, columns: Mapping[str, str] | None = None
) -> tuple[Log, ImportReport]:
    """Import Anthropic message batches. Errored, canceled and expired requests are rows with `error`.

    Parameters
    ----------
    source : list of paths, folder, or list of dicts
        Results (JSON Lines), the requests that were sent (``{"requests": [...]}`` or one a line), and the batch object.
    timestamp : str or datetime, optional
        When the requests were made, where the batch object is not at hand; a result names no time of its own, so
        that without both nothing can be read.
    columns : mapping, optional
        Column of the log -> key of the request's metadata that holds it.

    Returns
    -------
    log : Log
        Requests; `request_id` is the custom_id. Tokens read from and written to the cache count as input tokens.
        A batch says nothing of latency and cost: both unknown.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no request of a batch.

    Examples
    --------
    >>> result = {"custom_id": "q-1", "result": {"type": "succeeded", "message": {"type": "message",
    ...     "model": "claude-sonnet-4-20250514", "content": [{"type": "text", "text": "Yes."}], "stop_reason": "end_turn",
    ...     "usage": {"input_tokens": 5, "cache_read_input_tokens": 1200, "output_tokens": 4}}}}
    >>> log, report = anthropic_batch([result], timestamp="2025-11-03T09:00Z")
    >>> log.requests[["request_id", "input_tokens", "finish_reason"]].values.tolist()
    [['q-1', 1205.0, 'end_turn']]
    """
    return import_batch("anthropic_batch", source, columns, timestamp, kind=_kind, said=_said)


def _kind(record: Mapping[str, Any]) -> str:
    if record.get("type") == "message_batch":
        return "object"
    if "custom_id" not in record:
        return ""
    return "result" if "result" in record else "input" if "params" in record else ""


def _said(record: Mapping[str, Any]) -> dict[str, Any]:
    result = mapping(record["result"])
    kind = str(result.get("type"))
    if kind == "succeeded":
        return completion(mapping(result.get("message")))
    fault = error_text(result["error"]) if result.get("error") else f"{kind} before it ran"
    return {"finish_reason": kind, "error": fault}
