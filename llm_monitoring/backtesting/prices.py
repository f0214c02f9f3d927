"""Cost: the test of a new price beside the charts, with a fault in its hours."""

from __future__ import annotations

import pandas as pd

from llm_monitoring.alerts.prices import hours_of_models, lessons
from llm_monitoring.alerts.scopes import PRICES
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.planting import touched_log
from llm_monitoring.backtesting.replay import FOUND, Replay


class Prices:
    """The tests of a log, and what each has learnt and from when on."""

    def __init__(self, replay: Replay, metric: str):
        self.replay, self.shares = replay, {}
        self.learnt = {}
        for key in replay.keys((metric,)):
            share = replay.charted.shares.get((*key, PRICES))
            if share is not None:
                run, end = replay.run_of(key), replay.span.asked
                self.shares[key], self.learnt[key] = share, lessons(replay.log, replay.plan, run, share, end)

    def seen(self, starts: list[pd.Timestamp], injection: Injection, seed: int) -> pd.DataFrame:
        """When each test tells of a fault of cost that begins at each of the starts; columns as `Replay.seen` has them."""
        hit = dict(list(hours_of_models(touched_log(self.replay.log, injection, seed)).groupby("feature_id")))
        rows: list[tuple] = []
        for key, learnt in self.learnt.items():
            for number, start in enumerate(starts if key[0] in hit else []):
                priced = next((each for since, each in reversed(learnt) if since <= start), None)
                end = start + pd.Timedelta(days=injection.days)
                fired = priced and priced.first_alarm(hit[key[0]], injection.size, start, end, self.shares[key])
                if fired is not None:
                    rows.append((number, *key, fired))
        return pd.DataFrame(rows, columns=FOUND)
