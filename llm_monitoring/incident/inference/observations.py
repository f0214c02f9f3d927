"""What the alert's metric says of each single answer: one row an answer, with the columns that it can be sliced by.

The stages compare these rows; the windows of `metrics` are for charts. A row whose value is unknown is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.frames import among, plain
from llm_monitoring.incident.inference.slices import PREFIX, TAKEN, Slice, inside, outside
from llm_monitoring.incident.inference.traces import VERSIONS
from llm_monitoring.intervals import Interval, mean_t, newcombe, quantile, welch, wilson, worth
from llm_monitoring.keeping import once

if TYPE_CHECKING:
    from llm_monitoring.log import Log

NOT_SLICED = {
    "request_id", "timestamp", "session_id", "user_input", "system_output", "error", "latency_ms", "input_tokens",
    "output_tokens", "cost_usd", "finish_reason", "raw_finish_reason", "prompt_version", "system_fingerprint", "model_id",
}  # fmt: skip
MOST_VALUES, MOST_COLUMNS = 30, 5  # of a slice column, and of slice columns
PLAIN = ("feature_id", "category")  # columns that are the log's own, whatever the stages make of the others


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
        All requests with the same slice columns, judged or not: the mix is read from these. Without the columns that
        no stage slices by (`schema.LEFT_OUT`), where they come from a log; columns of few values are categories (`Log.asked`).
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
    kept: dict[tuple, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

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
    requests, columns, further = _sliced(log)
    part = Slice(()) if within is None or alert.measure.of != "requests" or alert.measure.kind == "mean" else within
    part = Slice(tuple((column, value) for column, value in part.where if column in requests))
    named = {column: value for column, value in part.where if column in PLAIN and isinstance(value, str)}
    value = answers.values(log, alert.measure, log.measures, named)
    if value is None:
        return None
    asked = requests[part.mask(requests)] if part.where else requests
    if "weight" in value and (value["weight"] == 1).all():
        value = value.drop(columns="weight")
    versions = [name for name in VERSIONS if name in requests]
    whole = [outside(name) for name in columns if outside(name) in requests]
    kept = dict.fromkeys(
        ["request_id", "timestamp", "session_id", "feature_id", *columns, *whole, *further, "model", *versions]
    )
    frame = plain(asked.loc[among(asked["request_id"], value["request_id"]), [*kept]])
    frame = frame.merge(value, on="request_id", how="inner")
    frame = frame[np.isfinite(frame["value"])].sort_values(["timestamp", "request_id"], ignore_index=True)
    scale = {"proportion": "share", "positive": "log"}.get(alert.measure.kind, "score")
    step = _step(frame) if scale == "score" else 1.0
    frame = frame.drop(columns="scale", errors="ignore")
    names = (*(inside(name) for name in log.table("requests").columns), "model")
    sign = 1 if alert.direction == "up" else -1
    return Observations(frame, requests, columns, scale, sign, alert, step, names, further)


def _step(frame: pd.DataFrame) -> float:
    """A quarter of the judge's scale; where no scale is known, the values' spread."""
    ends = str(frame["scale"].iloc[0]).split("..") if "scale" in frame and len(frame) else []
    if len(ends) == 2:
        return (float(ends[1]) - float(ends[0])) / 4
    spread = float(frame["value"].std()) if len(frame) > 1 else np.nan
    return spread if spread > 0 else 1.0


def places(ids: pd.Series, wanted: pd.Series) -> np.ndarray:
    """Where each of some ids stands among all of them."""
    near = np.flatnonzero(among(ids, wanted))
    return near[pd.Index(ids.iloc[near]).get_indexer(wanted)]


def slice_columns(
    requests: pd.DataFrame, most_columns: int = MOST_COLUMNS, named: Iterable[str] = ()
) -> tuple[str, ...]:
    """Columns by which answers are sliced: feature, category, model, those `named`, then further dimensions of few values.

    >>> rows = {"feature_id": ["a", "a", "b"], "model": ["m", "m", "m"], "region": ["eu", "us", "us"]}
    >>> slice_columns(pd.DataFrame(rows))
    ('feature_id', 'region')
    """
    first = ["feature_id", "category", "model"]
    named = dict.fromkeys(named)
    others = sorted(name for name in requests.columns if name not in NOT_SLICED and name not in first)
    others = sorted(others, key=lambda name: name not in named)
    order = _in_time(requests)
    kept: dict[str, np.ndarray] = {}
    for name in [*(c for c in first if c in requests), *others]:
        column = requests[name]
        if name not in first and (holds_objects(column) or pd.api.types.is_float_dtype(column)):
            continue
        codes, values = pd.factorize(column)
        same = any(_same_partition(codes, other) for other in kept.values())
        lasting = name == "feature_id" or _lasting(codes, order)
        beside = name in named and bool((codes < 0).any())  # the value that a change names, and all others
        found = len(values) + beside
        if 2 <= found <= (MOST_VALUES if name not in first else 200) and not same and lasting:
            kept[name] = codes
    return tuple(kept)[:most_columns]


def holds_objects(column: pd.Series) -> bool:
    """Whether there are dicts or lists in it."""
    return column.dtype == object and bool(column.map(type).isin([dict, list]).any())


def _in_time(requests: pd.DataFrame) -> np.ndarray | None:
    """The places of the rows in the order of their time; None where they have none."""
    if "timestamp" not in requests:
        return None
    times = requests["timestamp"]
    return np.arange(len(times)) if times.is_monotonic_increasing else times.argsort(kind="stable").to_numpy()


def _lasting(codes: np.ndarray, order: np.ndarray | None) -> bool:
    """Whether its values were there from the beginning to the end; those of a version column come and go."""
    if order is None:
        return True
    first, last = codes[order[: max(30, len(order) // 50)]], codes[order[-30:]]
    both = np.intersect1d(first, last)
    return bool(np.isin(codes, both).mean() >= 0.5 and np.isin(last, both).mean() >= 0.5)


def _same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = (a.astype(np.int64) + 1) * (int(b.max()) + 2) + b + 1
    return len(pd.unique(pairs)) == len(pd.unique(a)) == len(pd.unique(b))


@once
def _sliced(log: Log) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """The requests with their lineage, the columns by which they are sliced, and further ones of few values."""
    requests, named = _named_values(_with_lineage(log), log.changes)
    columns = slice_columns(requests, len(requests.columns), named)
    return requests, columns[:MOST_COLUMNS], columns[MOST_COLUMNS:]


def _named_values(requests: pd.DataFrame, changes: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The columns that recorded changes name as their scope; of a long one a column of the values that they name.

    Whom a change reaches is the first question to ask of it: a tenant of five hundred for whom something was set apart is a slice.
    """
    named = []
    for name in changes.columns:
        if name in NOT_SLICED or name in TAKEN or name not in requests or not changes[name].notna().any():
            continue
        if holds_objects(requests[name]) or requests[name].nunique() <= MOST_VALUES:
            named.append(name)
            continue
        values = list(dict.fromkeys(v for given in changes[name].dropna()[::-1] for v in values_of(given)))[
            : MOST_VALUES - 1
        ]
        chosen = requests[name].isin(values)
        if chosen.any():
            own = requests[name].where(chosen)
            coded = isinstance(own.dtype, pd.CategoricalDtype)
            requests[PREFIX + name] = own.cat.remove_unused_categories() if coded else own.astype(object)
            named.append(PREFIX + name)
    return requests, named


def values_of(given: Any) -> list:
    """The values that a scope column of a change names: one, a list, or a text of several joined by commas."""
    return [v.strip() for v in given.split(",")] if isinstance(given, str) else list(np.atleast_1d(given))


def _with_lineage(log: Log) -> pd.DataFrame:
    requests = log.asked.rename(columns=inside)
    family = lineage(requests, log.changes)
    codes, models = pd.factorize(requests["model_id"])
    names = pd.Index(sorted(set(family.values())), dtype=object)
    place = np.append(
        names.get_indexer(pd.Index([family[model] for model in models], dtype=object)), -1
    )  # the last: no model
    return requests.assign(model=pd.Categorical.from_codes(place[codes], names))


def families(requests: pd.DataFrame) -> dict[str, str]:
    """The family of each model id of requests that hold both."""
    pairs = requests[["model_id", "model"]].drop_duplicates()
    return dict(zip(pairs["model_id"], pairs["model"]))


def lineage(requests: pd.DataFrame, changes: pd.DataFrame) -> dict[str, str]:
    """The family of each model id, so that a slice has a before and an after over a change of version.

    A `model_version` change that lists old ids, then new ones, is taken at its word; else a model that appears while
    the one with the most similar name vanishes (within a day) is its successor.

    >>> times = pd.to_datetime(["2026-05-01", "2026-05-02"], utc=True)
    >>> lineage(pd.DataFrame({"model_id": ["gpt-4-0314", "gpt-4-0613"], "timestamp": times}), pd.DataFrame())
    {'gpt-4-0314': 'gpt-4', 'gpt-4-0613': 'gpt-4'}
    """
    seen = requests.groupby("model_id", observed=True)["timestamp"].agg(["min", "max", "size"])
    seen = seen.set_axis(seen.index.tolist()).sort_values(["min"])
    parent = {model: model for model in seen.index}
    for old, new in [*_listed(changes, parent), *_successors(seen)]:
        if parent[new] == new and old != new:
            parent[new] = parent[old]
    families: dict[str, list[str]] = {}
    for model, root in parent.items():
        families.setdefault(root, []).append(model)
    return {model: _family_name(members) for members in families.values() for model in members}


def _listed(changes: pd.DataFrame, known: dict) -> list[tuple[str, str]]:
    if "model_id" not in changes or "kind" not in changes:
        return []
    pairs = []
    for row in changes[changes["kind"] == "model_version"].itertuples():
        given: Any = row.model_id
        listed = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, list | tuple) else []
        ids = [name.strip() for name in listed if name.strip() in known]
        pairs += list(zip(ids[: len(ids) // 2], ids[len(ids) // 2 :]))
    return pairs


def _successors(seen: pd.DataFrame) -> list[tuple[str, str]]:
    from rapidfuzz import fuzz

    first, last, day = seen["min"].min(), seen["max"].max(), pd.Timedelta("1D")
    gap = ((seen["max"] - seen["min"]) / seen["size"] * 20).map(lambda g: min(max(g, pd.Timedelta("2h")), day))
    gone, came = seen[last - seen["max"] > gap], seen[seen["min"] - first > gap]
    alike = [
        (25 * away - fuzz.ratio(old, new) - 20 * (_letters(old) == _letters(new)), row["min"], new, old)
        for new, row in came.iterrows()
        for old, away in ((gone["max"] - row["min"]).abs() / day).items()
        if old != new and away <= 1
    ]
    pairs: dict[str, tuple[pd.Timestamp, str]] = {}
    for _, at, new, old in sorted(alike):  # the most similar and the nearest first, each id once as new and once as old
        if new not in pairs and old not in {taken for _, taken in pairs.values()}:
            pairs[new] = (at, old)
    return [(old, new) for new, (_, old) in sorted(pairs.items(), key=lambda pair: (pair[1][0], pair[0]))]


def _letters(name: str) -> str:
    """The name without its numbers: that of one model over its versions."""
    return "".join(c for c in name if not c.isdigit())


def _family_name(members: list[str]) -> str:
    if len(members) == 1:
        return members[0]
    prefix = commonprefix(members)
    if prefix not in members:  # cut inside a word or number: back to the last separator
        prefix = prefix[: max((prefix.rfind(mark) for mark in "-_@:/. "), default=-1) + 1]
    return prefix.rstrip("-_@:/. ") or " / ".join(sorted(members))
