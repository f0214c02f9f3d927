"""JSON as tools print it: one a line, several on a line, over many lines one after the other, broken in the middle."""

import gzip
import io
import json
import zipfile

import pytest

from llm_monitoring import importers
from llm_monitoring.errors import LogError
from llm_monitoring.importers import jsontexts
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.jsontexts import json_documents


def values(text, lines=True):
    draft = Draft("x")
    found = [(place, value) for place, value in json_documents("f", text, lines, draft)]
    return found, [(entry["place"], entry["reason"]) for entry in draft.set_aside], list(draft.guesses)


A, B = {"a": 1}, {"b": {"c": [2]}}
PRETTY = json.dumps(A, indent=2) + "\n" + json.dumps(B, indent=2)


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        f"{json.dumps(A)}\n{json.dumps(B)}",
        f"{json.dumps(A)} {json.dumps(B)}",
        f"{json.dumps(A)}{json.dumps(B)}\n",
        PRETTY,
        PRETTY.replace("\n", "\r\n"),
        PRETTY.replace("\n", "\r"),
        json.dumps(A) + "\n\n" + json.dumps(B, indent=1),
        json.dumps(A, indent=1) + json.dumps(B, indent=1),
        "\x1e" + json.dumps(A) + "\n\x1e" + json.dumps(B) + "\n",
    ],
)
def test_documents_are_found_however_they_are_laid_out(text, lines):
    found, aside, _ = values(text, lines)
    assert [value for _, value in found] == [A, B]
    assert aside == []


def test_places_count_the_lines():
    found, _, _ = values("\n" + PRETTY)
    assert [place for place, _ in found] == ["f line 2", "f line 5"]


def test_one_document_goes_by_the_name_of_its_file():
    assert values(json.dumps([A], indent=1), lines=False)[0] == [("f", [A])]


def test_a_broken_document_between_others_is_set_aside_with_its_lines():
    found, aside, _ = values('{\n "a": 1\n}\n{\n "b":,\n "c": 3\n}\n{"d": 4}\nplain words\n')
    assert [value for _, value in found] == [{"a": 1}, {"d": 4}]
    assert aside == [("f lines 4 to 7", "the lines are not JSON"), ("f line 9", "the line is not JSON")]


def test_a_key_that_stands_twice_is_told():
    found, _, guesses = values('{"a": 1, "a": 2}')
    assert found == [("f line 1", {"a": 2})]
    assert guesses == ["a key that occurs twice in one JSON object: the last value is read"]


@pytest.mark.parametrize("line", ['{"a":\n', "[\n", '{"a": [1,\n', '"\n', "[[[[\n"])
def test_broken_lines_are_tried_over_many_lines_a_bounded_number_of_times(line, monkeypatch):
    text, tries = '{"ok": 1}\n' + line * 4_000, []
    decode = jsontexts._Reader._decode

    def counted(reader, given, at):
        tries.append(len(given))
        return decode(reader, given, at)

    monkeypatch.setattr(jsontexts._Reader, "_decode", counted)
    found, aside, _ = values(text)
    assert [value for _, value in found][:1] == [{"ok": 1}]
    assert aside
    assert sum(tries) <= 2 * jsontexts.STEPS_A_CHARACTER * len(text)


SPAN = {
    "traceId": "t", "spanId": "s", "name": "chat", "startTimeUnixNano": "1762160400100000000",
    "endTimeUnixNano": "1762160401100000000", "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"},
}  # fmt: skip
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "desk"}}]}


@pytest.mark.parametrize(
    "value",
    [
        {"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"spans": [SPAN]}]}]},
        {"resource": RESOURCE, "scopeSpans": [{"scope": {"name": "x"}, "spans": [SPAN]}]},
        {"resource": RESOURCE, "scope_spans": [{"spans": [SPAN]}]},
        [{"resource": RESOURCE, "scopeSpans": [{"spans": [SPAN]}]}],
        {"resource": RESOURCE, "spans": [SPAN]},
        SPAN | {"resource": RESOURCE},
    ],
    ids=["export", "a resource a line", "snake case", "a list of resources", "a scope", "a span"],
)
def test_spans_are_found_whichever_of_the_wrappers_is_missing(value, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(value) + "\n")
    log, report = importers.otel(tmp_path / "a.jsonl")
    assert log.requests[["request_id", "feature_id"]].values.tolist() == [["s", "desk"]]
    assert report.rows_read == 1


def test_a_scope_without_its_resource_is_read():
    assert importers.otel({"scope": {"name": "x"}, "spans": [SPAN]})[1].rows_made == 1


def test_empty_wrappers_hold_no_span():
    source = [{"resourceSpans": [{"resource": RESOURCE, "scopeSpans": []}]}, SPAN]
    assert importers.otel(source)[1].rows_read == 1


def archive(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(name if name.startswith("__") else name.replace("__", "."), content)
    return packed.getvalue()


def test_an_archive_is_read_file_by_file(tmp_path):
    other = gzip.compress(json.dumps(SPAN | {"spanId": "s2"}).encode())
    files = {"b__jsonl": json.dumps(SPAN), "a__json__gz": other, "notes__md": "no", "__MACOSX/x.json": "no"}
    (tmp_path / "export.zip").write_bytes(archive(**files))
    for source in (tmp_path, tmp_path / "export.zip"):
        log, _ = importers.otel(source)
        assert sorted(log.requests["request_id"]) == ["s", "s2"]


def test_places_inside_an_archive_name_the_archive(tmp_path):
    (tmp_path / "export.zip").write_bytes(archive(a__jsonl=json.dumps(SPAN) + "\nbroken\n"))
    assert importers.otel(tmp_path)[1].set_aside[0]["place"] == "export.zip/a.jsonl line 2"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.zip", b"no archive", r"^a\.zip: the zip archive cannot be read \(File is not a zip file\)\. Unpack it and name the files$"),
        ("a.zip", archive(notes__md="x"), r"^a\.zip: holds no file that ends in \.json, "),
        ("a.json", archive(a__json="{}"), r"^a\.json: holds a zip archive or an Excel workbook, not text\. Name it \.zip"),
        ("a.zip", archive(a__json="{}")[:-30], r"^a\.zip: the zip archive cannot be read"),
    ],
    ids=["no archive", "nothing readable inside", "another ending", "cut off"],
)  # fmt: skip
def test_an_archive_that_cannot_be_read_is_refused(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LogError, match=sentence):
        importers.otel(tmp_path / name)


def test_bytes_behind_the_end_of_a_gzip_are_left_out_and_told(tmp_path):
    members = gzip.compress(json.dumps(SPAN).encode()) + gzip.compress(json.dumps(SPAN | {"spanId": "s2"}).encode())
    (tmp_path / "a.json.gz").write_bytes(members + b"\0\0\0rest")
    log, report = importers.otel(tmp_path / "a.json.gz")
    assert log.requests["request_id"].tolist() == ["s", "s2"]
    assert "7 bytes after the end of the gzip data in a.json.gz: left out" in report.guesses


def test_half_surrogates_stay_in_texts_and_in_the_report(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        json.dumps(SPAN | {"name": "x\ud800"}) + "\n" + json.dumps(SPAN | {"spanId": "s\udc00"})
    )
    log, report = importers.otel(tmp_path / "a.jsonl")
    importers.write_log(log, report, tmp_path / "out")
    str(report).encode()
    assert log.requests["request_id"].tolist() == ["s", "s?"]


def test_numbers_of_any_size_are_survived():
    known = SPAN["attributes"] | {"gen_ai.usage.input_tokens": 10**400, "gen_ai.usage.output_tokens": 5}
    row = importers.otel([SPAN | {"attributes": known}])[0].requests.iloc[0]
    assert (row["input_tokens"] != row["input_tokens"], row["output_tokens"]) == (True, 5)
