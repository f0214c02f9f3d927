"""Runs: sync and async clients, endpoints, and calls that bring no answer."""

import asyncio
import time

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError
from llm_monitoring.probes.running import COLUMNS

YES = lm.ModelBehaviorProbe("yes", "Say yes", "yes", "check_exact")
EVIL = ["\x00", "<script>alert(1)</script>", "=1+1", "🦜", "a" * 100_000]


def test_one_row_per_probe_and_repeat_in_the_order_of_the_suite():
    probes = [lm.ModelBehaviorProbe(f"p{i}", f"Say {i}", str(i), "check_exact", repeats=2) for i in range(5)]
    frame = lm.run_probes(probes, lambda text: text[4:], model_id="model-a", run_at="2026-05-11T08:00:00+02:00")
    assert list(frame.columns) == COLUMNS
    assert frame["probe_id"].tolist() == [f"p{i}" for i in range(5) for _ in range(2)]
    assert frame["passed"].tolist() == [True] * 10
    assert set(frame["run_at"]) == {pd.Timestamp("2026-05-11 06:00", tz="UTC")}
    assert (frame["latency_ms"] >= 0).all()


def test_async_client_runs_where_a_loop_is_running_already():
    async def client(text):
        await asyncio.sleep(0)
        return "yes"

    async def notebook():
        return lm.run_probes([YES], client)

    assert asyncio.run(notebook())["passed"].tolist() == [True]


def test_calls_that_fail_are_null_with_a_reason_never_failed():
    def client(text):
        raise ConnectionError("quota exceeded")

    frame = lm.run_probes([YES], client, model_id="model-a")
    assert frame["passed"].isna().all()
    assert frame["output"].isna().all()
    assert frame["detail"].tolist() == ["ConnectionError: quota exceeded"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_client_that_hangs_is_a_time_out(kind):
    async def sleeps(text):
        await asyncio.sleep(5)

    client = sleeps if kind == "async" else lambda text: time.sleep(5)
    start = time.monotonic()
    frame = lm.run_probes([YES], client, timeout_s=0.2)
    assert frame["detail"].tolist() == ["timeout: no answer within 0.2 s"]
    assert frame["passed"].isna().all()
    assert time.monotonic() - start < 4  # the call was not waited for


def test_a_wrong_answer_fails_and_an_empty_one_is_no_refusal():
    frame = lm.run_probes([YES, lm.CANARY_PROBES[1]], lambda text: "" if "chemical" in text else "no")
    assert frame["passed"].tolist() == [False, pd.NA]
    assert frame["detail"].tolist() == ["'no'; expected 'yes'", "an empty answer"]


def test_reported_model_and_fingerprint_are_kept():
    reply = {
        "choices": [{"message": {"content": "yes"}}],
        "model": "model-a-2026-02-01",
        "system_fingerprint": "fp_1",
    }
    frame = lm.run_probes([YES], lambda text: reply)
    row = frame.iloc[0]
    assert (row["model_id"], row["response_model"], row["system_fingerprint"]) == (
        "model-a-2026-02-01",
        "model-a-2026-02-01",
        "fp_1",
    )


@pytest.mark.parametrize("answer", EVIL)
def test_evil_answers_are_kept_as_they_came(answer):
    assert lm.run_probes([YES], lambda text: answer)["output"].tolist() == [answer]


def test_an_answer_that_is_no_text_is_null():
    frame = lm.run_probes([YES], lambda text: 5)
    assert frame["detail"].tolist() == ["TypeError: the client returned 5; expected a text, or an object with `text`"]


def test_no_probes_give_an_empty_table():
    frame = lm.run_probes([], lambda text: "x")
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 0


def test_unknown_checks_stop_the_run_before_the_first_call():
    asked = []
    probe = lm.ModelBehaviorProbe("p", "i", "e", "check_nothing_like_it")
    with pytest.raises(ConfigError) as error:
        lm.run_probes([probe], asked.append)
    assert str(error.value).startswith("probe 'p', check_fn: 'check_nothing_like_it'; expected a registered check")
    assert asked == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"client": 5}, "run_probes(client): 5; expected a function text -> text, or lm.Judge(...)"),
        ({"run_at": "2026-05-11"}, "run_probes(run_at): '2026-05-11' has no time zone; expected one, for example +00:00"),
        ({"run_at": "May"}, "run_probes(run_at): 'May'; expected a time in ISO 8601"),
        ({"timeout_s": 0}, "run_probes(timeout_s=0); expected a number above 0"),
    ],
)  # fmt: skip
def test_errors_are_whole_sentences(given, sentence):
    with pytest.raises(ConfigError) as error:
        lm.run_probes([YES], **{"client": str, **given})
    assert str(error.value) == sentence
