"""Judges at any provider (Anthropic, Gemini, Bedrock, ...) through pydantic-ai-slim, the extra `[judge-any]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llm_monitoring.errors import quote
from llm_monitoring.judging.answer import JudgeReply
from llm_monitoring.judging.client import Fatal, JudgeError, Permanent, RateLimited, Transient
from llm_monitoring.judging.pace import retry_after
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric


@dataclass(eq=False)
class ProviderJudge:
    """A model that pydantic-ai can reach, named ``provider:model``.

    Costs three to four times the processor time per call of `Judge`; use that for OpenAI-compatible servers.

    Parameters
    ----------
    model : str
        Such as ``"anthropic:claude-haiku-4-5"`` or ``"google-gla:gemini-2.5-flash"``; keys come from the environment
        variables of the provider.
    client : pydantic_ai model, optional
        One that is set up already; then `model` is only its name in the judgements.
    rubric, timeout_s, max_tries, max_output_tokens, usd_per_m_input, usd_per_m_output, temperature
        As in `Judge`.

    Examples
    --------
    >>> ProviderJudge("anthropic:claude-haiku-4-5", usd_per_m_input=1.0, usd_per_m_output=5.0).cost_usd(1_000, 100)
    0.0015
    """

    model: str
    client: Any = field(default=None, repr=False)
    rubric: Rubric = DEFAULT_RUBRIC
    timeout_s: float = 60
    max_tries: int = 3
    max_output_tokens: int = 300
    usd_per_m_input: float | None = None
    usd_per_m_output: float | None = None
    temperature: float | None = 0.0

    def cost_usd(self, input_tokens: float | None, output_tokens: float | None) -> float | None:
        """USD for so many tokens; None where a price or a count is unknown."""
        if None in (self.usd_per_m_input, self.usd_per_m_output, input_tokens, output_tokens):
            return None
        return (input_tokens * self.usd_per_m_input + output_tokens * self.usd_per_m_output) / 1e6  # type: ignore[operator]

    async def __call__(self, messages: list[dict[str, Any]], schema: dict[str, Any], timeout_s: float) -> JudgeReply:
        """Ask once; raise RateLimited, Transient, Permanent or Fatal where no reply came."""
        try:
            from pydantic_ai import direct, exceptions
            from pydantic_ai.messages import ModelRequest, SystemPromptPart, UserPromptPart
            from pydantic_ai.models import ModelRequestParameters
            from pydantic_ai.output import OutputObjectDefinition
        except ImportError:
            raise ImportError(
                'ProviderJudge needs pydantic-ai: pip install "llm-monitoring[judge-any]" and the provider\'s own package, '
                'such as pip install "pydantic-ai-slim[anthropic]"'
            ) from None
        parts = {"system": SystemPromptPart, "user": UserPromptPart}
        settings: Any = {"max_tokens": self.max_output_tokens, "timeout": timeout_s}
        if self.temperature is not None:
            settings["temperature"] = self.temperature
        try:
            response = await direct.model_request(
                self.client or self.model,
                [ModelRequest(parts=[parts[message["role"]](message["content"]) for message in messages])],
                model_settings=settings,
                model_request_parameters=ModelRequestParameters(
                    output_mode="native",
                    output_object=OutputObjectDefinition(json_schema=schema, name="judgement", strict=True),
                ),
            )
        except exceptions.ModelHTTPError as error:
            raise _by_status(error) from None
        except exceptions.ModelAPIError as error:
            raise Transient("connection", _said(error)) from None
        except exceptions.UserError as error:
            raise Fatal("judge_error", _said(error)) from None
        except exceptions.UnexpectedModelBehavior as error:
            raise Transient("bad_response", _said(error)) from None
        texts = [part.content for part in response.parts if part.part_kind == "text"]
        return JudgeReply(
            text="".join(texts) or None,
            finish_reason=response.finish_reason or "stop",
            input_tokens=response.usage.input_tokens or None,
            output_tokens=response.usage.output_tokens or None,
            model=response.model_name,
        )


def _by_status(error: Any) -> JudgeError:
    status = error.status_code
    if status == 429:
        headers = getattr(getattr(error.__cause__, "response", None), "headers", {})
        return RateLimited(retry_after(headers), _said(error))
    if status in (401, 403, 404):
        return Fatal(f"http_{status}", _said(error))
    if status in (408, 409, 425) or status >= 500:
        return Transient(f"http_{status}", _said(error))
    return Permanent(f"http_{status}", _said(error))


def _said(error: Exception) -> str:
    return quote(str(error), 200)
