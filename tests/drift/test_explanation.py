"""What moved: the topics named, ranked, counted; nothing made up where nothing moved."""

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.drift.embedding import hash_embed
from llm_monitoring.errors import ConfigError
from llm_monitoring.intervals import newcombe

COLUMNS = ["kind", "examples", "words", "n_before", "n_after", "share_before", "share_after", "low", "high"]
TOPICS = {
    "parcel": "where is my parcel {} it should be here",
    "refund": "I want a refund for order {} now",
    "address": "change the delivery address of {} to work",
    "password": "forgot the password of account {} again",
    "size": "is the blue shirt number {} in stock",
    "coupon": "coupon code {} does not work at checkout",
    "invoice": "send me the invoice of month {} as file",
    "gift": "can you wrap item {} as a gift",
}


def ask(topic, count, rng):
    return [TOPICS[topic].format(rng.integers(100_000)) for _ in range(count)]


def ask_all(count, rng, without=()):
    topics = [topic for topic in TOPICS if topic not in without]
    return [text for topic in rng.choice(topics, count) for text in ask(topic, 1, rng)]


def explained(reference, current, **given):
    return lm.DriftTest(reference, embedder=hash_embed).test(current).explain(**given)


def test_a_topic_that_the_reference_lacks_is_new_and_named():
    rng = np.random.default_rng(0)
    told = explained(ask_all(400, rng, without=["gift"]), ask_all(90, rng, without=["gift"]) + ask("gift", 20, rng))
    table = told.to_frame()
    assert list(table.columns) == COLUMNS
    first = table.iloc[0]
    assert first["kind"] == "new"
    assert (first["n_before"], first["n_after"]) == (0, 20)
    assert "gift" in first["words"]
    assert all("gift" in text for text in first["examples"])
    change = newcombe(0, 400, 20, 110)
    assert (first["low"], first["high"]) == (change.low, change.high)
    assert told.headline.startswith("A topic is new (")


def test_a_known_topic_with_more_share_grew():
    rng = np.random.default_rng(1)
    told = explained(ask_all(400, rng), ask_all(60, rng) + ask("refund", 40, rng))
    first = told.to_frame().iloc[0]
    assert first["kind"] == "grew"
    assert "refund" in first["words"]
    assert first["share_after"] > first["share_before"] > 0
    assert all("refund" in text for text in told.grew["query"].head(10))


def test_a_topic_that_vanished_shrank():
    rng = np.random.default_rng(2)
    table = explained(ask_all(300, rng), ask_all(300, rng, without=["parcel"])).to_frame()
    shrunken = table[table["kind"] == "shrank"]
    assert (shrunken["high"] < 0).all()
    assert any("parcel" in words for words in shrunken["words"])


def test_the_farthest_queries_lead_the_list_of_new_ones():
    rng = np.random.default_rng(3)
    odd = ["zebra xylophone quartz", "mjolnir vs kraken", "fjord waltz nymph", "sphinx of black quartz"] * 3
    odd = [f"{text} {i}" for i, text in enumerate(odd)]
    told = explained(ask_all(400, rng), ask_all(90, rng) + odd)
    assert len(set(told.new["query"].head(12)) & set(odd)) >= 11
    assert sorted(told.new["row"]) == list(range(102))


def test_without_drift_there_are_no_topics():
    rng = np.random.default_rng(4)
    told = explained(ask_all(300, rng), ask_all(80, rng))
    assert told.drift is False
    assert told.to_frame().empty
    assert list(told.to_frame().columns) == COLUMNS
    assert told.headline == "No change found (80 queries against 300), so there is nothing to explain."


def test_vectors_are_named_by_their_row_and_have_no_words():
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(10, 20)) * 3
    reference = centres[rng.integers(0, 9, 400)] + rng.normal(size=(400, 20))
    current = np.vstack([centres[rng.integers(0, 9, 80)], np.repeat(centres[9:], 20, axis=0)]) + rng.normal(
        size=(100, 20)
    )
    first = lm.DriftTest(reference).test(current).explain().to_frame().iloc[0]
    assert first["words"] == []
    assert all(int(text.removeprefix("row ")) >= 80 for text in first["examples"])


def test_judgements_tell_the_quality_of_what_moved():
    rng = np.random.default_rng(6)
    current = pd.DataFrame({"user_input": ask_all(90, rng, without=["gift"]) + ask("gift", 20, rng)})
    current["request_id"] = [f"req-{i}" for i in range(110)]
    judgements = pd.DataFrame({"request_id": current["request_id"], "quality_score": [5.0] * 90 + [1.0, 2.0] * 10})
    judgements.loc[100, "quality_score"] = None
    first = explained(ask_all(400, rng, without=["gift"]), current, judgements=judgements).to_frame().iloc[0]
    assert first["n_after"] - 1 <= first["n_judged"] <= 19  # one of the topic's was not judged
    assert 1.4 < first["quality_after"] < 1.6  # half of them 1, half 2
    assert first["quality_low"] < first["quality_after"] < first["quality_high"]


def test_judgements_need_request_ids():
    rng = np.random.default_rng(7)
    with pytest.raises(ConfigError) as error:
        explained(ask_all(50, rng), ask_all(20, rng), judgements=pd.DataFrame())
    assert str(error.value) == (
        "explain(judgements): the current queries have no request_id; test a table that has one"
    )


def test_plots_take_dollar_signs_and_odd_words():
    rng = np.random.default_rng(8)
    odd = [f"$x_{{1}}$ costs $5 in round {i} <i>" for i in range(20)]
    told = explained(ask_all(300, rng), ask_all(60, rng) + odd)
    told.plot().figure.canvas.draw()
    assert "<i>" not in told._repr_html_()
