"""`chkpt run --load` that fails: refused, out of memory, ended by a signal, or by a call that fails."""

import os
import select
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab.reliability import strace
from tests.lab.reliability.load_served import nothing_left
from tests.lab.reliability.row import Row
from tests.lab.reliability.served import PATIENCE, BrokenError, Place
from tests.lab.reliability.tally import Tally

FAULTS: Final = (
    *("signal=KILL", "signal=TERM"),
    *("error=EIO", "error=EMFILE", "error=ENOMEM"),
)
MEGABYTE: Final = 1024  # in the units of `ulimit -v`
LINE: Final = "chkpt: "


def starts(scratch: Path, *, sample: bool) -> Row:
    """Start machines from snapshots, and let that fail in every way."""
    promise = "`chkpt run --load` that fails leaves no process, no runtime directory and no socket"
    tried = (
        "snapshots and descriptions that are refused; address space from 20 to 400 MiB; each system call on the runtime"
        " directory or the snapshot fails or meets SIGKILL or SIGTERM (strace)"
    )
    tally = Tally()
    place = Place(scratch / "starts")
    snapshot = _snapshot(place)
    refused = list(_refused(place, snapshot).items())
    for name, arguments in refused[::4] if sample else refused:
        tally.attempt(name, partial(_refuse, place, arguments))
    start = ("run", place.path / "m.toml", "--load", snapshot, "--name", "n")
    for size in range(20, 400, 190 if sample else 10):
        tally.attempt(f"{size} MiB of address space", partial(_limit, place, start, size * MEGABYTE))
    if reason := strace.missing():
        return tally.row(promise, f"{tried}: not these calls, as {reason}")
    calls = _recorded(place, start, snapshot)
    faults = [(call, fault) for call in calls for fault in FAULTS]
    for call, fault in faults[:: max(len(faults) // 3, 1)] if sample else faults:
        tally.attempt(f"{fault} at {call.name} {call.number}", partial(_fault, place, start, call, fault))
    return tally.row(
        promise,
        tried,
        firecracker="the process ends if a load fails (documentation)",
    )


def _snapshot(place: Place) -> Path:
    """Save a machine, and return where."""
    description = place.description("m", "1M")
    path = place.path / "whole.zst"
    with place.start("run", description) as process:
        _ready(process)
        ended = place.chkpt("save", path)
        place.chkpt("stop")
    if ended.status:
        raise BrokenError(f"an undisturbed save fails: {ended.err}")
    return path


def _refused(place: Place, snapshot: Path) -> dict[str, Sequence[object]]:
    """Return what is refused, by what is wrong with it."""
    whole = snapshot.read_bytes()
    middle = len(whole) // 2
    contents = {
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "cut": whole[:middle],
        "empty": b"",
        "foreign": b"no snapshot at all",
    }
    for name, content in contents.items():
        (place.path / f"{name}.zst").write_bytes(content)
    toml = place.path / "m.toml"
    bad: dict[str, Sequence[object]] = {name: (toml, "--load", place.path / f"{name}.zst") for name in contents}
    bad["missing"] = (toml, "--load", place.path / "missing.zst")
    bad["a directory"] = (toml, "--load", place.path)
    bad["other memory"] = (place.description("o", "2M"), "--load", snapshot)
    disk = place.path / "nodisk.toml"
    disk.write_text('name = "d"\nmemory = "1M"\n[[device]]\ntype = "pit"\nname = "com1"\n')
    bad["another type"] = (disk, "--load", snapshot)
    bad["no qtest client"] = (toml, "--load", snapshot, "--qtest", "unix:absent.sock")
    bad["no backend"] = (toml, "--load", snapshot, "--char", "com1=file:/nowhere/file")
    return {name: ("run", *arguments) for name, arguments in bad.items()}


def _refuse(place: Place, arguments: Sequence[object]) -> str:
    ended = place.chkpt(*arguments)
    if ended.status not in {1, 2, 3, 4} or not ended.err.startswith(LINE) or ended.err.count("\n") != 1:
        raise BrokenError(f"it ends with {ended.status} and {ended.err!r}")
    _left(place)
    return "refused"


def _limit(place: Place, arguments: Sequence[object], kilobytes: int) -> str:
    limited = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh"]
    process = place.start(*arguments, before=limited)
    return _outcome(place, process, killed=False)


def _recorded(place: Place, arguments: Sequence[object], snapshot: Path) -> list[strace.Call]:
    """Return the calls of a start, until the machine is ready, on its runtime directory and its snapshot."""
    log = place.path / "start.log"
    process = place.start(*arguments, before=["strace", "-ttt", "-y", "-o", str(log)])
    _ready(process)
    ready = time.time()
    place.chkpt("stop")
    process.communicate(timeout=PATIENCE)
    about = (str(place.path / "run"), str(snapshot))
    calls = strace.calls(log, 0)
    return [call for call in calls if call.time < ready and any(path in call.arguments for path in about)]


def _fault(place: Place, arguments: Sequence[object], call: strace.Call, fault: str) -> str | None:
    log = place.path / "fault.log"
    tracer = ["strace", "-ttt", "-y", "-o", str(log), "-e", f"trace={call.name}"]
    process = place.start(*arguments, before=[*tracer, "-e", f"inject={call.name}:{fault}:when={call.number}"])
    outcome = _outcome(place, process, killed=fault == "signal=KILL")
    text = log.read_text(errors="replace")
    return outcome if "(INJECTED)" in text or "--- SIG" in text or "+++ killed by" in text else None


def _outcome(place: Place, process: "subprocess.Popen[str]", *, killed: bool) -> str:
    """Return whether the machine has come up; then it is stopped. Nothing may be left in either case."""
    up = _ready(process)
    if up:
        stopped = place.chkpt("stop", "-m", "n")
        if stopped.status:
            process.kill()
            raise BrokenError(f"it says that it runs, but cannot be stopped: {stopped.err}")
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise BrokenError("it neither starts nor ends") from None
    if not up and process.returncode == 0:
        raise BrokenError("it ends with 0, and has not come up")
    if killed:
        nothing_left(place)
    _left(place)
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return "started all the same" if up else "gone"
    raise BrokenError("a process of it is left")


def _ready(process: "subprocess.Popen[str]") -> bool:
    """Wait until a machine says that it runs, or ends; return which."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        os.killpg(process.pid, 9)
        raise BrokenError("it neither starts nor ends")
    return "is running" in process.stdout.readline()


def _left(place: Place) -> None:
    if left := place.left_running():
        raise BrokenError(f"in the runtime directory: {left}")
