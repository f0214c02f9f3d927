"""Small logs with a known truth: who was hit, since when and by what."""

from __future__ import annotations

import numpy as np
import pandas as pd

from llm_monitoring import open_log

START = pd.Timestamp("2026-05-04", tz="UTC")
FEATURES = ("support", "search")
WORDS = (
    "parcel",
    "refund",
    "invoice",
    "tent",
    "boots",
    "zip",
    "late",
    "wrong",
    "size",
    "colour",
    "voucher",
    "email",
    "door",
)


def make_world(
    *, days=16, per_day=120, hit=None, drop=0.0, at=10.5, changes=(), judge_drop=0.0, mix=None, until=None, seed=1
):
    """A log of scored answers (1 to 5) in two features, three categories and two models, all judged.

    Parameters
    ----------
    hit : dict
        Column -> value of the answers that fall by `drop` from day `at` on; None hits all.
    changes : sequence of dict
        Rows of `changes`; `day` stands for the timestamp.
    judge_drop : float
        Every score falls by this from day `at` on.
    mix : float
        From day `at` on, the share of `returns` (always 1.5 points harder) in place of a third.
    """
    rng = np.random.default_rng(seed)
    n = days * per_day
    day = np.sort(rng.uniform(0, days, n))
    late = day >= at
    share = np.where(late, mix, 0.2) if mix else np.full(n, 1 / 3)
    category = np.where(rng.uniform(size=n) < share, "returns", rng.choice(["billing", "other"], n))
    frame = pd.DataFrame(
        {
            "request_id": [f"req-{i:05d}" for i in range(n)],
            "timestamp": (START + pd.to_timedelta(day, unit="D")).floor("ms"),
            "session_id": [f"ses-{i:05d}" for i in range(n)],
            "feature_id": rng.choice(FEATURES, n),
            "category": category,
            "model_id": rng.choice(["model-a-2026-01-01", "model-b-2026-01-01"], n),
            "latency_ms": np.exp(rng.normal(7, 0.5, n)),
            "cost_usd": 0.003,
            "finish_reason": "end_turn",
            "user_input": [" ".join(rng.choice(WORDS, 6)) for _ in range(n)],
            "system_output": [f"answer {i}" for i in range(n)],
        }
    )
    mean = 4.2 - (1.5 * (category == "returns") if mix else 0) - judge_drop * late
    inside = np.ones(n, bool)
    for column, value in (hit or {}).items():
        inside &= (frame[column] == value).to_numpy()
    mean = mean - drop * (inside & late)
    score = np.clip(np.rint(rng.normal(mean, 0.8)), 1, 5)
    judgements = pd.DataFrame(
        {
            "request_id": frame["request_id"],
            "feature_id": frame["feature_id"],
            "quality_score": score,
            "dimensions": [{} for _ in range(n)],
            "flagged": score <= 2,
            "flag_reason": None,
            "judged_at": frame["timestamp"] + pd.Timedelta("5min"),
        }
    )
    rows = [{**row, "timestamp": START + pd.Timedelta(days=row["day"])} for row in changes]
    table = pd.DataFrame(rows).drop(columns="day", errors="ignore")
    tables = {"requests": frame, "judgements": judgements}
    if rows:
        tables["changes"] = table.assign(description=table.get("description", "a change"))
    return open_log(tables)


def make_alert(day=12.0, feature_id="support", metric="mean_quality", direction="down"):
    """An alert that fired at the start of `day`."""
    return {
        "metric": metric,
        "feature_id": feature_id,
        "direction": direction,
        "fired_at": START + pd.Timedelta(days=day),
        "window_start": START + pd.Timedelta(days=day - 1),
    }
