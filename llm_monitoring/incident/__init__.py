"""Incident response in five stages: triage, scope, isolate, respond, learn. Each is one function and one result."""

from llm_monitoring.alerts.alert import Alert, read_alert
from llm_monitoring.incident.isolate import IsolateResult, isolate
from llm_monitoring.incident.learn import LearnResult, learn
from llm_monitoring.incident.probes import probes_since
from llm_monitoring.incident.respond import RespondResult, respond
from llm_monitoring.incident.scope import ScopeResult, scope
from llm_monitoring.incident.triage import TriageResult, triage

__all__ = [
    "Alert",
    "IsolateResult",
    "LearnResult",
    "RespondResult",
    "ScopeResult",
    "TriageResult",
    "isolate",
    "learn",
    "probes_since",
    "read_alert",
    "respond",
    "scope",
    "triage",
]
