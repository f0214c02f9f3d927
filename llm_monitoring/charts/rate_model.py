"""Rates per window: beta-binomial shares, or negative binomial counts; the day effect is a coefficient of variation."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, gammaln, logit, logsumexp, ndtr

from llm_monitoring.charts.posterior import DayEffect, Posterior, Yardstick, summary, systematic, trust

EXACT = 12.0


class RateEvidence:
    """What events among n answers say about rate and day effect, before the prior of the day effect is weighed in.

    Jeffreys' prior for the rate, so that no event at all in the baseline is no special case.

    Attributes
    ----------
    day : DayEffect
        Default prior of the day's coefficient of variation.
    by_day : array
        Log marginal likelihood at each point of its grid.
    """

    def __init__(self, events: np.ndarray, n: np.ndarray, day: DayEffect, counts: bool = False) -> None:
        self.day, self.counts = day, counts
        self._rate = _rate_grid(events, n, counts)
        self._inverse_n = float(np.mean(1 / n))
        rate, like = self._rate, _negative_binomial if counts else _beta_binomial
        step = np.gradient(np.log(rate) if counts else logit(rate))
        jeffreys = np.log(step) + (0.5 * np.log(rate) if counts else 0.5 * np.log(rate * (1 - rate)))
        self._log = like(events, n, rate[:, None], day.grid[None, :]) + jeffreys[:, None]
        self.by_day = logsumexp(self._log, axis=0)

    def posterior(self, prior: DayEffect, draws: int, rng: np.random.Generator) -> Posterior:
        """Draws of rate and day effect under a prior on the grid of `day`."""
        log_post = self._log + np.log(np.maximum(prior.mass, 1e-300))
        chance = np.exp(log_post - log_post.max())
        i, j = np.unravel_index(systematic(chance.ravel(), draws, rng), chance.shape)
        p, c = self._rate[i], self.day.grid[j]
        center, jitter = float(p.mean()), np.sqrt(np.log1p(c**2))

        def deviations(
            n: np.ndarray, where: np.ndarray, normals: np.ndarray, others: np.ndarray, pick: np.ndarray | None = None
        ) -> np.ndarray:
            usual, spread = (p, jitter) if pick is None else (p[pick], jitter[pick])
            level = usual * np.exp(spread * others - spread**2 / 2)
            level = level if self.counts else np.minimum(level, 1.0)
            size = np.broadcast_to(n[:, None], level.shape)
            return (_events(level, size, normals, self.counts) / size - center).astype(np.float32)

        unsure = (c * p) ** 2
        yardstick = Yardstick(
            float(unsure.mean()), trust(unsure), center * (1 if self.counts else 1 - center), float(p.var()), 0.0,
            self._inverse_n,
        )  # fmt: skip
        return Posterior(np.array([center]), yardstick, deviations, draws, summary(c))


def _events(level: np.ndarray, n: np.ndarray, normals: np.ndarray, counts: bool) -> np.ndarray:
    """Events in windows by inversion of the normal score: exact where few are expected, corrected normal above."""
    rare = level if counts else np.minimum(level, 1 - level)
    mean = rare * n
    score = normals if counts else np.where(level > rare, -normals, normals)
    variance = mean if counts else mean * (1 - rare)
    skew = (1 if counts else 1 - 2 * rare) / np.sqrt(np.maximum(variance, 1e-12))
    out = mean + np.sqrt(variance) * (score + skew / 6 * (score**2 - 1))
    few = mean < EXACT
    if few.any():
        out[few] = _inverted(ndtr(score[few].astype(float)), mean[few], n[few], counts)
    return out if counts else np.where(level > rare, n - out, out)


def _inverted(u: np.ndarray, mean: np.ndarray, n: np.ndarray, counts: bool) -> np.ndarray:
    """Smallest k with P(X <= k) >= u for Poisson or binomial X, all at once, the sums built up term by term."""
    out = np.zeros(len(u))
    left = np.arange(len(u))
    size = np.round(n)
    odds = mean if counts else mean / np.maximum(n - mean, 1e-300)
    term = np.exp(-mean) if counts else np.exp(size * np.log1p(-mean / n))
    rest = u - term
    k = 0
    while left.size and k < 200:
        more = rest > 0
        left, term, rest, odds, size = left[more], term[more], rest[more], odds[more], size[more]
        k += 1
        out[left] = k
        term = term * odds / k if counts else term * odds * np.maximum(size - k + 1, 0) / k
        rest = rest - term
    return out


def _rate_grid(events: np.ndarray, n: np.ndarray, counts: bool) -> np.ndarray:
    """67 rates from 8 standard errors below the estimate to 6.5 above, on the log or logit scale."""
    total, size = events.sum() + 0.5, n.sum() + (0 if counts else 1)
    steps = np.linspace(-8, 6.5, 67)
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
