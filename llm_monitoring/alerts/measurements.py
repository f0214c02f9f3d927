"""What is charted: hourly sums per feature and metric, added up to the window that a feature's traffic fills.

Sums add up where means do not: `n`, `total`, `squares` of an hour give mean and sd of six hours or of a day.

Cost and tokens are skewed: the mean of twenty requests is anything but normal, and a chart of it alarms for one long
answer. So their sums are of logarithms, and a window's value is the geometric mean, scaled so that the baseline's is
its plain mean: a change of all requests by some factor shows as that factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_monitoring import engines, windows
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.errors import ConfigError

if TYPE_CHECKING:
    from llm_monitoring.log import Log

WIDTHS = ("1h", "6h", "1d")
SEASON = {"1h": 24, "6h": 4, "1d": 7}
TALLIES = ["feature_id", "metric", "kind", "hour", "n", "weight", "weight2", "total", "squares", "plain", "last"]
OUTCOMES = {"refusals": "refusal", "truncated": "max_tokens"}
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
    for name, plain in (("weight", "n"), ("weight2", "n"), ("squares", "total"), ("plain", "total")):
        if name not in filled:
            filled[name] = filled[plain]
    if "last" not in filled:
        filled["last"] = pd.NaT
    filled["last"] = pd.to_datetime(filled["last"], utc=True).astype("datetime64[us, UTC]")
    filled["hour"] = pd.to_datetime(filled["hour"], utc=True).astype("datetime64[us, UTC]")
    numbers = TALLIES[4:-1]
    filled[numbers] = filled[numbers].astype(float)
    return filled.loc[filled["n"] > 0, TALLIES]


def request_hours(log: Log) -> pd.DataFrame:
    """One row per feature and hour: requests, outcomes, and sums of cost and tokens and of their logarithms."""
    import ibis

    rows, keys = windows.keyed(log.table("requests"), "timestamp", "1h", ["feature_id"])
    reason = rows.finish_reason
    known = reason.notnull() | rows.error.notnull()
    sums = {"requests": rows.count(), "reasons": known.cast("int64").sum(), "errors": rows.error.count()}
    sums |= {name: (reason == kind).cast("int64").sum() for name, kind in OUTCOMES.items()}
    for column in ("cost_usd", "input_tokens", "output_tokens"):
        value = rows[column]
        log_value = ibis.ifelse(value > 0, value, ibis.null("float64")).ln()
        sums |= {column: value.sum(), f"{column}_n": value.count(), f"{column}_positive": log_value.count()}
        sums |= {f"{column}_log": log_value.sum(), f"{column}_log2": (log_value * log_value).sum()}
    found = by_hour(engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas(), ["feature_id"])
    return found.fillna(dict.fromkeys(sums, 0)).sort_values(["feature_id", "hour"], ignore_index=True)


def by_hour(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Hourly cells of a query with `hour` in place of the number of the window."""
    return (
        windows.labelled(found, "1h", by)
        .rename(columns={"window_start": "hour"})
        .drop(columns=["window_end", "_window"])
    )


def choose_window(hours: pd.DataFrame, span: Span, enough: int, wanted: str = "auto") -> str:
    """The shortest of 1 h, 6 h, 1 d whose windows hold `enough` on most occasions of the baseline, else 1 d.

    >>> times = pd.date_range("2026-05-11", periods=240, freq="6h", tz="UTC")
    >>> hours = pd.DataFrame({"hour": times, "n": 30})
    >>> choose_window(hours, Span(times[0], times[-1], times[-1]), enough=20)
    '6h'
    """
    if wanted != "auto":
        return wanted
    before = hours[(hours["hour"] >= span.start) & (hours["hour"] < span.split)]
    for window in WIDTHS[:-1]:
        there = before.groupby(windows.floor(before["hour"], window))["n"].sum()
        if (there >= enough).sum() > 0.5 * ((span.split - span.start) / windows.width(window)):
            return window
    return WIDTHS[-1]


def to_windows(hours: pd.DataFrame, window: str, span: Span) -> pd.DataFrame:
    """Closed windows of one chart from its hourly sums; empty ones between are rows with n 0.

    Returns
    -------
    DataFrame
        `window_start`, `window_end`, `value`, `n` (answers), `sd` (within the window), `known_at` (the window's end,
        or the last judgement in it where that came later).
    """
    width = windows.width(window)
    start = windows.floor(hours["hour"], window)
    sums = hours.assign(window_start=start).groupby("window_start")
    table = sums[["n", "weight", "weight2", "total", "squares"]].sum().join(sums["last"].max())
    table = table[(table.index >= span.start) & (table.index <= span.end - width)]
    if not (table["n"] > 0).any():
        return pd.DataFrame(columns=["window_start", "window_end", "value", "n", "sd", "known_at"])
    table = table.reindex(pd.date_range(table.index.min(), table.index.max(), freq=width, name="window_start"))
    known = table["weight"] > 0
    share = table["total"] / table["weight"].where(known)
    count = (table["weight"] ** 2 / table["weight2"].where(known)).fillna(0.0)
    spread = (
        (table["squares"] / table["weight"].where(known) - share**2).clip(lower=0)
        * count
        / (count - 1).where(count > 1)
    )
    end = pd.DatetimeIndex(table.index) + width
    out = pd.DataFrame({"window_end": end, "value": share, "n": count, "sd": np.sqrt(spread)}, index=table.index)
    if hours["kind"].iloc[0] == "positive":
        out["value"] = np.exp(out["value"]) * _scale(hours, span)
        out["sd"] *= out["value"]
    out["known_at"] = np.maximum(end, table["last"].fillna(pd.Timestamp(0, tz="UTC")))
    return out.reset_index()


def _scale(hours: pd.DataFrame, span: Span) -> float:
    """Plain over geometric mean of the baseline."""
    before = hours[hours["hour"] < span.split]
    before = before if len(before) else hours
    n = before["n"].sum()
    return float(before["plain"].sum() / n / np.exp(before["total"].sum() / n))


def all_features(tallies: pd.DataFrame) -> pd.DataFrame:
    """The sums of every feature together, feature_id null."""
    numbers = TALLIES[4:-1]
    grouped = tallies.groupby(["metric", "kind", "hour"], as_index=False)
    whole = grouped[numbers].sum().assign(last=grouped["last"].max()["last"].to_numpy(), feature_id=None)
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
