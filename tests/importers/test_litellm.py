"""LiteLLM's spend logs and logging payloads, written here after its database schema and logging specification."""

import json

import pandas as pd

from llm_monitoring import importers


def spent(name="c1", **fields):
    return {
        "request_id": name,
        "call_type": "acompletion",
        "spend": 0.000225,
        "total_tokens": 30,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "startTime": "2025-01-24 09:20:41.847371",
        "endTime": "2025-01-24 09:20:42.347371",
        "model": "gpt-4o",
        "model_group": "chat",
        "session_id": "v1",
        "metadata": "{}",
        "cache_hit": "None",
        "request_tags": '["feature:search", "env:prod"]',
        "messages": "{}",
        "response": "{}",
        "status": "success",
        **fields,
    }


def only(*rows, **options):
    log, report = importers.litellm(list(rows), **options)
    assert len(log.requests) == 1
    return log.requests.iloc[0], report


def test_times_without_a_zone_are_utc_and_a_guess():
    row, report = only(spent())
    assert row["timestamp"].isoformat() == "2025-01-24T09:20:41.847371+00:00"
    assert "startTime has no time zone: read as UTC" in report.guesses


def test_a_spend_of_zero_is_unknown_unless_the_cache_answered():
    log, _ = importers.litellm([spent("a", spend=0.0), spent("b", spend=0.0, cache_hit="True")])
    assert log.requests["cost_usd"].isna().tolist() == [True, False]
    assert log.requests["cost_usd"].iloc[1] == 0


def test_embeddings_are_no_requests():
    _, report = only(spent("a", call_type="aembedding"), spent("b"))
    assert report.not_requests == {"aembedding": 1}


def test_tags_name_the_feature_and_the_callers_columns():
    row, _ = only(spent(), columns={"tier": "env"})
    assert (row["feature_id"], row["tier"]) == ("search", "prod")


def test_without_a_tag_the_model_group_stands_in_and_is_a_guess():
    row, report = only(spent(request_tags="[]"))
    assert row["feature_id"] == "chat"
    assert "feature_id is model_group" in report.guesses


def test_a_failure_is_a_row_with_its_message():
    fault = {
        "status": "failure",
        "error_information": {"error_class": "RateLimitError", "error_message": "rate limited"},
    }
    row, _ = only(spent(status="failure", metadata=json.dumps(fault), spend=0.0, prompt_tokens=0, completion_tokens=0))
    assert (row["finish_reason"], row["error"], row["output_tokens"]) == ("error", "rate limited", 0)


def test_texts_and_ending_come_from_the_stored_bodies():
    body = {"choices": [{"finish_reason": "content_filter", "message": {"role": "assistant", "content": ""}}]}
    row, _ = only(spent(messages='[{"role": "user", "content": "Hello?"}]', response=json.dumps(body)))
    assert (row["user_input"], row["finish_reason"]) == ("Hello?", "refusal")


def test_the_response_time_of_a_payload_is_not_used():
    payload = spent() | {
        "id": "p1",
        "response_time": 0.007,
        "response_cost": 0.5,
        "startTime": 1737710441.847371,
        "endTime": 1737710442.347371,
    }
    del payload["request_id"], payload["spend"]
    row, report = only(payload)
    assert (row["request_id"], round(row["latency_ms"], 3), row["cost_usd"]) == ("p1", 500.0, 0.5)
    assert "latency_ms is endTime minus startTime; response_time is not used" in report.guesses


def test_a_csv_of_the_spend_table_is_read(tmp_path):
    pd.DataFrame([spent("a"), spent("b")]).to_csv(tmp_path / "spend.csv", index=False)
    log, _ = importers.litellm(tmp_path / "spend.csv")
    assert log.requests["input_tokens"].tolist() == [10, 10]
    assert log.requests["feature_id"].tolist() == ["search", "search"]


def test_what_is_no_call_is_set_aside():
    _, report = importers.litellm([spent(), {"name": "a span", "attributes": {}}])
    assert [entry["reason"] for entry in report.set_aside] == [
        "neither a spend log nor a logging payload: no id, no startTime or no call_type"
    ]


def test_an_amount_that_is_no_number_is_unknown_and_told():
    call = {"request_id": "c1", "call_type": "completion", "startTime": "2025-01-24T09:20:41Z", "model": "m"}
    calls = [{**call, "spend": "$0.01", "prompt_tokens": "ten"}, {**call, "request_id": "c2", "spend": "1e999"}]
    log, report = importers.litellm(calls)
    assert log.requests[["cost_usd", "input_tokens"]].isna().all(axis=None)
    assert "spend cannot be read as a number: unknown (2 times)" in report.guesses
    assert "prompt_tokens cannot be read as a number: unknown" in report.guesses
