"""The review widget: flagged answers one at a time, a key for each verdict, each verdict on the disk at once.

Logged text travels in messages and is shown with `textContent`; no trait and no saved notebook holds it.
"""

from __future__ import annotations

import getpass
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import pandas as pd

from llm_monitoring import disk
from llm_monitoring import wording as say
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.results import iso, jsonable, table_html
from llm_monitoring.reviewing import context, drawing, verdicts
from llm_monitoring.reviewing.deciding import decide

if TYPE_CHECKING:
    from llm_monitoring.alerts.alert import Alert
    from llm_monitoring.log import Log

LONGEST = 20_000
HERE = Path(__file__).parent
SAID = {"verdict": "verdict", "note": "note", "score": "quality_score", "expected": "expected_output"}


def review(
    log: Log, alert: str | Mapping[str, Any] | pd.Series | Alert | None = None, out: str | Path = "reviews.jsonl",
    n: int = 20, reviewer: str | None = None, rubric: Any = None, show: Sequence[str] = (), seed: int = 0, plan: Any = None,
) -> ReviewWidget:  # fmt: skip
    """Read flagged answers and say of each whether the flag is deserved: real, false positive or unsure.

    Keys 1, 2 and 3 answer and go on, Shift+1 to Shift+5 give a score of one's own, the arrows move, u undoes, n goes to the
    note, e to the right answer, Escape leaves them, ? shows the keys. The judge's score and reason stay hidden until the
    verdict. A line says what the verdicts decide so far, and when one may stop. Run again, it goes on at the first open
    answer. Several people and kernels may write to one file; everybody sees only their own verdicts.

    Parameters
    ----------
    log : Log
        What `lm.open_log` gave, or what it takes.
    alert : str, mapping, Series or Alert, optional
        An `alert_id` or a row of `lm.check`: its feature, from its window on. Without it flagged answers of the whole log.
    out : str or Path
        Where the verdicts go, one JSON line each; the draw is recorded beside it (``reviews.draw.json``). A new file is
        readable by its owner alone, or by the group of a folder that is open to one.
        `lm.incident.triage(..., reviews=out)` reads it.
    n : int
        How many answers at most.
    reviewer : str, optional
        Who reads; the name of the account where not given.
    rubric : str or Rubric, optional
        What the flag should mean; shown beside the answer.
    show : list of str
        Columns of `requests` shown beside the answer. Retrieved text (``retrieved_text``, ``context``, ``documents`` and
        the like) and the earlier turns of the session are shown wherever the log has them.
    seed : int
        Seed of the random draw.
    plan : path, dict or Plan, optional
        The plan of `lm.check` under which an `alert_id` is looked for.

    Returns
    -------
    ReviewWidget
        `.to_frame()` gives the verdicts as the `reviews` table.

    Raises
    ------
    ConfigError
        The log has no such alert, a column of `show` is not there, or `n` is below 1.
    LogError
        The verdict file cannot be read.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")                                                         # doctest: +SKIP
    >>> reading = lm.review(log, lm.check(log).iloc[0], reviewer="ann", show=["prompt_version"])  # doctest: +SKIP
    >>> reading                                                                                  # doctest: +SKIP
    """
    if not isinstance(n, int) or n < 1:
        raise ConfigError(f"n={quote(n)}; expected how many answers to draw, 1 or more")
    log = _opened(log)
    chosen = drawing.alert_row(log, alert, plan)
    columns = context.shown_columns(log.requests, show)
    words = context.rubric_text(rubric)
    ids = drawing.recorded(out, chosen, n, seed)
    draw = drawing.draw_flagged(log, chosen, n, seed) if ids is None else drawing.answers(log, ids)
    around = context.beside(log.requests, draw["request_id"].tolist(), columns)
    widget = ReviewWidget(draw, out, reviewer, words, around)
    if ids is None:
        drawing.record(out, draw, chosen, n, seed)
    return widget


def _opened(log: Any) -> Log:
    from llm_monitoring.log import open_log

    return log if hasattr(log, "judgements") else open_log(log)


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
    rubric : str, optional
        Shown beside each answer.
    around : mapping, optional
        What else stands beside each answer, as `context.beside` gives it.
    """

    _esm = HERE / "widget.js"
    _css = HERE / "widget.css"

    def __init__(
        self, draw: pd.DataFrame, out: str | Path, reviewer: str | None = None, rubric: str | None = None,
        around: Mapping[str, Mapping[str, Any]] | None = None,
    ):  # fmt: skip
        self._draw = draw
        self._out = Path(out).absolute()
        disk.make_folder(self._out.parent)
        self._reviewer = reviewer or _account()
        self._rubric, self._around = rubric, around or {}
        self._lock = threading.Lock()  # messages may come over several threads
        self._mine: dict[str, dict[str, Any]] = {}  # request id -> this reader's line that stands
        self._seq = 0
        self._read_file()  # a broken file is refused now, not at the first verdict
        self._latest: dict[tuple[str, str], int] = {}  # (session, request id) -> seq of the last line written
        super().__init__()
        self.on_msg(lambda _widget, message, _buffers: self._answer(message))

    def to_frame(self) -> pd.DataFrame:
        """The verdicts that stand in the file, as the `reviews` table: one row per request and reviewer."""
        return verdicts.read(self._out) if self._out.exists() else verdicts.empty()

    def _answer(self, message: Mapping[str, Any]) -> None:
        if message.get("kind") == "hello":
            self.send({**self._items(), "session": message.get("session")})
        elif message.get("kind") == "put":
            self.send(self._put(message))

    def _items(self) -> dict[str, Any]:
        with self._lock:
            torn = self._read_file()
            standing = {key: line for key, line in self._mine.items() if line["verdict"] is not None}
        return {
            "kind": "items",
            "items": [self._item(row) for row in self._draw.to_dict("records")],
            "done": {key: _said(line) for key, line in standing.items()},
            "rubric": _clean(self._rubric),
            "reviewer": self._reviewer,
            "seq": self._seq,
            "torn": torn,
            **self._decided(),
        }

    def _item(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        """What the browser gets of one answer: texts fit for a message, numbers as JSON knows them."""
        known = {key: jsonable(value) for key, value in row.items() if key != "timestamp"}
        known["at"] = f"{row['timestamp']:%d %b %Y %H:%M} UTC"
        return _cleaned(known | dict(self._around.get(row["request_id"], {})))

    def _put(self, message: Mapping[str, Any]) -> dict[str, Any]:
        told = {key: message.get(key) for key in ("id", "seq", "session")}
        line = {
            "request_id": message["id"],
            "verdict": message["verdict"],
            "note": message.get("note") or None,
            "quality_score": message.get("score"),
            "expected_output": message.get("expected") or None,
            "reviewer": self._reviewer,
            "reviewed_at": iso(datetime.now(UTC)),
            "seq": message["seq"],
            "session": message.get("session"),
        }
        of = str(line["session"]), str(line["request_id"])
        try:
            with self._lock:
                if line["seq"] > self._latest.get(of, 0):  # messages of one browser may arrive in another order
                    verdicts.append(self._out, line)
                    self._latest[of] = line["seq"]
                    self._mine[line["request_id"]] = line
                self._seq = max(self._seq, line["seq"])
                said, decided = _said(self._mine[line["request_id"]]), self._decided()
        except (OSError, ValueError) as error:  # a full disk, a folder that is gone: the reader must know at once
            return {"kind": "failed", **told, "error": f"{self._out.name}: {error}"}
        return {"kind": "saved", **told, **said, "highest": self._seq, **decided}

    def _decided(self) -> dict[str, str]:
        lines = (self._mine.get(one) for one in self._draw["request_id"])
        state, words = decide(line["verdict"] if line else None for line in lines)
        return {"decided": state, "decided_words": words}

    def _read_file(self) -> int:
        """Take this reader's verdicts from the file; how many of its lines a crash left unfinished."""
        stands, torn = verdicts.state(self._out) if self._out.exists() else ({}, 0)
        self._mine = {key: line for (key, reader), line in stands.items() if reader == self._reviewer}
        self._seq = max((int(line.get("seq") or 0) for line in stands.values()), default=0)
        return torn

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live view, and where nobody can press a key (papermill, nbconvert) a table, every cell escaped."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None or somebody_watches():
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


def _said(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the file as the browser knows it."""
    return _cleaned({name: line.get(column) for name, column in SAID.items()})


def _cleaned(value: Any) -> Any:
    """Texts made fit for a message, wherever they stand in lists and dicts."""
    if isinstance(value, dict):
        return {key: _cleaned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str | None) -> str | None:
    """The text without lone surrogates, cut where it is longer than anybody reads."""
    return None if text is None else say.cut(text, LONGEST)


def somebody_watches() -> bool:
    """Whether a person can press a key here: a front end that can ask for input, or a page that Voila serves."""
    import os
    import sys

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    request = kernel.get_parent("shell") if kernel is not None else {}
    served = os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    return served or bool(request.get("content", {}).get("allow_stdin", False))


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without an account
        return None
