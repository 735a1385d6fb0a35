"""Two files that belong together, the secret half of a key and the public one: both are there, or neither.

No call of the system gives two files their names at once. So a new pair takes the place of an old one in steps, and
halves of different pairs never lie beside each other: what is encrypted for a public half would be lost.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from chkpt.errors import ExistsError, StorageError
from chkpt.store.files import open_directory, reporting, sync_directory, taken, write_file


def write_pair(path: Path, secret: bytes, public: bytes, *, force: bool) -> Path:
    """Write a secret file of mode 0600 and the public one beside it, `NAME.pub` of mode 0644; return the latter's path.

    With `force` an old pair is first moved into a directory `NAME.old`. It is removed when the new pair is there, and
    moved back if anything fails. If the process is killed in between, the old pair is in that directory, whole.

    Raises:
        ExistsError: one of the files is there, and `force` is not set. Or there is a `NAME.old`: another call is at
            work, or was killed. Nothing has been changed.
        StorageError: the operating system refused. The old pair is as it was, or the message says where it is.
    """
    beside = path.with_name(f"{path.name}.pub")
    there = [each for each in (beside, path) if os.path.lexists(each)]
    if there and not force:
        raise taken(there[0])
    with _aside(path.with_name(f"{path.name}.old"), there) if there else nullcontext():
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


@contextmanager
def _aside(place: Path, files: Sequence[Path]) -> Iterator[None]:
    """Keep files in a directory that is made for them: back to where they were if the block fails, else removed."""
    with reporting(place):
        try:
            place.mkdir(0o700)
        except FileExistsError:
            raise ExistsError(
                f"{place}: another keygen is replacing this pair, or was killed while it did; the old pair is in there:"
                " move it back, or remove it"
            ) from None
    moved: list[Path] = []
    try:
        with reporting(place):
            for each in files:
                each.rename(place / each.name)
                moved.append(each)
            _sync(place, place.parent)  # in this order: a file is in one of the two at any time
        yield
    except BaseException as exc:
        _move_back(place, moved, exc)
        raise
    try:
        for each in files:
            (place / each.name).unlink()
        _remove(place)
    except OSError as exc:
        raise StorageError(
            f"{place}: {exc.strerror or exc}; the new pair is there, and this is the old one: remove it"
        ) from exc


def _move_back(place: Path, moved: Sequence[Path], cause: BaseException) -> None:
    """Move files back out of a directory, the secret half first. Raise StorageError if that fails, too."""
    try:
        for each in reversed(moved):
            (place / each.name).replace(each)
        _remove(place)
    except OSError as exc:
        raise StorageError(
            f"{cause}; and the old pair could not be moved back ({exc.strerror or exc}): it is in {place}"
        ) from cause


def _sync(*directories: Path) -> None:
    """Make the names in directories last."""
    for each in directories:
        directory = open_directory(each)
        try:
            sync_directory(directory)
        finally:
            os.close(directory)


def _remove(place: Path) -> None:
    """Remove an empty directory for good, once what was moved out of it is where it is to be."""
    _sync(place.parent, place)
    place.rmdir()
    _sync(place.parent)
