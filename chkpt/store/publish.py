"""Publishes a snapshot at its path, with regard to the files beside it: signatures, and a snapshot of the other kind.

`publishing` has the order of events. Every save follows three rules:

* `NAME.zst` and `NAME.zst.age` are one name. It has one snapshot, a plain or an encrypted one. The save looks for both
  before it writes anything, and again under the lock of the directory before the file gets its name.
* `force` replaces a snapshot, good or damaged, an empty file, and what is not a regular file, such as a link. Any other
  file may be valuable, and stays.
* `FILE.sig` has signatures of the snapshot beside it, so they are not valid for a new one. With `force` the save
  removes it after the new name is on disk, never before: a save that fails before the rename leaves the old pair as it
  was. After a power cut between the two steps, old signatures are beside the new snapshot. Then `--require-signature`
  refuses them as not valid, and the next `save --force`, `sign --detached` or `rm` removes them.
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
from chkpt.store.files import NewFile, changing, exists_error, new_file, open_directory, sync_directory

log = logging.getLogger("chkpt.store")

SUFFIX: Final = ".zst"
"""The ending of the name of a snapshot's file."""

ENCRYPTED: Final = f"{SUFFIX}.age"
"""The ending of the name of an encrypted snapshot's file. `chkpt.seal` writes and opens these files."""

SIGNATURES: Final = ".sig"
"""What the file of detached signatures adds to the name of the snapshot's file."""


@contextmanager
def publishing(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[NewFile]:
    """Yield a file to write a snapshot to. After the block it has the name `path`, and is on disk.

    If the block raises, nothing is left of the file. The work after the block waits for the disk, and needs nothing
    from the caller, so the block may release the caller's locks.

    With `force`, signatures beside a replaced snapshot are removed. The log says so, and the path of their file is in
    `NewFile.removed`.

    Raises:
        ExistsError: there is something at `path`, or another writer was first, and `force` is not set. Or there are
            signatures beside `path` without a snapshot, and `force` is not set. Or, even with `force`, the name has a
            snapshot of the other kind, or a file that is not a snapshot.
        StorageError: the operating system refused; the message names `path`, and nothing is left behind. Or the
            snapshot is there, but its name could not be made to last, or old signatures could not be removed; the
            message says so.
        UsageError: `path` cannot be the path of a file.
    """
    target = Path(path)
    check_new(target, force=force)
    with new_file(target) as file:  # a temporary file in the same directory, locked until this block ends
        yield file  # the caller writes
        file.sync()
        with file.locking():  # no other process changes a name in this directory now
            check_new(target, force=force)
            old = _stat(_signatures_of(target))
            file.give_name(replace=force)  # it is linked or renamed, and the directory is synced
    if old is not None and _remove_old(target, old):
        log.warning("%s: removed, as its signatures were of the snapshot that was replaced", _signatures_of(target))
        file.removed.append(_signatures_of(target))


def check_new(path: Path, *, force: bool) -> None:
    """Raise ExistsError if no snapshot may be saved to `path`. Call it early, before the machine is saved."""
    other = other_kind(path)
    if other is not None and os.path.lexists(other):
        raise ExistsError(
            "there is a snapshot of that name already; choose another name, or remove it", where=str(other)
        )
    if force:
        _refuse_other_file(path)
        return
    if os.path.lexists(path):
        raise exists_error(path)
    signatures = _signatures_of(path)
    if os.path.lexists(signatures):
        raise ExistsError(
            f"{signatures}: there are signatures of a snapshot that is gone; choose another name, or remove them"
            " (--force does so)"
        )


def _refuse_other_file(path: Path) -> None:
    """Raise ExistsError if there is a file at `path` that is not a snapshot. A symbolic link is not followed."""
    found = _stat(path)
    if found is None or not stat.S_ISREG(found.st_mode) or not found.st_size:
        return
    try:
        known = is_snapshot(path)
    except NotFoundError:  # it has gone in between
        return
    if not known:
        raise ExistsError(
            f"{path}: this file is not a snapshot, and --force replaces only snapshots; choose another name, or remove"
            " the file yourself if you do not need it"
        )


def other_kind(path: Path) -> Path | None:
    """Return the path of the encrypted snapshot if `path` is the plain one's, and the other way round; else None."""
    for ending, other in ((ENCRYPTED, SUFFIX), (SUFFIX, ENCRYPTED)):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending) + other)
    return None


def remove_snapshot(path: Path) -> None:
    """Remove a snapshot and the signatures beside it, so that they stay removed. Raise OSError, StorageError."""
    with _changing(path) as directory:
        path.unlink()
        _signatures_of(path).unlink(missing_ok=True)
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


def _signatures_of(path: Path) -> Path:
    return Path(f"{path}{SIGNATURES}")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (OSError, ValueError):  # missing, or it cannot be examined
        return None


def _remove_old(target: Path, old: os.stat_result) -> bool:
    """Remove the file of signatures `old` that was beside a replaced snapshot, but not one that has come since.

    Return whether it was removed.
    """
    beside = _signatures_of(target)
    try:
        with _changing(target) as directory:
            now = _stat(beside)
            if now is None or not os.path.samestat(old, now):
                return False
            beside.unlink(missing_ok=True)
            sync_directory(directory)
    except OSError as exc:
        raise StorageError(
            f"{beside}: {exc.strerror or exc}; its signatures are of the snapshot that was replaced: remove it;"
            f" the new snapshot, {target.name}, is there and whole"
        ) from exc
    return True
