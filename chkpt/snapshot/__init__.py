"""The snapshot file: write one checkpoint, check it, and read it part by part. `docs/FORMAT.md` describes the bytes."""

import os
from typing import BinaryIO

from chkpt.context import Checkpoint
from chkpt.errors import StorageError
from chkpt.snapshot.frames import FORMAT, SectionEntry
from chkpt.snapshot.outline import check_checkpoint, check_header
from chkpt.snapshot.reader import LazyContexts, Reader, StoredBlob, is_snapshot
from chkpt.snapshot.signatures import Signature
from chkpt.snapshot.source import FileSource, Source
from chkpt.snapshot.writer import Progress, Sign, Summary, Writable, dump, dumps, write_outline

__all__ = [
    "FORMAT",
    "LazyContexts",
    "Progress",
    "Reader",
    "SectionEntry",
    "Sign",
    "Signature",
    "Source",
    "StoredBlob",
    "Summary",
    "Writable",
    "check_checkpoint",
    "check_header",
    "dump",
    "dumps",
    "is_snapshot",
    "load",
    "loads",
    "open_reader",
    "write_outline",
]


def open_reader(file: str | os.PathLike[str] | BinaryIO) -> Reader:
    """Open the snapshot at a path, or in a binary file from its position to its end.

    The reader reads the file at a path by position, part by part. It reads a file object (a pipe, say) into memory.

    Raises:
        NotFoundError: there is no file at the path.
        StorageError: the file cannot be read.
        CorruptError: not a snapshot, cut short, or damaged in its trailer, index or header.
        VersionError: the format is newer than this chkpt reads.
        LimitError: the index or the header is longer than any that chkpt writes.
        TypeError: `file` is neither a path nor a binary file.
    """
    if isinstance(file, str | os.PathLike):
        return Reader.open(file)
    if not hasattr(file, "read"):
        raise TypeError(f"this takes a path or a binary file, not {type(file).__name__}; for bytes use loads(data)")
    name = str(getattr(file, "name", "snapshot"))
    try:
        data = file.read()
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=name) from exc
    return Reader(data, name)


def load(file: str | os.PathLike[str] | BinaryIO) -> Checkpoint:
    """Return the checkpoint in the snapshot at a path, or in a binary file from its position to its end.

    Each section is decoded when it is looked up. The file of a path stays open as long as something refers to them.

        checkpoint = chkpt.load("snapshots/boot.zst")

    Raises as `open_reader` does.
    """
    if not isinstance(file, str | os.PathLike):
        return open_reader(file).checkpoint()
    source = FileSource(file)
    source.close_when_unused()
    return Reader(source).checkpoint()


def loads(data: bytes) -> Checkpoint:
    """Return the checkpoint in `data`; its sections are decoded when they are looked up. Raises as `open_reader` does.

    Raises:
        TypeError: `data` is not bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"loads takes the bytes of a snapshot, not {type(data).__name__}; for a file use load(path)")
    return Reader(data).checkpoint()
