"""What a model gives to each probe, as shares per batch of calls, and how far two sets of batches lie apart.

The distance is the total variation between the shares, on average over the probes. Calls of one batch are not independent
of each other on a real endpoint, so its error is taken from the spread between quiet batches, and is never below that of
independent calls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.windows import floor

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

FEWEST_BATCHES = 5  # quiet batches that show a spread between batches
MOST_TOKENS = 40  # a probe; rarer ones count as one
DRAWS = 4000
REST = "\x00rest"


@dataclass(frozen=True)
class Shares:
    """Shares of the tokens of each probe, in each batch.

    `values` has a row per batch and a column per probe and token, 0 where the batch lacks the probe; `calls` a row per
    batch and a column per probe; `probe` says to which probe a column of `values` belongs; `counted` whether the shares
    are counts of answers, not probabilities that the server told.
    """

    probes: list[str]
    tokens: list[str]
    probe: np.ndarray
    values: np.ndarray
    calls: np.ndarray
    batches: list[Any]
    counted: bool = True

    def pooled(self, rows: np.ndarray) -> np.ndarray:
        """Shares over some batches together, every call counting once."""
        weights = self.calls[rows][:, self.probe]
        total = weights.sum(axis=0)
        return np.divide((self.values[rows] * weights).sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)

    def norm(self, difference: np.ndarray) -> np.ndarray:
        """Total variation, on average over the probes, of one or many differences of shares."""
        return 0.5 * np.abs(difference).sum(axis=-1) / max(len(self.probes), 1)

    def of_probe(self, difference: np.ndarray) -> np.ndarray:
        """Total variation of each probe."""
        return 0.5 * np.bincount(self.probe, weights=np.abs(difference), minlength=len(self.probes))

    def first(self, count: int) -> Shares:
        """The same probes in the first batches alone."""
        return Shares(
            self.probes,
            self.tokens,
            self.probe,
            self.values[:count],
            self.calls[:count],
            self.batches[:count],
            self.counted,
        )

    def only(self, kept: np.ndarray) -> Shares:
        """The same batches with some of the probes."""
        numbers = np.flatnonzero(kept)
        columns = np.isin(self.probe, numbers)
        renamed = np.searchsorted(numbers, self.probe[columns])
        tokens = [token for token, inside in zip(self.tokens, columns, strict=True) if inside]
        names = [self.probes[i] for i in numbers]
        return Shares(
            names, tokens, renamed, self.values[:, columns], self.calls[:, numbers], self.batches, self.counted
        )


def batch_of(results: pd.DataFrame, batch: str | None) -> pd.Series:
    """The batch of each row: the value of a column, or the span of `run_at` that it falls into.

    Raises
    ------
    ConfigError
        `batch` is neither a column nor a span.

    Examples
    --------
    >>> import pandas as pd
    >>> when = pd.Series(pd.to_datetime(["2026-05-01T01:00Z", "2026-05-01T23:00Z", "2026-05-02T01:00Z"]))
    >>> batch_of(pd.DataFrame({"run_at": when}), "1d").dt.day.tolist()
    [1, 1, 2]
    """
    if batch in results.columns:
        return results[batch]
    try:
        return floor(results["run_at"], str(batch))
    except ConfigError:
        raise ConfigError(
            f"compare_probes(batch={quote(batch)}); expected a column of the results, or a span of run_at such as '1d'"
        ) from None


def token_shares(
    results: pd.DataFrame, batch: pd.Series, *, told: bool | None = None, most: int | None = MOST_TOKENS
) -> Shares:
    """Shares of the tokens of border probes: what was answered, or the probabilities that the server gave.

    Parameters
    ----------
    results : DataFrame
        Rows with an answer: `probe_id`, `output`, and `logprobs` where known.
    batch : Series
        The batch of each row.
    told : bool, optional
        Take the probabilities, of answers without them the token itself; default: where every answer has them.
    most : int or None
        Tokens of a probe that are kept apart; rarer ones count as one.
    """
    import pandas as pd

    told = tells_probabilities(results) if told is None else told
    keys = pd.DataFrame({"batch": batch.to_numpy(), "probe": results["probe_id"].astype(str).to_numpy()})
    keys["token"] = results["output"].astype(str).str.strip().to_numpy()
    keys["weight"] = 1.0
    calls = keys.groupby(["batch", "probe"], sort=True).size().unstack(fill_value=0).sort_index()
    long = _probabilities(results, keys) if told else keys
    common = long.groupby(["probe", "token"])["weight"].sum().sort_index()
    rank = common.groupby("probe").rank(ascending=False, method="first")
    rare = set(rank.index[rank > most]) if most else set()
    if rare:
        long["token"] = [REST if pair in rare else pair[1] for pair in zip(long["probe"], long["token"], strict=True)]
    sums = long.groupby(["batch", "probe", "token"])["weight"].sum().unstack(["probe", "token"], fill_value=0)
    sums = sums.reindex(calls.index, fill_value=0).sort_index(axis=1)
    probes = sorted(calls.columns)
    calls = calls[probes]
    probe = np.searchsorted(probes, sums.columns.get_level_values("probe"))
    n = calls.to_numpy(float)
    values = np.divide(sums.to_numpy(float), n[:, probe], out=np.zeros(sums.shape), where=n[:, probe] > 0)
    tokens = list(sums.columns.get_level_values("token"))
    return Shares(list(probes), tokens, probe, values, n, list(calls.index), counted=not told)


def tells_probabilities(results: pd.DataFrame) -> bool:
    """Whether every answer comes with the log-probabilities of its first token."""
    return "logprobs" in results and len(results) > 0 and all(_chances(each) for each in results["logprobs"])


def _chances(logprobs: Any) -> dict[str, float] | None:
    """The probability of each token, with the rest as one; None where there is none that can be read."""
    try:
        told = json.loads(logprobs) if isinstance(logprobs, str) else dict(logprobs)
        chances = {str(token).strip(): float(np.exp(min(float(value), 0.0))) for token, value in told.items()}
    except (ValueError, TypeError, AttributeError):
        return None
    return {**chances, REST: max(0.0, 1 - sum(chances.values()))} if chances else None


def _probabilities(results: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """One row per answer and token with its probability."""
    import pandas as pd

    rows = []
    for (batch, probe, token), logprobs in zip(
        keys[["batch", "probe", "token"]].itertuples(index=False), results["logprobs"], strict=True
    ):
        chances = _chances(logprobs) or {token: 1.0}
        rows += [(batch, probe, each, chance) for each, chance in chances.items()]
    return pd.DataFrame(rows, columns=["batch", "probe", "token", "weight"])


def pass_shares(results: pd.DataFrame, batch: pd.Series) -> Shares:
    """Shares passed of each probe in each batch: as tokens, with one token a probe."""
    import pandas as pd

    keys = pd.DataFrame({"batch": batch.to_numpy(), "probe": results["probe_id"].astype(str).to_numpy()})
    keys["passed"] = results["passed"].astype(float).to_numpy()
    table = keys.groupby(["batch", "probe"])["passed"].agg(["size", "mean"]).unstack()
    probes = sorted(keys["probe"].unique())
    calls, values = table["size"][probes].fillna(0).to_numpy(float), table["mean"][probes].fillna(0).to_numpy(float)
    return Shares(probes, ["passed"] * len(probes), np.arange(len(probes)), values, calls, list(table.index))


def batch_errors(shares: Shares, quiet: np.ndarray, draws: int = DRAWS, *, alone: bool = True) -> np.ndarray | None:
    """Draws of the error of one batch's shares, from the spread between quiet batches; None below five of them.

    Draws with the covariance that the quiet batches show, over probes and tokens together, and with the scale as uncertain
    as so few batches leave it: one scale for all where `dealt_errors` stands beside them, else one for each direction, so that
    a day that moves all probes together counts for no more than so many days tell of it.
    """
    if len(quiet) < FEWEST_BATCHES:
        return None
    rng = np.random.default_rng(0)
    there = shares.calls[quiet][:, shares.probe] > 0
    residual = np.where(there, shares.values[quiet] - shares.pooled(quiet), 0.0)
    count = np.maximum(there.sum(axis=0), 1)
    residual *= np.sqrt(len(quiet) / count)  # a probe that some batches lack has its spread from the others
    freedom = len(quiet) - 1
    if alone:
        return _draws(residual / np.sqrt(freedom), shares.probe, lambda k: rng.standard_t(freedom, (draws, k)))
    scale = freedom * _dimensions(residual)
    errors = _draws(residual / np.sqrt(freedom), shares.probe, lambda k: rng.standard_normal((draws, k)))
    return errors * np.sqrt(scale / rng.chisquare(scale, draws))[:, None]


def _draws(residual: np.ndarray, probe: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """Draws with the covariance of the residuals within probes; between probes without the part that few batches feign."""
    errors = _of_directions(residual, draw)
    gram = {number: residual[:, probe == number] @ residual[:, probe == number].T for number in np.unique(probe)}
    whole = sum(gram.values())
    inside = sum(float((each**2).sum()) for each in gram.values())
    traces = np.array([np.trace(each) for each in gram.values()])
    found = float((whole**2).sum()) - inside  # squared covariances between probes
    feigned = (traces.sum() ** 2 - (traces**2).sum()) / max(len(residual) - 1, 1)
    if feigned <= 0:
        return errors
    # the part of the covariances that is true: right on average when squared
    true = np.sqrt(max(1 - feigned / found, 0.0)) if found > 0 else 0.0
    alone = np.empty_like(errors)
    for number in gram:
        alone[:, probe == number] = _of_directions(residual[:, probe == number], draw)
    return np.sqrt(true) * errors + np.sqrt(1 - true) * alone


def _of_directions(residual: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """Draws along the principal directions of the residuals."""
    _, size, direction = np.linalg.svd(residual, full_matrices=False)
    kept = size > 1e-9
    return draw(int(kept.sum())) @ (size[kept, None] * direction[kept])


def _dimensions(residual: np.ndarray) -> float:
    """In how many directions batches spread alike: 1 where all probes move together, many where each moves by itself.

    tr(S)^2 / tr(S^2), which few batches leave too small, never too large.
    """
    gram = residual @ residual.T
    square = float((gram**2).sum())
    return float(np.trace(gram)) ** 2 / square if square > 1e-24 else 1.0


def dealt_errors(
    shares: Shares, before: np.ndarray, after: np.ndarray, alpha: float, draws: int = DRAWS
) -> np.ndarray | None:
    """The difference of two pooled sets with the batches dealt anew, each way once or so many at random.

    As true as batches without a change are alike, however they spread. None where there are so few ways that the batches
    as they are could hardly stand out among them: below two for each 1 / alpha.
    """
    rows = np.concatenate([before, after])
    ways = comb(len(rows), len(after))
    if ways * alpha < 2:
        return None
    if ways <= draws:
        chosen = np.array(list(combinations(range(len(rows)), len(after))))[:-1]  # the last one is as they are
    else:
        rng = np.random.default_rng(0)
        chosen = rng.permuted(np.tile(np.arange(len(rows)), (draws, 1)), axis=1)[:, : len(after)]
    taken = np.zeros((len(chosen), len(rows)))
    np.put_along_axis(taken, chosen, 1.0, axis=1)
    weights = shares.calls[rows][:, shares.probe]
    sums, calls = shares.values[rows] * weights, weights
    now, then = taken @ calls, (1 - taken) @ calls
    both = (now > 0) & (then > 0)  # a probe that one side lacks tells nothing
    ones = np.ones_like(now)
    difference = (taken @ sums) / np.where(both, now, ones) - ((1 - taken) @ sums) / np.where(both, then, ones)
    return np.where(both, difference, 0.0)


def call_errors(shares: Shares, before: np.ndarray, after: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Draws of the difference of two pooled sets were all calls of a probe alike: the calls dealt out anew."""
    rng = np.random.default_rng(0)
    errors = np.zeros((draws, len(shares.probe)))
    counts = [
        np.rint((shares.values[rows] * shares.calls[rows][:, shares.probe]).sum(axis=0)).astype(int)
        for rows in (before, after)
    ]
    calls = [np.rint(shares.calls[rows].sum(axis=0)).astype(int) for rows in (before, after)]
    for number in range(len(shares.probes)):
        inside = np.flatnonzero((shares.probe == number) & (counts[0] + counts[1] > 0))
        n0, n1 = (int(max(n[number], c[inside].sum())) for n, c in zip(calls, counts, strict=True))
        total = counts[0][inside] + counts[1][inside]
        rest = n0 + n1 - int(total.sum())
        if n0 and n1 and (total > 0).sum() + (rest > 0) > 1:
            dealt = rng.multivariate_hypergeometric([*total, rest], n1, size=draws, method="marginals")[:, :-1]
            errors[:, inside] = dealt / n1 - (total - dealt) / n0
    return errors


def worth(shares: Shares, rows: np.ndarray) -> float:
    """How many batches of equal size some batches are worth."""
    n = shares.calls[rows].sum(axis=1)
    return float(n.sum() ** 2 / max((n**2).sum(), 1e-12)) if n.sum() else 1.0
