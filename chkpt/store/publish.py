"""How a snapshot gets to its path, with regard to what may be beside it: signatures, and its other kind.

`publishing` has the order of events. Three rules, for whatever saves:

* `NAME.zst` and `NAME.zst.age` are one name, which has one snapshot: the plain or the encrypted one. Both are looked
  for before anything is written, and again under the lock of the directory before the file gets its name.
* `force` replaces a snapshot, good or damaged, and an empty file. Any other file may be somebody's work: it stays.
* `FILE.sig` has signatures of the snapshot that it lies beside, so it cannot have any of a new one. It goes once the
  new snapshot has its name and will keep it, never before: a save that fails has taken nothing from the old pair.
  Between the two a power cut leaves old signatures beside the new snapshot; whoever requires one is told that they are
  not valid, and the next `save --force`, `sign --detached` or `rm` removes them. Nothing goes without `force`.
"""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chkpt.errors import ExistsError, NotFoundError, StorageError
from chkpt.snapshot import is_snapshot
from chkpt.store.files import NewFile, changing, new_file, open_directory, sync_directory, taken

log = logging.getLogger("chkpt.store")

SUFFIX: Final = ".zst"
"""What follows a snapshot's name in the name of its file."""

ENCRYPTED: Final = f"{SUFFIX}.age"
"""What follows a snapshot's name in the name of its encrypted file. `chkpt.seal` writes and opens those."""

SIGNATURES: Final = ".sig"
"""What follows the name of a snapshot's file in that of its detached signatures."""


@contextmanager
def publishing(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[NewFile]:
    """Yield a file to write a snapshot to. At the end of the block it lasts and has the name `path`.

    If the block raises, nothing is left of the file. What comes after the block waits for the disk and needs nothing of
    the caller's: a lock that the block holds may be released at its end.

    With `force`, what it replaces had perhaps signatures beside it. They go, the log is told, and the path of their
    file is in `NewFile.removed`.

    Raises:
        ExistsError: there is something at `path`, or another writer was first, and `force` is not set. Or the name has
            a snapshot of the other kind, or a file that is not a snapshot, also with `force`. Or there are signatures
            at `path` without a snapshot, and `force` is not set.
        StorageError: the operating system refused; the message names `path`, and nothing is left behind. Or the
            snapshot is there, but its name could not be made to last, or old signatures could not be removed; the
            message says so.
        UsageError: `path` cannot be the path of a file.
    """
    target = Path(path)
    check_new(target, force=force)
    with new_file(target) as file:  # a temporary file in the same directory, locked as long as this process lives
        yield file  # the caller writes
        file.sync()
        with file.locked():  # no other process changes a name in this directory now
            check_new(target, force=force)
            old = _status(_beside(target))
            file.give_name(replace=force)  # it is linked or renamed, and the directory is synced
    if old is not None and _remove_old(target, old):
        log.warning("%s: removed, as its signatures were of the snapshot that was replaced", _beside(target))
        file.removed.append(_beside(target))


def check_new(path: Path, *, force: bool) -> None:
    """Raise ExistsError if no snapshot may be saved to `path`. Worth a call before there is anything to save."""
    other = other_kind(path)
    if other is not None and os.path.lexists(other):
        raise ExistsError("there is a snapshot of that name already; choose another, or chkpt rm it", where=str(other))
    if force:
        _refuse_other_file(path)
        return
    if os.path.lexists(path):
        raise taken(path)
    if os.path.lexists(_beside(path)):
        raise ExistsError(
            f"{_beside(path)}: there are signatures of a snapshot that is gone; choose another name, remove them,"
            " or replace them (--force)"
        )


def _refuse_other_file(path: Path) -> None:
    """Raise ExistsError if there is a file at `path` that is not a snapshot. A symbolic link is not followed."""
    found = _status(path)
    if found is None or not stat.S_ISREG(found.st_mode) or not found.st_size:
        return
    try:
        known = is_snapshot(path)
    except NotFoundError:  # it has gone in between
        return
    if not known:
        raise ExistsError(
            f"{path}: this file is not a snapshot, and --force replaces only snapshots; choose another name, or remove"
            " the file yourself if nothing in it is wanted"
        )


def other_kind(path: Path) -> Path | None:
    """Return the path of the encrypted snapshot where `path` is the plain one's, and the other way round."""
    for ending, other in ((ENCRYPTED, SUFFIX), (SUFFIX, ENCRYPTED)):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending) + other)
    return None


def remove_snapshot(path: Path) -> None:
    """Remove a snapshot and the signatures beside it, for good when this returns. Raise OSError, StorageError."""
    with _changing(path) as directory:
        path.unlink()
        _beside(path).unlink(missing_ok=True)
        sync_directory(directory)


@contextmanager
def _changing(path: Path) -> Iterator[int]:
    """Hold the lock of the directory of `path`; yield the directory. Raise OSError, StorageError."""
    directory = open_directory(path.parent)
    try:
        with changing(path, directory):
            yield directory
    finally:
        os.close(directory)


def _beside(path: Path) -> Path:
    return Path(f"{path}{SIGNATURES}")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (OSError, ValueError):  # where it cannot be looked at, neither can the snapshot
        return None


def _remove_old(target: Path, old: os.stat_result) -> bool:
    """Remove the signatures that were beside `target` before it was what it is now, but none that came since.

    Return whether there was something to remove.
    """
    beside = _beside(target)
    try:
        with _changing(target) as directory:
            now = _status(beside)
            if now is None or not os.path.samestat(old, now):
                return False
            beside.unlink(missing_ok=True)
            sync_directory(directory)
    except OSError as exc:
        raise StorageError(
            f"{beside}: {exc.strerror or exc}; its signatures are of the snapshot that was replaced, so remove it:"
            f" the new one, {target.name}, is there and whole"
        ) from exc
    return True
