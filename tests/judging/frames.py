"""Requests for a judge: texts that carry an id the fake server counts, and where wished a failure mode."""

import pandas as pd
from fake_judge_server import FakeJudgeServer

from llm_monitoring.judging.client import Judge


def questions(n, marks="", start=0):
    """`n` requests; `marks` (a text, or one per row) goes into the question, such as ``[[prose]]``."""
    marks = [marks] * n if isinstance(marks, str) else marks
    return pd.DataFrame(
        {
            "request_id": [f"req-{start + i:04d}" for i in range(n)],
            "timestamp": pd.date_range("2026-05-11", periods=n, freq="min", tz="UTC").as_unit("us"),
            "feature_id": "search",
            "model_id": "model-a",
            "user_input": [f"item-{start + i:04d} {mark}" for i, mark in enumerate(marks)],
            "system_output": "an answer",
        }
    )


def judge_at(server: FakeJudgeServer, **settings) -> Judge:
    """A judge with prices at the fake server."""
    defaults = {"timeout_s": 5, "usd_per_m_input": 1.0, "usd_per_m_output": 4.0}
    return Judge("fake", base_url=server.base_url, api_key="none", **{**defaults, **settings})
