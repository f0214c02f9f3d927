"""Groups of like questions at every scale, and how far the current ones in each are from what is due. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from llm_monitoring.drift.two_sample import EQUAL

FEWEST = 4  # rows of a group at least
LARGEST = 0.6  # share of all rows in a group at most
BLOCK = 500  # rows of a product at a time


@dataclass(frozen=True)
class Groups:
    """Branches of a tree that joins the most alike rows first [1]_, each a run of the ordered rows.

    Attributes
    ----------
    order : ndarray of int (N,)
        The rows, those of a branch side by side.
    first, after : ndarray of int
        Where each branch begins in `order`, and where it is over.

    References
    ----------
    .. [1] Ward, Hierarchical grouping to optimize an objective function, JASA 58, 1963.
    """

    order: np.ndarray
    first: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Groups:
        """The branches of some unit rows that are neither tiny, nor most of the rows, nor only some of equal rows."""
        from scipy.cluster.hierarchy import leaves_list, linkage  # takes as long to import as the rest of the package

        tree, count = linkage(_distances(rows), "ward"), len(rows)
        order = leaves_list(tree)
        first, after = np.empty(2 * count - 1, int), np.empty(2 * count - 1, int)
        first[order], after[order] = np.arange(count), np.arange(1, count + 1)
        joined = tree[:, :2].astype(int)
        for branch, (one, other) in enumerate(joined, start=count):
            first[branch], after[branch] = min(first[one], first[other]), max(after[one], after[other])
        wider = np.full(2 * count - 1, np.inf)  # how unlike the rows are of the branch that holds this one
        wider[joined] = tree[:, 2:3]
        size = after - first
        some = (size >= FEWEST) & (size <= LARGEST * count) & (wider > EQUAL)
        return cls(order, first[some], after[some])

    def members(self) -> list[np.ndarray]:
        """The rows of each group."""
        return [self.order[first:after] for first, after in zip(self.first, self.after, strict=True)]

    def inside(self, labels: np.ndarray) -> np.ndarray:
        """Rows labelled 1 in each group, for every labelling (labellings x groups)."""
        total = np.zeros((len(labels), len(self.order) + 1), np.int32)
        np.cumsum(labels[:, self.order], axis=1, out=total[:, 1:])
        return total[:, self.after] - total[:, self.first]


def _distances(rows: np.ndarray) -> np.ndarray:
    """Distances of all pairs of unit rows, as `linkage` reads them."""
    out, start = np.empty(len(rows) * (len(rows) - 1) // 2), 0
    for i in range(0, len(rows), BLOCK):
        product = rows[i : i + BLOCK] @ rows[i:].T
        for k, line in enumerate(product, start=1):
            out[start : start + len(line) - k] = line[k:]
            start += len(line) - k
    return np.sqrt(np.maximum(2 - 2 * out, 0))


def surprise(inside: np.ndarray, size: np.ndarray, current: float, count: float) -> np.ndarray:
    """How far the current rows of a group are from what its size makes due: the signed root of the deviance [1]_.

    Below 0 where they are fewer.

    References
    ----------
    .. [1] Kulldorff, A spatial scan statistic, Communications in Statistics 26, 1997.

    >>> surprise(np.array([10, 2, 0]), np.array([20, 20, 20]), 10, 100).round(1)
    array([ 6.1,  0. , -2.2])
    """
    if not 0 < current < count:
        return np.zeros(np.shape(inside))
    usual = current / count
    share, rest = inside / np.maximum(size, 1), (current - inside) / np.maximum(count - size, 1)
    apart = size * _apart(share, usual) + (count - size) * _apart(rest, usual)
    return np.sign(share - usual) * np.sqrt(2 * np.maximum(apart, 0))


def _apart(share: np.ndarray, usual: float) -> np.ndarray:
    return xlogy(share, share / usual) + xlogy(1 - share, (1 - share) / (1 - usual))
