"""`plan_sampling`: which sampling rate finds which fall, how soon, at what cost. Arithmetic before any judge is paid.

Given a log, traffic, spread and cost of a judgement are each feature's own; `backtest` says what the plan's charts make of
the same faults planted into the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from llm_monitoring import answers, engines, windows
from llm_monitoring.charts.arguments import is_number
from llm_monitoring.charts.run_length import ewma_arl, ewma_limit
from llm_monitoring.distributions import normal_quantile
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.log import Log
from llm_monitoring.plotting import MOST_LINES, axes, key_below, series, size_of
from llm_monitoring.results import Result
from llm_monitoring.windows import width
from llm_monitoring.wording import one_line, rounded

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class SamplingPlan(Result):
    """What each sampling rate buys.

    Attributes
    ----------
    table : DataFrame
        See `to_frame`.
    traffic, sd : float
        Of a log: of all features together, and the pooled one.
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
        """The cheapest rate that sees the fall within seven windows; of a log, the smallest fall that its own rate sees."""
        if "feature_id" in self.table:
            return self._of_features()
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

    def _of_features(self) -> str:
        now = self.table[self.table["current"]].sort_values(["drop_chart", "feature_id"])
        best, worst = now.iloc[0], now.iloc[-1]
        told = f"At today's rate a chart with a long baseline sees a fall of {rounded(best['drop_chart'])} in "
        told += f"{best['feature_id']} ({rounded(100 * best['rate'])} % judged)"
        if len(now) > 1:
            told += f" and {rounded(worst['drop_chart'])} in {worst['feature_id']} ({rounded(100 * worst['rate'])} %)"
        told += f" within 7 windows of {self.window} on average, with one false alarm in {self.arl0:g} windows"
        seen = self.table[(self.table["delay_windows"] <= 7) & (self.table["feature_id"] == worst["feature_id"])]
        if seen.empty:
            return f"{told}; no rate sees a fall of {self.drop:g} in {worst['feature_id']}."
        return f"{told}; a fall of {self.drop:g} in {worst['feature_id']} needs {rounded(100 * seen['rate'].min())} % judged."

    def to_frame(self) -> pd.DataFrame:
        """One row per rate, and feature where a log was given.

        `feature_id`, `current` (whether it is the log's own rate), `traffic` (requests a day), `sd`, `day_sd`: of a log;
        `rate`, `n_per_window` (judged), `n_effective` (sessions taken into account), `drop_two_windows` (the fall that
        one window against a known baseline shows with 80 %, two-sided 5 %), `drop_chart` (the fall that the chart sees
        within 7 windows on average), `delay_windows` and `delay_days` (for `drop`), `usd_per_day`.
        """
        return self.table.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Smallest fall seen within seven windows, by rate."""
        with axes(ax, size=(8.4, 3.8)) as ax:
            several = "feature_id" in self.table
            groups = list(self.table.groupby("feature_id", sort=True)) if several else [("", self.table)]
            groups.sort(key=lambda pair: -pair[1]["traffic"].iloc[0] if several else 0)
            for number, (feature, own) in enumerate(groups[:MOST_LINES]):
                look = series(number)
                ax.plot(own["rate"], own["drop_chart"], **look, ms=5, label=one_line(feature, 24) if several else None)
                now = own[own["current"]] if several else own[:0]
                ax.plot(now["rate"], now["drop_chart"], "o", ms=13, mfc="none", mec=look["color"])
            ax.set_xscale("log")
            low, high = self.table["rate"].min(), self.table["rate"].max()
            ticks = [rate for rate in RATES if 0.9 * low <= rate <= 1.1 * high][:: 1 if size_of(ax)[0] > 400 else 2]
            ax.set_xticks(ticks, [f"{100 * rate:g} %" for rate in ticks])
            ax.set_xticks([], minor=True)
            left_out = f"; {MOST_LINES} of {len(groups)} features" if len(groups) > MOST_LINES else ""
            ax.set(
                xlabel="share of requests judged" + ("; ring: today's" if several else "") + left_out,
                ylabel="score points",
                title=f"Smallest fall seen within 7 windows, {self.traffic:,.0f} requests a day",
            )
            key_below(ax, 4)
        return ax


def plan_sampling(
    traffic: float | Log,
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
    day_sd: float = 0.0,
) -> SamplingPlan:
    """Which rate finds which fall, how soon, at what cost.

    Parameters
    ----------
    traffic : float or Log
        Requests a day; or a log with judged answers: then each feature's traffic, `sd`, `day_sd`, its own rate and what a
        judgement costs are taken from it, and it gets rows of its own.
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
    day_sd : float
        How much the level differs from window to window beyond sampling: what no rate can take away.

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
    of_log = isinstance(traffic, Log)
    amounts = [("traffic", traffic), ("sd", sd), ("requests_per_session", requests_per_session), ("drop", drop)]
    prices = (
        ("input_tokens", input_tokens),
        ("usd_per_m_input", usd_per_m_input),
        ("usd_per_m_output", usd_per_m_output),
    )
    least = [("retries", retries), ("anchors", anchors), ("output_tokens", output_tokens), ("day_sd", day_sd)]
    checks = (
        *((name, value, "a number above 0", is_number(value, above=0)) for name, value in amounts[of_log:]),
        ("rate", rate, "shares above 0, at most 1", len(rates) > 0),
        ("icc", icc, "a number from 0 to 1", is_number(icc, least=0, most=1)),
        ("failed", failed, "a share from 0 to 1", is_number(failed, least=0, below=1)),
        *((name, value, "a number of at least 0", is_number(value, least=0)) for name, value in least),
        *(
            (name, value, "a number of at least 0, or None", value is None or is_number(value, least=0))
            for name, value in prices
        ),
        ("chart", chart, "a chart with lambda_ and arl0", chart is None or _is_ewma(chart)),
    )
    faults = [
        f"plan_sampling({name}={quote(value)}); expected {wanted}" for name, value, wanted, fine in checks if not fine
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    lambda_, arl0 = (0.2, 370.0) if chart is None else (float(chart.lambda_), float(chart.arl0))
    buys = _Chart(lambda_, ewma_limit(lambda_, arl0), window, drop)
    usd = _usd(input_tokens, output_tokens, usd_per_m_input, usd_per_m_output)
    clustered = (requests_per_session, icc, failed)
    if not isinstance(traffic, Log):
        rows = [
            buys.at(share, traffic, sd, day_sd, clustered)
            | {"usd_per_day": (traffic * share * (1 + retries) + anchors) * usd}
            for share in rates
        ]
        return SamplingPlan(pd.DataFrame(rows), traffic, sd, window, arl0, lambda_, drop)
    rows = []
    features = _of_log(traffic, window)
    for one in features.to_dict("records"):
        judgement = one["usd"] if np.isnan(usd) else usd * (1 + retries)
        for share in sorted({*(r for r in rates if abs(r / one["rate"] - 1) > 0.05), one["rate"]}):
            named = {"feature_id": one["feature_id"], "current": share == one["rate"]}
            named |= {name: one[name] for name in ("traffic", "sd", "day_sd")}
            found = buys.at(share, one["traffic"], one["sd"], one["day_sd"], clustered)
            paid = one["traffic"] * share * judgement + (anchors * judgement if anchors else 0.0)
            rows.append(named | found | {"usd_per_day": paid})
    pooled = float(np.sqrt(np.average(features["sd"] ** 2, weights=features["n"])))
    return SamplingPlan(pd.DataFrame(rows), float(features["traffic"].sum()), pooled, window, arl0, lambda_, drop)


@dataclass(frozen=True)
class _Chart:
    """An EWMA chart with a known baseline, and the fall that is asked about."""

    lambda_: float
    limit: float
    window: str
    drop: float

    def at(
        self, share: float, traffic: float, sd: float, day_sd: float, clustered: tuple[float, float, float]
    ) -> dict[str, float]:
        """What one sampling rate buys."""
        requests_per_session, icc, failed = clustered
        days = width(self.window).total_seconds() / 86400
        n = traffic * days * share
        judged_per_session = max(1.0, requests_per_session * share)
        effective = n * (1 - failed) / (1 + (judged_per_session - 1) * icc)
        se = float(np.sqrt(sd**2 / effective + day_sd**2))
        delay = ewma_arl(self.lambda_, self.limit, self.drop / se)
        return {
            "rate": float(share),
            "n_per_window": n,
            "n_effective": effective,
            "drop_two_windows": float(normal_quantile(0.975) + normal_quantile(0.8)) * se,
            "drop_chart": _shift_for(self.lambda_, self.limit, arl=7) * se,
            "delay_windows": delay,
            "delay_days": delay * days,
        }


def _of_log(log: Log, window: str) -> pd.DataFrame:
    """What the log says of each feature that a plan needs.

    Requests a day, sd within and between windows of its scores (of its flags where the judge gives none), judged answers,
    the share of requests that they are, and USD a judgement.
    """
    import pandas as pd

    if not log.has("judgements"):
        raise ConfigError("plan_sampling(log): the log has no judgements; give traffic and sd as numbers")
    cells = _cells(log, window)
    requests = log.table("requests")
    first, last = log.span("requests")
    days = max((last - first).total_seconds() / 86400, 1e-6) if first is not None and last is not None else 1.0
    counted = engines.run(requests.group_by("feature_id").aggregate(requests=requests.count())).to_pandas()
    judged = log.table("judgements")
    cost = engines.run(judged.aggregate(usd=judged["cost_usd"].mean()))["usd"].to_pylist()[0]
    rows = []
    for feature, own in cells.groupby("feature_id", sort=True):
        free = float((own["n"] - 1).sum())
        within = float((own["squares"] - own["total"] ** 2 / own["n"]).clip(lower=0).sum())
        if free < 1 or within <= 0:
            continue
        variance = within / free
        own = own.sort_values("at")
        mean, n = (own["total"] / own["n"]).to_numpy(), own["n"].to_numpy()
        steps = np.diff(mean) ** 2 / 2 - variance * (1 / n[1:] + 1 / n[:-1]) / 2  # a change of level spoils one of them
        between = max(float(np.mean(steps)), 0.0) if len(steps) else 0.0
        total = int(counted.loc[counted["feature_id"] == feature, "requests"].iloc[0])
        rows.append({
            "feature_id": feature, "traffic": total / days, "sd": float(np.sqrt(variance)), "n": int(n.sum()),
            "day_sd": float(np.sqrt(between)), "rate": min(float(n.sum()) / total, 1.0),
            "usd": np.nan if cost is None else float(cost),
        })  # fmt: skip
    if not rows:
        raise ConfigError(
            "plan_sampling(log): no feature has judged answers that differ; give traffic and sd as numbers"
        )
    return pd.DataFrame(rows)


def _cells(log: Log, window: str) -> pd.DataFrame:
    """Sums of the judged answers of each feature and window, by its first judge."""
    import ibis

    rows = answers.view_of(log, "judgements")
    rows = rows.filter(rows["__lm_series"] == "")
    value = ibis.coalesce(rows["__lm_score"], rows["__lm_flagged"].cast("float64"))
    rows = rows.mutate(__lm_value=value).filter(lambda t: t["__lm_value"].notnull())
    keyed, keys = windows.keyed(rows, "timestamp", window, ["feature_id"])
    value = keyed["__lm_value"]
    sums = keyed.group_by(keys).aggregate(n=keyed.count(), total=value.sum(), squares=(value * value).sum())
    return engines.run(sums).to_pandas().rename(columns={windows.WINDOW: "at"})


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
