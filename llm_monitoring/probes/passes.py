"""Passes of the same probes before and now: exact tests given each probe's answers, and an interval that goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_monitoring.distributions import binomial, hypergeometric, normal_quantile

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "probe_id",
    "n_before",
    "n_after",
    "passed_before",
    "passed_after",
    "share_before",
    "share_after",
    "change",
    "p_value",
    "q_value",
    "flip",
]


def per_probe(answered: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row per probe with answers on both sides (`after` says which), and the ids of the others."""
    sides = [answered[~answered["after"]], answered[answered["after"]]]
    before, after = (
        side.groupby("probe_id", as_index=False).agg(n=("passed", "size"), passed=("passed", "sum")) for side in sides
    )
    frame = before.merge(after, on="probe_id", suffixes=("_before", "_after")).sort_values(
        "probe_id", ignore_index=True
    )
    frame["probe_id"] = frame["probe_id"].astype(str)
    frame["share_before"] = frame["passed_before"] / frame["n_before"]
    frame["share_after"] = frame["passed_after"] / frame["n_after"]
    frame["change"] = frame["share_after"] - frame["share_before"]
    frame["p_value"] = [_fisher(*row) for row in frame[COLUMNS[1:5]].itertuples(index=False)]
    frame["q_value"] = false_discovery(frame["p_value"].to_numpy(float))
    was, is_now = frame["share_before"] >= 0.5, frame["share_after"] >= 0.5
    frame["flip"] = np.select([was & ~is_now, ~was & is_now], ["lost", "won"], "")
    unpaired = set(answered["probe_id"].astype(str)) - set(frame["probe_id"])
    return frame[COLUMNS], sorted(unpaired)


def _fisher(n_before: int, n_after: int, passed_before: int, passed_after: int) -> float:
    if passed_before + passed_after in (0, n_before + n_after) or n_before == n_after == 1:
        return 1.0
    passed, total = passed_before + passed_after, n_before + n_after
    chance = hypergeometric(np.arange(min(n_after, passed) + 1), n_after, passed, total)
    return float(min(1.0, chance[chance <= chance[passed_after] * (1 + 1e-9)].sum()))


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p-values: those up to q hold a share of at most q of chance finds.

    >>> false_discovery(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p)[::-1]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(p[order] * len(p) / np.arange(len(p), 0, -1), 1.0))
    return adjusted


def change_interval(probes: pd.DataFrame) -> tuple[float | None, float | None, float | None]:
    """Mean change per probe with its 95 % interval, calls of a probe being alike: the sampling model of `stratified_p`.

    The variance of each probe's change is the one that its margins give where nothing changed, less what the change itself
    adds to it; half a pseudo-pair of each kind is added. With one answer a side this is the interval of Agresti and Min.
    """
    if not len(probes):
        return None, None, None
    n0, n1, k0, k1 = (probes[name].to_numpy(float) for name in COLUMNS[1:5])
    n, share = n0 + n1, (k0 + k1) / (n0 + n1)
    mean = float(probes["change"].mean())
    variance = share * (1 - share) * (1 / n0 + 1 / n1) * n / (n - 1) - mean**2 / (n - 1)
    pairs = float((2 * n0 * n1 / n).sum())
    middle = mean * pairs / (pairs + 2)
    spread = np.sqrt(max(pairs**2 * variance.sum() / len(probes) ** 2 + 1 + 2 * middle * mean, 0))
    half = normal_quantile(0.975) * spread / (pairs + 2)
    return mean, float(max(middle - half, -1)), float(min(middle + half, 1))


def stratified_p(probes: pd.DataFrame) -> float | None:
    """Two-sided p of the passes now, given every probe's margins."""
    if not len(probes):
        return None
    n0, n1, k0, k1 = (probes[name].to_numpy() for name in COLUMNS[1:5])
    undecided = (k0 + k1 > 0) & (k0 + k1 < n0 + n1)
    return sum_p(n0[undecided], n1[undecided], (k0 + k1)[undecided], int(k1[undecided].sum()))


def sum_p(n0: np.ndarray, n1: np.ndarray, passes: np.ndarray, observed: int) -> float:
    """Two-sided p of a sum of hypergeometric numbers: all sums no likelier than the observed one."""
    single = (n0 == 1) & (n1 == 1)
    chance = binomial(np.arange(single.sum() + 1), single.sum(), 0.5)
    kinds, times = np.unique(np.stack([n0, n1, passes])[:, ~single], axis=1, return_counts=True)
    for (a, b, k), count in zip(kinds.T, times, strict=True):
        one = hypergeometric(np.arange(min(b, k) + 1), b, k, a + b)
        for _ in range(count):
            chance = np.convolve(chance, one)
    tail = chance[chance <= chance[observed] * (1 + 1e-9)].sum()
    return float(min(1.0, max(tail, 1e-300)))  # a chance too small for a float is still none of 0


def detectable_loss(probes: pd.DataFrame, alpha: float) -> float | None:
    """Share of the probes whose loss would be seen in 8 of 10 runs, by 100 trials each; None where not even all would."""
    rng = np.random.default_rng(0)
    n0, n1, k0, k1 = (probes[name].to_numpy() for name in COLUMNS[1:5])
    for share in (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0):
        lost = int(np.ceil(share * len(probes)))
        seen = 0
        for _ in range(100):
            after = rng.hypergeometric(k0 + k1, n0 + n1 - k0 - k1, n1)
            before = k0 + k1 - after
            gone = rng.permutation(len(probes))[:lost]
            before[gone], after[gone] = n0[gone], 0
            passes = before + after
            undecided = (passes > 0) & (passes < n0 + n1)
            seen += sum_p(n0[undecided], n1[undecided], passes[undecided], int(after[undecided].sum())) <= alpha
        if seen >= 80:
            return share
    return None
