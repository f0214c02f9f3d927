"""A log written as a folder that `open_log` reads: one Parquet file a table, and the import report beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from llm_monitoring import disk
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
    disk.make_folder(folder)
    written = set()
    for table in TABLES:
        frame = getattr(log, table)
        if table == "requests" or len(frame):
            texts = {column.name for column in TABLES[table].columns if column.kind == "json"} & set(frame.columns)
            packed = {name: [None if value is None else json.dumps(value) for value in frame[name]] for name in texts}
            with disk.replacing(folder / f"{table}.parquet") as part:
                frame.assign(**packed).to_parquet(part, index=False)
            written.add(folder / f"{table}.parquet")
    for old in {old for table in TABLES for old in folder.glob(f"{table}.*")} - written:
        old.unlink()  # only now that the whole log stands
    told = json.dumps(report.to_dict(), ensure_ascii=False, indent=1)
    disk.write(folder / "import_report.json", told + "\n")
    return folder
