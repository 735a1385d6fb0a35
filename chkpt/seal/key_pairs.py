"""Writes two files that belong together, the secret half of a key and the public one: both are there, or neither.

No system call gives two files their names at once. So a new pair replaces an old one in steps. Halves of different
pairs never lie beside each other: a snapshot that is encrypted for the public half could not be opened again.

1. A directory `NAME.old` is made and locked. It gets an empty file, the note, whose name says which old halves exist.
2. The old halves are moved there, the public half first.
3. The new secret half is written, then the new public half.
4. The old halves are removed, then the note, then the directory.

If a step fails, the call undoes the earlier ones. If it cannot, or is killed, the next call for this name finishes the
work first: if both halves of a pair are in place, it does step 4, else it moves the old halves back. The kernel frees
the lock when the process ends, so a locked directory belongs to a call in progress.
"""

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from chkpt.errors import ExistsError, StorageError
from chkpt.store.files import clean, exists_error, open_directory, reporting, sync_directory, try_lock, write_file

log = logging.getLogger("chkpt.seal")

PUBLIC: Final = ".pub"

NOTES: Final = {
    ".chkpt-secret": frozenset({""}),
    ".chkpt-public": frozenset({PUBLIC}),
    ".chkpt-both": frozenset({"", PUBLIC}),
}
"""The names of notes, and for each the endings of the names of the old halves."""


def write_pair(path: Path, secret: bytes, public: bytes, *, force: bool) -> Path:
    """Write a secret file of mode 0600, and beside it the public one, `NAME.pub` of mode 0644; return its path.

    With `force` an old pair is first moved into a directory `NAME.old`. It is removed when the new pair is there, and
    moved back if anything fails. If the process is killed in between, the next call does that.

    Raises:
        ExistsError: one of the files exists, and `force` is not set. Or there is a `NAME.old`: of another call in
            progress, or of something else. Nothing has been changed.
        StorageError: the operating system refused. The old pair is as it was, or the message says where it is.
    """
    beside = path.with_name(path.name + PUBLIC)
    place = path.with_name(f"{path.name}.old")
    _recover(place, path)
    there = [each for each in (beside, path) if os.path.lexists(each)]
    if there and not force:
        raise exists_error(there[0])
    with _keeping_old(place, path, there) if there else nullcontext():
        try:
            write_file(path, secret, force=force)
            write_file(beside, public, force=force, mode=0o644)
        except BaseException:
            _remove_own(beside, public)  # it is there if only the sync of the directory has failed
            _remove_own(path, secret)
            raise
    return beside


def _remove_own(path: Path, content: bytes) -> None:
    """Remove a file if it has this content, and so is not another process's."""
    with suppress(OSError):
        if path.read_bytes() == content:
            path.unlink()


# -- the old pair ------------------------------------------------------------------------------------------------------


@contextmanager
def _keeping_old(place: Path, path: Path, there: Sequence[Path]) -> Iterator[None]:
    """Keep the old halves in a new directory. Move them back if the block fails, else remove them."""
    had = frozenset(each.name.removeprefix(path.name) for each in there)
    with _making(place):
        try:
            with reporting(place):
                (place / next(note for note, halves in NOTES.items() if halves == had)).touch(mode=0o600)
                _sync(place, place.parent)
                for each in there:
                    each.rename(place / each.name)
                _sync(place, place.parent)  # in this order, so that each file is in one of them at any time
            yield
        except BaseException as exc:
            try:
                _settle(place, path, had)
            except OSError as failure:
                raise StorageError(
                    f"{exc}; and the old pair could not be put back ({failure.strerror or failure}): its files are in"
                    f" {place}, and the next keygen for this name moves them back"
                ) from exc
            raise
        try:
            _settle(place, path, had)
        except OSError as exc:
            raise StorageError(
                f"{place}: {exc.strerror or exc}; the new pair is there, and this is the old one: remove it, or let the"
                " next keygen for this name do so"
            ) from exc


@contextmanager
def _making(place: Path) -> Iterator[None]:
    """Make a directory, and hold its lock in the block. Raise ExistsError, StorageError."""
    with reporting(place):
        try:
            place.mkdir(0o700)
            directory = open_directory(place)
        except FileExistsError:
            raise ExistsError(
                f"{place}: another keygen is replacing this pair, or was killed while it did; the old pair is in this"
                " directory: move it back, or remove it"
            ) from None
        except FileNotFoundError:  # another call has found it empty, and removed it
            raise _busy_error(place) from None
    try:
        with reporting(place):
            if try_lock(directory) is False or not _is_at(directory, place):
                raise _busy_error(place)
        yield
    finally:
        os.close(directory)


def _recover(place: Path, path: Path) -> None:
    """Finish the work of an earlier call that has left `place`. A directory that is not of such a call stays.

    Raises:
        ExistsError: another call is in progress, or may be.
        StorageError: the operating system refused.
    """
    try:
        directory = open_directory(place)
    except OSError:
        return  # there is none, or it is something else
    try:
        with reporting(place):
            if not _is_left(_list_names(directory)):
                return
            if not try_lock(directory):
                raise _busy_error(place)
            names = _list_names(directory)
            if not _is_at(directory, place) or not _is_left(names):
                return
            if others := sorted(names - {*NOTES, path.name, path.name + PUBLIC}):
                raise ExistsError(
                    f"{place}: an old pair is kept there, and {others[0]!a} is not part of it; move that file elsewhere"
                )
            _settle(place, path, next((NOTES[name] for name in names if name in NOTES), frozenset({"", PUBLIC})))
            with suppress(StorageError):
                clean(place.parent)  # a temporary file there may hold a secret
            log.warning("%s: an earlier keygen was interrupted; the pair is whole now, and its leavings are gone", path)
    finally:
        os.close(directory)


def _list_names(directory: int) -> set[str]:
    return set(os.listdir(directory))


def _is_left(names: Collection[str]) -> bool:
    """Whether a call has made the directory that has these names in it: there is a note, or nothing yet."""
    return not names or any(name in NOTES for name in names)


def _settle(place: Path, path: Path, had: Collection[str]) -> None:
    """Finish a replacement: remove the old halves if a pair is in place, else move them back. Raise OSError.

    `had` are the endings of the old halves. A half in place is a new one if there was no such old half, or if the old
    one is in `place`.
    """
    beside = path.with_name(path.name + PUBLIC)
    if os.path.lexists(path) and os.path.lexists(beside):
        _sync(place.parent)
        for each in (path, beside):
            (place / each.name).unlink(missing_ok=True)
    else:
        if PUBLIC not in had or os.path.lexists(place / beside.name):
            beside.unlink(missing_ok=True)  # a new public half never lies beside an old secret one
        for ending, each in (("", path), (PUBLIC, beside)):
            if os.path.lexists(place / each.name):
                (place / each.name).replace(each)
            elif ending not in had:
                each.unlink(missing_ok=True)
    _sync(place.parent, place)
    for note in NOTES:
        (place / note).unlink(missing_ok=True)
    place.rmdir()
    _sync(place.parent)


def _busy_error(place: Path) -> ExistsError:
    return ExistsError(
        f"{place}: another keygen is replacing this pair, or was killed on a file system without locks; the old pair is"
        " in this directory: wait, or move it back, or remove it"
    )


def _is_at(directory: int, place: Path) -> bool:
    """Whether an open directory is the one at this path. Raise OSError."""
    try:
        return os.path.samestat(os.fstat(directory), place.lstat())
    except FileNotFoundError:
        return False


def _sync(*directories: Path) -> None:
    """Sync directories, so that the names in them last."""
    for each in directories:
        directory = open_directory(each)
        try:
            sync_directory(directory)
        finally:
            os.close(directory)
