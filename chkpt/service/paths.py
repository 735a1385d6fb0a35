"""Which files a request may name for snapshots and media.

The machine's process resolves a path, with its root directory, its mounts and its user's rights, whichever client asks.
So a path is absolute. A client gains no right by that: only this user and root can connect (see `chkpt.sockets`). The
checks here refuse paths with which a mistake would do harm.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chkpt.errors import ExistsError, NotFoundError, StorageError, UsageError
from chkpt.service import directory

PATH_MAX: Final = 4095
"""Bytes of the longest path: PATH_MAX of Linux without the NUL (limits.h)."""

NAME_MAX: Final = 255
"""Bytes of the longest name in a path (limits.h)."""

KERNELS_OWN: Final = ("/proc", "/sys", "/dev")
"""Directories of the kernel's files. To open one may have an effect, or mean this process, not the caller's."""

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  a file system like any other


def find_problem(path: str) -> str | None:
    """Return why `path` cannot be the path of a file, as a phrase after `is`; None if it can."""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        return "not a path that a file may have"
    if b"\0" in encoded or not encoded.startswith(b"/"):
        return "not an absolute path"
    if len(encoded) > PATH_MAX or any(len(name) > NAME_MAX for name in encoded.split(b"/")):
        return f"longer than a path may be ({PATH_MAX} bytes, {NAME_MAX} of them in each name)"
    if encoded.rpartition(b"/")[2] in {b"", b".", b".."}:
        return "the path of a directory, not of a snapshot's file"
    return None


def check_load(path: str) -> None:
    """Raise an error if a machine must not be loaded from `path`. Symbolic links are followed.

    Raises:
        UsageError: the file is below /proc, /sys or /dev, or in the directory of running machines.
        NotFoundError: there is no such file.
        StorageError: it is not a regular file, or cannot be examined.
    """
    _check_place(path, os.path.realpath(path))
    found = _stat(path, "snapshot")
    if stat.S_ISDIR(found.st_mode):
        raise StorageError("this is a directory, not a snapshot", where=path)
    if not stat.S_ISREG(found.st_mode):  # before it is opened: an open alone rewinds a tape, or starts a watchdog
        raise StorageError("not a regular file", where=path)


def check_medium(path: str) -> None:
    """Raise an error if `path` is not an image or a block device for a drive. Symbolic links are followed.

    Raises:
        UsageError: an image is below /proc, /sys or /dev, or in the directory of running machines.
        NotFoundError: there is no such file.
        StorageError: it is neither, or cannot be examined.
    """
    found = _stat(path, "image")
    if stat.S_ISBLK(found.st_mode):
        return
    _check_place(path, os.path.realpath(path), "images")
    if not stat.S_ISREG(found.st_mode):  # as in `check_load`
        raise StorageError("neither a file nor a block device; give a raw image", where=path)


def _stat(path: str, what: str) -> os.stat_result:
    """Return the status of a file. Raise NotFoundError if there is none, StorageError if it cannot be examined."""
    try:
        return Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFoundError(f"there is no such {what}", where=path) from exc
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=path) from exc


def check_save(path: str, *, force: bool, own: Iterable[str] = ()) -> None:
    """Raise an error if a machine must not be saved to `path`. If `path` is a symbolic link, the link is replaced.

    Args:
        path: where the snapshot is to be.
        force: whether the save replaces what is there.
        own: paths of files that the machine itself was made of.

    Raises:
        UsageError: it is below /proc, /sys or /dev, or in the directory of running machines.
        ExistsError: there is something that the save must not replace.
        StorageError: it cannot be examined.
    """
    parent, _, name = path.rpartition("/")
    _check_place(path, os.path.realpath(parent or "/"))
    if not force:
        return  # the save replaces nothing
    try:
        found = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=path) from exc
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise ExistsError(f"{name} is not a regular file, and is not replaced; choose another name", where=path)
    for other in own:
        if _is_same_file(other, found):
            raise ExistsError(
                "the machine itself uses this file, and it is not replaced; choose another name", where=path
            )


def _check_place(path: str, real: str, what: str = "snapshots") -> None:
    """Raise UsageError if the real path is in a directory that must not have snapshots, or `what` else is named."""
    for place in KERNELS_OWN:
        if _is_in(real, place) and not _is_in(real, SHARED_MEMORY):
            raise UsageError(f"{place} is not a place for {what}; choose another path", where=path)
    if _is_in(real, os.path.realpath(directory.root())):
        raise UsageError(
            f"the directory of running machines is not a place for {what}; choose another path", where=path
        )


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _is_same_file(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), found)
    except OSError:
        return False
