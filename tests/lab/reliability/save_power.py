"""A model of a power cut: recorded system calls of real commands, replayed up to each point on `power.Disk`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab.reliability import strace
from tests.lab.reliability.power import Disk, Image, distinct
from tests.lab.reliability.row import Row
from tests.lab.reliability.save_checks import RAM
from tests.lab.reliability.save_faults import MEMORY, warm
from tests.lab.reliability.served import BrokenError, Place, Served, serving
from tests.lab.reliability.tally import Tally

MADE: Final = ("openat", "open", "creat")
SYNCED: Final = ("fsync", "fdatasync")
NAMED: Final = ("link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat")
UNKNOWN: Final = (
    *("pwrite64", "writev", "pwritev", "pwritev2", "truncate", "ftruncate", "fallocate", "copy_file_range", "sendfile"),
    *("rmdir", "symlink", "symlinkat"),
)
"""Calls that the model does not know, and that no command makes on a snapshot. It is an error if one does."""

OPTIONS: Final = ("-xx", "-s", "1000000", "-e", f"trace=write,{','.join((*MADE, *SYNCED, *NAMED, *UNKNOWN))}")

_TOKEN: Final = re.compile(r'(?P<at>AT_FDCWD|\d+)<(?P<path>[^>]*)>|"(?P<text>[^"]*)"|(?P<rest>[^,\s]+)')


@dataclass(frozen=True, slots=True)
class Operation:
    """One change to the disk: a method of `Disk`, and its arguments."""

    name: str
    arguments: tuple[str, ...]
    data: bytes | None = None

    def apply(self, disk: Disk) -> None:
        """Make the change."""
        data = () if self.data is None else (self.data,)
        getattr(disk, self.name)(*self.arguments, *data)

    def __str__(self) -> str:
        return f"{self.name} {' '.join(self.arguments)}"


def operations(calls: list[strace.Call], root: Path) -> list[Operation]:
    """Return what recorded calls did below `root`.

    Raises:
        ValueError: a call that the model does not know.
    """
    found = (_operation(call, root) for call in calls if not call.failed)
    return [operation for operation in found if operation is not None]


def _operation(call: strace.Call, root: Path) -> Operation | None:
    tokens = [_token(match) for match in _TOKEN.finditer(call.arguments)]
    paths = [Path(path) for path in _paths(tokens[:1] if call.name == "write" else tokens)]
    inside = tuple(str(path.relative_to(root)) for path in paths if path.is_relative_to(root))
    if not inside:
        return None
    if call.name in UNKNOWN:
        raise ValueError(f"{call.name} is not in the model")
    if call.name in MADE:
        return Operation("make", inside) if "O_CREAT" in call.arguments else None
    if call.name in SYNCED:
        return Operation("sync", inside)
    if call.name == "write":
        return Operation("write", inside, _bytes(_TOKEN.findall(call.arguments)[1][2])[: int(call.result)])
    names = {"li": "link", "re": "rename", "un": "unlink", "mk": "make_directory"}
    return Operation(names[call.name[:2]], inside)


def _token(match: "re.Match[str]") -> tuple[str, str]:
    """Return what kind of argument it is, and its text: the path of a descriptor, a string, or the rest."""
    if match["at"] is not None:
        return "at", _bytes(match["path"]).decode(errors="replace")
    if match["text"] is not None:
        return "text", _bytes(match["text"]).decode(errors="replace")
    return "rest", match["rest"]


def _paths(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the paths among arguments: a name with the directory before it, or a descriptor's own."""
    at = ""
    for kind, text in tokens:
        if kind == "at":
            if at:
                yield at
            at = text
        elif kind == "text":
            yield str(Path(at or "/") / text)
            at = ""
    if at:
        yield at


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


# -- the commands that are recorded -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A command: what it did to the disk, and the snapshots by name before it and when it had returned."""

    command: str
    done: list[Operation]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]


def power_cut(scratch: Path, *, sample: bool) -> Row:
    """Record saves and a removal, and cut the power at every point of them."""
    tally = Tally()
    place = Place(scratch / "power")
    root = place.path / "disk"
    root.mkdir()
    with serving(place, memory="64K" if sample else MEMORY) as served:
        served.fill(RAM // 4 if sample else RAM)
        warm(served)
        store = root / "a" / "b"
        commands = [("save", "one"), ("save", "two"), ("save", "one", "--force"), ("rm", "two")]
        steps: list[Step] = []
        for command in commands:
            served.talk(5)
            steps.append(_recorded(served, root, store, command))
    disk = Disk({})
    for step in steps:
        _replay(tally, disk, step, None if sample else place.path / "image")
    return tally.row(
        "A power cut in a save leaves the name as it was, or the new snapshot whole; once the save has returned, the"
        " new one is there",
        "the recorded calls of saves (into a new store, new, `--force`) and of a removal, cut at each point, with every"
        " loss of what was not synced yet: images of the disk",
        firecracker="fsyncs the file (source, 81b38b9)",
        restic="the same, and tries to sync the directory, too (restic#3436)",
    )


def _recorded(served: Served, root: Path, store: Path, command: tuple[str, ...]) -> Step:
    place, before = served.place, _snapshots(store)
    logs = [place.path / f"{thread}.log" for thread in ("loop", "worker", "client")]
    loop, worker = served.loop_thread, served.worker_thread
    with strace.attached(loop, logs[0], *OPTIONS), strace.attached(worker, logs[1], *OPTIONS):
        tracer = ["strace", "-ttt", "-y", "-o", str(logs[2]), *OPTIONS]
        ended = place.chkpt(*command, "--store", store, before=tracer)
    if ended.status:
        raise BrokenError(f"an undisturbed {command[0]} fails: {ended.err}")
    calls = [call for log in logs for call in strace.calls(log, 0)]
    calls.sort(key=lambda call: call.time)
    return Step(" ".join(command), operations(calls, root), before, _snapshots(store))


def _snapshots(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.glob("*.zst")}


# -- the cuts ---------------------------------------------------------------------------------------------------------


def _replay(tally: Tally, disk: Disk, step: Step, room: Path | None) -> None:
    """Do a step, and look at what a cut of the power leaves before and after each of its operations.

    With `room`, one image of each moment is written there and repaired.
    """
    for number in range(len(step.done) + 1):
        if number:
            step.done[number - 1].apply(disk)
        over = number == len(step.done)
        where = f"a power cut after {step.done[number - 1]}" if number else f"a power cut before {step.command}"
        images = distinct(disk.images())
        for image in images:
            tally.attempt(where, partial(_look, image, step, over=over))
        if room is not None:
            tally.attempt(where, partial(_repair, images[0], room))


def _look(image: Image, step: Step, *, over: bool) -> str:
    """Return what an image has of the name that the step changes."""
    found = {Path(path).name: content for path, content in image.items() if path.endswith(".zst")}
    outcome = "unchanged"
    for name in {*step.before, *step.after, *found}:
        content, before, after = found.get(name), step.before.get(name), step.after.get(name)
        if content not in {before, after}:
            raise BrokenError(f"{name} is {'lost' if content is None else 'neither as it was nor whole'}")
        if over and content != after:
            raise BrokenError(f"{step.command} had returned, and {name} is as before")
        if before != after:
            outcome = "as before" if content == before else "as after"
    return outcome


def _repair(image: Image, room: Path) -> None:
    """Write an image down, and let the real command repair it."""
    for path in sorted(room.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for name in sorted(image):
        content, where = image[name], room / name
        if content is None:
            where.mkdir(parents=True)
        else:
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)
    place = Place(room.parent)
    ended = place.chkpt("verify", "--repair", "--store", room / "a" / "b")
    if ended.status:
        raise BrokenError(f"chkpt verify --repair fails: {ended.err}")
    if left := [path.name for path in room.rglob(".chkpt-*")]:
        raise BrokenError(f"left behind: {left}")
