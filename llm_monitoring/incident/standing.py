"""A standing level: above its limit for as long as it was watched. No change, so no start and no cause; where is it highest?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert, of_feature
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.incident.inference.cells import NOT_SLICED
from llm_monitoring.incident.inference.comparison import LEAST_TO_TELL
from llm_monitoring.incident.inference.observations import Observations, observe
from llm_monitoring.incident.inference.slices import Slice, feature_slice, outside
from llm_monitoring.incident.quotes import quotes_of
from llm_monitoring.incident.recovery import untested

if TYPE_CHECKING:
    from llm_monitoring.log import Log

ALPHA, MOST_SHOWN = 0.05, 12
READ = {
    "abandonment_rate": "20 of the answers that people left after",
    "error_rate": "the errors, by message and by feature",
    "refusal_rate": "20 of the refused questions",
    "truncation_rate": "20 of the answers that were cut off, and the limit on tokens",
    "flagged_rate": "20 of the flagged answers",
    "failed_rate": "what the judge answered where it could not be read",
    "probe_pass_rate": "the probes that fail",
}


@dataclass(frozen=True)
class Standing:
    """The level of one metric in the alert's period, beside its limit.

    Attributes
    ----------
    since, until : Timestamp
        The period: from the window that alerted to the end of the log.
    value, low, high, n : float
        The level with its 95 % interval, and the answers behind it.
    limit : float or None
    rows : DataFrame
        The answers of the period (`value` and the columns that they can be sliced by), empty where no answer has the metric.
    course : list of dict
        The level day by day or week by week over all of the log.
    """

    log: Log
    alert: Alert
    seen: Observations | None
    since: pd.Timestamp
    until: pd.Timestamp
    value: float | None
    low: float | None
    high: float | None
    n: int
    limit: float | None
    rows: pd.DataFrame
    course: list[dict[str, Any]]

    @classmethod
    def of(cls, log: Log, alert: Alert, plan: Plan) -> Standing:
        """Read the level off the answers; where no single answer has the metric, take what the alert says."""
        seen = observe(log, alert)
        end = log.span("requests")[1] or alert.fired_at
        since = alert.window_start if alert.window_start is not None else alert.fired_at - pd.Timedelta("7D")
        rows = pd.DataFrame() if seen is None else of_feature(seen.frame, alert)
        late = rows[rows["timestamp"] >= since] if len(rows) else rows
        if seen is not None and not len(late):
            late = rows
        known = (alert.value, alert.low, alert.high)
        if seen is not None and len(late):
            level = seen.level(late)
            known = (level.estimate, level.low, level.high)
        n = len(late) or int(alert.n or 0)
        value, low, high = (None if one is None or not np.isfinite(one) else float(one) for one in known)
        course = [] if seen is None or not len(rows) else _course(seen, rows)
        return cls(log, alert, seen, since, end, value, low, high, n, limit_of(alert, plan), late, course)

    @property
    def named(self) -> str:
        """Metric and feature in words."""
        return f"{say.metric_words(self.alert.metric)} in {self.alert.of}"

    @property
    def sentence(self) -> str:
        """The level, its interval, n and the limit."""
        if self.value is None:
            return f"{self.named} stands above its limit; the log no longer holds the answers that it was read from"
        unit = self.alert.unit
        ends = (
            "" if self.low is None else f" (95 % interval {say.span(self.low, self.high, unit, like=self.value)[1:-1]})"
        )
        beside = "" if self.limit is None else f", the limit is {say.amount(self.limit, unit, like=self.value)}"
        return f"{self.named} is {say.amount(self.value, unit)}{ends} of {self.n:,}{beside}"

    @property
    def probability(self) -> float:
        """Probability that the level is beyond the limit."""
        if self.value is None or self.limit is None or self.low is None or self.high is None:
            return 0.5
        error = max((self.high - self.low) / (2 * stats.norm.ppf(0.975)), 1e-12)
        side = 1 if self.alert.direction == "up" else -1
        return float(stats.norm.cdf(side * (self.value - self.limit) / error))

    @property
    def beyond(self) -> bool:
        """Whether the interval leaves the limit out."""
        if self.limit is None or self.low is None or self.high is None:
            return False
        return self.low > self.limit if self.alert.direction == "up" else self.high < self.limit

    def triage(self) -> dict[str, Any]:
        reasons = [f"{say.capital(self.sentence)}."]
        if self.alert.message:
            reasons.append(self.alert.message)
        if len(self.course) > 1:
            ends = [row["value"] for row in self.course]
            unit = self.alert.unit
            reasons.append(
                f"Over {len(self.course)} {self.course[0]['every']}s of the log it lay between "
                f"{say.amount(min(ends), unit, like=max(ends))} and {say.amount(max(ends), unit)}: a level, not a change."
            )
        verdict = "real" if self.beyond else "inconclusive"
        p = self.probability
        return {
            "verdict": verdict,
            "probability_real": p,
            "since": self.since,
            "change": {
                **dict.fromkeys(("estimate", "low", "high", "before", "before_low", "before_high")),
                "after": self.value,
                "after_low": self.low,
                "after_high": self.high,
                "n_before": 0,
                "n_after": self.n,
            },
            "limit": self.limit,
            "reasons": reasons,
            "next": "It did not change: look where it is highest, then read."
            if verdict == "real"
            else "The interval holds the limit: wait for more answers, or read some now.",
            "chart": self.course,
            "summary": f"standing, not a change (P {say.probability(p)} beyond the limit): {self.sentence}",
        }

    def scope(self) -> dict[str, Any]:
        rows, columns, skipped = self._parts()
        worst = [row for row in rows if row["verdict"] == "worse"]
        kind = "slice" if worst else "all"
        unit = self.alert.unit
        if worst:
            first = worst[0]
            told = (
                f"Highest in {first['label']}: {say.amount(first['after'], unit)} {say.span(first['after_low'], first['after_high'], unit, like=first['after'])} "
                f"of {first['n_after']:,}; the other answers of the same time {say.amount(first['others'], unit, like=first['after'])} of {first['n_others']:,}."
            )
        elif rows:
            told = f"No part of the traffic stands out: of {len(rows)} parts none is shown to be worse than the others."
        else:
            told = "The metric is not split further: no single answer has it, or no column divides the answers."
        whole = self._row(feature_slice(self.alert.feature_id), self.rows, self.rows.iloc[:0])
        return {
            "kind": kind,
            "since": self.since,
            "until": self.until,
            "slices": worst or [whole],
            "leaves": rows[:MOST_SHOWN],
            "reasons": [told],
            "next": "Read there first.",
            "looked_at": [outside(name) for name in columns],
            "not_looked_at": skipped,
            "summary": told,
        }

    def isolate(self) -> dict[str, Any]:
        told = f"{say.capital(self.named)} did not move, so there is nothing for a change to explain."
        none = {
            "cause": "none", "kind": "none", "description": "a standing level: nothing moved", "at": None,
            "probability": 1.0, "recorded": False, "evidence": [told],
        }  # fmt: skip
        return {
            "ranking": [none],
            "onset": None,
            "verdict": "nothing to explain",
            "candidates": ["none"],
            "where": {},
            "changes_in_reach": 0,
            "answers": [],
            "what_would_change_this": [
                "A start: if the level was low once, before this log begins, give a longer log."
            ],
            "next": "Go on to respond: what to read.",
            "summary": f"nothing to explain: {told}",
        }

    def respond(self) -> dict[str, Any]:
        what = READ.get(self.alert.metric, f"20 answers with the worst {say.metric_words(self.alert.metric)}")
        read = {
            "do": f"read {what} in {self.alert.of}",
            "costs": "half an hour of one person",
            "gains": "whether the level is a fault of the feature, or the limit is too strict for it",
            "undo": "there is nothing to undo",
        }
        limit = {
            "do": "set the limit in the plan to a level that you accept",
            "costs": "an alert that comes later, if the level rises",
            "gains": "no alert for what is usual here",
            "undo": "the old limit",
        }
        waiting = self._waiting()
        options = [read] if self.limit is None else [read, limit]
        return {
            "action": "investigate",
            "target": None,
            "scope": feature_slice(self.alert.feature_id).to_dict(),
            "because": f"{say.capital(self.named)} stands above its limit and did not change: there is nothing to take back.",
            "options": [
                *options,
                {
                    "do": "wait",
                    "costs": waiting["text"],
                    "gains": "nothing: the level stays",
                    "undo": "cannot be undone",
                },
            ],
            "measures": [],
            "cost_of_acting": {
                "text": "Half an hour of one person, to read.",
                "latency_ms": None,
                "usd_per_1000": None,
            },
            "cost_of_waiting": waiting,
            "recovery": untested("A standing level has no earlier level to go back to.")
            | {"test": f"Over when the 95 % interval of a week lies within the limit{self._limit_words()}."},
            "wrong_if": ["Those who leave may have found what they wanted: read some to see."]
            if self.alert.metric == "abandonment_rate"
            else ["The limit was set for another kind of feature."],
            "next": f"{say.capital(read['do'])}; then mend, or set the limit.",
            "summary": f"investigate: {read['do']}. Waiting costs {waiting['text']}.",
        }

    def open_points(self) -> list[str]:
        return []

    def quotes(self) -> dict[str, Any]:
        """Two answers of the period that are what the level counts, beside one that is not."""
        return quotes_of(self.log, self.alert, self.rows, self.rows) if len(self.rows) else {}

    def _limit_words(self) -> str:
        return "" if self.limit is None else f" of {say.amount(self.limit, self.alert.unit)}"

    def _waiting(self) -> dict[str, Any]:
        days = max((self.until - self.since) / pd.Timedelta("1D"), 1.0)
        unknown = {"affected_per_day": None, "low": None, "high": None, "requests_per_day": None, "usd_per_day": None}
        known = [one for one in (self.value, self.low, self.high) if one is not None]
        if len(known) < 3 or self.alert.unit != "share" or not len(self.rows):
            return {**unknown, "text": "nothing more than before: the level stays"}
        per_day = self.n / days
        bad, *ends = [per_day * (one if self.alert.direction == "up" else 1 - one) for one in known]
        low, high = sorted(ends)
        text = f"about {say.number(bad)} answers a day, as before ({say.number(low)} to {say.number(high)})"
        return {**unknown, "affected_per_day": bad, "low": low, "high": high, "requests_per_day": per_day, "text": text}

    def _parts(self) -> tuple[list[dict[str, Any]], tuple[str, ...], dict[str, str]]:
        """Each value of each column beside the other answers of the same time, worst first; the columns, and those left out."""
        if self.seen is None or not len(self.rows):
            return [], (), {}
        columns = tuple(name for name in self.seen.columns if self.rows[name].nunique() > 1)
        names = [outside(name) for name in self.seen.names]
        left = {
            name: "one value, or too many: not searched for a standing level"
            for name in names
            if name not in (*columns, "model")
            and name not in NOT_SLICED
            and not (name == "feature_id" and self.alert.feature_id)
        }
        pairs = list(self._pairs(columns))
        looks = max(len(pairs), 1)
        rows = [self._row(found, inside, others, looks) for found, inside, others in pairs]
        sign = self.seen.sign
        rank = {"worse": 0, "no change seen": 1, "better": 2, "too few to tell": 3}
        return sorted(rows, key=lambda r: (rank[r["verdict"]], -sign * r["after"], r["label"])), columns, left

    def _pairs(self, columns: tuple[str, ...]) -> Iterator[tuple[Slice, pd.DataFrame, pd.DataFrame]]:
        for column in columns:
            for value in sorted(self.rows[column].dropna().unique(), key=str):
                inside = (self.rows[column] == value).to_numpy(bool)
                where = (*feature_slice(self.alert.feature_id).where, (column, value))
                yield Slice(where), self.rows[inside], self.rows[~inside]

    def _row(self, found: Slice, inside: pd.DataFrame, others: pd.DataFrame, looks: int = 1) -> dict[str, Any]:
        """The level inside, and of the others at the same time; `change` is inside less others."""
        row: dict[str, Any] = {
            "where": found.to_dict(), "label": found.label, "verdict": "no change seen", "before": None, "before_low": None,
            "before_high": None, "after": self.value, "after_low": self.low, "after_high": self.high, "change": None,
            "low": None, "high": None, "n_before": None, "n_after": self.n, "others": None, "n_others": 0,
            "share_of_change": None, "probability": self.probability,
        }  # fmt: skip
        if self.seen is None or not len(inside):
            return row
        level = self.seen.level(inside)
        row |= {"after": level.estimate, "after_low": level.low, "after_high": level.high, "n_after": len(inside)}
        if not len(others):
            return row
        rest, apart = self.seen.level(others), self.seen.change(others, inside)
        row |= {"others": rest.estimate, "others_low": rest.low, "others_high": rest.high, "n_others": len(others)}
        row |= {"change": apart.estimate, "low": apart.low, "high": apart.high}
        if min(len(inside), len(others)) < LEAST_TO_TELL:
            return row | {"verdict": "too few to tell"}
        half = (apart.high - apart.low) / 2 * stats.norm.ppf(1 - ALPHA / 2 / looks) / stats.norm.ppf(0.975)
        if not np.isfinite(half) or abs(apart.estimate) <= half:
            return row
        return row | {"verdict": "worse" if apart.estimate * self.seen.sign > 0 else "better"}


def limit_of(alert: Alert, plan: Plan) -> float | None:
    """The limit that a standing level is held against: the alert's own, the plan's, else what the alert expected."""
    if alert.limit is not None:
        return float(alert.limit)
    named = {
        "abandonment_rate": (plan.quality, "abandonment_above"),
        "error_rate": (plan.infrastructure, "error_rate"),
        "latency_p95_ms": (plan.infrastructure, "latency_p95_ms"),
        "latency_p99_ms": (plan.infrastructure, "latency_p99_ms"),
        "flagged_rate": (plan.quality, "flagged_rate_limit"),
        "mean_quality": (plan.quality, "mean_quality_limit"),
    }.get(alert.metric)
    given = getattr(*named, None) if named is not None else None
    found = given if given is not None else alert.expected
    return None if found is None or not np.isfinite(found) else float(found)


def _course(seen: Observations, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The level over the log: week by week from three weeks on, else day by day."""
    first, last = rows["timestamp"].min(), rows["timestamp"].max()
    every, step = ("week", pd.Timedelta("7D")) if last - first >= pd.Timedelta("21D") else ("day", pd.Timedelta("1D"))
    start = first.floor("D")
    made = []
    for number, part in rows.groupby((rows["timestamp"] - start) // step):
        level = seen.level(part)
        at = start + int(number) * step  # type: ignore[call-overload]
        made.append(
            {
                "window_start": at, "window_end": at + step, "every": every, "value": level.estimate, "low": level.low,
                "high": level.high, "n": len(part), "center": None, "lower": None, "upper": None, "alarm": None,
            }
        )  # fmt: skip
    return made
