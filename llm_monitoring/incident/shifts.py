"""How well each (slice, time) explains the rows as a shift from that time on: one number of evidence for each pair.

Model of a row: y = leaf mean + day effect + day effect of the feature + delta * [row in the slice, at or after t] + error,
leaf means and day effects normal with known scales. delta and its variance have closed forms; the evidence is the Bayes
factor of a harmful delta (half-normal, three scales) against none. The day terms are what stops false slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, sparse
from scipy.special import log_ndtr, logsumexp

from llm_monitoring.incident.observations import Observations
from llm_monitoring.incident.slices import Slice, leaves

EFFECTS = {"score": (0.05, 0.2, 1.0), "share": (0.02, 0.08, 0.4), "log": (0.05, 0.2, 0.8)}
NEGLIGIBLE = {"score": 0.05, "share": 0.01, "log": 0.03}
DAY_SCALE = {"score": 0.08, "share": 0.02, "log": 0.06}


@dataclass(frozen=True)
class Shifts:
    """Evidence and size of a shift for every slice (rows) and time (columns).

    `log_evidence` is the log Bayes factor of harm against nothing, `log_negligible` that of an effect too small to
    matter. `log_ramps` holds the same as `log_evidence` for the slow starts asked for, one column each.
    """

    slices: list[Slice]
    times: pd.DatetimeIndex
    log_evidence: np.ndarray
    log_negligible: np.ndarray
    log_ramps: np.ndarray


def shift_evidence(
    seen: Observations,
    slices: list[Slice],
    times: pd.DatetimeIndex,
    ramps: Sequence[tuple[pd.Timestamp, pd.Timedelta]] = (),
) -> Shifts:
    """Evidence of a shift of `seen` in each slice from each time on.

    Parameters
    ----------
    seen : Observations
        Rows of one metric.
    slices : list of Slice
    times : DatetimeIndex
        Sorted, UTC. A row at or after a time counts as after it.
    ramps : sequence of (Timestamp, Timedelta)
        Slow starts: nothing before the time, all of the shift once the span is over, a straight line between.

    Notes
    -----
    Rows are pooled into cells (leaf, day, span between two times) before anything is solved, so the cost depends on the
    cells, not on the rows: 20,000 judged answers take under a second.
    """
    cells = _cells(seen, times)
    design, penalty = _design(cells, _day_scale(cells, seen))
    weight = cells["n"].to_numpy() / cells["variance"].to_numpy()
    factor = linalg.cholesky((design.T @ design.multiply(weight[:, None])).toarray() + np.diag(penalty), lower=True)
    y = cells["mean"].to_numpy()
    seen_y = linalg.solve_triangular(factor, design.T @ (weight * y), lower=True)
    dose = np.hstack([cells["span"].to_numpy()[:, None] > np.arange(len(times))[None, :], _slow(cells, ramps)])
    parts = [_one_slice(found.mask(cells), dose, weight, y, design, factor, seen_y) for found in slices]
    information, score = (np.vstack(part) for part in zip(*parts))
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = information > 1e-6
        delta = np.where(usable, seen.sign * score / information, np.nan)
        variance = np.where(usable, 1 / information, np.nan)
    harm = _log_harm(delta, variance, EFFECTS[seen.scale])
    small = _log_any(delta, variance, NEGLIGIBLE[seen.scale])
    steps = len(times)
    return Shifts(slices, times, harm[:, :steps], small[:, :steps], harm[:, steps:])


def _slow(cells: pd.DataFrame, ramps: Sequence[tuple[pd.Timestamp, pd.Timedelta]]) -> np.ndarray:
    """Part of the shift that has arrived in each cell, one column a ramp."""
    at = cells["at"].to_numpy()
    columns = [np.clip((at - start.timestamp()) / span.total_seconds(), 0, 1) for start, span in ramps]
    return np.column_stack(columns) if columns else np.zeros((len(cells), 0))


def _one_slice(inside, dose, weight, y, design, factor, seen_y):
    reached = inside[:, None] * dose
    z = reached * weight[:, None]
    q = linalg.solve_triangular(factor, design.T @ z, lower=True)
    return (reached * z).sum(0) - (q**2).sum(0), z.T @ y - q.T @ seen_y


def _cells(seen: Observations, times: pd.DatetimeIndex) -> pd.DataFrame:
    frame = seen.frame
    leaf, values = leaves(frame, seen.columns)
    y = seen.model_values()
    rows = pd.DataFrame(
        {
            "leaf": leaf,
            "day": frame["timestamp"].dt.floor("D").dt.as_unit("s").astype("int64").to_numpy(),
            "span": np.searchsorted(
                times.as_unit("ns").asi8, frame["timestamp"].dt.as_unit("ns").astype("int64"), side="right"
            ),
            "y": y - y.mean(),
            "at": frame["timestamp"].dt.as_unit("us").astype("int64").to_numpy() / 1e6,
        }
    )
    grouped = rows.groupby(["leaf", "day", "span"])
    cells = grouped.agg(mean=("y", "mean"), n=("y", "size"), at=("at", "mean")).reset_index().join(values, on="leaf")
    return cells.assign(variance=_variance(rows, seen)[cells["leaf"]])


def _variance(rows: pd.DataFrame, seen: Observations) -> np.ndarray:
    """Variance of a single row in each leaf, drawn towards that of all rows: a leaf of three rows knows little."""
    within = rows.groupby("leaf")["y"].agg(n="size", squares=_squares)
    freedom = max(within["n"].sum() - len(within), 1)
    pooled = max(within["squares"].sum() / freedom, 1e-6)
    if seen.scale == "share":
        overall = seen.frame["value"].mean()
        pooled = max(pooled, overall * (1 - overall), 1e-4)
    return ((within["squares"] + 10 * pooled) / (within["n"] - 1 + 10).clip(lower=1)).to_numpy()


def _squares(x: pd.Series) -> float:
    return float(((x - x.mean()) ** 2).sum())


def _day_scale(cells: pd.DataFrame, seen: Observations) -> float:
    """Sd of a day's effect, from the days before the last eight (DerSimonian and Laird); at least the usual scale."""
    usual = DAY_SCALE[seen.scale]
    early = cells[cells["day"] < (seen.alert.fired_at - pd.Timedelta("8D")).timestamp()]
    if early["day"].nunique() < 5:
        return usual
    weight = early["n"] / early["variance"]
    centre = (early["mean"] * weight).groupby(early["leaf"]).sum() / weight.groupby(early["leaf"]).sum()
    off = (early["mean"] - early["leaf"].map(centre)) * weight
    group = [early["feature_id"], early["day"]] if "feature_id" in early else [early["day"]]
    total, sums = weight.groupby(group).sum(), off.groupby(group).sum()
    excess = float((sums**2 / total).sum() - (len(total) - early["leaf"].nunique()))
    return float(np.sqrt(max(usual**2, excess / total.sum())))


def _design(cells: pd.DataFrame, day: float) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Indicator columns of leaves, days and days of a feature, and the precision of their effects."""
    spread = max(float(cells["mean"].std(ddof=0)), 1e-3) * 3
    blocks = [(cells["leaf"].to_numpy(), 1 / spread**2), (pd.factorize(cells["day"])[0], 2 / day**2)]
    if "feature_id" in cells:
        both = pd.factorize(cells["feature_id"].astype(str) + cells["day"].astype(str))[0]
        blocks.append((both, 2 / day**2))
    rows = np.arange(len(cells))
    matrices = [sparse.csr_matrix((np.ones(len(cells)), (rows, code))) for code, _ in blocks]
    penalty = np.concatenate([np.full(m.shape[1], precision) for m, (_, precision) in zip(matrices, blocks)])
    return sparse.hstack(matrices, format="csr"), penalty


def _log_harm(delta, variance, scales) -> np.ndarray:
    """Log Bayes factor of delta ~ half-normal(tau), mean over the scales, against delta = 0."""
    terms = []
    for tau in scales:
        total = variance + tau**2
        m, s = delta * tau**2 / total, np.sqrt(variance * tau**2 / total)
        terms.append(_log_normal(delta, total) - _log_normal(delta, variance) + np.log(2) + log_ndtr(m / s))
    mixed = logsumexp(terms, axis=0) - np.log(len(scales))
    return np.where(np.isfinite(mixed), mixed, -np.log(2))


def _log_any(delta, variance, tau) -> np.ndarray:
    out = _log_normal(delta, variance + tau**2) - _log_normal(delta, variance)
    return np.where(np.isfinite(out), out, 0.0)


def _log_normal(x, variance):
    return -0.5 * (np.log(2 * np.pi * variance) + x**2 / variance)
