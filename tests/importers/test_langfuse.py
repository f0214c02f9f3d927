"""Langfuse exports, written here after its API reference."""

from llm_monitoring import importers


def generation(name="o1", trace="t1", at="09:00:00.000", until="09:00:02.500", **fields):
    return {
        "id": name,
        "traceId": trace,
        "type": "GENERATION",
        "name": "chat",
        "startTime": f"2025-06-05T{at}Z",
        "endTime": f"2025-06-05T{until}Z",
        "model": "gpt-4o-2024-08-06",
        "level": "DEFAULT",
        "usageDetails": {"input": 13, "output": 81, "total": 94},
        "totalCost": 0.0008,
        **fields,
    }


def score(name, value, source="EVAL", trace="t1", observation=None, kind="NUMERIC"):
    return {
        "id": f"score-{name}",
        "traceId": trace,
        "observationId": observation,
        "name": name,
        "value": value,
        "source": source,
        "dataType": kind,
        "timestamp": "2025-06-05T09:05:00.000Z",
        "comment": None,
    }


def export(*observations, trace=None, scores=()):
    return {
        "trace": {"id": "t1", "name": "faq", "sessionId": "v1", "scores": list(scores), **(trace or {})},
        "observations": list(observations),
    }


def only(*observations, **about):
    log, report = importers.langfuse(export(*observations, **about))
    assert len(log.requests) == 1
    return log.requests.iloc[0], report


def test_latency_in_seconds_or_milliseconds_is_not_used():
    log, _ = importers.langfuse(export(generation("a", latency=2.5), generation("b", latency=2500)))
    assert log.requests["latency_ms"].tolist() == [2500.0, 2500.0]


def test_without_an_end_latency_and_ending_are_unknown():
    row, _ = only(generation(endTime=None, latency=2.5))
    assert row[["latency_ms", "finish_reason"]].isna().all()


def test_observations_out_of_order_come_in_the_order_of_time():
    log, _ = importers.langfuse(export(generation("late", at="09:00:01.000"), generation("early")))
    assert log.requests["request_id"].tolist() == ["early", "late"]


def test_a_generation_around_another_is_a_wrapper_but_not_through_a_tool():
    tool = {
        "id": "tool",
        "traceId": "t1",
        "type": "TOOL",
        "startTime": "2025-06-05T09:00:00Z",
        "parentObservationId": "asks",
    }
    seen = [
        generation("outer"),
        generation("asks", parentObservationId="outer"),
        tool,
        generation("inside", parentObservationId="tool"),
    ]
    log, report = importers.langfuse(export(*seen))
    assert sorted(log.requests["request_id"]) == ["asks", "inside"]
    assert (report.wrappers, report.not_requests) == (1, {"TOOL": 1})


def test_a_cost_of_zero_beside_tokens_is_unknown():
    row, report = only(generation(totalCost=0, costDetails={}))
    assert row[["cost_usd"]].isna().all()
    assert "a cost of 0 beside tokens is a model without a price: cost_usd unknown" in report.guesses


def test_usage_that_nobody_counted_is_unknown_and_not_zero():
    row, _ = only(generation(usageDetails={}, inputUsage=0, outputUsage=0, totalCost=0))
    assert row[["input_tokens", "output_tokens", "cost_usd"]].isna().all()


def test_cached_tokens_beside_the_input_are_added_and_inside_are_not():
    beside = generation("a", usageDetails={"input": 5, "cache_read_input_tokens": 1200, "output": 4, "total": 1209})
    inside = generation("b", usageDetails={"input": 1205, "input_cached_tokens": 1200, "output": 4, "total": 1209})
    log, _ = importers.langfuse(export(beside, inside))
    assert log.requests["input_tokens"].tolist() == [1205.0, 1205.0]


def test_a_level_of_error_is_an_error_with_its_message():
    row, _ = only(generation(level="ERROR", statusMessage="429 rate limit"))
    assert (row["finish_reason"], row["error"]) == ("error", "429 rate limit")


def test_the_finish_reason_is_found_where_the_answer_keeps_it():
    row, _ = only(generation(output={"choices": [{"finish_reason": "length", "message": {"content": "Hi."}}]}))
    assert (row["finish_reason"], row["system_output"]) == ("max_tokens", "Hi.")


def test_session_feature_and_prompt_version_come_from_trace_and_prompt():
    row, report = only(generation(promptName="faq", promptVersion=7))
    assert (row["session_id"], row["feature_id"], row["prompt_version"]) == ("v1", "faq", "7")
    assert "feature_id is trace.name" in report.guesses


def test_metadata_of_the_trace_names_the_feature():
    row, _ = only(generation(), trace={"metadata": {"feature_id": "returns", "category": "shoes"}})
    assert (row["feature_id"], row["category"]) == ("returns", "shoes")


def test_feedback_of_users_becomes_thumbs_about_the_last_answer_of_the_trace():
    scores = [
        score("user-feedback", 1, "API", kind="BOOLEAN"),
        score("user_feedback", 0, "API", observation="a", kind="BOOLEAN"),
    ]
    log, report = importers.langfuse(export(generation("b", at="09:00:01.000"), generation("a"), scores=scores))
    found = log.signals[["request_id", "session_id", "signal_type"]].values.tolist()
    assert sorted(found) == [["a", "v1", "thumbs_down"], ["b", "v1", "thumbs_up"]]
    assert "a score of a trace is about its last model call" in report.guesses


def test_scores_of_a_judge_from_1_to_5_become_a_judgement():
    scores = [score("quality", 2), score("tone", 4), score("toxicity", 0.2)]
    log, report = importers.langfuse(export(generation(), scores=scores))
    judged = log.judgements.iloc[0]
    assert (judged["request_id"], judged["quality_score"], judged["flagged"]) == ("o1", 2, True)
    assert judged["dimensions"] == {"tone": 4}
    assert [entry["reason"] for entry in report.set_aside] == [
        "score 'toxicity' is on no known scale (0.2 in the source); if it is 0..1: "
        'scales={"toxicity": (0, 1)}, on the command line --scale toxicity=0..1'
    ]


def test_a_score_of_words_is_set_aside():
    _, report = importers.langfuse(export(generation(), scores=[score("tone", 0, kind="CATEGORICAL")]))
    assert [entry["reason"] for entry in report.set_aside] == ["score 'tone' is no number"]


def test_a_persons_score_becomes_a_review():
    log, _ = importers.langfuse(export(generation(), scores=[score("quality", 2, "ANNOTATION")]))
    assert log.reviews[["request_id", "verdict", "quality_score"]].values.tolist() == [["o1", "real", 2]]


def test_a_page_of_scores_is_joined_with_traces_given_beside_it():
    page = {"data": [score("quality", 4), score("quality", 4, trace="elsewhere")], "meta": {"page": 1}}
    log, report = importers.langfuse([export(generation()), page])
    assert log.judgements["quality_score"].tolist() == [4]
    assert [entry["reason"] for entry in report.set_aside] == ["the score's trace or observation is not in the source"]


def test_a_blob_export_in_snake_case_is_read():
    row = {
        "id": "o1", "trace_id": "t1", "type": "GENERATION", "name": "chat", "start_time": "2025-06-05 09:00:00.000", "end_time": "2025-06-05 09:00:01.000",
        "provided_model_name": "gpt-4o", "usage_details": {"input": 13, "output": 81, "total": 94}, "cost_details": {"total": 0.001},
    }  # fmt: skip
    log, report = importers.langfuse([row])
    assert log.requests[["latency_ms", "input_tokens", "cost_usd"]].values.tolist() == [[1000.0, 13, 0.001]]
    assert "startTime has no time zone: read as UTC" in report.guesses


def test_every_record_ends_in_exactly_one_place():
    seen = [
        generation("outer"),
        generation("inner", parentObservationId="outer"),
        generation("inner"),
        {"id": "s", "type": "SPAN", "startTime": "2025-06-05T09:00:00Z"},
    ]
    _, report = importers.langfuse(export(*seen, scores=[score("quality", 4), score("tone", 0.5)]))
    assert report.rows_read == 6
    assert (
        report.rows_made + report.wrappers + report.scores + sum(report.not_requests.values()) + len(report.set_aside)
        == 6
    )


def test_counts_of_zero_give_way_to_those_of_the_answer_and_columns_of_a_table_are_read():
    said = {"choices": [{"finish_reason": "length", "message": {"content": "x"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}  # fmt: skip
    zero = generation(usageDetails={"input": 0, "output": 0}, output=said)
    table = generation("o2", usageDetails=None, prompt_tokens="7", completion_tokens="4", output="N/A")
    requests = importers.langfuse([zero, table])[0].requests
    assert requests[["input_tokens", "output_tokens"]].to_numpy().tolist() == [[5, 3], [7, 4]]
    assert requests["system_output"].tolist() == ["x", "N/A"]
