"""System calls of a save that fail, and saves whose process is killed at one of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab.reliability import strace
from tests.lab.reliability.row import Row
from tests.lab.reliability.save_checks import RAM, check_next_save, check_repair, check_said, check_unharmed, read_name
from tests.lab.reliability.served import BrokenError, Place, Served, serving
from tests.lab.reliability.tally import Tally

ERRORS: Final = ("EIO", "ENOSPC", "EINTR")
MEMORY: Final = f"{RAM // 1024}K"

MOMENTS: Final = ("a write of the file", "the sync of the file", "the naming", "the sync of the directory")
"""What a save does to the store, in this order. Between any two of them it leaves something else behind."""


@dataclass(frozen=True, slots=True)
class Point:
    """One call of a save: in the run loop's thread or in the worker's, the nth of its name.

    `moment` is what the call does to the store if that is one of `MOMENTS`, else empty.
    """

    in_loop: bool
    name: str
    number: int
    moment: str = ""

    def thread(self, served: Served) -> int:
        """Return the thread of the machine that will make the call."""
        return served.loop_thread if self.in_loop else served.worker_thread

    def __str__(self) -> str:
        return f"{self.name} {self.number} of the {'run loop' if self.in_loop else 'worker'}"


def warm(served: Served, name: str = "warm") -> bytes:
    """Save once undisturbed, so that everything is loaded and both threads are there. Return the snapshot."""
    ended = served.place.chkpt("save", name, "--force")
    if ended.status:
        raise BrokenError(f"an undisturbed save fails: {ended.err}")
    return (served.place.store / f"{name}.zst").read_bytes()


def record_calls(served: Served, *options: str) -> dict[bool, list[strace.Call]]:
    """Return the calls of a save of `warm`: those of the run loop's thread under True, of the worker under False."""
    loop, worker = served.loop_thread, served.worker_thread
    logs = served.place.path / "loop.log", served.place.path / "worker.log"
    with strace.attached(loop, logs[0]), strace.attached(worker, logs[1]):
        ended = served.place.chkpt("save", *options)
    if ended.status:
        raise BrokenError(f"an undisturbed save fails: {ended.err}")
    return {True: strace.calls(logs[0], loop), False: strace.calls(logs[1], worker)}


def points(calls: dict[bool, list[strace.Call]], store: Path | None) -> list[Point]:
    """Return the calls that concern files in `store`, or all of them but those that wait for the other thread."""
    found: list[Point] = []
    for in_loop, made in calls.items():
        for call in made:
            if call.name in {"futex", "restart_syscall"}:
                continue
            if store is None or str(store) in call.arguments:
                found.append(Point(in_loop, call.name, call.number, _moment(call)))
    return found


def _moment(call: strace.Call) -> str:
    of_the_file = "/.chkpt-" in call.arguments.partition(">")[0]
    if call.name == "write":
        return MOMENTS[0] * of_the_file
    if call.name == "fsync":
        return MOMENTS[1 if of_the_file else 3]
    return MOMENTS[2] * (call.name in {"linkat", "renameat"})


def options_of(*, force: bool) -> tuple[str, ...]:
    """Return the arguments of a save of `target`."""
    return ("target", "--force") if force else ("target",)


# -- calls that fail --------------------------------------------------------------------------------------------------


def failing(scratch: Path, *, sample: bool) -> Row:
    """Let every call of a save that concerns the store fail in turn."""
    tally = Tally()
    for force in (False, True):
        place = Place(scratch / f"failing-{force}")
        with serving(place, memory=MEMORY) as served:
            served.fill(RAM)
            warm(served)
            found = points(record_calls(served, *options_of(force=force)), place.store)
            faults = [(point, error) for point in found for error in ERRORS]
            for point, error in faults[3::74] if sample else faults:
                tally.attempt(
                    f"{error} at {point}{' --force' * force}",
                    partial(_fail, served, point, error, force=force),
                )
            tally.attempt("all of them", partial(check_unharmed, served))
    return tally.row(
        "A save that fails leaves the name as it was, or says that the new snapshot is there; the machine goes on;"
        " the next save leaves no temporary file",
        "each system call of a save on the store's files fails with EIO, ENOSPC, EINTR (strace), new and `--force`",
        firecracker="cuts the file short in place, then writes and fsyncs it (source, 81b38b9)",
        qemu="an I/O error may leak clusters of the image, which `qemu-img check -r` frees (its test 217)",
        restic="a file is stored whole or not at all (restic#3436)",
    )


def _fail(served: Served, point: Point, error: str, *, force: bool) -> str | None:
    place = served.place
    target = place.store / "target.zst"
    if not force:
        target.unlink(missing_ok=True)
    old = warm(served, "target") if force else None
    served.talk(3)
    log = place.path / "fault.log"
    inject = f"inject={point.name}:error={error}:when={point.number}"
    with strace.attached(point.thread(served), log, "-e", f"trace={point.name}", "-e", inject):
        ended = place.chkpt("save", *options_of(force=force))
    if not strace.injected(log):
        return None
    found = read_name(place, "target", old)
    check_said(ended, found)
    served.talk(3)
    check_next_save(place)
    return f"{found}{'' if ended.status else ', saved all the same'}"


# -- processes that are killed ----------------------------------------------------------------------------------------


def killed(scratch: Path, *, sample: bool) -> Row:
    """Kill the machine at every call of a save in turn; in a sample, at each of `MOMENTS` of one with `--force`."""
    tally = Tally()
    for force in (True,) if sample else (False, True):
        place = Place(scratch / f"killed-{force}")
        with serving(place, memory=MEMORY) as served:
            served.fill(RAM)
            warm(served)
            found = points(record_calls(served, *options_of(force=force)), None)
        few = first_of_each(found)
        for number, point in enumerate(few if sample else found):
            tally.attempt(
                f"SIGKILL at {point}{' --force' * force}",
                partial(_kill, place, point, force=force, repair=sample or number % 2 == 0),
            )
    return tally.row(
        "A machine killed in a save leaves the name as it was, or the new snapshot whole; the next save or"
        " `chkpt verify --repair` removes the temporary file",
        "SIGKILL before each system call of a save and after the last (strace), new and `--force`",
        firecracker="cuts the file short in place, then writes and fsyncs it (source, 81b38b9)",
        restic="the same: no incomplete file stays behind a restic that is killed (restic#3436)",
    )


def first_of_each(found: Sequence[Point]) -> list[Point]:
    """Return the first point of each of `MOMENTS`. Raise BrokenError if a save has no such call."""
    firsts = {point.moment: point for point in reversed(found)}
    if missed := [moment for moment in MOMENTS if moment not in firsts]:
        raise BrokenError(f"among the calls of a save there is not {', nor '.join(missed)}")
    return [firsts[moment] for moment in MOMENTS]


def _kill(place: Place, point: Point, *, force: bool, repair: bool) -> str | None:
    target = place.store / "target.zst"
    with suppress(FileNotFoundError):
        target.unlink()
    log = place.path / "fault.log"
    with serving(place, memory=MEMORY) as served:
        served.fill(RAM)
        old = warm(served, "target" if force else "warm")
        inject = f"inject={point.name}:signal=KILL:when={point.number}"
        with strace.attached(point.thread(served), log, "-e", f"trace={point.name}", "-e", inject):
            ended = place.chkpt("save", *options_of(force=force))
        if not strace.injected(log):
            return None
        if served.wait() != -9:
            raise BrokenError("the machine was not killed")
    found = read_name(place, "target", old if force else None)
    check_said(ended, found) if ended.status == 0 else None
    left = len(place.temporaries())
    if place.chkpt("ps").status or place.left_running():
        raise BrokenError(f"in the runtime directory: {place.left_running()}")
    if repair:
        check_repair(place)
    else:
        with serving(place, memory=MEMORY):
            check_next_save(place)
    return f"{found}{' with a temporary file, removed' * bool(left)}"
