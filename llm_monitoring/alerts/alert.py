"""One alert: from the rule that fired, through the table of `check` and the incident stages, to the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pandas as pd

from llm_monitoring import times
from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.measures import Measure, measure
from llm_monitoring.results import unknown

COLUMNS = {
    "alert_id": "str",
    "layer": "str",
    "metric": "str",
    "feature_id": "str",
    "fired_at": "datetime64[us, UTC]",
    "window_start": "datetime64[us, UTC]",
    "value": "float64",
    "expected": "float64",
    "low": "float64",
    "high": "float64",
    "direction": "str",
    "severity": "str",
    "n": "Int64",
    "designed_false_alarms_per_month": "float64",
    "kind": "str",
    "rule": "str",
    "version": "str",
    "reopens": "str",
    "silenced": "bool",
    "message": "str",
}


@dataclass(frozen=True)
class Alert:
    """One metric of one feature outside its limits, as it was known at `fired_at`; what is not known is None.

    The names up to `message` are the columns of the alerts table. `began` is when the change most likely began,
    `began_low` to `began_by` its interval, `ended` the end of the last window outside (of a test: of the first look),
    `over` that of the last look of a test, or the last window over a limit, once it is found inside again. `value` with
    its 95 % interval is the mean since the change. `limit` is set where a fixed limit was passed, `words` where a rule has a sentence of
    its own, `split` what is said beside the size,
    `second` where it is a change on top of one that has alarmed, `version_column` the column that `version` is a value of.
    `measure` says what the metric means.
    """

    metric: str
    fired_at: pd.Timestamp
    direction: str
    feature_id: str | None = None
    window_start: pd.Timestamp | None = None
    alert_id: str | None = None
    layer: str | None = None
    value: Any = None
    expected: Any = None
    low: Any = None
    high: Any = None
    severity: str | None = None
    n: int | None = None
    designed_false_alarms_per_month: float | None = None
    kind: str | None = None
    rule: str | None = None
    version: str | None = None
    reopens: str | None = None
    message: str | None = None
    began: Any = None
    began_low: Any = None
    began_by: Any = None
    ended: Any = None
    over: Any = None
    limit: Any = None
    words: str | None = None
    split: str | None = None
    silenced: bool = False
    second: bool = False
    version_column: str | None = None
    measure: Measure = field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.measure is None:
            object.__setattr__(self, "measure", measure(self.metric))
        if self.kind is None:
            object.__setattr__(self, "kind", "change" if self.harmful else "better")

    def about(self, metric: str, direction: str) -> Alert:
        """An alert on another metric at the same moment, for a look at what moved beside."""
        return replace(self, metric=metric, direction=direction, kind=None, measure=None)  # type: ignore[arg-type]

    @property
    def unit(self) -> str:
        """How a number of this metric is printed: score, share, ms, usd, count, or a unit of your own."""
        return self.measure.shown_in

    @property
    def harmful(self) -> bool:
        """Whether the metric went the way that hurts somebody."""
        return self.measure.is_worse(self.direction)

    @property
    def judged(self) -> bool:
        """Whether judged answers are what moved: then it may be the judge that changed."""
        return self.measure.judged

    @property
    def of(self) -> str:
        """The feature in words."""
        return self.feature_id if self.feature_id is not None else "all features"

    def to_dict(self) -> dict[str, Any]:
        """The columns of the alerts table, ready for JSON."""
        from llm_monitoring.results import jsonable

        return {name: jsonable(getattr(self, name)) for name in COLUMNS}


def of_feature(rows: pd.DataFrame, alert: Alert) -> pd.DataFrame:
    """The rows of the feature that alerted, or all of them."""
    return rows if alert.feature_id is None else rows[rows["feature_id"] == alert.feature_id]


def read_alert(alert: Alert | Mapping[str, Any] | pd.Series, own: Iterable[Measure] = ()) -> Alert:
    """The alert of a row of `check`, of a dict, or as it is.

    Parameters
    ----------
    alert : Alert, dict or Series
        Needs `metric`, `fired_at` and `direction`; NaN, None and absent all mean unknown (`feature_id`: all).
    own : iterable of Measure
        Custom measures that the log declares.

    Raises
    ------
    ConfigError
        A needed name is missing, `direction` is neither up nor down, a time has no zone, or the metric is unknown.

    Examples
    --------
    >>> read_alert({"metric": "mean_quality", "fired_at": "2026-05-19T00:10Z", "direction": "down"}).unit
    'score'
    """
    if isinstance(alert, Alert):
        return alert
    if not isinstance(alert, Mapping | pd.Series):
        shape = "a table; take one row, such as alerts.iloc[0]" if isinstance(alert, pd.DataFrame) else quote(alert)
        raise ConfigError(f"alert: {shape}; expected a row of check(log), its alert_id, or a dict with the same names")
    given: dict[str, Any] = {key: None if unknown(value) else value for key, value in dict(alert).items()}
    for name in ("metric", "fired_at", "direction"):
        if given.get(name) is None:
            raise ConfigError(f"alert: {name} is missing; an alert is a row of check(log), or a dict with this name")
    one_of("alert direction", given["direction"], ["up", "down"])
    for name in ("fired_at", "window_start", "began", "began_low", "began_by", "ended", "over"):
        if given.get(name) is not None:
            given[name] = times.moment(given[name], f"alert {name}")
    given["measure"] = measure(str(given["metric"]), own)
    return Alert(**{f.name: given[f.name] for f in fields(Alert) if given.get(f.name) is not None})
