"""How often the charts alarm for nothing, how soon they see a change, and what a portfolio costs; as tables.

    python benchmarks/charts.py --table null --reps 200 --seed 1
    python benchmarks/charts.py --table power --reps 100
    python benchmarks/charts.py --table portfolio --reps 30
    python benchmarks/charts.py --table speed

Streams: daily windows, m of them baseline, then 60. A cell is a world; every repetition draws a new baseline. `--cells`
takes a part of a cell's name. `--markdown` prints what docs/charts.md holds.
"""

from __future__ import annotations

import argparse
import time
import warnings
import zlib

import numpy as np
import pandas as pd

import llm_monitoring as lm

HORIZON = 60
ARL0 = 370.4
STATED = 1 - (1 - 1 / ARL0) ** HORIZON
DISTRIBUTIONS = {
    "judge": [0.02, 0.05, 0.13, 0.35, 0.45],
    "ceiling": [0.02, 0.01, 0.02, 0.05, 0.90],
    "u": [0.35, 0.10, 0.05, 0.10, 0.40],
    "middle": [0.05, 0.20, 0.40, 0.25, 0.10],
}


def sizes(n, windows):
    """Answers per window: a number, or 400 on weekdays and 20 at weekends."""
    return np.where(np.arange(windows) % 7 >= 5, 20, 400) if n == "400/20" else np.full(windows, int(n))


def scores(rng, n, distribution="judge", day=0.0, weekend=0.0, fall=0.0):
    """Windows of judged scores; `fall` per window, taken from the mean."""
    chance, marks = np.array(DISTRIBUTIONS[distribution]), np.arange(1, 6)
    counts = np.array([rng.multinomial(k, chance) for k in n])
    mean = counts @ marks / n
    sd = np.sqrt(np.maximum((counts @ marks**2 - n * mean**2) / np.maximum(n - 1, 1), 0))
    value = mean + day * rng.standard_normal(len(n)) + weekend * (np.arange(len(n)) % 7 >= 5) - fall
    return pd.DataFrame({"value": value, "n": n, "sd": sd})


def shares(rng, n, p=0.05, cv=0.0, factor=1.0):
    """Windows of proportions with a lognormal day effect; `factor` per window."""
    jitter = np.sqrt(np.log1p(cv**2))
    rate = np.minimum(p * factor * np.exp(jitter * rng.standard_normal(len(n)) - jitter**2 / 2), 1)
    return pd.DataFrame({"value": rng.binomial(n, rate) / n, "n": n})


def null_cells(lengths=(7, 14, 28, 90)):
    """Worlds in which nothing happens: (family, name, m, kind, make)."""
    for m in lengths:
        for distribution in ("judge", "ceiling", "middle", "u"):
            for n in (20, 200, 2000) if distribution == "judge" else (20, 200):
                yield (
                    "mean",
                    f"{distribution} n={n}",
                    m,
                    "mean",
                    lambda r, w, n=n, d=distribution: scores(r, sizes(n, w), d),
                )
        for n in (20, 200, 2000):
            for p in (0.01, 0.05, 0.2):
                yield f"p, n={n}", f"p={p} n={n}", m, "proportion", lambda r, w, n=n, p=p: shares(r, sizes(n, w), p)
        yield "n 400/20, mean", "judge n=400/20", m, "mean", lambda r, w: scores(r, sizes("400/20", w))
        yield "n 400/20, p", "p=0.05 n=400/20", m, "proportion", lambda r, w: shares(r, sizes("400/20", w), 0.05)
        for n in (200, 2000):
            yield "day effect, mean", f"day sd .05 n={n}", m, "mean", lambda r, w, n=n: scores(r, sizes(n, w), day=0.05)
        yield (
            "day effect, p",
            "p=0.05 cv .2 n=2000",
            m,
            "proportion",
            lambda r, w: shares(r, sizes(2000, w), 0.05, cv=0.2),
        )
        for n in (20, 200, 2000):
            yield "weekend -.1", f"weekend -.1 n={n}", m, "mean", lambda r, w, n=n: scores(r, sizes(n, w), weekend=-0.1)


def power_cells():
    """Worlds with a change at window 11 of the stream: (name, m, kind, make)."""
    for n, drop, lengths in ((20, 0.1, (28,)), (20, 0.2, (28,)), (20, 0.4, (28,)), (200, 0.1, (28,)), (200, 0.2, (14, 28)),
                             (200, 0.4, (14, 28)), ("400/20", 0.1, (28,)), ("400/20", 0.2, (28,))):  # fmt: skip
        for m in lengths:
            yield (
                f"drop {drop}, n={n}",
                m,
                "mean",
                lambda r, w, m=m, n=n, d=drop: scores(r, sizes(n, w), fall=d * _since(m, w)),
            )
    for m in (7, 14, 28, 90):
        yield "ramp to .4 over 10, n=200", m, "mean", lambda r, w, m=m: scores(r, sizes(200, w), fall=0.4 * _ramp(m, w))
    yield (
        "drop .2, day sd .05, n=2000",
        28,
        "mean",
        lambda r, w: scores(r, sizes(2000, w), day=0.05, fall=0.2 * _since(28, w)),
    )
    for p, n in ((0.01, 200), (0.05, 20), (0.05, 200), (0.05, "400/20")):
        yield (
            f"p={p} doubled, n={n}",
            28,
            "proportion",
            lambda r, w, p=p, n=n: shares(r, sizes(n, w), p, factor=1 + _since(28, w)),
        )


def _since(m, windows, start=10):
    return (np.arange(windows) >= m + start).astype(float)


def _ramp(m, windows, start=10, length=10):
    return np.clip((np.arange(windows) - m - start + 1) / length, 0, 1)


def default(kind, arl0=ARL0):
    """The chart that monitoring uses."""
    return lm.ControlChart(kind=kind, arl0=arl0, horizon=HORIZON)


def textbook(kind, arl0=ARL0):
    """EWMA with lambda .2, its limit for known centre and sd, both taken from the baseline."""
    return lm.EWMAChart(lambda_=0.2, arl0=arl0, limits="exact")


CHARTS = {"default": default, "textbook": textbook}


def alarms(chart, make, kind, m, rng):
    """Whether each of the windows after the baseline alarms."""
    stream = make(rng, m + HORIZON)
    if chart == "textbook" and stream["value"][:m].nunique() < 2:
        return np.zeros(HORIZON, dtype=bool)
    return CHARTS[chart](kind).fit(stream[:m]).monitor(stream[m:]).windows["alarm"].to_numpy()


def seeded(seed, *names):
    """A generator of its own per cell, the same whatever else is run."""
    return np.random.default_rng([seed, zlib.crc32(repr(names).encode())])


def null_table(chart, reps, seed, wanted):
    """Realised probability of a false alarm within the horizon, per cell."""
    rows = []
    for family, name, m, kind, make in null_cells():
        if wanted not in f"{name} m={m}":
            continue
        rng = seeded(seed, name, m)
        hits = sum(bool(alarms(chart, make, kind, m, rng).any()) for _ in range(reps))
        rows.append((family, name, m, hits / reps, hits / reps / STATED))
        print(f"{name:24s} m={m:3d}  {hits / reps:.3f}  ratio {hits / reps / STATED:.2f}", flush=True)
    table = pd.DataFrame(rows, columns=["family", "cell", "m", "realised", "ratio"])
    print(f"{chart}: {len(table)} cells, {reps} repetitions, stated {STATED:.3f}; ratio: median {table.ratio.median():.2f}, "
          f"largest {table.ratio.max():.2f}, share over 1.5 {np.mean(table.ratio > 1.5):.2f}")  # fmt: skip
    return table


def power_table(chart, reps, seed, wanted):
    """Median delay in windows and share seen within seven; runs with an earlier alarm left out."""
    rows = []
    for name, m, kind, make in power_cells():
        if wanted not in f"{name} m={m}":
            continue
        rng, delays, early, lasting = seeded(seed, name, m, "power"), [], 0, []
        for _ in range(reps):
            alarm = alarms(chart, make, kind, m, rng)
            if alarm[:10].any():
                early += 1
                continue
            delays.append(int(np.argmax(alarm[10:])) + 1 if alarm[10:].any() else HORIZON)
            lasting.append(alarm[25:].mean())
        row = (
            name,
            m,
            float(np.median(delays)),
            float(np.mean(np.array(delays) <= 7)),
            early / reps,
            float(np.mean(lasting)),
        )
        rows.append(row)
        print(
            f"{name:28s} m={m:3d}  delay {row[2]:g}  in 7: {row[3]:.2f}  earlier alarm {row[4]:.2f}  lasting {row[5]:.2f}",
            flush=True,
        )
    return pd.DataFrame(rows, columns=["change", "m", "delay", "in_7", "early", "lasting"])


def month(rng, features=16, m=28, days=30, broken=False):
    """80 charts: three of scores and two of proportions per feature, a day effect in every fourth feature."""
    start, parts = pd.date_range("2026-01-05", periods=m + days, tz="UTC"), []
    for f in range(features):
        n = sizes((200, "400/20", 2000, 20)[f // 4], m + days)
        day = 0.05 if f % 4 == 0 else 0.0
        for metric in ("quality", "tone", "accuracy"):
            fall = 0.4 * _since(m, m + days) if broken and f == 1 and metric == "quality" else 0.0
            parts.append(scores(rng, n, day=day, fall=fall).assign(metric=metric, kind="mean"))
        for metric, p in (("flagged", 0.05), ("refused", 0.01)):
            parts.append(shares(rng, n, p, cv=4 * day).assign(metric=metric, kind="proportion"))
        for part in parts[-5:]:
            part["feature_id"], part["window_start"] = f"f{f:02d}", start
    return pd.concat(parts, ignore_index=True), start[m]


def portfolio_table(reps, seed):
    """False alarms a month of 80 charts at a budget of one, and how soon a drop of .4 at n = 200 is seen."""
    counts, delays = [], []
    for rep in range(reps):
        table, cut = month(seeded(seed, "portfolio", rep))
        fitted = lm.ChartPortfolio(false_alarms_per_month=1).fit(table[table["window_start"] < cut])
        counts.append(len(fitted.monitor(table[table["window_start"] >= cut]).alarms))
        broken, _ = month(seeded(seed, "portfolio", rep), broken=True)
        own = broken[
            (broken["feature_id"] == "f01") & (broken["metric"] == "quality") & (broken["window_start"] >= cut)
        ]
        alarm = fitted.monitor(own).to_frame()["alarm"].to_numpy()
        delays.append(int(np.argmax(alarm[10:])) + 1 if alarm[10:].any() else 99)
        print(f"month {rep + 1}: {counts[-1]} false alarms, drop seen after {delays[-1]} windows", flush=True)
    se = np.std(counts, ddof=1) / np.sqrt(reps)
    print(f"{reps} months of 80 charts: {np.mean(counts):.2f} false alarms a month (se {se:.2f}) for a budget of 1; "
          f"drop .4 at n=200 seen after a median of {np.median(delays):g} windows")  # fmt: skip


def speed_table(seed):
    """Seconds for 80 charts, fitted and judged."""
    table, cut = month(seeded(seed, "speed"))
    lm.ChartPortfolio().fit(table[table["feature_id"] == "f00"])
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        lm.ChartPortfolio().fit(table[table["window_start"] < cut]).monitor(table[table["window_start"] >= cut])
        print(
            f"80 charts fitted and judged: {time.perf_counter() - wall:.2f} s ({time.process_time() - cpu:.2f} s of processor)"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=["null", "power", "portfolio", "speed"], default="null")
    parser.add_argument("--chart", choices=sorted(CHARTS), default="default")
    parser.add_argument("--reps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", default="", help="part of a cell's name, such as 'n=200 m=28'")
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.table == "null":
        table = null_table(given.chart, given.reps, given.seed, given.cells)
        if given.markdown:
            found = table.pivot_table(index="cell", columns="m", values="realised", sort=False)
            print("| world | " + " | ".join(f"m = {m}" for m in found) + " |")
            for cell, row in found.iterrows():
                print(f"| {cell} | " + " | ".join("" if x != x else f"{x:.3f}" for x in row) + " |")
    elif given.table == "power":
        table = power_table(given.chart, given.reps, given.seed, given.cells)
        if given.markdown:
            for row in table.itertuples():
                print(
                    f"| {row.change} | {row.m} | {row.delay:g} | {row.in_7:.2f} | {row.early:.2f} | {row.lasting:.2f} |"
                )
    elif given.table == "portfolio":
        portfolio_table(given.reps, given.seed)
    else:
        speed_table(given.seed)


if __name__ == "__main__":
    main()
