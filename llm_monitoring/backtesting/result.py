"""What a back-test found: incidents seen or missed, planted faults, false alarms, and what another rate would buy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.charts.planning import SamplingPlan
from llm_monitoring.errors import one_of
from llm_monitoring.results import Result, jsonable, table_html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = ["what", "size", "where", "n", "found_rate", "low", "high", "median_delay_hours", "judge_cost_usd_per_month"]
TYPICAL = 0.2  # the fall that the headline speaks of, or the nearest that was tried
NBSP = say.NBSP


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult(Result):
    """A plan replayed against a log of the past.

    Attributes
    ----------
    incidents : DataFrame
        A row each, planted ones too: `incident_id`, `found`, `delay_hours`, `alert_id`, `started_at`, `ended_at`,
        `feature_id`, `metric`, `injected`. A planted one that was found has the feature and metric that fired first. Of
        an incident that lies outside of the time of the log `found` is null.
    injections : DataFrame
        A row for each kind and size: `what`, `size`, `where`, `share`, `days`, `n` (times planted), `found_rate` with
        `low` and `high` (95 %), `median_delay_hours` (of those found), `judge_cost_usd_per_month`, `note` (why
        it could not be tried, or not for as long as asked).
    alerts : DataFrame
        The alerts that would have fired, as `check` gives them.
    false_alarms_per_month, false_alarms_per_month_low, false_alarms_per_month_high : float
        Alerts that no incident explains, a month (30 days), with the exact 95 % interval of a Poisson count. Without
        incidents every alert is unexplained and the rate is an upper bound: `upper_bound` is then true.
    frontier : DataFrame
        What another sampling rate, or budget of false alarms, would have seen: `feature_id`, `metric`, `what`, `size`,
        `rate` (share of requests judged), `false_alarms_per_month` (budget of the whole plan), `current`, `window`, `n`,
        `found_rate`, `low`, `high`, `median_delay_hours`, `smallest_seen` (change that the chart sees within seven
        windows with 80 %), `judged_per_day`, `judge_cost_usd_per_month`.
    sampling : SamplingPlan or None
        The same asked of every feature by arithmetic; None where nothing is judged.
    months : float
        Months watched.
    upper_bound : bool
    designed_false_alarms_per_month : float
        The budget of the plan's charts and tests.
    """

    incidents: pd.DataFrame
    injections: pd.DataFrame
    alerts: pd.DataFrame
    false_alarms_per_month: float
    false_alarms_per_month_low: float
    false_alarms_per_month_high: float
    frontier: pd.DataFrame
    sampling: SamplingPlan | None
    months: float
    upper_bound: bool
    designed_false_alarms_per_month: float

    @property
    def headline(self) -> str:
        """What the current rate sees of a typical fall, what a higher one would, the incidents, and the false alarms."""
        return f"{say.capital('; '.join(self.said))}."

    @property
    def said(self) -> list[str]:
        """The parts of the headline."""
        parts = [self._of_faults(), self._of_incidents(), self._of_alarms()]
        return [part for part in parts if part]

    def _of_faults(self) -> str:
        return self._of_rates() if len(self.frontier) else self._of_injections()

    def _of_rates(self) -> str:
        rows = self.typical
        if rows.empty:
            return ""
        now = rows[rows["current"]].iloc[0] if rows["current"].any() else rows.iloc[0]
        fault = _fault(now["what"], now["size"], now["metric"])
        told = f"At {_percent(now['rate'])} sampling {fault} in {now['feature_id']} {_seen(now)}"
        more = rows[(rows["rate"] > now["rate"]) & _better(rows, now)]
        if more.empty and now["n"] and not now["found_rate"] and math.isfinite(now["smallest_seen"]):
            return f"{told}; its chart sees {_fault(now['what'], round(now['smallest_seen'], 2) * np.sign(now['size']), now['metric'])} within seven windows in 8 of 10 cases"
        return told if more.empty else f"{told}; {_other_rate(more.iloc[0], now)}"

    @property
    def typical(self) -> pd.DataFrame:
        """The rows of the frontier for one feature and the size nearest to 0.2, at the first budget, by rate."""
        tried = self.frontier[self.frontier["n"] > 0]
        first = (tried if len(tried) else self.frontier)["feature_id"].iloc[0]
        rows = self.frontier[self.frontier["feature_id"] == first]
        budget = self.designed_false_alarms_per_month
        limits = rows["false_alarms_per_month"]
        rows = rows[limits == min(limits, key=lambda limit: abs(limit - budget))]
        size = min(rows["size"], key=lambda size: (abs(abs(size) - TYPICAL), size))
        return rows[rows["size"] == size].sort_values("rate", ignore_index=True)

    def _of_injections(self) -> str:
        rows = self.injections[self.injections["n"] > 0]
        if rows.empty:
            return ""
        row = rows.iloc[0]
        return f"{say.capital(injection_words(row))} {_seen(row)}"

    def _of_incidents(self) -> str:
        real = self.incidents[~self.incidents["injected"]]
        real = real[real["found"].notna()]  # the others lie outside of the log
        if real.empty:
            return ""
        found = real[real["found"].astype(bool)]
        late = f", in the median after {_time(found['delay_hours'].median())}" if len(found) else ""
        return f"{len(found)} of {len(real)} incidents found{late}"

    def _of_alarms(self) -> str:
        if not self.months:
            return "nothing was watched: the log ends with its baseline"
        rate = f"{say.number(self.false_alarms_per_month, 1)}{NBSP}a month"
        ends = f"({say.number(self.false_alarms_per_month_low, 1)}{NBSP}to{NBSP}{say.number(self.false_alarms_per_month_high, 1)})"
        if self.upper_bound:
            return f"alarms {rate} {ends}, an upper bound for false ones as no incidents were given"
        return f"alarms that no incident explains {rate} {ends}"

    def to_frame(self) -> pd.DataFrame:
        """The table for the runbook: `injections` where faults were planted, else `incidents`."""
        return self.injections.copy() if len(self.injections) else self.incidents.copy()

    def to_dict(self) -> dict[str, Any]:
        """All fields and the headline, ready for JSON."""
        plan = None if self.sampling is None else self.sampling.to_dict()
        return {**super().to_dict(), "sampling": plan, "headline": jsonable(self.headline)}

    def plot(self, ax: Axes | None = None, what: str = "auto") -> Axes:
        """Found rates of planted faults with their intervals, or delay and found rate by sampling rate.

        Parameters
        ----------
        ax : Axes, optional
        what : {"auto", "injections", "frontier"}
            auto: the injections where there are some.
        """
        from llm_monitoring.backtesting import drawing

        one_of("plot(what)", what, ("auto", "injections", "frontier"))
        if what == "frontier" or (what == "auto" and self.injections.empty and len(self.frontier)):
            return drawing.rates(self.frontier, ax)
        return drawing.injections(self.injections, ax)

    def _repr_html_(self) -> str:
        tables = [
            ("Faults planted", self.injections[SHOWN] if len(self.injections) else self.injections),
            ("Incidents", self.incidents[~self.incidents["injected"]].drop(columns="injected")),
            ("What another sampling rate would see", self.frontier),
        ]
        told = [f"<p><b>{escape(self.headline)}</b></p>"]
        told += [f"<p>{name}</p>{table_html(table)}" for name, table in tables if len(table)]
        return "".join(told)


def injection_words(row: Any) -> str:
    """What a row of the injections planted, in words."""
    from llm_monitoring.backtesting.injection import Injection

    return Injection(row["what"], row["size"], row["where"], row["share"], row["days"]).words


def not_tried(injections: pd.DataFrame) -> list[str]:
    """A sentence for each reason why some faults could not be tried, with their names."""
    left = injections[injections["n"] == 0]
    return [
        f"Not tried, {note}: {'; '.join(injection_words(row) for row in rows.to_dict('records'))}."
        for note, rows in left.groupby("note", sort=False)
    ]


def _better(rows: pd.DataFrame, now: pd.Series) -> pd.Series:
    """Rates that clearly see more: a tenth more of the cases, or in two thirds of the time."""
    more = rows["found_rate"] >= now["found_rate"] + 0.1
    sooner = rows["median_delay_hours"] <= now["median_delay_hours"] * 2 / 3
    return more | (sooner & (rows["found_rate"] >= now["found_rate"]))


def _other_rate(row: pd.Series, now: pd.Series) -> str:
    told = f"{_percent(row['rate'])} would see {_share(row)}"
    if row["found_rate"] == now["found_rate"]:
        told = f"{_percent(row['rate'])} would see it"
    told += f" in {_time(row['median_delay_hours'])}"
    usd = row["judge_cost_usd_per_month"] - now["judge_cost_usd_per_month"]
    if not math.isnan(usd):
        return f"{told} and cost {say.number(usd, 0 if usd >= 10 else 2)}{NBSP}USD a month more"
    return f"{told} and judge {say.number(row['judged_per_day'] - now['judged_per_day'])} answers a day more"


def _fault(what: str, size: float, metric: str) -> str:
    if what == "pass_fail" or metric == "flagged_rate":
        return f"{say.number(100 * abs(size), 0)}{NBSP}points more failures"
    return f"a {'fall' if size < 0 else 'rise'} of {abs(size):g}"


def _seen(row: pd.Series) -> str:
    if not row["n"]:
        return "could not be tried: no quiet stretch is long enough"
    if not row["found_rate"]:
        return f"is seen in none of {int(row['n'])} cases"
    return f"is seen in {_share(row)}, half of them within {_time(row['median_delay_hours'])}"


def _share(row: pd.Series) -> str:
    """How many cases of ten; of all that were tried where they are fewer or do not round to some."""
    n, found = int(row["n"]), round(row["found_rate"] * row["n"])
    tenths = round(10 * row["found_rate"])
    if n < 10 or not tenths or (tenths == 10 and found < n):
        return f"{found} of {n} cases"
    return f"{tenths} of 10 cases"


def _percent(share: float) -> str:
    return f"{say.number(100 * share, 0 if round(100 * share, 6) >= 2 else 1)}{NBSP}%"


def _time(hours: float) -> str:
    if math.isnan(hours):
        return "unknown time"
    return f"{say.number(hours)}{NBSP}h" if hours < 48 else f"{say.number(hours / 24, 1)}{NBSP}days"
