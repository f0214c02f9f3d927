"""Rates per window: beta-binomial shares, or negative binomial counts; the day effect is a coefficient of variation."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, gammaln, logit, logsumexp

from llm_monitoring.charts.posterior import DayEffect, Noise, Posterior, Yardstick, summary, systematic, trust

EXACT = 6.0


class RateEvidence:
    """What events among n answers say about rate and day effect, before the prior of the day effect is weighed in.

    Jeffreys' prior for the rate, so that no event at all in the baseline is no special case. Of shares above a half the
    other outcome is modelled: the day effect is a coefficient of variation of the rarer of the two.

    Attributes
    ----------
    day : DayEffect
        Default prior of the day's coefficient of variation.
    by_day : array
        Log marginal likelihood at each point of its grid.
    """

    def __init__(self, events: np.ndarray, n: np.ndarray, day: DayEffect, counts: bool = False) -> None:
        self.day, self.counts = day, counts
        self._flip = not counts and 2 * events.sum() > n.sum()
        events = n - events if self._flip else events
        self._rate = _rate_grid(events, n, counts)
        self._inverse_n = float(np.mean(1 / n))
        rate, like = self._rate, _negative_binomial if counts else _beta_binomial
        self._step = np.gradient(np.log(rate) if counts else logit(rate))
        jeffreys = np.log(self._step) + (0.5 * np.log(rate) if counts else 0.5 * np.log(rate * (1 - rate)))
        self._log = like(events, n, rate[:, None], day.grid[None, :]) + jeffreys[:, None]
        self.by_day = logsumexp(self._log, axis=0)

    def posterior(self, prior: DayEffect, draws: int, rng: np.random.Generator) -> Posterior:
        """Draws of rate and day effect under a prior on the grid of `day`."""
        log_post = self._log + np.log(np.maximum(prior.mass, 1e-300))
        chance = np.exp(log_post - log_post.max())
        i, j = np.unravel_index(systematic(chance.ravel(), draws, rng), chance.shape)
        within = self._step[i] * (rng.random(draws) - 0.5)  # rates between the points of the grid
        p = np.exp(np.log(self._rate[i]) + within) if self.counts else expit(logit(self._rate[i]) + within)
        c = self.day.grid[j]
        center, jitter = float(p.mean()), np.sqrt(np.log1p(c**2))
        usual, spread = (p / (1 + c**2) ** 0.5).astype(np.float32), jitter.astype(np.float32)

        def deviations(n: np.ndarray, where: np.ndarray, noise: Noise, pick: np.ndarray | None = None) -> np.ndarray:
            median, sigma = (usual, spread) if pick is None else (usual[pick], spread[pick])
            level = median * np.exp(sigma * noise.other)
            size = n.astype(np.float32)[:, None]
            found = _events(level, size, noise, self.counts) / size - np.float32(center)
            return -found if self._flip else found

        unsure = (c * p) ** 2
        yardstick = Yardstick(
            float(unsure.mean()), trust(unsure), center * (1 if self.counts else 1 - center), float(p.var()), 0.0,
            self._inverse_n,
        )  # fmt: skip
        return Posterior(np.array([1 - center if self._flip else center]), yardstick, deviations, draws, summary(c))


def _events(level: np.ndarray, n: np.ndarray, noise: Noise, counts: bool) -> np.ndarray:
    """Events in windows of n: exact where fewer than `EXACT` are expected, a corrected and rounded normal above.

    The normal differs in 2 of 100 windows, by one.
    """
    level = level if counts else np.minimum(level, np.float32(1 - 1e-6))
    mean = level * n
    sparse = mean < EXACT
    many = ~sparse.all(axis=1)
    out = np.empty_like(mean)
    out[many] = _rounded_normal(level[many], mean[many], noise.normal[many], counts)
    few = np.flatnonzero(sparse)  # places and no mask, which would be gone through for every array anew
    if len(few):
        size = np.repeat(n.ravel(), sparse.sum(axis=1))
        out.ravel()[few] = _inverted(noise.uniform.ravel()[few], mean.ravel()[few], size, counts)
    return out if counts else np.clip(out, 0, n, out=out)


def _rounded_normal(level: np.ndarray, mean: np.ndarray, normal: np.ndarray, counts: bool) -> np.ndarray:
    variance = mean if counts else np.maximum(mean * (1 - level), 1e-12)
    skew = (1 if counts else 1 - 2 * level) / 6
    return np.rint(mean + np.sqrt(variance) * normal + skew * (normal**2 - 1))


def _inverted(u: np.ndarray, mean: np.ndarray, n: np.ndarray, counts: bool) -> np.ndarray:
    """Smallest k with P(X <= k) >= u for Poisson or binomial X, all at once, the sums built up term by term.

    Only windows that have not reached their u yet are carried on.
    """
    size = np.maximum(np.rint(n), 1)
    term = np.exp(-mean) if counts else _none_of(mean / n, size)
    out = np.zeros_like(mean)
    left = np.flatnonzero(u > term)
    rest, term, mean, size, n = (u - term)[left], term[left], mean[left], size[left], n[left]
    odds = mean if counts else mean / np.maximum(n - mean, np.float32(1e-6))
    for k in range(1, 101):
        out[left] = k
        term = term * odds * (np.float32(1 / k) if counts else np.maximum(size - np.float32(k - 1), 0) / np.float32(k))
        rest = rest - term
        more = np.flatnonzero(rest > 0)
        if not len(more):
            break
        left, rest, term, odds, size = left[more], rest[more], term[more], odds[more], size[more]
    return out


def _none_of(rate: np.ndarray, n: np.ndarray) -> np.ndarray:
    """(1 - rate)^n in single precision, also of tiny rates and huge n."""
    square = rate**2
    lost = rate + square * (0.5 + rate * np.float32(1 / 3) + 0.25 * square)
    large = np.flatnonzero(rate >= 0.05)
    lost[large] = -np.log1p(-rate[large])
    return np.exp(-n * lost)


def _rate_grid(events: np.ndarray, n: np.ndarray, counts: bool) -> np.ndarray:
    """33 rates from 8 standard errors below the estimate to 6.5 above, on the log or logit scale."""
    total, size = events.sum() + 0.5, n.sum() + (0 if counts else 1)
    steps = np.linspace(-8, 6.5, 33)
    if counts:
        between = np.var(events / n) / len(n) / (total / size) ** 2 if len(n) > 1 else 0
        return np.exp(np.log(total / size) + steps * max(np.sqrt(1 / total), np.sqrt(between)))
    share = total / size
    between = np.var(events / n) / len(n) / (share * (1 - share)) ** 2
    spread = max(np.sqrt(1 / (size * share * (1 - share))), np.sqrt(between))
    return expit(np.clip(logit(share) + steps * spread, -34, 34))


def _beta_binomial(k: np.ndarray, n: np.ndarray, p: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Log likelihood over windows for each rate p and coefficient of variation c of the day's rate."""
    rho = np.clip(c**2 * p / (1 - p), 0, 0.9)
    size = np.where(rho > 0, (1 - rho) / np.maximum(rho, 1e-12), 1e12)
    alpha, beta = p * size, (1 - p) * size
    mixed = _sum_gammaln(k, alpha) + _sum_gammaln(n - k, beta) - _sum_gammaln(n, size)
    mixed -= len(k) * (gammaln(alpha) + gammaln(beta) - gammaln(size))
    plain = k.sum() * np.log(p) + (n - k).sum() * np.log1p(-p)
    return np.where(rho > 1e-9, mixed, plain)


def _negative_binomial(k: np.ndarray, n: np.ndarray, rate: np.ndarray, c: np.ndarray) -> np.ndarray:
    shape = np.where(c > 0, 1 / np.maximum(c, 1e-6) ** 2, 1.0)
    mean = rate[..., None] * n
    wide = shape[..., None]
    mixed = _sum_gammaln(k, shape) - len(k) * gammaln(shape)
    mixed = mixed + (k * np.log(mean / (mean + wide)) - wide * np.log1p(mean / wide)).sum(-1)
    plain = (k * np.log(mean) - mean).sum(-1)
    return np.where(c > 0, mixed, plain)


def _sum_gammaln(counts: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Sum over windows of log gamma(count + offset), equal counts reckoned once."""
    value, times = np.unique(counts, return_counts=True)
    return gammaln(value + offset[..., None]) @ times
