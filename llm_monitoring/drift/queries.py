"""What people asked, as the tests of drift take it: texts or vectors, near-duplicates of one session merged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from llm_monitoring.drift.vector_cache import Embedder, checked_vectors
from llm_monitoring.errors import ConfigError, quote

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
    ids : list of str or None
        The request ids, where the input has them.
    left_out, merged : int
        Rows without a text; rows that repeat an earlier question of their session.
    """

    vectors: np.ndarray
    texts: list[str] | None
    sessions: np.ndarray
    keys: np.ndarray
    rows: np.ndarray
    left_out: int = 0
    merged: int = 0
    ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.rows)


def read_queries(data: Any, embedder: Embedder, name: str) -> Queries:
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

    Examples
    --------
    >>> from llm_monitoring.drift.embedding import hash_embed
    >>> len(read_queries(["Where is my card?", None, "I lost it"], hash_embed, "reference"))
    2
    """
    if hasattr(data, "requests") and not hasattr(data, "columns"):
        data = data.requests
    if hasattr(data, "columns"):
        return _of_frame(data, embedder, name)
    if isinstance(data, str | bytes | dict) or not hasattr(data, "__len__"):
        raise ConfigError(f"{name}: {quote(data)}; expected a list of texts, an array, or a table with user_input")
    if hasattr(data, "ndim") and data.ndim == 2:
        vectors = checked_vectors(data, len(data), name)
        sessions = np.arange(len(vectors), dtype=np.uint64)
        keys = np.array([_digest(row.tobytes()) for row in vectors], np.uint64)
        return Queries(vectors, None, sessions, keys, np.arange(len(vectors)))
    return _of_texts(list(data), None, embedder, name)


def _of_frame(frame: Any, embedder: Embedder, name: str) -> Queries:
    if "user_input" not in frame.columns:
        listed = ", ".join(map(str, frame.columns)) or "none"
        raise ConfigError(f"{name}: columns {listed}; expected user_input (the text of the query) among them")
    texts = frame["user_input"].astype(object).tolist()
    told = None
    if "session_id" in frame.columns:
        times = frame["timestamp"].tolist() if "timestamp" in frame.columns else [0] * len(texts)
        told = frame["session_id"].astype(object).tolist(), times
    queries = _of_texts(texts, told, embedder, name)
    if "request_id" not in frame.columns:
        return queries
    ids = frame["request_id"].astype(str).to_numpy()
    return replace(queries, ids=ids[queries.rows].tolist())


def _of_texts(texts: list, told: tuple[list, list] | None, embedder: Embedder, name: str) -> Queries:
    wrong = [i for i, text in enumerate(texts) if not isinstance(text, str) and not _is_null(text)]
    if wrong:
        raise ConfigError(
            f"{name}: item {wrong[0]} is {quote(texts[wrong[0]])}; expected a text, or null where unknown"
        )
    rows = [i for i, text in enumerate(texts) if isinstance(text, str)]
    left_out = len(texts) - len(rows)
    sessions = np.arange(len(texts), dtype=np.uint64)
    if told:
        named, times = told
        for i in rows:
            if not _is_null(named[i]):
                sessions[i] = _digest(f"session {named[i]}".encode("utf-8", "replace"))
        rows = _merge(texts, sessions, times, rows)
    kept = [texts[i] for i in rows]
    keys = np.array([_digest(text.encode("utf-8", "surrogatepass")) for text in kept], np.uint64)
    vectors = checked_vectors(embedder(kept), len(kept), "embedder") if kept else np.empty((0, 1), np.float32)
    return Queries(
        vectors, kept, sessions[rows], keys, np.array(rows, int), left_out, len(texts) - left_out - len(rows)
    )


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


def _is_null(value: object) -> bool:
    return value is None or value != value or type(value).__name__ == "NAType"


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
