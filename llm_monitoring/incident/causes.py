"""Belief over what did it: every recorded change, something unrecorded, the judge, other questions (mix), or nothing.

A cause says which slices it could have hit and when; `shifts` says how well each (slice, time) fits. Belief = prior times
fit, summed over slices and times. Nearness in time to the alert counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.incident.alert import Alert
from llm_monitoring.incident.mix import Mix, decompose
from llm_monitoring.incident.observations import Observations, observe
from llm_monitoring.incident.shifts import Shifts, shift_evidence
from llm_monitoring.incident.slices import ALL, Slice, candidates

if TYPE_CHECKING:
    from llm_monitoring.log import Log

PRIOR = {"recorded": 0.35, "silent": 0.10, "judge": 0.10, "none": 0.45}
REACH, STEP = pd.Timedelta("8D"), pd.Timedelta("3h")
OLD_CHANGE, ELSEWHERE = 0.15, 0.001  # weights of a change: older than the reach; of another feature
NAMED, UNALARMED = 0.8, 0.9
SLOW = {"rag_index": (pd.Timedelta("1D"), pd.Timedelta("3D"))}


@dataclass(frozen=True)
class Cause:
    """Something that may have done it; `at` is when it went live, `scope` the rows that it could reach."""

    name: str
    kind: str
    description: str
    at: pd.Timestamp | None = None
    declared: Slice | None = None
    weight: float = 1.0
    recorded: bool = False


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
        at, low, high (90 %), from the rows; `at` is the live time of a change that is named.
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


def inquire(log: Log, alert: Alert) -> Inquiry | None:
    """Weigh all causes of an alert; None where the metric has no single answers, or too few on either side.

    Parameters
    ----------
    log : Log
        Everything in it is used; cut it with `until` for the state of an earlier moment.
    alert : Alert
    """
    seen = observe(log, alert)
    if (
        seen is None
        or len(seen.frame) < 20
        or (seen.frame["timestamp"] < alert.fired_at - pd.Timedelta("1h")).sum() < 10
    ):
        return None
    slices = candidates(seen.frame, seen.columns, alert.feature_id)
    causes = _causes(log, alert, seen)
    times = _times(alert, seen, causes)
    ramps = _ramps(causes)
    shifts = shift_evidence(seen, slices, times, ramps)
    log_odds, by_slice = zip(*(_weigh(cause, seen, shifts, ramps) for cause in causes))
    belief = np.exp(np.array(log_odds) - logsumexp(log_odds))
    hit = np.array([p if cause.kind not in ("none", "judge") else 0 for cause, p in zip(causes, belief)])
    share = hit @ np.vstack(by_slice)
    share = share / share.sum() if share.sum() > 0 else np.full(len(slices), 1 / len(slices))
    chosen = slices[_most_overlap(seen, slices, share)]
    onset = _onset(seen, slices, share, shifts)
    best = causes[int(np.argmax(belief))]
    named = best.at if best.recorded and belief.max() >= 0.5 else None
    since = named if named is not None else onset["at"]
    if best.kind == "none" or since is None:
        since = alert.window_start if alert.window_start is not None else alert.fired_at
    mix = decompose(seen, since)
    causes, belief = _name_mix(causes, belief, mix)
    order = np.argsort(-belief, kind="stable")
    if named is not None and belief.max() >= NAMED:
        low, high = onset["low"], onset["high"]
        onset = {"at": named, "low": min(low, named), "high": max(high, named)} if low is not None else {"at": named}
    return Inquiry(seen, [causes[i] for i in order], belief[order], shifts, share, chosen, onset, since, mix)


def _causes(log: Log, alert: Alert, seen: Observations) -> list[Cause]:
    changes = log.changes[log.changes["timestamp"] <= alert.fired_at].sort_values(["timestamp", "change_id"])
    found = []
    for row in changes.to_dict("records"):
        age = alert.fired_at - row["timestamp"]
        declared = declared_scope(row, seen, log)
        reaches = (in_scope(declared, seen.frame) & whole(seen).mask(seen.frame)).any()
        weight = (1.0 if age <= REACH else OLD_CHANGE) if reaches else ELSEWHERE
        live = _live(row, declared, log, seen)
        found.append(Cause(row["change_id"], row["kind"], _text(row), live, declared, weight, recorded=True))
    reach = max(sum(cause.weight for cause in found), 1.0)
    found = [replace(cause, weight=cause.weight / reach) for cause in found]
    silent = Cause("silent", "silent", "something that nobody recorded")
    none = Cause("none", "none", "nothing changed; chance")
    judged = alert.metric.startswith("mean_") or alert.metric == "flagged_rate"
    judge = [Cause("judge", "judge", "the judge changed, not the answers")] if judged else []
    return [*found, silent, *judge, none]


def _text(row: dict) -> str:
    return str(row.get("description") or row["kind"])


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
        where.append((column, tuple(values)))
    return Slice(tuple(where)) if where else None


def in_scope(declared: Slice | None, frame: pd.DataFrame) -> np.ndarray:
    """True for the rows that a declared scope reaches; all rows where nothing was declared."""
    inside = np.ones(len(frame), bool)
    for column, values in () if declared is None else declared.where:
        inside &= frame[column].isin(list(values)).to_numpy()  # type: ignore[call-overload]
    return inside


def _live(row: dict, declared: Slice | None, log: Log, seen: Observations) -> pd.Timestamp:
    """When a change went live: the first answer of a version that first appears within a day of the logged time."""
    column = {"prompt": "prompt_version", "model_version": "model_id"}.get(row["kind"])
    requests = seen.requests
    if column is None or column not in requests:
        return row["timestamp"]
    inside = requests[in_scope(declared, requests)]
    first = inside.groupby(column)["timestamp"].min()
    if len(first) < 2:
        return row["timestamp"]
    near = first[(first - row["timestamp"]).abs() <= pd.Timedelta("1D")]
    near = near[near > inside["timestamp"].min() + pd.Timedelta("1h")]
    return min(near, key=lambda t: abs(t - row["timestamp"])) if len(near) else row["timestamp"]


def _times(alert: Alert, seen: Observations, causes: list[Cause]) -> pd.DatetimeIndex:
    end = alert.fired_at.floor(STEP)
    grid = pd.date_range(end - REACH, end, freq=STEP)
    live = pd.DatetimeIndex([cause.at for cause in causes if cause.at is not None], tz="UTC")
    times = grid.as_unit("us").union(live.as_unit("us")).unique()
    return times[times > seen.frame["timestamp"].min()]


def _ramps(causes: list[Cause]) -> list[tuple[pd.Timestamp, pd.Timedelta]]:
    """Slow starts of the kinds of change that can arrive over days: an index that is filled, a roll-out."""
    return [
        (cause.at, span) for cause in causes if cause.kind in SLOW and cause.at is not None for span in SLOW[cause.kind]
    ]


def _on_grid(times: pd.DatetimeIndex) -> np.ndarray:
    return np.asarray(times == times.floor(STEP))


def _weigh(cause: Cause, seen: Observations, shifts: Shifts, ramps: list) -> tuple[float, np.ndarray]:
    """Log (prior x fit) of a cause, and how its belief is shared over the slices."""
    n = len(shifts.slices)
    if cause.kind == "none":
        small = logsumexp(shifts.log_negligible) - np.log(shifts.log_negligible.size)
        return np.log(PRIOR["none"]) + np.logaddexp(0, small) - np.log(2), np.zeros(n)
    if cause.kind == "judge":
        return np.log(PRIOR["judge"]) + _over_grid(shifts)[0], np.zeros(n)
    if cause.kind == "silent":
        prior, fit = _slice_prior(shifts.slices, np.ones(n, bool)), _over_grid(shifts)
    else:
        inside = in_scope(cause.declared, seen.frame)
        allowed = np.array([not (s.mask(seen.frame) & ~inside).any() for s in shifts.slices])
        column = shifts.times.get_indexer(pd.DatetimeIndex([cause.at]))[0]
        if column < 0 or not allowed.any():
            return np.log(PRIOR["recorded"]) + np.log(cause.weight) - 20.0, np.zeros(n)
        slow = [k for k, (start, _) in enumerate(ramps) if cause.kind in SLOW and start == cause.at]
        fits = np.column_stack([shifts.log_evidence[:, column], shifts.log_ramps[:, slow]])
        prior, fit = _slice_prior(shifts.slices, allowed), logsumexp(fits, axis=1) - np.log(fits.shape[1])
    joint = np.log(np.maximum(prior, 1e-300)) + fit
    total = float(logsumexp(joint))
    share = PRIOR["silent"] if cause.kind == "silent" else PRIOR["recorded"] * cause.weight
    return np.log(share) + total, np.exp(joint - total)


def _over_grid(shifts: Shifts) -> np.ndarray:
    grid = shifts.log_evidence[:, _on_grid(shifts.times)]
    return logsumexp(grid, axis=1) - np.log(grid.shape[1])


def _slice_prior(slices: list[Slice], allowed: np.ndarray) -> np.ndarray:
    """Each kind of slice (columns named) the same, and within a kind each slice the same: the multiplicity."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for i in np.flatnonzero(allowed):
        kinds.setdefault(tuple(column for column, _ in slices[i].where), []).append(int(i))
    prior = np.zeros(len(slices))
    for members in kinds.values():
        prior[members] = 1 / len(kinds) / len(members)
    return prior


def _most_overlap(seen: Observations, slices: list[Slice], share: np.ndarray) -> int:
    masks = np.array([s.mask(seen.frame) for s in slices], dtype=np.float32)
    both = masks @ masks.T
    sizes = masks.sum(1)
    jaccard = both / (sizes[:, None] + sizes[None, :] - both)
    return int(np.argmax(jaccard @ share))


def _onset(seen: Observations, slices: list[Slice], share: np.ndarray, shifts: Shifts) -> dict:
    """Start of the shift with a 90 % interval, from the rows alone: a coarse grid, then a fine one where it matters."""
    top = np.argsort(-share, kind="stable")[:5]
    grid = _on_grid(shifts.times)
    times = shifts.times[grid]
    weight = _time_weight(shifts.log_evidence[top][:, grid], share[top])
    reach = np.flatnonzero(np.cumsum(weight) >= 0.01)[0], np.flatnonzero(np.cumsum(weight) >= 0.99)[0]
    start, end = times[max(reach[0] - 1, 0)], times[reach[1]] + STEP
    step = max(pd.Timedelta("10min"), ((end - start) / 120).ceil("10min"))
    fine = pd.date_range(start, end, freq=step).as_unit("us")
    closer = shift_evidence(seen, [slices[i] for i in top], fine)
    total = np.cumsum(_time_weight(closer.log_evidence, share[top]))
    low, at, high = (fine[min(int(np.searchsorted(total, q)), len(fine) - 1)] for q in (0.05, 0.5, 0.95))
    return {"at": at, "low": low - step, "high": high}


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
