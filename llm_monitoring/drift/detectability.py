"""How small a change a drift test of these sizes would see: topics of the very queries are made to grow, by trial."""

from __future__ import annotations

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.two_sample import Permuted, Pool


def smallest_seen(comparison: Comparison, outcome: Permuted, alpha: float) -> float | None:
    """Share of the window that one topic must take over to be seen in 8 of 10 tests; None where even half is missed."""
    pool, rng = comparison.pool, np.random.default_rng(comparison.pool.seed + 2)
    size = int(comparison.current[pool.kept].sum())
    for share in (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5):
        planted = np.tile(comparison.labels[1], (40, 1))
        for labels in planted:
            labels[pool.kept] = _planted(pool, size, round(share * size), rng)
        values = np.array([statistic(pool, planted) for statistic in outcome.method.statistics.values()])
        if (outcome.p_of(values) <= alpha + 1e-12).mean() >= 0.8:
            return share
    return None


def _planted(pool: Pool, size: int, grown: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of the kept rows, as many current ones as observed, one neighbourhood holding `grown` more than its share."""
    count = len(pool.kept)
    likeness = pool.unit @ pool.unit[rng.integers(count)]
    topic = np.argsort(-likeness, kind="stable")[: min(max(round(2 * grown * count / (count - size)), 10), count)]
    inside = min(round(len(topic) * size / count) + grown, len(topic), size)
    label = np.zeros(count, np.uint8)
    label[rng.permutation(topic)[:inside]] = 1
    outside = np.setdiff1d(np.arange(count), topic)
    label[rng.permutation(outside)[: size - inside]] = 1
    return label
