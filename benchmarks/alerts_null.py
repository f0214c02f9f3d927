"""How often `check` fires on logs in which nothing happens, and how long it takes on a large one.

python benchmarks/alerts_null.py --seeds 30           # false alarms a month, against the budget of 1
python benchmarks/alerts_null.py --large              # 1 million requests, 20 features, 90 days: seconds and MB
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

import llm_monitoring as lm

START = pd.Timestamp("2026-05-04", tz="UTC")


def stationary(seed: int, days: int = 42, features: int = 4, a_day: int = 150, rate: float = 0.2) -> dict:
    """A log with a day and week pattern, log-normal latency and cost, and nothing that changes."""
    rng = np.random.default_rng(seed)
    n = days * features * a_day
    day = rng.choice(days, n, p=np.tile([1.1, 1.1, 1.1, 1.1, 1.0, 0.5, 0.5], days // 7 + 1)[:days] / _week(days))
    hour = np.clip(rng.normal(14, 4.5, n), 0, 23.99)
    feature = rng.integers(features, size=n)
    spread = rng.lognormal(0, 0.8, n)
    requests = pd.DataFrame({
        "timestamp": START + pd.to_timedelta(day * 86400.0 + hour * 3600, unit="s"),
        "feature_id": [f"feature-{f:02d}" for f in feature],
        "model_id": "model-a-2026-01-01",
        "latency_ms": rng.lognormal(7, 0.6, n),
        "input_tokens": np.ceil(300 * rng.lognormal(0, 0.5, n)),
        "output_tokens": np.ceil(80 * spread),
        "cost_usd": 0.002 * spread,
        "finish_reason": rng.choice(["end_turn", "refusal", "max_tokens"], n, p=[0.96, 0.025, 0.015]),
        "error": np.where(rng.random(n) < 0.01, "timeout", None),
    })  # fmt: skip
    requests = requests.sort_values("timestamp", ignore_index=True)
    requests["request_id"] = [f"r{i:07d}" for i in range(n)]
    requests["session_id"] = requests["request_id"]
    judged = requests.loc[rng.random(n) < rate, ["request_id", "feature_id", "timestamp"]]
    level = rng.normal(0, 1, (len(judged), 1)) * 0.6
    scores = np.clip(np.round(4.3 + level + rng.normal(0, 0.6, (len(judged), 3))), 1, 5)
    quality = np.floor(scores.mean(axis=1) + 0.5)
    judgements = pd.DataFrame({
        "request_id": judged["request_id"], "feature_id": judged["feature_id"], "quality_score": quality,
        "dimensions": [dict(zip(("correctness", "completeness", "tone"), row)) for row in scores],
        "flagged": quality <= 2, "flag_reason": None, "judged_at": judged["timestamp"] + pd.Timedelta("5min"),
    })  # fmt: skip
    kinds = rng.choice(["abandoned", "retry", "thumbs_up", "thumbs_down"], n, p=[0.5, 0.2, 0.2, 0.1])
    sent = rng.random(n) < 0.2
    signals = requests.loc[sent, ["request_id", "session_id", "timestamp"]].assign(
        signal_type=kinds[sent], metadata=None
    )
    return {"requests": requests, "judgements": judgements, "signals": signals}


def _week(days: int) -> float:
    return np.tile([1.1, 1.1, 1.1, 1.1, 1.0, 0.5, 0.5], days // 7 + 1)[:days].sum()


def null(seeds: int, days: int) -> None:
    """Alerts a month on stationary logs, by layer; a month counts from the end of the baseline."""
    found, months = [], 0.0
    for seed in range(seeds):
        log = lm.open_log(stationary(seed, days))
        alerts = lm.check(log)
        months += (days - 7 * min(max(days // 14, 2), 4)) / 30
        found.append(alerts.assign(seed=seed))
        print(seed, alerts[["layer", "metric", "feature_id", "severity"]].values.tolist(), flush=True)
    alerts = pd.concat(found)
    for layer in ("infrastructure", "cost", "quality"):
        k = int((alerts["layer"] == layer).sum())
        print(f"{layer}: {k} in {months:.1f} months, {k / months:.2f} a month")
    k, quiet = len(alerts), seeds - alerts["seed"].nunique()
    print(
        f"all: {k / months:.2f} a month (se {np.sqrt(max(k, 1)) / months:.2f}); {quiet} of {seeds} logs without an alert"
    )


def large() -> None:
    """Seconds and memory of one check."""
    tables = stationary(0, days=90, features=20, a_day=556, rate=0.05)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    log = lm.open_log(tables)
    begin, cpu = time.perf_counter(), time.process_time()
    alerts = lm.check(log)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(tables['requests']):,} requests: {time.perf_counter() - begin:.1f} s ({time.process_time() - cpu:.1f} s CPU)"
    )
    print(f"peak memory {peak:.0f} MB, {before:.0f} MB of it before the check; {len(alerts)} alerts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--days", type=int, default=42)
    parser.add_argument("--large", action="store_true")
    chosen = parser.parse_args()
    if chosen.large:
        large()
    else:
        null(chosen.seeds, chosen.days)
