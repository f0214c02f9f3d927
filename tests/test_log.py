"""What open_log reads, refuses, mends and tells."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import engines
from llm_monitoring.schema import TABLES
from tests.builders import START, make_judgements, make_log, make_requests, make_reviews, make_signals

OBJECT = json.dumps({"request_id": "r", "timestamp": "2026-05-11T09:00Z", "feature_id": "s", "model_id": "m"}).encode()
HEAD = "request_id,timestamp,feature_id,model_id,latency_ms\n"
ROW = "r1,2026-05-11T09:00:00Z,search,m-1,800\n"


def faults_of(source, **options) -> list[str]:
    with pytest.raises(lm.LogError) as raised:
        lm.open_log(source, **options).validate()
    return str(raised.value).splitlines()


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_every_format_gives_the_same_table(tmp_path, kind):
    frame = make_requests(
        5, latency_ms=[800.0, None], error=[None, 'it, "broke"\nhere'], request_id=[f"00{i}" for i in range(5)]
    )
    path = tmp_path / f"requests.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind.startswith("csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    pd.testing.assert_frame_equal(
        lm.open_log(tmp_path).requests, lm.open_log({"requests": frame}).requests, check_dtype=False
    )


def test_a_table_may_be_a_folder_of_files(tmp_path):
    (tmp_path / "requests").mkdir()
    frame = make_requests(6)
    frame[:3].to_csv(tmp_path / "requests" / "a.csv", index=False)
    frame[3:].drop(columns="category").to_csv(tmp_path / "requests" / "b.csv", index=False)
    log = lm.open_log(tmp_path)
    assert log.requests["request_id"].tolist() == frame["request_id"].tolist()
    assert log.requests["category"].isna().tolist() == [False] * 3 + [True] * 3


def test_a_single_file_is_a_log_with_that_one_table(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(HEAD + ROW)
    log = lm.open_log(path)
    assert [name for name in TABLES if log.has(name)] == ["requests"]
    assert log.requests["latency_ms"].tolist() == [800.0]


def test_an_absent_table_differs_from_an_empty_one():
    log = lm.open_log({"requests": make_requests(1), "signals": make_signals(0)})
    assert (log.has("signals"), log.has("reviews")) == (True, False)
    assert list(log.reviews.columns) == list(TABLES["reviews"].names)
    assert str(log.reviews["reviewed_at"].dtype) == "datetime64[us, UTC]"


def test_all_faults_come_at_once_with_row_column_value_and_remedy():
    frame = make_requests(3, latency_ms=[-5.0, 1.0, float("inf")], feature_id=["a", None, "a"])
    end = '. on_error="quarantine" sets such rows aside'
    assert faults_of({"requests": frame}) == [
        f"requests row 0, latency_ms: -5.0; expected a number >= 0, or null where unknown{end}",
        f"requests row 1, feature_id: is null; expected a text in every row{end}",
        f"requests row 2, latency_ms: inf; expected a number >= 0, or null where unknown{end}",
    ]


def test_twenty_faults_are_printed_and_all_counted():
    lines = faults_of({"requests": make_requests(50, latency_ms=-1.0)})
    assert (len(lines), lines[-1]) == (21, "... 50 faults in all, the first 20 shown")


def test_a_missing_column_and_a_wrong_type_are_found_on_opening(tmp_path):
    make_requests(1, drop=["model_id"], latency_ms=[True]).to_parquet(tmp_path / "requests.parquet")
    with pytest.raises(lm.LogError) as raised:
        lm.open_log(tmp_path)
    first, second = str(raised.value).splitlines()
    assert first.startswith("requests.parquet, model_id: this column must be there; found request_id, timestamp")
    assert second == "requests.parquet, latency_ms: holds boolean; expected numbers"


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("requests.csv", HEAD + 'r0,2026-05-11T09:00Z,"a\nb",m,1\n\n' + ROW.replace("800", "-8"), "line 5"),
        (
            "requests.jsonl",
            "\n" + json.dumps(dict(zip(HEAD.strip().split(","), ["r1", "2026-05-11T09:00Z", "s", "m", -8]))),
            "line 2",
        ),
    ],
)
def test_lines_of_text_files_count_from_one_over_blank_lines_and_quoted_breaks(tmp_path, name, text, place):
    (tmp_path / name).write_text(text)
    (line,) = faults_of(tmp_path)
    assert line.startswith(f"{name} {place}, latency_ms: -8.0; expected a number >= 0")


def test_a_repeated_request_id_is_a_fault_of_the_later_rows():
    (line,) = faults_of({"requests": make_requests(2, request_id="r")})
    assert line.startswith("requests row 1, request_id: 'r'; expected each request_id once")


def test_times_without_a_zone_are_refused_unless_the_zone_is_named(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(HEAD + ROW.replace("T09:00:00Z", " 09:31:07"))
    assert faults_of(path) == [
        "requests.csv line 2, timestamp: '2026-05-11 09:31:07'; has no time zone. "
        "Name it: open_log('requests.csv', tz=\"Europe/Berlin\")"
    ]
    log = lm.open_log(path, tz="Europe/Berlin")
    assert log.requests["timestamp"].tolist() == [pd.Timestamp("2026-05-11 07:31:07", tz="UTC")]
    naive = make_requests(1, timestamp=pd.Timestamp("2026-01-11 09:00"))
    assert faults_of({"requests": naive})[0].startswith(
        "requests row 0, timestamp: '2026-01-11 09:00:00'; has no time zone"
    )
    log = lm.open_log({"requests": naive}, tz="Europe/Berlin")
    assert log.requests["timestamp"].tolist() == [pd.Timestamp("2026-01-11 08:00", tz="UTC")]


def test_bare_numbers_are_refused_unless_their_unit_is_named():
    frame = make_requests(1, timestamp=[1778490000123])
    (line,) = faults_of({"requests": frame})
    assert line.startswith("requests row 0, timestamp: 1778490000123; is a bare number. Name its unit: ")
    assert line.endswith('timestamp_unit="ms") makes it 2026-05-11 09:00')
    log = lm.open_log({"requests": frame}, timestamp_unit="ms")
    assert log.requests["timestamp"].tolist() == [pd.Timestamp("2026-05-11 09:00:00.123", tz="UTC")]
    (line,) = faults_of({"requests": frame}, timestamp_unit="s")
    assert line.endswith('expected a time between 2000 and 2100. timestamp_unit="ms" would make it 2026-05-11 09:00')


def test_offsets_are_read_as_the_moments_they_are(tmp_path):
    path = tmp_path / "requests.csv"
    times = ["2026-05-11T09:00:00+02:00", "2026-05-11 07:00:00Z", "2026-05-11T07:00:00.5+0000"]
    path.write_text(HEAD + "".join(f"r{i},{time},search,m-1,1\n" for i, time in enumerate(times)))
    assert lm.open_log(path).requests["timestamp"].dt.floor("s").unique().tolist() == [
        pd.Timestamp("2026-05-11 07:00Z")
    ]


def test_finish_reasons_of_providers_are_mapped_and_the_raw_ones_kept():
    log = lm.open_log({"requests": make_requests(4, finish_reason=["stop", "LENGTH", "refusal", None])})
    assert log.requests["finish_reason"].fillna("-").tolist() == ["end_turn", "max_tokens", "refusal", "-"]
    assert log.requests["raw_finish_reason"].fillna("-").tolist() == ["stop", "LENGTH", "refusal", "-"]
    assert log.notices == [
        "requests, finish_reason: finish reasons mapped: 'LENGTH' as 'max_tokens' (1), 'stop' as 'end_turn' (1)"
    ]
    (line,) = faults_of({"requests": make_requests(1, finish_reason="bored")})
    assert "finish_reason: 'bored'; expected 'end_turn', 'max_tokens', 'error', 'refusal'" in line


def test_booleans_as_text_are_read_with_a_notice_and_other_texts_are_faults():
    frame = make_judgements(3, flagged=["true", "False", "true"])
    log = lm.open_log({"judgements": frame})
    assert log.judgements["flagged"].tolist() == [True, False, True]
    assert log.notices == [
        "judgements, flagged: text read as true or false: 'true' as 'true' (2), 'False' as 'false' (1)"
    ]
    (line,) = faults_of({"judgements": make_judgements(1, flagged="yes")})
    assert line.startswith("judgements row 0, flagged: 'yes'; expected true or false")


@pytest.mark.parametrize("given", [{"tone": 4}, '{"tone": 4}'])
def test_dimensions_may_be_dicts_or_json(given, tmp_path):
    frame = make_judgements(2, dimensions=given)
    frame.to_json(tmp_path / "judgements.jsonl", orient="records", lines=True, date_format="iso")
    frame.to_parquet(tmp_path / "other.parquet")
    for source in ({"judgements": frame}, tmp_path, {"judgements": pd.read_parquet(tmp_path / "other.parquet")}):
        assert lm.open_log(source).judgements["dimensions"].tolist() == [{"tone": 4}] * 2


@pytest.mark.parametrize("given", ["[1]", "tone 4", '{"tone": 9}', '{"tone": "good"}'])
def test_dimensions_that_are_no_scores_by_name_are_faults(given):
    (line,) = faults_of({"judgements": make_judgements(1, dimensions=given)})
    assert line.startswith(f"judgements row 0, dimensions: {given!r}; expected ")


def test_orphans_are_told_by_their_first_ids():
    log = lm.open_log({"requests": make_requests(1), "reviews": make_reviews(3)})
    assert log.notices == ["reviews: 2 rows whose request_id is not in requests: req-0001, req-0002"]


def test_what_looks_odd_is_told():
    late = make_requests(30, start="2098-01-01T00:00Z", every="1h", latency_ms=1.5)
    future, seconds = lm.open_log({"requests": late}).notices
    assert (
        future == "requests, timestamp: 30 rows from after now: req-0000, req-0001, req-0002, req-0003, req-0004, ..."
    )
    assert seconds == "requests, latency_ms: mean 1.5, highest 1.5: these look like seconds, read as milliseconds"


def test_a_byte_order_mark_is_left_out_and_told(tmp_path):
    line = json.dumps({"request_id": "r", "timestamp": "2026-05-11T09:00Z", "feature_id": "s", "model_id": "m"})
    (tmp_path / "requests.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode())
    log = lm.open_log(tmp_path)
    assert log.requests["request_id"].tolist() == ["r"]
    assert log.notices == ["requests.jsonl: a byte order mark at its start was left out"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("requests.csv", b"", "requests.csv: the file is empty. Remove it if there is no such table"),
        (
            "requests.parquet",
            b"request_id,timestamp\n",
            "requests.parquet: 'requ'; the first bytes are not those of a Parquet file.",
        ),
        ("requests.csv", b"PAR1" + b"\0" * 20, "requests.csv: holds a Parquet file, not csv text."),
        ("requests.csv.gz", b"request_id\n", "requests.csv.gz: 'requ'; the first bytes are not those of a gzip file."),
        (
            "requests.parquet",
            b"PAR1" + b"\0" * 20,
            "requests.parquet: the Parquet file is cut short (its end is missing).",
        ),
        (
            "requests.csv",
            HEAD.encode() + b"r1,2026,\xff,m,1\n",
            "requests.csv line 2: 'ÿ,m,'; byte 9 of the line is not UTF-8",
        ),
        ("requests.csv", (HEAD + "r1,2026\n").encode(), "requests.csv line 2: 'r1,2026'; expected 5 fields, found 2"),
        (
            "requests.jsonl",
            OBJECT + b'\n{"request\n',
            "requests.jsonl line 2: '{\"request'; expected one JSON object a line",
        ),
        (
            "requests.jsonl.gz",
            gzip.compress(b'{"request_id": "r"}\n' * 9000)[:-20],
            "requests.jsonl.gz line 1: the file is cut short",
        ),
    ],
)
def test_a_broken_file_is_named_with_the_line(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(lm.LogError) as raised:
        lm.open_log(tmp_path).validate()
    assert sentence in str(raised.value)


def test_quarantine_sets_bad_rows_aside_with_the_reason_and_measures_the_rest(tmp_path):
    frame = make_requests(4, latency_ms=[800, -1, 900, 700], request_id=["a", "b", "a", "c"])
    frame.to_json(tmp_path / "requests.jsonl", orient="records", lines=True, date_format="iso")
    with (tmp_path / "requests.jsonl").open("a") as file:
        file.write("{torn\n")
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert log.requests["request_id"].tolist() == ["a", "c"]
    assert log.validate()[["rows", "faults"]].to_numpy().tolist() == [[5, 3]]
    assert log.set_aside["requests"]["reason"].tolist() == [
        "expected one JSON object a line (Expecting property name enclosed in double quotes, character 2)",
        "latency_ms: expected a number >= 0, or null where unknown",
        "request_id: expected each request_id once",
    ]
    assert len((tmp_path / "quarantine" / "requests.jsonl").read_text().splitlines()) == 3
    assert lm.window_metrics(log, None)["request_count"].tolist() == [2]
    assert log.set_aside["requests"][["file", "place"]].to_numpy().tolist() == [
        ["requests.jsonl", "line 5"], ["requests.jsonl", "line 2"], ["requests.jsonl", "line 3"]
    ]  # fmt: skip
    written = tmp_path / "quarantine" / "requests.jsonl"
    assert f"requests.jsonl: 3 of 5 rows set aside, written to {written}" in log.notices


def test_a_file_inside_a_table_s_folder_sets_its_rows_aside_without_adding_them_to_the_table(tmp_path):
    folder = tmp_path / "requests"
    folder.mkdir()
    make_requests(3, latency_ms=[800, -1, 900]).to_csv(folder / "may.csv", index=False)
    aside = lm.open_log(folder / "may.csv", on_error="quarantine").set_aside["requests"]
    assert aside["place"].tolist() == ["line 3"]
    assert (folder / "quarantine" / "requests.jsonl").exists()
    assert len(lm.open_log(tmp_path, on_error="quarantine").requests) == 2


MANY_LINES = "request_id,timestamp,feature_id,model_id,user_input\n" + "".join(
    f'r{i},2026-05-11T09:00Z,search,m,"hello\n{i}"\n' for i in range(4)
)


@pytest.mark.parametrize(
    ("found", "broken", "line", "told"),
    [
        (b'm,"hello\n1', b'm,"h\xffllo\n1', 4, "byte 33 of the line is not UTF-8; expected UTF-8"),
        (b"r1,", b"r1,extra,", 4, "expected 5 fields, found 6"),
        (b'3"\n', b"3\n", 8, "the quote is not closed"),
    ],
)
def test_a_csv_row_over_several_lines_is_one_fault_and_is_set_aside_whole(found, broken, line, told, tmp_path):
    (tmp_path / "requests.csv").write_bytes(MANY_LINES.encode().replace(found, broken))
    with pytest.raises(lm.LogError) as error:
        lm.open_log(tmp_path).validate()
    assert str(error.value).startswith(f"requests.csv line {line}: ")
    log = lm.open_log(tmp_path, on_error="quarantine")
    aside = log.set_aside["requests"]
    assert len(log.requests) == 3
    assert aside[["place", "reason"]].to_numpy().tolist()[0] == [f"line {line}", told]


def test_a_field_too_many_is_found_by_validate_though_nothing_reads_it(tmp_path):
    text = "request_id,timestamp,feature_id,model_id,own\nr1,2026-05-11T09:00Z,search,m,1\nr2,2026-05-11T09:00Z,search,m,1,2\n"
    (tmp_path / "requests.csv").write_text(text)
    with pytest.raises(lm.LogError, match=r"requests.csv line 3: .*; expected 5 fields, found 6"):
        lm.open_log(tmp_path).validate()


def test_a_list_of_objects_over_many_lines_counts_its_rows_and_may_be_quarantined(tmp_path):
    rows = [
        {"request_id": f"r{i}", "timestamp": "2026-05-11T09:00Z", "feature_id": "a" * i, "model_id": "m"}
        for i in range(3)
    ]
    (tmp_path / "requests.json").write_text(json.dumps(rows, indent=1))
    assert faults_of(tmp_path)[0].startswith("requests.json row 0, feature_id: ''; expected a text")
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert (len(log.requests), log.set_aside["requests"]["place"].tolist()) == (2, ["row 0"])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "requests.jsonl",
            '[1]\n{"request_id": "r1"}\n',
            "requests.jsonl line 1: '[1]'; expected one JSON object a line",
        ),
        ("requests.json", '[{"request_id": "r1"', "requests.json line 1: expected a list of JSON objects"),
        ("requests.json", "[1, 2]", "requests.json row 0: 1; expected a JSON object"),
    ],
)
def test_json_of_another_shape_is_told_with_its_place(name, content, told, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(lm.LogError) as error:
        lm.open_log(tmp_path)
    assert str(error.value).startswith(told)


def test_an_id_that_repeats_is_quoted_as_it_is_written(tmp_path):
    make_requests(2, request_id="007").to_csv(tmp_path / "requests.csv", index=False)
    assert faults_of(tmp_path)[0].startswith("requests.csv line 3, request_id: '007'; expected each request_id once")


def test_what_is_no_source_of_a_log_is_refused_in_words():
    with pytest.raises(lm.LogError, match=r"^log: 'int'; expected a path, a URL, an Ibis connection"):
        lm.open_log(3)


def test_a_word_that_is_no_finish_reason_is_a_fault_and_not_told_as_mapped(tmp_path):
    make_requests(3, finish_reason=["stop", "weird", "end_turn"]).to_csv(tmp_path / "requests.csv", index=False)
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert "requests.csv, finish_reason: finish reasons mapped: 'stop' as 'end_turn' (1)" in log.notices


def test_until_keeps_no_row_of_any_table_from_after_the_moment():
    log = lm.open_log(make_log(48))
    cut = log.until(START + pd.Timedelta("10h"))
    assert (len(cut.requests), len(cut.judgements)) == (11, 10)
    assert engines.run(cut.table("requests")).num_rows == 11
    assert lm.window_metrics(cut, None, by=[])["request_count"].tolist() == [11]
    between = cut.between("2026-05-11T02:00Z", "2026-05-11T04:00Z")
    assert between.requests["request_id"].tolist() == ["req-0002", "req-0003"]


def test_an_evil_log_is_a_normal_log(tmp_path):
    evil = ["<script>x</script>", "=1+1", "a\x00b", "'; DROP TABLE requests; --", "😀", "{}"]
    frame = make_requests(6, user_input=evil, category=evil)
    frame.to_json(tmp_path / "requests.jsonl", orient="records", lines=True, date_format="iso")
    for source in ({"requests": frame}, tmp_path):
        assert sorted(lm.open_log(source).requests["user_input"]) == sorted(evil)


def test_what_cannot_be_a_log_says_what_could(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    expected = f"{tmp_path}: expected files named {', '.join(TABLES)} (.parquet, .jsonl, .csv); none is there"
    assert faults_of(tmp_path) == [expected]
    assert faults_of(tmp_path / "no")[0].startswith(f"{tmp_path / 'no'}: no such file or folder")
    assert faults_of({"request": make_requests(1)}) == [f"request: expected a table named one of {', '.join(TABLES)}"]
    with pytest.raises(lm.ConfigError, match=r"on_error='ignore'; expected one of 'raise', 'quarantine'"):
        lm.open_log({}, on_error="ignore")


@pytest.mark.parametrize(
    ("url", "label", "reason"),
    [
        ("bucket://logs", "bucket://logs", "Don't know how to connect to 'bucket://logs'"),
        ("postgres://me:secret@localhost:1/logs", "localhost:1/logs", "Connection refused"),
    ],
)
def test_a_database_that_cannot_be_opened_is_a_fault_without_its_password(url, label, reason):
    [line] = faults_of(url)
    assert line.startswith(f"{label}: cannot be opened (")
    assert reason in line
    assert line.endswith("; expected a folder, a file or the URL of a database that can be reached")
    assert "secret" not in line


def test_frames_are_left_as_they_were():
    frame = make_requests(3, finish_reason="stop")
    before = frame.copy(deep=True)
    lm.window_metrics(frame)
    assert lm.open_log({"requests": frame}).requests is not frame
    pd.testing.assert_frame_equal(frame, before)


def test_verdicts_of_a_file_take_the_place_of_the_logs_own_and_are_cut_with_it():
    when = pd.Timestamp("2026-05-01T12:00Z")
    log = lm.open_log({"requests": make_requests(3)})
    verdicts = pd.DataFrame(
        {
            "request_id": ["req-0", "req-1"],
            "verdict": ["real", "unsure"],
            "reviewer": "a",
            "reviewed_at": [when, when + pd.Timedelta("1D")],
        }
    )
    read = log.with_reviews(verdicts)
    assert read.reviews["verdict"].tolist() == ["real", "unsure"]
    assert read.until(when).reviews["request_id"].tolist() == ["req-0"]
    assert len(read.requests) == 3
    assert log.reviews.empty
