"""Texts to vectors, on this machine alone: the default embedder, its stand-in, and a cache. No statistics."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import sparse

from llm_monitoring.errors import ConfigError, quote

LONGEST = 8_000  # characters of a text that count; longer ones cost memory and move a mean of tokens little


class Embedder(Protocol):
    """Any callable from a list of texts to an array with one row per text."""

    def __call__(self, texts: list[str], /) -> np.ndarray: ...


def embed(text: str) -> list[float]:
    """Vector of one text by the default embedder; nothing is sent anywhere.

    Parameters
    ----------
    text : str
        Any text; of longer ones the first 8,000 characters count.

    Returns
    -------
    list of float
        256 numbers; all 0 where the text holds no word.

    Examples
    --------
    >>> len(embed("Where is my parcel?"))
    256
    """
    if not isinstance(text, str):
        raise ConfigError(f"embed(text): {quote(text)}; expected a text")
    return default_embedder()([text])[0].tolist()


@cache
def default_embedder() -> CachedEmbedder:
    """The embedder in the wordllama wheel, with the network never asked; hashing where wordllama is not installed.

    Examples
    --------
    >>> default_embedder()(["refund", "parcel"]).shape
    (2, 256)
    """
    try:
        version, embedder = _wordllama()
    except (ImportError, OSError):  # not installed, or installed without its weights
        version, embedder = "hashing-1", hash_embed
    return CachedEmbedder(embedder, version=version)


class CachedEmbedder:
    """An embedder that computes each text once, in the order of the texts themselves.

    Parameters
    ----------
    embedder : callable
        list of texts -> array with one row per text.
    version : str
        Name and version of the embedder; part of the key, so that another version never gets old vectors.
    path : str or Path, optional
        SQLite file that keeps the vectors between runs: worth it for embedders that cost money.
    most : int
        Vectors kept in memory; the least recently used go first.

    Examples
    --------
    >>> embedder = CachedEmbedder(hash_embed, version="hashing-1")
    >>> embedder(["refund", "refund", "parcel"]).shape
    (3, 256)
    """

    def __init__(self, embedder: Embedder, version: str, path: str | Path | None = None, most: int = 50_000):
        self.embedder, self.version, self.path, self.most = embedder, version, path, most
        self._kept: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def __call__(self, texts: list[str]) -> np.ndarray:
        keys = [_key(self.version, text) for text in texts]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing and self.path:
            stored = self._read(list(missing))
            found |= stored
            missing = {key: text for key, text in missing.items() if key not in stored}
        if missing:
            found |= self._compute(missing)
        self._keep(found)
        return np.stack([found[key] for key in keys]) if keys else np.empty((0, 0), np.float32)

    def _compute(self, missing: dict[bytes, str]) -> dict[bytes, np.ndarray]:
        pairs = sorted(missing.items(), key=lambda pair: (len(pair[1]), pair[1]))
        vectors = checked_vectors(self.embedder([text for _, text in pairs]), len(pairs), "embedder")
        computed = dict(zip((key for key, _ in pairs), vectors, strict=True))
        if self.path:
            self._write(computed)
        return computed

    def _keep(self, found: dict[bytes, np.ndarray]) -> None:
        for key in list(found)[-self.most :]:
            if key not in self._kept:
                self._kept[key] = found[key].copy()  # a row alone, not a view that keeps its whole array alive
            self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)

    def _open(self) -> sqlite3.Connection:
        store = sqlite3.connect(str(self.path))
        store.execute("create table if not exists vectors (key blob primary key, vector blob) without rowid")
        return store

    def _read(self, keys: list[bytes]) -> dict[bytes, np.ndarray]:
        store = self._open()
        try:
            rows = (store.execute("select key, vector from vectors where key = ?", (key,)).fetchone() for key in keys)
            return {row[0]: np.frombuffer(row[1], np.float32) for row in rows if row}
        finally:
            store.close()

    def _write(self, computed: dict[bytes, np.ndarray]) -> None:
        store = self._open()
        try:
            with store:
                rows = ((key, vector.tobytes()) for key, vector in computed.items())
                store.executemany("insert or ignore into vectors values (?, ?)", rows)
        finally:
            store.close()


def checked_vectors(vectors: object, rows: int, name: str) -> np.ndarray:
    """The vectors as float32, one row per text, all finite; else a ConfigError that says which row is not."""
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != rows or array.shape[1] == 0:
        raise ConfigError(f"{name}: an array of shape {array.shape}; expected ({rows}, dimensions)")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ConfigError(f"{name}: row {bad[0]} holds a number that is not finite; expected finite numbers")
    return np.ascontiguousarray(array)


def hash_embed(texts: Iterable[str]) -> np.ndarray:
    """Words and their letter triples and quadruples, hashed and projected at random to 256 numbers [1]_.

    Needs no weights and no training; close in meaning only where texts share words or parts of words.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    ndarray of shape (texts, 256), float32

    References
    ----------
    .. [1] Li, Hastie, Church, Very sparse random projections, KDD 2006.

    Examples
    --------
    >>> a, b, c = hash_embed(["lost my card", "card is lost", "weather in Rome"])
    >>> bool(a @ b > a @ c)
    True
    """
    rows, features, weights = [], [], []
    places: dict[str, int] = {}
    count = 0
    for count, text in enumerate(texts, start=1):
        for feature, weight in _features(text):
            rows.append(count - 1)
            features.append(places.setdefault(feature, len(places)))
            weights.append(weight)
    held = sparse.csr_array((np.array(weights, np.float32), (rows, features)), shape=(count, max(len(places), 1)))
    directions = np.stack([_direction(feature) for feature in places] or [np.zeros(256, np.float32)])
    vectors = held @ directions
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)


def _features(text: str) -> Iterator[tuple[str, float]]:
    """Words with weight 1, and their parts of three and four letters with weight 1 in all."""
    for word in re.findall(r"\w+|[^\w\s]", _clean(text).casefold()):
        padded = f"<{word}>"
        parts = [padded[i : i + size] for size in (3, 4) for i in range(len(padded) - size + 1)]
        yield word, 1.0
        for part in parts:
            yield part, 1 / len(parts)


@lru_cache(maxsize=65_536)
def _direction(feature: str) -> np.ndarray:
    digest = blake2b(feature.encode(), digest_size=36).digest()
    direction = np.zeros(256, np.float32)
    for place in range(32):
        direction[digest[place]] += 1.0 if digest[32 + place // 8] >> (place % 8) & 1 else -1.0
    return direction


def _wordllama() -> tuple[str, Callable[[list[str]], np.ndarray]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        import wordllama
    finally:  # wordllama sets up the root logger when imported; that is the caller's to do
        root.handlers[:] = handlers
        root.setLevel(level)
    folder = Path(wordllama.__file__).parent  # the weights lie here; load() alone would try to download
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    return f"wordllama-{wordllama.__version__}", lambda texts: model.embed([_clean(text) for text in texts])


def _clean(text: str) -> str:
    return text[:LONGEST].encode("utf-8", "replace").decode()


def _key(version: str, text: str) -> bytes:
    return blake2b(f"{version}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
