"""What is charted: hourly sums per feature and metric, added up to the window that a feature's traffic fills.

Sums add up where means do not: `n`, `total`, `squares` of an hour give mean and sd of six hours or of a day.

Cost and tokens are skewed: the mean of twenty requests is anything but normal, and a chart of it alarms for one long
answer. So their sums are of logarithms, and a window's value is the geometric mean, scaled so that the baseline's is
its plain mean: a change of all requests by some factor shows as that factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.errors import ConfigError
from llm_monitoring.measures import Measure, of_judge
from llm_monitoring.schema import scale_ends

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from llm_monitoring.log import Log

WIDTHS = ("1h", "6h", "1d")
SEASON = {"1h": 24, "6h": 4, "1d": 7}
SUMS = ["n", "weight", "weight2", "total", "squares", "plain"]
ENDS = ["low", "high"]  # of the judge's scale, of mean scores
TALLIES = ["feature_id", "metric", "kind", *ENDS, "hour", *SUMS, "last"]
CHARTED = {"count": "mean"}  # kind of a measure -> kind of its chart, where they differ
KEYS = ["feature_id", "metric"]
FEWEST = 7
DAY = pd.Timedelta("1D")


@dataclass(frozen=True)
class Span:
    """The log's time: the baseline from `start` to `split`, what is watched from there to `end`."""

    start: pd.Timestamp
    split: pd.Timestamp
    end: pd.Timestamp


def span_of(log: Log, plan: Plan, until: pd.Timestamp | None = None) -> Span | None:
    """Baseline and watched time of a log; None where it has no request.

    The baseline is the first half of the log in whole weeks, two at least and four at most; of a log below three
    weeks two thirds in whole days. `end` is the last request, or `until`: a window that ends later is still open.
    """
    times = log.table("requests").timestamp
    found = engines.run(log.table("requests").aggregate(first=times.min(), last=times.max())).to_pandas()
    first, last = (pd.to_datetime(found[name], utc=True).iloc[0] for name in ("first", "last"))
    if pd.isna(first):
        return None
    start = pd.Timestamp(plan.baseline.start).tz_convert("UTC") if plan.baseline.start else first.floor("D")
    end = max(last, until) if until is not None else last
    return Span(start, _split(start, end, plan), end)


def _split(start: pd.Timestamp, end: pd.Timestamp, plan: Plan) -> pd.Timestamp:
    if plan.baseline.days:
        return start + plan.baseline.days * DAY
    if plan.baseline.end:
        return pd.Timestamp(plan.baseline.end).tz_convert("UTC")
    days = -(-(end - start) // DAY)
    if days >= 21:
        return start + DAY * min(max(7 * (days // 14), 14), 28)
    if days > 2:
        return start + DAY * min(max(round(days * 2 / 3), 7), days - 1)
    return (start + (end - start) * 2 / 3).floor("h")


def tally(frame: pd.DataFrame, metric: str, kind: str) -> pd.DataFrame:
    """Hourly sums as the long table; `weight`, `weight2`, `squares`, `last` are filled where they are not given."""
    filled = frame.assign(metric=metric, kind=kind)
    given = [name for name in SUMS if name in filled]
    filled[given] = filled[given].astype(float)
    filled = filled.assign(**{end: np.nan for end in ENDS if end not in filled})
    for name, plain in (("weight", "n"), ("weight2", "n"), ("squares", "total"), ("plain", "total")):
        if name not in filled:
            filled[name] = filled[plain]
    if "last" not in filled:
        filled["last"] = pd.NaT
    filled["last"] = pd.to_datetime(filled["last"], utc=True).astype("datetime64[us, UTC]")
    filled["hour"] = pd.to_datetime(filled["hour"], utc=True).astype("datetime64[us, UTC]")
    numbers = [*ENDS, *SUMS]
    filled[numbers] = filled[numbers].astype(float)
    return filled.loc[filled["n"] > 0, TALLIES]


def hourly(log: Log, wanted: Iterable[Measure], own: Iterable[Measure] = ()) -> pd.DataFrame:
    """Hourly sums of measures per feature, worked out by the engine: one query for each table behind them.

    Parameters
    ----------
    log : Log
    wanted : iterable of Measure
        Judged ones are given for every judge (`measures.of_judge`).
    own : iterable of Measure
        Those of `wanted` that are the user's.

    Returns
    -------
    DataFrame
        `TALLIES`. A signal that is logged nowhere has no rows.
    """
    groups: dict[str, list[Measure]] = {}
    for each in wanted:
        groups.setdefault(each.of, []).append(each)
    parts = [part for of, several in groups.items() for part in _of_table(log, of, several, own)]
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else no_tallies()


def no_tallies() -> pd.DataFrame:
    """The table of hourly sums without a row."""
    kinds = dict.fromkeys([*ENDS, *SUMS], "float64") | dict.fromkeys(["hour", "last"], "datetime64[us, UTC]")
    return pd.DataFrame(columns=TALLIES).astype(kinds)


def _of_table(log: Log, of: str, several: list[Measure], own: Iterable[Measure]) -> Iterator[pd.DataFrame]:
    if (of == "judgements" and not log.has("judgements")) or (of in ("signals", "thumbs") and not log.has("signals")):
        return
    view = answers.view_of(log, of, own)
    by = ["feature_id", "__lm_series"] if of == "judgements" else ["feature_id"]
    rows, keys = windows.keyed(view, "timestamp", "1h", by)
    last = {"judgements": "judged_at", "signals": "__lm_last", "thumbs": "__lm_last"}.get(of)
    sums: dict[str, Any] = {"__lm_last_known": rows[last].max()} if last else {}
    sums |= {"__lm_scale": rows["scale"].max()} if of == "judgements" else {}  # a series has one
    for i, each in enumerate(several):
        sums |= {f"__lm_{i}_{name}": value for name, value in _sums(rows, each).items()}
    found = by_hour(engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas(), by)
    found = found.sort_values([*by, "hour"], ignore_index=True)
    for i, each in enumerate(several):
        names = {f"__lm_{i}_{name}": name for name in SUMS}
        series = found["__lm_series"] if of == "judgements" else [""]
        for judge in sorted(set(series)):
            part = found if of != "judgements" else found[found["__lm_series"] == judge]
            table = part.rename(columns={**names, "__lm_last_known": "last"})
            if of == "judgements" and each.kind == "mean":
                table[ENDS] = [scale_ends(scale) for scale in table["__lm_scale"]]
            if of == "signals" and not (table["total"].fillna(0) > 0).any():
                continue
            yield tally(table, of_judge(each.name, judge), CHARTED.get(each.kind, each.kind))


def _sums(rows: ir.Table, each: Measure) -> dict[str, Any]:
    """n, weight, weight squared, total, squares and plain total of one measure; of skewed amounts the logarithms'."""
    import ibis

    value = answers.value(rows, each).cast("float64")
    plain = value
    if each.kind == "positive":
        value = ibis.ifelse(value > 0, value, ibis.null("float64")).ln()
    known = {"n": value.count()}
    if not each.judged:
        sums = {
            "weight": value.count(),
            "weight2": value.count(),
            "total": value.sum(),
            "squares": (value * value).sum(),
        }
        return known | sums | {"plain": plain.sum()}
    weight = ibis.ifelse(value.notnull(), rows["__lm_weight"], ibis.null("float64"))
    sums = {"weight": weight.sum(), "weight2": (weight * weight).sum(), "total": (weight * value).sum()}
    return known | sums | {"squares": (weight * value * value).sum(), "plain": (weight * value).sum()}


def by_hour(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Hourly cells of a query with `hour` in place of the number of the window."""
    return (
        windows.labelled(found, "1h", by)
        .rename(columns={"window_start": "hour"})
        .drop(columns=["window_end", windows.WINDOW])
    )


def choose_windows(tallies: pd.DataFrame, span: Span, enough: pd.Series) -> pd.Series:
    """Per chart the shortest of 1 h, 6 h, 1 d whose windows hold enough on most occasions of the baseline, else 1 d.

    Parameters
    ----------
    tallies : DataFrame
    span : Span
    enough : Series
        Answers that a window of a chart needs, by (feature_id, metric).

    Returns
    -------
    Series
        Width by (feature_id, metric).

    >>> times = pd.date_range("2026-05-11", periods=240, freq="6h", tz="UTC")
    >>> hours = pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "hour": times, "n": 30})
    >>> enough = pd.Series(20, pd.MultiIndex.from_tuples([("search", "mean_quality")], names=KEYS))
    >>> choose_windows(hours, Span(times[0], times[-1], times[-1]), enough).tolist()
    ['6h']
    """
    before = tallies[(tallies["hour"] >= span.start) & (tallies["hour"] < span.split)]
    chosen = pd.Series(WIDTHS[-1], index=enough.index)
    for window in reversed(WIDTHS[:-1]):
        start = windows.floor(before["hour"], window)
        held = before.assign(start=start).groupby([*KEYS, "start"], sort=False)["n"].sum().reset_index()
        held["full"] = held["n"].to_numpy() >= enough.reindex(pd.MultiIndex.from_frame(held[KEYS])).to_numpy()
        often = held.groupby(KEYS)["full"].sum().reindex(enough.index, fill_value=0)
        chosen[often > 0.5 * ((span.split - span.start) / windows.width(window))] = window
    return chosen


def to_windows(tallies: pd.DataFrame, window: str, span: Span) -> pd.DataFrame:
    """Closed windows of charts from their hourly sums; empty ones between are rows with n 0.

    Returns
    -------
    DataFrame
        `feature_id`, `metric`, `kind`, `low`, `high` (ends of the judge's scale, null where there is none),
        `window_start`, `window_end`, `value`, `n` (answers), `sd` (within the window),
        `known_at` (the window's end, or the last judgement in it where that came later).
    """
    width = windows.width(window)
    rows = tallies.assign(window_start=windows.floor(tallies["hour"], window))
    rows["chart"] = rows.groupby(KEYS, dropna=False, sort=True).ngroup()
    names = rows.drop_duplicates("chart").set_index("chart")[[*KEYS, "kind", *ENDS]]
    scale = _scale(rows, span)
    rows = rows[(rows["window_start"] >= span.start) & (rows["window_start"] <= span.end - width)]
    sums = rows.groupby(["chart", "window_start"])
    table = sums[SUMS].sum().join(sums["last"].max()).reset_index()
    table = _every_window(table, width).merge(table, how="left", on=["chart", "window_start"])
    known = table["weight"] > 0
    value = table["total"] / table["weight"].where(known)
    n = (table["weight"] ** 2 / table["weight2"].where(known)).fillna(0.0)
    spread = (table["squares"] / table["weight"].where(known) - value**2).clip(lower=0) * n / (n - 1).where(n > 1)
    end = table["window_start"] + width
    last = table["last"].dt.as_unit("us").fillna(pd.Timestamp(0, tz="UTC"))
    out = names.loc[table["chart"]].reset_index(drop=True)
    out = out.assign(window_start=table["window_start"], window_end=end, value=value, n=n, sd=np.sqrt(spread))
    positive = (out["kind"] == "positive").to_numpy()
    out.loc[positive, "value"] = np.exp(value[positive]) * table["chart"].map(scale)[positive]
    out.loc[positive, "sd"] *= out.loc[positive, "value"]
    return out.assign(known_at=last.where(last > end, end))


def _every_window(table: pd.DataFrame, width: pd.Timedelta) -> pd.DataFrame:
    """Chart and start of each window from a chart's first to its last."""
    ends = table.groupby("chart")["window_start"].agg(["min", "max"])
    seconds = (ends["max"] - ends["min"]).dt.total_seconds().to_numpy()
    count = (seconds / width.total_seconds()).round().astype(int) + 1
    number = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    chart = np.repeat(ends.index.to_numpy(), count)
    starts = ends["min"].loc[chart].reset_index(drop=True) + pd.Series(number * width)
    grid = pd.DataFrame({"chart": chart, "window_start": starts})
    return grid.astype({"window_start": table["window_start"].dtype})


def _scale(rows: pd.DataFrame, span: Span) -> pd.Series:
    """Per chart of kind "positive": plain over geometric mean of the baseline (of everything where there is none)."""
    positive = rows[rows["kind"] == "positive"]
    whole = positive.groupby("chart")[["n", "total", "plain"]].sum()
    before = positive[positive["hour"] < span.split].groupby("chart")[["n", "total", "plain"]].sum()
    sums = before.reindex(whole.index).fillna(whole)
    return sums["plain"] / sums["n"] / np.exp(sums["total"] / sums["n"])


def all_features(tallies: pd.DataFrame) -> pd.DataFrame:
    """The sums of every feature together, feature_id null."""
    grouped = tallies.groupby(["metric", "kind", "hour"], as_index=False)
    whole = grouped[SUMS].sum().assign(last=grouped["last"].max()["last"].to_numpy(), feature_id=None)
    for end in ENDS:  # known where all features have the same
        one = tallies.groupby("metric")[end].agg(lambda several: several.iloc[0] if several.nunique() == 1 else np.nan)
        whole[end] = whole["metric"].map(one).astype(float)
    return whole[TALLIES]


def moment_of(until) -> pd.Timestamp | None:
    """A time in UTC from whatever was given; without a zone it is UTC."""
    if until is None:
        return None
    when: pd.Timestamp | None
    try:
        when = pd.Timestamp(until)
    except (ValueError, TypeError):
        when = None
    if when is None or pd.isna(when):
        raise ConfigError(f"until={until!r} is no time; expected one such as '2026-05-12T09:31Z'")
    return when.tz_localize("UTC") if when.tzinfo is None else when.tz_convert("UTC")
