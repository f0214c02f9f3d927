"""The parts that a page is made of, as plain dicts: text, bullets, table, figure, action, bar, command. No HTML here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Block = dict[str, Any]


def text(words: str, lead: str = "", quiet: bool = False) -> Block:
    """A paragraph; `lead` stands in front in bold, `quiet` is grey."""
    return {"kind": "text", "lead": lead, "words": words, "quiet": quiet}


def heading(words: str) -> Block:
    """A small heading within a section."""
    return {"kind": "heading", "words": words}


def bullets(items: Iterable[str]) -> Block:
    """A list of sentences."""
    return {"kind": "bullets", "items": list(items)}


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", numeric=(), hit=(), paper: int = 10
) -> Block:
    """A table of texts; columns in `numeric` stand right, rows in `hit` are marked.

    On paper only the first `paper` rows stand, and those in `hit`; a line below says how many the page has beyond them.
    """
    listed = [{"hit": i in hit, "cells": list(row)} for i, row in enumerate(rows)]
    left = sum(i >= paper and not row["hit"] for i, row in enumerate(listed))
    return {
        "kind": "table",
        "head": list(head),
        "rows": listed,
        "caption": caption,
        "numeric": list(numeric),
        "paper": paper,
        "off_paper": f"{left:,} more row{'s' * (left > 1)} on the page itself." if left else "",
    }


def figure(name: str, title: str, unit: str, caption: str) -> Block:
    """A figure that `figures` draws under this name."""
    return {"kind": "figure", "name": name, "title": title, "unit": unit, "caption": caption}


def action(words: str) -> Block:
    """The one thing to do: the only bar at the left on the page."""
    return {"kind": "action", "words": words}


def bar(done: float, needed: float, words: str) -> Block:
    """How far a count has come."""
    return {"kind": "bar", "share": min(1.0, done / needed) if needed else 0.0, "words": words}


def command(line: str) -> Block:
    """What to type."""
    return {"kind": "command", "words": line}


def link(words: str, target: str) -> Block:
    """A file beside the page."""
    return {"kind": "link", "words": words, "target": target}
