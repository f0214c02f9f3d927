"""A fitted chart as JSON and back, to the last digit: what it was asked for, what it learned, where it stands."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring.charts.posterior import DayEffect, Yardstick
from llm_monitoring.charts.sharing import days_of
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.results import jsonable

if TYPE_CHECKING:
    from llm_monitoring.charts.predictive import ControlChart

PLAIN = (
    "limit_", "n_baseline_", "false_alarm_probability_", "history_", "state_", "_uses_n", "_usual_n", "_last",
)  # fmt: skip
ARRAYS = ("center_", "_pattern", "_spread")
TUPLES = ("notes_", "day_effect_")
TIMES = ("_origin", "_seen")


def state_of(chart: ControlChart) -> dict[str, Any]:
    """Everything that a fitted chart knows, ready for JSON."""
    parameters = asdict(chart)
    plain = {name: jsonable(getattr(chart, name)) for name in (*PLAIN, *ARRAYS, *TUPLES, "detectable_", "_yardstick")}
    times = {name: _time(getattr(chart, name)) for name in TIMES}
    period = None if chart._period is None else chart._period.isoformat()
    return {"parameters": jsonable(parameters), "learned": {**plain, **times, "_period": period}}


def restore(kind: type[ControlChart], state: Any) -> ControlChart:
    """The chart whose state this is; the state itself stays as it is.

    Raises
    ------
    ConfigError
        It is not the state of a fitted chart.
    """
    try:
        return _restored(kind, copy.deepcopy(state))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"ControlChart.from_state: {quote(state)}; expected the state of a fitted chart, as chart.state gives it"
        ) from error


def _restored(kind: type[ControlChart], state: dict[str, Any]) -> ControlChart:
    asked, learned = state["parameters"], state["learned"]
    prior = asked.get("day_effect")
    asked["day_effect"] = None if prior is None else DayEffect(np.array(prior["grid"]), np.array(prior["mass"]))
    chart = kind(**{**asked, "lambdas": tuple(asked["lambdas"])})
    for name in PLAIN:
        setattr(chart, name, learned[name])
    for name in ARRAYS:
        setattr(chart, name, np.array(learned[name]))
    for name in TUPLES:
        setattr(chart, name, tuple(learned[name]))
    for name in TIMES:
        setattr(chart, name, _read_time(learned[name]))
    chart.detectable_ = float("nan") if learned["detectable_"] is None else learned["detectable_"]
    chart._below = chart.limit_
    chart._yardstick = Yardstick(**learned["_yardstick"])
    chart._period = None if learned["_period"] is None else pd.Timedelta(learned["_period"])
    chart._days = days_of(chart._origin, chart._period)
    return chart


def _time(when: Any) -> Any:
    """A time with the name of its zone, a number as it is."""
    if not isinstance(when, pd.Timestamp):
        return jsonable(when)
    if when.tz is None:
        return {"time": when.isoformat(), "zone": None}
    return {"time": when.tz_convert(None).isoformat(), "zone": str(when.tz)}


def _read_time(saved: Any) -> Any:
    if not isinstance(saved, dict):
        return saved
    when = pd.Timestamp(saved["time"])
    return when if saved["zone"] is None else when.tz_localize("UTC").tz_convert(saved["zone"])
