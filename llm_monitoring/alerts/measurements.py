"""What is charted: hourly sums per feature and metric, with the moment from which each was known, added up to windows.

Sums add up where means do not: `n`, `total`, `squares` of an hour give mean and sd of six hours or of a day. A judgement
or a signal that comes after its hour is a row of its own with its own `known`; one that replaces an earlier one is two:
the earlier one taken away, the newer one added. So a window can be told as it stood at any moment, whatever came later.

Cost and tokens are skewed: the mean of twenty requests is anything but normal, and a chart of it alarms for one long
answer. So their sums are of logarithms, and a window's value is the geometric mean, scaled so that the baseline's is
its plain mean: a change of all requests by some factor shows as that factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.judges import judging_hours, series_of, with_series
from llm_monitoring.alerts.lots import own_hours, pools, regular, together
from llm_monitoring.keeping import once
from llm_monitoring.log import as_table
from llm_monitoring.measures import BUILT_IN, Measure, of_judge
from llm_monitoring.schema import scale_ends

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from llm_monitoring.log import Log

WIDTHS = ("1h", "6h", "1d")
SEASON = {"1h": 24, "6h": 4, "1d": 7}
SUMS = ["n", "weight", "weight2", "total", "squares", "plain"]
ENDS = ["low", "high"]  # of the judge's scale, of mean scores
KEYS = ["feature_id", "metric"]
TALLIES = [*KEYS, "kind", *ENDS, "hour", "known", *SUMS]
CHARTED = {"count": "mean"}  # kind of a measure -> kind of its chart, where they differ
LEAST_SHARE = 0.25  # of a usual day: what days of the week with less hold (closed at weekends) makes no lot longer
FEWEST = 10  # answers that a window of hours holds at least
HOUR, DAY, STEP = pd.Timedelta("1h"), pd.Timedelta("1D"), pd.Timedelta("5min")
WEEK = 7 * DAY
TIME: Any = "datetime64[us, UTC]"


def tally(frame: pd.DataFrame, metric: str, kind: str) -> pd.DataFrame:
    """Hourly sums as the long table; what is not given is filled: `known` with the hour's end."""
    hour = pd.to_datetime(frame["hour"], utc=True).astype(TIME)
    end = hour + HOUR
    known = end if "known" not in frame else pd.to_datetime(frame["known"], utc=True).astype(TIME)
    plain = {"weight": "n", "weight2": "n", "squares": "total", "plain": "total"}
    sums = {name: frame[name if name in frame else plain[name]].astype(float).fillna(0.0) for name in SUMS}
    ends = {name: frame[name].astype(float) if name in frame else np.nan for name in ENDS}
    columns = {
        "feature_id": frame["feature_id"], "metric": metric, "kind": kind, **ends, "hour": hour,
        "known": known.where(known >= end, end), **sums,
    }  # fmt: skip
    some = np.any([each.to_numpy() != 0 for each in sums.values()], axis=0)
    return pd.DataFrame(columns, index=frame.index)[some]


def no_tallies() -> pd.DataFrame:
    """The table of hourly sums without a row."""
    kinds = dict.fromkeys([*ENDS, *SUMS], "float64") | dict.fromkeys(["hour", "known"], TIME)
    return pd.DataFrame(columns=TALLIES).astype(kinds)


def hourly(log: Log, wanted: Iterable[Measure], own: Iterable[Measure] = (), days: int = 14) -> pd.DataFrame:
    """Hourly sums of measures per feature, worked out by the engine: one query for each table behind them.

    Parameters
    ----------
    log : Log
    wanted : iterable of Measure
        Judged ones are given for every judge (`measures.of_judge`).
    own : iterable of Measure
        Those of `wanted` that are the user's.
    days : int
        Days from the first judgement of a feature in which its first judge is chosen.

    Returns
    -------
    DataFrame
        `TALLIES`. A signal that is logged nowhere has no rows.
    """
    groups: dict[str, list[Measure]] = {}
    for each in wanted:
        groups.setdefault(each.of, []).append(each)
    parts: list[pd.DataFrame] = []
    if "requests" in groups:
        parts += _of_requests(log, groups["requests"], own)
    if "judgements" in groups and log.has("judgements"):
        parts += _of_judgements(log, groups["judgements"], days)
    if "signals" in groups and log.has("signals"):
        parts += _of_signals(log, groups["signals"])
    if "thumbs" in groups and log.has("signals"):
        parts += _of_thumbs(log, groups["thumbs"])
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else no_tallies()


def _of_requests(log: Log, several: list[Measure], own: Iterable[Measure]) -> Iterator[pd.DataFrame]:
    rows, keys = windows.keyed(answers.view_of(log, "requests", own), "timestamp", "1h", ["feature_id"])
    sums: dict[str, Any] = {}
    for i, each in enumerate(several):
        sums |= {f"__lm_{i}_{name}": value for name, value in _sums(rows, each).items()}
    found = _by_hour(engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas(), ["feature_id"])
    for i, each in enumerate(several):
        table = found.rename(columns={f"__lm_{i}_{name}": name for name in SUMS})
        yield tally(table[["feature_id", "hour", *SUMS]], each.name, CHARTED.get(each.kind, each.kind))


def _of_judgements(log: Log, several: list[Measure], days: int) -> Iterator[pd.DataFrame]:
    found = judged_hours(log, as_table(log, "requests").rows, several, days)
    for judge, part in found.groupby("__lm_series", sort=True):
        ends = pd.DataFrame([scale_ends(scale) for scale in part["__lm_scale"]], columns=ENDS, index=part.index)
        for i, each in enumerate(several):
            table = part.rename(columns={f"__lm_{i}_{name}": name for name in SUMS})
            table = table[["feature_id", "hour", "known", *SUMS]]
            table = table.join(ends) if each.kind == "mean" else table
            yield tally(table, of_judge(each.name, str(judge)), CHARTED.get(each.kind, each.kind))


def judged_hours(
    log: Log,
    requests: ir.Table,
    several: list[Measure],
    days: int,
    more: Iterable[str] = (),
    kept: Callable[[ir.Table], ir.Table] | None = None,
) -> pd.DataFrame:
    """Hourly sums of judged measures per feature, series of judges and `more` columns of the requests.

    `kept` narrows the judged rows once it is settled whose judgements are which series.

    Returns
    -------
    DataFrame
        `feature_id`, `more`, `__lm_series`, `__lm_scale`, `hour`, `known`, and `__lm_<i>_<sum>` of each measure.
    """
    more = list(more)
    judged = answers.judged_rows(as_table(log, "judgements").rows, requests, more)
    rows = with_series(judged, days, judges_of(log, days))
    rows = answers.succession(rows if kept is None else kept(rows), ["request_id", "__lm_series"])
    by = ["feature_id", *more, "__lm_series"]
    rows, keys = windows.keyed(_stepped(rows), "timestamp", "1h", by)
    sums: dict[str, Any] = {"__lm_scale": rows["scale"].max()}  # a series has one
    for i, each in enumerate(several):
        sums |= {f"__lm_{i}_{name}": value for name, value in _sums(rows, each).items()}
    grouped = rows.group_by([*keys, "__lm_known", "__lm_replaced"]).aggregate(**sums)
    found = _by_hour(engines.run(grouped).to_pandas(), by)
    found = found.sort_values(
        [*by, "hour", "__lm_known", "__lm_replaced"], ignore_index=True
    )  # the same in all engines
    return _signed(found, [f"__lm_{i}_{name}" for i in range(len(several)) for name in SUMS])


@once
def judges_of(log: Log, days: int) -> pd.DataFrame:
    """Whose judgements are which series, from when to when (`judges.series_of`)."""
    return series_of(hours_of_judging(log), days)


@once
def hours_of_judging(log: Log) -> pd.DataFrame:
    """The verdicts of every judge by feature and hour of judging (`judges.judging_hours`)."""
    judged = answers.judged_rows(as_table(log, "judgements").rows, as_table(log, "requests").rows)
    return judging_hours(judged)


def _of_signals(log: Log, several: list[Measure]) -> Iterator[pd.DataFrame]:
    """Of every request whether it has a signal: no at first, yes from the signal on."""
    rows = as_table(log, "requests").rows
    keyed, keys = windows.keyed(rows, "timestamp", "1h", ["feature_id"])
    asked = _by_hour(engines.run(keyed.group_by(keys).aggregate(n=keyed.count())).to_pandas(), ["feature_id"])
    sent = _sent(log, rows, ["__lm_type"], [each.column for each in several])
    first = sent.group_by(["feature_id", "timestamp", "request_id", "__lm_type"]).aggregate(
        __lm_known=sent["__lm_known"].min()
    )
    first, keys = windows.keyed(_stepped(first), "timestamp", "1h", ["feature_id", "__lm_type"])
    counted = first.group_by([*keys, "__lm_known"]).aggregate(total=first.count())
    found = _signed(_by_hour(engines.run(counted).to_pandas(), ["feature_id", "__lm_type"]), ["total"])
    for each in several:
        mine = found[found["__lm_type"] == each.column].sort_values(["feature_id", "hour", "known"])
        if len(mine):
            marks = mine[["feature_id", "hour", "known", "total"]].assign(n=0.0)
            yield tally(pd.concat([asked[["feature_id", "hour", "n"]].assign(total=0.0), marks]), each.name, each.kind)


def _of_thumbs(log: Log, several: list[Measure]) -> Iterator[pd.DataFrame]:
    """Of several thumbs of a request the latest counts; of two at one moment the one down."""
    import ibis

    sent = _sent(log, as_table(log, "requests").rows, ["__lm_type"], ["thumbs_up", "thumbs_down"])
    up = (sent["__lm_type"] == "thumbs_up").ifelse(1, 0)
    sent = sent.mutate(__lm_up=up)
    order = ibis.window(group_by="request_id", order_by=[sent["__lm_known"], sent["__lm_up"].desc()])
    sent = sent.mutate(__lm_replaced=sent["__lm_known"].lead().over(order))
    rows, keys = windows.keyed(_stepped(sent), "timestamp", "1h", ["feature_id"])
    grouped = rows.group_by([*keys, "__lm_known", "__lm_replaced"]).aggregate(
        n=rows.count(), total=rows["__lm_up"].sum()
    )
    found = _signed(_by_hour(engines.run(grouped).to_pandas(), ["feature_id"]), ["n", "total"])
    for each in several:
        yield tally(found[["feature_id", "hour", "known", "n", "total"]], each.name, each.kind)


def _sent(log: Log, requests: ir.Table, more: list[str], kinds: list) -> ir.Table:
    """Signals of some kinds with the request that they are of, and when both were known."""
    import ibis

    signals = as_table(log, "signals").rows
    signals = signals.filter(signals["signal_type"].isin([str(kind) for kind in kinds]))
    left = signals.select(__lm_of="request_id", __lm_at="timestamp", __lm_type="signal_type")
    right = requests.select("request_id", "feature_id", "timestamp")
    rows = left.inner_join(right, left["__lm_of"] == right["request_id"])
    known = ibis.greatest(engines.microseconds(rows["__lm_at"]), engines.microseconds(rows["timestamp"]))
    return rows.mutate(__lm_known=known).select("feature_id", "timestamp", "request_id", "__lm_known", *more)


def _stepped(rows: ir.Table) -> ir.Table:
    """`__lm_known` and `__lm_replaced` as numbers of steps since the anchor, rounded up; the request's own hour counts as one."""
    import ibis

    anchor, step = int(windows.ANCHOR.timestamp()) * 1_000_000, STEP.value // 1000
    hours = engines.whole_parts(engines.microseconds(rows["timestamp"]) - anchor, HOUR.value // 1000)
    end = (hours + 1) * (HOUR // STEP)
    for name in ("__lm_known", "__lm_replaced"):
        if name in rows.columns:
            steps = engines.whole_parts(rows[name] - anchor + (step - 1), step)
            rows = rows.mutate(
                **{name: ibis.ifelse(rows[name].isnull(), ibis.null("int64"), ibis.greatest(steps, end))}
            )
    return rows


def _signed(found: pd.DataFrame, sums: list[str]) -> pd.DataFrame:
    """The cells with `known` in place of steps: added where they were known, taken away where they were replaced."""
    start, step = windows.ANCHOR.as_unit("us"), STEP.as_unit("us")
    added = found.assign(known=start + pd.to_timedelta(found["__lm_known"].astype("int64") * step))
    if "__lm_replaced" not in found:
        return added
    gone = found[found["__lm_replaced"].notna() & (found["__lm_replaced"] != found["__lm_known"])]
    never = found["__lm_replaced"].notna() & (found["__lm_replaced"] == found["__lm_known"])
    taken = gone.assign(known=start + pd.to_timedelta(gone["__lm_replaced"].astype("int64") * step))
    taken[sums] = -taken[sums]
    return pd.concat([added[~never], taken], ignore_index=True)


def _sums(rows: ir.Table, each: Measure) -> dict[str, Any]:
    """n, weight, weight squared, total, squares and plain total of one measure; of skewed amounts the logarithms'."""
    import ibis

    value = answers.value(rows, each).cast("float64")
    plain = value
    if each.kind == "positive":
        value = ibis.ifelse(value > 0, value, ibis.null("float64")).ln()
    n = value.count()
    if each.judged:
        weight = answers.weight_where(rows, value)
        sums = {
            "weight": fixed_total(weight),
            "weight2": fixed_total(weight * weight, 6),
            "total": fixed_total(weight * value),
        }
        return (
            {"n": n} | sums | {"squares": fixed_total(weight * value * value, 6), "plain": fixed_total(weight * value)}
        )
    known = {"n": n, "weight": value.count(), "weight2": value.count()}
    if each.kind == "positive":
        digits = 9 if each.unit == "usd" else 6
        return known | {
            "total": fixed_total(value),
            "squares": fixed_total(value * value, 6),
            "plain": fixed_total(plain, digits),
        }
    if each.name in BUILT_IN:
        return known | {"total": fixed_total(value), "squares": fixed_total(value * value), "plain": fixed_total(value)}
    return known | {"total": value.sum(), "squares": (value * value).sum(), "plain": value.sum()}


def fixed_total(value: ir.Value, digits: int = 9):
    """A sum over whole numbers of the last digit kept: the same in whatever order an engine adds."""
    return (value * 10.0**digits).round().cast("int64").sum().cast("float64") / 10.0**digits


def _by_hour(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Hourly cells of a query with `hour` in place of the number of the window."""
    labelled = windows.labelled(found, "1h", by).rename(columns={"window_start": "hour"})
    return labelled.drop(columns=["window_end", windows.WINDOW])


def to_windows(tallies: pd.DataFrame, window: str, scopes: pd.DataFrame, end: pd.Timestamp, wait: pd.Timedelta):
    """Windows of charts from their hourly sums, each as it stood when it was looked at; empty ones between have n 0.

    Parameters
    ----------
    tallies : DataFrame
    window : str
        Width of the windows.
    scopes : DataFrame
        Per chart `feature_id`, `metric`, `start`, `fit_end` (of its baseline) and `settle` (how long after a window's
        end it is looked at).
    end : Timestamp
        Windows that are looked at later are left out.
    wait : Timedelta
        Added to `settle`: a later look.

    Returns
    -------
    DataFrame
        `feature_id`, `metric`, `kind`, `low`, `high` (ends of the judge's scale, null where there is none),
        `window_start`, `window_end`, `value`, `n` (answers), `sd` (within the window), `known_at` (when it was looked at),
        `plain` (mean as paid), and `late` (how long after that the next of it came; NaT where all had come).
    """
    width = windows.width(window)
    scopes = scopes.sort_values(KEYS, ignore_index=True).rename_axis("chart").reset_index()
    rows = tallies.merge(scopes[[*KEYS, "chart", "start", "fit_end", "settle"]], on=KEYS)
    names = rows.drop_duplicates("chart").set_index("chart")[[*KEYS, "kind", *ENDS]]
    rows["window_start"] = windows.floor(rows["hour"], window)
    look = rows["window_start"] + width + rows["settle"] + wait
    rows = rows[(rows["window_start"] >= rows["start"]) & (look <= end)].assign(look=look)
    behind = rows["known"] > rows["look"]
    late = (rows["known"] - rows["look"])[behind].groupby([rows["chart"], rows["window_start"]]).min()
    seen = rows[~behind]
    scale = _scale(seen)
    table = seen.groupby(["chart", "window_start"])[SUMS].sum().reset_index()
    table = _every_window(table, scopes, width).merge(table, how="left", on=["chart", "window_start"])
    table = _filled(table, scopes["fit_end"], width) if width < DAY else table
    known = table["weight"] > 0
    value = table["total"] / table["weight"].where(known)
    n = (table["weight"] ** 2 / table["weight2"].where(known)).fillna(0.0)
    spread = (table["squares"] / table["weight"].where(known) - value**2).clip(lower=0) * n / (n - 1).where(n > 1)
    closed = table["window_start"] + width
    out = names.loc[table["chart"]].reset_index(drop=True)
    out = out.assign(window_start=table["window_start"], window_end=closed, value=value, n=n, sd=np.sqrt(spread))
    positive = (out["kind"] == "positive").to_numpy() & known.to_numpy()
    out.loc[positive, "value"] = np.exp(value[positive]) * table["chart"].map(scale)[positive]
    out.loc[positive, "sd"] *= out.loc[positive, "value"]
    settle = table["chart"].map(scopes.set_index("chart")["settle"])
    plain = table["plain"] / table["weight"].where(known)
    cells = pd.MultiIndex.from_frame(table[["chart", "window_start"]])
    return out.assign(known_at=closed + settle + wait, plain=plain, late=late.reindex(cells).to_numpy())


def _filled(table: pd.DataFrame, fit_end: pd.Series, width: pd.Timedelta) -> pd.DataFrame:
    """The windows of charts with those of fewer than `FEWEST` answers put together, in the place of the last of each lot.

    A mean of two long answers, or one flagged of two, says nothing that limits for twenty could be held to. Lots end at
    the same hours every day: one that ended wherever it was full would be held to hours that the baseline hardly met.
    """
    sums = table[SUMS].fillna(0.0)
    told = _told(table, sums["n"], fit_end, width)
    if told.all() and not sums["n"].between(0, FEWEST, inclusive="neither").any():
        return table
    by_chart = pd.DataFrame({"n": sums["n"], "told": told}).groupby(table["chart"], sort=False)
    parts = [_lots(own["n"].to_numpy(), own["told"].to_numpy(), int(DAY / width)) for _, own in by_chart]
    first = np.repeat(np.cumsum([0, *(len(last) for last, _ in parts[:-1])]), [len(last) for last, _ in parts])
    last, begin = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]) + first
    held = {name: np.where(last, together(sums[name].to_numpy(), begin), np.nan) for name in SUMS}
    return table.assign(**held)


def _lots(n: np.ndarray, told: np.ndarray, a_day: int) -> tuple[np.ndarray, np.ndarray]:
    """The last window of each lot, and where it began. Lots of a whole day keep what was left of the day before: it had the same hours."""
    last, begin = pools(n, FEWEST, told)
    return (last, begin) if told.mean() <= 1 / a_day else (last, own_hours(begin, n, FEWEST, told))


def _told(table: pd.DataFrame, n: pd.Series, fit_end: pd.Series, width: pd.Timedelta) -> np.ndarray:
    """Which windows may be the last of a lot: those of the same hours every day, so that the baseline has met each of them.

    An hour that usually holds twice `FEWEST` answers in the baseline is told by itself, others together until they hold `FEWEST` on the quietest day of
    the week: a Sunday night is told as one, and not with the morning, to which it is not alike. An hour in which nobody asked then,
    and many do now, is told by itself, too.
    """
    chart, start = table["chart"], table["window_start"]
    slot, slots = ((start - start.dt.floor("D")) // width).to_numpy(), range(int(DAY / width))
    before = start < chart.map(fit_end)
    total = n.where(before, 0.0).groupby([chart, slot]).sum().unstack(fill_value=0).reindex(columns=slots, fill_value=0)
    days = start[before & (n > 0)].dt.floor("D").groupby(chart).nunique().reindex(total.index, fill_value=1)
    usual = total.div(days, axis=0).to_numpy()
    quiet = _quietest(n[before], start[before].dt.floor("D"), chart[before]).reindex(total.index, fill_value=1.0)
    held = np.where(usual >= 2 * FEWEST, usual, usual * quiet.to_numpy()[:, None])
    marks, line = np.array([regular(row, FEWEST) for row in held]), total.index.get_indexer(pd.Index(chart))
    return marks[line, slot] | ((usual[line, slot] == 0) & (n >= FEWEST).to_numpy())


def _quietest(n: pd.Series, day: pd.Series, chart: pd.Series) -> pd.Series:
    """Per chart the answers of the quietest day of the week that has any to speak of, as a share of those of a usual day."""
    daily = n.groupby([chart, day]).sum().rename_axis(["chart", "day"]).reset_index(name="n")
    usual = daily[daily["n"] > 0].groupby("chart")["n"].mean()
    of_week = daily.groupby(["chart", daily["day"].dt.day_of_week])["n"].mean().div(usual, level="chart")
    return of_week[of_week >= LEAST_SHARE].groupby("chart").min()


def _every_window(table: pd.DataFrame, scopes: pd.DataFrame, width: pd.Timedelta) -> pd.DataFrame:
    """Chart and start of each window from a chart's first to its last."""
    ends = table.groupby("chart")["window_start"].agg(["min", "max"])
    seconds = (ends["max"] - ends["min"]).dt.total_seconds().to_numpy()
    count = (seconds / width.total_seconds()).round().astype(int) + 1
    number = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    chart = np.repeat(ends.index.to_numpy(), count)
    starts = ends["min"].loc[chart].reset_index(drop=True) + pd.Series(number * width)
    grid = pd.DataFrame({"chart": chart, "window_start": starts})
    return grid.astype({"window_start": table["window_start"].dtype})


def _scale(rows: pd.DataFrame) -> pd.Series:
    """Per chart of kind "positive": plain over geometric mean of the baseline (of everything where there is none)."""
    positive = rows[rows["kind"] == "positive"]
    whole = positive.groupby("chart")[["n", "total", "plain"]].sum()
    before = positive[positive["hour"] < positive["fit_end"]].groupby("chart")[["n", "total", "plain"]].sum()
    sums = before.reindex(whole.index).fillna(whole)
    return sums["plain"] / sums["n"] / np.exp(sums["total"] / sums["n"])


def all_features(tallies: pd.DataFrame) -> pd.DataFrame:
    """The sums of every feature together, feature_id null."""
    whole = tallies.groupby(["metric", "kind", "hour", "known"], as_index=False)[SUMS].sum().assign(feature_id=None)
    for end in ENDS:  # known where all features have the same
        one = tallies.groupby("metric")[end].agg(lambda several: several.iloc[0] if several.nunique() == 1 else np.nan)
        whole[end] = whole["metric"].map(one).astype(float)
    return whole[TALLIES]
