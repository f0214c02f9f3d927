"""A judge that gives no verdict any more: its charts have no windows then, and would say nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd

from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.measurements import HOUR, STEP
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import Span, baselines
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.intervals import wilson
from llm_monitoring.measures import Measure
from llm_monitoring.wording import NBSP, amount, moment, number, one_line

DUE = 20  # verdicts that would usually have come
LEAST = 6 * HOUR  # a shorter pause is told of no judge
COUNTED = ("failed_rate", "flagged_rate", "mean_quality")  # what verdicts are counted by, the first that is there


def silent_judge_events(
    tallies: pd.DataFrame,
    measures: Iterable[Measure],
    hours: pd.DataFrame,
    plan: Plan,
    span: Span,
    by_all: pd.DataFrame | None = None,
) -> list[Alert]:
    """Features that are asked, and of which no answer is judged any more, by any judge.

    A judge is silent after twice the longest pause of its baseline (six hours at least), once 20 verdicts would have come
    going by the share of requests that was judged in the baseline. Failed judgements are no silence: `failed_rate` has them.

    Parameters
    ----------
    tallies : DataFrame
        Hourly sums; of judged measures when they were known.
    measures : iterable of Measure
        Those of the tallies.
    hours : DataFrame
        Requests (`n`) per `feature_id` and `hour`.
    plan : Plan
    span : Span
    by_all : DataFrame, optional
        Verdicts of every judge per `feature_id` and `hour` of judging: a judge that takes over from another has no tallies on its
        first day.

    Returns
    -------
    list of Alert
        One for each silence, over at the next verdict.
    """
    judged = {each.name: each.name.split("[")[0] for each in measures if each.judged}
    base = next((name for name in (*COUNTED, *judged.values()) if name in judged.values()), None)
    rows = tallies[tallies["metric"].map(judged) == base]
    rows = rows[rows["n"] > 0]
    events: list[Alert] = []
    for feature, own in rows.groupby("feature_id", sort=True):
        asked = hours[hours["feature_id"] == feature].set_index("hour")["n"].sort_index()
        others = by_all.loc[by_all["feature_id"] == feature, "hour"] if by_all is not None else own["hour"].iloc[:0]
        events += _of_feature(str(feature), own, asked, plan, span, _beside(own["known"], others))
    return events


def _beside(known: pd.Series, judged: pd.Series) -> pd.DatetimeIndex:
    """The ends of the hours in which somebody judged and nothing became known: verdicts that the tallies leave out."""
    own = pd.DatetimeIndex(known.sort_values())
    hours = pd.DatetimeIndex(judged.unique()).sort_values()
    heard = own.searchsorted(hours + HOUR + STEP, side="right") > own.searchsorted(hours, side="right")
    return hours[~heard] + HOUR


def _of_feature(
    feature: str, own: pd.DataFrame, asked: pd.Series, plan: Plan, span: Span, beside: pd.DatetimeIndex
) -> list[Alert]:
    start, fit_end = baselines(pd.Series([own["hour"].min()]), plan).iloc[0][["start", "fit_end"]]
    known = pd.DatetimeIndex(own["known"].sort_values().unique())
    early = known[(known >= start) & (known <= fit_end)]
    before = asked[(asked.index >= start) & (asked.index < fit_end)].sum()
    came = own["n"][(own["known"] >= start) & (own["known"] <= fit_end)].sum()
    if came < DUE or len(early) < 2 or not before:
        return []
    pause = max(early.to_series().diff().max(), fit_end - early[-1])
    patience, share = max(2 * pause, LEAST), min(came / before, 1.0)
    events = []
    verdicts = known.union(beside[beside <= span.end])
    for last, after in pairwise([*verdicts[verdicts >= early[-1]], None]):
        until = span.end if after is None else min(after, span.end)
        if until - last < patience:
            continue
        due = share * asked[asked.index >= last].cumsum()
        due = due[due >= DUE]
        if due.empty:
            continue
        fired = max((last + patience).ceil("h"), due.index[0] + HOUR + pause.ceil("h"), fit_end)
        if fired <= until and fired > last:
            n = float(share * asked[(asked.index >= last) & (asked.index <= fired - HOUR - pause)].sum())
            events.append(_alert(feature, last, fired, after if until == after else None, n, share, patience))
    return events


def _alert(
    feature: str, last: pd.Timestamp, fired: pd.Timestamp, after: pd.Timestamp | None, due: float, share: float,
    patience: pd.Timedelta,
) -> Alert:  # fmt: skip
    words = (
        f"{one_line(feature)}: no judgement since {moment(last)}, {number(due)} were due by {moment(fired)} (usually "
        f"{amount(share, 'share')} of the requests are judged, without a pause of {number(patience / 2 / HOUR, 1)}{NBSP}h): "
        "nothing is known of its quality"
    )
    low, high = wilson(due, due)
    return Alert(
        "failed_rate", fired, "up", feature, last, layer="quality", value=1.0, expected=0.0, low=float(low),
        high=float(high), n=round(due), rule="limit", kind="change", limit=np.nan, words=words, began=last, began_low=last,
        began_by=last, ended=fired, over=after, designed_false_alarms_per_month=float(np.exp(-due) * (MONTH / patience)),
    )  # fmt: skip
