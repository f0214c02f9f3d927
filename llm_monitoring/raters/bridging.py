"""A change of judge or rubric: how the new one scores against the old one, and a series over the seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from llm_monitoring import times
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.intervals import mean_t
from llm_monitoring.plotting import BLUE, INK, axes
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

from llm_monitoring.raters.pairs import paired


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

    def plot(self, ax: Axes | None = None) -> Axes:
        """The offset with its interval, beside no offset."""
        with axes(ax, size=(5, 2)) as ax:
            ax.plot([self.low, self.high], [0, 0], color=BLUE, lw=2)
            ax.plot(self.offset, 0, "o", color=BLUE)
            ax.axvline(0, color=INK, lw=1, ls=(0, (4, 3)))
            ax.set_yticks([])
            ax.set(title=f"New judge minus old, {self.n} items", xlabel="score points with interval; dashes: no offset")
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
    before, after = paired(old, new, "bridge(old, new)")
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


def splice(quality: pd.DataFrame, bridge: Bridge, at: str | pd.Timestamp) -> pd.DataFrame:
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
    after = quality["window_start"] >= times.moment(at, "splice: at", tz="UTC")
    mean, se, shared = bridge.on_old_scale(quality["mean_quality"], quality["se_quality"])
    return quality.assign(
        mean_quality=quality["mean_quality"].mask(after, pd.Series(mean, quality.index)),
        se_quality=quality["se_quality"].mask(after, pd.Series(se, quality.index)),
        spliced=after,
        shared_se=pd.Series(shared, quality.index).where(after, 0.0),
    )
