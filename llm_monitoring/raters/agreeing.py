"""How far two raters agree beyond chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from llm_monitoring.errors import ConfigError
from llm_monitoring.intervals import mean_t
from llm_monitoring.plotting import INK, axes
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

from llm_monitoring.raters.pairs import paired

COEFFICIENTS = ("kappa", "weighted_kappa", "alpha_ordinal", "alpha_nominal", "ac1")


@dataclass(frozen=True, eq=False)
class Agreement(Result):
    """How far two raters agree beyond chance; every coefficient is 1 for full agreement, NaN where undefined.

    Attributes
    ----------
    n : int
        Items that both rated.
    kappa, weighted_kappa, alpha_ordinal, alpha_nominal, ac1 : float
        Cohen's kappa, the same with quadratic weights, Krippendorff's alpha on ordinal and nominal scale, Gwet's AC1.
    kappa_low, kappa_high, ... : float
        Bootstrap interval of each.
    exact : float
        Share of items with the same score.
    bias : float
        Mean of `b` minus mean of `a`; `bias_low`, `bias_high` its t interval.
    confusion : DataFrame
        Counts, scores of `a` as rows, of `b` as columns.
    """

    n: int
    kappa: float
    kappa_low: float
    kappa_high: float
    weighted_kappa: float
    weighted_kappa_low: float
    weighted_kappa_high: float
    alpha_ordinal: float
    alpha_ordinal_low: float
    alpha_ordinal_high: float
    alpha_nominal: float
    alpha_nominal_low: float
    alpha_nominal_high: float
    ac1: float
    ac1_low: float
    ac1_high: float
    exact: float
    bias: float
    bias_low: float
    bias_high: float
    level: float
    confusion: pd.DataFrame

    @property
    def headline(self) -> str:
        """Weighted kappa and bias, with intervals and n."""
        return (
            f"Weighted kappa {self.weighted_kappa:.2f} ({self.weighted_kappa_low:.2f} to "
            f"{self.weighted_kappa_high:.2f}) over {self.n} items; the second rater scores {self.bias:+.2f} "
            f"({self.bias_low:+.2f} to {self.bias_high:+.2f}) against the first."
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient: `measure`, `estimate`, `low`, `high`, `n`."""
        import pandas as pd

        rows = [(name, *(getattr(self, name + end) for end in ("", "_low", "_high"))) for name in COEFFICIENTS]
        rows.append(("bias", self.bias, self.bias_low, self.bias_high))
        return pd.DataFrame(rows, columns=["measure", "estimate", "low", "high"]).assign(n=self.n)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Counts of every pair of scores."""
        with axes(ax, size=(4.6, 4.2)) as ax:
            counts = self.confusion.to_numpy()
            ax.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()) * 1.4, origin="lower")
            for i, j in np.argwhere(counts > 0):
                ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=INK)
            ax.set_xticks(range(len(counts)), [f"{label:g}" for label in self.confusion.columns])
            ax.set_yticks(range(len(counts)), [f"{label:g}" for label in self.confusion.index])
            ax.set(xlabel="second rater", ylabel="first rater", title=f"Scores of {self.n} items")
            ax.grid(False)
        return ax


def agreement(
    a: ArrayLike,
    b: ArrayLike,
    *,
    labels: ArrayLike = (1, 2, 3, 4, 5),
    level: float = 0.95,
    repetitions: int = 2000,
    seed: int = 0,
) -> Agreement:
    """Agreement of two raters on the same items.

    Parameters
    ----------
    a, b : array_like
        Scores, in the same order of items; an item that one of them did not score (NaN) is left out.
    labels : array_like
        The scale. Weighted kappa counts distances on it also where a level never occurs.
    level : float
        Of the bootstrap intervals.
    repetitions : int
        Bootstrap draws of items.
    seed : int

    Returns
    -------
    Agreement

    Raises
    ------
    ConfigError
        Where the lengths differ, nothing is left, or a score is not on the scale.

    References
    ----------
    Cohen 1960, 1968; Krippendorff, Content Analysis (2004), chapter 11; Gwet, Br. J. Math. Stat. Psychol. 61 (2008).

    Examples
    --------
    >>> found = agreement([1, 2, 3, 4, 5, 5], [1, 2, 3, 5, 5, 4])
    >>> print(f"{found.kappa:.3f} {found.weighted_kappa:.3f} {found.exact:.3f}")
    0.571 0.925 0.667
    """
    first, second = paired(a, b, "agreement(a, b)")
    scale = np.unique(np.asarray(labels, float))
    off = np.setdiff1d(np.union1d(first, second), scale)
    if len(off):
        raise ConfigError(
            f"agreement(a, b): {off[0]:g} is not on the scale {', '.join(f'{x:g}' for x in scale)}. Give labels=[...]"
        )
    size, n = len(scale), len(first)
    cells = np.searchsorted(scale, first) * size + np.searchsorted(scale, second)
    counts = np.bincount(cells, minlength=size * size)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=repetitions).reshape(-1, size, size)
    at_hand = _coefficients(counts.reshape(1, size, size), scale, counts.reshape(size, size))
    drawn = _coefficients(draws, scale, counts.reshape(size, size))
    found: dict[str, Any] = {}
    for name in COEFFICIENTS:
        found[name] = float(at_hand[name][0])
        defined = drawn[name][np.isfinite(drawn[name])]
        ends = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if len(defined) else (np.nan, np.nan)
        found[f"{name}_low"], found[f"{name}_high"] = (float(end) for end in ends)
    bias = mean_t(second - first, level)
    import pandas as pd

    confusion = pd.DataFrame(
        counts.reshape(size, size), index=pd.Index(scale, name="a"), columns=pd.Index(scale, name="b")
    )
    return Agreement(
        n=n, exact=float((first == second).mean()), bias=bias.estimate, bias_low=bias.low, bias_high=bias.high,
        level=level, confusion=confusion, **found,
    )  # fmt: skip


def _coefficients(tables: np.ndarray, scale: np.ndarray, observed: np.ndarray) -> dict[str, np.ndarray]:
    """All coefficients of a stack of confusion tables."""
    n = tables.sum(axis=(1, 2))
    p = tables / n[:, None, None]
    rows, columns = p.sum(axis=2), p.sum(axis=1)
    same = np.trace(p, axis1=1, axis2=2)
    by_chance = rows[:, :, None] * columns[:, None, :]
    quadratic = (scale[:, None] - scale[None, :]) ** 2
    apart = 1 - np.eye(len(scale))
    both = tables + tables.transpose(0, 2, 1)
    each = both.sum(axis=2)
    middle = each.cumsum(axis=1) - each / 2
    ordinal = (middle[:, :, None] - middle[:, None, :]) ** 2
    used = int(((observed.sum(axis=0) + observed.sum(axis=1)) > 0).sum())
    prevalence = (rows + columns) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.trace(by_chance, axis1=1, axis2=2)
        gwet = (prevalence * (1 - prevalence)).sum(axis=1) / (used - 1) if used > 1 else np.full(len(n), np.nan)
        return {
            "kappa": (same - expected) / (1 - expected),
            "weighted_kappa": 1 - (quadratic * p).sum(axis=(1, 2)) / (quadratic * by_chance).sum(axis=(1, 2)),
            "alpha_ordinal": _alpha(both, each, ordinal),
            "alpha_nominal": _alpha(both, each, apart),
            "ac1": (same - gwet) / (1 - gwet),
        }


def _alpha(both: np.ndarray, each: np.ndarray, distance: np.ndarray) -> np.ndarray:
    total = each.sum(axis=1)
    seen = (both * distance).sum(axis=(1, 2)) / total
    expected = (each[:, :, None] * each[:, None, :] * distance).sum(axis=(1, 2)) / (total * (total - 1))
    return 1 - seen / expected
