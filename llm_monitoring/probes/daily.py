"""What the probes say day after day: passes of each run, and the distance of border probes. Nothing said of a day changes later.

Both functions look back only: a row rests on its own batch and earlier ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring.distributions import binomial_at_least
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.intervals import wilson
from llm_monitoring.probes.comparison import compare_probes
from llm_monitoring.probes.shares import (
    Shares,
    batch_errors,
    batch_of,
    call_errors,
    tells_probabilities,
    token_shares,
    worth,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE_BATCHES = 14  # batches in which nothing happened, and against which later ones are held
SPANS = (1, 3, 7)  # batches that are looked at together: a swap shows in one, a small shift in several
TESTS = 3  # what the three spans, which overlap, and the new tokens are worth together; held by benchmarks/probes.py
ALPHA = 1 / 370  # chance of a false alarm a day
TOLERANCE = 0.05  # an alarm needs a distance above it
DRAWS = 20_000
RATE_COLUMNS = [
    "model_id", "window_start", "window_end", "run_at", "value", "low", "high", "expected", "n", "n_before", "change", "p_value", "lost",
]  # fmt: skip
DISTANCE_COLUMNS = [
    "model_id", "window_start", "window_end", "run_at", "value", "expected", "limit", "low", "high", "estimate", "n", "batches",
    "p_value",
    "alarm", "below_tolerance", "baseline",
]  # fmt: skip


def pass_rates(probe_results: pd.DataFrame, *, until: pd.Timestamp | None = None) -> pd.DataFrame:
    """Passes of property probes in each run of each model, against all its earlier runs.

    Parameters
    ----------
    probe_results : DataFrame
        The `probe_results` table; a run is what was answered on a day.
    until : Timestamp, optional
        Runs whose span ends later are left out: what is said of them could still change.

    Returns
    -------
    DataFrame
        One row per model and run from the second one on: `model_id`, `window_start`, `window_end` (from then on nothing is
        added to the run), `run_at` (last answer), `value`
        (share passed, with a Wilson interval `low`, `high`), `expected` (share passed before, by the same probes), `n`,
        `n_before`, `change` (mean per probe), `p_value` (exact, paired by probe; null where no probe has answers on both
        sides), `lost` (ids of the probes that mostly passed before and mostly fail now). A run only adds rows.

    Examples
    --------
    >>> runs = pd.DataFrame({"probe_id": [f"p{i}" for i in range(8)] * 2, "model_id": "m", "passed": [True] * 8 + [False] * 8,
    ...     "run_at": pd.to_datetime(["2026-05-01T00:00Z"] * 8 + ["2026-05-02T00:00Z"] * 8)})
    >>> pass_rates(runs)[["value", "expected", "p_value"]].round(4).values.tolist()
    [[0.0, 1.0, 0.0078]]
    """
    rows = []
    for model, own, run in by_model(probe_results, "property"):
        for this, end in _ended(own, run, until)[1:]:
            earlier, newest = (run < this).to_numpy(), (run == this).to_numpy()
            found = compare_probes(own, earlier, newest)
            told = found.to_frame()
            n, passed = int(told["n_after"].sum()), int(told["passed_after"].sum())
            low, high = (float(end) for end in wilson(passed, n)) if n else (None, None)
            before = int(told["n_before"].sum())
            rows.append(
                [
                    model, this, end, own.loc[newest, "run_at"].max(), passed / n if n else None, low, high,
                    int(told["passed_before"].sum()) / before if before else None, n, before, found.change, found.p_value,
                    found.lost,
                ]
            )  # fmt: skip
    return pd.DataFrame(rows, columns=RATE_COLUMNS)


def probe_distances(
    probe_results: pd.DataFrame,
    *,
    alpha: float = ALPHA,
    tolerance: float = TOLERANCE,
    reference: int = REFERENCE_BATCHES,
    until: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """The chart of the distance of border probes: each day of each model against its reference days.

    Parameters
    ----------
    probe_results : DataFrame
        The `probe_results` table; rows of `kind` border are used.
    alpha : float
        Chance of a false alarm a batch (a day), over all spans together.
    tolerance : float
        An alarm needs a distance above it.
    reference : int
        Batches of a model that lie at its beginning and that later ones are held against, 5 at least.
    until : Timestamp, optional
        Batches whose span ends later are left out: what is said of them could still change.

    Returns
    -------
    DataFrame
        One row per model and batch after the reference: `model_id`, `window_start` and `window_end` (of the batches looked
        at together; from the end on the row is known), `run_at` (the last answer), `value` (total variation between the shares of
        tokens and the reference's, averaged over the probes), `expected` (what chance gives on average), `limit` (above
        it the model is told apart), `low`, `high` (what a quiet model shows: 0 to the limit), `estimate` (the distance
        without what chance explains; compared with the tolerance), `n` (answers), `batches` (of the span that says most: 1, 3 or 7), `p_value` (over all
        spans), `alarm`, `below_tolerance` (told apart from the reference, by less than the tolerance), `baseline`
        (reference batches). Empty where a model has no more batches than the reference.

    Notes
    -----
    `distance.compare_shares` with the reference frozen, for the last 1, 3 and 7 batches, and tokens that the
    reference never gave: the chance that so many probes do so on one day, each probe with the share of its reference days
    that did. Each of the four has alpha / 3: the spans overlap, and on simulated endpoints alarms stay below alpha.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"probe_distances(alpha={quote(alpha)}); expected a chance above 0 and below 1")
    if reference < 5:
        raise ConfigError(f"probe_distances(reference={quote(reference)}); expected 5 batches or more")
    rows = []
    for model, own, run in by_model(probe_results, "border"):
        ended = _ended(own, run, until)
        batches = [start for start, _ in ended]
        first = set(own.loc[run.isin(batches[:reference]), "probe_id"])
        inside = own["probe_id"].isin(first) & run.notna()  # a probe that came later has no reference
        own, run = own[inside], run[inside]
        known = dict(ended)
        inside = run.isin(batches)
        if len(batches) <= reference:
            continue
        quiet = run.isin(batches[:reference])
        shares = token_shares(own[inside], run[inside], told=tells_probabilities(own[quiet]), most=None)
        quiet_norms = _QuietNorms(shares, np.arange(reference))
        for count in range(reference + 1, len(shares.batches) + 1):
            found = _look(shares.first(count), quiet_norms, reference, alpha, tolerance)
            this = shares.batches[count - 1]
            times = {"window_start": shares.batches[count - found["batches"]], "window_end": known[this]}
            last = own.loc[run == this, "run_at"].max()
            rows.append({"model_id": model, **times, "run_at": last, **found, "baseline": reference})
    return pd.DataFrame(rows, columns=DISTANCE_COLUMNS)


def by_model(results: pd.DataFrame, kind: str) -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    """The answered rows of one kind of probes, model by model, with the batch of each row."""
    border = results["kind"].eq("border") if "kind" in results else pd.Series(False, index=results.index)
    chosen = results[border & results["output"].notna()] if kind == "border" else results[~border]
    for model, own in chosen.sort_values(["run_at", "probe_id"], kind="stable").groupby("model_id", sort=True):
        own = own.reset_index(drop=True)
        yield str(model), own, batch_of(own, "1d")


def _ended(own: pd.DataFrame, run: pd.Series, until: pd.Timestamp | None) -> list[tuple[Any, pd.Timestamp]]:
    """The batches in their order, each with the moment at which it is over."""
    last = own["run_at"].groupby(run).max().sort_index()
    ends = pd.DatetimeIndex(last.index) + pd.Timedelta("1D")
    return [(start, end) for start, end in zip(last.index, ends) if until is None or end <= until]


class _QuietNorms:
    """Sizes of the error of one batch, by the probes that were answered; the draws are made once for all days of a model."""

    def __init__(self, shares: Shares, quiet: np.ndarray):
        self.shares, self.known = shares, dict[bytes, np.ndarray]()
        self.errors = batch_errors(shares, quiet, DRAWS)

    def of(self, here: np.ndarray) -> np.ndarray:
        key = here.tobytes()
        if key not in self.known:
            assert self.errors is not None  # the reference has five batches or more
            self.known[key] = self.shares.only(here).norm(self.errors[:, here[self.shares.probe]])
        return self.known[key]


def _look(shares: Shares, norms: _QuietNorms, reference: int, alpha: float, tolerance: float) -> dict:
    """What the last batch says, with those just before it."""
    quiet, count = np.arange(reference), len(shares.batches)
    each = alpha / TESTS
    found = [
        _span(shares, quiet, np.arange(count - span, count), norms, each) for span in SPANS if count - span >= reference
    ]
    best = min(found, key=lambda one: one["p_value"])
    new = _chance_of_new_tokens(shares, reference)
    if new < best["p_value"] and new <= each:
        best = found[0] | {"p_value": new, "limit": min(found[0]["limit"], found[0]["value"])}
    told_apart = best["p_value"] <= each
    alarm = told_apart and best["estimate"] > tolerance
    p = min(1.0, TESTS * best["p_value"])
    return best | {
        "p_value": p,
        "low": 0.0,
        "high": best["limit"],
        "alarm": bool(alarm),
        "below_tolerance": bool(told_apart and not alarm),
    }


def _span(shares: Shares, quiet: np.ndarray, rows: np.ndarray, norms: _QuietNorms, alpha: float) -> dict:
    """The distance of some batches from the quiet ones; by calls too where the spread between batches says it moved."""
    here = shares.calls[rows].sum(axis=0) > 0
    shares_here = shares.only(here)
    found = float(shares_here.norm(shares_here.pooled(rows) - shares_here.pooled(quiet)))
    scale = np.sqrt(1 / worth(shares, quiet) + 1 / worth(shares, rows))
    sizes = [norms.of(here) * scale]
    p = _share(sizes[0], found)
    if p <= alpha and shares.counted:
        sizes.append(shares_here.norm(call_errors(shares_here, quiet, rows, DRAWS)))
        p = max(_share(size, found) for size in sizes)
    chance = max(float((size**2).mean()) for size in sizes)
    limit = max(float(np.quantile(size, 1 - alpha)) for size in sizes)
    estimate = float(np.sqrt(max(found**2 - chance, 0.0)))
    n = int(shares.calls[rows].sum())
    expected = max(float(size.mean()) for size in sizes)
    return {
        "value": found,
        "expected": expected,
        "estimate": estimate,
        "limit": min(limit, 1.0),
        "n": n,
        "batches": len(rows),
        "p_value": p,
    }


def _share(draws: np.ndarray, found: float) -> float:
    return float((1 + (draws >= found - 1e-12).sum()) / (1 + len(draws)))


def _chance_of_new_tokens(shares: Shares, reference: int) -> float:
    """The chance that so many probes give mostly tokens on the last day that no reference day gave."""
    there = shares.values > 1e-9
    days = there[:reference].sum(axis=0)
    new_today = np.bincount(
        shares.probe, weights=np.where(days == 0, shares.values[-1], 0), minlength=len(shares.probes)
    )
    asked = shares.calls[-1] > 0
    moved = int(((new_today > 0.5) & asked).sum())
    if not moved:
        return 1.0
    alone = (there[:reference] & (days == 1)) * shares.values[:reference]  # tokens that one reference day alone gave
    per_probe = np.zeros((reference, len(shares.probes)))
    for number in range(len(shares.probes)):
        per_probe[:, number] = alone[:, shares.probe == number].sum(axis=1) > 0.5
    chance = (per_probe.sum(axis=0)[asked] + 0.5) / (reference + 1)
    return float(binomial_at_least(moved, int(asked.sum()), chance.mean()))
