"""Topics that moved: groups of queries that are new, grew or shrank, and novelty that forms no topic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.scales import Groups, surprise
from llm_monitoring.drift.two_sample import NEAR
from llm_monitoring.intervals import newcombe

KNOWN_FROM = 0.03  # share of a topic before over that now from which it is known; docs/drift.md has the figures
NEAREST = 8  # rows of a topic, and of the reference, that a row is held against
CANDIDATES = 300  # reference rows nearest to a topic, among which its own are sought
ROUNDING = 1e-4  # of cosines: questions that are equal but for it lean alike
FEWEST_OF_TOPIC = 4  # current queries that make a topic


class Topic(NamedTuple):
    """Kept rows of a topic, the most typical first.

    `sure` is how far it is from what is due, over the most of any group by chance; `words` is False where it has no common
    words.
    """

    kind: str
    after: np.ndarray
    before: np.ndarray
    sure: float
    words: bool = True


def find_topics(comparison: Comparison, growth: np.ndarray, far: np.ndarray, usual: np.ndarray) -> list[Topic]:
    """All topics that moved, the surest first, from the local growth and the distances of `distances_to_reference`."""
    found, limit = _at_any_scale(comparison, growth)
    percentile = np.searchsorted(np.sort(usual), far) / max(len(usual), 1)
    found += _diffuse(comparison, percentile, usual, found, limit)
    return sorted(found, key=lambda topic: -topic.sure)


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


def _at_any_scale(comparison: Comparison, growth: np.ndarray) -> tuple[list[Topic], float]:
    """Groups of two trees, of the vectors whitened and as given, that grew or shrank, and the limit of those that grew.

    A first one by more than the most of any group in 95 % of the random labellings, others in 99 %. What shrank is counted
    without what grew, since beside a topic that grows all others lose share; and what holds most questions of the reference does not grow: the others
    shrank. Where no group moved so much, the one that
    grew most stands in: the test has said that something changed.
    """
    kept = comparison.pool.kept
    labels = comparison.labels[:, kept]
    trees = [Groups.of(rows) for rows in (comparison.pool.white[kept], comparison.pool.unit)]
    members = [member for tree in trees for member in tree.members()]
    left = np.ones(len(kept), bool)
    score = _surprise(trees, labels, left)
    if not score.size:
        return [], np.inf
    most, least = np.quantile(score[1:].max(axis=1), [0.95, 0.99]), np.quantile(score[1:].min(axis=1), [0.05, 0.01])
    usual = np.hstack([tree.inside(1 - labels[:1]) for tree in trees])[0] > (1 - labels[0]).sum() / 2
    grown = _chosen(trees, members, labels[:1], left, most, ~usual)
    shrunk = _chosen(trees, members, labels[:1], left, least)
    grown = _without_shrunk(grown, shrunk, labels[0] == 1, float(most[0]))
    if not grown and not shrunk:
        enough = np.hstack([tree.inside(labels[:1]) for tree in trees])[0] >= FEWEST_OF_TOPIC
        first = int(np.where(enough & ~usual, score[0], -np.inf).argmax())
        grown = [(members[first], score[0, first] / most[0])]
    current, topics = labels[0] == 1, []
    for rows, sure in grown:
        rows = rows[np.argsort(-growth[rows], kind="stable")]
        after, before = rows[current[rows]], rows[~current[rows]]
        if len(after) >= FEWEST_OF_TOPIC:
            topics.append(Topic(_new_or_grew(comparison, after), after, before, float(sure)))
    for rows, sure in shrunk:
        rows = rows[np.argsort(growth[rows], kind="stable")]
        topics.append(Topic("shrank", rows[current[rows]], rows[~current[rows]], float(sure)))
    return topics, float(most[0])


def _surprise(trees: list[Groups], labels: np.ndarray, left: np.ndarray) -> np.ndarray:
    """`surprise` of every group (labellings x groups), of the rows that are left alone."""
    labels = labels * left
    inside = np.hstack([tree.inside(labels) for tree in trees])
    size = np.hstack([tree.inside(left[None]) for tree in trees])
    return surprise(inside, size, float(labels[0].sum()), float(left.sum()))


def _chosen(
    trees: list[Groups],
    members: list[np.ndarray],
    labels: np.ndarray,
    left: np.ndarray,
    limits: np.ndarray,
    some: np.ndarray | bool = True,
) -> list[tuple[np.ndarray, float]]:
    """Of some groups the one farthest beyond the first limit, then others beyond the second; how often the first limit each is.

    Chosen rows are left no longer, and the others are held against what is due without them.
    """
    chosen: list[tuple[np.ndarray, float]] = []
    while True:
        score = np.where(some, _surprise(trees, labels, left)[0] / limits[0], 0)
        number = int(score.argmax())
        if score[number] <= (limits[1] / limits[0] if chosen else 1):
            return chosen
        rows = members[number]
        chosen.append((rows[left[rows]], float(score[number])))
        left[rows] = False


def _without_shrunk(
    grown: list[tuple[np.ndarray, float]], shrunk: list[tuple[np.ndarray, float]], current: np.ndarray, limit: float
) -> list[tuple[np.ndarray, float]]:
    """What grew even when what shrank more surely is left aside: beside a topic that goes all others gain share."""
    left = np.ones(len(current), bool)
    for rows, _ in shrunk:
        left[rows] = False
    surest = max((sure for _, sure in shrunk), default=0.0)
    sums = float((current & left).sum()), float(left.sum())
    return [
        (rows, sure)
        for rows, sure in grown
        if sure >= surest or surprise(np.array(current[rows].sum()), np.array(len(rows)), *sums) > limit
    ]


def _diffuse(
    comparison: Comparison, percentile: np.ndarray, usual: np.ndarray, found: list[Topic], limit: float
) -> list[Topic]:
    """Queries beyond the reference's 95 % distance, where they are more than 5 % even without those of the topics."""
    current = comparison.current[comparison.pool.kept]
    novelty = np.full(len(current), np.nan)
    novelty[current] = percentile
    covered = np.concatenate([np.array([], int), *(topic.after for topic in found if topic.sure > 1)])
    rest = np.setdiff1d(np.flatnonzero(current), covered)
    far = rest[novelty[rest] >= 0.95]
    count = round(0.05 * len(usual))
    if len(rest) == 0 or newcombe(count, len(usual), len(far), len(rest)).low <= 0:
        return []
    before = np.flatnonzero(~current)[np.argsort(-usual, kind="stable")[:count]]
    score = surprise(np.array(len(far)), np.array(len(far) + count), len(rest), len(rest) + len(usual))
    sure = max(float(score) / limit, 1 + 1e-9)  # one question only was asked here, so its own interval says enough
    return [Topic("new", far[np.argsort(-novelty[far], kind="stable")], before, sure, words=False)]
