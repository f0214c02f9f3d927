"""LangSmith runs, written here after the run schema of its API and the messages of LangChain."""

import pytest

from llm_monitoring import importers


def run(run_id="r1", kind="llm", parent=None, **fields):
    return {
        "id": run_id,
        "trace_id": "root",
        "parent_run_id": parent,
        "run_type": kind,
        "name": "ChatOpenAI",
        "session_id": "5f0d-project",
        "start_time": "2025-11-03T09:00:00.000000",
        "end_time": "2025-11-03T09:00:01.500000",
        "status": "success",
        "error": None,
        "inputs": {"messages": [[message("SystemMessage", "Be kind."), message("HumanMessage", "Hello?")]]},
        "outputs": generated("Hi."),
        "extra": {
            "metadata": {"ls_model_name": "gpt-4o", "ls_provider": "openai", "thread_id": "v1", "feature_id": "faq"}
        },
        "prompt_tokens": 20,
        "completion_tokens": 4,
        "total_tokens": 24,
        "total_cost": "0.00009",
        **fields,
    }


def message(kind, content, **more):
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", kind],
        "kwargs": {"content": content, **more},
    }


def generated(content, reason="stop"):
    told = {"model_name": "gpt-4o-2024-08-06", "finish_reason": reason, "system_fingerprint": "fp_1"}
    return {
        "generations": [
            [
                {
                    "text": content,
                    "generation_info": {"finish_reason": reason},
                    "message": message("AIMessage", content, response_metadata=told),
                }
            ]
        ]
    }


def only(*runs, **options):
    log, report = importers.langsmith(list(runs), **options)
    assert len(log.requests) == 1
    return log.requests.iloc[0], report


def test_a_run_is_a_row():
    row, _ = only(run())
    wanted = {
        "request_id": "r1", "feature_id": "faq", "model_id": "gpt-4o-2024-08-06", "latency_ms": 1500.0, "input_tokens": 20, "output_tokens": 4, "cost_usd": 0.00009,
        "finish_reason": "end_turn", "user_input": "Hello?", "system_output": "Hi.", "system_fingerprint": "fp_1", "provider": "openai",
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_session_id_of_a_run_is_the_project_and_not_the_session():
    row, report = only(run())
    assert (row["session_id"], row["project"]) == ("v1", "5f0d-project")
    assert "a run's session_id is its project: column project; the session is taken from the metadata" in report.guesses


def test_without_a_thread_the_session_is_unknown():
    row, _ = only(run(extra={"metadata": {"ls_model_name": "gpt-4o"}}))
    assert row[["session_id"]].isna().all()


@pytest.mark.parametrize("start", [1762160400000, 1762160400.0], ids=["milliseconds", "seconds"])
def test_times_as_numbers_are_told_by_their_size(start):
    step = 1500 if start > 1e11 else 1.5
    row, report = only(run(start_time=start, end_time=start + step))
    assert (row["timestamp"].isoformat(), row["latency_ms"]) == ("2025-11-03T09:00:00+00:00", 1500.0)
    assert any("start_time is a bare number" in guess for guess in report.guesses)


def test_chains_are_no_requests_and_a_model_around_a_model_is_a_wrapper():
    runs = [
        run("root", "chain", name="faq"),
        run("outer", parent="root"),
        run("inner", parent="outer"),
        run("t", "tool", parent="root"),
    ]
    row, report = only(*runs)
    assert row["request_id"] == "inner"
    assert (report.wrappers, report.not_requests) == (1, {"chain": 1, "tool": 1})


def test_the_root_runs_name_is_the_feature_where_nothing_else_says_so():
    row, report = only(run("root", "chain", name="answer-faq", extra={}), run("r1", parent="root", extra={}))
    assert row["feature_id"] == "answer-faq"
    assert "feature_id is the root run's name" in report.guesses


def test_child_runs_inside_a_run_are_read():
    row, _ = only({"runs": [run("root", "chain") | {"child_runs": [run()]}]})
    assert row["request_id"] == "r1"


def test_an_error_is_a_row():
    row, _ = only(
        run(error="RateLimitError('429')", status="error", outputs=None, completion_tokens=0, total_cost=None)
    )
    assert (row["finish_reason"], row["error"]) == ("error", "RateLimitError('429')")


def test_tokens_that_the_run_lacks_are_taken_from_the_answer():
    used = {"input_tokens": 20, "output_tokens": 4, "input_token_details": {"cache_read": 16}}
    told = {"generations": [[{"text": "Hi.", "message": message("AIMessage", "Hi.", usage_metadata=used)}]]}
    row, _ = only(run(outputs=told, prompt_tokens=0, completion_tokens=0, total_tokens=0))
    assert (row["input_tokens"], row["output_tokens"]) == (20, 4)


def test_tokens_that_nobody_counted_are_unknown_and_not_zero():
    row, report = only(run(prompt_tokens=0, completion_tokens=0, total_tokens=0, total_cost=0))
    assert row[["input_tokens", "output_tokens", "cost_usd"]].isna().all()
    assert "a cost of 0 beside unknown tokens was never worked out: cost_usd unknown" in report.guesses
    assert (
        "0 tokens in and out of an answered call were never counted: input_tokens, output_tokens unknown"
        in report.guesses
    )


def test_a_providers_own_body_as_outputs_is_read():
    body = {
        "model": "gpt-4o-2024-08-06",
        "choices": [{"finish_reason": "length", "message": {"role": "assistant", "content": "Once upon"}}],
    }
    row, _ = only(run(outputs=body, inputs={"messages": [{"role": "user", "content": "A tale"}]}))
    assert (row["finish_reason"], row["system_output"], row["user_input"]) == ("max_tokens", "Once upon", "A tale")


def test_what_is_no_run_is_set_aside():
    _, report = importers.langsmith([run(), {"name": "no id"}])
    assert [entry["reason"] for entry in report.set_aside] == ["not a run: it lacks id or run_type"]
