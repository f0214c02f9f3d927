"""A source without a request of the format that was named: what it looks like, which call reads it, nothing written."""

import json

import pytest
from click.testing import CliRunner

from llm_monitoring import importers
from llm_monitoring.cli import main
from llm_monitoring.errors import LogError

TIMES = {"startTimeUnixNano": "1762160400100000000", "endTimeUnixNano": "1762160401100000000"}
SAMPLES = {
    "otel": {
        "spanId": "s",
        **TIMES,
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
    },
    "openinference": {"spanId": "s", **TIMES, "attributes": {"openinference.span.kind": "LLM"}},
    "vercel": {"spanId": "s", **TIMES, "attributes": {"ai.operationId": "ai.generateText.doGenerate"}},
    "langfuse": {"id": "o", "traceId": "t", "type": "GENERATION", "startTime": "2026-05-11T09:00:00Z"},
    "langsmith": {"id": "r", "run_type": "llm", "start_time": "2026-05-11T09:00:00Z"},
    "litellm": {"request_id": "c", "call_type": "completion", "startTime": "2026-05-11T09:00:00Z", "spend": 0},
    "openai_batch": {
        "custom_id": "a",
        "response": {"status_code": 200, "body": {"created": 1762160460, "choices": []}},
    },
    "anthropic_batch": {"custom_id": "a", "result": {"type": "expired"}},
}


@pytest.mark.parametrize("format", sorted(importers.FORMATS))
@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_foreign_format_is_recognised_with_the_call_that_reads_it(format, kind):
    if format == kind or {format, kind} <= {"otel", "openinference", "vercel"}:
        return
    with pytest.raises(LogError) as error:
        importers.FORMATS[format]([SAMPLES[kind]])
    assert f"It looks like {kind}: lm.importers.{kind}(source)" in str(error.value)


def test_spans_of_another_convention_are_recognised():
    with pytest.raises(LogError, match=r"It looks like openinference: lm\.importers\.openinference\(source\)$"):
        importers.otel([SAMPLES["openinference"]])
    with pytest.raises(LogError, match=r"It looks like vercel: "):
        importers.otel([SAMPLES["vercel"]])


def test_a_log_needs_no_import():
    row = {"request_id": "a", "timestamp": "2026-05-11T09:00:00Z", "feature_id": "f", "model_id": "m"}
    with pytest.raises(LogError, match=r"It looks like a log that needs no import: lm\.open_log\(source\)$"):
        importers.langfuse([row])


def test_what_looks_like_nothing_known_is_only_counted():
    with pytest.raises(
        LogError, match=r"^a list: no request of the format 'otel' in 2 records \(2 x span without a model call\)$"
    ):
        importers.otel([{"hello": 1}, {"hello": 2}])


def test_the_command_writes_nothing_and_names_the_right_one(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(SAMPLES["langfuse"]))
    done = CliRunner().invoke(main, ["import", "otel", str(tmp_path / "a.jsonl"), "--out", str(tmp_path / "log")])
    assert done.exit_code == 2
    assert f"lm.importers.langfuse('{tmp_path}/a.jsonl')" in done.output
    assert "On the command line: llm-monitoring import langfuse" in done.output
    assert not (tmp_path / "log").exists()


def test_a_deep_and_a_wide_source_is_looked_at_only_so_far():
    deep: object = "x"
    for _ in range(500):
        deep = {"a": [deep] * 2}
    with pytest.raises(LogError, match="no request of the format 'langsmith'"):
        importers.langsmith([deep, *[{"a": 1}] * 1_000])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"data": [{"traceID": "t", "spans": [{"spanID": "s", "operationName": "chat"}]}]}, "Jaeger's JSON"),
        ([{"traceId": "t", "id": "s", "duration": 3, "tags": {}}], "Zipkin's JSON"),
        ({"resourceMetrics": []}, "metrics of OpenTelemetry"),
    ],
)
def test_a_format_that_is_not_read_is_named_with_what_to_do(value, told):
    with pytest.raises(LogError, match=f"It looks like {told}, which .*: (export|give) "):
        importers.otel(value)
