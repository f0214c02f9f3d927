"""From when to when each chart learns, how wide its windows are, when they are looked at, and its share of the budget.

Everything here is said of a chart once its baseline is over, from what was known by then; no later row changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring import engines, windows
from llm_monitoring.alerts.measurements import DAY, HOUR, KEYS, STEP, TIME, WIDTHS
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.keeping import once
from llm_monitoring.log import as_table
from llm_monitoring.schema import TABLES

if TYPE_CHECKING:
    from llm_monitoring.log import Log

FEWEST_IN_BASELINE = 7  # windows with a value that a baseline holds at least
FIRST, TRIES, AGAIN = 14, (14, 21, 28), 28  # days after which a chart begins, may still begin, and is fitted once more
RUNAWAY, PRICES = "runaway requests", "price list"
BESIDE = (
    "request_count",
    "error_rate",
    "latency_p50_ms",
    "latency_p95_ms",
    RUNAWAY,
    PRICES,
)  # beside a fixed limit, or the chart of their metric


@dataclass(frozen=True)
class Span:
    """The log's time: from the first day to the last moment known, and `split`, when its first charts begin.

    `asked` is the last moment of which the requests are known: where no later one is there, a feature without requests
    is not down, its log has ended.
    """

    start: pd.Timestamp
    split: pd.Timestamp
    end: pd.Timestamp
    asked: pd.Timestamp


def span_of(log: Log, plan: Plan) -> Span | None:
    """First day, end of the first baseline and last known moment of a log; None where it has no request.

    The last moment is that of the latest row of any table, or the moment that the log was cut at.
    """
    first, last = log.span("requests")
    if first is None:
        return None
    ends = {name: log.whole.span(name)[1] for name in ("requests", "signals", "judgements", "probe_results")}
    known = [at for at in ends.values() if at is not None]
    last = pd.Timestamp(last)  # type: ignore[arg-type]
    start = _utc(plan.baseline.start) if plan.baseline.start else first.floor("D")
    if log.known_until is None:
        return Span(start, _fit_end(start, plan), max(known), last)
    end = max(last, log.known_until)
    goes_on = ends["requests"] >= end or end > max(known)  # type: ignore[operator]
    return Span(start, _fit_end(start, plan), end, end if goes_on else last)


def _utc(when: Any) -> pd.Timestamp:
    return pd.Timestamp(when).tz_convert("UTC")


def _fit_end(start: pd.Timestamp, plan: Plan) -> pd.Timestamp:
    """When the baseline of what starts then is over."""
    if plan.baseline.days:
        return start + plan.baseline.days * DAY
    if plan.baseline.end and _utc(plan.baseline.end) > start:
        return _utc(plan.baseline.end)
    return start + FIRST * DAY


def baselines(starts: pd.Series, plan: Plan) -> pd.DataFrame:
    """`start`, `fit_end` of each chart from the day of its first value; those before the plan's start begin there."""
    start = pd.to_datetime(starts, utc=True).astype(TIME).dt.floor("D")
    if plan.baseline.start:
        start = start.where(start > _utc(plan.baseline.start), _utc(plan.baseline.start))
    end = pd.Series([_fit_end(one, plan) for one in start], index=start.index, dtype=TIME)
    return pd.DataFrame({"start": start, "fit_end": end})


def fixed(plan: Plan) -> bool:
    """Whether the plan says which days are the baseline; then it is not fitted a second time."""
    return bool(plan.baseline.days or plan.baseline.end)


def first_values(tallies: pd.DataFrame, of: dict[str, str]) -> pd.Series:
    """First hour with a value of each chart, by (feature_id, metric).

    A signal counts from the day on which its kind was first logged anywhere, in every feature that was there.
    """
    known = tallies[tallies["n"] > 0]
    first = known.groupby(KEYS)["hour"].min()
    marks = tallies[(tallies["n"] == 0) & (tallies["total"] > 0)]
    logged = (marks.groupby("metric")["known"].min() - HOUR).dt.floor("D")
    signals = [metric for metric, table in of.items() if table == "signals"]
    when = {metric: at for metric, at in logged.items() if metric in signals}
    since = [when.get(metric, pd.NaT) for metric in first.index.get_level_values("metric")]
    begun = pd.Series(pd.DatetimeIndex(since, tz="UTC"), index=first.index).astype(TIME)
    return first.where(begun.isna() | (first > begun), begun)


@once
def delays(log: Log, of: str) -> pd.DataFrame:
    """How long after their request `judgements` or `signals` came: `feature_id`, `day` (of coming), `steps`, `n`."""
    import ibis

    columns = ["feature_id", "day", "steps", "n"]
    if not log.has(of):
        return pd.DataFrame(columns=columns)
    requests = as_table(log, "requests").rows.select("request_id", "feature_id", __lm_asked="timestamp")
    came = as_table(log, of).rows.select(__lm_of="request_id", __lm_came=TABLES[of].time)
    rows = came.inner_join(requests, came["__lm_of"] == requests["request_id"])
    took = engines.microseconds(rows["__lm_came"]) - engines.microseconds(rows["__lm_asked"])
    step = STEP.value // 1000
    rows = rows.mutate(steps=engines.whole_parts(ibis.greatest(took, 0) + (step - 1), step))
    keyed, keys = windows.keyed(rows, "__lm_came", "1d", ["feature_id"])
    found = engines.run(keyed.group_by([*keys, "steps"]).aggregate(n=keyed.count())).to_pandas()
    if found.empty:
        return pd.DataFrame(columns=columns)
    return windows.labelled(found, "1d", ["feature_id", "steps"]).rename(columns={"window_start": "day"})[columns]


@once
def delays_by_feature(log: Log, of: str) -> dict[Any, pd.DataFrame]:
    """`delays`, by feature."""
    return dict(iter(delays(log, of).groupby("feature_id")))


def usual_delay(own: pd.DataFrame | None, start: pd.Timestamp, before: pd.Timestamp, share: float) -> pd.Timedelta:
    """The delay that so large a share of the baseline's judgements (or signals) of a feature kept within."""
    if own is None:
        return pd.Timedelta(0)
    own = own[(own["day"] >= start) & (own["day"] + DAY <= before)].sort_values("steps", kind="stable")
    if own.empty:
        return pd.Timedelta(0)
    reached = own["n"].cumsum() >= share * own["n"].sum()
    return int(own["steps"][reached].iloc[0]) * STEP


def widths(tallies: pd.DataFrame, scopes: pd.DataFrame) -> pd.Series:
    """Per chart the shortest of 1 h, 6 h, 1 d whose windows hold enough on most occasions of the baseline, else 1 d.

    Parameters
    ----------
    tallies : DataFrame
    scopes : DataFrame
        By (feature_id, metric): `start`, `fit_end`, `enough` (answers that a window needs).

    >>> times = pd.date_range("2026-05-11", periods=56, freq="6h", tz="UTC")
    >>> hours = pd.DataFrame({"feature_id": "search", "metric": "mean_quality", "hour": times, "known": times, "n": 30})
    >>> of = pd.MultiIndex.from_tuples([("search", "mean_quality")], names=KEYS)
    >>> widths(hours, pd.DataFrame({"start": times[0], "fit_end": times[0] + 14 * DAY, "enough": 20}, of)).tolist()
    ['6h']
    """
    rows = tallies.merge(scopes[["start", "fit_end"]].reset_index(), on=KEYS)
    rows = rows[(rows["hour"] >= rows["start"]) & (rows["hour"] < rows["fit_end"]) & (rows["known"] <= rows["fit_end"])]
    chosen = pd.Series(WIDTHS[-1], index=scopes.index)
    for window in reversed(WIDTHS[:-1]):
        begin = windows.floor(rows["hour"], window)
        held = rows.assign(begin=begin).groupby([*KEYS, "begin"], sort=False)["n"].sum().reset_index()
        held["full"] = held["n"].to_numpy() >= scopes["enough"].reindex(pd.MultiIndex.from_frame(held[KEYS])).to_numpy()
        often = held.groupby(KEYS)["full"].sum().reindex(scopes.index, fill_value=0)
        lasts: Any = scopes["fit_end"] - scopes["start"]
        chosen[often > 0.5 * (lasts / windows.width(window))] = window
    return chosen


def begins(table: pd.DataFrame, scopes: pd.DataFrame, plan: Plan) -> pd.Series:
    """When each chart begins: after its baseline, or one or two weeks later where it holds too few windows; NaT if never.

    `table` holds the windows of all charts as first looked at.
    """
    valued = table.loc[table["value"].notna(), [*KEYS, "window_start", "known_at"]]
    rows = valued.merge(scopes[["start", "fit_end"]].reset_index(), on=KEYS)
    out = pd.Series(pd.NaT, index=scopes.index, dtype=TIME)
    for wait in (days - FIRST for days in reversed(TRIES)):
        moment = rows["fit_end"] + wait * DAY
        inside = (rows["known_at"] <= moment) & (rows["window_start"] < (rows["fit_end"] if fixed(plan) else moment))
        enough = rows[inside].groupby(KEYS).size().reindex(scopes.index, fill_value=0) >= FEWEST_IN_BASELINE
        out[enough] = scopes["fit_end"][enough] + wait * DAY
    return out


def shares(begin: dict[tuple, tuple[pd.Timestamp, bool]], plan: Plan) -> dict[tuple, float]:
    """False alarms a month that each chart or test may give.

    Parameters
    ----------
    begin : dict
        Chart or test -> when it begins, and whether it was there when the first ones began.
    plan : Plan

    Returns
    -------
    dict
        Those that were there from the beginning share the budget without its reserve. All that begin on a later day take
        half of what is left of the reserve together.

    >>> day = pd.Timestamp("2026-05-25", tz="UTC")
    >>> shares({("a",): (day, True), ("b",): (day + DAY, False), ("c",): (day + 2 * DAY, False)}, Plan())
    {('a',): 0.95, ('b',): 0.025, ('c',): 0.0125}
    """
    budget, kept = plan.quality.false_alarms_per_month, plan.quality.reserve
    out = _parted([key for key, (_, founder) in begin.items() if founder], budget * (1 - kept))
    left = budget * kept
    later: dict[pd.Timestamp, list] = {}
    for key, (moment, founder) in begin.items():
        if not founder:
            later.setdefault(moment, []).append(key)
    for moment in sorted(later):
        left = left / 2
        out |= _parted(later[moment], left)
    return out


def _parted(keys: list[tuple], budget: float) -> dict[tuple, float]:
    """A budget over charts; those that stand beside a fixed limit, or another chart of the same metric, need half as much as the others."""
    weight = {key: 0.5 if key[-1] in BESIDE else 1.0 for key in keys}
    return {key: budget * one / sum(weight.values()) for key, one in weight.items()}


def founders(tallies: pd.DataFrame, plan: Plan, at: pd.Timestamp) -> set[tuple]:
    """Charts that hold a value on enough days at the moment when the first charts begin."""
    return on_enough_days(tallies[(tallies["n"] > 0) & (tallies["known"] <= at)], KEYS, plan)


def on_enough_days(hours: pd.DataFrame, by: list[str], plan: Plan) -> set:
    """Groups whose `hour` fall on as many days as a baseline needs: seven, or half of the days that the plan gives it."""
    days = min(FEWEST_IN_BASELINE, -(-plan.baseline.days // 2)) if plan.baseline.days else FEWEST_IN_BASELINE
    counted = hours.assign(day=hours["hour"].dt.floor("D")).groupby(by)["day"].nunique()
    return set(counted[counted >= days].index)
