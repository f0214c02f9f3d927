"""What to do? Take back, mend, or look further; what acting and waiting cost; when it counts as recovered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.checking import find_alert
from llm_monitoring.frames import among
from llm_monitoring.incident.courses import LEVELS
from llm_monitoring.incident.inference.causes import in_scope
from llm_monitoring.incident.inference.comparison import compare
from llm_monitoring.incident.inference.finer import counted
from llm_monitoring.incident.inference.inquiry import Inquiry, inquire
from llm_monitoring.incident.inference.observations import Observations, observe
from llm_monitoring.incident.inference.slices import ALL, LAST, Slice, counts, last_time
from llm_monitoring.incident.isolate import IsolateResult
from llm_monitoring.incident.kinds import of_improvement, road_of, what_it_was
from llm_monitoring.incident.recovery import fixed_by, recovery, untested, until_fix
from llm_monitoring.incident.scope import ScopeResult
from llm_monitoring.results import Result, expect, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

CONFINED, COVERED = 0.25, 0.8
AWAY = "route away from"
EASE = ("prompt", "config", "deployment", "model_version", "rag_index")  # the cheapest to take back first
BESIDE = (
    "mean_quality",
    "flagged_rate",
    "refusal_rate",
    "error_rate",
    "latency_p50_ms",
    "avg_cost_per_request_usd",
    "avg_output_tokens",
)


@dataclass(frozen=True, repr=False)
class RespondResult(Result):
    """Advice with its price.

    Attributes
    ----------
    action : str
        rollback, hotfix, revert_judge, investigate or none.
    target : str or None
        The change (or judge) that the action is about.
    scope : dict
        Column -> value of the answers that the action is for.
    options : list of dict
        do, costs, gains, undo: what a person can choose from, the advice first.
    measures : list of dict
        measure, unit, levels before and since with intervals, reading: the hit slice on every other measure.
    cost_of_acting, cost_of_waiting : dict
        text, and the numbers behind it.
    recovery : dict
        test (in words), needed_n, expected_n, margin, n, left_out, recovered (true, false, or null: not decided), because,
        change with low and high, decided_at, fix.
    wrong_if : list of str
        What would make the advice wrong.
    summary : str
        The headline of an alert that is no change of single answers for the worse.
    """

    action: str
    target: str | None
    scope: dict[str, Any]
    because: str
    options: list[dict[str, str]]
    measures: list[dict[str, Any]]
    cost_of_acting: dict[str, Any]
    cost_of_waiting: dict[str, Any]
    recovery: dict[str, Any]
    wrong_if: list[str]
    next: str
    summary: str = ""

    @property
    def headline(self) -> str:
        """The action, its reason and what waiting costs."""
        if self.summary:
            return self.summary
        target = f" {self.target}" if self.target and self.target != "judge" else ""
        return f"{self.action.replace('_', ' ')}{target}: {self.because} Waiting costs {self.cost_of_waiting['text']}."

    def to_frame(self) -> pd.DataFrame:
        """The hit slice on every measure, before and since."""
        return pd.DataFrame(self.measures, columns=["measure", "unit", *LEVELS, "reading"])

    def plot(self, ax=None, narrow: bool = False):
        """How far the recovery test has come."""
        from llm_monitoring.incident import drawing

        n, needed = self.recovery.get("n") or 0, self.recovery.get("needed_n") or 0
        return drawing.progress(n, needed, say.recovery_time(self.recovery), ax)


def respond(log: Log, alert, scope: ScopeResult, isolate: IsolateResult, *, plan: Any = None) -> RespondResult:
    """Advise what to do about an alert.

    Parameters
    ----------
    log : Log
    alert : row of `check`, dict or Alert
    scope, isolate : results of the two stages before
    plan : Plan, dict or path, optional
        `[slices]` says which columns are of the question and which of the service; see `incident.inference.roles`.

    Returns
    -------
    RespondResult

    Notes
    -----
    A recorded change that is named is rolled back; where the harm is confined to a category, or to less than a quarter
    of what the change touched, a prompt is mended there instead. Where a bad branch of the service took more traffic and
    no recorded change is named, the advice is to route away from it. A judge that changed is reverted, no answer is touched.
    Recovered means: on the hit slice, answers since the fix are shown to be less than a margin worse than those of before,
    by the same judge, in a sequential test that may be looked at as often as one likes (`incident.recovery`). The fix is
    the last change recorded after the alert whose scope reaches the slice. A silent alert is not recovery.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")        # doctest: +SKIP
    >>> alert = lm.check(log).iloc[0]           # doctest: +SKIP
    >>> scope = lm.incident.scope(log, alert)   # doctest: +SKIP
    >>> cause = lm.incident.isolate(log, alert, scope)               # doctest: +SKIP
    >>> lm.incident.respond(log, alert, scope, cause).action         # doctest: +SKIP
    'hotfix'
    """
    expect(ScopeResult, scope, "respond(scope", "lm.incident.scope(log, alert)")
    expect(IsolateResult, isolate, "respond(isolate", "lm.incident.isolate(log, alert)")
    alert = find_alert(log, alert, plan)
    road = road_of(log, alert, plan)
    if road is not None:
        return RespondResult(**jsonable(road.respond()))
    inquiry = inquire(log, alert, plan=plan)
    assert inquiry is not None
    group = Slice.of(scope.slices[0]["where"]) if scope.slices and inquiry.branch is None else inquiry.slice
    for column, value in group.where:
        if column not in inquiry.seen.requests:
            inquiry = replace(inquiry, seen=counted(inquiry.seen, ALL, column, value, log.with_texts))
    if alert.kind == "better":
        return _better(log, alert, of_improvement(inquiry), group)
    state = recovery(log, inquiry, group)
    whole, inquiry = inquiry, replace(inquiry, seen=until_fix(inquiry.seen, state["fix"]))
    action, target, because = _action(alert, inquiry, isolate, group)
    measures = _measures(log, alert, inquiry, group, state["fix"])
    waiting = _waiting(log, alert, inquiry, group, state["fix"])
    acting = _acting(measures, waiting["requests_per_day"])
    if state["recovered"]:
        action, target, because = "none", None, f"{group.label} has recovered since {fixed_by(state['fix'], whole)}."
    elif state["recovered"] is False and whole.left is not None:
        action, target = "investigate", None
        because = f"{whole.left[0]} left the traffic on {say.moment(whole.left[1])} and {group.label} has not recovered: something else keeps it down."
    return RespondResult(
        **jsonable(
            {
                "action": action,
                "target": target,
                "scope": group.to_dict(),
                "because": because,
                "options": _options(
                    action, target, group, acting, waiting, _earlier_models(inquiry, group), inquiry.causes[0].kind
                ),
                "measures": measures,
                "cost_of_acting": acting,
                "cost_of_waiting": waiting,
                "recovery": state,
                "wrong_if": _wrong_if(action, isolate, inquiry, group),
                "next": _next(action, target, state),
            }
        )
    )


def _better(log: Log, alert: Alert, inquiry: Inquiry, group: Slice) -> RespondResult:
    """An improvement: nothing to do, and nothing that waiting costs."""
    who = alert.of if inquiry.chance_of("none", "mix", "judge") > 0.5 else group.label
    because = f"{say.metric_words(alert.metric)} of {who} got better: there is nothing to do."
    unknown = {"affected_per_day": None, "low": None, "high": None, "requests_per_day": None, "usd_per_day": None}
    nothing = {"text": "Nothing.", "latency_ms": None, "usd_per_1000": None}
    state = untested("It got better: there is nothing to recover from.") | {"test": "none: nothing got worse"}
    return RespondResult(
        **jsonable(
            {
                "action": "none",
                "target": None,
                "scope": group.to_dict(),
                "because": because,
                "options": [],
                "measures": _measures(log, alert, inquiry, group, None),
                "cost_of_acting": nothing,
                "cost_of_waiting": {**unknown, "text": "nothing"},
                "recovery": state,
                "wrong_if": [what_it_was(inquiry)],
                "next": "Check the baseline: if the weeks before were an incident, set [baseline] of the plan.",
                "summary": f"none: {because} Waiting costs nothing.",
            }
        )
    )


def _action(alert: Alert, inquiry: Inquiry, isolate: IsolateResult, group: Slice) -> tuple[str, str | None, str]:
    first = inquiry.causes[0]
    if inquiry.branch is not None and not inquiry.branch.sorted:
        return "investigate", None, inquiry.branch.question
    if isolate.verdict in ("none", "mix"):
        return "none", None, "no answer got worse for a reason that could be taken back."
    if isolate.verdict == "judge" or (isolate.verdict == first.name and first.kind == "judge"):
        return "revert_judge", isolate.verdict, "the judge changed, not the answers."
    if inquiry.branch is not None and isolate.verdict == "no recorded change fits":
        return "hotfix", f"{AWAY} {inquiry.branch.name}", inquiry.branch.sentence
    if isolate.verdict == "no recorded change fits":
        return "investigate", None, "something moved that nobody recorded; pin or switch the model while you look."
    if isolate.verdict == "cannot tell apart":
        recorded = [name for name in isolate.candidates if any(c.name == name and c.recorded for c in inquiry.causes)]
        if len(recorded) == len(isolate.candidates) and recorded:
            first_back = _cheapest(inquiry, recorded)
            words = f"{say.listed(recorded)} cannot be told apart; taking back {first_back}, the cheaper or later, is the experiment."
            return "rollback", first_back, words
        if inquiry.branch is not None:
            return "hotfix", f"{AWAY} {inquiry.branch.name}", inquiry.branch.sentence
        named = [say.cause_name(name, name in recorded) for name in isolate.candidates]
        return "investigate", None, f"{say.listed(named)} cannot be told apart yet."
    inside = in_scope(first.declared, inquiry.seen.frame) & (inquiry.seen.frame["timestamp"] >= first.at).to_numpy()
    part = (inquiry.seen.mask(group) & inside).sum() / max(inside.sum(), 1)
    words = f"{group.label} is {say.amount(part, 'share')} of the answers that {first.name} touched"
    confined = "category" in group.to_dict() or part < CONFINED
    if first.kind == "prompt" and confined:
        return "hotfix", first.name, f"{words}: fix the prompt there; the rest is not harmed."
    return (
        "rollback",
        first.name,
        f"{first.name} did it ({say.probability(isolate.ranking[0]['probability'])}); {words}.",
    )


def _cheapest(inquiry: Inquiry, names: list[str]) -> str:
    """The change that is taken back first: the cheapest kind to take back, then the later."""
    causes = [cause for cause in inquiry.causes if cause.name in names]
    order = [EASE.index(c.kind) if c.kind in EASE else len(EASE) for c in causes]
    early = [-c.at.timestamp() if c.at is not None else 0.0 for c in causes]
    return min(zip(order, early, (c.name for c in causes)))[2]


def _measures(log: Log, alert: Alert, inquiry: Inquiry, group: Slice, fix: dict | None) -> list[dict[str, Any]]:
    names = [alert.metric, *(name for name in BESIDE if name != alert.metric)]
    rows = []
    for name in names:
        seen = inquiry.seen if name == alert.metric else _beside(log, alert, inquiry, name, group)
        if seen is None or not len(seen.frame) or seen.columns != inquiry.seen.columns:
            continue
        row = compare(until_fix(seen, fix), group, inquiry.since, len(names))
        if row["n_before"] and row["n_after"]:
            kept = (*LEVELS, "n_before", "n_after")
            reading = _gain_or_loss(name, row["verdict"], row["change"])
            rows.append({"measure": name, "unit": seen.alert.unit, **{k: row[k] for k in kept}, "reading": reading})
    worse = [row for row in rows if row["reading"] == "worse"]
    for row in rows:
        if worse and row["reading"] in ("faster", "cheaper"):
            row["reading"] += f", beside worse {say.metric_words(worse[0]['measure'])}: no gain"
    return rows


def _gain_or_loss(name: str, reading: str, change: float) -> str:
    words = {
        "latency_p50_ms": ("slower", "faster"),
        "avg_cost_per_request_usd": ("dearer", "cheaper"),
        "avg_output_tokens": ("longer", "shorter"),
    }
    if reading not in ("worse", "better") or name not in words:
        return reading
    return words[name][0 if change > 0 else 1]


def _waiting(log: Log, alert: Alert, inquiry: Inquiry, group: Slice, fix: dict | None) -> dict[str, Any]:
    """Bad answers more a day while nothing is done: requests a day of the slice, times the rise of its bad share."""
    requests = inquiry.seen.asked(inquiry.since)
    rows = requests[group.mask(requests) & (requests["timestamp"] >= inquiry.since)]
    days = max((last_time(requests) - inquiry.since) / pd.Timedelta("1D"), 1 / 24)
    per_day = counts(rows).sum() / days
    seen = _bad_share(log, alert, inquiry)
    change = compare(until_fix(seen, fix), group, inquiry.since) if seen is not None else None
    usd = rows["cost_usd"].mean() if "cost_usd" in rows else None
    if inquiry.seen.source is not None:
        usd = inquiry.seen.source.paid(group, inquiry.since, None if fix is None else fix["at"])
    unknown = {"affected_per_day": None, "low": None, "high": None, "requests_per_day": per_day, "usd_per_day": None}
    if change is None or not np.isfinite(change["change"]):
        return unknown | _dearer(inquiry, group, fix, per_day)
    sign = seen.sign if seen else 1
    ends = sorted(per_day * sign * change[k] for k in ("low", "high"))
    estimate = per_day * sign * change["change"]
    what = "flagged" if seen is not None and seen.alert.metric == "flagged_rate" else say.metric_words(alert.metric)
    told = "bad" if what != "flagged" else "flagged"
    text = f"about {say.number(estimate)} more {told} answers a day ({say.number(ends[0])} to {say.number(ends[1])})"
    spent = None if usd is None or not np.isfinite(usd) else max(estimate, 0.0) * float(usd)
    if spent is not None:
        text += f", {say.amount(spent, 'usd')} a day spent on them"
    told_ends = {"affected_per_day": estimate, "low": ends[0], "high": ends[1]}
    return {**unknown, **told_ends, "usd_per_day": spent, "text": text}


def _dearer(inquiry: Inquiry, group: Slice, fix: dict | None, per_day: float) -> dict[str, Any]:
    """What a day costs more, of a measure that makes no single answer bad: in money where the measure is the cost of a request."""
    seen = inquiry.seen
    row = compare(until_fix(seen, fix), group, inquiry.since)
    answers = f"{say.number(per_day)} answers a day of {group.label}"
    if row["before"] is None or row["after"] is None:
        return {"text": f"{answers} as they are now"}
    if seen.alert.metric == "avg_cost_per_request_usd" and np.isfinite(row["change"]):
        more, *ends = (per_day * max(row[name], 0.0) for name in ("change", "low", "high"))
        low, high = (say.amount(end, "usd", like=more) for end in sorted(ends))
        return {
            "usd_per_day": more,
            "text": f"about {say.amount(more, 'usd')} a day more than before ({low} to {high})",
        }
    now, then = (say.amount(row[side], seen.alert.unit, like=row["after"]) for side in ("after", "before"))
    return {"text": f"{answers} at {say.metric_words(seen.alert.metric)} {now}, before {then}"}


def _beside(log: Log, alert: Alert, inquiry: Inquiry, metric: str, group: Slice) -> Observations | None:
    """Another measure of the same answers (those of a group at least), with the columns of the slice that was hit."""
    seen = observe(log, alert.about(metric, "up"), group)
    if seen is None:
        return None
    source = inquiry.seen.source
    if source is not None and source.told is not None:
        column, value, ids = source.told
        has = pd.Series(value, seen.frame.index).where(among(seen.frame["request_id"], ids))
        seen = replace(seen, frame=seen.frame.assign(**{column: has}))
    return replace(seen, requests=inquiry.seen.requests, columns=inquiry.seen.columns, source=source)


def _bad_share(log: Log, alert: Alert, inquiry: Inquiry) -> Observations | None:
    if inquiry.seen.scale == "share":
        return inquiry.seen
    if inquiry.seen.scale == "score":
        return _beside(log, alert, inquiry, "flagged_rate", inquiry.slice)
    return None


def _acting(measures: list[dict[str, Any]], per_day: float) -> dict[str, Any]:
    """What going back brings with it, on latency and cost: what it costs, and apart from that what it saves."""
    found = {row["measure"]: row for row in measures}
    latency, cost = found.get("latency_p50_ms"), found.get("avg_cost_per_request_usd")
    ms = None if latency is None else latency["before"] - latency["after"]
    usd = None if cost is None else 1000 * (cost["before"] - cost["after"])
    costs: list[str] = []
    saves: list[str] = []
    for row, more, times, unit, named in (
        (latency, ms, 1, "ms", "median latency"),
        (cost, usd, 1000, "usd", "cost per 1,000 requests"),
    ):
        if row is None or more is None:
            continue
        lead = times * max(row["after"], row["before"])
        now, then = (say.amount(times * row[side], unit, like=lead) for side in ("after", "before"))
        if now != then and more > 0:
            costs.append(f"a rise of {named} from {now} to {then}, as before")
        elif now != then:
            saves.append(f"{named} falls from {now} to {then}, as before")
    known = latency is not None or cost is not None
    text = "; ".join(costs) if costs else "nothing in latency and cost" if known else "latency and cost are not logged"
    return {
        "text": text,
        "saves": "; ".join(saves),
        "latency_ms": ms,
        "usd_per_1000": usd,
        "usd_per_day": None if usd is None else usd * per_day / 1000,
    }


def _earlier_models(inquiry: Inquiry, group: Slice) -> list[str]:
    """Model ids of the slice that stopped with the change: what can be pinned instead.

    Those that answered in the last day before the start; where there were none, the one that stopped last.
    """
    rows = inquiry.seen.asked(inquiry.since)
    rows = rows[group.mask(rows)]
    late = rows["timestamp"] >= inquiry.since
    last = rows.get(LAST, rows["timestamp"])
    stopped = last[~late].groupby(rows["model_id"]).max()
    stopped = stopped[~stopped.index.isin(rows.loc[late, "model_id"])].sort_index()
    recent = stopped[stopped >= inquiry.since - pd.Timedelta("1D")]
    return [str(name) for name in (recent if len(recent) else stopped.nlargest(1)).index]


def _options(
    action: str, target: str | None, group: Slice, acting: dict, waiting: dict, earlier: list[str], cause: str
) -> list[dict[str, str]]:
    routed = target is not None and target.startswith(AWAY)
    stop = f"an end to {waiting['text']}"
    wait = {"do": "wait", "costs": waiting["text"], "gains": "more answers to look at", "undo": "cannot be undone"}
    here = {
        "do": f"{target}" if routed else f"fix {target} for {group.label}",
        "costs": "the rest of the service takes its traffic" if routed else "one prompt edit and its eval run",
        "gains": stop,
        "undo": "route it back" if routed else "the edit",
    }
    step, undo = (
        (f"pin {', '.join(earlier)} for {group.label}", "unpin") if earlier else (f"roll back {target}", "deploy it")
    )
    gains = f"{stop}; {acting['saves']}" if acting["saves"] else stop
    back = {"do": step, "costs": acting["text"], "gains": gains, "undo": undo}
    first = {
        "hotfix": [here] if routed else [here, back],
        "rollback": [back],
        "revert_judge": [
            {
                "do": "score with the earlier judge",
                "costs": "re-judging the period",
                "gains": "one scale again",
                "undo": "the new judge",
            }
        ],
        "investigate": [
            {
                "do": _look_into(earlier, cause),
                "costs": "an hour of people",
                "gains": "a cause",
                "undo": "nothing to undo" if cause == "mix" else "unpin",
            }
        ],
        "none": [],
    }[action]
    return [*first, wait]


def _look_into(earlier: list[str], cause: str) -> str:
    if cause == "mix":
        return "ask the owners why other questions come"
    return f"pin {', '.join(earlier) or 'or switch the model'} and ask the owners"


def _wrong_if(action: str, isolate: IsolateResult, inquiry: Inquiry, group: Slice) -> list[str]:
    if action == "none":
        return ["Later answers keep falling: run the report again tomorrow."]
    told = list(isolate.what_would_change_this)
    first, frame = inquiry.causes[0], inquiry.seen.frame
    hit = group.mask(frame) & (frame["timestamp"] >= inquiry.since).to_numpy()
    covered = (hit & in_scope(first.declared, frame)).sum() / max(hit.sum(), 1)
    if first.recorded and covered < COVERED:
        share = say.amount(covered, "share")
        told.append(f"{first.name} reached only {share} of the answers of {group.label}: the rest has another cause.")
    return told


def _next(action: str, target: str | None, state: dict[str, Any]) -> str:
    if state["recovered"]:
        return "Go on to learn: put the failing cases into the eval suite, and close."
    if state["fix"] is not None and not (action == "investigate" and state["recovered"] is False):
        if state["fix"]["change_id"] is None:
            return f"Write into the change log what was taken back on {say.moment(state['fix']['at'])}, then let the recovery test run."
        return f"{state['fix']['change_id']} is live: let the recovery test run."
    if target is not None and target.startswith(AWAY):
        return "Take the branch out of the traffic, write it into the change log, then let the recovery test run."
    return {
        "rollback": "Roll back, write it into the change log, then let the recovery test run.",
        "hotfix": "Fix the prompt, run the eval cases of the next stage on it, write it into the change log, then let "
        "the recovery test run.",
        "revert_judge": "Score the period again with the earlier judge.",
        "investigate": "Find the event, or separate the candidates; then run this stage again.",
        "none": "Go on to learn, and close.",
    }[action]
