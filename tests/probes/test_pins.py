"""Pinned or alias: the providers' own examples, and places where ids stand."""

from types import SimpleNamespace

import pandas as pd
import pytest

from llm_monitoring.errors import ConfigError
from llm_monitoring.probes.pins import COLUMNS, pin_of, pin_rules, unpinned_models


@pytest.mark.parametrize(
    ("model_id", "status", "pinned_form"),
    [
        ("gpt-4", "alias", "gpt-4-0613"),
        ("gpt-4o", "alias", "gpt-4o-2024-08-06"),
        ("openai/gpt-4o-mini", "alias", "gpt-4o-mini-2024-07-18"),
        ("openaichat/gpt-3.5-turbo-0301", "pinned", "gpt-3.5-turbo-0301"),
        ("gpt-4.1-2025-04-14", "pinned", "gpt-4.1-2025-04-14"),
        ("chatgpt-4o-latest", "alias", None),
        ("claude-sonnet-4-5", "alias", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4-5-20250929", "pinned", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4-6", "pinned", "claude-sonnet-4-6"),
        ("claude-haiku-4-5@20251001", "pinned", "claude-haiku-4-5@20251001"),
        ("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", "pinned", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-3-opus-latest", "alias", None),
        ("gemini-1.5-pro", "alias", "gemini-1.5-pro-002"),
        ("gemini-1.5-pro-001", "pinned", "gemini-1.5-pro-001"),
        ("gemini-flash-latest", "alias", None),
        ("our-model", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_ids_of_the_providers_own_documentation(model_id, status, pinned_form):
    pin = pin_of(model_id)
    assert (pin.status, pin.pinned_form) == (status, pinned_form)


def test_every_rule_names_its_source_and_date():
    for rule in pin_rules():
        assert rule["source"].startswith("https://")
        assert str(rule["as_of"])[:2] == "20"
        assert all(pin_of(pinned).status == "pinned" for pinned in rule["forms"].values())
        assert all(pin_of(alias).status == "alias" for alias in rule["forms"])


def test_what_the_provider_reported_wins_over_the_rules():
    log = SimpleNamespace(
        requests=pd.DataFrame({"model_id": ["gpt-4o"] * 3 + ["our-model", None]}),
        probe_results=pd.DataFrame(
            {"model_id": ["gpt-4o"] * 2, "run_at": [2, 1], "response_model": ["gpt-4o-2024-11-20", "gpt-4o-2024-08-06"]}
        ),
    )
    found = unpinned_models(log)
    assert found[["model_id", "status", "n"]].values.tolist() == [["gpt-4o", "alias", 3], ["our-model", "unknown", 1]]
    assert found["pinned_form"].tolist()[0] == "gpt-4o-2024-11-20"


def test_probe_results_that_report_no_model_change_nothing():
    results = pd.DataFrame({"model_id": ["gpt-4"], "run_at": [1], "response_model": [None]})
    log = SimpleNamespace(requests=pd.DataFrame({"model_id": ["gpt-4"]}), probe_results=results)
    assert unpinned_models(log)["pinned_form"].tolist() == ["gpt-4-0613"]


def test_files_are_searched_and_the_line_named(tmp_path):
    (tmp_path / "app.py").write_text('a = 1\nclient.chat(model="gpt-4o", n=1)\nb = "gpt-4-0613"\n')
    (tmp_path / "picture.bin").write_bytes(b"\xff\xfe\x00gpt-4")
    found = unpinned_models(tmp_path)
    assert found["model_id"].tolist() == ["gpt-4o"]
    assert found["found_in"].tolist() == [f"{tmp_path / 'app.py'}:2"]


def test_nothing_unpinned_is_an_empty_table_with_its_columns():
    assert list(unpinned_models(pd.DataFrame({"model_id": ["gpt-4-0613"]})).columns) == COLUMNS


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(ConfigError) as error:
        unpinned_models("no/such/folder")
    assert str(error.value) == "unpinned_models: 'no/such/folder' does not exist; expected a log, a table, or files"
