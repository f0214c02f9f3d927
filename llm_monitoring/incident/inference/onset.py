"""When it began: the start of the shift, over all causes, with an interval from the answers alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.incident.inference.branch_start import BranchStart
from llm_monitoring.incident.inference.causes import Cause
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import Shifts, shift_evidence
from llm_monitoring.incident.inference.weighing import STEP, on_grid


def onset_of(
    seen: Observations,
    causes: list[Cause],
    belief: np.ndarray,
    share: np.ndarray,
    shifts: Shifts,
    beside=None,
    start_of_branch: BranchStart | None = None,
) -> dict:
    """Start of the shift with a 90 % interval: a coarse grid, then a fine one where it matters.

    The interval is that of the rows alone, and of the requests where a branch of the service took more of them. The start is the median over the causes: a recorded change began when it went
    live, anything else at any time that the rows allow.
    """
    top = np.argsort(-share, kind="stable")[:5]
    grid = on_grid(shifts.times)
    times = shifts.times[grid]
    weight = _time_weight(shifts.log_evidence[top][:, grid], share[top])
    reach = np.flatnonzero(np.cumsum(weight) >= 0.01)[0], np.flatnonzero(np.cumsum(weight) >= 0.99)[0]
    start, end = times[max(reach[0] - 1, 0)], times[reach[1]] + STEP
    step = max(pd.Timedelta("10min"), ((end - start) / 120).ceil("10min"))
    fine = pd.date_range(start, end, freq=step).as_unit("us")
    closer = shift_evidence(seen, [shifts.slices[i] for i in top], fine, beside=beside)
    shares = 0.0 if start_of_branch is None else start_of_branch.around(fine, step / 2)[top]
    weight = _time_weight(closer.log_evidence + shares, share[top])
    low, high = (weighted_quantile(fine, weight, q) for q in (0.05, 0.95))
    recorded = [(cause.at, p) for cause, p in zip(causes, belief) if cause.recorded]
    other = sum(p for cause, p in zip(causes, belief) if cause.kind in ("silent", "judge"))
    live = pd.DatetimeIndex([at for at, _ in recorded], tz="UTC").as_unit("us")
    at = weighted_quantile(
        pd.DatetimeIndex(fine.append(live)), np.append(weight * max(other, 1e-9), [p for _, p in recorded]), 0.5
    )
    return {"at": at, "low": min(low - step, at), "high": max(high, at)}


def weighted_quantile(times: pd.DatetimeIndex, weight: np.ndarray, q: float) -> pd.Timestamp:
    """The time by which a share of the weight has come."""
    order = np.argsort(times.asi8, kind="stable")
    total = np.cumsum(weight[order])
    return times[order][min(int(np.searchsorted(total, q * total[-1])), len(times) - 1)]


def _time_weight(log_evidence: np.ndarray, share: np.ndarray) -> np.ndarray:
    joint = log_evidence + np.log(np.maximum(share, 1e-300))[:, None]
    weight = logsumexp(joint, axis=0)
    return np.exp(weight - logsumexp(weight))
