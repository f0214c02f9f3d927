"""Which road an alert takes through the five stages, by its kind and by what its metric is measured on.

A change of single answers takes the road of `incident.inference`. A standing level has no start and no cause (`standing`);
a metric that no single answer has (volume, spend, probes, drift of the questions) is read window by window (`series`).
Each road says of itself what a stage needs, as the fields of that stage's result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.incident.inference.comparison import LEAST_TO_TELL
from llm_monitoring.incident.inference.inquiry import Inquiry, inquire
from llm_monitoring.incident.inference.observations import Observations, weighted_mean, weights_of
from llm_monitoring.incident.series import Series
from llm_monitoring.incident.standing import Standing
from llm_monitoring.keeping import once

if TYPE_CHECKING:
    from llm_monitoring.log import Log

NOTHING = "nothing to explain"


def of_improvement(inquiry: Inquiry) -> Inquiry:
    """The same inquiry, where an improvement began at its onset: no cause of harm says when before ends."""
    at = inquiry.onset["at"]
    return inquiry if at is None else replace(inquiry, since=at)


def what_it_was(inquiry: Inquiry) -> str:
    """Of an improvement: whether the log shows a fall before it, or the weeks before are all that is known."""
    seen, since = inquiry.seen, inquiry.since
    rows = seen.frame[seen.mask(inquiry.slice)]
    before = rows[rows["timestamp"] < since]
    fell = _fell(before, seen, since)
    if fell is None:
        return (
            "The whole log before it is at the old level. If those weeks were an incident, the baseline is one: "
            "set [baseline] of the plan to the weeks that you call normal."
        )
    return (
        f"Before it there was a fall: worse from about {say.day(fell)} to {say.day(since)} than in the days before that. "
        "This is the end of that incident, not a new one."
    )


def _fell(before: pd.DataFrame, seen: Observations, since: pd.Timestamp) -> pd.Timestamp | None:
    """The day from which the answers before an improvement were worse than those still earlier; None where there is none."""
    days = pd.date_range(
        before["timestamp"].min().floor("D") + pd.Timedelta("3D"), since - pd.Timedelta("12h"), freq="D"
    )
    best, most = None, stats.norm.ppf(1 - 0.01 / max(len(days), 1))
    value, weight = -seen.sign * before["value"].to_numpy(float), weights_of(before)
    value = -seen.sign * np.log(np.maximum(before["value"].to_numpy(float), 1e-12)) if seen.scale == "log" else value
    for at in days:
        late = (before["timestamp"] >= at).to_numpy()
        if min(late.sum(), (~late).sum()) < LEAST_TO_TELL:
            continue
        (now, v_now), (then, v_then) = (weighted_mean(value[part], weight[part]) for part in (late, ~late))
        z = (now - then) / np.sqrt(max(v_now + v_then, 1e-12))
        if z > most:
            best, most = at, z
    return best


class Road(Protocol):
    """What the stages ask of a road: the fields of their results."""

    def triage(self) -> dict[str, Any]: ...
    def scope(self) -> dict[str, Any]: ...
    def isolate(self) -> dict[str, Any]: ...
    def respond(self) -> dict[str, Any]: ...
    def open_points(self) -> list[str]: ...
    def quotes(self) -> dict[str, Any]: ...


def road_of(log: Log, alert: Alert, plan: Any = None) -> Road | None:
    """The road of an alert beside the usual one; None where single answers are compared before and since.

    Parameters
    ----------
    log : Log
    alert : Alert
    plan : Plan, dict or path, optional
        Its limits are those that a standing level is held against.

    Returns
    -------
    Standing, Series or None
    """
    if alert.kind != "standing" and inquire(log, alert, plan=plan) is not None:
        return None
    return _beside(log, alert, read_plan(plan))


@once
def _beside(log: Log, alert: Alert, plan: Plan) -> Road:
    return (Standing if alert.kind == "standing" else Series).of(log, alert, plan)
