"""What a long run is doing, a line for each step, from the first second; silent where nobody looks."""

from __future__ import annotations

import sys
import time


class Steps:
    """Says each step as it begins, on standard error.

    Parameters
    ----------
    wanted : bool
        False says nothing; True says it where standard error is a terminal or a notebook.

    >>> Steps(False).say("reading sample_data")
    """

    def __init__(self, wanted: bool):
        self._wanted = wanted and (sys.stderr.isatty() or _in_notebook())
        self._start = time.monotonic()

    def say(self, words: str) -> None:
        """Print one step with the seconds since the first."""
        if self._wanted:
            print(f"{time.monotonic() - self._start:5.0f} s  {words}", file=sys.stderr, flush=True)


def _in_notebook() -> bool:
    """Whether a person runs this in a notebook; papermill is nobody who looks."""
    from llm_monitoring.reviewing.widget import somebody_watches

    return "IPython" in sys.modules and somebody_watches()
