"""The statistic of the predictive chart, and its limit: the quantile of its extremes over simulated streams.

The centre line is frozen. The variance between windows is not: it starts from the baseline and is learned on from the
squared differences of neighbouring windows *before* the one judged, each capped, so that a value is never part of its
own yardstick, a step counts once and a ramp hardly at all. Simulated streams go through the same rule.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from llm_monitoring.charts.posterior import Noise, Posterior, Yardstick, quantiles

CAP = 9.0
QUICKER = 1.2


def simulate(
    posterior: Posterior, lambdas: tuple[float, ...], n: np.ndarray, phase: np.ndarray, seed: int, day: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Streams with nothing wrong: weighted EWMAs and their scale, (lambda, t, draw), and their rise per unit of shift.

    `phase` is the number of each window, `day` that of its day.
    """
    charted = n > 0
    size, place, yardstick = n[charted], phase[charted] % len(posterior.center), posterior.yardstick
    error = posterior.deviations(size, place, _noise(len(n), posterior.draws, seed).first(len(size)))
    if posterior.daily is not None:
        day = day[charted] - day[0]
        error = error + posterior.of_days(day, seed)
    weigh = _kernel(lambdas, len(n))[:, charted][:, :, charted]
    weight = 1 / yardstick.variance(size)
    slope = weigh * weight
    share = 1 / size if yardstick.per_answer else np.ones(len(size))
    shared = weigh**2 @ (weight**2 * share)
    sampled = weigh**2 @ (weight**2 * yardstick.sampling / size)
    same = slope @ np.eye(len(posterior.center))[place]
    reach = yardstick.center * slope.sum(2) ** 2 + yardstick.place * (same**2).sum(2)
    # Variance of the sums, linear in the variance between windows.
    start = yardstick.center_ratio(0.0)
    rise = (1 - start) / yardstick.between if yardstick.between else 0.0
    fixed, moving = sampled + start * reach, shared + rise * reach
    if posterior.daily is not None:
        fixed = fixed + yardstick.daily * ((slope @ np.eye(int(day.max()) + 1)[day]) ** 2).sum(2)
    sums = slope.reshape(-1, len(size)).astype(np.float32) @ error
    between = learned(error, size, yardstick)
    variance = between * moving.astype(np.float32)[:, :, None]
    variance += fixed.astype(np.float32)[:, :, None]
    scale = np.sqrt(variance, out=variance)
    scale *= np.array(allowance(lambdas), dtype=np.float32)[:, None, None]
    return sums.reshape(variance.shape), scale, slope


@lru_cache(maxsize=64)
def allowance(lambdas: tuple[float, ...]) -> tuple[float, ...]:
    """How much wider the limits of each EWMA are: the quicker ones are for large shifts, small ones need not pay for them.

    A lambda of 1 looks at each full window alone, for what cannot wait for the next one.
    """
    return tuple(1.0 if each in (min(lambdas), 1) else QUICKER for each in lambdas)


def learned(error: np.ndarray, n: np.ndarray, yardstick: Yardstick) -> np.ndarray:
    """Variance between windows as known at each window, from the baseline and the windows before it, (t, draw)."""
    found = np.full(error.shape, yardstick.between, dtype=np.float32)
    if len(n) < 4:
        return found
    share = 1 / n if yardstick.per_answer else np.ones(len(n))
    sampled, shared = yardstick.sampling * (1 / n[1:] + 1 / n[:-1]), share[1:] + share[:-1]
    expected = yardstick.between * shared + sampled
    precision = shared**2 / (3 * expected**2)
    # The sum of precision / shared * (min(difference^2, cap) - sampled), in units that keep single precision.
    total = np.diff(error[:-2], axis=0)
    total *= total
    np.minimum(total, (CAP * expected).astype(np.float32)[:-2, None], out=total)
    total -= sampled.astype(np.float32)[:-2, None]
    weight = yardstick.trust + np.cumsum(precision)
    total *= (precision / shared / weight[-1])[:-2].astype(np.float32)[:, None]
    for before, here in pairwise(total):  # a running sum, line by line: `cumsum` down columns takes ten times as long
        here += before
    total += np.float32(yardstick.trust * yardstick.between / weight[-1])
    total *= (weight[-1] / weight[:-2]).astype(np.float32)[:, None]
    np.maximum(total, np.float32(yardstick.floor), out=found[3:])
    return found


def extreme(sums: np.ndarray, scale: np.ndarray, direction: str) -> np.ndarray:
    """Per draw, the largest statistic over lambdas and windows."""
    statistics = sums / scale
    if direction == "both":
        return np.maximum(statistics.max(axis=(0, 1)), -statistics.min(axis=(0, 1)))
    return statistics.max(axis=(0, 1)) if direction == "up" else -statistics.min(axis=(0, 1))


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


def surely_below(extremes: np.ndarray, alpha: float) -> float:
    """What the limit is certainly above, by the extremes of a few streams: so many pass it that alpha cannot be their share.

    A stream that stays below needs no limit to be called quiet. With 500 streams and alpha 0.004 it takes 24 where 2 are due.
    """
    passing = int(12 + 6 * alpha * len(extremes))
    return float(np.sort(extremes)[-passing]) if passing <= len(extremes) else -np.inf


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
    return quantiles(np.maximum(needed.min(axis=(0, 1)), 0), chance)[0]


@lru_cache(maxsize=8)
def _kernel(lambdas: tuple[float, ...], horizon: int) -> np.ndarray:
    """Weights of EWMAs started at 0: (lambda, t, s) -> lambda (1 - lambda)^(t - s) for s <= t."""
    age = np.arange(horizon)[:, None] - np.arange(horizon)[None, :]
    decay = np.array(lambdas)[:, None, None]
    return _frozen(np.where(age >= 0, decay * (1 - decay) ** np.maximum(age, 0), 0.0))


@lru_cache(maxsize=8)
def _noise(horizon: int, draws: int, seed: int) -> Noise:
    """The same for every chart of that shape."""
    found = np.random.default_rng([seed, horizon]).standard_normal((2, horizon, draws), dtype=np.float32)
    return Noise(_frozen(found[0]), _frozen(found[1]), _frozen(ndtr(found[0])))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def draws_for(alpha: float) -> int:
    """Streams to simulate for a probability of false alarm: 25 exceedances, and the tail beyond them as fitted."""
    return int(min(max(round(25 / alpha, -2), 2000), 6000))
