"""Spans of Vercel's AI SDK, written here after its telemetry documentation (versions 4 to 6)."""

from llm_monitoring import importers


def span(operation, span_id="s1", code=0, **attributes):
    known = {"ai.operationId": operation, "ai.model.id": "gpt-4o-mini", "ai.telemetry.functionId": "faq", **attributes}
    return {
        "name": operation,
        "spanContext": {"traceId": "t", "spanId": span_id},
        "startTime": [1770131992, 242000000],
        "endTime": [1770131993, 242000000],
        "status": {"code": code, "message": "model overloaded" if code else ""},
        "attributes": known,
        "events": [],
    }


def test_the_outer_span_is_a_wrapper_even_in_another_trace():
    outer = span("ai.generateText", "w") | {"spanContext": {"traceId": "other", "spanId": "w"}}
    log, report = importers.vercel([outer, span("ai.generateText.doGenerate")])
    assert log.requests["request_id"].tolist() == ["s1"]
    assert (report.wrappers, report.rows_read) == (1, 2)


def test_outer_spans_alone_are_the_requests_and_that_is_a_guess():
    log, report = importers.vercel([span("ai.streamText", "w")])
    assert log.requests["request_id"].tolist() == ["w"]
    assert "there are only outer spans, no doGenerate or doStream: the outer ones are the requests" in report.guesses


def test_operation_and_function_in_one_attribute_are_told_apart():
    old = span("ai.generateText.doGenerate")
    old["attributes"]["operation.name"] = "ai.generateText.doGenerate faq"
    del old["attributes"]["ai.operationId"]
    assert len(importers.vercel([old])[0].requests) == 1


def test_names_of_version_4_and_5_give_the_same_counts():
    four = span("ai.generateText.doGenerate", "a", **{"ai.usage.promptTokens": 14, "ai.usage.completionTokens": 20})
    five = span(
        "ai.streamText.doStream",
        "b",
        **{"ai.usage.inputTokens": 14, "ai.usage.outputTokens": 20, "ai.usage.cachedInputTokens": 10},
    )
    requests = importers.vercel([four, five])[0].requests
    assert requests["input_tokens"].tolist() == [14, 14]
    assert requests["output_tokens"].tolist() == [20, 20]


def test_session_texts_and_endings():
    known = {
        "ai.prompt.messages": '[{"role":"user","content":[{"type":"text","text":"Weather?"}]}]',
        "ai.response.toolCalls": '[{"toolCallId":"c","toolName":"weather","input":"{\\"city\\":\\"Paris\\"}"}]',
        "ai.response.finishReason": "tool-calls",
        "ai.telemetry.metadata.sessionId": "v1",
    }
    row = importers.vercel([span("ai.generateText.doGenerate", **known)])[0].requests.iloc[0]
    assert (row["session_id"], row["user_input"], row["finish_reason"]) == ("v1", "Weather?", "end_turn")
    assert row["raw_finish_reason"] == "tool-calls"
    assert "Paris" in row["system_output"]


def test_a_failed_call_is_a_row_with_its_message():
    row = importers.vercel([span("ai.generateText.doGenerate", code=2)])[0].requests.iloc[0]
    assert (row["finish_reason"], row["error"]) == ("error", "model overloaded")
