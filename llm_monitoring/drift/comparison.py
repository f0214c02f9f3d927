"""Reference and current queries side by side: one canonical order, one geometry, all labellings. No results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from llm_monitoring.drift.queries import Queries
from llm_monitoring.drift.two_sample import MOST_ROWS, Known, Pool, labellings


@dataclass(frozen=True)
class Comparison:
    """Reference and current queries in one canonical order, their shared geometry and all labellings."""

    before: Queries
    now: Queries
    pool: Pool
    labels: np.ndarray
    order: np.ndarray  # row of the pool -> row of [before; now]

    @classmethod
    def of(
        cls, before: Queries, now: Queries, permutations: int, seed: int, known: Any = None, pool: Pool | None = None
    ) -> Comparison:
        """Put queries side by side.

        `known` is what `two_sample.known_among` gives of the reference, `pool` that of an earlier comparison of the same
        queries; both only spare time.
        """
        current = np.repeat([False, True], [len(before), len(now)])
        keys = np.concatenate([before.keys, now.keys])
        # a session seen on both sides counts as two; one query alone is its own block
        session = np.concatenate([before.sessions, now.sessions])
        rng = np.random.default_rng(seed)
        order = np.lexsort([session, current, keys])
        order = order[np.lexsort([rng.random(len(order)), keys[order]])]  # equal queries in an order blind to labels
        current = current[order]
        blocks = _blocks(session[order], current)
        kept = _kept(current, blocks, rng)
        if pool is None:
            places = np.argsort(order)[: len(before)]
            beside = None if known is None or not kept.all() else Known(known[0], known[1], places)
            pool = Pool(np.concatenate([before.vectors, now.vectors])[order], np.flatnonzero(kept), seed, beside)
        return cls(before, now, pool, labellings(current, blocks, kept, permutations, seed + 1), order)

    @property
    def current(self) -> np.ndarray:
        """True for every current row of the pool."""
        return self.labels[0] == 1

    @cached_property
    def keys(self) -> np.ndarray:
        """A number for every row of the pool, equal where two queries are the same."""
        return np.concatenate([self.before.keys, self.now.keys])[self.order]

    def text(self, row: int) -> str:
        """The query in a row of the pool; its position in the input where vectors were given."""
        position = int(self.order[row])
        side, position = (
            (self.before, position) if position < len(self.before) else (self.now, position - len(self.before))
        )
        if side.texts is None:
            return f"row {side.rows[position]}"
        return side.texts[position].encode("utf-8", "replace").decode()  # tables cannot hold half a character


def _blocks(session: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Numbers 0, 1, ... of the sessions, in the order of their first rows; a session on both sides counts twice."""
    _, number = np.unique(session, return_inverse=True)
    _, first, inverse = np.unique(2 * number + current, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _kept(current: np.ndarray, blocks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows for the statistics of neighbours: all, or whole blocks of both sides up to 6,000 rows."""
    if len(current) <= MOST_ROWS:
        return np.ones(len(current), bool)
    kept = np.zeros(len(current), bool)
    for side in (current, ~current):
        most = max(MOST_ROWS // 2, MOST_ROWS - int((~side).sum()))
        inside = np.unique(blocks[side])
        drawn = inside[rng.permutation(len(inside))]
        size = np.bincount(blocks[side], minlength=blocks.max() + 1)[drawn]
        kept |= side & np.isin(blocks, drawn[np.cumsum(size) <= most])
    return kept
