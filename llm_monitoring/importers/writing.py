"""A log written as a folder that `open_log` reads: one Parquet file a table, and the import report beside them."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from llm_monitoring import disk
from llm_monitoring.errors import ConfigError
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.schema import TABLES
from llm_monitoring.sources import UNFINISHED

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
    _clear([*folder.absolute().parent.glob(f".{folder.name}.*.draft"), *folder.glob(".new-*")])
    if folder.exists() and any(folder.iterdir()):
        _replace(log, report, folder)
        return folder
    disk.make_folder(folder.absolute().parent)
    mode = folder.stat().st_mode if folder.exists() else disk.folder_mode(disk.is_shared(folder))
    with (
        TemporaryDirectory(prefix=f".{folder.name}.", suffix=".draft", dir=folder.absolute().parent) as made,
        disk.holding(made),
    ):
        draft = Path(made) / "log"
        disk.make_folder(draft)
        _fill(log, report, draft)
        disk.make_private(draft, disk.is_shared(folder))
        draft.chmod(stat.S_IMODE(mode))
        draft.rename(folder)
    return folder


def _replace(log: Log, report: ImportReport, folder: Path) -> None:
    """Put a log in the place of another one. `open_log` refuses the folder for the moment that it holds some of both."""
    with TemporaryDirectory(prefix=".new-", dir=folder) as made, disk.holding(made), disk.holding(folder):
        written = {path.name for path in _fill(log, report, Path(made))}
        disk.write(folder / UNFINISHED, "A log is being replaced by an import.\n")
        for name in sorted(written):
            target = folder / name
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else disk.file_mode(disk.is_shared(folder))
            (Path(made) / name).chmod(mode)
            (Path(made) / name).replace(target)
        for old in {old for table in TABLES for old in folder.glob(f"{table}.*") if old.name not in written}:
            old.unlink()
        (folder / UNFINISHED).unlink()


def _clear(drafts: Iterable[Path]) -> None:
    """Take away what imports that were killed had begun to write."""
    for path in drafts:
        with disk.holding(path, wait=False) as left:
            if left:
                shutil.rmtree(path, ignore_errors=True)


def _fill(log: Log, report: ImportReport, folder: Path) -> list[Path]:
    """Write the tables and the report into a folder; the files."""
    files = []
    for table in TABLES:
        frame = getattr(log, table)
        if table == "requests" or len(frame):
            texts = {column.name for column in TABLES[table].columns if column.kind == "json"} & set(frame.columns)
            packed = {name: [None if value is None else json.dumps(value) for value in frame[name]] for name in texts}
            with disk.replacing(folder / f"{table}.parquet") as part:
                frame.assign(**packed).to_parquet(part, index=False)
            files.append(folder / f"{table}.parquet")
    told = json.dumps(report.to_dict(), ensure_ascii=False, indent=1)
    return [*files, disk.write(folder / "import_report.json", told + "\n")]
