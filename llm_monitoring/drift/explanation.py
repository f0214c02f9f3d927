"""What moved in the queries: topics that are new, grew or shrank, and the single queries that stand for them."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.two_sample import NEAR, cluster_scores
from llm_monitoring.errors import ConfigError
from llm_monitoring.intervals import mean_t, newcombe
from llm_monitoring.plotting import BLUE, VERMILION, axes, percent
from llm_monitoring.results import Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["kind", "examples", "words", "n_before", "n_after", "share_before", "share_after", "low", "high"]
QUALITY = ["n_judged", "quality_after", "quality_low", "quality_high"]
NEW_FROM = 1.1  # median strangeness from which a topic is new, not known
FEWEST_OF_TOPIC = 4  # current queries that make a topic


@dataclass(frozen=True, repr=False)
class DriftExplanation(Result):
    """What moved, as topics and as two rankings of the current queries.

    Attributes
    ----------
    topics : DataFrame
        One row per topic, best first: `kind` (new, grew, shrank), `examples`, `words` (empty where no words describe
        it), `n_before`, `n_after`, `share_before`, `share_after`, `low`, `high` (95 % interval of the change of
        share; since a topic is shown because it moved, it leans away from 0). Given judgements, also `n_judged`,
        `quality_after` (mean score of the topic's current queries), `quality_low`, `quality_high`. Empty unless the
        test found drift.
    grew : DataFrame
        All current queries, those with the most current neighbours first: `query`, `score` (share of current queries
        among the nearest), `row` (position in the input).
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


def explain(
    comparison: Comparison | None, sizes: dict[str, Any], judgements: pd.DataFrame | None = None
) -> DriftExplanation:
    """Explain a comparison (None where too few queries were there); `DriftResult.explain` calls it."""
    import pandas as pd

    quality = _quality(comparison, judgements)
    columns = COLUMNS if quality is None else [*COLUMNS, *QUALITY]
    if comparison is None:
        grew = pd.DataFrame(columns=["query", "score", "row"])
        new = pd.DataFrame(columns=["query", "score", "percentile", "row"])
        return DriftExplanation(pd.DataFrame(columns=columns), grew, new, **sizes)
    far, usual = distances_to_reference(comparison)
    percentile = np.searchsorted(np.sort(usual), far) / max(len(usual), 1)
    kept = comparison.pool.kept
    current = comparison.current[kept]
    growth = _growth(comparison)
    grew = _ranking(comparison, kept[current], growth[current])
    new = _ranking(comparison, kept[current], far, percentile=percentile)
    found: list[Topic] = []
    if sizes["drift"]:
        strange = _strangeness(comparison)
        found = _grown(comparison, growth, strange)
        found += _clusters(comparison, strange, found)
        found += _diffuse(comparison, percentile, usual, found)
    rows = [_row(comparison, topic, quality) for topic in found]
    rows = sorted((row for row in rows if row["low"] > 0 or row["high"] < 0), key=lambda r: -max(r["low"], -r["high"]))
    return DriftExplanation(pd.DataFrame(rows, columns=columns), grew, new, **sizes)


class Topic(NamedTuple):
    """Kept rows of a topic, the most typical first; `words` False where it has no common words."""

    kind: str
    after: np.ndarray
    before: np.ndarray
    words: bool = True


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
    """Share of current rows among the nearest others of every kept row: 10 and 20 of them, whitened and as given."""
    current = comparison.current[comparison.pool.kept]
    spaces = comparison.pool.near[0], comparison.pool.near_as_given[0]
    return np.mean([current[near[:, :most]].mean(axis=1) for near in spaces for most in (10, NEAR)], axis=0)


def _ranking(comparison: Comparison, rows: np.ndarray, score: np.ndarray, **more: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    position = comparison.order[rows] - len(comparison.before)
    frame = pd.DataFrame(
        {"query": [comparison.text(row) for row in rows], "score": score, **more, "row": comparison.now.rows[position]}
    )
    return frame.sort_values(["score", "query"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _strangeness(comparison: Comparison) -> np.ndarray:
    """Distance to the third nearest reference row over that of these three themselves; NaN for reference rows.

    About 1 inside a known topic, however wide it is; larger where a query stands apart from its nearest topic.
    """
    current = comparison.current[comparison.pool.kept]
    rows, reference = comparison.pool.unit[current], comparison.pool.unit[~current]
    usual = _third(reference, reference, 1)
    strange = np.full(len(current), np.nan)
    found = []
    for i in range(0, len(rows), 1_000):
        apart = np.sqrt(np.maximum(2 - 2 * rows[i : i + 1_000] @ reference.T, 0))
        near = np.argsort(apart, axis=1, kind="stable")[:, :3]
        here = np.take_along_axis(apart, near, axis=1)[:, -1]
        found.append((here + 1e-3) / (usual[near].mean(axis=1) + 1e-3))  # equal texts are 0 apart on both sides
    strange[current] = np.concatenate(found)
    return strange


def _grown(comparison: Comparison, growth: np.ndarray, strange: np.ndarray) -> list[Topic]:
    """Neighbourhoods with more current rows than chance gives (tail of 1 %), joined where they touch."""
    current = comparison.current[comparison.pool.kept]
    near = comparison.pool.near[0][:, : 10 if current.mean() <= 0.25 else NEAR]
    inside = current[near].sum(axis=1) > binom.ppf(0.99, near.shape[1], current.mean())
    topics = []
    for member in _joined(near, inside):
        after = member[current[member]]
        if len(after) >= FEWEST_OF_TOPIC:
            after = after[np.argsort(-growth[after], kind="stable")]
            topics.append(Topic(_new_or_grew(strange, after), after, member[~current[member]]))
    return topics


def _new_or_grew(strange: np.ndarray, after: np.ndarray) -> str:
    return "new" if np.median(strange[after]) >= NEW_FROM else "grew"


def _joined(near: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """Groups of rows inside, two rows in one group where each is among the other's neighbours, directly or by others."""
    row = np.repeat(np.arange(len(near)), near.shape[1])
    both = inside[row] & inside[near.ravel()]
    graph = sparse.csr_array((np.ones(both.sum()), (row[both], near.ravel()[both])), shape=(len(near),) * 2)
    graph = graph.multiply(graph.T)
    _, group = connected_components(graph, directed=False)
    rows = np.flatnonzero(inside)
    return [rows[group[rows] == g] for g in np.unique(group[rows])]


def _clusters(comparison: Comparison, strange: np.ndarray, found: list[Topic]) -> list[Topic]:
    """Clusters that grew or shrank more than the most of any cluster in 95 % of the random labellings."""
    pool = comparison.pool
    current, cluster = comparison.current[pool.kept], pool.clusters[pool.kept]
    score = cluster_scores(pool, comparison.labels)
    least, most = np.quantile(score[1:].min(axis=1), 0.05), np.quantile(score[1:].max(axis=1), 0.95)
    covered = np.concatenate([topic.after for topic in found]) if found else np.array([], int)
    topics = []
    for number in np.flatnonzero((score[0] < least) | (score[0] > most)):
        member = np.flatnonzero(cluster == number)
        centre = pool.white[pool.kept[member]].mean(axis=0)
        member = member[np.argsort(-(pool.white[pool.kept[member]] @ centre), kind="stable")]
        after, before = member[current[member]], member[~current[member]]
        if score[0, number] < least:
            topics.append(Topic("shrank", after, before))
        elif len(after) >= FEWEST_OF_TOPIC and np.isin(after, covered).mean() < 0.5:
            topics.append(Topic(_new_or_grew(strange, after), after, before))
    return topics


def _diffuse(comparison: Comparison, percentile: np.ndarray, usual: np.ndarray, found: list[Topic]) -> list[Topic]:
    """Queries beyond the reference's 95 % distance, where they are more than 5 % even without those of the topics."""
    current = comparison.current[comparison.pool.kept]
    novelty = np.full(len(current), np.nan)
    novelty[current] = percentile
    covered = np.concatenate([topic.after for topic in found]) if found else np.array([], int)
    rest = np.setdiff1d(np.flatnonzero(current), covered)
    far = rest[novelty[rest] >= 0.95]
    count = round(0.05 * len(usual))
    if len(rest) == 0 or newcombe(count, len(usual), len(far), len(rest)).low <= 0:
        return []
    before = np.flatnonzero(~current)[np.argsort(-usual, kind="stable")[:count]]
    return [Topic("new", far[np.argsort(-novelty[far], kind="stable")], before, words=False)]


def _row(comparison: Comparison, topic: Topic, quality: dict[int, float] | None) -> dict[str, Any]:
    kept = comparison.pool.kept
    current = comparison.current[kept]
    n_after, n_before = int(current.sum()), int((~current).sum())
    change = newcombe(len(topic.before), n_before, len(topic.after), n_after)
    shown = kept[topic.before if topic.kind == "shrank" else topic.after]
    row = {
        "kind": topic.kind,
        "examples": list(dict.fromkeys(comparison.text(row) for row in shown))[:5],
        "words": _words(comparison, shown) if topic.words else [],
        "n_before": len(topic.before),
        "n_after": len(topic.after),
        "share_before": len(topic.before) / n_before,
        "share_after": len(topic.after) / n_after,
        "low": change.low,
        "high": change.high,
    }
    if quality is not None:
        positions = comparison.order[kept[topic.after]] - len(comparison.before)
        scores = [quality[int(position)] for position in positions if int(position) in quality]
        row |= dict(zip(QUALITY, [len(scores), *mean_t(scores)], strict=True))
    return row


def _quality(comparison: Comparison | None, judgements: pd.DataFrame | None) -> dict[int, float] | None:
    """Quality score of the current queries that were judged, by their place among them."""
    if judgements is None:
        return None
    if comparison is None:
        return {}
    ids = comparison.now.ids
    if ids is None:
        raise ConfigError("explain(judgements): the current queries have no request_id; test a table that has one")
    judged = judgements.dropna(subset=["quality_score"]).drop_duplicates("request_id", keep="last")
    scores = dict(zip(judged["request_id"].astype(str), judged["quality_score"].astype(float), strict=True))
    return {place: scores[name] for place, name in enumerate(ids) if name in scores}


def _words(comparison: Comparison, rows: np.ndarray, most: int = 5) -> list[str]:
    """Words in a fifth of the rows that are three times rarer elsewhere, by count times log ratio."""
    if comparison.now.texts is None or comparison.before.texts is None:
        return []
    count = Counter(word for row in rows for word in _terms(comparison.text(row)))
    rest = np.setdiff1d(np.arange(len(comparison.order)), rows)
    rest = rest[:: len(rest) // 5_000 + 1]
    elsewhere = Counter(word for row in rest for word in _terms(comparison.text(row)))
    score = {}
    for word, k in count.items():
        lift = (k / len(rows)) / ((elsewhere[word] + 0.5) / (len(rest) + 1))
        if k >= max(2, 0.2 * len(rows)) and lift >= 3:
            score[word] = k * math.log(lift)
    return sorted(score, key=lambda word: (-score[word], word))[:most]


def _terms(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{2,}", text[:8_000].casefold()))
