"""How well each (slice, time) explains the rows as a shift from that time on: one number of evidence for each pair.

Model of a row: y = leaf mean + day effect + day effect of the feature + weekday effect + delta * dose + error, where the
dose is 1 for the rows of the slice at or after the time (or the part of a change that had arrived); means and effects are
normal. delta and its variance have closed forms; the evidence is the Bayes factor of a harmful delta (normal around one of three
scales) against none. The day terms are what stops false slices; their scales are learned from the days before. Shares are
weighed as counts: two errors in a small cell are no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, sparse
from scipy.special import betaincinv, betaln, log_ndtr, logsumexp, ndtri

from llm_monitoring.incident.inference.observations import Observations, leaves_of, weights_of
from llm_monitoring.incident.inference.slices import Slice
from llm_monitoring.keeping import once

EFFECTS = {"score": (0.15, 0.4, 1.0), "share": (0.02, 0.08, 0.25, 0.7), "log": (0.1, 0.3, 0.8)}
SPREAD = 1 / 3  # of a size, as a part of it
SIZES = np.append(np.geomspace(0.005, 0.5, 11), 1 - np.geomspace(0.4, 0.01, 9))  # of the way from a share to 1
USUALLY = 30  # answers of three days beside which their own spread counts
SLOPES = 12  # slices, the likeliest, in which a share may have moved bit by bit
NEGLIGIBLE = {"score": 0.05, "share": 0.01, "log": 0.03}
DAY_SCALE = {"score": 0.05, "share": 0.01, "log": 0.04}
LASTING = 5  # days after which a slow movement has lost two thirds of itself
LEARNT_FROM = pd.Timedelta("60D")  # the days that scales of days are learnt from
GRID = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])


@dataclass(frozen=True)
class Shifts:
    """Evidence of a shift for every slice (rows) and time (columns).

    `log_evidence` is the log Bayes factor of harm against nothing, `log_negligible` that of an effect too small to
    matter. `log_arrivals` and `log_ramps` hold the same as `log_evidence` for the arrivals and ramps asked for, one column
    each. `size` and `variance` are those of the shift at each time, harm positive; `arrival_size` and `ramp_size` the sizes
    of the others.
    """

    slices: list[Slice]
    times: pd.DatetimeIndex
    log_evidence: np.ndarray
    log_negligible: np.ndarray
    log_arrivals: np.ndarray
    log_ramps: np.ndarray
    size: np.ndarray
    variance: np.ndarray
    arrival_size: np.ndarray
    ramp_size: np.ndarray


def shift_evidence(
    seen: Observations,
    slices: list[Slice],
    times: pd.DatetimeIndex,
    arrivals: Sequence[np.ndarray] = (),
    *,
    ramps: Sequence[tuple[pd.Timestamp, pd.Timedelta]] = (),
    beside: np.ndarray | None = None,
) -> Shifts:
    """Evidence of a shift of `seen` in each slice from each time on.

    Parameters
    ----------
    seen : Observations
        Rows of one metric.
    slices : list of Slice
    times : DatetimeIndex
        Sorted, UTC. A row at or after a time counts as after it.
    arrivals : sequence of ndarray, one value a row of ``seen.frame``
        Other ways to arrive than at once: the part of a change, 0 to 1, that each row saw.
    ramps : sequence of (begin, length)
        Ways to arrive bit by bit, for every slice.
    beside : ndarray, one value a row, optional
        What each row saw of another shift, of any size, that is there beside the one that is asked about.

    Notes
    -----
    Rows are pooled into cells (leaf, day, span between two times) before anything is solved, so the cost depends on the
    cells, not on the rows: 20,000 judged answers take under a second. Rows of one session count as less than as many
    answers (design effect), and rows judged with unequal probabilities are weighted by their inverse.
    """
    dose = (
        np.column_stack([np.asarray(a, float) for a in arrivals]) if len(arrivals) else np.zeros((len(seen.frame), 0))
    )
    also = np.zeros((len(seen.frame), 0)) if beside is None else np.asarray(beside, float)[:, None]
    cells, parts = _cells(seen, times, np.hstack([dose, also]), beside)
    parts, also = np.split(parts, [dose.shape[1]], axis=1)
    design, penalties = _design(cells, seen, _day_scales(cells, seen))
    if beside is not None:
        design = sparse.hstack([design, also], format="csr")
        penalties.append(np.array([[1 / (2 * max(EFFECTS[seen.scale])) ** 2]]))
    weight = cells["n"].to_numpy() / cells["variance"].to_numpy()
    factor = _factor(design, weight, penalties)
    y = cells["mean"].to_numpy()
    seen_y = linalg.solve_triangular(factor, design.T @ (weight * y), lower=True)
    slopes = [
        np.clip((cells["position"].to_numpy() - begin.timestamp()) / length.total_seconds(), 0, 1)
        for begin, length in ramps
    ]
    steps = cells["span"].to_numpy()[:, None] > np.arange(len(times))[None, :]
    reached = np.column_stack([steps, parts, *slopes])
    inside = np.array([found.mask(cells) for found in slices])
    solved = [_one_slice(mask, reached, weight, y, design, factor, seen_y) for mask in inside]
    information, score = (np.vstack(part) for part in zip(*solved))
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = information > 1e-6
        delta = np.where(usable, seen.sign * score / information, np.nan)
        variance = np.where(usable, 1 / information, np.nan)
    if seen.scale == "share" and beside is None:
        counts = _counts(cells, inside, reached, weight, delta, variance, seen)
        harm, small = _log_harm_of_counts(*counts), _log_any_of_counts(*counts)
    else:
        harm = log_harm(delta, variance, EFFECTS[seen.scale])
        small = _log_any(delta, variance, NEGLIGIBLE[seen.scale])
    n = len(times)
    if seen.scale == "share":
        harm[:, n:] = _bit_by_bit(cells, inside, reached, harm, n, seen)
    kinds = [n, n + dose.shape[1]]
    at_once, arrived, sloping = np.split(harm, kinds, axis=1)
    size, arrival_size, ramp_size = np.split(delta, kinds, axis=1)
    return Shifts(
        slices, times, at_once, small[:, :n], arrived, sloping, size, variance[:, :n], arrival_size, ramp_size
    )


def _factor(design: sparse.csr_matrix, weight: np.ndarray, penalties: list[np.ndarray]) -> np.ndarray:
    """Cholesky factor of the precision of all effects, worked out in one place: with days by features it is large."""
    precision = (design.T @ design.multiply(weight[:, None])).toarray(order="F")
    first = 0
    for block in penalties:
        last = first + len(block)
        if block.ndim == 1:
            precision[np.arange(first, last), np.arange(first, last)] += block
        else:
            precision[first:last, first:last] += block
        first = last
    return linalg.cholesky(precision, lower=True, overwrite_a=True)


def _one_slice(inside, dose, weight, y, design, factor, seen_y):
    reached = inside[:, None] * dose
    z = reached * weight[:, None]
    reached *= z  # in its place: these are the largest arrays of a stage
    whole = reached.sum(0)
    del reached
    q = linalg.solve_triangular(factor, design.T @ z, lower=True)
    return whole - (q**2).sum(0), z.T @ y - q.T @ seen_y


def _cells(
    seen: Observations, times: pd.DatetimeIndex, dose: np.ndarray, beside: np.ndarray | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows pooled by leaf, day, span and exposure, and the mean dose of each cell."""
    whole, values = _rows(seen)
    at = seen.frame["timestamp"].dt.as_unit("ns").astype("int64")
    sharp = dose[:, np.isin(dose, (0.0, 1.0)).all(0)]
    rows = whole.assign(
        span=np.searchsorted(times.as_unit("ns").asi8, at, side="right"),
        exposure=_alike_rows(sharp),
    )
    variance = _variance(rows, seen, beside)
    rows["variance"] = variance[rows["leaf"]] * _wider(rows, values, variance, seen)
    key = rows.groupby(["leaf", "day", "span", "exposure"])
    cells = key[["weight", "square", "sum", "position", "variance"]].sum().reset_index()
    cells["position"] = cells["position"] / cells["weight"]
    by_day = cells.groupby("day")  # worth of a weight (Kish), by day: a cell's own would follow what its few rows say
    worth = by_day["weight"].transform("sum") / by_day["square"].transform("sum")
    cells["mean"], cells["n"] = cells["sum"] / cells["weight"], cells["weight"] * worth
    cells["variance"] /= key.size().to_numpy()
    cells = cells.join(values, on="leaf")
    cell = key.ngroup().to_numpy()
    weight = rows["weight"].to_numpy()
    parts = [np.bincount(cell, weights=d * weight, minlength=len(cells)) / cells["weight"].to_numpy() for d in dose.T]
    return cells, np.column_stack(parts) if parts else np.zeros((len(cells), 0))


def _alike_rows(sharp: np.ndarray) -> np.ndarray:
    """A number for each row of zeros and ones, equal where the rows are, in their order.

    >>> _alike_rows(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])).tolist()
    [1, 0, 1]
    """
    code = np.zeros(len(sharp), dtype=np.int64)
    for first in range(0, sharp.shape[1], 30):  # of so many columns the rows are numbers
        part = sharp[:, first : first + 30].astype(np.int64)
        number = part @ (1 << np.arange(part.shape[1])[::-1])
        code = np.unique((code << part.shape[1]) + number, return_inverse=True)[1]
    return code


@once
def _rows(seen: Observations) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`leaf`, `day`, `weight`, `position`, `square`, `y`, `sum` of each row, and the column values of each leaf."""
    frame = seen.frame
    leaf, values = leaves_of(seen)
    y, weight = seen.model_values(), weights_of(frame)
    rows = pd.DataFrame(
        {
            "leaf": leaf,
            "day": frame["timestamp"].dt.floor("D").dt.as_unit("s").astype("int64").to_numpy(),
            "weight": weight,
            "position": weight * frame["timestamp"].dt.as_unit("ns").astype("int64").to_numpy() / 1e9,
            "square": weight**2,
            "y": y - np.average(y, weights=weight),
        }
    )
    return rows.assign(sum=rows["y"] * weight), values


def _variance(rows: pd.DataFrame, seen: Observations, beside: np.ndarray | None = None) -> np.ndarray:
    """Variance of a single row in each leaf, drawn towards that of all rows: a leaf of three rows knows little.

    A share has one variance for all: a leaf that by chance had no error yet must not count for more. Where a shift is known to
    be there it is at least that of the rows which saw it.
    """
    within = rows.groupby("leaf")["y"].agg(n="size", squares=_squares)
    freedom = max(within["n"].sum() - len(within), 1)
    pooled = max(within["squares"].sum() / freedom, 1e-6)
    if seen.scale == "share":
        overall = seen.frame["value"].mean()
        if beside is not None and (beside > 0).any():
            overall = max(overall, seen.frame["value"][beside > 0].mean(), key=lambda p: p * (1 - p))
        pooled = max(pooled, overall * (1 - overall), 1e-4)
        return np.full(len(within), pooled) * _effect_of_sessions(seen)
    variance = ((within["squares"] + 10 * pooled) / (within["n"] - 1 + 10).clip(lower=1)).to_numpy()
    return variance * _effect_of_sessions(seen)


def _wider(rows: pd.DataFrame, values: pd.DataFrame, variance: np.ndarray, seen: Observations) -> np.ndarray:
    """How much more the answers of a feature vary around a day than they usually do, beyond chance (two sd), at least 1.

    Where a part of the answers fails, and the others do not, today's vary more than those of before, and say less of when it
    began. What all of them have moved by on that day is taken out.
    """
    if seen.scale == "share":
        return np.ones(len(rows))
    feature = values["feature_id"].to_numpy()[rows["leaf"]] if "feature_id" in values else np.zeros(len(rows))
    by = [rows["day"].to_numpy(), feature]
    off = (rows["y"] - rows.groupby("leaf")["y"].transform("mean")) / np.sqrt(variance[rows["leaf"]])
    off = off - off.groupby(by).transform("mean")
    of_day = (off**2).groupby(by).agg(["sum", "size"])
    whose = of_day.groupby(level=1)
    squares, n = (whose[name].transform(_with_neighbours) for name in ("sum", "size"))
    expected = USUALLY + n + 2 * np.sqrt(2 * n)
    wider = ((USUALLY + squares) / expected).clip(lower=1.0)
    return wider.reindex(pd.MultiIndex.from_arrays(by)).to_numpy()


def _with_neighbours(days: pd.Series) -> pd.Series:
    """The sum of each day and of those next to it."""
    return days.rolling(3, center=True, min_periods=1).sum()


def _squares(x: pd.Series) -> float:
    return float(((x - x.mean()) ** 2).sum())


@once
def _effect_of_sessions(seen: Observations) -> float:
    return _design_effect(_rows(seen)[0], seen.frame)


def _design_effect(rows: pd.DataFrame, frame: pd.DataFrame) -> float:
    """How many answers of a session are worth one: 1 + (k - 1) x intraclass correlation (Kish), at least 1."""
    if "session_id" not in frame:
        return 1.0
    off = rows["y"] - rows.groupby("leaf")["y"].transform("mean")
    session = frame["session_id"].where(frame["session_id"].notna(), frame["request_id"]).to_numpy()
    size = off.groupby(session).agg(["size", "sum"])
    pairs = float((size["size"] * (size["size"] - 1)).sum())
    if pairs < 20:
        return 1.0
    alike = float((size["sum"] ** 2).sum() - (off**2).sum()) / pairs / max(float((off**2).mean()), 1e-12)
    k = float((size["size"] ** 2).sum() / size["size"].sum())
    return 1 + (k - 1) * float(np.clip(alike, 0, 1))


def _day_scales(cells: pd.DataFrame, seen: Observations) -> tuple[float, float, float]:
    """Sd of a day's effect on all answers, of what moves them over several days, and of a day's effect on one feature.

    Posterior means from the two months before the last eight days: off-centre means of feature and day; each triple of scales on a grid has
    a closed-form likelihood, the prior is half-Cauchy at the usual scale (Gelman 2006).
    """
    scale = DAY_SCALE[seen.scale]
    end = seen.alert.fired_at - pd.Timedelta("8D")
    early = cells[cells["day"].between((end - LEARNT_FROM).timestamp(), end.timestamp(), inclusive="left")]
    grid, prior = scale * GRID, 1 / (1 + GRID**2)
    log_post = np.log(prior[:, None, None] * prior[None, :, None] * prior[None, None, :])
    if early["day"].nunique() >= 5:
        log_post = log_post + _log_likelihood_of_days(early, grid)
    post = np.exp(log_post - log_post.max())
    post /= post.sum()
    day, slow, own = (float(np.sqrt(post.sum(others) @ grid**2)) for others in ((1, 2), (0, 2), (0, 1)))
    return max(day, 0.3 * scale), max(slow, 0.3 * scale), max(own, 0.3 * scale)


def _log_likelihood_of_days(early: pd.DataFrame, grid: np.ndarray) -> np.ndarray:
    """By sd of the day, of what moves over several days, and of the feature's day."""
    weight = early["n"] / early["variance"]
    centre = (early["mean"] * weight).groupby(early["leaf"]).sum() / weight.groupby(early["leaf"]).sum()
    off = (early["mean"] - early["leaf"].map(centre)) * weight
    feature = early["feature_id"] if "feature_id" in early else pd.Series(0, index=early.index)
    by_day = weight.groupby([early["day"], feature]).sum().unstack()
    total = by_day.to_numpy()
    mean = off.groupby([early["day"], feature]).sum().unstack().to_numpy() / total
    there = np.isfinite(mean) & (total > 0)
    mean, error = np.where(there, mean, 0.0), np.where(there, 1 / np.where(there, total, 1), np.inf)
    alike, square = _alike(by_day.index.to_numpy()), grid**2
    moved = square[:, None, None, None] * np.eye(len(alike)) + square[:, None, None] * alike
    out = np.empty((len(grid), len(grid), len(grid)))
    for j, own in enumerate(grid):
        w = np.where(there, 1 / (error + own**2), 0.0)
        root = np.sqrt(w.sum(1))
        level = (w * mean).sum(1) / root
        rest = np.log(w, where=there, out=np.zeros_like(w)).sum() - (w * mean**2).sum()
        spread = np.eye(len(root)) + root[:, None] * moved * root
        log_det = 2 * np.log(np.diagonal(np.linalg.cholesky(spread), axis1=-2, axis2=-1)).sum(-1)
        left = np.linalg.solve(spread, np.broadcast_to(level[:, None], (*spread.shape[:2], len(level), 1)))[..., 0]
        out[:, :, j] = 0.5 * (rest + (level**2).sum() - left @ level - log_det)
    return out


def _alike(days: np.ndarray) -> np.ndarray:
    """Correlation, between days, of what moves answers over several days: users, seasons, a provider's load."""
    return np.exp(-np.abs(days[:, None] - days[None, :]) / (86400 * LASTING))


def _design(
    cells: pd.DataFrame, seen: Observations, scales: tuple[float, float, float]
) -> tuple[sparse.csr_matrix, list[np.ndarray]]:
    """Indicator columns of values, leaves, days of a feature, weekdays and days, and the precision of their effects, block by block.

    Those of days depend on each other; of the others only the diagonal is given.
    """
    day, slow, of_feature = scales
    wide = max(float(cells["mean"].std(ddof=0)), 1e-3) * 3
    days, dates = pd.factorize(cells["day"])
    of_days = day**2 * np.eye(len(dates)) + slow**2 * _alike(np.asarray(dates))
    blocks = [(pd.factorize(cells[column])[0], wide) for column in seen.columns]
    blocks += [
        (cells["leaf"].to_numpy(), _leaf_scale(cells, seen)),
        (pd.factorize((cells["day"] // 86400) % 7)[0], day),
    ]
    if "feature_id" in cells:
        both = pd.factorize(cells["feature_id"].astype(str) + cells["day"].astype(str))[0]
        blocks.append((both, of_feature))
    matrices = [_indicators(code) for code, _ in blocks]
    penalty = np.concatenate([[1e-6], *(np.full(m.shape[1], 1 / sd**2) for m, (_, sd) in zip(matrices, blocks))])
    design = sparse.hstack([np.ones((len(cells), 1)), *matrices, _indicators(days)], format="csr")
    return design, [penalty, linalg.inv(of_days)]


def _indicators(code: np.ndarray) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(code)), (np.arange(len(code)), np.maximum(code, 0))))


def _leaf_scale(cells: pd.DataFrame, seen: Observations) -> float:
    """Sd of what a leaf has beyond the sum of its columns' effects: posterior mean, half-Cauchy prior, as for days."""
    weight = cells["n"] / cells["variance"]
    by = weight.groupby(cells["leaf"]).sum()
    mean = (cells["mean"] * weight).groupby(cells["leaf"]).sum() / by
    first = cells.drop_duplicates("leaf").set_index("leaf").loc[by.index]
    columns = [_indicators(pd.factorize(first[column])[0]).toarray() for column in seen.columns]
    x = np.column_stack([np.ones(len(by)), *columns])
    root = np.sqrt(by.to_numpy())
    fit, _, rank, _ = np.linalg.lstsq(x * root[:, None], mean.to_numpy() * root, rcond=None)
    off2 = (mean.to_numpy() - x @ fit) ** 2 * len(by) / max(len(by) - rank, 1)
    usual = DAY_SCALE[seen.scale]
    spread = 1 / by.to_numpy()[:, None] + (usual * GRID) ** 2
    log_post = -0.5 * (np.log(spread) + off2[:, None] / spread).sum(0) - np.log1p(GRID**2)
    post = np.exp(log_post - log_post.max())
    return max(float(np.sqrt(post @ (usual * GRID) ** 2 / post.sum())), 0.3 * usual)


def log_harm(delta, variance, sizes: Sequence[float]) -> np.ndarray:
    """Log Bayes factor of delta ~ normal(tau, tau / 3) above 0, mean over the sizes tau, against delta = 0.

    A harm has a size: with much belief near 0 the data could hardly speak against it. And it has a sign: the tails of
    these normals below 0 are cut off, or a large improvement would be told as harm.

    >>> log_harm(np.array([0.4, 0.0]), 0.01, (0.15, 0.4, 1.0)).round(1)
    array([ 6.6, -2. ])
    """
    terms = []
    for tau in sizes:
        total = variance + (tau * SPREAD) ** 2
        size = (tau * variance + delta * (tau * SPREAD) ** 2) / total  # as believed on the data, and its sd
        sd = tau * SPREAD * np.sqrt(variance / total)
        above = log_ndtr(size / sd) - log_ndtr(1 / SPREAD)
        terms.append(_log_normal(delta - tau, total) - _log_normal(delta, variance) + above)
    mixed = logsumexp(terms, axis=0) - np.log(len(terms))
    return np.where(np.isfinite(mixed), mixed, -np.log(2))


def _log_any(delta, variance, tau) -> np.ndarray:
    out = _log_normal(delta, variance + tau**2) - _log_normal(delta, variance)
    return np.where(np.isfinite(out), out, 0.0)


def _log_normal(x, variance):
    return -0.5 * (np.log(2 * np.pi * variance) + x**2 / variance)


def _counts(cells, inside, reached, weight, delta, variance, seen) -> tuple[np.ndarray, ...]:
    """For every slice and time: bad rows and rows since, bad rows and rows before.

    What was bad before is what since was bad less the part of the shift that had arrived, so that odd days and other
    features are taken out. All counts are divided by the design effect: how much more the shift varies, with days, leaves and sessions, than
    independent rows would let it.
    """
    n = cells["n"].to_numpy()
    since = np.maximum(inside @ (n[:, None] * reached), 1e-9)
    before = np.maximum((inside @ n)[:, None] - since, 1e-9)
    value = cells["mean"].to_numpy() + np.average(seen.frame["value"].to_numpy(float), weights=weights_of(seen.frame))
    share = np.clip((inside @ ((n * value)[:, None] * reached)) / since, 0, 1)
    share = share if seen.sign > 0 else 1 - share
    arrived = np.maximum(inside @ (n[:, None] * reached**2), 1e-9) / since
    usual = np.clip(share - delta * arrived, 0, 1)
    precision = inside @ (weight[:, None] * reached)
    effect = np.maximum(variance * arrived**2 * precision / (1 + since / before), 1.0)
    return share * since / effect, since / effect, usual * before / effect, before / effect


def _bit_by_bit(cells, inside, reached, harm, n: int, seen: Observations) -> np.ndarray:
    """Evidence of arrivals bit by bit, of a share: that of a step at any time, and how much better the counts fit the slope.

    Doses are 0 or 1 in `_counts`. The fit to the counts is exact: bad ~ binomial(level before + size * dose), best size; sizes
    lie as near to each other as a large shift needs, or a step would fit worse than a slope for want of its size.
    """
    out = harm[:, n:].copy()
    partly = np.flatnonzero(((reached[:, n:] > 0) & (reached[:, n:] < 1)).any(0))
    share = cells["mean"].to_numpy() + np.average(seen.frame["value"].to_numpy(float), weights=weights_of(seen.frame))
    count = cells["n"].to_numpy()
    bad = count * np.clip(share if seen.sign > 0 else 1 - share, 0, 1)
    order = np.argsort(-harm[:, :n].max(1))
    for i in order[:SLOPES] if len(partly) else []:
        rows = np.flatnonzero(inside[i])
        dose = reached[rows][:, [*range(n), *(n + partly)]]
        quiet = rows[reached[rows, int(np.argmax(harm[i, :n]))] == 0]
        usual = (bad[quiet].sum() + 0.5) / (count[quiet].sum() + 1)
        fit = _best_fit(bad[rows], count[rows], dose, usual)
        out[i, partly] = logsumexp(harm[i, :n]) + fit[n:] - logsumexp(fit[:n])
    rest = np.ix_(order[SLOPES:], partly)
    out[rest] = np.minimum(out[rest], 0.0)
    return out


def _best_fit(bad: np.ndarray, count: np.ndarray, dose: np.ndarray, usual: float) -> np.ndarray:
    """Log likelihood of each column of doses against no shift, at the best of some sizes."""
    found, p, log = np.zeros(dose.shape[1]), np.empty_like(dose), np.empty_like(dose)
    for size in SIZES * (1 - usual):  # in the same two arrays: they are as large as the doses
        np.multiply(size, dose, out=p)
        p += usual
        np.clip(p, 1e-6, 1 - 1e-6, out=p)
        better = bad @ np.log(np.divide(p, usual, out=log), out=log)
        np.log1p(np.negative(p, out=p), out=p)
        p -= np.log1p(-usual)
        found = np.maximum(found, better + (count - bad) @ p)
    return found


def _log_harm_of_counts(bad, n, bad_before, n_before) -> np.ndarray:
    """Log Bayes factor of a share raised by a shift of one of three sizes, each give or take a third, against one share."""
    sizes = 1 + SPREAD * ndtri((np.arange(8) + 0.5) / 8)
    shifts = np.concatenate([tau * sizes for tau in EFFECTS["share"]])
    return log_raised(bad, n, bad_before, n_before, shifts)


def _log_any_of_counts(bad, n, bad_before, n_before) -> np.ndarray:
    half = NEGLIGIBLE["share"] * _half_normal(8)
    return log_raised(bad, n, bad_before, n_before, np.concatenate([-half, half]))


def _half_normal(nodes: int) -> np.ndarray:
    return ndtri((1 + (np.arange(nodes) + 0.5) / nodes) / 2)


def log_raised(bad, n, bad_before, n_before, shifts, nodes: int = 7) -> np.ndarray:
    """Log Bayes factor from counts: the share before raised by each of `shifts`, averaged, against one share for both.

    >>> round(float(log_raised(20, 40, 10, 100, np.array([0.2, 0.4]))), 1)  # 10 % of 100, then 50 % of 40
    12.0
    """
    bad, n, bad_before, n_before = (np.asarray(x, float) for x in (bad, n, bad_before, n_before))
    with np.errstate(invalid="ignore"):
        a, b = bad_before + 0.5, n_before - bad_before + 0.5
        usual = betaincinv(a[..., None], b[..., None], (np.arange(nodes) + 0.5) / nodes)
        raised = np.clip(usual[..., None] + shifts, 1e-6, 1 - 1e-6).reshape(*bad.shape, -1)
        log_since = bad[..., None] * np.log(raised) + (n - bad)[..., None] * np.log1p(-raised)
        log_ratio = (
            betaln(a, b) + logsumexp(log_since, axis=-1) - np.log(raised.shape[-1]) - betaln(a + bad, b + n - bad)
        )
    return np.where(np.isfinite(log_ratio), log_ratio, 0.0)
