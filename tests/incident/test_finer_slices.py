"""Long columns, bands of numbers and what is read off the texts are searched for the slice that was hit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import incident, open_log
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.finer import find_finer
from llm_monitoring.incident.inference.observations import observe
from llm_monitoring.incident.inference.slices import ALL, Band, Slice
from tests.incident.worlds import START, make_alert, make_world

INDEX = {"change_id": "index-30", "kind": "rag_index", "day": 10.5}
SINCE = START + pd.Timedelta("10.5D")


def hit_world(columns, chosen, drop=1.8):
    """Answers of `chosen` rows fall from day 10.5 on; `columns` are added to the requests."""
    world = make_world(per_day=300, days=14, changes=[INDEX])
    requests = world.requests.assign(**columns(np.random.default_rng(2), len(world.requests)))
    late = requests["timestamp"] >= SINCE
    score = np.clip(world.judgements["quality_score"] - drop * (late & chosen(requests)).to_numpy(), 1, 5)
    judgements = world.judgements.assign(quality_score=score, flagged=score <= 2)
    return open_log({"requests": requests, "judgements": judgements, "changes": world.changes})


def tenants(rng, n):
    often = np.r_[0.12, np.full(49, 0.88 / 49)]
    return {
        "tenant": [f"t{k:02d}" for k in rng.choice(50, n, p=often / often.sum())],
        "input_tokens": rng.integers(50, 3000, n),
    }


@pytest.fixture(scope="module")
def one_tenant():
    return hit_world(tenants, lambda r: r["tenant"] == "t00")


def test_one_tenant_of_fifty_is_named_and_what_was_searched_is_said(one_tenant):
    found = incident.scope(one_tenant, make_alert(feature_id=None))
    assert found.slices[0]["where"] == {"tenant": "t00"}
    assert {"tenant", "input_tokens", "input_length", "category"} <= set(found.looked_at)
    assert "latency_ms" in found.not_looked_at


def test_a_combination_that_was_hit_in_one_column_by_chance_gives_way_to_what_was_hit(one_tenant):
    seen = observe(one_tenant, read_alert(make_alert(feature_id=None)))
    by_chance = Slice((("feature_id", "support"), ("category", "returns")))
    found = find_finer(seen, by_chance, SINCE)[1]
    assert found.slice == Slice((("feature_id", "support"), ("tenant", "t00")))


def test_long_inputs_are_named_as_a_band_of_their_number():
    log = hit_world(tenants, lambda r: r["input_tokens"] >= 2600)
    alert = make_alert(feature_id=None)
    found = incident.scope(log, alert)
    band = found.slices[0]["where"]["input_tokens"]
    assert band["to"] is None
    assert band["from"] == pytest.approx(2600, abs=160)
    assert "input_tokens" in found.headline
    cause = incident.isolate(log, alert, found)
    assert incident.respond(log, alert, found, cause).measures[0]["n_after"] == found.slices[0]["n_after"]


def test_a_whole_number_may_be_the_name_of_a_customer():
    def customers(rng, n):
        often = np.r_[0.1, np.full(119, 0.9 / 119)]
        return {"customer_id": 1000 + rng.permutation(120)[rng.choice(120, n, p=often / often.sum())]}

    largest = lambda r: r["customer_id"] == r["customer_id"].value_counts().index[0]  # noqa: E731
    log = hit_world(customers, largest)
    found = incident.scope(log, make_alert(feature_id=None)).slices[0]
    name = int(log.requests["customer_id"].value_counts().index[0])
    assert found["where"] == {"customer_id": name}
    assert found["label"] == f"customer_id {name}"


def test_a_band_is_left_closed_and_survives_the_result():
    group = Slice.of({"tokens": {"from": 1000, "to": None}})
    assert group.mask(pd.DataFrame({"tokens": [999, 1000, None]})).tolist() == [False, True, False]
    assert group == Slice((("tokens", Band(1000, None)),))
    assert group.to_dict() == {"tokens": {"from": 1000, "to": None}}


def test_where_all_answers_fell_alike_a_narrower_slice_is_named_at_most_five_times_in_a_hundred(one_tenant):
    seen = observe(one_tenant, read_alert(make_alert(feature_id=None)))
    late = (seen.frame["timestamp"] >= SINCE).to_numpy()
    named = 0
    for seed in range(60):
        value = np.random.default_rng(seed).permutation(seen.frame["value"].to_numpy()) - 0.5 * late
        shuffled = replace(seen, frame=seen.frame.assign(value=value))
        named += find_finer(shuffled, ALL, SINCE)[1].slice is not None
    assert named <= 6  # 5 in 100 of 60 is 3; more than 6 by chance once in 30


def test_answers_to_questions_in_one_language_are_named_by_a_column_that_the_log_does_not_have():
    french = "Bonjour, je ne trouve pas la facture de mon colis dans le compte, est-ce que vous pouvez me l'envoyer ?"
    english = "Hello, I cannot find the invoice of my parcel in the account, could you please send it to me?"

    def texts(rng, n):
        return {"user_input": np.where(rng.uniform(size=n) < 0.2, french, english)}

    log = hit_world(texts, lambda r: r["user_input"] == french)
    found = incident.scope(log, make_alert(feature_id=None))
    assert set(found.slices[0]["where"]) <= {"language", "input_length"}
    assert {"language", "format"} & set(found.looked_at)


def test_whom_a_change_names_is_a_slice_however_many_values_its_column_has():
    rng = np.random.default_rng(3)
    change = {"change_id": "cfg-t07", "kind": "config", "day": 10.5, "tenant": "t07"}
    world = make_world(changes=[change])
    tenant = np.array(
        [f"t{k:02d}" for k in rng.choice(50, len(world.requests), p=np.r_[np.full(49, 0.9 / 49), 0.1][::-1])]
    )
    tenant = np.where(tenant == "t00", "t07", np.where(tenant == "t07", "t00", tenant))  # a tenth is of t07
    hit = (tenant == "t07") & (world.requests["timestamp"] >= START + pd.Timedelta("10.5D")).to_numpy()
    others = {name: rng.choice(["a", "b"], len(tenant)) for name in ("app", "browser", "channel")}
    scores = world.judgements.assign(quality_score=np.clip(world.judgements["quality_score"] - 2 * hit, 1, 5))
    requests = world.requests.assign(tenant=tenant, **others)
    log = open_log({"requests": requests, "judgements": scores, "changes": world.changes})
    found = incident.scope(log, make_alert())
    cause = incident.isolate(log, make_alert(), found)
    assert found.slices[0]["where"] == {"tenant": "t07"}
    assert found.slices[0]["n_after"] == int(hit.sum())
    assert cause.verdict == "cfg-t07"
    assert incident.respond(log, make_alert(), found, cause).target == "cfg-t07"
