"""Nothing alerted: what was watched, and what would have been seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    from llm_monitoring.log import Log

FIRST = ("mean_quality", "flagged_rate", "refusal_rate", "error_rate")
MOST_CHARTS = 30
COLUMNS = [
    "feature_id", "metric", "unit", "window_start", "value", "n", "statistic", "center", "lower", "upper", "alarm",
]  # fmt: skip


@dataclass(frozen=True, repr=False)
class QuietResult(Result):
    """The charts of a log in which nothing alerted.

    Attributes
    ----------
    verdict : str
        no alert
    charts : int
        How many were fitted.
    days : int
        Days watched: those after the baseline.
    words : str
        The fall of mean quality that would have been seen; empty where it is not judged.
    portfolio : list of dict
        feature_id, metric, unit, window_start, value, n, statistic, center, lower, upper, alarm of at most 30 charts.
    next : str
    """

    verdict: str
    charts: int
    days: int
    words: str
    portfolio: list[dict[str, Any]]
    next: str

    @property
    def headline(self) -> str:
        """How many charts over how many days, and what they could have seen."""
        if not self.charts:
            return "no alert: the log is too short or too thin to fit a chart, so a fall would not have been seen"
        told = f"no alert: {self.charts} charts, {self.days} days, nothing outside the limits"
        return f"{told}; {self.words}" if self.words else told

    def to_frame(self) -> pd.DataFrame:
        """Every window of every chart shown."""
        return pd.DataFrame(self.portfolio, columns=COLUMNS)

    def plot(self, ax=None, narrow: bool = False):
        """Small multiples of the charts."""
        from llm_monitoring.incident import drawing

        return drawing.portfolio(self.to_frame(), ax, columns=1 if narrow else 3)


def watched(log: Log, plan: Any = None) -> QuietResult:
    """The quality charts of a log, none of which alarmed.

    Returns
    -------
    QuietResult
    """
    from llm_monitoring.alerts.charting import control_charts

    found = control_charts(log, plan)
    units = {name: each.shown_in for name, each in found.measures.items()}
    keys = sorted(found.results, key=lambda key: (FIRST.index(key[1]) if key[1] in FIRST else len(FIRST), str(key)))
    shown = [found.drawn(*key).assign(unit=units[key[1]]) for key in keys[:MOST_CHARTS]]
    frame = pd.concat([one[~one["baseline"]] for one in shown]) if shown else pd.DataFrame()
    days = 0 if found.span is None else round((found.span.end - found.span.split) / pd.Timedelta("1D"))
    return QuietResult(
        verdict="no alert",
        charts=len(found.results),
        days=max(days, 0),
        words=_could_have_seen(found.results),
        portfolio=jsonable(frame.reindex(columns=COLUMNS)),
        next="Nothing to triage; judge and chart on.",
    )


def _could_have_seen(results: dict[tuple[Any, Any], Any]) -> str:
    falls = [
        r.detectable for (_, metric), r in results.items() if metric == "mean_quality" and r.detectable is not None
    ]
    if not falls:
        return ""
    size = say.number(float(np.max(falls)), 1)
    return f"a fall of {size} points of quality within a week would have been seen in 8 of 10 cases"
