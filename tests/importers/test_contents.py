"""Question and answer of a span, from the events in which SDKs old and new write them."""

import json

import pytest

from llm_monitoring import importers

ASKED, SAID = {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}
CHOICE = {"index": 0, "finish_reason": "length", "message": SAID}


def event(name, **attributes):
    return {
        "name": name,
        "timeUnixNano": "1762160400200000000",
        "attributes": {k.replace("__", "."): v for k, v in attributes.items()},
    }


SYSTEM = event("gen_ai.system.message", gen_ai__event__content=json.dumps({"content": "Be kind."}))
EVENTS = {
    "content as JSON": [
        SYSTEM,
        event("gen_ai.user.message", gen_ai__event__content=json.dumps(ASKED)),
        event("gen_ai.choice", gen_ai__event__content=json.dumps(CHOICE)),
    ],
    "fields": [
        event("gen_ai.user.message", content="Hello?"),
        event("gen_ai.choice", finish_reason="length", message=json.dumps(SAID)),
    ],
    "older events": [
        event("gen_ai.content.prompt", gen_ai__prompt=json.dumps([ASKED])),
        event("gen_ai.content.completion", gen_ai__completion=json.dumps([SAID | {"finish_reason": "length"}])),
    ],
    "one event with both": [
        event(
            "gen_ai.client.inference.operation.details",
            gen_ai__input__messages=json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hello?"}]}]),
            gen_ai__output__messages=json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": "Hi."}], "finish_reason": "length"}]
            ),
        )
    ],
    "a turn before": [
        event("gen_ai.user.message", content="Earlier?"),
        event("gen_ai.assistant.message", content="Earlier."),
        event("gen_ai.user.message", content="Hello?"),
        event("gen_ai.choice", gen_ai__event__content=json.dumps(CHOICE)),
    ],
}
SPAN = {
    "traceId": "t", "spanId": "s", "startTimeUnixNano": "1762160400100000000", "endTimeUnixNano": "1762160401100000000",
    "attributes": {"gen_ai.operation.name": "chat", "openinference.span.kind": "LLM",
                   "ai.operationId": "ai.generateText.doGenerate"},
}  # fmt: skip


@pytest.mark.parametrize("format", ["otel", "openinference", "vercel"])
@pytest.mark.parametrize("name", EVENTS)
def test_contents_in_events_are_read(name, format):
    row = importers.FORMATS[format]([SPAN | {"events": EVENTS[name]}])[0].requests.iloc[0]
    assert (row["user_input"], row["system_output"], row["finish_reason"]) == ("Hello?", "Hi.", "max_tokens")


def test_events_kept_in_an_attribute_are_read():
    kept = [{"event.name": "gen_ai.user.message", **ASKED}, {"event.name": "gen_ai.choice", **CHOICE}]
    span = SPAN | {"attributes": SPAN["attributes"] | {"events": json.dumps(kept)}}
    row = importers.otel([span])[0].requests.iloc[0]
    assert (row["user_input"], row["system_output"], row["finish_reason"]) == ("Hello?", "Hi.", "max_tokens")


def test_text_that_is_no_json_is_the_content():
    events = [
        event("gen_ai.user.message", gen_ai__event__content="N/A"),
        event("gen_ai.choice", gen_ai__event__content="null"),
    ]
    row = importers.otel([SPAN | {"events": events}])[0].requests.iloc[0]
    assert (row["user_input"], row["system_output"]) == ("N/A", "null")


def test_calls_of_tools_are_the_answer_of_a_choice():
    call = {"function": {"name": "look", "arguments": "{}"}}
    choice = event(
        "gen_ai.choice",
        gen_ai__event__content=json.dumps({"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}),
    )
    row = importers.otel([SPAN | {"events": [choice]}])[0].requests.iloc[0]
    assert (row["system_output"], row["finish_reason"]) == ("look({})", "end_turn")
