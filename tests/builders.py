"""Small tables with sound defaults, so that a test shows only the data that it is about.

Every builder takes the number of rows and columns by name: a plain value stands for every row, a list for row by row
(repeated from the start where it is shorter). ``None`` as a value means unknown; ``drop=[...]`` leaves columns out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd

START = pd.Timestamp("2026-05-11", tz="UTC")  # a Monday


def make_requests(n: int = 1, *, start=START, every: str = "1min", drop: Sequence[str] = (), **columns) -> pd.DataFrame:
    """Requests ``req-0000`` ..., one `every` minute from `start`, all well."""
    defaults = {
        "request_id": [f"req-{i:04d}" for i in range(n)],
        "timestamp": times(n, start, every),
        "session_id": [f"ses-{i:04d}" for i in range(n)],
        "feature_id": "search",
        "category": "general",
        "model_id": "model-a-2026-01-01",
        "prompt_version": "v1",
        "latency_ms": 800.0,
        "input_tokens": 100,
        "output_tokens": 50,
        "cost_usd": 0.002,
        "finish_reason": "end_turn",
        "error": None,
        "user_input": [f"question {i}" for i in range(n)],
        "system_output": [f"answer {i}" for i in range(n)],
    }
    return _frame(n, defaults, columns, drop)


def make_signals(n: int = 1, *, start=START, every: str = "1min", drop: Sequence[str] = (), **columns) -> pd.DataFrame:
    """Signals on ``req-0000`` ..., thumbs up."""
    defaults = {
        "request_id": [f"req-{i:04d}" for i in range(n)],
        "session_id": [f"ses-{i:04d}" for i in range(n)],
        "signal_type": "thumbs_up",
        "timestamp": times(n, start, every),
        "metadata": {},
    }
    return _frame(n, defaults, columns, drop)


def make_judgements(
    n: int = 1, *, start=START, every: str = "1min", drop: Sequence[str] = (), **columns
) -> pd.DataFrame:
    """Judgements of ``req-0000`` ..., score 4; flagged where the score is 2 or less."""
    scores = _column(columns.get("quality_score", 4.0), n)
    flagged = [score is not None and score <= 2 for score in scores]
    defaults = {
        "request_id": [f"req-{i:04d}" for i in range(n)],
        "feature_id": "search",
        "quality_score": scores,
        "dimensions": [{} if score is None else {"correctness": score, "tone": 4} for score in scores],
        "flagged": flagged,
        "flag_reason": ["Low quality score" if flag else None for flag in _column(columns.get("flagged", flagged), n)],
        "judged_at": times(n, start, every),
        "judge_model": "judge-1",
        "rubric_version": "1",
        "status": ["failed" if score is None else "ok" for score in scores],
    }
    return _frame(n, defaults, columns, drop)


def make_changes(n: int = 1, *, start=START, every: str = "1D", drop: Sequence[str] = (), **columns) -> pd.DataFrame:
    """Deployments ``chg-0000`` ..., one a day, for every feature."""
    defaults = {
        "change_id": [f"chg-{i:04d}" for i in range(n)],
        "timestamp": times(n, start, every),
        "kind": "deployment",
        "description": [f"release {i}" for i in range(n)],
        "feature_id": None,
    }
    return _frame(n, defaults, columns, drop)


def make_probe_results(
    n: int = 1, *, start=START, every: str = "7D", drop: Sequence[str] = (), **columns
) -> pd.DataFrame:
    """Results of one probe, one a week, passed."""
    defaults = {
        "probe_id": "format-json-001",
        "run_at": times(n, start, every),
        "model_id": "model-a-2026-01-01",
        "input": "Return a JSON object with keys 'name' and 'age'.",
        "output": '{"name": "Ada", "age": 36}',
        "passed": True,
        "detail": None,
        "latency_ms": 500.0,
    }
    return _frame(n, defaults, columns, drop)


def make_reviews(n: int = 1, *, start=START, every: str = "1min", drop: Sequence[str] = (), **columns) -> pd.DataFrame:
    """Reviews of ``req-0000`` ..., verdict real."""
    defaults = {
        "request_id": [f"req-{i:04d}" for i in range(n)],
        "verdict": "real",
        "reviewer": "ada",
        "reviewed_at": times(n, start, every),
        "note": None,
    }
    return _frame(n, defaults, columns, drop)


def make_log(n: int = 200, **tables: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A quiet log of two features, every request judged, as a dict of frames; `tables` replace its own."""
    requests = make_requests(n, every="1h", feature_id=["search", "summary"])
    later, features = START + pd.Timedelta("5min"), ["search", "summary"]
    judgements = make_judgements(n, start=later, every="1h", feature_id=features, quality_score=[4, 5, 3, 4, 4])
    return {"requests": requests, "judgements": judgements, **tables}


def open_tables(**tables: pd.DataFrame):
    """A log of these tables."""
    from llm_monitoring import open_log

    return open_log(tables)


def times(n: int, start=START, every: str = "1min") -> pd.DatetimeIndex:
    """`n` times in UTC, `every` so often from `start`."""
    return pd.date_range(pd.Timestamp(start), periods=n, freq=every).as_unit("us")


def _column(value, n: int) -> list:
    if isinstance(value, str | dict) or not hasattr(value, "__len__"):
        return [value] * n
    return list(itertools.islice(itertools.cycle(value), n)) if n else []


def _frame(n: int, defaults: dict, columns: dict, drop: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({name: _column(value, n) for name, value in {**defaults, **columns}.items()})
    for name in ("timestamp", "judged_at", "run_at", "reviewed_at"):
        if name in frame and not n:
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.drop(columns=list(drop))
