"""`plan_sampling`: which sampling rate finds which fall, how soon, at what cost. Arithmetic before any judge is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, stats

from llm_monitoring.charts.arguments import is_number
from llm_monitoring.charts.run_length import ewma_arl, ewma_limit
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.plotting import BLUE, axes
from llm_monitoring.results import Result
from llm_monitoring.windows import width

if TYPE_CHECKING:
    import pandas as pd

RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class SamplingPlan(Result):
    """What each sampling rate buys.

    Attributes
    ----------
    table : DataFrame
        See `to_frame`.
    traffic, sd : float
    window : str
    arl0, lambda_ : float
    drop : float
        The fall that the delay is given for.
    """

    table: pd.DataFrame
    traffic: float
    sd: float
    window: str
    arl0: float
    lambda_: float
    drop: float

    @property
    def headline(self) -> str:
        """The cheapest rate that sees the fall within seven windows."""
        seen = self.table[self.table["delay_windows"] <= 7]
        if not len(seen):
            return (
                f"No rate sees a fall of {self.drop:g} within 7 windows of {self.window} "
                f"at {self.traffic:,.0f} requests a day (sd {self.sd:g})."
            )
        row = seen.iloc[0]
        cost = "" if np.isnan(row["usd_per_day"]) else f", {row['usd_per_day']:.2f} USD a day"
        return (
            f"A rate of {row['rate']:g} ({row['n_per_window']:.0f} judged per {self.window}{cost}) sees a fall of "
            f"{self.drop:g} after {row['delay_windows']:.1f} windows on average, "
            f"with one false alarm in {self.arl0:g} windows."
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per rate.

        `rate`, `n_per_window` (judged), `n_effective` (sessions taken into account), `drop_two_windows` (the fall that
        one window against a known baseline shows with 80 %, two-sided 5 %), `drop_chart` (the fall that the chart sees
        within 7 windows on average), `delay_windows` and `delay_days` (for `drop`), `usd_per_day`.
        """
        return self.table.copy()

    def plot(self, ax=None):
        """Smallest fall seen within seven windows, by rate."""
        with axes(ax) as ax:
            ax.plot(self.table["rate"], self.table["drop_chart"], "o-", color=BLUE)
            ax.set_xscale("log")
            ax.set(
                xlabel="share of requests judged",
                ylabel="score points",
                title=f"Smallest fall seen within 7 windows, {self.traffic:,.0f} requests a day",
            )
        return ax


def plan_sampling(
    traffic: float,
    sd: float = 0.9,
    rate: float | Sequence[float] = RATES,
    chart: Any = None,
    *,
    drop: float = 0.3,
    window: str = "1d",
    input_tokens: float | None = None,
    output_tokens: float = 100,
    usd_per_m_input: float | None = None,
    usd_per_m_output: float | None = None,
    retries: float = 0.05,
    anchors: int = 0,
    requests_per_session: float = 1.0,
    icc: float = 0.0,
    failed: float = 0.0,
) -> SamplingPlan:
    """Which rate finds which fall, how soon, at what cost.

    Parameters
    ----------
    traffic : float
        Requests a day.
    sd : float
        Of the scores within a window; `quality_metrics` says it as `sd_quality`.
    rate : float or sequence of float
        Shares of requests to judge.
    chart : EWMAChart, optional
        Its `lambda_` and `arl0` count; default 0.2 and 370. The baseline is taken as known.
    drop : float
        Score points whose delay is wanted.
    window : str
        Width of a chart's window, such as ``"1d"`` or ``"6h"``.
    input_tokens, output_tokens : float
        Per judgement, the rubric included.
    usd_per_m_input, usd_per_m_output : float, optional
        USD per million tokens; without them (or `input_tokens`) the cost is NaN.
    retries : float
        Share of calls that are made again.
    anchors : int
        Anchor items judged anew each day.
    requests_per_session, icc : float
        Judged answers of one session resemble each other by `icc` (0 to 1); the sample counts as
        n / (1 + (k - 1) icc), k the judged answers a session.
    failed : float
        Share of judgements that fail.

    Returns
    -------
    SamplingPlan

    Examples
    --------
    >>> plan = plan_sampling(traffic=2_000, sd=0.9, rate=[0.01, 0.05, 0.2], drop=0.3,
    ...     input_tokens=900, usd_per_m_input=0.15, usd_per_m_output=0.60)
    >>> plan.to_frame()[["rate", "n_per_window", "drop_two_windows", "usd_per_day"]].round(3)
       rate  n_per_window  drop_two_windows  usd_per_day
    0  0.01          20.0             0.564        0.004
    1  0.05         100.0             0.252        0.020
    2  0.20         400.0             0.126        0.082
    >>> print(plan.headline)
    A rate of 0.01 (20 judged per 1d, 0.00 USD a day) sees a fall of 0.3 after 5.3 windows on average, with one false
    alarm in 370 windows.
    """
    import pandas as pd

    rates = _rates(rate)
    faults = [
        f"plan_sampling({name}={quote(value)}); expected {wanted}"
        for name, value, wanted, fine in (
            ("traffic", traffic, "a number above 0", is_number(traffic, above=0)),
            ("sd", sd, "a number above 0", is_number(sd, above=0)),
            ("drop", drop, "a number above 0", is_number(drop, above=0)),
            ("rate", rate, "shares above 0, at most 1", len(rates) > 0),
            ("icc", icc, "a number from 0 to 1", is_number(icc, least=0, most=1)),
            ("failed", failed, "a share from 0 to 1", is_number(failed, least=0, below=1)),
            ("retries", retries, "a number of at least 0", is_number(retries, least=0)),
            ("anchors", anchors, "a number of at least 0", is_number(anchors, least=0)),
            (
                "requests_per_session",
                requests_per_session,
                "a number above 0",
                is_number(requests_per_session, above=0),
            ),
            ("output_tokens", output_tokens, "a number of at least 0", is_number(output_tokens, least=0)),
            *(
                (name, value, "a number of at least 0, or None", value is None or is_number(value, least=0))
                for name, value in (
                    ("input_tokens", input_tokens),
                    ("usd_per_m_input", usd_per_m_input),
                    ("usd_per_m_output", usd_per_m_output),
                )
            ),
            ("chart", chart, "a chart with lambda_ and arl0", chart is None or _is_ewma(chart)),
        )
        if not fine
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    lambda_, arl0 = (0.2, 370.0) if chart is None else (float(chart.lambda_), float(chart.arl0))
    days = width(window).total_seconds() / 86400
    limit = ewma_limit(lambda_, arl0)
    shift_seen = _shift_for(lambda_, limit, arl=7)
    rows = []
    for share in rates:
        n = traffic * days * share
        judged_per_session = max(1.0, requests_per_session * share)
        effective = n * (1 - failed) / (1 + (judged_per_session - 1) * icc)
        se = sd / np.sqrt(effective)
        delay = ewma_arl(lambda_, limit, drop / se)
        rows.append(
            {
                "rate": float(share),
                "n_per_window": n,
                "n_effective": effective,
                "drop_two_windows": float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * se,
                "drop_chart": shift_seen * se,
                "delay_windows": delay,
                "delay_days": delay * days,
                "usd_per_day": (traffic * share * (1 + retries) + anchors)
                * _usd(input_tokens, output_tokens, usd_per_m_input, usd_per_m_output),
            }
        )
    return SamplingPlan(pd.DataFrame(rows), traffic, sd, window, arl0, lambda_, drop)


def _rates(rate: Any) -> list[float]:
    """The shares as a list; empty where they are none."""
    several = (
        [rate] if is_number(rate) else list(rate) if hasattr(rate, "__iter__") and not isinstance(rate, str) else []
    )
    return [float(one) for one in several] if all(is_number(one, above=0, most=1) for one in several) else []


def _is_ewma(chart: Any) -> bool:
    return all(is_number(getattr(chart, name, None)) for name in ("lambda_", "arl0"))


def _usd(tokens_in: float | None, tokens_out: float, price_in: float | None, price_out: float | None) -> float:
    if tokens_in is None or price_in is None or price_out is None:
        return np.nan
    return (tokens_in * price_in + tokens_out * price_out) / 1e6


def _shift_for(lambda_: float, limit: float, arl: float) -> float:
    """The shift, in sd of a window, that is seen after `arl` windows on average."""
    return float(optimize.brentq(lambda shift: ewma_arl(lambda_, limit, shift) - arl, 0.05, 10, xtol=1e-3))
