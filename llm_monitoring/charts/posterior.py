"""What a baseline says about the stream to come: draws of centre and day effect, given few windows. No limits here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import betaln, expit, gammaln, logit, logsumexp
from scipy.stats import t as student

GRID = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.8, 1, 1.3, 1.7, 2.2, 3, 4, 5.5, 7.5, 10, 14, 20])
SPIKE, TAIL, DISCOUNT = 0.3, 2.0, 0.4


@dataclass(frozen=True)
class DayEffect:
    """Prior of the sd of the day effect: a grid (in the measure's unit or as coefficient of variation), and its mass."""

    grid: np.ndarray
    mass: np.ndarray

    @classmethod
    def default(cls, scale: float, spike: float = SPIKE, tail: float = TAIL) -> DayEffect:
        """No day effect with probability `spike`, else half-t with `tail` degrees of freedom and the scale."""
        edges = np.r_[0, (GRID[1:] + GRID[:-1]) / 2, np.inf]
        slab = np.diff(student.cdf(edges, tail))
        slab /= slab.sum()
        return cls(scale * GRID, (1 - spike) * slab + spike * (GRID == 0))


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
        Variance of the centre line.
    mean_inverse_n : float
        Mean of 1 / n over the baseline.
    per_answer : bool
    """

    between: float
    trust: float
    sampling: float
    center: float
    mean_inverse_n: float
    per_answer: bool = False

    def variance(self, n):
        """Of windows of n answers, as the baseline alone has it."""
        return (self.between / n if self.per_answer else self.between) + self.sampling / n


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
        (n, phase, normals (H, M)) -> simulated value minus centre, (H, M).
    prior : DayEffect
        The prior of the day effect.
    evidence : array
        Log marginal likelihood at each point of its grid.
    day_effect : tuple of float
        Mean and 5 % and 95 % quantile of the sd of the day effect.
    """

    center: np.ndarray
    yardstick: Yardstick
    deviations: Callable[..., np.ndarray]
    prior: DayEffect
    evidence: np.ndarray
    day_effect: tuple[float, float, float]

    def repeated(self, worlds: int, each: int) -> Posterior:
        """The first so many draws, each repeated: streams in worlds whose parameters are known."""
        pick = np.repeat(np.arange(worlds), each)
        return replace(self, deviations=lambda n, where, normals: self.deviations(n, where, normals, pick))


@dataclass(frozen=True)
class Scores:
    """Model of a mean per window: value = centre of the weekday + day effect + sampling error.

    `variance` is s2 (pooled within windows, on `freedom` degrees of freedom); with `known` False it is not known and
    the whole variance is learned between windows, proportional to 1 / n where n is given.
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


def scores_posterior(
    model: Scores, prior: DayEffect, weekday: DayEffect | None, draws: int, rng: np.random.Generator
) -> Posterior:
    """Posterior of centre, weekday effects and day effect on a grid, in closed form given the two spreads."""
    a, b = (prior.grid**2, np.full(len(prior.grid), model.s2)) if model.known else (0 * prior.grid, prior.grid**2)
    weight = 1 / (a[:, None] + b[:, None] / model.n)
    places = model.season if weekday is not None else 1
    phase = model.phase if weekday is not None else np.zeros(len(model.value), dtype=int)
    omega2 = weekday.grid**2 if weekday is not None else np.zeros(1)
    member = np.eye(places)[phase]
    total = weight @ member
    mean = np.divide((weight * model.value) @ member, total, out=np.zeros_like(total), where=total > 0)
    rest = (weight * (model.value - mean[:, phase]) ** 2).sum(1)
    own = np.divide(1, total, out=np.full_like(total, np.inf), where=total > 0)
    u = 1 / (omega2[:, None] + own[:, None, :])  # (day, weekday, place); 0 where a place has no window
    mass = u.sum(2)
    mu = (u * mean[:, None, :]).sum(2) / mass
    seen = u > 0
    log_u = np.log(u, out=np.zeros_like(u), where=seen)
    log_total = np.log(total, out=np.zeros_like(total), where=total > 0)
    evidence = 0.5 * (np.log(weight).sum(1) - rest - log_total.sum(1))[:, None] + 0.5 * (
        log_u.sum(2) - (u * (mean[:, None, :] - mu[:, :, None]) ** 2).sum(2) - np.log(mass)
    )
    prior_omega = np.log(np.maximum(weekday.mass, 1e-300)) if weekday is not None else np.zeros(1)
    by_day = logsumexp(evidence + prior_omega, axis=1)
    log_post = evidence + prior_omega + np.log(np.maximum(prior.mass, 1e-300))[:, None]
    chance = np.exp(log_post - logsumexp(log_post))
    i, j = np.unravel_index(_systematic(chance.ravel(), draws, rng), chance.shape)
    middle = mu[i, j] + rng.standard_normal(draws) / np.sqrt(mass[i, j])
    with np.errstate(divide="ignore"):
        pull = 1 / omega2[j]
    precision = total[i] + pull[:, None]
    fixed = np.isinf(precision)
    center = np.where(
        fixed,
        middle[:, None],
        (mean[i] * total[i] + np.where(fixed, 0, middle[:, None] * pull[:, None])) / np.where(fixed, 1, precision),
    )
    noise = rng.standard_normal(center.shape) / np.sqrt(precision)
    theta = center + noise
    if places == 1:
        theta = middle[:, None]
    s2 = b[i] * (
        model.freedom / rng.chisquare(model.freedom, draws) if model.known and np.isfinite(model.freedom) else 1.0
    )
    plug = theta.mean(0)
    tau = np.sqrt(a[i])

    day, within = a[i], s2

    def deviations(n: np.ndarray, where: np.ndarray, normals: np.ndarray, pick: Any = slice(None)) -> np.ndarray:
        place = where % places if places > 1 else np.zeros(len(where), dtype=int)
        sampled = (within[pick] / n[:, None]).astype(np.float32)
        variance = day[pick].astype(np.float32) + sampled
        bend = (_skew(plug[place], model) / np.sqrt(n) / 6).astype(np.float32)[:, None]
        share = sampled / variance
        z = normals + bend * share * np.sqrt(share) * (normals * normals - 1)
        return np.sqrt(variance) * z + (theta[pick] - plug).astype(np.float32)[:, place].T

    unsure = a[i] if model.known else b[i]
    yardstick = Yardstick(
        float(unsure.mean()), _trust(unsure), float(s2.mean()) if model.known else 0.0, float(theta.var(0).mean()),
        float(np.mean(1 / model.n)), per_answer=not model.known,
    )  # fmt: skip
    return Posterior(
        plug, yardstick, deviations, prior, by_day, (float(tau.mean()), float(np.quantile(tau, 0.05)), float(np.quantile(tau, 0.95))),
    )  # fmt: skip


def _skew(center: np.ndarray, model: Scores) -> np.ndarray:
    """Skewness of a single score: of the Beta with the same mean and variance on the scale."""
    if not (model.known and np.isfinite(model.high - model.low) and model.s2 > 0):
        return np.zeros(len(center))
    width = model.high - model.low
    mean = np.clip((center - model.low) / width, 0.005, 0.995)
    size = np.maximum(mean * (1 - mean) / min(model.s2 / width**2, 0.249), 1.01) - 1
    return 2 * (1 - 2 * mean) * np.sqrt(size + 1) / ((size + 2) * np.sqrt(mean * (1 - mean)))


def rates_posterior(
    events: np.ndarray, n: np.ndarray, prior: DayEffect, draws: int, rng: np.random.Generator, counts: bool = False
) -> Posterior:
    """Posterior of a rate and its day effect from beta-binomial (or, for counts, negative binomial) windows.

    Jeffreys' prior for the rate, so that no event at all in the baseline is no special case.
    """
    rate = _rate_grid(events, n, counts)
    like = _negative_binomial if counts else _beta_binomial
    loglik = like(events, n, rate[:, None], prior.grid[None, :])
    step = np.gradient(np.log(rate) if counts else logit(rate))
    jeffreys = np.log(step) + (0.5 * np.log(rate) if counts else 0.5 * np.log(rate * (1 - rate)))
    evidence = logsumexp(loglik + jeffreys[:, None], axis=0)
    log_post = loglik + jeffreys[:, None] + np.log(np.maximum(prior.mass, 1e-300))
    chance = np.exp(log_post - logsumexp(log_post))
    i, j = np.unravel_index(_systematic(chance.ravel(), draws, rng), chance.shape)
    p, c = rate[i], prior.grid[j]
    center = p.mean()
    jitter = np.sqrt(np.log1p(c**2))
    seed = rng.integers(2**32)

    def deviations(size: np.ndarray, where: np.ndarray, normals: np.ndarray, pick: Any = slice(None)) -> np.ndarray:
        spread = jitter[pick]
        noise = np.random.default_rng(seed)
        day = np.exp(spread * noise.standard_normal(normals.shape, dtype=np.float32) - spread**2 / 2)
        level = p[pick] * day
        level = level if counts else np.minimum(level, 1.0)
        return _sampled(level, np.broadcast_to(size[:, None], level.shape), normals, noise, counts) - center

    unsure = (c * p) ** 2
    yardstick = Yardstick(
        float(unsure.mean()), _trust(unsure), float(center * (1 if counts else 1 - center)), float(p.var()),
        float(np.mean(1 / n)),
    )  # fmt: skip
    return Posterior(
        np.array([center]), yardstick, deviations, prior, evidence, (float(c.mean()), float(np.quantile(c, 0.05)), float(np.quantile(c, 0.95))),
    )  # fmt: skip


def _sampled(
    level: np.ndarray, n: np.ndarray, normals: np.ndarray, rng: np.random.Generator, counts: bool
) -> np.ndarray:
    """Observed rates of windows: exact below 30 expected events, a corrected normal above."""
    variance = level * n * (1 if counts else 1 - level)
    skew = (1 if counts else 1 - 2 * level) / np.sqrt(np.maximum(variance, 1e-12))
    smooth = level * n + np.sqrt(variance) * (normals + skew / 6 * (normals**2 - 1))
    few = np.minimum(level, 1 if counts else 1 - level) * n < 30
    out = smooth
    if few.any():
        out[few] = rng.poisson(level[few] * n[few]) if counts else rng.binomial(n[few].round().astype(int), level[few])
    return out / n


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
    size = np.where(rho > 0, (1 - rho) / np.maximum(rho, 1e-12), 1e12)[..., None]
    alpha, beta = p[..., None] * size, (1 - p[..., None]) * size
    mixed = (betaln(k + alpha, n - k + beta) - betaln(alpha, beta)).sum(-1)
    plain = k.sum() * np.log(p) + (n - k).sum() * np.log1p(-p)
    return np.where(rho > 1e-9, mixed, plain)


def _negative_binomial(k: np.ndarray, n: np.ndarray, rate: np.ndarray, c: np.ndarray) -> np.ndarray:
    shape = np.where(c > 0, 1 / np.maximum(c, 1e-6) ** 2, 1.0)[..., None]
    mean = rate[..., None] * n
    mixed = (
        gammaln(k + shape) - gammaln(shape) + k * np.log(mean / (mean + shape)) - shape * np.log1p(mean / shape)
    ).sum(-1)
    plain = (k * np.log(mean) - mean).sum(-1)
    return np.where(c > 0, mixed, plain)


def _trust(draws: np.ndarray) -> float:
    """How firmly the stream's own variation meets what the baseline says: discounted, since posteriors have long tails."""
    return float(DISCOUNT / max(draws.var(), 1e-6 * draws.mean() ** 2, 1e-300))


def _systematic(chance: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn in proportion to `chance`, evenly spaced, in shuffled order."""
    points = (np.arange(draws) + rng.random()) / draws
    found = np.searchsorted(np.cumsum(chance) / chance.sum(), points)
    return rng.permutation(np.minimum(found, len(chance) - 1))
