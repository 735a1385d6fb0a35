"""Saves without enough room: a full disk, a limit on the size of files, a read-only file system."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from tests.lab.reliability.row import Row
from tests.lab.reliability.save_checks import RAM, check_next_save, check_said, check_unharmed, read_name
from tests.lab.reliability.save_faults import MEMORY, options_of, warm
from tests.lab.reliability.served import BrokenError, Place, Served, serving
from tests.lab.reliability.tally import Tally, skipped_row

PAGE: Final = 4096
DISK: Final = 2 << 20
"""Bytes of the small disk: two snapshots and a filler."""

Shrink: TypeAlias = Callable[[Served, int], AbstractContextManager[None]]
"""Leaves room for a number of bytes only, while a save runs."""


@contextmanager
def small_disk(at: Path) -> Iterator[None]:
    """Mount a small disk in memory. Raise PermissionError if that is not allowed."""
    at.mkdir(parents=True, exist_ok=True)
    if failed := _mount("-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(at)):
        raise PermissionError(failed)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True, capture_output=True)


def _mount(*arguments: str) -> str:
    """Return the error of mount(8); empty if it succeeds."""
    try:
        ended = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except OSError as exc:
        return str(exc)
    return ended.stderr.strip() if ended.returncode else ""


def no_room(scratch: Path, *, sample: bool) -> Row:
    """Save with less and less room."""
    promise = "If there is no room, the save fails with one line and leaves the name as it was; the machine goes on"
    tried = (
        "a tmpfs with N bytes left, RLIMIT_FSIZE of N bytes (N rising to the snapshot's size), a read-only file system"
    )
    tally = Tally()
    place = Place(scratch / "room")
    try:
        with small_disk(place.store), serving(place, memory=MEMORY) as served:
            served.fill(RAM)
            warm(served)
            for force in (False, True):
                sizes = list(range(0, RAM + 4 * PAGE, PAGE * (83 if sample else 2)))
                for room in sizes:
                    tally.attempt(f"{room} bytes left", partial(_save, served, _filled, room, force=force))
                    tally.attempt(f"RLIMIT_FSIZE {room}", partial(_save, served, _limited, room, force=force))
                tally.attempt("a read-only disk", partial(_save, served, _read_only, 0, force=force))
            tally.attempt("all of them", partial(check_unharmed, served))
    except PermissionError as exc:
        return skipped_row(promise, tried, f"no file system can be mounted here: {exc}")
    return tally.row(
        promise,
        tried,
        firecracker="cuts the file short in place, then writes and fsyncs it (source, 81b38b9)",
        restic="a file is stored whole or not at all (restic#3436)",
    )


def _save(served: Served, shrink: Shrink, room: int, *, force: bool) -> str:
    place = served.place
    (place.store / "target.zst").unlink(missing_ok=True)
    old = warm(served, "target") if force else None
    with shrink(served, room):
        ended = place.chkpt("save", *options_of(force=force))
    found = read_name(place, "target", old)
    check_said(ended, found)
    if found == "new" and room < RAM:
        raise BrokenError("it was saved without the room for it")
    served.talk(3)
    if place.temporaries():
        raise BrokenError(f"left behind: {place.temporaries()}")
    (place.store / "target.zst").unlink(missing_ok=True)
    check_next_save(place)
    return found


@contextmanager
def _filled(served: Served, room: int) -> Iterator[None]:
    filler = served.place.store / "filler"
    with filler.open("wb") as file:
        left = os.fstatvfs(file.fileno())
        os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize - room)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _limited(served: Served, room: int) -> Iterator[None]:
    before = resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _read_only(served: Served, _: int) -> Iterator[None]:
    store = str(served.place.store)
    _mount("-o", "remount,ro", store)
    try:
        yield
    finally:
        _mount("-o", "remount,rw", store)
