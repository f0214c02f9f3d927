"""One query at a time against the centroid of its feature, as the original design had it. A weak signal; see `monitor`."""

from __future__ import annotations

import contextlib
import json
import threading
import weakref
from bisect import insort
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from llm_monitoring import disk
from llm_monitoring.drift.embedding import embed
from llm_monitoring.errors import ConfigError, quote

REFERENCE_MOST, REFERENCE_LEAST, SHIFT_SHARE = 500, 50, 0.02
WEIGHT = 0.01  # of the newest query in the centroid, as in the original


class EmbeddingStore(Protocol):
    """Where the centroid of a feature's queries is kept: a dict in memory, a row in a database.

    A store that also has `get_reference(feature_id)` and `update_reference(feature_id, state)` (a dict for JSON) keeps
    what the cut was learnt from beyond the life of the process, as `MemoryCentroids` and `FileCentroids` do.
    """

    def get_centroid(self, feature_id: str) -> Sequence[float] | None:
        """The centroid, or None where there is none yet."""

    def update_centroid(self, feature_id: str, centroid: list[float]) -> None:
        """Keep a new one."""


class MemoryCentroids:
    """Centroids in memory, gone with the process.

    >>> store = MemoryCentroids()
    >>> store.update_centroid("search", [1.0, 2.0])
    >>> store.get_centroid("search")
    [1.0, 2.0]
    """

    def __init__(self):
        self._kept: dict[str, dict[str, Any]] = {}

    def get_centroid(self, feature_id: str) -> list[float] | None:
        """The centroid, or None where there is none yet."""
        return self._kept.get(feature_id, {}).get("centroid")

    def update_centroid(self, feature_id: str, centroid: list[float]) -> None:
        """Keep a new one."""
        self._set(feature_id, "centroid", centroid)

    def get_reference(self, feature_id: str) -> dict[str, Any] | None:
        """What the cut is learnt from."""
        return self._kept.get(feature_id, {}).get("reference")

    def update_reference(self, feature_id: str, state: dict[str, Any]) -> None:
        """Keep what the cut is learnt from."""
        self._set(feature_id, "reference", state)

    def _set(self, feature_id: str, name: str, value: Any) -> None:
        self._kept.setdefault(feature_id, {})[name] = value


class FileCentroids(MemoryCentroids):
    """Centroids in a folder, one JSON file a feature, written whole and renamed: a killed process leaves the old one.

    For one process at a time; several that write keep the last.

    Parameters
    ----------
    folder : str or Path
        Made where it does not exist; private, or open to the group of the folder it lies in.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> FileCentroids(folder).update_centroid("search", [1.0, 2.0])
    >>> FileCentroids(folder).get_centroid("search")
    [1.0, 2.0]
    """

    def __init__(self, folder: str | Path):
        super().__init__()
        self.folder = disk.make_folder(folder)
        for path in sorted(self.folder.glob("*.json")):
            try:
                kept = json.loads(path.read_text("utf-8"))
                self._kept[kept["feature_id"]] = {
                    name: kept[name] for name in ("centroid", "reference") if name in kept
                }
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"FileCentroids: {path} is not a centroid file; expected what FileCentroids wrote"
                ) from error

    def _set(self, feature_id: str, name: str, value: Any) -> None:
        super()._set(feature_id, name, value)
        path = self.folder / f"{feature_id.encode('utf-8', 'replace').hex()[:200] or 'empty'}.json"
        with disk.replacing(path) as part:
            part.write_text(json.dumps({"feature_id": feature_id} | self._kept[feature_id]), "utf-8")


_known: dict[int, dict[str, dict[str, Any]]] = {}
_lock = threading.Lock()


def track_input_distribution(query: str, feature_id: str, embedding_store: EmbeddingStore) -> dict[str, Any]:
    """Hold one query against the centroid of the feature's queries, and move the centroid a little.

    What differs from the original: no fixed cut. A cosine of 0.70 to the centroid flags every query of an ordinary
    embedder, in distribution or not. Here the cut is learnt from the feature's own first 500 cosines: a query is flagged
    where at most 2 % of them were as low, which needs 50 of them. The centroid is a plain mean over the first 100
    queries, after that it moves by 1 % with every query, as the original's: it follows a slow drift, which then is
    never flagged, and a single query against a centroid tells new from old with an AUC of .55 to .74 only. For
    decisions use `DriftMonitor`, whose reference stays.

    Parameters
    ----------
    query : str
    feature_id : str
    embedding_store : EmbeddingStore
        Anything with `get_centroid(feature_id)` and `update_centroid(feature_id, centroid)`: `MemoryCentroids`,
        `FileCentroids`, or your own. Where it has no `get_reference`, the cut is learnt anew in every process.

    Returns
    -------
    dict
        ``distribution_shift`` and ``similarity_to_centroid`` (3 places); for a feature's first query
        ``distribution_shift`` False and ``n`` 1.

    Examples
    --------
    >>> store = MemoryCentroids()
    >>> track_input_distribution("Where is my parcel?", "support", store)
    {'distribution_shift': False, 'n': 1}
    >>> track_input_distribution("Where is my parcel?", "support", store)
    {'distribution_shift': False, 'similarity_to_centroid': 1.0}
    """
    vector = embed(query)
    with _lock:  # read, move and write of one query are not mixed with those of another
        centroid = embedding_store.get_centroid(feature_id)
        if centroid is None:
            embedding_store.update_centroid(feature_id, vector)
            _keep(embedding_store, feature_id, {"queries": 1, "cosines": []})
            return {"distribution_shift": False, "n": 1}
        if len(centroid) != len(vector):
            raise ConfigError(
                f"track_input_distribution: the centroid of {quote(feature_id)} has {len(centroid)} numbers; expected "
                f"{len(vector)}, as the embedder gives. It is that of another embedder: remove it from the store"
            )
        state = _state(embedding_store, feature_id)
        similarity = cosine_similarity(vector, centroid)
        weight = WEIGHT
        if state["queries"] is not None:  # else the centroid is of an age that nobody knows
            state["queries"] += 1
            weight = max(1 / state["queries"], WEIGHT)
        moved = [weight * q + (1 - weight) * c for q, c in zip(vector, centroid, strict=True)]
        shifted = _is_low(state["cosines"], similarity)
        embedding_store.update_centroid(feature_id, moved)
        _keep(embedding_store, feature_id, state)
    return {"distribution_shift": shifted, "similarity_to_centroid": round(similarity, 3)}


def cosine_similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine of the angle between two vectors; 0.0 where one of them has no length.

    What differs from the original: vectors of unequal length are refused instead of cut.

    Parameters
    ----------
    a, b : sequence of float
        Of the same length.

    Examples
    --------
    >>> cosine_similarity([1.0, 0.0], [1.0, 1.0])
    0.7071067811865475
    """
    left, right = np.asarray(a, float), np.asarray(b, float)
    if left.shape != right.shape:
        raise ConfigError(
            f"cosine_similarity(a, b): {left.size} and {right.size} numbers; expected the same number of both"
        )
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / lengths if lengths > 0 else 0.0


def _is_low(cosines: list[float], cosine: float) -> bool:
    """Whether at most 2 % of the first 500 cosines (sorted) were as low; the cosine joins them while they are fewer."""
    as_low = sum(seen <= cosine for seen in cosines[: int(SHIFT_SHARE * REFERENCE_MOST) + 1])
    n = len(cosines)
    if n < REFERENCE_MOST:
        insort(cosines, cosine)
    return n >= REFERENCE_LEAST and (as_low + 1) / (n + 1) <= SHIFT_SHARE


def _state(store: Any, feature_id: str) -> dict[str, Any]:
    if hasattr(store, "get_reference"):
        return store.get_reference(feature_id) or {"queries": None, "cosines": []}
    return _of_process(store).setdefault(feature_id, {"queries": None, "cosines": []})


def _keep(store: Any, feature_id: str, state: dict[str, Any]) -> None:
    if hasattr(store, "update_reference"):
        store.update_reference(feature_id, state)
    else:
        _of_process(store)[feature_id] = state


def _of_process(store: Any) -> dict[str, dict[str, Any]]:
    """What this process knows of a store without `get_reference`; forgotten with the store."""
    if id(store) not in _known:
        _known[id(store)] = {}
        with contextlib.suppress(TypeError):  # what cannot be watched is remembered as long as the process lives
            weakref.finalize(store, _known.pop, id(store), None)
    return _known[id(store)]
