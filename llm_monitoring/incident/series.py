"""Alerts on what no single answer has: request volume, total spend, probes, drift of the questions; or on too few answers.

The metric is read window by window. A step at the time of each recorded change, and at any other time of the last eight
days, is weighed against none; where there are no windows to weigh, the causes keep their priors, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.incident.courses import Course, course_of
from llm_monitoring.incident.parts import COMPARED, parts_of
from llm_monitoring.incident.recovery import untested

if TYPE_CHECKING:
    from llm_monitoring.log import Log

PRIOR = {"recorded": 0.35, "other": 0.15, "none": 0.50}
BY_USERS = {
    "recorded": 0.2,
    "mix": 0.2,
    "silent": 0.1,
}  # of volume and spend: users ask more as often as somebody changes something
OF_QUESTIONS = {"recorded": 0.1, "mix": 0.35, "silent": 0.05}  # few changes bring other questions
OLD, ELSEWHERE, REACH = 0.15, 0.001, pd.Timedelta("8D")
REAL, FALSE, TIED = 0.5, 0.2, 0.9
USERS = {"request_count": "users ask more or fewer questions", "query_drift": "users ask other questions"}


@dataclass(frozen=True)
class Series:
    """A metric window by window, with the belief over what moved it.

    Attributes
    ----------
    course : Course
        The windows, and the scale on which a step adds.
    ranking : list of dict
        Causes, best first; probabilities sum to 1.
    onset : dict
        at, low, high (90 %); None where no window tells.
    since : Timestamp
        Where before ends and now begins.
    ended : Timestamp or None
        When the level was back, where it is.
    """

    log: Log
    alert: Alert
    course: Course
    ranking: list[dict[str, Any]]
    onset: dict[str, Any]
    since: pd.Timestamp
    ended: pd.Timestamp | None
    change: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, log: Log, alert: Alert, plan: Plan) -> Series:
        """Read the windows and weigh the causes."""
        course = course_of(log, alert)
        causes = _causes(log, alert)
        times, weight = _times(course, alert)
        ranking = _believe(course, alert, causes, times, weight)
        onset = _onset(times, weight, ranking)
        since = onset["at"] or alert.window_start or alert.fired_at
        ended = course.back(since, alert) if alert.kind == "change" else None
        return cls(log, alert, course, ranking, onset, since, ended, course.change(since, ended))

    @property
    def better(self) -> bool:
        return self.alert.kind == "better"

    @property
    def named(self) -> str:
        """Metric and feature in words."""
        return f"{say.metric_words(self.alert.metric)} in {self.alert.of}"

    @property
    def probability(self) -> float:
        """Probability that the level moved."""
        return 1 - sum(row["probability"] for row in self.ranking if row["kind"] == "none")

    @property
    def sentence(self) -> str:
        """Before, since and n in words; what the alert says where there are no windows."""
        c, unit = self.change, self.alert.unit
        if c["before"] is None or c["after"] is None:
            if self.course.drift is not None:
                return f"the questions asked in {self.alert.of} are not those of the baseline since {say.moment(self.since)}"
            return f"{self.named} alerted {say.moment(self.alert.fired_at)}"
        a, b = (f"{say.amount(c[k], unit, like=c['after'])}{self.course.per}" for k in ("before", "after"))
        return (
            f"{self.named} went from {a} ({c['n_before']:,} {self.course.counted}) to {b} ({c['n_after']:,}) "
            f"since {say.moment(self.since)}"
        )

    def triage(self) -> dict[str, Any]:
        p, c = self.probability, self.change
        if self.course.drift is not None:
            verdict = "real" if p >= REAL else "inconclusive"
        else:
            verdict = "real" if p >= REAL else "false_positive" if p <= FALSE else "inconclusive"
        if self.better:
            verdict = "real" if p >= 0.975 else "inconclusive"
        reasons = [f"{say.capital(self.sentence).rstrip('.')}."]
        if c["estimate"] is not None:
            unit = self.alert.unit
            reasons.append(
                f"The change is {say.difference(c['estimate'], unit)} {say.span(c['low'], c['high'], unit, sign=True, like=c['estimate'])}{self.course.per}, "
                f"95 %, by the spread of the {self.course.counted} before."
            )
        if self.course.why:
            reasons.append(self.course.why)
        reasons += self.course.notes
        reasons.append(f"Chance alone: probability {say.probability(1 - p)}.")
        if self.ended is not None:
            reasons.append(f"Back at its earlier level since {say.moment(self.ended)}.")
        if self.alert.message and self.alert.message not in reasons:
            reasons.append(self.alert.message)
        return {
            "verdict": verdict,
            "probability_real": p,
            "since": self.since,
            "change": {**c, "per": self.course.per},
            "reasons": reasons,
            "next": self._after_triage(verdict),
            "chart": self.course.chart(),
            "summary": f"{self._verdict_words(verdict)} (P {say.probability(p)}): {self.sentence}",
        }

    def _verdict_words(self, verdict: str) -> str:
        if self.better:
            return "better" if verdict == "real" else "perhaps better"
        return {"false_positive": "false positive"}.get(verdict, verdict)

    def _after_triage(self, verdict: str) -> str:
        if self.better:
            return "Nothing to do. If the weeks before were an incident, set [baseline] of the plan."
        if verdict == "real":
            return "Go on to scope: which part of the traffic is it?"
        if verdict == "false_positive":
            return "Close it as a false alarm; the chart goes on with the same baseline."
        return "Wait for more windows, or look at the alerts beside it."

    def scope(self) -> dict[str, Any]:
        kind, slices, leaves, reasons, looked, skipped = parts_of(
            self.log, self.alert, self.course, self.since, self.ended
        )
        whole = self._whole_row()
        shown = slices or ([whole] if whole["after"] is not None else [])
        unit = self.alert.unit
        first = shown[0] if shown else None
        if self.course.drift is not None or first is None or first["before"] is None or not slices:
            told = reasons[0] if reasons else self.sentence
        else:
            told = (
                f"{first['label']}: {say.amount(first['before'], unit, like=first['after'])}{self.course.per} before, "
                f"{say.amount(first['after'], unit)} since, {say.difference(first['change'], unit)} "
                f"{say.span(first['low'], first['high'], unit, sign=True, like=first['change'])}"
            )
        return {
            "kind": kind,
            "since": self.since,
            "until": self.log.span("requests")[1],
            "slices": shown,
            "leaves": leaves,
            "reasons": reasons or [f"{say.capital(self.sentence)}."],
            "next": "Go on to isolate: what did it?" if not self.better else "Nothing to do.",
            "looked_at": looked,
            "not_looked_at": skipped,
            "summary": told,
        }

    def _whole_row(self) -> dict[str, Any]:
        c, feature = self.change, self.alert.feature_id
        sign = 1 if self.alert.direction == "up" else -1
        sure = c["low"] is not None and (c["low"] > 0 or c["high"] < 0)
        harm = self.alert.harmful if sign * (c["estimate"] or 0) > 0 else not self.alert.harmful
        verdict = ("worse" if harm else "better") if sure else "no change seen"
        return {
            "where": {} if feature is None else {"feature_id": feature},
            "label": feature or "all answers",
            "verdict": verdict,
            **{name: c[name] for name in COMPARED},
            "change": c["estimate"],
            "share_of_change": 1.0 if c["estimate"] else None,
            "probability": self.probability,
        }

    def isolate(self) -> dict[str, Any]:
        total = np.cumsum([row["probability"] for row in self.ranking])
        candidates = [row["cause"] for row in self.ranking[: int(np.searchsorted(total, TIED - 1e-12)) + 1]]
        first = self.ranking[0]
        verdict = "cannot tell apart"
        if first["probability"] >= 0.8 or len(candidates) == 1:
            verdict = "no recorded change fits" if first["cause"] == "silent" else first["cause"]
        if self.better:
            verdict = "nothing to explain"
        start = f"; start {say.moment(self.onset['at'])}" if self.onset["at"] is not None else ""
        listed = ", ".join(
            f"{self._called(row['cause'])} {say.probability(row['probability'])}"
            for row in self.ranking[: len(candidates)]
        )
        told = f"{verdict}: {listed}{start}" if verdict != first["cause"] else f"{listed}{start}"
        return {
            "ranking": self.ranking,
            "onset": {**self.onset, "shape": "step"},
            "verdict": verdict,
            "candidates": candidates,
            "where": {} if self.alert.feature_id is None else {"feature_id": self.alert.feature_id},
            "changes_in_reach": sum(row["recorded"] for row in self.ranking),
            "answers": [],
            "what_would_change_this": [
                "An event that nobody logged in the same window: ask the owners of the feature and of the model."
                if first["recorded"]
                else "A change that was made and not logged: ask the owners of the feature, the model and the clients."
            ],
            "next": "Nothing to do." if self.better else "Go on to respond: what to do.",
            "summary": told,
        }

    def respond(self) -> dict[str, Any]:
        action, target, because = self._action()
        waiting = self._waiting()
        back = {
            "do": f"roll back {target}",
            "costs": "what the change brought",
            "gains": "the earlier level",
            "undo": "deploy it again",
        }
        look = {
            "do": self._look(),
            "costs": "an hour of one person",
            "gains": "a cause",
            "undo": "there is nothing to undo",
        }
        first = {"rollback": [back], "investigate": [look]}.get(action, [])
        wait = {"do": "wait", "costs": waiting["text"], "gains": "more windows", "undo": "cannot be undone"}
        return {
            "action": action,
            "target": target,
            "scope": {} if self.alert.feature_id is None else {"feature_id": self.alert.feature_id},
            "because": because,
            "options": [*first, wait] if first else [],
            "measures": [],
            "cost_of_acting": {
                "text": "An hour of one person." if action != "none" else "Nothing.",
                "latency_ms": None,
                "usd_per_1000": None,
            },
            "cost_of_waiting": waiting,
            "recovery": self._recovery(),
            "wrong_if": ["Later windows move again: run the report again tomorrow."]
            if action == "none"
            else [self._wrong()],
            "next": {
                "rollback": "Roll back, write it into the change log, then look at the next windows.",
                "investigate": f"{say.capital(self._look())}; then run this stage again.",
                "none": "Nothing to do.",
            }[action],
            "summary": f"{action}{f' {target}' if target else ''}: {because} Waiting costs {waiting['text']}.",
        }

    def open_points(self) -> list[str]:
        """What keeps it open: nothing where it ended, got better, or was chance."""
        if self.better or self.ended is not None or self._action()[0] == "none":
            return []
        return [str(self._recovery()["because"])]

    def quotes(self) -> dict[str, Any]:
        """No single answer shows it."""
        return {}

    def _action(self) -> tuple[str, str | None, str]:
        if self.better:
            return "none", None, f"{say.capital(self.sentence).rstrip('.')}: it got better, there is nothing to do."
        if self.ended is not None:
            return "none", None, f"{self.named} has been back at its earlier level since {say.moment(self.ended)}."
        found = self.isolate()
        first = self.ranking[0]
        if found["verdict"] == "none":
            return "none", None, "chance explains it best: nothing could be taken back."
        if first["recorded"] and found["verdict"] == first["cause"]:
            return "rollback", first["cause"], f"{first['cause']} did it ({say.probability(first['probability'])})."
        if found["verdict"] == "mix":
            return (
                "investigate",
                None,
                f"{USERS.get(self.alert.metric, 'users ask for more')}: none of your changes explains it.",
            )
        return (
            "investigate",
            None,
            f"{say.listed([self._called(name) for name in found['candidates']])} cannot be told apart by the windows alone.",
        )

    def _called(self, cause: str) -> str:
        """A cause within a sentence; of totals the users, who may ask for more as well as for other things."""
        if cause == "mix" and self.alert.measure.total:
            return "the users"
        return say.cause_name(cause, any(row["cause"] == cause and row["recorded"] for row in self.ranking))

    def _look(self) -> str:
        return {
            "query_drift": "read 20 of the new questions, and judge them apart",
            "request_count": "ask who sends the requests: clients, retries, a campaign",
            "total_cost_usd": "look at the 20 most expensive requests and at the volume",
            "probe_pass_rate": "read the probes that fail now, and judge 20 answers of that model",
            "probe_distance": "read what the model answers to the border probes, and judge 20 of its answers",
        }.get(self.alert.metric, "judge or read 20 more answers of the period")

    def _wrong(self) -> str:
        if self.alert.metric.startswith("probe"):
            return "Users are served by another version than the one that the probes reached."
        return "The windows since the start are not like those before for another reason, such as a holiday."

    def _waiting(self) -> dict[str, Any]:
        unknown = {"affected_per_day": None, "low": None, "high": None, "requests_per_day": None, "usd_per_day": None}
        c, unit = self.change, self.alert.unit
        if self.better or self.ended is not None:
            return {**unknown, "text": "nothing"}
        if self.alert.metric.startswith("probe"):
            return {
                **unknown,
                "text": "what the failing probes stand for: probes are not users, so answers have to be judged",
            }
        if self.course.drift is not None:
            return {**unknown, "text": "answers to new questions that nobody has judged yet"}
        if c["estimate"] is None or self.course.step is None:
            return {**unknown, "text": "what cannot be counted yet: too few answers"}
        a_day = pd.Timedelta("1D") / self.course.step
        more, ends = c["estimate"] * a_day, sorted((c["low"] * a_day, c["high"] * a_day))
        what = (
            "USD"
            if unit == "usd"
            else say.metric_words(self.alert.metric)
            if unit not in ("requests", "count")
            else "requests"
        )
        digits = 2 if unit == "usd" else 0
        text = f"{say.number(abs(more), digits)} {what} {'more' if more > 0 else 'fewer' if unit != 'usd' else 'less'} a day"
        text += f" ({say.number(ends[0], digits, True)} to {say.number(ends[1], digits, True)})"
        return {**unknown, "text": text, "usd_per_day": more if unit == "usd" else None}

    def _recovery(self) -> dict[str, Any]:
        if self.better:
            return untested("It got better: there is nothing to recover from.") | {"test": "none: nothing got worse"}
        if self.ended is not None:
            told = f"Recovered: {self.named} has been back at its earlier level since {say.moment(self.ended)}."
            return untested(told) | {"test": "back at the earlier level", "recovered": True, "decided_at": self.ended}
        if self.course.drift is not None:
            return untested(
                "New questions are not a fault: set [baseline] of the plan to the new ones once they are judged."
            ) | {"test": "a week whose questions do not differ from the baseline's"}
        if self.course.step is None:
            return untested("Too few earlier answers to compare with.")
        test = (
            f"Back when three {self.course.counted} in a row lie within what the {self.course.counted} before spread."
        )
        return untested(f"{say.capital(self.named)} is not back at its earlier level.") | {"test": test}


def _causes(log: Log, alert: Alert) -> list[dict[str, Any]]:
    """Every recorded change before the alert, what nobody recorded, what users do, and chance; `weight` is the prior."""
    changes = log.changes[log.changes["timestamp"] <= alert.fired_at].sort_values(["timestamp", "change_id"])
    found = []
    for row in changes.to_dict("records"):
        weight = 1.0 if alert.fired_at - row["timestamp"] <= REACH else OLD
        named = row.get("feature_id")
        mine = (
            not isinstance(named, str)
            or alert.feature_id is None
            or alert.feature_id in [v.strip() for v in named.split(",")]
        )
        weight *= 1.0 if mine else ELSEWHERE
        text = str(row.get("description") or row["kind"])
        found.append(_cause(row["change_id"], row["kind"], text, row["timestamp"], weight, True))
    by_users = alert.measure.total or alert.metric == "query_drift"
    prior = OF_QUESTIONS if alert.metric == "query_drift" else BY_USERS if by_users else _prior_of_service(alert)
    total = max(sum(cause["weight"] for cause in found), 1.0)
    for cause in found:
        cause["weight"] *= prior["recorded"] / total
    left = prior["recorded"] - sum(cause["weight"] for cause in found)
    prior = {**prior, "none": PRIOR["none"] + max(left, 0.0)}
    words = {name: line for name, (_, line) in say.UNRECORDED.items()}
    words["mix"] = USERS.get(alert.metric, "users ask for more, or for other things")
    return found + [
        _cause(name, name, words[name], None, weight, False) for name, weight in prior.items() if name in words
    ]


def _prior_of_service(alert: Alert) -> dict[str, float]:
    others = ["silent", *(["judge"] if alert.judged else [])]
    return {"recorded": PRIOR["recorded"], **dict.fromkeys(others, PRIOR["other"] / len(others))}


def _cause(name: str, kind: str, text: str, at: Any, weight: float, recorded: bool) -> dict[str, Any]:
    return {"cause": name, "kind": kind, "description": text, "at": at, "weight": weight, "recorded": recorded}


def _times(course: Course, alert: Alert) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Starts of the windows of the last eight days before the alert, and the log Bayes factor of a step at each."""
    starts = course.starts()
    if not len(starts):
        return pd.DatetimeIndex([], tz="UTC"), np.array([])
    times = starts[(starts > alert.fired_at - REACH) & (starts < alert.fired_at) & (starts > starts[0])]
    return times, np.array([course.log_step(at, alert) for at in times])


def _believe(
    course: Course, alert: Alert, causes: list[dict], times: pd.DatetimeIndex, weight: np.ndarray
) -> list[dict[str, Any]]:
    anytime = float(logsumexp(weight) - np.log(len(weight))) if len(weight) else course.drift_evidence()
    log_belief = []
    for cause in causes:
        fit = 0.0
        if cause["kind"] != "none":
            fit = anytime
        if cause["recorded"] and len(weight):
            fit = course.log_step(cause["at"], alert)
        log_belief.append(np.log(cause["weight"] + 1e-300) + fit)
    belief = np.exp(np.array(log_belief) - logsumexp(log_belief))
    order = np.argsort(-belief, kind="stable")
    ranked = []
    for i in order:
        row = {name: causes[i][name] for name in ("cause", "kind", "description", "at")}
        evidence = _evidence(course, alert, causes[i], len(weight) > 0)
        ranked.append({**row, "probability": float(belief[i]), "recorded": causes[i]["recorded"], "evidence": evidence})
    return ranked


def _evidence(course: Course, alert: Alert, cause: dict[str, Any], weighed: bool) -> list[str]:
    if not weighed and course.drift is None:
        return [
            "Nothing to weigh: too few windows or answers, so this is how often such causes did it elsewhere (prior)."
        ]
    if cause["kind"] == "none":
        return ["Chance would have to explain all of it."]
    if course.drift is not None:
        told = (
            f"Logged {say.moment(cause['at'])}; a weekly test cannot date the new questions more closely."
            if cause["recorded"]
            else None
        )
        return [told or "A weekly test says that the questions differ, and not who brought them."]
    if not cause["recorded"]:
        return ["Needs no recorded change: it may have begun in any window of the eight days before the alert."]
    ratio = course.log_step(cause["at"], alert)
    side = "for" if ratio > 0 else "against"
    odds = say.number(float(np.exp(min(abs(ratio), 15))), 0 if abs(ratio) > 2.3 else 1)
    return [
        f"Logged {say.moment(cause['at'])}. {course.told_around(cause['at'])}",
        f"The windows before and after it give odds of {odds} to 1 {side} a step then.",
    ]


def _onset(times: pd.DatetimeIndex, weight: np.ndarray, ranking: list[dict[str, Any]]) -> dict[str, Any]:
    if not len(times):
        return {"at": None, "low": None, "high": None}
    share = np.exp(weight - logsumexp(weight))
    total = np.cumsum(share)
    low, middle, high = (
        times[min(int(np.searchsorted(total, q * total[-1])), len(times) - 1)] for q in (0.05, 0.5, 0.95)
    )
    first = ranking[0]
    at = first["at"] if first["recorded"] and first["probability"] >= 0.5 else middle
    step = times[1] - times[0] if len(times) > 1 else pd.Timedelta("1h")
    return {"at": at, "low": min(low - step, at), "high": max(high + step, at)}
