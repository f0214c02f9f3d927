"""Model ids that their provider may move to another model. The rules are data: `pin_rules.yaml`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.probes.model_ids import files_below, model_ids

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["model_id", "status", "provider", "pinned_form", "why", "source", "as_of", "found_in", "n"]
GATEWAYS = (
    "openai", "openaichat", "azure", "azure_ai", "anthropic", "bedrock", "vertex_ai", "vertex", "google", "gemini", "mistral",
    "mistralai", "cohere", "cohere_chat", "openrouter", "litellm", "litellm_proxy", "models", "deepseek", "xai", "github",
)  # fmt: skip
_GATEWAY = re.compile(rf"^(?:(?:{'|'.join(GATEWAYS)})[/:])+", re.IGNORECASE)
_HUB = re.compile(
    r"(?:huggingface/|hf:|together_ai/|hosted_vllm/|vllm/)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@[0-9a-f]{7,40})?"
)
DATA = {".parquet", ".pq", ".jsonl", ".ndjson", ".csv", ".json", ".gz", ".zst"}


class Pin(NamedTuple):
    """What the rules say of a model id: pinned, alias (its provider may move it), or unknown."""

    status: str
    provider: str | None = None
    pinned_form: str | None = None
    why: str | None = None
    source: str | None = None
    as_of: str | None = None


@cache
def pin_rules() -> list[dict[str, Any]]:
    """The shipped rules, one per provider, each with its source and the date when it was read."""
    import yaml

    return yaml.safe_load(files("llm_monitoring.probes").joinpath("pin_rules.yaml").read_text(encoding="utf-8"))


def pin_of(model_id: str, deployment: bool = False) -> Pin:
    """What the rules say of one model id, a gateway's prefix taken off.

    Parameters
    ----------
    model_id : str
    deployment : bool
        The id is the name of a deployment on Azure, whatever it looks like.

    Examples
    --------
    >>> pin_of("openai/gpt-4o").status, pin_of("gpt-4-0613").status, pin_of("our-own-model").status
    ('alias', 'pinned', 'unknown')
    """
    name = model_id.strip()
    if deployment or name.lower().startswith("azure/"):
        return _AZURE
    bare = _GATEWAY.sub("", name)
    for rule in pin_rules():
        if re.fullmatch(rule["looks_like"], bare, re.IGNORECASE):
            fixed = any(re.fullmatch(pattern, bare, re.IGNORECASE) for pattern in rule["pinned"])
            told = (rule["why"], rule["source"], str(rule["as_of"]))
            if fixed:
                return Pin("pinned", rule["provider"], bare, *told)
            return Pin(rule["otherwise"], rule["provider"], rule["forms"].get(bare.lower()), *told)
    hub = _HUB.fullmatch(name)
    if hub:
        return _HUB_PIN._replace(status="pinned", pinned_form=name) if hub[2] else _HUB_PIN
    return Pin("unknown", why="no rule knows this provider; look for a dated or numbered id in its documentation")


_AZURE = Pin(
    "alias",
    "azure",
    None,
    "a deployment is updated within two weeks of a new default version, unless a version is set and versionUpgradeOption is "
    "NoAutoUpgrade",
    "https://learn.microsoft.com/azure/ai-foundry/openai/how-to/working-with-models",
    "2026-11-26",
)
_HUB_PIN = Pin(
    "alias",
    "huggingface",
    None,
    "a repository without a revision follows its main branch; name the commit: revision=..., or NAME@COMMIT",
    "https://huggingface.co/docs/huggingface_hub/guides/download",
    "2025-09-01",
)


def unpinned_models(log_or_files: Any) -> pd.DataFrame:
    """Model ids that are not pinned: aliases that their provider may move, and ids that no rule knows.

    Parameters
    ----------
    log_or_files : log, DataFrame with model_id, path, or list of paths
        A path is a log, or a file or folder of source, configuration (Python, TOML, YAML, JSON, .env) or notebooks, which
        is searched for model ids.

    Returns
    -------
    DataFrame
        One row per id and place: `model_id`, `status` (alias or unknown), `provider`, `pinned_form` (what the provider
        reported behind the alias where the log's probe results tell, else a pinned id by the rules, else null), `why`,
        `source`, `as_of` (when the rule was read), `found_in` (table, or ``file:line``), `n` (rows, or times in the line). Empty
        where all are pinned. `attrs["seen"]` is the number of different model ids, pinned ones too.

    Raises
    ------
    ConfigError
        A path that does not exist, a table without `model_id`.

    Examples
    --------
    >>> import pandas as pd
    >>> unpinned_models(pd.DataFrame({"model_id": ["gpt-4", "gpt-4", "gpt-4-0613"]}))[["model_id", "pinned_form", "n"]]
      model_id pinned_form  n
    0    gpt-4  gpt-4-0613  2
    """
    import pandas as pd

    rows: list[list[Any]] = []
    seen: set[str] = set()
    for model_id, place, n, reported, deployment in _places(log_or_files):
        seen.add(model_id)
        pin = pin_of(model_id, deployment)
        if pin.status != "pinned":
            rows.append([model_id, *pin._replace(pinned_form=reported or pin.pinned_form), place, n])
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"n": "int64"})
    frame = frame.sort_values(["model_id"], kind="stable", ignore_index=True)
    frame.attrs["seen"] = len(seen)
    return frame


def _places(given: Any) -> Iterable[tuple[str, str, int, str | None, bool]]:
    """Every model id with its place, how often it stands there, what was reported behind it, and whether it is a deployment."""
    if hasattr(given, "columns"):
        return [(name, place, n, None, False) for name, place, n in _of_column(given, "the table")]
    if hasattr(given, "requests"):
        reported = _reported(given.probe_results)
        return [
            (name, place, n, reported.get(name), False) for name, place, n in _of_column(given.requests, "requests")
        ]
    listed = [given] if isinstance(given, str | Path) else list(given)
    from llm_monitoring.log import open_log

    found: list[tuple[str, str, int, str | None, bool]] = []
    for named in listed:
        if "://" in str(named):
            found += _places(open_log(str(named)))
            continue
        path = Path(named)
        if not path.exists():
            raise ConfigError(f"unpinned_models: {quote(str(path))} does not exist; expected a log, a table, or files")
        if _is_log(path):
            log = [(name, f"{path}: {place}", n, was, no) for name, place, n, was, no in _places(open_log(path))]
            found += log
        else:
            found += _of_files(path)
    return found


def _is_log(path: Path) -> bool:
    def named(file: Path) -> bool:
        return file.name.split(".")[0] == "requests" and (file.is_dir() or file.suffix in DATA)

    return any(map(named, path.iterdir())) if path.is_dir() else named(path)


def _of_column(frame: pd.DataFrame, name: str) -> list[tuple[str, str, int]]:
    if "model_id" not in frame.columns:
        raise ConfigError(f"unpinned_models: {name} has no column model_id; expected one")
    counts = frame["model_id"].dropna().astype(str).value_counts()
    return sorted((str(model_id), name, int(n)) for model_id, n in counts.items())


def _reported(results: pd.DataFrame) -> dict[str, str]:
    """The last pinned model that the provider reported behind each model id."""
    if "response_model" not in results.columns:
        return {}
    told = results.dropna(subset=["response_model"]).sort_values("run_at", kind="stable")
    pairs = zip(told["model_id"].astype(str), told["response_model"].astype(str), strict=True)
    return {model_id: model for model_id, model in pairs if pin_of(model).status == "pinned"}


def _of_files(path: Path) -> list[tuple[str, str, int, str | None, bool]]:
    found = [one for file in files_below(path) for one in model_ids(file)]
    times = Counter((one.model_id, f"{one.file}:{one.line}", one.deployment) for one in found)
    return [(model_id, place, n, None, deployment) for (model_id, place, deployment), n in times.items()]
