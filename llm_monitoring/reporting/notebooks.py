"""The stage notebooks executed by papermill: one kernel for all of them, or one each. They exchange files only."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_monitoring import addresses, disk
from llm_monitoring.errors import ConfigError, one_of, quote

ENGINE = "llm_monitoring"
LOADED = (
    "import llm_monitoring.incident, llm_monitoring.alerts.checking, llm_monitoring.reporting.case, matplotlib.pyplot"
)
TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool}


@dataclass(frozen=True)
class Failure:
    """A notebook that stopped: which, in which of its code cells (from 1), with which error."""

    notebook: str
    cell: int
    error: str

    def __str__(self) -> str:
        return f"{Path(self.notebook).stem} failed in cell {self.cell}: {self.error}"


def notebooks_folder() -> Path:
    """Where the notebooks are: inside the installed package, or beside it in a checkout."""
    from importlib.resources import files

    shipped = Path(str(files("llm_monitoring"))) / "notebooks"
    return shipped if shipped.is_dir() else Path(__file__).parents[2] / "notebooks"


class Kernels:
    """Kernels of this very Python, whatever the machine knows by the name of python3: one for all, or one each.

    Used as ``with Kernels() as kernels:``. The first starts at once and loads what the stages need while the caller does
    something else; all stop at the end.

    Parameters
    ----------
    isolated : bool
        A new kernel for each notebook.
    address : str
        The address of the log. Where it holds a password, the kernels find it in their environment, and only there: the
        notebooks are given the masked address, and errors in them are shown without it.
    """

    def __init__(self, isolated: bool = False, address: str = ""):
        self.isolated = isolated
        self.address = address
        self._started: list[Any] = []
        self._given = 0

    def __enter__(self) -> Kernels:
        self._started.append(_start(self.address))
        return self

    def __exit__(self, *_: object) -> None:
        from jupyter_core.utils import run_sync

        for manager in self._started:
            run_sync(manager.shutdown_kernel)(now=True)

    def take(self) -> Any:
        """The kernel for the next notebook."""
        if self.isolated and self._given:
            self._started.append(_start(self.address))
        self._given += 1
        return self._started[-1]


def execute(
    names: Sequence[str],
    folder: Path,
    parameters: Mapping[str, Any],
    kernels: Kernels,
    progress: bool = True,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Failure | None, dict[str, float]]:
    """Run notebooks in order, in `folder`, and write them there executed; stop at the first that fails.

    Parameters
    ----------
    names : sequence of str
        File names in `notebooks_folder`.
    folder : Path
        Where they run and are written.
    parameters : mapping
        For the `parameters` cell of each; checked before the first runs.
    kernels : Kernels
    progress : bool
        Show a bar over the notebooks where somebody looks.
    own : mapping, optional
        Notebook -> parameters that only it has.

    Returns
    -------
    failure : Failure or None
    seconds : dict
        Notebook -> how long it took.

    Raises
    ------
    ConfigError
        A notebook has no parameter of this name or type.
    """
    from tqdm.auto import tqdm

    given = {name: {**parameters, **(own or {}).get(name, {})} for name in names}
    for name in names:
        check_parameters(notebooks_folder() / name, given[name])
    seconds: dict[str, float] = {}
    with tqdm(names, disable=None if progress else True, unit="stage") as bar:
        for name in bar:
            bar.set_description(Path(name).stem)
            start = time.perf_counter()
            failure = _run(name, folder, given[name], kernels.take(), kernels.address)
            seconds[name] = time.perf_counter() - start
            if failure:
                return failure, seconds
    return None, seconds


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Compare parameters with the `parameters` cell of a notebook, names and types.

    Raises
    ------
    ConfigError
        Naming the parameter, and the nearest known one or the type expected.
    """
    import papermill

    known = papermill.inspect_notebook(str(notebook))
    for name, value in parameters.items():
        one_of(f"{notebook.stem}: parameter", name, list(known))
        kind = known[name]["inferred_type_name"]
        if kind in TYPES and not isinstance(value, TYPES[kind]):
            raise ConfigError(f"{notebook.stem}: parameter {name}={quote(value)}; expected {kind}")


def _start(address: str = "") -> Any:
    import os
    import subprocess

    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            argv = [
                sys.executable,
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
                f"--IPKernelApp.exec_lines={LOADED}",
            ]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=ThisPython())
    env = os.environ | addresses.keep(address)
    run_sync(manager.start_kernel)(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    return manager


def _run(name: str, folder: Path, parameters: Mapping[str, Any], kernel: Any, address: str) -> Failure | None:
    import papermill

    _register()
    target = folder / name
    try:
        papermill.execute_notebook(
            str(notebooks_folder() / name), str(target), dict(parameters), engine_name=ENGINE, kernel_name="python3",
            progress_bar=False, request_save_on_cell_execute=False, kernel=kernel, folder=str(folder.resolve()),
        )  # fmt: skip
        failure = None
    except papermill.PapermillExecutionError as error:
        failure = addresses.without_secrets(f"{error.ename}: {error.evalue}".splitlines()[0], address)
    number = tidy(target, address)
    return Failure(name, number, failure) if failure else None


def _register() -> None:
    """Give papermill an engine that uses the kernel handed in, its namespace emptied, and leaves it running."""
    from jupyter_core.utils import run_sync
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class OneKernel(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, kernel=None, folder=".", **_):
            client = PapermillNotebookClient(nb_man, km=kernel, timeout=None, startup_timeout=120)
            client.start_new_kernel_client()
            try:
                for line in ("%reset -f -s", f"__import__('os').chdir({folder!r})"):
                    client.wait_for_reply(client.kc.execute(line, silent=True, store_history=False))
                return client.execute(cleanup_kc=False)
            finally:
                stopped = client.kc.stop_channels()
                if stopped is not None:
                    run_sync(lambda: stopped)()

    if ENGINE not in papermill_engines._engines:
        papermill_engines.register(ENGINE, OneKernel)


def tidy(path: Path, address: str = "") -> int:
    """Take out of an executed notebook what differs from run to run: times, paths, random ids; and secrets of the address.

    Returns
    -------
    int
        The number (from 1) of the code cell that failed, 0 where none did.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    failed = count = 0
    for position, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{position}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.get("execution_count"):
            cell["execution_count"] = count
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            if output.output_type in ("error", "stream"):
                _hide_secrets(output, address)
            if output.output_type == "error" and not failed:
                failed = count
    disk.write(path, nbformat.writes(notebook) + "\n")
    return failed


def _hide_secrets(output: Any, address: str) -> None:
    """Show what a cell printed, or its error, without the secrets of the log's address."""
    for key in ("text", "evalue"):
        if key in output:
            output[key] = addresses.without(output[key], address)
    if "traceback" in output:
        output["traceback"] = [addresses.without(line, address) for line in output["traceback"]]
