"""How well each (slice, time) explains the rows as a shift from that time on: one number of evidence for each pair.

Model of a row: y = leaf mean + day effect + day effect of the feature + weekday effect + delta * dose + error, where the
dose is 1 for the rows of the slice at or after the time (or the part of a change that had arrived); means and effects are
normal. delta and its variance have closed forms; the evidence is the Bayes factor of a harmful delta (normal around one of three
scales) against none. The day terms are what stops false slices; their scales are learned from the days before. Shares are
weighed as counts: two errors in a small cell are no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, sparse
from scipy.special import betaincinv, betaln, log_ndtr, logsumexp, ndtri

from llm_monitoring import windows
from llm_monitoring.incident.inference.observations import Observations, leaves_of, weights_of
from llm_monitoring.incident.inference.slices import Slice
from llm_monitoring.keeping import once

EFFECTS = {"score": (0.15, 0.4, 1.0), "share": (0.02, 0.08, 0.25, 0.7), "log": (0.1, 0.3, 0.8)}
SPREAD = 1 / 3  # of a size, as a part of it
SIZES = np.append(np.geomspace(0.005, 0.5, 11), 1 - np.geomspace(0.4, 0.01, 9))  # of the way from a share to 1
USUALLY = 30  # answers of three days beside which their own spread counts
DAY = 86_400_000_000  # microseconds
TOGETHER = 64  # doses that are solved for at once
SLOPES = 12  # slices, the likeliest, in which a share may have moved bit by bit
LEAST = 1e-6  # of a share
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
    cells, parts = _cells(seen, times, [*arrivals, *([] if beside is None else [beside])], beside)
    parts, also = np.split(parts, [len(arrivals)], axis=1)
    design, penalties, apart = _design(cells, seen, _day_scales(cells, seen))
    if beside is not None:
        design = sparse.hstack([design, also], format="csr")
        penalties.append(np.array([[1 / (2 * max(EFFECTS[seen.scale])) ** 2]]))
    weight = cells["n"].to_numpy() / cells["variance"].to_numpy()
    whitened = _whitening(design, weight, penalties, apart)
    y = cells["mean"].to_numpy()
    seen_y = whitened(design.T @ (weight * y))
    at = cells["position"].to_numpy()
    slopes = [np.clip((at - begin.timestamp()) / length.total_seconds(), 0, 1) for begin, length in ramps]
    steps = cells["span"].to_numpy()[:, None] > np.arange(len(times))[None, :]
    reached = [steps, parts, *([np.column_stack(slopes)] if slopes else [])]  # as they are: steps are no numbers yet
    del slopes
    inside = np.array([found.mask(cells) for found in slices])
    solved = [_one_slice(mask, reached, weight, y, design, whitened, seen_y) for mask in inside]
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
    kinds = [n, n + len(arrivals)]
    at_once, arrived, sloping = np.split(harm, kinds, axis=1)
    size, arrival_size, ramp_size = np.split(delta, kinds, axis=1)
    return Shifts(
        slices, times, at_once, small[:, :n], arrived, sloping, size, variance[:, :n], arrival_size, ramp_size
    )


def _whitening(
    design: sparse.csr_matrix, weight: np.ndarray, penalties: list[np.ndarray], apart: slice
) -> Callable[[np.ndarray], np.ndarray]:
    """What makes the sums over the cells of each effect independent; then their squares add up to the part that effects explain.

    The effects of a block `apart` share no cell: they are taken out one by one, and only the others are solved for together
    (Schur complement). Days of features are five times as many as all others.
    """
    rest = np.delete(np.arange(design.shape[1]), apart)
    own, others = design[:, apart], design[:, rest]
    weighted = own.multiply(weight[:, None]).tocsr()
    single, *dense = penalties
    scale = np.asarray(weighted.sum(0)).ravel() + single[apart]
    across = (others.T @ weighted).tocsr()
    shared = across.multiply(1 / scale).tocsr()
    precision = (others.T @ others.multiply(weight[:, None]) - shared @ across.T).toarray(order="F")
    precision += linalg.block_diag(np.diag(np.delete(single, apart)), *dense)
    factor = linalg.cholesky(precision, lower=True, overwrite_a=True)

    def whitened(sums: np.ndarray) -> np.ndarray:
        left = sums[rest] - shared @ sums[apart]
        alone = (sums[apart].T / np.sqrt(scale)).T
        return np.concatenate([alone, linalg.solve_triangular(factor, left, lower=True)])

    return whitened


def _one_slice(inside, dose, weight, y, design, whitened, seen_y):
    """Information and score of each dose in the cells of a slice, some doses at a time: these are the largest arrays of a stage."""
    rows = np.flatnonzero(inside)
    columns, own_y, own_weight = design[rows].T.tocsr(), y[rows], weight[rows, None]
    solved = []
    for block in _some_at_a_time(dose):
        part = block[rows].astype(float)
        z = part * own_weight
        q = whitened(columns @ z)
        part *= z
        solved.append((part.sum(0) - (q**2).sum(0), z.T @ own_y - q.T @ seen_y))
    return tuple(np.concatenate(part) for part in zip(*solved))


def _some_at_a_time(dose: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The columns of doses, some of them at a time."""
    for kind in dose:
        for first in range(0, kind.shape[1], TOGETHER):
            yield kind[:, first : first + TOGETHER]


def _summed(weight: np.ndarray, dose: Sequence[np.ndarray], power: int = 1) -> np.ndarray:
    """The sums of the doses, or of their squares, weighted in some ways (rows)."""
    return np.hstack([weight @ block.astype(float) ** power for block in _some_at_a_time(dose)])


def _cells(
    seen: Observations, times: pd.DatetimeIndex, doses: Sequence[np.ndarray], beside: np.ndarray | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows pooled by leaf, day, span and exposure, and the mean dose of each cell."""
    rows, values = _rows(seen)
    leaf, day, weight = (rows[name].to_numpy() for name in ("leaf", "day", "weight"))
    moment = windows.microseconds(seen.frame["timestamp"])
    days, dates = pd.factorize(day, sort=True)
    code = (leaf * len(dates) + days) * (len(times) + 1)
    code += np.searchsorted(times.as_unit("us").asi8, moment, side="right")
    exposure = _alike_rows([dose for dose in doses if _sharp(dose)], len(rows))
    code = code * (int(exposure.max(initial=0)) + 1) + exposure
    del days, exposure
    cell, codes = pd.factorize(code, sort=True)
    first = np.empty(len(codes), int)
    first[cell[::-1]] = np.arange(len(rows))[::-1]

    def total(x: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights=x, minlength=len(codes))

    variance = _variance(rows, seen, beside)
    cells = pd.DataFrame({"leaf": leaf[first], "day": day[first]})
    cells["span"] = np.searchsorted(times.as_unit("us").asi8, moment[first], side="right")
    cells["weight"], cells["square"] = total(weight), total(weight**2)
    since = total(weight * ((moment - moment[0]) / 1e6)) / cells["weight"]
    cells["position"] = moment[0] / 1e6 + since
    by_day = cells.groupby("day")  # worth of a weight (Kish), by day: a cell's own would follow what its few rows say
    worth = by_day["weight"].transform("sum") / by_day["square"].transform("sum")
    cells["mean"], cells["n"] = total(weight * rows["y"].to_numpy()) / cells["weight"], cells["weight"] * worth
    cells["variance"] = variance[cells["leaf"]] * _wider(rows, values, variance, seen)[first]
    cells = cells.join(values, on="leaf")
    parts = [total(dose * weight) / cells["weight"].to_numpy() for dose in doses]
    return cells, np.column_stack(parts) if parts else np.zeros((len(cells), 0))


def _sharp(dose: np.ndarray) -> bool:
    return dose.dtype == bool or bool(((dose == 0) | (dose == 1)).all())


def _alike_rows(sharp: Sequence[np.ndarray], n: int) -> np.ndarray:
    """A number for each of `n` rows of zeros and ones, given by columns, equal where the rows are, in their order.

    >>> _alike_rows([np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])], 3).tolist()
    [1, 0, 1]
    """
    code = np.zeros(n, dtype=np.int64)
    for column in sharp:
        code = 2 * code + column.astype(bool)
        if code.max(initial=0) >= 1 << 20:  # or the next columns would leave no room
            code = pd.factorize(code, sort=True)[0]
    return pd.factorize(code, sort=True)[0]


@once
def _rows(seen: Observations) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`leaf`, `day`, `weight` and `y` of each row, and the column values of each leaf."""
    leaf, values = leaves_of(seen)
    y, weight = seen.model_values(), weights_of(seen.frame)
    day = windows.microseconds(seen.frame["timestamp"]) // DAY * 86400
    return pd.DataFrame({"leaf": leaf, "day": day, "weight": weight, "y": y - np.average(y, weights=weight)}), values


def _variance(rows: pd.DataFrame, seen: Observations, beside: np.ndarray | None = None) -> np.ndarray:
    """Variance of a single row in each leaf, drawn towards that of all rows: a leaf of three rows knows little.

    A share has one variance for all: a leaf that by chance had no error yet must not count for more. Where a shift is known to
    be there it is at least that of the rows which saw it.
    """
    leaf, y = rows["leaf"].to_numpy(), rows["y"].to_numpy()
    n, squares = np.bincount(leaf), np.bincount(leaf, (y - _means(y, leaf)[leaf]) ** 2)
    pooled = max(squares.sum() / max(len(rows) - len(n), 1), 1e-6)
    if seen.scale == "share":
        overall = seen.frame["value"].mean()
        if beside is not None and (beside > 0).any():
            overall = max(overall, seen.frame["value"][beside > 0].mean(), key=lambda p: p * (1 - p))
        pooled = max(pooled, overall * (1 - overall), 1e-4)
        return np.full(len(n), pooled) * _effect_of_sessions(seen)
    return (squares + 10 * pooled) / np.maximum(n - 1 + 10, 1) * _effect_of_sessions(seen)


def _wider(rows: pd.DataFrame, values: pd.DataFrame, variance: np.ndarray, seen: Observations) -> np.ndarray:
    """How much more the answers of a feature vary around a day than they usually do, beyond chance (two sd), at least 1.

    Where a part of the answers fails, and the others do not, today's vary more than those of before, and say less of when it
    began. What all of them have moved by on that day is taken out.
    """
    if seen.scale == "share":
        return np.ones(len(rows))
    leaf, y = rows["leaf"].to_numpy(), rows["y"].to_numpy()
    feature = pd.factorize(values["feature_id"])[0] if "feature_id" in values else np.zeros(len(values), int)
    days, dates = pd.factorize(rows["day"].to_numpy(), sort=True)
    place, places = pd.factorize(feature[leaf] * len(dates) + days, sort=True)
    off = (y - _means(y, leaf)[leaf]) / np.sqrt(variance[leaf])
    off -= _means(off, place)[place]
    of_day = pd.DataFrame({"squares": np.bincount(place, off**2), "n": np.bincount(place)})
    whose = of_day.groupby(places // len(dates))
    squares, n = (whose[name].transform(_with_neighbours).to_numpy() for name in ("squares", "n"))
    expected = USUALLY + n + 2 * np.sqrt(2 * n)
    return np.maximum((USUALLY + squares) / expected, 1.0)[place]


def _means(x: np.ndarray, code: np.ndarray) -> np.ndarray:
    """The mean of each code."""
    return np.bincount(code, x) / np.bincount(code)


def _with_neighbours(days: pd.Series) -> pd.Series:
    """The sum of each day and of those next to it."""
    return days.rolling(3, center=True, min_periods=1).sum()


@once
def _effect_of_sessions(seen: Observations) -> float:
    return _design_effect(_rows(seen)[0], seen.frame)


def _design_effect(rows: pd.DataFrame, frame: pd.DataFrame) -> float:
    """How many answers of a session are worth one: 1 + (k - 1) x intraclass correlation (Kish), at least 1."""
    if "session_id" not in frame:
        return 1.0
    leaf, y = rows["leaf"].to_numpy(), rows["y"].to_numpy()
    off = y - _means(y, leaf)[leaf]
    session, names = pd.factorize(frame["session_id"])
    session = np.where(session < 0, len(names) + np.arange(len(session)), session)  # an answer without one is its own
    size, total = np.bincount(session), np.bincount(session, off)
    pairs = float((size * (size - 1)).sum())
    if pairs < 20:
        return 1.0
    alike = float((total**2).sum() - (off**2).sum()) / pairs / max(float((off**2).mean()), 1e-12)
    k = float((size**2).sum() / size.sum())
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
) -> tuple[sparse.csr_matrix, list[np.ndarray], slice]:
    """Indicator columns of values, leaves, days of a feature, weekdays and days, and the precision of their effects, block by block.

    Those of days depend on each other; of the others only the diagonal is given. The last is where the columns of the largest set
    stand of which each cell has one.
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
    widths = [m.shape[1] for m in matrices]
    first, most = 1 + sum(widths[: int(np.argmax(widths))]), max(widths)
    return design, [penalty, linalg.inv(of_days)], slice(first, first + most)


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
    since = np.maximum(_summed(inside * n, reached), 1e-9)
    before = np.maximum((inside @ n)[:, None] - since, 1e-9)
    value = cells["mean"].to_numpy() + np.average(seen.frame["value"].to_numpy(float), weights=weights_of(seen.frame))
    share = np.clip(_summed(inside * (n * value), reached) / since, 0, 1)
    share = share if seen.sign > 0 else 1 - share
    arrived = np.maximum(_summed(inside * n, reached, 2), 1e-9) / since
    usual = np.clip(share - delta * arrived, 0, 1)
    precision = _summed(inside * weight, reached)
    effect = np.maximum(variance * arrived**2 * precision / (1 + since / before), 1.0)
    return share * since / effect, since / effect, usual * before / effect, before / effect


def _bit_by_bit(cells, inside, reached, harm, n: int, seen: Observations) -> np.ndarray:
    """Evidence of arrivals bit by bit, of a share: that of a step at any time, and how much better the counts fit the slope.

    Doses are 0 or 1 in `_counts`. The fit to the counts is exact: bad ~ binomial(level before + size * dose), best size; sizes
    lie as near to each other as a large shift needs, or a step would fit worse than a slope for want of its size.
    """
    out, (steps, *others) = harm[:, n:].copy(), reached
    later = np.hstack(others)
    partly = np.flatnonzero(((later > 0) & (later < 1)).any(0))
    share = cells["mean"].to_numpy() + np.average(seen.frame["value"].to_numpy(float), weights=weights_of(seen.frame))
    count = cells["n"].to_numpy()
    bad = count * np.clip(share if seen.sign > 0 else 1 - share, 0, 1)
    order = np.argsort(-harm[:, :n].max(1))
    for i in order[:SLOPES] if len(partly) else []:
        rows = np.flatnonzero(inside[i])
        own = np.column_stack([bad, count - bad])[rows]
        quiet = ~steps[rows, int(np.argmax(harm[i, :n]))]
        usual = (own[quiet, 0].sum() + 0.5) / (own[quiet].sum() + 1)
        with_it = _summed(inside[i] * np.vstack([bad, count - bad]), [steps])
        at_once = _best_fit(own[:0], np.zeros((0, n)), with_it, own.sum(0)[:, None] - with_it, usual)
        for some in np.array_split(partly, len(partly) // TOGETHER + 1):
            sloping = later[np.ix_(rows, some)]
            between = ((sloping > 0) & (sloping < 1)).any(1)  # counts of the others are added up: they have two levels
            with_it = own[~between].T @ sloping[~between]
            fit = _best_fit(own[between], sloping[between], with_it, own[~between].sum(0)[:, None] - with_it, usual)
            out[i, some] = logsumexp(harm[i, :n]) + fit - logsumexp(at_once)
    rest = np.ix_(order[SLOPES:], partly)
    out[rest] = np.minimum(out[rest], 0.0)
    return out


def _best_fit(own: np.ndarray, dose: np.ndarray, with_it: np.ndarray, without: np.ndarray, usual: float) -> np.ndarray:
    """Log likelihood of each column of doses against no shift, at the best of some sizes.

    `own` are the bad and the good answers of each cell, `with_it` and `without` those of all cells whose doses are 1 and 0.
    """
    found, p, log = np.zeros(dose.shape[1]), np.empty_like(dose), np.empty_like(dose)
    for size in SIZES * (1 - usual):  # in the same two arrays: they are as large as the doses
        np.multiply(size, dose, out=p)
        p += usual
        np.clip(p, LEAST, 1 - LEAST, out=p)
        fit = own[:, 0] @ np.log(np.divide(p, usual, out=log), out=log)
        np.log1p(np.negative(p, out=p), out=p)
        p -= np.log1p(-usual)
        fit += own[:, 1] @ p
        for level, (bad, good) in ((usual, without), (usual + size, with_it)):
            level = np.clip(level, LEAST, 1 - LEAST)
            fit += bad * np.log(level / usual) + good * (np.log1p(-level) - np.log1p(-usual))
        found = np.maximum(found, fit)
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
