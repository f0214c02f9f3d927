"""LangSmith runs: pages of the API, the SDK's runs as JSON, bulk exports (JSON Lines, Parquet)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring.importers.completions import completion, tokens
from llm_monitoring.importers.documents import Document, documents
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.fields import FEATURE, chosen, extra, outcome
from llm_monitoring.importers.messages import error_text, said_by_user
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.values import amount, first, mapping, milliseconds, moment, number, text
from llm_monitoring.measures import NO_ERROR

if TYPE_CHECKING:
    from llm_monitoring.log import Log

SESSIONS = ("session_id", "thread_id", "conversation_id", "ls_thread_id")


def langsmith(source: Any, *, columns: Mapping[str, str] | None = None) -> tuple[Log, ImportReport]:
    """Import LangSmith runs; the leaf runs of type llm are the requests.

    Parameters
    ----------
    source : path, list of paths, dict or list of dicts
        Runs as the API and the SDK give them, ``{"runs": [...]}``, nested ``child_runs``, or a bulk export.
    columns : mapping, optional
        Column of the log -> key of the run's metadata that holds it.

    Returns
    -------
    log : Log
        Requests; `request_id` is the run's id. A run's own ``session_id`` is its *project*: the session is the
        metadata's ``session_id``, ``thread_id`` or ``conversation_id``, the project becomes the column `project`.
    report : ImportReport

    Raises
    ------
    LogError
        Where the source cannot be read or holds no run of a model.

    Examples
    --------
    >>> run = {"id": "r1", "trace_id": "r1", "run_type": "llm", "name": "ChatOpenAI", "session_id": "project-7",
    ...     "start_time": "2025-11-03T09:00:00", "end_time": "2025-11-03T09:00:01.500000", "error": None,
    ...     "extra": {"metadata": {"ls_model_name": "gpt-4o-2024-08-06", "thread_id": "t-1"}},
    ...     "prompt_tokens": 20, "completion_tokens": 4}
    >>> log, report = langsmith([run])
    >>> log.requests[["request_id", "session_id", "latency_ms"]].values.tolist()
    [['r1', 't-1', 1500.0]]
    """
    draft = Draft("langsmith", columns=dict(columns or {}))
    runs = [run for document in documents(source, draft) for run in _runs(document.place, document.value, draft)]
    by_id = {str(run.value["id"]): run.value for run in runs}
    calls = {name for name, run in by_id.items() if run.get("run_type") == "llm"}
    repeating = _wrappers(calls, by_id)
    for place, run in runs:
        if str(run["id"]) in repeating:
            draft.wrapper()
        elif str(run["id"]) in calls:
            draft.row(place, **_row(run, by_id, draft))
        else:
            draft.other(str(run.get("run_type")))
    return draft.finish()


def _runs(place: str, value: Any, draft: Draft) -> Iterator[Document]:
    if isinstance(value, list):
        for number_, item in enumerate(value):
            yield from _runs(f"{place} item {number_}", item, draft)
    elif isinstance(value, Mapping) and isinstance(value.get("runs"), list):
        yield from _runs(place, value["runs"], draft)
    elif isinstance(value, Mapping) and value.get("id") and value.get("run_type"):
        yield Document(place, value)
        yield from _runs(f"{place} child", value.get("child_runs") or [], draft)
    else:
        draft.aside(place, None, "not a run: it lacks id or run_type")


def _wrappers(calls: set[str], by_id: Mapping[str, Mapping[str, Any]]) -> set[str]:
    found: set[str] = set()
    for name in calls:
        above, steps = by_id.get(str(by_id[name].get("parent_run_id"))), 0
        while above is not None and above.get("run_type") != "tool" and steps < 1000:
            found |= {str(above["id"])} & calls
            above, steps = by_id.get(str(above.get("parent_run_id"))), steps + 1
    return found


def _row(run: Mapping[str, Any], by_id: Mapping[str, Mapping[str, Any]], draft: Draft) -> dict[str, Any]:
    start, end = moment(run.get("start_time"), draft, "start_time"), moment(run.get("end_time"), draft, "end_time")
    about = mapping(run.get("extra"))
    root = by_id.get(str(run.get("trace_id")), {})
    named = {
        **mapping(mapping(root.get("extra")).get("metadata")),
        **mapping(about.get("metadata")),
        **mapping(run.get("metadata")),
    }
    names = {"the root run's name": root.get("name"), "the run's name": run.get("name")}
    said = completion(run.get("outputs"))
    if run.get("session_id"):
        draft.guess("a run's session_id is its project: column project; the session is taken from the metadata")
    given, written = tokens(_counts(run, said), draft)
    failed = error_text(run["error"]) if str(run.get("error") or "").strip().lower() not in NO_ERROR else None
    failed = failed or ("error" if run.get("status") == "error" else None)
    return {
        "request_id": str(run["id"]),
        "timestamp": start,
        "feature_id": chosen("feature_id", {**named, **names}, (*FEATURE, *names), draft),
        "model_id": said.get("model_id") or _model(about, named),
        "latency_ms": milliseconds(start, end),
        "input_tokens": given,
        "output_tokens": written,
        "cost_usd": amount(run.get("total_cost"), draft, "total_cost"),
        **outcome(text(said.get("finish_reason")), failed, draft, finished=end is not None),
        "session_id": chosen("session_id", named, SESSIONS, draft),
        "user_input": said_by_user(run.get("inputs")),
        "system_output": text(said.get("system_output")),
        "system_fingerprint": text(said.get("system_fingerprint")),
        "provider": text(named.get("ls_provider")),
        "project": text(first(run, "session_name", "session_id")),
        **extra(named, draft),
    }


def _counts(run: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens of the run, else of its answer: a run that was never counted has none, or 0 on both sides."""
    given, written = number(run.get("prompt_tokens")), number(run.get("completion_tokens"))
    if not given and not written and (number(said.get("given")) or number(said.get("written"))):
        return dict(said)
    known = {"given": said.get("given") if given is None else given, "total": run.get("total_tokens")}
    return {**said, **known, "written": said.get("written") if written is None else written, "beside": False}


def _model(about: Mapping[str, Any], named: Mapping[str, Any]) -> str | None:
    parameters = mapping(about.get("invocation_params"))
    return text(first(named, "ls_model_name") or first(parameters, "model", "model_name", "model_id"))
