"""What the alert's metric says of each single answer: one row an answer, with the columns that it can be sliced by.

The stages compare these rows; the windows of `metrics` are for charts. A row whose value is unknown is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.incident.inference.cells import (
    ENDS,
    LAST_ROWS,
    MOST_OF_FIRST,
    MOST_VALUES,
    NOT_SLICED,
    OF_CELLS,
    OF_MODEL,
    PLAIN,
    Requests,
    requests_of,
)
from llm_monitoring.incident.inference.slices import PREFIX, Slice, counts, inside, leaves, outside
from llm_monitoring.intervals import Interval, mean_t, newcombe, quantile, welch, wilson, worth
from llm_monitoring.keeping import once

if TYPE_CHECKING:
    from llm_monitoring.log import Log

MOST_COLUMNS = 5  # by which answers are sliced


@dataclass(frozen=True)
class Observations:
    """Rows of one metric: `frame` with request_id, timestamp, value, the slice columns and `model` (the lineage).

    Where the log has them, `frame` also holds the version columns (`traces.VERSIONS`) and, for judged metrics, `weight`:
    one over the probability with which the answer was picked to be judged.

    Attributes
    ----------
    frame : DataFrame
        Sorted by timestamp and request_id.
    requests : DataFrame
        All requests with the same slice columns, judged or not: the mix is read from these. Cells, each of which stands for
        `n` requests of a day (`cells`), or single requests.
    source : Requests or None
        The requests where they are, for what the cells do not say.
    columns : tuple of str
        Names of the slice columns.
    further : tuple of str
        Columns of few values beyond those; `frame` has them too.
    scale : str
        share (0 or 1), score (1 to 5) or log (positive, skewed).
    sign : int
        +1 where a rise of the value is the harm that the alert speaks of, -1 where a fall is.
    step : float
        How much of the measure is worth one point of a score from 1 to 5: the sizes that are looked for are in points.
    names : tuple of str
        The columns of the log's requests, those that were left out too; empty where all of them are there.
    kept : dict
        What `keeping.once` found of these rows.
    """

    frame: pd.DataFrame
    requests: pd.DataFrame
    columns: tuple[str, ...]
    scale: str
    sign: int
    alert: Alert
    step: float = 1.0
    names: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    source: Requests | None = None
    kept: dict[tuple, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def asked(self, *times: pd.Timestamp | None) -> pd.DataFrame:
        """The requests, in cells that lie wholly before or since each of some times."""
        if self.source is None:
            return self.requests
        return self.source.parted(self.requests, [at for at in times if at is not None])

    def before(self, at: pd.Timestamp) -> Observations:
        """The answers and requests from before a moment."""
        frame, requests = (part[part["timestamp"] < at] for part in (self.frame, self.asked(at)))
        return replace(self, frame=frame, requests=requests)

    def mask(self, group: Slice) -> np.ndarray:
        """True for the answers of a slice; read off the finest groups where it is one of theirs."""
        if all(column in self.columns for column, _ in group.where):
            leaf, values = leaves_of(self)
            return group.mask(values)[leaf]
        return group.mask(self.frame)

    def model_values(self) -> np.ndarray:
        """The values on the scale on which effects add up.

        Latency, cost and tokens: the logarithm, drawn in to three robust standard deviations around the median, so that
        one request that waited for two hours does not carry the evidence.
        """
        value = self.frame["value"].to_numpy(float)
        if self.scale != "log":
            return value / self.step
        log = np.log(np.maximum(value, 1e-12))
        middle = np.median(log)
        reach = 3 * 1.4826 * np.median(np.abs(log - middle))
        return np.clip(log, middle - reach, middle + reach) if reach > 0 else log

    def level(self, rows) -> Interval:
        """Level of some rows with its 95 % interval: share (Wilson), mean (t) or quantile (order statistics).

        `rows` are rows of `frame`, weighted where it is, or bare values.
        """
        x, weight = _values_and_weights(rows)
        if self.scale == "share":
            k, n = _counted(x, weight)
            low, high = wilson(k, n)
            return Interval(k / n if n else np.nan, float(low), float(high))
        if self.alert.measure.quantile is not None:
            return quantile(x, self.alert.measure.quantile)
        return mean_t(x, weights=weight)

    def change(self, before, after) -> Interval:
        """Level of `after` minus level of `before`, with its 95 % interval."""
        (a, weight_a), (b, weight_b) = _values_and_weights(before), _values_and_weights(after)
        if self.scale == "share":
            return newcombe(*_counted(a, weight_a), *_counted(b, weight_b))
        if self.alert.measure.quantile is None:
            return welch(a, b, weights=(weight_a, weight_b))
        base, now = self.level(a), self.level(b)
        change = now.estimate - base.estimate
        low = change - np.hypot(now.estimate - now.low, base.high - base.estimate)
        return Interval(change, low, change + np.hypot(now.high - now.estimate, base.estimate - base.low))


@once
def leaves_of(seen: Observations) -> tuple[np.ndarray, pd.DataFrame]:
    """The finest group of each answer by the slice columns, and the column values of each group."""
    return leaves(seen.frame, seen.columns)


def weighted_mean(value: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """A mean and its variance."""
    mean = float(np.average(value, weights=weight))
    return mean, float((weight**2 @ (value - mean) ** 2) / weight.sum() ** 2)


def weights_of(frame: pd.DataFrame) -> np.ndarray:
    """How many answers each row stands for; one where all were as likely to be judged."""
    return frame["weight"].to_numpy(float) if "weight" in frame else np.ones(len(frame))


def _values_and_weights(rows) -> tuple[np.ndarray, np.ndarray | None]:
    if not isinstance(rows, pd.DataFrame):
        return np.asarray(rows, float), None
    weight = rows["weight"].to_numpy(float) if "weight" in rows else None
    return rows["value"].to_numpy(float), weight


def _counted(x: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """How many of how many rows are 1; with weights of as many rows as they are worth."""
    if weight is None or not len(x):
        return float(x.sum()), float(len(x))
    n = worth(weight)
    return float(np.average(x, weights=weight)) * n, n


def observe(log: Log, alert: Alert, within: Slice | None = None) -> Observations | None:
    """The rows behind an alert's metric, or None where no single answer has it (request volume, query drift).

    Judged metrics take the request's timestamp, so that the onset is when the answer was given, not when it was read.
    Of a metric of the requests themselves no more than the rows `within` a slice are loaded.
    """
    source, columns, further = _sliced(log)
    there = log.table("requests").columns
    part = Slice(()) if within is None or alert.measure.of != "requests" or alert.measure.kind == "mean" else within
    part = Slice(tuple((column, value) for column, value in part.where if outside(column) in (*there, "model")))
    named = {column: value for column, value in part.where if column in PLAIN and isinstance(value, str)}
    narrower = [column for column, _ in within.where] if within is not None else []
    wanted = ["session_id", "feature_id", *columns, *further, *OF_MODEL, *narrower]
    wanted = [name for name in dict.fromkeys(map(outside, wanted)) if name in there]
    frame = answers.values(log, alert.measure, log.measures, named, {inside(name): name for name in wanted})
    if frame is None:
        return None
    if "weight" in frame and (frame["weight"] == 1).all():
        frame = frame.drop(columns="weight")
    frame = _in_codes(frame, [inside(name) for name in wanted if name != "session_id"])
    frame = frame.assign(model=frame["model_id"].map(source.family), **_named_values(frame, source))
    frame = _in_codes(frame, ["model"])
    kept = part.mask(frame) & np.isfinite(frame["value"].to_numpy())
    frame = frame if kept.all() else frame[kept].reset_index(drop=True)
    scale = {"proportion": "share", "positive": "log"}.get(alert.measure.kind, "score")
    step = _step(frame) if scale == "score" else 1.0
    frame = frame.drop(columns="scale", errors="ignore")
    names = (*map(inside, there), "model")
    sign = 1 if alert.direction == "up" else -1
    return Observations(frame, source.cells, columns, scale, sign, alert, step, names, further, source)


def _in_codes(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The frame with texts of few values as categories, in the order of the values: a byte for each row, not the text."""
    for name in names:
        if pd.api.types.is_string_dtype(frame[name]):
            frame[name] = frame[name].astype("category")
    return frame


def _named_values(frame: pd.DataFrame, source: Requests) -> dict[str, pd.Series]:
    """Of long columns the values that recorded changes name."""
    return {
        name: frame[outside(name)].where(frame[outside(name)].isin(source.cells[name].dropna().unique()))
        for name in source.named
        if name.startswith(PREFIX)
    }


def _step(frame: pd.DataFrame) -> float:
    """A quarter of the judge's scale; where no scale is known, the values' spread."""
    ends = str(frame["scale"].iloc[0]).split("..") if "scale" in frame and len(frame) else []
    if len(ends) == 2:
        return (float(ends[1]) - float(ends[0])) / 4
    spread = float(frame["value"].std()) if len(frame) > 1 else np.nan
    return spread if spread > 0 else 1.0


def slice_columns(
    requests: pd.DataFrame,
    most_columns: int = MOST_COLUMNS,
    named: Iterable[str] = (),
    ends: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> tuple[str, ...]:
    """Columns by which answers are sliced: feature, category, model, those `named`, then further dimensions of few values.

    `requests` may be cells; `ends` are then those of the beginning and of the end of the log.

    >>> rows = {"feature_id": ["a", "a", "b"], "model": ["m", "m", "m"], "region": ["eu", "us", "us"]}
    >>> slice_columns(pd.DataFrame(rows))
    ('feature_id', 'region')
    """
    first = ["feature_id", "category", "model"]
    named = dict.fromkeys(named)
    others = sorted(name for name in requests.columns if name not in (*NOT_SLICED, *first) and name not in OF_CELLS)
    others = sorted(others, key=lambda name: name not in named)
    ends = ends if ends is not None else _ends(requests)
    kept: dict[str, np.ndarray] = {}
    for name in [*(c for c in first if c in requests), *others]:
        column = requests[name]
        if name not in first and (holds_objects(column) or pd.api.types.is_float_dtype(column)):
            continue
        codes, values = pd.factorize(column)
        same = any(_same_partition(codes, other) for other in kept.values())
        lasting = name == "feature_id" or ends is None or _lasting(name, *ends)
        beside = name in named and bool((codes < 0).any())  # the value that a change names, and all others
        found = len(values) + beside
        if 2 <= found <= (MOST_VALUES if name not in first else MOST_OF_FIRST) and not same and lasting:
            kept[name] = codes
    return tuple(kept)[:most_columns]


def holds_objects(column: pd.Series) -> bool:
    """Whether there are dicts or lists in it."""
    return column.dtype == object and bool(column.map(type).isin([dict, list]).any())


def _ends(requests: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The first and the last of some rows by their time; None where they have none."""
    if "timestamp" not in requests:
        return None
    rows = requests.iloc[requests["timestamp"].argsort(kind="stable")]
    return rows.iloc[: max(LAST_ROWS, len(rows) // ENDS)], rows.iloc[-LAST_ROWS:]


def _lasting(name: str, first: pd.DataFrame, last: pd.DataFrame) -> bool:
    """Whether the values of a column were there from the beginning to the end; those of a version column come and go."""
    codes, _ = pd.factorize(pd.concat([first[name], last[name]], ignore_index=True))
    early, late = np.split(codes, [len(first)])
    both = np.intersect1d(early, late)
    shares = (np.average(np.isin(side, both), weights=counts(rows)) for side, rows in ((early, first), (late, last)))
    return all(share >= 0.5 for share in shares)


def _same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = (a.astype(np.int64) + 1) * (int(b.max()) + 2) + b + 1
    return len(pd.unique(pairs)) == len(pd.unique(a)) == len(pd.unique(b))


@once
def _sliced(log: Log) -> tuple[Requests, tuple[str, ...], tuple[str, ...]]:
    """The requests in cells, the columns by which they are sliced, and further ones of few values."""
    source = requests_of(log)
    columns = slice_columns(source.cells, len(source.keys), source.named, source.ends())
    return source, columns[:MOST_COLUMNS], columns[MOST_COLUMNS:]
