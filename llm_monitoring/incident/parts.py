"""Which part of the traffic carries the change of a metric that no single answer has: totals, probes, kinds of questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert, of_feature
from llm_monitoring.incident.courses import LEVELS, Course, width_of, windows_of
from llm_monitoring.incident.inference.cells import requests_of
from llm_monitoring.incident.inference.observations import slice_columns
from llm_monitoring.incident.inference.roles import QUESTION
from llm_monitoring.incident.inference.slices import Slice, counts, feature_slice, last_time
from llm_monitoring.incident.probes import probes_since
from llm_monitoring.intervals import newcombe, wilson

if TYPE_CHECKING:
    from llm_monitoring.log import Log

COMPARED = (*LEVELS, "low", "high", "n_before", "n_after")
MOST_SHOWN, CARRIES = 12, 0.8
Parts = tuple[str, list[dict[str, Any]], list[dict[str, Any]], list[str], list[str], dict[str, str]]


def parts_of(log: Log, alert: Alert, course: Course, since: pd.Timestamp, ended: pd.Timestamp | None) -> Parts:
    """Kind, the slices that carry it, all parts, reasons, the columns looked at, and those not looked at with why."""
    if alert.measure.of == "probes":
        return _of_probes(log, course, since)
    if course.drift is not None:
        return _of_questions(log, alert)
    if alert.measure.total and len(course.windows):
        return _of_totals(log, alert, course, since, ended)
    return "none", [], [], [course.why or "The metric has no windows here."], [], {}


def _columns(log: Log, alert: Alert) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """The requests of the feature in cells, the columns of the log by which they are split, and those not looked at."""
    source = requests_of(log)
    whole, *ends = (
        part.assign(model=part["model_id"]).drop(columns=[*source.named]) for part in (source.cells, *source.ends())
    )
    columns = [c for c in slice_columns(whole, ends=(ends[0], ends[1])) if c != "model"]
    rows = of_feature(source.cells, alert)
    columns = [c for c in [*columns, "model_id"] if rows[c].nunique() > 1]
    left = {
        c: "one value, or too many"
        for c in ("feature_id", "category", "model_id")
        if c in source.rows.columns and c not in columns
    }
    return rows, columns, left


def _commonest(rows: pd.DataFrame, column: str) -> list[Any]:
    """The eight values that most requests have."""
    n = pd.Series(counts(rows), rows.index).groupby(rows[column], sort=False).sum()
    return n.sort_values(ascending=False, kind="stable").index[:8].tolist()


def _of_totals(log: Log, alert: Alert, course: Course, since: pd.Timestamp, ended: pd.Timestamp | None) -> Parts:
    rows, columns, left = _columns(log, alert)
    width = width_of(alert)
    total = course.change(since, ended)
    own = feature_slice(alert.feature_id)
    found = []
    for column in columns:
        for value in _commonest(rows, column):
            part = Slice(((column, value),))
            change = Course(windows_of(log, alert, width, part)).change(since, ended)
            if change["estimate"] is not None:
                found.append((Slice((*own.where, (column, value))), change))
    looks, leaves = max(len(found), 1), []
    for part, change in found:
        share = change["estimate"] / total["estimate"] if total["estimate"] else None
        leaves.append(_row(part, change, alert, share, looks))
    leaves.sort(key=lambda row: (-(row["share_of_change"] or 0), row["label"]))
    carrying = [
        row for row in leaves if (row["share_of_change"] or 0) >= CARRIES and row["verdict"] != "no change seen"
    ]
    grew = [row for row in carrying if not _was_as_much(row, total)]
    reasons = [
        f"{grew[0]['label']} carries {say.amount(grew[0]['share_of_change'], 'share')} of the change."
        if grew
        else "All parts of the traffic moved alike, as far as the windows tell."
    ]
    if alert.metric == "total_cost_usd" and total["before"]:
        reasons.append(_split(log, alert, since, ended))
    return ("slice" if grew else "all"), grew[:1], leaves[:MOST_SHOWN], reasons, columns, left


def _was_as_much(row: dict[str, Any], total: dict[str, Any]) -> bool:
    """Whether a part carries no more of the change than it was of the whole: then it is no slice."""
    return bool(total["before"]) and row["share_of_change"] <= 1.15 * row["before"] / total["before"]


def _split(log: Log, alert: Alert, since: pd.Timestamp, ended: pd.Timestamp | None) -> str:
    source, own = requests_of(log), feature_slice(alert.feature_id)
    rows = of_feature(source.parted(source.cells, [since] if ended is None else [since, ended]), alert)
    late = (rows["timestamp"] >= since) & (True if ended is None else rows["timestamp"] < ended)
    parts = []
    for side, ends in ((rows[rows["timestamp"] < since], (None, since)), (rows[late], (since, ended))):
        days = max((last_time(side) - side["timestamp"].min()) / pd.Timedelta("1D"), 1 / 24)
        parts.append((counts(side).sum() / days, source.paid(own, *ends)))
    (n_before, usd_before), (n_after, usd_after) = parts
    return (
        f"Requests a day went from {say.number(n_before)} to {say.number(n_after)}, the cost of a request from "
        f"{say.amount(usd_before, 'usd', like=usd_after)} to {say.amount(usd_after, 'usd')}."
    )


def _row(part: Slice, change: dict[str, Any], alert: Alert, share: float | None, looks: int) -> dict[str, Any]:
    half = (change["high"] - change["low"]) / 2 if change["low"] is not None else np.inf
    needed = half * stats.norm.ppf(1 - 0.025 / looks) / stats.norm.ppf(0.975)
    verdict = "no change seen"
    if abs(change["estimate"]) > needed:
        toward = (change["estimate"] > 0) == (alert.direction == "up")
        verdict = "worse" if toward == alert.harmful else "better"
    return {
        "where": part.to_dict(), "label": part.label, "verdict": verdict, **{name: change[name] for name in COMPARED},
        "change": change["estimate"], "share_of_change": share, "probability": None,
    }  # fmt: skip


def _of_probes(log: Log, course: Course, since: pd.Timestamp) -> Parts:
    table = probes_since(log, since)
    words = {"passes less": "worse", "passes more": "better"}
    rows = []
    for row in table.to_dict("records"):
        where = {name: row[name] for name in ("feature_id", "check", "model") if isinstance(row.get(name), str)}
        kept = {name: row[name] for name in ("label", "change", *COMPARED)}
        verdict = words.get(row["verdict"], row["verdict"])
        rows.append({"where": where, **kept, "verdict": verdict, "share_of_change": None, "probability": None})
    less = [row for row in rows if row["verdict"] == "worse"]
    told = (
        f"{len(less)} of {len(rows)} groups of probes (feature, check and model) pass less often than before."
        if rows
        else course.why
    )
    looked = [name for name in ("feature_id", "check", "model_id") if name in log.probe_results]
    return ("slice" if less and len(less) < len(rows) else "all"), less[:4], rows[:MOST_SHOWN], [told], looked, {}


def _of_questions(log: Log, alert: Alert) -> Parts:
    """Which kinds of questions grew: the share of each value of each column of the question, then and now."""
    rows, columns, left = _columns(log, alert)
    start = alert.window_start if alert.window_start is not None else alert.fired_at - pd.Timedelta("7D")
    columns = [c for c in columns if set(c.lower().split("_")) & QUESTION] or [c for c in columns if c != "model_id"]
    rows = of_feature(requests_of(log).parted(requests_of(log).cells, [start, alert.fired_at]), alert)
    late = (rows["timestamp"] >= start) & (rows["timestamp"] < alert.fired_at)
    sides = rows[rows["timestamp"] < start], rows[late]
    n = [int(counts(side).sum()) for side in sides]
    leaves: list[dict[str, Any]] = []
    for column in columns if min(n) else []:
        for value in _commonest(rows, column):
            k = [int(counts(side)[(side[column] == value).to_numpy(bool, na_value=False)].sum()) for side in sides]
            apart = newcombe(k[0], n[0], k[1], n[1])
            ends = wilson(k[0], n[0]), wilson(k[1], n[1])
            moved = apart.low > 0 or apart.high < 0
            part = Slice(((column, value),))
            leaves.append(
                {
                    "where": part.to_dict(), "label": part.label, "verdict": "moved" if moved else "no change seen",
                    "before": k[0] / n[0], "before_low": float(ends[0][0]), "before_high": float(ends[0][1]),
                    "after": k[1] / n[1], "after_low": float(ends[1][0]), "after_high": float(ends[1][1]),
                    "change": apart.estimate, "low": apart.low, "high": apart.high, "n_before": k[0], "n_after": k[1],
                    "share_of_change": None, "probability": None,
                }
            )  # fmt: skip
    leaves.sort(key=lambda row: (-row["change"], row["label"]))
    leaves = [row for row in leaves if row["where"].keys() == leaves[0]["where"].keys()]  # one column makes one whole
    grown = [row for row in leaves if row["verdict"] == "moved" and row["change"] > 0]
    if grown:
        first = grown[0]
        told = f"{first['label']} grew most: from {say.amount(first['before'], 'share')} to {say.amount(first['after'], 'share')} of the questions."
    else:
        told = "The texts differ, and no column of the log says how: read twenty of them."
    return "mix", grown[:4], leaves[:MOST_SHOWN], [told], columns, left
