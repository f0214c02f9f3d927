"""Pinned or alias: the providers' own examples, and places where ids stand."""

from types import SimpleNamespace

import pandas as pd
import pytest
from builders import make_requests

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


@pytest.mark.parametrize(
    ("model_id", "status", "provider"),
    [
        ("azure/chat-prod", "alias", "azure"),
        ("mistral-large-latest", "alias", "mistral"),
        ("mistral-large-2411", "pinned", "mistral"),
        ("open-mixtral-8x7b", "alias", "mistral"),
        ("command-r", "alias", "cohere"),
        ("command-r-08-2024", "pinned", "cohere"),
        ("meta-llama/Llama-3.1-8B-Instruct", "alias", "huggingface"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "alias", "huggingface"),
        ("openai/gpt-oss-120b", "alias", "huggingface"),
        ("org/model@0e9e39f249a16976918f6564b8830bc894c89659", "pinned", "huggingface"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "pinned", "bedrock"),
        ("amazon.nova-pro-v1:0", "pinned", "bedrock"),
        ("amazon.nova-pro", "unknown", "bedrock"),
        ("vertex_ai/gemini-2.0-flash", "alias", "google"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "pinned", "openai"),
    ],
)
def test_every_provider_has_its_rule(model_id, status, provider):
    pin = pin_of(model_id)
    assert (pin.status, pin.provider) == (status, provider)
    assert pin.source.startswith("https://")
    assert pin.as_of[:2] == "20"


FILES = {
    "a.py": 'MODEL = "gpt-4o"  # "gpt-4"\n"""Uses gpt-4 in prose."""\ncfg = {"model_id": "our-own-v2"}\n'
    'def f(model: str = "mistral-large-latest"): ...\nc = os.getenv("JUDGE_MODEL", "command-r")\n'
    'm = A.from_pretrained("org/net")\nn = A.from_pretrained("org/net", revision="0e9e39f249a16976")\n'
    'd = Azure(azure_deployment="chat-prod", api_version="2024-06-01")\npath = "data/train"\n',
    "c.toml": '[llm]\nmodel = "gpt-4o-mini" # gpt-4\nfallback = ["gpt-4.1-2025-04-14", "o3-mini"]\n',
    "c.yaml": "llm:\n  model: claude-sonnet-4-5\n  judgeModel: 'own-judge-1'\nlisted:\n  - gemini-1.5-pro\nmodel: ${MODEL}\n",
    "c.json": '{"engine": "gpt-3.5-turbo",\n "modelId": "foo-bar", "model_path": "x/model.bin"}\n',
    ".env": "OPENAI_MODEL=gpt-4\nexport HF_MODEL_ID='org/other'\nOPENAI_API_KEY=sk-123\n",
    "n.ipynb": '{"cells": [{"source": [\n "client.chat(model=\\"gpt-4-turbo\\")\\n"]}]}\n',
    "broken.py": 'model = "gpt-4"\n  def (\n',
    ".venv/lib.py": 'model = "gpt-4"\n',
}
PLACES = [
    ("a.py:1", "gpt-4o"), ("a.py:3", "our-own-v2"), ("a.py:4", "mistral-large-latest"), ("a.py:5", "command-r"),
    ("a.py:6", "org/net"), ("a.py:8", "chat-prod"), ("c.toml:2", "gpt-4o-mini"), ("c.toml:3", "o3-mini"),
    ("c.yaml:2", "claude-sonnet-4-5"), ("c.yaml:3", "own-judge-1"), ("c.yaml:5", "gemini-1.5-pro"),
    ("c.json:1", "gpt-3.5-turbo"), ("c.json:2", "foo-bar"), (".env:1", "gpt-4"), (".env:2", "org/other"),
    ("n.ipynb:2", "gpt-4-turbo"), ("broken.py:1", "gpt-4"),
]  # fmt: skip


def test_ids_are_found_in_files_of_every_kind_at_their_lines(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = unpinned_models(tmp_path)
    places = {(place.removeprefix(f"{tmp_path}/"), name) for place, name in zip(found["found_in"], found["model_id"])}
    assert places == set(PLACES)
    assert found.set_index("model_id").loc["chat-prod", "provider"] == "azure"
    assert (found["n"] == 1).all()


def test_a_path_that_is_a_log_is_read_as_one(tmp_path):
    make_requests(4, model_id="gpt-4o").to_json(
        tmp_path / "requests.jsonl", orient="records", lines=True, date_format="iso"
    )
    found = unpinned_models([tmp_path])
    assert found[["model_id", "found_in", "n"]].values.tolist() == [["gpt-4o", f"{tmp_path}: requests", 4]]


@pytest.mark.parametrize("text", ['"' * 200_000, "model" * 100_000, "a:" * 100_000, "- " * 100_000, "claude-" * 50_000])
def test_hostile_files_end_soon_and_hold_no_id(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert len(unpinned_models(tmp_path)) <= 1
