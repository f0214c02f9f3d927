"""What is not charted but tested in its own rhythm: abandonment and drift of the questions by week, probes by run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import engines
from llm_monitoring.alerts import scopes as scoping
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.measurements import DAY, WEEK
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.alerts.spells import spells
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.intervals import wilson
from llm_monitoring.keeping import once
from llm_monitoring.wording import NBSP, amount, moment, number, one_line, probability, span

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from llm_monitoring.drift.drift_test import DriftTest
    from llm_monitoring.drift.queries import Queries
    from llm_monitoring.log import Log

TEXTS_OF_BASELINE, TEXTS_OF_WEEK = 800, 200  # texts of the baseline and of a week that a drift test looks at
AT_ONCE = 1_000_000  # texts that one query puts in order
QUICK = (49, 0.14), (199, 0.02)  # permutations, and the p-value above which no more are made
THINNED = 400  # texts of a baseline of which the first look takes every third one


def tests_of(log: Log, plan: Plan, span_: Span) -> dict[tuple, tuple[pd.Timestamp, bool]]:
    """Tests that share the budget with the charts: one per feature with texts, one per model with probes.

    Each with the moment at which it begins, and whether it was there when the first charts began.
    """
    found: dict[tuple, tuple[pd.Timestamp, bool]] = {}
    if plan.quality.enabled and plan.quality.query_drift:
        for feature, line in _asked_since(log, plan).iterrows():
            found[feature, "query_drift"] = (line["fit_end"], line["first"] < span_.split)
    if plan.quality.enabled and plan.quality.probes and log.has("probe_results"):
        first = log.probe_results.groupby("model_id")["run_at"].min()
        for model, at in first.items():
            found[model, "probe_pass_rate"] = (at.floor("D"), at < span_.split)
        border = log.probe_results[log.probe_results["kind"] == "border"]
        for model, at in border.groupby("model_id")["run_at"].min().items():
            found[model, "probe_distance"] = (at.floor("D"), at < span_.split)
    return found


def weeks(start: pd.Timestamp, end: pd.Timestamp) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Whole weeks from `start` that are over at `end`."""
    count = int((end - start) // WEEK)
    return [(start + i * WEEK, start + (i + 1) * WEEK) for i in range(count)]


def abandonment_events(
    tallies: pd.DataFrame, plan: Plan, span_: Span, settles: dict[str, pd.Timedelta] | None = None
) -> list[Alert]:
    """Features whose users leave: the lower 95 % end of a week's abandonment rate is above the plan's share.

    Parameters
    ----------
    tallies : DataFrame
        Hourly sums of ``abandonment_rate`` and ``explicit_positive_rate``.
    plan : Plan
    span_ : Span
    settles : dict, optional
        Per feature, how long after its end a week is looked at.

    Returns
    -------
    list of Alert
        One per feature and run of such weeks, counted from the feature's first day, whether or not anybody pressed a thumb.
    """
    limit = plan.quality.abandonment_above
    events: list[Alert] = []
    for feature, own in tallies.groupby("feature_id", sort=True):
        left, thumbs = (own[own["metric"] == name] for name in ("abandonment_rate", "explicit_positive_rate"))
        if left.empty:
            continue
        looks: list[tuple[pd.Timestamp, Alert | None]] = []
        wait = (settles or {}).get(str(feature), pd.Timedelta(0))
        for start, end in weeks(left["hour"].min().floor("D"), span_.end - wait):
            inside = left[(left["hour"] >= start) & (left["hour"] < end) & (left["known"] <= end + wait)]
            n, k = inside["n"].sum(), inside["total"].sum()
            low, high = wilson(k, n)
            if not low > limit:
                looks += [(end, None)] if n else []
                continue
            pressed = thumbs[(thumbs["hour"] >= start) & (thumbs["hour"] < end) & (thumbs["known"] <= end + wait)]
            words = _leaving(str(feature), k / n, (float(low), float(high)), int(n), pressed)
            alert = Alert(
                "abandonment_rate", end + wait, "up", str(feature), start, layer="quality", value=float(k / n),
                expected=limit, low=float(low), high=float(high), n=int(n), rule="limit", kind="standing",
                limit=limit, words=words, began=start, began_low=start, began_by=end, ended=end,
                designed_false_alarms_per_month=0.025 * MONTH / WEEK,
            )  # fmt: skip
            looks.append((end, alert))
        events += spells(looks)
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


def drift_events(log: Log, plan: Plan, span_: Span, shares: dict[tuple, float]) -> list[Alert]:
    """Features whose questions changed: each whole week after the baseline is tested against the baseline.

    `shares` has the number of false alarms a month that each feature's tests may give. Where a quick test leaves no doubt
    that nothing changed, the long one is not made.
    """
    events: list[Alert] = []
    since = _asked_since(log, plan)
    asked = _texts(log, since, span_)
    if asked.empty:
        return events
    from llm_monitoring.drift.drift_test import DriftTest
    from llm_monitoring.drift.two_sample import known_among

    for feature, own in asked.groupby("feature_id", sort=True):
        share = shares[feature, "query_drift"]
        alpha = min(share * WEEK / MONTH, 0.05)
        weekly = dict(iter(own.groupby("period")))
        reference = weekly.pop(-1, None)
        if reference is None:
            continue
        test = DriftTest(reference, alpha=alpha, permutations=max(400, int(np.ceil(2 / alpha))))
        few = len(test.reference_) < THINNED
        first = test.reference_ if few else test.reference_.at(np.arange(0, len(test.reference_), 3))
        references = [(each, known_among(each.vectors)) for each in (first, test.reference_)]
        looks: list[tuple[pd.Timestamp, Alert | None]] = []
        fit_end: Any = since.at[feature, "fit_end"]
        for period, (start, end) in enumerate(weeks(fit_end, span_.end)):
            current = weekly.get(period)
            if current is None:
                continue
            found = _drift(test, current, references)
            if found is None:
                looks.append((end, None))
                continue
            p, n = found
            words = (
                f"{one_line(str(feature))}: the questions of the week from {moment(start)} differ from the baseline's "
                f"(p{NBSP}={NBSP}{probability(p)}, {number(n)}{NBSP}questions)"
            )
            alert = Alert(
                "query_drift", end, "up", str(feature), start, layer="quality", value=p, expected=alpha,
                low=np.nan, high=np.nan, n=n, rule="test", words=words, began=start, began_low=start,
                began_by=end, ended=end, designed_false_alarms_per_month=share,
            )  # fmt: skip
            looks.append((end, alert))
        events += spells(looks)
    return events


def _drift(test: DriftTest, current: pd.DataFrame, references: list[tuple[Queries, Any]]) -> tuple[float, int] | None:
    """p-value and number of questions where they changed; the fewer permutations leave little doubt, the fewer are made.

    The first look may take a part of the reference: `references` has that of each look, and `known_among` it.
    """
    from llm_monitoring.drift.queries import read_queries

    now, pool, before = read_queries(current, test.embed, "current"), None, None
    for (permutations, doubt), (reference, known) in zip(QUICK, references, strict=True):
        pool = pool if reference is before else None
        quick = test.compare(reference, now, permutations, known=known, pool=pool)
        if quick.p_value is None or quick.comparison is None or quick.p_value > doubt:
            return None
        pool, before = quick.comparison.pool, reference
    result = test.compare(test.reference_, now, pool=pool)
    return (result.p_value, result.n_current) if result.drift else None  # type: ignore[return-value]


@once
def _asked_since(log: Log, plan: Plan) -> pd.DataFrame:
    """By feature with texts: `first` text, `n` of them, `start` and `fit_end` of its baseline."""
    rows = log.table("requests")
    rows = rows.filter(rows["user_input"].notnull())
    asked = rows.group_by("feature_id").aggregate(first=rows["timestamp"].min(), n=rows.count())
    found = engines.run(asked).to_pandas().set_index("feature_id").sort_index()
    first = pd.to_datetime(found["first"], utc=True)
    return scoping.baselines(first, plan).assign(first=first, n=found["n"])


def _texts(log: Log, since: pd.DataFrame, span_: Span) -> pd.DataFrame:
    """Questions of every feature's baseline (`period` -1) and whole weeks (0, 1, ...).

    Of each as many at most as a test looks at, spread evenly over the time, the same ones each time. One query takes
    the features of a million texts, since an engine holds all that it orders.
    """
    since = since[since["fit_end"] + WEEK <= span_.end]
    parts = [_texts_of(log, own, span_) for _, own in since.groupby(since["n"].cumsum() // AT_ONCE)]
    if not parts:
        return pd.DataFrame(columns=["feature_id", "period", "request_id", "session_id", "timestamp", "user_input"])
    return pd.concat(parts, ignore_index=True)


def _texts_of(log: Log, since: pd.DataFrame, span_: Span) -> pd.DataFrame:
    import ibis
    import pyarrow as pa

    lasts: Any = span_.end - since["fit_end"]
    count = (lasts // WEEK).astype(int)
    lines = {
        "feature_id": since.index.tolist(),
        **{f"__lm_{name}": [at.value // 1000 for at in since[name]] for name in ("start", "fit_end")},
        "__lm_last": [int((end + weeks_ * WEEK).value // 1000) for end, weeks_ in zip(since["fit_end"], count)],
    }
    rows: ir.Table = log.table("requests")
    rows = rows.filter(rows.user_input.notnull())
    rows = rows.filter(rows["feature_id"].isin(since.index.tolist()))
    rows = rows.select("feature_id", "request_id", "session_id", "timestamp", "user_input")
    rows = rows.join(ibis.memtable(pa.table(lines)), "feature_id")
    at = engines.microseconds(rows["timestamp"])
    rows = rows.filter(at >= rows["__lm_start"], at < rows["__lm_last"])
    after = engines.microseconds(rows["timestamp"]) - rows["__lm_fit_end"]
    week = engines.whole_parts(ibis.greatest(after, 0), WEEK.value // 1000)
    rows = rows.mutate(period=ibis.ifelse(after < 0, -1, week)).drop("__lm_start", "__lm_fit_end", "__lm_last")
    group = ["feature_id", "period"]
    ranked = rows.mutate(
        __lm_rank=ibis.row_number().over(ibis.window(group_by=group, order_by=["timestamp", "request_id"])),
        __lm_all=rows.count().over(ibis.window(group_by=group)),
    )
    most = ibis.ifelse(ranked["period"] < 0, TEXTS_OF_BASELINE, TEXTS_OF_WEEK)
    step = ibis.greatest((ranked["__lm_all"] / most).ceil().cast("int64"), 1)
    chosen = ranked.filter(ranked["__lm_rank"] % step == 0).drop("__lm_rank", "__lm_all")
    found = engines.run(chosen.order_by("feature_id", "timestamp", "request_id")).to_pandas()
    return found.astype(dict.fromkeys(["request_id", "session_id", "user_input"], object))  # once, not week by week


def probe_events(log: Log, span_: Span, shares: dict[tuple, float]) -> list[Alert]:
    """Models whose probes pass less or more often than in all earlier runs: exact tests, paired by probe.

    A run is a day, told when the day is over. `shares` has the number of false alarms a month of each model's runs; each
    run may spend what its distance from the run before it is worth.
    """
    from llm_monitoring.probes.daily import pass_rates

    events: list[Alert] = []
    if not log.has("probe_results"):
        return events
    results = log.probe_results
    first = results.groupby("model_id")["run_at"].min().dt.floor("D")
    for model, runs in pass_rates(results, until=span_.end).groupby("model_id", sort=True):
        before, opened = first[model], None
        looks: list[tuple[pd.Timestamp, Alert | None]] = []
        share = shares[model, "probe_pass_rate"]
        run: Any
        for run in runs.sort_values("window_start").itertuples():
            alpha = float(np.clip(share * ((run.window_start - before) / MONTH), 1e-6, 0.05))
            before = run.window_start
            if run.p_value is None or pd.isna(run.p_value):
                continue
            if run.p_value <= alpha:
                alert = _probe_event(str(model), run, share)
                opened = opened or alert
                looks.append((run.window_end, alert))
            elif opened is None or _is_back(run, opened):
                opened = None
                looks.append((run.window_end, None))
        events += spells(looks)
    return events


def distance_events(log: Log, span_: Span, shares: dict[tuple, float]) -> list[Alert]:
    """Models whose border probes give other tokens than in their first two weeks, day by day; reported when a day is over."""
    from llm_monitoring.probes.daily import probe_distances

    events: list[Alert] = []
    if not log.has("probe_results"):
        return events
    results = log.probe_results
    for model, own in results[results["kind"] == "border"].groupby("model_id", sort=True):
        share = shares[model, "probe_distance"]
        alpha = float(np.clip(share * (DAY / MONTH), 1e-6, 0.05))
        looks: list[tuple[pd.Timestamp, Alert | None]] = []
        day: Any
        for day in probe_distances(own, alpha=alpha, until=span_.end).sort_values("window_end").itertuples():
            if not day.alarm:
                looks.append((day.window_end, None))
                continue
            words = (
                f"{one_line(str(model))}: the answers to the border probes are {amount(day.value, 'share')} from what "
                f"they were, {amount(day.limit, 'share')} is the limit ({number(day.n)}{NBSP}answers to "
                f"{moment(day.window_end)})"
            )
            alert = Alert(
                "probe_distance", day.window_end, "up", None, day.window_start, layer="quality", value=day.value,
                expected=day.expected, low=day.low, high=day.high, n=int(day.n), rule="test", words=words,
                began=day.window_start, began_low=day.window_start, began_by=day.window_end, ended=day.window_end,
                designed_false_alarms_per_month=share,
            )  # fmt: skip
            looks.append((day.window_end, alert))
        events += spells(looks)
    return events


def _is_back(run: Any, opened: Alert) -> bool:
    """Whether as many probes pass as before the alert: bad runs have become part of what later runs are compared with."""
    return bool(run.high >= opened.expected if opened.direction == "down" else run.low <= opened.expected)


def _probe_event(model: str, run, share: float) -> Alert:
    lost = f"; lost: {', '.join(one_line(name, 30) for name in run.lost[:3])}" if len(run.lost) else ""
    words = (
        f"{one_line(model)}: {amount(run.value, 'share')} of {number(run.n)}{NBSP}probe results pass in the run of "
        f"{moment(run.window_start)}, {amount(run.expected, 'share')} of {number(run.n_before)} did before{lost}"
    )
    return Alert(
        "probe_pass_rate", run.window_end, "down" if run.value < run.expected else "up", None, run.window_start,
        layer="quality", value=run.value, expected=run.expected, low=run.low, high=run.high, n=run.n, rule="test",
        words=words, began=run.window_start, began_low=run.window_start, began_by=run.window_end, ended=run.window_end,
        designed_false_alarms_per_month=share,
    )  # fmt: skip
