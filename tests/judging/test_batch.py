import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_judge_server import BAD_CONTENT
from judging.frames import judge_at, questions

from llm_monitoring.errors import ConfigError, LogError
from llm_monitoring.judging.batch import judge_sample
from llm_monitoring.judging.pace import WIDEST_GAP, Pace
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric
from llm_monitoring.judging.store import Store, export
from llm_monitoring.sampling import should_sample

FAILURES = {
    **dict.fromkeys(("prose", "nan", "two_objects"), "not_json"),
    **dict.fromkeys(
        ("float", "out_of_range", "zero", "boolean", "text_score", "missing", "twice", "bare_number"), "schema"
    ),
    "list": "schema",
    "empty": "empty",
    "null": "empty",
    "refusal": "refusal",
    "length": "length",
    "content_filter": "content_filter",
    "disconnect": "connection",
    "hang": "timeout",
    "page": "bad_response",
    "no_choices": "bad_response",
    "400": "http_400",
    "500": "http_500",
    "503": "http_503",
}


def test_every_failure_is_a_row_with_its_kind_and_never_a_score(server, tmp_path):
    assert set(BAD_CONTENT) <= set(FAILURES)
    requests = questions(len(FAILURES), [f"[[{mode}]]" for mode in FAILURES])
    found = judge_sample(
        requests, judge_at(server, timeout_s=1.5, max_tries=2), rate=1, out=tmp_path / "j.db", concurrency=32
    )
    assert found["quality_score"].isna().all()
    assert (found["status"] == "failed").all()
    assert not found["flagged"].any()
    assert found["dimensions"].tolist() == [{}] * len(FAILURES)
    assert [error.split(":")[0] for error in found["error"]] == list(FAILURES.values())
    tries = server.stats()["items"].values()
    assert max(tries) <= 2
    assert server.stats()["items"][f"item-{list(FAILURES).index('400'):04d}"] == 1


def test_an_item_that_fails_once_is_asked_again(server, tmp_path):
    server.configure(fail_first=3)
    found = judge_sample(questions(3, "[[once_500]]"), judge_at(server), rate=1, out=tmp_path / "j.db")
    assert found["quality_score"].tolist() == [4, 4, 4]


def test_tries_are_counted_per_item_whatever_the_others_meet(server, tmp_path):
    server.configure(fail_each=2)
    found = judge_sample(questions(6), judge_at(server, max_tries=3), rate=1, out=tmp_path / "j.db", concurrency=3)
    assert found["status"].tolist() == ["ok"] * 6
    assert server.stats()["items"] == {f"item-{i:04d}": 3 for i in range(6)}
    assert server.stats()["calls"] == 18


def test_a_server_that_refuses_an_option_is_asked_alike_by_every_worker(server, tmp_path):
    server.configure(refuse_parameters=["max_tokens", "temperature", "json_schema"], latency=0.02)
    found = judge_sample(questions(40), judge_at(server), rate=1, out=tmp_path / "j.db", concurrency=16)
    assert found["status"].tolist() == ["ok"] * 40


@pytest.mark.parametrize("mode", ["401", "403", "404", "quota"])
def test_a_fault_of_the_whole_run_stops_it_and_is_tried_again_next_time(server, tmp_path, mode):
    requests, out = questions(40), tmp_path / "j.db"
    server.configure(mode=mode)
    found = judge_sample(requests, judge_at(server), rate=1, out=out, concurrency=4)
    assert server.stats()["calls"] <= 4
    assert found["quality_score"].isna().all()
    assert found.attrs["stopped"].startswith(f"http_{mode}: " if mode.isdigit() else "quota: ")
    server.configure()
    found = judge_sample(requests, judge_at(server), rate=1, out=out)
    assert (found["quality_score"] == 4).all()
    assert len(found) == 40
    assert found.attrs["stopped"] is None


def test_a_finished_run_asks_nothing_again_and_a_new_rubric_asks_all(server, tmp_path):
    requests, out = questions(12, ["[[prose]]"] * 2 + [""] * 10), tmp_path / "j.db"
    first = judge_sample(requests, judge_at(server, max_tries=1), rate=1, out=out)
    server.configure()
    again = judge_sample(requests, judge_at(server), rate=1, out=out)
    assert server.stats()["calls"] == 0
    assert again.equals(first)
    newer = DEFAULT_RUBRIC.model_copy(update={"version": "2"})
    found = judge_sample(requests, judge_at(server, rubric=newer, max_tries=1), rate=1, out=out)
    assert server.stats()["calls"] == 12
    assert set(found["rubric_version"]) == {"default-2"}
    with Store(out) as store:
        assert len(store.judgements()) == 24


def test_failures_that_pass_are_retried_on_request_and_poison_is_not(server, tmp_path):
    requests, out = questions(4, ["[[500]]", "[[prose]]", "[[400]]", ""]), tmp_path / "j.db"
    judge_sample(requests, judge_at(server, max_tries=1), rate=1, out=out)
    server.configure()
    judge_sample(requests, judge_at(server, max_tries=1), rate=1, out=out, retry_failed=True)
    assert server.stats()["items"] == {"item-0000": 1}


def test_an_edited_rubric_under_its_old_version_is_refused(tmp_path):
    def judge(user_input, system_output):
        return {"correctness": 4, "completeness": 4, "tone": 4}

    out = tmp_path / "j.db"
    judge_sample(questions(1), judge, rate=1, out=out)
    judge.rubric = DEFAULT_RUBRIC.model_copy(update={"task": "Be strict."})
    with pytest.raises(ConfigError) as error:
        judge_sample(questions(1), judge, rate=1, out=out)
    assert str(error.value) == (
        f"{out}: rubric 'default-1' was worded differently when its judgements in this file were made. "
        "Give the new wording a version of its own: Rubric(version=...)"
    )


def test_the_sample_is_the_hash_rule_and_keeps_its_probabilities(tmp_path):
    requests = questions(400)
    requests["feature_id"] = ["search", "summary"] * 200
    requests["flagged"] = [i % 40 == 0 for i in range(400)]
    found = judge_sample(
        requests,
        lambda user_input: {"correctness": 4, "completeness": 4, "tone": 4},
        rate=0.1,
        out=tmp_path / "j.db",
        boost={"feature_id": {"search": 0.5}, "flagged": 1.0},
    )
    expected = {}
    for row in requests.itertuples():
        chance = 1.0 if row.flagged else 0.5 if row.feature_id == "search" else 0.1
        if should_sample(row.request_id, chance):
            expected[row.request_id] = chance
    assert dict(zip(found["request_id"], found["inclusion_probability"], strict=True)) == expected


@pytest.mark.parametrize("form", ["seconds", "ms", "date"])
def test_retry_after_is_kept_in_all_three_forms(server, tmp_path, form):
    server.configure(limit_per_s=4, retry_after=form, least_wait=0.5)
    found = judge_sample(questions(3), judge_at(server), rate=1, out=tmp_path / "j.db")
    stats = server.stats()
    assert found["quality_score"].tolist() == [4, 4, 4]
    assert stats["refused"] >= 1
    gaps = [later - earlier for earlier, later in zip(stats["times"], stats["times"][1:], strict=False)]
    assert max(gaps) >= 0.5


def test_an_unknown_limit_is_found_and_every_item_answered(server, tmp_path):
    server.configure(limit_per_s=60, burst=10)
    found = judge_sample(questions(120), judge_at(server), rate=1, out=tmp_path / "j.db", concurrency=32)
    assert (found["quality_score"] == 4).sum() == 120
    assert server.stats()["refused"] <= 240


def test_a_server_that_refuses_for_ever_is_left_and_asked_again_by_the_next_run(server, tmp_path):
    server.configure(mode="429", retry_after="ms")
    found = judge_sample(questions(3), judge_at(server), rate=1, out=tmp_path / "j.db")
    assert [error.split(":")[0] for error in found["error"]] == ["rate_limited"] * 3
    assert server.stats()["calls"] <= 4 * 3
    server.configure()
    assert judge_sample(questions(3), judge_at(server), rate=1, out=tmp_path / "j.db")["quality_score"].tolist() == [
        4,
        4,
        4,
    ]


def test_the_gap_between_calls_has_an_end():
    async def refuse_for_long():
        pace = Pace()
        for _ in range(100):
            pace._widened_at = -1.0
            pace.refused(0.0)
        return pace.gap

    assert asyncio.run(refuse_for_long()) == WIDEST_GAP


def test_a_known_limit_is_hardly_ever_hit(server, tmp_path):
    server.configure(limit_per_s=60, burst=3)
    judge_sample(questions(90), judge_at(server), rate=1, out=tmp_path / "j.db", concurrency=32, rpm=3600)
    assert server.stats()["refused"] <= 9


def test_the_budget_holds_over_two_runs_and_is_used(server, tmp_path):
    requests, out, budget = questions(300), tmp_path / "j.db", 0.05
    found = judge_sample(requests, judge_at(server), rate=1, out=out, budget_usd=budget)
    assert 0.8 * budget <= found["cost_usd"].sum() <= budget
    assert found.attrs["stopped"] == "budget of 0.05 USD: another call could exceed it"
    judged = len(found)
    again = judge_sample(requests, judge_at(server), rate=1, out=out, budget_usd=budget)
    with Store(out) as store:
        assert store.spent_usd() <= budget
    assert len(again) - judged <= 1


def test_a_timeout_counts_as_the_worst_case(server, tmp_path):
    out = tmp_path / "j.db"
    judge_sample(questions(1, "[[hang]]"), judge_at(server, timeout_s=0.2, max_tries=1), rate=1, out=out)
    with Store(out) as store:
        assert store.spent_usd() >= 300 * 4 / 1e6


@pytest.mark.parametrize(("name", "value"), [("budget_usd", -1), ("rpm", 0), ("tpm", float("nan"))])
def test_a_limit_is_above_zero(server, tmp_path, name, value):
    with pytest.raises(ConfigError) as error:
        judge_sample(questions(1), judge_at(server), out=tmp_path / "j.db", **{name: value})
    assert str(error.value) == f"judge_sample({name}={value}); expected a number above 0, or None for no limit"


def test_a_log_without_texts_is_told_at_once(server, tmp_path):
    with pytest.raises(LogError) as error:
        judge_sample(questions(2).assign(system_output=None), judge_at(server), rate=1, out=tmp_path / "j.db")
    assert str(error.value) == "requests, system_output: no text in any row; a judge needs it"


def test_a_folder_in_the_place_of_the_file_is_told(server, tmp_path):
    with pytest.raises(ConfigError) as error:
        judge_sample(questions(1), judge_at(server), out=tmp_path)
    assert str(error.value) == (f"{tmp_path}: Is a directory; expected the name of a file that may be written")


def test_what_cannot_be_redacted_is_not_sent_and_is_tried_again(server, tmp_path):
    def redact(text):
        if "item-0001" in text:
            raise ValueError("boom")
        return text

    found = judge_sample(questions(3), judge_at(server), rate=1, out=tmp_path / "j.db", redact=redact)
    assert found["error"].dropna().tolist() == ["redaction: ValueError: 'boom'"]
    assert sorted(server.stats()["items"]) == ["item-0000", "item-0002"]
    found = judge_sample(questions(3), judge_at(server), rate=1, out=tmp_path / "j.db")
    assert (found["quality_score"] == 4).all()


def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path):
    def judge(user_input):
        return {"correctness": np.int64(5), "completeness": np.int8(4), "tone": 4}

    found = judge_sample(questions(2), judge, rate=1, out=tmp_path / "j.db")
    assert found["quality_score"].tolist() == [4, 4]


def test_a_write_that_fails_ends_the_run_with_its_reason(server, tmp_path, monkeypatch):
    def full(self, *arguments):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "record", full)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        judge_sample(questions(8), judge_at(server), rate=1, out=tmp_path / "j.db", concurrency=2)
    assert server.stats()["calls"] <= 4


def test_a_budget_needs_prices(server, tmp_path):
    with pytest.raises(ConfigError) as error:
        judge_sample(questions(1), judge_at(server, usd_per_m_input=None), out=tmp_path / "j.db", budget_usd=5)
    assert str(error.value) == (
        "judge_sample(budget_usd=5): the judge has no prices. "
        "Give them: Judge(..., usd_per_m_input=..., usd_per_m_output=...)"
    )


RUN = """
import json, sys
sys.path[:0] = {paths!r}
from judging.frames import questions
from llm_monitoring.judging.batch import judge_sample
from llm_monitoring.judging.client import Judge
judge = Judge("fake", base_url={url!r}, api_key="none", usd_per_m_input=1.0, usd_per_m_output=4.0)
found = judge_sample(questions({n}), judge, rate=1, out={out!r}, concurrency=8, progress=False)
print(json.dumps([len(found), int((found["quality_score"] == 4).sum())]))
"""


def start_run(server, out, n):
    paths = [str(Path(__file__).parents[1])]
    code = RUN.format(paths=paths, url=server.base_url, n=n, out=str(out))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_calls(server, calls):
    deadline = time.time() + 300
    while server.stats()["calls"] < calls and time.time() < deadline:
        time.sleep(0.02)


def test_kill_9_loses_nothing_and_pays_twice_at_most_what_was_in_flight(server, tmp_path):
    out, n = tmp_path / "j.db", 40
    server.configure(latency=0.15)
    process = start_run(server, out, n)
    wait_for_calls(server, 12)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = start_run(server, out, n)
    assert json.loads(finished.communicate(timeout=300)[0]) == [n, n]
    asked = server.stats()["items"]
    assert len(asked) == n
    assert sum(asked.values()) - n <= 8


def test_two_processes_on_one_file_share_the_work(server, tmp_path):
    out, n = tmp_path / "j.db", 60
    server.configure(latency=0.05)
    runs = [start_run(server, out, n) for _ in range(2)]
    assert [json.loads(run.communicate(timeout=60)[0]) for run in runs] == [[n, n]] * 2
    assert set(server.stats()["items"].values()) == {1}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_leaves_a_consistent_file_that_goes_on(server, tmp_path):
    out, n = tmp_path / "j.db", 40
    server.configure(answers=12)  # the thirteenth call hangs, so that the run cannot be over when the signal comes
    process = start_run(server, out, n)
    wait_for_calls(server, 13)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert said.strip().endswith("KeyboardInterrupt")
    with Store(out) as store:
        assert store.db.execute("select stopped from run").fetchall() == [("interrupted",)]
        assert store.db.execute("select count(*) from claim").fetchone() == (0,)
    server.configure()
    assert json.loads(start_run(server, out, n).communicate(timeout=300)[0]) == [n, n]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_an_export_opens_as_the_judgements_of_a_log(server, tmp_path, ending):
    import llm_monitoring as lm

    requests = questions(6, ["[[prose]]"] + ["score=2"] * 2 + [""] * 3)
    found = judge_sample(requests, judge_at(server, max_tries=1), rate=1, out=tmp_path / "j.db")
    folder = tmp_path / "log"
    folder.mkdir()
    requests.to_parquet(folder / "requests.parquet")
    export(tmp_path / "j.db", folder / f"judgements.{ending}")
    judgements = lm.open_log(folder).judgements.sort_values("request_id")
    assert judgements["quality_score"].isna().tolist() == [True] + [False] * 5
    assert judgements["flagged"].isna().tolist() == [True] + [False] * 5  # a failed judgement has no flag
    assert judgements["flagged"].tolist()[1:] == found["flagged"].tolist()[1:]
    assert judgements["dimensions"].tolist()[1] == {"correctness": 2, "completeness": 2, "tone": 2}


def test_personal_data_stays_out_of_the_judges_copy_and_in_the_log(server, tmp_path):
    server.configure(keep_bodies=True)
    requests = questions(1, "I am ada@example.org")
    judge_sample(requests, judge_at(server), rate=1, out=tmp_path / "j.db", redact=True)
    said = server.stats()["bodies"][0]["messages"][1]["content"]
    assert "I am [EMAIL]" in said
    assert requests["user_input"][0].endswith("ada@example.org")


@pytest.mark.parametrize(
    ("mode", "kind", "remedy"),
    [
        (
            "prose",
            "not_json",
            "Ask for plain JSON in the rubric's task, or take a model that keeps to a response format",
        ),
        ("out_of_range", "schema", "Look at what the judge answers: its fields and its scale have to be the rubric's"),
        ("500", "http_500", "The server fails; call again later with retry_failed=True"),
        ("400", "http_400", "Fix what the server reports, then judge into a new file: out="),
    ],
)
def test_a_run_of_one_kind_of_failure_stops_with_its_reason(server, tmp_path, mode, kind, remedy):
    server.configure(mode=mode)
    found = judge_sample(questions(60), judge_at(server, max_tries=1), rate=1, out=tmp_path / "j.db", concurrency=2)
    assert found.attrs["stopped"].startswith(f"the first 10 answers all failed: {kind}: ")
    assert found.attrs["stopped"].endswith(f". {remedy}")
    assert 10 <= len(found) <= 12
    assert found["quality_score"].isna().all()


def test_failures_of_several_kinds_or_after_an_answer_stop_nothing(server, tmp_path):
    marks = ["", *["[[prose]]"] * 14]
    found = judge_sample(
        questions(15, marks), judge_at(server, max_tries=1), rate=1, out=tmp_path / "a.db", concurrency=1
    )
    assert (found.attrs["stopped"], len(found)) == (None, 15)
    marks = ["[[float]]", *["[[prose]]"] * 14]
    found = judge_sample(
        questions(15, marks), judge_at(server, max_tries=1), rate=1, out=tmp_path / "b.db", concurrency=1
    )
    assert (found.attrs["stopped"], len(found)) == (None, 15)


def test_answers_in_a_fence_are_read_and_counted(server, tmp_path):
    found = judge_sample(questions(3, ["[[fence]]", "", "[[fence]]"]), judge_at(server), rate=1, out=tmp_path / "j.db")
    assert found["quality_score"].tolist() == [5, 4, 5]
    assert found.attrs["unwrapped"] == {"fence": 2}


@pytest.mark.parametrize(
    ("rubric", "answer", "score", "flags", "scale"),
    [
        ({"scale": (0, 1), "dimensions": [{"name": "a"}, {"name": "b"}], "flag": {"quality_at_most": 0.3}},
         lambda user_input: {"a": 0.2, "b": 0.4 if "0000" in user_input else 1}, [0.3, 0.6], [True, False], "0..1"),
        ({"scale": (0, 10), "dimensions": [{"name": "a"}, {"name": "b"}], "flag": {"dimension_at_most": {"a": 3}}},
         lambda user_input: {"a": 3 if "0000" in user_input else 8, "b": 10}, [6.5, 9.0], [True, False], "0..10"),
        ({"scale": "pass_fail"},
         lambda user_input: {"verdict": "fail" if "0000" in user_input else "pass"}, [None, None], [True, False], "pass_fail"),
    ],
)  # fmt: skip
def test_judgements_on_every_scale_are_stored_and_exported(tmp_path, rubric, answer, score, flags, scale):
    answer.rubric = Rubric(version="1", **rubric)
    found = judge_sample(questions(2), answer, rate=1, out=tmp_path / "j.db")
    for table in (found, pd.read_parquet(export(tmp_path / "j.db", tmp_path / "judgements.parquet"))):
        assert table["quality_score"].replace({np.nan: None}).tolist() == pytest.approx(score)
        assert table["flagged"].tolist() == flags
        assert table["status"].tolist() == ["ok", "ok"]
        assert table["scale"].tolist() == [scale, scale]


def test_a_file_of_the_first_version_is_read_and_goes_on(tmp_path):
    judge = partial(lambda user_input: {"correctness": 4, "completeness": 4, "tone": 4})
    judge_sample(questions(1), judge, rate=1, out=tmp_path / "j.db")
    with sqlite3.connect(tmp_path / "j.db") as db:
        for name in ("scale", "unwrapped"):
            db.execute(f"alter table judgement drop column {name}")
    db.close()
    found = judge_sample(questions(2), judge, rate=1, out=tmp_path / "j.db")
    assert (found["scale"].tolist(), found["quality_score"].tolist()) == (["1..5", "1..5"], [4, 4])
