"""The default chart: an EWMA whose limits come from streams simulated from the posterior of a short baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.charts.calibration import draws_for, extreme, simulate, smallest_seen, surely_below, upper_quantile
from llm_monitoring.charts.falls import all_down, lasting
from llm_monitoring.charts.measurements import Windows, as_windows, check_values, read_windows, spacing
from llm_monitoring.charts.posterior import DayEffect, Posterior
from llm_monitoring.charts.rate_model import RateEvidence
from llm_monitoring.charts.result import ChartResult, events_of, frame_of
from llm_monitoring.charts.running import advance, blank, run
from llm_monitoring.charts.saved import restore, state_of
from llm_monitoring.charts.scatter import alike, spreads
from llm_monitoring.charts.score_model import ScoreEvidence, Scores
from llm_monitoring.charts.seams import read_seams, seams_table
from llm_monitoring.charts.sharing import SharedDay, days_of, without_days
from llm_monitoring.charts.wild import with_tail
from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.results import jsonable

NAME = "ControlChart"
KINDS = ("mean", "proportion", "count", "positive")
DIRECTIONS = ("both", "up", "down")
FEWEST_TO_FIT = 5
FULL = 20  # answers, or the usual number, of a window that is looked at by itself (lambda 1)


@dataclass
class ControlChart:
    """Predictive EWMA: says how likely a false alarm is within the horizon, from few windows, and keeps it.

    EWMAs with several lambdas, each window weighted by its information (n answers and the day effect), divided by an
    sd that holds the error of the centre line. One limit for all of them: the quantile of their extremes over streams
    that are simulated from the posterior of the baseline (centre, weekday pattern, day effect), so that the
    probability of one or more alarms within `horizon` windows is 1 - (1 - 1 / arl0)^horizon on average over baselines.

    Parameters
    ----------
    kind : str
        "mean" (scores), "proportion" (needs `n`), "count" (events in a window, `n` its exposure where known) or
        "positive" (latency, cost: charted on the log scale).
    arl0 : float
        Windows per false alarm that the user asks for; above 1.
    horizon : int
        Windows over which the stated probability counts.
    low, high : float, optional
        Ends of the scale of a score, which its limits do not pass; 1 and 5 (or 0 and 1) are assumed where all values
        lie between.
    direction : str
        "both", "up" or "down": which shifts alarm.
    season : int
        Windows in a season: 7 for days, 28 for six hours, 168 for hours. Used from three seasons on.
    seed : int
    lambdas : tuple of float
    guarantee : float, optional
        0.9 makes 90 % of baselines keep the stated probability, instead of their average: fewer, later alarms.
    day_effect : DayEffect, optional
        Prior of the day effect; ChartPortfolio learns it from all charts of a metric.
    lasting_falls : int
        A fall counts once so many windows with a value were down, the least by half as much as the most: of totals of a
        day, which a holiday that nobody named halves. Then a window can be below its limit and be no alarm.

    Attributes
    ----------
    limit_, center_, n_baseline_, false_alarm_probability_, detectable_, day_effect_, notes_
        Set by `fit`. `day_effect_` is mean, 5 % and 95 % quantile of the sd between windows beyond sampling.

    Raises
    ------
    ConfigError
        A parameter, a baseline below five windows, or one without any variation.

    References
    ----------
    Shen, Zou, Jiang and Tsung 2013; Saleh, Mahmoud, Jones-Farmer, Zwetsloot and Woodall 2015; Gelman 2006.

    >>> chart = ControlChart().fit([4.1, 4.0, 4.2, 4.1, 4.0, 4.1, 4.2, 4.0, 4.1, 4.2])
    >>> chart.monitor([4.1, 4.2, 3.1, 3.0]).to_frame()["alarm"].tolist()
    [False, False, True, True]
    """

    kind: str = "mean"
    arl0: float = 370
    horizon: int = 60
    low: float | None = None
    high: float | None = None
    direction: str = "both"
    season: int = 7
    seed: int = 0
    lambdas: tuple[float, ...] = (0.15, 0.5)
    guarantee: float | None = None
    day_effect: DayEffect | None = None
    lasting_falls: int = 1

    def __post_init__(self) -> None:
        one_of("ControlChart(kind)", self.kind, KINDS)
        one_of("ControlChart(direction)", self.direction, DIRECTIONS)
        for name, value in vars(self).items():
            if isinstance(value, np.generic):
                setattr(self, name, value.item())
        expect(is_number(self.arl0, above=1), NAME, "a number above 1", arl0=self.arl0)
        for name in ("horizon", "season", "lasting_falls"):
            whole = getattr(self, name)
            expect(is_whole(whole, 1), NAME, "a whole number of windows, 1 at least", **{name: whole})
        expect(is_whole(self.seed), NAME, "a whole number, 0 at least", seed=self.seed)
        lambdas = self.lambdas if isinstance(self.lambdas, tuple | list | np.ndarray) else ()
        fine = len(lambdas) > 0 and all(is_number(weight, above=0, most=1) for weight in lambdas)
        expect(fine, NAME, "one or more numbers above 0, at most 1", lambdas=self.lambdas)
        low, high = self.low, self.high
        fine = (low is None and high is None) or (is_number(low) and is_number(high) and low < high)  # type: ignore[operator]
        expect(fine, NAME, "both ends of the scale, low < high", low=low, high=high)
        fine = self.guarantee is None or is_number(self.guarantee, above=0, below=1)
        expect(fine, NAME, "a share between 0 and 1, such as 0.9", guarantee=self.guarantee)
        fine = self.day_effect is None or isinstance(self.day_effect, DayEffect)
        expect(fine, NAME, "a DayEffect, such as DayEffect.default(0.1)", day_effect=self.day_effect)
        self.lambdas = tuple(float(weight) for weight in lambdas)
        self.history_: list[dict[str, Any]] = []
        self.tail: np.ndarray | None = None  # where windows stray further up than a normal does: see `wild.wild_days`

    def fit(
        self,
        baseline: pd.Series | pd.DataFrame | Sequence[float],
        *,
        set_aside: Sequence[Any] = (),
        reason: str | None = None,
    ) -> ControlChart:
        """Learn centre, day effect and limit from windows in which nothing was wrong.

        Parameters
        ----------
        baseline : Series, list, or DataFrame
            `value`, and where known `n`, `sd` (within the window), `window_start` or a whole number `window`.
        set_aside : list of windows
            Windows that do not count, such as `check_baseline(...).outliers` that somebody understood.
        reason : str
            Why not; needed with `set_aside`, and kept in `history_`.

        Returns
        -------
        ControlChart
            The same chart, fitted; the baseline stays as it is from here on.
        """
        self._weigh(self._without(baseline, set_aside, reason))
        self._settle()
        return self

    def _without(self, baseline: Any, set_aside: Sequence[Any], reason: str | None) -> Any:
        aside = list(set_aside)
        if not aside:
            return baseline
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(
                f"fit(set_aside={len(aside)} windows, reason={quote(reason)}); expected a sentence that says why they do not count"
            )
        windows = read_windows(baseline, "baseline")
        unknown = [w for w in aside if w not in set(windows["window"])]
        if unknown:
            raise ConfigError(f"fit(set_aside): {quote(unknown[0])}; expected windows of the baseline")
        self.history_ = [*self.history_, {"set_aside": len(aside), "windows": jsonable(aside), "reason": reason}]
        windows.loc[windows["window"].isin(aside), "value"] = np.nan
        return windows.drop(columns=[c for c in ("window_start", "window_end") if windows[c].isna().all()])

    def read(self, baseline: Any) -> ControlChart:
        """Read the baseline and what it says; `portfolio.set_limits` then weighs in what its neighbours say."""
        self._weigh(baseline)
        return self

    def _weigh(self, baseline: Any) -> None:
        """Read the baseline and what it says; `_settle` then weighs in the prior."""
        for name in ("limit_", "detectable_"):
            vars(self).pop(name, None)
        windows = as_windows(baseline, "baseline", windows=FEWEST_TO_FIT, chart="ControlChart")
        check_values(windows, self.kind, self._bounds(), "baseline")
        self._origin = windows.window_start[0] if windows.timed else None
        self._period = spacing(windows.window_start) if windows.timed else None
        self._days = days_of(self._origin, self._period)
        self._shared: SharedDay | None = None
        position, value, n, sd = windows.position, windows.value, windows.n, windows.sd
        used = ~np.isnan(value) & ~(n == 0)
        if used.sum() < FEWEST_TO_FIT:
            raise ConfigError(
                f"baseline: {used.sum()} windows with a value; ControlChart needs {FEWEST_TO_FIT}. Give earlier windows"
            )
        self._uses_n = bool((~np.isnan(n[used])).any())
        given = position[used] % self.season, value[used], n[used], sd[used]
        self._spread = spreads(*given, self.season, self._days[0]) if self.kind == "positive" else np.ones(self.season)
        spread = self._spread[position % self.season]
        n, sd = n / spread, sd / np.sqrt(spread)
        self._usual_n = float(np.nanmedian(n[used])) if self._uses_n else 1.0
        self._last = int(position[-1])
        n = np.where(np.isnan(n), self._usual_n, n)
        self._pattern = self._n_pattern(position, n)
        position, value, n, sd = position[used], value[used], n[used], sd[used]
        y = self._charted(value, n)
        rates = self.kind in ("proportion", "count")
        if self._days[0] > 1:
            seasonal = not rates and len(y) >= 3 * self.season
            place = position % self.season if seasonal else np.zeros(len(y), dtype=int)
            kinds = self.season // self._days[0] if seasonal and self.season % self._days[0] == 0 else 1
            y, self._shared = without_days(y, np.minimum(n, np.median(n)), place, self._day(position), kinds)
        self._windows = position, y, n
        self._evidence = self._rates(y, n) if rates else self._scores(position, value, y, n, sd)
        self.n_baseline_ = len(y)

    def _rates(self, y: np.ndarray, n: np.ndarray) -> RateEvidence:
        events = np.round(y * n) if self._shared is None else np.clip(y * n, 0, None if self.kind == "count" else n)
        return RateEvidence(events, n, DayEffect.default(0.25), counts=self.kind == "count")

    def _scores(
        self, position: np.ndarray, value: np.ndarray, y: np.ndarray, n: np.ndarray, sd: np.ndarray
    ) -> ScoreEvidence:
        sd = sd / value if self.kind == "positive" else sd
        freedom = np.where(np.isnan(sd) | (n < 2) | ~np.isfinite(n), 0, n - 1)
        total = freedom.sum()
        s2 = float((freedom * np.nan_to_num(sd) ** 2).sum() / total) if total > 0 else 0.0
        known = self._uses_n and s2 > 0 and total >= 10
        low, high = self._scale(value)
        phase = position % self.season
        model = Scores(y, n, phase, self.season, s2, float(total), known, low, high)
        if known:
            unit = 0.02 * (high - low if np.isfinite(high - low) and self.kind == "mean" else 4 * np.sqrt(s2))
            day = DayEffect.default(unit)
        else:
            spread = float(np.std(y, ddof=1))
            if spread <= 1e-9 * np.abs(y).max():  # rounding of equal numbers is no variation
                raise ConfigError(
                    f"baseline: {len(y)} windows, all of them {value[0]}; ControlChart needs 2 distinct values, "
                    "or n and sd per window. Give earlier windows, or kind='proportion' for rare events"
                )
            unit = spread / 4
            grid = spread * np.geomspace(0.1, 5, 41) * (np.sqrt(self._usual_n) if self._uses_n else 1.0)
            day = DayEffect(grid, np.full(41, 1 / 41))
        seasonal = self.season > 1 and len(y) >= 3 * self.season
        return ScoreEvidence(model, day, DayEffect.default(unit, spike=0.6, tail=1.0) if seasonal else None)

    def _settle(self) -> None:
        """Centre and yardstick; the limit waits until somebody asks for it, since few charts come near theirs."""
        self.false_alarm_probability_ = float(1 - (1 - 1 / self.arl0) ** self.horizon)
        self._sided = self.direction  # a copy that looks another way has the same limit, found once
        self._told: list[tuple[float, float]] = []
        found = self._posterior()
        self.center_, self._yardstick, self.day_effect_ = found.center, found.yardstick, found.day_effect
        position, y, n = self._windows
        residual = (y - self.center_[position % len(self.center_)]) / np.sqrt(self._yardstick.variance(n))
        self.notes_ = alike(position, residual)
        sums, scale, _ = self._simulated(found, 500)
        self._below = surely_below(extreme(sums, scale, self._sided), self.false_alarm_probability_)
        self.state_, self._seen = self._blank(), None
        del self._windows

    def _posterior(self) -> Posterior:
        prior, draws = self.day_effect or self._evidence.day, draws_for(self.false_alarm_probability_)
        found = self._evidence.posterior(prior, draws, np.random.default_rng([self.seed, 1]))
        if self._shared is not None:
            found = self._shared.added(found, np.random.default_rng([self.seed, 2]))
        return found if self.tail is None else with_tail(found, self.tail, self.seed)

    def _simulated(self, found: Posterior, worlds: int | None = None, each: int = 1) -> tuple[np.ndarray, ...]:
        """Streams from all draws of the parameters, or from some of them, each so many times."""
        position = self._last + 1 + np.arange(self.horizon)
        found = found if worlds is None else found.repeated(worlds, each)
        n = self._pattern[position % self.season]
        return simulate(found, self.lambdas, n, position, self.seed, self._day(position))

    @cached_property
    def limit_(self) -> float:
        return self._limits()[0]

    @cached_property
    def detectable_(self) -> float:
        return self._limits()[1]

    def _limits(self) -> tuple[float, float]:
        if not self._told:
            self._told.append(self._find_limits())
        return self._told[0]

    def _find_limits(self) -> tuple[float, float]:
        """The limit, and the smallest shift that is seen, in the measure's unit."""
        alpha, found = self.false_alarm_probability_, self._posterior()
        sums, scale, slope = self._simulated(found)
        limit = upper_quantile(extreme(sums, scale, self._sided), alpha)
        if self.guarantee is not None:
            limit = max(limit, float(np.quantile(self._conditional_limits(found, alpha), self.guarantee)))
        sign = -1 if self._sided == "down" or (self._sided == "both" and self.kind == "mean") else 1
        shift = smallest_seen(sums, scale, slope, limit, sign)
        middle = float(np.mean(self.center_))
        return limit, float(abs(np.exp(middle + sign * shift) - np.exp(middle))) if self.kind == "positive" else shift

    def _conditional_limits(self, found: Posterior, alpha: float, worlds: int = 100) -> np.ndarray:
        """The limit that each of some draws of the parameters would need, were it the truth."""
        each = int(np.clip(20 / alpha, 200, 1000))
        sums, scale, _ = self._simulated(found, worlds, each)
        by_world = extreme(sums, scale, self._sided).reshape(worlds, each)
        return np.array([upper_quantile(row, alpha, enough=10) for row in by_world])

    def monitor(
        self, stream: pd.Series | pd.DataFrame | Sequence[float] | Windows, *, seams: Any = None, at_once: bool = False
    ) -> ChartResult:
        """Chart windows against the frozen baseline; the chart itself does not change.

        Parameters
        ----------
        stream : Series, list, or DataFrame
            As for `fit`. A window without value or with n = 0 is missing: nothing is charted there.
        seams : DataFrame or list of dict, optional
            `time` (first window concerned), `offset` (new minus old instrument), `se`: changes of judge or rubric.
        at_once : bool
            Reckon all windows together: a hundred times as fast, and the last digit may differ from `update`'s.

        Returns
        -------
        ChartResult
        """
        self._check_fitted("monitor")
        windows = self._read(stream, self._last)
        seams = read_seams(seams, self._first_time(windows))
        if seams or not at_once:
            state = self._blank()
            rows = zip(windows.window, *(each.tolist() for each in (windows.position, windows.value, windows.n)))
            found = [self._step(state, window, position, value, n, seams) for window, position, value, n in rows]
            told = np.array(found, dtype=float).reshape(-1, 8).T
        else:
            told = self._steps(windows.position, windows.value, windows.n)
        statistic, center, lower, upper, alarm, side, error, weight = told
        frame = frame_of(
            windows._asdict(), statistic=statistic, center=center, lower=lower, upper=upper, alarm=alarm > 0
        )
        alarms = events_of(frame, side.astype(int), error, weight, self._yardstick.center)
        if self.kind == "positive" and len(alarms):
            alarms["size"] = np.exp(np.mean(self.center_)) * np.expm1(alarms["size"])
        return ChartResult(
            windows=frame, alarms=alarms, false_alarm_probability=self.false_alarm_probability_, arl0=float(self.arl0),
            horizon=self.horizon, detectable=self.detectable_, n_baseline=self.n_baseline_, kind=self.kind,
            season=self.season, chart="ControlChart", assumes=self.assumes, notes=tuple(self.notes_),
            seams=seams_table(seams),
        )  # fmt: skip

    def quiet(self, stream: Windows) -> bool:
        """Whether no window alarms: what `monitor(stream, at_once=True)` would say, without its tables."""
        windows = self._read(stream, self._last)
        position, value, n = windows.position, windows.value, self._sizes(windows.position, windows.n)
        there = ~np.isnan(value) & (n != 0)
        if not there.any() or self._statistics(position, value, n[there], there)[-1].max() <= self._below:
            return True
        return not self._steps(position, value, windows.n)[4].any()

    def update(
        self,
        value: float | None,
        n: float | None = None,
        sd: float | None = None,
        *,
        window: Any = None,
        seams: Any = None,
    ) -> dict[str, Any]:
        """Chart one more window; the same numbers as `monitor` over all of them.

        Parameters
        ----------
        value : float or None
            None where the window is missing.
        n, sd : float, optional
        window : Timestamp or int, optional
            `window_start` or number of the window, after the last one charted; the next one where not given.
        seams : as for `monitor`

        Returns
        -------
        dict
            `window`, `value`, `n`, `statistic`, `center`, `lower`, `upper`, `alarm`.
        """
        self._check_fitted("update")
        row: dict[str, Any] = {"value": [value], "n": [n], "sd": [sd]}
        if window is not None:
            row["window" if isinstance(window, int | float | np.number) else "window_start"] = [window]
        after = self._last if self.state_["position"] is None else self.state_["position"]
        windows = self._read(pd.DataFrame(row), after)
        at, position = windows.window[0], int(windows.position[0])
        given, answers = float(windows.value[0]), float(windows.n[0])
        self._check_order(window, at, position)
        margins = read_seams(seams, self._first_time(windows))
        found = self._step(self.state_, at, position, given, answers, margins)
        self._seen = at
        names = ("statistic", "center", "lower", "upper", "alarm")
        return {"window": at, "value": given, "n": answers, **dict(zip(names, found))}

    def _check_order(self, given: Any, window: Any, position: int) -> None:
        """Refuse a window that is not after the last one charted."""
        last = self._seen
        comparable = isinstance(window, pd.Timestamp) == isinstance(last, pd.Timestamp)
        if last is None or (window > last if comparable else position > self.state_["position"]):
            return
        raise ConfigError(f"update(window={quote(given)}); expected a window after the last one charted ({last})")

    def _first_time(self, windows: Windows) -> pd.Timestamp | None:
        """A time of the windows as they are labelled; None where they are numbered."""
        if not len(windows.value):
            return self._origin
        first = windows.window[0]
        return first if isinstance(first, pd.Timestamp) else None

    def rebaseline(self, baseline: Any, *, reason: str) -> ControlChart:
        """Fit again to other windows, and write down why; `history_` keeps every such act.

        Parameters
        ----------
        baseline : as for `fit`
        reason : str
            One sentence for whoever asks later; must not be empty.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(
                f"rebaseline(reason={quote(reason)}); expected a sentence that says why the old baseline ended"
            )
        before = {
            "reason": reason,
            "center": self.center_.tolist(),
            "limit": self.limit_,
            "n_baseline": self.n_baseline_,
        }
        kept = self.history_
        self.fit(baseline)
        self.history_ = [*kept, before]
        return self

    @property
    def state(self) -> dict[str, Any]:
        """Everything that the chart knows, ready for JSON; `from_state` gives the chart back."""
        self._check_fitted("state")
        return state_of(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ControlChart:
        """The chart whose `state` this is, at the window where it stood."""
        return restore(cls, state)

    @property
    def assumes(self) -> str:
        """What the stated probability takes for granted."""
        effect = {"proportion": "day effect on the rate", "count": "day effect on the rate"}.get(
            self.kind, "day effect"
        )
        named = {self._days[0]: "of the day", 7 * self._days[0]: "of the week"}
        lasts = named.get(self.season, f"of {self.season} windows")
        pattern = f"a pattern {lasts}" if len(self.center_) > 1 else "no pattern of the day or the week"
        return f"windows independent given the {effect}, {pattern}, n as in the last season of the baseline"

    def _check_fitted(self, verb: str) -> None:
        if not hasattr(self, "center_"):
            raise ConfigError(f"ControlChart.{verb}: no baseline yet; expected chart.fit(baseline) before it")

    def _read(self, stream: Any, after: int) -> Windows:
        windows = as_windows(stream, "stream", origin=self._origin, period=self._period, after=after)
        check_values(windows, self.kind, self._bounds(), "stream")
        return windows

    def _scale(self, value: np.ndarray) -> tuple[float, float]:
        if self.low is not None and self.high is not None:
            return float(self.low), float(self.high)
        for low, high in ((0.0, 1.0), (1.0, 5.0)):
            if self.kind == "mean" and low <= value.min() and value.max() <= high:
                return low, high
        return -np.inf, np.inf

    def _bounds(self) -> tuple[float, float]:
        """What a value cannot be below or above."""
        if self.kind == "mean":
            return (-np.inf, np.inf) if self.low is None or self.high is None else (float(self.low), float(self.high))
        return 0.0, 1.0 if self.kind == "proportion" else np.inf

    def _charted(self, value: Any, n: Any) -> Any:
        return np.log(value) if self.kind == "positive" else value / n if self.kind == "count" else value

    def _shown(self, value: float, n: float) -> float:
        return math.exp(value) if self.kind == "positive" else value * n if self.kind == "count" else value

    def _n_pattern(self, position: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Answers per place in the season, as in the last season seen; the usual n where that place was never seen."""
        pattern = np.full(self.season, self._usual_n)
        if self._uses_n:
            recent = position > self._last - self.season
            pattern[position[recent] % self.season] = n[recent]
        return pattern if (pattern > 0).any() else np.full(self.season, self._usual_n)

    def _day(self, position: Any) -> Any:
        """Number of the day that a window is in; where windows are days or have no time, its own number."""
        windows, before = self._days
        return (position + before) // windows

    def _blank(self) -> dict[str, Any]:
        return blank(self.lambdas, len(self.center_))

    def _step(
        self, state: dict[str, Any], window: Any, position: int, value: float, n: float, seams: list[dict[str, Any]]
    ) -> tuple:
        n = (
            (self._usual_n if math.isnan(n) else n / float(self._spread[position % self.season]))
            if self._uses_n
            else 1.0
        )
        missing = math.isnan(value) or n == 0
        center = float(self.center_[position % len(self.center_)])
        passed = [window >= seam["time"] for seam in seams]
        center += sum(seam["offset"] for seam, there in zip(seams, passed) if there)
        error = None if missing else float(self._charted(value, n)) - center
        margins = [(bool(there), seam["se"]) for seam, there in zip(seams, passed)]
        found = advance(state, self._yardstick, self.lambdas, position, error, n, margins, self._day(position))
        shown = self._shown(center, n)
        if error is None:
            return (np.nan, shown, np.nan, np.nan, False, 0, 0.0, 0.0)
        sign = {"both": 0, "up": 1, "down": -1}[self.direction]
        t = [total / scale for total, _, scale in found]
        full = n >= min(self._usual_n, FULL)
        sided = [
            (sign * value if sign else abs(value)) * (full or lambda_ < 1) for value, lambda_ in zip(t, self.lambdas)
        ]
        alarm = max(sided) > self.limit_
        k = sided.index(max(sided)) if alarm else 0
        total, reach, scale = found[k]
        statistic = self._shown(center + total / reach, n)
        width = self.limit_ * scale / reach
        lower = np.nan if self.direction == "up" else self._shown(center - width, n)
        upper = np.nan if self.direction == "down" else self._shown(center + width, n)
        least, most = self._bounds()
        lower = least if statistic >= least > lower else lower
        upper = most if statistic <= most < upper else upper
        if self.lasting_falls > 1:
            latest = state["latest"] = [*state.get("latest", []), error][-self.lasting_falls :]
            fall = alarm and t[k] < 0
            state["fallen"] = fall and (state.get("fallen", False) or all_down(latest, self.lasting_falls))
            alarm = state["fallen"] or (alarm and not fall)
        side = 0 if not alarm else 1 if t[k] > 0 else -1
        return (statistic, shown, lower, upper, alarm, side, error, 1 / self._yardstick.variance(n))

    def _sizes(self, position: np.ndarray, n: np.ndarray) -> np.ndarray:
        if not self._uses_n:
            return np.ones(len(n))
        return np.where(np.isnan(n), self._usual_n, n / self._spread[position % self.season])

    def _statistics(
        self, position: np.ndarray, value: np.ndarray, n: np.ndarray, there: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Of the windows that are `there`, `n` being theirs: deviation; by lambda sum, weight, scale, and what meets the limit."""
        steps = np.cumsum(np.r_[0, np.maximum(np.diff(position), 1)]).astype(int)
        places, at, value = len(self.center_), position[there].astype(int), value[there]
        place, day = at % places, self._day(at)
        error = (np.log(value) if self.kind == "positive" else value / n if self.kind == "count" else value) - (
            self.center_[place]
        )
        sums, reach, scale = run(self._yardstick, self.lambdas, places, steps[there], place, error, n, day)
        sign = {"both": 0, "up": 1, "down": -1}[self.direction]
        t = sums / scale
        looked_at = (n >= min(self._usual_n, FULL)) | (np.array(self.lambdas)[:, None] < 1)
        return error, sums, reach, scale, (sign * t if sign else np.abs(t)) * looked_at

    def _steps(self, position: np.ndarray, value: np.ndarray, n: np.ndarray) -> np.ndarray:
        """`_step` of all windows from a blank state, without seams: one row for each number that it gives."""
        n, center = self._sizes(position, n), self.center_[position % len(self.center_)]
        there = ~np.isnan(value) & (n != 0)
        out = np.zeros((8, len(position)))
        out[[0, 2, 3]] = np.nan
        out[1] = np.exp(center) if self.kind == "positive" else center * n if self.kind == "count" else center
        if not there.any():
            return out
        n, center = n[there], center[there]
        error, sums, reach, scale, sided = self._statistics(position, value, n, there)
        alarm = sided.max(axis=0) > self.limit_
        which = np.where(alarm, sided.argmax(axis=0), 0)
        every = np.arange(len(error))
        total, weight, wide = sums[which, every], reach[which, every], scale[which, every]

        def shown(on: np.ndarray) -> np.ndarray:
            return np.exp(on) if self.kind == "positive" else on * n if self.kind == "count" else on

        statistic, width = shown(center + total / weight), self.limit_ * wide / weight
        lower = np.full(len(error), np.nan) if self.direction == "up" else shown(center - width)
        upper = np.full(len(error), np.nan) if self.direction == "down" else shown(center + width)
        least, most = self._bounds()
        lower = np.where((statistic >= least) & (lower < least), least, lower)
        upper = np.where((statistic <= most) & (upper > most), most, upper)
        rises = total > 0
        if self.lasting_falls > 1 and (alarm & ~rises).any():
            alarm = lasting(alarm, rises, error, self.lasting_falls)
        side = np.where(alarm, np.where(rises, 1, -1), 0)
        out[:, there] = statistic, out[1, there], lower, upper, alarm, side, error, 1 / self._yardstick.variance(n)
        return out
