"""The limit of the predictive chart: streams simulated from the baseline's posterior, and the quantile of their extremes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from llm_monitoring.charts.posterior import Posterior


def kernel(lambdas: tuple[float, ...], horizon: int) -> np.ndarray:
    """Weights of EWMAs started at 0: (lambda, t, s) -> lambda (1 - lambda)^(t - s) for s <= t."""
    age = np.arange(horizon)[:, None] - np.arange(horizon)[None, :]
    decay = np.array(lambdas)[:, None, None]
    return np.where(age >= 0, decay * (1 - decay) ** np.maximum(age, 0), 0.0)


def simulate(
    posterior: Posterior, lambdas: tuple[float, ...], n: np.ndarray, phase: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised statistics of streams with nothing wrong, (lambda, t, draw), and their rise per unit of shift."""
    horizon = len(n)
    weigh = kernel(lambdas, horizon)
    charted = n > 0
    size = np.where(charted, n, 1.0)
    weight = np.where(charted, 1 / (posterior.a + posterior.b / size), 0.0)
    error = posterior.deviations(size, phase, _normals(horizon, draws, seed))
    scale = np.sqrt((weigh**2) @ weight + posterior.center_variance * (weigh @ weight) ** 2)
    scale = np.where(charted[None, :] & (scale > 0), scale, np.inf)
    flat = (weigh * weight).reshape(-1, horizon) @ error
    return flat.reshape(len(lambdas), horizon, -1) / scale[:, :, None], weigh * weight / scale[:, :, None]


def extreme(statistics: np.ndarray, direction: str) -> np.ndarray:
    """Per draw, the largest statistic over lambdas and windows."""
    sided = np.abs(statistics) if direction == "both" else statistics if direction == "up" else -statistics
    return sided.max(axis=(0, 1))


def upper_quantile(extremes: np.ndarray, alpha: float, enough: int = 50) -> float:
    """The value exceeded with probability alpha; beyond `enough` exceedances a generalised Pareto tail goes on."""
    expected = alpha * len(extremes)
    if expected >= enough:
        return float(np.quantile(extremes, 1 - alpha))
    ordered = np.sort(extremes)
    tail = max(min(len(ordered) // 20, 500), 50)
    threshold, excess = ordered[-tail - 1], ordered[-tail:] - ordered[-tail - 1]
    first, second = excess.mean(), (excess * (1 - (np.arange(1, tail + 1) - 0.35) / tail)).mean()
    shape = np.clip(2 - first / max(first - 2 * second, 1e-12), -0.2, 0.5)
    scale = first * (1 - shape)
    ratio = tail / len(ordered) / alpha
    growth = np.log(ratio) if abs(shape) < 1e-6 else (ratio**shape - 1) / shape
    return float(threshold + scale * growth)


def smallest_seen(
    statistics: np.ndarray,
    rise: np.ndarray,
    limit: float,
    sign: int,
    start: int = 10,
    within: int = 7,
    chance: float = 0.8,
) -> float:
    """The shift after a quiet `start` that crosses the limit within so many windows, with the chance given."""
    until = min(start + within, statistics.shape[1])
    start = min(start, until - 1)
    slope = rise[:, start:until, start:].sum(axis=2)[:, :, None]
    needed = (limit - sign * statistics[:, start:until]) / np.maximum(slope, 1e-300)
    return float(np.quantile(np.maximum(needed.min(axis=(0, 1)), 0), chance))


@lru_cache(maxsize=8)
def _normals(horizon: int, draws: int, seed: int) -> np.ndarray:
    normals = np.random.default_rng([seed, horizon]).standard_normal((horizon, draws))
    normals.setflags(write=False)
    return normals
