"""The review widget: flagged answers one at a time, a key for each verdict, each verdict on the disk at once.

Logged text travels in messages and is shown with `textContent`; no trait and no saved notebook holds it.
"""

from __future__ import annotations

import getpass
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import pandas as pd

from llm_monitoring import disk
from llm_monitoring.results import iso, jsonable, table_html
from llm_monitoring.reviewing import drawing, verdicts

if TYPE_CHECKING:
    from llm_monitoring.log import Log

LONGEST = 20_000
HERE = Path(__file__).parent


def review(
    log: Log,
    alert: Mapping[str, Any] | pd.Series | None = None,
    out: str | Path = "reviews.jsonl",
    n: int = 20,
    reviewer: str | None = None,
    seed: int = 0,
) -> ReviewWidget:
    """Read flagged answers and say of each whether the flag is deserved: real, false positive or unsure.

    Keys 1, 2 and 3 answer and go on, the arrows move, u undoes, n goes to the note, Escape leaves it, ? shows the keys.
    The judge's score and reason stay hidden until the verdict. Run again, it goes on at the first open answer.

    Parameters
    ----------
    log : Log
        What `lm.open_log` gave.
    alert : mapping or Series, optional
        A row of `lm.check`: its feature, from its window on. Without it flagged answers of the whole log.
    out : str or Path
        Where the verdicts go, one JSON line each; the draw is recorded beside it (``reviews.draw.json``).
        `lm.incident.triage(..., reviews=out)` reads it.
    n : int
        How many answers at most.
    reviewer : str, optional
        Who reads; the name of the account where not given.
    seed : int
        Seed of the random draw.

    Returns
    -------
    ReviewWidget
        `.to_frame()` gives the verdicts as the `reviews` table.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")                                       # doctest: +SKIP
    >>> reading = lm.review(log, alert=lm.check(log).iloc[0], reviewer="ann")  # doctest: +SKIP
    >>> reading                                                                # doctest: +SKIP
    """
    ids = drawing.recorded(out, alert, n, seed)
    draw = drawing.draw_flagged(log, alert, n, seed) if ids is None else drawing.answers(log, ids)
    widget = ReviewWidget(draw, out, reviewer)
    if ids is None:
        drawing.record(out, draw, alert, n, seed)
    return widget


class ReviewWidget(anywidget.AnyWidget):
    """The widget that `lm.review` returns; the browser holds the answers and the place, the kernel only writes.

    Parameters
    ----------
    draw : DataFrame
        What `drawing.draw_flagged` gave.
    out : str or Path
        The verdict file.
    reviewer : str, optional
        Who reads.
    """

    _esm = HERE / "widget.js"
    _css = HERE / "widget.css"

    def __init__(self, draw: pd.DataFrame, out: str | Path, reviewer: str | None = None):
        self._draw = draw
        self._out = Path(out).absolute()
        disk.make_folder(self._out.parent)
        self._reviewer = reviewer or _account()
        self._lock = threading.Lock()  # messages may come over several threads
        verdicts_so_far, _ = self._state()  # a broken file is told now, not at the first verdict
        self._seq = max((int(line.get("seq") or 0) for line in verdicts_so_far.values()), default=0)
        self._latest: dict[tuple[str, str], int] = {}  # (session, request id) -> seq of the last line written
        super().__init__()
        self.on_msg(lambda _widget, message, _buffers: self._answer(message))

    def to_frame(self) -> pd.DataFrame:
        """The verdicts that stand in the file, as the `reviews` table: one row per request and reviewer."""
        return verdicts.read(self._out) if self._out.exists() else verdicts.empty()

    def _answer(self, message: Mapping[str, Any]) -> None:
        if message.get("kind") == "hello":
            self.send(self._items())
        elif message.get("kind") == "put":
            self.send(self._put(message))

    def _items(self) -> dict[str, Any]:
        stands, torn = self._state()
        mine = {key: line for (key, reader), line in stands.items() if reader == self._reviewer}
        done = {key: {"verdict": line["verdict"], "note": line.get("note")} for key, line in mine.items()}
        shown = {key: value for key, value in done.items() if value["verdict"] is not None}
        return {
            "kind": "items",
            "items": [_item(row) for row in self._draw.to_dict("records")],
            "done": {key: {**value, "note": _clean(value["note"])} for key, value in shown.items()},
            "seq": self._seq,
            "torn": torn,
        }

    def _put(self, message: Mapping[str, Any]) -> dict[str, Any]:
        told = {key: message.get(key) for key in ("id", "seq", "session")}
        line = {
            "request_id": message["id"],
            "verdict": message["verdict"],
            "note": message.get("note") or None,
            "reviewer": self._reviewer,
            "reviewed_at": iso(datetime.now(UTC)),
            "seq": message["seq"],
            "session": message.get("session"),
        }
        try:
            with self._lock:
                of = str(line["session"]), str(line["request_id"])
                if line["seq"] > self._latest.get(of, 0):  # messages of one browser may arrive in another order
                    verdicts.append(self._out, line)
                    self._latest[of] = line["seq"]
                self._seq = max(self._seq, line["seq"])
        except (OSError, ValueError) as error:  # a full disk, a folder that is gone: the reader must know at once
            return {"kind": "failed", **told, "error": f"{self._out.name}: {error}"}
        shown = {key: line[key] for key in ("verdict", "note")}
        return {"kind": "saved", **told, **shown, "highest": self._seq}

    def _state(self) -> tuple[dict[tuple[str, str | None], dict[str, Any]], int]:
        return verdicts.state(self._out) if self._out.exists() else ({}, 0)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live view, and where nobody can press a key (papermill, nbconvert) a table, every cell escaped."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None or _somebody_watches():
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/html": self._table()}, metadata

    def _table(self) -> str:
        shown = self._draw[["request_id", "timestamp", "user_input", "system_output"]]
        stands = self.to_frame()
        mine = pd.Series([reader == self._reviewer for reader in stands["reviewer"]], dtype=bool)
        stands = stands.loc[mine, ["request_id", "verdict", "note"]]
        table = table_html(shown.merge(stands, on="request_id", how="left"))
        read = stands["request_id"].isin(shown["request_id"]).sum()
        return f"<p><b>{escape(f'{len(shown)} flagged answers drawn, {read} read')}</b></p>{table}"


def _item(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What the browser gets of one answer: texts without what a message cannot carry, numbers as JSON knows them."""
    known = {key: jsonable(value) for key, value in row.items() if key != "timestamp"}
    known["at"] = f"{row['timestamp']:%d %b %Y %H:%M} UTC"
    return {key: _clean(value) if isinstance(value, str) else value for key, value in known.items()}


def _clean(text: str | None) -> str | None:
    """The text without lone surrogates, cut where it is longer than anybody reads."""
    if text is None:
        return None
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters in the log)"
    return cut.encode(errors="replace").decode()


def _somebody_watches() -> bool:
    """Whether a person at a front end ran this cell: only they can be asked for input."""
    import sys

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    request = kernel.get_parent("shell") if kernel is not None else {}
    return bool(request.get("content", {}).get("allow_stdin", False))


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without an account
        return None
