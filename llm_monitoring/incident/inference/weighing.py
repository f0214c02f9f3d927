"""How well each cause fits, with each slice: prior x evidence. The priors are here, and nowhere else.

Nearness in time to the alert counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.incident.inference.causes import LATER, OF_ANSWERS, REACH, Cause, reach
from llm_monitoring.incident.inference.observations import Observations, leaves_of
from llm_monitoring.incident.inference.shifts import Shifts
from llm_monitoring.incident.inference.slices import Slice

HARM = {"recorded": 0.78, "silent": 0.22}  # of incidents
JUDGE = 0.3  # judges that move for each incident: a model and a prompt of its own, with a provider of its own
#: Belief that a change hit all that it reached: a new model all of its answers, a prompt mostly a part.
ALIKE, MODEL_ALIKE, PROMPT_ALIKE = 0.8, 0.9, 0.2
ASKED = 0.8  # belief that the part which a prompt or an index hit is a kind of question: they act through what is asked
PROVIDER = 0.8  # of what nobody recorded: the model of a provider
PAIRED = 0.2  # of the rest: a combination of two columns beside a value
STEP = pd.Timedelta("3h")
RAMPS = 0.3  # of what nobody recorded comes bit by bit
PRESUMED = 1.0  # changes that nobody wrote down, in the days that a cause lies in and in as many others
WIDE = 3  # kinds of slice with as many columns that share out belief between them; more columns make no slice narrower


def prior(seen: Observations, causes: list[Cause], incidents_per_month: float) -> dict[str, float]:
    """Prior of each kind of cause: neither an incident nor a judge that moved in the month before the alert, or one of these.

    Their rates over a month, however long the log is, with the whole likelihood of the rows: nothing is divided by the chance that
    the alert fired, so the alert counts once. A judge that moves is no incident: it comes on top of their rate. Where more was changed
    in the days before the alert than usually, more may have gone wrong. What recorded changes could have done where there are
    none in reach goes to what nobody recorded.
    """
    judges = JUDGE if seen.alert.judged else 0.0
    none = float(np.exp(-incidents_per_month * (1 + judges)))
    harm = (1 - none) / (1 + judges)
    changes = [cause for cause in causes if cause.recorded and cause.kind != "judge"]
    reached = min(sum(cause.weight for cause in changes), 1.0)
    recorded = HARM["recorded"] * _busy(changes, seen)
    silent = HARM["silent"] + recorded * (1 - reached)
    return {"none": none, "recorded": recorded * harm, "silent": silent * harm, "judge": judges * harm}


def _busy(changes: list[Cause], seen: Observations) -> float:
    """How much was changed in the eight days before the alert, of what could have done it, beside what is usual in as many days.

    An incident comes with a change: a log in which little was changed lately has had less to break.
    """
    fired = seen.alert.fired_at
    times = [(cause.at, cause.usual) for cause in changes if cause.at is not None and cause.at <= fired]
    began = min([seen.frame["timestamp"].min(), *(at for at, _ in times)])
    lately = sum(usual for at, usual in times if fired - at <= REACH)
    usually = sum(usual for _, usual in times) * min(REACH / (fired - began), 1.0)
    return (lately + PRESUMED) / (usually + PRESUMED)


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
        leaf, values = leaves_of(seen)
        return cls(leaf, np.bincount(leaf, minlength=len(values)), np.array([found.mask(values) for found in slices]))

    def reached(self, inside: np.ndarray) -> tuple[np.ndarray, int | None]:
        """The slices whose rows are all inside a reach, and the one that is all of it."""
        outside = np.bincount(self.leaf, ~inside, len(self.rows))
        allowed = self.masks @ outside == 0
        whole = np.flatnonzero(allowed & (self.masks @ self.rows == inside.sum()))
        return allowed, int(whole[0]) if len(whole) else None


def weigh(
    cause: Cause,
    seen: Observations,
    shifts: Shifts,
    grouping: Grouping,
    columns: np.ndarray,
    belief: dict[str, float],
    question: tuple[str, ...] = (),
) -> np.ndarray:
    """Log (prior x fit) of a cause with each slice.

    `columns` are its own of `log_arrivals`, `belief` is the prior, `question` the slice columns of what users bring.
    """
    n = len(shifts.slices)
    arrived = shifts.log_arrivals[:, columns]
    if cause.kind == "none":
        small = logsumexp(shifts.log_negligible) - np.log(shifts.log_negligible.size)
        return np.full(n, np.log(belief["none"] / n) + np.logaddexp(0, small) - np.log(2))
    if cause.kind == "judge" and not cause.recorded:
        of_it = [(_only(n, 0), arrived[:, [k]]) for k in range(len(columns))]
        return _log(belief["judge"] * cause.weight) + _at_some_time(shifts, _only(n, 0), of_it, seen.alert.fired_at)
    if cause.kind == "silent":
        prior = _silent_prior(shifts.slices)
        sloping = _log(prior) + _log_mean(shifts.log_ramps)
        traced = [
            (_slice_prior(shifts.slices, *grouping.reached(trace.reach)), arrived[:, [k]])
            for k, trace in enumerate(cause.traces)
        ]
        stepping = _at_some_time(shifts, prior, traced, seen.alert.fired_at)
        return np.log(belief["silent"]) + np.logaddexp(np.log(1 - RAMPS) + stepping, np.log(RAMPS) + sloping)
    allowed, all_of_it = grouping.reached(reach(cause, seen))
    step = shifts.times.get_indexer(pd.DatetimeIndex([cause.at]))[0]
    share = _log(belief["judge" if cause.kind == "judge" else "recorded"] * cause.weight)
    if not allowed.any() or (step < 0 and not len(columns)):
        return np.full(n, share - np.log(n) - 20.0)
    at_once = shifts.log_evidence[:, [step]] if step >= 0 and cause.until is None else arrived[:, :0]
    ways = np.column_stack([at_once, arrived])
    if cause.kind == "judge":
        return share + _log(_only(n, all_of_it or 0)) + _log_mean(ways)
    known = cause.kind == "model_version" or cause.declared is not None
    of_question = question if cause.declared is None else tuple(name for name in question if name != "feature_id")
    through = of_question if cause.kind in OF_ANSWERS else ()
    alike = {"prompt": PROMPT_ALIKE, "model_version": MODEL_ALIKE}.get(cause.kind, ALIKE)
    prior = _slice_prior(shifts.slices, allowed, all_of_it if known else None, alike, through)
    return share + _log(prior) + _log_mean(ways)


def _at_some_time(
    shifts: Shifts, prior: np.ndarray, traced: list[tuple[np.ndarray, np.ndarray]], fired_at: pd.Timestamp
) -> np.ndarray:
    """Any time of the grid, seldom after the alert; where versions appeared that nobody recorded, half is for those."""
    grid = _log(prior) + logsumexp(shifts.log_evidence + log_start(shifts.times, fired_at), axis=1)
    if not traced:
        return grid
    seen = np.column_stack([_log(where) + fit.ravel() for where, fit in traced])
    return np.logaddexp(grid, _log_mean(seen)) - np.log(2)


def slides(shifts: Shifts, i: int, fired_at: pd.Timestamp) -> float:
    """Log odds that what nobody recorded came bit by bit, not at once, in one slice."""
    at_once = logsumexp(shifts.log_evidence[i] + log_start(shifts.times, fired_at))
    return float(np.log(RAMPS / (1 - RAMPS)) + _log_mean(shifts.log_ramps[[i]])[0] - at_once)


def log_start(times: pd.DatetimeIndex, fired_at: pd.Timestamp) -> np.ndarray:
    """Log prior of a start at each time of the grid, the same for all up to the alert."""
    weight = on_grid(times) * np.where(times > fired_at, LATER, 1.0)
    return _log(weight / weight.sum())


def on_grid(times: pd.DatetimeIndex) -> np.ndarray:
    """Which times are those of the coarse grid, the others being live times of changes."""
    return np.asarray(times == times.floor(STEP))


def _silent_prior(slices: list[Slice]) -> np.ndarray:
    """What changes without a record is mostly the model of a provider: one of several, or the only one.

    The rest lies outside of what people here change (an index, a pool, the data of a tenant), and hits a value of a column, or all;
    a combination of two is what a prompt or a setting of our own brings about.
    """
    anything = _slice_prior(slices, np.ones(len(slices), bool), paired=PAIRED)
    models = np.array([[column for column, _ in found.where] == ["model"] for found in slices])
    provider = models / models.sum() if models.any() else _only(len(slices), 0)
    return (1 - PROVIDER) * anything + PROVIDER * provider


def _slice_prior(
    slices: list[Slice],
    allowed: np.ndarray,
    all_of_it: int | None = None,
    alike: float = ALIKE,
    through: tuple[str, ...] = (),
    paired: float = 1.0,
) -> np.ndarray:
    """Each kind of slice (columns named) the same, and within a kind each slice the same: the multiplicity.

    Of more than three kinds with as many columns each counts for less: a log that has more columns to slice by would else leave
    next to nothing to all answers, and a judge, which moves them all, would win whatever all of them did.

    A combination of two columns counts for `paired` as much as a value of one.

    Where a change's reach is known and is itself a slice, a part of the belief is that it hit all that it reached alike; of
    the rest, or of all where nobody wrote its reach down, most goes to the kinds that name a column `through` which it acts.
    """
    parts = np.flatnonzero(allowed)
    if all_of_it is not None and len(parts) > 1:
        parts = parts[parts != all_of_it]
    kinds: dict[tuple[str, ...], list[int]] = {}
    for i in parts:
        kinds.setdefault(tuple(column for column, _ in slices[i].where), []).append(int(i))
    alike_wide = Counter(map(len, kinds))
    share = {kind: min(WIDE / alike_wide[len(kind)], 1.0) * (paired if len(kind) > 1 else 1.0) for kind in kinds}
    named = {kind for kind in kinds if set(kind) & set(through)}
    if 0 < len(named) < len(kinds):
        share = _shared(share, named, ASKED) | _shared(share, kinds.keys() - named, 1 - ASKED)
    else:
        share = _shared(share, kinds.keys(), 1.0)
    prior = np.zeros(len(slices))
    for kind, members in kinds.items():
        prior[members] = share[kind] / len(members)
    if all_of_it is None:
        return prior
    return (1 - alike) * prior + alike * _only(len(slices), all_of_it)


def _shared(weight: dict, kinds: Iterable, total: float) -> dict:
    """A total, shared out among some kinds by their weight."""
    whole = sum(weight[kind] for kind in kinds)
    return {kind: total * weight[kind] / whole for kind in kinds}


def _log(share: np.ndarray | float) -> np.ndarray:
    return np.log(np.maximum(share, 1e-300))


def _log_mean(columns: np.ndarray) -> np.ndarray:
    """Log of the mean over the columns; that of none is 0: a log too short for a slide has none."""
    if not columns.shape[1]:
        return np.full(len(columns), -np.inf)
    return logsumexp(columns, axis=1) - np.log(columns.shape[1])


def _only(n: int, i: int) -> np.ndarray:
    return np.eye(n)[i]
