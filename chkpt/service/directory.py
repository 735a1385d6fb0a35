"""Where running machines are found: one private directory a machine, with its sockets and a lock.

    $XDG_RUNTIME_DIR/chkpt/       mode 0700; without XDG_RUNTIME_DIR it is chkpt-UID in the temporary directory
        .lock                     locked while a machine's directory is made, looked for or removed
        NAME/                     one machine
            lock                  locked by the machine's process for as long as it lives; holds its number
            api.sock              HTTP and JSON
            com1.console          the bytes of a serial port

A lock goes with its process, however that ends, and process numbers that come again mean nothing: a directory whose
lock is free is left over, and whoever sees it removes it. Where a machine's lock has been removed by somebody else,
such as a program that tidies the temporary directory, a socket that still answers shows that it lives.
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
"""The name of the socket that HTTP is spoken on."""

CONSOLE: Final = ".console"
"""What the name of a serial port's socket ends in."""

LOCK: Final = "lock"
ROOT_LOCK: Final = ".lock"
OWN: Final = "set XDG_RUNTIME_DIR to a directory of your own"

PATIENCE_SECONDS: Final = 10
"""How long the lock on all directories may be somebody else's: it is held for the time of a few system calls."""


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
        """Remove the directory with all sockets in it; the name is free again.

        A directory that somebody else has removed, or given to another machine, is left as it is.
        """
        try:
            with suppress(FileNotFoundError), _locked(self.path.parent):
                if self._is_ours():
                    _clear(self.path)
        finally:
            os.close(self._lock)

    def _is_ours(self) -> bool:
        try:
            found = (self.path / LOCK).lstat()
        except FileNotFoundError:
            return not _answers(self.path)
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
        with _locked(base):
            _sweep(base)
            path = base / name
            try:
                _make(path)
                lock = _take(path, name)
            except BaseException:
                with suppress(OSError):
                    if not is_alive(path):  # whose it is, where the name is taken
                        _clear(path)
                raise
    except OSError as exc:
        raise _refused(exc, base) from exc
    return MachineDirectory(path, lock)


def _take(path: Path, name: str) -> int:
    """Return the machine's lock, held, with this process's number in it. Raise ExistsError, OSError."""
    if not os.path.lexists(path / LOCK) and _answers(path):
        raise ExistsError(f"machine {name} is running already, though its lock is gone; choose another --name")
    lock = _open_lock(path / LOCK)
    process = ""
    try:
        taken = _lock(lock, fcntl.LOCK_EX)
        if taken:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
            _remove_sockets(path)  # of one that has died since the sweep
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
    """Return the directory of each running machine by its name; what dead ones left is removed.

    Raises:
        StorageError: others could get into the directory of all machines.
    """
    base = root()
    try:
        _check_private(base)
        _check_parent(base)
        with _locked(base):
            _sweep(base)
            return {path.name: path for path in _machines(base) if is_alive(path)}
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise _refused(exc, base) from exc


def _refused(exc: OSError, base: Path) -> StorageError:
    return StorageError(f"{exc.filename or base}: {exc.strerror}; {OWN}")


def hold(path: Path) -> int | None:
    """Open the lock of a running machine, to wait with `is_over`; None where it is gone already."""
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
        path.chmod(0o700)  # a umask may have taken from the owner, too
    _check_private(path)


def _check_parent(base: Path) -> None:
    """Raise StorageError where others could put something else in the place of `base`. Raise OSError."""
    parent = base.parent
    found = parent.stat()
    if found.st_uid not in {0, os.geteuid()}:
        raise StorageError(f"{parent} belongs to user {found.st_uid}; {OWN}")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(found.st_mode)
        raise StorageError(f"{parent} can be changed by other users (mode {mode:04o}); chmod go-w it, or {OWN}")


def _check_private(path: Path) -> None:
    """Raise StorageError unless `path` is a directory that nobody else can get into, OSError where it is not there."""
    found = path.lstat()
    advice = f"remove it, or {OWN}"
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
            # Nobody may wait for it where one of the two fails.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)
            with suppress(OSError):
                os.close(lock)
        if time.monotonic() > end:
            raise StorageError(f"{path}: another chkpt has held this for {PATIENCE_SECONDS} s; is it stopped?")
        time.sleep(0.01)


def _open_lock(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(lock, 0o600)  # a umask may have taken from the owner, too
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


def _machines(base: Path) -> list[Path]:
    return sorted(path for path in base.iterdir() if path.name[0] != "." and not path.is_symlink() and path.is_dir())


def is_alive(path: Path) -> bool:
    """Whether the process of the machine whose directory is `path` lives. Raise OSError if it cannot be looked into."""
    lock = hold(path)
    if lock is None:
        try:
            return _answers(path)
        except FileNotFoundError:  # the directory has gone, too
            return False
    try:
        return not is_over(lock)
    finally:
        os.close(lock)


def _answers(path: Path) -> bool:
    """Whether somebody listens at one of the sockets in a machine's directory."""
    return any(sockets.answers(entry) for entry in path.iterdir() if entry.is_socket())


def _sweep(base: Path) -> None:
    """Remove what dead machines have left."""
    for path in _machines(base):
        with suppress(OSError):  # what cannot be looked into or removed is in nobody's way
            if not is_alive(path):
                log.info("%s: left by a machine that is gone, removed", path)
                _clear(path)


def _clear(path: Path) -> None:
    """Remove the sockets and the lock in `path`, and `path` itself unless somebody has put something else there."""
    _remove_sockets(path)
    (path / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()


def _remove_sockets(path: Path) -> None:
    for entry in sorted(path.iterdir()):
        if stat.S_ISSOCK(entry.lstat().st_mode):
            entry.unlink(missing_ok=True)
