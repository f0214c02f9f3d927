"""What was known when: the stages on the log as it stood at the alert, after the reviews, and now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring.results import iso, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

PAGE = "this page"


def known_before(log: Log, alert: Mapping[str, Any], reviews: pd.DataFrame, plan: Any = None) -> list[dict[str, Any]]:
    """The moments before now: the alert, and the last review where it came later.

    Parameters
    ----------
    log : Log
        As the report uses it.
    alert : mapping
        The alert.
    reviews : DataFrame
        The verdicts used.
    plan : path, dict or Plan, optional

    Returns
    -------
    list of dict
        at, what, label, unit, value, low, high, n, verdict, probability_real, cause, probability.
    """
    last = log.span("requests")[1]
    fired = pd.Timestamp(alert["fired_at"])
    read = reviews["reviewed_at"].max() if len(reviews) else pd.NaT
    moments = [(fired, "alert"), (read, "after the reviews")]
    log = log.with_reviews(reviews)
    return [_then(log, alert, when, what, plan) for when, what in moments if pd.notna(when) and fired <= when < last]


def known_now(results: Mapping[str, Any]) -> dict[str, Any]:
    """The same of the results of this report."""
    triage, scope, isolate = (results[stage] for stage in ("triage", "scope", "isolate"))
    return _row(triage["until"], PAGE, triage, scope, isolate)


def earlier_moments(folder: str | Path) -> list[dict[str, Any]]:
    """What earlier runs of a report recorded in its folder; nothing where there is no report, or none that can be read."""
    try:
        return json.loads((Path(folder) / "results" / "incident.json").read_text("utf-8"))["known_when"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def of_earlier_runs(moments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The moments that the last run found recorded; none where no run has added to the first."""
    last = max((row.get("run", 1) for row in moments), default=1)
    return [row for row in moments if row.get("run", 1) < last]


def add_moments(earlier: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The moments of earlier runs as they were recorded, with those that this run adds, in the order of time.

    The alert and the reviews of a moment are told once, by the run that told them first; a page is a moment of its own
    wherever it says something else.

    >>> first = add_moments([], [{"at": "1", "what": "alert"}, {"at": "3", "what": "this page"}])
    >>> later = add_moments(first, [{"at": "1", "what": "alert"}, {"at": "4", "what": "this page"}])
    >>> [(row["at"], row["run"]) for row in later]
    [('1', 1), ('3', 1), ('4', 2)]
    """
    run = max((row.get("run", 1) for row in earlier), default=0) + 1
    told = {(row["what"], row["at"]) for row in earlier if row["what"] != PAGE}
    known = [{name: value for name, value in row.items() if name != "run"} for row in earlier]
    new = [row for row in found if (row["what"], row["at"]) not in told and row not in known]
    return sorted([*earlier, *({**row, "run": run} for row in new)], key=lambda row: (row["at"], row.get("run", 1)))


def _then(log: Log, alert: Mapping[str, Any], when: pd.Timestamp, what: str, plan: Any) -> dict[str, Any]:
    from llm_monitoring import incident

    cut = log.until(when)
    scope = incident.scope(cut, alert, plan=plan)
    found = incident.triage(cut, alert, plan=plan), scope, incident.isolate(cut, alert, scope, plan=plan)
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
