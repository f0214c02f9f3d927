"""What stands beside an answer while it is read: the rubric, the turns before it, and columns of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.results import jsonable

TURNS = 10
RETRIEVED = ("retrieved_text", "retrieved_context", "retrieved_documents", "retrieved", "context", "documents")


def rubric_text(rubric: Any) -> str | None:
    """A rubric as people read it: a text as it is, a `Rubric` with its dimensions, their anchors and the flag rule.

    Raises
    ------
    ConfigError
        It is neither a text nor a `Rubric`.

    Examples
    --------
    >>> from llm_monitoring.judging.rubric import Rubric
    >>> correct = {"name": "correct", "question": "Is it true?", "anchors": {1: "wrong", 5: "right"}}
    >>> print(rubric_text(Rubric(name="support", version="2", dimensions=[correct])))
    support, version 2
    correct: Is it true? (1 wrong, 5 right)
    Flagged where the score is at most 2.
    """
    if rubric is None or isinstance(rubric, str):
        return rubric
    if not hasattr(rubric, "dimensions"):
        raise ConfigError(f"rubric: {quote(type(rubric).__name__)}; expected a text or an lm.Rubric")
    lines = [f"{rubric.name}, version {rubric.version}"]
    for one in rubric.dimensions:
        anchors = ", ".join(f"{level} {words}" for level, words in sorted(one.anchors.items()))
        lines.append(f"{one.name}: {one.question}".strip() + (f" ({anchors})" if anchors else ""))
    limits = [] if rubric.flag.quality_at_most is None else [("the score", rubric.flag.quality_at_most)]
    limits += list(rubric.flag.dimension_at_most.items())
    said = " or ".join(f"{name} is at most {limit:g}" for name, limit in limits)
    return "\n".join([*lines, *([f"Flagged where {said}."] if said else [])])


def shown_columns(requests: pd.DataFrame, show: Sequence[str]) -> list[str]:
    """The columns to show beside each answer: those asked for, and retrieved text wherever the log has some.

    Raises
    ------
    ConfigError
        `show` is a single text, or names a column that the requests do not have.
    """
    if isinstance(show, str):
        raise ConfigError(f"show={show!r}; expected a list of columns, such as show=[{show!r}]")
    own = [str(name) for name in requests.columns]
    return list(dict.fromkeys([one_of("show", name, own) for name in show] + [one for one in RETRIEVED if one in own]))


def beside(requests: pd.DataFrame, request_ids: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What stands beside each answer.

    Parameters
    ----------
    requests : DataFrame
        All requests of the log.
    request_ids : list of str
        The answers drawn.
    columns : list of str
        Columns of `requests` to show.

    Returns
    -------
    dict
        For each id `turns` (the last ten turns of its session before it: `at`, `user_input`, `system_output`),
        `earlier` (how many there were) and `shown` (pairs of a column and its text).
    """
    drawn = requests[requests["request_id"].isin(list(request_ids))]
    sessions: dict[Any, pd.DataFrame] = {}
    if "session_id" in requests.columns and drawn["session_id"].notna().any():
        same = requests[requests["session_id"].isin(drawn["session_id"].dropna())]
        in_order = same.sort_values(["timestamp", "request_id"])
        sessions = dict(iter(in_order.groupby("session_id")))
    return {
        row["request_id"]: {**_turns(row, sessions.get(row.get("session_id"))), "shown": _shown(row, columns)}
        for row in drawn.to_dict("records")
    }


def _turns(row: dict[Any, Any], session: pd.DataFrame | None) -> dict[str, Any]:
    if session is None:
        return {"turns": [], "earlier": 0}
    before = session[session["timestamp"] < row["timestamp"]]
    texts = before.tail(TURNS).reindex(columns=["timestamp", "user_input", "system_output"])
    turns = [
        {"at": f"{at:%d %b %H:%M}", "user_input": jsonable(asked), "system_output": jsonable(answered)}
        for at, asked, answered in texts.itertuples(index=False)
    ]
    return {"turns": turns, "earlier": len(before)}


def _shown(row: dict[Any, Any], columns: Sequence[str]) -> list[list[str]]:
    known = [(name, jsonable(row[name])) for name in columns]
    return [[name, value if isinstance(value, str) else str(value)] for name, value in known if value is not None]
