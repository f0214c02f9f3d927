"""EWMA chart for a known in-control mean and sd. Short baselines belong to `charts.predictive`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_monitoring.charts.run_length import ewma_limit, ewma_run_length
from llm_monitoring.charts.textbook.known_level import TextbookChart


@dataclass
class EWMAChart(TextbookChart):
    """Exponentially weighted moving average of one value per window.

    ``z_t = (1 - lambda_) z_{t-1} + lambda_ (x_t - center) / sd``. Alarm: ``|z_t| > L sd(z)``, with L such that the in-control
    average run length is `arl0` windows [1]_. A window without a value counts as the centre and is not charted.

    Parameters
    ----------
    lambda_ : float
        Weight of the newest window, above 0, at most 1.
    arl0 : float
        Windows per false alarm, above 1.
    limits : str
        "fixed": sd of z in the long run; "exact": of z at window t, which sees an early change sooner.
    center, sd : float, optional
        Known mean and sd of a window; what is not given is estimated by `fit`.
    horizon : int
        Windows that the stated false-alarm probability counts over.

    Attributes
    ----------
    limit_, center_, sd_, n_baseline_, notes_
        Set by `fit`; `limit_` is L.

    Raises
    ------
    ConfigError
        A baseline of fewer than two windows or without two distinct values; parameters out of range.

    References
    ----------
    .. [1] Roberts 1959; Crowder 1987; Lucas and Saccucci 1990.

    >>> chart = EWMAChart(lambda_=0.1, arl0=500).fit([4.1, 4.0, 4.2, 4.1])
    >>> chart.monitor([4.1, 3.6, 3.5]).to_frame()["alarm"].tolist()
    [False, False, True]
    """

    lambda_: float = 0.1
    arl0: float = 500
    limits: str = "fixed"

    def _limit(self) -> float:
        return ewma_limit(self.lambda_, self.arl0, limits=self.limits)

    def _begin(self) -> dict[str, Any]:
        return {"z": 0.0, "t": 0}

    def _step(self, state: dict[str, Any], z: float) -> tuple[float, float, float]:
        state["z"] = (1 - self.lambda_) * state["z"] + self.lambda_ * z
        state["t"] += 1
        reach = self.limit_ * np.sqrt(self.lambda_ / (2 - self.lambda_))
        if self.limits == "exact":
            reach *= np.sqrt(1 - (1 - self.lambda_) ** (2 * state["t"]))
        return state["z"], -float(reach), float(reach)

    def _false_alarm(self) -> float:
        return 1 - ewma_run_length(self.lambda_, self.limit_, limits=self.limits).survival(self.horizon)
