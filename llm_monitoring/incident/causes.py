"""Belief over what did it: every recorded change, something unrecorded, the judge, other questions (mix), or nothing.

A cause says which slices it could have hit and when; `shifts` says how well each (slice, time) fits. Belief = prior times
fit, summed over slices and times. Nearness in time to the alert counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.incident.alert import Alert
from llm_monitoring.incident.mix import Mix, decompose
from llm_monitoring.incident.observations import Observations, observe
from llm_monitoring.incident.reviewed import log_judge_moved
from llm_monitoring.incident.shifts import Shifts, shift_evidence
from llm_monitoring.incident.slices import ALL, Slice, candidates
from llm_monitoring.incident.traces import OF_JUDGE, Trace, find_traces
from llm_monitoring.incident.witnesses import MOST, Testimony, probes, users

if TYPE_CHECKING:
    from llm_monitoring.log import Log

PRIOR = {"recorded": 0.22, "silent": 0.06, "judge": 0.04, "none": 0.68}  # of any week: the alarm is in the evidence
REACH, STEP, NEAR = pd.Timedelta("8D"), pd.Timedelta("3h"), pd.Timedelta("1D")
OLD_CHANGE, ELSEWHERE = 0.15, 0.001  # weights of a change: older than the reach; of another feature
NAMED, UNALARMED = 0.8, 0.9
UNSEEN = 0.2  # a change that would have left a version in the traffic, and did not
SLOW = {"rag_index": (pd.Timedelta("1D"), pd.Timedelta("3D"))}
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


@dataclass(frozen=True)
class Inquiry:
    """What the rows say of one alert, shared by the stages.

    Attributes
    ----------
    seen : Observations
    causes : list of Cause
        Best first.
    probability : ndarray
        One for each cause, summing to 1.
    slice_probability : ndarray
        One for each slice of `shifts`, given that something hit.
    slice : Slice
        The slice with the largest expected overlap (Jaccard) with the one that was hit.
    onset : dict
        at (the median over the causes), low, high (90 %, from the rows).
    since : Timestamp
        Where before ends and now begins.
    """

    seen: Observations
    causes: list[Cause]
    probability: np.ndarray
    shifts: Shifts
    slice_probability: np.ndarray
    slice: Slice
    onset: dict[str, pd.Timestamp | None]
    since: pd.Timestamp
    mix: Mix

    def chance_of(self, *kinds: str) -> float:
        """Probability of the causes of these kinds together."""
        return float(sum(p for cause, p in zip(self.causes, self.probability) if cause.kind in kinds))


def inquire(log: Log, alert: Alert, reviews: pd.DataFrame | None = None) -> Inquiry | None:
    """Weigh all causes of an alert; None where the metric has no single answers, or too few on either side.

    Parameters
    ----------
    log : Log
        Everything in it is used; cut it with `until` for the state of an earlier moment.
    alert : Alert
    reviews : DataFrame, optional
        Verdicts of people; default the log's own.
    """
    seen = observe(log, alert)
    if (
        seen is None
        or len(seen.frame) < 20
        or (seen.frame["timestamp"] < alert.fired_at - pd.Timedelta("1h")).sum() < 10
    ):
        return None
    causes = _causes(log, alert, seen)
    declared = [cause.declared for cause in causes if cause.declared is not None]
    slices = candidates(seen.frame, seen.columns, alert.feature_id, declared)
    arrivals = [_arrivals(cause, seen) for cause in causes]
    columns = np.split(np.arange(sum(map(len, arrivals))), np.cumsum([len(a) for a in arrivals])[:-1])
    shifts = shift_evidence(seen, slices, _times(alert, seen, causes), [dose for a in arrivals for dose in a])
    fits = [_weigh(cause, seen, shifts, k) for cause, k in zip(causes, columns)]
    belief, share, chosen, onset, since = _conclude(causes, fits, seen, shifts)
    told = _testimonies(log, seen, causes, slices, chosen, since, reviews)
    if any(len(t) for t in told):
        fits = [fit + sum(odds for odds, _ in t) for fit, t in zip(fits, told)]
        causes = [replace(cause, testimony=[words for _, words in t]) for cause, t in zip(causes, told)]
        belief, share, chosen, onset, since = _conclude(causes, fits, seen, shifts)
    mix = decompose(seen, since)
    causes, belief = _name_mix(causes, belief, mix)
    order = np.argsort(-belief, kind="stable")
    return Inquiry(seen, [causes[i] for i in order], belief[order], shifts, share, chosen, onset, since, mix)


def _conclude(causes: list[Cause], fits: list[np.ndarray], seen: Observations, shifts: Shifts):
    """Belief in each cause and slice, the slice that was hit, the start, and where before ends and now begins."""
    belief, share = _believe(causes, fits)
    chosen = shifts.slices[_most_overlap(seen, shifts.slices, share)]
    onset = _onset(seen, causes, belief, share, shifts)
    best = causes[int(np.argmax(belief))]
    since = best.at if best.recorded and belief.max() >= 0.5 else onset["at"]
    if best.kind == "none" or since is None:
        since = seen.alert.window_start if seen.alert.window_start is not None else seen.alert.fired_at
    return belief, share, chosen, onset, since


def _testimonies(log: Log, seen: Observations, causes, slices, chosen: Slice, since, reviews) -> list[list]:
    """For each cause what other witnesses say of it: log odds for each slice, and a sentence."""
    n, judged = len(slices), any(cause.kind == "judge" for cause in causes)
    people = users(log, seen, chosen, since) if judged else Testimony()
    moved = float(np.clip(log_judge_moved(log, since, reviews), -MOST, MOST)) if judged else 0.0
    only_model = [i for i, found in enumerate(slices) if {column for column, _ in found.where} <= {"model"}]
    found: list[list] = [[] for _ in causes]
    for cause, told in zip(causes, found):
        if people.told and cause.kind not in ("none", "judge"):
            told.append((np.full(n, people.log_odds), people.told))
        if cause.kind == "judge" and moved:
            told.append((np.full(n, moved), None))
        if cause.kind not in ("silent", "model_version"):
            continue
        odds, sentences = np.zeros(n), []
        for i in only_model:
            model = dict(slices[i].where).get("model")
            heard = probes(log, seen, None if model is None else str(model), cause.at or since)
            odds[i] = heard.log_odds
            sentences += [heard.told] if heard.told and slices[i] == chosen else []
        if odds.any():
            told.append((odds, sentences[0] if sentences else None))
    return found


def _believe(causes: list[Cause], joint: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each cause, and of each slice given that something hit."""
    log_odds = np.array([logsumexp(row) for row in joint])
    belief = np.exp(log_odds - logsumexp(log_odds))
    hit = np.vstack([row for cause, row in zip(causes, joint) if cause.kind not in ("none", "judge")])
    share = np.exp(logsumexp(hit, axis=0) - logsumexp(hit))
    return belief, share


def _causes(log: Log, alert: Alert, seen: Observations) -> list[Cause]:
    changes = log.changes[log.changes["timestamp"] <= alert.fired_at].sort_values(["timestamp", "change_id"])
    rows, traces = changes.to_dict("records"), find_traces(seen.frame, seen.requests)
    scopes = [declared_scope(row, seen, log) for row in rows]
    own = _own_traces(rows, scopes, traces, seen)
    found = []
    for row, declared, came in zip(rows, scopes, own):
        age = alert.fired_at - row["timestamp"]
        reaches = (in_scope(declared, seen.frame) & whole(seen).mask(seen.frame)).any()
        weight = (1.0 if age <= REACH else OLD_CHANGE) if reaches else ELSEWHERE
        if not came and _tracked(row["kind"], declared, seen):
            weight *= UNSEEN
        live = came[0].at if came else row["timestamp"]
        until = row["ends_at"] if pd.notna(row.get("ends_at")) else None
        found.append(Cause(row["change_id"], row["kind"], _text(row), live, declared, weight, True, came, until))
    reach = max(sum(cause.weight for cause in found), 1.0)
    found = [replace(cause, weight=cause.weight / reach) for cause in found]
    claimed = {id(trace) for cause in found for trace in cause.traces}
    recent = [t for t in traces if id(t) not in claimed and alert.fired_at - REACH <= t.at <= alert.fired_at]
    of_judge = [trace for trace in recent if trace.column in OF_JUDGE]
    unrecorded = [trace for trace in recent if trace.column not in OF_JUDGE]
    silent = Cause("silent", "silent", "something that nobody recorded", traces=unrecorded)
    none = Cause("none", "none", "nothing changed; chance")
    judged = alert.metric.startswith("mean_") or alert.metric == "flagged_rate"
    judge = [Cause("judge", "judge", "the judge changed, not the answers", traces=of_judge)] if judged else []
    return [*found, silent, *judge, none]


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
        & (away <= away.min(axis=1, initial=np.inf, keepdims=True) + STEP.total_seconds())
    )
    return [[trace for k, trace in enumerate(traces) if mine[i, k]] for i in range(len(rows))]


def _tracked(kind: str, declared: Slice | None, seen: Observations) -> bool:
    """Whether a change of this kind would have left a version in the traffic that it reaches."""
    column = VERSION_OF.get(kind)
    return column in seen.frame and bool(seen.frame.loc[in_scope(declared, seen.frame), column].notna().mean() > 0.5)


def _arrivals(cause: Cause, seen: Observations) -> list[np.ndarray]:
    """How a cause reached each row, in other ways than all at once at one time."""
    ways = [trace.exposed.astype(float) for trace in cause.traces]
    if cause.recorded and len(ways) > 1:
        ways = [np.max(ways, axis=0)]
    if cause.at is None:
        return ways
    spans = [cause.until - cause.at] if cause.until is not None else list(SLOW.get(cause.kind, ()))
    since = (seen.frame["timestamp"] - cause.at).to_numpy()
    return ways + [np.clip(since / span.to_timedelta64(), 0, 1) for span in spans if span > pd.Timedelta(0)]


def declared_scope(row: dict, seen: Observations, log: Log) -> Slice | None:
    """The rows that a change names in its scope columns, as a slice with lists of values; None where it names none."""
    where = []
    for column in (*seen.columns, "model_id"):
        value = row.get(column)
        if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
            continue
        values = [v.strip() for v in value.split(",")] if isinstance(value, str) else list(np.atleast_1d(value))
        if column == "model_id":
            family = dict(zip(seen.requests["model_id"], seen.requests["model"]))
            column, values = "model", sorted({family[v] for v in values if v in family})
            if "model" not in seen.columns:
                continue
        where.append((column, tuple(values) if len(values) != 1 else values[0]))
    return Slice(tuple(where)) if where else None


def in_scope(declared: Slice | None, frame: pd.DataFrame) -> np.ndarray:
    """True for the rows that a declared scope reaches; all rows where nothing was declared."""
    return np.ones(len(frame), bool) if declared is None else declared.mask(frame)


def _times(alert: Alert, seen: Observations, causes: list[Cause]) -> pd.DatetimeIndex:
    end = alert.fired_at.floor(STEP)
    grid = pd.date_range(end - REACH, end, freq=STEP)
    live = pd.DatetimeIndex([cause.at for cause in causes if cause.at is not None], tz="UTC")
    times = grid.as_unit("us").union(live.as_unit("us")).unique()
    return times[times > seen.frame["timestamp"].min()]


def _on_grid(times: pd.DatetimeIndex) -> np.ndarray:
    return np.asarray(times == times.floor(STEP))


def _weigh(cause: Cause, seen: Observations, shifts: Shifts, columns: np.ndarray) -> np.ndarray:
    """Log (prior x fit) of a cause with each slice; `columns` are its own of `log_arrivals`."""
    n = len(shifts.slices)
    arrived = shifts.log_arrivals[:, columns]
    if cause.kind == "none":
        small = logsumexp(shifts.log_negligible) - np.log(shifts.log_negligible.size)
        return np.full(n, np.log(PRIOR["none"] / n) + np.logaddexp(0, small) - np.log(2))
    if cause.kind == "judge":
        return np.log(PRIOR["judge"]) + _at_some_time(
            shifts, _only(n, 0), [(_only(n, 0), arrived[:, [k]]) for k in range(len(columns))]
        )
    if cause.kind == "silent":
        traced = [
            (_slice_prior(shifts.slices, *_reached(trace.reach, seen, shifts)), arrived[:, [k]])
            for k, trace in enumerate(cause.traces)
        ]
        return np.log(PRIOR["silent"]) + _at_some_time(shifts, _silent_prior(shifts.slices), traced)
    allowed, all_of_it = _reached(_reach(cause, seen), seen, shifts)
    step = shifts.times.get_indexer(pd.DatetimeIndex([cause.at]))[0]
    if not allowed.any() or (step < 0 and not len(columns)):
        return np.full(n, np.log(PRIOR["recorded"] * cause.weight / n) - 20.0)
    at_once = (
        shifts.log_evidence[:, [step]] if step >= 0 and not cause.traces and cause.until is None else arrived[:, :0]
    )
    ways = np.column_stack([at_once, arrived])
    prior = _slice_prior(shifts.slices, allowed, all_of_it if cause.kind == "model_version" else None)
    return np.log(PRIOR["recorded"] * cause.weight) + _log(prior) + _log_mean(ways)


def _reach(cause: Cause, seen: Observations) -> np.ndarray:
    """The rows that a recorded change could have reached: its scope, and there whoever got the new version."""
    inside = in_scope(cause.declared, seen.frame)
    return inside & np.any([trace.reach for trace in cause.traces], axis=0) if cause.traces else inside


def _reached(reach: np.ndarray, seen: Observations, shifts: Shifts) -> tuple[np.ndarray, int | None]:
    """The slices inside a reach, and the one that is all of it."""
    masks = [found.mask(seen.frame) for found in shifts.slices]
    allowed = np.array([not (mask & ~reach).any() for mask in masks])
    whole = [i for i, mask in enumerate(masks) if allowed[i] and mask.sum() == reach.sum()]
    return allowed, whole[0] if whole else None


def _at_some_time(shifts: Shifts, prior: np.ndarray, traced: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Any time of the grid; where versions appeared that nobody recorded, half of the belief is for those."""
    grid = _log(prior) + _log_mean(shifts.log_evidence[:, _on_grid(shifts.times)])
    if not traced:
        return grid
    seen = np.column_stack([_log(where) + fit.ravel() for where, fit in traced])
    return np.logaddexp(grid, _log_mean(seen)) - np.log(2)


def _log(share: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(share, 1e-300))


def _log_mean(columns: np.ndarray) -> np.ndarray:
    return logsumexp(columns, axis=1) - np.log(columns.shape[1])


def _only(n: int, i: int) -> np.ndarray:
    return np.eye(n)[i]


def _silent_prior(slices: list[Slice]) -> np.ndarray:
    """What changes without a record is in half of the cases the model of one provider, where there are several."""
    anything = _slice_prior(slices, np.ones(len(slices), bool))
    models = np.array([[column for column, _ in found.where] == ["model"] for found in slices])
    return (anything + models / models.sum()) / 2 if models.any() else anything


def _slice_prior(slices: list[Slice], allowed: np.ndarray, all_of_it: int | None = None) -> np.ndarray:
    """Each kind of slice (columns named) the same, and within a kind each slice the same: the multiplicity.

    Where a change's reach is known and is itself a slice, half of the belief is that it hit all that it reached.
    """
    kinds: dict[tuple[str, ...], list[int]] = {}
    for i in np.flatnonzero(allowed):
        kinds.setdefault(tuple(column for column, _ in slices[i].where), []).append(int(i))
    prior = np.zeros(len(slices))
    for members in kinds.values():
        prior[members] = 1 / len(kinds) / len(members)
    return prior if all_of_it is None else (prior + _only(len(slices), all_of_it)) / 2


def _most_overlap(seen: Observations, slices: list[Slice], share: np.ndarray) -> int:
    masks = np.array([s.mask(seen.frame) for s in slices], dtype=np.float32)
    both = masks @ masks.T
    sizes = masks.sum(1)
    jaccard = both / (sizes[:, None] + sizes[None, :] - both)
    return int(np.argmax(jaccard @ share))


def _onset(seen: Observations, causes: list[Cause], belief: np.ndarray, share: np.ndarray, shifts: Shifts) -> dict:
    """Start of the shift with a 90 % interval: a coarse grid, then a fine one where it matters.

    The interval is that of the rows alone. The start is the median over the causes: a recorded change began when it went
    live, anything else at any time that the rows allow.
    """
    top = np.argsort(-share, kind="stable")[:5]
    grid = _on_grid(shifts.times)
    times = shifts.times[grid]
    weight = _time_weight(shifts.log_evidence[top][:, grid], share[top])
    reach = np.flatnonzero(np.cumsum(weight) >= 0.01)[0], np.flatnonzero(np.cumsum(weight) >= 0.99)[0]
    start, end = times[max(reach[0] - 1, 0)], times[reach[1]] + STEP
    step = max(pd.Timedelta("10min"), ((end - start) / 120).ceil("10min"))
    fine = pd.date_range(start, end, freq=step).as_unit("us")
    closer = shift_evidence(seen, [shifts.slices[i] for i in top], fine)
    weight = _time_weight(closer.log_evidence, share[top])
    low, high = (_quantile(fine, weight, q) for q in (0.05, 0.95))
    recorded = [(cause.at, p) for cause, p in zip(causes, belief) if cause.recorded]
    other = sum(p for cause, p in zip(causes, belief) if cause.kind in ("silent", "judge"))
    live = pd.DatetimeIndex([at for at, _ in recorded], tz="UTC").as_unit("us")
    at = _quantile(
        pd.DatetimeIndex(fine.append(live)), np.append(weight * max(other, 1e-9), [p for _, p in recorded]), 0.5
    )
    return {"at": at, "low": min(low - step, at), "high": max(high, at)}


def _quantile(times: pd.DatetimeIndex, weight: np.ndarray, q: float) -> pd.Timestamp:
    order = np.argsort(times.asi8, kind="stable")
    total = np.cumsum(weight[order])
    return times[order][min(int(np.searchsorted(total, q * total[-1])), len(times) - 1)]


def _time_weight(log_evidence: np.ndarray, share: np.ndarray) -> np.ndarray:
    joint = log_evidence + np.log(np.maximum(share, 1e-300))[:, None]
    weight = logsumexp(joint, axis=0)
    return np.exp(weight - logsumexp(weight))


def _name_mix(causes: list[Cause], belief: np.ndarray, mix: Mix) -> tuple[list[Cause], np.ndarray]:
    """Give the part of `none` that the mix explains its own name.

    An alert that other questions explain is no evidence for a second cause: the odds of `none` go from those of an
    alert (0.45) to those of any week (0.9).
    """
    part = mix.explains if mix.moved else 0.0
    i = next(k for k, cause in enumerate(causes) if cause.kind == "none")
    if mix.moved:
        odds = (UNALARMED / (1 - UNALARMED)) / (PRIOR["none"] / (1 - PRIOR["none"]))
        belief = np.where(np.arange(len(belief)) == i, belief * odds, belief)
        belief = belief / belief.sum()
    moved = belief[i] * part
    belief = np.append(belief, moved)
    belief[i] -= moved
    return [*causes, Cause("mix", "mix", "other questions came (mix), no slice changed")], belief


def whole(seen: Observations) -> Slice:
    """The rows of the feature that alerted, or all."""
    feature = seen.alert.feature_id
    return Slice((("feature_id", feature),)) if feature is not None and "feature_id" in seen.columns else ALL
