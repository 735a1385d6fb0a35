"""Which files a request may name: what the machine's own process may open, but not what only looks like a file.

A path is one of the machine's process: its root directory, its mounts, its user's rights, whoever asks. So it is
absolute, and nothing in it is the caller's own. No right is given away by that: who may ask at all is this user, or
root (see `chkpt.sockets`). What is refused is what a mistake would make worse than an error.
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
"""Directories whose files are the kernel's: to open one may do something, or mean this process and not the caller's."""

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  a file system like any other


def problem(path: str) -> str | None:
    """Return why `path` can be nobody's, as a phrase after `is`; None where it can."""
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
    """Raise where a machine is not loaded from `path`. Symbolic links are followed.

    Raises:
        UsageError: it leads to the kernel's own, or to a running machine's directory.
        NotFoundError: there is no such file.
        StorageError: it is no regular file, or cannot be looked at.
    """
    _check_place(path, os.path.realpath(path))
    found = _look_at(path, "snapshot")
    if stat.S_ISDIR(found.st_mode):
        raise StorageError("this is a directory, not a snapshot", where=path)
    if not stat.S_ISREG(found.st_mode):  # before it is opened: that alone rewinds a tape, or starts a watchdog
        raise StorageError("not a regular file", where=path)


def check_medium(path: str) -> None:
    """Raise where no medium for a drive is at `path`: an image, or a block device. Symbolic links are followed.

    Raises:
        UsageError: it leads to the kernel's own, but for a block device, or to a running machine's directory.
        NotFoundError: there is no such file.
        StorageError: it is neither, or cannot be looked at.
    """
    found = _look_at(path, "image")
    if stat.S_ISBLK(found.st_mode):
        return
    _check_place(path, os.path.realpath(path), "images")
    if not stat.S_ISREG(found.st_mode):  # before it is opened: that alone rewinds a tape, or starts a watchdog
        raise StorageError("neither a file nor a block device; give a raw image", where=path)


def _look_at(path: str, what: str) -> os.stat_result:
    """Return the status of a file. Raise NotFoundError if there is none, StorageError if it cannot be looked at."""
    try:
        return Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFoundError(f"there is no such {what}", where=path) from exc
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=path) from exc


def check_save(path: str, *, force: bool, own: Iterable[str] = ()) -> None:
    """Raise where a machine is not saved to `path`. A symbolic link in the place of the file is replaced, not followed.

    Args:
        path: where the snapshot is to be.
        force: what is there would be replaced.
        own: paths of files that the machine itself was made of.

    Raises:
        UsageError: its directory is the kernel's own, or a running machine's.
        ExistsError: what is there is no file that may be replaced.
        StorageError: it cannot be looked at.
    """
    parent, _, name = path.rpartition("/")
    _check_place(path, os.path.realpath(parent or "/"))
    if not force:
        return  # whatever is there, it stays
    try:
        found = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=path) from exc
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise ExistsError(f"{name} is no regular file, and is not replaced; choose another name", where=path)
    for other in own:
        if _is(other, found):
            raise ExistsError(
                "the machine itself uses this file, and it is not replaced; choose another name", where=path
            )


def _check_place(path: str, real: str, what: str = "snapshots") -> None:
    """Raise UsageError where the real path is in a place that has no snapshots, or `what` else is looked for."""
    for place in KERNELS_OWN:
        if _is_in(real, place) and not _is_in(real, SHARED_MEMORY):
            raise UsageError(f"{place} is no place for {what}", where=path)
    if _is_in(real, os.path.realpath(directory.root())):
        raise UsageError(f"the directory of running machines is no place for {what}", where=path)


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _is(path: str, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), found)
    except OSError:
        return False
