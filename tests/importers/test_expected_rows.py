"""Real files of other tools give the rows that were worked out by hand in ../shared/data/formats/expected_rows.json."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from llm_monitoring import importers
from llm_monitoring.errors import LogError

FORMATS = Path(__file__).parents[2].parent / "shared" / "data" / "formats"
FUNCTIONS = {
    "otel_genai": importers.otel,
    "openinference": importers.openinference,
    "litellm": importers.litellm,
    "langfuse": importers.langfuse,
}
pytestmark = pytest.mark.skipif(not FORMATS.exists(), reason="../shared/data/formats is not on this machine")


def expected():
    if not FORMATS.exists():
        return {}
    known = json.loads((FORMATS / "expected_rows.json").read_text())
    known = {name: known[found["same_as"]] if "same_as" in found else found for name, found in known.items()}
    return {name: found["rows"] for name, found in known.items() if "rows" in found}


@pytest.mark.parametrize("name", sorted(expected()))
def test_rows_are_those_worked_out_by_hand(name):
    log, report = FUNCTIONS[name.split("/")[0]](FORMATS / name)
    rows = log.requests.to_dict("records")
    assert len(rows) == len(expected()[name]) == report.rows_made
    for row, wanted in zip(rows, expected()[name], strict=True):
        for column, value in wanted.items():
            assert same(row[column], value, column), f"{column}: {row[column]!r}, expected {value!r}"


def same(found, wanted, column):
    if column == "timestamp":  # the list is cut at milliseconds
        return abs(found - pd.Timestamp(wanted)) < pd.Timedelta("1ms")
    if wanted is None:
        return pd.isna(found)
    if column == "request_id" and wanted.startswith("span "):  # written as "span 00..40 (no response id)"
        return found == wanted.split()[1]
    return math.isclose(found, wanted, rel_tol=1e-6) if isinstance(wanted, float) else found == wanted


def test_evaluation_events_become_judgements():
    log, _ = importers.otel(
        [FORMATS / "otel_genai/otlp_genai_traces.json", FORMATS / "otel_genai/otlp_genai_evaluation_logs.json"]
    )
    wanted = json.loads((FORMATS / "expected_rows.json").read_text())["otel_genai/otlp_genai_evaluation_logs.json"]
    found = log.judgements[["request_id", "quality_score", "dimensions"]].to_dict("records")
    assert found == wanted["judgements"]
    assert log.judgements["feature_id"].tolist() == ["returns", "returns", "tracking"]
    assert log.judgements["flagged"].tolist() == [False, True, False]


def test_the_official_otlp_example_holds_no_request():
    with pytest.raises(
        LogError, match=r"no request of the format 'otel' in 1 record \(1 x span without a model call\)$"
    ):
        importers.otel(FORMATS / "otel_genai/otlp_trace_official_example.json")


@pytest.mark.parametrize(
    "name", ["attributes_chat_tool_calls.json", "attributes_chat_tool_calls_deprecated_names.json"]
)
def test_attributes_without_a_span_are_set_aside_for_want_of_a_time(name):
    with pytest.raises(LogError, match=r"1 x set aside: no timestamp in the source"):
        importers.otel(FORMATS / "otel_genai" / name)


@pytest.mark.parametrize(
    "name", ["attributes_chat_tool_calls.json", "attributes_chat_tool_calls_deprecated_names.json"]
)
def test_old_and_new_attribute_names_give_the_same_texts(name):
    attributes = json.loads((FORMATS / "otel_genai" / name).read_text())
    span = {"spanId": "s1", "traceId": "t1", "startTimeUnixNano": "1762160400100000000", "attributes": attributes}
    row = importers.otel(span)[0].requests.iloc[0]
    assert row["user_input"] == "Weather in Paris?"
    assert row["system_output"] == "The weather in Paris is currently rainy with a temperature of 57°F."
    assert (row["model_id"], row["input_tokens"], row["output_tokens"]) == ("gpt-4-0613", 97, 52)


@pytest.mark.parametrize("name", ["attributes_llm_input_output_only.json", "attributes_llm_tool_calls.json"])
def test_openinference_texts_come_from_messages_or_from_values(name):
    attributes = json.loads((FORMATS / "openinference" / name).read_text())
    span = {"spanId": "s1", "traceId": "t1", "startTimeUnixNano": "1762160400100000000", "attributes": attributes}
    row = importers.openinference(span)[0].requests.iloc[0]
    assert row["user_input"] == "Weather in Paris?"
    assert row["system_output"] == "The weather in Paris is currently rainy with a temperature of 57°F."
    assert row["finish_reason"] == "end_turn"


def test_vercel_wrappers_are_not_counted_twice():
    log, report = importers.vercel(FORMATS / "vercel_ai_sdk/all-spans.json")
    assert (report.rows_read, report.rows_made, report.wrappers) == (10, 4, 4)
    assert report.not_requests == {"ai.embed": 1, "ai.embed.doEmbed": 1}
    assert log.requests["input_tokens"].tolist() == [14, 50, 63, 15]
    assert log.requests["model_id"].unique().tolist() == ["gpt-4o-mini-2024-07-18"]


def test_a_langfuse_wrapper_generation_is_not_counted_twice():
    _, report = importers.langfuse(FORMATS / "langfuse/vercel-aisdk-2025-11-17.trace.json")
    assert (report.rows_made, report.wrappers) == (1, 1)


def test_scores_from_0_to_1_do_not_pass_for_scores_from_1_to_5():
    log, report = importers.langfuse(FORMATS / "langfuse/claude-agent-2025-12-22.trace.json")
    assert len(log.judgements) == 0
    assert (
        "score 'hallucination' is on no known scale (1 in the source); if it is 0..1: "
        'scales={"hallucination": (0, 1)}, on the command line --scale hallucination=0..1'
    ) in {e["reason"] for e in report.set_aside}


@pytest.mark.parametrize("name", ["openai_chat_completions.jsonl", "anthropic_messages.jsonl"])
def test_every_stop_reason_of_the_providers_is_mapped(name):
    bodies = [json.loads(line) for line in (FORMATS / "provider_responses" / name).read_text().splitlines()]
    if name.startswith("openai"):
        lines = [{"custom_id": str(n), "response": {"status_code": 200, "body": body}} for n, body in enumerate(bodies)]
        log, _ = importers.openai_batch(lines, timestamp="2025-11-03T09:00Z")
        wanted = ["end_turn", "max_tokens", "refusal", "refusal", "end_turn", "error"]
    else:
        kinds = ["errored" if body["type"] == "error" else "succeeded" for body in bodies]
        results = [
            {"type": kind, ("error" if kind == "errored" else "message"): body}
            for kind, body in zip(kinds, bodies, strict=True)
        ]
        log, _ = importers.anthropic_batch(
            [{"custom_id": str(n), "result": r} for n, r in enumerate(results)], timestamp="2025-11-03T09:00Z"
        )
        wanted = ["end_turn", "max_tokens", "end_turn", "end_turn", "refusal", "end_turn", "error"]
        assert log.requests["input_tokens"].iloc[5] == 5 + 1200
    assert log.requests["finish_reason"].tolist() == wanted
