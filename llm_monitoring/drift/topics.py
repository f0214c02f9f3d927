"""Topics that moved: groups of current queries that are new or grew, clusters that shrank, and novelty without a topic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.two_sample import NEAR, cluster_scores
from llm_monitoring.intervals import newcombe

NEW_FROM = 0.21  # how far from the reference a topic is new, not known; see _apartness
FEWEST_OF_TOPIC = 4  # current queries that make a topic


class Topic(NamedTuple):
    """Kept rows of a topic, the most typical first; `words` False where it has no common words."""

    kind: str
    after: np.ndarray
    before: np.ndarray
    words: bool = True


def find_topics(comparison: Comparison, growth: np.ndarray, far: np.ndarray, usual: np.ndarray) -> list[Topic]:
    """All topics that may have moved, from the local growth and the distances of `distances_to_reference`."""
    strange = _strangeness(comparison)
    found = _grown(comparison, growth, strange)
    found += _clusters(comparison, strange, found)
    percentile = np.searchsorted(np.sort(usual), far) / max(len(usual), 1)
    return found + _diffuse(comparison, percentile, usual, found)


def distances_to_reference(comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the third nearest reference row: of the current kept rows, and of the reference rows themselves."""
    kept = comparison.pool.kept
    current = comparison.current[kept]
    unit = comparison.pool.white[kept]
    reference = unit[~current]
    return third_nearest(unit[current], reference, 0), third_nearest(reference, reference, 1)


def third_nearest(rows: np.ndarray, reference: np.ndarray, itself: int) -> np.ndarray:
    """Distance of every row to the third nearest reference row, itself not counted where `itself` is 1."""
    place = min(2 + itself, len(reference) - 1)
    out = np.empty(len(rows))
    for i in range(0, len(rows), 1_000):
        apart = np.maximum(2 - 2 * rows[i : i + 1_000] @ reference.T, 0)
        out[i : i + 1_000] = np.sqrt(np.partition(apart, place, axis=1)[:, place])
    return out


def local_growth(comparison: Comparison) -> np.ndarray:
    """Share of current rows among the nearest others of every kept row: 10 and 20 of them, whitened and as given."""
    current = comparison.current[comparison.pool.kept]
    spaces = comparison.pool.near[0], comparison.pool.near_as_given[0]
    return np.mean([current[near[:, :most]].mean(axis=1) for near in spaces for most in (10, NEAR)], axis=0)


def _strangeness(comparison: Comparison) -> np.ndarray:
    """Distance to the third nearest reference row over that of these three themselves; NaN for reference rows.

    About 1 inside a known topic, however wide it is; larger where a query stands apart from its nearest topic.
    """
    current = comparison.current[comparison.pool.kept]
    rows, reference = comparison.pool.unit[current], comparison.pool.unit[~current]
    usual = third_nearest(reference, reference, 1)
    strange = np.full(len(current), np.nan)
    least = _least(usual)
    found = []
    for i in range(0, len(rows), 1_000):
        apart = np.sqrt(np.maximum(2 - 2 * rows[i : i + 1_000] @ reference.T, 0))
        near = np.argpartition(apart, min(2, apart.shape[1] - 1), axis=1)[:, :3]
        here = np.take_along_axis(apart, near, axis=1).max(axis=1)
        found.append((here + least) / (usual[near].mean(axis=1) + least))
    strange[current] = np.concatenate(found)
    return strange


def _least(usual: np.ndarray) -> float:
    """What is added to both sides of a ratio of distances, so that equal texts, which are 0 apart, say little."""
    return 0.1 * float(usual.mean()) + 1e-3


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
            before = member[~current[member]]
            topics.append(Topic(_new_or_grew(comparison, strange, after, before), after, before))
    return topics


def _new_or_grew(comparison: Comparison, strange: np.ndarray, after: np.ndarray, before: np.ndarray) -> str:
    return "new" if _apartness(comparison, strange, after, before) >= NEW_FROM else "grew"


def _apartness(comparison: Comparison, strange: np.ndarray, after: np.ndarray, before: np.ndarray) -> float:
    """How far a topic's queries lie apart from the reference, by two spacings: the reference's and their own.

    The logarithms of both ratios (mean strangeness; third nearest of the reference over third nearest of the topic) are
    added, with a tenth of that of the topic's rows now and before (docs/drift.md says how the cut was set).
    """
    unit, current = comparison.pool.unit, comparison.current[comparison.pool.kept]
    own, reference = unit[after], unit[~current]
    to_reference = np.median(third_nearest(own, reference, 0))
    to_each_other = np.median(third_nearest(own, own, 1))
    least = _least(third_nearest(reference, reference, 1))
    apart = np.log([strange[after].mean(), (to_reference + least) / (to_each_other + least)])
    return float(apart.clip(-1, 1).sum() + 0.1 * np.log((len(after) + 0.5) / (len(before) + 0.5)))


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
            topics.append(Topic(_new_or_grew(comparison, strange, after, before), after, before))
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
