"""How often the recovery test says recovered: looked at after every answer, with and without effects of days.

    python benchmarks/recovery.py --each 1000 --seed 1

Scores of 1 to 5 (rounded normal answers about 3, sd 0.9) and flags (6 % of answers); fourteen days before, up to forty after. "still worse" is a
level that is worse by exactly the margin: recovered there is a false recovery, stated to be 0.05 at most over all looks.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from llm_monitoring.incident.inference.comparison import LEAST_TO_TELL
from llm_monitoring.incident.recovery import (
    FALSELY,
    MISSED,
    POWER,
    _baseline,
    _information,
    _planned,
    log_ratios,
)

START = pd.Timestamp("2026-05-04", tz="UTC")


def answers(generator, scale: str, days: int, per_day: float, worse: float, day_sd: float, first: int) -> pd.DataFrame:
    """Rows with `timestamp` and `harm`; a day's effect is a t with 5 degrees of freedom, of the sd given."""
    counts = generator.poisson(per_day, days)
    effect = generator.standard_t(5, days) * day_sd * np.sqrt(3 / 5)
    day = np.repeat(np.arange(days), counts)
    at = START + pd.to_timedelta(first + day + np.sort(generator.uniform(0, 1, len(day))), unit="D")
    if scale == "share":
        harm = (generator.uniform(size=len(day)) < np.clip(0.06 + worse + effect[day], 0, 1)).astype(float)
    else:
        harm = -np.clip(np.rint(generator.normal(3.0 - worse - effect[day], 0.9)), 1, 5)
    return pd.DataFrame({"timestamp": at, "harm": harm}).sort_values("timestamp", ignore_index=True)


def run(generator, scale: str, per_day: float, day_sd: float, still_worse: bool) -> tuple[bool | None, int, int | None]:
    """One incident: recovered or not, after how many answers, and how many were planned."""
    before = answers(generator, scale, 14, per_day, 0.0, day_sd, 0)
    fall = 0.6 if scale == "score" else 0.2  # a margin of 0.2 points, or of 6.25 points of a share
    hit = answers(generator, scale, 3, per_day, fall, day_sd, 14)
    base = _baseline(before, hit, scale, 1.0)
    after = answers(generator, scale, 40, per_day, base.margin if still_worse else 0.0, day_sd, 17)
    ratio = log_ratios(after, base)[2]
    counted = np.arange(1, len(ratio) + 1) >= LEAST_TO_TELL
    up, down = (ratio >= np.log(1 / FALSELY)) & counted, (ratio <= np.log(MISSED)) & counted
    n = int(np.argmax(up)) + 1 if up.any() else len(ratio)
    return (True if up.any() else False if down.any() else None), n, _planned(base, per_day, _information(POWER))


def main() -> None:
    """Print one row a cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-day", type=float, nargs="*", default=[20, 100])
    parser.add_argument("--scale", nargs="*", default=["score", "share"])
    given = parser.parse_args()
    cell = 0
    print("scale,a day,day sd,truth,recovered,se,median n,planned n,within plan", flush=True)
    for scale, sds in (("score", (0.0, 0.08, 0.15)), ("share", (0.0, 0.02, 0.04))):
        if scale not in given.scale:
            continue
        for per_day in given.per_day:
            for day_sd in sds:
                for still_worse in (True, False):
                    cell += 1
                    generator = np.random.default_rng([given.seed, cell])
                    ends = [run(generator, scale, per_day, day_sd, still_worse) for _ in range(given.each)]
                    share = np.mean([end is True for end, _, _ in ends])
                    took = [n for end, n, _ in ends if end]
                    planned = np.median([np.inf if p is None else p for _, _, p in ends])
                    within = np.mean([end is True and n <= (p or 0) for end, n, p in ends])
                    truth = "still worse" if still_worse else "as before"
                    print(
                        f"{scale},{per_day},{day_sd},{truth},{share:.3f},{np.sqrt(share * (1 - share) / given.each):.3f},"
                        f"{np.median(took) if took else np.nan:.0f},{planned:.0f},{within:.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
