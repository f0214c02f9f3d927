"""Texts to vectors on this machine alone: the default embedder, and hashing where it is missing. No statistics."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from scipy import sparse

from llm_monitoring.drift.vector_cache import CachedEmbedder
from llm_monitoring.errors import ConfigError, quote

LONGEST_TEXT = 8_000  # characters of a text that count; longer ones cost memory and move a mean of tokens little


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
        version, embedder = "hashing-2", hash_embed
    return CachedEmbedder(embedder, version=version)


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
    """Words with weight 1, and their parts of three and four letters with weight 1 in all.

    Where a script has no spaces between words (Chinese, Japanese, Thai), single signs and pairs of them instead.
    """
    for word in re.findall(r"\w+|[^\w\s]", cut(text).casefold()):
        if _UNSPACED.search(word):
            yield from ((word[i : i + size], 0.5) for size in (1, 2) for i in range(len(word) - size + 1))
            continue
        padded = f"<{word}>"
        parts = [padded[i : i + size] for size in (3, 4) for i in range(len(padded) - size + 1)]
        yield word, 1.0
        for part in parts:
            yield part, 1 / len(parts)


_UNSPACED = re.compile(r"[\u0e00-\u0eff\u2e80-\u9fff\uf900-\ufaff]")


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
    return f"wordllama-{wordllama.__version__}", lambda texts: model.embed([cut(text) for text in texts])


def cut(text: str) -> str:
    """The first 8,000 characters, with half characters replaced, so that every embedder can read it."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()
