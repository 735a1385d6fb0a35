"""Two files that belong together, the secret half of a key and the public one: both are there, or neither.

No call of the system gives two files their names at once. So a new pair takes the place of an old one in steps, and
halves of different pairs never lie beside each other: what is encrypted for a public half would be lost.

1. A directory `NAME.old` is made and locked. An empty file in it, the note, says by its name which halves there were.
2. They are moved there, the public half first.
3. The new secret half is written, then the new public half.
4. The old halves are removed, then the note, then the directory.

If a step fails, the call takes back what it has done, as far as it can. If it cannot, or is killed, the next call for
this name does so before anything else: if both halves of a pair are in place, it does step 4, else it moves the old
halves back. The kernel gives the lock back with the process, so a directory that is locked belongs to a call at work.
"""

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from chkpt.errors import ExistsError, StorageError
from chkpt.store.files import clean, open_directory, reporting, sync_directory, taken, try_lock, write_file

log = logging.getLogger("chkpt.seal")

PUBLIC: Final = ".pub"

NOTES: Final = {
    ".chkpt-secret": frozenset({""}),
    ".chkpt-public": frozenset({PUBLIC}),
    ".chkpt-both": frozenset({"", PUBLIC}),
}
"""For each name of a note the halves that there were, by the endings of their names."""


def write_pair(path: Path, secret: bytes, public: bytes, *, force: bool) -> Path:
    """Write a secret file of mode 0600 and the public one beside it, `NAME.pub` of mode 0644; return the latter's path.

    With `force` an old pair is first moved into a directory `NAME.old`. It is removed when the new pair is there, and
    moved back if anything fails. If the process is killed in between, the next call does that.

    Raises:
        ExistsError: one of the files is there, and `force` is not set. Or there is a `NAME.old`: another call is at
            work, or it is not what this version leaves. Nothing has been changed.
        StorageError: the operating system refused. The old pair is as it was, or the message says where it is.
    """
    beside = path.with_name(path.name + PUBLIC)
    place = path.with_name(f"{path.name}.old")
    _recover(place, path)
    there = [each for each in (beside, path) if os.path.lexists(each)]
    if there and not force:
        raise taken(there[0])
    with _aside(place, path, there) if there else nullcontext():
        try:
            write_file(path, secret, force=force)
            write_file(beside, public, force=force, mode=0o644)
        except BaseException:
            _remove_own(beside, public)  # a file whose name could only not be made to last is there
            _remove_own(path, secret)
            raise
    return beside


def _remove_own(path: Path, content: bytes) -> None:
    """Remove a file if it is what was written, and not what another has put there."""
    with suppress(OSError):
        if path.read_bytes() == content:
            path.unlink()


# -- the old pair aside ------------------------------------------------------------------------------------------------


@contextmanager
def _aside(place: Path, path: Path, there: Sequence[Path]) -> Iterator[None]:
    """Keep the old halves in a directory that is made for them: moved back if the block fails, else removed."""
    had = frozenset(each.name.removeprefix(path.name) for each in there)
    with _made(place):
        try:
            with reporting(place):
                (place / next(note for note, halves in NOTES.items() if halves == had)).touch(mode=0o600)
                _sync(place, place.parent)
                for each in there:
                    each.rename(place / each.name)
                _sync(place, place.parent)  # in this order: a file is in one of the two at any time
            yield
        except BaseException as exc:
            try:
                _settle(place, path, had)
            except OSError as failure:
                raise StorageError(
                    f"{exc}; and this could not be taken back ({failure.strerror or failure}): what is missing of the"
                    f" old pair is in {place}, and the next keygen for this name moves it back"
                ) from exc
            raise
        try:
            _settle(place, path, had)
        except OSError as exc:
            raise StorageError(
                f"{place}: {exc.strerror or exc}; the new pair is there, and this is the old one: remove it, as the"
                " next keygen for this name does"
            ) from exc


@contextmanager
def _made(place: Path) -> Iterator[None]:
    """Make a directory, and hold its lock in the block. Raise ExistsError, StorageError."""
    with reporting(place):
        try:
            place.mkdir(0o700)
            directory = open_directory(place)
        except FileExistsError:
            raise ExistsError(
                f"{place}: another keygen is replacing this pair, or was killed while it did; the old pair is in there:"
                " move it back, or remove it"
            ) from None
        except FileNotFoundError:  # another call has taken it for an empty one that was left
            raise _at_work(place) from None
    try:
        with reporting(place):
            if try_lock(directory) is False or not _is_at(directory, place):
                raise _at_work(place)
        yield
    finally:
        os.close(directory)


def _recover(place: Path, path: Path) -> None:
    """End what an earlier call has left in `place`. What is not of such a call stays.

    Raises:
        ExistsError: another call is at work, or may be.
        StorageError: the operating system refused.
    """
    try:
        directory = open_directory(place)
    except OSError:
        return  # there is none, or it is something else
    try:
        with reporting(place):
            if not _is_left(_names(directory)):
                return
            if not try_lock(directory):
                raise _at_work(place)
            names = _names(directory)
            if not _is_at(directory, place) or not _is_left(names):
                return
            if others := sorted(names - {*NOTES, path.name, path.name + PUBLIC}):
                raise ExistsError(
                    f"{place}: an old pair is kept there, and this is not of it: {others[0]!a}; move it elsewhere"
                )
            _settle(place, path, next((NOTES[name] for name in names if name in NOTES), frozenset({"", PUBLIC})))
            with suppress(StorageError):
                clean(place.parent)  # of a temporary file, which may have a secret in it
            log.warning("%s: an earlier keygen was cut short; the pair is whole now, and what it left is removed", path)
    finally:
        os.close(directory)


def _names(directory: int) -> set[str]:
    return set(os.listdir(directory))


def _is_left(names: Collection[str]) -> bool:
    """Whether a directory with these names in it is one that a call has made: it has a note, or nothing yet."""
    return not names or any(name in NOTES for name in names)


def _settle(place: Path, path: Path, had: Collection[str]) -> None:
    """End a replacement: remove the old halves if a pair is in place, else move them back. Raise OSError.

    `had` are the endings of the halves that there were. A half in place that there was not, or that has been moved, is
    a new one.
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


def _at_work(place: Path) -> ExistsError:
    return ExistsError(
        f"{place}: another keygen is replacing this pair, or was killed on a file system without locks; the old pair is"
        " in there: wait, or move it back, or remove it"
    )


def _is_at(directory: int, place: Path) -> bool:
    """Whether an open directory has this path. Raise OSError."""
    try:
        return os.path.samestat(os.fstat(directory), place.lstat())
    except FileNotFoundError:
        return False


def _sync(*directories: Path) -> None:
    """Make the names in directories last."""
    for each in directories:
        directory = open_directory(each)
        try:
            sync_directory(directory)
        finally:
            os.close(directory)
