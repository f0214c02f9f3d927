"""How well each cause fits, with each slice: prior x evidence. The priors are here, and nowhere else.

Nearness in time to the alert counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.incident.inference.causes import Cause, reach
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.shifts import Shifts
from llm_monitoring.incident.inference.slices import Slice, leaves

PRIOR = {"recorded": 0.35, "silent": 0.08, "judge": 0.07, "none": 0.50}
STEP = pd.Timedelta("3h")


@dataclass(frozen=True, eq=False)
class Grouping:
    """The slices as sets of finest groups, so that nothing is as long as the log.

    Attributes
    ----------
    leaf : ndarray
        The finest group of each row.
    rows : ndarray
        Rows of each group.
    masks : ndarray of bool, slices x groups
    """

    leaf: np.ndarray
    rows: np.ndarray
    masks: np.ndarray

    @classmethod
    def of(cls, seen: Observations, slices: list[Slice]) -> Grouping:
        """The groups of the rows of a metric."""
        leaf, values = leaves(seen.frame, seen.columns)
        return cls(leaf, np.bincount(leaf, minlength=len(values)), np.array([found.mask(values) for found in slices]))

    def reached(self, inside: np.ndarray) -> tuple[np.ndarray, int | None]:
        """The slices whose rows are all inside a reach, and the one that is all of it."""
        outside = np.bincount(self.leaf, ~inside, len(self.rows))
        allowed = self.masks @ outside == 0
        whole = np.flatnonzero(allowed & (self.masks @ self.rows == inside.sum()))
        return allowed, int(whole[0]) if len(whole) else None


def weigh(cause: Cause, seen: Observations, shifts: Shifts, grouping: Grouping, columns: np.ndarray) -> np.ndarray:
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
            (_slice_prior(shifts.slices, *grouping.reached(trace.reach)), arrived[:, [k]])
            for k, trace in enumerate(cause.traces)
        ]
        return np.log(PRIOR["silent"]) + _at_some_time(shifts, _silent_prior(shifts.slices), traced)
    allowed, all_of_it = grouping.reached(reach(cause, seen))
    step = shifts.times.get_indexer(pd.DatetimeIndex([cause.at]))[0]
    if not allowed.any() or (step < 0 and not len(columns)):
        return np.full(n, np.log(PRIOR["recorded"] * cause.weight / n) - 20.0)
    at_once = (
        shifts.log_evidence[:, [step]] if step >= 0 and not cause.traces and cause.until is None else arrived[:, :0]
    )
    ways = np.column_stack([at_once, arrived])
    prior = _slice_prior(shifts.slices, allowed, all_of_it if cause.kind == "model_version" else None)
    return np.log(PRIOR["recorded"] * cause.weight) + _log(prior) + _log_mean(ways)


def _at_some_time(shifts: Shifts, prior: np.ndarray, traced: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Any time of the grid; where versions appeared that nobody recorded, half of the belief is for those."""
    grid = _log(prior) + _log_mean(shifts.log_evidence[:, on_grid(shifts.times)])
    if not traced:
        return grid
    seen = np.column_stack([_log(where) + fit.ravel() for where, fit in traced])
    return np.logaddexp(grid, _log_mean(seen)) - np.log(2)


def on_grid(times: pd.DatetimeIndex) -> np.ndarray:
    """Which times are those of the coarse grid, the others being live times of changes."""
    return np.asarray(times == times.floor(STEP))


def _silent_prior(slices: list[Slice]) -> np.ndarray:
    """What changes without a record is in half of the cases the model of a provider: one of several, or the only one."""
    anything = _slice_prior(slices, np.ones(len(slices), bool))
    models = np.array([[column for column, _ in found.where] == ["model"] for found in slices])
    provider = models / models.sum() if models.any() else _only(len(slices), 0)
    return (anything + provider) / 2


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


def _log(share: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(share, 1e-300))


def _log_mean(columns: np.ndarray) -> np.ndarray:
    return logsumexp(columns, axis=1) - np.log(columns.shape[1])


def _only(n: int, i: int) -> np.ndarray:
    return np.eye(n)[i]
