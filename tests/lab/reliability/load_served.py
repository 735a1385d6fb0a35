"""Loads by the real commands that fail: calls that fail, kills, files that change, too little memory."""

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from chkpt.snapshot import Reader
from chkpt.snapshot.diff import compare
from tests.lab.reliability import strace
from tests.lab.reliability.row import Row
from tests.lab.reliability.save_faults import Point, points
from tests.lab.reliability.served import PATIENCE, BrokenError, Ended, Place, Served, serving, wait_until
from tests.lab.reliability.tally import Tally

MEMORY: Final = "1M"
RAM: Final = 1 << 20
ERRORS: Final = ("EIO", "ENOMEM", "EINTR")


@dataclass(frozen=True, slots=True)
class Bench:
    """A machine, a snapshot of its state, and one of its state after the load if the load does not fail."""

    served: Served
    here: Path
    other: Path

    def back(self) -> None:
        """Load the state of `here`."""
        ended = self.served.place.chkpt("load", self.here)
        if ended.status:
            raise BrokenError(f"an undisturbed load fails: {ended.err}")

    def outcome(self, ended: Ended) -> str:
        """Return whether the machine is loaded or as it was. Raise BrokenError if neither, or if the load says else."""
        place = self.served.place
        if ended.status and (not ended.err.startswith("chkpt: ") or ended.err.count("\n") != 1):
            raise BrokenError(f"the load did not fail with one line: {ended.err!r}")
        found = place.path / "found.zst"
        found.unlink(missing_ok=True)
        saved = place.chkpt("save", found)
        if saved.status:
            raise BrokenError(f"afterwards a save fails: {saved.err}")
        loaded = self._is(found, self.other)
        if not loaded and not self._is(found, self.here):
            raise BrokenError("the machine is neither as it was nor loaded")
        if loaded != (ended.status == 0):
            raise BrokenError(f"the load ended with {ended.status} {ended.err!r}, and {loaded=}")
        return "loaded" if loaded else "as it was"

    @staticmethod
    def _is(one: Path, other: Path) -> bool:
        with Reader.open(one) as first, Reader.open(other) as second:
            return not compare(first.checkpoint(), second.checkpoint())


@contextmanager
def bench(place: Place) -> Iterator[Bench]:
    """Serve a machine, and save it in two states."""
    with serving(place, memory=MEMORY) as served:
        paths = [place.path / "other.zst", place.path / "here.zst"]
        for path, size in zip(paths, (RAM // 2, RAM), strict=True):
            served.talk(200)
            served.fill(size)
            served.say(f"write 0x0 0x1 0x{size // RAM + 1:02x}")
            path.unlink(missing_ok=True)
            if place.chkpt("save", path).status:
                raise BrokenError("an undisturbed save fails")
        made = Bench(served, paths[1], paths[0])
        made.back()
        yield made


def record_calls(made: Bench) -> list[Point]:
    """Return the calls of a load that concern its file or memory."""
    served = made.served
    logs = served.place.path / "loop.log", served.place.path / "worker.log"
    worker = served.worker_thread
    with strace.attached(served.loop_thread, logs[0]), strace.attached(worker, logs[1]):
        ended = served.place.chkpt("load", made.other)
    if ended.status:
        raise BrokenError(f"an undisturbed load fails: {ended.err}")
    calls = {True: strace.calls(logs[0], served.loop_thread), False: strace.calls(logs[1], worker)}
    return [point for point in points(calls, None) if point.name not in {"poll", "read", "write", "sendto"}]


# -- calls that fail, and kills ---------------------------------------------------------------------------------------


def failing(scratch: Path, *, sample: bool) -> Row:
    """Let every call of a load on its file, or for memory, fail in turn."""
    tally = Tally()
    place = Place(scratch / "load-failing")
    with bench(place) as made:
        faults = [(point, error) for point in record_calls(made) for error in ERRORS]
        for point, error in faults[:: max(len(faults) // 3, 1)] if sample else faults:
            tally.attempt(f"{error} at {point}", partial(_fail, made, point, error))
    return tally.row(
        "A load that fails leaves the machine as it was, and says so in one line",
        "each system call of a load on its file, or for memory, fails with EIO, ENOMEM, EINTR (strace)",
        firecracker="the process ends if a load fails (documentation)",
    )


def _fail(made: Bench, point: Point, error: str) -> str | None:
    made.back()
    log = made.served.place.path / "fault.log"
    inject = f"inject={point.name}:error={error}:when={point.number}"
    with strace.attached(point.thread(made.served), log, "-e", f"trace={point.name}", "-e", inject):
        ended = made.served.place.chkpt("load", made.other)
    return made.outcome(ended) if strace.injected(log) else None


def killed(scratch: Path, *, sample: bool) -> Row:
    """Kill the machine at every call of a load in turn."""
    tally = Tally()
    place = Place(scratch / "load-killed")
    with bench(place) as made:
        found = record_calls(made)
    for point in found[:: max(len(found) // 2, 1)] if sample else found[:: max(len(found) // 40, 1)]:
        tally.attempt(f"SIGKILL at {point}", partial(_kill, place, point))
    return tally.row(
        "A machine that is killed in a load is gone, and leaves no socket; the snapshot is as it was",
        "SIGKILL before system calls of a load (strace); the next command looks",
    )


def _kill(place: Place, point: Point) -> str | None:
    log = place.path / "fault.log"
    with bench(place) as made:
        before = made.other.read_bytes()
        inject = f"inject={point.name}:signal=KILL:when={point.number}"
        with strace.attached(point.thread(made.served), log, "-e", f"trace={point.name}", "-e", inject):
            ended = place.chkpt("load", made.other)
        if not strace.injected(log):
            return None
        if made.served.wait() != -signal.SIGKILL or not ended.status:
            raise BrokenError(f"the machine was not killed, and the load ended with {ended.status}")
    if made.other.read_bytes() != before:
        raise BrokenError("the snapshot has changed")
    nothing_left(place)
    return "gone"


def nothing_left(place: Place) -> None:
    """Check that no machine is found and that nothing of one is left. Raise BrokenError."""
    ended = place.chkpt("ps", "--json")
    if ended.status or json.loads(ended.out):
        raise BrokenError(f"chkpt ps finds {ended.out} {ended.err}")
    if left := place.left_running():
        raise BrokenError(f"in the runtime directory: {left}")


# -- a file that changes while it is read -----------------------------------------------------------------------------


def changing(scratch: Path, *, sample: bool) -> Row:
    """Stop the machine after every nth read of the file, change the file, and let it go on."""
    tally = Tally()
    place = Place(scratch / "load-changing")
    with bench(place) as made:
        reads = [point for point in record_calls(made) if point.name == "pread64"]
        for point in reads[1:2] if sample else reads:
            for change in CHANGES:
                fault = f"{change.__doc__} after {point}"
                tally.attempt(fault, partial(_change, made, point, change))
    return tally.row(
        "A file that changes while it is loaded is refused, or was read whole before; the machine is as it was",
        "the file is removed, replaced, cut short, emptied, overwritten, or has a bit flipped, after each read of it",
        firecracker="maps the memory file privately, and checks no digest of it (source)",
        qemu="took flipped bytes of RAM, i8259 and i8254 without a word (7.2, tried)",
        restic="content has its SHA-256 (design document)",
    )


def _change(made: Bench, point: Point, change: Callable[[Path, Path], None]) -> str | None:
    made.back()
    served, log = made.served, made.served.place.path / "fault.log"
    target = served.place.path / "changing.zst"
    target.unlink(missing_ok=True)
    target.write_bytes(made.other.read_bytes())
    inject = f"inject=pread64:signal=STOP:when={point.number}"
    with strace.attached(point.thread(served), log, "-e", "trace=pread64", "-e", inject):
        loading = served.place.start("load", target)
        wait_until(lambda: _stopped(log) or loading.poll() is not None, "the stop at a read")
        stopped = _stopped(log)
        if stopped:
            change(target, made.here)
            os.kill(served.pid, signal.SIGCONT)
        out, err = loading.communicate(timeout=PATIENCE)
    return made.outcome(Ended(loading.returncode, out, err)) if stopped else None


def _stopped(log: Path) -> bool:
    return "--- stopped by SIGSTOP ---" in log.read_text(errors="replace")


def _removed(target: Path, _: Path) -> None:
    """The file is removed."""
    target.unlink()


def _replaced(target: Path, other: Path) -> None:
    """Another file gets its name."""
    link = target.with_name("link.zst")
    link.unlink(missing_ok=True)
    os.link(other, link)
    link.replace(target)


def _cut(target: Path, _: Path) -> None:
    """The file is cut in half."""
    os.truncate(target, target.stat().st_size // 2)


def _emptied(target: Path, _: Path) -> None:
    """The file is emptied."""
    os.truncate(target, 0)


def _overwritten(target: Path, other: Path) -> None:
    """The file is overwritten with another."""
    with target.open("r+b") as file:
        file.write(other.read_bytes())


def _flipped(target: Path, _: Path) -> None:
    """A bit in every 1,000 bytes is flipped."""
    content = bytearray(target.read_bytes())
    for at in range(100, len(content), 1000):
        content[at] ^= 1
    with target.open("r+b") as file:
        file.write(content)


CHANGES: Final[Sequence[Callable[[Path, Path], None]]] = (
    _removed, _replaced, _cut, _emptied, _overwritten, _flipped,
)  # fmt: skip


# -- too little memory ------------------------------------------------------------------------------------------------


def little_memory(scratch: Path, *, sample: bool) -> Row:
    """Load with less and less address space left."""
    tally = Tally()
    place = Place(scratch / "load-memory")
    with bench(place) as made:
        for room in range(0, 3 * RAM, RAM if sample else RAM // 16):
            tally.attempt(f"{room} bytes of address space", partial(_starve, made, room))
    return tally.row(
        "If the host has too little memory, the load fails in one line, and the machine is as it was",
        "RLIMIT_AS of the running machine lowered to N bytes above what it has, N from 0 to 3 MiB, RAM of 1 MiB",
    )


def _starve(made: Bench, room: int) -> str:
    made.back()
    pid = made.served.pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + room, before[1]))
    try:
        ended = made.served.place.chkpt("load", made.other)
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)
    return made.outcome(ended)
