"""What another sampling rate, or another budget of false alarms, would have seen of a fall of quality, at which cost.

A lower rate leaves out some of the judged answers. A higher one needs answers that nobody judged: they are drawn from the
feature's own scores of its baseline, around the level of their day, as well as that day's judged answers tell it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring import engines, windows
from llm_monitoring.alerts.measurements import HOUR, KEYS, to_windows
from llm_monitoring.alerts.runs import Run, run_all
from llm_monitoring.alerts.scopes import widths
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.planting import in_cells, judged_answers, judged_sums, uniform, worse
from llm_monitoring.backtesting.replay import HourlySums, Replay, WatchedChart, quiet_starts
from llm_monitoring.charts.arguments import is_number
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.intervals import wilson

RATES, LIMITS = "rate", "false_alarms_per_month"
MOST_FEATURES, TIMES, FALL = 5, (0.5, 1.0, 2.0, 4.0), -0.2
JUDGED = ("quality", "pass_fail")  # faults of what the judge says
FRONTIER: dict[str, Any] = {
    **dict.fromkeys(["feature_id", "metric", "what"], object),
    **dict.fromkeys(["size", "rate", "false_alarms_per_month"], "float64"),
    "current": bool,
    "window": object,
    "n": "int64",
    **dict.fromkeys(["found_rate", "low", "high", "median_delay_hours", "smallest_seen", "judged_per_day"], "float64"),
    "judge_cost_usd_per_month": "float64",
}


def read_grid(grid: Any) -> dict[str, list[float] | None]:
    """The sampling rates and budgets to try; None where the caller leaves them open.

    >>> read_grid({"rate": [0.05, 0.2]})
    {'rate': [0.05, 0.2], 'false_alarms_per_month': None}
    """
    out: dict[str, list[float] | None] = {RATES: None, LIMITS: None}
    if grid is None:
        return out
    wanted = "expected a dict such as {'rate': [0.05, 0.2], 'false_alarms_per_month': [0.5, 1]}"
    if not isinstance(grid, Mapping):
        raise ConfigError(f"backtest(grid={quote(grid)}); {wanted}")
    for name, values in grid.items():
        if name not in out:
            near = difflib.get_close_matches(str(name), list(out), n=1, cutoff=0.0)[0]
            raise ConfigError(f"backtest(grid): {quote(name)} is not part of a grid; the nearest is {near!r}")
        several = list(values) if hasattr(values, "__iter__") and not isinstance(values, str) else [values]
        most = 1 if name == RATES else np.inf
        if not several or not all(is_number(one, above=0, most=most) for one in several):
            kind = "shares above 0, at most 1" if name == RATES else "numbers above 0"
            raise ConfigError(f"backtest(grid): {name}={quote(values)}; expected {kind}")
        out[name] = sorted({float(one) for one in several})
    return out


@dataclass
class Judged:
    """The judged answers of one feature, its traffic, and what they are charted by."""

    feature: str
    metric: str
    rows: pd.DataFrame
    traffic: pd.Series
    rate: float

    @property
    def a_day(self) -> float:
        """Requests a day."""
        hours = (self.traffic.index.max() - self.traffic.index.min()) / HOUR + 1
        return float(self.traffic.sum() / hours * 24)


def frontier(
    replay: Replay,
    injections: list[Injection],
    grid: dict[str, list[float] | None],
    cost: float,
    seed: int,
    trials: int,
) -> pd.DataFrame:
    """Found rates and delays of falls of quality over a grid of sampling rates and budgets.

    Parameters
    ----------
    replay : Replay
    injections : list of Injection
        Those of quality into whole features say the sizes and features; without any a fall of 0.2 is tried. Where only
        other faults are planted and no grid is asked for, nothing is.
    grid : dict
        As `read_grid` gives it.
    cost : float
        USD a judgement, NaN where not known.
    seed, trials : int

    Returns
    -------
    DataFrame
        A row for each feature, size, rate and budget: `FRONTIER`. At most five features, those with most judged answers,
        by the chart of mean quality alone (of flagged answers where the judge gives no scores).
    """
    rows: list[dict[str, Any]] = []
    of_quality = any(each.what in JUDGED for each in injections)
    tried = of_quality or not injections or any(grid.values())
    for judged in _features(replay, injections) if tried else []:
        rates = grid[RATES] or sorted({min(judged.rate * times, 1.0) for times in TIMES})
        own = judged.rate if grid[RATES] is None else min((abs(rate - judged.rate), rate) for rate in rates)[1]
        for rate in rates:
            answers = at_rate(judged, rate, replay, seed)
            for limit in grid[LIMITS] or [replay.plan.quality.false_alarms_per_month]:
                rows += _tried(replay, judged, answers, rate, limit, _sizes(injections, judged), seed, trials, cost)
                for row in rows[-len(_sizes(injections, judged)) :]:
                    row["current"] = bool(np.isclose(rate, own, rtol=0.1))
    return pd.DataFrame(rows, columns=list(FRONTIER)).astype(FRONTIER)


def _features(replay: Replay, injections: list[Injection]) -> list[Judged]:
    if not replay.log.has("judgements"):
        return []
    charted = {key[0]: "flagged_rate" for key in replay.keys(("flagged_rate",)) if key[1] == "flagged_rate"}
    charted |= {key[0]: "mean_quality" for key in replay.keys(("mean_quality",)) if key[1] == "mean_quality"}
    rows = judged_answers(replay.log, sorted(charted))
    rows = rows[(rows["__lm_series"] == "") & (rows["failed"] == 0)]
    named = {str(each.where["feature_id"]) for each in injections if each.what in JUDGED and "feature_id" in each.where}
    counts = rows["feature_id"].value_counts()
    busiest = sorted(counts.index, key=lambda name: (name not in named, -counts[name], name))[:MOST_FEATURES]
    traffic = _traffic(replay, busiest)
    found = []
    for name in busiest:
        own = rows[rows["feature_id"] == name].reset_index(drop=True)
        found.append(Judged(name, charted[name], own, traffic[name], min(len(own) / traffic[name].sum(), 1.0)))
    return found


def _traffic(replay: Replay, features: list[str]) -> dict[str, pd.Series]:
    """Requests of every hour, by feature."""
    requests = replay.log.table("requests")
    keyed, keys = windows.keyed(
        requests.filter(requests["feature_id"].isin(features)), "timestamp", "1h", ["feature_id"]
    )
    table = windows.labelled(
        engines.run(keyed.group_by(keys).aggregate(n=keyed.count())).to_pandas(), "1h", ["feature_id"]
    )
    return {str(name): own.set_index("window_start")["n"] for name, own in table.groupby("feature_id")}


def _sizes(injections: list[Injection], judged: Judged) -> list[Injection]:
    own = [
        Injection(each.what, each.size, days=each.days)
        for each in injections
        if each.what in JUDGED
        and each.share == 1
        and (not each.where or (set(each.where) == {"feature_id"} and each.where["feature_id"] == judged.feature))
        and (each.what == "pass_fail") <= (judged.metric == "flagged_rate")
    ]
    return list({(each.what, each.size, each.days): each for each in own}.values()) or [Injection("quality", FALL)]


def at_rate(judged: Judged, rate: float, replay: Replay, seed: int) -> pd.DataFrame:
    """The judged answers as another sampling rate would have given them; a higher rate holds those of every lower one."""
    rows = judged.rows
    if np.isclose(rate, judged.rate):
        return rows
    if rate < judged.rate:
        return rows[uniform(rows["request_id"], seed, "thin") < rate / judged.rate].reset_index(drop=True)
    return pd.concat([rows, _drawn(judged, rate, replay, seed)], ignore_index=True)


def _drawn(judged: Judged, rate: float, replay: Replay, seed: int) -> pd.DataFrame:
    """Answers that nobody judged, as they may have been judged."""
    rows = judged.rows
    there = rows["hour"].value_counts().reindex(judged.traffic.index, fill_value=0)
    free = (judged.traffic - there).clip(lower=0)
    hours = pd.DataFrame({"hour": judged.traffic.index.repeat(free)})
    hours["request_id"] = f"{judged.feature}|" + hours["hour"].astype("int64").astype(str)
    hours["request_id"] += "|" + hours.groupby("hour").cumcount().astype(str)
    chance = (rate - judged.rate) / max(1 - judged.rate, 1e-9)
    hours = hours[uniform(hours["request_id"], seed, "drawn") < chance].reset_index(drop=True)
    value = "score" if judged.metric == "mean_quality" else "flagged"
    pool = rows[rows[value].notna()]
    fitted = replay.run_of((judged.feature, judged.metric)).fit_end
    pool = pool[pool["hour"] < fitted] if (pool["hour"] < fitted).any() else pool
    shifts = _day_levels(rows, value, float(pool[value].mean()), float(pool[value].var()), hours["hour"], seed)
    score, u = pool[value].to_numpy(float), uniform(hours["request_id"], seed, "picked")
    place = np.zeros(len(hours), dtype=int)
    for day, inside in hours.groupby(hours["hour"].dt.floor("D")).indices.items():
        ahead = np.cumsum(_tilted(score, shifts[day]))
        place[inside] = np.searchsorted(ahead, u[inside] * ahead[-1])
    copied = pool.iloc[np.minimum(place, len(pool) - 1)].reset_index(drop=True)
    late = (pool["judged_at"] - pool["hour"]).median()
    weight = float(rows["weight"].mean())
    return copied.assign(
        request_id=hours["request_id"], hour=hours["hour"], judged_at=hours["hour"] + late, weight=weight
    )


def _day_levels(
    rows: pd.DataFrame, value: str, mean: float, variance: float, hours: pd.Series, seed: int
) -> dict[Any, float]:
    """How far each day's level is from the baseline's, drawn from what its judged answers and the other days say of it."""
    known = rows[rows[value].notna()]
    by_day = known.groupby(known["hour"].dt.floor("D"))[value].agg(["mean", "size"])
    noise = variance / by_day["size"]
    between = max(float(((by_day["mean"] - mean) ** 2 - noise).mean()), 0.0)
    days = hours.dt.floor("D").drop_duplicates()
    z = np.random.default_rng([seed, 13]).standard_normal(len(days))
    out = {}
    for day, draw in zip(days, z):
        seen = day in by_day.index and between > 0
        trust = between / (between + noise[day]) if seen else 0.0
        out[day] = (
            trust * float(by_day["mean"][day] - mean if seen else 0.0) + float(np.sqrt(between * (1 - trust))) * draw
        )
    return out


def _tilted(values: np.ndarray, shift: float) -> np.ndarray:
    """Weights of the values, tilted so that their mean moves by the shift as far as the values allow."""
    centred = values - values.mean()
    target = float(np.clip(shift, 0.95 * centred.min(), 0.95 * centred.max()))
    tilt = 0.0
    for _ in range(30):
        weight = np.exp(np.clip(tilt * centred, -50, 50))
        mean = float((weight * centred).sum() / weight.sum())
        spread = float((weight * (centred - mean) ** 2).sum() / weight.sum())
        if spread < 1e-12 or abs(target - mean) < 1e-9:
            break
        tilt += float(np.clip((target - mean) / spread, -2, 2))
    return np.exp(np.clip(tilt * centred, -50, 50))


def _tried(
    replay: Replay, judged: Judged, answers: pd.DataFrame, rate: float, limit: float, injections: list[Injection],
    seed: int, trials: int, cost: float,
) -> list[dict[str, Any]]:  # fmt: skip
    answers = in_cells(answers)
    base, key = judged_sums(answers, [judged.metric]), (judged.feature, judged.metric)
    run = _charted(base, replay, key, limit) if len(base) else None
    watched = WatchedChart(run) if run is not None and run.stages else None
    shared = {
        "feature_id": judged.feature, "metric": judged.metric, "rate": rate, "false_alarms_per_month": limit,
        "window": None if run is None else run.width, "judged_per_day": rate * judged.a_day, "current": False,
        "smallest_seen": np.nan if watched is None else watched.smallest_seen,
        "judge_cost_usd_per_month": cost * rate * judged.a_day * 30,
    }  # fmt: skip
    loud = replay.loud([key])[key]
    rows = []
    for injection in injections:
        rows.append(shared | {"what": injection.what, "size": float(injection.size), "n": 0, "found_rate": np.nan})
        if run is None or watched is None:
            continue
        lasts = replay.lasting(injection.days)
        starts = quiet_starts(replay.run_of(key).begin, replay.span.end, lasts, [loud], trials, seed)
        hit = judged_sums(worse(answers, injection, seed), [judged.metric])
        hours = HourlySums.of(base, hit, run)
        down = injection.what == "quality" and injection.size < 0 and judged.metric == "mean_quality"
        lasting = pd.Timedelta(days=lasts)
        fired = [watched.first_alarm(hours, at, at + lasting, "down" if down else "up") for at in starts]
        delays = [(when - at) / HOUR for at, when in zip(starts, fired) if when is not None]
        rows[-1] |= counted(len(starts), delays, lasts, replay)
    return rows


def counted(n: int, delays: list[float], days: float, replay: Replay) -> dict[str, Any]:
    """Found rate with its interval, and the median delay, of trials that may overlap.

    Trials that look at the same answers count as one: the interval is that of as many trials as fit one after the other
    into the time watched, each as long as it took to see the fault (or as the fault lasted).
    """
    if not n:
        return {"n": 0, "found_rate": np.nan, "low": np.nan, "high": np.nan, "median_delay_hours": np.nan}
    looked = (sum(delays) + (n - len(delays)) * days * 24) / n
    watched = max((replay.span.end - replay.span.split) / HOUR, 1.0)
    worth = min(1.0, max(watched / max(looked, 1.0), 1.0) / n)
    low, high = wilson(len(delays) * worth, n * worth)
    return {
        "n": n, "found_rate": len(delays) / n, "low": float(low), "high": float(high),
        "median_delay_hours": float(np.median(delays)) if delays else np.nan,
    }  # fmt: skip


def _charted(base: pd.DataFrame, replay: Replay, key: tuple[str, str], limit: float) -> Run:
    """The chart of a feature as the plan would fit it to other judged answers, at another budget of false alarms."""
    real, settings = replay.run_of(key), replay.plan.quality
    scope = {"start": replay.span.start, "fit_end": real.fit_end, "enough": settings.answers_per_window}
    scopes = pd.DataFrame(scope | {"settle": real.settle}, pd.MultiIndex.from_tuples([key], names=KEYS))
    window = settings.window if settings.window != "auto" else widths(base, scopes).iloc[0]
    table = to_windows(base, window, scopes.reset_index(), replay.span.end, pd.Timedelta(0))
    share = real.share * limit / settings.false_alarms_per_month
    run = Run(key, table, window, real.begin, real.fit_end, real.settle, share, real.again)
    run_all([run], replay.span.end)
    return run
