"""Labels of the time line: whole inside the figure, and apart from each other."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from llm_monitoring.incident.time_line import timeline

DAY = pd.Timestamp("2026-03-12", tz="UTC")


def labels(span: tuple[float, float], changes: list[float], alert: float):
    """The boxes of the labels on a figure for a phone; times in days."""
    at = lambda days: DAY + pd.Timedelta(days=days)  # noqa: E731
    rows = [(at(span[0]), at(span[1]), "span", "start, 90 %:\n13 Mar 03:40 to\n21 Mar 04:10")]
    rows += [(at(days), pd.NaT, "change", f"chg-{k}") for k, days in enumerate(changes)] + [
        (at(alert), pd.NaT, "event", "alert")
    ]
    events = pd.DataFrame(rows, columns=["at", "end", "kind", "label"]).assign(short=lambda table: table["label"])
    answers = pd.DataFrame({"timestamp": pd.date_range(DAY, periods=100, freq="144min"), "bad": [False, True] * 50})
    figure = Figure(figsize=(4.9, 3.4), dpi=72)
    drawn = figure.add_axes((0.05, 0.12, 0.9, 0.85))
    timeline(answers, events, drawn, narrow=True)
    figure.canvas.draw()
    texts = [text for text in drawn.texts if text.get_text() in set(events["label"])]
    assert len(texts) == len(events)
    return [text.get_window_extent() for text in texts], figure.bbox


@pytest.mark.parametrize("span", [(1.0, 9.2), (0.0, 9.9), (0.2, 0.4), (9.0, 9.8), (4.0, 6.0)])
@pytest.mark.parametrize("changes", [[], [6.5, 7.6], [0.1, 9.9]])
def test_labels_are_inside_and_apart(span, changes):
    boxes, whole = labels(span, changes, 9.0)
    for k, box in enumerate(boxes):
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert not any(box.overlaps(other) for other in boxes[:k])
