"""The cost layer: money and tokens a request, hour by hour, as sums to be charted beside the quality layer's."""

from __future__ import annotations

import pandas as pd

from llm_monitoring.alerts.measurements import TALLIES, tally
from llm_monitoring.alerts.plan import Plan

COLUMN = {
    "avg_cost_per_request_usd": "cost_usd",
    "avg_input_tokens": "input_tokens",
    "avg_output_tokens": "output_tokens",
}


def cost_tallies(hours: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Hourly sums of the charted cost metrics over the requests that cost something.

    Parameters
    ----------
    hours : DataFrame
        As `measurements.request_hours` gives it.
    plan : Plan

    Returns
    -------
    DataFrame
        `measurements.TALLIES`, kind "positive": sums of logarithms, so that a change counts by its ratio.
    """
    if not plan.cost.enabled:
        return pd.DataFrame(columns=TALLIES)
    return spent(hours, plan.cost.metrics)


def spent(hours: pd.DataFrame, metrics) -> pd.DataFrame:
    """Hourly sums of the cost metrics named."""
    parts = []
    for metric in metrics:
        column = COLUMN[metric]
        names = {f"{column}_positive": "n", f"{column}_log": "total", f"{column}_log2": "squares", column: "plain"}
        parts.append(tally(hours[["feature_id", "hour", *names]].rename(columns=names), metric, "positive"))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TALLIES)
