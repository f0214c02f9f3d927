"""Query drift window after window, with a stated rate of false alarms; new content apart from a shift of the mix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from llm_monitoring.charts.run_length import cusum_limit
from llm_monitoring.drift.drift_test import DriftTest
from llm_monitoring.drift.vector_cache import Embedder
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.plotting import BLUE, INK, VERMILION, axes, days
from llm_monitoring.results import Result
from llm_monitoring.windows import floor, width

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["window_start", "window_end", "n", "p_value", "score", "limit", "alarm", "mix_p_value"]
MOST_PERMUTATIONS = 4_999
REFERENCE = 0.5  # the CUSUM's reference value, in sd of the normal scores


@dataclass
class DriftMonitor:
    """Two charts on the p-values of successive windows, that share one average run length between false alarms.

    The first fires on one window with p <= 1 / (2 A); the second is a CUSUM of z = Phi^-1(1 - p) and fires on several
    windows that lean the same way. A = `arl0` times the number of groups, so that all groups together raise a false
    alarm about every `arl0` windows of time at most.

    Parameters
    ----------
    reference : DataFrame or log
        Requests of the time when all was well: `user_input`, the `by` columns, and where known `session_id`,
        `timestamp`, `category`.
    arl0 : float
        Windows of time between two false alarms, on average, over all groups.
    by : list of str
        Columns that split the traffic; each group has a test and charts of its own.
    window : str
        Width of a window, such as ``"1d"``.
    embedder, method, seed
        As for `DriftTest`.

    Notes
    -----
    All windows are compared with the same reference, so their p-values lean together: where the reference is an odd
    draw, all windows look odd. The stated rate is exact for windows taken alone (the sum of alphas), and an average
    over references for the charts; a reference much larger than a window keeps the dependence small.

    Examples
    --------
    >>> import pandas as pd
    >>> from llm_monitoring.drift.embedding import hash_embed
    >>> def day(number, texts):
    ...     return pd.DataFrame({"timestamp": pd.Timestamp(2026, 5, number, 9, tz="UTC"), "user_input": texts})
    >>> usual = [f"where is parcel number {i}" for i in range(90)]
    >>> monitor = DriftMonitor(day(1, usual[:60]), by=[], embedder=hash_embed)
    >>> now = pd.concat([day(2, usual[60:80]), day(3, usual[80:] + [f"cancel plan {i} today" for i in range(10)])])
    >>> monitor.monitor(now).to_frame()["alarm"].tolist()
    [False, True]
    """

    reference: Any
    arl0: float = 100
    by: list[str] = field(default_factory=lambda: ["feature_id"])
    window: str = "1d"
    embedder: Embedder | str | None = None
    method: str = "panel"
    seed: int = 0

    def __post_init__(self):
        width(self.window)
        if not self.arl0 >= 2:
            raise ConfigError(f"DriftMonitor(arl0)={self.arl0}; expected at least 2 windows")
        frame = _table(self.reference, self.by, "reference", ["user_input"])
        groups = _groups(frame, self.by)
        self.share_ = self.arl0 * max(len(groups), 1)
        self.permutations_ = int(np.clip(np.ceil(4 * self.share_) - 1, 299, MOST_PERMUTATIONS))
        self.limit_ = cusum_limit(REFERENCE, 2 * self.share_, sides=1)
        self.tests_ = {
            name: DriftTest(
                part, embedder=self.embedder, method=self.method, permutations=self.permutations_, seed=self.seed
            )
            for name, part in groups.items()
        }
        self.categories_ = {name: _category(part) for name, part in groups.items()}

    def monitor(self, current: Any) -> DriftMonitorResult:
        """Test every window of every group, in the order of time.

        Parameters
        ----------
        current : DataFrame or log
            As the reference, with `timestamp`.

        Returns
        -------
        DriftMonitorResult
            Windows with too few queries have no p-value and leave the charts as they were; so do groups that the
            reference lacks.
        """
        import pandas as pd

        frame = _table(current, self.by, "current", ["user_input", "timestamp"])
        rows = []
        for name, part in _groups(frame, self.by).items():
            start = floor(pd.to_datetime(part["timestamp"], utc=True), self.window)
            total = 0.0
            for when, inside in part.groupby(start, sort=True):
                row = self._window(name, inside, total)
                total = 0.0 if row["alarm"] else row["score"]
                rows.append({**dict(zip(self.by, name, strict=True)), "window_start": when, **row})
        table = pd.DataFrame(rows, columns=[*self.by, *(c for c in COLUMNS if c != "window_end")])
        table.insert(len(self.by) + 1, "window_end", table["window_start"] + width(self.window))
        table = table.sort_values(["window_start", *self.by], ignore_index=True)
        return DriftMonitorResult(table, list(self.by), self.arl0, self.limit_, 1 / (2 * self.share_), self.window)

    def _window(self, name: tuple, inside: pd.DataFrame, total: float) -> dict[str, Any]:
        test = self.tests_.get(name)
        result = test.test(inside) if test else None
        row: dict[str, Any] = {"n": result.n_current if result else len(inside), "limit": self.limit_}
        if result is None or result.p_value is None:
            return row | {"p_value": None, "score": total, "alarm": False, "mix_p_value": None}
        total = max(0.0, total + float(norm.isf(result.p_value)) - REFERENCE)
        once = result.p_value <= 1 / (2 * self.share_)
        mix = _mix_p(self.categories_[name], _category(inside), self.seed)
        return row | {
            "p_value": result.p_value,
            "score": total,
            "alarm": bool(once or total > self.limit_),
            "mix_p_value": mix,
        }


@dataclass(frozen=True, repr=False)
class DriftMonitorResult(Result):
    """Query drift per window and group.

    Attributes
    ----------
    windows : DataFrame
        The `by` columns, `window_start`, `window_end`, `n` (queries), `p_value` (null where too few), `score` (the
        CUSUM after the window), `limit`, `alarm`, and `mix_p_value` (of the shares of the known categories alone; null
        where no category is logged). A small `p_value` beside a large `mix_p_value` is new content.
    arl0 : float
        Windows of time between two false alarms over all groups.
    """

    windows: pd.DataFrame
    by: list[str]
    arl0: float
    limit: float
    p_limit: float
    window: str

    @property
    def alarms(self) -> pd.DataFrame:
        """The windows that raised an alarm."""
        return self.windows[self.windows["alarm"].astype(bool)].reset_index(drop=True)

    @property
    def headline(self) -> str:
        tested = int(self.windows["p_value"].notna().sum())
        queries = int(self.windows["n"].sum()) if len(self.windows) else 0
        rate = f"a false alarm about every {self.arl0:g} windows of {self.window}"
        alarms = self.alarms
        if not tested:
            return f"No window of {self.window} has enough queries to tell ({queries:,} queries)."
        if alarms.empty:
            return f"No drift in {tested:,} windows ({queries:,} queries; {rate})."
        first = alarms.iloc[0]
        name = " ".join(str(first[column]) for column in self.by)
        at = f"{first['window_start']:%Y-%m-%d %H:%M}"
        return (
            f"{len(alarms)} of {tested:,} windows drifted, first {name or 'all'} at {at} (n = {first['n']:,}; {rate})."
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per window and group."""
        return self.windows.copy()

    def plot(self, ax=None):
        """The normal score of each window's p-value over time, per group; alarms as diamonds."""
        with axes(ax) as ax:
            shown = self.windows[self.windows["p_value"].notna()]
            score = norm.isf(shown["p_value"].astype(float))
            for part in _groups(shown.assign(z=score), self.by).values():
                ax.plot(part["window_start"], part["z"], "o-", color=BLUE, mfc="white", lw=1, alpha=0.7)
                late = part[part["alarm"].astype(bool)]
                ax.plot(late["window_start"], late["z"], "D", color=VERMILION)
            ax.axhline(norm.isf(self.p_limit), color=INK, ls="--", lw=1)
            ax.set_ylabel("normal score of p")
            if len(shown) > 1:
                days(ax, shown["window_start"].max() - shown["window_start"].min())
            ax.set_title(f"Query drift: {len(self.alarms)} alarms in {len(shown):,} windows")
        return ax


def _table(source: Any, by: list[str], name: str, needed: list[str]) -> pd.DataFrame:
    frame = source.requests if hasattr(source, "requests") and not hasattr(source, "columns") else source
    if not hasattr(frame, "columns"):
        raise ConfigError(f"DriftMonitor({name}): {type(frame).__name__}; expected a requests table or a log")
    for column in [*needed, *by]:
        one_of(f"DriftMonitor({name}) needs the column {column!r}; it", column, list(map(str, frame.columns)))
    return frame


def _groups(frame: pd.DataFrame, by: list[str]) -> dict[tuple, pd.DataFrame]:
    if not by:
        return {(): frame}
    return {name if isinstance(name, tuple) else (name,): part for name, part in frame.groupby(by, sort=True)}


def _category(frame: pd.DataFrame) -> np.ndarray | None:
    return frame["category"].dropna().astype(str).sort_values().to_numpy() if "category" in frame.columns else None


def _mix_p(before: np.ndarray | None, now: np.ndarray | None, seed: int, permutations: int = 999) -> float | None:
    """Permutation p of Pearson's chi-square of the category shares."""
    if before is None or now is None or not len(before) or not len(now):
        return None
    kinds, code = np.unique(np.concatenate([before, now]), return_inverse=True)
    size = np.bincount(code)
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(size, len(now), size=permutations)
    expected = size * len(now) / len(code)
    chi = (
        ((np.vstack([np.bincount(code[len(before) :], minlength=len(kinds)), drawn]) - expected) ** 2) / expected
    ).sum(axis=1)
    return float((chi >= chi[0] - 1e-9).mean())
