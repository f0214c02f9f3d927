"""The numbers of a watch, put on every page and pushed to every collector that its plan names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llm_monitoring.alerts.plan import Plan
from llm_monitoring.errors import LogError
from llm_monitoring.watching.looking import Source
from llm_monitoring.watching.outside import marks
from llm_monitoring.watching.showing import Collector, MetricsPage
from llm_monitoring.watching.sinks import METRICS, SinkError, addresses_of
from llm_monitoring.watching.state import State


@dataclass
class Boards:
    """Pages and collectors of a plan. What is measured of the features is kept until the log changes."""

    source: Source
    plan: Plan
    all: list[MetricsPage | Collector] = field(init=False)
    _levels: Any = None
    _measured: tuple[Any, list[Any]] | None = None

    def __post_init__(self) -> None:
        self.all = [
            (MetricsPage if kind == "prometheus" else Collector)(wanted, url)
            for wanted, url, kind in addresses_of(self.plan)
            if kind in METRICS
        ]

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While this lasts, the pages can be asked for."""
        pages = [board for board in self.all if isinstance(board, MetricsPage)]
        try:
            for page in pages:
                page.start()
            yield
        finally:
            for page in pages:
                page.stop()

    def test(self) -> list[tuple[str, str | None]]:
        """What each page and collector says to a try without numbers: its address, and why not where it cannot be used."""
        return [(board.shown, board.reason_against()) for board in self.all]

    def show(self, state: State, readable: bool, waiting: int = 0) -> list[str]:
        """Show the numbers of this moment, with how many deliveries are waiting; what could not be shown is reported."""
        from llm_monitoring.watching.gauges import of_watch

        shown = [board for board in self.all if isinstance(board, Collector) or board.server is not None]
        said = [f"{board.shown} is shown by a running watch only" for board in self.all if board not in shown]
        if shown and readable:
            try:
                self._measure()
            except (LogError, OSError) as error:
                said.append(f"the numbers are unchanged: {error}")
        for board in shown:
            wanted = board.wanted
            gauges = self._measured[1] if self._measured and board.takes("infrastructure") else []
            own = [gauge for gauge in gauges if not wanted.features or gauge.labels["feature_id"] in wanted.features]
            try:
                board.show([*own, *of_watch(state, board.wants, waiting)])
            except SinkError as error:
                said.append(f"{board.shown} did not take the numbers: {error}")
        return said

    def _measure(self) -> None:
        from llm_monitoring.watching.gauges import of_features
        from llm_monitoring.watching.levels import levels_of

        now = marks(self.source.log)
        if self._measured is None or now is None or now != self._measured[0]:
            log = self.source.open(self.plan)
            self._levels = self._levels or levels_of(log, self.plan)
            self._measured = now, of_features(log, self.plan, self._levels)
