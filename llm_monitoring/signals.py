"""What users do, and what their thumbs do not say: derived signals, satisfaction with its bounds, sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llm_monitoring import engines, frames, windows
from llm_monitoring.errors import ConfigError
from llm_monitoring.intervals import wilson
from llm_monitoring.log import Log, as_table
from llm_monitoring.metrics import columns, share
from llm_monitoring.schema import FLAG, SIGNALS
from llm_monitoring.validation import CleanTable

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np
    import pandas as pd

IMPLICIT = ("correction", "follow_up", "retry", "abandoned")
STRATA = ("_feature", "_category", "_latency", "_abandoned", "_retried")


def derive_signals(
    requests,
    signals=None,
    *,
    retry_within: str = "5min",
    follow_up_within: str = "30min",
    similarity: float = 85,
    abandoned_if: Callable[[ir.Table], ir.BooleanValue] | None = None,
) -> pd.DataFrame:
    """Retries, follow-ups and abandonment from the order of the requests of a session; no LLM.

    Parameters
    ----------
    requests : DataFrame, Ibis table or Log
        Requests without a `session_id` give no signal. A log brings its signals along.
    signals : DataFrame, Ibis table or Log, optional
        Logged signals; where a request has a logged retry, follow-up or abandonment, none is derived for it.
    retry_within, follow_up_within : str
        Longest time to the next request of the session.
    similarity : float
        Lowest token-set ratio (0 to 100, rapidfuzz) of two texts that are nearly the same.
    abandoned_if : callable, optional
        Takes the requests as an Ibis table and says which responses, when the session ends with them, count as
        abandoned besides errors, refusals, truncations and latencies above the feature's 95th percentile.

    Returns
    -------
    DataFrame
        The `signals` table. *retry*: the next request came within `retry_within` and its text is nearly the same, or
        this one ended in an error. *follow_up*: it came within `follow_up_within` and is no retry. *abandoned*: the
        session ended with its first response, which was a bad one. `request_id` is the request whose answer caused the
        signal; `timestamp` is when it could be known (for abandonment: `follow_up_within` after the request);
        ``metadata["source"]`` is ``"derived"`` and ``metadata["rule"]`` says why.

    Examples
    --------
    >>> import pandas as pd
    >>> requests = pd.DataFrame({"request_id": ["r1", "r2"], "session_id": "s1", "feature_id": "search", "model_id": "m",
    ...     "timestamp": pd.to_datetime(["2026-05-11T09:00Z", "2026-05-11T09:01Z"]),
    ...     "user_input": ["How do I return shoes?", "how do I return my shoes"]})
    >>> derive_signals(requests)[["request_id", "signal_type"]]
      request_id signal_type
    0         r1       retry
    """
    import pandas as pd

    if isinstance(requests, Log) and signals is None and requests.has("signals"):
        signals = requests
    door = as_table(requests, "requests", check={"request_id", "timestamp", "latency_ms", "finish_reason"})
    steps = _steps(door.rows, abandoned_if)
    quick, slow = (int(windows.width(each).total_seconds() * 1e6) for each in (retry_within, follow_up_within))
    found = [*_repeats(steps, quick, slow, similarity, door), *_endings(steps, slow, door)]
    frame = pd.DataFrame(found, columns=["request_id", "session_id", "signal_type", "timestamp", "metadata"])
    if signals is not None and len(frame):
        frame = frame[~frame["request_id"].isin(_logged(signals))]
    return frames.ordered(frame, SIGNALS)


def _steps(rows: ir.Table, abandoned_if) -> ir.Table:
    """Each request of a session with the next one, and whether its answer was a bad one to end with."""
    import ibis

    slowest = rows.group_by("feature_id").aggregate(_p95=rows["latency_ms"].quantile([0.95]))
    slowest = slowest.select(_of="feature_id", _p95=slowest["_p95"][0])
    joined = rows.left_join(slowest, rows["feature_id"] == slowest["_of"])
    failed = joined["error"].notnull() | (joined["finish_reason"] == "error").fill_null(False)
    cases = [
        (failed, "error"),
        (joined["finish_reason"] == "refusal", "refusal"),
        (joined["finish_reason"] == "max_tokens", "truncation"),
        (joined["latency_ms"] > joined["_p95"], "latency above the feature's p95"),
    ]
    if abandoned_if is not None:
        cases.append((abandoned_if(joined), "the caller's rule"))
    marked = joined.mutate(_failed=failed, _why=ibis.cases(*cases), _at=engines.microseconds(joined["timestamp"]))
    session = ibis.window(group_by="session_id", order_by=["_at", "request_id"])
    ordered = marked.filter(marked["session_id"].notnull())
    return ordered.select(
        "request_id",
        "session_id",
        "user_input",
        "_failed",
        "_why",
        "_at",
        FLAG,
        _place=ibis.row_number().over(session),
        _next_at=ordered["_at"].lead().over(session),
        _next_input=ordered["user_input"].lead().over(session),
    )


def _repeats(steps: ir.Table, quick: int, slow: int, similarity: float, door: CleanTable) -> list[tuple]:
    import ibis
    from rapidfuzz import fuzz, process, utils

    gap = steps["_next_at"] - steps["_at"]
    compared = (gap <= quick) & ~steps["_failed"]
    texts = {name: ibis.ifelse(compared, steps[name], ibis.null("string")) for name in ("user_input", "_next_input")}
    pairs = steps.mutate(**texts).filter((gap <= slow).fill_null(False) | steps[FLAG])
    found = []
    for batch in engines.run(pairs).to_batches(max_chunksize=50_000):
        rows = batch.to_pandas()
        _refuse(rows, door)
        before, after = (rows[name].fillna("").astype(str).tolist() for name in ("user_input", "_next_input"))
        near = process.cpdist(before, after, scorer=fuzz.token_set_ratio, processor=utils.default_process) >= similarity
        near &= (rows["user_input"].notna() & rows["_next_input"].notna()).to_numpy()
        soon = (rows["_next_at"] - rows["_at"] <= quick).to_numpy()
        for row, same, early in zip(rows.itertuples(), near, soon):
            failed, at, ids = rows["_failed"][row.Index], rows["_next_at"][row.Index], (row.request_id, row.session_id)
            if early and (same or failed):
                found.append((*ids, "retry", at, _why("nearly the same text" if same else "follows an error")))
            else:
                found.append((*ids, "follow_up", at, _why("next request of the session")))
    return found


def _endings(steps: ir.Table, slow: int, door: CleanTable) -> list[tuple]:
    last = steps.filter((steps["_place"] == 0) & steps["_next_at"].isnull() & steps["_why"].notnull() | steps[FLAG])
    rows = engines.run(last.select("request_id", "session_id", "_at", "_why", FLAG)).to_pandas()
    _refuse(rows, door)
    return [
        (request, session, "abandoned", at + slow, _why(f"the session ended after: {why}"))
        for request, session, at, why in zip(rows["request_id"], rows["session_id"], rows["_at"], rows["_why"])
    ]


def _why(rule: str) -> dict[str, str]:
    return {"source": "derived", "rule": rule}


def _refuse(rows: pd.DataFrame, door: CleanTable) -> None:
    if rows[FLAG].any():
        door.refuse()


def _logged(signals) -> pd.Series:
    rows = as_table(signals, "signals").rows
    kept = rows.filter(rows["signal_type"].isin(["retry", "follow_up", "abandoned"])).select("request_id").distinct()
    return engines.run(kept).to_pandas()["request_id"]


def satisfaction_metrics(
    signals,
    requests=None,
    window: str | None = None,
    by: Sequence[str] = ("feature_id",),
    *,
    abandonment_limit: float = 0.3,
    positive_limit: float = 0.8,
) -> pd.DataFrame:
    """What users said, what they did, and how far the first can stand for those who said nothing.

    Parameters
    ----------
    signals : DataFrame, Ibis table or Log
        A request counts once for each type of signal; of several thumbs the last holds (down where at the same time).
        Signals of requests that are not in `requests` are left out. A log brings its requests along.
    requests : DataFrame, Ibis table or Log
    window : str or None
        Width by the time of the request, such as ``"1d"``; None for one row over everything.
    by : sequence of str
        Columns of `requests` to split by.
    abandonment_limit, positive_limit : float
        Shares at which the two warnings start.

    Returns
    -------
    DataFrame
        ``window_start``, ``window_end``, the `by` columns, ``request_count``, ``n_thumbs``;
        ``explicit_positive_rate`` (null without thumbs), ``explicit_feedback_coverage``; ``positive_rate_low``,
        ``positive_rate_high`` (all of the silent unhappy, all of them happy [1]_); ``positive_rate_weighted`` with
        ``_low``, ``_high`` (thumbs weighted by 1 / the propensity to respond given feature, category, latency,
        abandonment and retry [2]_, Wilson, 95 %, at the effective number of thumbs); ``correction_rate``,
        ``follow_up_rate``, ``retry_rate``, ``abandonment_rate`` with ``_low``, ``_high``;
        ``silent_abandonment_rate``, ``responding_abandonment_rate``; ``survivorship_bias_risk`` (abandonment above
        0.3 beside positive thumbs above 0.8) and ``abandonment_risk`` (the lower end of the abandonment rate is above
        0.3, thumbs or none). Null without requests, and without a signals table at all.

    References
    ----------
    .. [1] Manski, Nonparametric bounds on treatment effects, American Economic Review 80 (1990).
    .. [2] Little and Rubin, Statistical Analysis with Missing Data, section 3.3 (2019).

    Examples
    --------
    >>> import pandas as pd
    >>> requests = pd.DataFrame({"request_id": [f"r{i}" for i in range(10)], "feature_id": "search", "model_id": "m",
    ...     "timestamp": pd.Timestamp("2026-05-11T09:00Z")})
    >>> signals = pd.DataFrame({"request_id": ["r0", "r1", "r2", "r3", "r4", "r5"],
    ...     "signal_type": ["thumbs_up", "thumbs_up"] + ["abandoned"] * 4, "timestamp": pd.Timestamp("2026-05-11T09:05Z")})
    >>> rates = satisfaction_metrics(signals, requests)
    >>> rates[["explicit_positive_rate", "positive_rate_low", "survivorship_bias_risk"]]
       explicit_positive_rate  positive_rate_low  survivorship_bias_risk
    0                     1.0                0.2                    True
    """
    if isinstance(signals, Log) and requests is None:
        requests = signals
    if requests is None:
        raise ConfigError(
            "satisfaction_metrics(requests=None): rates are shares of requests. Give the requests, or a log"
        )
    by = columns(by)
    cells = _cells(signals, requests, window, by)
    cells["propensity"] = _propensity(cells)
    keys = by if window is None else ["_window", *by]
    frame = _sums(cells, keys)
    frame = windows.labelled(frame, window, by)
    frame = _shares(frame, abandonment_limit, positive_limit)
    if isinstance(signals, Log) and not signals.has("signals"):
        frame[[*SHARES, *WARNINGS]] = None
    frame[list(SHARES)] = frame[list(SHARES)].astype("float64")
    frame[list(WARNINGS)] = frame[list(WARNINGS)].astype("boolean")
    return frame[["window_start", "window_end", *by, "request_count", "n_thumbs", *SHARES, *WARNINGS]]


SHARES = (
    "explicit_positive_rate",
    "explicit_feedback_coverage",
    "positive_rate_low",
    "positive_rate_high",
    "positive_rate_weighted",
    "positive_rate_weighted_low",
    "positive_rate_weighted_high",
    "correction_rate",
    "follow_up_rate",
    "retry_rate",
    "abandonment_rate",
    "abandonment_rate_low",
    "abandonment_rate_high",
    "silent_abandonment_rate",
    "responding_abandonment_rate",
)
WARNINGS = ("survivorship_bias_risk", "abandonment_risk")


def said(signals, check: bool = True) -> tuple[ir.Table, CleanTable]:
    """One row for each request that has signals: its last thumb, and which implicit ones it has."""
    import ibis

    door = as_table(signals, "signals", check={"request_id", "signal_type", "timestamp"} if check else ())
    rows = door.rows
    kind, at = rows["signal_type"], engines.microseconds(rows["timestamp"])
    last = {
        f"_{thumb}": ibis.ifelse(kind == thumb, at, ibis.null("int64")).max() for thumb in ("thumbs_up", "thumbs_down")
    }
    implicit = {f"_{name}": (kind == name).ifelse(1, 0).max() for name in IMPLICIT}
    marked = rows.group_by("request_id").aggregate(**last, **implicit, _wrong=rows[FLAG].ifelse(1, 0).max())
    down = marked["_thumbs_down"].notnull() & (
        marked["_thumbs_up"].isnull() | (marked["_thumbs_down"] >= marked["_thumbs_up"])
    )
    up = marked["_thumbs_up"].notnull() & ~down
    renamed = marked.mutate(_up=up.ifelse(1, 0), _down=down.ifelse(1, 0))
    return renamed.drop("_thumbs_up", "_thumbs_down").rename(_of="request_id"), door


def _cells(signals, requests, window: str | None, by: list[str]) -> pd.DataFrame:
    """Counts of requests and signals for every window, group and stratum, by one query."""
    marks, signal_door = said(signals)
    door = as_table(requests, "requests", check={"request_id", "timestamp", "latency_ms", *by})
    rows, keys = windows.keyed(door.rows, "timestamp", window, by)
    joined = rows.left_join(marks, rows["request_id"] == marks["_of"])
    joined = joined.mutate(
        _feature=joined["feature_id"],
        _category=joined["category"],
        _latency=joined["latency_ms"].nullif(0.0).log2().floor().cast("int32").fill_null(-1),
        _retried=joined["_retry"].fill_null(0),
        **{f"_{name}": joined[f"_{name}"].fill_null(0) for name in ("abandoned", "up", "down")},
    )
    ends = {"first": joined["timestamp"].min(), "last": joined["timestamp"].max()} if window is None else {}
    cells = joined.group_by([*keys, *STRATA]).aggregate(
        n=joined.count(),
        up=joined["_up"].sum(),
        down=joined["_down"].sum(),
        bad=joined[FLAG].sum(),
        wrong=joined["_wrong"].fill_null(0).sum(),
        **{name: joined[f"_{name}"].fill_null(0).sum() for name in IMPLICIT},
        **ends,
    )
    frame = engines.run(cells).to_pandas()
    for column, refused in (("bad", door), ("wrong", signal_door)):
        if frame[column].sum():
            refused.refuse()
    return frame.sort_values([*keys, *STRATA], ignore_index=True)


def _propensity(cells: pd.DataFrame) -> np.ndarray:
    """Share of requests with a thumb in each cell, by a logistic regression on the strata with a light ridge."""
    import numpy as np
    import pandas as pd

    n, k = cells["n"].to_numpy(float), (cells["up"] + cells["down"]).to_numpy(float)
    if not k.sum():
        return np.ones(len(cells))
    strata = cells[list(STRATA)].astype("string").fillna("")
    design = pd.get_dummies(strata[[name for name in STRATA if strata[name].nunique() > 1]], dtype=float).to_numpy()
    design = np.column_stack([np.ones(len(cells)), design])
    ridge = np.diag([1e-9] + [1.0] * (design.shape[1] - 1))
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(k.sum() / max(n.sum() - k.sum(), 0.5))
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (k - n * p) - ridge @ weights
        step = np.linalg.solve((design.T * (n * p * (1 - p))) @ design + ridge, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return np.clip(1 / (1 + np.exp(-np.clip(design @ weights, -30, 30))), 1e-3, 1)


def _sums(cells: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    import pandas as pd

    thumbs = cells["up"] + cells["down"]
    cells = cells.assign(
        thumbs=thumbs,
        weight=thumbs / cells["propensity"],
        weight_up=cells["up"] / cells["propensity"],
        weight_squared=thumbs / cells["propensity"] ** 2,
        responding_abandoned=thumbs.where(cells["_abandoned"] == 1, 0),
    )
    counted = ["n", "up", "thumbs", *IMPLICIT, "weight", "weight_up", "weight_squared", "responding_abandoned"]
    how = dict.fromkeys(counted, "sum") | ({"first": "min", "last": "max"} if "first" in cells else {})
    if keys:
        return cells.groupby(keys, dropna=False, as_index=False, sort=True).agg(how)
    return pd.DataFrame({name: [getattr(cells[name], verb)()] for name, verb in how.items()})


def _shares(frame: pd.DataFrame, abandonment_limit: float, positive_limit: float) -> pd.DataFrame:
    n, thumbs = frame["n"], frame["thumbs"]
    frame["request_count"], frame["n_thumbs"] = n.astype("int64"), thumbs.astype("int64")
    frame["explicit_positive_rate"] = share(frame["up"], thumbs)
    frame["explicit_feedback_coverage"] = share(thumbs, n)
    frame["positive_rate_low"] = share(frame["up"], n)
    frame["positive_rate_high"] = share(frame["up"] + n - thumbs, n)
    weighted = frame["positive_rate_weighted"] = share(frame["weight_up"], frame["weight"])
    effective = share(frame["weight"] ** 2, frame["weight_squared"])
    low, high = wilson((weighted * effective).fillna(0), effective.fillna(0))
    frame["positive_rate_weighted_low"], frame["positive_rate_weighted_high"] = low, high
    for name, column in zip(IMPLICIT, ("correction_rate", "follow_up_rate", "retry_rate", "abandonment_rate")):
        frame[column] = share(frame[name], n)
    frame["abandonment_rate_low"], frame["abandonment_rate_high"] = wilson(frame["abandoned"], n)
    silent = frame["abandoned"] - frame["responding_abandoned"]
    frame["silent_abandonment_rate"] = share(silent, n - thumbs)
    frame["responding_abandonment_rate"] = share(frame["responding_abandoned"], thumbs)
    flattered = (frame["abandonment_rate"] > abandonment_limit) & (frame["explicit_positive_rate"] > positive_limit)
    frame["survivorship_bias_risk"] = flattered.astype("boolean").mask(n == 0)
    frame["abandonment_risk"] = (frame["abandonment_rate_low"] > abandonment_limit).astype("boolean").mask(n == 0)
    return frame


def session_metrics(requests, signals=None, by: Sequence[str] = ("feature_id",)) -> pd.DataFrame:
    """How long sessions are, and how many of them hold a retry or end in abandonment.

    Parameters
    ----------
    requests : DataFrame, Ibis table or Log
        Requests without a `session_id` belong to no session.
    signals : DataFrame, Ibis table or Log, optional
        Logged signals; a log brings its own. A type that none of them has is derived by `derive_signals`.
    by : sequence of str
        Columns to split by; a session counts in every group that it has requests in.

    Returns
    -------
    DataFrame
        The `by` columns, ``session_count``, ``requests_per_session`` (mean), ``median_length_minutes`` (first to last
        request), ``single_request_rate``, ``retry_rate``, ``abandonment_rate`` (shares of sessions), the last two with
        ``_low``, ``_high`` (Wilson, 95 %).

    Examples
    --------
    >>> import pandas as pd
    >>> requests = pd.DataFrame({"request_id": ["r1", "r2", "r3"], "session_id": ["s1", "s1", "s2"], "model_id": "m",
    ...     "timestamp": pd.to_datetime(["2026-05-11T09:00Z", "2026-05-11T09:08Z", "2026-05-11T09:00Z"]),
    ...     "feature_id": "search"})
    >>> session_metrics(requests)[["session_count", "requests_per_session", "median_length_minutes"]]
       session_count  requests_per_session  median_length_minutes
    0              2                   1.5                    4.0
    """
    by = columns(by)
    if isinstance(requests, Log) and signals is None and requests.has("signals"):
        signals = requests
    door = as_table(requests, "requests", check={"request_id", "timestamp", *by})
    rows, _ = windows.keyed(door.rows, "timestamp", None, by)
    rows = rows.filter(rows["session_id"].notnull() | rows[FLAG])
    marks = _marks(requests, signals)
    rows = rows.left_join(marks, rows["request_id"] == marks["_of"])
    frame = engines.run(_by_session(rows, by)).to_pandas()
    if frame["bad"].sum():
        door.refuse()
    return _session_shares(frame.sort_values(by, ignore_index=True) if by else frame, by)


def _marks(requests, signals) -> ir.Table:
    """Retries and abandonments by request: as logged, or derived where no row of the log has that type."""
    import pandas as pd

    kinds, found = ["retry", "abandoned"], []
    if signals is not None:
        rows = as_table(signals, "signals").rows
        rows = rows.filter(rows["signal_type"].isin(kinds)).select("request_id", "signal_type").distinct()
        found.append(engines.run(rows).to_pandas())
    lacking = set(kinds) - set(found[0]["signal_type"] if found else [])
    if lacking:
        derived = derive_signals(requests, signals)
        found.append(derived.loc[derived["signal_type"].isin(lacking), ["request_id", "signal_type"]])
    flags = pd.concat(found).drop_duplicates().assign(n=1)
    wide = flags.pivot(index="request_id", columns="signal_type", values="n").reindex(columns=kinds).fillna(0)
    return frames.small_table(wide.astype("int64").reset_index(names="_of"))


def _by_session(rows: ir.Table, by: list[str]) -> ir.Table:
    at = engines.microseconds(rows["timestamp"])
    marks = {kind: rows[kind].fill_null(0).max() for kind in ("retry", "abandoned")}
    sessions = rows.group_by([*by, "session_id"]).aggregate(
        n=rows.count(), minutes=(at.max() - at.min()) / 60e6, bad=rows[FLAG].sum(), **marks
    )
    counted = {
        "session_count": sessions.count(),
        "requests": sessions["n"].sum(),
        "lengths": sessions["minutes"].quantile([0.5]),
        "single": (sessions["n"] == 1).sum(),
        "retry": sessions["retry"].sum(),
        "abandoned": sessions["abandoned"].sum(),
        "bad": sessions["bad"].sum(),
    }
    cells = sessions.group_by(by).aggregate(**counted) if by else sessions.aggregate(**counted)
    return cells.mutate(median_length_minutes=cells["lengths"][0]).drop("lengths")


def _session_shares(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    n = frame["session_count"]
    frame["requests_per_session"] = share(frame["requests"], n)
    frame["single_request_rate"] = share(frame["single"], n)
    for column, count in (("retry_rate", frame["retry"]), ("abandonment_rate", frame["abandoned"])):
        frame[column] = share(count, n)
        frame[f"{column}_low"], frame[f"{column}_high"] = wilson(count.fillna(0).astype(float), n)
    measures = [
        "requests_per_session",
        "median_length_minutes",
        "single_request_rate",
        "retry_rate",
        "abandonment_rate",
    ]
    ends = [f"{rate}_{end}" for rate in ("retry_rate", "abandonment_rate") for end in ("low", "high")]
    return frame[[*by, "session_count", *measures, *ends]]
