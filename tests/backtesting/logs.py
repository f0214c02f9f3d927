"""Generated logs in which nothing happens, or a fall of known size begins at a known moment."""

from __future__ import annotations

import numpy as np
import pandas as pd

START = pd.Timestamp("2026-05-04", tz="UTC")  # a Monday
SHARES = np.array([0.02, 0.05, 0.13, 0.35, 0.45])  # of the scores 1 to 5


def make(
    seed: int = 0, days: int = 42, features: int = 2, a_day: int = 240, rate: float = 0.25, fall: float = 0.0,
    since: str | None = None,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """A log of requests, judgements and signals; from `since` on, answers of the first feature are worse by `fall` points."""
    rng = np.random.default_rng(seed)
    n = days * features * a_day
    at = START + pd.to_timedelta(np.sort(rng.uniform(0, days * 86400, n)), unit="s").floor("s")
    requests = pd.DataFrame({
        "request_id": [f"r{seed}-{i:07d}" for i in range(n)], "timestamp": at, "session_id": [f"s{i}" for i in range(n)],
        "feature_id": np.where(rng.integers(features, size=n) == 0, "search", "other"), "model_id": "m-1",
        "region": rng.choice(["eu", "us"], n), "latency_ms": rng.lognormal(7, 0.5, n), "cost_usd": rng.lognormal(-6, 0.5, n),
        "finish_reason": rng.choice(["end_turn", "refusal"], n, p=[0.97, 0.03]),
    })  # fmt: skip
    if features > 2:
        requests["feature_id"] = [f"feature-{i:02d}" for i in rng.integers(features, size=n)]
    judged = requests[rng.random(n) < rate].reset_index(drop=True)
    score = rng.choice(5, len(judged), p=SHARES) + 1.0
    if fall:
        worse = (judged["timestamp"] >= pd.Timestamp(since)) & (judged["feature_id"] == "search")
        score = np.where(worse & (score > 1) & (rng.random(len(judged)) < fall / (1 - SHARES[0])), score - 1, score)
    judgements = pd.DataFrame({
        "request_id": judged["request_id"], "feature_id": judged["feature_id"], "quality_score": score,
        "dimensions": [{"tone": s} for s in score], "flagged": score <= 2, "flag_reason": None,
        "judged_at": judged["timestamp"] + pd.Timedelta("5min"), "judge_model": "judge-1", "cost_usd": 0.002,
    })  # fmt: skip
    sent = rng.random(n) < 0.1
    signals = requests.loc[sent, ["request_id", "session_id", "timestamp"]].assign(
        signal_type="abandoned", metadata=None
    )
    return {"requests": requests, "judgements": judgements, "signals": signals}


def spoiled(tables: dict[str, pd.DataFrame], what: str, start, end, change) -> dict[str, pd.DataFrame]:
    """The log with a column of the requests changed between two moments; the given one stays as it is."""
    requests = tables["requests"].copy()
    inside = (requests["timestamp"] >= start) & (requests["timestamp"] < end)
    requests.loc[inside, what] = change(requests.loc[inside, what])
    return {**tables, "requests": requests}


def thinned(tables: dict[str, pd.DataFrame], start, end, share: float, seed: int = 0) -> dict[str, pd.DataFrame]:
    """The log with only a share of its requests between two moments, and what hangs on them."""
    requests = tables["requests"]
    inside = (requests["timestamp"] >= start) & (requests["timestamp"] < end)
    requests = requests[~inside | (np.random.default_rng(seed).random(len(requests)) < share)]
    return {name: table[table["request_id"].isin(requests["request_id"])] for name, table in tables.items()}
