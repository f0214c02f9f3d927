"""A log written as a folder that `open_log` reads: one Parquet file a table, and the import report beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from llm_monitoring.errors import ConfigError
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.schema import TABLES

if TYPE_CHECKING:
    from llm_monitoring.log import Log


def write_log(log: Log, report: ImportReport, out: str | Path, *, force: bool = False) -> Path:
    """Write an imported log and its report.

    Parameters
    ----------
    log, report : Log, ImportReport
        As an importer returns them.
    out : path
        Folder; made where it is absent.
    force : bool
        Whether a log that is there already is overwritten.

    Returns
    -------
    Path
        The folder, which holds ``requests.parquet``, further tables where there are any, and ``import_report.json``.

    Raises
    ------
    ConfigError
        Where the folder holds a log already and `force` is false.
    """
    folder = Path(out)
    there = [table for table in TABLES if list(folder.glob(f"{table}.*"))]
    if there and not force:
        raise ConfigError(
            f"{folder} holds a log already ({', '.join(there)}). Name another folder, or overwrite it with --force"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        for old in folder.glob(f"{table}.*"):
            old.unlink()
        frame = getattr(log, table)
        if table == "requests" or len(frame):
            texts = {column.name for column in TABLES[table].columns if column.kind == "json"} & set(frame.columns)
            packed = {name: [None if value is None else json.dumps(value) for value in frame[name]] for name in texts}
            frame.assign(**packed).to_parquet(folder / f"{table}.parquet", index=False)
    told = json.dumps(report.to_dict(), ensure_ascii=False, indent=1)
    (folder / "import_report.json").write_text(told + "\n", encoding="utf-8", errors="replace")
    return folder
