"""Cost: the test of runaway requests beside the charts, with a fault in its hours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from llm_monitoring.alerts import operation
from llm_monitoring.alerts.runaway import Followed, paid_by_hour
from llm_monitoring.alerts.scopes import RUNAWAY
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.planting import touched_log
from llm_monitoring.backtesting.replay import FOUND, Key, Replay


class Runaways:
    """The tests of a log, followed once without a fault."""

    def __init__(self, replay: Replay, metric: str):
        self.replay = replay
        shares = replay.charted.shares
        self.tested = {key: replay.run_of(key) for key in replay.keys((metric,)) if (*key, RUNAWAY) in shares}
        self.most = operation.hours_of(replay.log)
        quiet = self._by_hour(self.most, replay.hourly((metric,)))
        self.followed = {
            key: Followed.of(hours, self.tested[key], shares[(*key, RUNAWAY)]) for key, hours in quiet.items()
        }

    def seen(self, hit: pd.DataFrame, starts: list[pd.Timestamp], injection: Injection, seed: int) -> pd.DataFrame:
        """When each test tells of a fault that begins at each of the starts; columns as `Replay.seen` has them.

        Parameters
        ----------
        hit : DataFrame
            Hourly sums of what is paid, with the fault from beginning to end, of the features that it hits.
        starts : list of Timestamp
        injection : Injection
            Of cost, dearer than before.
        seed : int
        """
        reached = set(hit["feature_id"])
        dearest = self._dearest(injection, seed)
        rows: list[tuple] = []
        for key, faulty in self._by_hour(dearest, hit, {key for key in self.tested if key[0] in reached}).items():
            for number, start in enumerate(starts):
                fired = self.followed[key].first_alarm(faulty, start, start + pd.Timedelta(days=injection.days))
                if fired is not None:
                    rows.append((number, *key, fired))
        return pd.DataFrame(rows, columns=FOUND)

    def _by_hour(
        self, most: pd.DataFrame, tallies: pd.DataFrame, keys: set[Key] | None = None
    ) -> dict[Key, pd.DataFrame]:
        tested = {key: run for key, run in self.tested.items() if keys is None or key in keys}
        return paid_by_hour(tested, most, tallies, self.replay.plan, self.replay.span.asked)

    def _dearest(self, injection: Injection, seed: int) -> pd.DataFrame:
        """The dearest request of every hour if the fault were in it: one that is hit, or the one that was."""
        inside = operation.hours_of(touched_log(self.replay.log, injection, seed))
        keys, column = ["feature_id", "hour"], f"most_{operation.DEAREST['avg_cost_per_request_usd']}"
        both = self.most[keys].merge(inside[[*keys, column]], how="left", on=keys)
        dearest = np.fmax(self.most[column].to_numpy(), injection.size * both[column].to_numpy())
        return self.most.assign(**{column: dearest})
