"""The alert that an incident starts from: a row of `check`, or a dict with the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from llm_monitoring.errors import ConfigError, one_of, quote

FALLS_ARE_HARM = ("mean_", "explicit_positive_rate", "probe_pass_rate")


@dataclass(frozen=True)
class Alert:
    """One alert, as a row of `check` has it; what is not known is None.

    `direction` is the way the metric went (up or down). `unit` says how its numbers are read.
    """

    metric: str
    fired_at: pd.Timestamp
    direction: str
    feature_id: str | None = None
    window_start: pd.Timestamp | None = None
    alert_id: str | None = None
    layer: str | None = None
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    severity: str | None = None
    n: int | None = None
    designed_false_alarms_per_month: float | None = None
    message: str | None = None

    @property
    def unit(self) -> str:
        """One of score, share, ms, usd, count: how a number of this metric is printed."""
        if self.metric.endswith("_rate"):
            return "share"
        if self.metric.startswith("mean_"):
            return "score"
        if self.metric.endswith("_ms"):
            return "ms"
        return "usd" if self.metric.endswith("_usd") else "count"

    @property
    def harmful(self) -> bool:
        """Whether the metric went the way that hurts somebody."""
        fell_is_bad = self.metric.startswith(FALLS_ARE_HARM)
        return (self.direction == "down") == fell_is_bad

    @property
    def judged(self) -> bool:
        """Whether a judge's scores are what moved: then it may be the judge that changed."""
        return self.metric.startswith("mean_") or self.metric == "flagged_rate"

    @property
    def of(self) -> str:
        """The feature in words."""
        return self.feature_id if self.feature_id is not None else "all features"


def read_alert(alert: Alert | Mapping[str, Any] | pd.Series) -> Alert:
    """The alert of a row of `check`, of a dict, or as it is.

    Parameters
    ----------
    alert : Alert, dict or Series
        Needs `metric`, `fired_at` and `direction`; NaN, None and absent all mean unknown (`feature_id`: all).

    Raises
    ------
    ConfigError
        A needed name is missing, `direction` is neither up nor down, or a time has no zone.

    Examples
    --------
    >>> read_alert({"metric": "mean_quality", "fired_at": "2026-05-19T00:10Z", "direction": "down"}).unit
    'score'
    """
    if isinstance(alert, Alert):
        return alert
    given = {key: None if _unknown(value) else value for key, value in dict(alert).items()}
    for name in ("metric", "fired_at", "direction"):
        if given.get(name) is None:
            raise ConfigError(f"alert: {name} is missing; an alert is a row of check(log), or a dict with this name")
    one_of("alert direction", given["direction"], ["up", "down"])
    for name in ("fired_at", "window_start"):
        if given.get(name) is not None:
            given[name] = _utc(given[name], name)
    return Alert(**{f.name: given.get(f.name) for f in fields(Alert)})  # type: ignore[arg-type]


def _unknown(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _utc(value: Any, name: str) -> pd.Timestamp:
    when = pd.Timestamp(value)
    if when.tzinfo is None:
        raise ConfigError(f"alert {name}: {quote(str(value))} has no time zone; write it as 2026-05-19T00:10Z")
    return when.tz_convert("UTC")
