"""Query drift on real questions: false alarms, power, rankings, topics, windows in a row, speed.

    python benchmarks/drift.py ../shared/data/queries/banking77.jsonl.gz --repetitions 30
    python benchmarks/drift.py frames --parts power topics
    python benchmarks/drift.py keywords german --parts topics --repeated

Kinds of drift: *intent* = one intent that the reference lacks, *surge* = one known intent grows, *many* = queries of 25
intents that the reference lacks. Standard error of a rate over R repetitions: at most .5 / sqrt(R).

A word instead of a file is a corpus of `drift_corpora`; `--repeated` asks 12 sentences of each intent over and over.
`--export FOLDER` writes the draws of the power table as arrays, `--others FOLDER` tests them with Evidently's or
alibi-detect's defaults, whichever is installed in the environment it runs in (neither works beside pandas 3).
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import time
from pathlib import Path

import numpy as np
from drift_corpora import CORPORA, repeated

N, M = 2_000, 200
CELLS = [("null", 0), *((kind, share) for kind in ("intent", "surge", "many") for share in (0.05, 0.1))]


def read(path):
    """Texts and their intents: of a file, or of a corpus made by rules."""
    if path in CORPORA:
        return CORPORA[path]()
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


def draws(intent, seed, repetitions, null):
    for kind, share in CELLS:
        rng = np.random.default_rng([seed, len(kind), int(100 * share)])
        for repetition in range(null if kind == "null" else repetitions):
            yield kind, share, repetition, draw(intent, kind, share, rng)


def show(table):
    methods = sorted({method for method, *_ in table}, key=[method for method, *_ in table].index)
    print(f"{'':14}" + "".join(f"{name:>16}" for name in methods))
    for kind, share in CELLS:
        cells = []
        for name in methods:
            alarms = np.array([a for method, k, s, a, _ in table if (method, k, s) == (name, kind, share)])
            cells.append(f"{alarms.mean():.2f} of {len(alarms)}" if len(alarms) else "")
        print(f"{kind:8}{share:5.0%} " + "".join(f"{cell:>16}" for cell in cells))
    took = {name: np.median([s for method, *_, s in table if method == name]) for name in methods}
    print(f"{'seconds':14}" + "".join(f"{took[name]:16.3f}" for name in methods), flush=True)


def power(vectors, intent, options):
    from llm_monitoring.drift.drift_test import DriftTest
    from llm_monitoring.drift.two_sample import METHODS

    print(f"\nalarms at 5 %, n = {N}, m = {M}")
    table = []
    for kind, share, seed, (reference, window) in draws(intent, options.seed, options.repetitions, options.null):
        for name in options.methods or METHODS:
            start = time.process_time()
            result = DriftTest(vectors[reference], method=name, seed=seed).test(vectors[window])
            table.append((name, kind, share, result.p_value <= 0.05, time.process_time() - start))
    show(table)


def export(vectors, intent, options):
    folder = Path(options.export)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, share, seed, (reference, window) in draws(intent, options.seed, options.repetitions, options.null):
        np.savez(folder / f"{kind}_{share}_{seed}.npz", reference=vectors[reference], window=vectors[window])


def others(folder):
    table = []
    tests = {**_evidently(), **_alibi()}
    for path in sorted(Path(folder).glob("*.npz")):
        kind, share, _ = path.stem.split("_")
        held = np.load(path)
        for name, test in tests.items():
            start = time.process_time()
            table.append(
                (name, kind, float(share), test(held["reference"], held["window"]), time.process_time() - start)
            )
    show(table)
    speed_of_evidently(held["reference"], held["window"])


def speed_of_evidently(reference, window):
    """Its MMD with a fixed cut, with the threshold that it learns by bootstrap, and the call that its users write."""
    try:
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.metrics.data_drift.embedding_drift_methods import mmd
        from evidently.metrics import EmbeddingsDrift
    except ImportError:
        return
    reference, window = _named(pd, reference), _named(pd, window)
    described = DataDefinition(embeddings={"query": list(reference.columns)})
    report = Report([EmbeddingsDrift(embeddings_name="query", drift_method=mmd())])
    ways = {
        "mmd, fixed cut": lambda: mmd()(window, reference),
        "mmd, bootstrap": lambda: mmd(bootstrap=True)(window, reference),
        "Report.run with mmd, fixed cut": lambda: report.run(
            Dataset.from_pandas(window, described), Dataset.from_pandas(reference, described)
        ),
    }
    for name, way in ways.items():
        start = time.process_time()
        way()
        print(f"Evidently's {name}: {time.process_time() - start:.2f} s", flush=True)


def _evidently():
    try:
        import pandas as pd
        from evidently.legacy.metrics.data_drift import embedding_drift_methods as ways
    except ImportError:
        return {}

    def of(way):
        return lambda reference, window: bool(way(_named(pd, window), _named(pd, reference))[1])  # current comes first

    return {"evidently model": of(ways.model()), "evid. distance": of(ways.distance()), "evidently mmd": of(ways.mmd())}


def _named(pd, rows):
    return pd.DataFrame(rows, columns=[f"v{k}" for k in range(rows.shape[1])])


def _alibi():
    try:
        from alibi_detect.cd import ClassifierDrift, KSDrift
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return {}

    def classifier(reference, window):
        model = LogisticRegression(max_iter=200)
        return bool(ClassifierDrift(reference, model, backend="sklearn").predict(window)["data"]["is_drift"])

    return {
        "alibi KS": lambda r, w: bool(KSDrift(r).predict(w)["data"]["is_drift"]),
        "alibi classifier": classifier,
    }


def topics(text, vectors, intent, options):
    from scipy.stats import rankdata

    from llm_monitoring.drift.drift_test import DriftTest

    place = {t: k for k, t in enumerate(text)}
    from llm_monitoring.intervals import wilson

    print("\nexplanation at 10 %; of alarms: first topic and its kind right, with the 95 % interval; rankings")
    for kind in ("intent", "surge"):
        rng = np.random.default_rng([options.seed + 1, len(kind)])
        rows = []
        for seed in range(options.repetitions):
            reference, window = draw(intent, kind, 0.1, rng)
            test = DriftTest(text[reference].tolist(), embedder=lambda t: vectors[[place[x] for x in t]], seed=seed)
            said = test.test(text[window].tolist()).explain()
            drifted = np.arange(M) >= M - round(0.1 * M)
            row = {}
            for name in ("grew", "new"):
                ranking = getattr(said, name)
                score = np.empty(M)
                score[ranking["row"].to_numpy()] = ranking["score"].to_numpy()
                k = drifted.sum()
                row[f"{name} AUC"] = (rankdata(score)[drifted].sum() - k * (k + 1) / 2) / (k * (M - k))
                row[f"{name} P10"] = drifted[ranking["row"].to_numpy()[:10]].mean()
            if said.drift:
                first = said.topics.iloc[0] if len(said.topics) else None
                meant = set(text[window][drifted])
                row["first"] = first is not None and np.mean([example in meant for example in first["examples"]]) > 0.5
                row["kind"] = first is not None and first["kind"] == {"intent": "new"}.get(kind, "grew")
            rows.append(row)
        explained = [row for row in rows if "kind" in row]
        said = []
        for name in ("first", "kind"):
            right = sum(bool(row[name]) for row in explained)
            low, high = wilson(right, len(explained))
            said.append(f"{name} {right} of {len(explained)} ({low:.2f} to {high:.2f})")
        said += [
            f"{name} {np.mean([row[name] for row in rows]):.2f}" for name in rows[0] if name not in ("first", "kind")
        ]
        print(f"{kind:8}" + ", ".join(said), flush=True)


def in_a_row(vectors, intent, options):
    """Rates given the reference, and the delay of a new intent of 10 %."""
    import pandas as pd

    from llm_monitoring.drift.monitor import DriftMonitor

    def frame(rows, day):
        when = pd.Timestamp("2026-05-01", tz="UTC") + pd.Timedelta(day, unit="D")
        return pd.DataFrame({"timestamp": when, "user_input": [f"{row}#{day}" for row in rows]})

    def embed(texts):
        return vectors[[int(text.split("#")[0]) for text in texts]]

    print(f"\nwindows in a row, {options.streams} references a line")
    for n, m, quiet, late, arl0 in ((2_000, 200, 6, 5, 100), (300, 200, 40, 0, 20), (2_000, 200, 40, 0, 20),
                                    (300, 50, 40, 0, 20), (300, 2_000, 20, 0, 10), (5_000, 50, 40, 0, 20),
                                    (5_000, 200, 20, 4, 10), (2_000, 2_000, 20, 0, 10), (5_000, 2_000, 20, 0, 10)):  # fmt: skip
        alarms, delays = [], []
        for stream in range(options.streams):
            rng = np.random.default_rng([options.seed, n, m, stream])
            chosen = rng.choice(np.unique(intent))
            usual, new = np.flatnonzero(intent != chosen), np.flatnonzero(intent == chosen)
            reference = pd.concat([frame(rng.choice(usual, n // 14 + 1), day - 14) for day in range(14)])
            days = [frame(rng.choice(usual, m), day) for day in range(quiet)]
            mixed = [np.concatenate([rng.choice(usual, m - m // 10), rng.choice(new, m // 10)]) for _ in range(late)]
            days += [frame(rows, quiet + day) for day, rows in enumerate(mixed)]
            monitor = DriftMonitor(reference, by=[], arl0=arl0, embedder=embed, seed=stream)
            alarm = monitor.monitor(pd.concat(days)).to_frame()["alarm"].to_numpy(bool)
            alarms.append(int(alarm[:quiet].sum()))
            delays.append(int(alarm[quiet:].argmax()) + 1 if alarm[quiet:].any() else np.inf)
        rate = sum(alarms) / (quiet * options.streams) * arl0
        after = f"; delay {np.mean(delays):.2f} windows, at most {max(delays):g}" if late else ""
        print(f"n {n}, m {m}: alarms over those stated {rate:.2f} (per reference {sorted(alarms)}){after}", flush=True)


def speed(vectors, sizes):
    from llm_monitoring.drift.drift_test import DriftTest

    print("\nseconds of one test beside a reference seen before, best of 5 (wall and processor), and of the first one")
    print("with its reference read; embedding not counted; peak memory so far")
    rng = np.random.default_rng(0)
    for n, m in sizes:
        rows = vectors[rng.integers(0, len(vectors), n + m)] + rng.normal(0, 0.01, (n + m, vectors.shape[1]))
        now = rows[n:].astype(np.float32)
        start = time.process_time()
        test = DriftTest(rows[:n].astype(np.float32))
        test.test(now)
        first = time.process_time() - start
        took = []
        for _ in range(5 if n < 10_000 else 1):
            wall, cpu = time.perf_counter(), time.process_time()
            result = test.test(now)
            took.append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = min(took)
        start = time.process_time()
        result.explain()
        more = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        after = f"the first {first:.2f} s, explained {more:.2f} s more"
        print(f"{n:>8,} against {m:>7,}: {wall:6.2f} s, CPU {cpu:6.2f} s ({after}), {memory:.2f} GB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", default=["frames"], help=f"files, or {', '.join(CORPORA)}")
    parser.add_argument("--repeated", action="store_true")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--null", type=int, default=90, help="draws without drift")
    parser.add_argument("--streams", type=int, default=6)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--parts", nargs="+", default=["power", "topics", "row", "speed"])
    parser.add_argument("--large", action="store_true", help="also 20,000 and 100,000 a side")
    parser.add_argument("--export", metavar="FOLDER")
    parser.add_argument("--others", metavar="FOLDER")
    options = parser.parse_args()
    if options.others:
        return others(options.others)
    from llm_monitoring.drift.embedding import default_embedder

    for path in options.corpora:
        text, intent = read(path)
        if options.repeated:
            text, intent = repeated(text, intent)
        print(f"\n{path}: {len(text):,} questions ({len(set(text)):,} different) of {len(set(intent))} intents")
        measure(text, default_embedder()(text.tolist()), intent, options)
    return None


def measure(text, vectors, intent, options):
    if options.export:
        return export(vectors, intent, options)
    if "speed" in options.parts:
        speed(vectors, [(N, M), *([(20_000, 20_000), (100_000, 100_000)] if options.large else [])])
    if "power" in options.parts:
        power(vectors, intent, options)
    if "topics" in options.parts:
        topics(text, vectors, intent, options)
    if "row" in options.parts:
        in_a_row(vectors, intent, options)
    return None


if __name__ == "__main__":
    main()
