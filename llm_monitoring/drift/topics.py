"""Topics that moved: groups of current queries that are new or grew, clusters that shrank, and novelty without a topic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from llm_monitoring.distributions import binomial_quantile
from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.two_sample import NEAR, cluster_scores
from llm_monitoring.intervals import newcombe

KNOWN_FROM = 0.03  # share of a topic before over that now from which it is known; docs/drift.md has the figures
NEAREST = 8  # rows of a topic, and of the reference, that a row is held against
CANDIDATES = 300  # reference rows nearest to a topic, among which its own are sought
ROUNDING = 1e-4  # of cosines: questions that are equal but for it lean alike
FEWEST_OF_TOPIC = 4  # current queries that make a topic


class Topic(NamedTuple):
    """Kept rows of a topic, the most typical first; `words` False where it has no common words."""

    kind: str
    after: np.ndarray
    before: np.ndarray
    words: bool = True


def find_topics(comparison: Comparison, growth: np.ndarray, far: np.ndarray, usual: np.ndarray) -> list[Topic]:
    """All topics that may have moved, from the local growth and the distances of `distances_to_reference`."""
    found = _grown(comparison, growth)
    found += _clusters(comparison, found)
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


def _grown(comparison: Comparison, growth: np.ndarray) -> list[Topic]:
    """Neighbourhoods in either geometry with more current rows than chance gives, joined where they touch."""
    current = comparison.current[comparison.pool.kept]
    near = comparison.pool.near[0]
    inside = _crowded(near, current) | _crowded(comparison.pool.near_as_given[0], current)
    topics = []
    for member in _joined(near, inside):
        after = member[current[member]]
        if len(after) >= FEWEST_OF_TOPIC:
            after = after[np.argsort(-growth[after], kind="stable")]
            topics.append(Topic(_new_or_grew(comparison, after), after, member[~current[member]]))
    return topics


def _crowded(near: np.ndarray, current: np.ndarray) -> np.ndarray:
    """True for rows with more current ones among their neighbours than 99 % of rows had by chance."""
    return current[near].sum(axis=1) > binomial_quantile(0.99, near.shape[1], current.mean())


def _new_or_grew(comparison: Comparison, after: np.ndarray) -> str:
    return "grew" if _share_before(comparison, after) >= KNOWN_FROM else "new"


def _share_before(comparison: Comparison, after: np.ndarray) -> float:
    """Share of a topic before over its share now: reference rows that lean to it as its own do, for one of its own.

    A row leans to the topic by as much as it is more like the topic's rows than like the reference's, itself not counted on
    either side. A neighbouring topic of the reference comes near, but is more like itself; rows of the topic that the
    reference holds lean as the topic's own do. Counted at each of the half of its own that lean most.
    """
    pool, current = comparison.pool, comparison.current[comparison.pool.kept]
    reference = np.flatnonzero(~current)
    spaces = pool.unit, pool.white[pool.kept]
    most = min(NEAREST, len(after) - 1)
    near = np.sum([_likeness(space[reference], space[after], most) for space in spaces], axis=0)
    candidates = reference[np.argsort(-near, kind="stable")[:CANDIDATES]]
    own, known = (
        np.sum([_leaning(space, rows, after, reference, most) for space in spaces], axis=0)
        for rows in (after, candidates)
    )
    inner = np.sort(own)[::-1][: (len(own) + 1) // 2]
    count = len(known) - np.searchsorted(np.sort(known), inner - ROUNDING)
    return float(count.sum() / np.arange(1, len(inner) + 1).sum() * current.sum() / len(reference))


def _leaning(space: np.ndarray, rows: np.ndarray, own: np.ndarray, reference: np.ndarray, most: int) -> np.ndarray:
    """By how much each row is more like the nearest rows of the topic than like those of the reference, itself not counted."""
    to_own = _likeness(space[rows], space[own], most, rows[:, None] == own)
    return to_own - _likeness(space[rows], space[reference], most, rows[:, None] == reference)


def _likeness(rows: np.ndarray, others: np.ndarray, most: int, itself: np.ndarray | bool = False) -> np.ndarray:
    """Mean cosine of each row with the nearest of some others."""
    cosine = np.where(itself, -np.inf, rows @ others.T)
    most = min(most, len(others))
    return np.partition(cosine, len(others) - most, axis=1)[:, len(others) - most :].mean(axis=1)


def _joined(near: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """Groups of rows inside, two rows in one group where each is among the other's neighbours, directly or by others."""
    row = np.repeat(np.arange(len(near)), near.shape[1])
    both = inside[row] & inside[near.ravel()]
    graph = sparse.csr_array((np.ones(both.sum()), (row[both], near.ravel()[both])), shape=(len(near),) * 2)
    graph = graph.multiply(graph.T)
    _, group = connected_components(graph, directed=False)
    rows = np.flatnonzero(inside)
    return [rows[group[rows] == g] for g in np.unique(group[rows])]


def _clusters(comparison: Comparison, found: list[Topic]) -> list[Topic]:
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
            topics.append(Topic(_new_or_grew(comparison, after), after, before))
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
