"""Notice that the quality of an LLM feature fell, and say what broke, for whom, since when and because of what.

>>> import llm_monitoring as lm
>>> log = lm.open_log("sample_data")          # doctest: +SKIP
>>> lm.check(log)                             # doctest: +SKIP

Names load on first use; the table below says where each lives.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "ConfigError": "errors",
    "LogError": "errors",
    "QualityJudgement": "records",
    "RequestMetrics": "records",
    "UserSignal": "records",
    "Recorder": "recorder",
    "compact": "recorder",
    "Log": "log",
    "open_log": "log",
    "Measure": "measures",
    "quality_metrics": "metrics",
    "window_metrics": "metrics",
    "derive_signals": "signals",
    "satisfaction_metrics": "signals",
    "session_metrics": "signals",
    "sample": "sampling",
    "should_sample": "sampling",
    "DEFAULT_RUBRIC": "judging.rubric",
    "Rubric": "judging.rubric",
    "Judge": "judging.client",
    "set_judge": "judging.client",
    "judge_sample": "judging.batch",
    "BackgroundJudge": "judging.background",
    "steering": "judging.canaries",
    "ProviderJudge": "judging.any_provider",
    "plan_sampling": "charts.planning",
    "agreement": "raters.agreeing",
    "bridge": "raters.bridging",
    "corrected_mean": "raters.correcting",
    "splice": "raters.bridging",
    "CUSUMChart": "charts.textbook.cusum",
    "ControlChart": "charts.predictive",
    "ChartPortfolio": "charts.portfolio",
    "EDetector": "charts.textbook.e_detector",
    "EWMAChart": "charts.textbook.ewma",
    "XmRChart": "charts.textbook.xmr",
    "check_baseline": "charts.phase_one",
    "cusum_arl": "charts.run_length",
    "cusum_limit": "charts.run_length",
    "ewma_arl": "charts.run_length",
    "ewma_limit": "charts.run_length",
    "DriftMonitor": "drift.monitor",
    "DriftTest": "drift.drift_test",
    "CANARY_PROBES": "probes.suite",
    "ModelBehaviorProbe": "probes.probe",
    "compare_probes": "probes.comparison",
    "compare_versions": "probes.promotion",
    "probe_check": "probes.checks",
    "load_probes": "probes.suite",
    "run_probes": "probes.running",
    "shipped_probes": "probes.suite",
    "unpinned_models": "probes.pins",
    "check": "alerts.checking",
    "control_charts": "alerts.charting",
    "Injection": "backtesting.injection",
    "backtest": "backtesting.run",
    "default_injections": "backtesting.injection",
    "review": "reviewing.widget",
    "explore": "exploring.explorer",
    "show": "results",
    "open_case": "reporting.case",
    "report": "reporting.run",
    "watch": "watching.rounds",
    "QualityControlChart": "online",
    "compute_user_satisfaction_metrics": "online",
    "compute_window_metrics": "online",
    "cosine_similarity": "online",
    "embed": "drift.embedding",
    "emit_quality_alert": "online",
    "judge_production_sample": "online",
    "should_sample_for_quality_check": "online",
    "track_input_distribution": "online",
    "track_quality_metric": "online",
}
_MODULES = ("importers", "incident")

__all__ = [*_HOME, *_MODULES, "__version__"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
