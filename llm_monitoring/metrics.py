"""What operations and judgements say per window: `window_metrics`, `quality_metrics`. Ibis expressions, written once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llm_monitoring import engines, windows
from llm_monitoring.errors import one_of
from llm_monitoring.intervals import wilson
from llm_monitoring.log import Log, as_table
from llm_monitoring.schema import FLAG

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

RATES = ("error_rate", "refusal_rate", "truncation_rate")
LATENCIES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
MEASURES = (
    *RATES,
    *LATENCIES,
    "total_cost_usd",
    "avg_cost_per_request_usd",
    "avg_input_tokens",
    "avg_output_tokens",
)
MEASURED = ("finish_reason", "latency_ms", "input_tokens", "output_tokens", "cost_usd")
ROWS_BEHIND = ("n_finish_reason", "n_latency", "n_cost", "n_input_tokens", "n_output_tokens")


def window_metrics(
    requests,
    window: str | None = "1h",
    by: Sequence[str] = ("feature_id",),
    *,
    intervals: bool = False,
    fill: bool = False,
    quantiles: str = "exact",
) -> pd.DataFrame:
    """Volume, errors, latency, cost and tokens per window.

    Parameters
    ----------
    requests : DataFrame, Ibis table or Log
        A folder behind a log is scanned once and never loaded.
    window : str or None
        Width, such as ``"1h"``, ``"5min"``, ``"1d"``; None for one row over everything.
    by : sequence of str
        Columns to split by; empty for no split. A null is a group of its own.
    intervals : bool
        Add ``<rate>_low`` and ``<rate>_high`` (Wilson, 95 %) for the three rates.
    fill : bool
        Add the empty windows between the first and the last, with count 0 and nulls.
    quantiles : {"exact", "approximate"}
        Linear interpolation between order statistics, or the engine's sketch.

    Returns
    -------
    DataFrame
        ``window_start``, ``window_end`` (UTC, left-closed; the first and last request where `window` is None), the
        `by` columns, ``request_count``, ``error_rate`` (a non-null error), ``refusal_rate``, ``truncation_rate`` (over
        requests whose finish reason is known), ``latency_p50_ms``, ``latency_p95_ms``, ``latency_p99_ms``,
        ``total_cost_usd``, ``avg_cost_per_request_usd``, ``avg_input_tokens``, ``avg_output_tokens`` (over the requests
        where they are known), and how many those are: ``n_finish_reason``, ``n_latency``, ``n_cost``,
        ``n_input_tokens``, ``n_output_tokens``. Nothing is rounded; unknown is NaN.

    Raises
    ------
    LogError
        Where a row would spoil a figure: a null key, a negative or infinite number.

    Examples
    --------
    >>> import pandas as pd
    >>> requests = pd.DataFrame({"request_id": ["r1", "r2", "r3"], "feature_id": "search", "model_id": "m-1",
    ...     "timestamp": pd.to_datetime(["2026-05-11T09:00Z", "2026-05-11T09:30Z", "2026-05-11T10:00Z"]),
    ...     "latency_ms": [800.0, 900.0, None], "error": [None, "timeout", None]})
    >>> window_metrics(requests)[["window_start", "request_count", "error_rate", "latency_p50_ms"]]
                   window_start  request_count  error_rate  latency_p50_ms
    0 2026-05-11 09:00:00+00:00              2         0.5           850.0
    1 2026-05-11 10:00:00+00:00              1         0.0             NaN
    """
    one_of("quantiles", quantiles, ("exact", "approximate"))
    by = columns(by)
    door = as_table(requests, "requests", check={"timestamp", *MEASURED, *by})
    rows, keys = windows.keyed(door.rows, "timestamp", window, by)
    aggregates = _aggregates(rows, quantiles, None if window is None else "timestamp")
    cells = rows.group_by(keys).aggregate(**aggregates) if keys else rows.aggregate(**aggregates)
    latencies = {name: cells["latencies"][i] for i, name in enumerate(LATENCIES)}
    frame = engines.run(cells.mutate(**latencies).drop("latencies")).to_pandas()
    if frame["bad"].sum():
        door.refuse()
    frame = windows.labelled(frame, window, by)
    frame = windows.filled(frame, window, by) if fill else frame
    frame = _rates(frame, door.present)
    names = ["window_start", "window_end", *by, "request_count", *MEASURES, *ROWS_BEHIND]
    if intervals:
        for rate in RATES:
            n = frame["request_count"] if rate == "error_rate" else frame["n_finish_reason"]
            frame[f"{rate}_low"], frame[f"{rate}_high"] = wilson((frame[rate] * n).fillna(0), n)
            names += [f"{rate}_low", f"{rate}_high"]
    return frame[names]


def columns(by: Sequence[str] | str | None) -> list[str]:
    """The columns to split by as a list; one name alone is taken as that."""
    if by is None:
        return []
    return [by] if isinstance(by, str) else list(by)


def _aggregates(rows: ir.Table, quantiles: str, time: str | None) -> dict[str, ir.Scalar]:
    latency, shares = rows["latency_ms"], list(LATENCIES.values())
    known = rows["finish_reason"].notnull() | rows["error"].notnull()
    return {
        "request_count": rows.count(),
        "errors": rows["error"].count(),
        "finished_in_error": rows.count(where=rows["finish_reason"] == "error"),
        "refusals": rows.count(where=rows["finish_reason"] == "refusal"),
        "truncations": rows.count(where=rows["finish_reason"] == "max_tokens"),
        "latencies": latency.quantile(shares) if quantiles == "exact" else latency.approx_quantile(shares),
        "total_cost_usd": rows["cost_usd"].sum(),
        "input_tokens": rows["input_tokens"].sum(),
        "output_tokens": rows["output_tokens"].sum(),
        "n_finish_reason": rows.count(where=known),
        "n_latency": latency.count(),
        "n_cost": rows["cost_usd"].count(),
        "n_input_tokens": rows["input_tokens"].count(),
        "n_output_tokens": rows["output_tokens"].count(),
        "bad": rows.count(where=rows[FLAG]),
        **({} if time else {"first": rows["timestamp"].min(), "last": rows["timestamp"].max()}),
    }


def _rates(frame: pd.DataFrame, present: frozenset[str]) -> pd.DataFrame:
    n, known = frame["request_count"], frame["n_finish_reason"]
    errors = frame["errors"] if "error" in present else frame["finished_in_error"]
    frame["error_rate"] = share(errors, n if "error" in present else known)
    frame["refusal_rate"] = share(frame["refusals"], known)
    frame["truncation_rate"] = share(frame["truncations"], known)
    frame["avg_cost_per_request_usd"] = share(frame["total_cost_usd"], frame["n_cost"])
    frame["avg_input_tokens"] = share(frame["input_tokens"], frame["n_input_tokens"])
    frame["avg_output_tokens"] = share(frame["output_tokens"], frame["n_output_tokens"])
    frame["total_cost_usd"] = frame["total_cost_usd"].astype("float64").where(frame["n_cost"] > 0)
    return frame


def share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Part by whole, unknown where the whole is nothing."""
    return part.astype("float64") / whole.astype("float64").where(whole > 0)


def quality_metrics(
    judgements, requests=None, window: str | None = "1d", by: Sequence[str] = ("feature_id",)
) -> pd.DataFrame:
    """What the judge said per window, weighted by how the answers were drawn.

    Parameters
    ----------
    judgements : DataFrame, Ibis table or Log
        A judgement counts as failed where its score is null. A log brings its requests along.
    requests : DataFrame, Ibis table or Log, optional
        Where given, windows go by the request's time and `by` may name its columns; otherwise by `judged_at`.
    window : str or None
        Width, such as ``"1d"``; None for one row over everything.
    by : sequence of str
        Columns to split by.

    Returns
    -------
    DataFrame
        ``window_start``, ``window_end``, the `by` columns, ``n_judged`` (with a score), ``n_failed``,
        ``mean_quality`` (1 to 5; Hajek mean with weights 1 / ``inclusion_probability`` [1]_), ``sd_quality`` (within the
        window, same weights), ``se_quality`` (clustered by session where the requests name them), ``flagged_rate``, one ``mean_<dimension>`` per dimension.

    References
    ----------
    .. [1] Hajek, Comment on a paper by D. Basu, in Foundations of Statistical Inference (1971).

    Examples
    --------
    >>> import pandas as pd
    >>> judgements = pd.DataFrame({"request_id": ["r1", "r2", "r3"], "feature_id": "search",
    ...     "quality_score": [4.0, 2.0, None], "flagged": [False, True, False], "dimensions": [{"tone": 4}, {"tone": 3}, {}],
    ...     "judged_at": pd.to_datetime(["2026-05-11T09:00Z", "2026-05-11T09:30Z", "2026-05-11T10:00Z"])})
    >>> quality_metrics(judgements)[["n_judged", "n_failed", "mean_quality", "flagged_rate", "mean_tone"]]
       n_judged  n_failed  mean_quality  flagged_rate  mean_tone
    0         2         1           3.0           0.5        3.5
    """
    by = columns(by)
    if isinstance(judgements, Log) and requests is None and judgements.has("requests"):
        requests = judgements
    checked = {
        "request_id",
        "feature_id",
        "quality_score",
        "dimensions",
        "flagged",
        "judged_at",
        "inclusion_probability",
    }
    door = as_table(judgements, "judgements", check=checked)
    rows, time = door.rows, "judged_at"
    if requests is not None:
        rows, time = _with_requests(rows, requests, by), "timestamp"
    names = _dimension_names(rows)
    scored = rows.mutate(
        **{f"_value_{i}": engines.json_number(rows["dimensions"], name) for i, name in enumerate(names)},
        _weight=1 / rows["inclusion_probability"].fill_null(1.0),
    )
    keyed, keys = windows.keyed(scored, time, window, by)
    aggregates = _quality_aggregates(keyed, len(names), time if window is None else None)
    cells = keyed.group_by(keys).aggregate(**aggregates) if keys else keyed.aggregate(**aggregates)
    frame = engines.run(cells).to_pandas()
    if frame["bad"].sum():
        door.refuse()
    frame = _by_session(frame, keyed, keys) if "_session" in keyed.columns else frame.assign(clusters=frame["n_judged"])
    frame = _quality(windows.labelled(frame, window, by), names)
    measures = ["n_judged", "n_failed", "mean_quality", "sd_quality", "se_quality", "flagged_rate"]
    return frame[["window_start", "window_end", *by, *measures, *(f"mean_{name}" for name in names)]]


def _with_requests(rows: ir.Table, requests, by: list[str]) -> ir.Table:
    """Judgements joined with their requests; a column that both have comes from the request."""
    door = as_table(requests, "requests")
    wanted = [name for name in dict.fromkeys(["timestamp", *by]) if name in door.rows.columns]
    more = {name: door.rows[name] for name in wanted}
    if "session_id" in door.rows.columns:
        more["_session"] = door.rows["session_id"].cast("string").fill_null(door.rows["request_id"])
    right = door.rows.select(_id=door.rows["request_id"], **more)
    left = rows.drop(*[name for name in wanted if name in rows.columns])
    return left.inner_join(right, left["request_id"] == right["_id"]).drop("_id")


def _dimension_names(rows: ir.Table) -> list[str]:
    """Names of the dimensions, found by the distinct shapes of the JSON objects (their numbers left out)."""
    shape = rows["dimensions"].re_replace(r":\s*(-?[0-9.eE+-]+|null)", ":0")
    shapes = rows.select(shape=shape).filter(lambda t: t["shape"].notnull()).distinct()
    found: set[str] = set()
    for text in engines.run(shapes)["shape"].to_pylist():
        try:
            found.update(str(name) for name in json.loads(text))
        except ValueError:
            continue
    return sorted(found)


def _quality_aggregates(rows: ir.Table, dimensions: int, time: str | None) -> dict[str, ir.Scalar]:
    import ibis

    score = rows["quality_score"]
    weight = ibis.ifelse(score.notnull(), rows["_weight"], ibis.null("float64"))
    flagged = ibis.ifelse(score.notnull(), rows["flagged"].fill_null(False).ifelse(1.0, 0.0), ibis.null("float64"))
    moments = {
        "n_judged": score.count(),
        "n_failed": rows.count(where=score.isnull()),
        "w": weight.sum(),
        "wy": (weight * score).sum(),
        "wyy": (weight * score * score).sum(),
        "ww": (weight * weight).sum(),
        "wwy": (weight * weight * score).sum(),
        "wwyy": (weight * weight * score * score).sum(),
        "wf": (weight * flagged).sum(),
        "bad": rows[FLAG].sum(),
        **({"first": rows[time].min(), "last": rows[time].max()} if time else {}),
    }
    for i in range(dimensions):
        value = rows[f"_value_{i}"]
        moments[f"v{i}"] = (weight * value).sum()
        moments[f"wv{i}"] = ibis.ifelse(value.notnull(), weight, ibis.null("float64")).sum()
    return moments


def _by_session(frame: pd.DataFrame, rows: ir.Table, keys: list[str]) -> pd.DataFrame:
    """The cells' squares of weights and scores, summed over sessions: answers of one session resemble each other."""
    scored = rows.filter(rows["quality_score"].notnull())
    grouped = scored.group_by([*keys, "_session"])
    sessions = grouped.aggregate(w=scored["_weight"].sum(), wy=(scored["_weight"] * scored["quality_score"]).sum())
    w, wy = sessions["w"], sessions["wy"]
    squares = {"clusters": w.count(), "ww": (w * w).sum(), "wwy": (w * wy).sum(), "wwyy": (wy * wy).sum()}
    cells = sessions.group_by(keys).aggregate(**squares) if keys else sessions.aggregate(**squares)
    clustered, frame = engines.run(cells).to_pandas(), frame.drop(columns=["ww", "wwy", "wwyy"])
    return frame.merge(clustered, on=keys, how="left") if keys else frame.join(clustered)


def _quality(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Moments -> mean, sd, standard error: the sums of squares about the mean, by the shift of their origin."""
    n, w = frame["n_judged"].astype("float64"), frame["w"]
    mean = frame["mean_quality"] = share(frame["wy"], w)
    spread = (frame["wyy"] - 2 * mean * frame["wy"] + mean**2 * w).clip(lower=0)
    frame["sd_quality"] = (spread / w * n / (n - 1).where(n > 1)) ** 0.5
    squares = (frame["wwyy"] - 2 * mean * frame["wwy"] + mean**2 * frame["ww"]).clip(lower=0)
    clusters = frame["clusters"].astype("float64")
    frame["se_quality"] = (squares * clusters / (clusters - 1).where(clusters > 1)) ** 0.5 / w
    frame["flagged_rate"] = share(frame["wf"], w)
    for i, name in enumerate(names):
        frame[f"mean_{name}"] = share(frame[f"v{i}"], frame[f"wv{i}"])
    return frame
