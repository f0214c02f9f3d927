"""Generated healthy traffic: several features, the rhythm of day and week in a zone with two clocks, day effects, holidays.

Nothing in it changes, so every alarm of chance on it is false; `faults.py` plants one fault at a known moment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

ZONE = "Europe/Berlin"
START = pd.Timestamp("2026-01-12")  # a Monday
NIGHT, LUNCH = 0.25, 0.85  # of the traffic of a working hour
WEEK = np.array([1.05, 1.1, 1.1, 1.1, 1.0, 0.5, 0.45])
HOLIDAYS = ("2026-04-03", "2026-04-06", "2026-05-01", "2026-05-14", "2026-05-25", "2026-10-03", "2026-12-25", "2026-12-26",
            "2027-01-01", "2027-03-26", "2027-03-29", "2027-05-01", "2027-05-06", "2027-05-17")  # fmt: skip
DAY_SD = {"volume": 0.08, "quality": 0.05, "latency": 0.04, "tokens": 0.03}  # what differs from day to day
SIGNALS = {"abandoned": 0.10, "retry": 0.05, "correction": 0.02, "thumbs_up": 0.06, "thumbs_down": 0.02}
DIMENSIONS = ("correctness", "completeness", "tone")
JUDGE = "judge-a-2026-01"
LEVEL = 4.2  # of answers; a scale that ends at 5 makes it a mean score of 4.16


def shape_of_day() -> np.ndarray:
    """Traffic of the 24 hours of the local clock, 1 on average."""
    hours = np.full(24, NIGHT)
    hours[8:19] = 1.0
    hours[[7, 19, 20]] = 0.6
    hours[12] = LUNCH
    return hours / hours.mean()


def healthy(
    seed: int,
    days: int = 42,
    a_day: Sequence[float] = (1200, 600, 400, 300),
    rate: float = 0.25,
    holidays: Sequence[str] = (),
    start: pd.Timestamp = START,
) -> dict[str, pd.DataFrame]:
    """Requests, judgements and signals of so many features (`a_day`: requests a day of each) in which nothing happens."""
    rng = np.random.default_rng([seed, 1])
    return _tables(rng, _requests(rng, days, a_day, holidays, start), rate)


def _requests(rng, days: int, a_day: Sequence[float], holidays: Sequence[str], start: pd.Timestamp) -> pd.DataFrame:
    shape, off = shape_of_day(), set(pd.to_datetime(list(holidays)))
    dates = pd.date_range(start, periods=days)
    parts = []
    for number, usual in enumerate(a_day):
        lull = WEEK ** rng.uniform(0.3, 1.6)  # how much this feature feels the weekend
        lull = lull / lull.mean()
        effect = {name: rng.normal(0, sd, days) for name, sd in DAY_SD.items()}
        quiet = np.where(dates.isin(list(off)), rng.uniform(0.4, 0.8), 1.0)
        mean = usual * lull[dates.dayofweek] * quiet * np.exp(effect["volume"])
        counts = rng.poisson(mean[:, None] * shape / 24)
        day, hour = (axis.ravel() for axis in np.indices(counts.shape))
        day, hour = np.repeat(day, counts.ravel()), np.repeat(hour, counts.ravel())
        local = dates[day] + pd.to_timedelta(hour * 3600 + rng.uniform(0, 3600, len(day)), unit="s")
        at = local.tz_localize(ZONE, ambiguous=rng.random(len(day)) < 0.5, nonexistent="shift_forward").tz_convert(
            "UTC"
        )
        busy = shape[hour] - 1
        parts.append(pd.DataFrame({
            "feature_id": f"feature-{number:02d}", "timestamp": at.floor("ms"),
            "latency_ms": np.exp(rng.normal(6.8 + 0.1 * number % 0.7 + 0.05 * busy + effect["latency"][day], 0.45)),
            "input_tokens": np.ceil(np.exp(rng.normal(6 + 0.02 * busy + effect["tokens"][day], 0.5))),
            "output_tokens": np.ceil(np.exp(rng.normal(5 + effect["tokens"][day], 0.5))),
            "level": LEVEL - 0.03 * busy + effect["quality"][day],
        }))  # fmt: skip
    rows = pd.concat(parts, ignore_index=True).sort_values("timestamp", ignore_index=True)
    n = len(rows)
    return rows.assign(
        request_id=[f"r{i:07d}" for i in range(n)], session_id=[f"s{i:07d}" for i in range(n)],
        model_id="model-a-2026-01-01", prompt_version="v1",
        cost_usd=np.round(rows["input_tokens"] * 2e-6 + rows["output_tokens"] * 8e-6, 7),
        finish_reason=rng.choice(["end_turn", "refusal", "max_tokens"], n, p=[0.965, 0.02, 0.015]),
        error=np.where(rng.random(n) < 0.008, "timeout", None),
    )  # fmt: skip


def _tables(rng, requests: pd.DataFrame, rate: float) -> dict[str, pd.DataFrame]:
    judged = requests[rng.random(len(requests)) < rate]
    return {
        "requests": requests.drop(columns="level"),
        "judgements": judgements_of(rng, judged, judged["level"].to_numpy()),
        "signals": signals_of(rng, requests, SIGNALS),
    }


def judgements_of(rng, requests: pd.DataFrame, level: np.ndarray) -> pd.DataFrame:
    """A judge's scores of some requests about a level, a few minutes later; one in a hundred judgements fails."""
    own = level + rng.normal(0, 0.6, len(requests))
    scores = np.clip(np.round(own[:, None] + rng.normal(0, 0.5, (len(requests), len(DIMENSIONS)))), 1, 5)
    quality = np.floor(scores.mean(axis=1) + 0.5)
    failed = rng.random(len(requests)) < 0.01
    dimensions = [None if bad else dict(zip(DIMENSIONS, row)) for bad, row in zip(failed, scores)]
    return pd.DataFrame({
        "request_id": requests["request_id"].to_numpy(), "feature_id": requests["feature_id"].to_numpy(),
        "quality_score": np.where(failed, np.nan, quality), "dimensions": dimensions,
        "flagged": pd.array(np.where(failed, None, quality <= 2), dtype="boolean"), "flag_reason": None,
        "judged_at": requests["timestamp"].to_numpy() + pd.to_timedelta(np.ceil(rng.exponential(240, len(requests))), unit="s"),
        "judge_model": JUDGE, "rubric_version": "r1", "status": np.where(failed, "failed", "ok"),
        "error": np.where(failed, "timeout", None), "cost_usd": 0.0004,
    }).assign(judged_at=lambda frame: pd.to_datetime(frame["judged_at"], utc=True))  # fmt: skip


def signals_of(rng, requests: pd.DataFrame, shares: dict[str, float]) -> pd.DataFrame:
    """Signals of some requests, two minutes later, at most one a request."""
    kind = rng.choice([*shares, ""], len(requests), p=[*shares.values(), 1 - sum(shares.values())])
    sent = requests[kind != ""]
    return pd.DataFrame({
        "request_id": sent["request_id"], "session_id": sent["session_id"], "signal_type": kind[kind != ""],
        "timestamp": sent["timestamp"] + pd.Timedelta("2min"), "metadata": None,
    })  # fmt: skip
