import pytest
from fake_judge_server import FakeJudgeServer


@pytest.fixture(scope="session")
def server_process():
    with FakeJudgeServer() as server:
        yield server


@pytest.fixture
def server(server_process):
    """The fake server with its settings and counters as new."""
    server_process.configure()
    return server_process
