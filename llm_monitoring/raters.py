"""One rater's scores against another's: a judge against people, a new judge against the old. Arrays in, results out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.intervals import mean_t
from llm_monitoring.plotting import BLUE, INK, VERMILION, axes
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd

COEFFICIENTS = ("kappa", "weighted_kappa", "alpha_ordinal", "alpha_nominal", "ac1")
ROUGH = 50  # labels below which a corrected mean is called rough


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

    def plot(self, ax=None):
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
    first, second = _paired(a, b, "agreement(a, b)")
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

    def plot(self, ax=None):
        """The three means with their intervals."""
        with axes(ax, size=(6.4, 2.2)) as ax:
            rows = list(self.to_frame().iloc[::-1].itertuples(index=False, name=None))
            for y, (_, estimate, low, high, _) in enumerate(rows):
                known = np.isfinite(low)
                if known:
                    ax.plot([low, high], [y, y], color=BLUE, lw=2)
                ax.plot(estimate, y, "o" if known else "D", color=BLUE if known else VERMILION)
            ax.set_yticks(range(len(rows)), [f"{name} (n = {n:,})" for name, *_, n in rows])
            ax.grid(axis="x")
            ax.set(title="What people would have scored", ylim=(-0.6, len(rows) - 0.4))
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
    f, y = _paired(judge_labelled, human_labelled, "corrected_mean(judge_labelled, human_labelled)")
    everyone = np.asarray(judge_all, float).ravel()
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


def _rate(judge: np.ndarray, f: np.ndarray, y: np.ndarray, level: float, seed: int, draws: int = 20_000):
    """Sum over the judge's verdicts of P(verdict) P(people say 1 | verdict), both drawn."""
    rng = np.random.default_rng(seed)
    passed = rng.beta(judge.sum() + 0.5, len(judge) - judge.sum() + 0.5, draws)
    by_verdict = [
        rng.beta(y[f == verdict].sum() + 0.5, (1 - y[f == verdict]).sum() + 0.5, draws) for verdict in (0.0, 1.0)
    ]
    rate = passed * by_verdict[1] + (1 - passed) * by_verdict[0]
    low, high = np.quantile(rate, [(1 - level) / 2, (1 + level) / 2])
    return float(rate.mean()), float(low), float(high)


@dataclass(frozen=True, eq=False)
class Bridge(Result):
    """How a new judge or rubric scores against the old one, from items that both judged.

    Attributes
    ----------
    offset, low, high : float
        Mean of new minus old, with its t interval.
    n : int
    sd : float
        Of the differences.
    mean_old, sd_old, mean_new, sd_new, correlation : float
    method : str
        How `splice` maps new scores to the old scale: "linear" from 100 items on, else "offset".
    spread_p : float
        p that both spread the scores alike (Pitman and Morgan): where it is small, one offset does not fit all scores.
    """

    offset: float
    low: float
    high: float
    level: float
    n: int
    sd: float
    mean_old: float
    sd_old: float
    mean_new: float
    sd_new: float
    correlation: float
    spread_p: float
    method: str

    @property
    def headline(self) -> str:
        """The offset with its interval."""
        moved = "scores as the old one did" if self.low <= 0 <= self.high else "does not score as the old one did"
        return f"The new judge {moved}: {self.offset:+.2f} ({self.low:+.2f} to {self.high:+.2f}) over {self.n} items."

    def on_old_scale(self, mean: ArrayLike, se: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means of the new judge on the old scale, their standard errors, and the part that all of them share."""
        mean, se = np.asarray(mean, float), np.asarray(se, float)
        if self.method == "offset":
            shared = np.full(mean.shape, self.sd / np.sqrt(self.n))
            return mean - self.offset, np.hypot(se, shared), shared
        ratio, z = self.sd_old / self.sd_new, (mean - self.mean_new) / self.sd_new
        shared = self.sd_old * np.sqrt(
            (2 * (1 - self.correlation) + (1 - self.correlation**2) * z**2) / self.n
        )  # Kolen and Brennan, Test Equating (2014), single group
        return self.mean_old + ratio * (mean - self.mean_new), np.hypot(ratio * se, shared), shared

    def to_frame(self) -> pd.DataFrame:
        """One row: `offset`, `low`, `high`, `n`, `method`."""
        import pandas as pd

        return pd.DataFrame([{name: getattr(self, name) for name in ("offset", "low", "high", "n", "method")}])

    def plot(self, ax=None):
        """The two means, and the offset."""
        with axes(ax, size=(5, 2)) as ax:
            ax.plot([self.low, self.high], [0, 0], color=BLUE, lw=2)
            ax.plot(self.offset, 0, "o", color=BLUE)
            ax.axvline(0, color=INK, lw=1, ls=(0, (4, 3)))
            ax.set_yticks([])
            ax.set(title=f"New judge minus old, {self.n} items", xlabel="score points")
        return ax


def bridge(old: ArrayLike, new: ArrayLike, level: float = 0.95) -> Bridge:
    """Compare a new judge or rubric with the old one on items that both judged; 100 random recent ones or more.

    The same comparison of one judge with itself, on anchor items that are judged anew each day, shows a judge that
    changed without telling: the interval of the offset leaves 0.

    Parameters
    ----------
    old, new : array_like
        Scores of the same items; items that one of them failed on (NaN) are left out.
    level : float

    Returns
    -------
    Bridge

    Examples
    --------
    >>> found = bridge([4, 3, 5, 4, 2, 4], [5, 3, 5, 5, 3, 5])
    >>> print(f"{found.offset:.2f} ({found.low:.2f} to {found.high:.2f})")
    0.67 (0.12 to 1.21)
    """
    before, after = _paired(old, new, "bridge(old, new)")
    if len(before) < 2:
        raise ConfigError(f"bridge(old, new): {len(before)} items judged by both; expected at least 2, better 100")
    difference = after - before
    offset = mean_t(difference, level)
    spread = before.std() > 0 and after.std() > 0
    total = before + after
    morgan = len(before) > 2 and difference.std() > 0 and total.std() > 0
    return Bridge(
        offset=offset.estimate, low=offset.low, high=offset.high, level=level, n=len(before),
        sd=float(difference.std(ddof=1)), mean_old=float(before.mean()), sd_old=float(before.std(ddof=1)),
        mean_new=float(after.mean()), sd_new=float(after.std(ddof=1)),
        correlation=float(np.corrcoef(before, after)[0, 1]) if spread else np.nan,
        spread_p=float(stats.pearsonr(total, difference).pvalue) if morgan else 1.0,
        method="linear" if len(before) >= 100 and spread else "offset",
    )  # fmt: skip


def splice(quality: pd.DataFrame, bridge: Bridge, at) -> pd.DataFrame:
    """Put the windows judged by a new judge on the old judge's scale, with the bridge's error added.

    Parameters
    ----------
    quality : DataFrame
        From `quality_metrics`: `window_start`, `mean_quality`, `se_quality`.
    bridge : Bridge
    at : timestamp
        The seam: windows that start at or after it were judged by the new judge.

    Returns
    -------
    DataFrame
        `quality` with `mean_quality`, `se_quality` on the old scale, `spliced`, and `shared_se`: the part of the
        error that all windows after the seam share. A difference of two of them does not contain it, a difference
        across the seam does.

    Examples
    --------
    >>> import pandas as pd
    >>> quality = pd.DataFrame({"window_start": pd.date_range("2026-05-11", periods=2, tz="UTC"),
    ...     "mean_quality": [4.0, 4.6], "se_quality": [0.1, 0.1]})
    >>> splice(quality, bridge([4, 3, 5, 4, 2, 4], [5, 3, 5, 5, 3, 5]), "2026-05-12")["mean_quality"].round(2).tolist()
    [4.0, 3.93]
    """
    import pandas as pd

    missing = [name for name in ("window_start", "mean_quality", "se_quality") if name not in quality]
    if missing:
        raise ConfigError(f"splice(quality): no column {quote(missing[0])}; expected a table of quality_metrics")
    seam = pd.Timestamp(at)
    after = quality["window_start"] >= (seam if seam.tzinfo else seam.tz_localize("UTC"))
    mean, se, shared = bridge.on_old_scale(quality["mean_quality"], quality["se_quality"])
    return quality.assign(
        mean_quality=quality["mean_quality"].mask(after, pd.Series(mean, quality.index)),
        se_quality=quality["se_quality"].mask(after, pd.Series(se, quality.index)),
        spliced=after,
        shared_se=pd.Series(shared, quality.index).where(after, 0.0),
    )


def _paired(a: ArrayLike, b: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as floats, without the items that one of them lacks."""
    first, second = np.asarray(a, float).ravel(), np.asarray(b, float).ravel()
    if len(first) != len(second):
        raise ConfigError(f"{name}: {len(first)} and {len(second)} scores; expected one of each per item")
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        raise ConfigError(f"{name}: no item that both scored")
    return first[both], second[both]
