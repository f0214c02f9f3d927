"""Rows of an engine become frames in the order of their time, whatever order the engine gave them in."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import llm_monitoring as lm
from llm_monitoring import frames
from llm_monitoring.schema import SIGNALS


def shuffled(pieces):
    """Signals at whole seconds, those of a piece in order, and the same in the order of their time."""
    seconds = [second for piece in pieces for second in piece]
    at = pd.to_datetime(seconds, unit="s", utc=True).astype("datetime64[us, UTC]")
    ids = [f"r{second:03}-{i}" for i, second in enumerate(seconds)]
    rows = pd.DataFrame({"request_id": ids, "timestamp": at, "signal_type": "retry"})
    return pa.Table.from_pandas(rows, preserve_index=False), rows.sort_values(["timestamp", "request_id"])


@pytest.mark.parametrize(
    "pieces",
    [
        [range(10)],
        [range(5, 10), range(5)],
        [[0, 1, 4, 5, 8], [2, 3, 6, 7]],  # threads that took turns
        [[3, 3, 3], [1, 2, 3]],
        [[5, 1, 4, 2, 3]],
        [],
    ],
)
def test_pieces_are_put_in_the_order_of_time(pieces):
    rows, expected = shuffled(pieces)
    parts = {name: rows[name].chunks for name in rows.column_names}
    found = frames.typed(frames._frame(parts, "timestamp"), SIGNALS)
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_dtype=False)


def test_rows_without_an_order_are_left_to_the_sort(monkeypatch):
    monkeypatch.setattr(frames, "MOST_PIECES", 3)
    rows, _ = shuffled([np.random.default_rng(0).permutation(50)])
    assert frames._pieces_in_order(rows["timestamp"].chunks) == []


def test_many_pieces_are_put_in_order_as_long_as_they_hold_some_rows_each(monkeypatch):
    monkeypatch.setattr(frames, "MOST_PIECES", 3)
    monkeypatch.setattr(frames, "LEAST_ROWS", 10)
    turns = [range(start, start + 20) for start in np.random.default_rng(0).permutation(np.arange(0, 400, 20)).tolist()]
    rows, expected = shuffled(turns)
    parts = {name: rows[name].chunks for name in rows.column_names}
    assert 3 < len(frames._pieces_in_order(parts["timestamp"])) <= 20
    pd.testing.assert_frame_equal(frames._frame(parts, "timestamp"), expected.reset_index(drop=True), check_dtype=False)


def test_texts_that_come_again_are_held_once_and_say_the_same():
    n = 400
    requests = pd.DataFrame(
        {
            "request_id": [f"r{i:03}" for i in range(n)],
            "timestamp": pd.date_range("2026-05-01", periods=n, freq="min", tz="UTC")[::-1],
            "feature_id": ["search", "ärger", "chat", "chat"] * (n // 4),
            "model_id": "m-1",
            "category": ["returns", None] * (n // 2),
            "tenant": [f"t{i}" for i in range(n)],
        }
    )
    log = lm.open_log({"requests": requests})
    asked, whole = log.asked, log.requests
    coded = [name for name, kind in asked.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    assert coded == ["feature_id", "model_id", "category"]
    assert asked["feature_id"].cat.categories.tolist() == ["chat", "search", "ärger"]
    texts = frames.plain(asked)
    assert texts.dtypes.equals(whole[asked.columns].dtypes)
    for name in asked.columns:
        assert texts[name].dropna().equals(whole[name].dropna())  # nulls of older pandas are None or NaN
