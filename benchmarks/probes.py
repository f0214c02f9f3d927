"""Probes and promotions on simulated endpoints: false alarms against the stated rate, and what is seen how soon.

    python benchmarks/probes.py [border|quiet|promotion|llmdrift] [endpoints or promotions a cell]

The endpoint: each probe has two tokens of nearly equal logit and many others; a day moves the logits of every probe, so that
the share of a day spreads 1, 2 or 3 times as much as independent calls would.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import llm_monitoring as lm
from llm_monitoring.probes.daily import probe_distances
from llm_monitoring.probes.distance import compare_shares
from llm_monitoring.probes.shares import Shares

START = pd.Timestamp("2026-05-01T06:00Z")
DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "llmdrift"


def endpoint(rng, probes, repeats, days, spread, common, change=None, at=None):
    """probe_results of an endpoint; `change` is swap (other tokens), settled (no longer undecided) or a shift of the shares."""
    share = rng.uniform(0.3, 0.7, probes)
    sign, settled = rng.choice([-1, 1], probes), rng.random(probes) < 0.5
    rows = []
    for day in range(days):
        p, tokens = share, ("tea", "coffee")
        if at is not None and day >= at:
            tokens = ("yes", "no") if change == "swap" else tokens
            p = np.where(settled, 0.98, 0.02) if change == "settled" else p
            p = np.clip(share + sign * change, 0, 1) if isinstance(change, float) else p
        effect = np.sqrt(common) * rng.standard_normal() + np.sqrt(1 - common) * rng.standard_normal(probes)
        beyond = np.sqrt((spread**2 - 1) * p * (1 - p) / repeats)
        drawn = rng.random((repeats, probes)) < np.clip(p + beyond * effect, 0, 1)
        rows += [
            (f"b{k}", START + pd.Timedelta(days=day), tokens[int(not drawn[r, k])])
            for r in range(repeats)
            for k in range(probes)
        ]
    frame = pd.DataFrame(rows, columns=["probe_id", "run_at", "output"])
    return frame.assign(model_id="m", kind="border", passed=pd.array([pd.NA] * len(frame), dtype="boolean"))


CELLS = [
    (15, 1, 1),
    (5, 3, 1),
    (5, 3, 2),
    (5, 3, 3),
    (20, 10, 1),
    (20, 10, 2),
    (20, 10, 3),
    (5, 40, 1),
    (5, 160, 2),
    (5, 360, 3),
]


def border(count):
    print("chart: days over the limit of 60 quiet ones, stated 1 in 60 (tolerance 0); the same with tolerance .05")
    for probes, repeats, spread in CELLS:
        alarms = np.zeros(2)
        for number in range(count):
            frame = endpoint(np.random.default_rng([number, probes, 74]), probes, repeats, 74, spread, 0.3)
            found = probe_distances(frame, alpha=1 / 60, tolerance=0.05)
            alarms += [(found["alarm"] | found["below_tolerance"]).sum(), found["alarm"].sum()]
        print(f"  {probes} x {repeats}, spread {spread}: {alarms / count} of 1 stated", flush=True)
    print("chart at 1 in 370: endpoints whose change is seen within 1, 3, 5, 10 days; 3 points: told below tolerance")
    for probes, repeats, spread in CELLS:
        for change in ("swap", "settled", 0.15, 0.03):
            delays, below = [], 0
            for number in range(count):
                frame = endpoint(
                    np.random.default_rng([number, probes, 24]), probes, repeats, 24, spread, 0, change, 14
                )
                found = probe_distances(frame)
                delays.append(np.argmax(found["alarm"]) if found["alarm"].any() else np.inf)
                below += found["below_tolerance"].any() and not found["alarm"].any()
            seen = [f"{np.mean(np.array(delays) < days):.2f}" for days in (1, 3, 5, 10)]
            print(
                f"  {probes} x {repeats}, spread {spread}, {change}: {' '.join(seen)}; below {below / count:.2f}",
                flush=True,
            )


WINDOWS = [(14, 7), (7, 3), (5, 5), (5, 1)]


def days_of_two_tokens(rng, probes, repeats, days, spread, common, shift=0.0, at=0):
    """The shares of such an endpoint day by day; from day `at` on each is `shift` higher or lower."""
    share, sign = rng.uniform(0.3, 0.7, probes), rng.choice([-1, 1], probes)
    p = np.tile(share, (days, 1))
    p[at:] = np.clip(p[at:] + sign * shift, 0, 1)
    effect = np.sqrt(common) * rng.standard_normal((days, 1)) + np.sqrt(1 - common) * rng.standard_normal(
        (days, probes)
    )
    drawn = (
        rng.binomial(repeats, np.clip(p + np.sqrt((spread**2 - 1) * p * (1 - p) / repeats) * effect, 0, 1)) / repeats
    )
    values = np.stack([drawn, 1 - drawn], 2).reshape(days, -1)
    calls, names = np.full((days, probes), float(repeats)), [f"b{number}" for number in range(probes)]
    return Shares(names, ["tea", "coffee"] * probes, np.repeat(np.arange(probes), 2), values, calls, list(range(days)))


def quiet(count):
    print(f"compare_probes at alpha .05, share `changed`; days before and after: {WINDOWS}")
    for probes, repeats, spread, common, shift in (
        (5, 3, 1, 0, 0), (5, 3, 2, 0.5, 0), (5, 3, 2, 1, 0), (5, 3, 3, 0.5, 0), (5, 3, 3, 1, 0),
        (20, 10, 2, 1, 0), (20, 10, 3, 0.5, 0), (5, 3, 1, 0, 0.3), (5, 3, 2, 0.5, 0.5),
    ):  # fmt: skip
        shares = []
        for before, after in WINDOWS:
            hits = 0
            for number in range(count):
                seed = [number, probes, repeats, before, after, int(10 * spread), int(10 * common)]
                days = days_of_two_tokens(
                    np.random.default_rng(seed), probes, repeats, before + after, spread, common, shift, before
                )
                found = compare_shares(days, np.arange(before), np.arange(before, before + after))
                hits += found.p_value <= 0.05 and found.estimate > 0
            shares.append(f"{hits / count:.3f}")
        print(f"  {probes} x {repeats}, spread {spread}, common {common}, moved by {shift}: {shares}", flush=True)


def promotion(count):
    from llm_monitoring.probes.promotion import compare_versions

    async def judge(user_input, system_output):
        return dict.fromkeys(("correctness", "completeness", "tone"), 5 if system_output == "right" else 1)

    print("verdicts, share of the cases asked, interval holds the truth")
    for lost, won, cases, margin in (
        (0.15, 0.05, 400, 0.1), (0.21, 0.11, 400, 0.1), (0.26, 0.16, 400, 0.1), (0.05, 0.05, 400, 0.1), (0.16, 0.16, 400, 0.1),
        (0.21, 0.21, 400, 0.1), (0.11, 0.21, 400, 0.1), (0.16, 0.26, 400, 0.1), (0.15, 0.05, 60, 0.1), (0.05, 0.05, 60, 0.1),
        (0.125, 0.075, 400, 0.05), (0.1, 0.1, 400, 0.05), (0.075, 0.125, 400, 0.05),
    ):  # fmt: skip
        found, started = [], time.process_time()
        for number in range(count):
            rng = np.random.default_rng([number, cases])
            draws = rng.random(cases)
            kinds = np.select([draws < lost, draws < lost + won, rng.random(cases) < 0.9], ["L", "W", "P"], "F")
            suite = pd.DataFrame(
                {
                    "case_id": [f"c{i:03d}" for i in range(cases)],
                    "input": [f"{i} {kind}" for i, kind in enumerate(kinds)],
                }
            )

            async def old(text):
                return "right" if text[-1] in "LP" else "wrong"

            async def new(text):
                return "right" if text[-1] in "WP" else "wrong"

            result = compare_versions(suite, old, new, judge, margin=margin, seed=number, concurrency=64)
            found.append((result.verdict, result.n / cases, result.low <= won - lost <= result.high))
        frame = pd.DataFrame(found, columns=["verdict", "asked", "covered"])
        shares = frame["verdict"].value_counts(normalize=True).round(3).to_dict()
        seconds = (time.process_time() - started) / count
        print(f"  lost {lost} won {won}, {cases} cases, margin {margin}: {shares}, asked {frame['asked'].mean():.2f}, "
              f"covered {frame['covered'].mean():.3f}, {seconds:.2f} s", flush=True)  # fmt: skip


def llmdrift(count):
    results = pd.read_parquet(DATA / "probe_results.parquet")
    for (feature, check, family), part in results.assign(family=results["model_id"].str.contains("gpt-4")).groupby(
        ["feature_id", "check", "family"]
    ):
        old, new = sorted(part["model_id"].unique())
        found = lm.compare_probes(part, old, new)
        wrong = 0
        for number in range(count):
            swap = pd.Series(
                np.random.default_rng(number).random(part["probe_id"].nunique()) < 0.5,
                index=sorted(part["probe_id"].unique()),
            )
            late = (part["model_id"] == new) ^ part["probe_id"].map(swap)
            wrong += lm.compare_probes(part, ~late.to_numpy(), late.to_numpy()).verdict == "changed"
        print(f"  {feature} {check} {'gpt-4' if family else 'gpt-3.5'}: {found.verdict} {found.change:+.3f} p {found.p_value:.2g} "
              f"lost {len(found.lost)} won {len(found.won)}; swapped at random: {wrong} of {count} changed", flush=True)  # fmt: skip


if __name__ == "__main__":
    chosen = sys.argv[1:2] or ["border", "quiet", "promotion", "llmdrift"]
    for name in chosen:
        print(name)
        {"border": border, "quiet": quiet, "promotion": promotion, "llmdrift": llmdrift}[name](
            int((sys.argv[2:] or [50])[0])
        )
