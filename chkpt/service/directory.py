"""Where running machines are found: one private directory a machine, with its sockets and a lock.

    $XDG_RUNTIME_DIR/chkpt/       mode 0700; without XDG_RUNTIME_DIR it is chkpt-UID in the temporary directory
        .lock                     locked while a machine's directory is made, looked for or removed
        NAME/                     one machine
            lock                  locked by the machine's process for as long as it lives; holds its number
            api.sock              HTTP and JSON
            com1.console          the bytes of a serial port

A lock goes with its process, however that ends: a directory whose lock is free is left over, and whoever sees it
removes it.
"""

import fcntl
import logging
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chkpt.errors import ExistsError, StorageError

log = logging.getLogger("chkpt.service")

API: Final = "api.sock"
"""The name of the socket that HTTP is spoken on."""

CONSOLE: Final = ".console"
"""What the name of a serial port's socket ends in."""

LOCK: Final = "lock"
ROOT_LOCK: Final = ".lock"

SUN_PATH_MAX: Final = 107
"""Bytes of the longest path a Unix socket may have: 108 with the NUL (unix(7))."""


def root() -> Path:
    """Return the directory of all machines of this user, which need not exist."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):  # the XDG Base Directory Specification: a relative path is to be ignored
        return Path(given) / "chkpt"
    return Path(tempfile.gettempdir()) / f"chkpt-{os.geteuid()}"


class MachineDirectory:
    """The directory of a machine that this process runs. The name is taken until `remove`, or the process ends."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def remove(self) -> None:
        """Remove the directory with all sockets in it; the name is free again."""
        try:
            with _locked(self.path.parent):
                _clear(self.path)
        finally:
            os.close(self._lock)


def claim(name: str) -> MachineDirectory:
    """Make the directory of a new machine.

    Raises:
        ExistsError: a machine of that name runs.
        StorageError: the directory cannot be made, or others could get into it.
    """
    base = root()
    try:
        _make(base)
        with _locked(base):
            _sweep(base)
            path = base / name
            _make(path)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if not _lock(lock, fcntl.LOCK_EX):
                process = os.read(lock, 32).decode("ascii", "replace").strip() or "?"
                os.close(lock)
                raise ExistsError(f"machine {name} is running already, process {process}; choose another --name")
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
    except OSError as exc:
        raise StorageError(
            f"{exc.filename or base}: {exc.strerror}; set XDG_RUNTIME_DIR to a directory of your own"
        ) from exc
    return MachineDirectory(path, lock)


def running() -> dict[str, Path]:
    """Return the directory of each running machine by its name; what dead ones left is removed.

    Raises:
        StorageError: others could get into the directory of all machines.
    """
    base = root()
    try:
        _check_private(base)
        with _locked(base):
            _sweep(base)
            return {path.name: path for path in _machines(base) if _is_alive(path)}
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise StorageError(f"{exc.filename or base}: {exc.strerror}") from exc


def hold(path: Path) -> int | None:
    """Open the lock of a running machine, to wait with `is_over`; None where it is gone already."""
    try:
        return os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def is_over(lock: int) -> bool:
    """Whether the process that had this lock has given it back."""
    return _lock(lock, fcntl.LOCK_SH)


# -- sockets ----------------------------------------------------------------------------------------------------------


def listen(path: Path) -> socket.socket:
    """Return a non-blocking socket that listens at `path`, for this user alone.

    Raises:
        StorageError: it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind, so that it is never open to others (unix(7))
        with _short(path) as address:
            listener.bind(address)
        listener.listen(16)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise StorageError(f"{path}: {exc.strerror or exc}") from exc
    return listener


def connect(path: Path) -> socket.socket:
    """Return a socket connected to the one at `path`. Raise OSError."""
    client = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as address:
            client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield an address for `path` that is short enough for a Unix socket."""
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


# -- directories and locks --------------------------------------------------------------------------------------------


def _make(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(0o700)
    _check_private(path)


def _check_private(path: Path) -> None:
    """Raise StorageError unless `path` is a directory that nobody else can get into, OSError where it is not there."""
    found = path.lstat()
    advice = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(f"{path} is a symbolic link, which somebody else could turn; {advice}")
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path} is not a directory; {advice}")
    if found.st_uid != os.geteuid():
        raise StorageError(f"{path} belongs to user {found.st_uid}; {advice}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageError(f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); chmod 700 it")


@contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Let one process at a time make, look for and remove the directories of machines."""
    lock = os.open(base / ROOT_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _machines(base: Path) -> list[Path]:
    return sorted(path for path in base.iterdir() if path.name[0] != "." and not path.is_symlink() and path.is_dir())


def _is_alive(path: Path) -> bool:
    lock = hold(path)
    if lock is None:
        return False
    try:
        return not is_over(lock)
    finally:
        os.close(lock)


def _sweep(base: Path) -> None:
    """Remove what dead machines have left."""
    for path in _machines(base):
        with suppress(OSError):  # what cannot be looked into or removed is in nobody's way
            if not _is_alive(path):
                log.info("%s: left by a machine that is gone, removed", path)
                _clear(path)


def _clear(path: Path) -> None:
    """Remove the sockets and the lock in `path`, and `path` itself unless somebody has put something else there."""
    for entry in sorted(path.iterdir()):
        if entry.name == LOCK or stat.S_ISSOCK(entry.lstat().st_mode):
            entry.unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()
