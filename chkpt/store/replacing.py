"""How a snapshot gets to its path, with regard to what may be beside it: signatures, and its other kind.

Three rules, for whatever saves:

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from chkpt.errors import ExistsError, NotFoundError, StorageError
from chkpt.snapshot import Writable, is_snapshot
from chkpt.store.files import changing, open_directory, publish, sync_directory, taken

log = logging.getLogger("chkpt.store")

T = TypeVar("T")

SUFFIX: Final = ".zst"
"""What follows a snapshot's name in the name of its file."""

ENCRYPTED: Final = f"{SUFFIX}.age"
"""What follows a snapshot's name in the name of its encrypted file. `chkpt.seal` writes and opens those."""

SIGNATURES: Final = ".sig"
"""What follows the name of a snapshot's file in that of its detached signatures."""


def publish_snapshot(
    path: str | os.PathLike[str],
    write: Callable[[Writable], T],
    *,
    force: bool = False,
    removed: Callable[[Path], None] | None = None,
) -> T:
    """Let `write` write a snapshot to `path`, as `chkpt.store.files.publish` does; old signatures beside it go.

    The log is told, and `removed` the path of their file.

    Raises:
        ExistsError: as `publish` raises it. Or the name has a snapshot of the other kind, or a file that is not a
            snapshot, also with `force`. Or there are signatures at `path` without a snapshot, and `force` is not set.
        StorageError: as `publish` raises it. Or the snapshot is there, but the old signatures could not be removed.
        UsageError: `path` can be no file's.
    """
    target = Path(path)
    check_new(target, force=force)
    stale: os.stat_result | None = None

    def replace() -> bool:
        nonlocal stale
        check_new(target, force=force)
        stale = _status(_beside(target))
        return force

    result = publish(target, write, replace=replace)
    if stale is not None and _remove_stale(target, stale):
        log.warning("%s: removed, as its signatures were of the snapshot that was replaced", _beside(target))
        if removed is not None:
            removed(_beside(target))
    return result


def check_new(path: Path, *, force: bool) -> None:
    """Raise ExistsError where no snapshot may be saved to `path`. To be asked before there is anything to save."""
    other = other_kind(path)
    if other is not None and os.path.lexists(other):
        raise ExistsError(f"{other}: there is a snapshot of that name already; choose another, or chkpt rm it")
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


def _remove_stale(target: Path, stale: os.stat_result) -> bool:
    """Remove the signatures that were beside `target` before it was what it is now, but none that came since.

    Return whether there was something to remove.
    """
    beside = _beside(target)
    try:
        with _changing(target) as directory:
            now = _status(beside)
            if now is None or not os.path.samestat(stale, now):
                return False
            beside.unlink(missing_ok=True)
            sync_directory(directory)
    except OSError as exc:
        raise StorageError(
            f"{beside}: {exc.strerror or exc}; its signatures are of the snapshot that was replaced, so remove it:"
            f" the new one, {target.name}, is there and whole"
        ) from exc
    return True
