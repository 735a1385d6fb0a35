"""The way a file gets to its path: whole and lasting, or not at all. And what a writer leaves that was killed on it.

As in restic's local backend: a temporary file in the same directory, fsync, link (or rename), fsync of the directory.
Linking is what makes "create only" true for any number of writers: the kernel lets one of them have the name.

A writer holds a lock (flock(2)) on its temporary file, from its making to its end. The kernel gives the lock back with
the process, however that ends: so a temporary file that nobody holds a lock on was left by a writer that is dead, and
may be removed by whoever sees it.

What replaces or removes a name that is there holds the lock of its directory (`changing`) from the look at what is
there to the end. So nothing that was acknowledged in between is lost: `publish` takes the lock, asks `replace`, and
only then gives the name. There is no other way here to replace a file.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from chkpt.errors import ExistsError, StorageError, UsageError
from chkpt.snapshot import Writable

T = TypeVar("T")

_PREFIX: Final = ".chkpt-"
_TEMPORARY: Final = re.compile(r"\.chkpt-[0-9a-f]{16}")
_NO_FSYNC: Final = {errno.EINVAL, errno.ENOTSUP}  # file systems without an fsync for directories
_NO_LOCKS: Final = {errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK}  # without flock; NFS says ENOLCK
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EMLINK}  # link(2): EPERM is "does not support hard links"
_BUFFER: Final = 1 << 16
_MODE: Final = 0o600

PATIENCE_SECONDS: Final = 30
"""How long the lock of a directory is waited for. It is held for two or three calls and an fsync, never for a write."""


@dataclass(frozen=True, slots=True)
class Leavings:
    """The temporary files that were found in a directory, by name: the removed ones, and why the others were not."""

    removed: tuple[str, ...]
    kept: dict[str, str]


def never() -> bool:
    """Replace nothing; see `publish`."""
    return False


def publish(
    path: str | os.PathLike[str],
    write: Callable[[Writable], T],
    *,
    replace: Callable[[], bool] = never,
    mode: int = _MODE,
) -> T:
    """Let `write` write a file, and give it the name `path` once it is whole and will last. Return what `write` did.

    `write` is called once, with a file that takes all it is given; whatever it raises goes through. What comes after it
    (fsync, which waits for the disk, then the name) needs nothing of the caller's: a lock that `write` took may be
    released at its end. Until then a file of mode 0600 is in the same directory under a name that begins with
    `.chkpt-`; it is gone afterwards, and the next call removes one that a killed process has left.

    Args:
        path: where the file will be. Its directory must be there.
        write: writes the content.
        replace: whether the file may take the place of what is at `path`. It is asked once, under the lock of the
            directory, right before the file gets its name; it looks at what is there, and what it raises goes through.
        mode: who may read the file, once it has its name.

    Raises:
        ExistsError: there is something at `path`, or another writer was first, and it is not to be replaced.
        StorageError: the operating system refused; the message names `path`, and nothing is left behind. But where
            it could not make the name last, the file is there: the message says so.
        UsageError: `path` can be no file's.
    """
    target = Path(path)
    if "\0" in str(target) or not target.name or _TEMPORARY.fullmatch(target.name):
        raise UsageError(f"{str(target)!r} cannot be the path of a snapshot")
    if replace is never and os.path.lexists(target):
        raise taken(target)
    with reporting(target):
        temporary = _Temporary(target)
    try:
        result = write(temporary)
        temporary.publish(replace, mode)
    finally:
        temporary.remove()
    return result


class _Temporary:
    """The file that a snapshot is written to before it has its name; locked as long as its writer lives."""

    def __init__(self, target: Path) -> None:
        self.name = str(target)
        self._target = target
        self._unwritten = bytearray()
        try:
            self._directory = open_directory(target.parent)
        except FileNotFoundError:
            raise StorageError(f"{target}: the directory {target.parent} is missing, and is not made") from None
        try:
            with suppress(OSError):  # a directory that cannot be listed is not cleaned
                _clean(self._directory, _listed(self._directory))
            self._path, self._file = self._create()
        except BaseException:
            os.close(self._directory)
            raise

    def _create(self) -> tuple[str, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            path = f"{_PREFIX}{os.urandom(8).hex()}"
            file = os.open(path, flags, _MODE, dir_fd=self._directory)
            try:
                _lock(file)
                links = os.fstat(file).st_nlink
            except BaseException:
                with suppress(OSError):
                    os.unlink(path, dir_fd=self._directory)
                _close(file)
                raise
            if links:
                return path, file
            _close(file)  # another writer had the lock first, and took the file for one that a dead writer left

    def write(self, data: bytes, /) -> int:
        """Append all of `data`. A snapshot of small devices is a dozen small writes, which go out as one."""
        if self._file < 0:
            raise StorageError(f"{self._target}: written to after its writer was done")
        self._unwritten += data
        if len(self._unwritten) >= _BUFFER:
            self._flush()
        return len(data)

    def _flush(self) -> None:
        with reporting(self._target), memoryview(self._unwritten) as left:
            at = 0
            while at < len(left):
                at += os.write(self._file, left[at:])
        self._unwritten.clear()

    def publish(self, replace: Callable[[], bool], mode: int) -> None:
        """Make the file last and give it its name."""
        target, directory = self._target, self._directory
        self._flush()
        with reporting(target):
            if mode != _MODE:
                os.fchmod(self._file, mode)
            os.fsync(self._file)
        with changing(target, directory):
            replaces = replace()
            with reporting(target):
                if replaces:
                    self._rename()
                else:
                    self._link()
                    self._unlink()
            self._sync(target, directory)

    def _sync(self, target: Path, directory: int) -> None:
        try:
            sync_directory(directory)
        except OSError as exc:
            raise StorageError(
                f"{target}: the snapshot is there and whole, but its name could not be made to last:"
                f" {exc.strerror or exc}; until the disk is well again a power cut may lose it"
            ) from exc

    def _rename(self) -> None:
        try:
            os.replace(self._path, self._target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            if not self._has_name():
                raise
        self._path = ""

    def _has_name(self) -> bool:
        """Whether the file has its name, whatever the call has answered.

        A server of NFS that has lost its answer does a link or rename once more when it is asked again, and says that
        it cannot be done (open(2), "O_EXCL", tells to look instead).
        """
        try:
            found = os.stat(self._target.name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._file))

    def _link(self) -> None:
        try:
            os.link(self._path, self._target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as exc:
            if self._has_name():
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
        """Remove the temporary name. Where that fails it is tried again at the end, and then left to others."""
        with suppress(OSError):
            os.unlink(self._path, dir_fd=self._directory)
            self._path = ""

    def remove(self) -> None:
        """Close the file, and remove it unless it has its name by now."""
        if self._path:
            self._unlink()
        _close(self._file)
        _close(self._directory)
        self._file = self._directory = -1  # who kept the file must not write to another one with its number


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
        while not _try_lock(directory):
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


def _try_lock(directory: int) -> bool:
    """Lock a directory, unless another process has the lock. Return True where there are no locks. Raise OSError."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
    return True


# -- what killed writers leave ----------------------------------------------------------------------------------------


def clean(directory: Path) -> Leavings:
    """Remove the temporary files whose writers are dead from a directory, and nothing else.

    Where the file system has no locks, or this user may not open a file, nobody can tell: such files are kept.

    Raises:
        StorageError: the directory cannot be read. One that is not there has nothing in it.
    """
    try:
        opened = open_directory(directory)
    except FileNotFoundError:
        return Leavings((), {})
    except OSError as exc:
        raise StorageError(f"{directory}: {exc.strerror or exc}") from exc
    try:
        with reporting(directory):
            names = _listed(opened)
        return _clean(opened, names)
    finally:
        os.close(opened)


def _clean(directory: int, names: Iterable[str]) -> Leavings:
    removed: list[str] = []
    kept: dict[str, str] = {}
    for name in sorted(name for name in names if name.startswith(_PREFIX) and _TEMPORARY.fullmatch(name)):
        try:
            if _remove_if_stale(directory, name):
                removed.append(name)
        except FileNotFoundError:
            continue  # its writer, or somebody else who cleans, was quicker
        except BlockingIOError:
            kept[name] = "its writer is at work"
        except OSError as exc:
            kept[name] = f"nobody can tell whether its writer lives: {exc.strerror or exc}"
    return Leavings(tuple(removed), kept)


def _listed(directory: int) -> list[str]:
    return os.listdir(directory)


def _remove_if_stale(directory: int, name: str) -> bool:
    """Remove a temporary file. Raise BlockingIOError where its writer lives; False is what no writer has made."""
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return False
    file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where the writer lives
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
        return ExistsError(f"{target}: this is a directory; choose another name")
    return ExistsError(
        f"{target}: there is something of that name already; choose another name, or replace it (--force)"
    )


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that names `path`."""
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror or exc}") from exc
