"""Reads whole files that a user names: it opens them without waiting, and reads no more of them than is expected.

A path may lead to anything: a device that never ends, a FIFO without a writer, a file larger than memory. Each problem
is an OSError whose `strerror` says what is wrong; the caller turns it into an error of its own.
"""

import errno
import os
import select
import stat
from typing import Final

_PIECE: Final = 1 << 16


class NotRegularError(OSError):
    """It is neither a regular file nor a pipe that may be read."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EINVAL, what)


class TooLongError(OSError):
    """The file has more bytes than are expected. `size` is None if it is not known."""

    def __init__(self, size: int | None, limit: int) -> None:
        has = "more bytes than it may" if size is None else f"{size} bytes"
        super().__init__(errno.EFBIG, f"it has {has}; the limit is {limit}")
        self.size = size


def open_regular(path: str | os.PathLike[str], *, pipe: bool = False) -> int:
    """Return a descriptor that reads a regular file, or with `pipe` also a pipe, without waiting.

    Anything else is not even opened: an open alone rewinds a tape, or starts a watchdog.

    Raises:
        NotRegularError: it is something else.
        FileNotFoundError: there is no such file, or no file can have this path.
        OSError: it cannot be opened.
    """
    try:
        _check(os.stat(path), pipe=pipe)  # noqa: PTH116  the path may be text
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as exc:  # a NUL, or characters that the file system cannot encode
        raise FileNotFoundError(errno.ENOENT, f"no file has such a path ({exc})") from exc
    try:
        _check(os.fstat(file), pipe=pipe)  # it may have been replaced meanwhile
    except BaseException:
        os.close(file)
        raise
    return file


def read_regular(path: str | os.PathLike[str], limit: int, *, pipe: bool = False) -> bytes:
    """Return the content of a regular file, or with `pipe` also of a pipe, of at most `limit` bytes.

    A pipe is read to its end, and this waits for its writer. A pipe without a writer is refused.

    Raises:
        TooLongError: there is more. If it is a regular file, nothing has been read.
        NotRegularError, FileNotFoundError, OSError: as `open_regular` does.
    """
    file = open_regular(path, pipe=pipe)
    try:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and status.st_size > limit:
            raise TooLongError(status.st_size, limit)
        return _read(file, limit, pipe=stat.S_ISFIFO(status.st_mode))
    finally:
        os.close(file)


def _check(status: os.stat_result, *, pipe: bool) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode) and not (pipe and stat.S_ISFIFO(status.st_mode)):
        raise NotRegularError("not a regular file" + (" or a pipe" if pipe else ""))


def _read(file: int, limit: int, *, pipe: bool) -> bytes:
    """Read to the end, whatever size the file has: a file of /proc has size 0, and another may grow meanwhile."""
    content = bytearray()
    while len(content) <= limit:
        try:
            piece = os.read(file, min(_PIECE, limit + 1 - len(content)))
        except BlockingIOError:
            if not pipe:
                raise
            select.select([file], [], [])
            continue
        if not piece:
            if pipe and not content:
                raise NotRegularError("a pipe without a writer")
            return bytes(content)
        content += piece
    raise TooLongError(None, limit)
