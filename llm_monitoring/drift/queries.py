"""What people asked, as the tests of drift take it: texts or vectors, near-duplicates of one session merged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from llm_monitoring.drift.vector_cache import Embedder, checked_vectors
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.results import unknown

DETAILS = ["request_id", "finish_reason", "cost_usd", "category"]
UNNAMED = 1 << 32  # numbers of sessions below are places of queries without one, those above are digests of names
ALIKE = 85  # token-set ratio from which two texts of one session are the same question, as for retries


@dataclass(frozen=True)
class Queries:
    """Queries ready to be compared.

    Attributes
    ----------
    vectors : ndarray (n, d), float32
    texts : list of str or None
        None where vectors were given.
    sessions : ndarray of uint64 (n,)
        Equal where two queries come from one session; a query without a session has a number of its own.
    keys : ndarray of uint64 (n,)
        Equal where two queries are the same.
    rows : ndarray of int (n,)
        Positions in the input.
    details : dict of ndarray
        Columns of the input beside the text, where it has them: request_id, finish_reason, cost_usd, category.
    left_out, merged : int
        Rows without a text; rows that repeat an earlier question of their session.
    total : int
        Queries before a sample was taken of them; 0 where they are all here.
    """

    vectors: np.ndarray
    texts: list[str] | None
    sessions: np.ndarray
    keys: np.ndarray
    rows: np.ndarray
    left_out: int = 0
    merged: int = 0
    details: dict[str, np.ndarray] = field(default_factory=dict)
    total: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def count(self) -> int:
        """Queries that these stand for: themselves, or all that the sample was drawn from."""
        return self.total or len(self)

    def at(self, places: np.ndarray) -> Queries:
        """The queries at some places."""
        listed = places.tolist()
        return replace(
            self,
            vectors=self.vectors[places],
            texts=None if self.texts is None else [self.texts[i] for i in listed],
            sessions=self.sessions[places],
            keys=self.keys[places],
            rows=self.rows[places],
            details={name: values[places] for name, values in self.details.items()},
            total=self.count if len(places) < self.count else 0,
        )


def join(parts: list[Queries]) -> Queries:
    """Queries of several periods as one; queries without a session stay sessions of their own."""
    start, sessions = 0, []
    for part in parts:
        named = part.sessions >= UNNAMED
        sessions.append(np.where(named, part.sessions, part.sessions + np.uint64(start)))
        start += int(part.sessions[~named].max(initial=0)) + 1
    texts = None if any(part.texts is None for part in parts) else [text for part in parts for text in part.texts or []]
    return Queries(
        np.concatenate([part.vectors for part in parts]),
        texts,
        np.concatenate(sessions),
        np.concatenate([part.keys for part in parts]),
        np.arange(sum(len(part) for part in parts)),
    )


def sample_places(sessions: np.ndarray, keys: np.ndarray, most: int, seed: int | list[int]) -> np.ndarray:
    """Places of at most so many queries, whole sessions drawn at random; the order of the rows has no effect."""
    if len(keys) <= most:
        return np.arange(len(keys))
    _, inverse = np.unique(sessions, return_inverse=True)
    whole = np.zeros(inverse.max() + 1, np.uint64)
    np.add.at(whole, inverse, keys)  # a session is known by the sum of its keys
    drawn = np.argsort(whole, kind="stable")
    drawn = drawn[np.random.default_rng(seed).permutation(len(drawn))]
    chosen = drawn[np.cumsum(np.bincount(inverse)[drawn]) <= most]
    return np.flatnonzero(np.isin(inverse, chosen))


def read_queries(data: Any, embedder: Embedder, name: str, most: int | None = None, seed: int = 0) -> Queries:
    """Read texts, vectors, a requests table or a log.

    Parameters
    ----------
    data : list or Series of str, array (n, d), DataFrame or log
        A DataFrame needs `user_input`; with `session_id` (and `timestamp`) near-duplicates of a session are merged
        and the session is permuted as a whole. Null texts are left out and counted.
    embedder : callable
        list of texts -> array.
    name : str
        What errors call it.
    most : int, optional
        Of more queries a random sample is embedded, whole sessions at a time; `count` says how many there were.
    seed : int

    Examples
    --------
    >>> from llm_monitoring.drift.embedding import hash_embed
    >>> len(read_queries(["Where is my card?", None, "I lost it"], hash_embed, "reference"))
    2
    """
    if hasattr(data, "requests") and not hasattr(data, "columns"):
        data = data.requests
    if hasattr(data, "columns"):
        return _of_frame(data, embedder, name, most, seed)
    if isinstance(data, str | bytes | dict) or not hasattr(data, "__len__"):
        raise ConfigError(f"{name}: {quote(data)}; expected a list of texts, an array, or a table with user_input")
    if hasattr(data, "ndim") and data.ndim == 2:
        vectors = checked_vectors(data, len(data), name)
        sessions = np.arange(len(vectors), dtype=np.uint64)
        keys = np.array([_digest(row.tobytes()) for row in vectors], np.uint64)
        queries = Queries(vectors, None, sessions, keys, np.arange(len(vectors)))
        return queries if most is None else queries.at(sample_places(sessions, keys, most, seed))
    return _of_texts(list(data), None, embedder, name, most, seed)


def _of_frame(frame: Any, embedder: Embedder, name: str, most: int | None, seed: int) -> Queries:
    if "user_input" not in frame.columns:
        listed = ", ".join(map(str, frame.columns)) or "none"
        raise ConfigError(f"{name}: columns {listed}; expected user_input (the text of the query) among them")
    texts = frame["user_input"].astype(object).tolist()
    known = None
    if "session_id" in frame.columns:
        times = frame["timestamp"].tolist() if "timestamp" in frame.columns else [0] * len(texts)
        known = frame["session_id"].astype(object).tolist(), times
    queries = _of_texts(texts, known, embedder, name, most, seed)
    held = [name for name in DETAILS if name in frame.columns]
    details = {name: frame[name].astype(object).to_numpy()[queries.rows] for name in held}
    return replace(queries, details=details)


def _of_texts(
    texts: list, known: tuple[list, list] | None, embedder: Embedder, name: str, most: int | None, seed: int
) -> Queries:
    wrong = [i for i, text in enumerate(texts) if not isinstance(text, str) and not unknown(text)]
    if wrong:
        raise ConfigError(
            f"{name}: item {wrong[0]} is {quote(texts[wrong[0]])}; expected a text, or null where unknown"
        )
    rows = [i for i, text in enumerate(texts) if isinstance(text, str)]
    left_out = len(texts) - len(rows)
    sessions = np.arange(len(texts), dtype=np.uint64)
    if known:
        named, times = known
        for i in rows:
            if not unknown(named[i]):
                sessions[i] = _digest(f"session {named[i]}".encode("utf-8", "replace"))
        rows = _merge(texts, sessions, times, rows)
    merged = len(texts) - left_out - len(rows)
    keys = np.array([_digest(texts[i].encode("utf-8", "surrogatepass")) for i in rows], np.uint64)
    total = 0
    if most is not None and len(rows) > most:
        places = sample_places(sessions[rows], keys, most, seed)
        total, keys, rows = len(rows), keys[places], [rows[i] for i in places.tolist()]
    kept = [texts[i] for i in rows]
    vectors = checked_vectors(embedder(kept), len(kept), "embedder") if kept else np.empty((0, 1), np.float32)
    return Queries(vectors, kept, sessions[rows], keys, np.array(rows, int), left_out, merged, total=total)


def _merge(texts: list, sessions: np.ndarray, times: list, rows: list[int]) -> list[int]:
    """Rows without those that nearly repeat one of the last 50 questions kept of the same session."""
    from rapidfuzz import fuzz, process, utils

    kept: dict[int, list[str]] = {}
    merged = set()
    for i in sorted(rows, key=lambda i: (times[i], texts[i])):
        before = kept.setdefault(int(sessions[i]), [])
        text = utils.default_process(texts[i][:1_000])
        if process.extractOne(text, before[-50:], scorer=fuzz.token_set_ratio, score_cutoff=ALIKE):
            merged.add(i)
        else:
            before.append(text)
    return [i for i in rows if i not in merged]


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
