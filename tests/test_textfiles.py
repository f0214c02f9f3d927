"""Text files by the byte: separators, places, and what is broken in a JSON list; right values counted by hand."""

from __future__ import annotations

import gzip
import json

import pytest

from llm_monitoring import textfiles
from llm_monitoring.errors import LogError


@pytest.mark.parametrize(
    ("head", "separator"),
    [("a,b;c,d", ","), ('"a;b";c;d', ";"), ("a\tb,c\td", "\t"), ("a|b", "|"), ("a", ","), ('"sep=;"\n', ";")],
)
def test_what_separates_most_names_separates_the_fields(head, separator):
    assert textfiles.delimiter_of(head) == separator


def test_a_header_keeps_its_names_without_blanks_and_tells_the_lines_before_it(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_bytes(b"\xef\xbb\xbfsep=;\n;request_id; timestamp\n0;r1;now\n")
    assert textfiles.csv_header(path, "requests") == (";", ("", "request_id", "timestamp"), 1)
    path.write_text("a,b,a\n")
    with pytest.raises(LogError, match=r"^requests.csv line 1: 'a'; expected column names, each once$"):
        textfiles.csv_header(path, "requests")


def test_a_row_is_found_on_the_line_where_it_starts(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text('sep=;\na;b\n1;"two\nlines"\n\n3;4\n')
    assert textfiles.lines_of(path, [0, 1], "csv") == {0: 3, 1: 6}
    path = tmp_path / "requests.jsonl"
    path.write_text('{"a": 1}\n\n  \n{"a": 2}\n')
    assert textfiles.lines_of(path, [0, 1], "jsonl") == {0: 1, 1: 4}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_broken_elements_of_a_list_are_numbered_and_the_others_kept(tmp_path, indent, packed):
    made = [{"id": i, "text": "x" * 70_000 if i == 3 else "é", "inner": [{"a": 1}]} for i in range(6)]
    text = json.dumps(made, indent=indent, ensure_ascii=False)
    text = text.replace('"id": 1,', '"id": 1 1,').replace('"id": 4,', '"id": 4, "id": 4,')
    path = tmp_path / ("requests.json.gz" if packed else "requests.json")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    copy, broken = textfiles.without_elements(path, "requests")
    assert [(row, fault.expected.split(" (")[0]) for row, _, fault in broken] == [
        (1, "expected a list of JSON objects"),
        (4, "names the key 'id' twice; expected each key once"),
    ]
    assert json.loads(copy.read_text()) == [made[i] for i in (0, 2, 3, 5)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "the list is empty"),
        ('[{"a": 1},]', "a comma before the end of the list"),
        ('[{"a": 1}] x', "text behind the end of the list, 'x'"),
        ('[{"a": 1}', "the list is not closed"),
        ('[{"a": 1},\n', "the list is not closed"),
        ("[", "the list is not closed"),
    ],
)
def test_what_is_wrong_with_a_list_is_told(tmp_path, text, reason):
    path = tmp_path / "requests.json"
    path.write_text(text)
    assert reason in textfiles.faults(path, "jsonl", "requests")[0].expected


@pytest.mark.parametrize(
    ("text", "whole"),
    [('{"a": 1}\n{"a": 2}', False), ('{"a": 1}', False), ('{\n"a": 1}', True), ('\n[{"a": 1}]', True)],
)
def test_a_file_of_lines_is_told_from_one_of_documents(tmp_path, text, whole):
    path = tmp_path / "requests.json"
    path.write_text(text)
    assert textfiles.by_element(path) is whole
    assert not textfiles.by_element(path.rename(tmp_path / "requests.jsonl"))
