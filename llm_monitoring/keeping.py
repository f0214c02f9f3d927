"""What is found once of a log, or of rows of it: the answer of a function is kept with what it was asked of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:

    class Keeping(Protocol):
        """A log, or rows of it, as far as this module is concerned."""

        @property
        def kept(self) -> dict[tuple, Any]: ...


Given = ParamSpec("Given")
Asked = TypeVar("Asked", bound="Keeping")
Answer = TypeVar("Answer")


def once(find: Callable[Concatenate[Asked, Given], Answer]) -> Callable[Concatenate[Asked, Given], Answer]:
    """Have a function of a log, and of values that can be compared, find its answer once for each log and values.

    A plan, or a section of one, is compared by its JSON. The answer is shared: a caller must not edit it. It goes when the
    log goes; a cut of the log, or the log with other verdicts, is another log.

    >>> from types import SimpleNamespace
    >>> @once
    ... def rows(log, table):
    ...     print("counting", table)
    ...     return 3
    >>> log = SimpleNamespace(kept={})
    >>> rows(log, "requests") + rows(log, "requests")
    counting requests
    6
    """

    @functools.wraps(find)
    def found(log: Asked, /, *args: Given.args, **named: Given.kwargs) -> Answer:
        key = (find, *map(_told, args), *((name, _told(value)) for name, value in sorted(named.items())))
        if key not in log.kept:
            log.kept[key] = find(log, *args, **named)
        return log.kept[key]

    return found


def _told(value: Any) -> Any:
    return value.model_dump_json() if hasattr(value, "model_dump_json") else value
