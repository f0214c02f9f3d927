"""All three layers over a log: what fired, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring.alerts.events import alerts_table
from llm_monitoring.alerts.infrastructure import infrastructure_events
from llm_monitoring.alerts.measurements import moment_of, span_of
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.alerts.quality import chart_events, chart_windows, measure
from llm_monitoring.alerts.weekly import count_tests, weekly_events

if TYPE_CHECKING:
    from llm_monitoring.log import Log


def check(log: Log, plan: Plan | dict[str, Any] | str | None = None, until: Any = None) -> pd.DataFrame:
    """Alerts of the three layers: infrastructure (limits), cost and quality (charts under one budget).

    Parameters
    ----------
    log : Log
    plan : path, dict or Plan, optional
        What to watch and how often it may fire for nothing; sound defaults where nothing is said.
    until : time, optional
        The log as it was known then; nothing from after it is used.

    Returns
    -------
    DataFrame
        One row per event and cause, most severe first, then earliest: `alert_id`, `layer`, `metric`, `feature_id`
        (null: all), `fired_at`, `window_start`, `value`, `expected`, `low`, `high`, `direction`, `severity` (critical,
        warning, info), `n`, `designed_false_alarms_per_month`, `message`. Empty, with its columns, where nothing fired.

    Raises
    ------
    ConfigError
        The plan or `until` cannot be read.

    Notes
    -----
    The first part of the log is the baseline (half of it in whole weeks, two to four). An event fires when it could
    have been known: at its window's end, or at the last judgement in it. The same log gives the same ids.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")  # doctest: +SKIP
    >>> lm.check(log)[["severity", "message"]]  # doctest: +SKIP
    """
    plan, when = read_plan(plan), moment_of(until)
    log = log if when is None else log.until(when)
    span = span_of(log, plan, when)
    if span is None:
        return alerts_table([], plan)
    tests = count_tests(log, plan)
    charted = chart_windows(measure(log, plan, span), plan, span, others=tests)
    sharing = len(charted.results) + tests
    events = [
        *infrastructure_events(log, plan.infrastructure, span),
        *chart_events(charted),
        *weekly_events(log, plan, span, sharing),
    ]
    return alerts_table(events, plan, sharing)
