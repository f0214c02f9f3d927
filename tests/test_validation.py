"""What a judgement, an error and a time are read as, and what is a fault of them."""

from __future__ import annotations

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import times
from tests.builders import START, make_changes, make_judgements, make_log, make_requests, make_reviews


def judged(frame: pd.DataFrame, **options) -> pd.DataFrame:
    log = lm.open_log({"judgements": frame}, **options)
    return lm.log.engines.run(log.table("judgements").order_by("request_id")).to_pandas()


def faults_of(source, **options) -> list[str]:
    with pytest.raises(lm.LogError) as raised:
        lm.open_log(source, **options).validate()
    return str(raised.value).splitlines()


def test_the_scale_of_a_row_is_its_column_else_the_option_else_one_to_five():
    frame = make_judgements(4, judge_model=["a", "b", "c", "a"], quality_score=[7, 0.5, 3, 90], dimensions={})
    frame["scale"] = [None, None, None, "0..100"]
    found = judged(frame, scales={"a": (0, 10), "b": "0..1"})
    assert found["scale"].tolist() == ["0..10", "0..1", "1..5", "0..100"]
    assert judged(make_judgements(1, judge_model="x"), scales={"*": (0, 10)})["scale"].tolist() == ["0..10"]


def test_a_score_out_of_its_scale_is_a_fault_whose_remedy_names_the_option():
    [line] = faults_of({"judgements": make_judgements(1, quality_score=7, dimensions={})})
    assert line == (
        "judgements row 0, quality_score: 7.0; expected a score on the scale 1..5, or null. Where the judge has another "
        "scale, name it: scales={'judge-1': (0, 10)} or --scale 'judge-1=0..10'"
    )
    frame = make_judgements(1, quality_score=0.5, dimensions={"tone": 4})
    [line] = faults_of({"judgements": frame}, scales={"judge-1": (0, 1)})
    assert line.startswith("judgements row 0, dimensions: '{\"tone\": 4}'; expected scores by name on the scale 0..1.")
    [line] = faults_of({"judgements": make_judgements(1).assign(scale="5..1")})
    assert line.startswith("judgements row 0, scale: '5..1'; expected a scale such as '0..10', its lower end first")


@pytest.mark.parametrize("scale", ["low", (5, 1), (1,), (0, float("inf")), 5, None])
def test_an_option_that_is_no_scale_is_refused(scale):
    with pytest.raises(lm.ConfigError, match=r"^scales\['j'\]: .*; expected two numbers, the lower one first"):
        lm.open_log({"judgements": make_judgements(1)}, scales={"j": scale})


def test_only_the_column_status_says_what_failed_where_it_is_there():
    frame = make_judgements(4, quality_score=[3, None, 2, None], flagged=[False, True, True, False], dimensions={})
    frame["status"] = ["ok", "ok", "failed", "failed"]
    found = judged(frame)
    assert found["status"].tolist() == ["ok", "ok", "failed", "failed"]
    assert found["quality_score"].isna().tolist() == [False, True, True, True]
    assert found["flagged"].isna().tolist() == [False, False, True, True]
    assert lm.open_log({"judgements": frame}).notices == [
        "judgements, quality_score: scores of failed judgements left out: '2.0' as unknown (1)",
        "judgements, flagged: flags of failed judgements left out: 'true' as unknown (1)",
    ]


def test_without_the_column_what_has_no_score_failed_and_of_pass_or_fail_what_has_no_flag():
    frame = make_judgements(
        3, quality_score=[3, None, None], flagged=[False, True, None], dimensions={}, drop=["status"]
    )
    assert judged(frame)["status"].tolist() == ["ok", "failed", "failed"]
    [notice] = lm.open_log({"judgements": frame}).notices
    assert "say scales={'*': 'pass_fail'}" in notice
    frame["quality_score"] = None
    found = judged(frame, scales={"judge-1": "pass_fail"})
    assert found["status"].tolist() == ["ok", "ok", "failed"]
    assert found["flagged"].tolist()[:2] == [False, True]


def test_a_judgement_that_succeeded_with_neither_score_nor_flag_is_a_fault():
    frame = make_judgements(1, quality_score=None, flagged=None, dimensions={}, status="ok")
    [line] = faults_of({"judgements": frame})
    assert line.startswith("judgements row 0, status: 'ok'; expected a score or a flag of a judgement that succeeded")


def test_a_chance_of_zero_is_a_fault():
    [line] = faults_of({"judgements": make_judgements(1, inclusion_probability=0.0)})
    assert line.startswith("judgements row 0, inclusion_probability: 0.0; expected a number above 0, up to 1, or null")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (["false", "No", "0", "None", "null", "NaN", "", " "], [None] * 8),
        (["true", "1", "YES", "timeout"], ["error", "error", "error", "timeout"]),
        ([True, False], ["error", None]),
        ([0, 1, 500], [None, "error", "500"]),
        ([0.0, 1.0, float("nan")], [None, "error", None]),
    ],
)
def test_a_flag_in_place_of_a_message_says_whether_there_was_an_error(given, right):
    log = lm.open_log({"requests": make_requests(len(given), error=given)})
    assert [None if pd.isna(each) else each for each in log.requests["error"]] == right
    assert any("requests, error: flags in place of a message: " in notice for notice in log.notices)
    assert lm.window_metrics(log, None, by=[])["error_rate"].tolist() == [
        len([1 for each in right if each]) / len(right)
    ]


def test_the_same_words_elsewhere_are_texts():
    log = lm.open_log({"requests": make_requests(2, category=["no", "0"], user_input=["false", "null"])})
    assert log.requests[["category", "user_input"]].to_numpy().tolist() == [["no", "false"], ["0", "null"]]


@pytest.mark.parametrize(
    "text", ["infinity", "yesterday", "2026-13-01T00:00Z", "2026-05-11 09:00 Mars/Phobos", "09:00 IST"]
)
def test_a_text_that_is_no_time_is_a_fault_and_never_null(text):
    [line] = faults_of({"requests": make_requests(1, timestamp=[text])}, tz="UTC")
    assert line.startswith(f"requests row 0, timestamp: {text!r}; expected a time ")


def test_a_clock_time_that_was_twice_is_read_with_a_notice_and_one_that_never_was_is_a_fault():
    twice = make_requests(1, timestamp=["2026-10-25 02:30:00"])
    log = lm.open_log({"requests": twice}, tz="Europe/Berlin")
    assert log.requests["timestamp"].tolist() == [pd.Timestamp("2026-10-25T01:30Z")]
    [notice] = log.notices
    assert notice.startswith("requests, timestamp: times that the clocks of Europe/Berlin showed twice")
    for given in (["2026-03-29 02:30:00"], [pd.Timestamp("2026-03-29 02:30")]):
        [line] = faults_of({"requests": make_requests(1, timestamp=given)}, tz="Europe/Berlin")
        assert "expected a time that the clocks of Europe/Berlin showed (they went forward over this one)" in line
    [line] = faults_of({"requests": make_requests(1, timestamp=["2026-03-29 02:30:00 Europe/Berlin"])})
    assert "expected a time that the clocks of its zone showed" in line


@pytest.mark.parametrize(
    "cut", [lambda log: log.until("2026-05-11 10:00"), lambda log: log.between("2026-05-11", "2026-05-12")]
)
def test_a_cut_at_a_time_without_zone_is_refused_or_taken_in_the_zone_of_the_log(cut):
    with pytest.raises(lm.ConfigError, match=r"has no time zone; write it with one, such as '2026-05-12T09:31Z'"):
        cut(lm.open_log(make_log(10)))
    cut(lm.open_log(make_log(10), tz="Europe/Berlin"))


def test_a_naive_moment_is_taken_in_the_zone_given():
    assert times.moment("2026-05-11 10:00", tz="Europe/Berlin") == pd.Timestamp("2026-05-11T08:00Z")
    with pytest.raises(lm.ConfigError, match="showed twice or never"):
        times.moment("2026-10-25 02:30", tz="Europe/Berlin")


def test_editing_a_frame_leaves_the_log_as_it_is():
    log = lm.open_log(make_log(10))
    judgements, requests = log.judgements, log.requests
    judgements.loc[0, "quality_score"] = 1.0
    judgements["dimensions"][0]["tone"] = 1
    requests["category"] = "edited"
    assert log.judgements["quality_score"][0] == 4.0
    assert log.judgements["dimensions"][0]["tone"] == 4
    assert set(log.requests["category"]) == {"general"}


def test_an_all_null_text_stays_null():
    log = lm.open_log({"requests": make_requests(2, error=None)})
    assert log.requests["error"].isna().all()


def test_count_and_span_respect_the_cut_and_load_nothing():
    log = lm.open_log(make_log(48)).until(START + pd.Timedelta("10h"))
    assert (log.count("requests"), log.count("reviews")) == (11, 0)
    assert log.span("requests") == (START, START + pd.Timedelta("10h"))
    assert log.span("reviews") == (None, None)
    assert log._frames == {}


def test_verdicts_given_stand_in_every_room():
    log = lm.open_log(make_log(10)).with_reviews(make_reviews(3))
    assert (log.has("reviews"), log.count("reviews"), len(log.reviews)) == (True, 3, 3)
    assert len(log.until(START).reviews) == 1


@pytest.mark.parametrize(
    "option", [{"tz": "UTC"}, {"on_error": "quarantine"}, {"timestamp_unit": "s"}, {"scales": {"*": (0, 1)}}]
)
def test_an_open_log_takes_no_other_option_in_silence(option):
    log = lm.open_log(make_log(4))
    assert lm.open_log(log) is log
    with pytest.raises(lm.ConfigError, match="the log was opened without it"):
        lm.open_log(log, **option)


def test_what_was_set_aside_of_a_log_that_was_mended_is_removed(tmp_path):
    make_requests(2, latency_ms=[-1, 1]).to_csv(tmp_path / "requests.csv", index=False)
    assert len(lm.open_log(tmp_path, on_error="quarantine").set_aside["requests"]) == 1
    make_requests(2).to_csv(tmp_path / "requests.csv", index=False)
    assert lm.open_log(tmp_path, on_error="quarantine").set_aside == {}
    assert not (tmp_path / "quarantine" / "requests.jsonl").exists()


def as_lines(frame: pd.DataFrame, path) -> None:
    frame.to_json(path, orient="records", lines=True, date_format="iso")


@pytest.mark.parametrize("kind", ["frame", "jsonl", "parquet"])
def test_the_scope_of_a_change_may_be_a_list_in_every_form(kind, tmp_path):
    lists = [["search", "chat"], ["search"], [], None]
    changes = make_changes(4, feature_id=lists).assign(tenant=lists)
    if kind == "jsonl":
        as_lines(changes, tmp_path / "changes.jsonl")
    elif kind == "parquet":
        changes.to_parquet(tmp_path / "changes.parquet")
    found = lm.open_log({"changes": changes} if kind == "frame" else tmp_path).changes
    for name in ("feature_id", "tenant"):
        assert [None if pd.isna(text) else text for text in found[name]] == ["search,chat", "search", None, None]


def test_a_scope_that_only_looks_like_a_list_stays_what_it_is():
    changes = make_changes(3, feature_id=["[beta] chat", "[x]", "a, b"])
    assert lm.open_log({"changes": changes}).changes["feature_id"].tolist() == ["[beta] chat", "[x]", "a, b"]


def test_words_that_an_engine_takes_for_times_are_no_times():
    requests = make_requests(4).assign(timestamp=["2026-05-11T09:00Z", "infinity", "now", "epoch"])
    for options in ({}, {"tz": "UTC"}):
        lines = faults_of({"requests": requests}, **options)
        assert [line.split(";")[0] for line in lines] == [
            f"requests row {row}, timestamp: '{word}'" for row, word in [(1, "infinity"), (2, "now"), (3, "epoch")]
        ]
        assert all("expected a time such as" in line for line in lines)


@pytest.mark.parametrize("none", [{}, [], {"code": None, "message": None}])
def test_an_object_with_nothing_in_it_is_no_error(none, tmp_path):
    requests = make_requests(2).assign(error=[none, {"code": "timeout", "message": None} if none else "timeout"])
    if isinstance(none, dict) and none:
        requests.to_parquet(tmp_path / "requests.parquet")
    else:
        as_lines(requests, tmp_path / "requests.jsonl")
    assert lm.window_metrics(lm.open_log(tmp_path), None, by=[])["error_rate"].tolist() == [0.5]


def test_ids_are_texts_whatever_type_they_are_stored_in(tmp_path):
    requests = make_requests(3)
    for ids, right in (
        ([1.5, 2.0, 1e300], ["1.5", "2", "1e+300"]),
        ([b"q1", b"\xc3\xa4", b"\xff\x00"], ["q1", "ä", "ff00"]),
    ):
        frame = requests.assign(request_id=ids)
        frame.to_parquet(tmp_path / "requests.parquet")
        for source in (frame, tmp_path / "requests.parquet"):
            assert sorted(lm.open_log(source).requests["request_id"]) == sorted(right)


def test_an_empty_finish_reason_is_unknown_with_a_notice():
    log = lm.open_log(make_requests(2, finish_reason=["", "stop"]))
    assert log.requests["finish_reason"].isna().tolist() == [True, False]
    assert "requests, finish_reason: empty text read as unknown: '' (1)" in log.notices


def test_a_flag_that_is_refused_is_not_told_as_read_and_objects_of_python_are_no_json(tmp_path):
    make_judgements(1).assign(flagged="maybe").to_csv(tmp_path / "judgements.csv", index=False)
    lines = faults_of(tmp_path)
    assert lines[0].endswith("expected a JSON object, or null where unknown. Write it as JSON, with json.dumps")
    log = lm.open_log(tmp_path, on_error="quarantine")
    assert not [notice for notice in log.notices if "maybe" in notice]
