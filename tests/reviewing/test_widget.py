"""The kernel's side of the widget. The browser's side is in tests/browser."""

import json

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.builders import START, make_judgements, make_requests, open_tables

EVIL = "<script>window.__pwned = 1</script><img src=x onerror='window.__pwned = 1'>\x00{{7*7}}"


@pytest.fixture
def log():
    requests = make_requests(6, every="1h", user_input=EVIL, system_output=[EVIL, None])
    return open_tables(requests=requests, judgements=make_judgements(6, every="1h", quality_score=2.0))


def talk(widget, *messages):
    """Send the messages of a browser and collect the answers; a comm without a kernel leads nowhere."""
    heard = []
    widget.send = lambda message, _buffers=None: heard.append(message)
    for message in messages:
        widget._handle_custom_msg(message, [])
    return heard


def put(request_id, verdict, seq, **more):
    return {"kind": "put", "id": request_id, "verdict": verdict, "note": None, "seq": seq, "session": "s1", **more}


def test_each_verdict_is_on_the_disk_before_it_is_acknowledged(log, tmp_path):
    out = tmp_path / "deep" / "reviews.jsonl"
    widget = lm.review(log, out=out, reviewer="ann")
    (items,) = talk(widget, {"kind": "hello"})
    first = items["items"][0]["request_id"]
    (saved,) = talk(widget, put(first, "real", 1, note="off"))
    assert (saved["kind"], saved["seq"], saved["highest"]) == ("saved", 1, 1)
    (written,) = map(json.loads, out.read_text().splitlines())
    assert set(written) == {
        "request_id", "verdict", "note", "quality_score", "expected_output", "reviewer", "reviewed_at", "seq", "session",
    }  # fmt: skip
    assert (written["request_id"], written["verdict"], written["note"], written["reviewer"]) == (
        first,
        "real",
        "off",
        "ann",
    )
    assert widget.to_frame()["verdict"].tolist() == ["real"]


def test_run_again_it_goes_on_where_the_reader_stopped_even_when_the_log_grew(log, tmp_path):
    out = tmp_path / "reviews.jsonl"
    (before,) = talk(first := lm.review(log, out=out, n=3), {"kind": "hello"})
    drawn = [item["request_id"] for item in before["items"]]
    talk(first, put(drawn[0], "unsure", 1), put(drawn[1], "real", 2), put(drawn[1], None, 3))
    grown = open_tables(
        requests=make_requests(40, every="1h"), judgements=make_judgements(40, every="1h", quality_score=2.0)
    )
    (after,) = talk(lm.review(grown, out=out, n=3), {"kind": "hello"})
    assert [item["request_id"] for item in after["items"]] == drawn
    assert after["done"] == {drawn[0]: {"verdict": "unsure", "note": None, "score": None, "expected": None}}
    assert after["seq"] == 3


def test_a_verdict_that_cannot_be_written_is_told_and_not_acknowledged(log, tmp_path):
    out = tmp_path / "reviews.jsonl"
    widget = lm.review(log, out=out)
    out.mkdir()
    (answer,) = talk(widget, put("req-0000", "real", 1))
    assert answer["kind"] == "failed"
    assert answer["error"].startswith("reviews.jsonl: [Errno 21] Is a directory")


def test_no_trait_holds_logged_text_so_no_saved_notebook_does(log, tmp_path):
    widget = lm.review(log, out=tmp_path / "reviews.jsonl")
    state = {key: value for key, value in widget.get_state().items() if key not in ("_esm", "_css")}
    assert "pwned" not in repr(state)
    assert "pwned" in repr(talk(widget, {"kind": "hello"}))


def test_where_nobody_watches_a_table_stands_in_with_every_cell_escaped(log, tmp_path):
    html = lm.review(log, out=tmp_path / "reviews.jsonl")._repr_mimebundle_()[0]["text/html"]
    assert "<b>6 flagged answers drawn, 0 read</b>" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html


def test_a_text_that_a_message_cannot_carry_is_made_fit(log, tmp_path):
    texts = ["\ud800 lone", "x" * 30_000, None, "", "a", "b"]
    requests = log.requests.assign(system_output=pd.Series(texts, dtype=object))
    log = open_tables(requests=requests, judgements=log.judgements)
    (items,) = talk(lm.review(log, out=tmp_path / "reviews.jsonl"), {"kind": "hello"})
    shown = {item["request_id"]: item["system_output"] for item in items["items"]}
    assert json.dumps(items, ensure_ascii=False).encode()
    assert shown["req-0000"] == "? lone"
    assert shown["req-0001"].endswith("… (10,000 more characters in the log)")
    assert shown["req-0002"] is None


def test_a_log_with_nothing_flagged_gives_a_widget_with_nothing_to_read(log, tmp_path):
    log = open_tables(requests=log.requests, judgements=log.judgements.assign(flagged=False))
    widget = lm.review(log, out=tmp_path / "reviews.jsonl")
    (items,) = talk(widget, {"kind": "hello"})
    assert items["items"] == []
    assert widget.to_frame().empty


def test_a_broken_verdict_file_is_told_at_once(log, tmp_path):
    out = tmp_path / "reviews.jsonl"
    out.write_text("no json\n")
    with pytest.raises(lm.LogError, match=r"^reviews\.jsonl line 1: 'no json'; expected one JSON object a line$"):
        lm.review(log, out=out)


def test_two_people_on_one_file_see_only_their_own_verdicts_and_lose_none(log, tmp_path):
    out = tmp_path / "reviews.jsonl"
    ann, bob = (lm.review(log, out=out, reviewer=name) for name in ("ann", "bob"))
    (items,) = talk(ann, {"kind": "hello"})
    first, second = (item["request_id"] for item in items["items"][:2])
    talk(ann, *(put(first, "real", seq) for seq in range(1, 9)))
    talk(bob, put(first, "false_positive", 1, score=4), put(second, "unsure", 2, expected="30 days"))
    for name, mine in (("ann", {first: "real"}), ("bob", {first: "false_positive", second: "unsure"})):
        (seen,) = talk(lm.review(log, out=out, reviewer=name), {"kind": "hello"})
        assert {key: line["verdict"] for key, line in seen["done"].items()} == mine
    frame = ann.to_frame()
    assert frame[["request_id", "reviewer", "verdict"]].to_numpy().tolist() == [
        [first, "ann", "real"], [first, "bob", "false_positive"], [second, "bob", "unsure"],
    ]  # fmt: skip
    assert frame["quality_score"].tolist()[1] == 4
    assert frame["expected_output"].tolist()[2] == "30 days"


def test_messages_that_arrive_out_of_order_leave_the_later_verdict(log, tmp_path):
    widget = lm.review(log, out=tmp_path / "reviews.jsonl", reviewer="ann")
    late, early = talk(widget, put("req-0000", "unsure", 2), put("req-0000", "real", 1))
    assert (late["kind"], early["kind"]) == ("saved", "saved")
    assert widget.to_frame()["verdict"].tolist() == ["unsure"]


def test_a_score_that_is_none_is_refused_and_the_file_stays_readable(log, tmp_path):
    widget = lm.review(log, out=tmp_path / "reviews.jsonl", reviewer="ann")
    refused, saved = talk(widget, put("req-0000", "real", 1, score=9), put("req-0001", "real", 2, score=5))
    assert refused["kind"] == "failed"
    assert "expected a number from 1 to 5" in refused["error"]
    assert saved["kind"] == "saved"
    assert widget.to_frame()["quality_score"].tolist() == [5]


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["real"] * 6, "open"),
        (["real"] * 7, "real"),
        (["false_positive"] * 7, "false_positive"),
        (["real"] * 6 + ["unsure"] * 3, "open"),
        (["real", "false_positive"] * 10, "open"),
    ],
)
def test_what_is_decided_so_far_goes_with_every_acknowledgement(tmp_path, verdicts, state):
    """Evidence against one half by hand, 2^n B(n + .5, .5) / B(.5, .5): 26.8 at seven of seven, more than 20; 14.4 at six."""
    many = open_tables(requests=make_requests(20), judgements=make_judgements(20, quality_score=2.0))
    widget = lm.review(many, out=tmp_path / "reviews.jsonl", reviewer="ann")
    ids = widget._draw["request_id"]
    heard = talk(widget, *(put(ids[i], verdict, i + 1) for i, verdict in enumerate(verdicts)), {"kind": "hello"})
    assert [one["decided"] for one in heard[-2:]] == [state, state]
    assert heard[-1]["decided_words"].startswith("decided so far: ")


def test_beside_an_answer_stand_the_rubric_the_columns_asked_for_and_the_earlier_turns(tmp_path):
    requests = make_requests(4, session_id=["s", "t", "s", "s"], retrieved_text=[EVIL, None], rank=[1, 2, 3, 4])
    log = open_tables(requests=requests, judgements=make_judgements(4, quality_score=2.0))
    widget = lm.review(log, out=tmp_path / "r.jsonl", rubric="flag what is wrong", show=["rank"])
    (items,) = talk(widget, {"kind": "hello"})
    assert items["rubric"] == "flag what is wrong"
    shown = {item["request_id"]: item for item in items["items"]}
    assert shown["req-0002"]["shown"] == [["rank", "3"], ["retrieved_text", EVIL]]
    assert [turn["user_input"] for turn in shown["req-0003"]["turns"]] == ["question 0", "question 2"]
    assert shown["req-0001"]["turns"] == []
    assert shown["req-0001"]["shown"] == [["rank", "2"]]


def test_what_cannot_be_shown_or_read_is_refused_in_words(log, tmp_path):
    out = tmp_path / "reviews.jsonl"
    for given, words in [
        ({"show": ["retrieved"]}, "show='retrieved'; expected one of "),
        ({"show": "category"}, "show='category'; expected a list of columns, such as show=['category']"),
        ({"rubric": 3}, "rubric: 'int'; expected a text or an lm.Rubric"),
        ({"n": 0}, "n=0; expected how many answers to draw, 1 or more"),
        ({"alert": 3}, "alert: 3; expected a row of check(log), its alert_id, or a dict with the same names"),
    ]:
        with pytest.raises(lm.ConfigError) as caught:
            lm.review(log, out=out, **given)
        assert str(caught.value).startswith(words)
    assert not out.exists()


def test_an_alert_is_named_by_its_id(tmp_path):
    requests, scores = make_requests(300, every="1h"), make_judgements(300, every="1h", quality_score=2.0)
    log = lm.open_log({"requests": requests, "judgements": scores})
    with pytest.raises(lm.ConfigError, match=r"^alert 'no-such-alert': the log has no such alert; it has "):
        lm.review(log, "no-such-alert", out=tmp_path / "reviews.jsonl")
    row = pd.Series(
        {"alert_id": "a", "fired_at": requests["timestamp"].iloc[-1], "window_start": None, "feature_id": None}
    )
    assert (
        lm.review(log, row, out=tmp_path / "reviews.jsonl")._draw["timestamp"] > requests["timestamp"].iloc[200]
    ).all()


def test_of_several_judgements_the_latest_that_succeeded_says_whether_an_answer_is_flagged(tmp_path):
    first = make_judgements(2, quality_score=2.0)
    again = make_judgements(2, start=START + pd.Timedelta("1D"), quality_score=[None, 4.0], status=["failed", "ok"])
    again["flagged"] = [None, False]
    log = lm.open_log({"requests": make_requests(2), "judgements": pd.concat([first, again], ignore_index=True)})
    assert lm.review(log, out=tmp_path / "r.jsonl")._draw["request_id"].tolist() == ["req-0000"]
