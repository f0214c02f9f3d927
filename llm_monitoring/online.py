"""The record-level names of the original design, for use inside a serving process: records in, dicts out.

Each is a few lines over the same rules as the DataFrame functions; where a rule of the original was weak, the function
keeps its name, its call and its keys, and its docstring says what differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llm_monitoring.drift.centroids import cosine_similarity, track_input_distribution
from llm_monitoring.drift.embedding import embed
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.judging.asking import ask, judgement
from llm_monitoring.judging.client import Item, current_judge
from llm_monitoring.measures import failed
from llm_monitoring.probes.probe import ModelBehaviorProbe
from llm_monitoring.probes.suite import CANARY_PROBES
from llm_monitoring.records import QualityJudgement, RequestMetrics, UserSignal
from llm_monitoring.sampling import should_sample

__all__ = [
    "CANARY_PROBES",
    "ModelBehaviorProbe",
    "QualityControlChart",
    "QualityJudgement",
    "RequestMetrics",
    "UserSignal",
    "compute_user_satisfaction_metrics",
    "compute_window_metrics",
    "cosine_similarity",
    "embed",
    "emit_quality_alert",
    "judge_production_sample",
    "on_quality_alert",
    "quality_charts",
    "should_sample_for_quality_check",
    "track_input_distribution",
    "track_quality_metric",
]


def compute_window_metrics(records: Sequence[RequestMetrics], window_label: str) -> dict[str, Any]:
    """Error, refusal, latency, cost and token figures of one window.

    What differs from the original: percentiles by linear interpolation, as everywhere here; a request that only its
    finish reason calls an error is one; a request that is recorded twice counts once; unknown numbers (None) are left out and, where all are unknown, the figure is None.

    Parameters
    ----------
    records : sequence of RequestMetrics
    window_label : str
        Comes back as ``window``.

    Returns
    -------
    dict
        ``window``, ``request_count``, ``error_rate``, ``refusal_rate`` (4 places), ``latency_p50_ms``,
        ``latency_p95_ms``, ``latency_p99_ms``, ``total_cost_usd`` (4), ``avg_cost_per_request_usd`` (6),
        ``avg_input_tokens``, ``avg_output_tokens`` (1); without records ``window`` and ``count`` 0.

    Examples
    --------
    >>> records = [
    ...     RequestMetrics(f"req-{i}", 0.0, "search", "model-a", ms, 100, 20, 0.001, "end_turn", None)
    ...     for i, ms in enumerate([100.0, 200.0, 400.0])
    ... ]
    >>> compute_window_metrics(records, "09:00")["latency_p95_ms"]
    380.0
    >>> compute_window_metrics([], "09:00")
    {'window': '09:00', 'count': 0}
    """
    records = list({record.request_id: record for record in reversed(records)}.values())
    if not records:
        return {"window": window_label, "count": 0}
    n = len(records)
    latency, cost, tokens_in, tokens_out = (
        _known(getattr(record, name) for record in records)
        for name in ("latency_ms", "cost_usd", "input_tokens", "output_tokens")
    )
    p50, p95, p99 = np.quantile(latency, [0.5, 0.95, 0.99]).tolist() if len(latency) else (None, None, None)
    return {
        "window": window_label,
        "request_count": n,
        "error_rate": round(sum(failed(record.error, record.finish_reason) for record in records) / n, 4),
        "refusal_rate": round(sum(record.finish_reason == "refusal" for record in records) / n, 4),
        "latency_p50_ms": p50,
        "latency_p95_ms": p95,
        "latency_p99_ms": p99,
        "total_cost_usd": round(math.fsum(cost), 4) if len(cost) else None,
        "avg_cost_per_request_usd": _mean(cost, 6),
        "avg_input_tokens": _mean(tokens_in, 1),
        "avg_output_tokens": _mean(tokens_out, 1),
    }


def compute_user_satisfaction_metrics(
    signals: Sequence[UserSignal], requests: Sequence[RequestMetrics]
) -> dict[str, Any]:
    """Rates of what users did, per distinct request.

    What differs from the original: a request counts once however often a signal on it was recorded (of two thumbs the
    later one counts), so that no rate passes 1; without requests every figure is None; and many abandoned requests
    raise ``survivorship_bias_risk`` also where nobody pressed a thumb, the case that hides most.

    Parameters
    ----------
    signals : sequence of UserSignal
        Signals on other requests are left out.
    requests : sequence of RequestMetrics

    Returns
    -------
    dict
        ``explicit_positive_rate`` (None without thumbs), ``explicit_feedback_coverage``, ``correction_rate``,
        ``follow_up_rate``, ``abandonment_rate``, ``survivorship_bias_risk``: abandonment above 0.3, and thumbs
        either absent or more than 0.8 positive.

    Examples
    --------
    >>> requests = [RequestMetrics(f"req-{i}", 0.0, "s", "m", 1.0, 1, 1, 0.0, "end_turn", None) for i in range(5)]
    >>> signals = [UserSignal(f"req-{i}", "ses", "abandoned", 1.0, {}) for i in (0, 1, 1)]
    >>> compute_user_satisfaction_metrics(signals, requests)["abandonment_rate"]
    0.4
    """
    ids = {request.request_id for request in requests}
    relevant = sorted((s for s in signals if s.request_id in ids), key=lambda signal: signal.timestamp)
    thumbs = {s.request_id: s.signal_type for s in relevant if s.signal_type in ("thumbs_up", "thumbs_down")}
    positive = sum(thumb == "thumbs_up" for thumb in thumbs.values())
    rates = {
        signal_type: _share(len({s.request_id for s in relevant if s.signal_type == signal_type}), len(ids))
        for signal_type in ("correction", "follow_up", "abandoned")
    }
    positive_rate, abandonment = _share(positive, len(thumbs)), rates["abandoned"]
    hidden = positive_rate is None or positive_rate > 0.8
    return {
        "explicit_positive_rate": positive_rate,
        "explicit_feedback_coverage": _share(len(thumbs), len(ids)),
        "correction_rate": rates["correction"],
        "follow_up_rate": rates["follow_up"],
        "abandonment_rate": abandonment,
        "survivorship_bias_risk": None if abandonment is None else abandonment > 0.3 and hidden,
    }


def should_sample_for_quality_check(request_id: str, sample_rate: float = 0.05) -> bool:
    """Whether this request is judged; the same request always gets the same decision.

    Samples are nested: what is in the sample of a low rate is in that of every higher one. The same rule as
    `should_sample`, and as the original's.

    Parameters
    ----------
    request_id : str
    sample_rate : float
        0 to 1.

    Examples
    --------
    >>> sum(should_sample_for_quality_check(f"req-{i}", 0.05) for i in range(10_000))
    503
    """
    return should_sample(request_id, sample_rate)


async def judge_production_sample(
    request_id: str, feature_id: str, user_input: str, system_output: str
) -> QualityJudgement:
    """Let the judge rate one answer, without blocking the event loop.

    The judge is the one of `set_judge`, else the server of OPENAI_BASE_URL, OPENAI_API_KEY and
    LLM_MONITORING_JUDGE_MODEL. What differs from the original: one question for all dimensions, with the logged texts
    fenced off; an answer that is unreadable, refused, cut off or out of range, and a judge that fails, give a
    judgement with ``status`` failed, ``quality_score`` None and the reason in ``error``, never a 3.

    Parameters
    ----------
    request_id, feature_id : str
    user_input, system_output : str
        The logged texts.

    Returns
    -------
    QualityJudgement

    Raises
    ------
    ConfigError
        Where no judge is set and the environment names none.

    Examples
    --------
    >>> import asyncio
    >>> from llm_monitoring import set_judge
    >>> set_judge(lambda user_input, system_output: {"correctness": 2, "completeness": 4, "tone": 5})
    >>> found = asyncio.run(judge_production_sample("req-1", "search", "Opening hours?", "We never close."))
    >>> found.quality_score, found.flagged, found.flag_reason
    (4, True, 'correctness 2 <= 2')
    >>> set_judge(None)
    """
    judge = current_judge()
    return judgement(await ask(judge, Item(request_id, feature_id, user_input, system_output)), judge)


class QualityControlChart:
    """EWMA chart of one quality metric against a baseline that its warm-up fixed.

    What differs from the original: there the new value moved the average and the deviation before it was held
    against them, and an alarm asked for ``1 - alpha > k**2 * alpha``, which at alpha = 0.1, k = 3 no value of any size
    fulfils; and the average followed a slow fall, so that nothing was left to deviate from. Here centre and sd come
    from the warm-up and stay; the EWMA starts at the centre, and it is the EWMA that is held against the limit
    ``k sd sqrt(alpha / (2 - alpha))`` (Roberts 1959). The warm-up lasts until two different values have come.

    For measured windows with a stated false-alarm probability use `ControlChart`; a chart of single scores with
    k = 3 and a warm-up of 30 gives a false alarm now and then.

    Parameters
    ----------
    alpha : float
        Weight of the newest value, above 0, at most 1.
    k : float
        Limit in standard deviations of the EWMA.
    warmup_n : int
        Values that make the baseline, at least 2.

    Examples
    --------
    >>> chart = QualityControlChart(alpha=0.1, k=3.0, warmup_n=30)
    >>> alerts = [chart.update(value)["alert"] for value in [4, 5, 4, 3, 4] * 6 + [2] * 10]
    >>> alerts.index(True) - 30
    2
    """

    def __init__(self, alpha: float = 0.1, k: float = 3.0, warmup_n: int = 30):
        if not 0 < alpha <= 1:
            raise ConfigError(f"QualityControlChart(alpha={quote(alpha)}); expected a number above 0, at most 1")
        if not k > 0:
            raise ConfigError(f"QualityControlChart(k={quote(k)}); expected a number above 0")
        if not warmup_n >= 2:
            raise ConfigError(f"QualityControlChart(warmup_n={quote(warmup_n)}); expected a whole number >= 2")
        self.alpha, self.k, self.warmup_n = alpha, k, warmup_n
        self.n = 0
        self.ewma: float | None = None
        self.center: float | None = None
        self.sd: float | None = None
        self._mean = self._squares = 0.0

    def __repr__(self) -> str:
        asked = f"QualityControlChart(alpha={self.alpha:g}, k={self.k:g}, warmup_n={self.warmup_n})"
        if self.center is None or self.ewma is None:
            return f"{asked}: warming up, {self.n} of {self.warmup_n} values"
        reach = self.k * self._ewma_sd
        outside = abs(self.ewma - self.center) > reach
        limits = f"limits {self.center - reach:.3g} to {self.center + reach:.3g}"
        return f"{asked}: {'alarm' if outside else 'no alarm'}, ewma {self.ewma:.3g} after {self.n} values, {limits}"

    def update(self, value: float | None) -> dict[str, Any]:
        """Take one value; None and NaN (a failed judgement) change nothing.

        Returns
        -------
        dict
            ``alert``, ``value``, ``ewma``, ``ewmstd`` (sd of the EWMA), ``deviation`` (of the EWMA from the baseline),
            ``alert_threshold`` (infinite during the warm-up), ``n``; the first value's dict has ``alert``, ``n``,
            ``ewma``.
        """
        if value is None or not math.isfinite(value):
            return self._state(value, alert=False)
        self.n += 1
        if self.center is None:
            return self._warm_up(float(value))
        assert self.ewma is not None
        self.ewma = self.alpha * float(value) + (1 - self.alpha) * self.ewma
        return self._state(value, alert=abs(self.ewma - self.center) > self.k * self._ewma_sd)

    def _warm_up(self, value: float) -> dict[str, Any]:
        step = value - self._mean
        self._mean += step / self.n
        self._squares += step * (value - self._mean)
        self.ewma = self._mean
        if self.n >= self.warmup_n and self._squares > 0:
            self.center, self.sd = self._mean, math.sqrt(self._squares / (self.n - 1))
        return {"alert": False, "n": 1, "ewma": value} if self.n == 1 else self._state(value, alert=False)

    @property
    def _ewma_sd(self) -> float:
        return 0.0 if self.sd is None else self.sd * math.sqrt(self.alpha / (2 - self.alpha))

    def _state(self, value: float | None, alert: bool) -> dict[str, Any]:
        deviation = 0.0 if self.center is None or self.ewma is None else abs(self.ewma - self.center)
        return {
            "alert": alert,
            "value": value,
            "ewma": None if self.ewma is None else round(self.ewma, 4),
            "ewmstd": round(self._ewma_sd, 4),
            "deviation": round(deviation, 4),
            "alert_threshold": math.inf if self.center is None else round(self.k * self._ewma_sd, 4),
            "n": self.n,
        }


#: One chart per feature, as `track_quality_metric` made them.
quality_charts: dict[str, QualityControlChart] = {}


def track_quality_metric(feature_id: str, quality_score: float | None) -> None:
    """Feed a feature's chart one score, and call `emit_quality_alert` where it alarms; None (failed) is left out.

    Parameters
    ----------
    feature_id : str
    quality_score : float or None
        1 to 5.

    Examples
    --------
    >>> track_quality_metric("doc-search", 4)
    >>> quality_charts.pop("doc-search.quality").n
    1
    """
    chart = quality_charts.setdefault(f"{feature_id}.quality", QualityControlChart())
    result = chart.update(quality_score)
    if result["alert"]:
        emit_quality_alert(feature_id, result)


def emit_quality_alert(feature_id: str, chart_result: dict[str, Any]) -> None:
    """Hand an alarm to the hook of `on_quality_alert`, or print it.

    What differs from the original: the sentence says what deviates (the average, not the last score).

    Parameters
    ----------
    feature_id : str
    chart_result : dict
        What `QualityControlChart.update` gave.

    Examples
    --------
    >>> result = {"value": 2, "ewma": 3.41, "deviation": 0.59, "alert_threshold": 0.5, "n": 34}
    >>> emit_quality_alert("search", result)
    [QUALITY ALERT] search: EWMA 3.41 deviates 0.59 from its baseline (threshold: 0.50; last score 2.00)
    """
    _hook["alert"](feature_id, chart_result)


def on_quality_alert(hook: Callable[[str, dict[str, Any]], None] | None) -> None:
    """Set what `emit_quality_alert` calls with the feature and the chart's dict; None goes back to printing.

    >>> told = []
    >>> on_quality_alert(lambda feature_id, chart_result: told.append(feature_id))
    >>> emit_quality_alert("search", {})
    >>> on_quality_alert(None)
    >>> told
    ['search']
    """
    _hook["alert"] = hook or _print_alert


def _print_alert(feature_id: str, chart_result: dict[str, Any]) -> None:
    print(
        f"[QUALITY ALERT] {feature_id}: EWMA {chart_result['ewma']:.2f} deviates {chart_result['deviation']:.2f} "
        f"from its baseline (threshold: {chart_result['alert_threshold']:.2f}; last score {chart_result['value']:.2f})"
    )


_hook: dict[str, Callable[[str, dict[str, Any]], None]] = {"alert": _print_alert}


def _known(values: Any) -> np.ndarray:
    return np.array([value for value in values if value is not None and math.isfinite(value)], float)


def _mean(values: np.ndarray, places: int) -> float | None:
    return round(math.fsum(values) / len(values), places) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
