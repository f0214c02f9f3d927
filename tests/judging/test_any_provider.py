import asyncio

import pytest
from fake_judge_server import BAD_CONTENT

from llm_monitoring.judging.any_provider import ProviderJudge
from llm_monitoring.judging.asking import ask, judgement
from llm_monitoring.judging.client import Item, as_judge

pytest.importorskip("pydantic_ai", reason="pydantic-ai-slim is in the dev group")


def judged(server, mark):
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def one():
        async with AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
            model = OpenAIChatModel("fake", provider=OpenAIProvider(openai_client=client))
            judge = as_judge(ProviderJudge("openai:fake", client=model, timeout_s=1, max_tries=1))
            return judgement(await ask(judge, Item("req-1", "search", f"question {mark}", "answer")), judge)

    return asyncio.run(one())


def test_a_good_answer_is_scored(server):
    assert judged(server, "score=3").dimensions == {"correctness": 3, "completeness": 3, "tone": 3}


@pytest.mark.parametrize(
    "mode", [*BAD_CONTENT, "length", "content_filter", "refusal", "hang", "page", "400", "401", "429", "500"]
)
def test_a_bad_answer_is_a_failure_with_a_reason(server, mode):
    found = judged(server, f"[[{mode}]]")
    assert (found.quality_score, found.status) == (None, "failed")
    assert found.error
