"""CUSUM chart for a known in-control mean and sd. Short baselines belong to `charts.predictive`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_monitoring.charts.arguments import expect, is_number
from llm_monitoring.charts.run_length import cusum_limit, cusum_run_length
from llm_monitoring.charts.textbook.known_level import TextbookChart


@dataclass
class CUSUMChart(TextbookChart):
    """Two cumulative sums, up and down, of the deviations beyond k standard deviations.

    S_t = max(0, S_{t-1} + (x_t - center) / sd - k), and the same downwards; alarm where one passes h, chosen such that
    the in-control average run length is `arl0` windows [1]_. The statistic shown is the larger sum, with its sign.

    Parameters
    ----------
    k : float
        Half the shift, in sd of a window, that is to be seen soonest.
    arl0 : float
        Windows per false alarm.
    head_start : float
        Start of both sums as a share of h; 0.5 is the fast initial response.
    center, sd, horizon
        As for `EWMAChart`.

    Attributes
    ----------
    limit_, center_, sd_, n_baseline_, notes_
        Set by `fit`; `limit_` is h.

    References
    ----------
    .. [1] Page 1954; Lucas and Crosier 1982.

    >>> chart = CUSUMChart(k=0.5, arl0=370, center=4.0, sd=0.1)
    >>> chart.monitor([4.0, 3.8, 3.7, 3.6]).to_frame()["alarm"].tolist()
    [False, False, False, True]
    """

    k: float = 0.5
    arl0: float = 370.4
    head_start: float = 0.0

    def _limit(self) -> float:
        expect(is_number(self.head_start, least=0, below=1), "CUSUMChart", "a share of h", head_start=self.head_start)
        limit = cusum_limit(self.k, self.arl0)
        for _ in range(30 if self.head_start else 0):
            better = cusum_limit(self.k, self.arl0, head_start=self.head_start * limit)
            limit, before = better, limit
            if abs(limit - before) < 1e-9:
                break
        return limit

    def _begin(self) -> dict[str, Any]:
        start = self.head_start * self.limit_
        return {"up": start, "down": start}

    def _step(self, state: dict[str, Any], z: float) -> tuple[float, float, float]:
        state["up"] = max(0.0, state["up"] + z - self.k)
        state["down"] = max(0.0, state["down"] - z - self.k)
        larger = state["up"] if state["up"] >= state["down"] else -state["down"]
        return larger, -self.limit_, self.limit_

    def _false_alarm(self) -> float:
        one = cusum_run_length(self.k, self.limit_, head_start=self.head_start * self.limit_).survival(self.horizon)
        return 1 - one**2
