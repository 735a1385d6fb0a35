"""Writes files so that each is at its path whole and lasting, or not at all; and removes what killed writers left.

A writer works as restic's local backend does: a temporary file in the same directory, fsync, link (or rename), fsync of
the directory. link(2) fails if the name exists. So of several writers that create one name, exactly one succeeds.

A writer holds a lock (flock(2)) on its temporary file as long as the file exists. The kernel frees the lock when the
process ends, however it ends. So a temporary file that is not locked is left from a dead writer, and any other writer
may remove it. Temporary files have the names `.chkpt-0000000000000000`, `.chkpt-0000000000000001` and so on, and a
writer takes the first that is free. So the next writer finds leavings by their names. It does not list the directory:
then each save would take longer with each file in it.

To replace or remove a name, a process holds the lock of the directory (`changing`), from its look at the name to the
end of the change. So no change by another process in between is lost. `NewFile.give_name` refuses a file that is not
synced, or whose directory is not locked, and nothing else here replaces a file.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from chkpt.errors import ExistsError, StorageError, UsageError

_PREFIX: Final = ".chkpt-"
_TEMPORARY: Final = re.compile(r"\.chkpt-[0-9a-f]{16}")
_NO_FSYNC: Final = {errno.EINVAL, errno.ENOTSUP}  # file systems without an fsync for directories
_NO_LOCKS: Final = {errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK}  # without flock; NFS says ENOLCK
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EMLINK}  # link(2): EPERM is "does not support hard links"
_BUFFER: Final = 1 << 16
_MODE: Final = 0o600

AHEAD: Final = 16
"""How many names of temporary files in a row must be free before a writer stops looking for leavings.

Leavings behind a longer gap, of one of more than 16 writers at once, stay until `clean`.
"""

PATIENCE_SECONDS: Final = 30
"""How long to wait for the lock of a directory. It is held for two or three calls and an fsync, never for a write."""


@dataclass(frozen=True, slots=True)
class Leavings:
    """The temporary files in a directory: the names of the removed ones, and the reasons why the others were kept."""

    removed: tuple[str, ...]
    kept: dict[str, str]


# -- a file on its way to its name ------------------------------------------------------------------------------------


def write_file(path: str | os.PathLike[str], content: bytes, *, force: bool = False, mode: int = _MODE) -> None:
    """Write a file. It gets the name `path` once it is whole and lasts.

    Args:
        path: where the file will be. Its directory must exist.
        content: the whole content.
        force: replace what is at `path`.
        mode: the mode of the file once it has its name.

    Raises:
        ExistsError: there is something at `path`, or another writer was first, and `force` is not set.
        StorageError, UsageError: see `new_file`.
    """
    target = _check_path(path)
    if not force and os.path.lexists(target):
        raise exists_error(target)
    with new_file(target, mode=mode) as file:
        file.write(content)
        file.sync()
        with file.locking():
            file.give_name(replace=force)


@contextmanager
def new_file(path: str | os.PathLike[str], *, mode: int = _MODE) -> "Iterator[NewFile]":
    """Yield a file that may get the name `path`. If it does not have it at the end of the block, it is removed.

    In the block the caller writes, syncs and names the file, see `NewFile`. It has mode 0600 until it is synced. Before
    the block, temporary files that killed writers have left in the directory are removed.

    Raises:
        StorageError: the operating system refused; the message names `path`, and nothing is left behind.
        UsageError: `path` cannot be the path of a file.
    """
    target = _check_path(path)
    with reporting(target):
        file = NewFile(target, mode)
    try:
        yield file
    finally:
        file.remove()


def _check_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file. Raise UsageError if it cannot be one, or is that of a temporary file."""
    target = Path(path)
    if "\0" in str(target) or not target.name or _TEMPORARY.fullmatch(target.name):
        raise UsageError(f"{str(target)!r} cannot be the path of a snapshot")
    return target


class NewFile:
    """A file that does not have its name yet: a temporary file in the directory of that name, locked by its writer.

    The writer calls `write` and `sync`. Then it locks the directory (`locking`), looks at what has the name, and calls
    `give_name`.

    Attributes:
        size: how many bytes have been written.
        removed: the paths of other files that were removed with the one that this one has replaced.
    """

    def __init__(self, target: Path, mode: int) -> None:
        """Make the temporary file. Raise OSError; StorageError if the directory is missing."""
        self.name = str(target)
        self.size = 0
        self.removed: list[Path] = []
        self._target = target
        self._mode = mode
        self._unwritten = bytearray()
        self._is_synced = self._is_locked = False
        try:
            self._directory = open_directory(target.parent)
        except FileNotFoundError:
            raise StorageError(
                f"the directory {target.parent} does not exist; make it first", where=str(target)
            ) from None
        try:
            _sweep(self._directory)
            self._temporary, self._file = _create(self._directory)
        except BaseException:
            os.close(self._directory)
            raise

    def write(self, data: bytes, /) -> int:
        """Append all of `data`. Small writes are collected: a snapshot of small devices has a dozen."""
        if self._file < 0:
            raise StorageError("written to after it was closed", where=str(self._target))
        self._is_synced = False
        self._unwritten += data
        self.size += len(data)
        if len(self._unwritten) >= _BUFFER:
            self._flush()
        return len(data)

    def _flush(self) -> None:
        with reporting(self._target), memoryview(self._unwritten) as left:
            at = 0
            while at < len(left):
                at += os.write(self._file, left[at:])
        self._unwritten.clear()

    def sync(self) -> None:
        """Set the mode, and sync the file so that its content lasts. Raise StorageError."""
        self._flush()
        with reporting(self._target):
            if self._mode != _MODE:
                os.fchmod(self._file, self._mode)
            os.fsync(self._file)
        self._is_synced = True

    @contextmanager
    def locking(self) -> Iterator[None]:
        """Hold the lock of the directory in the block, see `changing`. Raise StorageError."""
        with changing(self._target, self._directory):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def give_name(self, *, replace: bool) -> None:
        """Rename the file to its name, or without `replace` link it; then sync the directory so that the name lasts.

        Raises:
            ExistsError: there is something of that name, and `replace` is not set.
            StorageError: the operating system refused. Or the file is there, but its name could not be made to last;
                then the message says so.
            RuntimeError: the file is not synced, or the directory is not locked.
        """
        if not (self._is_synced and self._is_locked):
            raise RuntimeError(f"{self._target}: sync the file and lock its directory before it gets its name")
        with reporting(self._target):
            if replace:
                self._rename()
            else:
                self._link()
                self._unlink()
        try:
            sync_directory(self._directory)
        except OSError as exc:
            raise StorageError(
                f"{self._target}: the snapshot is there and whole, but its name could not be made to last:"
                f" {exc.strerror or exc}; a power cut may lose it, so repair the disk and save again"
            ) from exc

    def _rename(self) -> None:
        try:
            os.replace(self._temporary, self._target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            if not self._has(self._target.name):
                raise
        self._temporary = ""

    def _has(self, name: str) -> bool:
        """Whether the file has a name, even if the call that gave it the name has failed.

        If an NFS server's answer is lost, the client asks for the link or rename again, and the server reports that it
        cannot be done (open(2), "O_EXCL", advises to look instead).
        """
        try:
            found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._file))

    def _link(self) -> None:
        try:
            os.link(self._temporary, self._target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as exc:
            if self._has(self._target.name):
                return
            if isinstance(exc, FileExistsError):
                raise exists_error(self._target) from None
            if exc.errno in _NO_LINKS:
                raise StorageError(
                    f"{self._target}: this file system has no hard links, so a new file could replace another one"
                    " unnoticed; allow that (--force), or choose a path on another file system"
                ) from exc
            raise

    def _unlink(self) -> None:
        """Remove the temporary name, unless another writer has it by now. If that fails, the next writer removes it."""
        with suppress(OSError):
            if self._has(self._temporary):
                os.unlink(self._temporary, dir_fd=self._directory)
            self._temporary = ""

    def remove(self) -> None:
        """Close the file, and remove it unless it has its name."""
        if self._temporary:
            self._unlink()
        _close(self._file)
        _close(self._directory)
        self._file = self._directory = -1  # a late write must not reach the descriptor of another file


def _create(directory: int) -> tuple[str, int]:
    """Make a temporary file under the first free name, and lock it. Return its name and its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for name in _make_names():
        try:
            file = os.open(name, flags, _MODE, dir_fd=directory)
        except FileExistsError:
            continue  # a living writer's file, or a dead one's that this user may not remove
        try:
            _lock(file)
            links = os.fstat(file).st_nlink
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
            _close(file)
            raise
        if links:
            return name, file
        _close(file)  # another writer got the lock first, and removed the file as a dead writer's
    raise AssertionError  # there is no last name


def _make_names() -> Iterator[str]:
    """Yield the names of temporary files, without end."""
    return (f"{_PREFIX}{number:016x}" for number in count())


# -- one change of a name at a time ------------------------------------------------------------------------------------


@contextmanager
def changing(path: Path, directory: int) -> Iterator[None]:
    """Hold the lock of an open directory, to look at a name in it and then replace or remove that name.

    The lock is flock(2) on the directory itself. On a file system without locks only the look protects the name.

    Args:
        path: the file that is changed, for messages.
        directory: its open directory, which only this call uses: the lock belongs to the open file.

    Raises:
        StorageError: another process has held the lock for `PATIENCE_SECONDS`.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    with reporting(path):
        while try_lock(directory) is False:
            if time.monotonic() > end:
                raise StorageError(
                    f"{path}: another process has held the lock of {path.parent} for {PATIENCE_SECONDS} s;"
                    " if it is stopped, end it"
                )
            time.sleep(0.001)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_UN)


def try_lock(directory: int) -> bool | None:
    """Lock an open directory. Return False if another process holds the lock, None if there are no locks.

    Raises:
        OSError: the operating system refused.
    """
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
        return None
    return True


# -- leavings of killed writers ---------------------------------------------------------------------------------------


def clean(directory: Path) -> Leavings:
    """Remove the temporary files of dead writers from a directory, and nothing else.

    A file is kept if the file system has no locks, or if this user may not open it: its writer may be alive. A missing
    directory counts as empty.

    Raises:
        StorageError: the directory cannot be read.
    """
    try:
        opened = open_directory(directory)
    except FileNotFoundError:
        return Leavings((), {})
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(directory)) from exc
    try:
        with reporting(directory):
            names = os.listdir(opened)  # noqa: PTH208  of an open directory
        return _clean(opened, sorted(name for name in names if _TEMPORARY.fullmatch(name)))
    finally:
        os.close(opened)


def _clean(directory: int, names: Iterable[str]) -> Leavings:
    removed: list[str] = []
    kept: dict[str, str] = {}
    for name in names:
        try:
            if _remove_if_stale(directory, name):
                removed.append(name)
        except FileNotFoundError:
            continue  # its writer, or another process that cleans, was faster
        except BlockingIOError:
            kept[name] = "its writer is at work"
        except OSError as exc:
            kept[name] = f"its writer may be alive: {exc.strerror or exc}"
    return Leavings(tuple(removed), kept)


def _sweep(directory: int) -> None:
    """Remove the leavings of dead writers under the first names, up to `AHEAD` free ones in a row."""
    free = 0
    for name in _make_names():
        try:
            _remove_if_stale(directory, name)
            free = 0
        except FileNotFoundError:
            free += 1
        except OSError:  # its writer is alive, or may be
            free = 0
        if free == AHEAD:
            return


def _remove_if_stale(directory: int, name: str) -> bool:
    """Remove a temporary file if its writer is dead. Return False if it is not a regular file.

    Before this call has the lock, another process may have removed the file, and a new writer may have taken the name.
    Then the new file stays. While a file is locked, only the process that holds the lock removes its name.

    Raises:
        BlockingIOError: its writer is alive.
        OSError: it cannot be opened, locked or removed; FileNotFoundError if it does not exist.
    """
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return False
    file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(found, os.stat(name, dir_fd=directory, follow_symlinks=False)):
            raise BlockingIOError
        os.unlink(name, dir_fd=directory)
        return True
    finally:
        _close(file)


def _lock(file: int) -> None:
    """Lock a new file. Without locks do nothing: no other process can take the file for a dead writer's then."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise


# -- directories ------------------------------------------------------------------------------------------------------


def make_directory(directory: Path) -> None:
    """Make a directory (mode 0700) and its missing parents, so that they last. Do nothing if it exists.

    Raises:
        StorageError: it cannot be made.
    """
    missing: list[Path] = []
    at = directory.absolute()
    while not os.path.isdir(at) and at != at.parent:  # noqa: PTH112  it raises nothing; `mkdir` does
        missing.append(at)
        at = at.parent
    with reporting(directory):
        for each in reversed(missing):
            with suppress(FileExistsError):  # another process was faster, and may not have synced it yet
                each.mkdir(mode=0o700 if each == missing[0] else 0o777)
            parent = open_directory(each.parent)
            try:
                sync_directory(parent)
            finally:
                os.close(parent)


def open_directory(directory: Path) -> int:
    """Open a directory, to work in it even if its path changes. Raise OSError."""
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_directory(directory: int) -> None:
    """Sync an open directory so that the names in it last, if the file system can. Raise OSError."""
    try:
        os.fsync(directory)
    except OSError as exc:
        if exc.errno not in _NO_FSYNC:
            raise


# -- errors -----------------------------------------------------------------------------------------------------------


def _close(file: int) -> None:
    """Close a file and ignore errors: its content lasts already, or is of no use (close(2))."""
    with suppress(OSError):
        os.close(file)


def exists_error(target: Path) -> ExistsError:
    """Return the error for a `target` that exists already."""
    if target.is_dir() and not target.is_symlink():
        return ExistsError("this is a directory; choose another name", where=str(target))
    return ExistsError(
        f"{target}: there is something of that name already; choose another name, or replace it (--force)"
    )


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a StorageError that names `path`."""
    try:
        yield
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
