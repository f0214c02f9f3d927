"""Topic, language, format and length of requests: of their text and the reference alone."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.drift.query_columns import query_columns
from llm_monitoring.errors import ConfigError

ASKED = ["where is parcel {} of mine", "refund order {} please", "reset password of account {}"]


def asked(count, seed=0):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    texts = [ASKED[kind].format(rng.integers(10_000)) for kind in kinds]
    return pd.DataFrame({"user_input": texts, "request_id": [f"req-{i}" for i in range(count)]}), kinds


def test_topics_are_those_of_the_texts_and_named_by_words_of_theirs():
    frame, kinds = asked(300)
    table = query_columns(frame, topics=3, embedder="hashing")
    for kind, words in enumerate(ASKED):
        name = table.loc[kinds == kind, "topic"].mode()[0]
        assert (table.loc[kinds == kind, "topic"] == name).mean() > 0.95
        assert set(name.split(", ")) <= set(words.split())
    assert table["request_id"].tolist() == frame["request_id"].tolist()
    assert set(table["format"]) == {"statement"}


def test_requests_that_come_later_change_nothing_and_neither_does_their_order():
    reference, _ = asked(300, seed=1)
    frame, _ = asked(60, seed=2)
    whole = query_columns(frame, reference, topics=5, embedder="hashing")
    part = query_columns(frame.head(20), reference.sample(frac=1, random_state=0), topics=5, embedder="hashing")
    pd.testing.assert_frame_equal(part, whole.head(20))
    mixed = query_columns(frame.sample(frac=1, random_state=0), reference, topics=5, embedder="hashing")
    pd.testing.assert_frame_equal(mixed.sort_index(), whole)


def test_a_query_unlike_any_of_the_reference_is_of_another_topic():
    reference, _ = asked(300, seed=1)
    frame = pd.DataFrame({"user_input": ["zebra xylophone quartz", "\x00", "refund order 7312 please", None]})
    table = query_columns(frame, reference, topics=3, embedder="hashing")
    assert table["topic"].tolist()[0] == "other"
    assert table["topic"].tolist()[2] == "order, refund"
    assert table["topic"].tolist()[3] is None
    assert table["length"].tolist() == ["to 40", "to 40", "to 40", None]


def test_no_requests_give_an_empty_table_with_its_columns():
    table = query_columns(pd.DataFrame({"user_input": [], "request_id": []}), embedder="hashing")
    assert list(table.columns) == ["request_id", "topic", "language", "format", "length"]
    assert table.empty


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda f: query_columns(f, topics=0), "query_columns(topics)=0; expected 1 to 100"),
        (
            lambda f: query_columns(f[["request_id"]]),
            "query_columns(requests): no column user_input; expected a requests table or a log",
        ),
    ],
)
def test_errors_are_whole_sentences(call, sentence):
    with pytest.raises(ConfigError) as error:
        call(asked(3)[0])
    assert str(error.value) == sentence
