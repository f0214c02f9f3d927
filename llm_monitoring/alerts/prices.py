"""A new price list: the same tokens of the same model cost more than they did, which ten requests show.

What a request costs differs by its length, so an hour of twenty requests hardly shows that all became half as dear again.
What it costs at its tokens hardly differs at all where it is worked out from a price list: so many USD a call, a token in
and a token out, learnt for each model from the hours of the baseline. Where the hours of the baseline lie close to that,
ten requests that cost more than they should alarm the chart of what a request costs. Their harmonic mean counts: a
request that costs 150 times as much weighs as much as one that costs half as much again, so a few runaway requests, or a fee, are no new price.

How far hours stray is taken from the baseline: beyond the farthest of its hours it falls with the distance no faster than
it must for a variance to exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import optimize

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.holidays import on_holiday
from llm_monitoring.alerts.lots import pools, together
from llm_monitoring.alerts.measurements import DAY, FEWEST, HOUR, fixed_total
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import PRICES
from llm_monitoring.alerts.spells import spells
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.keeping import once
from llm_monitoring.wording import number

if TYPE_CHECKING:
    from llm_monitoring.alerts.runs import Run
    from llm_monitoring.log import Log

COST = "avg_cost_per_request_usd"
PAID_FOR = ["calls", "input", "output"]
LEARNT = 50  # requests of a model, and lots of a feature, that its prices are learnt from at least
TIGHT = 0.05  # hours of the baseline that stray farther from its prices are not made by a price list
LEAST = float(np.log(1.25))  # a smaller rise is left to the chart
MORE = 3.0  # of ten requests that cost half as much again a third of each is missing: so many requests at least


@once
def hours_of_models(log: Log) -> pd.DataFrame:
    """Requests whose cost and tokens are known, their USD, and the calls and tokens that a USD bought (summed over them), per feature, model and hour."""
    rows = answers.view_of(log, "requests")
    tokens = {name: rows[f"{name}_tokens"].cast("float64") for name in PAID_FOR[1:]}
    rows = rows.mutate(**tokens, usd=rows["cost_usd"].cast("float64"))
    rows = rows.filter(rows["usd"] > 0, rows["input"].notnull(), rows["output"].notnull())
    by = ["feature_id", "model_id"]
    rows, keys = windows.keyed(rows, "timestamp", "1h", by)
    sums = {"n": rows.count(), "usd": fixed_total(rows["usd"]), "calls": fixed_total(1 / rows["usd"], 3)}
    sums |= {name: fixed_total(rows[name] / rows["usd"], 3) for name in tokens}
    found = engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas()
    table = windows.labelled(found, "1h", by).rename(columns={"window_start": "hour"})
    return table.astype(dict.fromkeys([*sums], float)).sort_values([*by, "hour"], ignore_index=True)


@dataclass(frozen=True)
class Priced:
    """The requests of a feature in lots of ten or more, at the prices of its baseline, and how far those of the baseline stray from them.

    `prices` holds USD of a call, a token in and a token out by model. `hours` and `lots`, by their (last) hour, hold `n`, `usd`
    and `paid` (the sum of what each request should have cost over what it cost); `lots` their `begin`, too.
    """

    prices: dict[str, np.ndarray]
    hours: pd.DataFrame
    lots: pd.DataFrame
    usual: float
    days: float
    far: float

    @classmethod
    def of(cls, cells: pd.DataFrame, before: pd.Timestamp) -> Priced | None:
        """Learnt from the hours before a moment (`hours_of_models` of one feature); None where no price list explains them."""
        prices = {}
        for model, own in cells[cells["hour"] < before].groupby("model_id"):
            if own["n"].sum() >= LEARNT:
                parts = own[PAID_FOR].to_numpy() / own[["n"]].to_numpy()
                scale = parts.max(axis=0).clip(min=1e-300)
                prices[str(model)] = optimize.nnls(parts / scale, np.ones(len(own)))[0] / scale
        hours = _at(prices, cells)
        lots = _lots(hours)
        early = lots[lots.index < before]
        if len(early) < LEARNT:
            return None
        far = float(np.abs(np.log(early["paid"] / early["n"])).max())
        days = (before - cells["hour"].min().floor("D")) / DAY
        usual = float(early["usd"].sum() / early["n"].sum())
        return cls(prices, hours, lots, usual, days, far) if far <= TIGHT else None

    def outside(self, lots: pd.DataFrame, share: float) -> np.ndarray:
        """Whether the requests of each lot cost more than they should have."""
        reach = max(self.far * np.sqrt(MONTH / DAY / (self.days * share)), LEAST)
        missing = lots["n"] - lots["paid"]
        return np.asarray((lots["paid"] < lots["n"] * np.exp(-reach)) & (missing > MORE))

    def first_alarm(
        self, hit: pd.DataFrame, times: float, start: pd.Timestamp, end: pd.Timestamp, share: float
    ) -> pd.Timestamp | None:
        """When the requests `hit` (as `hours_of_models` gives them) would be told if they cost so many times as much from start to end."""
        lots = self.lots[self.lots.index >= start]
        since = min(start, lots["begin"].iloc[0]) if len(lots) else start
        hours = self.hours[(self.hours.index >= since) & (self.hours.index < end)]
        dear = _at(self.prices, hit).reindex(hours.index[hours.index >= start])
        mixed = hours.assign(paid=hours["paid"].sub((1 - 1 / times) * dear["paid"], fill_value=0.0))
        lots = _lots(mixed)
        told = lots.index[self.outside(lots, share) & np.asarray(lots.index >= start)]
        return told[0] + HOUR if len(told) else None


def _at(prices: dict[str, np.ndarray], cells: pd.DataFrame) -> pd.DataFrame:
    """By hour the requests of models whose prices are known."""
    known = cells[cells["model_id"].isin(list(prices))]
    each = np.array([prices[model] for model in known["model_id"]]).reshape(-1, len(PAID_FOR))
    paid = (known[PAID_FOR].to_numpy() * each).sum(axis=1)
    return known.assign(paid=paid).groupby("hour")[["n", "usd", "paid"]].sum()


def _lots(hours: pd.DataFrame) -> pd.DataFrame:
    last, begin = pools(hours["n"].to_numpy(), FEWEST)
    ends = np.flatnonzero(last)
    held = {name: together(hours[name].to_numpy(), begin)[last] for name in ("n", "usd", "paid")}
    return pd.DataFrame(held | {"begin": hours.index[begin[ends]]}, index=hours.index[ends])


def price_tests(
    log: Log, plan: Plan, starts: pd.Series, begun: dict[tuple, tuple[pd.Timestamp, bool]]
) -> dict[tuple, tuple[pd.Timestamp, bool]]:
    """The tests that take a share of the budget: one for each feature whose costs are made by a price list.

    Parameters
    ----------
    log : Log
    plan : Plan
    starts : Series
        Start of the baseline of each chart, by feature and metric.
    begun : dict
        Chart -> when it begins, and whether it was there when the first ones began.
    """
    found = {}
    for key in [key for key in begun if key[1] == COST]:
        if _priced(log, plan, key[0], starts[key], begun[key][0]):
            found[*key, PRICES] = begun[key]
    return found


def price_events(runs: list[Run], log: Log, shares: dict[tuple, float], plan: Plan, end: pd.Timestamp) -> list[Alert]:
    """Where the same tokens cost more, one event for each spell of it.

    Parameters
    ----------
    runs : list of Run
        The charts; a test begins, and learns once more, where its chart does.
    log : Log
    shares : dict
        False alarms a month that each test may give.
    plan : Plan
    end : Timestamp
        The last moment of which the requests are known.
    """
    events: list[Alert] = []
    for run in runs:
        share = shares.get((*run.key, PRICES))
        if share is not None:
            events += _of_chart(log, plan, run, share, end)
    return events


@once
def _priced(log: Log, plan: Plan, feature: Any, start: pd.Timestamp, before: pd.Timestamp) -> Priced | None:
    """The lots of a feature from a moment on, without the hours of holidays, at the prices of those before another."""
    table = hours_of_models(log)
    own = table[(table["feature_id"] == feature) & (table["hour"] >= start)]
    return Priced.of(own[~on_holiday(own["hour"], own["hour"] + HOUR, plan)], before)


def lessons(
    log: Log, plan: Plan, run: Run, share: float, end: pd.Timestamp
) -> list[tuple[pd.Timestamp, Priced | None]]:
    """What a test learns and from when on: in its first weeks, and once more where its chart is fitted again, unless the price rose before."""
    start = run.windows["window_start"].iloc[0].floor("D")
    found = [(run.begin, _priced(log, plan, run.key[0], start, run.begin))]
    again = run.stages[-1][1] if len(run.stages) > 1 else None
    if again is not None and not _spells(found[0][1], run.key, share, run.begin, min(again, end)):
        found.append((again, _priced(log, plan, run.key[0], start, again)))
    return found


def _of_chart(log: Log, plan: Plan, run: Run, share: float, end: pd.Timestamp) -> list[Alert]:
    since, priced = lessons(log, plan, run, share, end)[-1]
    return _spells(priced, run.key, share, since, end)


def _spells(
    priced: Priced | None, key: tuple[Any, Any], share: float, since: pd.Timestamp, end: pd.Timestamp
) -> list[Alert]:
    """One event for each spell of lots outside."""
    if priced is None:
        return []
    hours = pd.DatetimeIndex(priced.lots.index)
    first, after = hours.searchsorted(since), hours.searchsorted(end.floor("h"))
    outside = priced.outside(priced.lots, share)
    if not outside[first:after].any():
        return []
    ends = list(hours + HOUR)
    return spells((ends[at], _event(priced, at, key, share) if outside[at] else None) for at in range(first, after))


def _event(priced: Priced, at: int, key: tuple[Any, Any], share: float) -> Alert:
    """The alarm of a lot, begun with it, or in the one before it: as long before its end as makes that one so much dearer."""
    lots, ratio = priced.lots, (priced.lots["n"] / priced.lots["paid"]).to_numpy()
    begins, ends = lots["begin"], pd.DatetimeIndex(lots.index) + HOUR
    first, part = at, 1.0
    if at and np.log(ratio[at - 1]) > 2 * priced.far:
        first, part = at - 1, min((1 - 1 / ratio[at - 1]) / (1 - 1 / ratio[at]), 1.0)
    low, by = begins.iloc[first], ends[first]
    value, reach = priced.usual * ratio[at], np.exp(priced.far)
    return Alert(
        key[1], ends[at], "up", key[0], lots.index[at], layer="cost", value=value, expected=priced.usual,
        low=value / reach, high=value * reach, n=int(lots["n"].iloc[at]), rule="test",
        began=(by - part * (by - low)).floor("min"), began_low=low, began_by=by, ended=ends[at],
        split=f"the same tokens cost {number(ratio[at], 2)} times as much", designed_false_alarms_per_month=share,
    )  # fmt: skip
