"""Which requests are judged: one hash of the request id, the same rows in Python and inside any engine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines, frames
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.log import TableLike, as_table
from llm_monitoring.schema import FLAG, REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

BUCKETS = 100_000


def should_sample(request_id: str, rate: float = 0.05) -> bool:
    """Whether a request is in the sample: the same answer for the same id, everywhere and for ever.

    Parameters
    ----------
    request_id : str
    rate : float
        Share of requests, 0 to 1. A request of a smaller sample is in every larger one.

    Returns
    -------
    bool
        ``int(sha256(request_id), 16) % 100000 / 100000 < rate``.

    Examples
    --------
    >>> [should_sample(f"req-{i}", rate=0.3) for i in (7, 8, 9)]
    [False, False, True]
    """
    digest = hashlib.sha256(str(request_id).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest, "big") % BUCKETS / BUCKETS < _rate(rate)


def sample(requests: TableLike, rate: float = 0.05, *, boost: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The requests whose id hashes under the rate, drawn inside the engine; the rest is never loaded.

    Parameters
    ----------
    requests : DataFrame, Ibis table or Log
    rate : float
        Share of requests, 0 to 1.
    boost : mapping, optional
        Higher rates for some requests: column -> {value: rate}, or column -> rate for the rows where a true-or-false
        column is true, such as ``{"feature_id": {"search": 0.5}, "flagged": 1.0}``. A request gets the highest rate
        that any rule gives it, by the same hash: what a lower rate picks is still in.

    Returns
    -------
    DataFrame
        The rows of `requests` that `should_sample` picks, with ``inclusion_probability``, in the order of time.

    Examples
    --------
    >>> import pandas as pd
    >>> requests = pd.DataFrame({"request_id": [f"req-{i}" for i in range(10)], "feature_id": "search", "model_id": "m-1",
    ...     "timestamp": pd.Timestamp("2026-05-11T09:00Z")})
    >>> sample(requests, rate=0.3)[["request_id", "inclusion_probability"]]
      request_id  inclusion_probability
    0      req-9                    0.3
    """
    door = as_table(requests, "requests", check={"request_id"})
    frame = frames.load(_drawn(door.rows, rate, boost), REQUESTS)
    if frame.pop(FLAG).any():
        door.refuse()
    frame["inclusion_probability"] = frame["inclusion_probability"].astype(float)
    return frame


def chances(requests: TableLike, rate: float = 0.05, *, boost: Mapping[str, Any] | None = None) -> dict[str, float]:
    """The ids that `sample` draws, in the order of time, each with its inclusion probability; nothing else is loaded."""
    door = as_table(requests, "requests", check={"request_id"})
    drawn = _drawn(door.rows, rate, boost).select("request_id", "timestamp", "inclusion_probability", FLAG)
    frame = engines.run(drawn).to_pandas().sort_values(["timestamp", "request_id"], kind="stable")
    if frame[FLAG].any():
        door.refuse()
    return dict(zip(frame["request_id"].tolist(), frame["inclusion_probability"].astype(float).tolist()))


def _drawn(rows: ir.Table, rate: float, boost: Mapping[str, Any] | None) -> ir.Table:
    """The rows of the sample with their inclusion probability, and those that break a rule."""
    hashed = engines.buckets(rows, "request_id")
    chance = _boosted(hashed, _rate(rate), boost or {}, _double)
    limit = _boosted(hashed, _rate(rate), boost or {}, _limit)
    drawn = hashed.filter((hashed["_bucket"] < limit) | hashed[FLAG])
    return drawn.mutate(inclusion_probability=chance).drop("_bucket")


def _boosted(rows: ir.Table, rate: float, boost: Mapping[str, Any], shown: Callable[[float], Any]) -> ir.Value:
    """The chance of each row, the highest rate of the rules that hold for it, as `shown` says it."""
    import ibis

    rates = [(ibis.literal(True), rate)]
    for column, rule in boost.items():
        one_of("sample(boost): column", column, [name for name in rows.columns if not name.startswith("_")])
        rules = rule.items() if isinstance(rule, Mapping) else [(True, rule)]
        rates += [((rows[column] == value).fill_null(False), _rate(higher)) for value, higher in rules if higher > rate]
    rates.sort(key=lambda pair: -pair[1])
    return ibis.cases(*[(where, shown(each)) for where, each in rates])


def _double(rate: float) -> ir.FloatingValue:
    """The rate as a floating number on every engine; a bare 0.2 is a decimal to PostgreSQL."""
    import ibis

    return ibis.literal(repr(float(rate))).cast("float64")


def _limit(rate: float) -> int:
    """The lowest bucket that is not drawn: whole numbers compare alike on every engine."""
    guess = math.ceil(rate * BUCKETS)
    return next(k for k in range(max(guess - 2, 0), guess + 3) if k / BUCKETS >= rate)


def _rate(rate: float) -> float:
    if not (isinstance(rate, Real) and 0 <= rate <= 1):
        raise ConfigError(f"rate={rate!r}; expected a share from 0 to 1, such as 0.05")
    return rate
