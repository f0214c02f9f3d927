"""Usage, text and ending of a provider's answer, wherever an SDK or a tracer puts them."""

import pytest

from llm_monitoring import importers
from llm_monitoring.importers.completions import completion, ending

CHOICE = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Hi."}}
BODIES = {
    "one chunk": {"choices": [{"finish_reason": "length", "delta": {"content": "Hi."}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    "OpenAI": {"choices": [CHOICE], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}},
    "usage beside choices": {"choices": [CHOICE], "usage_metadata": {"input_tokens": 9, "output_tokens": 2}},
    "inside response": {"response": {"choices": [CHOICE], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}},
    "LangChain": {
        "generations": [[{"text": "Hi.", "generation_info": {"finish_reason": "length"}}]],
        "llm_output": {"token_usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    },
    "LangChain message": {
        "generations": [[{"text": "", "message": {"kwargs": {
            "content": "Hi.", "usage_metadata": {"input_tokens": 9, "output_tokens": 2},
            "response_metadata": {"finish_reason": "length"}}}}]],
    },
    "Anthropic": {
        "type": "message", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "length",
        "usage": {"input_tokens": 9, "output_tokens": 2},
    },
    "Gemini": {
        "candidates": [{"content": {"parts": [{"text": "Hi."}]}, "finishReason": "length"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
    },
    "Bedrock": {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}]}}, "stopReason": "length",
        "usage": {"inputTokens": 9, "outputTokens": 2},
    },
    "Ollama": {"message": {"role": "assistant", "content": "Hi."}, "done_reason": "length", "prompt_eval_count": 9, "eval_count": 2},
    "chunks": [
        {"choices": [{"delta": {"role": "assistant", "content": "H"}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "i."}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    ],
    "Anthropic's events": [
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi."}},
        {"type": "message_delta", "delta": {"stop_reason": "length"}, "usage": {"output_tokens": 2}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_an_answer_is_read_wherever_its_parts_stand(name):
    said = completion(BODIES[name])
    found = [said[key] for key in ("system_output", "finish_reason", "given", "written")]
    assert found == ["Hi.", "length", 9, 2]


@pytest.mark.parametrize("name", BODIES)
def test_runs_and_observations_read_it_alike(name):
    run = {
        "id": "r1", "run_type": "llm", "start_time": "2025-11-03T09:00:00Z", "end_time": "2025-11-03T09:00:01Z",
        "outputs": BODIES[name] if isinstance(BODIES[name], dict) else {"chunks": BODIES[name]},
    }  # fmt: skip
    seen = {
        "id": "o1", "traceId": "t1", "type": "GENERATION", "startTime": "2025-11-03T09:00:00Z",
        "endTime": "2025-11-03T09:00:01Z", "output": BODIES[name],
    }  # fmt: skip
    for log, _ in (importers.langsmith([run]), importers.langfuse([seen])):
        row = log.requests.iloc[0]
        found = [row[key] for key in ("system_output", "finish_reason", "input_tokens", "output_tokens")]
        assert found == ["Hi.", "max_tokens", 9, 2]


def test_thoughts_of_gemini_are_part_of_the_output():
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5, "totalTokenCount": 16}
    assert completion({"usageMetadata": usage})["written"] == 7


@pytest.mark.parametrize("value", ["stop", ["stop"], '["stop"]', {"unified": "stop", "raw": "end"}, {"reason": "stop"}])
def test_an_ending_is_a_word_whatever_holds_it(value):
    assert ending(value) == "stop"


def test_an_ending_that_chunks_repeat_is_the_word():
    run = {"id": "r1", "run_type": "llm", "start_time": "2025-11-03T09:00:00Z", "end_time": "2025-11-03T09:00:01Z"}
    log, report = importers.langsmith([run | {"outputs": {"choices": [{"finish_reason": "stopstop"}]}}])
    assert log.requests["finish_reason"].tolist() == ["end_turn"]
    assert not any("not in the documented map" in guess for guess in report.guesses)


def zeros(name, **fields):
    start, end = "2025-11-03T09:00:00Z", "2025-11-03T09:00:01Z"
    known = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0,
             "openinference.span.kind": "LLM", "llm.token_count.prompt": 0, "llm.token_count.completion": 0,
             "ai.operationId": "ai.generateText.doGenerate", "ai.usage.inputTokens": 0, "ai.usage.outputTokens": 0}  # fmt: skip
    span = {"traceId": "t", "spanId": "s", "startTime": start, "endTime": end, "attributes": known}
    return {
        "otel": span,
        "openinference": span,
        "vercel": span,
        "langfuse": {"id": "s", "type": "GENERATION", "startTime": start, "endTime": end,
                     "usageDetails": {"input": 0, "output": 0}, "totalCost": 0},
        "langsmith": {"id": "s", "run_type": "llm", "start_time": start, "end_time": end, "prompt_tokens": 0,
                      "completion_tokens": 0, "total_cost": 0},
        "litellm": {"request_id": "s", "startTime": start, "endTime": end, "prompt_tokens": 0, "completion_tokens": 0,
                    "spend": 0, "status": "success"},
        "openai_batch": {"custom_id": "s", "response": {"body": {"created": 1762160460, "choices": [CHOICE],
                         "usage": {"prompt_tokens": 0, "completion_tokens": 0}}}},
    }[name] | fields  # fmt: skip


@pytest.mark.parametrize(
    "name", ["otel", "openinference", "vercel", "langfuse", "langsmith", "litellm", "openai_batch"]
)
def test_no_tokens_in_and_out_of_an_answered_call_are_unknown_in_every_format(name):
    log, report = importers.FORMATS[name]([zeros(name)])
    assert log.requests[["input_tokens", "output_tokens", "cost_usd"]].isna().all(axis=None)
    assert any(guess.startswith("0 tokens in and out of an answered call") for guess in report.guesses)


def test_zeros_of_a_failed_call_and_a_single_zero_are_kept():
    failed = zeros("litellm", status="failure", request_id="f")
    refused = zeros("litellm", prompt_tokens=12, request_id="r")
    rows = importers.litellm([failed, refused])[0].requests.set_index("request_id")
    assert rows.loc["f", ["input_tokens", "output_tokens", "cost_usd"]].tolist() == [0, 0, 0]
    assert rows.loc["r", ["input_tokens", "output_tokens"]].tolist() == [12, 0]
