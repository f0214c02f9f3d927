"""Which groups of answers could have been hit: all, one value of a column, or values of two columns together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

LEAST_SHARE, LEAST_ROWS, MOST_SLICES = 0.01, 10, 400


@dataclass(frozen=True)
class Slice:
    """Rows where every column of `where` has the value named; an empty `where` is all rows."""

    where: tuple[tuple[str, object], ...]

    @property
    def label(self) -> str:
        """The slice in words: ``support, returns``, or ``all answers``; a model without its provider's prefix."""
        words = (str(value).rsplit("/", 1)[-1] if column == "model" else str(value) for column, value in self.where)
        return ", ".join(words) or "all answers"

    def mask(self, frame: pd.DataFrame) -> np.ndarray:
        """True for the rows of `frame` that belong to the slice."""
        kept = np.ones(len(frame), bool)
        for column, value in self.where:
            kept &= (frame[column] == value).to_numpy(bool, na_value=False)
        return kept

    def to_dict(self) -> dict[str, object]:
        """Column -> value."""
        return dict(self.where)


ALL = Slice(())


def candidates(frame: pd.DataFrame, columns: tuple[str, ...], feature_id: str | None = None) -> list[Slice]:
    """The slices worth asking about, largest first, each group of rows once (under its shortest name).

    Left out: slices below 1 % of the rows or 10 rows, and slices without a row of the feature that alerted.

    >>> frame = pd.DataFrame({"feature_id": ["a", "a", "b", "b"] * 10, "category": ["x", "y", "x", "y"] * 10})
    >>> [s.label for s in candidates(frame, ("feature_id", "category"), "a")]
    ['all answers', 'a', 'x', 'y', 'a, x', 'a, y']
    """
    least = max(LEAST_ROWS, LEAST_SHARE * len(frame))
    of_feature = np.ones(len(frame), bool) if feature_id is None else (frame["feature_id"] == feature_id).to_numpy(bool)
    kept: dict[bytes, Slice] = {}
    for found in _named(frame, columns):
        mask = found.mask(frame)
        if mask.sum() >= least and (mask & of_feature).any():
            kept.setdefault(np.packbits(mask).tobytes(), found)
        if len(kept) >= MOST_SLICES:
            break
    return list(kept.values())


def _named(frame: pd.DataFrame, columns: tuple[str, ...]) -> Iterator[Slice]:
    yield ALL
    for column in columns:
        for value in (
            frame[column].dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable").index
        ):
            yield Slice(((column, value),))
    for pair in combinations(columns, 2):
        counts = frame.groupby(list(pair), observed=True).size().sort_values(ascending=False, kind="stable")
        for values in counts.index:
            yield Slice(tuple(zip(pair, values)))


def leaves(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, pd.DataFrame]:
    """Number of the finest group of each row, and one row of column values per group.

    >>> code, values = leaves(pd.DataFrame({"feature_id": ["b", "a", "b"]}), ("feature_id",))
    >>> code.tolist(), values["feature_id"].tolist()
    ([1, 0, 1], ['a', 'b'])
    """
    if not columns:
        return np.zeros(len(frame), int), pd.DataFrame(index=[0])
    grouped = frame.groupby(list(columns), dropna=False, observed=True, sort=True)
    return grouped.ngroup().to_numpy(), grouped.size().reset_index()[list(columns)]
