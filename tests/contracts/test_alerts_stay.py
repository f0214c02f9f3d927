"""An alert that has fired stays as it was: at every moment `check` gives what the whole log's `check` had fired by then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "llmdrift"
START = pd.Timestamp("2026-05-04", tz="UTC")
DAY, HOUR = pd.Timedelta("1D"), pd.Timedelta("1h")
STAYS = [
    "alert_id", "metric", "feature_id", "fired_at", "window_start", "value", "expected", "low", "high", "direction",
    "designed_false_alarms_per_month", "layer", "kind", "rule", "version", "reopens", "n",
]  # fmt: skip


def requests_of(rng: np.random.Generator, feature: str, first: int, days: int, a_day: int, gap: range) -> pd.DataFrame:
    """Requests of one feature from a day on, none in the days of a gap."""
    day = rng.integers(first, days, a_day * (days - first))
    day = day[~np.isin(day, list(gap))]
    n = len(day)
    return pd.DataFrame({
        "timestamp": START + pd.to_timedelta((day + rng.beta(3, 3, n)) * 86400, unit="s").round("ms"),
        "feature_id": feature, "model_id": "model-a-2026-01-01", "latency_ms": rng.lognormal(6.8, 0.4, n),
        "input_tokens": np.ceil(rng.lognormal(6, 0.4, n)), "output_tokens": np.ceil(rng.lognormal(5, 0.4, n)),
        "cost_usd": 0.002 * rng.lognormal(0, 0.4, n), "finish_reason": rng.choice(["end_turn", "refusal"], n, p=[0.97, 0.03]),
        "error": np.where(rng.random(n) < 0.01, "timeout", None), "user_input": None,
    })  # fmt: skip


def generated(seed: int, days: int = 45) -> dict[str, pd.DataFrame]:
    """Features that start late, pause, are rarely judged; judgements and signals that come late, twice, or all at once."""
    rng = np.random.default_rng(seed)
    requests = pd.concat([
        requests_of(rng, "chat", 0, days, 90, range(0)),
        requests_of(rng, "search", 0, days, 60, range(24, 28)),
        requests_of(rng, "rare", 3, days, 12, range(0)),
        requests_of(rng, "new", 16, days, 70, range(0)),
    ]).sort_values("timestamp", ignore_index=True)  # fmt: skip
    n, at, feature = len(requests), requests["timestamp"], requests["feature_id"]
    requests["request_id"] = [f"r{i:06d}" for i in range(n)]
    requests["session_id"] = requests["request_id"]
    requests.loc[(feature == "search") & (at >= START + 30 * DAY), "cost_usd"] *= 1.7
    burst = (feature == "chat") & (at >= START + 22.4 * DAY) & (at < START + 22.9 * DAY)
    requests.loc[burst & (rng.random(n) < 0.5), "error"] = "overloaded"
    fallen = ((feature == "chat") & (at >= START + (17 + seed) * DAY) & (at < START + 33 * DAY)).to_numpy()
    fallen = fallen | ((feature == "new") & (at >= START + 36 * DAY)).to_numpy()
    taken = rng.random(n) < np.where(feature == "rare", 0.3, 0.5)
    late = np.where(rng.random(n) < 0.1, rng.exponential(1.5, n), rng.exponential(0.01, n))  # days
    judged_at = at + pd.to_timedelta(late * 86400, unit="s").round("ms")
    stopped = (judged_at >= START + 19 * DAY) & (
        judged_at < START + 21.5 * DAY
    )  # the judge stands still, then catches up
    judged_at = judged_at.where(~stopped, START + 21.5 * DAY + (judged_at - START - 19 * DAY) / 50)
    score = np.clip(np.round(rng.normal(np.where(fallen, 2.9, 4.2), 0.8)), 1, 5)
    judge = np.where((feature == "search") & (judged_at >= START + 29 * DAY), "judge-b", "judge-a")
    judgements = pd.DataFrame({
        "request_id": requests["request_id"], "feature_id": feature, "quality_score": score,
        "dimensions": [{"tone": value} for value in score], "flagged": score <= 2, "flag_reason": None,
        "judged_at": judged_at, "judge_model": judge, "status": "ok",
    })[taken]  # fmt: skip
    again = judgements.iloc[::17].assign(
        judged_at=lambda rows: rows["judged_at"] + 2 * DAY, quality_score=1.0, flagged=True
    )
    failed = judgements.iloc[::13].assign(
        judged_at=lambda rows: rows["judged_at"] + 3 * HOUR, quality_score=np.nan, flagged=False, status="failed"
    )
    beside = judgements.iloc[::3].assign(judge_model="judge-c", quality_score=5.0, flagged=False)
    sent = requests[rng.random(n) < np.where((feature == "rare") & (at > START + 20 * DAY), 0.6, 0.2)]
    signals = pd.DataFrame({
        "request_id": sent["request_id"], "session_id": sent["session_id"],
        "signal_type": rng.choice(["abandoned", "thumbs_up", "thumbs_down", "retry"], len(sent), p=[0.5, 0.2, 0.1, 0.2]),
        "timestamp": sent["timestamp"] + pd.to_timedelta(rng.exponential(1, len(sent)) * 7200, unit="s").round("ms"),
        "metadata": None,
    })  # fmt: skip
    probes = pd.concat([
        pd.DataFrame({"probe_id": [f"p{i}" for i in range(12)], "model_id": "model-a-2026-01-01", "input": "x", "output": "y",
                      "passed": [i >= (9 if k > 33 else 0) for i in range(12)], "run_at": START + k * DAY + 5 * HOUR})
        for k in range(0, days, 3)
    ], ignore_index=True)  # fmt: skip
    every = pd.concat([judgements, again, failed, beside], ignore_index=True)
    return {"requests": requests, "judgements": every, "signals": signals, "probe_results": probes}


def moments(log: lm.Log, whole: pd.DataFrame, count: int, seed: int) -> list[pd.Timestamp]:
    """Moments spread over a log, some of them just before and at the firing of an alert."""
    first, last = log.span("requests")
    rng = np.random.default_rng(seed)
    spread = [first + (last - first) * share for share in np.sort(rng.uniform(0.25, 1, count))]
    fired = whole["fired_at"].sort_values().tolist()
    near = [fired[i] - pd.Timedelta("1s") * (k % 2) for k, i in enumerate(rng.integers(0, len(fired), -(-count // 3)))]
    return [when.floor("us") for when in (*spread, *near) if when <= last]


def assert_stays(log: lm.Log, plan: dict | None, count: int, seed: int = 0) -> None:
    whole = lm.check(log, plan)
    assert len(whole)
    for when in moments(log, whole, count, seed):
        then = lm.check(log, plan, until=when)
        had = whole[whole["fired_at"] <= when]
        order = ["fired_at", "alert_id"]
        pd.testing.assert_frame_equal(
            then.sort_values(order, ignore_index=True)[STAYS],
            had.sort_values(order, ignore_index=True)[STAYS],
            check_exact=True,
            check_dtype=False,
            obj=f"alerts at {when}",
        )


@pytest.mark.parametrize(("seed", "count"), [(0, 2), pytest.param(1, 30, marks=pytest.mark.long)])
def test_alerts_of_a_generated_log_stay_as_they_were(seed, count):
    assert_stays(lm.open_log(generated(seed)), None, count, seed)


@pytest.mark.long
def test_alerts_stay_with_a_plan_of_its_own():
    plan = {"baseline": {"days": 10}, "quality": {"settle": "3h", "window": "1d", "reserve": 0.5}}
    assert_stays(lm.open_log(generated(2, days=32)), plan, 3)


@pytest.mark.long
def test_alerts_of_the_sample_stay_as_they_were():
    assert_stays(lm.open_log(ROOT / "sample_data"), None, 20)


@pytest.mark.long
@pytest.mark.skipif(not REAL.exists(), reason="the real log ../shared/data/llmdrift is not here")
def test_alerts_of_the_real_update_stay_as_they_were():
    assert_stays(lm.open_log(REAL), None, 20)
