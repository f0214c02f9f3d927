"""When and where a branch of the service began to take more of the traffic: all requests tell it, judged or not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import betaln

from llm_monitoring.incident.inference.causes import REACH
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.roles import Rerouted
from llm_monitoring.incident.inference.shifts import Shifts
from llm_monitoring.incident.inference.slices import Slice, counts, feature_slice, leaves
from llm_monitoring.incident.inference.weighing import STEP

BIN = pd.Timedelta("10min")
NEAR = STEP / 2  # of the moment that was recorded or that is tried, within which it took effect
LEAST = np.log(0.01)  # the record is wrong, or the traffic moved for a reason of its own


@dataclass(frozen=True, eq=False)
class BranchStart:
    """How likely the share of a branch is to have moved in each slice (rows) at each of some times, ten minutes apart (columns).

    `weight` is 1 on average over the times in the slice that fits best; `shares` are the branch's parts of the requests before and
    since the likeliest time.
    """

    times: pd.DatetimeIndex
    weight: np.ndarray
    shares: tuple[float, float]

    def log_odds(self, low: pd.DatetimeIndex, high: pd.DatetimeIndex) -> np.ndarray:
        """For each slice and period: log odds of a start within it, against one at any time."""
        first, last = self.times.searchsorted(low), self.times.searchsorted(high, side="right")  # type: ignore[call-overload]
        total = np.cumsum(np.insert(self.weight, 0, 0.0, axis=1), axis=1)
        mass = (total[:, last] - total[:, first]) / np.maximum(last - first, 1)
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(mass), LEAST)

    def around(self, times: pd.DatetimeIndex, within: pd.Timedelta) -> np.ndarray:
        """`log_odds` of a start at most so far from each time."""
        return self.log_odds(times - within, times + within)

    def heard(self, shifts: Shifts, seen: Observations, doses: list[np.ndarray]) -> Shifts:
        """The evidence of steps and arrivals, with what the shares say of when each began, and where."""
        moments = pd.DatetimeIndex(seen.frame["timestamp"])
        arrived = [self.log_odds(low - NEAR, high + NEAR) for low, high in (_span(moments, dose) for dose in doses)]
        return replace(
            shifts,
            log_evidence=shifts.log_evidence + self.around(shifts.times, NEAR),
            log_arrivals=shifts.log_arrivals + np.hstack([np.zeros((len(shifts.slices), 0)), *arrived]),
        )


def branch_start(seen: Observations, branch: Rerouted, slices: list[Slice]) -> BranchStart:
    """One step in the share of the branch among the feature's requests of a slice, at any time of the eight days before the alert.

    Binomial counts with Jeffreys priors for the levels: two within the slice, one beside it. Where the share varies from hour to hour
    or day to day by more than chance around its levels, the likelihood counts for as much less (quasi-likelihood, the larger of both
    dispersions).
    """
    feature = feature_slice(seen.alert.feature_id)
    rows = seen.requests[feature.mask(seen.requests)] if seen.source is None else seen.source.every("10min", feature)
    leaf, values = leaves(rows, seen.columns)
    at = pd.DatetimeIndex(rows["timestamp"]).floor(BIN)
    bins = pd.date_range(at.min(), at.max(), freq=BIN)
    asked = counts(rows)
    taken = asked * (rows[branch.column] == branch.value).to_numpy(bool, na_value=False)
    place = leaf * len(bins) + bins.get_indexer(at)
    k, n = (np.bincount(place, part, len(values) * len(bins)).reshape(len(values), -1) for part in (taken, asked))
    tried = (bins > bins[0]) & (bins >= seen.alert.fired_at - REACH) & (bins <= seen.alert.fired_at)
    times, first = bins[tried], int(np.argmax(tried))
    inside = np.array([found.mask(values) for found in slices])
    within = [np.cumsum(inside @ part, axis=1) for part in (k, n)]
    before = [part[:, first - 1 : first - 1 + len(times)] for part in within]
    whole = [part[:, -1:] for part in within]
    beside = [part.sum() - own for part, own in zip((k, n), whole)]
    fit = _levels(*before) + _levels(*(own - part for own, part in zip(whole, before))) + _levels(*beside)
    best = times[int(np.argmax(fit.max(axis=0)))]
    both = pd.DataFrame({"k": k.sum(axis=0), "n": n.sum(axis=0)}, index=bins)
    fit = fit / _dispersion(both, best)
    then, now = (float(part["k"].sum() / max(part["n"].sum(), 1)) for part in (both[bins < best], both[bins >= best]))
    weight = np.exp(fit - fit.max())
    return BranchStart(times, weight / weight.mean(axis=1).max(), (then, now))


def _levels(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Log marginal likelihood of counts that share a level."""
    return betaln(k + 0.5, n - k + 0.5)


def _dispersion(both: pd.DataFrame, start: pd.Timestamp) -> float:
    """How much more the share varies around its levels before and since a start than chance allows, at least 1."""
    at, found = pd.DatetimeIndex(both.index), [1.0]
    for width in ("1h", "1D"):
        bins = both.groupby([at >= start, at.floor(width)]).sum()
        bins = bins[bins["n"] > 0]
        level = bins.groupby(level=0).transform("sum")
        p = level["k"] / level["n"]
        varies = (p > 0) & (p < 1)
        off = ((bins["k"] - bins["n"] * p) ** 2 / (bins["n"] * p * (1 - p)))[varies]
        found.append(float(off.sum() / max(len(off) - 2, 1)))
    return max(found)


def _span(moments: pd.DatetimeIndex, dose: np.ndarray) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """When something began to arrive and when all of it had, as rows saw it."""
    begun, sloping = moments[dose > 0], moments[(dose > 0) & (dose < 1)]
    begin = begun[:1] if len(begun) else moments[-1:]
    return begin, sloping[-1:] if len(sloping) else begin
