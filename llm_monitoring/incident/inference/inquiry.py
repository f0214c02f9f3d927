"""Belief over what did it: what the rows, the versions and other witnesses say of one alert, shared by all stages.

Belief = prior x evidence, summed over the slices that a cause can have hit and the times at which it can have begun.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.plan import SlicesPlan, read_plan
from llm_monitoring.incident.inference.branch_start import BranchStart, branch_start
from llm_monitoring.incident.inference.causes import REACH, SLOW, Cause, arrivals, possible_causes
from llm_monitoring.incident.inference.finer import Finer, find_finer
from llm_monitoring.incident.inference.mix import Mix, decompositions, moved_mix
from llm_monitoring.incident.inference.observations import Observations, observe
from llm_monitoring.incident.inference.onset import onset_of, weighted_quantile
from llm_monitoring.incident.inference.reviewed import log_judge_moved
from llm_monitoring.incident.inference.roles import Rerouted, question_columns, rerouted
from llm_monitoring.incident.inference.second import Shift, another_shift
from llm_monitoring.incident.inference.shifts import Shifts, shift_evidence
from llm_monitoring.incident.inference.slices import Slice, candidates, counts, last_time
from llm_monitoring.incident.inference.weighing import STEP, Grouping, log_start, prior, slides, weigh
from llm_monitoring.incident.inference.witnesses import MOST, Testimony, probes, users
from llm_monitoring.keeping import once

if TYPE_CHECKING:
    from llm_monitoring.log import Log

NAMED, UNALARMED = 0.8, 0.9
HARMLESS = ("none", "mix", "judge")
TOLD = 14  # requests due of a version that has left the traffic: exp(-14) is one in a million
SEVERAL = 0.05  # of the answers since the start, that a feature or a model has to have
SHOWN = 0.75  # of the belief in the judge and in harm, which the judge needs where nothing but the scores speaks for it
WITNESSED = 2  # odds above which other witnesses speak for a judge that moved; silent users alone give no more
DOUBT = 0.05  # a second shift that makes the first doubtful is none
LONG, BETTER = 4, 1.0  # days of a slide; log odds by which it has to fit better than a change at one moment
SLIDES = (1.5, 4, 10)  # lengths in days of what comes bit by bit


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
    found : tuple of Shift
        The shift of the likeliest cause, and a second one where the evidence asks for two; by time.
    slides : bool
        The likeliest cause is a change at one moment, and a slide over days fits better: it has no jump of its own.
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
    found: tuple[Shift, ...] = ()
    slides: bool = False

    @property
    def judge_shown(self) -> bool:
        """Whether more than the scores of one feature speaks for a judge that moved.

        That is a version or a record of it, or, with three to one or more for it against harm, other witnesses or several features on
        several models that fell alike: the scores look the same whether the judge moved or all answers did, but those share hardly anything else.
        Witnesses count where they speak for it by more than two to one against every cause by which answers got worse: probes
        that hold speak against a model alone.
        """
        judges = [cause for cause in self.causes if cause.kind == "judge"]
        harm = [cause for cause in self.causes if cause.kind not in HARMLESS]
        if not judges or not harm:
            return False
        best = judges[0]
        witnessed = best.heard - max(cause.heard for cause in harm) > np.log(WITNESSED)
        sure = self.chance_of("judge") >= SHOWN * (1 - self.chance_of("none", "mix"))
        return best.recorded or bool(best.traces) or (sure and (witnessed or self._of_several))

    @property
    def _of_several(self) -> bool:
        """Whether the answers since the start are of two features and two models or more, none of which is a mere twentieth."""
        since = self.seen.frame[self.seen.frame["timestamp"] >= self.since]
        return all(
            column in self.seen.columns and (since[column].value_counts(normalize=True) > SEVERAL).sum() > 1
            for column in ("feature_id", "model")
        )

    @property
    def until(self) -> pd.Timestamp | None:
        """The end of the period of harm: a second shift, to the better, after its start, or the end of what came with the cause."""
        better = [one.at for one in self.found[1:] if one.size < 0 and one.at > self.since]
        return better[0] if better else None if self.left is None else self.left[1]

    @cached_property  # asked for by every row of scope
    def left(self) -> tuple[str, pd.Timestamp] | None:
        """The version that came with the likeliest cause, and since when it is not served any more, if so.

        None while the slice has fewer requests since then than would tell: at its earlier share one in a million would miss it.
        """
        traces = [trace for trace in self.causes[0].traces if trace.column in self.seen.requests]
        if self.causes[0].kind in HARMLESS or len({(trace.column, trace.value) for trace in traces}) != 1:
            return None
        column, value = traces[0].column, traces[0].value
        rows = self._since(self.since)
        of_it = (rows[column].astype(str) == value).to_numpy(bool, na_value=False)
        if not of_it.any():
            return None
        gone = last_time(rows[of_it]) + pd.Timedelta("1us")
        after, carried = int(counts(self._since(gone)).sum()), int(counts(rows[of_it]).sum())
        share = carried / (counts(rows).sum() - after)
        return (f"{column} {value}", gone) if after * share >= TOLD else None

    def _since(self, at: pd.Timestamp) -> pd.DataFrame:
        """The requests of the slice from a time on."""
        rows = self.seen.asked(at)
        return rows[self.slice.mask(rows) & (rows["timestamp"] >= at)]

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
    plan = read_plan(plan)
    if reviews is not None and not _are_of(log, reviews):
        return _inquire(log, alert, reviews, plan.slices, plan.incident.incidents_per_month)
    return _inquired(log, alert, plan.slices, plan.incident.incidents_per_month)


@once
def _inquired(log: Log, alert: Alert, roles: SlicesPlan, rate: float) -> Inquiry | None:
    return _inquire(log, alert, None, roles, rate)


def _are_of(log: Log, reviews: Any) -> bool:
    """Whether verdicts that are handed over are those that the log holds anyway."""
    return isinstance(reviews, pd.DataFrame) and (reviews is log.reviews or reviews.equals(log.reviews))


def _inquire(log: Log, alert: Alert, reviews: Any, roles: SlicesPlan, rate: float) -> Inquiry | None:
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
    question = question_columns(seen, roles.question, roles.service)
    asked = _Asked.of(log, alert, seen, reviews, moved[0] if moved else None, rate, question)
    belief = asked.weighed()
    first, other = asked.two(belief) if belief.real >= NAMED / 2 else (asked.first(belief), None)
    shifts: list[Shift | None] = [first]
    if first is not None and other is not None:
        if other.size > 0 and other.at < first.at:
            first, other = other, first
        both = asked.weighed(beside=other.dose)
        if both.real >= belief.real - DOUBT:
            belief, shifts = both, [asked.first(both), other]
    found = tuple(one for one in shifts if one is not None)
    mix, moved_at, mix_at_start = moved_mix(seen, belief.since, question)
    causes, probability = _name_mix(belief.causes, belief.probability, mix, asked.prior["none"])
    branch = asked.branch
    if branch is not None and not branch.sorted:
        probability = _half_to_mix(causes, probability)
    order = np.argsort(-probability, kind="stable")
    causes, probability = [causes[i] for i in order], probability[order]
    since = moved_at if mix.moved and causes[0].kind in ("none", "mix") else belief.since
    mix = mix if since == moved_at else mix_at_start
    seen, finer = find_finer(seen, belief.chosen, since, log.with_texts)
    chosen = finer.slice if finer.slice is not None and branch is None else belief.chosen
    answer = Inquiry(
        seen, causes, probability, belief.shifts, belief.share, chosen, belief.onset, since, mix, finer, branch,
        found, asked.slides(belief),
    )  # fmt: skip
    if answer.until is None or mix.moved:
        return answer
    return replace(answer, mix=decompositions(seen.before(answer.until), [since], question)[0])


@dataclass(frozen=True, eq=False)
class _Belief:
    """What is believed of the causes once all witnesses are heard."""

    causes: list[Cause]
    fits: list[np.ndarray]
    probability: np.ndarray
    share: np.ndarray
    chosen: Slice
    onset: dict
    since: pd.Timestamp
    shifts: Shifts

    @property
    def real(self) -> float:
        return float(sum(p for cause, p in zip(self.causes, self.probability) if cause.kind not in ("none", "judge")))


@dataclass(frozen=True, eq=False)
class _Asked:
    """The question put to the rows: causes, slices, and the ways in which each cause can have arrived."""

    log: Log
    alert: Alert
    seen: Observations
    causes: list[Cause]
    slices: list[Slice]
    grouping: Grouping
    ways: list[list[np.ndarray]]
    times: pd.DatetimeIndex
    ramps: list[tuple[pd.Timestamp, pd.Timedelta]]
    reviews: Any
    branch: Rerouted | None
    start: BranchStart | None
    prior: dict[str, float]
    question: tuple[str, ...]

    @classmethod
    def of(
        cls,
        log: Log,
        alert: Alert,
        seen: Observations,
        reviews: Any,
        branch: Rerouted | None,
        rate: float,
        question: tuple[str, ...],
    ) -> _Asked:
        causes = possible_causes(log, alert, seen)
        declared = [cause.declared for cause in causes if cause.declared is not None]
        slices = candidates(seen.frame, seen.columns, alert.feature_id, declared)
        start = None if branch is None else branch_start(seen, branch, slices)
        if branch is not None and start is not None:
            branch = replace(branch, share_before=start.shares[0], share_since=start.shares[1])
        ways = [arrivals(cause, seen) for cause in causes]
        grouping, times = Grouping.of(seen, slices), _times(alert, seen, causes)
        return cls(
            log,
            alert,
            seen,
            causes,
            slices,
            grouping,
            ways,
            times,
            _ramps(alert, seen),
            reviews,
            branch,
            start,
            prior(seen, causes, rate),
            question,
        )

    def weighed(self, beside: np.ndarray | None = None) -> _Belief:
        """Belief in the causes, given another shift beside the one that is asked about."""
        doses = [dose for way in self.ways for dose in way]
        columns = np.split(np.arange(len(doses)), np.cumsum([len(way) for way in self.ways])[:-1])
        shifts = shift_evidence(self.seen, self.slices, self.times, doses, ramps=self.ramps, beside=beside)
        if self.start is not None:
            shifts = self.start.heard(shifts, self.seen, doses)
        causes = self.causes
        fits = [
            weigh(cause, self.seen, shifts, self.grouping, k, self.prior, self.question)
            for cause, k in zip(causes, columns)
        ]
        belief = _conclude(causes, fits, self.seen, shifts, self.grouping, beside, self.start)
        told = _testimonies(self.log, self.seen, causes, shifts, belief.chosen, belief.since, self.reviews)
        if self.branch is not None:
            _against_the_harmless(causes, told, self.branch, len(self.slices))
        if not any(len(t) for t in told):
            return belief
        fits = [fit + sum(odds for odds, _ in t) for fit, t in zip(fits, told)]
        hit = shifts.slices.index(belief.chosen)
        causes = [
            replace(cause, testimony=[words for _, words in t], heard=float(sum(odds[hit] for odds, _ in t)))
            for cause, t in zip(causes, told)
        ]
        return _conclude(causes, fits, self.seen, shifts, self.grouping, beside, self.start)

    def slides(self, belief: _Belief) -> bool:
        """Whether a slide of days explains the slice better than the likeliest cause, a recorded change at one moment."""
        cause = belief.causes[int(np.argmax(belief.probability))]
        gradual = [k for k, (_, length) in enumerate(self.ramps) if length >= pd.Timedelta(days=LONG)]
        if not cause.recorded or cause.at is None or cause.traces or cause.until is not None or cause.kind in SLOW:
            return False
        if not gradual:
            return False
        i = belief.shifts.slices.index(belief.chosen)
        jump = belief.shifts.log_evidence[i, _nearest(belief.shifts.times, cause.at)]
        return bool(jump < belief.shifts.log_ramps[i, gradual].max() - BETTER)

    def two(self, belief: _Belief) -> tuple[Shift | None, Shift | None]:
        """The first shift and, where the evidence asks for it, another beside it.

        A slide and two steps look alike: where nothing recorded seems to slide in, the likeliest recorded change with
        another shift beside it has to fit better than the slide.
        """
        first = self.first(belief)
        firsts = [first, self.first(belief, recorded=True)] if first is not None and first.shape == "ramp" else [first]
        odds = {cause.name: logsumexp(fit) for cause, fit in zip(belief.causes, belief.fits)}
        found: list[tuple[float, Shift, Shift | None]] = []
        for one in firsts:
            if one is not None:
                other = another_shift(self.seen, belief.chosen, self.causes, one.dose, one.at, self.times)
                found.append((odds[one.cause] + (other.log_odds if other is not None else 0.0), one, other))
        return max(found, key=lambda way: way[0])[1:] if found else (None, None)

    def first(self, belief: _Belief, recorded: bool = False) -> Shift | None:
        """The shift of the likeliest cause (recorded, if asked) by which answers got worse, in the way that fits best."""
        harm = [k for k, cause in enumerate(belief.causes) if cause.kind not in ("none", "judge")]
        harm = [k for k in harm if belief.causes[k].recorded] if recorded else harm
        if not harm:
            return None
        k = max(harm, key=lambda i: belief.probability[i])
        cause, shifts, seen = belief.causes[k], belief.shifts, self.seen
        i = belief.shifts.slices.index(belief.chosen)
        onset = belief.onset
        if onset["at"] is None:
            return None
        at: pd.Timestamp = cause.at if cause.recorded else onset["at"]  # type: ignore[assignment]
        moment, step, start = seen.frame["timestamp"], _nearest(shifts.times, at), sum(map(len, self.ways[:k]))
        inside, low, high = seen.mask(belief.chosen), min(onset["low"], at), max(onset["high"], at)
        ways = [(shifts.log_evidence[i, step], shifts.size[i, step], (moment >= at).to_numpy().astype(float))]
        ways += [
            (shifts.log_arrivals[i, start + j], shifts.arrival_size[i, start + j], dose)
            for j, dose in enumerate(self.ways[k])
        ]
        _, size, dose = max(ways, key=lambda way: way[0])
        slope = (dose > 0) & (dose < 1)
        length = (moment[slope].max() - at) / pd.Timedelta("1D") if slope.any() else None
        if cause.kind == "silent" and self.ramps and slides(shifts, i, self.alert.fired_at) > 0:
            j = int(np.argmax(shifts.log_ramps[i]))
            (at, span), size = self.ramps[j], shifts.ramp_size[i, j]
            dose, length = np.clip(((moment - at) / span).to_numpy(), 0, 1), span / pd.Timedelta("1D")
            weight = np.exp(shifts.log_ramps[i] - logsumexp(shifts.log_ramps[i]))
            begins = pd.DatetimeIndex([begin for begin, _ in self.ramps])
            low, high = (weighted_quantile(begins, weight, q) for q in (0.05, 0.95))
        shape = "step" if length is None else "ramp"
        return Shift(cause.name, at, min(low, at), max(high, at), float(size), inside * dose, shape, length)


def _nearest(times: pd.DatetimeIndex, at: pd.Timestamp) -> int:
    return int(np.argmin(np.abs((times - at).to_numpy())))


def _ramps(alert: Alert, seen: Observations) -> list[tuple[pd.Timestamp, pd.Timedelta]]:
    """Slides of one and a half to fourteen days that had begun when the alert fired."""
    first = seen.frame["timestamp"].min() + pd.Timedelta("3D")
    begins = pd.date_range(alert.fired_at.floor("D") - pd.Timedelta("14D"), alert.fired_at, freq="12h")
    return [(begin, pd.Timedelta(days=d)) for d in SLIDES for begin in begins if begin > first]


def _against_the_harmless(causes: list[Cause], told: list[list], branch: Rerouted, slices: int) -> None:
    """A judge that changed would have moved the answers within the branch and beside it; they hold their level.

    Nor is it chance: the shares are those of all requests, the levels those of all answers, before and since.
    """
    against = {
        "judge": (MOST, "a judge that changed would have moved both."),
        "none": (
            float(np.clip(branch.log_odds, 0, MOST)),
            "more requests took the worse one, whatever the last answers say.",
        ),
    }
    for cause, heard in zip(causes, told):
        odds, words = against.get(cause.kind, (0.0, ""))
        if odds:
            told_so = f"With {branch.name} and without it answers hold their level: {words}"
            heard.append((np.full(slices, -odds), told_so))


def _half_to_mix(causes: list[Cause], belief: np.ndarray) -> np.ndarray:
    """Half of what speaks for harm goes to the mix: nobody knows whether the column that moved is of the question."""
    harm = np.array([cause.kind not in ("none", "judge", "mix") for cause in causes])
    mix = np.array([cause.kind == "mix" for cause in causes])
    return np.where(harm, belief / 2, belief + mix * belief[harm].sum() / 2)


def _conclude(causes, fits, seen: Observations, shifts: Shifts, grouping: Grouping, beside, start) -> _Belief:
    """Belief in each cause and slice, the slice that was hit, the start, and where before ends and now begins."""
    belief, share = _believe(causes, fits)
    chosen = shifts.slices[_most_overlap(grouping, share)]
    onset = onset_of(seen, causes, belief, share, shifts, beside, start)
    best = causes[int(np.argmax(belief))]
    since = best.at if best.recorded and belief.max() >= 0.5 else onset["at"]
    if best.kind == "none" or since is None:
        since = seen.alert.window_start if seen.alert.window_start is not None else seen.alert.fired_at
    return _Belief(causes, fits, belief, share, chosen, onset, since, shifts)


def _testimonies(log: Log, seen: Observations, causes, shifts: Shifts, chosen: Slice, since, reviews) -> list[list]:
    """For each cause what other witnesses say of it: log odds for each slice, and a sentence."""
    slices, judged = shifts.slices, seen.alert.judged
    n = len(slices)
    people = users(log, seen, chosen, since) if judged and seen.alert.harmful else Testimony()
    only_model = [i for i, found in enumerate(slices) if {column for column, _ in found.where} <= {"model"}]
    found: list[list] = [[] for _ in causes]
    for cause, told in zip(causes, found):
        if people.told and cause.kind not in ("none", "judge"):
            told.append((np.full(n, people.log_odds), people.told))
        if cause.kind == "judge":
            at = cause.at or _likeliest_of_all(shifts, seen.alert.fired_at)
            moved = float(np.clip(log_judge_moved(log, at, reviews), -MOST, MOST))
            told += [(np.full(n, moved), _of_people(moved))] if moved else []
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


def _likeliest_of_all(shifts: Shifts, fired_at: pd.Timestamp) -> pd.Timestamp:
    """When all answers moved, if they did: a judge has a time of its own, which is not that of the cause it competes with."""
    return shifts.times[int(np.argmax(shifts.log_evidence[0] + log_start(shifts.times, fired_at)))]


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
    last = min(seen.frame["timestamp"].max() - pd.Timedelta("6h"), end + REACH)
    grid = pd.date_range(end - REACH, max(end, last), freq=STEP)
    live = pd.DatetimeIndex([cause.at for cause in causes if cause.at is not None], tz="UTC")
    times = grid.as_unit("us").union(live.as_unit("us")).unique()
    return times[times > seen.frame["timestamp"].min()]


def _most_overlap(grouping: Grouping, share: np.ndarray) -> int:
    inside = grouping.masks.astype(float)
    both = (inside * grouping.rows) @ inside.T
    sizes = np.diag(both)
    jaccard = both / (sizes[:, None] + sizes[None, :] - both)
    return int(np.argmax(jaccard @ share))


def _name_mix(causes: list[Cause], belief: np.ndarray, mix: Mix, none: float) -> tuple[list[Cause], np.ndarray]:
    """Give the part of `none` that the mix explains its own name.

    An alert that other questions explain is no evidence for a second cause: the odds of `none` go to those of a week in
    which nothing alarmed.
    """
    part = mix.explains if mix.moved else 0.0
    i = next(k for k, cause in enumerate(causes) if cause.kind == "none")
    if mix.moved:
        odds = (UNALARMED / (1 - UNALARMED)) / (none / (1 - none))
        belief = np.where(np.arange(len(belief)) == i, belief * odds, belief)
        belief = belief / belief.sum()
    moved = belief[i] * part
    belief = np.append(belief, moved)
    belief[i] -= moved
    return [*causes, Cause("mix", "mix", "other questions came (mix), no slice changed")], belief
