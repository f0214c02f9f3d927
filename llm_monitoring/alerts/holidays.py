"""Days that are like no other: windows on a holiday are neither learnt from nor charted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from llm_monitoring.alerts.plan import Plan


def on_holiday(starts: pd.Series, ends: pd.Series, plan: Plan) -> np.ndarray:
    """Whether any part of a window lies on a holiday of the plan, in the plan's timezone.

    >>> at = pd.Series(pd.to_datetime(["2026-05-13T21:00Z", "2026-05-13T23:00Z"]))
    >>> plan = Plan(baseline={"holidays": ["2026-05-14"], "timezone": "Europe/Berlin"})
    >>> on_holiday(at, at + pd.Timedelta("1h"), plan).tolist()
    [False, True]
    """
    found = np.zeros(len(starts), bool)
    for day in plan.baseline.holidays:
        first = pd.Timestamp(day).tz_localize(plan.baseline.timezone, nonexistent="shift_forward", ambiguous=True)
        after = pd.Timestamp(day) + pd.Timedelta("1D")
        last = after.tz_localize(plan.baseline.timezone, nonexistent="shift_forward", ambiguous=True)
        found |= ((starts < last) & (ends > first)).to_numpy(bool)
    return found


def without_holidays(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The windows of charts; those on a holiday stay without a value."""
    if table.empty or not plan.baseline.holidays:
        return table
    out = on_holiday(table["window_start"], table["window_end"], plan)
    table = table.copy()
    table.loc[out, ["value", "sd", "plain"]] = np.nan
    table.loc[out & table["n"].notna().to_numpy(), "n"] = 0.0
    return table
