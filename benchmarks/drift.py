"""Query drift on real questions: false alarms, power, rankings, windows in a row, speed.

    python benchmarks/drift.py ../shared/data/queries/banking77.jsonl.gz --repetitions 30

Kinds of drift: *intent* = one intent that the reference lacks, *surge* = one known intent grows, *many* = queries of 25
intents that the reference lacks. Standard error of a rate over R repetitions: at most .5 / sqrt(R).
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import time

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from llm_monitoring.drift.drift_test import DriftTest
from llm_monitoring.drift.embedding import default_embedder
from llm_monitoring.drift.monitor import DriftMonitor
from llm_monitoring.drift.two_sample import METHODS

N, M = 2_000, 200


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return np.array([row["text"] for row in rows], object), np.array([row["intent"] for row in rows])


def draw(intent, kind, share, rng, n=N, m=M):
    """Positions of the reference and of the window; the drifted rows are the last ones of the window."""
    k = round(share * m)
    every = rng.permutation(len(intent))
    if kind == "null":
        return every[:n], every[n : n + m]
    chosen = rng.choice(np.unique(intent), 25 if kind == "many" else 1, replace=False)
    is_chosen = np.isin(intent[every], chosen)
    drifted = every[is_chosen]
    if kind != "surge":
        every = every[~is_chosen]
        return every[:n], np.concatenate([every[n : n + m - k], drifted[:k]])
    reference, rest = every[:n], every[n : n + m - k]
    left = np.setdiff1d(drifted, np.concatenate([reference, rest]))
    return reference, np.concatenate([rest, rng.permutation(left)[:k]])


def power(vectors, intent, methods, repetitions):
    print(f"alarms at 5 % (1 %), n = {N}, m = {M}, {repetitions} repetitions (no drift: {3 * repetitions})")
    print(f"{'':14}" + "".join(f"{name:>14}" for name in methods))
    cells = [("null", 0), *((kind, share) for kind in ("intent", "surge", "many") for share in (0.05, 0.1))]
    for kind, share in cells:
        rng = np.random.default_rng([11, len(kind), int(100 * share)])
        p = {name: [] for name in methods}
        for seed in range(repetitions * (3 if kind == "null" else 1)):
            reference, window = draw(intent, kind, share, rng)
            for name in methods:
                p[name].append(DriftTest(vectors[reference], method=name, seed=seed).test(vectors[window]).p_value)
        shown = "".join(f"{np.mean(np.array(v) <= 0.05):8.2f} ({np.mean(np.array(v) <= 0.01):.2f})" for v in p.values())
        print(f"{kind:8}{share:5.0%} {shown}", flush=True)


def rankings(vectors, intent, repetitions):
    print(
        f"\nexplanation at 10 %, {repetitions} repetitions: AUC and precision at 10 of the two lists; kind said rightly"
    )
    for kind in ("intent", "surge"):
        rng = np.random.default_rng([13, len(kind)])
        rows = []
        for seed in range(repetitions):
            reference, window = draw(intent, kind, 0.1, rng)
            told = DriftTest(vectors[reference], seed=seed).test(vectors[window]).explain()
            drifted = np.arange(M) >= M - round(0.1 * M)
            row = {}
            for name in ("grew", "new"):
                ranking = getattr(told, name)
                score = np.empty(M)
                score[ranking["row"].to_numpy()] = ranking["score"].to_numpy()
                k = drifted.sum()
                row[f"{name} AUC"] = (rankdata(score)[drifted].sum() - k * (k + 1) / 2) / (k * (M - k))
                row[f"{name} P10"] = drifted[ranking["row"].to_numpy()[:10]].mean()
            topics = told.to_frame()
            row["kind right"] = (
                np.nan if topics.empty else topics["kind"].iloc[0] == {"intent": "new"}.get(kind, "grew")
            )
            rows.append(row)
        frame = pd.DataFrame(rows).astype(float)
        print(f"{kind:8}" + ", ".join(f"{name} {value:.2f}" for name, value in frame.mean().items()), flush=True)


def in_a_row(text, intent, streams, quiet=15, late=6):
    print(
        f"\n{streams} streams, reference 1,000, windows of 100, ARL0 100: {quiet} quiet windows, then {late} with 10 % new"
    )
    alarms, delays, quiet_windows = 0, [], 0
    start = pd.Timestamp("2026-05-01", tz="UTC")
    for stream in range(streams):
        rng = np.random.default_rng([17, stream])
        chosen = rng.choice(np.unique(intent))
        usual = rng.permutation(np.flatnonzero(intent != chosen))
        new = np.resize(rng.permutation(np.flatnonzero(intent == chosen)), 10 * late)
        days = [usual[1_000 + 100 * day : 1_100 + 100 * day] for day in range(quiet + late)]
        for day in range(late):
            days[quiet + day][:10] = new[10 * day : 10 * day + 10]
        stamps = [start + pd.Timedelta(day, unit="D") for day in range(quiet + late) for _ in range(100)]
        frame = pd.DataFrame({"timestamp": stamps, "user_input": text[np.concatenate(days)]})
        monitor = DriftMonitor(pd.DataFrame({"user_input": text[usual[:1_000]]}), by=[], arl0=100, seed=stream)
        alarm = monitor.monitor(frame).to_frame()["alarm"].to_numpy(bool)
        alarms, quiet_windows = alarms + alarm[:quiet].sum(), quiet_windows + quiet
        delays.append(int(alarm[quiet:].argmax()) + 1 if alarm[quiet:].any() else np.nan)
    print(f"alarms per 100 quiet windows {100 * alarms / quiet_windows:.1f} ({alarms} of {quiet_windows})")
    print(f"delay {np.nanmean(delays):.1f} windows (1 = at once), missed {int(np.isnan(delays).sum())} of {streams}")


def speed(vectors, sizes):
    print("\nseconds of one test, best of 3 (wall and CPU), embedding not counted; peak memory so far")
    rng = np.random.default_rng(0)
    for n, m in sizes:
        rows = vectors[rng.integers(0, len(vectors), n + m)] + rng.normal(0, 0.01, (n + m, vectors.shape[1]))
        test = DriftTest(rows[:n].astype(np.float32))
        now = rows[n:].astype(np.float32)
        took = []
        for _ in range(3 if n < 10_000 else 1):
            wall, cpu = time.perf_counter(), time.process_time()
            test.test(now)
            took.append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = min(took)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{n:>8,} against {m:>7,}: {wall:6.2f} s, CPU {cpu:6.2f} s, {memory:.2f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--streams", type=int, default=6)
    parser.add_argument("--parts", nargs="+", default=["power", "rankings", "row", "speed"])
    parser.add_argument("--large", action="store_true", help="also 20,000 and 100,000 a side")
    options = parser.parse_args()
    text, intent = read(options.file)
    vectors = default_embedder()(text.tolist())
    if "speed" in options.parts:
        speed(vectors, [(N, M), *([(20_000, 20_000), (100_000, 100_000)] if options.large else [])])
    if "power" in options.parts:
        power(vectors, intent, list(METHODS), options.repetitions)
    if "rankings" in options.parts:
        rankings(vectors, intent, options.repetitions)
    if "row" in options.parts:
        in_a_row(text, intent, options.streams)


if __name__ == "__main__":
    main()
