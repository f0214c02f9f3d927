"""Bytes of an export: gzip, zstd and zip unpacked, text decoded. Nothing here knows what the text holds."""

from __future__ import annotations

import codecs
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePath

from llm_monitoring.errors import Fault, LogError

#: What a packed file may hold, unpacked. A larger one is refused by name, before it fills the memory.
MOST_BYTES = 4 << 30
PACKED = (".gz", ".zst")


def ending(name: str) -> str:
    """The ending that says what a file holds, the packing's own left out.

    >>> ending("spans.jsonl.gz"), ending("a.CSV")
    ('.jsonl', '.csv')
    """
    path = PurePath(name)
    return PurePath(path.stem).suffix.lower() if path.suffix.lower() in PACKED else path.suffix.lower()


def unpacked(name: str, raw: bytes) -> tuple[bytes, int]:
    """The content of a file and how many bytes behind its end are no part of it.

    Raises
    ------
    LogError
        Where the packed data are cut short, damaged, or larger than `MOST_BYTES`.
    """
    packing = PurePath(name).suffix.lower()
    try:
        if packing == ".gz":
            return _gunzipped(name, raw)
        if packing == ".zst":
            import pyarrow as pa

            with pa.CompressedInputStream(io.BytesIO(raw), "zstd") as stream:
                return _no_larger(name, stream.read(MOST_BYTES + 1)), 0
    except (OSError, EOFError, zlib.error) as error:
        words = f"the file is cut short or damaged ({error})"
        raise LogError(Fault("source", name, expected=words, remedy="Write it again")) from error
    return raw, 0


def _gunzipped(name: str, raw: bytes) -> tuple[bytes, int]:
    """All members of a gzip file, one after the other; what stands behind the last one is no gzip."""
    parts, held = [], 0
    rest = raw
    while rest[:2] == b"\x1f\x8b":
        member = zlib.decompressobj(31)
        parts.append(_no_larger(name, member.decompress(rest, MOST_BYTES + 1 - held), held))
        held += len(parts[-1])
        if not member.eof:
            raise EOFError("the end of the gzip data is missing")
        rest = member.unused_data
    if not parts:
        raise EOFError("the first bytes are not those of a gzip file")
    return b"".join(parts), len(rest)


def _no_larger(name: str, content: bytes, held: int = 0) -> bytes:
    if held + len(content) > MOST_BYTES:
        expected = f"holds more than {MOST_BYTES >> 30} GiB when unpacked"
        raise LogError(Fault("source", name, expected=expected, remedy="Split it into several files"))
    return content


def members(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in a zip archive, in the order of their names, each by ``archive.zip/file``."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for entry in sorted(archive.infolist(), key=lambda each: each.filename):
                path = PurePath(entry.filename)
                if entry.is_dir() or "__MACOSX" in path.parts or path.name.startswith("."):
                    continue
                inside = f"{name}/{entry.filename}"
                if entry.file_size > MOST_BYTES:
                    _no_larger(inside, b"", entry.file_size)
                yield inside, archive.read(entry)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
        words = f"the zip archive cannot be read ({error})"
        raise LogError(Fault("source", name, expected=words, remedy="Unpack it and name the files")) from error


def decoded(name: str, raw: bytes) -> str:
    """The text of a file: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    coding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return raw.decode(coding)
    except UnicodeDecodeError as error:
        words = f"the text is not UTF-{coding[4:].removesuffix('-sig')}"
        raise LogError(
            Fault("source", name, f"byte {error.start}", expected=words, remedy="Save it as UTF-8")
        ) from error
