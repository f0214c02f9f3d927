"""Which part of a change is other questions (mix), and which is answers that changed (within): Kitagawa's two parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llm_monitoring.incident.inference.observations import Observations, weights_of
from llm_monitoring.incident.inference.slices import counts, leaves

LOOK_BACK = ("0D", "1D", "2D", "4D", "6D")  # starts tried, before the window that alerted
SURE = 3.0  # standard errors of a mix that is found at the best of those starts


@dataclass(frozen=True)
class Mix:
    """Both parts of the change of the alert's metric, in its own unit, with standard errors.

    `explains` is the part of the harm that the mix accounts for, 0 to 1; `moved` says whether the mix part is more
    than chance and the within part is not, or the mix part is far more than chance. `level_se` is what the error of the levels
    adds to that of the mix part: `mix_se` is that of the shares.
    """

    mix_effect: float
    within_effect: float
    mix_se: float
    within_se: float
    explains: float
    moved: bool
    level_se: float = 0.0


def moved_mix(
    seen: Observations, since: pd.Timestamp, columns: tuple[str, ...] | None = None
) -> tuple[Mix, pd.Timestamp, Mix]:
    """The mix since a start, or since the day before the alert from which on it moved most, and that day; and that of the start.

    Questions move at a time of their own. The window that alerted is the one in which the answers did worst, and a start that
    was read off the answers says nothing of the questions: asked there alone, hardly any mix explains an alert.
    """
    alert = seen.alert
    first = alert.window_start if alert.window_start is not None else alert.fired_at - pd.Timedelta("1D")
    times = [since, *(first - pd.Timedelta(days) for days in LOOK_BACK)]
    tried = list(zip(decompositions(seen, times, columns), times))
    moved = [(mix, at) for mix, at in tried if mix.moved]
    most = max(moved, key=lambda pair: seen.sign * pair[0].mix_effect / pair[0].mix_se) if moved else tried[0]
    return *most, tried[0][0]


def decompositions(
    seen: Observations, times: Iterable[pd.Timestamp], columns: tuple[str, ...] | None = None
) -> list[Mix]:
    """Kitagawa's decomposition over the finest slices of some columns (default all), shares from all requests, judged or not [1]_.

    One for each time that may part before from since. The mix part moves the shares and holds the means; the within part is
    what is left of the change that was seen. Means of small leaves are drawn towards the leaf's mean over both periods (ten
    rows' worth).

    References
    ----------
    .. [1] Kitagawa, Components of a difference between two rates, JASA 50 (1955).
    """
    columns = seen.columns if columns is None else columns
    times, frame = list(times), of_feature(seen.frame, seen)
    requests = of_feature(seen.asked(*times), seen)
    code, _ = leaves(pd.concat([frame[list(columns)], requests[list(columns)]]), columns)
    size = code.max() + 1 if len(code) else 1
    rows, asked, n = code[: len(frame)], code[len(frame) :], counts(requests)
    y, worth = frame["value"].to_numpy(float), weights_of(frame)
    usual = _shrunk(rows, y, worth, np.full(size, np.average(y, weights=worth) if len(y) else 0.0))[0]
    found = []
    for since in times:
        late, since_then = ((part["timestamp"] >= since).to_numpy() for part in (requests, frame))
        if any(side.all() or not side.any() for side in (late, since_then)):
            found.append(Mix(0.0, 0.0, 0.0, 0.0, 0.0, False))
            continue
        shares = [np.bincount(asked[late == after], n[late == after], len(usual)) for after in (False, True)]
        found.append(_parted(seen.sign, shares, since_then, rows, y, worth, usual))
    return found


def _parted(sign: int, asked: list[np.ndarray], since_then, rows, y, worth, usual) -> Mix:
    """Both parts of the change from before to since; `asked` are the requests of each leaf, `rows` the leaves of the answers."""
    mean: list[np.ndarray] = []
    variance: list[np.ndarray] = []
    weight: list[np.ndarray] = []
    count: list[float] = []
    error = []
    for after, w in zip((False, True), asked):
        chosen = since_then == after
        m, v = _shrunk(rows[chosen], y[chosen], worth[chosen], usual)
        mean, variance = [*mean, m], [*variance, v]
        weight, count = [*weight, w / max(w.sum(), 1)], [*count, max(w.sum(), 1)]
        off = np.average((y[chosen] - m[rows[chosen]]) ** 2, weights=worth[chosen])
        error.append(off * (worth[chosen] ** 2).sum() / worth[chosen].sum() ** 2)
    m_bar = (mean[0] + mean[1]) / 2
    mix = float(m_bar @ (weight[1] - weight[0]))
    now, then = (np.average(y[part], weights=worth[part]) for part in (since_then, ~since_then))
    within = float(now - then) - mix
    within_se = float(np.sqrt(sum(error)))  # of the levels as they were seen: those of the leaves are drawn in
    mix_se = float(np.sqrt(sum((w @ m_bar**2 - (w @ m_bar) ** 2) / n for w, n in zip(weight, count))))
    level_se = float(np.sqrt((weight[1] - weight[0]) ** 2 @ (variance[0] + variance[1])) / 2)
    harm_mix, harm = sign * mix, sign * (mix + within)
    explains = float(np.clip(harm_mix / harm, 0, 1)) if harm > 0 and harm_mix > 0 else 0.0
    alone = harm_mix > SURE * mix_se and explains >= 0.5 and sign * within < 2 * within_se
    moved = alone or (harm_mix > 4 * mix_se and explains >= 0.3)  # the alert picks the window in which within is worst
    return Mix(mix, within, mix_se, within_se, explains, bool(moved), level_se)


def of_feature(frame: pd.DataFrame, seen: Observations) -> pd.DataFrame:
    """The rows of the feature that alerted, or all."""
    feature = seen.alert.feature_id
    return frame if feature is None else frame[frame["feature_id"] == feature]


def _shrunk(leaf, y, weight, towards, rows: float = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each leaf, drawn towards a level by ten rows' worth, and the variance of that mean."""
    if not len(y):
        return towards, np.zeros(len(towards))
    weight = weight / weight.mean()
    n = np.bincount(leaf, weights=weight, minlength=len(towards))
    mean = (np.bincount(leaf, weights=y * weight, minlength=len(towards)) + rows * towards) / (n + rows)
    within = float(np.average((y - mean[leaf]) ** 2, weights=weight))
    return mean, max(within, 1e-9) * n / (n + rows) ** 2
