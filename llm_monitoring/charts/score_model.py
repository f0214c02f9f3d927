"""Means per window: centre of the weekday + day effect + sampling error, in closed form given the two spreads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from llm_monitoring.charts.posterior import DayEffect, Noise, Posterior, Yardstick, summary, systematic, trust


@dataclass(frozen=True)
class Scores:
    """Windows of a baseline.

    `s2` is the pooled variance within windows on `freedom` degrees of freedom; with `known` False it is not known, and
    the whole variance is learned between windows, proportional to 1 / n where n is given. `low`, `high`: the scale.
    """

    value: np.ndarray
    n: np.ndarray
    phase: np.ndarray
    season: int
    s2: float
    freedom: float
    known: bool
    low: float
    high: float


class ScoreEvidence:
    """What the windows say about centre and spreads, before the prior of the day effect is weighed in.

    Attributes
    ----------
    day : DayEffect
        Default prior of the day effect; where the sampling error is not known, of the sd of a window.
    by_day : array
        Log marginal likelihood at each point of the day effect's grid.
    """

    def __init__(self, model: Scores, day: DayEffect, weekday: DayEffect | None) -> None:
        self.model, self.day = model, day
        square, none = day.grid**2, np.zeros(len(day.grid))
        self._between: np.ndarray = square if model.known else none
        self._within: np.ndarray = none + model.s2 if model.known else square
        places = 1 if weekday is None else model.season
        phase = model.phase % places
        weight = 1 / (self._between[:, None] + self._within[:, None] / model.n)
        self._omega2 = np.zeros(1) if weekday is None else weekday.grid**2
        member = np.eye(places)[phase]
        self._total = weight @ member
        seen = self._total > 0
        self._mean = np.divide((weight * model.value) @ member, self._total, out=np.zeros_like(self._total), where=seen)
        rest = (weight * (model.value - self._mean[:, phase]) ** 2).sum(1)
        own = np.divide(1, self._total, out=np.full_like(self._total, np.inf), where=seen)
        u = 1 / (self._omega2[:, None] + own[:, None, :])  # (day, weekday, place); 0 where a place has no window
        self._mass = u.sum(2)
        self._mu = (u * self._mean[:, None, :]).sum(2) / self._mass
        log_u = np.log(u, out=np.zeros_like(u), where=u > 0)
        log_total = np.log(self._total, out=np.zeros_like(self._total), where=seen)
        apart = (u * (self._mean[:, None, :] - self._mu[:, :, None]) ** 2).sum(2)
        self._log = 0.5 * (np.log(weight).sum(1) - rest - log_total.sum(1))[:, None]
        self._log = self._log + 0.5 * (log_u.sum(2) - apart - np.log(self._mass))
        if weekday is not None:
            self._log = self._log + np.log(np.maximum(weekday.mass, 1e-300))
        self.by_day = logsumexp(self._log, axis=1)

    def posterior(self, prior: DayEffect, draws: int, rng: np.random.Generator) -> Posterior:
        """Draws of centre, weekday effects and spreads under a prior on the grid of `day`."""
        model, places = self.model, self._total.shape[1]
        log_post = self._log + np.log(np.maximum(prior.mass, 1e-300))[:, None]
        chance = np.exp(log_post - log_post.max())
        i, j = np.unravel_index(systematic(chance.ravel(), draws, rng), chance.shape)
        theta = self._centers(i, j, rng)
        s2 = self._within[i]
        if model.known and np.isfinite(model.freedom):
            s2 = s2 * (model.freedom / rng.chisquare(model.freedom, draws))
        plug = theta.mean(0)
        sampling, day = s2.astype(np.float32), self._between[i].astype(np.float32)
        offset = np.ascontiguousarray((theta - plug).T, dtype=np.float32)
        bend = (_skew(plug, model) / 6).astype(np.float32)

        def deviations(n: np.ndarray, where: np.ndarray, noise: Noise, pick: np.ndarray | None = None) -> np.ndarray:
            within, between, apart = (
                (sampling, day, offset) if pick is None else (sampling[pick], day[pick], offset[:, pick])
            )
            size, place = n.astype(np.float32)[:, None], where % places
            sampled = within / size
            variance = between + sampled
            out = np.sqrt(variance) * noise.normal
            if bend.any():
                share = sampled / variance
                out += bend[place, None] / np.sqrt(size) * share * np.sqrt(sampled) * (noise.normal**2 - 1)
            return out + apart[place]

        unsure = self._between[i] if model.known else s2
        each = float(theta.var(0).mean())
        place = max(each - float(theta.mean(1).var()), 0.0) * places / (places - 1) if places > 1 else 0.0
        yardstick = Yardstick(
            float(unsure.mean()), trust(unsure), float(s2.mean()) if model.known else 0.0, max(each - place, 0.0), place,
            float(np.mean(1 / model.n)), per_answer=not model.known,
        )  # fmt: skip
        return Posterior(plug, yardstick, deviations, draws, summary(np.sqrt(self._between[i])))

    def _centers(self, i: np.ndarray, j: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Centre per draw and place in the season, given the indices of the spreads."""
        draws, places = len(i), self._total.shape[1]
        middle = self._mu[i, j] + rng.standard_normal(draws) / np.sqrt(self._mass[i, j])
        theta = np.repeat(middle[:, None], places, axis=1)
        some = self._omega2[j] > 0
        if places == 1 or not some.any():
            return theta
        pull = 1 / self._omega2[j[some], None]
        total = self._total[i[some]]
        center = (self._mean[i[some]] * total + middle[some, None] * pull) / (total + pull)
        theta[some] = center + rng.standard_normal(center.shape) / np.sqrt(total + pull)
        return theta


def _skew(center: np.ndarray, model: Scores) -> np.ndarray:
    """Skewness of a single score: of the Beta with the same mean and variance on the scale."""
    if not (model.known and np.isfinite(model.high - model.low) and model.s2 > 0):
        return np.zeros(len(center))
    width = model.high - model.low
    mean = np.clip((center - model.low) / width, 0.005, 0.995)
    size = np.maximum(mean * (1 - mean) / min(model.s2 / width**2, 0.249), 1.01) - 1
    return 2 * (1 - 2 * mean) * np.sqrt(size + 1) / ((size + 2) * np.sqrt(mean * (1 - mean)))
