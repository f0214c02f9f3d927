"""Exact run lengths of an EWMA over windows that are not normal: means of ordinal scores, binomial shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import spsolve
from scipy.stats import binom

from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.errors import ConfigError


def ordinal_window(
    probabilities: ArrayLike, n: int, *, scores: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distribution of the mean of n scores: values and their probabilities.

    Parameters
    ----------
    probabilities : array
        Of the scores; they sum to 1.
    n : int
        Answers in a window.
    scores : array, optional
        Equally spaced; 1, 2, 3, ... by default.

    >>> values, chance = ordinal_window([0.5, 0.5], 2)
    >>> values.tolist(), chance.tolist()
    ([1.0, 1.5, 2.0], [0.25, 0.5, 0.25])
    """
    single = _numbers(probabilities, "ordinal_window", "probabilities")
    if (single < 0).any() or not abs(single.sum() - 1) < 1e-9 or len(single) < 2:
        raise ConfigError("ordinal_window(probabilities): expected two numbers or more, of at least 0, that sum to 1")
    expect(is_whole(n, 1), "ordinal_window", "a whole number of answers, 1 or more", n=n)
    marks = np.arange(1.0, len(single) + 1) if scores is None else _numbers(scores, "ordinal_window", "scores")
    expect(len(marks) == len(single), "ordinal_window", "as many scores as probabilities", scores=scores)
    chance = np.ones(1)
    for _ in range(n):
        chance = np.convolve(chance, single)
    step = (marks[-1] - marks[0]) / (len(single) - 1)
    return marks[0] + step * np.arange(len(chance)) / n, chance


def binomial_window(p: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Distribution of the share of events among n answers: values and their probabilities."""
    expect(is_number(p, least=0, most=1), "binomial_window", "a probability from 0 to 1", p=p)
    expect(is_whole(n, 1), "binomial_window", "a whole number of answers, 1 or more", n=n)
    return np.arange(n + 1) / n, binom.pmf(np.arange(n + 1), n, p)


def ewma_arl_discrete(
    values: ArrayLike, probabilities: ArrayLike, lambda_: float, L: float, *, states: int = 4001
) -> float:
    """Average run length of a two-sided EWMA with fixed limits over discrete windows, mean and sd known.

    Markov chain over `states` cells of the EWMA (Brook and Evans 1972); about 1e-2 relative.

    Parameters
    ----------
    values, probabilities : array
        Distribution of a window, as `ordinal_window` and `binomial_window` give it.
    lambda_, L : float
        As for `ewma_arl`.
    states : int

    >>> window = ordinal_window([0.02, 0.05, 0.13, 0.35, 0.45], 20)
    >>> round(ewma_arl_discrete(*window, 0.2, 2.962), -1)          # 500 for normal windows
    490.0
    """
    value = _numbers(values, "ewma_arl_discrete", "values")
    chance = _numbers(probabilities, "ewma_arl_discrete", "probabilities")
    expect(len(value) == len(chance), "ewma_arl_discrete", "as many values as probabilities", n=len(value))
    expect(is_number(lambda_, above=0, most=1), "ewma_arl_discrete", "a number above 0, at most 1", lambda_=lambda_)
    expect(is_number(L, above=0), "ewma_arl_discrete", "a number above 0", L=L)
    expect(is_whole(states, 3), "ewma_arl_discrete", "a whole number, 3 or more", states=states)
    kept = chance > 1e-12
    value, chance = value[kept], chance[kept] / chance[kept].sum()
    mean = chance @ value
    z = (value - mean) / np.sqrt(chance @ (value - mean) ** 2)
    reach = L * np.sqrt(lambda_ / (2 - lambda_))
    width = 2 * reach / states
    middle = -reach + width * (np.arange(states) + 0.5)
    goal = (1 - lambda_) * middle[:, None] + lambda_ * z
    cell = np.floor((goal + reach) / width).astype(int)
    inside = np.abs(goal) <= reach
    row = np.broadcast_to(np.arange(states)[:, None], goal.shape)[inside]
    share = np.broadcast_to(chance, goal.shape)[inside]
    move = csr_matrix((share, (row, np.minimum(cell[inside], states - 1))), shape=(states, states))
    length = spsolve((identity(states, format="csr") - move).tocsc(), np.ones(states))
    return float(length[states // 2])


def _numbers(given: ArrayLike, owner: str, name: str) -> np.ndarray:
    try:
        found = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    expect(found.ndim == 1 and bool(np.isfinite(found).all()), owner, "a list of finite numbers", **{name: given})
    return found
