"""A folder to start from: the notebooks and a plan, copied; nothing that stands there is written over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_monitoring import addresses
from llm_monitoring.errors import ConfigError
from llm_monitoring.reporting.notebooks import notebooks_folder

PLAN = "monitoring.toml"
DEFAULT_LOG = 'log: str = "sample_data"'


def start_folder(
    folder: Path, log: str | None = None, force: bool = False, opening: Mapping[str, Any] | None = None
) -> list[Path]:
    """Check the log, then copy the notebooks and the plan.

    Parameters
    ----------
    folder : Path
        Made where absent.
    log : str, optional
        Written into the first cell of each notebook in place of ``sample_data``, as an absolute path where it exists; of a
        URL with a password its masked form, and the notebooks find the whole one in ``LLM_MONITORING_LOG``.
    force : bool
        Write over files of the same names.
    opening : dict, optional
        Options of `open_log`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ConfigError
        A file stands there and `force` is off; nothing is written then.
    LogError
        `log` cannot be opened, or rows of it are broken; nothing is written then.
    """
    from llm_monitoring.alerts.plan import default_plan_text
    from llm_monitoring.log import open_log

    if log is not None:
        open_log(log, **(opening or {})).validate()

    sources = sorted(notebooks_folder().glob("*.ipynb"))
    targets = [folder / source.name for source in sources] + [folder / PLAN]
    standing = [str(target) for target in targets if target.exists()]
    if standing and not force:
        raise ConfigError(f"{', '.join(standing)}: already there. Overwrite with --force, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for source, target in zip(sources, targets, strict=False):
        shutil.copyfile(source, target)
        if log is not None:
            _name_log(target, str(Path(log).resolve()) if Path(log).exists() else addresses.masked(log))
    targets[-1].write_text(default_plan_text(), "utf-8")
    return targets


def _name_log(notebook: Path, log: str) -> None:
    """Write the log into the parameters cell; `repr` of a text is safe Python, whatever the path holds."""
    import nbformat

    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace(DEFAULT_LOG, f"log: str = {json.dumps(log)}")
    nbformat.write(book, notebook)
