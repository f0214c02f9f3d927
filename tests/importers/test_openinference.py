"""OpenInference spans, written here after its specification and the exports of Phoenix."""

import json

import pandas as pd

from llm_monitoring import importers

BASE = {
    "context.trace_id": "t1",
    "name": "ChatCompletion",
    "start_time": "2025-11-03T09:00:00+00:00",
    "end_time": "2025-11-03T09:00:02+00:00",
    "status_code": "OK",
    "status_message": "",
}


def phoenix(span_id="s1", kind="LLM", parent=None, **attributes):
    known = {"llm.model_name": "gpt-4o", "metadata": {"feature": "faq"}, **attributes}
    return {**BASE, "context.span_id": span_id, "span_kind": kind, "parent_id": parent} | {
        f"attributes.{name}": value for name, value in known.items()
    }


def test_rows_of_a_phoenix_table_are_read():
    messages = [
        {"message.role": "system", "message.content": "Be kind."},
        {"message.role": "user", "message.content": "Hello?"},
    ]
    answered = [{"message.role": "assistant", "message.content": "Hi."}]
    row = phoenix(
        **{
            "llm.input_messages": messages,
            "llm.output_messages": answered,
            "session.id": "v1",
            "llm.token_count.prompt": 9.0,
        }
    )
    found = importers.openinference([row])[0].requests.iloc[0]
    assert (found["request_id"], found["feature_id"], found["session_id"]) == ("s1", "faq", "v1")
    assert (found["user_input"], found["system_output"]) == ("Hello?", "Hi.")
    assert (found["latency_ms"], found["input_tokens"]) == (2000.0, 9.0)


def test_a_phoenix_table_saved_as_parquet_is_read(tmp_path):
    rows = [
        phoenix("c", kind="CHAIN"),
        phoenix("s1", parent="c", **{"llm.output_messages": [{"message.content": "Hi."}]}),
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "spans.parquet")
    log, report = importers.openinference(tmp_path / "spans.parquet")
    assert log.requests["system_output"].tolist() == ["Hi."]
    assert report.not_requests == {"CHAIN": 1}


def test_a_phoenix_table_saved_as_csv_is_read(tmp_path):
    row = phoenix() | {"attributes.metadata": json.dumps({"feature": "faq"}), "attributes.llm.token_count.prompt": 9}
    pd.DataFrame([row]).to_csv(tmp_path / "spans.csv", index=False)
    found = importers.openinference(tmp_path / "spans.csv")[0].requests.iloc[0]
    assert (found["feature_id"], found["input_tokens"], found["latency_ms"]) == ("faq", 9, 2000.0)


def test_a_model_call_around_a_model_call_is_a_wrapper():
    log, report = importers.openinference([phoenix("outer"), phoenix("inner", parent="outer")])
    assert log.requests["request_id"].tolist() == ["inner"]
    assert report.wrappers == 1


def test_an_unknown_cost_stored_as_zero_is_unknown():
    log, report = importers.openinference([phoenix(**{"llm.cost.total": 0.0, "llm.token_count.prompt": 9})])
    assert log.requests["cost_usd"].isna().all()
    assert "a cost of 0 beside tokens is a model without a price: cost_usd unknown" in report.guesses


def test_calls_of_tools_are_the_answer_where_there_is_no_text():
    spread = {
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city": "Paris"}',
    }
    assert importers.openinference([phoenix(**spread)])[0].requests["system_output"].tolist() == [
        'weather({"city": "Paris"})'
    ]
