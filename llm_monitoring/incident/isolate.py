"""What did it? Every recorded change, something unrecorded, the judge, the mix and chance, each with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.alerts.checking import find_alert
from llm_monitoring.incident.inference.causes import Cause, in_scope
from llm_monitoring.incident.inference.inquiry import HARMLESS, NAMED, Inquiry, inquire
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.second import Shift
from llm_monitoring.incident.inference.separating import separating_step
from llm_monitoring.incident.kinds import NOTHING, of_improvement, road_of, what_it_was
from llm_monitoring.incident.scope import ScopeResult
from llm_monitoring.results import Result, expect, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

CREDIBLE = 0.9
DRAWN, AROUND = 2000, pd.Timedelta("36h")


@dataclass(frozen=True, repr=False)
class IsolateResult(Result):
    """Belief over the causes.

    Attributes
    ----------
    ranking : list of dict
        cause, kind, description, at (when it went live), probability, recorded, evidence; best first, summing to 1.
    onset : dict, or None for a standing level
        at, low, high: the start, over all causes by their probability, and a 90 % interval from the answers alone; shape:
        step or ramp, of which the start is the beginning.
    verdict : str
        A cause (probability 0.8 or more; the judge where more than the scores speaks for it), ``no recorded change fits``
        (something unrecorded, from 0.5 on where neither the judge nor a recorded change is a candidate),
        ``cannot tell apart``, or ``nothing to explain`` where a level stands or got better.
    candidates : list of str
        The smallest set of causes that holds 0.9.
    shifts : list of dict
        cause, at, low, high, size (in the metric's unit), shape, length_days: the shift of the likeliest cause, and a
        second one where the evidence asks for two; by time.
    answers : list of dict
        timestamp and bad, of the slice that was hit, around the start: for the time line.
    summary : str
        The headline of an alert that is no change of single answers for the worse.
    """

    ranking: list[dict[str, Any]]
    onset: dict[str, str | None] | None
    verdict: str
    candidates: list[str]
    metric: str
    where: dict[str, Any]
    changes_in_reach: int
    answers: list[dict[str, Any]]
    what_would_change_this: list[str]
    next: str
    shifts: list[dict[str, Any]] = field(default_factory=list)
    summary: str = ""

    @property
    def headline(self) -> str:
        """Verdict, probability and start in one sentence."""
        if self.summary:
            return self.summary
        first = self.ranking[0]
        onset = self.onset or {}
        start = f"start {say.moment(onset['at'])} (90 %: {say.moment(onset['low'])} to {say.moment(onset['high'])})"
        if self.verdict == first["cause"]:
            named = say.cause_name(first["cause"], first["recorded"])
            return f"{named}, {say.likely(first['probability'])} ({say.probability(first['probability'])}); {start}"
        listed = ", ".join(
            f"{say.cause_name(row['cause'], row['recorded'])} {say.probability(row['probability'])}"
            for row in self.ranking
            if row["cause"] in self.candidates
        )
        return f"{self.verdict}: {listed}; {start}"

    def to_frame(self) -> pd.DataFrame:
        """One row per cause, best first."""
        rows = [{**row, "evidence": " ".join(row["evidence"])} for row in self.ranking]
        return pd.DataFrame(rows, columns=["cause", "kind", "description", "at", "probability", "recorded", "evidence"])

    def plot(self, ax=None, narrow: bool = False):
        """A bar of probability for each cause."""
        from llm_monitoring.incident import drawing

        shown = [row for i, row in enumerate(self.ranking) if i < 6 or row["cause"] in self.candidates]
        return drawing.causes(pd.DataFrame(shown, columns=[*self.to_frame().columns]), ax, narrow=narrow)


def isolate(log: Log, alert, scope=None, *, plan: Any = None) -> IsolateResult:
    """Weigh every cause of an alert.

    Parameters
    ----------
    log : Log
        Needs the table `changes` for recorded causes; everything in it is used.
    alert : row of `check`, dict or Alert
    scope : ScopeResult, optional
        The slice to tell the evidence of; default the one found here (the same evidence names it).
    plan : Plan, dict or path, optional
        `[slices]` says which columns are of the question and which of the service; see `incident.inference.roles`.

    Returns
    -------
    IsolateResult

    Notes
    -----
    Belief = prior x Bayes factor, summed over the slices that a cause can have hit and the times it can have begun.
    The prior of nothing is exp(- events of a month), by `[incident] incidents_per_month` of the plan and 0.3 judges that moved
    for each incident; of the incidents recorded changes share 0.78, something unrecorded
    has 0.22. A recorded change starts when its version is first seen, else at its logged time, and hit those answers that carry its version or one after it; a scope
    that nobody wrote down may be any slice. Probes, users and people who read answers speak beside the
    metric (`incident.inference.witnesses`). Nearness in time to the alert counts for nothing.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")        # doctest: +SKIP
    >>> alert = lm.check(log).iloc[0]           # doctest: +SKIP
    >>> lm.incident.isolate(log, alert).verdict # doctest: +SKIP
    'chg-prompt-v8'
    """
    if scope is not None:
        expect(ScopeResult, scope, "isolate(scope", "lm.incident.scope(log, alert)")
    alert = find_alert(log, alert, plan)
    road = road_of(log, alert, plan)
    if road is not None:
        return IsolateResult(**jsonable({"metric": alert.metric, **road.isolate()}))
    inquiry = inquire(log, alert, plan=plan)
    assert inquiry is not None
    better = alert.kind == "better"
    inquiry = of_improvement(inquiry) if better else inquiry
    ranking = [_rank(inquiry, cause, p) for cause, p in zip(inquiry.causes, inquiry.probability)]
    candidates = [row["cause"] for row in ranking[: _smallest(inquiry.probability)]]
    if inquiry.slides and not better and "silent" not in candidates:
        candidates = [*candidates, "silent"]
    unshown = ranking[0]["kind"] == "judge" and not inquiry.judge_shown
    if unshown and not better:
        harm = next(row["cause"] for row in ranking if row["kind"] not in HARMLESS)
        candidates = list(dict.fromkeys([*candidates, harm]))
    verdict = NOTHING if better else _verdict(ranking, candidates, inquiry.slides or unshown)
    where = inquiry.slice.to_dict() if scope is None or not scope.slices else scope.slices[0]["where"]
    return IsolateResult(
        **jsonable(
            {
                "ranking": ranking,
                "onset": _onset(inquiry),
                "verdict": verdict,
                "candidates": candidates,
                "metric": alert.metric,
                "where": where,
                "changes_in_reach": sum(cause.recorded for cause in inquiry.causes),
                "answers": _answers(inquiry),
                "what_would_change_this": [what_it_was(inquiry)] if better else _what_would_change(inquiry, verdict),
                "next": "Nothing to do." if better else _next(verdict),
                "shifts": [_shift(inquiry, one) for one in inquiry.found],
                "summary": _better_summary(ranking, inquiry) if better else "",
            }
        )
    )


def _onset(inquiry: Inquiry) -> dict[str, Any]:
    first = inquiry.found[0] if inquiry.found else None
    if first is None or first.shape == "step":
        return {**inquiry.onset, "shape": "step"}
    return {"at": first.at, "low": first.low, "high": first.high, "shape": "ramp"}


def _shift(inquiry: Inquiry, one: Shift) -> dict[str, Any]:
    """A shift as people read it: its size in the metric's unit, a cost or a latency from its level before."""
    seen = inquiry.seen
    size: float | None = seen.sign * one.size * seen.step
    if seen.scale == "log":
        before = seen.frame[(one.dose == 0) & (seen.frame["timestamp"] < one.at).to_numpy()]
        size = seen.level(before).estimate * (np.exp(seen.sign * one.size) - 1) if len(before) else None
    return {
        "cause": one.cause,
        "at": one.at,
        "low": one.low,
        "high": one.high,
        "size": size,
        "shape": one.shape,
        "length_days": one.length_days,
    }


def _better_summary(ranking: list[dict], inquiry: Inquiry) -> str:
    first = ranking[0]
    started = f"since {say.moment(inquiry.onset['at'])}" if inquiry.onset["at"] is not None else "of late"
    return f"{NOTHING}: better {started}; nearest to it {first['cause']} ({say.probability(first['probability'])})"


def _smallest(probability: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(probability), CREDIBLE - 1e-12)) + 1


def _verdict(ranking: list[dict], candidates: list[str], doubtful: bool = False) -> str:
    """A cause from 0.8 on; that no recorded change fits, from 0.5 on where neither the judge nor a recorded change may be it."""
    first = ranking[0]
    if doubtful:
        return "cannot tell apart"
    if first["probability"] >= NAMED or len(candidates) == 1:
        return "no recorded change fits" if first["cause"] == "silent" else first["cause"]
    fits = any(row["cause"] in candidates and (row["recorded"] or row["kind"] == "judge") for row in ranking)
    if first["cause"] == "silent" and first["probability"] >= 0.5 and not fits:
        return "no recorded change fits"
    return "cannot tell apart"


def _rank(inquiry: Inquiry, cause: Cause, probability: float) -> dict[str, Any]:
    evidence = {"silent": _of_silent, "judge": _of_judge, "none": _of_none, "mix": _of_mix}.get(cause.kind, _of_change)
    return {
        "cause": cause.name,
        "kind": cause.kind,
        "description": cause.description,
        "at": cause.at,
        "probability": float(probability),
        "recorded": cause.recorded,
        "evidence": [*evidence(inquiry, cause), *_beside(cause)],
    }


def _beside(cause: Cause) -> list[str]:
    """What versions in the traffic, probes and users say."""
    if cause.recorded:
        seen = [
            f"{t.column} {t.value} was first seen {say.moment(t.at)} in {t.owner}." for t in cause.traces if t.owner
        ]
    else:
        seen = [
            f"{t.column} {t.value}{f' of {t.owner}' if t.owner else ''} first appeared {say.moment(t.at)}, and nobody recorded it."
            for t in cause.traces
        ]
    return [*seen[:5], *(words for words in cause.testimony if words)]


def _of_change(inquiry: Inquiry, cause: Cause) -> list[str]:
    seen, onset = inquiry.seen, inquiry.onset
    frame = seen.frame
    hit, inside = seen.mask(inquiry.slice), in_scope(cause.declared, frame)
    told = [_timing(cause, onset), *([] if inquiry.branch is None else [inquiry.branch.sentence])]
    covered = (hit & inside).sum() / max(hit.sum(), 1)
    declared = "It declares no scope." if cause.declared is None else f"Its scope ({_scope_words(cause)})"
    if cause.declared is not None:
        told.append(f"{declared} holds {say.amount(covered, 'share')} of the answers of {inquiry.slice.label}.")
    group, words = (hit & inside, inquiry.slice.label) if covered > 0 else (inside, _scope_words(cause))
    until = inquiry.until if inquiry.until is not None and cause.at is not None and cause.at < inquiry.until else None
    told.append(f"Since it went live, {words}: {_moved(seen, group, cause.at, until)}.")
    if (~inside).sum() and cause.declared is not None:
        told.append(f"Outside its scope, at the same time: {_moved(seen, ~inside, cause.at, until)}.")
    late_start = onset["low"] is not None and cause.at is not None and cause.at < onset["low"] - pd.Timedelta("3h")
    if late_start and covered > 0:
        told.append(_between(inquiry, hit, cause))
    return told


def _scope_words(cause: Cause) -> str:
    return "all answers" if cause.declared is None else cause.declared.label


def _timing(cause: Cause, onset: dict) -> str:
    live = f"It went live {say.moment(cause.at)}"
    if onset["low"] is None or cause.at is None:
        return f"{live}."
    interval = f"({say.moment(onset['low'])} to {say.moment(onset['high'])}, 90 %)"
    if onset["low"] <= cause.at <= onset["high"]:
        return f"{live}, inside the interval of the start {interval}."
    away = onset["low"] - cause.at if cause.at < onset["low"] else cause.at - onset["high"]
    side = "before the earliest start" if cause.at < onset["low"] else "after the latest start"
    return f"{live}, {_hours(away)} {side} {interval}."


def _hours(span: pd.Timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _moved(seen: Observations, group: np.ndarray, at: pd.Timestamp | None, until: pd.Timestamp | None = None) -> str:
    """How the answers of a group changed at a time: levels, change with interval, n."""
    rows = seen.frame[group]
    if until is not None:
        rows = rows[rows["timestamp"] < until]
    late = rows["timestamp"] >= at
    before, after = rows[~late], rows[late]
    if not len(before) or not len(after):
        return "no answers on both sides of it"
    change, unit = seen.change(before, after), seen.alert.unit
    was, is_now = seen.level(before).estimate, seen.level(after).estimate
    return (
        f"{say.amount(was, unit, like=is_now)} (n {len(before):,}) to {say.amount(is_now, unit)} "
        f"(n {len(after):,}), {say.difference(change.estimate, unit)} {say.span(change.low, change.high, unit, sign=True, like=change.estimate)}"
    )


def _between(inquiry: Inquiry, hit: np.ndarray, cause: Cause) -> str:
    told = _moved(inquiry.seen, hit, cause.at, inquiry.onset["low"])
    return f"Between it and the earliest start, {inquiry.slice.label}: {told}."


def _of_silent(inquiry: Inquiry, cause: Cause) -> list[str]:
    onset = inquiry.onset
    recorded = [c for c in inquiry.causes if c.recorded and c.at is not None and onset["low"] is not None]
    near = [c.name for c in recorded if onset["low"] <= c.at <= onset["high"]]  # type: ignore[operator]
    if near:
        return [f"Needs an event that nobody logged in the same interval as {', '.join(near)}."]
    return ["No recorded change went live in the interval of the start."]


def _of_judge(inquiry: Inquiry, cause: Cause) -> list[str]:
    outside = ~inquiry.seen.mask(inquiry.slice)
    timing = [_timing(cause, inquiry.onset)] if cause.recorded else []
    if not outside.any():
        return [*timing, "All answers moved alike: the judge and a change that hits everything look the same."]
    label = inquiry.slice.label
    return [
        *timing,
        f"A judge that changed would have moved all answers; outside {label}: {_moved(inquiry.seen, outside, inquiry.since, inquiry.until)}.",
    ]


def _of_none(inquiry: Inquiry, cause: Cause) -> list[str]:
    inside = inquiry.seen.mask(inquiry.slice)
    return [
        f"Chance would have to explain {inquiry.slice.label}: {_moved(inquiry.seen, inside, inquiry.since, inquiry.until)}."
    ]


def _of_mix(inquiry: Inquiry, cause: Cause) -> list[str]:
    unit, mix = inquiry.seen.alert.unit, inquiry.mix
    total = mix.mix_effect + mix.within_effect
    return [f"Mix explains {say.difference(mix.mix_effect, unit)} of {say.difference(total, unit)}."]


def _answers(inquiry: Inquiry) -> list[dict[str, Any]]:
    seen, onset = inquiry.seen, inquiry.onset
    if onset["low"] is None or onset["high"] is None:
        return []
    rows = seen.frame[seen.mask(inquiry.slice)]
    rows = rows[rows["timestamp"].between(onset["low"] - AROUND, onset["high"] + AROUND)]
    step = -(-len(rows) // DRAWN) or 1
    rows = rows.iloc[::step]
    return [{"timestamp": t, "bad": bool(b)} for t, b in zip(rows["timestamp"], _bad(seen, rows["value"]))]


def _bad(seen: Observations, value: pd.Series) -> np.ndarray:
    """Which single answers count as bad: 1 of a rate, a score from 1 to 5 of 2 or less, else the worst 5 %."""
    if seen.scale == "share":
        return (value == (1 if seen.sign > 0 else 0)).to_numpy()
    if seen.alert.measure.unit == "score" and seen.step == 1:
        return (value <= 2).to_numpy()
    if seen.sign < 0:
        return (value < seen.frame["value"].quantile(0.05)).to_numpy()
    return (value > seen.frame["value"].quantile(0.95)).to_numpy()


def _what_would_change(inquiry: Inquiry, verdict: str) -> list[str]:
    first = inquiry.causes[0]
    if verdict == "cannot tell apart":
        return [separating_step(inquiry, first, inquiry.causes[1])]
    if first.recorded and verdict == first.name:
        return [
            f"An event that nobody logged in the same interval as {first.name}. Check: put twenty of the questions "
            "that were hit to the state before the change; if the answers are no better there, this is not the cause."
        ]
    if verdict == "no recorded change fits":
        return ["A change that was made and not logged: ask the owners of the feature, the model and the index."]
    return ["More answers of the same period."]


def _next(verdict: str) -> str:
    if verdict == "cannot tell apart":
        return "Go on to respond: the cheapest step that separates the candidates."
    if verdict == "none":
        return "Nothing to take back: no change fits better than chance."
    return "Go on to respond: what to do, and what waiting costs."
