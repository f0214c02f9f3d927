"""What moved: the topics named, ranked, counted; nothing made up where nothing moved."""

from dataclasses import replace

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
    assert told.headline == (
        "20 of 110 questions (18 %) are about gift, item, wrap: a new topic (no earlier question came near it)."
    )


def test_a_known_topic_with_more_share_grew():
    rng = np.random.default_rng(1)
    told = explained(ask_all(400, rng), ask_all(60, rng) + ask("refund", 40, rng))
    first = told.to_frame().iloc[0]
    assert first["kind"] == "grew"
    assert "refund" in first["words"]
    assert first["share_after"] > first["share_before"] > 0
    assert all("refund" in text for text in told.grew["query"].head(10))


SEARCHED = [f"{kind} {thing}" for thing, kinds in {
    "boots": "leather rubber hiking", "lamp": "desk floor solar", "tent": "family winter beach", "knife": "bread chef pocket",
}.items() for kind in kinds.split()]  # fmt: skip
MORE = "red black cheap used small best review price near sale spare".split()  # noqa: SIM905


def search(topics, count, rng):
    """Keywords as typed into a search box: a topic has far more of them than the reference can hold."""
    return [
        " ".join([*topic.split(), *rng.choice(MORE, rng.integers(0, 3), replace=False)])
        for topic in rng.choice(topics, count)
    ]


@pytest.mark.parametrize(("known", "kind"), [(True, "grew"), (False, "new")])
def test_combinations_that_the_reference_lacks_do_not_make_a_known_topic_new(known, kind):
    rng = np.random.default_rng(8)
    usual = [topic for topic in SEARCHED if known or topic != "solar lamp"]
    table = explained(search(usual, 600, rng), search(usual, 70, rng) + search(["solar lamp"], 30, rng)).to_frame()
    assert table["kind"].iloc[0] == kind
    assert all("solar lamp" in text for text in table["examples"].iloc[0])


def test_a_topic_beside_one_that_is_nearly_the_same_is_told_from_it():
    right = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        centre = rng.normal(0, 1, (12, 24))
        centre[1] = centre[0] + 0.4 * rng.normal(0, 1, 24)  # a neighbour, and the reference is full of it
        usual = [centre[rng.integers(1, 12, count)] for count in (600, 90)]
        usual = [rows + 0.5 * rng.normal(0, 1, rows.shape) for rows in usual]
        neighbour, own = (centre[k] + 0.5 * rng.normal(0, 1, (count, 24)) for k, count in ((1, 69), (0, 32)))
        now = np.concatenate([usual[1], neighbour[60:], own[12:]])
        for known, kind in ((own[:0], "new"), (own[:12], "grew")):
            topics = lm.DriftTest(np.concatenate([usual[0], neighbour[:60], known])).test(now).explain().to_frame()
            right += topics["kind"].iloc[0] == kind
    assert right >= 18


def test_one_question_asked_word_for_word_is_known_where_the_reference_has_it():
    rng = np.random.default_rng(13)
    usual, bot = ask_all(300, rng), ["are you open on sunday, and until when"]
    for before, kind in ((usual + bot * 4, "grew"), (usual, "new")):
        first = explained(before, ask_all(60, rng) + bot * 20).to_frame().iloc[0]
        assert (first["kind"], first["examples"]) == (kind, bot)


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


def test_too_few_questions_are_not_called_unchanged():
    rng = np.random.default_rng(4)
    told = explained(ask_all(300, rng), ask_all(9, rng))
    assert told.paragraph == "Too few queries to tell (9 queries against 300), so there is nothing to explain."


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            lambda k: f"<div class='m'><p>note {k}</p></div>",
            "hold HTML or XML tags; of all earlier questions none did.",
        ),
        (lambda k: "", "are empty; of all earlier questions none were."),
        (lambda k: "ping", "are one and the same text; of all earlier questions none were."),
        (lambda k: "?!" * (k % 3 + 1), "hold no letters; of all earlier questions none did."),
        (lambda k: f"wo ist denn mein Paket {k} und wann kommt es", "are in German"),
        (lambda k: f"HELLO {k} IS ANYBODY THERE", "are in capitals"),
    ],
)
def test_what_has_one_form_is_said_by_its_form(odd, said):
    rng = np.random.default_rng(4)
    told = explained(ask_all(300, rng), ask_all(80, rng) + [odd(k) for k in range(20)])
    assert said in told.headline
    assert "“”" not in told.paragraph


def test_a_language_that_went_is_said_and_not_the_growth_of_the_rest():
    rng = np.random.default_rng(4)
    german = [f"wo ist denn mein Paket {k} und wann kommt es zu mir" for k in range(90)]
    told = explained(ask_all(300, rng) + german, ask_all(120, rng))
    assert told.headline.startswith("None of 120 questions (before: 23 %) is any longer in German.")
    assert set(told.topics["kind"]) == {"shrank"}


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


def test_the_paragraph_says_what_moved_how_well_it_is_answered_and_whether_the_mix_moved():
    rng = np.random.default_rng(6)
    reference = pd.DataFrame({"user_input": ask_all(400, rng, without=["gift"]), "category": ["a", "b"] * 200})
    current = pd.DataFrame({"user_input": ask_all(90, rng, without=["gift"]) + ask("gift", 20, rng)})
    current["request_id"] = [f"req-{i}" for i in range(110)]
    current["category"] = ["a", "b"] * 55
    current["finish_reason"] = ["end_turn"] * 100 + ["refusal"] * 10
    current["cost_usd"] = [0.01] * 90 + [0.03] * 20
    scores = [5.0, 4.0] * 45 + [1.0, 2.0] * 10
    judgements = pd.DataFrame({"request_id": current["request_id"], "quality_score": scores})
    signals = pd.DataFrame({"request_id": [f"req-{i}" for i in (3, 95, 96, 97, 98, 95)], "signal_type": "abandoned"})
    told = explained(reference, current, judgements=judgements, signals=signals)
    first = told.to_frame().iloc[0]
    assert (first["quality_after"], first["quality_rest"]) == (1.5, 4.5)
    assert (first["refusal_after"], first["refusal_rest"]) == (0.5, 0)
    assert (first["cost_usd_after"], first["abandoned_after"]) == (pytest.approx(0.03), 0.2)
    assert first["cost_usd_rest"] == pytest.approx(0.01)
    start, rest = told.paragraph.split(" For example: “")
    assert start == told.headline
    assert "gift" in rest.split("”")[0]
    assert rest.split("” ", 1)[1].startswith(
        "Judged quality of these is 1.5 (20 judged, 95 % interval 1.3 to 1.7) against 4.5 of the others; "
        "50 % of them are refused against 0 % of the others; "
        "20 % of them end in an abandoned session against 1 % of the others; "
        "one costs 3.0 times as much as another query."
    )
    assert "The mix of the known categories shows no change (p = " in rest
    assert told._repr_html_().startswith("<p>20 of 110 questions")


def test_an_alarm_names_what_moved_most_and_says_where_that_is_no_more_than_chance():
    rng = np.random.default_rng(3)
    reference = [" ".join(f"w{k}" for k in rng.integers(0, 60, 6)) for _ in range(300)]
    current = [text + " please" for text in (" ".join(f"w{k}" for k in rng.integers(0, 60, 6)) for _ in range(80))]
    test = lm.DriftTest(reference, embedder=lambda texts: hash_embed([text.replace(" please", "") for text in texts]))
    result = test.test(current)
    told = replace(result, drift=True).explain()
    assert len(told.topics) == 1
    assert not told.stands_out
    assert told.headline.startswith(
        "The queries changed (80 queries against 300), but no topic stands out. What moved most: "
    )
    assert not told.to_dict()["stands_out"]


def test_a_mix_that_moved_is_said_apart_from_new_content():
    rng = np.random.default_rng(11)
    reference = pd.DataFrame({"user_input": ask_all(400, rng), "category": ["a", "b"] * 200})
    current = pd.DataFrame(
        {"user_input": ask_all(60, rng) + ask("refund", 40, rng), "category": ["a"] * 80 + ["b"] * 20}
    )
    told = explained(reference, current)
    assert told.mix["category"].tolist() == ["a", "b"]
    assert told.mix["share_after"].tolist() == [0.8, 0.2]
    change = newcombe(200, 400, 80, 100)
    assert (told.mix["low"][0], told.mix["high"][0]) == (change.low, change.high)
    assert told.paragraph.endswith(
        "The mix of the known categories changed too (p = 0.001), most of all “a”: 50 % before, 80 % now."
    )


def test_words_that_are_common_or_may_be_chance_are_not_named():
    rng = np.random.default_rng(12)
    current = [f"the and for with {i} zebra" for i in range(30)] + ask_all(60, rng)
    first = explained(ask_all(300, rng), current).to_frame().iloc[0]
    assert first["words"] == ["zebra"]


def test_the_map_draws_every_topic_once_and_takes_odd_words():
    rng = np.random.default_rng(13)
    odd = [f"$x_{{1}}$ costs\x00 $5 in round {i} <i>" for i in range(20)]
    told = explained(ask_all(300, rng), ask_all(60, rng) + odd)
    axes = told.plot_map()
    axes.figure.canvas.draw()
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named[0].startswith("before (n = ")
    assert len(named) == 2 + min(len(told.topics), 4)
    with pytest.raises(ConfigError, match=r"plot_map\(method\)='tsne'; expected one of 'pca', 'umap'"):
        told.plot_map(method="tsne")


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
