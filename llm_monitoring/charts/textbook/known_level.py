"""What the textbook charts share: centre and sd taken as known, one step a window, the same result as the default chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.charts.measurements import read_windows, spacing
from llm_monitoring.charts.result import ChartResult, events_of, frame_of
from llm_monitoring.results import jsonable


@dataclass
class TextbookChart:
    """Base of the charts whose centre and sd count as known, given or estimated from a baseline.

    A subclass says how a window moves the state (`_step`), how the chart starts (`_begin`), and how likely an alarm
    is within the horizon (`_false_alarm`).
    """

    arl0: float = 370.4
    center: float | None = None
    sd: float | None = None
    horizon: int = 60

    def fit(self, baseline: pd.Series | pd.DataFrame | Sequence[float] = ()) -> Any:
        """Take centre and sd from windows in which nothing was wrong, where they are not given.

        Parameters
        ----------
        baseline : Series, list, or DataFrame with `value`
            May be left out where `center` and `sd` are given.

        Returns
        -------
        The same chart, fitted.
        """
        name = type(self).__name__
        expect(self.center is None or is_number(self.center), name, "a finite number", center=self.center)
        expect(self.sd is None or is_number(self.sd, above=0), name, "a number above 0", sd=self.sd)
        expect(is_number(self.arl0, above=1), name, "a number of windows above 1", arl0=self.arl0)
        expect(is_whole(self.horizon, 1), name, "a whole number of windows, 1 or more", horizon=self.horizon)
        known = self.center is not None and self.sd is not None
        windows = read_windows(baseline, "baseline", windows=0 if known else 2, distinct=0 if known else 2, chart=name)
        value = windows["value"].dropna()
        self.center_ = float(value.mean()) if self.center is None else float(self.center)
        self.sd_ = self._spread(value.to_numpy()) if self.sd is None else float(self.sd)
        self.n_baseline_ = len(value)
        timed = bool(windows["window_start"].notna().any())
        self._origin = windows["window_start"].iloc[0] if timed else None
        self._period = spacing(pd.DatetimeIndex(windows["window_start"])) if timed else None
        self._last = int(windows["position"].iloc[-1]) if len(windows) else -1
        self.limit_ = self._limit()
        self.notes_ = () if known else (
            f"the limits take centre and sd as known; they come from {len(value)} windows, so false alarms are more frequent "
            "than stated. ControlChart reckons with that",
        )  # fmt: skip
        self.state_ = self._begin()
        return self

    def monitor(self, stream: pd.Series | pd.DataFrame | Sequence[float]) -> ChartResult:
        """Chart windows; the chart itself does not change. Returns a ChartResult."""
        if not hasattr(self, "limit_"):
            self.fit()
        windows = read_windows(stream, "stream", origin=self._origin, period=self._period, after=self._last)
        state = self._begin()
        rows = [self._judge(state, value) for value in windows["value"].to_numpy()]
        table = pd.DataFrame(rows, columns=["statistic", "lower", "upper", "alarm", "side"])
        frame = frame_of(
            windows, statistic=table["statistic"].to_numpy(), center=self.center_, lower=table["lower"].to_numpy(),
            upper=table["upper"].to_numpy(), alarm=table["alarm"].to_numpy(),
        )  # fmt: skip
        error = (windows["value"] - self.center_).to_numpy()
        weight = np.where(np.isnan(error), 0.0, 1 / self.sd_**2)
        variance = self.sd_**2 / self.n_baseline_ if self.center is None else 0.0
        return ChartResult(
            windows=frame, alarms=events_of(frame, table["side"].to_numpy(), error, weight, variance),
            false_alarm_probability=self._false_alarm(), arl0=float(self.arl0), horizon=self.horizon, detectable=None,
            n_baseline=self.n_baseline_, chart=type(self).__name__, assumes="normal windows, centre and sd known",
            notes=self.notes_,
        )  # fmt: skip

    def update(self, value: float | None) -> dict[str, Any]:
        """Chart one more window: the same numbers as `monitor` over all of them, as a dict."""
        if not hasattr(self, "limit_"):
            self.fit()
        number = float(read_windows([np.nan if value is None else value])["value"].iloc[0])
        statistic, lower, upper, alarm, _ = self._judge(self.state_, number)
        return {
            "value": number,
            "statistic": statistic,
            "center": self.center_,
            "lower": lower,
            "upper": upper,
            "alarm": alarm,
        }

    @property
    def state(self) -> dict[str, Any]:
        """What the chart learned and where it stands, ready for JSON."""
        return jsonable({k: getattr(self, k) for k in ("center_", "sd_", "limit_", "n_baseline_", "state_")})

    def _judge(self, state: dict[str, Any], value: float) -> tuple[float, float, float, bool, int]:
        if np.isnan(value):
            self._step(state, 0.0)
            return (np.nan, np.nan, np.nan, False, 0)
        z, low, high = self._step(state, (value - self.center_) / self.sd_)
        side = 1 if z > high else -1 if z < low else 0
        return (
            self.center_ + self.sd_ * z,
            self.center_ + self.sd_ * low,
            self.center_ + self.sd_ * high,
            side != 0,
            side,
        )

    def _spread(self, value: np.ndarray) -> float:
        return float(value.std(ddof=1))

    def _limit(self) -> float:
        raise NotImplementedError

    def _begin(self) -> dict[str, Any]:
        raise NotImplementedError

    def _step(self, state: dict[str, Any], z: float) -> tuple[float, float, float]:
        raise NotImplementedError

    def _false_alarm(self) -> float:
        raise NotImplementedError
