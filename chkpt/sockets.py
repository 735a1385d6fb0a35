"""Unix sockets to which only this user and root can connect, however the process was started.

A socket has mode 0600 from its first moment, under any umask. On Linux that keeps other users out. The mode may be
changed later, or a connection passed on; so the listener also asks the kernel for the credentials of every peer
(SO_PEERCRED, unix(7)): it must be this user, or root.
"""

import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chkpt.errors import StorageError

log = logging.getLogger("chkpt.sockets")

SUN_PATH_MAX: Final = 107
"""Bytes of the longest path that a Unix socket may have: 108 with the NUL (unix(7))."""

OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""The errors of accept(2) when the process, or the system, has no descriptor left."""

_UCRED: Final = struct.Struct("=iII")  # struct ucred: pid_t, uid_t, gid_t


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, and its user, at the time when the connection was made."""

    pid: int
    uid: int
    gid: int

    @property
    def is_welcome(self) -> bool:
        """Whether its user is this process's, or root."""
        return self.uid in {0, os.geteuid()}


def find_peer(stream: socket.socket) -> Peer:
    """Return the peer of a connected Unix socket. Raise OSError."""
    return Peer(*_UCRED.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


class Listener(socket.socket):
    """A listening Unix socket that takes connections of this user and of root only.

    It closes connections of other users. While the process has no descriptor left it closes every connection, with a
    descriptor that it keeps in reserve: if one waited, the listener would stay readable and its loop would spin.
    """

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX)
        self._reserve: int | None = _open_reserve()

    def accept(self) -> tuple[socket.socket, object]:
        """Take a connection.

        Raises:
            BlockingIOError: there is none, or there was no descriptor for it.
            ConnectionAbortedError: it was another user's, or has gone again.
            OSError: the operating system refused.
        """
        if self._reserve is None:
            with suppress(OSError):
                self._reserve = _open_reserve()
        try:
            stream, address = super().accept()
        except OSError as exc:
            if exc.errno not in OUT_OF_DESCRIPTORS:
                raise
            self._turn_away()
            raise BlockingIOError(errno.EAGAIN, "no descriptor is left") from exc
        try:
            found = find_peer(stream)
        except OSError:
            stream.close()
            raise
        if not found.is_welcome:
            stream.close()
            log.warning("process %d of user %d tried to connect: turned away", found.pid, found.uid)
            raise ConnectionAbortedError(errno.ECONNABORTED, "a connection of another user")
        return stream, address

    def close(self) -> None:
        """Close the socket; its file stays. A second call does nothing."""
        super().close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _turn_away(self) -> None:
        """Take a connection with the reserved descriptor, and close it."""
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
            with suppress(OSError):
                super().accept()[0].close()
                log.warning("no descriptor is left: a connection is turned away")
        with suppress(OSError):
            self._reserve = _open_reserve()
        if self._reserve is None:  # another thread was faster: wait until a descriptor is free, but do not spin
            time.sleep(0.01)


def listen(path: Path, backlog: int = 16) -> Listener:
    """Return a non-blocking socket that listens at `path`, for this user and root alone.

    Raises:
        StorageError: it cannot be made; nothing is left at `path`, unless it was there before.
    """
    try:
        listener = Listener()
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
    bound = False
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind, so that it is never open to others (unix(7))
        with short_address(path) as address:
            listener.bind(address)
            bound = True
        path.chmod(0o600)  # a umask may have taken rights from the owner, too
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        if bound:
            path.unlink(missing_ok=True)
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
    return listener


def connect(path: Path, timeout: float | None = None) -> socket.socket:
    """Return a blocking socket connected to the one at `path`.

    Args:
        path: the path of a listening socket.
        timeout: seconds to wait while the listener's queue is full; None to wait without end.

    Raises:
        TimeoutError: the queue was full all that time.
        OSError: the operating system refused.
    """
    client = socket.socket(socket.AF_UNIX)
    try:
        with short_address(path) as address:
            _connect(client, address, timeout)
    except BaseException:
        client.close()
        raise
    return client


def _connect(client: socket.socket, address: str, timeout: float | None) -> None:
    if timeout is None:
        client.connect(address)
        return
    end = time.monotonic() + timeout
    client.setblocking(False)
    while True:
        try:
            client.connect(address)
        except BlockingIOError:  # a Unix socket connects at once or, while the listener's queue is full, not at all
            if time.monotonic() >= end:
                raise TimeoutError(errno.ETIMEDOUT, "the listener does not take the connection") from None
            time.sleep(0.01)
        else:
            client.setblocking(True)
            return


def is_answering(path: Path) -> bool:
    """Whether a process listens at `path`, though it may be too busy to take a connection. Do not wait."""
    try:
        connect(path, timeout=0).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def file_id(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file at `path`, which another file in its place would not have; None if none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address for `path` that is short enough for a Unix socket. Raise OSError."""
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/self/fd/{directory}/{path.name}"
        if len(os.fsencode(address)) > SUN_PATH_MAX:
            raise OSError(errno.ENAMETOOLONG, f"the name is too long for a socket ({SUN_PATH_MAX} bytes with its path)")
        if not os.path.isdir(f"/proc/self/fd/{directory}"):  # noqa: PTH112  no Path where none is needed
            raise OSError(
                errno.ENAMETOOLONG, f"a path longer than {SUN_PATH_MAX} bytes needs /proc, which is not mounted"
            )
        yield address
    finally:
        os.close(directory)


def _open_reserve() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
