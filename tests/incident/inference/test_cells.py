"""Requests counted where they are: the cells say what the rows say, before and since any moment."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import open_log
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.cells import requests_of, unhappy_sessions
from llm_monitoring.incident.inference.observations import observe, slice_columns
from llm_monitoring.incident.inference.slices import Band, Slice, counts, last_time
from tests.incident.worlds import START, make_alert, make_world

DAY = pd.Timedelta("1D")
SUPPORT = Slice((("feature_id", "support"),))


@pytest.fixture(scope="module")
def log():
    world = make_world(days=12)
    rng = np.random.default_rng(4)
    n = len(world.requests)
    requests = world.requests.assign(
        tenant=[f"t{k:03}" for k in rng.integers(0, 300, n)],
        input_tokens=rng.integers(50, 3000, n),
        session_id=[f"s{i // 3}" if i % 5 else None for i in range(n)],
    )
    hit = requests.iloc[::7]
    kinds = np.where(np.arange(len(hit)) % 2, "thumbs_down", "thumbs_up")
    signals = pd.DataFrame(
        {"request_id": hit["request_id"], "session_id": "x", "timestamp": hit["timestamp"], "signal_type": kinds}
    )
    return open_log({"requests": requests, "judgements": world.judgements, "signals": signals})


def counted(cells, by):
    return pd.Series(counts(cells)).groupby([cells[name].to_numpy() for name in by]).sum()


def test_cells_count_every_request_and_load_none(log):
    source, rows = requests_of(log), log.requests
    assert source.cells["n"].sum() == len(rows)
    assert last_time(source.cells) == rows["timestamp"].max()
    assert "request_id" not in source.cells
    assert "tenant" not in source.keys  # three hundred values
    expected = rows.groupby(["category", "model_id"]).size()
    assert counted(source.cells, ["category", "model_id"]).tolist() == expected.tolist()


@pytest.mark.parametrize("days", [3.0, 5.4321, -1.0, 40.0])
def test_a_day_is_parted_at_a_moment(log, days):
    source, rows = requests_of(log), log.requests
    at = START + days * DAY
    later = at + pd.Timedelta("77min")
    cells = source.parted(source.cells, [later, at])
    for when in (at, later):
        assert counts(cells[cells["timestamp"] < when]).sum() == (rows["timestamp"] < when).sum()
    between = cells[(cells["timestamp"] >= at) & (cells["timestamp"] < later)]
    assert counts(between).sum() == rows["timestamp"].between(at, later, inclusive="left").sum()


def test_a_row_at_the_moment_is_after_it(log):
    source, rows = requests_of(log), log.requests
    for at in rows["timestamp"].iloc[[0, 700, -1]]:
        cells = source.parted(source.cells, [at])
        assert counts(cells[cells["timestamp"] >= at]).sum() == (rows["timestamp"] >= at).sum()


def test_the_ends_of_a_log_are_those_of_its_rows(log):
    source, rows = requests_of(log), log.requests.sort_values(["timestamp", "request_id"])
    first, last = source.ends()
    for cells, part in ((first, rows.iloc[: max(30, len(rows) // 50)]), (last, rows.iloc[-30:])):
        assert counted(cells, ["feature_id", "category"]).equals(part.groupby(["feature_id", "category"]).size())
    assert slice_columns(source.cells, ends=(first, last)) == ("feature_id", "category", "model")


def test_a_band_and_ids_are_counted_as_a_column_more(log):
    source, rows = requests_of(log), log.requests
    inside = rows["input_tokens"] < 700
    for value, ids in ((Band(None, 700.0), None), (Band(None, 700.0), rows.loc[inside, "request_id"])):
        found = source.beside("input_tokens" if ids is None else "input_length", value, ids)
        column = found.keys[-1]
        mask = Slice(((column, value),)).mask(found.cells)
        assert found.cells["n"].sum() == len(rows)
        assert counts(found.cells[mask]).sum() == inside.sum()


def test_sessions_are_counted_before_and_since(log):
    source, rows, at = requests_of(log), log.requests, START + 6.3 * DAY
    hits = log.signals.loc[log.signals["signal_type"] == "thumbs_down", "request_id"]
    own = rows[rows["feature_id"] == "support"]
    session = own["session_id"].fillna(own["request_id"])
    by = own["request_id"].isin(hits).groupby([session, own["timestamp"] >= at]).any()
    expected = [(int(side.sum()), len(side)) for late in (False, True) for side in [by[:, late]]]
    assert unhappy_sessions(log, source.within(SUPPORT), ["thumbs_down"], at) == expected
    assert unhappy_sessions(log, source.within(SUPPORT), ["correction"], at) is None


def test_what_a_request_costs_is_the_mean_of_the_rows(log):
    rows, at = log.requests, START + 6.3 * DAY
    own = rows[(rows["feature_id"] == "support") & (rows["timestamp"] >= at)]
    assert requests_of(log).paid(SUPPORT, at) == pytest.approx(own["cost_usd"].mean(), rel=1e-12)
    assert np.isnan(requests_of(log).paid(SUPPORT, START + 99 * DAY))


def test_answers_bring_the_columns_of_their_requests_along(log):
    seen = observe(log, read_alert(make_alert()))
    rows = log.requests.set_index("request_id")
    for name in ("timestamp", "feature_id", "category", "model_id"):
        assert seen.frame[name].tolist() == rows.loc[seen.frame["request_id"], name].tolist()
    more = seen.source.columns(seen.frame["request_id"], ["tenant", "input_tokens"])
    assert more["tenant"].tolist() == rows.loc[seen.frame["request_id"], "tenant"].tolist()
    assert more["input_tokens"].dtype == float
