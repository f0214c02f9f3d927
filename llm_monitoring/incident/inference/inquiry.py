"""Belief over what did it: what the rows, the versions and other witnesses say of one alert, shared by all stages.

Belief = prior x evidence, summed over the slices that a cause can have hit and the times at which it can have begun.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.plan import SlicesPlan, read_plan
from llm_monitoring.incident.inference.causes import REACH, Cause, arrivals, possible_causes
from llm_monitoring.incident.inference.finer import Finer, find_finer
from llm_monitoring.incident.inference.mix import Mix, decompose
from llm_monitoring.incident.inference.observations import Observations, observe
from llm_monitoring.incident.inference.onset import onset_of
from llm_monitoring.incident.inference.reviewed import log_judge_moved
from llm_monitoring.incident.inference.roles import Rerouted, question_columns, rerouted
from llm_monitoring.incident.inference.shifts import Shifts, shift_evidence
from llm_monitoring.incident.inference.slices import Slice, candidates
from llm_monitoring.incident.inference.weighing import PRIOR, STEP, Grouping, weigh
from llm_monitoring.incident.inference.witnesses import MOST, Testimony, probes, users

if TYPE_CHECKING:
    from llm_monitoring.log import Log

NAMED, UNALARMED = 0.8, 0.9
_KNOWN: WeakKeyDictionary[Log, dict[tuple[Alert, str], Inquiry | None]] = WeakKeyDictionary()


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
    finer : Finer
        What was searched beyond the short columns; where it found a narrower slice, `slice` is that.
    branch : Rerouted or None
        More traffic down a branch that answers worse: a column of the service, or one that nobody sorted.
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
    finer: Finer
    branch: Rerouted | None = None

    def chance_of(self, *kinds: str) -> float:
        """Probability of the causes of these kinds together."""
        return float(sum(p for cause, p in zip(self.causes, self.probability) if cause.kind in kinds))


def inquire(log: Log, alert: Alert, reviews: Any = None, plan: Any = None) -> Inquiry | None:
    """Weigh all causes of an alert; None where the metric has no single answers, or too few on either side.

    Parameters
    ----------
    log : Log
        Everything in it is used; cut it with `until` for the state of an earlier moment.
    alert : Alert
    reviews : DataFrame or path, optional
        Verdicts of people; default the log's own.
    plan : Plan, dict or path, optional
        Its [slices] say what each column is of.

    Notes
    -----
    The stages of one incident ask the same of the same log: the answer is kept for as long as the log is.
    """
    roles = read_plan(plan).slices
    if reviews is not None and not _are_of(log, reviews):
        return _inquire(log, alert, reviews, roles)
    known = _KNOWN.setdefault(log, {})
    key = (alert, roles.model_dump_json())
    if key not in known:
        known[key] = _inquire(log, alert, None, roles)
    return known[key]


def _are_of(log: Log, reviews: Any) -> bool:
    """Whether verdicts that are handed over are those that the log holds anyway."""
    return isinstance(reviews, pd.DataFrame) and (reviews is log.reviews or reviews.equals(log.reviews))


def _inquire(log: Log, alert: Alert, reviews: Any, roles: SlicesPlan) -> Inquiry | None:
    seen = observe(log, alert)
    if (
        seen is None
        or len(seen.frame) < 20
        or (seen.frame["timestamp"] < alert.fired_at - pd.Timedelta("1h")).sum() < 10
    ):
        return None
    moved = rerouted(seen, roles.question, roles.service)
    away = {one.column for one in moved}
    seen = replace(seen, columns=tuple(name for name in seen.columns if name not in away))
    causes = possible_causes(log, alert, seen)
    declared = [cause.declared for cause in causes if cause.declared is not None]
    slices = candidates(seen.frame, seen.columns, alert.feature_id, declared)
    grouping = Grouping.of(seen, slices)
    ways = [arrivals(cause, seen) for cause in causes]
    columns = np.split(np.arange(sum(map(len, ways))), np.cumsum([len(way) for way in ways])[:-1])
    shifts = shift_evidence(seen, slices, _times(alert, seen, causes), [dose for way in ways for dose in way])
    fits = [weigh(cause, seen, shifts, grouping, k) for cause, k in zip(causes, columns)]
    belief, share, chosen, onset, since = _conclude(causes, fits, seen, shifts, grouping)
    told = _testimonies(log, seen, causes, slices, chosen, since, reviews)
    if moved:
        _against_the_judge(causes, told, moved[0], len(slices))
    if any(len(t) for t in told):
        fits = [fit + sum(odds for odds, _ in t) for fit, t in zip(fits, told)]
        causes = [replace(cause, testimony=[words for _, words in t]) for cause, t in zip(causes, told)]
        belief, share, chosen, onset, since = _conclude(causes, fits, seen, shifts, grouping)
    mix = decompose(seen, since, question_columns(seen, roles.question, roles.service))
    causes, belief = _name_mix(causes, belief, mix)
    branch = moved[0] if moved else None
    if branch is not None and not branch.sorted:
        belief = _half_to_mix(causes, belief)
    order = np.argsort(-belief, kind="stable")
    causes, belief = [causes[i] for i in order], belief[order]
    seen, finer = find_finer(seen, chosen, since)
    if finer.slice is not None and branch is None:
        chosen = finer.slice
    return Inquiry(seen, causes, belief, shifts, share, chosen, onset, since, mix, finer, branch)


def _against_the_judge(causes: list[Cause], told: list[list], branch: Rerouted, slices: int) -> None:
    """A judge that changed would have moved the answers within the branch and beside it; they hold their level."""
    for cause, heard in zip(causes, told):
        if cause.kind == "judge":
            words = f"With {branch.name} and without it answers hold their level: a judge that changed would have moved both."
            heard.append((np.full(slices, -MOST), words))


def _half_to_mix(causes: list[Cause], belief: np.ndarray) -> np.ndarray:
    """Half of what speaks for harm goes to the mix: nobody knows whether the column that moved is of the question."""
    harm = np.array([cause.kind not in ("none", "judge", "mix") for cause in causes])
    mix = np.array([cause.kind == "mix" for cause in causes])
    return np.where(harm, belief / 2, belief + mix * belief[harm].sum() / 2)


def _conclude(causes: list[Cause], fits: list[np.ndarray], seen: Observations, shifts: Shifts, grouping: Grouping):
    """Belief in each cause and slice, the slice that was hit, the start, and where before ends and now begins."""
    belief, share = _believe(causes, fits)
    chosen = shifts.slices[_most_overlap(grouping, share)]
    onset = onset_of(seen, causes, belief, share, shifts)
    best = causes[int(np.argmax(belief))]
    since = best.at if best.recorded and belief.max() >= 0.5 else onset["at"]
    if best.kind == "none" or since is None:
        since = seen.alert.window_start if seen.alert.window_start is not None else seen.alert.fired_at
    return belief, share, chosen, onset, since


def _testimonies(log: Log, seen: Observations, causes, slices, chosen: Slice, since, reviews) -> list[list]:
    """For each cause what other witnesses say of it: log odds for each slice, and a sentence."""
    n, judged = len(slices), seen.alert.judged
    people = users(log, seen, chosen, since) if judged and seen.alert.harmful else Testimony()
    moved = float(np.clip(log_judge_moved(log, since, reviews), -MOST, MOST)) if judged else 0.0
    only_model = [i for i, found in enumerate(slices) if {column for column, _ in found.where} <= {"model"}]
    found: list[list] = [[] for _ in causes]
    for cause, told in zip(causes, found):
        if people.told and cause.kind not in ("none", "judge"):
            told.append((np.full(n, people.log_odds), people.told))
        if cause.kind == "judge" and moved:
            told.append((np.full(n, moved), _of_people(moved)))
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


def _of_people(moved: float) -> str:
    side = "for" if moved > 0 else "against"
    return (
        "What people find of the scores that they read, beside what they found of the same scores before, speaks "
        f"{np.exp(abs(moved)):.1f} to 1 {side} a judge that moved."
    )


def _believe(causes: list[Cause], joint: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each cause, and of each slice given that something hit."""
    log_odds = np.array([logsumexp(row) for row in joint])
    belief = np.exp(log_odds - logsumexp(log_odds))
    hit = np.vstack([row for cause, row in zip(causes, joint) if cause.kind not in ("none", "judge")])
    share = np.exp(logsumexp(hit, axis=0) - logsumexp(hit))
    return belief, share


def _times(alert: Alert, seen: Observations, causes: list[Cause]) -> pd.DatetimeIndex:
    end = alert.fired_at.floor(STEP)
    grid = pd.date_range(end - REACH, end, freq=STEP)
    live = pd.DatetimeIndex([cause.at for cause in causes if cause.at is not None], tz="UTC")
    times = grid.as_unit("us").union(live.as_unit("us")).unique()
    return times[times > seen.frame["timestamp"].min()]


def _most_overlap(grouping: Grouping, share: np.ndarray) -> int:
    inside = grouping.masks.astype(float)
    both = (inside * grouping.rows) @ inside.T
    sizes = np.diag(both)
    jaccard = both / (sizes[:, None] + sizes[None, :] - both)
    return int(np.argmax(jaccard @ share))


def _name_mix(causes: list[Cause], belief: np.ndarray, mix: Mix) -> tuple[list[Cause], np.ndarray]:
    """Give the part of `none` that the mix explains its own name.

    An alert that other questions explain is no evidence for a second cause: the odds of `none` go to those of a week in
    which nothing alarmed.
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
