"""How much windows at each place in a season differ: those of the night may be wilder, and count for less then."""

from __future__ import annotations

import numpy as np

FIRM, FEW = 20, 5  # answers, or windows, that the spread of all places counts for in that of one


def spreads(place: np.ndarray, value: np.ndarray, n: np.ndarray, sd: np.ndarray, season: int, a_day: int) -> np.ndarray:
    """Variance of an answer at each place in the season, 1 on average, of a positive measure.

    Parameters
    ----------
    place, value, n, sd : array
        Of each window; where no sd is known, what windows of one hour and its neighbours differ by.
    season, a_day : int
        Windows in a season, and of a day.

    >>> place = np.arange(96) % 24
    >>> sd = np.where(place < 6, 4.0, 1.0)
    >>> found = spreads(place, np.ones(96), np.full(96, 50.0), sd, 24, 24)
    >>> round(float(found[0] / found[12]), 1)
    11.1
    """
    if season < 2 or len(value) < 3 * season:
        return np.ones(season)
    freedom, firm = np.where(np.isnan(sd) | ~(n >= 2), 0.0, n - 1), FIRM
    if freedom.any():
        squares = np.bincount(place, freedom * np.nan_to_num(sd / value) ** 2, season)
        weight = np.bincount(place, freedom, season)
    elif a_day > 1 and not np.isnan(n).any():
        (squares, weight), firm = scatter(np.log(value), n, place, season), FEW
    else:
        return np.ones(season)
    usual = squares.sum() / weight.sum()
    return (squares + firm * usual) / (weight + firm) / usual if usual > 0 else np.ones(season)


def scatter(y: np.ndarray, n: np.ndarray, place: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares about the mean of each place and their degrees of freedom, those of the places before and after it with it.

    A place with hardly any window is taken to scatter as the wilder of the places around it: an hour of the night that has
    enough requests now and then is one of the night still.

    >>> y = np.tile([0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 0.0], 10) * np.repeat([1, -1], 40)
    >>> squares, freedom = scatter(y, np.ones(80), np.arange(80) % 8, 8)
    >>> (squares / freedom).round().tolist()
    [0.0, 0.0, 0.0, 3.0, 7.0, 10.0, 7.0, 3.0]
    """
    weight, windows = np.bincount(place, n, season), np.bincount(place, minlength=season)
    middle = np.bincount(place, n * y, season) / np.where(weight > 0, weight, 1)
    own = np.bincount(place, n * (y - middle[place]) ** 2, season), np.maximum(windows - 1.0, 0.0)
    squares, freedom = (part + np.roll(part, 1) + np.roll(part, -1) for part in own)
    told = np.flatnonzero(windows >= FEW)
    for empty in np.flatnonzero(windows < FEW) if len(told) else []:
        around = [told[np.argmin((side * (told - empty)) % season)] for side in (1, -1)]
        wilder = max(around, key=lambda one: squares[one] / max(freedom[one], 1.0))
        squares[empty], freedom[empty] = squares[wilder], freedom[wilder]
    return squares, freedom


def alike(position: np.ndarray, residual: np.ndarray) -> tuple[str, ...]:
    """A warning where neighbouring windows of a baseline resemble each other, from their numbers and deviations."""
    next_to = np.diff(position) == 1
    pairs = int(next_to.sum())
    if pairs < 6 or np.ptp(residual) < 1e-9:
        return ()
    centred = residual - residual.mean()
    lag1 = float((centred[1:] * centred[:-1])[next_to].mean() / centred.var())
    if lag1 <= 2 / np.sqrt(len(residual)):
        return ()
    return (
        f"neighbouring windows of the baseline resemble each other (lag-1 correlation {lag1:.2f} over {pairs} pairs): "
        "false alarms will be more frequent than stated; chart longer windows",
    )
