"""One chart in the browser: the picture that the report draws, a mark to move over its windows, the answers below it.

Logged text travels in messages and is shown with `textContent`; no trait and no saved notebook holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.incident import drawing
from llm_monitoring.plotting import svg

HERE = Path(__file__).parent
FORMS = {"wide": ((840, 320), (60, 14, 10, 92), False), "narrow": ((352, 330), (50, 14, 8, 96), True)}


class ChartView(anywidget.AnyWidget):
    """Shows what `show` was given, and calls back with the number of the window that a person chose.

    Parameters
    ----------
    choose : callable
        Takes the number of the window.
    """

    _esm = HERE / "chart_view.js"
    _css = HERE / "chart_view.css"

    def __init__(self, choose: Callable[[int], None]):
        self._shown: dict[str, dict[str, Any]] = {}
        super().__init__()
        self.on_msg(lambda _widget, message, _buffers: self._hear(message, choose))

    def show(self, kind: str, **content: Any) -> None:
        """Send one part (status, chart, answers) and keep it for views that open later."""
        self._shown[kind] = {"kind": kind, **content}
        self.send(self._shown[kind])

    def _hear(self, message: Mapping[str, Any], choose: Callable[[int], None]) -> None:
        if message.get("kind") == "hello":
            for part in self._shown.values():
                self.send(part)
        elif message.get("kind") == "choose" and isinstance(message.get("window"), int):
            choose(message["window"])


def picture(frame: pd.DataFrame, unit: str, title: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A chart for a wide and a narrow place, where its points lie in it, and each point in words.

    Parameters
    ----------
    frame : DataFrame
        The rows of one chart of `lm.control_charts(...).to_frame()`.
    unit : str
        How its numbers are printed.
    title : str
        For those who do not see it.
    changes : mapping
        Recorded changes: words -> time.
    """
    words = [_in_words(row, unit) for row in frame.to_dict("records")]
    return {"title": title, "words": words, **{form: _drawn(frame, unit, title, changes, form) for form in FORMS}}


def _drawn(frame: pd.DataFrame, unit: str, title: str, changes: Mapping[str, Any], form: str) -> dict[str, Any]:
    size, margins, narrow = FORMS[form]
    points: list[list[float]] = []

    def paint(ax):
        drawing.control_chart(frame, ax, unit, changes=changes, narrow=narrow)
        points.extend(_places(ax, frame, size))

    loud = int(frame["alarm"].sum())
    told = f"{len(frame)} windows, {loud} outside the limits"
    return {"svg": svg(paint, f"lm-{form}", title, told, size, margins, form), "points": points}


def _places(ax, frame: pd.DataFrame, size: tuple[int, int]) -> list[list[float]]:
    """Where each point lies, in percent of the picture from its left and upper edge."""
    from matplotlib.dates import date2num

    start, end = (drawing.moments(frame[name]) for name in ("window_start", "window_end"))
    value = frame["value"].astype(float).fillna(frame["center"].astype(float)).fillna(ax.get_ylim()[0])
    at = ax.transData.transform([*zip(date2num(start + (end - start) / 2), value, strict=True)])
    return [[round(100 * float(x) / size[0], 3), round(100 - 100 * float(y) / size[1], 3)] for x, y in at]


def _in_words(row: Mapping[Any, Any], unit: str) -> str:
    value = say.amount(row["value"], unit) if pd.notna(row["value"]) else "no value"
    n = f", n = {row['n']:,.0f}" if pd.notna(row["n"]) else ""
    limits = ""
    if pd.notna(row["lower"]) and pd.notna(row["upper"]):
        limits = f", limits {say.span(row['lower'], row['upper'], unit).strip('()')}"
    state = ", alarm" if row["alarm"] else ", baseline" if row["baseline"] else ""
    return f"from {say.moment(row['window_start'])}: {value}{n}{limits}{state}"
