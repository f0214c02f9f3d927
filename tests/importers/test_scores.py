"""Scores of other tools on whatever scale: read where the caller or the source names it, else set aside with the option."""

import json

import pytest
from click.testing import CliRunner

import llm_monitoring as lm
from llm_monitoring import importers
from llm_monitoring.cli import main
from llm_monitoring.errors import ConfigError


def export(*scores, names=("o1",)):
    seen = [
        {
            "id": name, "traceId": f"t-{name}", "type": "GENERATION", "model": "m", "startTime": "2026-05-11T09:00:00Z",
            "endTime": "2026-05-11T09:00:01Z", "usageDetails": {"input": 1, "output": 1},
        }
        for name in names
    ]  # fmt: skip
    return [*seen, *scores]


def score(name, value, kind="NUMERIC", on="o1", source="EVAL", **more):
    return {
        "id": f"{name}-{on}-{value}", "traceId": f"t-{on}", "observationId": on, "name": name, "value": value,
        "source": source, "dataType": kind, "timestamp": "2026-05-11T09:05:00Z", "comment": None, **more,
    }  # fmt: skip


COLUMNS = ["quality_score", "dimensions", "flagged", "scale", "judge_model", "status"]


def judged(*scores, **options):
    log, report = importers.langfuse(export(*scores), **options)
    rows = log.judgements[COLUMNS].astype(object)
    return rows.where(rows.notna(), None).values.tolist(), report


def test_scores_from_0_to_1_stay_on_their_scale():
    rows, report = judged(score("helpfulness", 0.75), scales={"helpfulness": (0, 1)})
    assert rows == [[0.75, {"helpfulness": 0.75}, None, "0..1", None, "ok"]]
    assert report.set_aside == []


def test_names_on_one_scale_are_dimensions_and_their_mean_is_the_quality_not_rounded():
    rows, _ = judged(score("a", 7), score("b", 8), scales={"*": (0, 10)})
    assert rows == [[7.5, {"a": 7.0, "b": 8.0}, None, "0..10", None, "ok"]]


def test_a_mean_is_never_taken_over_two_scales():
    rows, _ = judged(score("tone", 4), score("depth", 3), score("helpfulness", 0.25), scales={"helpfulness": "0..1"})
    assert sorted(rows, key=str) == [
        [0.25, {"helpfulness": 0.25}, None, "0..1", "helpfulness", "ok"],
        [4.0, {"depth": 3.0, "tone": 4.0}, False, "1..5", "langfuse", "ok"],
    ]


def test_booleans_and_pass_fail_scales_are_flags_without_a_score():
    rows, _ = judged(score("grounded", 0, "BOOLEAN", stringValue="False"))
    assert rows == [[None, {"grounded": 0.0}, True, "pass_fail", None, "ok"]]
    rows, _ = judged(
        score("grounded", 1), score("polite", "pass", "CATEGORICAL", stringValue="pass"), scales={"*": "pass_fail"}
    )
    assert rows == [[None, {"grounded": 1.0, "polite": 1.0}, False, "pass_fail", None, "ok"]]


def test_the_flag_of_a_fail_names_what_failed():
    log, _ = importers.langfuse(export(score("grounded", 0, "BOOLEAN"), score("polite", 1, "BOOLEAN")))
    assert log.judgements["flag_reason"].tolist() == ["failed: grounded"]


def test_the_source_states_the_scale_in_the_configs_of_its_scores():
    config = {"id": "c1", "name": "depth", "dataType": "NUMERIC", "minValue": 0, "maxValue": 10, "isArchived": False}
    log, report = importers.langfuse([*export(score("depth", 7, configId="c1")), {"data": [config]}])
    assert log.judgements[["quality_score", "scale"]].values.tolist() == [[7, "0..10"]]
    assert report.set_aside == []


def test_a_score_that_is_not_on_its_scale_is_set_aside_by_name():
    _, report = judged(score("helpfulness", 7), scales={"helpfulness": (0, 1)})
    assert [entry["reason"] for entry in report.set_aside] == [
        "score 'helpfulness' is not on its scale 0..1 (7 in the source)"
    ]


@pytest.mark.parametrize(
    ("values", "fits"),
    [((0.2, 0.9), "0..1"), ((0, 7), "0..10"), ((0, 4), "0..5"), ((30, 95), "0..100"), ((-0.5, 1), "-1..1")],
)
def test_a_score_on_no_known_scale_names_the_option_that_reads_it(values, fits):
    source = export(*(score("x", value, on=on) for value, on in zip(values, ("o1", "o2"))), names=("o1", "o2"))
    log, report = importers.langfuse(source)
    assert len(log.judgements) == 0
    assert f"--scale x={fits}" in report.set_aside[0]["reason"]
    log, report = importers.langfuse(source, scales={"x": fits})
    assert sorted(log.judgements["quality_score"]) == sorted(values)


def test_of_a_score_that_repeats_the_latest_counts():
    later = score("x", 0.9) | {"timestamp": "2026-05-11T10:00:00Z"}
    rows, report = judged(later, score("x", 0.1), scales={"x": (0, 1)})
    assert rows[0][0] == 0.9
    assert "score 'x' is on an answer twice: the latest counts" in report.guesses


def test_feedback_that_the_caller_names_is_a_judgement_and_no_thumb():
    rows, _ = judged(score("user-feedback", 0.5, source="API"), scales={"user-feedback": (0, 1)})
    assert rows[0][0] == 0.5


@pytest.mark.parametrize(("value", "verdict"), [(0.1, "real"), (0.5, "unsure"), (0.9, "false_positive")])
def test_a_person_scores_on_any_scale(value, verdict):
    log, _ = importers.langfuse(export(score("helpful", value, source="ANNOTATION")), scales={"helpful": (0, 1)})
    assert log.reviews["verdict"].tolist() == [verdict]
    assert log.reviews["quality_score"].isna().all()


def evaluated(**fields):
    attributes = {f"gen_ai.evaluation.{name.replace('_', '.')}": value for name, value in fields.items()}
    return {
        "traceId": "t", "spanId": "s", "startTimeUnixNano": "1762160400100000000", "endTimeUnixNano": "1762160401100000000",
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "openinference.span.kind": "LLM",
                       "ai.operationId": "ai.generateText.doGenerate"},
        "events": [{"name": "gen_ai.evaluation.result", "timeUnixNano": "1762160402100000000", "attributes": attributes}],
    }  # fmt: skip


@pytest.mark.parametrize("format", ["otel", "openinference", "vercel"])
def test_evaluation_events_of_spans_take_scales(format):
    read = importers.FORMATS[format]
    log, _ = read([evaluated(name="Relevance", score_value=0.5, score_label="fail")], scales={"Relevance": (0, 1)})
    assert log.judgements[["quality_score", "flagged", "scale"]].values.tolist() == [[0.5, True, "0..1"]]
    log, _ = read([evaluated(name="Relevance", score_label="pass")])
    assert log.judgements[["flagged", "scale"]].values.tolist() == [[False, "pass_fail"]]


@pytest.mark.parametrize("scales", [{"x": (1, 0)}, {"x": "high"}, {"x": 5}, "0..1"])
def test_a_scale_that_is_none_is_refused(scales):
    with pytest.raises(ConfigError, match=r"scales"):
        importers.langfuse(export(), scales=scales)


def test_the_command_takes_scales_and_keeps_them(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(export(score("helpfulness", 0.75), score("depth", 7))))
    arguments = ["import", "langfuse", str(tmp_path / "a.json"), "--out", str(tmp_path / "log")]
    done = CliRunner().invoke(main, [*arguments, "--scale", "helpfulness=0..1", "--scale", "*=0..10"])
    assert done.exit_code == 0, done.output
    found = lm.open_log(tmp_path / "log").judgements
    assert sorted(zip(found["scale"], found["quality_score"])) == [("0..1", 0.75), ("0..10", 7)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["langfuse", "x", "--scale", "tone"], "ConfigError: --scale 'tone'; expected name=low..high, such as helpfulness=0..1"),
        (["langfuse", "x", "--scale", "tone=high"], "ConfigError: --scale tone: 'high'; expected two numbers"),
        (["litellm", "x", "--scale", "tone=0..1"], "ConfigError: --scale is for otel, openinference, vercel, langfuse; litellm"),
    ],
)  # fmt: skip
def test_wrong_scales_on_the_command_line_exit_with_two(arguments, sentence, tmp_path):
    done = CliRunner().invoke(main, ["import", *arguments, "--out", str(tmp_path)])
    assert (done.exit_code, done.output.startswith(sentence)) == (2, True), done.output
