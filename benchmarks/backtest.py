"""How fast a back-test is, whether its predictions hold, and whether planted and real falls are seen alike.

python benchmarks/backtest.py --large              # 90 days, 20 features, 80 charts: seconds and MB
python benchmarks/backtest.py --alike --logs 12    # delays of real falls beside those of planted falls of the same size
python benchmarks/backtest.py --alarms --logs 40   # alarms predicted from half of the logs, counted in the other half
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

import llm_monitoring as lm
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.backtesting.replay import Replay
from llm_monitoring.backtesting.run import false_alarms
from tests.backtesting.logs import make

PLAN = {"quality": {"metrics": ["mean_quality", "flagged_rate", "refusal_rate"], "query_drift": False, "probes": False},
        "cost": {"metrics": ["avg_cost_per_request_usd"]}}  # fmt: skip


def large(requests: int) -> None:
    """Seconds and memory of a back-test with the default injections and the default grid, of a log in Parquet files."""
    with tempfile.TemporaryDirectory() as folder:
        made = get_context("spawn").Process(target=_written, args=(folder, requests))
        made.start()  # in a process of its own: what making the log takes is not counted
        made.join()
        begin, cpu = time.perf_counter(), time.process_time()
        log = lm.open_log(folder)
        found = lm.backtest(log, PLAN, inject=lm.default_injections())
        seconds, used = time.perf_counter() - begin, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        charts = len(lm.control_charts(log, PLAN))
        print(f"{log.count('requests'):,} requests, {charts} charts: {seconds:.1f} s ({used:.1f} s of processor time)")
        print(f"peak memory {peak:.0f} MiB; {found.headline}")


def _written(folder: str, requests: int) -> None:
    for name, table in make(0, days=90, features=20, a_day=round(requests / 90 / 20), rate=0.05).items():
        table.to_parquet(Path(folder) / f"{name}.parquet")


def alike(logs: int, fall: float) -> None:
    """Falls that begin in the log itself, and planted ones of the same size in logs where nothing happens."""
    since = pd.Timestamp("2026-06-03T09:00Z")
    real, planted = [], []
    for seed in range(logs):
        fallen = make(1000 + seed, days=42, features=1, a_day=200, rate=0.3, fall=fall, since=str(since))
        happened = pd.DataFrame(
            {"incident_id": ["fall"], "started_at": [since], "ended_at": [since + pd.Timedelta("7D")]}
        )
        found = lm.backtest(fallen, PLAN, incidents=happened, grid={"rate": [0.3]})
        real.append(found.incidents["delay_hours"].iloc[0])
        quiet = make(2000 + seed, days=42, features=1, a_day=200, rate=0.3)
        tried = lm.backtest(quiet, PLAN, inject=[lm.Injection("quality", -fall)], grid={"rate": [0.3]})
        planted.append(tried.incidents["delay_hours"].to_numpy())
        print(
            seed, f"real {real[-1]:.0f} h, planted {np.nanmedian(planted[-1]):.0f} h in {len(planted[-1])}", flush=True
        )
    every = np.concatenate(planted)
    lows = [np.nanmedian(np.random.default_rng(i).choice(real, len(real))) for i in range(2000)]
    print(f"real: seen in {np.isfinite(real).mean():.2f} of {len(real)}, median {np.nanmedian(real):.1f} h "
          f"({np.nanquantile(lows, .025):.1f} to {np.nanquantile(lows, .975):.1f})")  # fmt: skip
    print(f"planted: seen in {np.isfinite(every).mean():.2f} of {len(every)}, median {np.nanmedian(every):.1f} h")


def alarms(logs: int, budget: float, days: int) -> None:
    """Alarms that the first half of the logs predicts for the second half, and those that came."""
    rates, months, counts, halves = [], [], [], []
    plan = read_plan({**PLAN, "quality": {**PLAN["quality"], "false_alarms_per_month": budget}})
    for seed in range(logs):
        replay = Replay.of(lm.open_log(make(3000 + seed, days=days, features=2, a_day=120, rate=0.3)), plan)
        rates.append(false_alarms(replay, pd.Series(False, index=replay.alerts.index))[0])
        months.append(replay.months)
        counts.append(round(rates[-1] * months[-1]))
        middle = replay.span.split + (replay.span.end - replay.span.split) / 2
        fired = replay.alerts["fired_at"][replay.alerts["fired_at"] >= replay.span.split]
        halves.append([int((fired < middle).sum()), int((fired >= middle).sum())])
        print(seed, counts[-1], f"{months[-1]:.2f}", flush=True)
    first, second = slice(0, None, 2), slice(1, None, 2)
    predicted = np.average(rates[first], weights=months[first]) * sum(months[second])
    print(f"predicted {predicted:.1f}, came {sum(counts[second])}: ratio {sum(counts[second]) / predicted:.2f}; "
          f"designed {budget * sum(months[second]):.1f}")  # fmt: skip
    early, late = np.sum(halves, axis=0)
    print(f"first half of the time watched {early}, second half {late}: ratio {late / early:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--alike", action="store_true")
    parser.add_argument("--alarms", action="store_true")
    parser.add_argument("--logs", type=int, default=12)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--fall", type=float, default=0.4)
    parser.add_argument("--budget", type=float, default=8.0)
    parser.add_argument("--days", type=int, default=70)
    chosen = parser.parse_args()
    if chosen.large:
        large(chosen.requests)
    if chosen.alike:
        alike(chosen.logs, chosen.fall)
    if chosen.alarms:
        alarms(chosen.logs, chosen.budget, chosen.days)
