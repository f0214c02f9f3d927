"""How far the shares of two sets of batches lie apart: estimate, interval and p-value from one sampling model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from llm_monitoring.probes.shares import FEWEST_BATCHES, Shares, batch_errors, call_errors, dealt_errors, worth


@dataclass(frozen=True)
class Distance:
    """The change between two sets of batches.

    Attributes
    ----------
    estimate, low, high : float
        Of border probes the total variation, averaged over the probes, with the part that chance explains taken off; of
        passes the mean change. The interval has level 1 - alpha.
    p_value : float
        Of no change; at most alpha just where the interval excludes 0.
    p_if_all : float
        What the p-value would be had every answer changed: above alpha nothing could have shown.
    sampling : str
        `batches` where the spread between quiet batches was known, else `calls`.
    of_probe : array
        Total variation of each probe, as found.
    p_of_probe : array
        p-value of each probe, of no change.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    p_if_all: float
    sampling: str
    of_probe: np.ndarray = field(repr=False)
    p_of_probe: np.ndarray = field(repr=False)


def compare_shares(
    shares: Shares, before: np.ndarray, after: np.ndarray, *, alpha: float = 0.05, tokens: bool = True
) -> Distance:
    """Compare two sets of batches.

    Parameters
    ----------
    shares : Shares
    before, after : array of int
        Rows of `shares`: the quiet batches and those to be compared with them.
    alpha : float
    tokens : bool
        Total variation of tokens (border probes); else the signed mean change of passes.

    Notes
    -----
    With p and q the true shares before and after, the distance found is at most d(p, q) + |e| and at least
    d(p, q) - |e|, where e is the error of the difference of the pooled shares. The upper alpha quantile of |e| is
    therefore the half width of an interval for d, and P(|e| >= found) a p-value of d = 0. Where there are enough batches
    for it, d = 0 must also be refuted by dealing them anew to both sides; else the interval is widened to hold 0.
    """
    difference = shares.pooled(after) - shares.pooled(before)
    dealt = dealt_errors(shares, before, after, alpha) if len(before) >= FEWEST_BATCHES else None
    of_batch = batch_errors(shares, before, alone=dealt is None)
    draws = [] if of_batch is None else [of_batch * np.sqrt(1 / worth(shares, before) + 1 / worth(shares, after))]
    if shares.counted or of_batch is None:
        draws.append(call_errors(shares, before, after))
    found = float(shares.norm(difference) if tokens else abs(difference.mean()))
    sizes = [_sizes(shares, errors, tokens) for errors in draws]
    reach = max(_reach(each, alpha) for each in sizes)
    chance = max(float((each**2).mean()) for each in sizes)
    if dealt is not None:
        draws.append(dealt)
        sizes.append(_sizes(shares, dealt, tokens))
    p, p_if_all = (max(_tail(each, size) for each in sizes) for size in (found, 1.0))
    none = p > alpha  # no change is possible
    if tokens:
        estimate, low = float(np.sqrt(max(found**2 - chance, 0.0))), 0.0 if none else max(found - reach, 0.0)
        high = min(found + reach, 1.0)
    else:
        estimate = float(difference.mean())
        low, high = max(estimate - reach, -1.0), min(estimate + reach, 1.0)
        low, high = (min(low, 0.0), max(high, 0.0)) if none else (low, high)
    of_probe = shares.of_probe(difference) * (1 if tokens else 2)
    p_of_probe = np.maximum.reduce([_tails(shares, errors, of_probe, 1 if tokens else 2) for errors in draws])
    sampling = "calls" if of_batch is None else "batches"
    return Distance(estimate, low, high, p, p_if_all, sampling, of_probe, p_of_probe)


def _sizes(shares: Shares, errors: np.ndarray, tokens: bool) -> np.ndarray:
    return shares.norm(errors) if tokens else np.abs(errors.mean(axis=1))


def _reach(draws: np.ndarray, alpha: float) -> float:
    """What is just not significant: `_tail` is at most alpha for all that is larger."""
    rank = int(alpha * (1 + len(draws)))
    return float(np.sort(draws)[-rank]) if rank else 1.0


def _tail(draws: np.ndarray, found: float) -> float:
    """Share of draws that are as large; 1 where nothing was found."""
    return 1.0 if found <= 0 else float((1 + (draws >= found - 1e-12).sum()) / (1 + len(draws)))


def _tails(shares: Shares, errors: np.ndarray, found: np.ndarray, scale: int) -> np.ndarray:
    sums = np.abs(errors) @ (shares.probe[:, None] == np.arange(len(shares.probes)))
    larger = (0.5 * scale * sums >= found - 1e-12).sum(axis=0)
    return np.where(found <= 0, 1.0, (1 + larger) / (1 + len(errors)))
