"""Read a snapshot's bytes by position, from a file or from memory."""

import os
from contextlib import suppress
from io import FileIO
from typing import NamedTuple, Protocol, Self
from weakref import finalize

from chkpt.errors import CorruptError, NotFoundError, StorageError
from chkpt.regular_file import open_regular


class FileId(NamedTuple):
    """The file that a source was read from, and its state. If any of these differs, the content may differ."""

    device: int
    inode: int
    size: int
    changed_ns: int  # st_mtime_ns

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the id of a file with this status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Source(Protocol):
    """Bytes that are read by position. Any number of threads may read at once."""

    @property
    def name(self) -> str:
        """The name of the source in messages."""

    @property
    def size(self) -> int:
        """Length in bytes, as it was when the source was opened."""

    @property
    def file_id(self) -> FileId | None:
        """The file that the source was read from; None for memory."""

    def read(self, offset: int, size: int, /) -> bytes | memoryview:
        """Return exactly `size` bytes from `offset`, which lie within the source.

        Raises:
            CorruptError: the source has become shorter.
            StorageError: the operating system refused, or the source is closed.
        """

    def close(self) -> None:
        """Release the host's resources. A second close does nothing."""


class MemorySource:
    """Bytes in memory."""

    __slots__ = ("_data", "file_id", "name", "size")

    file_id: FileId | None

    def __init__(self, data: bytes | bytearray | memoryview, name: str) -> None:
        self._data = memoryview(data).cast("B")
        self.file_id = None
        self.name = name
        self.size = len(self._data)

    def read(self, offset: int, size: int, /) -> memoryview:
        """Return a view."""
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Do nothing: blobs may still be read."""


class FileSource:
    """A regular file. It is read with pread, not mapped: a mapped file that shrinks kills the process."""

    __slots__ = ("__weakref__", "_file", "file_id", "name", "size")

    file_id: FileId | None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open `path`.

        Raises:
            NotFoundError: there is no such file.
            StorageError: it cannot be opened, or is not a regular file.
        """
        self.name = os.fspath(path)
        try:
            self._file = FileIO(self.name, "rb", opener=lambda path, _: open_regular(path))
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise NotFoundError("there is no such snapshot", where=self.name) from exc
        except OSError as exc:
            raise StorageError(str(exc.strerror), where=self.name) from exc
        except ValueError as exc:  # a NUL in the path, which FileIO refuses
            raise NotFoundError(str(exc), where=repr(self.name)) from exc
        status = os.fstat(self._file.fileno())
        self.size = status.st_size
        self.file_id = FileId.of(status)

    def read(self, offset: int, size: int, /) -> bytes:
        """Read from the file."""
        if self._file.closed:
            raise StorageError("the snapshot has been closed", where=self.name)
        try:
            data = os.pread(self._file.fileno(), size, offset)
        except OSError as exc:
            raise StorageError(str(exc.strerror), where=self.name) from exc
        if len(data) != size:
            raise CorruptError(
                f"the file no longer reaches to {offset + size}: something cut it short while it was read"
            )
        return data

    def close_when_unused(self) -> None:
        """Close the file when nothing refers to this source any more. For an owner without a `close` of its own."""
        finalize(self, self._file.close)

    def close(self) -> None:
        """Close the file. Ignore an error: the file was only read."""
        with suppress(OSError):
            self._file.close()
