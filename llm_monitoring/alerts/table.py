"""The alerts table as people see it: every sentence whole, in a terminal and in a notebook."""

from __future__ import annotations

from typing import Any

import pandas as pd

WHOLE = {"display.max_colwidth": None, "display.max_columns": None}


class Alerts(pd.DataFrame):
    """A DataFrame of alerts that shows its sentences whole; slices and copies do too, no option of pandas is changed.

    >>> print(Alerts({"message": ["search: " + "very " * 12 + "slow."]}))
                                                                      message
    0  search: very very very very very very very very very very very very slow.
    """

    @property
    def _constructor(self) -> type[Alerts]:
        return Alerts

    def __repr__(self) -> str:
        with _shown():
            return super().__repr__()

    def _repr_html_(self) -> str | None:
        with _shown({"display.html.use_mathjax": False}):  # "$2 and $4" is money
            return super()._repr_html_()  # type: ignore[misc, operator]


def _shown(more: dict[str, Any] | None = None) -> Any:
    options = WHOLE | (more or {})
    return pd.option_context(*(part for option in options.items() for part in option))
