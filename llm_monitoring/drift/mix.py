"""The mix of known categories, apart from what is asked within them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_monitoring.intervals import newcombe

if TYPE_CHECKING:
    import pandas as pd

MIX = ["category", "share_before", "share_after", "low", "high"]


def mix_p(before: np.ndarray | None, now: np.ndarray | None, seed: int, permutations: int = 999) -> float | None:
    """Permutation p of Pearson's chi-square of the category shares; None where no category is known on a side.

    >>> import numpy as np
    >>> mix_p(np.repeat(["a", "b"], [50, 50]), np.repeat(["a", "b"], [30, 0]), seed=0)
    0.001
    """
    before, now = known(before), known(now)
    if not len(before) or not len(now):
        return None
    kinds, code = np.unique(np.concatenate([before, now]), return_inverse=True)
    size = np.bincount(code)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(size, len(now), size=permutations)
    expected = size * len(now) / len(code)
    counts = np.vstack([np.bincount(code[len(before) :], minlength=len(kinds)), drawn])
    chi = ((counts - expected) ** 2 / expected).sum(axis=1)
    return float((chi >= chi[0] - 1e-9).mean())


def mix_table(before: np.ndarray | None, now: np.ndarray | None) -> pd.DataFrame:
    """Share of each category before and now with the 95 % interval of its change; what moved most first."""
    import pandas as pd

    before, now = known(before), known(now)
    rows = []
    if len(before) and len(now):
        for kind in np.unique(np.concatenate([before, now])):
            k0, k = int((before == kind).sum()), int((now == kind).sum())
            change = newcombe(k0, len(before), k, len(now))
            rows.append([kind, k0 / len(before), k / len(now), change.low, change.high])
    table = pd.DataFrame(rows, columns=MIX)
    moved = (table["share_after"] - table["share_before"]).abs()
    return table.iloc[np.argsort(-moved.to_numpy(float), kind="stable")].reset_index(drop=True)


def known(values: np.ndarray | None) -> np.ndarray:
    """The categories that are not null, as text, in order."""
    listed = [] if values is None else list(values)
    return np.array(sorted(str(v) for v in listed if v is not None and v == v and type(v).__name__ != "NAType"), object)
