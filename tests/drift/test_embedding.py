"""Embedders: no network, one text one vector, caches that never mix versions."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from llm_monitoring.drift.embedding import CachedEmbedder, default_embedder, embed, hash_embed
from llm_monitoring.errors import ConfigError

EVIL = ["", "   ", "\x00", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "\ud800 lone surrogate", "🦜" * 50]


def test_default_embedder_never_opens_a_socket():
    program = """
import socket
def refused(*args, **kwargs):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refused
from llm_monitoring.drift.embedding import default_embedder
vectors = default_embedder()(["Where is my parcel?", "Cancel my plan"])
assert vectors.shape == (2, 256) and vectors.any(axis=1).all()
print(default_embedder().version)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("wordllama-")


def test_hashing_stands_in_where_wordllama_is_not_installed():
    program = """
import sys
sys.modules["wordllama"] = None
from llm_monitoring.drift.embedding import default_embedder, embed
print(default_embedder().version, len(embed("Where is my parcel?")))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["hashing-1", "256"]


def test_loading_leaves_the_root_logger_as_it_was():
    before = logging.getLogger().handlers[:], logging.getLogger().level
    default_embedder()
    assert (logging.getLogger().handlers[:], logging.getLogger().level) == before


def test_embed_gives_a_list_of_floats_equal_to_the_batch():
    batch = default_embedder()(["other", "Where is my parcel?"])
    alone = embed("Where is my parcel?")
    assert isinstance(alone, list)
    assert isinstance(alone[0], float)
    assert alone == batch[1].tolist()


@pytest.mark.parametrize("embedder", [default_embedder(), hash_embed], ids=["default", "hashing"])
def test_evil_texts_have_finite_vectors(embedder):
    assert np.isfinite(embedder(EVIL)).all()


def test_a_text_of_a_million_characters_costs_no_more_than_its_start():
    long = "parcel " * 150_000
    assert embed(long) == embed(long[:8_000])


def test_cache_asks_the_embedder_once_per_text():
    asked = []

    def embedder(texts):
        asked.extend(texts)
        return hash_embed(texts)

    cached = CachedEmbedder(embedder, version="1")
    first, second = cached(["a b", "c d", "a b"]), cached(["c d", "a b"])
    assert sorted(asked) == ["a b", "c d"]
    assert (first[[1, 0]] == second).all()


def test_cache_on_disk_serves_the_same_version_only(tmp_path):
    asked = []

    def embedder(texts):
        asked.extend(texts)
        return hash_embed(texts)

    for version in ("1", "1", "2"):
        CachedEmbedder(embedder, version=version, path=tmp_path / "vectors.db")(["refund"])
    assert asked == ["refund", "refund"]


def test_memory_of_the_cache_is_bounded():
    cached = CachedEmbedder(hash_embed, version="1", most=3)
    cached([f"text {i}" for i in range(10)])
    assert len(cached._kept) == 3


def test_embedder_that_returns_too_few_rows_is_named():
    with pytest.raises(ConfigError) as error:
        CachedEmbedder(lambda texts: np.ones((1, 4)), version="1")(["a", "b"])
    assert str(error.value) == "embedder: an array of shape (1, 4); expected (2, dimensions)"


def test_text_that_is_none_is_an_error_with_its_value():
    with pytest.raises(ConfigError) as error:
        embed(5)
    assert str(error.value) == "embed(text): 5; expected a text"
