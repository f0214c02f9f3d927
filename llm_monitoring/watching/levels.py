"""What is usual of each feature, from its first weeks: the window that its traffic fills, its latency, its requests by hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_monitoring import windows
from llm_monitoring.alerts.infrastructure import QUANTILES, scopes_of, usual_limits, window_counts, window_width
from llm_monitoring.alerts.measurements import HOUR, WEEK
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.log import Log


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
    """Measure the usual levels of every feature in its baseline: the limits are those that `check` holds it to."""
    columns = ["width", *QUANTILES, *(f"{name}_limit" for name in QUANTILES)]
    scopes = scopes_of(log, plan)
    if scopes.empty:
        none = pd.DataFrame(columns=["feature_id", *columns]).set_index("feature_id")
        return Levels(none, pd.DataFrame(columns=["hour", "requests", "feature_id"]))
    limits = usual_limits(log, plan, scopes)
    counts = window_counts(log.until(scopes["fit_end"].max()), plan, limits)
    widths, hourly = {}, []
    for feature, start, end in scopes.sort_index().itertuples():
        own = counts[(counts["feature_id"] == feature) & (counts["window_start"] >= start)]
        own = own[own["window_start"] < end]
        widths[feature] = window_width(own, plan, start, min(end, own["window_end"].max()) if len(own) else end)
        hourly.append(_by_hour(own, start, end).assign(feature_id=feature))
    table = limits.assign(width=pd.Series(widths, dtype=object)).sort_index()[columns]
    return Levels(table, pd.concat(hourly, ignore_index=True))


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
