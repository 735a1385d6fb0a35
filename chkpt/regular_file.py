"""Files that a user names, read whole: opened without waiting, and never more of them than is expected.

A path may lead to anything: a device that never ends, a FIFO that nobody writes to, a file larger than memory. What is
wrong is an OSError whose `strerror` says it, as of any file that cannot be read; each caller has an error of its own.
"""

import errno
import os
import select
import stat
from typing import Final

_PIECE: Final = 1 << 16


class NotRegularError(OSError):
    """What is there is neither a file nor anything else that is read here."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EINVAL, what)


class TooLongError(OSError):
    """The file has more bytes than are expected. `size` is None where that is not known."""

    def __init__(self, size: int | None, limit: int) -> None:
        has = "it has more bytes than can be" if size is None else f"it has {size} bytes"
        super().__init__(errno.EFBIG, f"{has}, not up to {limit}")
        self.size = size


def open_regular(path: str | os.PathLike[str], *, pipe: bool = False) -> int:
    """Return a descriptor to read from, which does not wait, of a regular file, or also of a `pipe`.

    Anything else is not even opened: that alone rewinds a tape, or starts a watchdog.

    Raises:
        NotRegularError: it is something else.
        FileNotFoundError: there is no such file, or the path is none that a file can have.
        OSError: it cannot be opened.
    """
    try:
        _check(os.stat(path), pipe=pipe)  # noqa: PTH116  the path may be text
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as exc:  # a NUL, or letters that the file system has no bytes for
        raise FileNotFoundError(errno.ENOENT, f"no file has such a path ({exc})") from exc
    try:
        _check(os.fstat(file), pipe=pipe)  # it may have been replaced meanwhile
    except BaseException:
        os.close(file)
        raise
    return file


def read_regular(path: str | os.PathLike[str], limit: int, *, pipe: bool = False) -> bytes:
    """Return the content of a regular file, or also of a `pipe`, of at most `limit` bytes.

    A pipe is read to its end, and its writer waited for; one that nobody has open for writing is no pipe to read.

    Raises:
        TooLongError: there is more. Of a regular file nothing has been read then.
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
        raise NotRegularError("not a regular file" + (" and no pipe" if pipe else ""))


def _read(file: int, limit: int, *, pipe: bool) -> bytes:
    """Read to the end. The size is not believed: files of /proc have none, and one that is written to grows."""
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
                raise NotRegularError("a pipe that nobody writes to")
            return bytes(content)
        content += piece
    raise TooLongError(None, limit)
