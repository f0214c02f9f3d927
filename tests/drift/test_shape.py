"""Form of texts: languages, formats and lengths, each with its own p."""

import numpy as np
import pytest

import llm_monitoring as lm
from llm_monitoring.drift.embedding import hash_embed
from llm_monitoring.drift.shape import format_of, guess_language

ENGLISH = ["where is my parcel number {}", "I want a refund for the order {}", "how do I change the address of {}"]
GERMAN = ["wo ist mein Paket mit der Nummer {}", "ich möchte das Geld für die Bestellung {}"]


def texts(patterns, count, seed):
    rng = np.random.default_rng(seed)
    return [rng.choice(patterns).format(rng.integers(1_000)) for _ in range(count)]


def shape(reference, current):
    return lm.DriftTest(reference, embedder=hash_embed).test(current).shape()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my order and when will it come?", "en"),
        ("Où est ma commande et comment je peux la suivre ?", "fr"),
        ("¿Dónde está mi pedido y cómo puedo seguirlo por la web?", "es"),
        ("Dov'è il mio ordine e come posso seguirlo?", "it"),
        ("Waar is mijn bestelling en hoe kan ik het volgen?", "nl"),
        ("Где мой заказ?", "ru"),
        ("我的订单在哪里", "zh"),
        ("ご注文はどこですか", "ja"),
        ("내 주문은 어디에 있나요", "ko"),
        ("OK 123", None),
        ("", None),
        ("\x00\ud800", None),
    ],
)
def test_language_of_plain_sentences(text, language):
    assert guess_language(text) == language


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"a": 1}', "json"),
        ("```python\nprint(1)\n```", "code"),
        ("<b>bold</b> words", "markup"),
        ("look at https://example.org please", "link"),
        ("- one\n- two\n", "list"),
        ("first line\nsecond line", "lines"),
        ("where is it?", "question"),
        ("I want a refund", "statement"),
        ("refund", "keywords"),
        ("", "keywords"),
    ],
)
def test_format_of_texts(text, form):
    assert format_of(text) == form


def test_another_language_is_seen_as_such():
    result = shape(texts(ENGLISH, 150, 0), texts(ENGLISH, 40, 1) + texts(GERMAN, 20, 2))
    assert result.p_values["language"] <= 0.01
    row = result.to_frame().query("value == 'de'").iloc[0]
    assert (row["before"], row["after"]) == (0, pytest.approx(1 / 3))
    assert row["low"] > 0


def test_longer_texts_change_length_alone():
    long = [text + " " + "the parcel is still on the way to me" * 2 for text in texts(ENGLISH, 40, 1)]
    result = shape(texts(ENGLISH, 150, 0), long)
    assert result.p_values["length"] <= 0.01
    assert result.p_values["format"] > 0.05
    assert result.headline.startswith("Length changed (length p = 0.00332, ")


def test_equal_texts_are_no_change():
    result = shape(["same text here"] * 40, ["same text here"] * 20)
    assert set(result.p_values.values()) == {1.0}


def test_vectors_have_no_shape():
    rng = np.random.default_rng(0)
    result = lm.DriftTest(rng.normal(size=(40, 5))).test(rng.normal(size=(20, 5))).shape()
    assert result.to_frame().empty
    assert result.headline == "The form could not be compared (no texts were given, or too few; 20 queries against 40)."
    result.plot()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("x" * 100_000, "keywords"),
        ("\n" * 100_000, "keywords"),
        ("<a" * 50_000, "keywords"),
        ("; " * 50_000, "code"),
        ("[" * 100_000, "keywords"),
        ("- \n" * 50_000, "list"),
        ("1. first\n2. second", "list"),
        ("see <b>this</b> now", "markup"),
        ("one line\nand another", "lines"),
        (' {"a": 1}\n', "json"),
        ("どこですか？", "question"),
    ],
)
def test_hostile_repeats_have_a_form_like_any_text(text, form):
    assert format_of(text) == form
