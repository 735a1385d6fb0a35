"""Snapshots as files of one directory, and the way any snapshot gets to its path: whole, lasting, or not at all.

As in restic's local backend: a temporary file in the same directory, fsync, link (or rename), fsync of the directory.
Linking is what makes "create only" true for any number of writers: the kernel lets one of them have the name.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from chkpt.context import Checkpoint
from chkpt.errors import ExistsError, NotFoundError, RefusedError, StorageError, UsageError
from chkpt.snapshot import Reader, Summary, Writable, dump
from chkpt.store.contract import Listing, Write, check_name, is_name

T = TypeVar("T")

SUFFIX: Final = ".zst"
"""What follows a snapshot's name in the name of its file."""

_PREFIX: Final = ".chkpt-"
_TEMPORARY: Final = re.compile(r"\.chkpt-[0-9a-f]{16}")
_NO_FSYNC: Final = {errno.EINVAL, errno.ENOTSUP}  # file systems without an fsync for directories
_BUFFER: Final = 1 << 16
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EMLINK}  # link(2): EPERM is "does not support hard links"


class LocalStore:
    """The snapshots in one directory: `NAME` is the file `NAME.zst`. A `Store`.

    The directory is made (mode 0700) by the first `create`, and by nothing else.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def path(self, name: str) -> Path:
        """Return the path of the snapshot `name`, there or not. Raises UsageError where it can be no name."""
        check_name(name)
        return self.directory / (name + SUFFIX)

    def create(self, name: str, content: Checkpoint | Write, *, force: bool = False) -> Summary:
        """Store a snapshot; see `Store.create`."""
        path = self.path(name)
        if not os.path.isdir(self.directory):  # noqa: PTH112  which refuses nothing, and leaves that to `mkdir`
            _make_directory(self.directory)
        if isinstance(content, Checkpoint):
            checkpoint = content
            return publish(path, lambda file: dump(checkpoint, file), force=force)
        return publish(path, content, force=force)

    def open(self, name: str) -> Reader:
        """Open a snapshot; see `Store.open`."""
        path = self.path(name)
        try:
            return Reader.open(path)
        except NotFoundError:
            raise NotFoundError(f"{self.directory}: there is no snapshot named {name!r}") from None

    def list(self) -> Sequence[Listing]:
        """Return all snapshots, by name; see `Store.list`."""
        try:
            with os.scandir(self.directory) as entries:
                names = sorted(_names(entries))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise StorageError(f"{self.directory}: {exc.strerror}") from exc
        listings = []
        for name in names:
            with suppress(NotFoundError):  # removed in between
                listings.append(self._listing(name))
        return listings

    def _listing(self, name: str) -> Listing:
        try:
            with self.open(name) as reader:
                machine = reader.header.get("machine")
                created = str(reader.header["created"])
                return Listing(
                    name, reader.size, created, machine if isinstance(machine, str) else "", reader.root_digest
                )
        except (RefusedError, StorageError) as exc:
            path = self.path(name)
            try:
                return Listing(name, path.stat().st_size, problem=str(exc))
            except OSError:
                raise NotFoundError(f"{path}: there is no such snapshot") from exc

    def remove(self, name: str) -> None:
        """Remove a snapshot; see `Store.remove`."""
        path = self.path(name)
        with _reporting(path):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(f"{self.directory}: there is no snapshot named {name!r}") from None
            directory = _open_directory(self.directory)
            try:
                _sync_directory(directory)
            finally:
                os.close(directory)

    def verify(self, name: str) -> None:
        """Check a snapshot; see `Store.verify`."""
        with self.open(name) as reader:
            reader.verify()


def publish(path: str | os.PathLike[str], write: Callable[[Writable], T], *, force: bool = False) -> T:
    """Let `write` write a file, and give it the name `path` once it is whole and will last. Return what `write` did.

    `write` is called once, with a file that takes all it is given; whatever it raises goes through. What comes after it
    (fsync, which waits for the disk, then the name) needs nothing of the caller's: a lock that `write` took may be
    released at its end. Until then a file of mode 0600 is in the same directory under a name that begins with
    `.chkpt-`; it is gone afterwards, and the next call removes one that a killed process has left.

    Args:
        path: where the file will be. Its directory must be there.
        write: writes the content.
        force: replace what is at `path`.

    Raises:
        ExistsError: there is something at `path`, or another writer was first, and `force` is not set.
        StorageError: the operating system refused; the message names `path`, and nothing is left behind.
        UsageError: `path` can be no file's.
    """
    target = Path(path)
    if "\0" in str(target) or not target.name or _TEMPORARY.fullmatch(target.name):
        raise UsageError(f"{str(target)!r} cannot be the path of a snapshot")
    if not force and os.path.lexists(target):
        raise _exists(target)
    with _reporting(target):
        temporary = _Temporary(target)
    try:
        result = write(temporary)
        temporary.publish(force=force)
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
            self._directory = _open_directory(target.parent)
        except FileNotFoundError:
            raise StorageError(f"{target}: the directory {target.parent} is missing, and is not made") from None
        try:
            _remove_stale(self._directory)
            self._path, self._file = self._create()
        except BaseException:
            os.close(self._directory)
            raise

    def _create(self) -> tuple[str, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            path = f"{_PREFIX}{os.urandom(8).hex()}"
            file = os.open(path, flags, 0o600, dir_fd=self._directory)
            with suppress(OSError):  # a file system without locks: then nobody can take it for stale either
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return path, file
            os.close(file)  # another writer had the lock first, and took the file for one that a dead writer left

    def write(self, data: bytes, /) -> int:
        """Append all of `data`. A snapshot of small devices is a dozen small writes, which go out as one."""
        if self._file < 0:
            raise StorageError(f"{self._target}: written to after its writer was done")
        self._unwritten += data
        if len(self._unwritten) >= _BUFFER:
            self._flush()
        return len(data)

    def _flush(self) -> None:
        with _reporting(self._target), memoryview(self._unwritten) as left:
            at = 0
            while at < len(left):
                at += os.write(self._file, left[at:])
        self._unwritten.clear()

    def publish(self, *, force: bool) -> None:
        """Make the file last and give it its name."""
        target, directory = self._target, self._directory
        self._flush()
        with _reporting(target):
            os.fsync(self._file)
            if force:
                os.replace(self._path, target.name, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                self._link()
                os.unlink(self._path, dir_fd=directory)
            self._path = ""
            _sync_directory(directory)

    def _link(self) -> None:
        try:
            os.link(self._path, self._target.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except FileExistsError:
            raise _exists(self._target) from None
        except OSError as exc:
            if exc.errno in _NO_LINKS:
                raise StorageError(
                    f"{self._target}: this file system has no hard links, and so cannot create a file"
                    " without perhaps replacing another; use force, or another place"
                ) from exc
            raise

    def remove(self) -> None:
        """Close the file, and remove it unless it has its name by now."""
        if self._path:
            with suppress(OSError):
                os.unlink(self._path, dir_fd=self._directory)
        os.close(self._file)
        os.close(self._directory)
        self._file = self._directory = -1  # who kept the file must not write to another one with its number


def _remove_stale(directory: int) -> None:
    """Remove the temporary files whose writers are dead: those that nobody holds a lock on."""
    try:
        names = os.listdir(directory)
    except OSError:
        return  # a directory that cannot be listed is not cleaned
    for name in names:
        if name.startswith(_PREFIX) and _TEMPORARY.fullmatch(name):
            with suppress(OSError):
                _remove_if_stale(directory, name)


def _remove_if_stale(directory: int, name: str) -> None:
    file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        if stat.S_ISREG(os.fstat(file).st_mode):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where the writer lives
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(file)


def _names(entries: Iterator[os.DirEntry[str]]) -> Iterator[str]:
    """Yield the names of the snapshots among the entries of a directory."""
    for entry in entries:
        name = entry.name.removesuffix(SUFFIX)
        if name != entry.name and is_name(name) and Path(entry).is_file():
            yield name


def _make_directory(directory: Path) -> None:
    with _reporting(directory):
        try:
            directory.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            return
        parent = _open_directory(directory.parent)
        try:
            _sync_directory(parent)
        finally:
            os.close(parent)


def _open_directory(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _sync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as exc:
        if exc.errno not in _NO_FSYNC:
            raise


def _exists(target: Path) -> ExistsError:
    if target.is_dir() and not target.is_symlink():
        return ExistsError(f"{target}: this is a directory; choose another name")
    return ExistsError(
        f"{target}: there is something of that name already; choose another name, or use force (--force)"
    )


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that names `path`."""
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror or exc}") from exc
