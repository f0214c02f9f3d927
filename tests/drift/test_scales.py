"""Groups at every scale: what a branch is, what it holds, and how far that is from what is due."""

import numpy as np
import pytest

from llm_monitoring.drift.scales import FEWEST, Groups, surprise


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def bundles(rng, centres=5, each=12):
    around = np.repeat(rng.normal(size=(centres, 16)), each, axis=0)
    return unit(around + 0.1 * rng.normal(size=around.shape))


def test_what_lies_close_together_is_a_group_and_counts_agree_with_its_rows():
    rows = bundles(np.random.default_rng(0))
    groups = Groups.of(rows)
    members = groups.members()
    assert {tuple(range(12 * k, 12 * k + 12)) for k in range(5)} <= {tuple(sorted(member)) for member in members}
    assert min(map(len, members)) >= FEWEST
    labels = np.random.default_rng(1).integers(0, 2, (7, len(rows))).astype(np.uint8)
    assert groups.inside(labels).tolist() == [[int(line[member].sum()) for member in members] for line in labels]


def test_some_of_equal_rows_are_no_group_all_of_them_are():
    rng = np.random.default_rng(2)
    rows = np.concatenate([np.repeat(unit(rng.normal(size=(1, 16))), 9, axis=0), bundles(rng)])
    equal = [set(member) & set(range(9)) for member in Groups.of(rows).members()]
    assert all(len(found) in (0, 9) for found in equal)
    assert set(range(9)) in equal


@pytest.mark.parametrize(("current", "count"), [(0, 50), (50, 50)])
def test_nothing_surprises_where_one_side_is_empty(current, count):
    assert surprise(np.array([0]), np.array([10]), current, count).tolist() == [0]
