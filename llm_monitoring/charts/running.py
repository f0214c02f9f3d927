"""The statistic of the predictive chart: one window at a time in plain numbers, so that its state survives JSON, or all at once.

`advance` and `run` are the same rule; `calibration.simulate` is it over many streams at once.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from llm_monitoring.charts.calibration import CAP, allowance
from llm_monitoring.charts.posterior import Yardstick

State = dict[str, Any]


def blank(lambdas: tuple[float, ...], places: int) -> State:
    """The state before the first window; `places` in the season that have a centre of their own.

    Per lambda: `sums` of weighted deviations, `weights` (per place), and the two parts of the variance of the sums;
    `seams`: weights since each seam. `day`: the last window's, with the weights of its windows (`today`), and the squares of
    those of earlier days (`days`). `before`: the last window; `waiting`, `learned`: what pairs of windows say about
    the variance between windows, of the newest pair and of all before it.
    """
    zero = [0.0] * len(lambdas)
    return {
        "position": None, "sums": zero, "weights": [[0.0] * places for _ in lambdas], "shared": zero, "sampled": zero,
        "seams": {}, "day": None, "today": zero, "days": zero, "before": None, "waiting": [0.0, 0.0], "learned": [0.0, 0.0],
    }  # fmt: skip


def advance(
    state: State,
    yardstick: Yardstick,
    lambdas: tuple[float, ...],
    position: int,
    error: float | None,
    n: float,
    seams: list[tuple[bool, float]],
    day: int = 0,
) -> list[tuple[float, float, float]]:
    """Take one window into the state.

    Parameters
    ----------
    state : dict
        As `blank` gives it; changed in place.
    position : int
        Of the window; windows between the last one and this count as missing.
    error : float or None
        Deviation from the centre line; None where the window is missing.
    n : float
        Answers in the window.
    seams : list of (bool, float)
        Whether each seam has passed, and the se of its offset.
    day : int
        Number of the window's day; it counts where windows of a day share an effect.

    Returns
    -------
    list of (sum, weight, scale)
        Per lambda: the statistic is sum / scale, and the weighted mean deviation sum / weight.
    """
    steps = 1 if state["position"] is None else max(position - state["position"], 1)
    there = error is not None
    weight, noise = (1 / yardstick.variance(n), yardstick.sampling / n) if there else (0.0, 0.0)
    share = 1 / n if yardstick.per_answer and there else 1.0
    between = _between(state, yardstick)
    ratio = yardstick.center_ratio(between)
    ahead: State = {"sums": [], "weights": [], "shared": [], "sampled": []}
    if yardstick.daily:
        ahead |= {"today": [], "days": []}
    found = []
    for k, (lambda_, wider) in enumerate(zip(lambdas, allowance(lambdas))):
        keep = (1 - lambda_) ** steps
        gain = lambda_ * weight
        places = [keep * w for w in state["weights"][k]]
        places[position % len(places)] += gain
        sums = keep * state["sums"][k] + (gain * error if error is not None else 0.0)
        shared = keep * keep * state["shared"][k] + gain * gain * share
        sampled = keep * keep * state["sampled"][k] + gain * gain * noise
        reach = sum(places)
        middle = yardstick.center * reach * reach
        if yardstick.place:
            middle += yardstick.place * sum([w * w for w in places])
        variance = between * shared + sampled + ratio * middle
        if yardstick.daily:
            same = state["day"] == day
            today = keep * state["today"][k]
            days = keep * keep * state["days"][k] + (0.0 if same else today * today)
            today = gain + (today if same else 0.0)
            variance += yardstick.daily * (days + today * today)
            ahead["today"].append(today)
            ahead["days"].append(days)
        for number, (passed, se) in enumerate(seams):
            after = state["seams"].setdefault(str(number), [0.0] * len(lambdas))
            after[k] = keep * after[k] + (gain if passed else 0.0)
            variance += se * se * after[k] * after[k]
        for name, value in (("sums", sums), ("weights", places), ("shared", shared), ("sampled", sampled)):
            ahead[name].append(value)
        found.append((sums, reach, wider * variance**0.5))
    state.update(ahead, position=position, day=day)
    if error is not None:
        _learn(state, yardstick, error, share, 1 / n)
    return found


def _between(state: State, yardstick: Yardstick) -> float:
    """Variance between windows from the baseline and the pairs of windows before this one; see `calibration.learned`."""
    total, precision = state["learned"]
    found = (yardstick.trust * yardstick.between + total) / (yardstick.trust + precision)
    return max(found, yardstick.floor)


def _learn(state: State, yardstick: Yardstick, error: float, share: float, inverse_n: float) -> None:
    """Let the pair that ended one window ago count, and keep the pair that ends here waiting."""
    state["learned"] = [state["learned"][0] + state["waiting"][0], state["learned"][1] + state["waiting"][1]]
    if state["before"] is not None:
        last, last_share, last_inverse = state["before"]
        sampled, shared = yardstick.sampling * (inverse_n + last_inverse), share + last_share
        expected = yardstick.between * shared + sampled
        precision = shared**2 / (3 * expected**2)
        square = min((error - last) ** 2, CAP * expected)
        state["waiting"] = [precision / shared * (square - sampled), precision]
    state["before"] = [error, share, inverse_n]


def run(
    yardstick: Yardstick,
    lambdas: tuple[float, ...],
    places: int,
    at: np.ndarray,
    place: np.ndarray,
    error: np.ndarray,
    n: np.ndarray,
    day: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`advance` over all windows of a stream from a blank state, without seams.

    Parameters
    ----------
    at : array
        Steps of each window since the first one; missing windows are left out of all arrays.
    place : array
        Of each window in the season.
    error, n : array
    day : array
        Number of each window's day.

    Returns
    -------
    tuple of array (lambda, window)
        sum, weight and scale.
    """
    weight = 1 / yardstick.variance(n)
    share = 1 / n if yardstick.per_answer else np.ones(len(n))
    between = _all_between(yardstick, error, share, 1 / n)
    ratio = yardstick.center_ratio(between)
    at = at - at[0]
    steps = np.zeros((at[-1] + 1, len(lambdas), places + 3))
    for k, lambda_ in enumerate(lambdas):
        gain = lambda_ * weight
        steps[at, k, place] = gain
        steps[at, k, places] = gain * error
        steps[at, k, places + 1], steps[at, k, places + 2] = gain * gain * share, gain * gain * (yardstick.sampling / n)
    keeps = np.array([[1 - lambda_] * (places + 1) + [(1 - lambda_) * (1 - lambda_)] * 2 for lambda_ in lambdas])
    for before, here in pairwise(steps):
        here += keeps * before
    found = []
    for k, (lambda_, wider) in enumerate(zip(lambdas, allowance(lambdas))):
        decayed = np.ascontiguousarray(steps[at, k].T)
        own, sums, shared, sampled = decayed[:places], decayed[places], decayed[places + 1], decayed[places + 2]
        reach = own.sum(axis=0)
        middle = yardstick.center * reach * reach
        if yardstick.place:
            middle = middle + yardstick.place * (own * own).sum(axis=0)
        variance = between * shared + sampled + ratio * middle
        if yardstick.daily:
            variance = variance + yardstick.daily * _by_day(reach, at, day, 1 - lambda_)
        found.append((sums, reach, wider * np.sqrt(variance)))
    sums, reach, scale = (np.array(part) for part in zip(*found))
    return sums, reach, scale


def _by_day(reach: np.ndarray, at: np.ndarray, day: np.ndarray, keep: float) -> np.ndarray:
    """Sum of the squares of the weights of each day, as they stand at each window; `reach` is the weight of all windows."""
    out, squares = np.empty(len(reach)), 0.0
    ends = [0, *(np.flatnonzero(np.diff(day)) + 1), len(day)]
    for first, after in pairwise(ends):
        here = slice(first, after)
        age = at[here] - (at[first - 1] if first else at[0])
        today = reach[here] - keep**age * (reach[first - 1] if first else 0.0)
        earlier = squares * keep ** (2 * age)
        out[here] = earlier + today**2
        squares = out[after - 1]
    return out


def _all_between(yardstick: Yardstick, error: np.ndarray, share: np.ndarray, inverse_n: np.ndarray) -> np.ndarray:
    """`_between` before each window: from the baseline and the pairs of windows that ended two windows ago or earlier."""
    sampled, shared = yardstick.sampling * (inverse_n[1:] + inverse_n[:-1]), share[1:] + share[:-1]
    expected = yardstick.between * shared + sampled
    precision = shared**2 / (3 * expected**2)
    square = np.minimum(np.diff(error) ** 2, CAP * expected)
    total = np.cumsum(precision / shared * (square - sampled))
    known = min(3, len(error))
    total = np.r_[np.zeros(known), total[: len(error) - known]]
    trusted = np.r_[np.zeros(known), np.cumsum(precision)[: len(error) - known]]
    found = (yardstick.trust * yardstick.between + total) / (yardstick.trust + trusted)
    return np.maximum(found, yardstick.floor)
