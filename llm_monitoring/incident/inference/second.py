"""Another shift beside the first: a fall on top of a fall, or a fix that cured a part. Fitted where the evidence asks for two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.incident.inference.causes import Cause, in_scope, whole
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import EFFECTS, Shifts, log_harm, shift_evidence
from llm_monitoring.incident.inference.slices import ALL, Slice
from llm_monitoring.incident.inference.weighing import HARM, on_grid

BELIEF = 0.1  # of another shift, either way, in any slice
MENDED = 0.3  # of one to the better in the slice of the first, after the alert: what an alert found is mended
RECORDED = HARM["recorded"] / (HARM["recorded"] + HARM["silent"])
ENOUGH, APART, LEAST_ROWS = 0.8, pd.Timedelta("12h"), 20


@dataclass(frozen=True, eq=False)
class Shift:
    """One shift as `isolate.shifts` tells it; `size` is on the model's scale, harm positive.

    `log_odds` are those of a second shift against none.
    """

    cause: str
    at: pd.Timestamp
    low: pd.Timestamp
    high: pd.Timestamp
    size: float
    dose: np.ndarray
    shape: str = "step"
    length_days: float | None = None
    log_odds: float = 0.0


def another_shift(
    seen: Observations, chosen: Slice, causes: list[Cause], first: np.ndarray, at: pd.Timestamp, times: pd.DatetimeIndex
) -> Shift | None:
    """A second shift, to the worse or the better, at least twelve hours from the first; None where one explains the rows.

    Parameters
    ----------
    seen : Observations
    chosen : Slice
        The slice of the first.
    causes : list of Cause
    first : ndarray
        What each row saw of the first shift.
    at : Timestamp
        When the first began.
    times : DatetimeIndex
        When the second may have begun.
    """
    times = times[(np.abs((times - at).to_numpy()) >= APART.to_timedelta64()) & _enough(seen, times)]
    if not len(times):
        return None
    slices = list(dict.fromkeys([chosen, whole(seen), ALL]))
    shifts = shift_evidence(seen, slices, times, beside=first)
    better = log_harm(-shifts.size, shifts.variance, EFFECTS[seen.scale])
    both = np.logaddexp(shifts.log_evidence, better) - np.log(2)
    live = [cause for cause in causes if cause.recorded and cause.at in times and _reached(cause, seen, slices)]
    mended = np.where(times > max(at, seen.alert.fired_at), better[slices.index(chosen)], -np.inf)
    odds = {cause.name: _of_cause(cause, seen, shifts, both, mended, live) for cause in live}
    odds["silent"] = np.log(1 - RECORDED) + _at_some_time(both[:, on_grid(times)], mended[on_grid(times)])
    total = logsumexp(list(odds.values())) - np.log(1 - BELIEF - MENDED)
    if total < np.log(ENOUGH / (1 - ENOUGH)):
        return None
    name = max(odds, key=lambda cause: odds[cause])
    known = {cause.name: cause.at for cause in live}
    weight = np.exp(logsumexp(both, axis=0) - logsumexp(both))
    low, high = (times[min(int(np.searchsorted(np.cumsum(weight), q)), len(times) - 1)] for q in (0.05, 0.95))
    k = times.get_indexer(pd.DatetimeIndex([known[name]]))[0] if name in known else int(np.argmax(weight))
    i = int(np.argmax(both[:, k]))
    dose = (seen.mask(slices[i]) & (seen.frame["timestamp"] >= times[k]).to_numpy()).astype(float)
    low, high = min(low, times[k]), max(high, times[k])
    return Shift(name, times[k], low, high, float(shifts.size[i, k]), dose, log_odds=float(total))


def _enough(seen: Observations, times: pd.DatetimeIndex) -> np.ndarray:
    own = seen.frame["timestamp"][seen.mask(whole(seen))]
    before = own.searchsorted(times)
    return (before >= LEAST_ROWS) & (len(own) - before >= LEAST_ROWS)


def _reached(cause: Cause, seen: Observations, slices: list[Slice]) -> list[int]:
    """The slices that a recorded change could reach, most of their rows."""
    inside = in_scope(cause.declared, seen.frame)
    masks = [seen.mask(group) for group in slices]
    return [i for i, mask in enumerate(masks) if (mask & inside).sum() >= 0.5 * mask.sum()]


def _of_cause(
    cause: Cause, seen: Observations, shifts: Shifts, both: np.ndarray, mended: np.ndarray, live: list[Cause]
) -> float:
    """Log (prior x evidence) of a recorded change as the cause of the second shift, in the slices that it could reach."""
    reached = _reached(cause, seen, shifts.slices)
    k = _place(shifts.times, cause)
    may_mend = [other for other in live if np.isfinite(mended[_place(shifts.times, other)])]
    another = np.log(BELIEF) + logsumexp(both[reached, k]) - np.log(len(shifts.slices) * len(live))
    mend = np.log(MENDED) + mended[k] - np.log(max(len(may_mend), 1)) if 0 in reached else -np.inf
    return float(np.log(RECORDED) + np.logaddexp(another, mend))


def _at_some_time(both: np.ndarray, mended: np.ndarray) -> float:
    """The same of what nobody recorded, at any of some times."""
    later = np.isfinite(mended)
    another = np.log(BELIEF) + logsumexp(both) - np.log(both.size) if both.size else -np.inf
    mend = np.log(MENDED) + logsumexp(mended[later]) - np.log(later.sum()) if later.any() else -np.inf
    return float(np.logaddexp(another, mend))


def _place(times: pd.DatetimeIndex, cause: Cause) -> int:
    return int(times.get_indexer(pd.DatetimeIndex([cause.at]))[0])
