"""How small a shift of their shares the chart of border probes shows in time, at the spread that their days have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.probes.daily import ALPHA, REFERENCE_BATCHES, SPANS, TESTS, TOLERANCE, by_model
from llm_monitoring.probes.shares import Shares, batch_errors, tells_probabilities, token_shares

if TYPE_CHECKING:
    import pandas as pd

TRIALS = 1000
POWER = 0.8
WITHIN = 5  # days from the change on
WANTED = 0.15  # a shift that a suite of border probes should show within them
GRID = np.arange(0.01, 0.51, 0.01)
COLUMNS = ["model_id", "batches", "probes", "calls", "spread", "detectable"]


def detectable_shifts(probe_results: pd.DataFrame) -> pd.DataFrame:
    """The smallest shift of the shares of border probes that `daily.probe_distances` shows in 8 of 10 cases within five days.

    Parameters
    ----------
    probe_results : DataFrame
        The `probe_results` table; rows of `kind` border are used. The first 14 batches of each model are its reference.

    Returns
    -------
    DataFrame
        One row per model with five batches or more: `model_id`, `batches` (of the reference so far), `probes`, `calls` (a
        batch, over all probes), `spread` (how many times as much the shares spread between batches as those of independent
        calls would; NaN where the server tells probabilities, or where they do not spread), `detectable` (NaN where not even
        a shift by half would show).

    Notes
    -----
    By trial, 1,000 batches after a reference of 14: the errors are those that the chart takes for a batch's (`batch_errors`), and
    each probe's answers move from one of its two commonest tokens to the other, the direction drawn anew each time.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2026-05-01T06:00Z", periods=8).repeat(80)
    >>> runs = pd.DataFrame({"probe_id": ["tea or coffee", "heads or tails"] * 320, "run_at": days, "model_id": "m",
    ...     "kind": "border", "output": np.random.default_rng(0).choice(["one", "other"], 640), "passed": None})
    >>> detectable_shifts(runs).round(2).to_dict("records")
    [{'model_id': 'm', 'batches': 8, 'probes': 2, 'calls': 80, 'spread': 0.97, 'detectable': 0.2}]
    """
    import pandas as pd

    rows = []
    for model, own, run in by_model(probe_results, "border"):
        first = run.isin(sorted(run.dropna().unique())[:REFERENCE_BATCHES])
        shares = token_shares(own[first], run[first], told=tells_probabilities(own[first]), most=None)
        errors = batch_errors(shares, np.arange(len(shares.batches)), 4000)
        if errors is not None:
            calls = round(float(shares.calls.sum(axis=1).mean()))
            found = [calls, _spread(shares), _smallest(shares, errors)]
            rows.append([model, len(shares.batches), len(shares.probes), *found])
    return pd.DataFrame(rows, columns=COLUMNS)


def power_lines(found: pd.DataFrame) -> list[str]:
    """A line for each model: how small a shift of its border probes would show, and what to do where that is large."""
    lines = []
    row: Any
    for row in found.itertuples():
        spread = f", spread {row.spread:.1f} times that of independent calls" if np.isfinite(row.spread) else ""
        how = f"{row.calls:,} calls a day, {row.batches} days{spread}"
        if np.isnan(row.detectable):
            seen = f"not even a shift of {100 * GRID[-1]:.0f} points would show"
        else:
            seen = f"a shift of {100 * row.detectable:.0f} points or more would show"
        more = "" if row.detectable <= WANTED else "; more repeats of each probe show smaller ones"
        lines.append(f"border probes ({how}): {seen} in `check` within {WITHIN} days, 8 times in 10{more}")
    return lines


def _spread(shares: Shares) -> float:
    """Standard deviation between batches over that of independent calls, of all probes together."""
    if not shares.counted:
        return float("nan")
    rows = np.arange(len(shares.batches))
    there = shares.calls[:, shares.probe]
    pooled = shares.pooled(rows)
    found = (np.where(there > 0, shares.values - pooled, 0.0) ** 2).sum() * len(rows) / (len(rows) - 1)
    independent = np.where(there > 0, pooled * (1 - pooled) / np.maximum(there, 1), 0.0).sum()
    return float(np.sqrt(found / independent)) if independent > 1e-12 else float("nan")


def _smallest(shares: Shares, errors: np.ndarray) -> float:
    """The first shift of a grid that enough trials show; NaN where none does."""
    rng = np.random.default_rng(0)
    quiet = errors[rng.integers(len(errors), size=TRIALS)] / np.sqrt(REFERENCE_BATCHES)
    longest = max(SPANS)
    days = errors[rng.integers(len(errors), size=(longest + WITHIN, TRIALS))]
    direction = _directions(shares, rng)
    size = shares.norm(errors)
    looks = []
    for span in SPANS:
        scaled = size * np.sqrt(1 / REFERENCE_BATCHES + 1 / span)
        limit, chance = np.quantile(scaled, 1 - ALPHA / TESTS), (scaled**2).mean()
        bar = max(limit, np.sqrt(chance + TOLERANCE**2))
        for day in range(1, WITHIN + 1):
            end = longest + day
            looks.append((days[end - span : end].mean(axis=0) - quiet, min(day, span) / span, bar))
    for shift in GRID:
        seen = np.zeros(TRIALS, dtype=bool)
        for error, part, bar in looks:
            seen |= shares.norm(error + part * shift * direction) > bar
        if seen.mean() >= POWER:
            return float(shift)
    return float("nan")


def _directions(shares: Shares, rng: np.random.Generator) -> np.ndarray:
    """For each trial and probe one unit from its commonest token to the next, or back; beyond 0 and 1 nothing can move."""
    pooled = shares.pooled(np.arange(len(shares.batches)))
    direction = np.zeros((TRIALS, len(pooled)))
    for number in range(len(shares.probes)):
        columns = np.flatnonzero(shares.probe == number)
        sign = rng.choice([-1.0, 1.0], TRIALS)
        order = columns[np.argsort(-pooled[columns], kind="stable")][:2]
        direction[:, order[0]] = sign
        if len(order) > 1:
            direction[:, order[1]] = -sign
    return direction
