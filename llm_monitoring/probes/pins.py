"""Model ids that their provider may move to another model. The rules are data: `pin_rules.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_monitoring.errors import ConfigError, quote

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["model_id", "status", "provider", "pinned_form", "why", "source", "as_of", "found_in", "n"]
_GATEWAY = re.compile(r"^(?:[a-z_]+(?:ai|chat|ock|ure)?/|models/)+", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"[\"'`=:\s]((?:[a-z_]+/)*(?:gpt-[\w.:@-]+|chatgpt-[\w.-]+|o[1-9](?:-[\w.-]+)?|(?:anthropic\.)?claude-[\w.:@-]+"
    r"|gemini-[\w.@-]+|mistral-[\w.-]+|command-[\w.-]+|deepseek-[\w.-]+|grok-[\w.-]+))[\"'`,;\s]",
    re.IGNORECASE,
)


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


def pin_of(model_id: str) -> Pin:
    """What the rules say of one model id, a gateway's prefix taken off.

    >>> pin_of("openai/gpt-4o").status, pin_of("gpt-4-0613").status, pin_of("our-own-model").status
    ('alias', 'pinned', 'unknown')
    """
    bare = _GATEWAY.sub("", model_id.strip())
    for rule in pin_rules():
        if re.fullmatch(rule["looks_like"], bare, re.IGNORECASE):
            fixed = any(re.fullmatch(pattern, bare, re.IGNORECASE) for pattern in rule["pinned"])
            told = (rule["why"], rule["source"], str(rule["as_of"]))
            if fixed:
                return Pin("pinned", rule["provider"], bare, *told)
            return Pin(rule["otherwise"], rule["provider"], rule["forms"].get(bare.lower()), *told)
    return Pin("unknown", why="no rule knows this provider; look for a dated or numbered id in its documentation")


def unpinned_models(log_or_files: Any) -> pd.DataFrame:
    """Model ids that are not pinned: aliases that their provider may move, and ids that no rule knows.

    Parameters
    ----------
    log_or_files : log, DataFrame with model_id, path, or list of paths
        Files and folders (of source, configuration, notebooks) are searched for model ids of known shape.

    Returns
    -------
    DataFrame
        `model_id`, `status` (alias or unknown), `provider`, `pinned_form` (what the provider reported behind the
        alias where the log's probe results tell, else a pinned id by the rules, else null), `why`, `source`, `as_of`
        (when the rule was read), `found_in` (table, or file and line), `n` (rows or places). Empty where all are pinned.

    Examples
    --------
    >>> import pandas as pd
    >>> unpinned_models(pd.DataFrame({"model_id": ["gpt-4", "gpt-4", "gpt-4-0613"]}))[["model_id", "pinned_form", "n"]]
      model_id pinned_form  n
    0    gpt-4  gpt-4-0613  2
    """
    import pandas as pd

    reported: dict[str, str] = {}
    if hasattr(log_or_files, "columns"):
        found = _of_column(log_or_files, "the table")
    elif hasattr(log_or_files, "requests"):
        found = _of_column(log_or_files.requests, "requests")
        reported = _reported(log_or_files.probe_results)
    else:
        found = _of_files(log_or_files)
    rows = []
    for model_id, (place, n) in sorted(found.items()):
        pin = pin_of(model_id)
        if pin.status != "pinned":
            pin = pin._replace(pinned_form=reported.get(model_id, pin.pinned_form))
            rows.append([model_id, *pin, place, n])
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n": "int64"})


def _of_column(frame: pd.DataFrame, name: str) -> dict[str, tuple[str, int]]:
    if "model_id" not in frame.columns:
        raise ConfigError(f"unpinned_models: {name} has no column model_id; expected one")
    counts = frame["model_id"].dropna().astype(str).value_counts()
    return {str(model_id): (name, int(n)) for model_id, n in counts.items()}


def _reported(results: pd.DataFrame) -> dict[str, str]:
    """The last pinned model that the provider reported behind each model id."""
    if "response_model" not in results.columns:
        return {}
    told = results.dropna(subset=["response_model"]).sort_values("run_at", kind="stable")
    pairs = zip(told["model_id"].astype(str), told["response_model"].astype(str), strict=True)
    return {model_id: model for model_id, model in pairs if pin_of(model).status == "pinned"}


def _of_files(paths: str | Path | Iterable[str | Path]) -> dict[str, tuple[str, int]]:
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    found: dict[str, tuple[str, int]] = {}
    for path in map(Path, listed):
        if not path.exists():
            raise ConfigError(f"unpinned_models: {quote(str(path))} does not exist; expected a log, a table, or files")
        inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in inside:
            for model_id, line in _in_file(file):
                place, n = found.get(model_id, (f"{file} line {line}", 0))
                found[model_id] = place, n + 1
    return found


def _in_file(file: Path) -> Iterable[tuple[str, int]]:
    """Model ids in a text file up to 2 MB, with the line each stands in."""
    if file.stat().st_size > 2_000_000:
        return
    try:
        text = file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):  # no text, or not ours to read: no model id can be told
        return
    for number, line in enumerate(text.split("\n"), start=1):
        for match in _IN_TEXT.finditer(f" {line} "):
            yield match[1], number
