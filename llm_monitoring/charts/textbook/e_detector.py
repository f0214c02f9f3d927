"""E-detector over single scores: a guarantee on the average run length without any model of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.charts.measurements import read_windows
from llm_monitoring.charts.result import ChartResult, events_of, frame_of
from llm_monitoring.errors import ConfigError, one_of, quote

BETS = (0.1, 0.25, 0.5, 0.75)


@dataclass
class EDetector:
    """Shiryaev-Roberts e-detector for scores between `low` and `high` whose mean under control is known.

    Every score x is bet upon: e = 1 + bet (mean - x) / (high - mean) for a fall, R_t = (1 + R_{t-1}) e_t, alarm where
    the mean of R over four bets (and both directions) reaches `arl0`. The average run length is at least `arl0` for
    any distribution on the scale with that mean, dependent or not [1]_; the price is delay (about twice that of an
    EWMA designed for the right sd), and a day effect breaks the premise.

    Parameters
    ----------
    arl0 : float
        Scores per false alarm, at least.
    center : float, optional
        Mean under control. Where it is not given, `fit` takes the end of the 95 % interval that makes false alarms
        rarer, of the scores of the baseline; the guarantee then holds with that confidence.
    low, high : float
        Ends of the scale.
    direction : str
        "down", "up" or "both".
    horizon : int
        Scores over which the result states the probability of a false alarm.

    References
    ----------
    .. [1] Shin, Ramdas and Rinaldo 2022, E-detectors.

    >>> detector = EDetector(arl0=500, center=4.2)
    >>> detector.monitor([4, 5, 4, 4] + [1] * 8).first_alarm is not None
    True
    """

    arl0: float = 500
    center: float | None = None
    low: float = 1.0
    high: float = 5.0
    direction: str = "down"
    horizon: int = 60

    def __post_init__(self) -> None:
        one_of("EDetector(direction)", self.direction, ("down", "up", "both"))
        ends = is_number(self.low) and is_number(self.high) and self.low < self.high
        inside = self.center is None or (ends and is_number(self.center, above=self.low, below=self.high))
        given = {"center": self.center, "low": self.low, "high": self.high}
        expect(ends and inside, "EDetector", "low < center < high", **given)
        expect(is_number(self.arl0, above=1), "EDetector", "a number of scores above 1", arl0=self.arl0)
        expect(is_whole(self.horizon, 1), "EDetector", "a whole number of scores, 1 or more", horizon=self.horizon)

    def fit(self, baseline: pd.Series | pd.DataFrame | Sequence[float] = ()) -> EDetector:
        """Take the mean under control from single scores, where it is not given."""
        scores = read_windows(baseline, "baseline", windows=0 if self.center is not None else 20, chart="EDetector")
        value = scores["value"].dropna()
        for score in value:
            self._on_scale(score, "baseline")
        self.n_baseline_, self._last = len(value), len(scores) - 1
        if self.center is not None:
            self.safe_ = {"down": self.center, "up": self.center}
        else:
            slack = 1.645 * float(value.std(ddof=1)) / np.sqrt(len(value))
            inside = np.clip([value.mean() - slack, value.mean() + slack], self.low + 1e-9, self.high - 1e-9)
            self.safe_ = {"down": float(inside[0]), "up": float(inside[1])}
        self.center_ = (self.safe_["down"] + self.safe_["up"]) / 2
        self.state_ = self._begin()
        return self

    def monitor(self, stream: pd.Series | pd.DataFrame | Sequence[float]) -> ChartResult:
        """Chart single scores; `statistic` is the e-detector, `upper` its limit. The detector itself does not change."""
        if not hasattr(self, "center_"):
            self.fit()
        scores = read_windows(stream, "stream", after=self._last)
        state = self._begin()
        rows = [self._step(state, value) for value in scores["value"]]
        statistic = np.array([row[0] for row in rows], dtype=float)
        side = np.array([row[1] for row in rows], dtype=int)
        frame = frame_of(scores, statistic=statistic, center=0.0, lower=np.nan, upper=float(self.arl0), alarm=side != 0)
        error = (scores["value"] - self.center_).to_numpy()
        weight = np.where(np.isnan(error), 0.0, 1.0)
        return ChartResult(
            windows=frame, alarms=events_of(frame, side, error, weight, 0.0), false_alarm_probability=None,
            arl0=float(self.arl0), horizon=self.horizon, detectable=None, n_baseline=self.n_baseline_, chart="EDetector",
            assumes="the mean under control is known, scores on the scale; no day effect",
        )  # fmt: skip

    def update(self, value: float | None) -> dict[str, Any]:
        """Take one more score: the same numbers as `monitor` over all of them, as a dict."""
        if not hasattr(self, "center_"):
            self.fit()
        number = float(read_windows([np.nan if value is None else value])["value"].iloc[0])
        statistic, side = self._step(self.state_, number)
        return {
            "value": number,
            "statistic": statistic,
            "center": 0.0,
            "lower": np.nan,
            "upper": float(self.arl0),
            "alarm": side != 0,
        }

    def _begin(self) -> dict[str, Any]:
        sides = ("down", "up") if self.direction == "both" else (self.direction,)
        return {side: [0.0] * len(BETS) for side in sides}

    def _step(self, state: dict[str, Any], value: float) -> tuple[float, int]:
        if np.isnan(value):
            return float("nan"), 0
        self._on_scale(value, "stream")
        for side in state:
            mean = self.safe_[side]
            gain = (mean - value) / (self.high - mean) if side == "down" else (value - mean) / (mean - self.low)
            state[side] = [(1 + before) * (1 + bet * gain) for before, bet in zip(state[side], BETS)]
        level = {side: float(np.mean(values)) for side, values in state.items()}
        statistic = float(np.mean(list(level.values())))
        if statistic < self.arl0:
            return statistic, 0
        return statistic, -1 if max(level, key=lambda side: level[side]) == "down" else 1

    def _on_scale(self, value: float, name: str) -> None:
        if not self.low <= value <= self.high:
            raise ConfigError(f"{name}: {quote(value)}; expected a score from {self.low:g} to {self.high:g}")
