"""What a baseline says about the stream to come: prior of the day effect, variances, draws. No limits here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr

GRID = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.8, 1, 1.3, 1.7, 2.2, 3, 4, 5.5, 7.5, 10, 14, 20])
SPIKE, TAIL, DISCOUNT = 0.2, 2.0, 0.4


@dataclass(frozen=True)
class DayEffect:
    """Prior of the sd of the day effect: a grid (in the measure's unit or as coefficient of variation), and its mass."""

    grid: np.ndarray
    mass: np.ndarray

    @classmethod
    def default(cls, scale: float, spike: float = SPIKE, tail: float = TAIL) -> DayEffect:
        """No day effect with probability `spike`, else half-t with `tail` degrees of freedom and the scale."""
        edges = np.r_[0, (GRID[1:] + GRID[:-1]) / 2, np.inf]
        slab = np.diff(stdtr(tail, edges))
        slab /= slab.sum()
        return cls(scale * GRID, (1 - spike) * slab + spike * (GRID == 0))

    def learned(self, mass: np.ndarray) -> DayEffect:
        """The same grid with another mass."""
        return replace(self, mass=mass)


@dataclass(frozen=True)
class Yardstick:
    """Variance of a window of n answers, and of the centre line: what the baseline says before the stream says more.

    Attributes
    ----------
    between : float
        Variance that sampling does not explain: of the day effect (`per_answer` False: between + sampling / n), or
        the whole variance of a window (`per_answer` True: between / n, sampling 0).
    trust : float
        Precision of `between`: 1 / its posterior variance, discounted.
    sampling : float
        Variance within windows, per answer.
    center : float
        Variance of the centre line that all windows share.
    place : float
        Variance of the centre line that only windows at the same place in the season share.
    mean_inverse_n : float
        Mean of 1 / n over the baseline.
    per_answer : bool
    daily : float
        Variance of what all windows of a day share, where windows are shorter than a day; no part of `between`.
    """

    between: float
    trust: float
    sampling: float
    center: float
    place: float
    mean_inverse_n: float
    per_answer: bool = False
    daily: float = 0.0

    def variance(self, n: Any) -> Any:
        """Of windows of n answers, as the baseline alone has it."""
        return (self.between / n if self.per_answer else self.between) + self.sampling / n

    def center_ratio(self, between: Any) -> Any:
        """How much wider the centre's error is than the baseline said, the variance between windows being `between`."""
        share = self.mean_inverse_n if self.per_answer else 1.0
        sampled = self.sampling * self.mean_inverse_n
        return (between * share + sampled) / (self.between * share + sampled)

    @property
    def floor(self) -> float:
        """The variance between windows is never learned to be less than this."""
        return 0.25 * self.between if self.per_answer else 0.0


class Noise(NamedTuple):
    """What drives simulated streams, (window, draw): standard normal values, others, and the first as probabilities."""

    normal: np.ndarray
    other: np.ndarray
    uniform: np.ndarray

    def first(self, windows: int) -> Noise:
        """That of the first so many windows."""
        return Noise(*(part[:windows] for part in self))


@dataclass(frozen=True)
class Posterior:
    """Draws of the parameters, the plug-in values of the statistic, and how to simulate a stream.

    Attributes
    ----------
    center : array (season,)
        Centre line per place in the season.
    yardstick : Yardstick
        Variances that the statistic starts from.
    deviations : callable
        (n, place, noise, pick) -> simulated value minus centre, (window, draw); `pick`: the draws to take, all of them
        where None.
    draws : int
    day_effect : tuple of float
        Mean and 5 % and 95 % quantile of the sd of the day effect.
    daily : array, optional
        Variance of what all windows of a day share, per draw; `deviations` is without it.
    days, kinds : int
        Days that it and the centre were learned from, and of how many kinds, each with a centre of its own.
    """

    center: np.ndarray
    yardstick: Yardstick
    deviations: Callable[..., np.ndarray]
    draws: int
    day_effect: tuple[float, float, float]
    daily: np.ndarray | None = None
    days: int = 0
    kinds: int = 1

    def of_days(self, day: np.ndarray, seed: int) -> np.ndarray:
        """What the days add to simulated streams, (window, draw), `day` being the number of each window's day."""
        assert self.daily is not None
        rng = np.random.default_rng([seed, 24])
        normal = rng.standard_normal((self.kinds + int(day.max()) + 1, self.draws), dtype=np.float32)
        spread = np.sqrt(self.daily).astype(np.float32)
        centre = normal[: self.kinds] / np.float32(np.sqrt(self.days / self.kinds))
        return spread * (normal[self.kinds :][day] - centre[day % self.kinds])

    def repeated(self, worlds: int, each: int) -> Posterior:
        """So many draws, evenly spaced, each repeated: streams in worlds whose parameters are known."""
        pick = np.repeat(np.linspace(0, self.draws - 1, worlds).astype(int), each)

        def deviations(*args: Any) -> np.ndarray:
            return self.deviations(*args, pick)

        daily = None if self.daily is None else self.daily[pick]
        return replace(self, deviations=deviations, draws=worlds * each, daily=daily)


def trust(variances: np.ndarray) -> float:
    """How firmly the stream's own variation meets what the baseline says: discounted, since posteriors have long tails."""
    return float(DISCOUNT / max(variances.var(), 1e-6 * variances.mean() ** 2, 1e-300))


def summary(spread: np.ndarray) -> tuple[float, float, float]:
    """Mean and 5 % and 95 % quantile."""
    low, high = quantiles(spread, 0.05, 0.95)
    return float(spread.mean()), low, high


def quantiles(values: np.ndarray, *shares: float) -> list[float]:
    """`np.quantile` of many numbers, to the last digit, in a quarter of the time that it takes over ties."""
    ordered, found = np.sort(values), []
    for share in shares:
        at = (len(ordered) - 1) * share
        below, part = int(at), at - int(at)
        low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
        found.append(float(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)))
    return found


def systematic(chance: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices drawn in proportion to `chance`, evenly spaced."""
    points = (np.arange(draws) + rng.random()) / draws
    found = np.searchsorted(np.cumsum(chance) / chance.sum(), points)
    return np.minimum(found, len(chance) - 1)
