"""OpenAI batch files: the output and error files, joined with the input file by custom_id, times from the batch object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.batches import import_batch
from llm_monitoring.importers.completions import completion
from llm_monitoring.importers.messages import error_text
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.values import mapping, number

if TYPE_CHECKING:
    from llm_monitoring.log import Log


def openai_batch(
    source: Any, *, timestamp: Any = None, columns: Mapping[str, str] | None = None
) -> tuple[Log, ImportReport]:
    """Import the files of OpenAI batches. Expired, cancelled and failed requests are rows with `error`.

    Parameters
    ----------
    source : list of paths, folder, or list of dicts
        Output file, error file, input file and the batch object (JSON), in any order; without the input file texts
        and the models of failed requests are unknown.
    timestamp : str or datetime, optional
        When the requests were made, where the batch object is not at hand. Without both it is the answer's
        ``created``; failed requests, which have none, take that of the batch's earliest answer, and the report says so.
    columns : mapping, optional
        Column of the log -> key of the batch's or the request's metadata that holds it.

    Returns
    -------
    log : Log
        Requests; `request_id` is the custom_id. A batch says nothing of latency and cost: both unknown.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no request of a batch.

    Examples
    --------
    >>> answered = {"id": "batch_req_1", "custom_id": "q-1", "error": None, "response": {"status_code": 200, "body": {
    ...     "object": "chat.completion", "model": "gpt-4o-2024-08-06", "choices": [{"finish_reason": "stop",
    ...     "message": {"role": "assistant", "content": "Yes."}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}}}
    >>> batch = {"id": "batch_1", "object": "batch", "created_at": 1762160400}
    >>> log, report = openai_batch([answered, batch])
    >>> log.requests[["request_id", "system_output", "output_tokens"]].values.tolist()
    [['q-1', 'Yes.', 2.0]]
    """
    return import_batch("openai_batch", source, columns, timestamp, kind=_kind, said=_said)


def _kind(record: Mapping[str, Any]) -> str:
    if record.get("object") == "batch":
        return "object"
    if "custom_id" not in record:
        return ""
    return "result" if "response" in record or "error" in record else "input" if "body" in record else ""


def _said(result: Mapping[str, Any]) -> dict[str, Any]:
    response = mapping(result.get("response"))
    body = mapping(response.get("body"))
    status = number(response.get("status_code"))
    if result.get("error"):
        return {"finish_reason": "error", "error": error_text(result["error"]), "model_id": body.get("model")}
    if (status or 200) >= 400 and not body.get("error"):
        return {"finish_reason": "error", "error": f"status {status:g}", "model_id": body.get("model")}
    kind = str(body.get("object"))
    if "embedding" in kind or kind == "list":
        return {"other": kind}
    return {**completion(body), "created": body.get("created") or body.get("created_at")}
