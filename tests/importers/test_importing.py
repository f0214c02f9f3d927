"""What all importers share: files, the report, the written log, the command."""

import gzip
import json

import pandas as pd
import pytest
from click.testing import CliRunner

import llm_monitoring as lm
from llm_monitoring import importers
from llm_monitoring.cli import main
from llm_monitoring.errors import ConfigError, LogError


def spent(name, **fields):
    return {
        "request_id": name,
        "call_type": "completion",
        "model": "m",
        "startTime": "2025-01-24T09:20:41Z",
        "endTime": "2025-01-24T09:20:42Z",
        "status": "success",
        **fields,
    }


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_every_importer_refuses_a_missing_file_by_name(tmp_path):
    for read in importers.FORMATS.values():
        with pytest.raises(LogError, match=r"no\.json: there is no such file or folder$"):
            read(tmp_path / "no.json")


def test_every_importer_refuses_a_source_without_a_request_of_its_format():
    for name, read in importers.FORMATS.items():
        with pytest.raises(LogError, match=rf"^a list: no request of the format '{name}' in 1 record \("):
            read([{"hello": "world"}])


def test_every_importer_survives_values_of_the_wrong_kind():
    junk = [
        5,
        None,
        [],
        {"data": 3},
        {"resourceSpans": 7},
        {"resourceSpans": [{"scopeSpans": [{"spans": [1, {"attributes": 2}]}]}]},
    ]
    junk += [
        {"observations": [1], "trace": 2},
        {"runs": [{"id": 1, "run_type": "llm", "outputs": 3, "inputs": 4, "extra": 5}]},
    ]
    junk += [{"id": 1, "type": "GENERATION", "startTime": [1, "x"], "usageDetails": 6}, {"custom_id": 1, "response": 2}]
    junk += [{"custom_id": 1, "result": 2}, {"request_id": 1, "startTime": 1e308, "metadata": 4, "response": [1]}]
    for name, read in importers.FORMATS.items():
        with pytest.raises(LogError, match=rf"^a list: no request of the format '{name}' in \d+ records \(.*set aside"):
            read(junk)


def test_packed_files_and_folders_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(spent("a")))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines(spent("b")).encode()))
    (tmp_path / "notes.md").write_text("not a log")
    log, report = importers.litellm(tmp_path)
    assert log.requests["request_id"].tolist() == ["a", "b"]
    assert [name.rpartition("/")[2] for name in report.sources] == ["a.jsonl", "b.jsonl.gz"]


def test_a_torn_last_line_is_set_aside_with_its_number(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(spent("a")) + '{"request_id": "b", "sta')
    _, report = importers.litellm(tmp_path / "a.jsonl")
    assert report.set_aside == [{"place": "a.jsonl line 2", "id": None, "reason": "the line is not JSON"}]
    assert (report.rows_read, report.rows_made) == (2, 1)


def test_json_lines_in_a_file_named_json_and_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "a.json").write_text("\ufeff" + lines(spent("a"), spent("b")), encoding="utf-8")
    assert importers.litellm(tmp_path / "a.json")[1].rows_made == 2


def test_a_broken_json_file_names_its_line(tmp_path):
    (tmp_path / "a.json").write_text('{\n "a": 1,\n "b"\n}')
    with pytest.raises(LogError, match=r"^a\.json line 4: not JSON: "):
        importers.litellm(tmp_path / "a.json")


def test_a_file_that_is_not_utf8_names_the_byte(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(LogError, match=r"a\.json byte 7: the text is not UTF-8\. Save it as UTF-8$"):
        importers.litellm(tmp_path / "a.json")


def test_rows_that_break_a_rule_of_the_log_are_set_aside_with_the_rule():
    log, report = importers.litellm([spent("a", prompt_tokens=-5), spent("b")])
    assert log.requests["request_id"].tolist() == ["b"]
    assert [entry["id"] for entry in report.set_aside] == ["a"]
    assert "input_tokens" in report.set_aside[0]["reason"]


def test_the_order_of_the_source_has_no_effect():
    rows = [spent("a"), spent("b", startTime="2025-01-24T09:00:00Z"), spent("c")]
    once, again = importers.litellm(rows)[0].requests, importers.litellm(rows[::-1])[0].requests
    assert once.equals(again)


def test_the_report_prints_its_guesses_and_becomes_json():
    _, report = importers.litellm([spent("a")])
    assert str(report).split("guesses:")[1].startswith("\n  - ")
    assert json.loads(json.dumps(report.to_dict()))["rows_made"] == 1
    assert report.to_frame()["count"].sum() == report.rows_read
    assert report.headline.startswith("litellm: 1 records read, 1 requests made")


def test_a_written_log_is_read_again_as_it_was(tmp_path):
    log, report = importers.litellm([spent("a", spend=0.5), spent("b")])
    folder = importers.write_log(log, report, tmp_path / "log")
    assert sorted(path.name for path in folder.iterdir()) == ["import_report.json", "requests.parquet"]
    again = lm.open_log(folder).requests
    assert again[["request_id", "timestamp", "cost_usd"]].equals(log.requests[["request_id", "timestamp", "cost_usd"]])


def test_a_log_that_stands_there_is_not_written_over_unless_forced(tmp_path):
    log, report = importers.litellm([spent("a")])
    importers.write_log(log, report, tmp_path)
    with pytest.raises(
        ConfigError, match=r"holds a log already \(requests\)\. Name another folder, or overwrite it with --force$"
    ):
        importers.write_log(log, report, tmp_path)
    assert importers.write_log(log, report, tmp_path, force=True) == tmp_path


def test_the_command_writes_a_log_and_prints_the_guesses(tmp_path):
    (tmp_path / "spend.jsonl").write_text(lines(spent("a", request_tags='["team:search"]')))
    told = CliRunner().invoke(
        main,
        [
            "import",
            "litellm",
            str(tmp_path / "spend.jsonl"),
            "--column",
            "feature_id=team",
            "--out",
            str(tmp_path / "log"),
        ],
    )
    assert told.exit_code == 0, told.output
    assert "guesses:\n" in told.output
    assert lm.open_log(tmp_path / "log").requests["feature_id"].tolist() == ["search"]
    assert json.loads((tmp_path / "log" / "import_report.json").read_text())["format"] == "litellm"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["langfus", "x"], "ConfigError: format='langfus'; expected one of 'otel', "),
        (
            ["otel", "x", "--timestamp", "2025-11-03"],
            "ConfigError: --timestamp is for openai_batch and anthropic_batch; otel has times of its own",
        ),
        (
            ["otel", "x", "--column", "feature_id"],
            "ConfigError: --column 'feature_id'; expected column=field, such as feature_id=app.team",
        ),
    ],
)
def test_wrong_calls_exit_with_two_and_say_what_is_right(arguments, sentence, tmp_path):
    told = CliRunner().invoke(main, ["import", *arguments, "--out", str(tmp_path)])
    assert told.exit_code == 2
    assert told.output.startswith(sentence)


def test_the_commands_help_names_every_format():
    told = CliRunner().invoke(main, ["import", "--help"]).output
    assert all(name in told for name in importers.FORMATS)


SPAN = {
    "traceId": "t", "spanId": "s", "startTimeUnixNano": "1762160400100000000", "endTimeUnixNano": "1762160401100000000",
    "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.response.id": "r-1"},
}  # fmt: skip


def test_a_span_in_two_exports_is_one_request(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps([SPAN]))
    log, report = importers.otel(tmp_path)
    assert log.requests["request_id"].tolist() == ["r-1"]
    assert [entry["reason"] for entry in report.set_aside] == ["this span was read already"]
    assert report.rows_read == 2


def test_one_json_value_over_many_lines_is_read_whatever_its_name_ends_in(tmp_path):
    (tmp_path / "spans.jsonl").write_text(json.dumps([SPAN], indent=1))
    assert importers.otel(tmp_path / "spans.jsonl")[1].rows_made == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.parquet", b"[]", "a.parquet: '[]'; the first bytes are not those of a Parquet file"),
        ("a.json.gz", b"[]", "a.json.gz: '[]'; the first bytes are not those of a gzip file"),
        ("a.json", gzip.compress(b"[]", mtime=0), "a.json: holds a gzip file, not JSON text"),
        ("a.json.gz", gzip.compress(b"[" + bytes(range(40, 90)) * 99, mtime=0)[:60], "a.json.gz: the file is cut short or damaged"),
        ("a.csv", b"a\n1\n1,2,3\n", "1 x set aside: expected 1 fields, found 3"),
        ("a.csv", b"a\n\xff\n", "a.csv byte 2: the text is not UTF-8. Save it as UTF-8"),
        ("a.json", b"[" * 100_000, "a.json line 1: not JSON: nested too deeply"),
        ("a.jsonl", b"[\n1,", "a.jsonl line 2: not JSON"),
        ("a.jsonl", b"", "no request of the format 'otel' in 0 records (1 x set aside: the file is empty)"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_what_it_is(name, content, told, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LogError) as error:
        importers.otel(tmp_path / name)
    assert told in str(error.value)


def test_an_empty_file_among_others_is_told_and_stops_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "b.jsonl").write_text(json.dumps(SPAN))
    _, report = importers.otel(tmp_path)
    assert (report.rows_read, report.rows_made) == (1, 1)
    assert report.set_aside == [{"place": "a.jsonl", "id": None, "reason": "the file is empty"}]


def test_half_a_surrogate_pair_and_a_wall_of_brackets_stay_text(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(spent("a", model="m\ud800", messages="[" * 100_000)))
    log, report = importers.litellm(tmp_path)
    importers.write_log(log, report, tmp_path / "out")
    row = lm.open_log(tmp_path / "out").requests.iloc[0]
    assert (row["model_id"], len(row["user_input"])) == ("m?", 100_000)


@pytest.mark.parametrize("name", ["otel", "openinference", "vercel"])
def test_a_span_that_has_not_ended_is_not_taken_as_answered(name):
    known = {"openinference.span.kind": "LLM", "ai.operationId": "ai.generateText.doGenerate", **SPAN["attributes"]}
    log, _ = importers.FORMATS[name]([{**SPAN, "attributes": known, "endTimeUnixNano": None}])
    row = log.requests.iloc[0]
    assert (pd.isna(row["finish_reason"]), pd.isna(row["latency_ms"])) == (True, True)
