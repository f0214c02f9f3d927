"""False alarms of `DriftMonitor` given its reference: how many come for each stated, averaged and reference by reference.

    python benchmarks/drift_rates.py ../shared/data/queries/banking77.jsonl.gz
    python benchmarks/drift_rates.py frames --cells 300/50 300/50/20 --references 20 --streams 10

A cell is reference / window / features / rhythm: ``2000/200``, ``300/50/20`` (twenty features of 300 and 50 queries each
under one budget), ``2000/200/1/weekend`` or ``.../weekday`` (weekends, or all days, have a mix of topics of their own).
Each reference of four weeks meets `--streams` streams of `--windows` days in which nothing changes. One alarm in `--arl0`
windows is stated, so that with the defaults 20 are stated for each reference: a right rate exceeds 1.5 times that by chance
in 1 of 70 references. Vectors are turned to their first principal components, for speed: the rate holds for any vectors.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np
from drift import read

DAYS = 28  # of a reference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a file, or a corpus of drift_corpora")
    parser.add_argument("--cells", nargs="+", default=["300/50", "300/200", "2000/200", "5000/200"])
    parser.add_argument("--references", type=int, default=20)
    parser.add_argument("--streams", type=int, default=10, help="streams that each reference meets")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--arl0", type=float, default=10)
    parser.add_argument("--dimensions", type=int, default=32)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    from llm_monitoring.drift.embedding import default_embedder

    text, intent = read(options.corpus)
    vectors = turned(default_embedder()(text.tolist()), options.dimensions)
    for cell in options.cells:
        print(line(cell, vectors, intent, options), flush=True)


def turned(vectors, dimensions):
    """The first principal components of vectors."""
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return (vectors @ axes[:dimensions].T).astype(np.float32)


def line(cell, vectors, intent, options):
    """Alarms over those stated in one cell, as one line."""
    given = cell.split("/")
    size, window, features, rhythm = [*given, "1", "none"][:4] if len(given) == 2 else [*given, "none"][:4]
    started = time.process_time()
    counts, rules, rhythms = [], {}, []
    for number in range(options.references):
        rng = np.random.default_rng([options.seed, int(size), int(window), int(features), number])
        found, by_rule, seen = reference_alarms(
            vectors, intent, int(size), int(window), int(features), rhythm, rng, options
        )
        counts.append(found)
        print(f"  reference {number}: {found}", file=sys.stderr, flush=True)
        rhythms += seen
        for rule, times in by_rule.items():
            rules[rule] = rules.get(rule, 0) + times
    by_stream = np.array(counts)
    counts = by_stream.sum(axis=1)
    stated = options.streams * options.windows / options.arl0
    rate, error = counts.mean() / stated, counts.std(ddof=1) / math.sqrt(len(counts)) / stated
    named = ", ".join(f"{kind} {rhythms.count(kind)}" for kind in sorted(set(rhythms)))
    return (
        f"{cell}: {counts.sum()} alarms, {stated * len(counts):g} stated ({rate:.2f}, standard error {error:.2f}; "
        f"{', '.join(f'{rule} {times}' for rule, times in sorted(rules.items()))}); of a reference "
        f"{np.quantile(counts, 0.9, method='inverted_cdf') / stated:.2f} in nine of ten, at most {counts.max() / stated:.2f}, "
        f"over 1.5 {int((counts > 1.5 * stated).sum())} of {len(counts)} (n {stated:g} stated each); {spread(by_stream, stated)}; rhythm found: {named}; "
        f"{time.process_time() - started:.0f} s"
    )


def spread(by_stream, stated):
    """How far the rates of references differ beyond what their own streams differ by: analysis of variance, one way.

    From the estimated spread, were rates of references normal: the rate that nine of ten do not exceed.
    """
    from scipy.stats import f

    references, streams = by_stream.shape
    if streams < 2:
        return "one stream a reference"
    between, within = streams * by_stream.mean(axis=1).var(ddof=1), by_stream.var(axis=1, ddof=1).mean()
    ratio, free = between / within, (references - 1, references * (streams - 1))
    ends = [ratio / f.ppf(0.975, *free), ratio, ratio / f.ppf(0.025, *free)]
    low, sd, high = (math.sqrt(max(end - 1, 0) * within / streams) * streams / stated for end in ends)
    true = by_stream.mean() * streams / stated + 1.2816 * sd
    return (
        f"standard deviation of the references' own rates {sd:.2f} (95 % interval {low:.2f} to {high:.2f}; "
        f"none: p = {f.sf(ratio, *free):.2g}), so nine of ten have one up to {true:.2f}"
    )


def reference_alarms(vectors, intent, size, window, features, rhythm, rng, options):
    """Alarms in every stream of one reference, those by rule, and the rhythms that the reference seemed to have."""
    import pandas as pd

    from llm_monitoring.drift.monitor import DriftMonitor

    kinds, known = np.unique(intent, return_inverse=True)
    mixes = rng.dirichlet(np.full(len(kinds), 2.0), 7)  # of topics, a row for each day of the week
    mixes = {"none": mixes[[0] * 7], "weekend": mixes[[0] * 5 + [1] * 2], "weekday": mixes}[rhythm]
    rows = [mix[known] / np.bincount(known)[known] for mix in mixes]

    def day(number, count):
        when = pd.Timestamp("2026-03-02", tz="UTC") + pd.Timedelta(number, unit="D")  # a Monday
        chosen = rng.choice(len(known), features * count, p=rows[number % 7] / rows[number % 7].sum())
        texts = [f"{row}#{number}" for row in chosen]
        return pd.DataFrame({"timestamp": when, "user_input": texts, "feature_id": np.arange(len(chosen)) % features})

    def embed(texts):
        return vectors[[int(text.split("#")[0]) for text in texts]]

    reference = pd.concat([day(number - DAYS, -(-size // DAYS)) for number in range(DAYS)])
    monitor = DriftMonitor(reference, arl0=options.arl0, embedder=embed, seed=int(rng.integers(1 << 30)))
    found = [
        monitor.monitor(pd.concat([day(k, window) for k in range(options.windows)])) for _ in range(options.streams)
    ]
    tables = [result.to_frame() for result in found]
    table = pd.concat(tables)
    table = table[table["alarm"]]
    return (
        [int(each["alarm"].sum()) for each in tables],
        table["rule"].value_counts().to_dict(),
        list(monitor.rhythm_.values()),
    )


if __name__ == "__main__":
    main()
