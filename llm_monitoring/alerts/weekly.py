"""What needs no chart: people who leave, questions that changed, probes that fail. Looked at once a week."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring.alerts.events import Event, one_line
from llm_monitoring.alerts.measurements import DAY, Span
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.intervals import wilson
from llm_monitoring.wording import amount, number, probability, span

if TYPE_CHECKING:
    from llm_monitoring.log import Log

WEEK = 7 * DAY
WEEKS_A_MONTH = 30 / 7
FEWEST, REFERENCE, CURRENT = 50, 2000, 500  # questions a side: needed, kept of the baseline, kept of a week


def count_tests(log: Log, plan: Plan) -> int:
    """Series of weekly tests that share the budget: query drift per feature, probes per model."""
    drift = log.requests.dropna(subset=["user_input"])["feature_id"].nunique() if plan.quality.query_drift else 0
    probes = log.probe_results["model_id"].nunique() if plan.quality.probes and log.has("probe_results") else 0
    return int(drift + probes)


def weekly_events(log: Log, plan: Plan, span: Span, sharing: int) -> list[Event]:
    """Everything that is tested by the week; `sharing` is how many charts and tests share the budget."""
    if not plan.quality.enabled:
        return []
    a_month = plan.quality.false_alarms_per_month / max(sharing, 1)
    events = [*abandonment(log, plan, span)]
    if plan.quality.query_drift:
        events += drift(log, span, a_month)
    if plan.quality.probes:
        events += probes(log, span, a_month)
    return events


def abandonment(log: Log, plan: Plan, span: Span) -> Iterator[Event]:
    """A feature that people leave: the lower 95 % end of its abandonment rate is above the plan's limit.

    Looked at each week's end on all requests so far; fires once, thumbs or no thumbs.
    """
    if not log.has("signals") or log.signals.empty:
        return
    requests, signals = log.requests, log.signals
    left = requests["request_id"].isin(set(signals.loc[signals["signal_type"] == "abandoned", "request_id"]))
    limit = plan.quality.abandonment_above
    for feature, rows in requests.assign(left=left).groupby("feature_id", sort=True):
        for end in _week_ends(span):
            seen = rows.loc[rows["timestamp"] < end, "left"]
            low, high = wilson(seen.sum(), len(seen))
            if low > limit:
                rate = float(seen.mean())
                words = _left_words(str(feature), rate, float(low), float(high), len(seen), rows, signals, end)
                yield _event("abandonment_rate", str(feature), end, span.start, rate, limit, float(low), float(high), "up",
                             len(seen), 0.025 * WEEKS_A_MONTH, limit, words)  # fmt: skip
                break


def _week_ends(span: Span) -> list[pd.Timestamp]:
    return [
        end for k in range(1, 1 + int((span.end - span.start) / WEEK)) if (end := span.start + k * WEEK) <= span.end
    ]


def _left_words(feature: str, rate, low, high, n, rows, signals, end) -> str:
    mine = signals[signals["request_id"].isin(set(rows["request_id"])) & (signals["timestamp"] < end)]
    thumbs = mine.loc[mine["signal_type"].isin(["thumbs_up", "thumbs_down"]), "signal_type"]
    told = (
        f"{one_line(feature)}: {amount(rate, 'share')} {span(low, high, 'share')} of {number(n)} requests are abandoned"
    )
    if not len(thumbs):
        return f"{told}; nobody pressed a thumb"
    up = float((thumbs == "thumbs_up").mean())
    beside = "happy thumbs come from those who stay: " if up > 0.8 else ""
    return f"{told}; {beside}{amount(up, 'share')} of {number(len(thumbs))} thumbs are up"


def drift(log: Log, span: Span, a_month: float) -> Iterator[Event]:
    """Weeks whose questions are not drawn as those of the baseline; one event for a run of such weeks."""
    from llm_monitoring.drift.drift_test import DriftTest

    alpha = a_month / WEEKS_A_MONTH
    texts = log.requests.dropna(subset=["user_input"]).sort_values(["timestamp", "request_id"])
    for feature, rows in texts.groupby("feature_id", sort=True):
        reference = _some(rows[rows["timestamp"] < span.split], REFERENCE)
        if len(reference) < FEWEST:
            continue
        test = DriftTest(reference, alpha=alpha, permutations=int(min(max(300, np.ceil(2 / alpha)), 5000)))
        for start in _weeks(span):
            current = _some(rows[(rows["timestamp"] >= start) & (rows["timestamp"] < start + WEEK)], CURRENT)
            if len(current) < FEWEST:
                continue
            result = test.test(current)
            if result.drift:
                p, end = float(result.p_value), start + WEEK
                words = f"{one_line(str(feature))}: the questions of a week differ from the baseline's (p {probability(p)}, n {len(current)})"
                yield _event("query_drift", str(feature), end, start, p, float("nan"), float("nan"), float("nan"), "up",
                             len(current), a_month, alpha, words)  # fmt: skip
                break


def _weeks(span: Span) -> list[pd.Timestamp]:
    """Starts of the whole weeks that are watched."""
    count = int((span.end - span.split) / WEEK)
    return [span.split + k * WEEK for k in range(count)]


def _some(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, evenly spread over time."""
    return (
        rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))]
        if len(rows)
        else rows
    )


def probes(log: Log, span: Span, a_month: float) -> Iterator[Event]:
    """A run in which a model passes fewer probes than in all its earlier runs together (Fisher's exact test, one-sided)."""
    if not log.has("probe_results"):
        return
    results = log.probe_results.dropna(subset=["passed"])
    alpha = a_month / WEEKS_A_MONTH
    for model, rows in results.groupby("model_id", sort=True):
        days = rows["run_at"].dt.floor("D")
        for day in sorted(days.unique())[1:]:
            now, before = rows[days == day]["passed"].astype(bool), rows[days < day]["passed"].astype(bool)
            table = [[now.sum(), (~now).sum()], [before.sum(), (~before).sum()]]
            p = float(stats.fisher_exact(table, alternative="less").pvalue)
            if p <= alpha:
                low, high = wilson(now.sum(), len(now))
                words = f"{one_line(str(model))}: {now.sum()} of {len(now)} probes passed, {before.sum()} of {len(before)} before (p {probability(p)})"
                at = rows.loc[days == day, "run_at"].max()
                yield _event("probe_pass_rate", None, at, day, float(now.mean()), float(before.mean()), float(low), float(high),
                             "down", len(now), a_month, alpha, words)  # fmt: skip
                break


def _event(metric, feature, fired, start, value, expected, low, high, direction, n, designed, limit, words) -> Event:
    return Event(
        layer="quality", metric=metric, feature_id=feature, fired_at=fired, window_start=start, began=start, began_low=start,
        began_by=fired, ended=fired, value=value, expected=expected, low=low, high=high, direction=direction, n=n,
        designed=designed, limit=limit, words=words,
    )  # fmt: skip
