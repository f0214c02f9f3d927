"""Other tools' logs as a log of ours: a function per format, source -> (`Log`, `ImportReport`).

>>> from llm_monitoring import importers
>>> sorted(importers.FORMATS)
['anthropic_batch', 'langfuse', 'langsmith', 'litellm', 'openai_batch', 'openinference', 'otel', 'vercel']

The functions are bound eagerly: each shares its name with its module, and the function is what is meant.
"""

from llm_monitoring.importers.anthropic_batch import anthropic_batch
from llm_monitoring.importers.langfuse import langfuse
from llm_monitoring.importers.langsmith import langsmith
from llm_monitoring.importers.litellm import litellm
from llm_monitoring.importers.openai_batch import openai_batch
from llm_monitoring.importers.openinference import openinference
from llm_monitoring.importers.otel import otel
from llm_monitoring.importers.registry import FORMATS, read
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.importers.vercel import vercel
from llm_monitoring.importers.writing import write_log

__all__ = [
    "FORMATS",
    "ImportReport",
    "anthropic_batch",
    "langfuse",
    "langsmith",
    "litellm",
    "openai_batch",
    "openinference",
    "otel",
    "read",
    "vercel",
    "write_log",
]
