"""`backtest`: a plan replayed against a log, incidents that happened, and faults planted into it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from llm_monitoring.alerts.alert import COLUMNS
from llm_monitoring.alerts.grouping import alerts_table
from llm_monitoring.alerts.names import features_of
from llm_monitoring.alerts.plan import Plan, open_with, read_plan
from llm_monitoring.backtesting.frontier import FRONTIER, frontier, read_grid
from llm_monitoring.backtesting.incidents import check_names, matched, read_incidents
from llm_monitoring.backtesting.injection import Injection, read_injections
from llm_monitoring.backtesting.replay import Replay
from llm_monitoring.backtesting.result import BacktestResult
from llm_monitoring.backtesting.trials import INCIDENTS, INJECTIONS, TRIALS, Trials, judge_cost
from llm_monitoring.charts.arguments import expect, is_whole
from llm_monitoring.charts.planning import SamplingPlan, plan_sampling
from llm_monitoring.charts.textbook.ewma import EWMAChart
from llm_monitoring.distributions import poisson_least, poisson_most
from llm_monitoring.errors import ConfigError
from llm_monitoring.log import Log, LogLike


def backtest(
    log: LogLike,
    plan: Plan | Any = None,
    incidents: Any = None,
    inject: Any = None,
    grid: Any = None,
    seed: int = 0,
) -> BacktestResult:
    """What a plan would have reported on a past log: how late, with how many false alarms, and what it can detect.

    The log is replayed with nothing from the future: an alert that has fired stays as it was, so the alerts of the whole
    log, cut at any moment, are those of that moment. Nothing on disk is altered.

    Parameters
    ----------
    log : Log, path, URL or dict of DataFrames
    plan : path, dict, Plan, optional
    incidents : folder of reports, DataFrame, CSV or JSON Lines file, optional
        What happened: `incident_id`, `started_at`, and where known `ended_at`, `feature_id`, `metric`. Without it every
        alert is unexplained, and the rate of false alarms is an upper bound.
    inject : list of Injection, optional
        Faults of known size to plant at seeded times into quiet stretches of the log, such as `lm.default_injections()`.
        Each goes into the answers that there are; judged answers are hit only where the log's own sampling judged them.
    grid : dict, optional
        ``{"rate": [...], "false_alarms_per_month": [...]}``: sampling rates and budgets to compare. By default half, once,
        twice and four times the rate of each feature, at the plan's budget.
    seed : int

    Returns
    -------
    BacktestResult
        ``.incidents``, ``.injections``, ``.alerts``, ``.false_alarms_per_month`` with ``_low`` and ``_high``,
        ``.frontier``, ``.headline``, ``.plot()``.

    Raises
    ------
    LogError, ConfigError
        The log, the plan or a parameter cannot be used as it stands.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2026-05-04", periods=35 * 24 * 4, freq="15min", tz="UTC")
    >>> requests = pd.DataFrame({"timestamp": times, "feature_id": "search", "model_id": "m-1"})
    >>> requests["request_id"] = [f"r{i}" for i in range(len(times))]
    >>> requests["cost_usd"] = [0.002 + 0.0001 * (i % 7) for i in range(len(times))]
    >>> found = backtest({"requests": requests}, inject=[Injection("cost", 2)])
    >>> found.injections[["what", "size", "n", "found_rate"]].values.tolist()
    [['cost', 2.0, 20, 1.0]]
    """
    planted, asked = read_injections(inject), read_grid(grid)
    happened = None if incidents is None else read_incidents(incidents)
    expect(is_whole(seed), "backtest", "a whole number, 0 at least", seed=seed)
    plan = read_plan(plan)
    log = open_with(log, plan)
    log.validate()
    if not log.count("requests"):
        return _nothing(plan, happened)
    replay = Replay.of(log, plan)
    explained = pd.Series(False, index=replay.alerts.index)
    rows = pd.DataFrame(columns=list(INCIDENTS))
    if happened is not None:
        check_names(happened, features_of(log), replay.own)
        rows, explained = matched(happened, replay.alerts, replay.own, (replay.span.start, replay.span.end))
    injections, trials = Trials(replay, seed).run(planted)
    rate, low, high = false_alarms(replay, explained)
    return BacktestResult(
        incidents=_joined([rows, trials]),
        injections=injections,
        alerts=replay.alerts,
        false_alarms_per_month=rate,
        false_alarms_per_month_low=low,
        false_alarms_per_month_high=high,
        frontier=frontier(replay, planted, asked, judge_cost(replay)[0], seed, TRIALS),
        sampling=_sampling(log, replay, planted),
        months=replay.months,
        upper_bound=happened is None,
        designed_false_alarms_per_month=plan.quality.false_alarms_per_month,
    )


def false_alarms(replay: Replay, explained: pd.Series) -> tuple[float, float, float]:
    """Alerts a month that fired after the baseline and that no incident explains, with the exact Poisson interval."""
    counted = ~explained & (replay.alerts["fired_at"] >= replay.span.split)
    k, months = int(counted.sum()), replay.months
    if not months:
        return float("nan"), float("nan"), float("nan")
    return k / months, float(poisson_least(k, 0.025)) / months, float(poisson_most(k, 0.025)) / months


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    full = [part.astype(INCIDENTS) for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=list(INCIDENTS)).astype(INCIDENTS)


def _sampling(log: Log, replay: Replay, planted: list[Injection]) -> SamplingPlan | None:
    """The sampling plan of the log's own features, at the rate of false alarms that one of its charts has."""
    sizes = [abs(each.size) for each in planted if each.what == "quality" and abs(each.size) > 0]
    drop = min(sizes, key=lambda size: abs(size - 0.2)) if sizes else 0.2
    chart = EWMAChart(arl0=max(replay.charted.arl0, 1.01))
    try:
        return plan_sampling(log, drop=drop, chart=chart)
    except ConfigError:  # nothing is judged
        return None


def _nothing(plan: Plan, happened: pd.DataFrame | None) -> BacktestResult:
    """The result for a log without requests."""
    alerts = alerts_table([], plan)[list(COLUMNS)]
    rows = pd.DataFrame(columns=list(INCIDENTS)) if happened is None else matched(happened, alerts)[0]
    nan = float("nan")
    return BacktestResult(
        incidents=_joined([rows]), injections=pd.DataFrame(columns=list(INJECTIONS)).astype(INJECTIONS), alerts=alerts,
        false_alarms_per_month=nan, false_alarms_per_month_low=nan, false_alarms_per_month_high=nan,
        frontier=pd.DataFrame(columns=list(FRONTIER)).astype(FRONTIER), sampling=None, months=0.0,
        upper_bound=happened is None, designed_false_alarms_per_month=plan.quality.false_alarms_per_month,
    )  # fmt: skip
