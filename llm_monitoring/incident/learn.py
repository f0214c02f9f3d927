"""How not to meet it again: the failing answers become eval cases, and the incident says what keeps it open."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.errors import one_of
from llm_monitoring.incident.alert import Alert, read_alert
from llm_monitoring.incident.causes import Inquiry, inquire
from llm_monitoring.incident.respond import recovery
from llm_monitoring.incident.reviewed import read_reviews
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

FILE, MOST_CASES, SHOWN, SAME = "eval_cases.jsonl", 50, 20, 90


@dataclass(frozen=True, repr=False)
class LearnResult(Result):
    """The eval cases of an incident.

    Attributes
    ----------
    cases : int
        Cases written.
    file : str
        Name of the file in the folder given.
    exported : dict
        Format -> file name.
    closed : bool
        False while anything is open.
    open_points : list of str
    examples : list of dict
        The first cases: request_id, timestamp, user_input, system_output, reviewed, verdict.
    """

    cases: int
    file: str
    exported: dict[str, str]
    closed: bool
    open_points: list[str]
    examples: list[dict[str, Any]]
    next: str

    @property
    def headline(self) -> str:
        """Cases and what is open."""
        state = "closed" if self.closed else f"open, {len(self.open_points)} points"
        return f"{self.cases} eval cases in {self.file}; {state}"

    def to_frame(self) -> pd.DataFrame:
        """The first cases."""
        columns = ["request_id", "timestamp", "user_input", "system_output", "reviewed", "verdict"]
        return pd.DataFrame(self.examples, columns=columns)

    def plot(self, ax=None, narrow: bool = False):
        """How many of the cases somebody has read."""
        from llm_monitoring.incident import drawing

        read = sum(bool(example["reviewed"]) for example in self.examples)
        return drawing.progress(
            read, len(self.examples), f"{read} of {len(self.examples)} cases shown were read by a person", ax
        )


def learn(log: Log, alert, reviews=None, out=".", formats=("jsonl",)) -> LearnResult:
    """Write the failing answers of the hit slice as eval cases.

    Parameters
    ----------
    log : Log
    alert : row of `check`, dict or Alert
    reviews : DataFrame or path, optional
        Verdicts of people; default the log's own. Answers found bad (``real``) become cases; where nobody has read
        any, the flagged answers of the slice do, with ``reviewed: false``.
    out : path
        Folder for ``eval_cases.jsonl``; made where absent.
    formats : sequence of str
        Only ``jsonl`` so far.

    Returns
    -------
    LearnResult

    Raises
    ------
    ConfigError
        An unknown format.
    """
    for name in formats:
        one_of("learn(formats)", name, ["jsonl"])
    alert = read_alert(alert)
    inquiry = inquire(log, alert)
    cases = [] if inquiry is None else _cases(log, alert, inquiry, reviews)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(jsonable(case), ensure_ascii=False, sort_keys=True) + "\n" for case in cases)
    points = _open_points(log, inquiry, cases)
    return LearnResult(
        **jsonable(
            {
                "cases": len(cases),
                "file": FILE,
                "exported": dict.fromkeys(formats, FILE),
                "closed": not points,
                "open_points": points,
                "examples": [_example(case) for case in cases[:SHOWN]],
                "next": "Run the cases on every change of prompt, model or index before it goes live.",
            }
        )
    )


def _cases(log: Log, alert: Alert, inquiry: Inquiry, reviews) -> list[dict[str, Any]]:
    judgements = log.judgements
    flagged = set(judgements.loc[judgements["flagged"].fillna(False).astype(bool), "request_id"])
    requests = inquiry.seen.requests
    rows = requests[inquiry.slice.mask(requests) & (requests["timestamp"] >= inquiry.since)]
    table = read_reviews(log, reviews).drop_duplicates("request_id", keep="last")
    read = rows.merge(table.reindex(columns=["request_id", "verdict", "note"]), on="request_id")
    bad = read[read["verdict"] == "real"]
    if not len(bad):
        unread = rows[rows["request_id"].isin(flagged) & ~rows["request_id"].isin(set(read["request_id"]))]
        bad = unread.assign(verdict=None, note=None)
    bad = bad.sort_values(["timestamp", "request_id"])
    kept = _merged(bad.reindex(columns=[*bad.columns.union(["user_input", "system_output", "category"], sort=False)]))
    return [_case(row, alert) for row in kept]


def _merged(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The first rows, without near-repeats of an earlier question (rapidfuzz token-set ratio of 90 or more)."""
    from rapidfuzz import fuzz

    kept: list[dict[str, Any]] = []
    for row in rows.to_dict("records"):
        text = _text(row["user_input"])
        if not text or all(fuzz.token_set_ratio(text, _text(other["user_input"])) < SAME for other in kept):
            kept.append({str(name): value for name, value in row.items()})
        if len(kept) == MOST_CASES:
            break
    return kept


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _case(row: dict[str, Any], alert: Alert) -> dict[str, Any]:
    note = row["note"] if isinstance(row["note"], str) and row["note"] else None
    return {
        "case_id": f"{row['request_id']}",
        "input": _text(row["user_input"]),
        "bad_output": _text(row["system_output"]),
        "expected_property": note or f"not as bad_output: {say.metric_words(alert.metric)} fell here",
        "feature_id": row["feature_id"],
        "category": row["category"] if isinstance(row["category"], str) else None,
        "timestamp": row["timestamp"],
        "reviewed": row["verdict"] == "real",
        "verdict": row["verdict"],
    }


def _example(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": case["case_id"],
        "timestamp": case["timestamp"],
        "user_input": case["input"],
        "system_output": case["bad_output"],
        "reviewed": case["reviewed"],
        "verdict": case["verdict"],
    }


def _open_points(log: Log, inquiry: Inquiry | None, cases: list[dict]) -> list[str]:
    if inquiry is None:
        return ["The stages before could not conclude."]
    points = []
    if cases and not any(case["reviewed"] for case in cases):
        points.append(f"Nobody has read the {len(cases)} cases: review them, then run this stage again.")
    points.append(f"The {len(cases)} cases are not yet in the eval suite." if cases else "No failing case was found.")
    state = recovery(log, inquiry, inquiry.slice)
    if state["recovered"] is not True:
        points.append(state["because"])
    return points
