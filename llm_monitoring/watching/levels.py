"""What is usual of each feature, from its first weeks: the window that its traffic fills, its latency, its requests by hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.log import Log

if TYPE_CHECKING:
    import ibis.expr.types as ir

QUANTILES = {"latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
BASELINE = pd.Timedelta("14D")
HOUR, WEEK = pd.Timedelta("1h"), pd.Timedelta("7D")


@dataclass(frozen=True)
class Levels:
    """Usual levels and limits.

    Attributes
    ----------
    features : DataFrame
        By `feature_id`: `width` of a window, `latency_p95_ms` and `latency_p99_ms` of the baseline, and their limits
        (`latency_p95_ms_limit`, ...), null where nothing is known.
    hourly : DataFrame
        `feature_id`, `hour` of the week (0 is Monday, 0 h UTC) and `requests`, the mean of the baseline.
    """

    features: pd.DataFrame
    hourly: pd.DataFrame

    def usual_requests(self, feature: str, start: pd.Timestamp) -> float:
        """Requests that the window from `start` on had in the baseline at the same hours of the week; NaN where unknown."""
        width = windows.width(str(self.features.loc[feature, "width"]))
        mine = self.hourly[self.hourly["feature_id"] == feature].set_index("hour")["requests"]
        hours = [_hour_of_week(start + i * HOUR) for i in range(max(round(width / HOUR), 1))]
        return float(mine.reindex(hours).sum(min_count=len(hours)) * min(width / HOUR, 1.0))


def levels_of(log: Log, plan: Plan) -> Levels:
    """Measure the usual levels of every feature in its baseline."""
    rows = answers.view_of(log, "requests").select("feature_id", "timestamp", "latency_ms")
    found, hourly = [], []
    first = engines.run(rows.group_by("feature_id").aggregate(first=rows["timestamp"].min())).to_pandas()
    for feature, at in zip(first["feature_id"], pd.to_datetime(first["first"], utc=True)):
        start, end = _baseline(plan, at)
        inside = rows.filter(rows.feature_id == feature, rows.timestamp >= start, rows.timestamp < end)
        counts = _counts(inside, plan.infrastructure.window)
        width = _width(counts, plan, start, end)
        found.append({"feature_id": feature, "width": width, **_latency(inside, plan)})
        hourly.append(_by_hour(counts, start, end).assign(feature_id=feature))
    columns = ["feature_id", "width", *QUANTILES, *(f"{name}_limit" for name in QUANTILES)]
    table = pd.DataFrame(found, columns=columns).sort_values("feature_id").set_index("feature_id")
    none = pd.DataFrame(columns=["hour", "requests", "feature_id"])
    return Levels(table, pd.concat(hourly, ignore_index=True) if hourly else none)


def _baseline(plan: Plan, first: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    given = plan.baseline
    start = max(first.floor("D"), pd.Timestamp(given.start).tz_convert("UTC")) if given.start else first.floor("D")
    if given.end and not given.days:
        return start, pd.Timestamp(given.end).tz_convert("UTC")
    return start, start + (pd.Timedelta(days=given.days) if given.days else BASELINE)


def _counts(rows: ir.Table, window: str) -> pd.DataFrame:
    keyed, keys = windows.keyed(rows, "timestamp", window, ["feature_id"])
    found = engines.run(keyed.group_by(keys).aggregate(requests=keyed.count())).to_pandas()
    return windows.labelled(found, window, ["feature_id"])


def _width(counts: pd.DataFrame, plan: Plan, start: pd.Timestamp, end: pd.Timestamp) -> str:
    """The plan's window, or the shortest of 1 h, 6 h, 1 d above it that holds enough requests most of the time."""
    shortest = plan.infrastructure.window
    choices = [shortest, *(w for w in ("1h", "6h", "1d") if windows.width(w) > windows.width(shortest))]
    last = min(end, counts["window_end"].max()) if len(counts) else end
    for width in choices[:-1]:
        filled = counts.groupby(windows.floor(counts["window_start"], width))["requests"].sum()
        if (filled >= plan.infrastructure.min_requests).sum() > 0.5 * ((last - start) / windows.width(width)):
            return width
    return choices[-1]


def _latency(rows: ir.Table, plan: Plan) -> dict[str, Any]:
    asked = {name: rows.latency_ms.quantile(share) for name, share in QUANTILES.items()}
    usual = engines.run(rows.aggregate(**asked)).to_pandas().astype(float).iloc[0].to_dict()
    settings = plan.infrastructure
    limits = {name: getattr(settings, name) or usual[name] * settings.latency_factor for name in QUANTILES}
    return usual | {f"{name}_limit": limit for name, limit in limits.items()}


def _by_hour(counts: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Mean requests of every hour of the week; of a baseline below two weeks every day counts alike."""
    until = min(end, counts["window_end"].max()) if len(counts) else start
    grid = pd.date_range(start, until, freq="h", inclusive="left")
    totals = counts.groupby(windows.floor(counts["window_start"], "1h"))["requests"].sum().reindex(grid, fill_value=0)
    if len(totals) < 2 * WEEK / HOUR:
        by_day = totals.groupby([at.hour for at in totals.index]).mean() if len(totals) else pd.Series(dtype=float)
        return pd.DataFrame({"hour": range(168), "requests": [by_day.get(hour % 24, np.nan) for hour in range(168)]})
    slots = totals.groupby([_hour_of_week(at) for at in totals.index]).mean()
    return slots.rename_axis("hour").rename("requests").reset_index()


def _hour_of_week(at: pd.Timestamp) -> int:
    return at.weekday() * 24 + at.hour
