import asyncio
import itertools
import time

import pytest
from judging.frames import judge_at

from llm_monitoring.errors import ConfigError
from llm_monitoring.judging.answer import JudgeReply
from llm_monitoring.judging.asking import ask, judgement
from llm_monitoring.judging.client import Item, Judge, Permanent, RateLimited, Transient, as_judge, current_judge
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC

ITEM = Item("req-1", "search", "2 + 2?", "4")
GOOD = {"correctness": 4, "completeness": 4, "tone": 4}


def judged(judge):
    judge = as_judge(judge)
    judge.max_tries = 1
    return judgement(asyncio.run(ask(judge, ITEM)), judge)


async def by_protocol(messages, schema, timeout_s):
    assert schema["required"][0] == "reason"
    return JudgeReply('{"correctness": 4, "completeness": 4, "tone": 4}', "stop", 10, 5, "m", None)


@pytest.mark.parametrize(
    "function",
    [
        lambda prompt: GOOD if "2 + 2?" in prompt else None,
        lambda text: '{"correctness": 4, "completeness": 4, "tone": 4}',
        lambda messages: GOOD if messages[0]["role"] == "system" else None,
        lambda user_input, system_output: GOOD if (user_input, system_output) == ("2 + 2?", "4") else None,
        lambda user_input, system_output, feature_id="", extra=1: GOOD,
        lambda **given: GOOD if set(given) == {"messages", "schema", "timeout_s"} else None,
        by_protocol,
    ],
)
def test_functions_of_many_forms_judge(function):
    assert judged(function).quality_score == 4


def test_a_function_with_unknown_parameters_is_refused():
    with pytest.raises(ConfigError) as error:
        as_judge(lambda question, answer: GOOD)
    assert str(error.value) == (
        "judge function with parameters (question, answer); expected one, or any of prompt, messages, schema, "
        "timeout_s, request_id, feature_id, user_input, system_output"
    )


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (Transient("http_503", "down"), "http_503: down"),
        (Permanent("http_400"), "http_400"),
        (ConnectionResetError("gone"), "connection: 'gone'"),
        (KeyError("x"), "judge_error: KeyError: \"'x'\""),
        (StopIteration(), "judge_error: RuntimeError: 'StopIteration'"),
    ],
)
def test_whatever_a_function_raises_is_a_failed_judgement(raised, said):
    def judge(prompt):
        raise raised

    found = judged(judge)
    assert (found.quality_score, found.status, found.error) == (None, "failed", said)


def test_refusals_for_now_do_not_use_up_tries():
    calls = []

    def judge(prompt):
        calls.append(1)
        if len(calls) < 4:
            raise RateLimited(0.01)
        return GOOD

    assert judged(judge).quality_score == 4


def test_a_blocking_judge_does_not_block_the_loop():
    def judge(prompt):
        time.sleep(0.3)
        return GOOD

    async def both():
        ticks = 0
        task = asyncio.create_task(ask(as_judge(judge), ITEM))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(both()) > 5


def test_texts_that_are_missing_are_not_sent():
    judge = as_judge(lambda prompt: GOOD)
    found = judgement(asyncio.run(ask(judge, Item("r", "f", "question", ""))), judge)
    assert found.error == "no_text: no question or no answer in the log to be judged"


def test_parameters_that_a_model_refuses_by_name_are_left_out(server):
    server.configure(refuse_parameters=["max_tokens", "temperature"], keep_bodies=True)
    assert judged(judge_at(server)).quality_score == 4
    body = server.stats()["bodies"][-1]
    assert body["max_completion_tokens"] == 300
    assert not {"max_tokens", "temperature"} & set(body)


EVERY_OPTION = ["max_tokens", "max_completion_tokens", "temperature", "json_schema", "json_object"]
ORDERS = [list(order) for n in (1, 2) for order in itertools.permutations(EVERY_OPTION, n)]
ORDERS += [EVERY_OPTION, EVERY_OPTION[::-1], ["response_format", "temperature", "max_tokens"]]


@pytest.mark.parametrize("refused", ORDERS, ids="-".join)
def test_no_worker_fails_because_another_learned_first_what_a_server_refuses(server, refused):
    server.configure(refuse_parameters=refused, latency=0.02, keep_bodies=True)
    judge = judge_at(server, max_tries=1)

    async def ask_all():
        return await asyncio.gather(*(ask(judge, ITEM) for _ in range(12)))

    assert [found.answer.scores for found in asyncio.run(ask_all())] == [GOOD] * 12
    asyncio.run(ask_all())
    last = server.stats()["bodies"][-12:]  # whoever comes later asks at once what is understood
    forms = {body.get("response_format", {}).get("type") for body in last}
    assert not any(name in body for body in last for name in refused)
    assert not forms & set(refused)


def test_a_refusal_that_names_the_option_in_its_words_only_is_understood(server):
    server.configure(refuse_parameters=["temperature", "max_tokens"], refusal_status=422)
    assert judged(judge_at(server)).quality_score == 4


def test_a_request_that_is_wrong_in_itself_is_sent_once(server):
    server.configure(mode="400")
    found = judged(judge_at(server))
    assert found.error.startswith("http_400: ")
    assert "status 400" in found.error
    assert server.stats()["calls"] == 1


def test_the_judges_own_settings_stay_as_they_were(server):
    server.configure(refuse_parameters=["temperature"])
    judge = judge_at(server)
    judged(judge)
    assert judge.temperature == 0.0


def test_the_environment_names_the_judge(monkeypatch, server):
    for name in ("LLM_MONITORING_JUDGE_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as error:
        current_judge()
    assert str(error.value) == (
        "no judge: call set_judge(...), or set LLM_MONITORING_JUDGE_MODEL (and OPENAI_BASE_URL, OPENAI_API_KEY)"
    )
    monkeypatch.setenv("LLM_MONITORING_JUDGE_MODEL", "fake")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert judged(current_judge()).quality_score == 4


def test_a_judge_without_a_key_says_so(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError) as error:
        judged(Judge("m", base_url="http://127.0.0.1:9/v1"))
    assert (
        str(error.value)
        == "Judge: no API key; set OPENAI_API_KEY, or Judge(api_key=...); a local server takes any text"
    )


def test_the_key_is_not_shown():
    assert "secret" not in repr(Judge("m", api_key="secret"))


def test_a_judge_of_ones_own_that_returns_no_reply_is_a_failed_judgement():
    class Odd:
        model, rubric, timeout_s, max_tries, max_output_tokens = "odd", DEFAULT_RUBRIC, 5, 3, 300

        def cost_usd(self, input_tokens, output_tokens):
            return None

        async def __call__(self, messages, schema, timeout_s):
            return {"correctness": 5, "completeness": 5, "tone": 5}

    found = judged(Odd())
    assert found.quality_score is None
    assert found.error.startswith("judge_error: Odd returned {'correctness': 5")


def test_a_key_that_no_header_can_carry_is_told():
    judge = Judge("m", base_url="http://127.0.0.1:9/v1", api_key="secret\n")
    with pytest.raises(ConfigError) as error:
        asyncio.run(ask(judge, ITEM))
    assert str(error.value) == (
        "Judge: the API key holds a line break or a character that is not ASCII; expected one word"
    )


def test_a_rubrics_name_in_its_place_is_told():
    with pytest.raises(ConfigError) as error:
        Judge("m", rubric="support.yaml")
    assert str(error.value) == "Judge(rubric='support.yaml'); expected a Rubric: Rubric.from_yaml(...) reads one"


def test_calls_at_a_time_have_a_client_each_and_leave_it_for_the_next(server):
    server.configure(latency=0.05)
    judge = judge_at(server)

    async def ask_all():
        for _ in range(2):
            await asyncio.gather(*(ask(judge, ITEM) for _ in range(6)))
        return len(await judge._free_clients()) - 1

    assert asyncio.run(ask_all()) == 6
