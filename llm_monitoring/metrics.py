"""What operations and judgements say per window: `window_metrics`, `quality_metrics`. Ibis expressions, written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llm_monitoring import answers, engines, windows
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.intervals import mean_from_sums, wilson
from llm_monitoring.log import Log, TableLike, as_table
from llm_monitoring.measures import Measure, declared
from llm_monitoring.schema import FLAG

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

RATES = {"error_rate": "__lm_error", "refusal_rate": "__lm_refusal", "truncation_rate": "__lm_truncation"}
LATENCIES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
SUMS = {"cost_usd": "n_cost", "input_tokens": "n_input_tokens", "output_tokens": "n_output_tokens"}
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
QUALITY = ("n_judged", "n_failed", "mean_quality", "sd_quality", "se_quality", "flagged_rate")


def window_metrics(
    requests: TableLike,
    window: str | None = "1h",
    by: Sequence[str] = ("feature_id",),
    *,
    intervals: bool = False,
    fill: bool = False,
    quantiles: str = "exact",
    measures: Sequence[str | Measure] = (),
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
    measures : sequence of str or Measure
        Custom measures: names declared with the log (``open_log(..., measures=[...])``), or `Measure` objects.

    Returns
    -------
    DataFrame
        ``window_start``, ``window_end`` (UTC, left-closed; the first and last request where `window` is None), the
        `by` columns, ``request_count``, ``error_rate`` (an error, or the finish reason ``error``), ``refusal_rate``, ``truncation_rate`` (over
        requests whose finish reason is known), ``latency_p50_ms``, ``latency_p95_ms``, ``latency_p99_ms``,
        ``total_cost_usd``, ``avg_cost_per_request_usd``, ``avg_input_tokens``, ``avg_output_tokens`` (over the requests
        where they are known), and how many those are: ``n_finish_reason``, ``n_latency``, ``n_cost``,
        ``n_input_tokens``, ``n_output_tokens``. For each of `measures` its mean or share, ``<name>_n``, with
        `intervals` ``<name>_low``, ``<name>_high`` (95 %: Wilson, or Student's t), and for kind "positive"
        ``<name>_p50``, ``<name>_p95``. Nothing is rounded; unknown is NaN.

    Raises
    ------
    LogError
        Where a row would spoil a figure: a null key, a repeated request id, a negative or infinite number.
    ConfigError
        An unknown measure or column.

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
    by = columns(by, ["request_count", *MEASURES, *ROWS_BEHIND])
    own = _own(requests, measures)
    door = as_table(requests, "requests", check={"timestamp", *MEASURED, *by, *(each.column or "" for each in own)})
    rows = answers.own_values(answers.requests_view(door.rows, door.present), own)
    rows, keys = windows.keyed(rows, "timestamp", window, by)
    aggregates = _aggregates(rows, quantiles, own, ends=window is None)
    cells = rows.group_by(keys).aggregate(**aggregates) if keys else rows.aggregate(**aggregates)
    frame = engines.run(_unpacked(cells, own)).to_pandas()
    if frame["__lm_wrong"].sum():
        door.refuse()
    frame = (
        windows.filled(windows.labelled(frame, window, by), window, by) if fill else windows.labelled(frame, window, by)
    )
    frame = _rates(frame, own)
    names = ["window_start", "window_end", *by, "request_count", *MEASURES, *ROWS_BEHIND]
    for rate in RATES if intervals else ():
        n = frame[f"__lm_{rate}_n"].fillna(0)
        frame[f"{rate}_low"], frame[f"{rate}_high"] = wilson((frame[rate] * n).fillna(0), n)
        names += [f"{rate}_low", f"{rate}_high"]
    return frame[[*names, *_own_columns(own, intervals)]]


def columns(by: Sequence[str] | str | None, results: Sequence[str] = ()) -> list[str]:
    """The columns to split by as a list; one name alone is taken as that, a name of the result's columns is refused."""
    listed = [] if by is None else [by] if isinstance(by, str) else list(by)
    for name in listed:
        if name in results or name in ("window_start", "window_end"):
            raise ConfigError(f"by={name!r}: the result has a column of this name. Rename the column of the log")
    return listed


def _own(requests: TableLike, measures: Sequence[str | Measure]) -> list[Measure]:
    """The measures asked for: declared with the log, or given as they are."""
    known = {each.name: each for each in requests.measures} if isinstance(requests, Log) else {}
    given = [measures] if isinstance(measures, str | Measure) else list(measures)
    for each in given:
        if isinstance(each, str) and each not in known:
            one_of("measures", each, tuple(known))
    return list(declared([known[each] if isinstance(each, str) else each for each in given]))


def _aggregates(rows: ir.Table, quantiles: str, own: Sequence[Measure], ends: bool) -> dict[str, ir.Scalar]:
    latency, shares = rows["latency_ms"], list(LATENCIES.values())
    found = {
        "request_count": rows.count(),
        "__lm_latencies": engines.quantiles(latency, shares)
        if quantiles == "exact"
        else latency.approx_quantile(shares),
        "n_latency": latency.count(),
        "__lm_wrong": rows.count(where=rows[FLAG]),
    }
    for rate, flag in RATES.items():
        found |= {f"__lm_{rate}": rows[flag].sum(), f"__lm_{rate}_n": rows[flag].count()}
    for column, n in SUMS.items():
        summed = engines.total(rows[column]) if column.endswith("_usd") else rows[column].sum()  # tokens are whole
        found |= {f"__lm_{column}": summed, n: rows[column].count()}
    for each in own:
        value = rows[f"__lm_own_{each.name}"]
        found |= {f"__lm_{each.name}": engines.total(value), f"__lm_{each.name}2": engines.total(value * value)}
        found |= {f"{each.name}_n": value.count()}
        found |= {f"__lm_{each.name}_q": engines.quantiles(value, [0.5, 0.95])} if each.kind == "positive" else {}
    return found | ({windows.FIRST: rows["timestamp"].min(), windows.LAST: rows["timestamp"].max()} if ends else {})


def _unpacked(cells: ir.Table, own: Sequence[Measure]) -> ir.Table:
    """The cells with a column for each quantile of the lists."""
    lists = {"__lm_latencies": list(LATENCIES)}
    lists |= {
        f"__lm_{each.name}_q": [f"{each.name}_p50", f"{each.name}_p95"] for each in own if each.kind == "positive"
    }
    found = {name: cells[column][i] for column, names in lists.items() for i, name in enumerate(names)}
    return cells.mutate(**found).drop(*lists)


def _rates(frame: pd.DataFrame, own: Sequence[Measure]) -> pd.DataFrame:
    for rate in RATES:
        frame[rate] = share(frame[f"__lm_{rate}"], frame[f"__lm_{rate}_n"])
    frame["n_finish_reason"] = frame["__lm_refusal_rate_n"].fillna(0).astype("int64")
    frame["avg_cost_per_request_usd"] = share(frame["__lm_cost_usd"], frame["n_cost"])
    frame["avg_input_tokens"] = share(frame["__lm_input_tokens"], frame["n_input_tokens"])
    frame["avg_output_tokens"] = share(frame["__lm_output_tokens"], frame["n_output_tokens"])
    frame["total_cost_usd"] = frame["__lm_cost_usd"].astype("float64").where(frame["n_cost"] > 0)
    for each in own:
        n, total = frame[f"{each.name}_n"].fillna(0).astype("int64"), frame[f"__lm_{each.name}"]
        frame[f"{each.name}_n"], mean = n, share(total, n)
        frame[each.name] = mean
        if each.kind == "proportion":
            low, high = wilson((mean * n).fillna(0), n)
        else:
            low, high = mean_from_sums(n, total, frame[f"__lm_{each.name}2"])
        frame[f"{each.name}_low"], frame[f"{each.name}_high"] = low, high
    return frame


def _own_columns(own: Sequence[Measure], intervals: bool) -> list[str]:
    names = []
    for each in own:
        names += [each.name, f"{each.name}_n", *([f"{each.name}_low", f"{each.name}_high"] if intervals else [])]
        names += [f"{each.name}_p50", f"{each.name}_p95"] if each.kind == "positive" else []
    return names


def share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Part by whole, unknown where the whole is nothing."""
    return part.astype("float64") / whole.astype("float64").where(whole > 0)


def quality_metrics(
    judgements: TableLike,
    requests: TableLike | None = None,
    window: str | None = "1d",
    by: Sequence[str] = ("feature_id",),
) -> pd.DataFrame:
    """What the judge said per window, weighted by how the answers were drawn.

    Parameters
    ----------
    judgements : DataFrame, Ibis table or Log
        Of several judgements of a request by one judge the latest that succeeded counts. A log brings its requests along.
    requests : DataFrame, Ibis table or Log, optional
        Where given, windows go by the request's time and `by` may name its columns; otherwise by `judged_at`.
    window : str or None
        Width, such as ``"1d"``; None for one row over everything.
    by : sequence of str
        Columns to split by. Without ``judge_model`` among them the figures are those of the first judge: the one with
        most judgements in its first two weeks (per feature where `by` names it), and whoever took over from it.

    Returns
    -------
    DataFrame
        ``window_start``, ``window_end``, the `by` columns, ``n_judged`` (not failed), ``n_failed``,
        ``mean_quality`` (on the judge's scale; Hajek mean with weights 1 / ``inclusion_probability`` [1]_), ``sd_quality`` (within the
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
    by = columns(by, QUALITY)
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
    asked = None if requests is None else as_table(requests, "requests").rows
    time = "judged_at" if requests is None else "timestamp"
    rows = answers.judged_view(door.rows, asked, by)
    if "judge_model" not in by:
        rows = answers.by_series(rows, per_feature="feature_id" in by)
        rows = rows.filter((rows["__lm_series"] == "") | rows[FLAG])
    names = answers.dimension_names(rows)
    scored = rows.mutate(
        **{f"__lm_value_{i}": engines.json_number(rows["dimensions"], name) for i, name in enumerate(names)}
    )
    keyed, keys = windows.keyed(scored, time, window, by)
    aggregates = _quality_aggregates(keyed, len(names), time if window is None else None)
    cells = keyed.group_by(keys).aggregate(**aggregates) if keys else keyed.aggregate(**aggregates)
    frame = engines.run(cells).to_pandas()
    if frame["__lm_wrong"].sum():
        door.refuse()
    frame = _by_session(frame, keyed, keys) if requests is not None else frame.assign(__lm_clusters=frame["__lm_n"])
    frame = _quality(windows.labelled(frame, window, by), names)
    return frame[["window_start", "window_end", *by, *QUALITY, *(f"mean_{name}" for name in names)]]


def _quality_aggregates(rows: ir.Table, dimensions: int, time: str | None) -> dict[str, ir.Scalar]:
    score, flag, weight = rows["__lm_score"], rows["__lm_flagged"], rows["__lm_weight"]
    own = answers.weight_where(rows, score)
    moments = {
        "n_judged": rows.count(where=rows["__lm_failed"] == 0),
        "n_failed": rows.count(where=rows["__lm_failed"] == 1),
        "__lm_n": score.count(),
        "__lm_w": engines.exact_total(own),
        "__lm_wy": engines.exact_total(own * score),
        "__lm_wyy": engines.exact_total(own * score * score),
        "__lm_ww": engines.exact_total(own * own),
        "__lm_wwy": engines.exact_total(own * own * score),
        "__lm_wwyy": engines.exact_total(own * own * score * score),
        "__lm_wf": engines.exact_total(weight * flag),
        "__lm_w_flag": engines.exact_total(answers.weight_where(rows, flag)),
        "__lm_wrong": rows[FLAG].sum(),
        **({windows.FIRST: rows[time].min(), windows.LAST: rows[time].max()} if time else {}),
    }
    for i in range(dimensions):
        found = rows[f"__lm_value_{i}"]
        moments[f"__lm_v{i}"] = engines.exact_total(weight * found)
        moments[f"__lm_wv{i}"] = engines.exact_total(answers.weight_where(rows, found))
    return moments


def _by_session(frame: pd.DataFrame, rows: ir.Table, keys: list[str]) -> pd.DataFrame:
    """The cells' squares of weights and scores, summed over sessions: answers of one session resemble each other."""
    scored = rows.filter(rows["__lm_score"].notnull())
    weight, grouped = scored["__lm_weight"], scored.group_by([*keys, "__lm_session"])
    total = engines.exact_total
    sessions = grouped.aggregate(__lm_sw=total(weight), __lm_swy=total(weight * scored["__lm_score"]))
    w, wy = sessions["__lm_sw"], sessions["__lm_swy"]
    squares = {
        "__lm_clusters": w.count(),
        "__lm_ww": total(w * w),
        "__lm_wwy": total(w * wy),
        "__lm_wwyy": total(wy * wy),
    }
    cells = sessions.group_by(keys).aggregate(**squares) if keys else sessions.aggregate(**squares)
    clustered, frame = engines.run(cells).to_pandas(), frame.drop(columns=["__lm_ww", "__lm_wwy", "__lm_wwyy"])
    return frame.merge(clustered, on=keys, how="left") if keys else frame.join(clustered)


def _quality(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Moments -> mean, sd, standard error: the sums of squares about the mean, by the shift of their origin."""
    n, w, wy = frame["__lm_n"].astype("float64"), frame["__lm_w"], frame["__lm_wy"]
    mean = frame["mean_quality"] = share(wy, w)
    spread = (frame["__lm_wyy"] - 2 * mean * wy + mean**2 * w).clip(lower=0)
    frame["sd_quality"] = (spread / w * n / (n - 1).where(n > 1)) ** 0.5
    squares = (frame["__lm_wwyy"] - 2 * mean * frame["__lm_wwy"] + mean**2 * frame["__lm_ww"]).clip(lower=0)
    clusters = frame["__lm_clusters"].astype("float64")
    frame["se_quality"] = (squares * clusters / (clusters - 1).where(clusters > 1)) ** 0.5 / w
    frame["flagged_rate"] = share(frame["__lm_wf"], frame["__lm_w_flag"])
    for i, name in enumerate(names):
        frame[f"mean_{name}"] = share(frame[f"__lm_v{i}"], frame[f"__lm_wv{i}"])
    return frame
