"""Two-sample statistics over vectors, and their joint permutation p-value. Arrays only; texts belong to `drift_test`.

Everything a statistic uses of the rows is label-blind (`Pool`), so that permuting the labels gives an exact test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse.csgraph import connected_components

NEAR = 20  # neighbours kept of every row
MOST_ROWS = 6_000  # rows that the statistics of neighbours use at most
BLOCK = 20_000  # rows of a product at a time
EQUAL = 2e-3  # distance of unit rows that are equal but for rounding
GROUP = 10  # columns that are looked at as one when the smallest values of a line are sought


class Known(NamedTuple):
    """Rows of which the nearest among themselves are known, as for a reference that is compared week after week.

    Attributes
    ----------
    near : ndarray of int (r, 21)
        The nearest other rows of each row, nearest first.
    unlike : ndarray (r, 21)
        Minus their inner products.
    places : ndarray of int (r,)
        Where each row is in the pool.
    """

    near: np.ndarray
    unlike: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class Pool:
    """Reference and current rows together, and what can be said of them without knowing which is which.

    Attributes
    ----------
    vectors : ndarray (N, d)
    kept : ndarray of int
        Rows that the neighbour statistics use, at most 6,000.
    seed : int
    known : Known, optional
        Neighbours that some of the rows have among themselves, by the angle as given; only where all rows are kept.
    """

    vectors: np.ndarray
    kept: np.ndarray
    seed: int = 0
    known: Known | None = None

    @cached_property
    def white(self) -> np.ndarray:
        """Rows after whitening with ridge 1, to unit length."""
        return _to_unit(_whiten(self.vectors, ridge=1.0, dimensions=self.vectors.shape[1]))

    @cached_property
    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """The nearest other kept rows of every kept row (positions within `kept`), and their distances."""
        return neighbours(self.white[self.kept], NEAR)

    @cached_property
    def near_as_given(self) -> tuple[np.ndarray, np.ndarray]:
        """The same by the angle between the rows as given, not whitened."""
        return neighbours(self.unit, NEAR) if self.known is None else _neighbours_beside(self.unit, NEAR, self.known)

    @cached_property
    def steps(self) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
        """Weights of a step from each kept row to its neighbours and itself; rows that are equal; scatter of two steps.

        Rows are neighbours where either is among the 20 nearest of the other; weights are even, whatever the number of
        neighbours. Equal rows (a line each, of unit length) count as one, their labels as the mean: which of them are
        among the nearest says nothing. The scatter is the standard deviation of what two steps bring together, of rows
        drawn at random.
        """
        (near, distance), count = self.near_as_given, len(self.kept)
        place = np.repeat(np.arange(count), near.shape[1])
        link = _table(place, near.ravel(), count)
        same = distance.ravel() <= EQUAL
        _, group = connected_components(_table(place[same], near.ravel()[same], count))
        link = (link + link.T + sparse.eye_array(count, dtype=np.float32, format="csr")).tocsr()
        link.data[:] = 1
        even = sparse.diags_array((1 / np.sqrt(link.sum(axis=1))).astype(np.float32))
        step = (even @ link @ even).tocsr()
        equal = _table(group, np.arange(count), count, (1 / np.sqrt(np.bincount(group)))[group])[: group.max() + 1]
        two = step @ step
        if equal.shape[0] < count:
            two = two @ equal.T
        mean = two @ equal.sum(axis=1) / count
        two.data *= two.data
        scatter = np.sqrt(np.maximum(two.sum(axis=1) - count * mean**2, 1e-9))
        return step, equal, scatter.astype(np.float32)

    @cached_property
    def clusters(self) -> np.ndarray:
        """The k-means cluster of every row, about 12 rows each, 8 to 200 clusters."""
        count = int(np.clip(len(self.vectors) / 12, 8, 200))
        return k_means(self.white, self.kept, min(count, len(self.kept)), self.seed)

    @cached_property
    def unit(self) -> np.ndarray:
        """Kept rows as given, to unit length."""
        return _to_unit(self.vectors[self.kept])


def _table(row: np.ndarray, column: np.ndarray, size: int, values: np.ndarray | float = 1.0) -> sparse.csr_array:
    values = np.broadcast_to(np.float32(values), len(row))
    return sparse.csr_array((values, (row, column)), shape=(size, size))


def neighbours(rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Nearest other rows of each of some unit rows, nearest first: positions and Euclidean distances."""
    positions, unlike = _nearest_others(rows, np.arange(len(rows)), min(most, len(rows) - 1))
    return positions, _apart(unlike)


def known_among(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`near` and `unlike` of `Known` for some vectors; None where they are too few for it."""
    if len(vectors) < NEAR + 2:
        return None
    return _nearest_others(_to_unit(vectors), np.arange(len(vectors)), NEAR + 1)


def _nearest_others(rows: np.ndarray, of: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other rows of the rows `of`, nearest first, and minus their inner products."""
    positions, values = np.empty((len(of), most), np.int32), np.empty((len(of), most), np.float32)
    for start in range(0, len(of), 1_000):
        part = slice(start, start + 1_000)
        positions[part], values[part] = _smallest(_unlike(rows, of[part]), most)
    return positions, values


def _unlike(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Minus the inner products of the rows `of` with all rows; infinite with itself."""
    first, last = (of[0], of[-1]) if len(of) else (0, -1)
    some = rows[first : last + 1] if last - first + 1 == len(of) else rows[of]
    unlike = some @ rows.T
    unlike[np.arange(len(of)), of] = -np.inf
    return np.negative(unlike, out=unlike)


def _smallest(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the smallest values of each line are, smallest first, and they themselves."""
    among = _columns_of_smallest(values, most)
    value = values if among is None else np.take_along_axis(values, among, axis=1)
    nearest = np.argpartition(value, most - 1, axis=1)[:, :most]
    value = np.take_along_axis(value, nearest, axis=1)
    order = np.argsort(value, axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    value = np.take_along_axis(value, order, axis=1)
    return nearest if among is None else np.take_along_axis(among, nearest, axis=1), value


def _columns_of_smallest(values: np.ndarray, most: int) -> np.ndarray | None:
    """Columns of each line among which its smallest values are: the groups of ten with the smallest least ones.

    A line's `most` smallest values lie in at most `most` groups, and these are the groups whose own least values are the
    smallest. None where the groups would be nearly all columns.
    """
    lines, count = values.shape
    groups = count // GROUP
    if groups < 2 * most:
        return None
    whole = groups * GROUP
    least = values[:, :whole].reshape(lines, GROUP, groups).min(axis=1)
    group = np.argpartition(least, most - 1, axis=1)[:, :most]
    inside = (group[:, :, None] + groups * np.arange(GROUP)).reshape(lines, -1)
    return np.hstack([inside, np.broadcast_to(np.arange(whole, count), (lines, count - whole))])


def _apart(unlike: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 + 2 * unlike, 0))


def _neighbours_beside(rows: np.ndarray, most: int, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """`neighbours`, where those of some rows among themselves are known: only the others' inner products are reckoned.

    Which of several rows at the same distance counts as a neighbour must not depend on which rows are known, or the labels
    would show: a known row that has equals among its nearest is looked at anew, beside all rows.
    """
    others = np.setdiff1d(np.arange(len(rows)), known.places, assume_unique=True)
    beside = _unlike(rows, others)
    positions, values = np.empty((len(rows), most), np.int32), np.empty((len(rows), most), np.float32)
    positions[others], values[others] = _smallest(beside, most)
    own = np.hstack([known.unlike, beside[:, known.places].T])
    place, value = _smallest(own, most + 1)
    mine = np.hstack([known.places[known.near], np.broadcast_to(others, (len(own), len(others)))])
    positions[known.places], values[known.places] = np.take_along_axis(mine, place[:, :-1], axis=1), value[:, :-1]
    equals = (np.diff(value, axis=1) <= 0).any(axis=1) | (known.unlike[:, most - 1] >= known.unlike[:, most])
    anew = np.sort(known.places[equals])
    positions[anew], values[anew] = _nearest_others(rows, anew, most)
    return positions, _apart(values)


def k_means(
    rows: np.ndarray, kept: np.ndarray, count: int, seed: int, rounds: int = 5, spread: bool = False
) -> np.ndarray:
    """Cluster of every unit row; centres start at random rows and are fitted on the kept rows only.

    With `spread` the centres start far from each other (k-means++; Arthur, Vassilvitskii 2007): slower, and better for
    few clusters.
    """
    sample, rng = rows[kept], np.random.default_rng(seed)
    centres = _far_apart(sample, count, rng) if spread else sample[rng.permutation(len(sample))[:count]]
    for _ in range(rounds):
        nearest = _nearest(sample, centres)
        size = np.bincount(nearest, minlength=count)
        rows_of = np.argsort(nearest, kind="stable"), np.r_[0, np.cumsum(size)]
        total = sparse.csr_array((np.ones(len(sample), np.float32), *rows_of), shape=(count, len(sample))) @ sample
        filled = size > 0
        centres = np.where(filled[:, None], _to_unit(total), centres)
    return _nearest(rows, centres)


def _far_apart(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = [int(rng.integers(len(rows)))]
    apart = np.full(len(rows), np.inf)
    while len(chosen) < count:
        apart = np.minimum(apart, np.maximum(2 - 2 * (rows @ rows[chosen[-1]]).astype(np.float64), 0))
        total = apart.sum()
        chosen.append(int(rng.choice(len(rows), p=apart / total) if total > 0 else rng.integers(len(rows))))
    return rows[chosen]


def _nearest(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.concatenate([(rows[i : i + BLOCK] @ centres.T).argmax(axis=1) for i in range(0, len(rows), BLOCK)])


def _to_unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


def _whiten(rows: np.ndarray, ridge: float, dimensions: int) -> np.ndarray:
    """Centred rows whose inner products are those of whitened ones; a ridge of `ridge` times the mean variance.

    Fewer rows than numbers in a row are turned into their own span first, which no inner product sees either;
    `dimensions` are those of the vectors as given.
    """
    rows = _centred(rows)
    if len(rows) < rows.shape[1]:
        rows = np.asarray(np.linalg.qr(rows.T, mode="r")).T.copy()
    return rows @ _whitening(rows, ridge, dimensions)


def _centred(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)


def _whitening(rows: np.ndarray, ridge: float, dimensions: int) -> np.ndarray:
    """What centred rows are to be multiplied by; all zero where they are all alike.

    By the Cholesky factor of the covariance: it differs from the eigenvectors' way by a rotation alone, which no
    statistic here sees, and costs a fraction of it.
    """
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for i in range(0, len(rows), BLOCK):
        part = rows[i : i + BLOCK]
        covariance += part.T @ part
    covariance /= len(rows)
    spread = np.trace(covariance) / dimensions
    if not spread > 0:
        return np.zeros_like(covariance, np.float32)
    root = np.linalg.cholesky(covariance + ridge * spread * np.eye(len(covariance)))
    return lapack.dtrtri(root, lower=1)[0].T.astype(np.float32)


def _sums(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of the values over the rows labelled 1, for every labelling."""
    total = np.zeros((len(labels), *values.shape[1:]), np.float64)
    for i in range(0, len(values), BLOCK):
        total += labels[:, i : i + BLOCK].astype(np.float32) @ values[i : i + BLOCK]
    return total


# The six statistics of the panel. Each: pool, labels (labellings x rows, 1 = current) -> one number a labelling.


def mean_move(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """How far the mean of the current rows lies from the mean of all, whitened with a ridge of 1."""
    return (_sums(labels, _centred(pool.white)) ** 2).sum(axis=1)


def lonely(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Current rows far from their third neighbour: what lies over one standard deviation above the mean counts."""
    distance = pool.near_as_given[1]
    third = distance[:, min(2, distance.shape[1] - 1)]
    scaled = (third - third.mean()) / (third.std() or 1.0)
    return _sums(labels[:, pool.kept], np.maximum(scaled - 1, 0))


def off_reference(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Current rows whose nearest reference-labelled neighbour is far away, the rarest distances counted most.

    A distance scores minus the logarithm of the share of distances at least as large; the j-th neighbour is the first
    of the reference in a share (1 - q) q^j of labellings, q = current rows / all rows, and so much its distance weighs.
    """
    near, distance = pool.near_as_given
    current = labels[0, pool.kept].mean()
    weight = np.broadcast_to((1 - current) * current ** np.arange(near.shape[1]), near.shape)
    score = -np.log(_share_at_least(distance, weight))
    out = np.zeros(len(labels))
    for start, part in _some_at_a_time(labels, pool.kept):
        b, row = np.divmod(np.flatnonzero(part), part.shape[1])
        for place in range(near.shape[1]):
            is_current = part.ravel().take(b * part.shape[1] + near[row, place]) == 1
            if place == near.shape[1] - 1:
                is_current[:] = False
            out[start : start + len(part)] += np.bincount(b[~is_current], score[row[~is_current], place], len(part))
            b, row = b[is_current], row[is_current]
    return out


def _some_at_a_time(labels: np.ndarray, kept: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The labels of the kept rows, as many labellings at a time as memory is glad of, and the number of the first."""
    step = max(4_000_000 // max(len(kept), 1), 1)
    for start in range(0, len(labels), step):
        yield start, np.ascontiguousarray(labels[start : start + step, kept])


def _share_at_least(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted share of the values that are at least each of them; equal values are alike."""
    flat = -values.ravel()
    order = np.argsort(flat)  # equal values in any order: they get one share
    total, ordered = np.cumsum(weights.ravel()[order]), flat[order]
    last_of_ties = np.searchsorted(ordered, ordered, side="right") - 1
    share = np.empty(len(flat))
    share[order] = total[last_of_ties] / total[-1]
    return np.maximum(share, 0.5 / len(values)).reshape(values.shape)


def clump(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Current rows among the 20 nearest neighbours of current rows, beyond chance, squared: dense groups count most."""
    near = pool.near_as_given[0]
    share = labels[0, pool.kept].mean()
    usual = near.shape[1] * share + 1.5 * np.sqrt(near.shape[1] * share * (1 - share))
    score = np.maximum(np.arange(near.shape[1] + 1) - usual, 0) ** 2
    out = np.zeros(len(labels))
    for start, part in _some_at_a_time(labels, pool.kept):
        by_row = part.T.copy()
        count = np.zeros_like(by_row)
        for place in range(near.shape[1]):
            count += by_row[near[:, place]]
        out[start : start + len(part)] = (score[count] * by_row).sum(axis=0)
    return out


def topic_growth(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Current rows two steps from a current row or nearer: what is over two standard deviations beyond chance, squared.

    Steps lead from a row to its nearest neighbours, so that two gather rows of one topic, near or next to near.
    """
    step, equal, scatter = pool.steps
    out = np.zeros(len(labels))
    for start, part in _some_at_a_time(labels, pool.kept):
        label = part.T.astype(np.float32)
        share = label.mean(axis=0)
        score = label - share
        if equal.shape[0] < len(score):
            score = equal.T @ (equal @ score)
        score = step @ (step @ score)
        score /= scatter[:, None]
        score /= np.sqrt(np.maximum(share * (1 - share), 1e-9))
        score = np.maximum(score - 2, 0) ** 2
        out[start : start + len(part)] = np.einsum("rb,rb->b", score, label, dtype=np.float64)
    return out


def cluster_growth(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """The largest growth of a cluster, as a normal score; nothing where neighbours of all rows say more."""
    return cluster_scores(pool, labels).max(axis=1) if len(pool.kept) < len(pool.vectors) else np.zeros(len(labels))


def cluster_scores(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Normal score of the current rows in every cluster against their share of all rows (labellings x clusters)."""
    count = len(pool.vectors)
    size = np.bincount(pool.clusters)
    inside = np.empty((len(labels), len(size)))
    for start, part in _some_at_a_time(labels, np.arange(count)):
        b, row = np.divmod(np.flatnonzero(part), count)
        found = np.bincount(b * len(size) + pool.clusters[row], minlength=len(part) * len(size))
        inside[start : start + len(part)] = found.reshape(len(part), -1)
    current = labels.sum(axis=1, dtype=np.float64)[:, None]
    spread = size * current * (count - current) / count**2
    return (inside - size * current / count) / np.sqrt(np.maximum(spread, 0.5))


# Single tests with a name.


def mmd(scale: float) -> Callable[[Pool, np.ndarray], np.ndarray]:
    """Maximum mean discrepancy with a Gaussian kernel, by 256 random Fourier features (Rahimi, Recht 2007)."""

    def statistic(pool: Pool, labels: np.ndarray) -> np.ndarray:
        rows, rng = pool.vectors, np.random.default_rng(pool.seed)
        some = rows[rng.permutation(len(rows))[:500]].astype(np.float64)
        square = (some**2).sum(axis=1)
        apart = (square[:, None] + square - 2 * some @ some.T)[np.triu_indices(len(some), 1)]
        median = float(np.median(apart)) or 1.0
        turn = rng.normal(0, np.sqrt(2 / (scale * median)), (rows.shape[1], 256)).astype(np.float32)
        total = np.zeros((len(labels), 512))
        mean = np.zeros(512)
        for i in range(0, len(rows), BLOCK):
            angle = rows[i : i + BLOCK] @ turn
            wave = np.hstack([np.cos(angle), np.sin(angle)])
            mean += wave.sum(axis=0)
            total += labels[:, i : i + BLOCK].astype(np.float32) @ wave
        current = labels.sum(axis=1, dtype=np.float64)[:, None]
        return ((total - current * mean / len(rows)) ** 2).sum(axis=1)

    return statistic


def energy(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Energy distance (Szekely, Rizzo 2004) over the kept rows."""
    rows = pool.vectors[pool.kept]
    square = (rows**2).sum(axis=1)
    label = labels[:, pool.kept].astype(np.float32)
    current, other = label.sum(axis=1, dtype=np.float64), (1 - label).sum(axis=1, dtype=np.float64)
    weight = (label / current[:, None] - (1 - label) / other[:, None]).astype(np.float32)
    out = np.zeros(len(label))
    for i in range(0, len(rows), 1_000):
        apart = np.sqrt(np.maximum(square[i : i + 1_000, None] + square - 2 * rows[i : i + 1_000] @ rows.T, 0))
        out -= ((weight @ apart.T) * weight[:, i : i + 1_000]).sum(axis=1)
    return out


def same_label(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Rows among the five nearest neighbours that bear the same label (Schilling 1986; Henze 1988)."""
    near = pool.near_as_given[0][:, :5]
    return np.array([(label[near] == label[:, None]).sum() for label in labels[:, pool.kept]], float)


def classifier(pool: Pool, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of a cross-fitted ridge classifier, fitted anew for every labelling."""
    from scipy.stats import rankdata

    rows = np.hstack([pool.white[pool.kept], np.ones((len(pool.kept), 1), np.float32)])
    label = labels[:, pool.kept].astype(np.float32)
    fold = np.random.default_rng(pool.seed).permutation(len(rows)) % 5
    score = np.empty_like(label)
    for k in range(5):
        train = rows[fold != k]
        grip = train.T @ train + 0.1 * np.eye(rows.shape[1], dtype=np.float32) * len(train) / rows.shape[1]
        weight = np.linalg.solve(grip, train.T @ label[:, fold != k].T)
        score[:, fold == k] = (rows[fold == k] @ weight).T
    rank = rankdata(score, axis=1)
    current = label.sum(axis=1, dtype=np.float64)
    return ((rank * label).sum(axis=1) - current * (current + 1) / 2) / (current * (label.shape[1] - current))


def squares(p: np.ndarray) -> np.ndarray:
    """Sum of the squared logarithms of the single p-values (statistics x labellings).

    Between Fisher's sum, which one silent statistic after the other waters down, and the smallest p alone.
    """
    return (np.log(p) ** 2).sum(axis=0)


def smallest(p: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the smallest single p-value."""
    return (-np.log(p)).max(axis=0)


class Method(NamedTuple):
    """Statistics by name, and how their p-values become one number, large where the rows differ."""

    statistics: dict[str, Callable[[Pool, np.ndarray], np.ndarray]]
    join: Callable[[np.ndarray], np.ndarray]


METHODS = {
    "panel": Method(
        {
            "mean": mean_move,
            "lonely": lonely,
            "off reference": off_reference,
            "clump": clump,
            "topic growth": topic_growth,
            "cluster growth": cluster_growth,
        },
        squares,
    ),
    "mmd": Method({f"mmd {scale:g}": mmd(scale) for scale in (0.25, 0.5, 1.0)}, smallest),
    "energy": Method({"energy": energy}, smallest),
    "knn": Method({"knn": same_label}, smallest),
    "c2st": Method({"c2st": classifier}, smallest),
}


@dataclass(frozen=True)
class Permuted:
    """The statistics of the observed labelling and of the random ones, and the joint p-value.

    Attributes
    ----------
    values : ndarray (statistics, 1 + permutations)
        Column 0 is the observed labelling.
    p_values : ndarray (statistics,)
        p of every statistic alone.
    joint : ndarray (1 + permutations,)
        The joined number of every labelling.
    p_value : float
        Share of the labellings whose joined number is at least the observed one, the observed one counted; never
        below 1 / (1 + permutations).
    """

    method: Method
    values: np.ndarray
    joint: np.ndarray = field(init=False)
    p_values: np.ndarray = field(init=False)
    p_value: float = field(init=False)

    def __post_init__(self):
        p = np.array([at_least(row, row) for row in self.values])
        joint = np.round(self.method.join(p), 9)
        for name, value in (("joint", joint), ("p_values", p[:, 0]), ("p_value", float(at_least(joint, joint)[0]))):
            object.__setattr__(self, name, value)

    def p_of(self, values: np.ndarray) -> np.ndarray:
        """Joint p of further labellings, from their statistics, against the same random labellings."""
        p = np.array([at_least(row[1:], new, itself=1) for row, new in zip(self.values, values, strict=True)])
        return at_least(self.joint[1:], np.round(self.method.join(p), 9), itself=1)


def permute(pool: Pool, labels: np.ndarray, method: Method) -> Permuted:
    """Compute every statistic of a method for the observed labelling (row 0) and the random ones."""
    return Permuted(method, np.array([statistic(pool, labels) for statistic in method.statistics.values()]))


def at_least(among: np.ndarray, values: np.ndarray, itself: int = 0) -> np.ndarray:
    """Share of `among` that is at least each value; `itself` = 1 counts the value as one more of them.

    >>> at_least(np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 5.0]))
    array([0.75, 0.25])
    """
    slack = 1e-9 * (1 + np.abs(values))
    ordered = np.sort(among)
    return (len(ordered) - np.searchsorted(ordered, values - slack, side="left") + itself) / (len(ordered) + itself)


def labellings(current: np.ndarray, blocks: np.ndarray, strata: np.ndarray, permutations: int, seed: int) -> np.ndarray:
    """The observed labels and `permutations` random ones, blocks moved as wholes and within their stratum only.

    Parameters
    ----------
    current : ndarray of bool (N,)
    blocks : ndarray of int (N,)
        Rows of one session share a number 0, 1, ...
    strata : ndarray of int (N,)
        Rows of one block share their stratum.

    Returns
    -------
    ndarray of uint8 (1 + permutations, N)
        1 = current; row 0 is the observed labelling.
    """
    rng = np.random.default_rng(seed)
    _, first = np.unique(blocks, return_index=True)
    label = current[first].astype(np.uint8)
    table = np.empty((permutations + 1, len(label)), np.uint8)
    table[0] = label
    for stratum in np.unique(strata[first]):
        inside = np.flatnonzero(strata[first] == stratum)
        table[1:, inside] = rng.permuted(np.tile(label[inside], (permutations, 1)), axis=1)
    return table if len(first) == len(blocks) and (np.diff(blocks) > 0).all() else table[:, blocks]
