"""Statistics and permutations against closed forms, enumeration and scipy."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from llm_monitoring.drift.two_sample import (
    METHODS,
    Known,
    Permuted,
    Pool,
    _neighbours_beside,
    _share_at_least,
    _smallest,
    _to_unit,
    at_least,
    classifier,
    clump,
    cluster_growth,
    energy,
    k_means,
    known_among,
    labellings,
    neighbours,
    off_reference,
    permute,
    same_label,
    topic_growth,
)


def pool_of(rows, seed=0):
    return Pool(np.asarray(rows, np.float32), np.arange(len(rows)), seed)


def random_rows(count, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize(("columns", "most"), [(15, 3), (97, 4), (1_003, 21), (400, 20)])
def test_smallest_of_a_line_are_those_of_a_sort(columns, most):
    values = random_rows(50, columns)
    place, value = _smallest(values, most)
    assert np.array_equal(place, np.argsort(values, axis=1)[:, :most])
    assert np.array_equal(value, np.sort(values, axis=1)[:, :most])


def test_energy_distance_equals_its_definition():
    rows = random_rows(40)
    labels = np.repeat([[0, 1]], 20, axis=0).T.reshape(1, -1).astype(np.uint8)
    x, y = rows[labels[0] == 0], rows[labels[0] == 1]
    expected = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()  # Szekely and Rizzo 2004
    assert energy(pool_of(rows), labels)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("twice", [0, 30, 110])
def test_neighbours_beside_known_rows_equal_those_of_all_rows(twice):
    rows = random_rows(140)
    rows[:twice] = rows[[*range(5)] * (twice // 5)]  # many at the same distance, more than are kept as neighbours
    order = np.random.default_rng(1).permutation(len(rows))
    known = Known(*known_among(rows[30:]), np.argsort(order)[30:])
    pool = _to_unit(rows[order])
    near, distance = neighbours(pool, 20)
    beside = _neighbours_beside(pool, 20, known)
    assert np.array_equal(beside[0], near)
    np.testing.assert_allclose(beside[1], distance, atol=1e-6)


def test_neighbours_equal_those_of_all_distances():
    rows = random_rows(50)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    apart = cdist(rows, rows)
    np.fill_diagonal(apart, np.inf)
    positions, distances = neighbours(rows, 5)
    assert (positions == np.argsort(apart, axis=1)[:, :5]).all()
    assert np.allclose(distances, np.sort(apart, axis=1)[:, :5], atol=1e-3)


def test_same_label_counts_neighbours_by_hand():
    angle = np.deg2rad([0, 1, 2, 3, 4, 5, 90, 91, 92, 93, 94, 95])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    labels = np.array([[0] * 6 + [1] * 6, [0, 1] * 6], np.uint8)
    assert same_label(pool_of(rows), labels).tolist() == [60, 24]  # all five alike; in each half two of five


def test_area_of_the_classifier_is_that_of_mann_whitney():
    rows = random_rows(60, seed=3)
    rows[30:] += 1
    labels = np.repeat([0, 1], 30)[None].astype(np.uint8)
    area = classifier(pool_of(rows), labels)[0]
    assert 0.5 < area <= 1
    assert mannwhitneyu([2, 3], [1], alternative="greater").statistic / 2 == 1  # the scale: 1 is perfect


def test_k_means_finds_groups_far_apart():
    rows = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    found = k_means(rows, np.arange(30), 8, seed=0)
    assert all(len(set(found[i : i + 10])) == 1 for i in (0, 10, 20))


def test_clump_and_distance_to_the_reference_by_hand():
    """Twelve rows in two tight groups far apart; four labelled current: a group of their own, or spread over both."""
    angle = np.deg2rad([0, 1, 2, 3, 4, 5, 6, 7, 90, 91, 92, 93])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    apart = np.isin(np.arange(12), [8, 9, 10, 11])
    spread = np.isin(np.arange(12), [0, 3, 6, 9])
    labels = np.array([apart, spread], np.uint8)
    far = off_reference(pool_of(rows), labels)
    assert far[0] > far[1]
    # 11 neighbours, three of the four current ones among them for every current row: 3 - (11/3 + 1.5 sd) < 0
    assert clump(pool_of(rows), labels).tolist() == [0, 0]


def test_topic_growth_equals_its_definition():
    rows = random_rows(60)
    labels = labellings(np.arange(60) >= 45, np.arange(60), np.zeros(60, int), 30, seed=0)
    near = np.argsort(cdist(_to_unit(rows), _to_unit(rows)), axis=1)[:, 1:21]
    link = np.eye(60)
    np.put_along_axis(link, near, 1, axis=1)
    link = np.maximum(link, link.T)
    even = 1 / np.sqrt(link.sum(axis=1))
    two = np.linalg.matrix_power(link * even[:, None] * even, 2)
    expected = []
    for label in labels:  # the variance of a weighted sum of rows drawn without replacement
        scatter = np.sqrt(((two - two.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) * 0.25 * 0.75)
        expected.append((np.maximum((two @ label - two.sum(axis=1) * 0.25) / scatter - 2, 0) ** 2)[label == 1].sum())
    assert np.allclose(topic_growth(pool_of(rows), labels), expected, rtol=1e-3, atol=1e-3)


def test_clusters_count_only_where_some_rows_have_no_neighbours():
    rows = random_rows(60)
    labels = labellings(np.arange(60) >= 45, np.arange(60), np.zeros(60, int), 30, seed=0)
    assert not cluster_growth(pool_of(rows), labels).any()
    assert cluster_growth(Pool(rows, np.arange(50)), labels).all()


def test_shares_of_distances_weigh_as_given_and_ties_are_alike():
    shares = _share_at_least(np.array([[1.0, 3.0], [2.0, 3.0]]), np.array([[0.4, 0.1], [0.4, 0.1]]))
    assert np.allclose(shares, [[1.0, 0.25], [0.6, 0.25]])  # .1 + .1 of 1 is at least 3; the floor is .5 / 2


def test_at_least_counts_ties():
    assert at_least(np.array([1.0, 2.0, 2.0]), np.array([2.0])).tolist() == [2 / 3]


def test_least_p_is_one_over_permutations_plus_one():
    values = np.zeros((1, 100))
    values[0, 0] = 5
    assert Permuted(METHODS["energy"], values).p_value == 1 / 100


def test_joint_p_of_the_panel_counts_all_labellings_equally():
    values = np.random.default_rng(0).normal(size=(5, 200))
    ranks = np.array([[(row >= value).mean() for value in row] for row in values])
    total = (np.log(ranks) ** 2).sum(axis=0)
    expected = (np.round(total, 9) >= np.round(total[0], 9)).mean()  # the definition, by loops
    assert Permuted(METHODS["panel"], values).p_value == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_permutation_p_equals_full_enumeration(method):
    rows = random_rows(8, width=3, seed=5)
    rows[5:] += 2
    current = np.arange(8) >= 5
    every = [np.isin(np.arange(8), chosen) for chosen in combinations(range(8), 3)]
    labels = np.array([current, *(other for other in every if (other != current).any())], np.uint8)
    exact = permute(pool_of(rows), labels, METHODS[method]).p_value
    drawn = labellings(current, np.arange(8), np.zeros(8, int), 1_999, seed=1)
    assert permute(pool_of(rows), drawn, METHODS[method]).p_value == pytest.approx(exact, abs=0.05)
    assert exact >= 1 / 56


def test_labellings_move_sessions_as_wholes():
    blocks = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    labels = labellings(np.isin(blocks, [3, 4]), blocks, np.zeros(8, int), 50, seed=0)
    for block in range(5):
        assert (labels[:, blocks == block] == labels[:, blocks == block][:, :1]).all()
    assert (labels[:, [0, 2, 3, 6, 7]].sum(axis=1) == 2).all()


def test_labellings_keep_the_count_of_every_stratum():
    strata = np.repeat([0, 1], 10)
    current = np.arange(20) % 10 < np.repeat([2, 7], 10)
    labels = labellings(current, np.arange(20), strata, 40, seed=0)
    assert set(labels[:, :10].sum(axis=1)) == {2}
    assert set(labels[:, 10:].sum(axis=1)) == {7}


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_are_all_equal_are_no_drift(method):
    rows = np.ones((40, 4), np.float32)
    labels = labellings(np.arange(40) >= 25, np.arange(40), np.zeros(40, int), 99, seed=0)
    assert permute(pool_of(rows), labels, METHODS[method]).p_value > 0.05
