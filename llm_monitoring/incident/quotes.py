"""Two bad answers and a good one, to show beside each other: what an incident looks like to a user. Nothing is counted here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring import answers
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.frames import among
from llm_monitoring.incident.inference.reviewed import read_reviews
from llm_monitoring.judging.redaction import redact
from llm_monitoring.reviewing.verdicts import majority

if TYPE_CHECKING:
    from llm_monitoring.log import Log

BAD, NEAREST = 2, 400
TEXTS = ("user_input", "system_output")
WHY = {
    "refusal_rate": "refused",
    "truncation_rate": "cut off at the limit of tokens",
    "explicit_positive_rate": "thumb down",
}


def quotes_of(log: Log, alert: Alert, now: pd.DataFrame, then: pd.DataFrame, reviews: Any = None) -> dict[str, Any]:
    """Two bad answers of `now`, and a good one of `then` to a question like theirs.

    Parameters
    ----------
    log : Log
    alert : Alert
    now, then : DataFrame
        `request_id`, `timestamp` and `value` of the alert's metric: the answers that are looked at, and those that they are held against.
    reviews : DataFrame or path, optional

    Returns
    -------
    dict
        bad (list of dict) and good (dict or None): request_id, timestamp, user_input, system_output, why. Personal data is
        taken out by pattern. Empty where a single answer does not show the harm (latency, cost) or no text is logged.
    """
    nothing: dict[str, Any] = {"bad": [], "good": None}
    if not alert.judged and alert.measure.kind != "proportion":
        return nothing
    rows = _told(log, alert, pd.concat([now, then]), reviews)
    bad = rows[rows["bad"] & among(rows["request_id"], now["request_id"])]
    bad = _first_with_texts(log, bad.sort_values(["rank", "score", "timestamp", "request_id"]), BAD, distinct=True)
    if not len(bad):
        return nothing
    good = rows[~rows["bad"] & among(rows["request_id"], then["request_id"])]
    good = good.sort_values(["score", "timestamp", "request_id"], ascending=[False, False, True])
    good = _first_with_texts(log, good, NEAREST)
    return {
        "bad": [_quote(row) for row in bad.to_dict("records")],
        "good": _nearest(good, str(bad["user_input"].iloc[0])),
    }


def _told(log: Log, alert: Alert, rows: pd.DataFrame, reviews: Any) -> pd.DataFrame:
    """The rows with `bad`, `why` and their order: what people found bad first, then the lowest scores."""
    made = rows[["request_id", "value", "timestamp"]].drop_duplicates("request_id")
    made = made.sort_values(["timestamp", "request_id"], ignore_index=True)
    made = made.assign(score=0.0, why=WHY.get(alert.metric, ""), rank=1)
    if alert.judged:
        judged = answers.judgements(log, ["quality_score", "flagged", "flag_reason"]).set_index("request_id")
        score = made["request_id"].map(judged["quality_score"])
        flagged = made["request_id"].map(judged["flagged"].astype("object")).map(lambda one: one is True)
        reason = made["request_id"].map(judged["flag_reason"].astype("object"))
        made = made.assign(
            score=score.fillna(0), bad=flagged, why=reason.where(reason.map(_has_text), "flagged by the judge")
        )
    else:
        made = made.assign(bad=made["value"] == (1 if alert.measure.worse != "down" else 0))
        if alert.metric == "error_rate":  # what was bad says why; the others show none
            failed = log.with_texts(made[made["bad"]], ["error"]).get("error", pd.Series(dtype=object))
            made["why"] = failed.where(failed.map(_has_text)).reindex(made.index).fillna("an error")
    read = read_reviews(log, reviews)
    if not len(read):
        return made
    verdict = made["request_id"].map(majority(read).set_index("request_id")["verdict"])
    note = made["request_id"].map(read.reindex(columns=["request_id", "note"]).groupby("request_id")["note"].last())
    why = note.where(note.map(_has_text) & (verdict == "real"), made["why"])
    bad = (made["bad"] & (verdict != "false_positive")) | (alert.judged & (verdict == "real"))
    return made.assign(bad=bad, why=why, rank=made["rank"].where(verdict != "real", 0))


def _first_with_texts(log: Log, rows: pd.DataFrame, most: int, distinct: bool = False) -> pd.DataFrame:
    """The first rows whose question and answer are logged, with both; `distinct` keeps one of each question."""
    told, start, size = rows.iloc[:0], 0, 2 * NEAREST
    while start < len(rows) and len(told) < most:
        part = log.with_texts(rows.iloc[start : start + size], TEXTS)
        if not set(TEXTS) <= set(part):
            break
        part = part[part["user_input"].map(_has_text) & part["system_output"].map(_has_text)]
        told = pd.concat([told, part]) if len(told) else part
        told = told.drop_duplicates("user_input") if distinct else told
        start, size = start + size, 2 * size
    return told.head(most)


def _nearest(good: pd.DataFrame, question: str) -> dict[str, Any] | None:
    """The good answer whose question is most like another; of those alike the first."""
    from rapidfuzz import fuzz

    if not len(good):
        return None
    likeness = [fuzz.token_set_ratio(question, text) for text in good["user_input"]]
    best = good.iloc[max(range(len(likeness)), key=lambda i: likeness[i])].to_dict()
    return {**_quote(best), "why": ""}


def _quote(row: Mapping[Any, Any]) -> dict[str, Any]:
    texts = {name: redact(str(row[name])) for name in ("user_input", "system_output", "why")}
    return {"request_id": row["request_id"], "timestamp": row["timestamp"], **texts}


def _has_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
