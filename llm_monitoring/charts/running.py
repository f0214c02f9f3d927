"""The statistic of the predictive chart, one window at a time: plain numbers, so that its state survives JSON.

Batch and stream both go through `advance`; `calibration.simulate` is the same rule over many streams at once.
"""

from __future__ import annotations

from typing import Any

from llm_monitoring.charts.calibration import CAP, allowance
from llm_monitoring.charts.posterior import Yardstick

State = dict[str, Any]


def blank(lambdas: tuple[float, ...], places: int) -> State:
    """The state before the first window; `places` in the season that have a centre of their own.

    Per lambda: `sums` of weighted deviations, `weights` (per place), and the two parts of the variance of the sums;
    `seams`: weights since each seam. `before`: the last window; `waiting`, `learned`: what pairs of windows say about
    the variance between windows, of the newest pair and of all before it.
    """
    zero = [0.0] * len(lambdas)
    return {
        "position": None, "sums": zero, "weights": [[0.0] * places for _ in lambdas], "shared": zero, "sampled": zero,
        "seams": {}, "before": None, "waiting": [0.0, 0.0], "learned": [0.0, 0.0],
    }  # fmt: skip


def advance(
    state: State,
    yardstick: Yardstick,
    lambdas: tuple[float, ...],
    position: int,
    error: float | None,
    n: float,
    seams: list[tuple[bool, float]],
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
        for number, (passed, se) in enumerate(seams):
            after = state["seams"].setdefault(str(number), [0.0] * len(lambdas))
            after[k] = keep * after[k] + (gain if passed else 0.0)
            variance += se * se * after[k] * after[k]
        for name, value in (("sums", sums), ("weights", places), ("shared", shared), ("sampled", sampled)):
            ahead[name].append(value)
        found.append((sums, reach, wider * variance**0.5))
    state.update(ahead, position=position)
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
