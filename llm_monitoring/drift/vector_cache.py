"""Each text is embedded once: in batches, with a progress bar, kept in memory and, where a path is given, in DuckDB."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

PATIENCE_S = 10.0  # seconds to wait for a cache file that another process has open


class Embedder(Protocol):
    """Any callable from a list of texts to an array with one row per text."""

    def __call__(self, texts: list[str], /) -> np.ndarray: ...


class CachedEmbedder:
    """An embedder that computes each text once, in the order of the texts themselves.

    Parameters
    ----------
    embedder : callable
        list of texts -> array with one row per text.
    version : str
        Name and version of the embedder; part of the key, so that another version never gets old vectors.
    path : str or Path, optional
        DuckDB file that keeps the vectors between runs (hashes and numbers, no texts): worth it for embedders that
        cost money. Private, as a vector tells something of its text. Every batch is written when it is done, so a run that was killed goes on where it was.
    most : int
        Vectors kept in memory; the least recently used go first.
    batch : int
        Texts handed to the embedder at a time.

    Raises
    ------
    ConfigError
        For vectors that are no array of finite numbers with one row per text, and for a file that is no cache.

    Examples
    --------
    >>> from llm_monitoring.drift.embedding import hash_embed
    >>> embedder = CachedEmbedder(hash_embed, version="hashing-1")
    >>> embedder(["refund", "refund", "parcel"]).shape
    (3, 256)
    """

    def __init__(
        self, embedder: Embedder, version: str, path: str | Path | None = None, most: int = 50_000, batch: int = 4_096
    ):
        if batch < 1:
            raise ConfigError(f"CachedEmbedder(batch={batch}); expected at least 1 text")
        self.embedder, self.version, self.path, self.most, self.batch = embedder, version, path, most, batch
        self._kept: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Vectors of the texts (texts, dimensions), float32."""
        keys = [_key(self.version, text) for text in texts]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing and self.path:
            with self._opened() as store:
                found |= _read(store, list(missing))
            missing = {key: text for key, text in missing.items() if key not in found}
        if missing:
            found |= self._compute(missing)
        self._keep(found)
        return np.stack([found[key] for key in keys]) if keys else np.empty((0, 0), np.float32)

    def _compute(self, missing: dict[bytes, str]) -> dict[bytes, np.ndarray]:
        from tqdm.auto import tqdm

        pairs = sorted(missing.items(), key=lambda pair: (len(pair[1]), pair[1]))
        computed: dict[bytes, np.ndarray] = {}
        hidden = True if len(pairs) <= self.batch else None  # None: hidden where nobody looks
        with tqdm(total=len(pairs), desc="embedding", unit="text", leave=False, disable=hidden) as bar:
            for start in range(0, len(pairs), self.batch):
                part = pairs[start : start + self.batch]
                vectors = checked_vectors(self.embedder([text for _, text in part]), len(part), "embedder")
                fresh = dict(zip((key for key, _ in part), vectors, strict=True))
                if self.path:
                    with self._opened() as store:
                        _write(store, fresh)
                computed |= fresh
                bar.update(len(part))
        return computed

    def _keep(self, found: dict[bytes, np.ndarray]) -> None:
        for key in list(found)[-self.most :]:
            if key not in self._kept:
                self._kept[key] = found[key].copy()  # a row alone, not a view that keeps its whole array alive
            self._kept.move_to_end(key)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)

    @contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, open only while it is read or written, so that other processes can use it between."""
        import duckdb

        path, until = Path(self.path or ""), time.monotonic() + PATIENCE_S
        while True:
            try:
                new = not path.exists()
                disk.make_folder(path.parent)
                store = duckdb.connect(str(path))
                if new:  # DuckDB takes no empty file, so it gets its mode here, before anything is in it
                    path.chmod(disk.file_mode(disk.is_shared(path.parent)))
                store.execute("create table if not exists vectors (key blob primary key, vector blob)")
                break
            except (OSError, duckdb.IOException) as error:
                if "lock" not in str(error).lower() or time.monotonic() > until:
                    raise ConfigError(
                        f"CachedEmbedder(path={str(self.path)!r}): {str(error).splitlines()[0][:160]}; "
                        "expected a DuckDB file that this process can write, or a path where none exists"
                    ) from error
                time.sleep(0.05)
        try:
            yield store
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


def _read(store: duckdb.DuckDBPyConnection, keys: list[bytes]) -> dict[bytes, np.ndarray]:
    import pyarrow as pa

    wanted = pa.table({"key": pa.array(keys, pa.binary())})
    store.register("wanted", wanted)
    rows = store.execute("select key, vector from vectors semi join wanted using (key)").fetchall()
    return {key: np.frombuffer(vector, np.float32) for key, vector in rows}


def _write(store: duckdb.DuckDBPyConnection, computed: dict[bytes, np.ndarray]) -> None:
    import pyarrow as pa

    vectors = pa.array([vector.tobytes() for vector in computed.values()], pa.binary())
    store.register("computed", pa.table({"key": pa.array(list(computed), pa.binary()), "vector": vectors}))
    store.execute("insert or ignore into vectors select key, vector from computed")


def _key(version: str, text: str) -> bytes:
    return blake2b(f"{version}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
