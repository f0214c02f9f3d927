"""Batch files of OpenAI and Anthropic, written here after their API references."""

import json

import pytest

from llm_monitoring import importers
from llm_monitoring.errors import ConfigError, LogError

BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "created_at": 1762160400,
    "completed_at": 1762164000,
    "metadata": {"feature": "nightly"},
}
MESSAGES = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "created_at": "2025-11-03T09:00:00Z",
    "ended_at": "2025-11-03T10:00:00Z",
    "processing_status": "ended",
}


def asked(name, text="Hello?"):
    body = {
        "model": "gpt-4o-2024-08-06",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}],
    }
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def answered(name, reason="stop", status=200, **body):
    known = {
        "id": f"chatcmpl-{name}", "object": "chat.completion", "created": 1762160460, "model": "gpt-4o-2024-08-06", "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": "Hi.", "refusal": None}}],
        "usage": {"prompt_tokens": 1300, "completion_tokens": 2, "total_tokens": 1302, "prompt_tokens_details": {"cached_tokens": 1200}},
    }  # fmt: skip
    return {
        "id": f"batch_req_{name}",
        "custom_id": name,
        "response": {"status_code": status, "request_id": "x", "body": {**known, **body}},
        "error": None,
    }


def failed(
    name, code="batch_expired", message="This request could not be executed before the completion window expired."
):
    return {"id": f"batch_req_{name}", "custom_id": name, "response": None, "error": {"code": code, "message": message}}


def test_output_and_input_are_joined_by_custom_id_in_any_order():
    log, report = importers.openai_batch(
        [answered("b"), asked("a", "First"), BATCH, asked("b", "Second"), answered("a")]
    )
    assert log.requests[["request_id", "user_input"]].values.tolist() == [["a", "First"], ["b", "Second"]]
    assert log.requests["feature_id"].tolist() == ["nightly", "nightly"]
    assert report.set_aside == []


def test_times_are_those_of_the_batch_object_and_a_guess():
    log, report = importers.openai_batch([answered("a"), BATCH])
    assert log.requests["timestamp"].iloc[0].isoformat() == "2025-11-03T09:00:00+00:00"
    assert "timestamp is created_at of the batch object: a batch does not say when each request ran" in report.guesses


def test_a_batch_has_no_latency_and_no_cost():
    log, _ = importers.openai_batch([answered("a"), BATCH])
    assert log.requests[["latency_ms", "cost_usd"]].isna().all(axis=None)


def test_cached_tokens_of_openai_are_inside_the_prompt():
    log, _ = importers.openai_batch([answered("a"), BATCH])
    assert log.requests["input_tokens"].tolist() == [1300]


@pytest.mark.parametrize("code", ["batch_expired", "batch_cancelled", "request_timeout"])
def test_requests_that_did_not_run_are_rows_with_an_error_and_the_model_of_their_input(code):
    log, _ = importers.openai_batch([failed("a", code, "did not run"), asked("a"), BATCH])
    row = log.requests.iloc[0]
    assert (row["finish_reason"], row["error"], row["model_id"]) == (
        "error",
        f"{code}: did not run",
        "gpt-4o-2024-08-06",
    )
    assert row["user_input"] == "Hello?"


def test_a_status_of_400_is_an_error():
    body = {"error": {"message": "maximum context length", "type": "invalid_request_error", "code": None}}
    line = {"custom_id": "a", "response": {"status_code": 400, "body": body}, "error": None}
    row = importers.openai_batch([line, asked("a"), BATCH])[0].requests.iloc[0]
    assert (row["finish_reason"], row["error"]) == ("error", "invalid_request_error: maximum context length")


def test_an_input_without_result_is_set_aside():
    _, report = importers.openai_batch([answered("a"), asked("a"), asked("b"), BATCH])
    assert report.set_aside == [{"place": "input", "id": "b", "reason": "no result for this custom_id"}]


def test_failed_lines_without_a_time_stand_at_the_earliest_answer_of_their_batch():
    lines = [failed("b"), answered("a"), failed("c", "batch_expired", "did not run")]
    log, report = importers.openai_batch(lines)
    assert [when.isoformat() for when in log.requests["timestamp"]] == ["2025-11-03T09:01:00+00:00"] * 3
    assert log.requests["finish_reason"].tolist() == ["end_turn", "error", "error"]
    assert report.set_aside == []
    assert (
        "timestamp of a result without a time of its own is that of the earliest answer of its batch (2 times)"
        in report.guesses
    )


def test_a_batch_of_failures_only_asks_for_its_time():
    with pytest.raises(LogError, match=r"no time in the source: add the batch object, or name it: timestamp="):
        importers.openai_batch([failed("b")])
    log, _ = importers.openai_batch([failed("b")], timestamp="2025-11-03T09:00Z")
    assert log.requests["finish_reason"].tolist() == ["error"]


def test_a_timestamp_that_is_no_time_is_refused():
    with pytest.raises(ConfigError, match=r"^timestamp='yesterday' is not a time; expected one such as"):
        importers.openai_batch([failed("b")], timestamp="yesterday")
    with pytest.raises(ConfigError, match=r"^timestamp='2025-11-03 09:00' has no time zone"):
        importers.openai_batch([failed("b")], timestamp="2025-11-03 09:00")


def test_answers_of_the_responses_endpoint_are_read():
    body = {
        "id": "resp_1", "object": "response", "created_at": 1762160460, "model": "gpt-4o-2024-08-06", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "reasoning", "summary": []}, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Once"}]}],
        "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}, "error": None,
    }  # fmt: skip
    line = {"custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}
    sent = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-4o", "input": "A tale"}}
    row = importers.openai_batch([line, sent, BATCH])[0].requests.iloc[0]
    assert (row["finish_reason"], row["system_output"], row["user_input"]) == ("max_tokens", "Once", "A tale")
    assert (row["input_tokens"], row["output_tokens"]) == (9, 5)


def test_embeddings_of_a_batch_are_no_requests():
    line = {
        "custom_id": "a",
        "response": {"status_code": 200, "body": {"object": "list", "data": [], "model": "text-embedding-3-small"}},
        "error": None,
    }
    _, report = importers.openai_batch([line, answered("b"), BATCH])
    assert (report.rows_made, report.not_requests) == (1, {"list": 1})


def test_the_files_of_a_batch_are_read_from_a_folder(tmp_path):
    (tmp_path / "output.jsonl").write_text(json.dumps(answered("a")) + "\n")
    (tmp_path / "input.jsonl").write_text(json.dumps(asked("a")) + "\n")
    (tmp_path / "batch.json").write_text(json.dumps(BATCH, indent=1))
    log, _ = importers.openai_batch(tmp_path)
    assert log.requests["user_input"].tolist() == ["Hello?"]


def sent(name):
    return {
        "custom_id": name,
        "params": {
            "model": "claude-sonnet-4-20250514",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "Hello?"}],
        },
    }


def succeeded(name, **usage):
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-20250514", "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 4, **usage},
    }  # fmt: skip
    return {"custom_id": name, "result": {"type": "succeeded", "message": message}}


def test_results_of_anthropic_are_rows_whatever_became_of_them():
    fault = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens is too large"}}
    results = [succeeded("a"), {"custom_id": "b", "result": {"type": "errored", "error": fault}}]
    results += [{"custom_id": "c", "result": {"type": "canceled"}}, {"custom_id": "d", "result": {"type": "expired"}}]
    log, _ = importers.anthropic_batch([MESSAGES, {"requests": [sent(name) for name in "abcd"]}, *results])
    assert log.requests["finish_reason"].tolist() == ["end_turn", "error", "error", "error"]
    assert log.requests["error"].tolist()[1:] == [
        "invalid_request_error: max_tokens is too large",
        "canceled before it ran",
        "expired before it ran",
    ]
    assert log.requests["model_id"].unique().tolist() == ["claude-sonnet-4-20250514"]
    assert log.requests["user_input"].unique().tolist() == ["Hello?"]
    assert log.requests["timestamp"].unique()[0].isoformat() == "2025-11-03T09:00:00+00:00"


def test_cached_tokens_of_anthropic_are_beside_the_input():
    log, report = importers.anthropic_batch(
        [MESSAGES, succeeded("a", cache_read_input_tokens=3, cache_creation_input_tokens=2)]
    )
    assert log.requests["input_tokens"].tolist() == [10]
    assert "cached tokens are counted beside the input tokens: added" in report.guesses


def test_results_of_anthropic_without_any_time_are_set_aside_and_a_time_given_mends_it():
    with pytest.raises(LogError, match=r"no time in the source: add the batch object, or name it: timestamp="):
        importers.anthropic_batch([succeeded("a")])
    log, _ = importers.anthropic_batch([succeeded("a")], timestamp="2025-11-03T09:00Z")
    assert log.requests["timestamp"].iloc[0].isoformat() == "2025-11-03T09:00:00+00:00"


def test_without_the_requests_the_model_of_a_failure_is_unknown_and_a_guess():
    log, report = importers.anthropic_batch([MESSAGES, {"custom_id": "d", "result": {"type": "expired"}}])
    assert log.requests["model_id"].tolist() == ["unknown"]
    assert "model_id is not in the source: 'unknown'" in report.guesses


def test_a_custom_id_that_repeats_is_set_aside():
    _, report = importers.anthropic_batch([MESSAGES, succeeded("a"), succeeded("a")])
    assert [entry["reason"] for entry in report.set_aside] == ["request_id is there already"]


def test_an_empty_source_is_refused():
    with pytest.raises(LogError, match=r"^a list: no request of the format 'openai_batch' in 0 records$"):
        importers.openai_batch([[]])
