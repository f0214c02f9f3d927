"""When a shift of the mean most likely began, with an interval. The stream before the shift is at the centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ChangePoint:
    """First window of the change and the ends of its interval, as positions in the stream."""

    at: int
    low: int
    high: int


def change_point(
    error: np.ndarray,
    weight: np.ndarray,
    center_variance: float = 0.0,
    *,
    latest: int | None = None,
    level: float = 0.95,
) -> ChangePoint:
    """Posterior of the first window of a step, every window equally likely before, its size unknown.

    For a step at window k the deviations from k on have a common mean, and the log likelihood ratio is
    S^2 / (2 (W + V W^2)), with S and W the sums of weighted deviations and of weights from k on and V the variance of
    the centre. `at` is the most likely window, `low` to `high` the run around it with probability `level`.

    Parameters
    ----------
    error, weight : array
        Deviation from the centre and 1 / its variance per window; weight 0 where there is none.
    center_variance : float
    latest : int, optional
        The change is not after this window (the alarm).
    level : float

    >>> change_point(np.array([0., .1, -.1, -2, -2.1, -1.9]), np.ones(6) * 4)
    ChangePoint(at=3, low=3, high=3)
    """
    last = len(error) - 1 if latest is None else latest
    total = np.cumsum((weight * error)[::-1])[::-1]
    mass = np.maximum(np.cumsum(weight[::-1])[::-1], 1e-300)
    spread = mass + center_variance * mass**2
    score = (total**2 / (2 * spread))[: last + 1]
    score = np.where(weight[: last + 1] > 0, score, -np.inf)
    chance = np.exp(score - score.max())
    chance /= chance.sum()
    at = int(np.argmax(chance))
    low = high = at
    inside = chance[at]
    while inside < level and (low > 0 or high < last):
        below = chance[low - 1] if low > 0 else -1.0
        above = chance[high + 1] if high < last else -1.0
        if below >= above:
            low, inside = low - 1, inside + below
        else:
            high, inside = high + 1, inside + above
    return ChangePoint(at, low, high)
