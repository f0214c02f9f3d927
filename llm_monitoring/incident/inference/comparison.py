"""One group of answers before and since a moment: both levels, the change, and how it reads in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.slices import Slice

LEAST_TO_TELL = 20  # answers on either side below which nothing is said of a group


def compare(seen: Observations, group: Slice, since: pd.Timestamp, looks: int = 1) -> dict[str, Any]:
    """Before and since of one slice, with 95 % intervals.

    Parameters
    ----------
    seen : Observations
    group : Slice
    since : Timestamp
        First moment of now.
    looks : int
        How many slices are looked at together: the verdict (not the interval) is held to 0.05 over all of them.

    Returns
    -------
    dict
        where, label, verdict, before, before_low, before_high, after, after_low, after_high, change, low, high,
        n_before, n_after. The verdict is ``too few to tell`` below 20 answers on either side.
    """
    rows = seen.frame[group.mask(seen.frame)]
    late = rows["timestamp"] >= since
    before, after = rows[~late], rows[late]
    base, now, change = seen.level(before), seen.level(after), seen.change(before, after)
    return {
        "where": group.to_dict(),
        "label": group.label,
        "verdict": _reading(seen, change, min(len(before), len(after)), looks),
        "before": base.estimate,
        "before_low": base.low,
        "before_high": base.high,
        "after": now.estimate,
        "after_low": now.low,
        "after_high": now.high,
        "change": change.estimate,
        "low": change.low,
        "high": change.high,
        "n_before": len(before),
        "n_after": len(after),
    }


def _reading(seen: Observations, change, fewest: int, looks: int) -> str:
    if fewest < LEAST_TO_TELL:
        return "too few to tell"
    half = (change.high - change.low) / 2
    if not np.isfinite(half):
        return "no change seen"
    needed = half * stats.norm.ppf(1 - 0.025 / looks) / stats.norm.ppf(0.975)
    if abs(change.estimate) <= needed or change.estimate == 0:
        return "no change seen"
    return "worse" if _is_harm(seen, change.estimate) else "better"


def _is_harm(seen: Observations, change: float) -> bool:
    """A change is harm by what the metric means, not by the way this alert happened to go."""
    harmful_sign = seen.sign if seen.alert.harmful else -seen.sign
    return bool(np.sign(change) == harmful_sign)
