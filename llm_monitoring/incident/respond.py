"""What to do? Take back, mend, or look further; what acting and waiting cost; when it counts as recovered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import wording as say
from llm_monitoring.incident.alert import Alert, read_alert
from llm_monitoring.incident.causes import in_scope
from llm_monitoring.incident.comparison import FEWEST, compare
from llm_monitoring.incident.inquiry import Inquiry, inquire
from llm_monitoring.incident.observations import Observations, observe
from llm_monitoring.incident.slices import Slice
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    from llm_monitoring.incident.isolate import IsolateResult
    from llm_monitoring.incident.scope import ScopeResult
    from llm_monitoring.log import Log

CONFINED = 0.25
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
        test (in words), needed_n, margin, n, recovered (true, false, or null: not tested yet), because.
    wrong_if : list of str
        What would make the advice wrong.
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

    @property
    def headline(self) -> str:
        """The action, its reason and what waiting costs."""
        target = f" {self.target}" if self.target else ""
        return f"{self.action.replace('_', ' ')}{target}: {self.because} Waiting costs {self.cost_of_waiting['text']}."

    def to_frame(self) -> pd.DataFrame:
        """The hit slice on every measure, before and since."""
        columns = [
            "measure",
            "unit",
            "before",
            "before_low",
            "before_high",
            "after",
            "after_low",
            "after_high",
            "reading",
        ]
        return pd.DataFrame(self.measures, columns=columns)

    def plot(self, ax=None, narrow: bool = False):
        """How far the recovery test has come."""
        from llm_monitoring.incident import drawing

        n, needed = self.recovery.get("n") or 0, self.recovery.get("needed_n") or 0
        return drawing.progress(n, needed, f"recovery test: {n:,} of {needed:,} answers", ax)


def respond(log: Log, alert, scope: ScopeResult, isolate: IsolateResult) -> RespondResult:
    """Advise what to do about an alert.

    Parameters
    ----------
    log : Log
    alert : row of `check`, dict or Alert
    scope, isolate : results of the two stages before

    Returns
    -------
    RespondResult

    Notes
    -----
    A recorded change that is named is rolled back; where the harm is confined to a category, or to less than a quarter
    of what the change touched, a prompt is mended there instead. A judge that changed is reverted, no answer is touched.
    Recovered means: on the hit slice, the level since the fix is within a margin of the level before, one-sided 95 %
    (non-inferiority). A silent alert is not recovery.

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
    alert = read_alert(alert)
    inquiry = inquire(log, alert)
    if inquiry is None:
        return _nothing(isolate)
    group = Slice(tuple(scope.slices[0]["where"].items())) if scope.slices else inquiry.slice
    action, target, because = _action(alert, inquiry, isolate, group)
    measures = _measures(log, alert, inquiry, group)
    waiting, acting = _waiting(log, alert, inquiry, group), _acting(measures)
    return RespondResult(
        **jsonable(
            {
                "action": action,
                "target": target,
                "scope": group.to_dict(),
                "because": because,
                "options": _options(action, target, group, acting, waiting, _earlier_models(inquiry, group)),
                "measures": measures,
                "cost_of_acting": acting,
                "cost_of_waiting": waiting,
                "recovery": recovery(log, inquiry, group),
                "wrong_if": _wrong_if(action, isolate),
                "next": _next(action),
            }
        )
    )


def _action(alert: Alert, inquiry: Inquiry, isolate: IsolateResult, group: Slice) -> tuple[str, str | None, str]:
    first = inquiry.causes[0]
    if not alert.harmful:
        return "none", None, "the metric moved to the better side."
    if isolate.verdict in ("none", "mix"):
        return "none", None, "no answer got worse for a reason that could be taken back."
    if isolate.verdict == "judge":
        return "revert_judge", "judge", "the judge changed, not the answers."
    if isolate.verdict == "no recorded change fits":
        return "investigate", None, "something moved that nobody recorded; pin or switch the model while you look."
    if isolate.verdict == "cannot tell apart":
        recorded = [name for name in isolate.candidates if any(c.name == name and c.recorded for c in inquiry.causes)]
        if len(recorded) == len(isolate.candidates) and recorded:
            both = " and ".join(recorded)
            return "rollback", recorded[0], f"{both} cannot be told apart; taking back the first is the experiment."
        return "investigate", None, f"{', '.join(isolate.candidates)} cannot be told apart yet."
    inside = in_scope(first.declared, inquiry.seen.frame) & (inquiry.seen.frame["timestamp"] >= first.at).to_numpy()
    part = (group.mask(inquiry.seen.frame) & inside).sum() / max(inside.sum(), 1)
    words = f"{group.label} is {say.amount(part, 'share')} of the answers that {first.name} touched"
    confined = "category" in group.to_dict() or part < CONFINED
    if first.kind == "prompt" and confined:
        return "hotfix", first.name, f"{words}: mend the prompt there, the rest is not harmed."
    return (
        "rollback",
        first.name,
        f"{first.name} did it ({say.probability(isolate.ranking[0]['probability'])}); {words}.",
    )


def _measures(log: Log, alert: Alert, inquiry: Inquiry, group: Slice) -> list[dict[str, Any]]:
    names = [alert.metric, *(name for name in BESIDE if name != alert.metric)]
    rows = []
    for name in names:
        seen = inquiry.seen if name == alert.metric else observe(log, replace(alert, metric=name, direction="up"))
        if seen is None or not len(seen.frame) or seen.columns != inquiry.seen.columns:
            continue
        row = compare(seen, group, inquiry.since, len(names))
        if row["n_before"] and row["n_after"]:
            kept = ("before", "before_low", "before_high", "after", "after_low", "after_high", "n_before", "n_after")
            reading = _reading(name, row["verdict"], row["change"])
            rows.append({"measure": name, "unit": seen.alert.unit, **{k: row[k] for k in kept}, "reading": reading})
    worse = [row for row in rows if row["reading"] == "worse"]
    for row in rows:
        if worse and row["reading"] in ("faster", "cheaper"):
            row["reading"] += f", beside worse {say.metric_words(worse[0]['measure'])}: no gain"
    return rows


def _reading(name: str, verdict: str, change: float) -> str:
    words = {
        "latency_p50_ms": ("slower", "faster"),
        "avg_cost_per_request_usd": ("dearer", "cheaper"),
        "avg_output_tokens": ("longer", "shorter"),
    }
    if verdict not in ("worse", "better") or name not in words:
        return verdict
    return words[name][0 if change > 0 else 1]


def _waiting(log: Log, alert: Alert, inquiry: Inquiry, group: Slice) -> dict[str, Any]:
    """Bad answers more a day while nothing is done: requests a day of the slice, times the rise of its bad share."""
    requests = inquiry.seen.requests
    rows = requests[group.mask(requests) & (requests["timestamp"] >= inquiry.since)]
    days = max((requests["timestamp"].max() - inquiry.since) / pd.Timedelta("1D"), 1 / 24)
    per_day = len(rows) / days
    seen = _bad_share(log, alert, inquiry)
    change = compare(seen, group, inquiry.since) if seen is not None else None
    unknown = {"affected_per_day": None, "low": None, "high": None, "requests_per_day": per_day}
    if change is None or not np.isfinite(change["change"]):
        return {**unknown, "text": f"{say.number(per_day)} answers a day of {group.label} as they are now"}
    sign = seen.sign if seen else 1
    ends = sorted(per_day * sign * change[k] for k in ("low", "high"))
    estimate = per_day * sign * change["change"]
    what = "flagged" if seen is not None and seen.alert.metric == "flagged_rate" else say.metric_words(alert.metric)
    told = "bad" if what != "flagged" else "flagged"
    text = f"about {say.number(estimate)} more {told} answers a day ({say.number(ends[0])} to {say.number(ends[1])})"
    return {"affected_per_day": estimate, "low": ends[0], "high": ends[1], "requests_per_day": per_day, "text": text}


def _bad_share(log: Log, alert: Alert, inquiry: Inquiry) -> Observations | None:
    if inquiry.seen.scale == "share":
        return inquiry.seen
    if inquiry.seen.scale == "score":
        return observe(log, replace(alert, metric="flagged_rate", direction="up"))
    return None


def _acting(measures: list[dict[str, Any]]) -> dict[str, Any]:
    """What going back brings with it: the levels of before on latency and cost."""
    found = {row["measure"]: row for row in measures}
    latency, cost = found.get("latency_p50_ms"), found.get("avg_cost_per_request_usd")
    ms = None if latency is None else latency["before"] - latency["after"]
    usd = None if cost is None else 1000 * (cost["before"] - cost["after"])
    told = []
    if latency is not None:
        told.append(
            f"median latency {say.amount(latency['after'], 'ms')} back to {say.amount(latency['before'], 'ms')}"
        )
    if cost is not None:
        a, b = (say.amount(1000 * cost[k], "usd") for k in ("after", "before"))
        told.append(f"cost per 1,000 requests {a} back to {b}")
    text = (
        f"Going back brings the levels of before: {'; '.join(told)}."
        if told
        else "Latency and cost are not in the log."
    )
    return {"text": text, "latency_ms": ms, "usd_per_1000": usd}


def _earlier_models(inquiry: Inquiry, group: Slice) -> list[str]:
    """Model ids of the slice that stopped with the change: what can be pinned instead."""
    rows = inquiry.seen.requests
    rows = rows[group.mask(rows)]
    late = rows["timestamp"] >= inquiry.since
    return sorted(set(rows.loc[~late, "model_id"]) - set(rows.loc[late, "model_id"]))


def _options(
    action: str, target: str | None, group: Slice, acting: dict, waiting: dict, earlier: list[str]
) -> list[dict[str, str]]:
    stop = f"an end to {waiting['text']}"
    wait = {"do": "wait", "costs": waiting["text"], "gains": "more judged answers", "undo": "cannot be undone"}
    here = {
        "do": f"mend {target} for {group.label}",
        "costs": "one prompt edit and its eval run",
        "gains": stop,
        "undo": "the edit",
    }
    step, undo = (
        (f"pin {', '.join(earlier)} for {group.label}", "unpin") if earlier else (f"roll back {target}", "deploy it")
    )
    back = {"do": step, "costs": acting["text"], "gains": stop, "undo": undo}
    first = {
        "hotfix": [here, back],
        "rollback": [back],
        "revert_judge": [
            {
                "do": "score with the judge of before",
                "costs": "re-judging the period",
                "gains": "one scale again",
                "undo": "the new judge",
            }
        ],
        "investigate": [
            {
                "do": "pin the model version and ask the owners",
                "costs": "an hour of people",
                "gains": "a cause",
                "undo": "unpin",
            }
        ],
        "none": [],
    }[action]
    return [*first, wait]


def recovery(log: Log, inquiry: Inquiry, group: Slice) -> dict[str, Any]:
    """Non-inferiority test of the hit slice since the first change recorded after the alert, against before."""
    seen = inquiry.seen
    rows = seen.frame[group.mask(seen.frame)]
    before = rows.loc[rows["timestamp"] < inquiry.since, "value"].to_numpy(float)
    now = rows.loc[rows["timestamp"] >= inquiry.since, "value"].to_numpy(float)
    if len(before) < 2:
        return {
            "test": "too few answers before",
            "needed_n": None,
            "margin": None,
            "n": 0,
            "recovered": None,
            "because": "",
        }
    margin = _margin(seen, before, now)
    spread = max(before.std(ddof=1), 1e-9)
    needed = max(int(np.ceil(((stats.norm.ppf(0.95) + stats.norm.ppf(0.9)) * spread / margin) ** 2)), FEWEST)
    after, fix = _since_fix(log, inquiry, rows)
    unit = seen.alert.unit
    test = (
        f"Recovered when {say.metric_words(seen.alert.metric)} of the next {needed:,} answers in {group.label} is less than "
        f"{say.difference(margin, unit).lstrip('+')} worse than {say.amount(before.mean(), unit)}, one-sided 95 %, power 90 %."
    )
    recovered, because = None, "No change is recorded after the alert: nothing to test yet."
    if fix is not None:
        recovered, because = _tested(seen, before, after, margin, needed, fix)
    return {
        "test": test,
        "needed_n": needed,
        "margin": margin,
        "n": len(after),
        "recovered": recovered,
        "because": because,
    }


def _margin(seen: Observations, before: np.ndarray, now: np.ndarray) -> float:
    """A third of the fall, within bounds: 0.1 to 0.25 score points, 2.5 to 6.25 points of a share, a tenth of a level."""
    fall = abs(now.mean() - before.mean()) / 3 if len(now) else 0.0
    if seen.scale == "log":
        return float(max(0.1 * before.mean(), 1e-9))
    low, high = (0.1, 0.25) if seen.scale == "score" else (0.025, 0.0625)
    return float(np.clip(fall, low, high))


def _since_fix(log: Log, inquiry: Inquiry, rows: pd.DataFrame) -> tuple[np.ndarray, dict | None]:
    later = log.changes[log.changes["timestamp"] > inquiry.seen.alert.fired_at].sort_values("timestamp")
    if not len(later):
        return np.array([]), None
    fix = later.iloc[0].to_dict()
    return rows.loc[rows["timestamp"] >= fix["timestamp"], "value"].to_numpy(float), fix


def _tested(seen: Observations, before, after, margin: float, needed: int, fix: dict) -> tuple[bool | None, str]:
    since = f"since {fix['change_id']} ({say.moment(fix['timestamp'])})"
    if len(after) < min(needed, 20):
        return None, f"{len(after)} answers {since}: {needed:,} are needed."
    harm = seen.sign if seen.alert.harmful else -seen.sign
    change = seen.change(before, after)
    low, high = sorted((harm * change.low, harm * change.high))
    told = f"{say.difference(change.estimate, seen.alert.unit)} {since} against before, n {len(after):,}"
    if high < margin:
        return True, f"Recovered: {told}."
    return (False, f"Not recovered: {told}.") if low > margin else (None, f"Not decided: {told}.")


def _wrong_if(action: str, isolate: IsolateResult) -> list[str]:
    if action == "none":
        return ["Later answers keep falling: run the report again tomorrow."]
    return list(isolate.what_would_change_this)


def _next(action: str) -> str:
    return {
        "rollback": "Roll back, then let the recovery test run.",
        "hotfix": "Mend the prompt, run the eval cases of the next stage on it, then let the recovery test run.",
        "revert_judge": "Score the period again with the judge of before.",
        "investigate": "Find the event, or separate the candidates; then run this stage again.",
        "none": "Go on to learn, and close.",
    }[action]


def _nothing(isolate: IsolateResult) -> RespondResult:
    unknown: dict[str, Any] = {"text": "an unknown amount: the metric has no value for single answers here, or too few"}
    untested = {"test": "none", "needed_n": None, "margin": None, "n": 0, "recovered": None, "because": unknown["text"]}
    return RespondResult(
        "investigate", None, {}, "the stages before could not conclude.", [], [], unknown, unknown, untested,
        list(isolate.what_would_change_this), "Look at the chart of this metric and the change log by eye.",
    )  # fmt: skip
