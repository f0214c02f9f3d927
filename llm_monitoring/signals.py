"""What users do, and what their thumbs do not say: derived signals, satisfaction with its bounds, sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llm_monitoring import answers, engines, frames, windows
from llm_monitoring.errors import ConfigError
from llm_monitoring.intervals import wilson
from llm_monitoring.log import Log, TableLike, as_table
from llm_monitoring.metrics import columns, share
from llm_monitoring.schema import FLAG, SIGNALS
from llm_monitoring.validation import CleanTable

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import numpy as np
    import pandas as pd

IMPLICIT = answers.SIGNALS
STRATA = ("__lm_feature", "__lm_category", "__lm_slow", "__lm_abandoned", "__lm_retry")
MOST_LEVELS = 30


def derive_signals(
    requests: TableLike,
    signals: TableLike | None = None,
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
    steps = _steps(answers.requests_view(door.rows, door.present), abandoned_if)
    quick, slow = (int(windows.width(each).total_seconds() * 1e6) for each in (retry_within, follow_up_within))
    telling = _telling(steps, quick, slow, _known_until(requests, door.rows))
    found = [_signals(batch.to_pandas(), door, quick, slow, similarity) for batch in engines.batches(telling)]
    frame = pd.concat(found) if found else pd.DataFrame(columns=SIGNALS.names)
    if signals is not None and len(frame):
        frame = frame[~frame["request_id"].isin(_logged(signals))]
    return frames.ordered(frame, SIGNALS)


def _steps(rows: ir.Table, abandoned_if: Any) -> ir.Table:
    """Each request of a session with the next one, and whether its answer was a bad one to end with."""
    import ibis

    slowest = rows.group_by("feature_id").aggregate(__lm_p95=engines.quantiles(rows["latency_ms"], [0.95]))
    slowest = slowest.select(__lm_of="feature_id", __lm_p95=slowest["__lm_p95"][0])
    joined = rows.left_join(slowest, rows["feature_id"] == slowest["__lm_of"])
    failed = (joined["__lm_error"] == 1).fill_null(False)
    cases = [
        (failed, "error"),
        (joined["finish_reason"] == "refusal", "refusal"),
        (joined["finish_reason"] == "max_tokens", "truncation"),
        (joined["latency_ms"] > joined["__lm_p95"], "latency above the feature's p95"),
    ]
    if abandoned_if is not None:
        cases.append((abandoned_if(joined), "the caller's rule"))
    marked = joined.mutate(
        __lm_failed=failed, __lm_why=ibis.cases(*cases), __lm_at=engines.microseconds(joined["timestamp"])
    )
    session = ibis.window(group_by="session_id", order_by=["__lm_at", "request_id"])
    ordered = marked.filter(marked["session_id"].notnull())
    return ordered.select(
        "request_id",
        "session_id",
        "user_input",
        "__lm_failed",
        "__lm_why",
        "__lm_at",
        FLAG,
        __lm_place=ibis.row_number().over(session),
        __lm_next_at=ordered["__lm_at"].lead().over(session),
        __lm_next_input=ordered["user_input"].lead().over(session),
    )


def _telling(steps: ir.Table, quick: int, slow: int, end: int) -> ir.Table:
    """The requests that cause a signal, with the texts to compare: those that may be a retry and are not equal as they are."""
    import ibis

    text, later = steps["user_input"], steps["__lm_next_input"]
    gap = steps["__lm_next_at"] - steps["__lm_at"]
    again = (gap <= slow).fill_null(False)
    compared = (gap <= quick) & ~steps["__lm_failed"] & text.notnull() & later.notnull()
    same = (compared & (text == later) & text.re_search("[A-Za-z0-9]")).fill_null(False)
    over = steps["__lm_at"] + slow <= end
    left = (steps["__lm_place"] == 0) & steps["__lm_next_at"].isnull() & steps["__lm_why"].notnull() & over
    unlike = compared.fill_null(False) & ~same
    told = steps.mutate(
        __lm_same=same,
        user_input=ibis.ifelse(unlike, text, ibis.null("string")),
        __lm_next_input=ibis.ifelse(unlike, later, ibis.null("string")),
    )
    return told.filter(again | left | steps[FLAG]).drop("__lm_place")


def _signals(rows: pd.DataFrame, door: CleanTable, quick: int, slow: int, similarity: float) -> pd.DataFrame:
    """The signal that each of these requests caused."""
    import numpy as np
    import pandas as pd

    if rows[FLAG].any():
        door.refuse()
    at, later = rows["__lm_at"], rows["__lm_next_at"]
    again, failed = later.notna(), rows["__lm_failed"].astype(bool)
    alike = np.where(rows["__lm_same"].astype(bool), 100.0, _alike(rows["user_input"], rows["__lm_next_input"]))
    near = alike >= similarity
    retry = (later - at <= quick) & (near | failed)
    rule = np.select(
        [retry & near, retry, again], ["nearly the same text", "follows an error", "next request of the session"], ""
    )
    rule = np.where(again, rule, "the session ended after: " + rows["__lm_why"].fillna("").astype(object))
    return pd.DataFrame(
        {
            "request_id": rows["request_id"],
            "session_id": rows["session_id"],
            "signal_type": np.select([retry, again], ["retry", "follow_up"], "abandoned"),
            "timestamp": later.where(again, at + slow).astype("int64"),
            "metadata": [{"source": "derived", "rule": each} for each in rule.tolist()],
        }
    )


def _alike(texts: pd.Series, later: pd.Series) -> np.ndarray:
    """Token-set ratio (0 to 100) of each text and the later one; below all limits where one is not known."""
    import numpy as np
    from rapidfuzz import fuzz, process, utils

    known = (texts.notna() & later.notna()).to_numpy()
    found = np.full(len(texts), -1.0)
    pairs = (texts[known].tolist(), later[known].tolist())
    found[known] = process.cpdist(*pairs, scorer=fuzz.token_set_ratio, processor=utils.default_process)
    return found


def _known_until(requests: Any, rows: ir.Table) -> int:
    """The last moment that the requests tell of: a session that is younger than the longest pause may go on."""
    at = engines.microseconds(rows.filter(rows["session_id"].notnull())["timestamp"])
    last = engines.run(at.max().name("last").as_table()).to_pylist()[0]["last"] or 0
    cut = requests.known_until if isinstance(requests, Log) else None
    return last if cut is None else max(last, cut.value // 1000)


def _logged(signals: Any) -> pd.Series:
    rows = as_table(signals, "signals").rows
    kept = rows.filter(rows["signal_type"].isin(["retry", "follow_up", "abandoned"])).select("request_id").distinct()
    return engines.run(kept).to_pandas()["request_id"]


def satisfaction_metrics(
    signals: TableLike,
    requests: TableLike | None = None,
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
    by = columns(by, ["request_count", "n_thumbs", *SHARES, *WARNINGS])
    cells = _cells(signals, requests, window, by)
    cells["__lm_propensity"] = _propensity(cells)
    keys = by if window is None else [windows.WINDOW, *by]
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


def _cells(signals: Any, requests: Any, window: str | None, by: list[str]) -> pd.DataFrame:
    """Counts of requests and signals for every window, group and stratum, by one query."""
    signal_door = as_table(signals, "signals", check={"request_id", "signal_type", "timestamp"})
    marks = answers.signals_view(signal_door.rows)
    door = as_table(requests, "requests", check={"request_id", "timestamp", "latency_ms", *by})
    rows, keys = windows.keyed(door.rows, "timestamp", window, by)
    joined = rows.left_join(marks, rows["request_id"] == marks["__lm_of"])
    joined = joined.mutate(
        __lm_feature=joined["feature_id"],
        __lm_category=joined["category"],
        __lm_slow=joined["latency_ms"].nullif(0.0).log2().floor().cast("int32").fill_null(-1),
        **{f"__lm_{name}": joined[f"__lm_{name}"].fill_null(0) for name in IMPLICIT},
    )
    up = joined["__lm_up"]
    ends = {windows.FIRST: joined["timestamp"].min(), windows.LAST: joined["timestamp"].max()} if window is None else {}
    cells = joined.group_by([*keys, *STRATA]).aggregate(
        __lm_n=joined.count(),
        __lm_ups=up.fill_null(0).sum(),
        __lm_thumbs=up.count(),
        __lm_wrong=joined[FLAG].sum(),
        __lm_wrong_signals=joined["__lm_wrong_signal"].fill_null(0).sum(),
        **{f"__lm_{name}_sum": joined[f"__lm_{name}"].sum() for name in IMPLICIT},
        **ends,
    )
    frame = engines.run(cells).to_pandas()
    for column, refused in (("__lm_wrong", door), ("__lm_wrong_signals", signal_door)):
        if frame[column].sum():
            refused.refuse()
    return frame.sort_values([*keys, *STRATA], ignore_index=True)


def _propensity(cells: pd.DataFrame) -> np.ndarray:
    """Share of requests with a thumb in each cell, by a logistic regression on the strata with a light ridge.

    A stratum's rarest levels, below its most frequent ones, are one level together.
    """
    import numpy as np
    import pandas as pd

    n, k = cells["__lm_n"].to_numpy(float), cells["__lm_thumbs"].to_numpy(float)
    if not k.sum():
        return np.ones(len(cells))
    parts = [np.ones((len(cells), 1))]
    for name in STRATA:
        levels = cells[name].astype("string").fillna("")
        frequent = cells.groupby(levels)["__lm_n"].sum().sort_values(ascending=False, kind="stable").index[:MOST_LEVELS]
        levels = levels.where(levels.isin(frequent), "\x00rare")
        if levels.nunique() > 1:
            parts.append(pd.get_dummies(levels, dtype=float).to_numpy())
    design = np.column_stack(parts)
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

    thumbs, ups, chance = cells["__lm_thumbs"], cells["__lm_ups"], cells["__lm_propensity"]
    made = {
        "__lm_weight": thumbs / chance,
        "__lm_weight_up": ups / chance,
        "__lm_weight_squared": thumbs / chance**2,
        "__lm_responding": thumbs.where(cells["__lm_abandoned"] == 1, 0),
    }
    counted = ["__lm_n", "__lm_ups", "__lm_thumbs", *(f"__lm_{name}_sum" for name in IMPLICIT), *made]
    how = dict.fromkeys(counted, "sum") | (
        {windows.FIRST: "min", windows.LAST: "max"} if windows.FIRST in cells else {}
    )
    cells = cells.assign(**made)
    if keys:
        return cells.groupby(keys, dropna=False, as_index=False, sort=True).agg(how)
    return pd.DataFrame({name: [getattr(cells[name], verb)()] for name, verb in how.items()})


def _shares(frame: pd.DataFrame, abandonment_limit: float, positive_limit: float) -> pd.DataFrame:
    n, thumbs, ups = frame["__lm_n"], frame["__lm_thumbs"], frame["__lm_ups"]
    frame["request_count"], frame["n_thumbs"] = n.astype("int64"), thumbs.astype("int64")
    frame["explicit_positive_rate"] = share(ups, thumbs)
    frame["explicit_feedback_coverage"] = share(thumbs, n)
    frame["positive_rate_low"] = share(ups, n)
    frame["positive_rate_high"] = share(ups + n - thumbs, n)
    weighted = frame["positive_rate_weighted"] = share(frame["__lm_weight_up"], frame["__lm_weight"])
    effective = share(frame["__lm_weight"] ** 2, frame["__lm_weight_squared"])
    low, high = wilson((weighted * effective).fillna(0), effective.fillna(0))
    frame["positive_rate_weighted_low"], frame["positive_rate_weighted_high"] = low, high
    for name, column in zip(IMPLICIT, ("correction_rate", "follow_up_rate", "retry_rate", "abandonment_rate")):
        frame[column] = share(frame[f"__lm_{name}_sum"], n)
    left = frame["__lm_abandoned_sum"]
    frame["abandonment_rate_low"], frame["abandonment_rate_high"] = wilson(left, n)
    frame["silent_abandonment_rate"] = share(left - frame["__lm_responding"], n - thumbs)
    frame["responding_abandonment_rate"] = share(frame["__lm_responding"], thumbs)
    flattered = (frame["abandonment_rate"] > abandonment_limit) & (frame["explicit_positive_rate"] > positive_limit)
    frame["survivorship_bias_risk"] = flattered.astype("boolean").mask(n == 0)
    frame["abandonment_risk"] = (frame["abandonment_rate_low"] > abandonment_limit).astype("boolean").mask(n == 0)
    return frame


def session_metrics(
    requests: TableLike, signals: TableLike | None = None, by: Sequence[str] = ("feature_id",)
) -> pd.DataFrame:
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
    by = columns(by, SESSIONS)
    if isinstance(requests, Log) and signals is None and requests.has("signals"):
        signals = requests
    door = as_table(requests, "requests", check={"request_id", "timestamp", *by})
    rows, _ = windows.keyed(door.rows, "timestamp", None, by)
    rows = rows.filter(rows["session_id"].notnull() | rows[FLAG])
    marks = _marks(requests, signals)
    rows = rows.left_join(marks, rows["request_id"] == marks["__lm_of"])
    frame = engines.run(_by_session(rows, by)).to_pandas()
    if frame["__lm_wrong"].sum():
        door.refuse()
    return _session_shares(frame.sort_values(by, ignore_index=True) if by else frame, by)


def _marks(requests: Any, signals: Any) -> ir.Table:
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
    renamed = wide.astype("int64").rename(columns={kind: f"__lm_{kind}" for kind in kinds})
    return frames.small_table(renamed.reset_index(names="__lm_of"))


def _by_session(rows: ir.Table, by: list[str]) -> ir.Table:
    at = engines.microseconds(rows["timestamp"])
    marks = {f"__lm_{kind}": rows[f"__lm_{kind}"].fill_null(0).max() for kind in ("retry", "abandoned")}
    sessions = rows.group_by([*by, "session_id"]).aggregate(
        __lm_n=rows.count(), __lm_minutes=(at.max() - at.min()) / 60e6, __lm_wrong=rows[FLAG].sum(), **marks
    )
    counted = {
        "session_count": sessions.count(),
        "__lm_requests": sessions["__lm_n"].sum(),
        "__lm_lengths": engines.quantiles(sessions["__lm_minutes"], [0.5]),
        "__lm_single": (sessions["__lm_n"] == 1).sum(),
        "__lm_retries": sessions["__lm_retry"].sum(),
        "__lm_left": sessions["__lm_abandoned"].sum(),
        "__lm_wrong": sessions["__lm_wrong"].sum(),
    }
    cells = sessions.group_by(by).aggregate(**counted) if by else sessions.aggregate(**counted)
    return cells.mutate(median_length_minutes=cells["__lm_lengths"][0]).drop("__lm_lengths")


SESSIONS = (
    "session_count",
    "requests_per_session",
    "median_length_minutes",
    "single_request_rate",
    "retry_rate",
    "abandonment_rate",
)


def _session_shares(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    n = frame["session_count"]
    frame["requests_per_session"] = share(frame["__lm_requests"], n)
    frame["single_request_rate"] = share(frame["__lm_single"], n)
    for column, count in (("retry_rate", frame["__lm_retries"]), ("abandonment_rate", frame["__lm_left"])):
        frame[column] = share(count, n)
        frame[f"{column}_low"], frame[f"{column}_high"] = wilson(count.fillna(0).astype(float), n)
    ends = [f"{rate}_{end}" for rate in ("retry_rate", "abandonment_rate") for end in ("low", "high")]
    return frame[[*by, *SESSIONS, *ends]]
