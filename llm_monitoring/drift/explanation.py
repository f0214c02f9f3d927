"""What moved in the queries: topics that are new, grew or shrank, and the single queries that stand for them."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom

from llm_monitoring.drift.two_sample import cluster_scores
from llm_monitoring.intervals import newcombe
from llm_monitoring.plotting import BLUE, VERMILION, axes, percent
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from llm_monitoring.drift.drift_test import Comparison, DriftResult

COLUMNS = ["kind", "examples", "words", "n_before", "n_after", "share_before", "share_after", "low", "high"]
NEW_FROM = 0.70  # median percentile of the distance to the reference from which a topic is new, not known
FEWEST_OF_TOPIC = 3  # current queries that make a topic


@dataclass(frozen=True, repr=False)
class DriftExplanation(Result):
    """What moved, as topics and as two rankings of the current queries.

    Attributes
    ----------
    topics : DataFrame
        One row per topic, best first: `kind` (new, grew, shrank), `examples`, `words` (empty where no words describe
        it), `n_before`, `n_after`, `share_before`, `share_after`, `low`, `high` (95 % interval of the change of
        share; since a topic is shown because it moved, it leans away from 0). Given judgements, also `quality_after`
        and `n_judged`. Empty unless the test found drift.
    grew : DataFrame
        All current queries, those with the most current neighbours first: `query`, `score` (share of current queries
        among the 10 nearest), `row` (position in the input).
    new : DataFrame
        All current queries, those farthest from the reference first: `query`, `score` (distance to the third nearest
        reference query), `percentile` among the reference's own distances, `row`.
    n_reference, n_current : int
    drift : bool or None
    """

    topics: pd.DataFrame
    grew: pd.DataFrame
    new: pd.DataFrame
    n_reference: int
    n_current: int
    drift: bool | None

    @property
    def headline(self) -> str:
        sizes = f"{self.n_current:,} queries against {self.n_reference:,}"
        if not self.drift:
            return f"No change found ({sizes}), so there is nothing to explain."
        if self.topics.empty:
            return f"The queries changed ({sizes}), but no topic stands out: the change is spread thin."
        first = self.topics.iloc[0]
        name = ", ".join(first["words"]) or "queries unlike any before"
        verb = {"new": "is new", "grew": "grew", "shrank": "shrank"}[first["kind"]]
        change = f"{100 * first['share_before']:.1f} % to {100 * first['share_after']:.1f} %"
        more = f"; {len(self.topics) - 1} more" if len(self.topics) > 1 else ""
        return f"A topic {verb} ({name}): {change} of the queries ({sizes}){more}."

    def to_frame(self) -> pd.DataFrame:
        """The topics."""
        return self.topics.copy()

    def plot(self, ax=None, most: int = 8):
        """Share of each topic before (hollow circle) and now (diamond)."""
        shown = self.topics.head(most).iloc[::-1].reset_index(drop=True)
        with axes(ax, size=(8.4, 1.4 + 0.5 * max(len(shown), 1))) as ax:
            for y, topic in shown.iterrows():
                ax.plot([topic["share_before"], topic["share_after"]], [y, y], color=VERMILION, lw=1)
                ax.plot(topic["share_before"], y, "o", mfc="white", mec=BLUE)
                ax.plot(topic["share_after"], y, "D", color=VERMILION)
            names = [f"{t['kind']}: {', '.join(t['words'][:3]) or 'no common words'}" for _, t in shown.iterrows()]
            ax.set_yticks(range(len(shown)), [name.replace("$", r"\$") for name in names])
            percent(ax, "x")
            ax.set_xlabel(
                f"share of queries before (circle, n = {self.n_reference:,}) and now (diamond, n = {self.n_current:,})"
            )
            ax.set_title("What moved" if len(shown) else "No topic stands out")
        return ax


def explain(result: DriftResult, judgements: pd.DataFrame | None = None) -> DriftExplanation:
    """Explain a drift result; `DriftResult.explain` calls it."""
    import pandas as pd

    empty = pd.DataFrame(columns=COLUMNS)
    sizes: dict[str, Any] = {"n_reference": result.n_reference, "n_current": result.n_current, "drift": result.drift}
    comparison = result.comparison
    if comparison is None:
        lists = [
            pd.DataFrame(columns=columns)
            for columns in (["query", "score", "row"], ["query", "score", "percentile", "row"])
        ]
        return DriftExplanation(empty, lists[0], lists[1], **sizes)
    growth = _growth(comparison)
    far, usual = distances_to_reference(comparison)
    percentile = np.searchsorted(np.sort(usual), far) / max(len(usual), 1)
    kept = comparison.pool.kept
    rows = kept[comparison.current[kept]]
    grew = _ranking(comparison, rows, growth[comparison.current[kept]] + 1e-6 * percentile)
    new = _ranking(comparison, rows, far, percentile=percentile)
    topics = empty
    if result.drift:
        found = [*_grown(comparison, growth, percentile), *_shrunken(comparison)]
        found += _diffuse(comparison, percentile, new, found)
        found.sort(key=lambda topic: -max(topic["low"], -topic["high"]))
        topics = pd.DataFrame(found, columns=COLUMNS)
    return DriftExplanation(topics, grew, new, **sizes)


def distances_to_reference(comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the third nearest reference row: of the current kept rows, and of the reference rows themselves."""
    kept = comparison.pool.kept
    current = comparison.current[kept]
    unit = comparison.pool.white[kept]
    reference = unit[~current]
    return _third(unit[current], reference, 0), _third(reference, reference, 1)


def _third(rows: np.ndarray, reference: np.ndarray, itself: int) -> np.ndarray:
    place = min(2 + itself, len(reference) - 1)
    out = np.empty(len(rows))
    for i in range(0, len(rows), 1_000):
        apart = np.maximum(2 - 2 * rows[i : i + 1_000] @ reference.T, 0)
        out[i : i + 1_000] = np.sqrt(np.partition(apart, place, axis=1)[:, place])
    return out


def _growth(comparison: Comparison) -> np.ndarray:
    """Share of current rows among the ten nearest others of every kept row."""
    near = comparison.pool.near[0][:, :10]
    return comparison.current[comparison.pool.kept][near].mean(axis=1)


def _ranking(comparison: Comparison, rows: np.ndarray, score: np.ndarray, **more: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    position = comparison.order[rows] - len(comparison.before)
    frame = pd.DataFrame(
        {"query": [comparison.text(row) for row in rows], "score": score, **more, "row": comparison.now.rows[position]}
    )
    return frame.sort_values(["score", "query"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _grown(comparison: Comparison, growth: np.ndarray, percentile: np.ndarray) -> list[dict[str, Any]]:
    """Neighbourhoods with more current rows than chance gives (tail of 1 %), joined where they touch."""
    kept = comparison.pool.kept
    current = comparison.current[kept]
    near = comparison.pool.near[0][:, :10]
    needed = binom.ppf(0.99, near.shape[1], current.mean()) + 1
    inside = growth * near.shape[1] >= needed
    novelty = np.full(len(kept), np.nan)
    novelty[current] = percentile
    topics = []
    for member in _joined(near, inside):
        after = member[current[member]]
        if len(after) >= FEWEST_OF_TOPIC:
            kind = "new" if np.median(novelty[after]) >= NEW_FROM else "grew"
            before = member[~current[member]]
            best = after[np.argsort(-growth[after], kind="stable")]
            topics.append(_topic(comparison, kind, kept[best], kept[before]))
    return [topic for topic in topics if topic["low"] > 0]


def _joined(near: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """Groups of rows inside, two rows in one group where each is among the other's neighbours, directly or by others."""
    row = np.repeat(np.arange(len(near)), near.shape[1])
    both = inside[row] & inside[near.ravel()]
    graph = sparse.csr_array((np.ones(both.sum()), (row[both], near.ravel()[both])), shape=(len(near),) * 2)
    graph = graph.multiply(graph.T)
    _, group = connected_components(graph, directed=False)
    rows = np.flatnonzero(inside)
    return [rows[group[rows] == g] for g in np.unique(group[rows])]


def _shrunken(comparison: Comparison) -> list[dict[str, Any]]:
    """Clusters that lost more than the largest loss in 95 % of the random labellings."""
    pool, labels = comparison.pool, comparison.labels
    score = cluster_scores(pool, labels)
    limit = np.quantile(score[1:].min(axis=1), 0.05)
    topics = []
    for cluster in np.flatnonzero(score[0] < limit):
        member = np.flatnonzero(pool.clusters == cluster)
        centre = pool.white[member].mean(axis=0)
        member = member[np.argsort(-(pool.white[member] @ centre), kind="stable")]
        after = comparison.current[member]
        topics.append(_topic(comparison, "shrank", member[after], member[~after]))
    return [topic for topic in topics if topic["high"] < 0]


def _diffuse(comparison: Comparison, percentile: np.ndarray, new: pd.DataFrame, found: list) -> list[dict[str, Any]]:
    """Queries beyond the reference's 95 % distance, where there are more of them than topics account for."""
    count, usual = int((percentile >= 0.95).sum()), len(comparison.before)
    share = newcombe(0.05 * usual, usual, count, len(percentile))
    if share.low <= 0 or any(t["kind"] == "new" and t["n_after"] >= 0.5 * count for t in found):
        return []
    examples = new["query"].head(5).tolist()
    values = ["new", examples, [], round(0.05 * usual), count, 0.05, count / len(percentile), share.low, share.high]
    return [dict(zip(COLUMNS, values, strict=True))]


def _topic(comparison: Comparison, kind: str, after: np.ndarray, before: np.ndarray) -> dict[str, Any]:
    kept = comparison.current[comparison.pool.kept]
    n_after, n_before = int(kept.sum()), int((~kept).sum())
    change = newcombe(len(before), n_before, len(after), n_after)
    shown = before if kind == "shrank" else after
    texts = list(dict.fromkeys(comparison.text(row) for row in shown))
    values = [
        kind,
        texts[:5],
        _words(comparison, shown),
        len(before),
        len(after),
        len(before) / n_before,
        len(after) / n_after,
        change.low,
        change.high,
    ]
    return dict(zip(COLUMNS, values, strict=True))


def _words(comparison: Comparison, rows: np.ndarray, most: int = 5) -> list[str]:
    """Words that at least two in five of the rows hold and that are rarer elsewhere, by count times log ratio."""
    if comparison.now.texts is None or comparison.before.texts is None:
        return []
    count = Counter(word for row in rows for word in _terms(comparison.text(row)))
    chosen = set(rows.tolist())
    rest = [row for row in range(len(comparison.order)) if row not in chosen]
    if len(rest) > 5_000:
        rest = rest[:: len(rest) // 5_000 + 1]
    elsewhere = Counter(word for row in rest for word in _terms(comparison.text(row)))
    score = {
        word: k * (math.log((k + 0.5) / (len(rows) + 1)) - math.log((elsewhere[word] + 0.5) / (len(rest) + 1)))
        for word, k in count.items()
        if k >= max(2, 0.2 * len(rows))
    }
    return sorted((w for w in score if score[w] > 0), key=lambda w: (-score[w], w))[:most]


def _terms(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{2,}", text[:8_000].casefold()))
