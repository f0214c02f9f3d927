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

KNOWN_FROM = (
    0.025  # share of a topic before over that now, by count, from which it is known; docs/drift.md has the figures
)
LEAST_SHARE = 0.005  # added to each count, so that nothing found by one does not decide alone
ALMOST_EQUAL = 1 - 1e-4  # cosine of two questions that are the same but for rounding
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
    current = comparison.current[comparison.pool.kept]
    core = after[_crowded(comparison.pool.near[0][:, :10], current)[after]]
    share = _share_before(comparison, core if len(core) >= FEWEST_OF_TOPIC else after)
    return "grew" if share >= KNOWN_FROM else "new"


def _share_before(comparison: Comparison, own: np.ndarray) -> float:
    """Share of a topic before over its share now: the geometric mean of two counts of reference rows, in both geometries.

    A neighbouring topic comes near to the centre but keeps to itself; a sentence of the topic that the reference lacks has
    few of its rows as neighbours, but they lie about the centre all the same. So neither count does alone.
    """
    pool, current = comparison.pool, comparison.current[comparison.pool.kept]
    keys, reference = comparison.keys[pool.kept], np.flatnonzero(~current)
    distinct = _distinct(own, keys), _distinct(reference, keys)
    spaces = (pool.unit, pool.near_as_given[0]), (pool.white[pool.kept], pool.near[0])
    by_centre = np.mean([_as_central(space[distinct[0]], space[distinct[1]]) for space, _ in spaces])
    by_neighbours = np.mean([_as_mingled(near[:, :5], own, reference) for _, near in spaces])
    shares = np.minimum([by_centre, by_neighbours], 3) * current.sum() / len(reference)
    return float(np.sqrt(np.prod(shares + LEAST_SHARE)))


def _as_central(own: np.ndarray, reference: np.ndarray) -> float:
    """Reference rows at least as near to the topic's centre as its own, for one of its own; over its inner half.

    Each of its own is held against the centre of the others; a topic of one row takes in what is equal to it.
    """
    total = own.sum(axis=0)
    others = total - own
    length = np.linalg.norm(others, axis=1)
    near = np.divide((own * others).sum(axis=1), length, out=np.full(len(own), ALMOST_EQUAL), where=length > 0)
    inner = np.sort(near)[::-1][: (len(own) + 1) // 2]
    likeness = np.sort(reference @ (total / (np.linalg.norm(total) or 1)))
    count = len(likeness) - np.searchsorted(likeness, inner)
    return float(np.mean(count / np.arange(1, len(inner) + 1)))


def _as_mingled(near: np.ndarray, own: np.ndarray, reference: np.ndarray) -> float:
    """Reference rows with as many of the topic's rows among their neighbours as its own mostly have, for one of these."""
    inside = np.zeros(len(near), bool)
    inside[own] = True
    count = inside[near].sum(axis=1)
    usual = np.median(count[own])
    return float((count[reference] >= max(usual, 1)).sum() / max((count[own] >= usual).sum(), 1))


def _distinct(rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """One row of each question."""
    return rows[np.unique(keys[rows], return_index=True)[1]]


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
