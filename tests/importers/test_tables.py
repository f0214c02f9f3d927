"""CSV and Parquet exports as spreadsheets and tools write them: every cell is the text that it is."""

import pytest

from llm_monitoring import importers
from llm_monitoring.errors import LogError

NAMES = (
    "request_id",
    "call_type",
    "spend",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "endTime",
    "model",
    "status",
)
ROWS = (
    ("c1", "acompletion", "0.25", "10", "5", "2026-05-11 13:00:00.1", "2026-05-11 13:00:01.1", "small-1", "success"),
    ("c2", "acompletion", "0.5", "20", "5", "2026-05-11 13:01:00.1", "2026-05-11 13:01:01.1", "small-1", "success"),
)


def table(separator=",", end="\n", comma=False, index=False, head="", names=NAMES, rows=ROWS):
    lines = [separator.join(["", *names] if index else names)]
    for number, row in enumerate(rows):
        cells = [cell.replace(".", ",") if comma and name == "spend" else cell for name, cell in zip(names, row)]
        lines.append(separator.join([str(number), *cells] if index else cells))
    return head + end.join(lines) + end


def read(tmp_path, content, name="spend.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return importers.litellm(path)


@pytest.mark.parametrize(
    "content",
    [
        table(),
        table(";"),
        table("\t"),
        table("|"),
        table(";", comma=True),
        table(";", comma=True, head="sep=;\r\n", end="\r\n"),
        table(head="sep=,\n"),
        table(index=True),
        table(";", index=True, comma=True),
        table(end="\r"),
        table(end="\r\n"),
        table(end="\r\n").replace("\r\n", "\r", 1),
        table(head="\ufeff"),
        table(";", comma=True).encode("utf-16"),
        '"' + '","'.join(NAMES) + '"\n' + "".join('"' + '","'.join(row) + '"\n' for row in ROWS),
        table().replace("c1,", "0,c1,", 1).replace("c2,", "1,c2,", 1),
        table().replace("success\n", "success,\n"),
    ],
    ids=[
        "comma", "semicolon", "tab", "bar", "decimal comma", "sep line", "sep comma", "index", "index and decimal comma",
        "CR", "CRLF", "mixed", "mark", "UTF-16", "quotes", "index without a name in the header", "empty field at the end",
    ],
)  # fmt: skip
def test_every_way_of_writing_a_csv_gives_the_same_rows(content, tmp_path):
    log, report = read(tmp_path, content)
    wanted = [["c1", 0.25, 10, 1000.0, "small-1"], ["c2", 0.5, 20, 1000.0, "small-1"]]
    assert log.requests[["request_id", "cost_usd", "input_tokens", "latency_ms", "model_id"]].values.tolist() == wanted
    assert report.set_aside == []


WORDS = ["N/A", "None", "null", "NaN", "NA", "nan", "#N/A", "-", "1,5", "1.50", "007", "true"]


@pytest.mark.parametrize("separator", [",", ";"])
def test_words_that_look_like_nothing_or_like_numbers_stay_answers(separator, tmp_path):
    names = ("id", "traceId", "type", "startTime", "endTime", "model", "input", "output")
    rows = [
        (f"o{n}", f"t{n}", "GENERATION", "2026-05-11T13:00:00Z", "2026-05-11T13:00:01Z", "m", f'"{word}"', f'"{word}"')
        for n, word in enumerate(WORDS)
    ]
    (tmp_path / "a.csv").write_text(table(separator, names=names, rows=rows))
    log, _ = importers.langfuse(tmp_path / "a.csv")
    found = log.requests.set_index("request_id").loc[[f"o{n}" for n in range(len(WORDS))]]
    assert found["system_output"].tolist() == WORDS
    assert found["user_input"].tolist() == WORDS
    assert {type(value) for value in found["system_output"]} == {str}


def test_a_comma_in_a_number_is_told_once_and_only_where_semicolons_separate(tmp_path):
    _, report = read(tmp_path, table(";", comma=True))
    assert "';' separates the fields: a comma inside a number is its decimal point" in report.guesses
    log, report = read(tmp_path, table().replace("0.25", '"0,25"'), "b.csv")
    assert log.requests["cost_usd"].isna().tolist() == [True, False]
    assert not any("decimal" in guess for guess in report.guesses)


def test_a_row_with_another_number_of_fields_is_set_aside_with_its_line(tmp_path):
    _, report = read(tmp_path, table() + "c3,acompletion\n")
    assert report.set_aside == [{"place": "spend.csv line 4", "id": None, "reason": "expected 9 fields, found 2"}]


def test_lines_are_counted_through_quoted_fields_and_the_sep_line(tmp_path):
    content = table(head="sep=,\n").replace("small-1,success\n", '"small\n1",success\n', 1) + "c3\n"
    _, report = read(tmp_path, content)
    assert report.set_aside[0]["place"] == "spend.csv line 6"


def test_a_quote_that_is_never_closed_is_refused_with_the_line_on_which_it_opens(tmp_path):
    with pytest.raises(LogError, match=r"^spend\.csv line 3: the quote is not closed"):
        read(tmp_path, table().replace("c2,", '"c2,'))


def test_a_column_that_stands_twice_is_told(tmp_path):
    content = table(names=(*NAMES, "model"), rows=[(*row, "other") for row in ROWS])
    log, report = read(tmp_path, content)
    assert log.requests["model_id"].unique().tolist() == ["small-1"]
    assert "column 'model' occurs twice in spend.csv: the first one is read" in report.guesses
