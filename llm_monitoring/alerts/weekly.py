"""What is not charted but tested in its own rhythm: abandonment and drift of the questions by week, probes by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_monitoring import engines
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.grouping import one_line
from llm_monitoring.alerts.measurements import Span
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.intervals import wilson
from llm_monitoring.wording import NBSP, amount, moment, number, probability, span

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from llm_monitoring.log import Log

WEEK = pd.Timedelta("7D")
MONTH = pd.Timedelta("30D")
REFERENCE, CURRENT = 800, 200  # texts of the baseline and of a week that a drift test looks at


def count_tests(log: Log, plan: Plan) -> int:
    """Tests that share the budget with the charts: one per feature with texts, one per model with probes."""
    features = len(_features_with_texts(log)) if plan.quality.enabled and plan.quality.query_drift else 0
    models = log.probe_results["model_id"].nunique() if plan.quality.enabled and plan.quality.probes else 0
    return features + models


def weeks(span_: Span, start: pd.Timestamp) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Whole weeks from `start` that are over at the log's end."""
    count = int((span_.end - start) // WEEK)
    return [(start + i * WEEK, start + (i + 1) * WEEK) for i in range(count)]


def abandonment_events(tallies: pd.DataFrame, plan: Plan, span_: Span) -> list[Alert]:
    """Features whose users leave: the lower 95 % end of a week's abandonment rate is above the plan's share.

    Parameters
    ----------
    tallies : DataFrame
        Hourly sums of ``abandonment_rate`` and ``explicit_positive_rate``.
    plan : Plan
    span_ : Span
        Weeks count from its start; a log below a week is one.

    Returns
    -------
    list of Alert
        One per feature and run of such weeks, whether or not anybody pressed a thumb.
    """
    limit = plan.quality.abandonment_above
    periods = weeks(span_, span_.start) or [(span_.start, span_.end)]
    events: list[Alert] = []
    for feature, own in tallies.groupby("feature_id", sort=True):
        left, thumbs = (own[own["metric"] == name] for name in ("abandonment_rate", "explicit_positive_rate"))
        before: Alert | None = None
        for start, end in periods:
            inside = left[(left["hour"] >= start) & (left["hour"] < end)]
            n, k = inside["n"].sum(), inside["total"].sum()
            low, high = wilson(k, n)
            if not low > limit:
                before = None
                continue
            if before is None:
                pressed = thumbs[(thumbs["hour"] >= start) & (thumbs["hour"] < end)]
                words = _leaving(str(feature), k / n, (float(low), float(high)), int(n), pressed)
                known = max(end, inside["last"].max()) if inside["last"].notna().any() else end
                before = Alert(
                    "abandonment_rate", known, "up", str(feature), start, layer="quality", value=float(k / n),
                    expected=limit, low=float(low), high=float(high), n=int(n), rule="limit", kind="standing",
                    limit=limit, words=words, began=start, began_low=start, began_by=end, ended=end,
                    designed_false_alarms_per_month=0.025 * MONTH / max(end - start, WEEK),
                )  # fmt: skip
                events.append(before)
    return events


def _leaving(feature: str, rate: float, ends: tuple[float, float], n: int, thumbs: pd.DataFrame) -> str:
    pressed, up = thumbs["n"].sum(), thumbs["total"].sum()
    praise = "nobody pressed a thumb"
    if pressed:
        praise = f"{amount(up / pressed, 'share')} of {number(pressed)} thumbs are up: those who leave press none"
    return (
        f"{one_line(feature)}: {amount(rate, 'share')} {span(*ends, 'share')} of {number(n)}{NBSP}requests end in an "
        f"abandoned session, and {praise}"
    )


def drift_events(log: Log, plan: Plan, span_: Span, share: float) -> list[Alert]:
    """Features whose questions changed: each whole week after the baseline is tested against the baseline.

    `share` is the number of false alarms a month that each feature's tests may give. Where a quick test of 199
    permutations leaves no doubt that nothing changed, the long one is not made.
    """
    events = []
    alpha = min(share * WEEK / MONTH, 0.05)
    asked = _texts(log, span_)
    for feature, own in asked.groupby("feature_id", sort=True):
        reference, event = own[own["period"] < 0], None
        for number, (start, end) in enumerate(weeks(span_, span_.split)):
            current = own[own["period"] == number]
            found = _drift(reference, current, alpha) if len(reference) and len(current) else None
            if found is None:
                event = None
            elif event is None:
                p, n = found
                words = (
                    f"{one_line(str(feature))}: the questions of the week from {moment(start)} differ from the baseline's "
                    f"(p{NBSP}={NBSP}{probability(p)}, {n:,}{NBSP}questions)"
                )
                event = Alert(
                    "query_drift", end, "up", str(feature), start, layer="quality", value=p, expected=alpha,
                    low=np.nan, high=np.nan, n=n, rule="test", words=words, began=start, began_low=start,
                    began_by=end, ended=end, designed_false_alarms_per_month=share,
                )  # fmt: skip
                events.append(event)
    return events


def _drift(reference: pd.DataFrame, current: pd.DataFrame, alpha: float) -> tuple[float, int] | None:
    from llm_monitoring.drift.drift_test import DriftTest

    quick = DriftTest(reference, alpha=0.05, permutations=199).test(current)
    if quick.p_value is None or quick.p_value > 0.02:
        return None
    result = DriftTest(reference, alpha=alpha, permutations=max(400, int(np.ceil(2 / alpha)))).test(current)
    return (result.p_value, result.n_current) if result.drift else None  # type: ignore[return-value]


def _features_with_texts(log: Log) -> list[str]:
    rows = log.table("requests")
    counted = rows.group_by("feature_id").aggregate(texts=rows.user_input.count())
    found = engines.run(counted).to_pandas()
    return sorted(found.loc[found["texts"] > 0, "feature_id"])


def _texts(log: Log, span_: Span) -> pd.DataFrame:
    """Questions of every feature's baseline (`period` -1) and whole weeks (0, 1, ...), by one query.

    Of each as many at most as a test looks at, spread evenly over the time, the same ones each time.
    """
    import ibis

    periods = weeks(span_, span_.split)
    if not periods:
        return pd.DataFrame(columns=["feature_id", "period", "request_id", "session_id", "timestamp", "user_input"])
    rows: ir.Table = log.table("requests")
    rows = rows.filter(rows.timestamp >= span_.start, rows.timestamp < periods[-1][1], rows.user_input.notnull())
    rows = rows.select("feature_id", "request_id", "session_id", "timestamp", "user_input")
    since = engines.microseconds(rows["timestamp"]) - span_.split.value // 1000
    week = engines.whole_parts(ibis.greatest(since, 0), WEEK.value // 1000)
    rows = rows.mutate(period=ibis.ifelse(since < 0, -1, week))
    group = ["feature_id", "period"]
    ranked = rows.mutate(
        __lm_rank=ibis.row_number().over(ibis.window(group_by=group, order_by=["timestamp", "request_id"])),
        __lm_all=rows.count().over(ibis.window(group_by=group)),
    )
    most = ibis.ifelse(ranked["period"] < 0, REFERENCE, CURRENT)
    step = ibis.greatest((ranked["__lm_all"] / most).ceil().cast("int64"), 1)
    chosen = ranked.filter(ranked["__lm_rank"] % step == 0).drop("__lm_rank", "__lm_all")
    return engines.run(chosen.order_by("feature_id", "timestamp", "request_id")).to_pandas()


def probe_events(log: Log, share: float) -> list[Alert]:
    """Models whose probes pass less or more often than in all earlier runs: exact tests, paired by probe.

    A run is a day. `share` is the number of false alarms a month that each model's runs may give.
    """
    from llm_monitoring.probes.comparison import compare_probes

    events = []
    results = log.probe_results
    for model, own in results.groupby("model_id", sort=True):
        run = own["run_at"].dt.floor("D")
        days = sorted(run.unique())
        event = None
        alpha = _alpha_of_runs(days, share)
        for day in days[1:]:
            earlier, newest = run < day, run == day
            if not set(own.loc[earlier, "probe_id"]) & set(own.loc[newest, "probe_id"]):
                continue
            found = compare_probes(own, earlier, newest, alpha=alpha / 2)
            if found.verdict != "changed":
                event = None
            elif event is None:
                event = _probe_event(str(model), found, own.loc[newest, "run_at"], share)
                events.append(event)
    return events


def _alpha_of_runs(days: list, share: float) -> float:
    between = (days[-1] - days[0]) / max(len(days) - 1, 1)
    return float(np.clip(share * between / MONTH, 1e-6, 0.05))


def _probe_event(model: str, found, run_at: pd.Series, share: float) -> Alert:
    table = found.to_frame()
    before = table["passed_before"].sum() / table["n_before"].sum()
    now = table["passed_after"].sum() / table["n_after"].sum()
    low, high = wilson(table["passed_after"].sum(), table["n_after"].sum())
    lost = f"; lost: {', '.join(one_line(name, 30) for name in found.lost[:3])}" if found.lost else ""
    words = (
        f"{one_line(model)}: {amount(now, 'share')} of {number(found.n_after)}{NBSP}probe results pass in the run of "
        f"{moment(run_at.min())}, {amount(before, 'share')} of {number(found.n_before)} did before{lost}"
    )
    first, last = run_at.min(), run_at.max()
    return Alert(
        "probe_pass_rate", last, "down" if now < before else "up", None, first, layer="quality", value=float(now),
        expected=float(before), low=float(low), high=float(high), n=found.n_after, rule="test", words=words,
        began=first, began_low=first, began_by=last, ended=last, designed_false_alarms_per_month=share,
    )  # fmt: skip
