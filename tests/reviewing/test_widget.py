"""The kernel's side of the widget. The browser's side is in tests/browser."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.builders import make_judgements, make_requests

EVIL = "<script>window.__pwned = 1</script><img src=x onerror='window.__pwned = 1'>\x00{{7*7}}"


@pytest.fixture
def log():
    requests = make_requests(6, every="1h", user_input=EVIL, system_output=[EVIL, None])
    return SimpleNamespace(requests=requests, judgements=make_judgements(6, every="1h", quality_score=2.0))


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
    assert set(written) == {"request_id", "verdict", "note", "reviewer", "reviewed_at", "seq", "session"}
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
    grown = SimpleNamespace(
        requests=make_requests(40, every="1h"), judgements=make_judgements(40, every="1h", quality_score=2.0)
    )
    (after,) = talk(lm.review(grown, out=out, n=3), {"kind": "hello"})
    assert [item["request_id"] for item in after["items"]] == drawn
    assert after["done"] == {drawn[0]: {"verdict": "unsure", "note": None}}
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
    log.requests["system_output"] = pd.Series(texts, dtype=object)
    (items,) = talk(lm.review(log, out=tmp_path / "reviews.jsonl"), {"kind": "hello"})
    shown = {item["request_id"]: item["system_output"] for item in items["items"]}
    assert json.dumps(items, ensure_ascii=False).encode()
    assert shown["req-0000"] == "? lone"
    assert shown["req-0001"].endswith("… (10,000 more characters in the log)")
    assert shown["req-0002"] is None


def test_a_log_with_nothing_flagged_gives_a_widget_with_nothing_to_read(log, tmp_path):
    log.judgements["flagged"] = False
    widget = lm.review(log, out=tmp_path / "reviews.jsonl")
    (items,) = talk(widget, {"kind": "hello"})
    assert items["items"] == []
    assert widget.to_frame().empty


def test_a_broken_verdict_file_is_told_at_once(log, tmp_path):
    out = tmp_path / "reviews.jsonl"
    out.write_text("no json\n")
    with pytest.raises(lm.LogError, match=r"^reviews\.jsonl line 1: 'no json'; expected one JSON object a line$"):
        lm.review(log, out=out)
