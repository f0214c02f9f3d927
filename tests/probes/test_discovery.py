"""Border probes are found where there are some, within the calls that may be spent."""

import hashlib
import random

import pytest

from llm_monitoring.errors import ConfigError
from llm_monitoring.probes.discovery import discover_border_probes
from llm_monitoring.probes.suite import load_probes, write_probes


def undecided_on(share, seed=0):
    """A client that is undecided on this share of all questions, told by a hash of the question; and its calls."""
    rng = random.Random(seed)
    calls = []

    async def client(text):
        calls.append(text)
        near = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32 < share
        return rng.choice(["tea", "coffee"]) if near else "tea"

    return client, calls


@pytest.mark.parametrize("budget", [40, 100, 400])
def test_no_more_calls_are_spent_than_the_budget_holds(budget):
    client, calls = undecided_on(0.2)
    found = discover_border_probes(client, 5, budget)
    assert len(calls) == found.calls <= budget
    assert len(found.probes) <= 5


def test_those_that_are_found_are_undecided_and_written_as_a_suite(tmp_path):
    client, _ = undecided_on(0.1)
    found = discover_border_probes(client, 4, 600)
    assert len(found.probes) == 4
    assert all(len(probe.params["shares"]) == 2 for probe in found.probes)
    most = [max(probe.params["shares"].values()) for probe in found.probes]
    assert most == sorted(most)
    for name in ("suite.yaml", "suite.jsonl"):
        write_probes(found.probes, tmp_path / name)
        assert load_probes(tmp_path / name) == found.probes


def test_log_probabilities_tell_a_near_tie_that_two_calls_do_not_show():
    turns = {}

    async def client(text):
        turns[text] = turns.get(text, 0) + 1
        return {"text": "tea" if turns[text] <= 2 else "coffee", "logprobs": {"tea": -0.7, "coffee": -0.71}}

    assert len(discover_border_probes(client, 2, 60).probes) == 2


def test_a_server_that_cannot_be_reached_is_not_asked_on_and_on():
    async def client(text):
        raise ConnectionError("refused")

    found = discover_border_probes(client, 3, 10_000)
    assert (found.probes, found.reason) == ([], "ConnectionError: refused")
    assert found.calls <= 40


def test_errors_are_whole_sentences():
    with pytest.raises(ConfigError) as error:
        discover_border_probes(str, 0, 10)
    assert str(error.value) == "discover_border_probes(n=0); expected a whole number, 1 or more"
