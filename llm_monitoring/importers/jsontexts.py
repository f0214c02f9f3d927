"""JSON values out of a text: one document, one a line, several on a line, or documents over many lines one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from llm_monitoring.errors import Fault, LogError
from llm_monitoring.importers.draft import Draft

#: Failed tries to read a value over many lines cost together at most so many times the length of the text.
STEPS_A_CHARACTER = 200
MARKS = ("\n{", "\n[")
DOUBLED = "a key that occurs twice in one JSON object: the last value is read"


class Document(NamedTuple):
    """One JSON value and where it stood, as people count: `line 7` of a text file, `row 6` of a table."""

    place: str
    value: Any


def json_documents(name: str, text: str, lines: bool, draft: Draft) -> Iterator[Document]:
    """The JSON values of a text. What is broken is set aside with its lines, as long as anything can be read.

    Parameters
    ----------
    name : str
        Of the file, for places.
    lines : bool
        Whether the name of the file promises one value a line: then a first line that is broken stops nothing.

    Raises
    ------
    LogError
        Where nothing in the text is a JSON object or list, or the first document of a file without lines is broken.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = _Reader(text, draft)
    found, broken = 0, []
    for first, last, value, fault in reader.pieces():
        if fault is None:
            found += isinstance(value, dict | list)
            alone = not text[reader.at :].strip() and reader.read == 1 and first != last
            yield Document(name if alone else f"{name} line {first}", value)
            continue
        if not found and not lines:
            raise _no_json(name, first, fault)
        broken.append((first, last, fault))
        if found:
            yield from _aside(name, broken, draft)
            broken = []
    if broken and not found:
        raise _no_json(name, broken[0][0], broken[0][2])
    yield from _aside(name, broken, draft)


def _aside(name: str, broken: list[tuple[int, int, ValueError]], draft: Draft) -> Iterator[Document]:
    for first, last, _ in broken:
        where, what = (
            (f"line {first}", "the line is") if first == last else (f"lines {first} to {last}", "the lines are")
        )
        draft.aside(f"{name} {where}", None, f"{what} not JSON")
    return iter(())


def _no_json(name: str, line: int, fault: ValueError) -> LogError:
    if isinstance(fault, json.JSONDecodeError):
        line = fault.lineno
    return LogError(Fault("source", name, f"line {line}", expected=f"not JSON: {fault}"))


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, text: str, draft: Draft):
        self.text, self.at, self.line, self.read = text, 0, 1, 0
        self.steps_left = STEPS_A_CHARACTER * len(text)
        self.marks = dict.fromkeys(MARKS, 0)
        self.draft = draft
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self.draft.guess(DOUBLED)
        return found

    def pieces(self) -> Iterator[tuple[int, int, Any, ValueError | None]]:
        """First and last line, value and fault of each piece, values and broken pieces in their order."""
        while self._skip_space():
            first = self.line
            end, value, fault = self._value()
            if fault is not None:
                end = self._end_of_broken(end)
            self._go(end)
            self.read += 1
            last = self.line if fault is None else max(first, self.line - 1)
            yield first, last, value, fault

    def _skip_space(self) -> bool:
        start, size = self.at, len(self.text)
        while start < size and self.text[start] in " \t\n\x1e\0":
            start += 1
        self._go(start)
        return start < size

    def _go(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def _value(self) -> tuple[int, Any, ValueError | None]:
        """One value that begins here: on this line, else over as many lines as it takes."""
        newline = self.text.find("\n", self.at)
        stop = len(self.text) if newline < 0 else newline
        line = self.text[self.at : stop]
        try:
            value, used = self._decode(line, 0)
            return self.at + used, value, None
        except ValueError as error:
            fault = error
        if line[:1] in "{[" and stop < len(self.text) and self.steps_left > 0:
            try:
                value, used = self._decode(self.text, self.at)
                return used, value, None
            except ValueError as error:
                fault = error
                self.steps_left -= getattr(error, "pos", len(self.text))
                return stop, None, error
        return stop, None, ValueError(getattr(fault, "msg", str(fault)))

    def _decode(self, text: str, at: int) -> tuple[Any, int]:
        try:
            return self.decoder.raw_decode(text, at)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def _end_of_broken(self, stop: int) -> int:
        """Behind a broken line; behind a broken document the next line that begins an object or a list."""
        start = self.at
        if self.text[start] not in "{[":
            return min(stop + 1, len(self.text))
        for mark, place in self.marks.items():
            if 0 <= place < start:
                self.marks[mark] = self.text.find(mark, start)
        return min((place + 1 for place in self.marks.values() if place >= start), default=len(self.text))
