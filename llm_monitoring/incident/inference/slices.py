"""Which groups of answers could have been hit: all, one value of a column, or values of two columns together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import pandas as pd

LEAST_SHARE, LEAST_ROWS, MOST_SLICES = 0.01, 10, 400
#: Names that the stages use for columns of their own: a column of the log that is called so is kept under another name.
TAKEN = frozenset(
    [
        "day",
        "dose",
        "exposure",
        "first",
        "harm",
        "inside",
        "judge_model",
        "leaf",
        "mean",
        "model",
        "n",
        "position",
        "row",
        "rubric_version",
        "scale",
        "session",
        "size",
        "span",
        "square",
        "squares",
        "sum",
        "value",
        "variance",
        "version",
        "weight",
        "y",
    ]
)
PREFIX = "__lm_own_"
LAST = "__lm_last"  # of requests that are counted together: the time of the last; `timestamp` is that of the first


def inside(column: str) -> str:
    """The name under which the stages keep a column of the log.

    >>> inside("value"), outside(inside("value")), inside("category")
    ('__lm_own_value', 'value', 'category')
    """
    return PREFIX + column if column in TAKEN else column


def outside(column: str) -> str:
    """The name that a column has in the log."""
    return column.removeprefix(PREFIX)


@dataclass(frozen=True)
class Band:
    """Numbers from `low` on and below `high`; None is open.

    >>> Band(1000.0, None).words, Band(None, 20.0).to_dict()
    ('1,000 or more', {'from': None, 'to': 20.0})
    """

    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """The band as people say it."""
        if self.low is None:
            return f"below {self.high:,.6g}"
        return f"{self.low:,.6g} or more" if self.high is None else f"{self.low:,.6g} to {self.high:,.6g}"

    def mask(self, column: pd.Series) -> np.ndarray:
        """True where a number lies in the band."""
        x = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
        above = np.isfinite(x) if self.low is None else x >= self.low
        return above if self.high is None else above & (x < self.high)

    def to_dict(self) -> dict[str, float | None]:
        """From and to."""
        return {"from": self.low, "to": self.high}


def _read(value: object) -> object:
    """The value of a `where` as slices keep it."""
    if isinstance(value, Mapping):
        return Band(value.get("from"), value.get("to"))
    return tuple(value) if isinstance(value, list) else value


def _written(value: object) -> object:
    if isinstance(value, Band):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _said(column: str, value: object) -> str:
    """A value in words: a number and a yes or no with the name of its column."""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{outside(column)} {value}" if isinstance(value, bool | int | float | np.number | np.bool_) else str(value)


@dataclass(frozen=True)
class Slice:
    """Rows where every column of `where` has the value named, one of a tuple, or lies in a `Band`; an empty `where` is all rows."""

    where: tuple[tuple[str, object], ...]

    @classmethod
    def of(cls, where: Mapping[str, object]) -> Slice:
        """The slice of a `where` as results hold it: a value, or a list of values, for each column."""
        named = {column if column == "model" else inside(column): value for column, value in where.items()}
        return cls(tuple((column, _read(value)) for column, value in named.items()))

    @property
    def label(self) -> str:
        """The slice in words: ``support, returns``, or ``all answers``; a model without its provider's prefix."""
        named = ((column, value if isinstance(value, tuple) else (value,)) for column, value in self.where)
        words = [
            f"{outside(column)} {vs[0].words}"
            if isinstance(vs[0], Band)
            else " or ".join(str(v).rsplit("/", 1)[-1] if column == "model" else _said(column, v) for v in vs)
            for column, vs in named
        ]
        return ", ".join(words) or "all answers"

    def mask(self, frame: pd.DataFrame) -> np.ndarray:
        """True for the rows of `frame` that belong to the slice."""
        kept = np.ones(len(frame), bool)
        for column, value in self.where:
            if isinstance(value, Band):
                kept &= value.mask(frame[column])
                continue
            kept &= frame[column].isin(list(value) if isinstance(value, tuple) else [value]).to_numpy(bool)
        return kept

    def to_dict(self) -> dict[str, object]:
        """Column -> value, or list of values."""
        return {outside(column): _written(value) for column, value in self.where}


ALL = Slice(())


def feature_slice(feature_id: str | None) -> Slice:
    """The answers of one feature, or all."""
    return ALL if feature_id is None else Slice((("feature_id", feature_id),))


def candidates(
    frame: pd.DataFrame, columns: tuple[str, ...], feature_id: str | None = None, declared: Iterable[Slice] = ()
) -> list[Slice]:
    """The slices worth asking about, largest first, each group of rows once (under its shortest name).

    `declared` are the scopes that recorded changes name: several values of a column may be one of those.

    Left out: slices below 1 % of the rows or 10 rows, and slices without a row of the feature that alerted.

    >>> frame = pd.DataFrame({"feature_id": ["a", "a", "b", "b"] * 10, "category": ["x", "y", "x", "y"] * 10})
    >>> [s.label for s in candidates(frame, ("feature_id", "category"), "a")]
    ['all answers', 'a', 'x', 'y', 'a, x', 'a, y']
    """
    code, values = leaves(frame, columns)
    rows = np.bincount(code, minlength=len(values))
    of_feature = rows if feature_id is None else np.bincount(code, frame["feature_id"] == feature_id, len(values))
    least = max(LEAST_ROWS, LEAST_SHARE * len(frame))
    several = [found for found in declared if any(isinstance(value, tuple) for _, value in found.where)]
    kept: dict[bytes, Slice] = {}
    for found in chain([ALL], several, _named(values.assign(n=rows), columns)):
        mask = found.mask(values)
        if rows[mask].sum() >= least and of_feature[mask].any():
            kept.setdefault(np.packbits(mask).tobytes(), found)
        if len(kept) >= MOST_SLICES:
            break
    return list(kept.values())


def _named(leaf: pd.DataFrame, columns: tuple[str, ...]) -> Iterator[Slice]:
    """Values of a column, then of two together, those of most rows first; `leaf` has the finest groups with their rows `n`."""
    for column in columns:
        for value in leaf.groupby(column)["n"].sum().sort_values(ascending=False, kind="stable").index:
            yield Slice(((column, value),))
    for pair in combinations(columns, 2):
        for values in leaf.groupby(list(pair))["n"].sum().sort_values(ascending=False, kind="stable").index:
            yield Slice(tuple(zip(pair, values)))


def leaves(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, pd.DataFrame]:
    """Number of the finest group of each row, and one row of column values per group.

    >>> code, values = leaves(pd.DataFrame({"feature_id": ["b", "a", "b"]}), ("feature_id",))
    >>> code.tolist(), values["feature_id"].tolist()
    ([1, 0, 1], ['a', 'b'])
    """
    if not columns:
        return np.zeros(len(frame), int), pd.DataFrame(index=[0])
    code = np.zeros(len(frame), np.int64)
    for column in columns:  # a number for each row, in the order of the values; unknown ones last
        own, values = pd.factorize(frame[column], sort=True)
        code = code * (len(values) + 1) + np.where(own < 0, len(values), own)
    leaf, codes = pd.factorize(code, sort=True)
    first = np.empty(len(codes), int)
    first[leaf[::-1]] = np.arange(len(frame))[::-1]  # of several the last that is written stays
    groups = {name: frame[name].iloc[first].reset_index(drop=True) for name in columns}
    return leaf, pd.DataFrame({name: _plain(column) for name, column in groups.items()})


def _plain(column: pd.Series) -> pd.Series:
    """A column of categories as its values."""
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def counts(rows: pd.DataFrame) -> np.ndarray:
    """How many requests each row stands for: `n` of cells that are counted, else one.

    >>> counts(pd.DataFrame({"n": [3, 4]})).tolist(), counts(pd.DataFrame({"model": ["a", "b"]})).tolist()
    ([3, 4], [1, 1])
    """
    return rows["n"].to_numpy() if "n" in rows else np.ones(len(rows), int)


def last_time(rows: pd.DataFrame) -> pd.Timestamp:
    """The time of the last request of rows or cells; NaT of none."""
    return rows.get(LAST, rows["timestamp"]).max()
