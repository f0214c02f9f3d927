"""Rows of an engine become frames in the order of their time, whatever order the engine gave them in."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

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
