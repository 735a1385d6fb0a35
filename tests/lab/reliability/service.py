"""The service: a crowd of clients, hanging clients, and other users."""

import importlib.util
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from chkpt import sockets
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from tests.lab.reliability.crowd import CLIENTS, MAX_GROWTH, TABLE, crowd, running
from tests.lab.reliability.row import Row
from tests.lab.reliability.served import PATIENCE, BrokenError, Place
from tests.lab.reliability.tally import Tally

NOBODY: Final = 65534

HEAD: Final = b"POST /v1/stop HTTP/1.1\r\nHost: x\r\n"

HANGING: Final = {
    "says nothing": b"",
    "stops in mid-head": b"GET /v1/mach",
    "stops in mid-body": HEAD + b"Content-Length: 9\r\n\r\n{",
    "stops in mid-chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "asks for ever and never reads": b"GET /v1/devices HTTP/1.1\r\nHost: x\r\n\r\n" * 5000,
    "sends a head without end": b"GET / HTTP/1.1\r\nX: " + b"y" * 300_000,
    "sends a body without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n200000\r\n" + b" " * 0x200000,
    "sends binary junk": bytes(range(256)) * 200,
    "speaks TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 600,
}
"""What a client sends before it hangs, or ends its side."""

EACH: Final = 8
"""Clients of each kind at once."""


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Try to hang, flood, fool and enter the service."""
    return [
        crowded(scratch, cpu=False, seconds=5 if sample else 60),
        crowded(scratch, cpu=True, seconds=5 if sample else 60),
        hanging(scratch, sample=sample),
        strangers(scratch, sample=sample),
    ]


def crowded(scratch: Path, *, cpu: bool, seconds: float) -> Row:
    """Let fifty clients at a machine at once."""
    where = f"a machine {'with' if cpu else 'without'} a processor"
    promise = f"Clients at {where} at once: no lost or torn save, no deadlock, bounded memory, no jump of its clock"
    tried = f"{CLIENTS} clients that save, look, pause, resume, load and read the console, {seconds:.0f} s"
    if cpu and importlib.util.find_spec("unicorn") is None:
        return Row(promise, tried, 0, "not tried: unicorn is not installed", held=True)
    place = scratch / f"crowd-{cpu}"
    place.mkdir()
    found = crowd(place, cpu=cpu, seconds=seconds)
    done = ", ".join(f"{count:,} {what}" for what, count in sorted(found.done.items()))
    broken = "; ".join(found.broken[:3]) or "all as promised"
    return Row(
        promise,
        tried,
        found.done.total(),
        f"{broken}: {done}; {found.console_bytes:,} console bytes; memory grew by {found.grown / (1 << 20):.1f} MiB"
        f" (limit {MAX_GROWTH >> 20})",
        held=not found.broken and all(found.done[what] for what in ("saves", "looks", "pauses", "loads", "consoles")),
        firecracker="a snapshot needs a paused machine [doc]",
    )


def hanging(scratch: Path, *, sample: bool) -> Row:
    """Hold connections in every way, and check that others are served and that the machine ends in time."""
    tally = Tally()
    for turn in range(2 if sample else 40):
        tally.attempt(f"turn {turn}", partial(_hang, scratch / f"hang-{turn}", turn, tally))
    return tally.row(
        "A client that hangs, floods or does not speak HTTP delays neither other clients nor the machine's end",
        f"{EACH} of each of {len(HANGING)} kinds of such clients at once, while others save and the machine has to end",
    )


def _hang(path: Path, turn: int, tally: Tally) -> None:
    place = Place(path)
    place.store.mkdir()
    with ExitStack() as stack, running(place, TABLE) as (machine, _):
        for begin in EACH * list(HANGING.values()):
            stream = stack.enter_context(sockets.connect(machine.path / "api.sock"))
            stream.setblocking(False)
            with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                stream.sendall(begin)
            if turn % 2:
                with suppress(OSError):
                    stream.shutdown(socket.SHUT_WR)
        machine.save(SaveRequest(str(place.store / "a.zst")))
        if machine.machine(timeout=PATIENCE)["paused"]:
            raise BrokenError("the machine is paused")
    for _ in range(EACH * len(HANGING)):
        tally.count("delayed nothing")


def strangers(scratch: Path, *, sample: bool) -> Row:
    """Connect as another user, with and without the modes that keep it out."""
    promise = "No other user reaches a machine, whatever the umask, even if modes have been opened"
    tried = "connections of another user to each socket under five umasks, before and after `chmod 777` of the path"
    if os.geteuid() != 0:
        return Row(promise, tried, 0, "not tried: only root can become another user", held=True)
    tally = Tally()
    for mask in (0o022,) if sample else (0, 0o022, 0o077, 0o277, 0o777):
        with _reachable(scratch / f"strangers-{mask:o}", mask) as machine:
            for name in ("api.sock", "com1.console"):
                tally.attempt(f"{name} under {mask:o}", partial(_stranger, scratch, machine, name))
    return tally.row(
        promise,
        tried,
        qemu="leaves a socket's mode to the umask [src: `unix_listen_saddr`]",
    )


@contextmanager
def _reachable(path: Path, mask: int) -> Iterator[MachineClient]:
    place = Place(path)
    before = os.umask(mask)
    try:
        with running(place, TABLE) as (machine, _):
            yield machine
    finally:
        os.umask(before)


def _stranger(scratch: Path, machine: MachineClient, name: str) -> str:
    path = machine.path / name
    if (mode := stat.S_IMODE(path.stat().st_mode)) != 0o600:
        raise BrokenError(f"{name} has mode {mode:o}")
    if _connect_as(NOBODY, path) != "PermissionError":
        raise BrokenError(f"{name} lets another user connect")
    opened = {each: stat.S_IMODE(each.stat().st_mode) for each in (path, *path.parents) if each.is_relative_to(scratch)}
    for each, mode in opened.items():
        each.chmod(mode | 0o077)
    try:
        answer = _connect_as(NOBODY, path)
    finally:
        for each, mode in opened.items():
            each.chmod(mode)
    if answer:
        raise BrokenError(f"{name} answers another user: {answer}")
    machine.machine(timeout=PATIENCE)
    return "kept out by the mode, and turned away without it"


def _connect_as(uid: int, path: Path) -> str:
    """Return the answer that a user gets at a socket, or the name of the error."""
    code = (
        "import os, socket, sys\n"
        "uid = int(sys.argv[2]); os.setgroups([]); os.setgid(uid); os.setuid(uid)\n"
        "client = socket.socket(socket.AF_UNIX); client.settimeout(30)\n"
        "try:\n"
        "    client.connect(sys.argv[1])\n"
        "    client.sendall(b'GET /v1/machine HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "    print(client.recv(99).decode(), end='')\n"
        "except (BrokenPipeError, ConnectionResetError): pass\n"
        "except OSError as exc: print(type(exc).__name__, end='')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path), str(uid)], capture_output=True, text=True, check=True)
    return run.stdout
