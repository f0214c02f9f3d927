"""One request, one signal, one judgement: plain records for code inside a serving process. Tables live in `schema`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RequestMetrics:
    """One finished request of an LLM feature.

    Parameters
    ----------
    request_id : str
    timestamp : float
        Seconds since 1970, UTC.
    feature_id, model_id : str
    latency_ms : float or None
        None where unknown, never 0.
    input_tokens, output_tokens : int or None
    cost_usd : float or None
        None for a model without a price.
    finish_reason : {"end_turn", "max_tokens", "error", "refusal"}
    error : str or None
        What went wrong; None where nothing did.

    Examples
    --------
    >>> RequestMetrics("req-1", 1778493600.0, "search", "model-a", 812.0, 410, 95, 0.0021, "end_turn").error is None
    True
    """

    request_id: str
    timestamp: float
    feature_id: str
    model_id: str
    latency_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    finish_reason: str
    error: str | None = None


@dataclass
class UserSignal:
    """What a user did with an answer.

    Parameters
    ----------
    request_id, session_id : str
    signal_type : str
        thumbs_up, thumbs_down, correction, follow_up, retry or abandoned.
    timestamp : float
        Seconds since 1970, UTC.
    metadata : dict
        Whatever belongs to the signal.

    Examples
    --------
    >>> UserSignal("req-1", "ses-1", "thumbs_up", 1778493640.0).metadata
    {}
    """

    request_id: str
    session_id: str
    signal_type: str
    timestamp: float
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class QualityJudgement:
    """A judge's opinion of one answer, or the record that there is none.

    Parameters
    ----------
    request_id, feature_id : str
    quality_score : float or None
        On the rubric's scale, 1 to 5 unless it says otherwise; None where the judge failed, or gives pass / fail only.
        A failed judgement is missing, never a middling score.
    dimensions : dict
        Dimension -> score on the same scale; empty where the judge failed.
    flagged : bool
        Whether the rubric's flag rule holds; never for a failed judgement.
    flag_reason : str or None
    judged_at : str
        ISO 8601, UTC.
    status : {"ok", "failed"}
    error : str or None
        The kind of failure and a sentence about it.

    Examples
    --------
    >>> failed = QualityJudgement("req-1", "search", None, {}, False, None, "2026-05-11T10:00:00Z", "failed", "timeout")
    >>> failed.quality_score is None
    True
    """

    request_id: str
    feature_id: str
    quality_score: float | None
    dimensions: dict[str, float]
    flagged: bool
    flag_reason: str | None
    judged_at: str
    status: str = "ok"
    error: str | None = None
