"""Phase I: is the baseline itself quiet? Outliers and a step in it are shown; setting windows aside is a person's act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import plotting
from llm_monitoring.charts.arguments import expect, is_number, is_whole
from llm_monitoring.charts.measurements import read_windows
from llm_monitoring.charts.onset import change_point
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class BaselineCheck(Result):
    """What stands out in a baseline.

    Attributes
    ----------
    windows : DataFrame
        `window`, `value`, `n`, `z` (deviation from the median in robust sd), `outlier`.
    alpha : float
        Probability of naming anything in a quiet baseline: half for outliers, half for the step.
    step : dict or None
        `window`, `low`, `high` (when it most likely began), `size`, `p_value`; None where none was seen.
    step_p_value : float
    """

    windows: pd.DataFrame
    alpha: float
    step: dict[str, Any] | None
    step_p_value: float

    @property
    def outliers(self) -> list[Any]:
        """The windows that stand out, as `ControlChart.fit(set_aside=...)` takes them."""
        return self.windows.loc[self.windows["outlier"], "window"].tolist()

    @property
    def quiet(self) -> bool:
        """Nothing stands out."""
        return not self.outliers and self.step is None

    @property
    def headline(self) -> str:
        """What stands out, and how often something would in a quiet baseline."""
        n, chance = (
            int(self.windows["value"].notna().sum()),
            f"falsely seen in {100 * self.alpha:.0f} % of quiet baselines",
        )
        if self.quiet:
            return f"baseline of {n} windows: nothing stands out (step p = {self.step_p_value:.2f})"
        parts = [f"{len(self.outliers)} outliers"] if self.outliers else []
        if self.step:
            parts.append(
                f"a step of {self.step['size']:.3g} from window {self.step['window']} on (p = {self.step_p_value:.3f})"
            )
        return f"baseline of {n} windows: {' and '.join(parts)} ({chance}); set aside only what is understood"

    def to_frame(self) -> pd.DataFrame:
        """One row per window: window, value, n, z, outlier, after_step."""
        return self.windows.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """The windows in time, outliers as diamonds, the step as a dashed line."""
        frame = self.windows
        loud = frame["outlier"].to_numpy(dtype=bool)
        with plotting.axes(ax) as ax:
            ax.plot(frame["window"], frame["value"], color=plotting.BLUE, lw=1)
            ax.plot(frame["window"][~loud], frame["value"][~loud], "o", mfc=plotting.PAPER, mec=plotting.BLUE)
            ax.plot(frame["window"][loud], frame["value"][loud], "D", ms=8, color=plotting.VERMILION)
            if self.step:
                early = self.step["window"] < frame["window"].iloc[len(frame) // 2]
                plotting.mark_change(ax, self.step["window"], "step", side="left" if early else "right")
            ax.set(xlabel="window; diamond: outlier; dashes: a step of the level")
            ax.set_title("Baseline check", loc="left")
        return ax


def check_baseline(
    baseline: pd.Series | pd.DataFrame | Sequence[float], *, kind: str = "mean", alpha: float = 0.05,
    permutations: int = 999, seed: int = 0,
) -> BaselineCheck:  # fmt: skip
    """Look for outliers and for a step in windows that are to be a baseline.

    Outliers: deviation from the median, in an sd that is the larger of the sampling error and the scaled median
    absolute deviation, beyond what the largest of as many normal windows reaches with probability alpha / 2. Step: the largest standardised
    difference of means before and after any window, outliers left out, against its permutation distribution.

    Parameters
    ----------
    baseline : Series, list, or DataFrame
        As for `ControlChart.fit`.
    kind : str
        "mean", "proportion", "count" or "positive".
    alpha : float
        Probability of naming anything in a quiet baseline.
    permutations, seed : int

    Returns
    -------
    BaselineCheck

    >>> check_baseline([4.1, 4.0, 4.2, 4.1, 4.0, 2.0, 4.1, 4.2, 4.0, 4.1]).outliers
    [5]
    """
    one_of("check_baseline(kind)", kind, ("mean", "proportion", "count", "positive"))
    expect(is_number(alpha, above=0, below=1), "check_baseline", "a probability between 0 and 1", alpha=alpha)
    expect(is_whole(permutations, 1), "check_baseline", "a whole number, 1 or more", permutations=permutations)
    expect(is_whole(seed), "check_baseline", "a whole number, 0 or more", seed=seed)
    windows = read_windows(baseline, "baseline", windows=5, chart="check_baseline")
    value, n = windows["value"].to_numpy(), windows["n"].to_numpy()
    if kind == "positive":
        if (value <= 0).any():
            raise ConfigError("baseline, value: expected numbers above 0 for kind='positive'")
        value = np.log(value)
    elif kind == "count":
        value = value / np.where(np.isnan(n), 1.0, n)
    there = ~np.isnan(value) & ~(n == 0)
    z = np.full(len(value), np.nan)
    z[there] = _standardised(value[there], n[there], windows["sd"].to_numpy()[there], kind)
    bound = _outlier_bound(
        int(there.sum()), bool(np.isfinite(windows["sd"]).any() or kind in ("proportion", "count")), alpha, seed
    )
    outlier = np.nan_to_num(np.abs(z)) > bound
    kept = np.flatnonzero(there & ~outlier)
    p_value, at, low, high = _step(z[kept], permutations, seed)
    table = windows[["window", "value", "n"]].assign(z=z, outlier=outlier)
    window = windows["window"]
    step = None
    if p_value <= alpha / 2:
        first, last = value[kept[:at]].mean(), value[kept[at:]].mean()
        size = np.exp(last) - np.exp(first) if kind == "positive" else last - first
        named = {name: window.iloc[kept[k]] for name, k in (("window", at), ("low", low), ("high", high))}
        step = {**named, "size": float(size), "p_value": p_value}
    return BaselineCheck(table, alpha, step, p_value)


def _standardised(value: np.ndarray, n: np.ndarray, sd: np.ndarray, kind: str) -> np.ndarray:
    size = np.where(np.isnan(n), 1.0, n)
    center = float(np.median(value))
    if kind == "proportion":
        share = (np.sum(value * size) + 0.5) / (size.sum() + 1)
        sampling = np.sqrt(share * (1 - share) / size)
    elif kind == "count":
        sampling = np.sqrt((np.sum(value * size) + 0.5) / size.sum() / size)
    else:
        scores = np.isfinite(sd) & (size > 1) & (kind == "mean")
        pooled = (
            np.sqrt(((size - 1) * np.where(scores, sd, 0) ** 2)[scores].sum() / max((size - 1)[scores].sum(), 1))
            if scores.any()
            else 0.0
        )
        sampling = pooled / np.sqrt(size)
    relative = (value - center) / np.where(sampling > 0, sampling, 1.0)
    robust = 1.4826 * float(np.median(np.abs(relative)))
    least = 1.0 if (sampling > 0).all() else 0.0
    scale = max(robust, least)
    if scale == 0:
        scale = float(np.std(relative)) or 1.0
    return relative / scale


def _outlier_bound(windows: int, sampled: bool, alpha: float, seed: int) -> float:
    """The largest robust deviation among so many normal windows, exceeded with probability alpha / 2."""
    draws = np.random.default_rng([seed, 3]).standard_normal((4000, windows))
    apart = np.abs(draws - np.median(draws, axis=1, keepdims=True))
    scale = np.maximum(1.4826 * np.median(apart, axis=1), 1.0 if sampled else 0.0)
    return float(np.quantile(apart.max(axis=1) / scale, 1 - alpha / 2))


def _step(z: np.ndarray, permutations: int, seed: int) -> tuple[float, int, int, int]:
    if len(z) < 6:
        return 1.0, 0, 0, 0
    order = np.arange(1, len(z))
    unit = np.sqrt(order * (len(z) - order) / len(z))

    def largest(series: np.ndarray) -> np.ndarray:
        before = np.cumsum(series, axis=-1)[..., :-1]
        rest = series.sum(axis=-1, keepdims=True) - before
        return np.abs(before / order - rest / (len(z) - order)) * unit

    rng = np.random.default_rng([seed, 2])
    found = largest(z)
    shuffled = largest(rng.permuted(np.broadcast_to(z, (permutations, len(z))), axis=1)).max(axis=1)
    p_value = (1 + int((shuffled >= found.max() - 1e-12).sum())) / (permutations + 1)
    at = int(np.argmax(found)) + 1
    spread = max(float(np.r_[z[:at] - z[:at].mean(), z[at:] - z[at:].mean()].var()), 1e-12)
    span = change_point(z - z[:at].mean(), np.full(len(z), 1 / spread), spread / at)
    return p_value, at, min(span.low, at), max(span.high, at)
