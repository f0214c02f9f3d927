"""Sixteen faults planted into healthy traffic: which layer and rule finds each first, how late, how often in time.

    python benchmarks/faults.py --seeds 10
    python benchmarks/faults.py --seeds 3 --only canary thumbs

Each seed is one healthy log (`traffic.healthy`; the second fit of the charts lies before the fault); every fault is planted
into it at a moment drawn by the seed, in one feature. What is asked: infrastructure within three of the feature's windows; cost
within two hours (1 day: runaway requests, spend by volume) at 20 requests an hour; quality within twice the delay that
`plan_sampling` predicts for the chart's windows, and one window. A found alert is one that the healthy log does not have.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import llm_monitoring as lm
from benchmarks.probes import endpoint
from benchmarks.traffic import DIMENSIONS, LEVEL, START, healthy, judgements_of, signals_of
from llm_monitoring.alerts.infrastructure import scopes_of, usual_limits, window_counts, window_width
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.intervals import wilson
from llm_monitoring.measures import measure
from llm_monitoring.windows import width

FEATURES = (480, 1200, 300, 150)  # requests a day; 480: 20 an hour
COST, QUALITY, DAYS, EARLIEST, RATE = "feature-00", "feature-01", 46, 29, 0.25
DAY, HOUR = pd.Timedelta("1D"), pd.Timedelta("1h")
Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Fault:
    """What is done to the tables, which layer and metrics are to see it, and how soon."""

    plant: Callable[[Tables, pd.Timestamp, np.random.Generator], Tables]
    layer: str
    metrics: tuple[str, ...]
    feature: str | None = QUALITY
    hours: float | None = None  # asked; None: three windows of infrastructure, or twice the predicted delay
    predicted: dict[str, Any] = field(default_factory=dict)  # sd, day_sd, size, rate (of requests), window


def in_requests(feature: str, change: Callable, share: float = 1.0) -> Callable:
    """A fault in the rows of one feature, of all or of a share."""

    def plant(tables: Tables, since: pd.Timestamp, rng) -> Tables:
        rows = tables["requests"].copy()
        hit = (rows["feature_id"] == feature) & (rows["timestamp"] >= since) & (rng.random(len(rows)) < share)
        rows.loc[hit] = change(rows.loc[hit].copy())
        return {**tables, "requests": rows}

    return plant


def scaled(**factors: float) -> Callable:
    """Columns times so much."""
    return lambda rows: rows.assign(**{name: rows[name] * factor for name, factor in factors.items()})


def dearer_prompt(rows: pd.DataFrame) -> pd.DataFrame:
    """Twice the input tokens, at their price."""
    return rows.assign(input_tokens=rows["input_tokens"] * 2, cost_usd=rows["cost_usd"] + rows["input_tokens"] * 2e-6)


def more_requests(tables: Tables, since: pd.Timestamp, rng) -> Tables:
    """Every request of the feature comes twice."""
    rows = tables["requests"]
    again = rows[(rows["feature_id"] == COST) & (rows["timestamp"] >= since)]
    shift = pd.to_timedelta(rng.uniform(0, 600, len(again)), unit="s").floor("ms")
    again = again.assign(timestamp=again["timestamp"] + shift, request_id=again["request_id"] + "b")
    again = again[again["timestamp"] < rows["timestamp"].max()]
    return {
        **tables,
        "requests": pd.concat([rows, again], ignore_index=True).sort_values("timestamp", ignore_index=True),
    }


def no_requests(tables: Tables, since: pd.Timestamp, rng) -> Tables:
    """One feature is asked no more; its last one in fifty requests still comes."""
    rows = tables["requests"]
    lost = (rows["feature_id"] == QUALITY) & (rows["timestamp"] >= since) & (rng.random(len(rows)) < 0.98)
    kept = rows[~lost]
    inside = {
        name: tables[name][tables[name]["request_id"].isin(kept["request_id"])] for name in ("judgements", "signals")
    }
    return {**tables, "requests": kept, **inside}


@cache
def scores_by_level() -> tuple[np.ndarray, np.ndarray]:
    """Levels that answers may have, and the mean score that a judge gives them: a scale that ends at 5 shows less of a fall."""
    levels, n = np.arange(1.5, 4.61, 0.1), 20_000
    asked = pd.DataFrame({"request_id": np.arange(n), "feature_id": "any", "timestamp": START.tz_localize("UTC")})
    rng = np.random.default_rng(0)
    return levels, np.array([judgements_of(rng, asked, np.full(n, one))["quality_score"].mean() for one in levels])


def worse(fall: Callable | float, share: float = 1.0, column: dict | None = None) -> Callable:
    """Mean scores of one feature are lower by so much (or so much a day); `column` marks the requests hit."""

    def plant(tables: Tables, since: pd.Timestamp, rng) -> Tables:
        rows, judged = tables["requests"].copy(), tables["judgements"]
        hit = (rows["feature_id"] == QUALITY) & (rows["timestamp"] >= since) & (rng.random(len(rows)) < share)
        for name, value in (column or {}).items():
            rows.loc[hit, name] = value
        old = judged["request_id"].isin(rows.loc[hit, "request_id"])
        asked = rows.set_index("request_id").loc[judged.loc[old, "request_id"]].reset_index()
        days = ((asked["timestamp"] - since) / DAY).to_numpy()
        levels, scores = scores_by_level()
        usual = np.interp(LEVEL, levels, scores)
        level = np.interp(usual - (fall(days) if callable(fall) else fall), scores, levels)
        new = judgements_of(rng, asked, np.broadcast_to(level, len(asked)))
        both = pd.concat([judged[~old], new], ignore_index=True).sort_values("judged_at", ignore_index=True)
        return {**tables, "requests": rows, "judgements": both}

    return plant


def failing_judge(share: float) -> Callable:
    """So many judgements of all features fail."""

    def plant(tables: Tables, since: pd.Timestamp, rng) -> Tables:
        judged = tables["judgements"].copy()
        hit = (judged["judged_at"] >= since) & (rng.random(len(judged)) < share)
        judged.loc[hit, ["quality_score", "flagged", "dimensions"]] = [np.nan, pd.NA, None]
        judged.loc[hit, "status"], judged.loc[hit, "error"] = "failed", "HTTP 503"
        return {**tables, "judgements": judged}

    return plant


def users(**shares: float) -> Callable:
    """What users of one feature do from then on."""

    def plant(tables: Tables, since: pd.Timestamp, rng) -> Tables:
        rows, sent = tables["requests"], tables["signals"]
        mine = rows[(rows["feature_id"] == QUALITY) & (rows["timestamp"] >= since)]
        both = pd.concat([sent[~sent["request_id"].isin(mine["request_id"])], signals_of(rng, mine, shares)])
        return {**tables, "signals": both.sort_values("timestamp", ignore_index=True)}

    return plant


def other_model(tables: Tables, since: pd.Timestamp, rng) -> Tables:
    """The endpoint behind the probes is swapped; nothing else moves."""
    day = (since - START.tz_localize("UTC")).days
    found = endpoint(np.random.default_rng(rng.integers(2**31)), 20, 5, DAYS, 1, 0, "settled", day + 1)
    at = found["run_at"] - found["run_at"].min().floor("D") + START.tz_localize("UTC")
    return {**tables, "probe_results": found.assign(run_at=at, model_id="model-a-2026-01-01", input="?", detail=None)}


SHARE = {"window": "auto", "rate": 1.0, "day_sd": 0.0}
SCORE = {"window": "auto", "rate": RATE, "day_sd": 0.05, "sd": 0.75}
FAULTS = {
    "error burst (20 %)": Fault(
        in_requests(QUALITY, lambda rows: rows.assign(error="HTTP 500"), 0.2), "infrastructure", ("error_rate",)),
    "slow p95 (30 % six times as slow)": Fault(
        in_requests(QUALITY, scaled(latency_ms=6), 0.3), "infrastructure", ("latency_p95_ms", "latency_p99_ms")),
    "latency 60 % up": Fault(
        in_requests(QUALITY, scaled(latency_ms=1.6)), "infrastructure", ("latency_p50_ms", "latency_p95_ms")),
    "prompt doubles tokens": Fault(
        in_requests(COST, dearer_prompt), "cost", ("avg_input_tokens", "avg_cost_per_request_usd"), COST, 2),
    "price half as high again": Fault(
        in_requests(COST, scaled(cost_usd=1.5)), "cost", ("avg_cost_per_request_usd",), COST, 2),
    "runaway requests (1.5 %, 150 times)": Fault(
        in_requests(COST, scaled(cost_usd=150, input_tokens=150), 0.015), "cost",
        ("avg_cost_per_request_usd", "avg_input_tokens", "total_cost_usd"), COST, 24),
    "spend by volume (twice)": Fault(more_requests, "cost", ("total_cost_usd",), COST, 24),
    "refusals 2 to 8 %": Fault(
        in_requests(QUALITY, lambda rows: rows.assign(finish_reason="refusal"), 0.06), "quality", ("refusal_rate",),
        predicted={**SHARE, "size": 0.06, "sd": 0.14}),
    "quality .4 down in one feature": Fault(
        worse(0.4), "quality", ("mean_quality", "flagged_rate", *(f"mean_{name}" for name in DIMENSIONS)),
        predicted={**SCORE, "size": 0.4}),
    "quality slides .04 a day": Fault(
        worse(lambda days: 0.04 * days), "quality", ("mean_quality", "flagged_rate", *(f"mean_{name}" for name in DIMENSIONS)),
        predicted={**SCORE, "slope": 0.04}),
    "canary of 4 %, 1.2 worse": Fault(
        worse(1.2, 0.04, {"prompt_version": "v2"}), "quality", ("mean_quality", "flagged_rate"),
        predicted={**SCORE, "size": 1.2, "rate": 0.04 * RATE, "day_sd": 0.0, "window": "1d"}),
    "thumbs up 75 to 35 %": Fault(
        users(abandoned=0.10, retry=0.05, correction=0.02, thumbs_up=0.028, thumbs_down=0.052), "quality",
        ("explicit_positive_rate",), predicted={**SHARE, "size": 0.4, "rate": 0.08, "sd": 0.43}),
    "abandoned 10 to 25 %": Fault(
        users(abandoned=0.25, retry=0.05, correction=0.02, thumbs_up=0.06, thumbs_down=0.02), "quality",
        ("abandonment_rate",), predicted={**SHARE, "size": 0.15, "sd": 0.30}),
    "traffic lost (98 %)": Fault(no_requests, "infrastructure", ("request_count",)),
    "judge fails (60 %)": Fault(
        failing_judge(0.6), "quality", ("failed_rate",), predicted={**SHARE, "size": 0.59, "rate": RATE, "sd": 0.1}),
    "provider change, probes only": Fault(other_model, "quality", ("probe_distance", "probe_pass_rate"), None, 72),
}  # fmt: skip


def predicted_hours(asked: dict[str, Any], window: str, arl0: float) -> float:
    """The mean delay that `plan_sampling` gives for the chart's window and rate of false alarms; of a slide, that of the mean so far."""
    chart = lm.EWMAChart(lambda_=0.2, arl0=min(max(arl0, 50.0), 1e5))

    def delay(size: float) -> float:
        plan = lm.plan_sampling(
            FEATURES[1], asked["sd"], asked["rate"], chart, drop=size, window=window, day_sd=asked["day_sd"]
        )
        return float(plan.to_frame()["delay_days"].iloc[0]) * 24

    if "size" in asked:
        return delay(asked["size"])
    hours = np.arange(6, 24 * 20, 6)
    return float(next(h for h in hours if delay(asked["slope"] * h / 24 / 2) <= h))


def asked_hours(fault: Fault, charts: Any, infra: str) -> float:
    """How soon a fault is to be found."""
    if fault.hours is not None:
        return fault.hours
    if fault.layer == "infrastructure":
        charted = [run.width for run in charts.runs if run.key == (fault.feature, fault.metrics[0])]
        return 3 * width(charted[0] if "p50" in fault.metrics[0] else infra) / HOUR
    run = next(run for run in charts.runs if run.key == (fault.feature, fault.metrics[0]))
    window = run.width if fault.predicted["window"] == "auto" else fault.predicted["window"]
    arl0 = run.arl0 if window == run.width else 30 / run.share
    return 2 * predicted_hours(fault.predicted, window, arl0) + width(window) / HOUR


def infrastructure_width(log: Any, feature: str) -> str:
    plan = read_plan(None)
    scopes = scopes_of(log, plan)
    counts = window_counts(log, plan, usual_limits(log, plan, scopes))
    start, end = scopes.loc[feature, ["start", "fit_end"]]
    return window_width(counts[counts["feature_id"] == feature], plan, start, end)


def _told(alerts: pd.DataFrame, fault: Fault, named: bool) -> pd.Timestamp:
    """When the layer told of a metric of the fault: in a row of its own, or `named` in the sentence of another."""
    told = alerts["metric"].isin(fault.metrics)
    if named:
        words = [measure(metric).words for metric in fault.metrics]
        told |= alerts["message"].map(lambda text: any(each in text for each in words)).astype(bool)
    return alerts.loc[told & (alerts["layer"] == fault.layer), "fired_at"].min()


def tried(seed: int, only: list[str]) -> list[dict[str, Any]]:
    """Every fault in one healthy log."""
    base = healthy(seed, DAYS, FEATURES, RATE)
    log = lm.open_log(base)
    known, charts = set(lm.check(log)["alert_id"]), lm.control_charts(log)
    infra = infrastructure_width(log, QUALITY)
    rows = []
    for number, (name, fault) in enumerate(FAULTS.items()):
        if only and not any(word in name for word in only):
            continue
        rng = np.random.default_rng([seed, number, 7])
        hour = (
            rng.uniform(0, 24) if fault.hours != 2 and fault.layer != "infrastructure" else rng.uniform(7, 16)
        )  # enough requests
        since = START.tz_localize("UTC") + int(EARLIEST + rng.integers(4)) * DAY + hour * HOUR
        planted = lm.open_log(fault.plant(base, since, rng))
        found = lm.check(planted)
        found = found[(found["fired_at"] >= since) & ~found["alert_id"].isin(known)]
        found = found.sort_values("fired_at", kind="stable")
        mine = found if fault.feature is None else found[found["feature_id"] == fault.feature]
        first = mine[mine["fired_at"] == mine["fired_at"].min()]
        asked = asked_hours(fault, charts, infra)
        delay = (_told(mine, fault, False) - since) / HOUR
        if not delay <= asked:  # the row of another metric of that layer may name it by then
            then = lm.check(planted, until=since + asked * HOUR)
            delay = (_told(then[then["alert_id"].isin(mine["alert_id"])], fault, True) - since) / HOUR
        delay = np.inf if np.isnan(delay) else delay
        rows.append({
            "fault": name, "seed": seed, "asked": asked, "delay": delay, "found": delay <= asked + 1e-6,
            "first": "; ".join(f"{one.layer} {one.rule} {one.metric}" for one in first.itertuples()) or "nothing",
            "right": (first["layer"] == fault.layer).any(), "others": len(found) - len(mine),
        })  # fmt: skip
        print(seed, name, f"{delay:.1f} h of {asked:.1f}", rows[-1]["first"], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=[])
    chosen = parser.parse_args()
    rows = [row for seed in range(chosen.first, chosen.first + chosen.seeds) for row in tried(seed, chosen.only)]
    table = pd.DataFrame(rows)
    print("\n| fault | found first by | asked, h | delay, h (median, latest) | in time |\n|---|---|---|---|---|")
    for name, own in table.groupby("fault", sort=False):
        low, high = wilson(own["found"].sum(), len(own))
        first = own["first"].value_counts()
        told = ", ".join(f"{what}{'' if k == len(own) else f' ({k})'}" for what, k in first.head(3).items())
        print(f"| {name} | {told} | {own['asked'].median():.0f} | {own['delay'].median():.1f}, {own['delay'].max():.1f} | "
              f"{own['found'].sum()} of {len(own)} ({low:.2f} to {high:.2f}) |")  # fmt: skip


if __name__ == "__main__":
    main()
