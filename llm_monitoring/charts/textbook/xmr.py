"""Chart of individual values with the sd from moving ranges (XmR), for a known or long baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from llm_monitoring.charts.textbook.known_level import TextbookChart


@dataclass
class XmRChart(TextbookChart):
    """Each window alone against center +- L sd, the sd being the mean moving range / 1.128.

    L is such that the in-control average run length is `arl0`; 370.4 gives the usual three sigma. A step in the
    baseline hardly widens the limits, since only neighbouring windows are compared.

    Parameters
    ----------
    arl0 : float
        Windows per false alarm.
    center, sd, horizon
        As for `EWMAChart`.

    Attributes
    ----------
    limit_, center_, sd_, n_baseline_, notes_
        Set by `fit`; `limit_` is L.

    References
    ----------
    Shewhart 1931; Wheeler 1993.

    >>> chart = XmRChart().fit([4.1, 4.0, 4.2, 4.1, 4.0])
    >>> chart.monitor([4.1, 3.9, 3.5]).to_frame()["alarm"].tolist()
    [False, False, True]
    """

    def _spread(self, value: np.ndarray) -> float:
        return float(np.abs(np.diff(value)).mean() * np.sqrt(np.pi) / 2)

    def _limit(self) -> float:
        return float(norm.isf(1 / (2 * self.arl0)))

    def _begin(self) -> dict[str, Any]:
        return {}

    def _step(self, state: dict[str, Any], z: float) -> tuple[float, float, float]:
        return z, -self.limit_, self.limit_

    def _false_alarm(self) -> float:
        return 1 - (1 - 1 / self.arl0) ** self.horizon
