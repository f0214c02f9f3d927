"""Hourly sums of a log as they would be with a fault in it: the log itself is read, never altered.

A fault of requests (refusals, cost, abandonment) is arithmetic on the sums of the answers that it hits. A fault of
quality moves the scores of the judged answers that it hits, and only of those: an answer that the log's own sampling left
out stays unjudged. Which answers are hit is decided by a hash of the request id, so that a smaller fault hits a part of
what a larger one hits.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.measurements import CHARTED, STEP, SUMS, TALLIES, hourly, no_tallies, tally
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.log import Log, open_log
from llm_monitoring.measures import Measure, measure, of_judge
from llm_monitoring.schema import scale_ends

if TYPE_CHECKING:
    import ibis.expr.types as ir

METRICS = {
    "refusal": ("refusal_rate",),
    "abandonment": ("abandonment_rate",),
    "cost": ("avg_cost_per_request_usd",),
    "pass_fail": ("flagged_rate",),
}
HOUR = ["feature_id", "__lm_series", "hour", "known"]
CELL = ["feature_id", "metric", "kind", "low", "high"]
HOUR_LONG = pd.Timedelta("1h")


def touched_log(log: Log, injection: Injection, seed: int) -> Log:
    """The log with only those requests that a fault hits; the log itself where it hits every answer.

    Raises
    ------
    ConfigError
        `where` names a column that the requests do not have, or no request is in the slice.
    """
    rows = log.table("requests")
    for column, values in injection.where.items():
        rows = rows.filter(_is_among(rows, column, values))
    if injection.where and not engines.run(rows.aggregate(n=rows.count()))["n"].to_pylist()[0]:
        raise ConfigError(f"Injection(where={quote(dict(injection.where))}): no request is in this slice")
    if injection.share < 1:
        salted = engines.buckets(rows.mutate(__lm_salted=rows["request_id"].concat(f"|{seed}")), "__lm_salted")
        rows = salted.filter(salted["_bucket"] < round(injection.share * 100_000)).drop("_bucket", "__lm_salted")
    elif not injection.where:
        return log
    tables = {name: log.table(name) for name in ("signals", "judgements") if log.has(name)}
    return open_log({"requests": rows, **tables}, measures=log.measures or None)


def _is_among(rows: ir.Table, column: str, values: Any) -> ir.BooleanValue:
    if column not in rows.columns:
        near = difflib.get_close_matches(str(column), rows.columns, n=1, cutoff=0.0)
        raise ConfigError(f"Injection(where): requests have no column {quote(column)}; the nearest is {near[0]!r}")
    several = list(values) if isinstance(values, list | tuple | set) else [values]
    return rows[column].isin(several).fill_null(False)


def planted(
    log: Log, base: pd.DataFrame, injection: Injection, seed: int, own: tuple[Measure, ...] = ()
) -> pd.DataFrame:
    """Hourly sums of the metrics that a fault moves, as if it were in the log from beginning to end.

    Parameters
    ----------
    log : Log
    base : DataFrame
        Hourly sums (`TALLIES`) of those metrics as the log has them.
    injection : Injection
        Of refusals, abandonment or cost.
    seed : int
    own : tuple of Measure

    Returns
    -------
    DataFrame
        `TALLIES` of the features that it hits.
    """
    inside = touched_log(log, injection, seed)
    part = base if inside is log else hourly(inside, [measure(name, own) for name in METRICS[injection.what]], own)
    if part.empty:
        return no_tallies()
    cells = part.groupby([*CELL, "hour"], as_index=False, dropna=False)[SUMS].sum()
    added = _times(cells, injection.size) if injection.what == "cost" else _more(cells, injection.size, seed)
    rows = cells[[*CELL, "hour"]].assign(known=cells["hour"] + HOUR_LONG, **added)
    full = base[base["feature_id"].isin(part["feature_id"].unique())]
    return pd.concat([full, rows[TALLIES].astype(full.dtypes.to_dict())], ignore_index=True)


def _times(cells: pd.DataFrame, factor: float) -> dict[str, Any]:
    """What the sums of logarithms gain where every amount is multiplied."""
    log = np.log(factor)
    squares = 2 * log * cells["total"] + cells["n"] * log**2
    none = dict.fromkeys(["n", "weight", "weight2"], 0.0)
    return {**none, "total": cells["n"] * log, "squares": squares, "plain": cells["plain"] * (factor - 1)}


def _more(cells: pd.DataFrame, size: float, seed: int) -> dict[str, Any]:
    """What the sums of a share gain where so many more answers, drawn at random, have the mark."""
    rate = cells["total"].sum() / cells["n"].sum()
    chance = min(size / max(1 - rate, 1e-9), 1.0)
    free = (cells["n"] - cells["total"]).clip(lower=0).round().to_numpy()
    u = uniform(cells["feature_id"] + "|" + cells["hour"].astype("int64").astype(str), seed, "more")
    added = stats.binom.ppf(u, free, chance)  # the same u for every size: a larger fault holds a smaller one
    return {**dict.fromkeys(["n", "weight", "weight2"], 0.0), **dict.fromkeys(["total", "squares", "plain"], added)}


def uniform(names: pd.Series, seed: int, purpose: str) -> np.ndarray:
    """A number from 0 to 1 for each name, the same for the same name and seed."""
    hashed = pd.util.hash_array(names.astype(str).to_numpy(object), hash_key=f"{purpose[:8]:_<8}{seed % 10**8:08d}")
    return (hashed.astype(float) + 0.5) / 2.0**64


def judged_answers(log: Log, features: list[str] | None = None, more: tuple[str, ...] = ()) -> pd.DataFrame:
    """The judgements that count, a row each, as the charts of judged answers take them.

    Returns
    -------
    DataFrame
        `request_id`, `feature_id`, `hour`, `judged_at`, `__lm_series`, `weight`, `score`, `flagged`, `failed`, `scale`,
        `dimensions` (a dict), and the columns `more` of the request.
    """
    rows = answers.view_of(log, "judgements", more=[name for name in more if name != "feature_id"])
    if features is not None:
        rows = rows.filter(rows["feature_id"].isin(features))
    kept = rows.select(
        "request_id", "feature_id", "timestamp", "judged_at", "__lm_series", "scale", "dimensions",
        weight=rows["__lm_weight"], score=rows["__lm_score"], flagged=rows["__lm_flagged"].cast("float64"),
        failed=rows["__lm_failed"].cast("float64"), **{name: rows[name] for name in more if name != "feature_id"},
    )  # fmt: skip
    table = engines.run(kept).to_pandas().sort_values("request_id", ignore_index=True)
    at = pd.to_datetime(table.pop("timestamp"), utc=True).dt.as_unit("us")
    table["dimensions"] = [json.loads(text) if isinstance(text, str) else {} for text in table["dimensions"]]
    return table.assign(hour=windows.floor(at, "1h"))


def in_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Judged answers with `known`, when their hour was known, and `cell`, the number of what they are summed by.

    A fault moves neither, so answers that are summed with several faults are numbered once.
    """
    known = pd.to_datetime(rows["judged_at"], utc=True).dt.ceil(STEP)
    rows = rows.assign(known=known.where(known > rows["hour"] + HOUR_LONG, rows["hour"] + HOUR_LONG))
    return rows.assign(cell=rows.groupby(HOUR, sort=True).ngroup())


def judged_sums(rows: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Hourly sums of judged answers, as `measurements.hourly` gives them for every judge.

    Parameters
    ----------
    rows : DataFrame
        As `judged_answers` gives it.
    metrics : list of str
        mean_quality, flagged_rate, failed_rate and means of dimensions, without a judge's name.
    """
    rows = rows if "cell" in rows else in_cells(rows)
    rows = rows[rows["cell"] >= 0]
    parts = []
    sums: dict[str, pd.Series] = {}
    for number, name in enumerate(metrics):
        value = _value_of(rows, name)
        weight = rows["weight"].where(value.notna())
        total = weight * value
        several = (value.notna().astype(float), weight, weight**2, total, weight * value**2, total)
        sums |= {f"{column} {number}": one for column, one in zip(SUMS, several, strict=True)}
    every = pd.DataFrame(sums, index=rows.index).groupby(rows["cell"], sort=True).sum()  # of all metrics at once
    cell, first = np.unique(rows["cell"], return_index=True)
    every = every.loc[cell].reset_index(drop=True)
    keys = rows[HOUR].iloc[first].reset_index(drop=True)
    for number, name in enumerate(metrics):
        each = measure(name)
        cells = keys.assign(**{column: every[f"{column} {number}"] for column in SUMS})
        for judge, own in cells.groupby("__lm_series", sort=True):
            ends = {}
            if each.kind == "mean":
                low, high = scale_ends(rows.loc[rows["__lm_series"] == judge, "scale"].max())
                ends = {"low": low, "high": high}
            parts.append(tally(own.assign(**ends), of_judge(name, str(judge)), CHARTED.get(each.kind, each.kind)))
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else no_tallies()


def _value_of(rows: pd.DataFrame, name: str) -> pd.Series:
    if name in ("mean_quality", "flagged_rate", "failed_rate"):
        return rows[{"mean_quality": "score", "flagged_rate": "flagged", "failed_rate": "failed"}[name]]
    dimension = name.removeprefix("mean_")
    found = [each.get(dimension) for each in rows["dimensions"]]
    return pd.to_numeric(pd.Series(found, index=rows.index, dtype=object), errors="coerce").where(rows["failed"] == 0)


def worse(rows: pd.DataFrame, injection: Injection, seed: int) -> pd.DataFrame:
    """The judged answers with a fault of quality in those that it hits.

    Scores move by whole points where the judge gives whole points, as many of them as make the mean move by `size`;
    every dimension moves with the score. A flag follows the score: as often as the log's own answers with that score are
    flagged. A judge that says only pass or fail turns the share `size` to fail.

    Parameters
    ----------
    rows : DataFrame
        As `judged_answers` gives it, with the columns of `where`.
    injection : Injection
        Of quality, or of pass and fail.
    seed : int
    """
    hit = _hits(rows, injection, seed) & (rows["failed"] == 0)
    if not hit.any():
        return rows
    u = pd.Series(uniform(rows["request_id"], seed, "flag"), index=rows.index)
    if injection.what == "pass_fail" or rows.loc[hit, "score"].isna().all():
        return rows.assign(flagged=_failing(rows["flagged"], hit, abs(injection.size), u))
    out = rows.copy()
    for scale in sorted(rows.loc[hit, "scale"].unique()):
        mine = hit & (rows["scale"] == scale) & rows["score"].notna()
        low, high = scale_ends(scale)
        score = rows.loc[mine, "score"].to_numpy(float)
        step = _moves(score, float(injection.size), low, high, uniform(rows.loc[mine, "request_id"], seed, "score"))
        out.loc[mine, "score"] = score + step
        out.loc[mine, "dimensions"] = pd.Series(
            [_moved(each, by, low, high) for each, by in zip(rows.loc[mine, "dimensions"], step)],
            index=rows.index[mine], dtype=object,
        )  # fmt: skip
        judged = rows[(rows["scale"] == scale) & rows["score"].notna() & rows["flagged"].notna()]
        out.loc[mine, "flagged"] = _following(judged, rows.loc[mine, "flagged"], score, score + step, u[mine])
    return out


def _hits(rows: pd.DataFrame, injection: Injection, seed: int) -> pd.Series:
    chosen = True if injection.share >= 1 else uniform(rows["request_id"], seed, "share") < injection.share
    hit = pd.Series(chosen, index=rows.index)
    for column, values in injection.where.items():
        several = list(values) if isinstance(values, list | tuple | set) else [values]
        hit &= rows[column].isin(several)
    return hit


def _failing(flagged: pd.Series, hit: pd.Series, size: float, u: pd.Series) -> pd.Series:
    """The flags after so large a share of the answers hit was turned to fail."""
    passing = hit & (flagged == 0)
    turned = round(size * (hit & flagged.notna()).sum())
    chosen = u[passing].sort_values(kind="stable").index[:turned]
    return flagged.mask(flagged.index.isin(chosen), 1.0)


def _moves(score: np.ndarray, size: float, low: float, high: float, u: np.ndarray) -> np.ndarray:
    """How far each score moves, so that their mean moves by `size` and none leaves the scale."""
    room = high - score if size > 0 else score - low
    whole = bool(np.all(score == np.round(score)))

    def moved(reach: float) -> np.ndarray:
        by = np.floor(reach) + (u < reach % 1) if whole else np.full(len(score), reach)
        return np.minimum(by, room)

    reach, most = abs(size), high - low
    if moved(most).mean() <= reach:
        return np.sign(size) * moved(most)
    found = (
        optimize.brentq(lambda r: moved(r).mean() - reach, 0.0, most, xtol=1e-4)
        if moved(reach).mean() < reach
        else reach
    )
    return np.sign(size) * moved(found)


def _moved(dimensions: Mapping[str, Any], by: float, low: float, high: float) -> dict[str, Any]:
    return {
        name: min(max(value + by, low), high)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else value
        for name, value in dimensions.items()
    }


def _following(
    judged: pd.DataFrame, flagged: pd.Series, before: np.ndarray, after: np.ndarray, u: pd.Series
) -> pd.Series:
    """Flags after the scores moved: as often as the log's answers with the new score are flagged."""
    if judged.empty:
        return flagged
    often = judged.groupby(judged["score"].round())["flagged"].mean()
    often = often.sort_index(ascending=False).cummax().sort_index()  # a lower score is flagged at least as often
    scores, rates = often.index.to_numpy(float), often.to_numpy(float)
    was, now = (np.interp(np.round(each), scores, rates) for each in (before, after))
    with np.errstate(divide="ignore", invalid="ignore"):
        turn_on = np.where(now > was, (now - was) / (1 - was), 0.0)
        turn_off = np.where(now < was, (was - now) / was, 0.0)
    flags = flagged.to_numpy(float)
    on, off = (flags == 0) & (u.to_numpy() < turn_on), (flags == 1) & (u.to_numpy() < turn_off)
    return pd.Series(np.where(on, 1.0, np.where(off, 0.0, flags)), index=flagged.index)
