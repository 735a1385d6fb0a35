"""The directories of running machines: one private directory a machine, with its sockets and a lock.

    $XDG_RUNTIME_DIR/chkpt/       mode 0700; without XDG_RUNTIME_DIR it is chkpt-UID in the temporary directory
        .lock                     locked while a machine's directory is made, looked for or removed
        NAME/                     one machine
            lock                  locked by the machine's process as long as it lives; holds the process number
            api.sock              HTTP and JSON
            com1.console          the bytes of a serial port

The kernel frees a lock when its process ends, however it ends. So a directory whose lock is free is left over, and the
next process that sees it removes it; process numbers that come again do no harm. A program that tidies the temporary
directory may remove a machine's lock. Then the machine counts as alive as long as one of its sockets answers.
"""

import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chkpt import sockets
from chkpt.errors import ExistsError, StorageError

log = logging.getLogger("chkpt.service")

API: Final = "api.sock"
"""The name of the socket that speaks HTTP."""

CONSOLE: Final = ".console"
"""The ending of the name of a serial port's socket."""

LOCK: Final = "lock"
ROOT_LOCK: Final = ".lock"
OWN: Final = "set XDG_RUNTIME_DIR to a directory of your own"

PATIENCE_SECONDS: Final = 10
"""How long to wait for the lock on all directories. A process holds it for a few system calls only."""


def root() -> Path:
    """Return the directory of all machines of this user. It need not exist."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):  # XDG Base Directory Specification: ignore a relative path
        return Path(given) / "chkpt"
    return Path(tempfile.gettempdir()) / f"chkpt-{os.geteuid()}"


class MachineDirectory:
    """The directory of a machine that this process runs. It keeps the name until `remove` or the end of the process."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def remove(self) -> None:
        """Remove the directory with all sockets in it; the name is free again.

        If the path is another machine's by now, its directory stays.
        """
        try:
            with suppress(FileNotFoundError), _locking(self.path.parent):
                if self._is_ours():
                    _clear(self.path)
        finally:
            os.close(self._lock)

    def _is_ours(self) -> bool:
        try:
            found = (self.path / LOCK).lstat()
        except FileNotFoundError:
            return not _is_answering(self.path)
        return os.path.samestat(found, os.fstat(self._lock))


def claim(name: str) -> MachineDirectory:
    """Make the directory of a new machine.

    Raises:
        ExistsError: a machine of that name runs.
        StorageError: the directory cannot be made, or others could get into it.
    """
    base = root()
    try:
        _check_parent(base)
        _make(base)
        with _locking(base):
            _sweep(base)
            path = base / name
            try:
                _make(path)
                lock = _take(path, name)
            except BaseException:
                with suppress(OSError):
                    if not is_alive(path):  # if the name is taken, the directory is another machine's
                        _clear(path)
                raise
    except OSError as exc:
        raise _make_error(exc, base) from exc
    return MachineDirectory(path, lock)


def _take(path: Path, name: str) -> int:
    """Lock the machine's lock file, write this process's number to it and return it. Raise ExistsError, OSError."""
    if not os.path.lexists(path / LOCK) and _is_answering(path):
        raise ExistsError(f"machine {name} is running already, though its lock is gone; choose another --name")
    lock = _open_lock(path / LOCK)
    process = ""
    try:
        taken = _lock(lock, fcntl.LOCK_EX)
        if taken:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            _remove_sockets(path)  # of a machine that has died since `_sweep`
        else:
            process = os.read(lock, 32).decode("ascii", "replace").strip() or "?"
    except BaseException:
        os.close(lock)
        raise
    if taken:
        return lock
    os.close(lock)
    raise ExistsError(f"machine {name} is running already, process {process}; choose another --name")


def running() -> dict[str, Path]:
    """Return the directory of each running machine by its name. Directories of dead machines are removed.

    Raises:
        StorageError: others could get into the directory of all machines.
    """
    base = root()
    try:
        _check_private(base)
        _check_parent(base)
        with _locking(base):
            _sweep(base)
            return {path.name: path for path in _list_machines(base) if is_alive(path)}
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise _make_error(exc, base) from exc


def _make_error(exc: OSError, base: Path) -> StorageError:
    return StorageError(f"{exc.filename or base}: {exc.strerror}; {OWN}")


def hold(path: Path) -> int | None:
    """Open the lock of a running machine, for `is_over`. Return None if the machine has ended already."""
    try:
        return os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def is_over(lock: int) -> bool:
    """Whether the process that had this lock has given it back."""
    return _lock(lock, fcntl.LOCK_SH)


# -- directories and locks --------------------------------------------------------------------------------------------


def _make(path: Path) -> None:
    try:
        path.mkdir(0o700)
    except FileExistsError:
        pass
    else:
        path.chmod(0o700)  # a umask may have taken rights from the owner, too
    _check_private(path)


def _check_parent(base: Path) -> None:
    """Raise StorageError if other users could replace `base`. Raise OSError."""
    parent = base.parent
    found = parent.stat()
    if found.st_uid not in {0, os.geteuid()}:
        raise StorageError(f"{parent} belongs to user {found.st_uid}; {OWN}")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(found.st_mode)
        raise StorageError(f"{parent} can be changed by other users (mode {mode:04o}); chmod go-w it, or {OWN}")


def _check_private(path: Path) -> None:
    """Raise StorageError unless `path` is a directory that only this user can enter, OSError if it is missing."""
    found = path.lstat()
    advice = f"remove it, or {OWN}"
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(f"{path} is a symbolic link, which another user could change; {advice}")
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path} is not a directory; {advice}")
    if found.st_uid != os.geteuid():
        raise StorageError(f"{path} belongs to user {found.st_uid}; {advice}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageError(f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); chmod 700 it")


@contextmanager
def _locking(base: Path) -> Iterator[None]:
    """Let one process at a time make, look for and remove the directories of machines. Raise StorageError, OSError."""
    end = time.monotonic() + PATIENCE_SECONDS
    path = base / ROOT_LOCK
    while True:
        lock = _open_lock(path)
        try:
            if _lock(lock, fcntl.LOCK_EX) and _is_at(lock, path):
                yield
                return
        finally:
            # Both are tried: no other process may wait for the lock because one of them fails.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)
            with suppress(OSError):
                os.close(lock)
        if time.monotonic() > end:
            raise StorageError(
                f"{path}: another chkpt has held this lock for {PATIENCE_SECONDS} s; if it is stopped, end it"
            )
        time.sleep(0.01)


def _open_lock(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(lock, 0o600)  # as in `_make`
    except BaseException:
        os.close(lock)
        raise
    return lock


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _lock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _list_machines(base: Path) -> list[Path]:
    return sorted(path for path in base.iterdir() if path.name[0] != "." and not path.is_symlink() and path.is_dir())


def is_alive(path: Path) -> bool:
    """Whether the machine whose directory is `path` lives. Raise OSError if the directory cannot be read."""
    lock = hold(path)
    if lock is None:
        try:
            return _is_answering(path)
        except FileNotFoundError:  # the directory has gone, too
            return False
    try:
        return not is_over(lock)
    finally:
        os.close(lock)


def _is_answering(path: Path) -> bool:
    """Whether a process listens at one of the sockets in a machine's directory."""
    return any(sockets.is_answering(entry) for entry in path.iterdir() if entry.is_socket())


def _sweep(base: Path) -> None:
    """Remove the directories of dead machines."""
    for path in _list_machines(base):
        with suppress(OSError):  # a directory that cannot be read or removed does no harm
            if not is_alive(path):
                log.info("%s: removed, as its machine has ended", path)
                _clear(path)


def _clear(path: Path) -> None:
    """Remove the sockets and the lock in `path`, and then `path` itself if it is empty."""
    _remove_sockets(path)
    (path / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()


def _remove_sockets(path: Path) -> None:
    for entry in sorted(path.iterdir()):
        if stat.S_ISSOCK(entry.lstat().st_mode):
            entry.unlink(missing_ok=True)
