"""One query at a time: the cut is learnt from the feature's own queries, and outlives the process where a store can."""

import numpy as np
import pytest

from llm_monitoring.drift.centroids import FileCentroids, MemoryCentroids, track_input_distribution
from llm_monitoring.errors import ConfigError


def ask(store, count, rng, feature="support"):
    thing = ["parcel", "refund", "invoice", "address"]
    texts = [f"where is my {rng.choice(thing)} number {rng.integers(1_000)}" for _ in range(count)]
    return [track_input_distribution(text, feature, store)["distribution_shift"] for text in texts]


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "file"])
def test_a_store_flags_odd_queries_and_few_ordinary_ones(durable, tmp_path):
    store = FileCentroids(tmp_path) if durable else MemoryCentroids()
    rng = np.random.default_rng(0)
    assert not any(ask(store, 60, rng))
    assert sum(ask(store, 100, rng)) <= 8
    assert track_input_distribution("sing a sea shanty about purple whales", "support", store)["distribution_shift"]


def test_the_cut_of_a_durable_store_outlives_the_process(tmp_path):
    ask(FileCentroids(tmp_path), 120, np.random.default_rng(1))
    again = FileCentroids(tmp_path)
    assert track_input_distribution("sing a sea shanty about purple whales", "support", again)["distribution_shift"]
    assert again.get_reference("support")["queries"] == 121
    assert len(list(tmp_path.iterdir())) == 1


def test_features_with_odd_names_have_files_of_their_own(tmp_path):
    names = ["../../etc/passwd", "a/b", "a\\b", "", "Ünï\x00"]
    store = FileCentroids(tmp_path / "new")
    for i, name in enumerate(names):
        store.update_centroid(name, [float(i)])
    assert [FileCentroids(tmp_path / "new").get_centroid(name) for name in names] == [[float(i)] for i in range(5)]
    assert len(list((tmp_path / "new").iterdir())) == 5


def test_files_of_centroids_are_private(tmp_path):
    FileCentroids(tmp_path / "new").update_centroid("support", [1.0])
    (file,) = (tmp_path / "new").iterdir()
    assert [oct(path.stat().st_mode & 0o777) for path in (file.parent, file)] == ["0o700", "0o600"]


def test_a_centroid_of_another_embedder_is_an_error_that_says_so():
    store = MemoryCentroids()
    store.update_centroid("support", [1.0, 2.0])
    with pytest.raises(ConfigError) as error:
        track_input_distribution("where is it", "support", store)
    assert str(error.value) == (
        "track_input_distribution: the centroid of 'support' has 2 numbers; expected 256, as the embedder gives. "
        "It is that of another embedder: remove it from the store"
    )


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ConfigError) as error:
        FileCentroids(tmp_path)
    assert str(error.value) == (
        f"FileCentroids: {tmp_path / 'x.json'} is not a centroid file; expected what FileCentroids wrote"
    )
