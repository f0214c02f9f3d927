"""Query drift window after window, with a stated rate of false alarms given the reference; content apart from mix."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from llm_monitoring.distributions import normal_quantile
from llm_monitoring.drift.drift_test import DriftTest
from llm_monitoring.drift.mix import mix_p
from llm_monitoring.drift.queries import Queries, join, read_queries, sample_places
from llm_monitoring.drift.rhythm import KINDS, rhythm_of
from llm_monitoring.drift.vector_cache import Embedder
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.plotting import INK, MOST_LINES, PAPER, VERMILION, axes, days, key_below, nothing, series
from llm_monitoring.results import Result
from llm_monitoring.windows import floor, width
from llm_monitoring.wording import one_line

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "window_start", "window_end", "n", "p_value", "score", "limit", "alarm", "mix_p_value", "rule", "reference_p_value",
]  # fmt: skip
MOST_PERMUTATIONS = 4_999
FIRST_LOOK = 299  # permutations after which a window that looks ordinary is left
BEYOND_DOUBT = 0.1  # share of the limit of p at which a window does not join the pool
CUSUM_REFERENCE = 0.5  # the CUSUM's reference value, in sd of the normal scores
SLOW, TOGETHER = 0.2, 4  # share of the budget of the slow rule, and windows that it looks at as one
GONE = 0.5  # p above which what the slow rule said is over
MOST_CURRENT, MOST_POOL = 2_000, 4_000  # queries of a window and of what it is held against; of more a random sample


@dataclass
class DriftMonitor:
    """Query drift window after window, with a stated rate of false alarms that holds given this reference.

    Each window is compared with a pool: the reference and the earlier windows, but for those that differed beyond
    doubt (p at most a tenth of the limit). The p-values of such a sequence are, but for these, independent and uniform
    where nothing changes, whatever the reference is like [1]_; held against the reference alone they would lean
    together, and an odd reference would alarm for ever. Three rules share the budget of one false alarm in `arl0`
    windows of time over all groups:

    * ``once``: one window with a small p;
    * ``several``: a CUSUM of z = Phi^-1(1 - p), for windows that lean the same way. Both limits are such that together
      they take 80 % of the budget;
    * ``slow``: every fourth window the last four together are compared with the reference itself, which no window ever
      joins: a change so slow that the pool followed it shows here (20 %). Many small windows together know more than a
      small reference does, and each of these looks meets the same one, so an odd draw would alarm for ever: what was
      said is not said again before one such look found nothing odd (p above one half).

    The reference changes only by `accept`, which keeps a record.

    Parameters
    ----------
    reference : DataFrame or log
        Requests of the time when all was well: `user_input`, the `by` columns, and where known `session_id`,
        `timestamp`, `category`. Where `timestamp` shows that weekends, or weekdays, have topics of their own, a window
        is compared with days of its own kind (``rhythm_``); from two weeks on all seven kinds of days are looked at.
    arl0 : float
        Windows of time between two false alarms, on average, over all groups.
    by : list of str
        Columns that split the traffic; each group has a test and charts of its own.
    window : str
        Width of a window, such as ``"1d"``.
    embedder, method, seed
        As for `DriftTest`.
    acts : tuple of dict
        What `accept` recorded: ``reason``, ``queries``, ``first``, ``last``.

    References
    ----------
    .. [1] Vovk, Nouretdinov, Gammerman, Testing exchangeability on-line, ICML 2003: ranks within a growing bag are
       independent.

    Notes
    -----
    What is said of a window rests on the reference and on windows before it, so later windows never change it. A new
    topic that no rule finds beyond doubt joins the pool with its window; the slow rule still sees it. Were every window
    with an alarm kept out of the pool, one false alarm would bring others: the pool would stay as odd as it was
    (docs/drift.md has the rates). A p-value is never below 1 / 5,000: with an
    `arl0` of more than 2,400 over all groups one window alone cannot alarm, two in a row can, and from 240 on every
    window joins.

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
    acts: tuple[dict[str, Any], ...] = ()

    def __post_init__(self):
        width(self.window)
        if not self.arl0 >= 2:
            raise ConfigError(f"DriftMonitor(arl0)={self.arl0}; expected at least 2 windows")
        frame = _table(self.reference, self.by, "reference", ["user_input"])
        groups = _groups(frame, self.by)
        share = self.arl0 * max(len(groups), 1)
        self.p_limit_, self.limit_ = limits(share / (1 - SLOW))
        self.slow_limit_ = min(SLOW * TOGETHER / share, 0.5)
        smallest = min(self.p_limit_, self.slow_limit_)
        self.permutations_ = int(np.clip(np.ceil(1 / (BEYOND_DOUBT * smallest)) - 1, FIRST_LOOK, MOST_PERMUTATIONS))
        self.groups_ = {name: _Group.of(part, self) for name, part in groups.items()}

    @property
    def rhythm_(self) -> dict[tuple, str]:
        """Per group: which days have topics of their own (none, weekend, weekday)."""
        return {name: group.rhythm for name, group in self.groups_.items()}

    def monitor(self, current: Any) -> DriftMonitorResult:
        """Test every window of every group, in the order of time.

        Parameters
        ----------
        current : DataFrame or log
            As the reference, with `timestamp`.

        Returns
        -------
        DriftMonitorResult
            Windows with too few queries have no p-value and leave the charts as they were; so do groups, and kinds of
            days, that the reference lacks.
        """
        import pandas as pd

        frame = _table(current, self.by, "current", ["user_input", "timestamp"])
        rows = []
        for name, part in _groups(frame, self.by).items():
            start = floor(pd.to_datetime(part["timestamp"], utc=True), self.window)
            watch = _Watch(self, self.groups_.get(name))
            for when, inside in part.groupby(start, sort=True):
                rows.append({**dict(zip(self.by, name, strict=True)), "window_start": when, **watch.next(when, inside)})
        table = pd.DataFrame(rows, columns=[*self.by, *(c for c in COLUMNS if c != "window_end")])
        numbers = ["p_value", "mix_p_value", "reference_p_value"]
        table = table.astype(dict.fromkeys(numbers, float) | {"alarm": bool})
        table["rule"] = pd.Series([row["rule"] for row in rows], dtype=object)  # null stays None
        table.insert(len(self.by) + 1, "window_end", table["window_start"] + width(self.window))
        table = table.sort_values(["window_start", *self.by], ignore_index=True)
        return DriftMonitorResult(table, list(self.by), self.arl0, self.limit_, self.p_limit_, self.window, self.acts)

    def accept(self, current: Any, reason: str) -> DriftMonitor:
        """A monitor whose reference holds these requests too: the one way in which a reference changes.

        Parameters
        ----------
        current : DataFrame or log
            Requests that are the new normal, such as a topic that came to stay.
        reason : str
            Kept in `acts`, which every result shows.
        """
        import pandas as pd

        if not str(reason).strip():
            raise ConfigError("DriftMonitor.accept(reason=''); expected why these requests are normal from now on")
        added = _table(current, self.by, "current", ["user_input"])
        before = _table(self.reference, self.by, "reference", ["user_input"])
        times = pd.to_datetime(added["timestamp"], utc=True) if "timestamp" in added.columns else pd.Series([None])
        act = {"reason": str(reason), "queries": len(added), "first": times.min(), "last": times.max()}
        return replace(self, reference=pd.concat([before, added], ignore_index=True), acts=(*self.acts, act))


@dataclass(frozen=True)
class _Group:
    """What the reference says of one group: its queries, their kinds of days, its categories."""

    test: DriftTest
    kinds: np.ndarray
    rhythm: str
    category: np.ndarray | None

    @classmethod
    def of(cls, part: pd.DataFrame, monitor: DriftMonitor) -> _Group:
        import pandas as pd

        test = DriftTest(part, embedder=monitor.embedder, method=monitor.method, seed=monitor.seed)
        kinds, rhythm = np.zeros(len(test.reference_), int), "none"
        has_times = "timestamp" in part.columns and part["timestamp"].notna().all()
        if has_times and width(monitor.window) < pd.Timedelta("7D"):
            times = pd.to_datetime(part["timestamp"], utc=True).iloc[test.reference_.rows].reset_index(drop=True)
            rhythm = rhythm_of(times, test.reference_.vectors, monitor.seed)
            kinds = KINDS[rhythm](times.dt.day_of_week.to_numpy())
        return cls(test, kinds, rhythm, _category(part))


class _Watch:
    """One group's windows in the order of time: the pool, the CUSUM, and the windows of the slow rule."""

    def __init__(self, monitor: DriftMonitor, group: _Group | None):
        self.monitor, self.group = monitor, group
        self.joined: list[tuple[int, Queries]] = []
        self.latest: list[tuple[int, Queries]] = []
        self.total = 0.0
        self.told = False  # by the slow rule

    def next(self, when: pd.Timestamp, inside: pd.DataFrame) -> dict[str, Any]:
        """The row of one window."""
        row: dict[str, Any] = {"n": len(inside), "limit": self.monitor.limit_, "score": self.total, "alarm": False}
        row |= {"p_value": None, "mix_p_value": None, "rule": None, "reference_p_value": None}
        if self.group is None:
            return row
        now = read_queries(inside, self.group.test.embed, "current", MOST_CURRENT, self.monitor.seed)
        kind = int(KINDS[self.group.rhythm](np.array([when.day_of_week]))[0])
        p = self._p(self._pool(kind, len(now), when), now, self.monitor.p_limit_)
        row |= {"n": now.count, "p_value": p}
        if p is None:
            return row
        row["mix_p_value"] = mix_p(self.group.category, _category(inside), self.monitor.seed)
        self.total = max(0.0, self.total + float(-normal_quantile(p)) - CUSUM_REFERENCE)
        row["score"] = self.total
        rule = "once" if p <= self.monitor.p_limit_ else "several" if self.total > self.monitor.limit_ else None
        row["reference_p_value"] = slow = self._slow(kind, now)
        if slow is not None:
            differs = slow <= self.monitor.slow_limit_
            if rule is None and differs and not self.told:
                rule = "slow"
            self.told = differs or (self.told and slow <= GONE)
        if p > BEYOND_DOUBT * self.monitor.p_limit_:
            self.joined.append((kind, now))
        if rule in ("once", "several"):
            self.total = 0.0
        return row | {"alarm": rule is not None, "rule": rule}

    def _pool(self, kind: int, size: int, when: pd.Timestamp) -> Queries:
        assert self.group is not None
        reference = self.group.test.reference_.at(np.flatnonzero(self.group.kinds == kind))
        pool = join([reference, *(queries for other, queries in self.joined if other == kind)])
        most = int(np.clip(2 * size, MOST_POOL - 1_500, MOST_POOL))
        drawn = sample_places(pool.sessions, pool.keys, most, [self.monitor.seed, when.value // 10**9])
        return pool.at(drawn)

    def _p(self, before: Queries, now: Queries, limit: float) -> float | None:
        """p-value; more permutations only where the first look leaves a doubt, which never makes a p smaller."""
        assert self.group is not None
        p = self.group.test.compare(before, now, FIRST_LOOK).p_value
        if p is None or p > 0.05 or self.monitor.permutations_ == FIRST_LOOK:
            return p
        return self.group.test.compare(before, now, self.monitor.permutations_).p_value

    def _slow(self, kind: int, now: Queries) -> float | None:
        """P of the last four windows together against the reference, every fourth window."""
        assert self.group is not None
        self.latest.append((kind, now))
        if len(self.latest) < TOGETHER:
            return None
        kinds = {kind for kind, _ in self.latest}
        together = join([queries for _, queries in self.latest])
        own = np.concatenate([np.full(len(queries), kind) for kind, queries in self.latest])
        self.latest = []
        now = together.at(sample_places(together.sessions, together.keys, MOST_CURRENT, self.monitor.seed))
        reference = self.group.test.reference_
        if self.group.rhythm != "none":
            reference = reference.at(_same_mix(self.group.kinds, own[now.rows], kinds, self.monitor.seed))
        places = sample_places(reference.sessions, reference.keys, MOST_POOL, self.monitor.seed)
        return self._p(reference.at(places), now, self.monitor.slow_limit_)


def _same_mix(kinds: np.ndarray, own: np.ndarray, wanted: set[int], seed: int) -> np.ndarray:
    """Places of the reference with the same mix of kinds of days as the windows, as many as there are."""
    rng = np.random.default_rng(seed)
    share = {kind: (own == kind).mean() for kind in sorted(wanted)}
    size = min((kinds == kind).sum() / part for kind, part in share.items())
    drawn = [rng.permutation(np.flatnonzero(kinds == kind))[: int(size * part)] for kind, part in share.items()]
    return np.sort(np.concatenate(drawn))


@lru_cache(maxsize=64)
def limits(arl0: float) -> tuple[float, float]:
    """Limits of p and of the CUSUM that together give one false alarm in `arl0` windows; 60 % of them by p alone.

    The average run length of both rules is that of a Markov chain over 150 values of the CUSUM (Brook and Evans 1972).

    >>> p, h = limits(100)
    >>> round(p, 3), 2 < h < 6
    (0.006, True)
    """
    p_limit = min(0.6 / arl0, 0.5)
    low, high = 0.01, 20.0
    for _ in range(25):
        h = (low + high) / 2
        low, high = (low, h) if _run_length(p_limit, h) > arl0 else (h, high)
    return p_limit, h


def _run_length(p_limit: float, h: float, cells: int = 150) -> float:
    most = -normal_quantile(p_limit)
    edge = np.linspace(0, h, cells + 1)
    middle = np.concatenate([[0.0], (edge[:-1] + edge[1:]) / 2])
    upper = np.minimum(edge[None, :] - middle[:, None] + CUSUM_REFERENCE, most)
    below = ndtr(upper)  # chance of a score that leads to at most this edge, and is no alarm at once
    step = np.hstack([below[:, :1], np.diff(below, axis=1)])
    return float(np.linalg.solve(np.eye(cells + 1) - step, np.ones(cells + 1))[0])


@dataclass(frozen=True, repr=False)
class DriftMonitorResult(Result):
    """Query drift per window and group.

    Attributes
    ----------
    windows : DataFrame
        The `by` columns, `window_start`, `window_end`, `n` (queries), `p_value` (null where too few), `score` (the
        CUSUM after the window), `limit`, `alarm`, and `mix_p_value` (of the shares of the known categories alone; null
        where no category is logged). A small `p_value` beside a large `mix_p_value` is new content. `rule` says which
        rule raised the alarm (once, several, slow), `reference_p_value` is that of the slow rule, every fourth window.
    arl0 : float
        Windows of time between two false alarms over all groups.
    acts : tuple of dict
        Every time that requests were accepted into the reference: reason, queries, first, last.
    """

    windows: pd.DataFrame
    by: list[str]
    arl0: float
    limit: float
    p_limit: float
    window: str
    acts: tuple[dict[str, Any], ...] = ()

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
        """The normal score of each window's p-value over time, a line per group (those with alarms, then the busiest)."""
        with axes(ax, size=(8.4, 3.6)) as ax:
            shown = self.windows[self.windows["p_value"].notna()]
            if shown.empty:
                nothing(ax, self.headline)
                return ax
            score = -normal_quantile(shown["p_value"].astype(float))
            groups = _groups(shown.assign(z=score), self.by)
            order = sorted(groups, key=lambda key: (-groups[key]["alarm"].astype(bool).sum(), -groups[key]["n"].sum()))
            for number, key in enumerate(order[:MOST_LINES]):
                part, name = groups[key], one_line(" ".join(map(str, key)), 24) if self.by else None
                ax.plot(part["window_start"], part["z"], **series(number), mfc=PAPER, lw=1.2, ms=5, label=name)
                late = part[part["alarm"].astype(bool)]
                ax.plot(late["window_start"], late["z"], "D", ms=9, color=VERMILION, mec=PAPER, zorder=4, clip_on=False)
            ax.axhline(-normal_quantile(self.p_limit), color=INK, ls=(0, (4, 3)), lw=1)
            ax.margins(y=0.12)
            ax.set_ylabel("normal score of p")
            if len(shown) > 1:
                days(ax, shown["window_start"].max() - shown["window_start"].min())
            left_out = f"; {MOST_LINES} of {len(order)} groups drawn" if len(order) > MOST_LINES else ""
            ax.set_xlabel(f"dashes: the limit; large diamond: alarm{left_out}")
            key_below(ax, 4)
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
    return frame["category"].astype(object).to_numpy() if "category" in frame.columns else None
