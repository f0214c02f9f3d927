"""Run lengths of EWMA and CUSUM charts and the limits that follow, for normal values with known mean and sd.

The integral equation of the average run length is solved by Gauss-Legendre Nystroem collocation; limits that vary over
the first windows by the forward recursion of the density. No simulation, no tables.

References
----------
Page 1954; Roberts 1959; Lucas and Crosier 1982; Crowder 1987; Lucas and Saccucci 1990; Steiner 1999; Knoth 2003.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.errors import ConfigError, one_of, quote

SETTLED = 1e-8
STEINER = (-2 / np.log10(0.5) - 1) / 19  # narrowing is over by window 20
LIMITS = ("fixed", "exact", "fir50", "steiner")


def ewma_arl(
    lambda_: float, L: float, shift: float = 0.0, *, limits: str = "fixed", sides: int = 2, head_start: float = 0.0
) -> float:
    """Average run length of an EWMA chart, in windows, from the first window on (zero state).

    ``z_t = (1 - lambda_) z_{t-1} + lambda_ x_t`` with x_t normal, mean `shift`, sd 1. Alarm: ``|z_t| > L sd(z)``.

    Parameters
    ----------
    lambda_ : float
        Weight of the newest window, above 0, at most 1 (a Shewhart chart).
    L : float
        Limit in standard deviations of z.
    shift : float
        Mean of the values in their sd; 0 is in control.
    limits : str
        "fixed" (sd of z in the long run), "exact" (of z at t), "fir50" (two EWMAs started half way to the limit, Lucas
        and Saccucci) or "steiner" (exact limits, narrowed at first).
    sides : int
        2, or 1: only upwards, with z held at 0 or above.
    head_start : float
        Start of the EWMA (sides 2: of two EWMAs, up and down) in sd of z in the long run; 0 is the centre.

    Returns
    -------
    float

    >>> round(ewma_arl(0.1, 2.814), 1)          # Lucas and Saccucci 1990: 500
    499.6
    """
    return ewma_run_length(lambda_, L, shift, limits=limits, sides=sides, head_start=head_start).mean


def ewma_limit(lambda_: float, arl0: float, *, limits: str = "fixed", sides: int = 2, head_start: float = 0.0) -> float:
    """Limit L (in sd of the EWMA) with which the in-control average run length is `arl0` windows.

    Parameters
    ----------
    lambda_ : float
        Weight of the newest window, above 0, at most 1.
    arl0 : float
        Windows per false alarm, above 1.
    limits, sides, head_start
        As for `ewma_arl`.

    Returns
    -------
    float

    Examples
    --------
    >>> round(ewma_limit(0.1, 500), 3)          # Lucas and Saccucci 1990: 2.814
    2.814
    """
    _check_arl0(arl0)
    _check_head_start(head_start, np.inf, "the limit")

    def surplus(L: float) -> float:
        return np.log(ewma_arl(lambda_, L, limits=limits, sides=sides, head_start=min(head_start, L)) / arl0)

    return _root(surplus, 1.0)


def cusum_arl(k: float, h: float, shift: float = 0.0, *, sides: int = 2, head_start: float = 0.0) -> float:
    """Average run length of a CUSUM chart, in windows, from the first window on.

    S_t = max(0, S_{t-1} + x_t - k), alarm where S_t > h; with sides = 2 a second one downwards.

    Parameters
    ----------
    k, h : float
        Reference value and limit, in sd of the values.
    shift : float
        Mean of the values in their sd.
    sides : int
        1 or 2.
    head_start : float
        Start of the sums; h / 2 is the usual fast initial response.

    >>> round(cusum_arl(0.5, 4), 1)             # Lucas and Crosier 1982: 168
    167.7
    """
    _check_sides(sides)
    _check_above(("k", k, -np.inf), ("h", h, 0.0), ("shift", shift, -np.inf))
    _check_head_start(head_start, h, "h")
    up, up_late = _cusum_side(k, h, shift, head_start)
    if sides == 1:
        return up_late
    down, down_late = _cusum_side(k, h, -shift, head_start)
    return (up_late * down + down_late * up - up * down) / (up + down)


def cusum_limit(k: float, arl0: float, *, sides: int = 2, head_start: float = 0.0) -> float:
    """Limit h with which the in-control average run length of a CUSUM with reference `k` is `arl0` windows.

    Parameters
    ----------
    k : float
        Reference value in sd: half of the shift to be found.
    arl0 : float
        Windows per false alarm, above 1.
    sides, head_start
        As for `cusum_arl`.

    Returns
    -------
    float

    Examples
    --------
    >>> round(cusum_limit(0.5, 370), 2)         # Montgomery: 4.77 for 370
    4.77
    """
    _check_arl0(arl0)
    _check_head_start(head_start, np.inf, "the limit")
    if not is_number(k, least=0):
        raise ConfigError(f"k={quote(k)}; expected a number of 0 or more")

    def surplus(h: float) -> float:
        return np.log(cusum_arl(k, h, sides=sides, head_start=min(head_start, h)) / arl0)

    return _root(surplus, 1.0)


@dataclass(frozen=True)
class RunLength:
    """Distribution of the windows until the first alarm.

    Attributes
    ----------
    mean, sd : float
        In windows.
    """

    mean: float
    sd: float
    _survival: Callable[[], Iterator[float]]
    _steady: Callable[[], float]

    @property
    def steady_state(self) -> float:
        """Mean run length of a change that comes after a long quiet time without alarm."""
        return self._steady()

    def survival(self, windows: int) -> float:
        """Probability of no alarm in the first so many windows."""
        expect(is_whole(windows), "RunLength.survival", "a whole number of windows, 0 or more", windows=windows)
        return next(s for t, s in enumerate(self._survival()) if t == windows)

    def quantile(self, q: float) -> int:
        """Smallest number of windows by which an alarm has come with probability q."""
        expect(is_number(q, above=0, below=1), "RunLength.quantile", "a probability between 0 and 1", q=q)
        last = 1.0
        for t, alive in enumerate(self._survival()):
            if alive <= 1 - q:
                return t
            if t > 400 and alive > 0:
                return t + int(np.ceil(np.log((1 - q) / alive) / np.log(alive / last) - 1e-9))
            last = alive
        return t


def ewma_run_length(
    lambda_: float, L: float, shift: float = 0.0, *, limits: str = "fixed", sides: int = 2, head_start: float = 0.0
) -> RunLength:
    """Mean, sd, quantiles and steady state of an EWMA's run length. Parameters as for `ewma_arl`.

    >>> run = ewma_run_length(0.2, 2.962)
    >>> round(run.mean), run.quantile(0.5)
    (500, 348)
    """
    _check_sides(sides)
    one_of("ewma_arl(limits)", limits, LIMITS)
    _check_above(("L", L, 0.0), ("lambda_", lambda_, 0.0), ("shift", shift, -np.inf))
    if lambda_ > 1:
        raise ConfigError(f"lambda_={quote(lambda_)}; expected a number above 0, at most 1")
    _check_head_start(head_start, L, "L")
    unit = np.sqrt(lambda_ / (2 - lambda_))
    if limits == "fir50":
        head_start = L / 2
    chain = _Chain(1 - lambda_, lambda_, shift, sides, L * unit)
    # Two EWMAs started at plus and minus the head start are one EWMA with limits that open.
    if sides == 2 and head_start:
        return _varying(chain, _narrowed(lambda_, L, unit, limits, head_start), 0.0)
    if limits in ("exact", "steiner"):
        return _varying(chain, _narrowed(lambda_, L, unit, limits, 0.0), head_start * unit)
    return _constant(chain, head_start * unit)


def cusum_run_length(k: float, h: float, shift: float = 0.0, *, head_start: float = 0.0) -> RunLength:
    """Mean, sd, quantiles and steady state of a one-sided CUSUM's run length. Parameters as for `cusum_arl`.

    >>> round(cusum_run_length(0.5, 3, 0.5).mean, 2)          # Waldmann 1986: 17.35
    17.35
    """
    _check_above(("k", k, -np.inf), ("h", h, 0.0), ("shift", shift, -np.inf))
    _check_head_start(head_start, h, "h")
    return _constant(_Chain(1.0, 1.0, shift - k, 1, h, shift=shift), head_start)


@dataclass(frozen=True)
class _Chain:
    """z' = keep z + gain (x + drift), x standard normal, on [-reach, reach] or, one-sided, held at 0 or above."""

    keep: float
    gain: float
    drift: float
    sides: int
    reach: float
    shift: float | None = None

    def nodes(self, reach: float) -> tuple[np.ndarray, np.ndarray]:
        low = -reach if self.sides == 2 else 0.0
        order = int(np.clip(24 + 2.5 * (reach - low) / self.gain, 32, 600))
        points, weights = _legendre(order)
        points, weights = low + (points + 1) / 2 * (reach - low), weights * (reach - low) / 2
        return (points, weights) if self.sides == 2 else (np.r_[0.0, points], np.r_[0.0, weights])

    def step(
        self, start: np.ndarray, points: np.ndarray, weights: np.ndarray, drift: float | None = None
    ) -> np.ndarray:
        drift = self.drift if drift is None else drift
        x = (points - self.keep * start[:, None]) / self.gain - drift
        move = np.exp(-0.5 * x * x) * (weights / (self.gain * np.sqrt(2 * np.pi)))
        if self.sides == 1:
            move[:, 0] = ndtr(x[:, 0])
        return move


@lru_cache(maxsize=64)
def _legendre(order: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(order)


def _constant(chain: _Chain, start: float) -> RunLength:
    points, weights = chain.nodes(chain.reach)
    move = chain.step(points, points, weights)
    first, second = _moments(move)
    begin = chain.step(np.array([start]), points, weights)[0]
    mean = 1 + begin @ first
    twice = 1 + begin @ first + begin @ second

    def survival() -> Iterator[float]:
        yield 1.0
        mass = begin
        while True:
            yield float(mass.sum())
            mass = mass @ move

    return RunLength(float(mean), _sd(mean, 2 * twice - mean), survival, lambda: _steady(chain, points, weights, first))


def _varying(chain: _Chain, limits: Callable[[int], float], start: float) -> RunLength:
    points, weights = chain.nodes(chain.reach)
    first, second = _moments(chain.step(points, points, weights))

    def masses() -> Iterator[np.ndarray]:
        here, t = np.array([start]), 1
        mass = np.ones(1)
        while True:
            reach = limits(t)
            settled = abs(reach / chain.reach - 1) < SETTLED
            there = (points, weights) if settled else chain.nodes(reach)
            mass = mass @ chain.step(here, *there)
            yield mass
            here, t = there[0], t + 1
            if settled:
                break
        move = chain.step(points, points, weights)
        while True:
            mass = mass @ move
            yield mass

    total, square = 1.0, 1.0
    for t, mass in enumerate(masses(), start=1):
        if abs(limits(t) / chain.reach - 1) < SETTLED:
            break
        total, square = total + mass.sum(), square + (2 * t + 1) * mass.sum()
    ahead, later = mass @ first, mass @ second
    mean = total + ahead
    square += (2 * t - 1) * ahead + 2 * later

    def survival() -> Iterator[float]:
        yield 1.0
        for mass in masses():
            yield float(mass.sum())

    return RunLength(float(mean), _sd(mean, square), survival, lambda: _steady(chain, points, weights, first))


def _moments(move: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of survival, and of (t + 1) times survival, from each node on."""
    system = np.eye(len(move)) - move
    first = np.linalg.solve(system, np.ones(len(move)))
    return first, np.linalg.solve(system, first)


def _steady(chain: _Chain, points: np.ndarray, weights: np.ndarray, first: np.ndarray) -> float:
    """Mean run length from the quiet state that an in-control chart without alarm settles in."""
    shift = chain.drift if chain.shift is None else chain.shift
    quiet = chain.step(points, points, weights, drift=chain.drift - shift)
    mass = np.full(len(points), 1 / len(points))
    for _ in range(10_000):
        ahead = mass @ quiet
        ahead /= ahead.sum()
        if np.abs(ahead - mass).max() < 1e-12:
            break
        mass = ahead
    return float(mass @ first)


def _narrowed(lambda_: float, L: float, unit: float, limits: str, head_start: float) -> Callable[[int], float]:
    def reach(t: int) -> float:
        width = L * unit
        if limits in ("exact", "steiner"):
            width *= np.sqrt(1 - (1 - lambda_) ** (2 * t))
        if limits == "steiner":
            width *= 1 - 0.5 ** (1 + STEINER * (t - 1))
        return max(width - head_start * unit * (1 - lambda_) ** t, 1e-9)

    return reach


def _cusum_side(k: float, h: float, shift: float, head_start: float) -> tuple[float, float]:
    chain = _Chain(1.0, 1.0, shift - k, 1, h)
    points, weights = chain.nodes(h)
    first = np.linalg.solve(np.eye(len(points)) - chain.step(points, points, weights), np.ones(len(points)))
    late = 1 + chain.step(np.array([head_start]), points, weights)[0] @ first
    return float(first[0]), float(late)


def _sd(mean: float, square: float) -> float:
    return float(np.sqrt(max(square - mean**2, 0)))


def _root(surplus: Callable[[float], float], start: float) -> float:
    """Where the rising function crosses 0: bracket by doubling, then Brent."""
    low, high = start, start
    while surplus(high) < 0:
        low, high = high, high * 1.5
    while surplus(low) > 0:
        low, high = low / 2, low
        if low < 1e-6:
            raise ConfigError("arl0 is shorter than any limit above 0 gives; expected a longer one")
    return float(brentq(surplus, low, high, xtol=1e-9, rtol=1e-10))


def _check_arl0(arl0: float) -> None:
    if not is_number(arl0, above=1):
        raise ConfigError(f"arl0={quote(arl0)}; expected a number of windows above 1")


def _check_sides(sides: int) -> None:
    if sides not in (1, 2):
        raise ConfigError(f"sides={quote(sides)}; expected 1 or 2")


def _check_above(*parameters: tuple[str, float, float]) -> None:
    for name, value, least in parameters:
        if not is_number(value, above=least):
            bound = "" if least == -np.inf else f" above {least:g}"
            raise ConfigError(f"{name}={quote(value)}; expected a finite number{bound}")


def _check_head_start(head_start: float, limit: float, name: str) -> None:
    if not is_number(head_start, least=0, most=limit):
        raise ConfigError(f"head_start={quote(head_start)}; expected a number from 0 to {name}")
