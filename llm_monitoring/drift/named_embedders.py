"""Embedders by name: a model of sentence-transformers, or one behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from llm_monitoring.drift.embedding import cut, default_embedder, hash_embed
from llm_monitoring.drift.vector_cache import CachedEmbedder, Embedder
from llm_monitoring.errors import ConfigError, one_of, quote

AT_ONCE = 256  # texts of one call to an endpoint


def embedder_of(
    embedder: Embedder | str | None, *, base_url: str | None = None, path: str | Path | None = None
) -> Embedder:
    """The embedder that a name stands for; a callable is itself, None the default.

    Parameters
    ----------
    embedder : callable, str or None
        ``"wordllama"`` (the default where installed), ``"hashing"``, ``"sentence-transformers:MODEL"`` (a name or a
        folder; needs that package), or ``"openai:MODEL"``: the embeddings endpoint of OPENAI_BASE_URL with
        OPENAI_API_KEY, to which the texts are sent.
    base_url : str, optional
        Endpoint of ``openai:MODEL``, instead of OPENAI_BASE_URL.
    path : str or Path, optional
        DuckDB file that keeps the vectors between runs.

    Raises
    ------
    ConfigError
        For a name that is none of these, and where the endpoint does not answer with vectors.
    ImportError
        Where the package that a name needs is not installed.

    Examples
    --------
    >>> embedder_of("hashing")(["refund"]).shape
    (1, 256)
    """
    if embedder is None:
        return default_embedder()
    if not isinstance(embedder, str):
        return embedder
    kind, _, model = embedder.partition(":")
    one_of("embedder", kind, list(_KINDS))
    if (kind in ("openai", "sentence-transformers")) != bool(model):
        raise ConfigError(f"embedder={quote(embedder)}; expected {_KINDS[kind]}")
    if kind == "wordllama":
        return default_embedder()
    if kind == "hashing":
        return CachedEmbedder(hash_embed, version="hashing-2", path=path)
    if kind == "openai":
        return endpoint_embedder(model, base_url=base_url, path=path)
    return sentence_transformer(model, path=path)


_KINDS = {
    "wordllama": "'wordllama' alone",
    "hashing": "'hashing' alone",
    "openai": "'openai:' and the name of a model",
    "sentence-transformers": "'sentence-transformers:' and the name or folder of a model",
}


def sentence_transformer(
    model: str, *, path: str | Path | None = None, load: Callable[[str], Any] | None = None
) -> CachedEmbedder:
    """A model of the sentence-transformers package as embedder; multilingual ones tell topics apart in any language.

    Parameters
    ----------
    model : str
        Name or folder of the model, such as ``paraphrase-multilingual-MiniLM-L12-v2``.
    path : str or Path, optional
        DuckDB file that keeps the vectors between runs.
    load : callable, optional
        What makes the model from its name; by default `sentence_transformers.SentenceTransformer`.
    """
    if load is None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(
                f"embedder 'sentence-transformers:{model}' needs that package: pip install sentence-transformers"
            ) from error
        load = SentenceTransformer
    found = load(model)

    def embed(texts: list[str]) -> np.ndarray:
        return found.encode([cut(text) for text in texts], convert_to_numpy=True, show_progress_bar=False)

    return CachedEmbedder(embed, version=f"sentence-transformers:{model}", path=path, batch=1_024)


def endpoint_embedder(
    model: str, *, base_url: str | None = None, api_key: str | None = None, path: str | Path | None = None
) -> CachedEmbedder:
    """A model behind an OpenAI-compatible embeddings endpoint as embedder; the texts are sent there.

    Parameters
    ----------
    model : str
    base_url, api_key : str, optional
        Default: the environment's OPENAI_BASE_URL and OPENAI_API_KEY.
    path : str or Path, optional
        DuckDB file that keeps the vectors between runs, so that no text is paid for twice.
    """
    try:
        import openai
    except ImportError as error:
        raise ImportError(f"embedder 'openai:{model}' needs openai: pip install \"llm-monitoring[judge]\"") from error
    try:
        client = openai.OpenAI(base_url=base_url, api_key=api_key or os.environ.get("OPENAI_API_KEY") or "none")
    except openai.OpenAIError as error:
        raise ConfigError(f"embedder 'openai:{model}': {type(error).__name__}; expected an endpoint's URL") from error

    def embed(texts: list[str]) -> np.ndarray:
        asked = [cut(text) or " " for text in texts]  # an empty text is refused by endpoints
        try:
            answer = client.embeddings.create(model=model, input=asked, encoding_format="float")
        except openai.OpenAIError as error:
            status = getattr(error, "status_code", None)
            raise ConfigError(
                f"embedder 'openai:{model}': {type(error).__name__}{f' (status {status})' if status else ''} from "
                f"{_host(str(client.base_url))}; expected vectors. Look at OPENAI_BASE_URL, OPENAI_API_KEY and the model"
            ) from error
        in_order = sorted(answer.data, key=lambda item: item.index)
        return np.array([item.embedding for item in in_order], np.float32)

    version = f"openai:{model}@{_host(str(client.base_url))}"
    return CachedEmbedder(embed, version=version, path=path, batch=AT_ONCE)


def _host(url: str) -> str:
    """Host and port alone: a URL may hold a password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
