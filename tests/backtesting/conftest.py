import pytest

import llm_monitoring as lm
from tests.backtesting.logs import make

PLANTED = (
    lm.Injection("quality", -0.1),
    lm.Injection("quality", -0.3, {"feature_id": "search"}),
    lm.Injection("quality", -0.6, {"feature_id": "search"}),
    lm.Injection("cost", 1.4, {"feature_id": "search"}),
    lm.Injection("latency", 2.5),
    lm.Injection("refusal", 0.05),
)


@pytest.fixture(scope="session")
def tables():
    """A quiet log of six weeks."""
    return make(0)


@pytest.fixture(scope="session")
def found(tables):
    """What a back-test makes of it."""
    return lm.backtest(tables, inject=list(PLANTED), grid={"rate": [0.1, 0.25, 0.8]})
