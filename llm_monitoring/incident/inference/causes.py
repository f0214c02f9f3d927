"""What may have done it: every recorded change, something unrecorded, the judge, or nothing; who each reached, and how.

Nothing is weighed here. A change went live when its version was first seen in the traffic, else at its logged time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.incident.inference.cells import values_of
from llm_monitoring.incident.inference.lineage import families
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.slices import ALL, Slice, outside
from llm_monitoring.incident.inference.traces import OF_JUDGE, Trace, find_traces

if TYPE_CHECKING:
    from llm_monitoring.log import Log

REACH, NEAR, TOGETHER = pd.Timedelta("8D"), pd.Timedelta("1D"), pd.Timedelta("3h")
OLD_CHANGE, ELSEWHERE = 0.05, 0.001  # weights of a change: older than the reach; of another feature
LATER = 0.1  # of what began after the alert, which then was a chance alarm
OF_ANSWERS, OF_SERVICE = ("prompt", "rag_index"), ("deployment", "config", "routing")
#: Kinds of change that seldom move a column of requests, and what they weigh then; all move tokens and cost.
SELDOM = {"error": (OF_ANSWERS, 0.2), "latency_ms": (OF_ANSWERS, 0.5), "refusal": (OF_SERVICE, 0.5)}
OF_JUDGE_RECORDED = 0.5  # of the belief in a judge that moved, where changes of it are recorded
UNSEEN = 0.2  # a change that would have left a version in the traffic, and did not
SLOW = {"rag_index": tuple(pd.Timedelta(days=d) for d in (0.5, 1, 2, 4, 8, 14))}
VERSION_OF = {"prompt": "prompt_version", "model_version": "model_id"}


@dataclass(frozen=True, eq=False)
class Cause:
    """Something that may have done it.

    Attributes
    ----------
    at : Timestamp
        When it went live; None where it may have been any time.
    declared : Slice
        The scope that somebody wrote down.
    traces : list of Trace
        The versions in the traffic that came with it: who saw it, and since when, to the row.
    until : Timestamp
        The end of a roll-out that was recorded as gradual.
    testimony : list of str
        What other witnesses say of it.
    heard : float
        The log odds that they give it, in the slice that was hit.
    usual : float
        What a recorded change of its kind and scope weighs on any day: `weight` without its age.
    """

    name: str
    kind: str
    description: str
    at: pd.Timestamp | None = None
    declared: Slice | None = None
    weight: float = 1.0
    recorded: bool = False
    traces: list[Trace] = field(default_factory=list)
    until: pd.Timestamp | None = None
    testimony: list[str | None] = field(default_factory=list)
    heard: float = 0.0
    usual: float = 0.0


def possible_causes(log: Log, alert: Alert, seen: Observations) -> list[Cause]:
    """All that may have done it, recorded changes first, with the versions that came with each."""
    changes = log.changes[log.changes["timestamp"] <= seen.frame["timestamp"].max()]
    changes = changes.sort_values(["timestamp", "change_id"])
    rows, traces = changes.to_dict("records"), find_traces(seen.frame, seen.asked)
    scopes = [declared_scope(row, seen) for row in rows]
    own = _own_traces(rows, scopes, traces, seen)
    found = []
    for row, declared, came in zip(rows, scopes, own):
        age = alert.fired_at - row["timestamp"]
        reaches = (in_scope(declared, seen.frame) & seen.mask(whole(seen))).any()
        seldom, weighs = (OF_SERVICE, 0.5) if alert.judged else SELDOM.get(alert.measure.column or "", ((), 1.0))
        usual = (1.0 if reaches else ELSEWHERE) * (weighs if row["kind"] in seldom else 1.0)
        if not came and _tracked(row["kind"], declared, seen):
            usual *= UNSEEN
        aged = LATER if age < pd.Timedelta(0) else 1.0 if age <= REACH else OLD_CHANGE
        weight = usual * (aged if reaches else 1.0)
        live = came[0].at if came else row["timestamp"]
        until = row["ends_at"] if pd.notna(row.get("ends_at")) else None
        name, kind = row["change_id"], row["kind"]
        found.append(Cause(name, kind, _text(row), live, declared, weight, True, came, until, usual=usual))
    found = _shared_out(found)
    claimed = {id(trace) for cause in found for trace in cause.traces}
    recent = [t for t in traces if id(t) not in claimed and alert.fired_at - REACH <= t.at <= alert.fired_at]
    of_judge = [trace for trace in recent if trace.column in OF_JUDGE]
    unrecorded = [trace for trace in recent if trace.column not in OF_JUDGE]
    silent = Cause("silent", "silent", "something that nobody recorded", traces=unrecorded)
    none = Cause("none", "none", "nothing changed; chance")
    told = sum(cause.weight for cause in found if cause.kind == "judge")
    judge = [Cause("judge", "judge", "the judge changed, not the answers", weight=1 - told, traces=of_judge)]
    return [*found, silent, *(judge if alert.judged else []), none]


def _shared_out(found: list[Cause]) -> list[Cause]:
    """The weights as parts of the belief in recorded changes; those of recorded changes of the judge, of that in the judge."""
    total = {of: max(sum(c.weight for c in found if (c.kind == "judge") is of), 1.0) for of in (False, True)}
    part = {False: 1.0, True: OF_JUDGE_RECORDED}
    return [replace(c, weight=part[c.kind == "judge"] * c.weight / total[c.kind == "judge"]) for c in found]


def _text(row: dict) -> str:
    return str(row.get("description") or row["kind"])


def _own_traces(rows: list[dict], scopes: list, traces: list[Trace], seen: Observations) -> list[list[Trace]]:
    """For each change the versions that first appear within a day of its logged time, in its scope.

    A version belongs to the change logged nearest to its appearance; where two are equally near (within half an hour),
    to both.
    """
    away = np.full((len(rows), len(traces)), np.inf)
    for i, (row, declared) in enumerate(zip(rows, scopes)):
        inside, column = in_scope(declared, seen.frame), VERSION_OF.get(row["kind"])
        end = row["ends_at"] if pd.notna(row.get("ends_at")) else row["timestamp"]
        for k, trace in enumerate(traces):
            near = row["timestamp"] - NEAR <= trace.at <= end + NEAR
            if trace.column == column and near and (trace.exposed & inside).any():
                away[i, k] = abs((trace.at - row["timestamp"]).total_seconds())
    nearest = away.min(axis=0, initial=np.inf)
    mine = (
        np.isfinite(away)
        & (away <= nearest + 1800)
        & (away <= away.min(axis=1, initial=np.inf, keepdims=True) + TOGETHER.total_seconds())
    )
    return [[trace for k, trace in enumerate(traces) if mine[i, k]] for i in range(len(rows))]


def _tracked(kind: str, declared: Slice | None, seen: Observations) -> bool:
    """Whether a change of this kind would have left a version in the traffic that it reaches."""
    column = VERSION_OF.get(kind)
    return column in seen.frame and bool(seen.frame.loc[in_scope(declared, seen.frame), column].notna().mean() > 0.5)


def arrivals(cause: Cause, seen: Observations) -> list[np.ndarray]:
    """How a cause reached each row, in other ways than all at once at one time."""
    ways = [trace.exposed for trace in cause.traces]
    if cause.recorded and ways:
        inside = in_scope(cause.declared, seen.frame)
        ways = [np.any(ways, axis=0), np.any([trace.since & inside for trace in cause.traces], axis=0)]
        ways = ways[:1] if (ways[0] == ways[1]).all() else ways
    if cause.at is None:
        return ways
    spans = [cause.until - cause.at] if cause.until is not None else list(SLOW.get(cause.kind, ()))
    since = (seen.frame["timestamp"] - cause.at).to_numpy()
    return ways + [np.clip(since / span.to_timedelta64(), 0, 1) for span in spans if span > pd.Timedelta(0)]


def reach(cause: Cause, seen: Observations) -> np.ndarray:
    """The rows that a recorded change could have reached: its scope, and there whoever got the new version."""
    inside = in_scope(cause.declared, seen.frame)
    return inside & np.any([trace.reach for trace in cause.traces], axis=0) if cause.traces else inside


def declared_scope(row: dict, seen: Observations) -> Slice | None:
    """The rows that a change names in its scope columns, as a slice with lists of values; None where it names none."""
    where = []
    for column in (*seen.columns, "model_id"):
        value = row.get(outside(column))
        if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
            continue
        values = values_of(value)
        if not values:
            continue
        if column == "model_id":
            family = families(seen.requests)
            served = {family[v] for v in values if v in family}
            column, values = (
                "model",
                sorted(served or set(values)),
            )  # a model that no request has named yet keeps its name
            if "model" not in seen.columns:
                continue
        where.append((column, tuple(values) if len(values) != 1 else values[0]))
    return Slice(tuple(where)) if where else None


def in_scope(declared: Slice | None, frame: pd.DataFrame) -> np.ndarray:
    """True for the rows that a declared scope reaches; all rows where nothing was declared."""
    return np.ones(len(frame), bool) if declared is None else declared.mask(frame)


def whole(seen: Observations) -> Slice:
    """The rows of the feature that alerted, or all."""
    feature = seen.alert.feature_id
    return Slice((("feature_id", feature),)) if feature is not None and "feature_id" in seen.columns else ALL
