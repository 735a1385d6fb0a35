"""The identities of images that this host has computed, remembered from one process to the next.

A file of the directory `chkpt/images` below $XDG_CACHE_HOME (else ~/.cache) describes one image: the device, inode,
size, mtime and ctime that it had, its identities, and a checksum of all that. An entry counts only if everything in it
matches. So the cache finds every change that those five show: a program that changes an image can set its mtime back,
but not its ctime.

If a file is damaged, not the user's own or open to others, or the cache cannot be written, that is not an error: the
image is read again.
"""

import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

MAX_FILES: Final = 256
"""The most images that are remembered. The one that was used longest ago is forgotten first."""

_MAX_SIZE: Final = 4096  # bytes of a file
_SETTLED: Final = 2_000_000_000
"""Nanoseconds after which a change must show in the times of a file: FAT's have steps of 2 s, others far finer."""


class Stamp(NamedTuple):
    """The fields of stat(2) that show whether a file has changed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def is_settled(self) -> bool:
        """Whether a later change would show. A change right after the last one could have the same times."""
        return time.time_ns() - max(self.mtime_ns, self.ctime_ns) > _SETTLED


def stamp_of(file: int) -> Stamp:
    """Return the stamp of an open file. Raise OSError if the system refuses."""
    status = os.fstat(file)
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def recall(stamp: Stamp) -> dict[int, bytes]:
    """Return the identities of a file with this stamp, by their kinds; empty if none are remembered."""
    directory = _directory()
    if directory is None:
        return {}
    path = directory / _name(stamp)
    try:
        content = _read(path)
        check, _, body = content.partition(b"\n")
        if check != _checksum(body):
            return {}
        document = json.loads(body)
        if document["stamp"] != [*stamp]:
            return {}
        found = {int(kind): bytes.fromhex(identity) for kind, identity in document["identities"].items()}
        os.utime(path)  # it is used now
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def remember(stamp: Stamp, identities: Mapping[int, bytes]) -> None:
    """Remember the identities of a file with this stamp, and replace what was remembered of it."""
    directory = _directory()
    if directory is None:
        return
    document = {"stamp": [*stamp], "identities": {str(int(kind)): each.hex() for kind, each in identities.items()}}
    body = json.dumps(document).encode()
    temporary = directory / f".{os.urandom(8).hex()}"
    with suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget(directory)
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(_checksum(body) + b"\n" + body)
            temporary.replace(directory / _name(stamp))
        except OSError:
            temporary.unlink(missing_ok=True)


def _directory() -> Path | None:
    """Return where the cache is; None if there is no place for it. The XDG specification forbids relative paths."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "chkpt" / "images"
    home = os.environ.get("HOME", "")
    return Path(home) / ".cache" / "chkpt" / "images" if home.startswith("/") else None


def _name(stamp: Stamp) -> str:
    return f"{stamp.device:x}-{stamp.inode:x}"


def _checksum(body: bytes) -> bytes:
    return blake3(body).hexdigest().encode()


def _read(path: Path) -> bytes:
    """Return the content of a file that belongs to this user alone. Raise OSError if it does not."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PermissionError(f"{path} is not a file of this user alone")
        return stream.read(_MAX_SIZE)


def _forget(directory: Path) -> None:
    """Make room for one more file, and remove what a killed process has left."""
    with os.scandir(directory) as entries:
        ages = sorted((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in entries)
    for _, name in ages[: max(0, len(ages) - MAX_FILES + 1)]:
        with suppress(OSError):
            (directory / name).unlink()
