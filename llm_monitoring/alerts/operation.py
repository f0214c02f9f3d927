"""Charts beside the fixed limits: how much is asked and spent a day, and how long answers take, per feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts import scopes as scoping
from llm_monitoring.alerts.holidays import on_holiday
from llm_monitoring.alerts.measurements import DAY, HOUR, KEYS, WIDTHS, fixed_total
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import Span
from llm_monitoring.keeping import once
from llm_monitoring.measures import BUILT_IN

if TYPE_CHECKING:
    from llm_monitoring.log import Log

QUANTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95}
SPEND = "total_cost_usd"
#: What is paid for a request, and its column: the dearest request of each hour is kept.
DEAREST = {name: str(each.column) for name, each in BUILT_IN.items() if each.layer == "cost" and not each.total}
NOBODY = 0.5  # an empty day on the scale of factors
#: Hours at which 24 hours are added up beside midnight, each nearer to one midnight than to the other.
BETWEEN = (5, 11, 17)


def watched(plan: Plan) -> list[str]:
    """What of this the plan charts."""
    names = (
        [name for name in plan.infrastructure.metrics if name != "error_rate"] if plan.infrastructure.enabled else []
    )
    return [*names, *([SPEND] if plan.cost.enabled and SPEND in plan.cost.metrics else [])]


def operation_windows(log: Log, plan: Plan, span: Span) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, set[tuple]]:
    """The windows of these charts, those of totals between midnights, the scopes by (feature_id, metric), and the first charts.

    Volume and spend are charted by the day: shorter windows would need the rhythm of a whole week. A day without a
    request counts. Rises are looked for three times between midnights, too. Latency is charted in the
    shortest window that holds enough requests on most occasions.
    """
    names = watched(plan)
    if not names:
        return pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), set()
    hours = hours_of(log)
    first = hours.groupby("feature_id")["hour"].min()
    base = scoping.baselines(first, plan)
    early = hours[(hours["n"] > 0) & (hours["hour"] < span.split)]
    there = scoping.on_enough_days(early, ["feature_id"], plan)
    parts, between, scopes = [], [], []
    for name in names:
        if name in QUANTILES:
            width = _widths(hours, base, name, plan)
            table = _quantiles(log, name, width, base, span, _enough(name, plan) / 2)
        else:
            width = pd.Series("1d", index=base.index)
            table = _totals(hours, name, base, span)
            between.append(_between(hours, name, base, plan, span))
        parts.append(table)
        scopes.append(base.assign(metric=name, window=width, settle=pd.Timedelta(0), enough=1.0).reset_index())
    every = pd.concat(scopes, ignore_index=True).set_index(KEYS)
    every["settle"] = every["settle"].astype("timedelta64[us]")
    return _all(parts), _all(between), every, {(feature, name) for feature in there for name in names}


def _all(parts: list[pd.DataFrame]) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame()


@once
def hours_of(log: Log) -> pd.DataFrame:
    """Requests, those of known latency, USD, and the dearest request, per feature and hour."""
    rows, keys = windows.keyed(answers.view_of(log, "requests"), "timestamp", "1h", ["feature_id"])
    usd = fixed_total(rows["cost_usd"].cast("float64"))
    sums = {"n": rows.count(), "timed": rows["latency_ms"].count(), "usd": usd}
    sums |= {f"most_{column}": rows[column].max().cast("float64") for column in DEAREST.values()}
    found = engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas()
    table = windows.labelled(found, "1h", ["feature_id"]).rename(columns={"window_start": "hour"})
    return table.astype(dict.fromkeys([*sums], float))


def _widths(hours: pd.DataFrame, base: pd.DataFrame, name: str, plan: Plan) -> pd.Series:
    tallies = hours.assign(metric=name, known=hours["hour"], n=hours["timed"])
    keyed = base.assign(metric=name, enough=_enough(name, plan)).reset_index().set_index(KEYS)
    return scoping.widths(tallies, keyed).droplevel("metric")


def _enough(name: str, plan: Plan) -> float:
    """Requests that a window of a quantile holds on most occasions: a median needs fewer than a p95."""
    return float(plan.infrastructure.min_requests if name == "latency_p50_ms" else plan.quality.requests_per_window)


def spend_by_hour(log: Log, plan: Plan, span: Span) -> dict[tuple, pd.Series]:
    """USD of every hour of each feature that spends, those of holidays left out, by the key of its chart."""
    if SPEND not in watched(plan):
        return {}
    found: dict[tuple, pd.Series] = {}
    for feature, own in hours_of(log).groupby("feature_id", sort=True):
        spent = own.set_index("hour")["usd"]
        grid = pd.date_range(spent.index.min().ceil("D"), span.asked, freq="1h")
        known = grid[~on_holiday(grid.to_series(), grid.to_series() + HOUR, plan)]
        found[feature, SPEND] = spent.reindex(known, fill_value=0.0)
    return found


def _totals(hours: pd.DataFrame, name: str, base: pd.DataFrame, span: Span) -> pd.DataFrame:
    parts = []
    for feature, own in hours.groupby("feature_id", sort=True):
        start: Any = base.at[feature, "start"]
        value = total(own, name, "1d", start, span.asked)
        if len(value):
            parts.append((feature, value.index, value.to_numpy(), np.full(len(value), np.nan)))
    return _table(name, "1d", parts)


def _between(hours: pd.DataFrame, name: str, base: pd.DataFrame, plan: Plan, span: Span) -> pd.DataFrame:
    """Totals of 24 hours that end between midnights, as the day that they mostly are in would have had them.

    A fault that begins at noon fills a day of its own at noon of the next one, not at midnight after that.
    """
    parts, last = [], windows.begin(span.asked, "1h") - HOUR
    for feature, own in hours.groupby("feature_id", sort=True):
        line: Any = base.loc[feature]
        start, fit_end = line["start"], line["fit_end"]
        grid = pd.date_range(start, last, freq="1h")
        clock, day = grid.hour.to_numpy(), windows.places(grid, windows.ANCHOR, "1d")  # the anchor is a Monday
        sums = own[_column(name)].set_axis(windows.places(own["hour"], start, "1h"))
        sums = sums.reindex(np.arange(len(grid)), fill_value=0.0)
        first = own["hour"].min().ceil("D")
        learnt = np.asarray((grid >= first) & (grid < fit_end))
        if plan.baseline.holidays:
            learnt &= ~on_holiday(grid.to_series(), grid.to_series() + HOUR, plan)
        usual = sums[learnt]
        if len(usual) < 7 * 24 or not usual.sum() > 0:
            continue
        daily = usual.groupby(day[learnt]).sum()
        weekday = daily.groupby(daily.index % 7).mean().reindex(range(7)).fillna(daily.mean()).to_numpy()
        by_hour = usual.groupby(clock[learnt]).sum().reindex(range(24), fill_value=0.0).cumsum() / usual.sum()
        rolled, begins, values = sums.rolling(24).sum().to_numpy(), [], []
        for hour in BETWEEN:
            ends = np.flatnonzero((clock == hour - 1) & (grid >= first + DAY))
            begin, early = grid[ends] + (HOUR - DAY), float(by_hour[hour - 1])
            here, ahead = weekday[(day[ends] - 1) % 7], weekday[day[ends] % 7]
            like = here if hour < 12 else ahead
            mixed = here * (1 - early) + ahead * early
            share = np.divide(like, mixed, out=np.full(len(mixed), np.nan), where=mixed > 0)  # of days with traffic
            value = np.maximum(rolled[ends] * share, NOBODY if name == "request_count" else 0.0)
            begins.append(begin)
            values.append(np.where(value > 0, value, np.nan))
        value = np.concatenate(values)
        parts.append((feature, begins[0].append(begins[1:]), value, np.full(len(value), np.nan)))
    return _table(name, "1d", parts)


def total(hours: pd.DataFrame, name: str, window: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.Series:
    """Requests, or USD, of each whole window between two moments, by its start; NaN before the traffic began.

    Parameters
    ----------
    hours : DataFrame
        As `hours_of` gives it, of one feature or of all together.
    name : {"request_count", "total_cost_usd"}
        A window without a request counts as `NOBODY`; one without spend has none.
    """
    step = windows.width(window)
    first, last = (windows.begin(at, window) for at in (start, end))
    grid = pd.date_range(first, last - step, freq=step)
    sums = hours[_column(name)].groupby(windows.places(hours["hour"], first, window)).sum()
    sums = sums.reindex(np.arange(len(grid)), fill_value=0.0).set_axis(grid)
    value = sums.clip(lower=NOBODY) if name == "request_count" else sums.where(sums > 0)
    return value.where(grid >= hours["hour"].min().ceil(step))  # a first day that begins at noon is half a day


def _column(name: str) -> str:
    return "n" if name == "request_count" else "usd"


def _quantiles(log: Log, name: str, width: pd.Series, base: pd.DataFrame, span: Span, fewest: float) -> pd.DataFrame:
    """Quantiles of latency; a window of hours that holds fewer than `fewest` requests has none."""
    tables = []
    for window in WIDTHS:
        features = width.index[width == window].tolist()
        if not features:
            continue
        rows = answers.view_of(log, "requests").select("feature_id", "timestamp", "latency_ms")
        rows = rows.filter(rows["feature_id"].isin(features), rows["latency_ms"].notnull())
        rows, keys = windows.keyed(rows, "timestamp", window, ["feature_id"])
        asked = {"value": engines.quantile(rows["latency_ms"], QUANTILES[name]), "n": rows.count()}
        found = engines.run(rows.group_by(keys).aggregate(**asked)).to_pandas()
        found, parts, step = windows.labelled(found, window, ["feature_id"]), [], windows.width(window)
        late = found["window_start"] >= found["feature_id"].map(base["start"])
        found = found[late & (found["window_end"] <= span.asked) & (found["value"] > 0)]
        for feature, own in found.groupby("feature_id", sort=True):
            grid = pd.date_range(own["window_start"].iloc[0], own["window_start"].iloc[-1], freq=step)
            place = windows.places(own["window_start"], grid[0], window)
            value, n = np.full(len(grid), np.nan), np.zeros(len(grid))
            value[place], n[place] = own["value"], own["n"]
            if step < DAY:
                value, n = np.where(n >= fewest, value, np.nan), np.where(n >= fewest, n, 0.0)
            parts.append((feature, grid, value, n))
        tables.append(_table(name, window, parts))
    return _all(tables)


def _table(name: str, window: str, parts: list[tuple[Any, Any, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """The windows of several features, each with the starts, the values and the numbers of requests, as one table."""
    if not parts:
        return pd.DataFrame()
    features, starts, values, counts = zip(*parts)
    start = starts[0].append(list(starts[1:])).as_unit("us")
    end, value = start + windows.width(window).as_unit("us"), np.concatenate(values)
    return pd.DataFrame({
        "feature_id": np.repeat(np.array(features, dtype=object), [len(part) for part in values]), "metric": name,
        "kind": "positive", "low": np.nan, "high": np.nan, "window": window, "window_start": start, "window_end": end,
        "value": value, "n": np.concatenate(counts), "sd": np.nan, "known_at": end, "plain": value, "late": pd.NaT,
    })  # fmt: skip
