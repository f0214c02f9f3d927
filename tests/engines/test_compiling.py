"""Every query of the package can be said in the SQL of engines that have no server here; nothing is run on them.

Each call runs on DuckDB first, and what every query gave is kept. Then it runs on tables that claim to be of another
engine: each query is compiled to that engine's SQL, and answered with what was kept.
"""

from __future__ import annotations

import functools
import warnings

import ibis
import ibis.expr.operations as ops
import pytest

import llm_monitoring as lm
from llm_monitoring import engines
from tests.engines.calls import CALLS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DIALECTS = ["snowflake", "clickhouse", "bigquery", "databricks", "trino"]
#: Calls of dozens of queries, most of them those of a check: in make test one engine compiles a check and the stages.
SLOW = {"check", "control_charts", "backtest", "watch", "open_case", "stages", "explore"}
QUICK = [(DIALECTS[0], "check"), (DIALECTS[0], "stages")]
#: Calls whose queries other calls ask too: those in the SQL of one engine.
ALIKE = {"window_metrics of everything", "window_metrics until", "quality_metrics of everything", "satisfaction_metrics",
         "judge_sample", "frames between", "review", "unpinned_models"}  # fmt: skip


def long(dialect: str, call: str) -> bool:
    """Whether make test leaves it out."""
    return (call in SLOW and (dialect, call) not in QUICK) or (call in ALIKE and dialect != DIALECTS[0])


EVERY = [
    pytest.param(dialect, call, marks=[pytest.mark.long] if long(dialect, call) else [])
    for dialect in DIALECTS
    for call in CALLS
]


class Engine:
    """A backend that has a name and nothing else."""

    def __init__(self, name: str):
        self.name = name

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Engine) and other.name == self.name


def claimed(log: lm.Log, dialect: str) -> lm.Log:
    """The tables of a log, as if they were stored in another engine."""
    claims = {}
    for name, table in log._tables.items():
        namespace = ops.Namespace(catalog=None, database=None)
        schema = table.raw.rows.schema()
        claims[name] = ops.DatabaseTable(name, schema, Engine(dialect), namespace).to_expr()
    return lm.open_log(claims)


@pytest.fixture(scope="module")
def kept(on_duckdb_file):
    """What every query of a call gave on DuckDB, asked once."""

    @functools.cache
    def keep(call):
        answers = []

        def run(expr):
            answers.append(real(expr))
            return answers[-1]

        def batches(expr, size=0):
            yield from run(expr).to_batches()

        real = engines.run
        log = lm.open_log({name: table.raw.rows for name, table in on_duckdb_file._tables.items()})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engines, "run", run)
            patch.setattr(engines, "batches", batches)
            CALLS[call](log)
        return answers

    return keep


@pytest.mark.parametrize(("dialect", "call"), EVERY)
def test_every_query_compiles(dialect, call, kept, on_duckdb_file, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = iter(kept(call))
        compiled = []

        def run(expr):
            compiled.append(ibis.to_sql(expr, dialect=dialect))
            answer = next(answers)
            assert set(expr.schema().names) <= set(answer.column_names)
            return answer

        def batches(expr, size=0):
            yield from run(expr).to_batches()

        monkeypatch.setattr(engines, "run", run)
        monkeypatch.setattr(engines, "batches", batches)
        CALLS[call](claimed(on_duckdb_file, dialect))
    assert compiled
    assert next(answers, None) is None
