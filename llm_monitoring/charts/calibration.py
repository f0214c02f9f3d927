"""The statistic of the predictive chart, and its limit: the quantile of its extremes over simulated streams.

The centre line is frozen. The variance between windows is not: it starts from the baseline and is learned on from the
squared differences of neighbouring windows *before* the one judged, each capped, so that a value is never part of its
own yardstick, a step counts once and a ramp hardly at all. Simulated streams go through the same rule.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from llm_monitoring.charts.posterior import Posterior, Yardstick

CAP = 9.0


def kernel(lambdas: tuple[float, ...], horizon: int) -> np.ndarray:
    """Weights of EWMAs started at 0: (lambda, t, s) -> lambda (1 - lambda)^(t - s) for s <= t."""
    age = np.arange(horizon)[:, None] - np.arange(horizon)[None, :]
    decay = np.array(lambdas)[:, None, None]
    return np.where(age >= 0, decay * (1 - decay) ** np.maximum(age, 0), 0.0)


def simulate(
    posterior: Posterior, lambdas: tuple[float, ...], n: np.ndarray, phase: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Streams with nothing wrong: weighted EWMAs and their sd, (lambda, t, draw), and their rise per unit of shift."""
    charted = n > 0
    size, place = n[charted], phase[charted]
    yardstick = posterior.yardstick
    error = posterior.deviations(size, place, _normals(len(size), draws, seed)).astype(np.float32)
    weigh = kernel(lambdas, len(n))[:, charted][:, :, charted]
    weight = 1 / yardstick.variance(size)
    slope = weigh * weight
    share = 1 / size if yardstick.per_answer else np.ones(len(size))
    shared = weigh**2 @ (weight**2 * share)
    sampled = weigh**2 @ (weight**2 * yardstick.sampling / size)
    reach = (weigh @ weight) ** 2
    between = learned(error, size, yardstick)
    # Variance of the sums, linear in the variance between windows: center_variance is too.
    middle = center_variance(yardstick, np.array([0.0, yardstick.between or 1.0]))
    rise = (middle[1] - middle[0]) / (yardstick.between or 1.0)
    fixed, moving = sampled + middle[0] * reach, shared + rise * reach
    sums = slope.reshape(-1, len(size)).astype(np.float32) @ error
    variance = between * moving.astype(np.float32)[:, :, None] + fixed.astype(np.float32)[:, :, None]
    return sums.reshape(variance.shape), np.sqrt(variance, out=variance), slope


def learned(error: np.ndarray, n: np.ndarray, yardstick: Yardstick) -> np.ndarray:
    """Variance between windows as known at each window, from the baseline and the windows before it, (t, draw)."""
    found = np.full(error.shape, yardstick.between, dtype=error.dtype)
    if len(n) < 3:
        return found
    share = 1 / n if yardstick.per_answer else np.ones(len(n))
    sampled, shared = yardstick.sampling * (1 / n[1:] + 1 / n[:-1]), share[1:] + share[:-1]
    expected = yardstick.between * shared + sampled
    precision = shared**2 / (3 * expected**2)
    rate, most = (precision / shared).astype(error.dtype)[:, None], (CAP * expected).astype(error.dtype)[:, None]
    square = np.minimum(np.diff(error, axis=0) ** 2, most) - sampled.astype(error.dtype)[:, None]
    total = np.cumsum(rate * square, axis=0)[:-1] + error.dtype.type(yardstick.trust * yardstick.between)
    found[2:] = total / (yardstick.trust + np.cumsum(precision)[:-1, None]).astype(error.dtype)
    return np.maximum(found, error.dtype.type(floor(yardstick)))


def floor(yardstick: Yardstick) -> float:
    """The variance between windows is never learned to be less than this."""
    return 0.25 * yardstick.between if yardstick.per_answer else 0.0


def center_variance(yardstick: Yardstick, between):
    """Variance of the centre line, in step with the variance of a window."""
    share = yardstick.mean_inverse_n if yardstick.per_answer else 1.0
    sampled = yardstick.sampling * yardstick.mean_inverse_n
    return yardstick.center * (between * share + sampled) / (yardstick.between * share + sampled)


def extreme(statistics: np.ndarray, direction: str) -> np.ndarray:
    """Per draw, the largest statistic over lambdas and windows."""
    sided = np.abs(statistics) if direction == "both" else statistics if direction == "up" else -statistics
    return sided.max(axis=(0, 1))


def upper_quantile(extremes: np.ndarray, alpha: float, enough: int = 50) -> float:
    """The value exceeded with probability alpha; beyond `enough` exceedances a generalised Pareto tail goes on."""
    if alpha * len(extremes) >= enough:
        return float(np.quantile(extremes, 1 - alpha))
    ordered = np.sort(extremes)
    tail = min(max(len(ordered) // 20, 50), 500)
    threshold, excess = ordered[-tail - 1], ordered[-tail:] - ordered[-tail - 1]
    first = excess.mean()
    second = (excess * (1 - (np.arange(1, tail + 1) - 0.35) / tail)).mean()
    shape = float(np.clip(2 - first / max(first - 2 * second, 1e-12), -0.2, 0.5))  # Hosking and Wallis 1987
    ratio = tail / len(ordered) / alpha
    growth = np.log(ratio) if abs(shape) < 1e-6 else (ratio**shape - 1) / shape
    return float(threshold + first * (1 - shape) * growth)


def smallest_seen(
    sums: np.ndarray,
    scale: np.ndarray,
    slope: np.ndarray,
    limit: float,
    sign: int,
    *,
    within: int = 7,
    chance: float = 0.8,
) -> float:
    """The shift after ten quiet windows that crosses the limit within so many windows, with the chance given."""
    until = min(10 + within, sums.shape[1])
    start = max(min(10, until - within), 0)
    rise = np.maximum(slope[:, start:until, start:].sum(axis=2), 1e-300)[:, :, None]
    needed = (limit * scale[:, start:until] - sign * sums[:, start:until]) / rise
    return float(np.quantile(np.maximum(needed.min(axis=(0, 1)), 0), chance))


@lru_cache(maxsize=8)
def _normals(horizon: int, draws: int, seed: int) -> np.ndarray:
    normals = np.random.default_rng([seed, horizon]).standard_normal((horizon, draws), dtype=np.float32)
    normals.setflags(write=False)
    return normals
