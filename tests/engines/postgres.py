"""A PostgreSQL server of Debian's package for the length of a test session, in a temporary folder on a free port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

USERS = ("postgres", "nobody")  # the server refuses to run as root


def programs() -> Path | None:
    """Folder of `initdb` and `postgres`, or None where PostgreSQL is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: folder.parent.name)
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start a server, give its URL, stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="llm-monitoring-postgres-"))
    user = _plain_user()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data, port, binary = folder / "data", _free_port(), programs()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c timezone=America/New_York"
    try:
        _run(user, f"{binary}/initdb", "-D", str(data), "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        _run(user, f"{binary}/pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgres://tests@127.0.0.1:{port}/postgres"
        finally:
            _run(user, f"{binary}/pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain_user():
    if os.geteuid():
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(names[name] for name in USERS if name in names)


def _run(user, *command: str) -> None:
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **identity)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr or done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
