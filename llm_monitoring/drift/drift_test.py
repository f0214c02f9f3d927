"""Are these queries drawn from where the reference was? One test, one p-value; windows in a row are `monitor`'s."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.detectability import smallest_seen
from llm_monitoring.drift.explanation import DriftExplanation, explain
from llm_monitoring.drift.named_embedders import embedder_of
from llm_monitoring.drift.queries import Queries, read_queries
from llm_monitoring.drift.shape import ShapeResult, shape_of
from llm_monitoring.drift.topics import distances_to_reference
from llm_monitoring.drift.two_sample import METHODS, Permuted, Pool, known_among, permute
from llm_monitoring.drift.two_sample import MOST_ROWS as NEIGHBOUR_ROWS
from llm_monitoring.drift.vector_cache import Embedder
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.plotting import BLUE, VERMILION, axes, key_below, nothing, percent
from llm_monitoring.results import Result, jsonable

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 100_000  # queries a side that are embedded and tested; of more a random sample
FEWEST_QUERIES = 10  # queries (and sessions) on each side below which nothing is tested


@dataclass
class DriftTest:
    """Permutation test whether current queries come from where the reference queries came.

    The default, `panel`, joins six statistics (moves of the mean, lone queries, queries far from the reference, dense
    groups of current queries, growth of topics and of clusters) by the sum of the squared logarithms of their p-values, and takes the
    p-value of the sum from one set of label permutations [1]_: exact for any embedder as long as queries (sessions,
    where known) are exchangeable between the two periods without drift.

    Parameters
    ----------
    reference : list or Series of str, array (n, d), DataFrame or log
        Queries of the time when all was well. A DataFrame needs `user_input`; with `session_id` near-duplicates of one
        session are merged and sessions are permuted as wholes.
    embedder : callable or str, optional
        list of texts -> array with one row per text, or a name such as ``"openai:MODEL"`` (`embedder_of`); by default
        the one in the wordllama wheel.
    method : {"panel", "mmd", "energy", "knn", "c2st"}
    alpha : float
        Chance of an alarm where nothing changed.
    permutations : int
        Random labellings; the least p-value is 1 / (permutations + 1).
    seed : int

    References
    ----------
    .. [1] Pesarin, Salmaso, Permutation Tests for Complex Data, Wiley 2010, chapter 4 (nonparametric combination).

    Examples
    --------
    >>> from llm_monitoring.drift.embedding import hash_embed
    >>> before = [f"where is parcel number {i}" for i in range(60)]
    >>> now = [f"where is parcel number {i}" for i in range(60, 70)] + [f"cancel my plan {i} today" for i in range(10)]
    >>> result = DriftTest(before, embedder=hash_embed).test(now)
    >>> result.drift, round(result.p_value, 4)
    (True, 0.0033)
    """

    reference: Any = field(repr=False)
    embedder: Embedder | str | None = None
    method: str = "panel"
    alpha: float = 0.05
    permutations: int = 300
    seed: int = 0
    reference_: Queries = field(init=False, repr=False)

    def __post_init__(self):
        one_of("DriftTest(method)", self.method, list(METHODS))
        if not 0 < self.alpha < 1:
            raise ConfigError(f"DriftTest(alpha)={self.alpha}; expected a number between 0 and 1")
        needed = int(np.ceil(1 / self.alpha - 1e-9)) - 1
        if self.permutations < needed:
            raise ConfigError(
                f"DriftTest(permutations)={self.permutations}: its smallest p-value is {1 / (self.permutations + 1):.3g}, "
                f"above alpha={self.alpha:g}; expected at least {needed}"
            )
        self.embed = embedder_of(self.embedder)
        self.reference_ = read_queries(self.reference, self.embed, "reference", MOST_ROWS, self.seed)

    def test(self, current: Any) -> DriftResult:
        """Test the current queries against the reference.

        Parameters
        ----------
        current : list or Series of str, array (m, d), DataFrame or log
            The same kind of thing as the reference.

        Returns
        -------
        DriftResult
            With fewer than 10 queries (or sessions) on a side `p_value` and `drift` are null: too few to tell.
        """
        now = read_queries(current, self.embed, "current", MOST_ROWS, self.seed)
        return self.compare(self.reference_, now, known=self._known)

    @cached_property
    def _known(self) -> Any:
        """The neighbours that the reference's queries have among themselves, reckoned once for all windows."""
        return known_among(self.reference_.vectors) if len(self.reference_) < NEIGHBOUR_ROWS else None

    def compare(
        self, before: Queries, now: Queries, permutations: int | None = None, *, known: Any = None, pool: Pool | None = None
    ) -> DriftResult:  # fmt: skip
        """Test queries that were read already; `DriftMonitor` calls it with one pool after the other.

        `known` and `pool` as for `Comparison.of`.
        """
        numbers: dict[str, Any] = {
            "n_reference": before.count,
            "n_current": now.count,
            "used_reference": len(before),
            "used_current": len(now),
            "alpha": self.alpha,
            "method": self.method,
            "left_out": before.left_out + now.left_out,
            "merged": before.merged + now.merged,
            "embedder": getattr(self.embed, "version", None),
        }
        if len(before) and len(now) and before.vectors.shape[1] != now.vectors.shape[1]:
            raise ConfigError(
                f"current: vectors of {now.vectors.shape[1]} numbers; expected {before.vectors.shape[1]}, as in the reference"
            )
        if min(len(np.unique(before.sessions)), len(np.unique(now.sessions))) < FEWEST_QUERIES:
            return DriftResult(None, None, None, **numbers)
        comparison = Comparison.of(before, now, permutations or self.permutations, self.seed, known, pool)
        outcome = permute(comparison.pool, comparison.labels, METHODS[self.method])
        parts = [
            {"statistic": name, "value": float(values[0]), "p_value": float(p)}
            for name, values, p in zip(METHODS[self.method].statistics, outcome.values, outcome.p_values, strict=True)
        ]
        return DriftResult(
            p_value=outcome.p_value,
            drift=bool(outcome.p_value <= self.alpha + 1e-12),
            statistic=float(outcome.joint[0]),
            **numbers,
            parts=parts,
            comparison=comparison,
            outcome=outcome,
        )


@dataclass(frozen=True, repr=False)
class DriftResult(Result):
    """Outcome of a drift test.

    Attributes
    ----------
    p_value : float or None
        Chance of a difference at least this large where nothing changed; never below 1 / (permutations + 1). None
        where there were too few queries.
    drift : bool or None
        p_value <= alpha.
    statistic : float or None
        The joined statistic; only its p-value has a meaning.
    n_reference, n_current : int
        Queries, near-duplicates of a session merged.
    used_reference, used_current : int
        Queries that were embedded and compared: all, or a random sample of 100,000 (whole sessions). Statistics of
        neighbours use 6,000 of them, the others all.
    parts : list of dict
        statistic, value, p_value: the single statistics. Their p-values are no tests of their own.
    left_out, merged : int
        Rows without a text, and near-duplicates within sessions.
    embedder : str or None
        Name and version of the embedder, where it states one.
    """

    p_value: float | None
    drift: bool | None
    statistic: float | None
    n_reference: int
    n_current: int
    alpha: float = 0.05
    method: str = "panel"
    left_out: int = 0
    merged: int = 0
    used_reference: int = 0
    used_current: int = 0
    embedder: str | None = None
    parts: list[dict[str, Any]] = field(default_factory=list)
    comparison: Comparison | None = field(default=None, repr=False, compare=False)
    outcome: Permuted | None = field(default=None, repr=False, compare=False)

    @property
    def headline(self) -> str:
        sizes = f"{self.n_current:,} queries against {self.n_reference:,}"
        if self.drift is None:
            return f"Too few queries to tell: {sizes}, and each side needs {FEWEST_QUERIES} (in as many sessions)."
        if self.used_reference < self.n_reference or self.used_current < self.n_current:
            sizes += f", of which {self.used_current:,} and {self.used_reference:,} drawn at random were tested"
        p = f"p = {self.p_value:.3g}, {sizes}"
        if self.drift:
            return f"The queries changed ({p}; a false alarm has a chance of {self.alpha:g})."
        return f"No change found in the queries ({p})."

    @cached_property
    def detectable(self) -> float | None:
        """Share of the current queries that one topic must take over to be seen in 8 of 10 tests of these sizes.

        By trial: topics of these very queries are made to grow by 1, 2, ... 50 points of the window, 40 times each.
        None where even 50 points would be missed, or nothing was tested. Computed when first asked for, which takes
        longer than the test; nothing that shows the result asks. Beyond 6,000 rows the trial uses the rows kept for the
        statistics of neighbours, so the truth is no worse.
        """
        if self.comparison is None or self.outcome is None:
            return None
        return smallest_seen(self.comparison, self.outcome, self.alpha)

    def explain(self, judgements: Any = None, signals: pd.DataFrame | None = None) -> DriftExplanation:
        """What moved: one paragraph, topics that are new, grew or shrank, and the current queries ranked two ways.

        Parameters
        ----------
        judgements : DataFrame or log, optional
            Judged quality of the queries that moved; a log brings its signals too.
        signals : DataFrame, optional
            How often their sessions were abandoned. Refusals, cost and categories come with the queries themselves.
        """
        sizes = {"n_reference": self.n_reference, "n_current": self.n_current, "drift": self.drift}
        return explain(self.comparison, sizes, judgements, signals)

    def shape(self) -> ShapeResult:
        """Length, language and format of the texts before and now, each with a p-value of its own."""
        return shape_of(self.comparison, self.n_reference, self.n_current, self.alpha)

    def to_frame(self) -> pd.DataFrame:
        """One row per statistic: statistic, value, p_value; the joined one first."""
        import pandas as pd

        joined = {"statistic": self.method, "value": self.statistic, "p_value": self.p_value}
        rest = self.parts if len(self.parts) > 1 else []
        return pd.DataFrame([joined, *rest], columns=["statistic", "value", "p_value"])

    def to_dict(self) -> dict[str, Any]:
        """The numbers, ready for JSON; the vectors stay behind, and so does `detectable`, which takes time."""
        names = [name for name in self.__dataclass_fields__ if name not in ("comparison", "outcome")]
        return {name: jsonable(getattr(self, name)) for name in names}

    def plot(self, ax=None):
        """Share of queries by distance to the nearest three reference queries, before (dashed) and now."""
        with axes(ax) as ax:
            if self.comparison is None:
                nothing(ax, self.headline)
                return ax
            now, before = distances_to_reference(self.comparison)
            edges = np.linspace(0, max(now.max(), before.max(), 1e-9), 31)
            for values, colour, dash, name in ((before, BLUE, "--", "before"), (now, VERMILION, "-", "now")):
                weights = np.full(len(values), 1 / len(values))
                ax.hist(
                    values,
                    edges,
                    weights=weights,
                    histtype="step",
                    color=colour,
                    ls=dash,
                    lw=1 if name == "before" else 2,
                    label=f"{name}, n = {len(values):,}",
                )
            percent(ax)
            ax.set_xlabel("how unlike the earlier questions (distance to the third nearest of them)")
            ax.set_ylabel("share of the questions")
            ax.set_title(f"{'The queries changed' if self.drift else 'No change found'}, p = {self.p_value:.3g}")
            key_below(ax)
        return ax
