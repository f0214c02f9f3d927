"""Files that hold users' texts: private to their owner or the group of their folder, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNSUPPORTED = "llm_monitoring does not support Microsoft Windows: run it on Linux or macOS, or inside WSL"


_said: int | None = None


def say_mode(mode: int | None) -> None:
    """The mode of every new file of this process from now on, whatever its folder; None: as the folder is open.

    Folders get the same, and may be entered by whoever may read in them.
    """
    global _said
    _said = mode


def file_mode(shared: bool) -> int:
    """The mode of a new file: as it was said, or private, or open to the group of its folder."""
    return _said if _said is not None else 0o660 if shared else 0o600


def folder_mode(shared: bool) -> int:
    """The mode of a new folder.

    >>> oct(folder_mode(shared=False)), oct(folder_mode(shared=True))
    ('0o700', '0o770')
    """
    mode = file_mode(shared)
    return mode | 0o700 | (mode & 0o444) >> 2


def is_shared(folder: str | os.PathLike) -> bool:
    """Whether a folder is open to a group: its group may write in it, and the rest of the world may not.

    Parameters
    ----------
    folder : path
        Where it is not there yet, its nearest parent that is.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder).chmod(0o770)
    ...     is_shared(folder)
    True
    """
    place = Path(folder).absolute()
    mode = next(each for each in (place, *place.parents) if each.exists()).stat().st_mode
    return bool(mode & stat.S_IWGRP) and not mode & stat.S_IWOTH


def make_folder(path: str | os.PathLike) -> Path:
    """Make a folder and its parents, 0700 each, or 0770 where they lie in a folder that is open to a group, or as `say_mode` said."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    missing = [each for each in (path, *path.parents) if not each.exists()]
    mode = folder_mode(is_shared(path))
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        each.chmod(mode | (each.stat().st_mode & stat.S_ISGID))
    return path


def make_private(folder: str | os.PathLike, shared: bool) -> None:
    """Give a folder and all that is in it the modes of new files: 0700 and 0600, or 0770 and 0660 for a group, or as said."""
    for each in (Path(folder), *Path(folder).rglob("*")):
        if each.is_symlink():
            continue
        mode = folder_mode(shared) if each.is_dir() else file_mode(shared)
        each.chmod(mode | (each.stat().st_mode & stat.S_ISGID if each.is_dir() else 0))


def open_private(path: str | os.PathLike, flags: int) -> int:
    """Open a file by its descriptor; a new one is 0600, or 0660 in a folder that is open to a group.

    A file that is there keeps its mode. `flags` are those of `os.open`; with ``O_CREAT`` it is made where it is absent.
    """
    while True:
        try:
            return os.open(path, flags & ~os.O_CREAT)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        try:
            file = os.open(path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            if os.path.lexists(path) and not os.path.exists(path):
                raise  # a link that leads nowhere
            continue  # another process was faster
        os.fchmod(file, file_mode(is_shared(Path(path).parent)))
        return file


def append(file: int, data: bytes, sync: bool = False) -> None:
    """Write all of `data` at the end of an open file whose lock is held, or none of it.

    Raises
    ------
    OSError
        The disk is full, or the like. What was written of `data` is cut off again first, so that no half line stays.
    """
    start = os.fstat(file).st_size
    try:
        write_all(file, data)
        if sync:
            os.fsync(file)
    except OSError:
        os.ftruncate(file, start)
        raise


@contextmanager
def appending(path: str | os.PathLike) -> Iterator[int]:
    """A file, made where it is absent (its folder too), open to `append` while no other process writes to it.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for line in (b"one ", b"two"):
    ...         with appending(Path(folder) / "new" / "lines.txt") as file:
    ...             append(file, line)
    ...     (Path(folder) / "new" / "lines.txt").read_text()
    'one two'
    """
    make_folder(Path(path).parent)
    file = open_private(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        lock(file)
        yield file
    finally:
        os.close(file)


def write_all(file: int, data: bytes) -> None:
    """Write all of `data`: one call of the system may write less than it was given."""
    rest = memoryview(data)
    while rest:
        done = os.write(file, rest)
        if not done:
            raise OSError(errno.EIO, "nothing could be written")
        rest = rest[done:]


def write(path: str | os.PathLike, content: str | bytes | Iterator[str]) -> Path:
    """Write a whole file, private where it is new: readers see what stood there before, or all of `content`.

    Parameters
    ----------
    path : path
        Its folder must be there. A file that is there keeps its mode; a link is followed.
    content : str, bytes or iterator of str
        A text, or one in pieces, is written as UTF-8, as it is; half surrogates, which no file can hold, become a question mark.

    Raises
    ------
    OSError
        The disk is full, or the like; what stood there stands.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write(Path(folder) / "note.txt", "whole")
    ...     path.read_text(), oct(path.stat().st_mode & 0o777)
    ('whole', '0o600')
    """
    parts = iter([content]) if isinstance(content, str | bytes) else content
    with replacing(path) as new:
        file = os.open(new, os.O_WRONLY | os.O_TRUNC)
        try:
            for part in parts:
                write_all(file, part.encode("utf-8", "replace") if isinstance(part, str) else part)
            os.fsync(file)
        finally:
            os.close(file)
    return Path(path)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A hidden file beside `path` to write into, with the mode it is to have; it takes its place at the end.

    After an error it is taken away, and what stood at `path` stands.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target  # a pipe or a device is written as it is
        return
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else file_mode(is_shared(target.parent))
    file, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(file)
    part = Path(name)
    try:
        part.chmod(mode)
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def holding(folder: str | os.PathLike, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder; False where another process has it and `wait` is off."""
    file = os.open(folder, os.O_RDONLY)
    try:
        try:
            lock(file, wait)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(file)


def lock(file: int, wait: bool = True) -> None:
    """Lock an open file against other processes, until it is closed.

    Raises
    ------
    BlockingIOError
        Another process holds the lock, and `wait` is off.
    OSError
        On Microsoft Windows, which has no such locks.
    """
    if sys.platform == "win32":
        raise OSError(UNSUPPORTED)
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
