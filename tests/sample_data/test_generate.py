"""The sample log is what its README says, and is made again byte for byte."""

import gzip
import hashlib
import json
import subprocess
import sys
import zlib
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "sample_data"
INCIDENT = pd.Timestamp("2026-05-18T10:00Z")


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    out = tmp_path_factory.mktemp("log")
    subprocess.run([sys.executable, FOLDER / "generate.py", "--seed", "0", "--out", out], check=True)
    return out


@pytest.fixture(scope="module")
def requests():
    with gzip.open(FOLDER / "requests.jsonl.gz", "rt") as lines:
        frame = pd.DataFrame(json.loads(line) for line in lines)
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"]))


@pytest.fixture(scope="module")
def judged(requests):
    judgements = pd.DataFrame(json.loads(line) for line in (FOLDER / "judgements.jsonl").read_text().splitlines())
    joined = judgements.merge(requests[["request_id", "timestamp", "category", "model_id", "system_output"]])
    return joined.assign(period=(joined["timestamp"] >= INCIDENT).map({True: "after", False: "before"}))


@pytest.fixture(scope="module")
def signals():
    return pd.read_csv(FOLDER / "signals.csv")


@pytest.mark.parametrize(
    "name", sorted(path.name for path in FOLDER.iterdir() if ".jsonl" in path.name or path.suffix == ".csv")
)
def test_the_same_seed_gives_the_same_bytes(again, name):
    made, kept = (again / name).read_bytes(), (FOLDER / name).read_bytes()
    if name.endswith(".gz") and "ng" in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng packs the same text into other bytes
        made, kept = gzip.decompress(made), gzip.decompress(kept)
    assert hashlib.sha256(made).hexdigest() == hashlib.sha256(kept).hexdigest()


def test_folder_stays_under_four_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 4e6


def test_log_has_three_weeks_four_features_six_categories_two_models(requests):
    assert 9_000 <= len(requests) <= 11_000
    assert requests["timestamp"].dt.date.nunique() == 21
    assert requests["request_id"].is_unique
    assert requests[["feature_id", "category", "model_id"]].nunique().tolist() == [4, 6, 2]


def test_judged_rows_are_those_that_the_hash_rule_picks(requests, judged):
    digest = requests["request_id"].map(
        lambda name: int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100_000 / 100_000
    )
    rate = requests["feature_id"].map(judged.groupby("feature_id")["inclusion_probability"].first())
    expected = requests[
        (digest < rate) & requests["error"].isna() & (requests["timestamp"] < requests["timestamp"].max().floor("h"))
    ]
    assert set(expected["request_id"]) <= set(judged["request_id"])
    assert (
        judged.merge(requests.assign(digest=digest)[["request_id", "digest"]]).eval("digest < inclusion_probability")
    ).all()
    assert 0.10 < len(judged) / len(requests) < 0.15


def test_quality_is_the_rounded_mean_of_the_dimensions_and_flags_follow(judged):
    ok = judged[judged["status"] == "ok"]
    mean = ok["dimensions"].map(lambda scores: int(sum(scores.values()) / 3 + 0.5))
    correctness = ok["dimensions"].map(lambda scores: scores["correctness"])
    assert (ok["quality_score"] == mean).all()
    assert (ok["flagged"] == ((mean <= 2) | (correctness <= 2))).all()
    failed = judged[judged["status"] == "failed"]
    assert len(failed) > 5
    assert failed["quality_score"].isna().all()
    assert not failed["flagged"].any()


def test_prompt_change_hurts_support_returns_by_about_one_point_and_nothing_else(judged):
    slices = judged.groupby(["feature_id", "category", "period"])["quality_score"].agg(["mean", "count"]).unstack()
    fall = slices["mean"]["before"] - slices["mean"]["after"]
    known = fall[(slices["count"]["before"] >= 20) & (slices["count"]["after"] >= 20)]
    assert 1.0 < known["support", "returns"] < 1.6
    assert known.drop(("support", "returns")).abs().max() < 0.45


def test_hurt_slice_is_a_quarter_of_support_with_enough_judged_answers_a_day(judged):
    support = judged[judged["feature_id"] == "support"]
    hurt = support[(support["category"] == "returns") & (support["period"] == "after")]
    assert 0.2 < (support["category"] == "returns").mean() < 0.3
    assert hurt.groupby(hurt["timestamp"].dt.date).size().mean() >= 8


def test_summary_is_praised_by_few_and_abandoned_by_many_throughout(requests, signals):
    summary = requests[requests["feature_id"] == "summary"]
    seen = signals.merge(summary[["request_id", "timestamp"]], on="request_id", suffixes=("", "_request"))
    kinds = seen["signal_type"].value_counts()
    assert kinds["thumbs_up"] / (kinds["thumbs_up"] + kinds["thumbs_down"]) > 0.8
    weekly = seen[seen["signal_type"] == "abandoned"].groupby(seen["timestamp_request"].dt.isocalendar().week).size()
    assert (weekly / summary.groupby(summary["timestamp"].dt.isocalendar().week).size()).min() > 0.35


def test_twenty_reviews_are_of_flagged_support_answers_since_the_change(judged):
    reviews = pd.DataFrame(json.loads(line) for line in (FOLDER / "reviews.jsonl").read_text().splitlines())
    reviewed = reviews.merge(judged, on="request_id")
    assert len(reviewed) == len(reviews) == 20
    assert reviewed["flagged"].all()
    assert (reviewed["feature_id"] == "support").all()
    assert (reviewed["period"] == "after").all()
    verdicts = reviews["verdict"].value_counts()
    assert verdicts["real"] >= 15
    assert verdicts["unsure"] == 1
    assert 1 <= verdicts["false_positive"] <= 3


def test_texts_are_varied(requests):
    assert requests["user_input"].nunique() > 0.6 * len(requests)
    assert requests["system_output"].nunique() > 0.5 * len(requests)
    for column in ("user_input", "system_output"):
        texts = requests[column].dropna()
        assert not texts.str.contains(r"\{[a-z_]+[0-9]?\}").any(), f"{column} holds an unfilled slot"
