"""Embedders: no network, one text one vector, caches that never mix versions."""

import json
import logging
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import duckdb
import numpy as np
import pytest

import llm_monitoring as lm
from llm_monitoring.drift.embedding import default_embedder, embed, hash_embed
from llm_monitoring.drift.named_embedders import embedder_of, sentence_transformer
from llm_monitoring.drift.vector_cache import CachedEmbedder
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
    assert run.stdout.split() == ["hashing-2", "256"]


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


def test_a_run_that_is_killed_keeps_the_batches_it_had_embedded(tmp_path):
    asked = []

    def embedder(texts):
        if len(asked) >= 4:
            raise KeyboardInterrupt
        asked.extend(texts)
        return hash_embed(texts)

    texts = [f"text {i}" for i in range(8)]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            CachedEmbedder(embedder, version="1", path=tmp_path / "vectors.db", batch=2)(texts)
    assert asked == sorted(texts)[:4]


def test_the_file_of_the_cache_holds_no_text_and_the_very_vectors(tmp_path):
    path = tmp_path / "vectors.db"
    (vector,) = CachedEmbedder(hash_embed, version="1", path=path)(["my secret is 4711"])
    with duckdb.connect(str(path)) as store:
        ((_, kept),) = store.execute("select * from vectors").fetchall()
    assert np.frombuffer(kept, np.float32).tolist() == vector.tolist() == hash_embed(["my secret is 4711"])[0].tolist()
    assert b"secret" not in path.read_bytes()


def test_the_file_of_the_cache_is_private_and_open_to_the_group_of_its_folder(tmp_path):
    alone, group = tmp_path / "new" / "vectors.db", tmp_path / "group" / "vectors.db"
    group.parent.mkdir()
    group.parent.chmod(0o770)
    for path in (alone, group):
        CachedEmbedder(hash_embed, version="1", path=path)(["refund"])
    assert [oct(path.stat().st_mode & 0o777) for path in (alone.parent, alone, group)] == ["0o700", "0o600", "0o660"]


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as store:
        store.execute("create table vectors (key, vector)")
    store.close()
    with pytest.raises(ConfigError, match=r"^CachedEmbedder\(path='.*old.db'\): .*; expected a DuckDB file that this"):
        CachedEmbedder(hash_embed, version="1", path=path)(["a"])


class Endpoint(BaseHTTPRequestHandler):
    """An embeddings endpoint: the vector of a text is its length and 1; `broken` is refused."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked["model"], asked["input"]))
        good = not any("broken" in text for text in asked["input"])
        data = [{"object": "embedding", "index": i, "embedding": [len(t), 1.0]} for i, t in enumerate(asked["input"])]
        answer = {"object": "list", "model": asked["model"], "data": data[::-1], "usage": {}}
        body = json.dumps(answer if good else {"error": {"message": "key sk-hidden is wrong"}}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:pass@127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
    yield server
    server.shutdown()
    server.server_close()


def test_an_endpoint_gives_vectors_in_the_order_of_the_texts_and_is_paid_once(endpoint, tmp_path):
    texts = ["a" * i for i in range(1, 301)]
    for _ in range(2):
        embedder = embedder_of("openai:small", path=tmp_path / "vectors.db")
        assert embedder(texts)[:, 0].tolist() == list(range(1, 301))
    assert [(path, model, len(given)) for path, model, given in endpoint.asked] == [
        ("/v1/embeddings", "small", 256),
        ("/v1/embeddings", "small", 44),
    ]


def test_an_endpoint_that_refuses_is_named_without_key_or_password(endpoint):
    with pytest.raises(ConfigError) as error:
        embedder_of("openai:small")(["broken"])
    assert str(error.value) == (
        f"embedder 'openai:small': AuthenticationError (status 401) from 127.0.0.1:{endpoint.server_port}; "
        "expected vectors. Look at OPENAI_BASE_URL, OPENAI_API_KEY and the model"
    )


def test_a_drift_test_takes_an_embedder_by_name(endpoint):
    result = lm.DriftTest(["ab"] * 30, embedder="openai:small", permutations=99).test(["abcdef"] * 30)
    assert result.drift
    assert result.embedder == f"openai:small@127.0.0.1:{endpoint.server_port}"


def test_a_model_of_sentence_transformers_is_handed_short_texts():
    class Model:
        def __init__(self, name):
            assert name == "some-model"

        def encode(self, texts, convert_to_numpy, show_progress_bar):
            assert convert_to_numpy
            assert not show_progress_bar
            return np.array([[len(text), 1] for text in texts])

    embedder = sentence_transformer("some-model", load=Model)
    assert embedder(["abc", "x" * 9_000]).tolist() == [[3, 1], [8_000, 1]]
    assert embedder.version == "sentence-transformers:some-model"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "opnai:small",
            "embedder='opnai'; expected one of 'wordllama', 'hashing', 'openai', 'sentence-transformers'; "
            "the nearest is 'openai'",
        ),
        ("openai:", "embedder='openai:'; expected 'openai:' and the name of a model"),
        ("hashing:2", "embedder='hashing:2'; expected 'hashing' alone"),
    ],
)
def test_a_wrong_name_is_an_error_with_the_choices(name, sentence):
    with pytest.raises(ConfigError) as error:
        embedder_of(name)
    assert str(error.value) == sentence


@pytest.mark.parametrize("embedder", [default_embedder(), hash_embed], ids=["default", "hashing"])
@pytest.mark.parametrize(
    ("same", "other"),
    [
        (("汇率是多少", "汇率错了"), "我忘记了密码"),
        (("返金がありません", "いつ返金されますか"), "カードはいつ配達されますか"),
        (("Die Rückerstattung fehlt", "Wann kommt die Rückerstattung?"), "Ich habe meine PIN vergessen"),
        (("El PIN está bloqueado", "He olvidado mi PIN"), "¿Cuál es el tipo de cambio?"),
    ],
    ids=["Chinese", "Japanese", "German", "Spanish"],
)
def test_questions_that_share_their_words_are_closer_in_other_languages_too(embedder, same, other):
    one, two, three = embedder([*same, other])
    assert one @ two / np.linalg.norm(two) > one @ three / np.linalg.norm(three)


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
