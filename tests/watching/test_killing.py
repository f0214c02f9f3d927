"""Killed at any moment, and run twice at a time: no alert is lost, none is told under two ids."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.watching.logs import lines_of

SCRIPT, ROOT = Path(__file__).with_name("killed_rounds.py"), Path(__file__).parents[2]


def killed_rounds(folder, seed, kills, copies=1):
    command = [sys.executable, str(SCRIPT), str(seed), str(kills), str(copies), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def held_to_its_word(folder, found):
    """Every alert told at least once, each under one id, each recovery too; how often something was told again."""
    lines = lines_of(folder / "told.jsonl")  # no line is torn
    fired = [line["alert_id"] for line in lines if line["event"] == "fired"]
    ids: dict[str, set[str]] = {}
    for line in lines:
        ids.setdefault(line["alert"]["message"], set()).add(line["alert_id"])
    assert set(found["fired"]) == set(fired)
    assert {line["alert_id"] for line in lines if line["event"] == "recovered"} == set(found["over"])
    assert max(len(each) for each in ids.values()) == 1
    return len(fired) - len(set(fired))


@pytest.mark.parametrize(("seed", "kills", "copies"), [pytest.param(1, 6, 1, marks=pytest.mark.long), (2, 6, 2)])
def test_no_alert_is_lost_and_none_is_told_under_two_ids_where_rounds_are_killed(tmp_path, seed, kills, copies):
    found = killed_rounds(tmp_path, seed, kills, copies)
    assert found["killed"] >= kills
    held_to_its_word(tmp_path, found)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "copies"), [(3, 1), (4, 2)])
def test_no_alert_is_lost_over_fifty_kills(tmp_path, seed, copies):
    found = killed_rounds(tmp_path, seed, 50, copies)
    assert found["killed"] >= 50
    assert held_to_its_word(tmp_path, found) <= 60  # told again: at most the storm under way at each kill


def test_two_copies_that_live_tell_each_thing_once(tmp_path):
    found = killed_rounds(tmp_path, 5, 0, 2)
    assert len(found["fired"]) > 5
    assert held_to_its_word(tmp_path, found) == 0
