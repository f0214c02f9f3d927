"""One group of answers before and since a moment: both levels, the change, and how it reads in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import EFFECTS, NEGLIGIBLE, SPREAD
from llm_monitoring.incident.inference.slices import Band, Slice

LEAST_TO_TELL = 20  # answers on either side below which nothing is said of a group
MOST_SIBLINGS = 50


def compare(
    seen: Observations, group: Slice, since: pd.Timestamp, looks: int = 1, until: pd.Timestamp | None = None
) -> dict[str, Any]:
    """Before and since of one slice, with 95 % intervals.

    Parameters
    ----------
    seen : Observations
    group : Slice
    since : Timestamp
        First moment of now.
    looks : int
        How many slices are looked at together: the verdict (not the interval) is held to 0.05 over all of them.
    until : Timestamp, optional
        The end of now: a fix.

    Returns
    -------
    dict
        where, label, verdict, before, before_low, before_high, after, after_low, after_high, change, low, high,
        n_before, n_after. The verdict is ``too few to tell`` below 20 answers on either side.
    """
    rows = seen.frame[seen.mask(group)]
    if until is not None:
        rows = rows[rows["timestamp"] < until]
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


def corrected_for_alert(seen: Observations, change: dict[str, Any]) -> dict[str, float | None]:
    """The change of what alerted, corrected for having been chosen because it is large.

    Posterior mean with 95 % interval under even odds of no harm (an effect too small to matter) and of a harm of one of three
    sizes, give or take a third: a change that is no larger than its error shrinks, a sure one stays.
    """
    raw, low, high = change["change"], change["low"], change["high"]
    if not all(x is not None and np.isfinite(x) for x in (raw, low, high)) or high <= low:
        return {"estimate": raw, "low": low, "high": high}
    unit = max(abs(change["before"] or 0.0), 1e-12) if seen.scale == "log" else seen.step
    d, v = seen.sign * raw / unit, ((high - low) / unit / 3.92) ** 2
    sizes = np.array(EFFECTS[seen.scale])
    centre, spread = np.append(0.0, sizes), np.append(NEGLIGIBLE[seen.scale], sizes * SPREAD) ** 2
    belief = np.append(0.5, np.full(len(sizes), 0.5 / len(sizes)))
    belief = belief * stats.norm.pdf(d, centre, np.sqrt(spread + v))
    if belief.sum() <= 0:
        return {"estimate": raw, "low": low, "high": high}
    mean, sd = _mixed(belief / belief.sum(), (centre * v + d * spread) / (v + spread), v * spread / (v + spread))
    ends = sorted(seen.sign * unit * (mean + side * 1.96 * sd) for side in (-1, 1))
    return {"estimate": seen.sign * unit * mean, "low": ends[0], "high": ends[1]}


def corrected_for_choice(
    seen: Observations, group: Slice, since: pd.Timestamp, until: pd.Timestamp | None = None
) -> dict[str, float] | None:
    """The change of a slice, corrected for having been chosen among its siblings (the winner's curse); None without siblings.

    The changes of the values of its last column are drawn from one normal whose spread is unknown (half-Cauchy): where the
    others did not differ, the one that stood out mostly did by chance, and is drawn towards them. Mean and 95 % interval.
    """
    own = _change_of(seen, group, since, until)
    siblings = [_change_of(seen, other, since, until) for other in _siblings(seen, group)]
    parts = [own, *(part for part in siblings if part is not None)] if own is not None else []
    if len(parts) < 2:
        return None
    d, v = np.array(parts).T
    usual = EFFECTS[seen.scale][0] * (seen.step if seen.scale == "score" else 1.0)
    grid = usual * np.geomspace(0.02, 40, 25)
    total = v[None, :] + grid[:, None] ** 2
    weight = 1 / total
    centre = (weight @ d) / weight.sum(1)
    fit = -0.5 * (np.log(total).sum(1) + np.log(weight.sum(1)) + (weight * (d - centre[:, None]) ** 2).sum(1))
    fit += np.log(grid / (1 + (grid / usual) ** 2))
    belief = np.exp(fit - fit.max())
    keep = grid**2 / total[:, 0]
    mean, sd = _mixed(
        belief / belief.sum(), centre + keep * (d[0] - centre), keep * v[0] + (1 - keep) ** 2 / weight.sum(1)
    )
    return {"change": mean, "low": mean - 1.96 * sd, "high": mean + 1.96 * sd}


def _mixed(weight: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    centre = float(weight @ mean)
    return centre, float(np.sqrt(weight @ (variance + (mean - centre) ** 2)))


def _change_of(seen: Observations, group: Slice, since, until) -> tuple[float, float] | None:
    """Change and squared standard error, where there are enough answers on both sides."""
    rows = seen.frame[seen.mask(group)]
    rows = rows if until is None else rows[rows["timestamp"] < until]
    late = rows["timestamp"] >= since
    if min(late.sum(), (~late).sum()) < LEAST_TO_TELL:
        return None
    change = seen.change(rows[~late], rows[late])
    se = (change.high - change.low) / 3.92
    return (change.estimate, se**2) if np.isfinite(se) and se > 0 else None


def _siblings(seen: Observations, group: Slice) -> list[Slice]:
    """The slices that differ in the value of the last column only; of a band the two sides of the rest."""
    if not group.where:
        return []
    *rest, (column, value) = group.where
    if isinstance(value, Band):
        others = [Band(None, value.low)] if value.low is not None else []
        others += [Band(value.high, None)] if value.high is not None else []
        return [Slice((*rest, (column, other))) for other in others]
    taken = value if isinstance(value, tuple) else (value,)
    inside = seen.frame[seen.mask(Slice(tuple(rest)))]
    values = inside[column].value_counts()
    return [Slice((*rest, (column, other))) for other in values.index[:MOST_SIBLINGS] if other not in taken]


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
