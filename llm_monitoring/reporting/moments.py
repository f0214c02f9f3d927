"""What was known when: the stages on the log as it stood at the alert, after the reviews, and now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring.results import iso, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log


def known_before(log: Log, alert: Mapping[str, Any], reviews: pd.DataFrame) -> list[dict[str, Any]]:
    """The moments before now: the alert, and the last review where it came later.

    Parameters
    ----------
    log : Log
        As the report uses it.
    alert : mapping
        The alert.
    reviews : DataFrame
        The verdicts used.

    Returns
    -------
    list of dict
        at, what, label, unit, value, low, high, n, verdict, probability_real, cause, probability.
    """
    last = log.requests["timestamp"].max()
    fired = pd.Timestamp(alert["fired_at"])
    read = reviews["reviewed_at"].max() if len(reviews) else pd.NaT
    moments = [(fired, "alert"), (read, "after the reviews")]
    return [_then(log, alert, reviews, when, what) for when, what in moments if pd.notna(when) and fired <= when < last]


def known_now(results: Mapping[str, Any]) -> dict[str, Any]:
    """The same of the results of this report."""
    triage, scope, isolate = (results[stage] for stage in ("triage", "scope", "isolate"))
    return _row(triage["until"], "this page", triage, scope, isolate)


def _then(log: Log, alert: Mapping[str, Any], reviews: pd.DataFrame, when: pd.Timestamp, what: str) -> dict[str, Any]:
    from llm_monitoring import incident

    cut = log.until(when)
    read = reviews[reviews["reviewed_at"] <= when]
    scope = incident.scope(cut, alert)
    found = incident.triage(cut, alert, read), scope, incident.isolate(cut, alert, scope)
    return _row(iso(when), what, *(jsonable(result) for result in found))


def _row(at: str | None, what: str, triage: Mapping, scope: Mapping, isolate: Mapping) -> dict[str, Any]:
    named = scope["kind"] in ("slice", "all") and scope["slices"]
    level = scope["slices"][0] if named else triage["change"]
    first = isolate["ranking"][0] if isolate["ranking"] else {"cause": None, "probability": None}
    return {
        "at": at,
        "what": what,
        "label": level["label"] if named else triage["feature_id"] or "all answers",
        "unit": triage["unit"],
        "value": level["after"],
        "low": level["after_low"],
        "high": level["after_high"],
        "n": level["n_after"],
        "verdict": triage["verdict"],
        "probability_real": triage["probability_real"],
        "cause": first["cause"],
        "probability": first["probability"],
    }
