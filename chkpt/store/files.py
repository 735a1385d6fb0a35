"""The way a file gets to its path: whole and lasting, or not at all. And what a writer leaves that was killed on it.

As in restic's local backend: a temporary file in the same directory, fsync, link (or rename), fsync of the directory.
Linking is what makes "create only" true for any number of writers: the kernel lets one of them have the name.

A writer holds a lock (flock(2)) on its temporary file, from its making to its end. The kernel gives the lock back with
the process, however that ends. So a temporary file that is not locked was left by a writer that is dead, and any other
writer may remove it. Temporary files have the names `.chkpt-0000000000000000`, `.chkpt-0000000000000001` and so on, and
a writer takes the first that is free: so the next writer finds what was left by its name. It does not list the
directory, which would make each save slower with each file that is there.

What replaces or removes a name that is there holds the lock of its directory (`changing`) from the look at what is
there to the end. So nothing that was acknowledged in between is lost. `NewFile.give_name` refuses a file that has not
been synced, or whose directory is not locked. There is no other way here to replace a file.
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
"""How many names of temporary files in a row must be free before a writer stops looking for what was left.

What was left behind a longer gap, by one of more than 16 writers at once, stays until `clean`.
"""

PATIENCE_SECONDS: Final = 30
"""How long the lock of a directory is waited for. It is held for two or three calls and an fsync, never for a write."""


@dataclass(frozen=True, slots=True)
class Leavings:
    """The temporary files that were found in a directory, by name: the removed ones, and why the others were not."""

    removed: tuple[str, ...]
    kept: dict[str, str]


# -- a file on its way to its name ------------------------------------------------------------------------------------


def write_file(path: str | os.PathLike[str], content: bytes, *, force: bool = False, mode: int = _MODE) -> None:
    """Write a file that has its name `path` once it is whole and will last.

    Args:
        path: where the file will be. Its directory must be there.
        content: all of the file.
        force: whether the file may take the place of what is at `path`.
        mode: who may read the file, once it has its name.

    Raises:
        ExistsError: there is something at `path`, or another writer was first, and `force` is not set.
        StorageError, UsageError: see `new_file`.
    """
    target = _checked(path)
    if not force and os.path.lexists(target):
        raise taken(target)
    with new_file(target, mode=mode) as file:
        file.write(content)
        file.sync()
        with file.locked():
            file.give_name(replace=force)


@contextmanager
def new_file(path: str | os.PathLike[str], *, mode: int = _MODE) -> "Iterator[NewFile]":
    """Yield a file that may get the name `path`; a file that has not got it by the end of the block is gone.

    In the block the file is written, synced and named, see `NewFile`. It has mode 0600 until it is synced. Before the
    block, temporary files are removed that killed writers have left in the directory.

    Raises:
        StorageError: the operating system refused; the message names `path`, and nothing is left behind.
        UsageError: `path` cannot be the path of a file.
    """
    target = _checked(path)
    with reporting(target):
        file = NewFile(target, mode)
    try:
        yield file
    finally:
        file.remove()


def _checked(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file. Raise UsageError if it cannot be one, or is that of a temporary file."""
    target = Path(path)
    if "\0" in str(target) or not target.name or _TEMPORARY.fullmatch(target.name):
        raise UsageError(f"{str(target)!r} cannot be the path of a snapshot")
    return target


class NewFile:
    """A file that does not have its name yet: a temporary file in the directory of that name, locked by its writer.

    Its writer calls `write` and `sync`, and under the lock of the directory (`locked`), after a look at what is there,
    `give_name`.

    Attributes:
        size: how many bytes have been written.
        removed: the paths of other files that went with what this one has replaced.
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
                f"the directory {target.parent} is missing, and is not made", where=str(target)
            ) from None
        try:
            _sweep(self._directory)
            self._temporary, self._file = _create(self._directory)
        except BaseException:
            os.close(self._directory)
            raise

    def write(self, data: bytes, /) -> int:
        """Append all of `data`. A snapshot of small devices is a dozen small writes, which go out as one."""
        if self._file < 0:
            raise StorageError("written to after its writer was done", where=str(self._target))
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
        """Make what was written last, and readable by those whom the mode allows it. Raise StorageError."""
        self._flush()
        with reporting(self._target):
            if self._mode != _MODE:
                os.fchmod(self._file, self._mode)
            os.fsync(self._file)
        self._is_synced = True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the directory in the block, see `changing`. Raise StorageError."""
        with changing(self._target, self._directory):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def give_name(self, *, replace: bool) -> None:
        """Rename the file to its name, or link it there if nothing may be replaced; then make the name last.

        Raises:
            ExistsError: there is something of that name, and `replace` is not set.
            StorageError: the operating system refused. Or the file is there, but its name could not be made to last;
                the message says so.
            RuntimeError: the file is not synced, or the directory not locked.
        """
        if not (self._is_synced and self._is_locked):
            raise RuntimeError(f"{self._target}: a file gets its name when it is synced and its directory is locked")
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
                f" {exc.strerror or exc}; until the disk is well again a power cut may lose it"
            ) from exc

    def _rename(self) -> None:
        try:
            os.replace(self._temporary, self._target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            if not self._has(self._target.name):
                raise
        self._temporary = ""

    def _has(self, name: str) -> bool:
        """Whether the file has a name, whatever a call has answered.

        A server of NFS that has lost its answer does a link or rename once more when it is asked again, and says that
        it cannot be done (open(2), "O_EXCL", advises to look instead).
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
                raise taken(self._target) from None
            if exc.errno in _NO_LINKS:
                raise StorageError(
                    f"{self._target}: this file system has no hard links, and so cannot create a file"
                    " without perhaps replacing another; use force, or another place"
                ) from exc
            raise

    def _unlink(self) -> None:
        """Remove the temporary name, unless another writer has it by now. If that fails, the next writer removes it."""
        with suppress(OSError):
            if self._has(self._temporary):
                os.unlink(self._temporary, dir_fd=self._directory)
            self._temporary = ""

    def remove(self) -> None:
        """Close the file, and remove it unless it has its name by now."""
        if self._temporary:
            self._unlink()
        _close(self._file)
        _close(self._directory)
        self._file = self._directory = -1  # a caller that has kept the file must not write to another one's descriptor


def _create(directory: int) -> tuple[str, int]:
    """Make a temporary file under the first name that is free, and lock it. Return the name and the file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for name in _names():
        try:
            file = os.open(name, flags, _MODE, dir_fd=directory)
        except FileExistsError:
            continue  # of another writer, or of one that is dead and whose file may not be removed
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
        _close(file)  # another writer had the lock first, and took the file for one that a dead writer left
    raise AssertionError  # there is no last name


def _names() -> Iterator[str]:
    """Yield the names of temporary files, without end."""
    return (f"{_PREFIX}{number:016x}" for number in count())


# -- one change of a name at a time ------------------------------------------------------------------------------------


@contextmanager
def changing(path: Path, directory: int) -> Iterator[None]:
    """Hold the lock of an open directory: for what looks at a name in it, and then replaces or removes it.

    The lock is flock(2) on the directory itself. A file system without locks has none, and the look is all there is.

    Args:
        path: what is changed, for messages.
        directory: its open directory, of this call alone: a lock belongs to the open file.

    Raises:
        StorageError: another process has held the lock for `PATIENCE_SECONDS`.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    with reporting(path):
        while try_lock(directory) is False:
            if time.monotonic() > end:
                raise StorageError(
                    f"{path}: another process has held the lock of {path.parent} for {PATIENCE_SECONDS} s;"
                    " is it stopped?"
                )
            time.sleep(0.001)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_UN)


def try_lock(directory: int) -> bool | None:
    """Lock an open directory. Return False if another process has the lock, None without locks. Raise OSError."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
        return None
    return True


# -- what killed writers leave ----------------------------------------------------------------------------------------


def clean(directory: Path) -> Leavings:
    """Remove the temporary files whose writers are dead from a directory, and nothing else.

    A file is kept if the file system has no locks, or if this user may not open it: its writer may be at work.

    Raises:
        StorageError: the directory cannot be read. One that is not there has nothing in it.
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
            continue  # its writer, or another process that cleans, was quicker
        except BlockingIOError:
            kept[name] = "its writer is at work"
        except OSError as exc:
            kept[name] = f"nobody can tell whether its writer lives: {exc.strerror or exc}"
    return Leavings(tuple(removed), kept)


def _sweep(directory: int) -> None:
    """Remove what dead writers have left under the first names, up to `AHEAD` free ones in a row."""
    free = 0
    for name in _names():
        try:
            _remove_if_stale(directory, name)
            free = 0
        except FileNotFoundError:
            free += 1
        except OSError:  # its writer is at work, or may be
            free = 0
        if free == AHEAD:
            return


def _remove_if_stale(directory: int, name: str) -> bool:
    """Remove a temporary file if its writer is dead. Return False if it is not what a writer makes.

    The name may be another file's by the time the file is locked: another process has removed it, and a new writer has
    taken the name. That file stays. While a file is locked, only the process that holds the lock removes its name.

    Raises:
        BlockingIOError: its writer is at work.
        OSError: it cannot be opened, locked or removed; FileNotFoundError if it is not there.
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
    """Lock a file of one's own, but where the file system has no locks: then nobody can take it for stale either."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise


# -- directories ------------------------------------------------------------------------------------------------------


def make_directory(directory: Path) -> None:
    """Make a directory (mode 0700) with the parents that it lacks, each so that it lasts. One that is there is fine.

    Raises:
        StorageError: it cannot be made.
    """
    missing: list[Path] = []
    at = directory.absolute()
    while not os.path.isdir(at) and at != at.parent:  # noqa: PTH112  which refuses nothing, and leaves that to `mkdir`
        missing.append(at)
        at = at.parent
    with reporting(directory):
        for each in reversed(missing):
            with suppress(FileExistsError):  # somebody was quicker, who may not have come to make it last
                each.mkdir(mode=0o700 if each == missing[0] else 0o777)
            parent = open_directory(each.parent)
            try:
                sync_directory(parent)
            finally:
                os.close(parent)


def open_directory(directory: Path) -> int:
    """Open a directory, to work in it whatever becomes of its path. Raise OSError."""
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_directory(directory: int) -> None:
    """Make the names in an open directory last, where the file system can do that. Raise OSError."""
    try:
        os.fsync(directory)
    except OSError as exc:
        if exc.errno not in _NO_FSYNC:
            raise


# -- errors -----------------------------------------------------------------------------------------------------------


def _close(file: int) -> None:
    """Close a file whose content lasts by now, or is of no use: an error would say nothing that matters (close(2))."""
    with suppress(OSError):
        os.close(file)


def taken(target: Path) -> ExistsError:
    """Return what to say where there is something at `target` already."""
    if target.is_dir() and not target.is_symlink():
        return ExistsError("this is a directory; choose another name", where=str(target))
    return ExistsError(
        f"{target}: there is something of that name already; choose another name, or replace it (--force)"
    )


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that names `path`."""
    try:
        yield
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
