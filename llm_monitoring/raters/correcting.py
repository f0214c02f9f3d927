"""The mean of all answers from a judge of all and people on some: what people would have said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.intervals import mean_t
from llm_monitoring.plotting import BLUE, VERMILION, axes, name_rows
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

from llm_monitoring.raters.pairs import paired, scores

ROUGH = 50  # labels below which a corrected mean is called rough


@dataclass(frozen=True, eq=False)
class CorrectedMean(Result):
    """What people would have scored on average, from a judge on all items and people on some.

    Attributes
    ----------
    estimate, low, high : float
        The corrected mean and its interval.
    judge_mean : float
        What the judge alone would have claimed.
    labels_mean, labels_low, labels_high : float
        What the labels alone say (t interval).
    slope : float
        Weight given to the judge, 0 (not used) to 1.
    correlation : float
        Of judge and people on the labelled items.
    informative : bool
        False where the judge adds nothing: then the labels alone are the estimate.
    n_judged, n_labelled : int
    method, note : str
    """

    estimate: float
    low: float
    high: float
    level: float
    judge_mean: float
    labels_mean: float
    labels_low: float
    labels_high: float
    slope: float
    correlation: float
    informative: bool
    n_judged: int
    n_labelled: int
    method: str
    note: str

    @property
    def headline(self) -> str:
        """The corrected mean beside what the judge alone would have claimed."""
        return (
            f"Mean {self.estimate:.2f} ({self.low:.2f} to {self.high:.2f}) from {self.n_labelled} labels and "
            f"{self.n_judged} judged items; the judge alone would say {self.judge_mean:.2f}."
            + (f" {self.note[0].upper()}{self.note[1:]}." if self.note else "")
        )

    def to_frame(self) -> pd.DataFrame:
        """Rows `corrected`, `labels only`, `judge alone`: `estimate`, `low`, `high`, `n`."""
        import pandas as pd

        rows = [
            ("corrected", self.estimate, self.low, self.high, self.n_judged),
            ("labels only", self.labels_mean, self.labels_low, self.labels_high, self.n_labelled),
            ("judge alone", self.judge_mean, np.nan, np.nan, self.n_judged),
        ]
        return pd.DataFrame(rows, columns=["mean", "estimate", "low", "high", "n"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """The three means with their intervals."""
        with axes(ax, size=(6.4, 2.2)) as ax:
            rows = list(self.to_frame().iloc[::-1].itertuples(index=False, name=None))
            for y, (_, estimate, low, high, _) in enumerate(rows):
                known = np.isfinite(low)
                if known:
                    ax.plot([low, high], [y, y], color=BLUE, lw=2)
                ax.plot(estimate, y, "o" if known else "D", color=BLUE if known else VERMILION)
            name_rows(ax, [f"{name} (n = {n:,})" for name, *_, n in rows])
            ax.set(title="What people would have scored", xlabel=f"mean score, {100 * self.level:g} % interval")
        return ax


def corrected_mean(
    judge_all: ArrayLike,
    judge_labelled: ArrayLike,
    human_labelled: ArrayLike,
    level: float = 0.95,
    method: str = "loo",
    *,
    seed: int = 0,
) -> CorrectedMean:
    """The mean that people would have given, with the judge's bias taken out by the items that people labelled.

    Parameters
    ----------
    judge_all : array_like
        The judge's scores of all items, the labelled ones among them. Failed judgements (NaN) are left out.
    judge_labelled, human_labelled : array_like
        The judge's and people's scores of the labelled items, in the same order. The labelled items must be drawn at
        random: twenty *flagged* answers tell nothing about the mean.
    level : float
    method : {"loo", "ppi++"}
        "ppi++" is the plain estimator with a normal interval [1]_. "loo" weighs each item with the slope found
        without it, which takes out the bias of few labels, and uses Student's t; where the judge carries no
        information the labels alone count. Where judge and people say only 0 or 1, "loo" is the rate by
        post-stratification: Jeffreys' Beta per verdict of the judge.
    seed : int
        Of the draws for rates.

    Returns
    -------
    CorrectedMean

    Raises
    ------
    ConfigError
        Fewer than two labels, or labelled scores that are not among `judge_all`.

    References
    ----------
    .. [1] Angelopoulos, Duchi, Zrnic, PPI++: efficient prediction-powered inference (2023).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> people = rng.integers(1, 6, 2000)
    >>> judge = np.minimum(people + 1, 5)
    >>> found = corrected_mean(judge, judge[:100], people[:100])
    >>> print(f"{found.judge_mean:.2f} -> {found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})")
    3.82 -> 3.03 (2.93 to 3.13)
    """
    one_of("corrected_mean(method)", method, ("loo", "ppi++"))
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ConfigError(f"corrected_mean(level={quote(level)}); expected a probability between 0 and 1")
    f, y = paired(judge_labelled, human_labelled, "corrected_mean(judge_labelled, human_labelled)")
    everyone = scores(judge_all, "corrected_mean(judge_all)")
    everyone = everyone[np.isfinite(everyone)]
    if len(f) < 2:
        raise ConfigError(f"corrected_mean(human_labelled): {len(f)} labels; expected at least 2, better {ROUGH}")
    rest = _without(everyone, f)
    labels = mean_t(y, level)
    informative, r = _informs(f, y)
    n, slope, used = len(y), 0.0, method
    estimate, low, high = labels
    if len(rest) >= 2 and method == "ppi++":
        slope = float(_slope(f, y, rest))
        estimate, variance = _rectified(f, y, rest, slope)
        half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
        low, high = estimate - half, estimate + half
    elif len(rest) >= 2 and _verdicts(everyone, y):
        used = "post-stratification"
        estimate, low, high = _rate(everyone, f, y, level, seed)
        informative = informative and high - low < 0.95 * (labels.high - labels.low)
    elif len(rest) >= 2 and informative:
        slope, estimate, variance = _leave_one_out(f, y, rest)
        half = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(variance)
        informative = half < 0.95 * (labels.high - labels.low) / 2
        if informative:
            low, high = estimate - half, estimate + half
        else:
            estimate, slope = labels.estimate, 0.0
    notes = [] if informative else ["the judge carries no information" + ("; using labels only" if not slope else "")]
    notes += [f"rough: fewer than {ROUGH} labels"] if n < ROUGH else []
    return CorrectedMean(
        estimate=float(estimate), low=float(low), high=float(high), level=level, judge_mean=float(everyone.mean()),
        labels_mean=labels.estimate, labels_low=labels.low, labels_high=labels.high, slope=slope, correlation=r,
        informative=bool(informative), n_judged=len(everyone), n_labelled=n, method=used, note="; ".join(notes),
    )  # fmt: skip


def _without(everyone: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """The scores of the items that nobody labelled."""
    values, counts = np.unique(everyone, return_counts=True)
    own, taken = np.unique(labelled, return_counts=True)
    place = np.searchsorted(values, own)
    there = place < len(values)
    there[there] = values[place[there]] == own[there]
    if not there.all() or (counts[place] < taken).any():
        raise ConfigError(
            "corrected_mean(judge_all): lacks some of the scores in judge_labelled; "
            "expected the scores of all judged items, the labelled ones among them"
        )
    counts[place] -= taken
    return np.repeat(values, counts)


def _slope(f: np.ndarray, y: np.ndarray, rest: np.ndarray) -> float | np.ndarray:
    """PPI++'s slope: cov(y, f) / (var(f) (1 + n / N)), between 0 and 1."""
    variance = np.var(np.concatenate([f, rest]), ddof=1)
    if variance <= 0:
        return 0.0
    return np.clip(np.cov(y, f, ddof=0)[0, 1] / (variance * (1 + len(y) / len(rest))), 0, 1)


def _rectified(f: np.ndarray, y: np.ndarray, rest: np.ndarray, slope: float) -> tuple[float, float]:
    rectifier = y - slope * f
    variance = rectifier.var(ddof=1) / len(y) + slope**2 * rest.var(ddof=1) / len(rest)
    return float(slope * rest.mean() + rectifier.mean()), float(variance)


def _leave_one_out(f: np.ndarray, y: np.ndarray, rest: np.ndarray) -> tuple[float, float, float]:
    """Each item's slope from the other items; mean slope, estimate, variance."""
    n = len(y)
    df, dy = f - f.mean(), y - y.mean()
    without = ((df * dy).sum() - df * dy * n / (n - 1)) / (n - 1)  # covariance of the others, divided by their number
    variance = np.var(np.concatenate([f, rest]), ddof=1)
    slopes = np.clip(without / (variance * (1 + (n - 1) / len(rest))), 0, 1)
    terms = y - slopes * (f - rest.mean())
    return (
        float(slopes.mean()),
        float(terms.mean()),
        float(terms.var(ddof=1) / n + slopes.mean() ** 2 * rest.var(ddof=1) / len(rest)),
    )


def _informs(f: np.ndarray, y: np.ndarray) -> tuple[bool, float]:
    """Whether Fisher's 95 % interval of the correlation is above 0, and the correlation."""
    if f.std() == 0 or y.std() == 0:
        return False, np.nan
    r = float(np.corrcoef(f, y)[0, 1])
    if len(y) < 4:
        return False, r
    return np.arctanh(min(r, 0.999999)) - 1.96 / np.sqrt(len(y) - 3) > 0, r


def _verdicts(judge: np.ndarray, people: np.ndarray) -> bool:
    seen = {*np.unique(judge).tolist(), *np.unique(people).tolist()}
    return seen == {0.0, 1.0}


def _rate(
    judge: np.ndarray, f: np.ndarray, y: np.ndarray, level: float, seed: int, draws: int = 20_000
) -> tuple[float, float, float]:
    """Sum over what the judge says (0 or 1) of P(says) P(people say 1 | says), both drawn."""
    rng = np.random.default_rng(seed)
    passed = rng.beta(judge.sum() + 0.5, len(judge) - judge.sum() + 0.5, draws)
    by_answer = [rng.beta(y[f == said].sum() + 0.5, (1 - y[f == said]).sum() + 0.5, draws) for said in (0.0, 1.0)]
    rate = passed * by_answer[1] + (1 - passed) * by_answer[0]
    low, high = np.quantile(rate, [(1 - level) / 2, (1 + level) / 2])
    return float(rate.mean()), float(low), float(high)
