"""The recorded conversations: 150 traces of a real QEMU, the machine they expect, and how an answer is compared."""

import io
import tarfile
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

import zstandard

from chkpt.interop.qtest import QtestSession
from chkpt.interop.trace import DEMO, Player, Send, Trace, disk, parse_trace
from chkpt.machine import Machine

__all__ = ["KINDS", "disk", "play", "tables", "trace", "traces"]

TRACES = Path(__file__).parents[1] / "traces"
KINDS = ("pit", "pic", "serial", "ide", "mixed")


@cache
def traces(kind: str) -> dict[str, Trace]:
    """Return the traces of a kind by name."""
    packed = (TRACES / f"{kind}.tar.zst").read_bytes()
    content = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    found: dict[str, Trace] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in sorted(archive.getmembers(), key=lambda each: each.name):
            file = archive.extractfile(member)
            if file is not None:
                found[Path(member.name).stem] = parse_trace(file.read().decode())
    return found


def trace(name: str) -> Trace:
    """Return one trace: `demo`, or a name such as `ide-007`."""
    if name == "demo":
        return parse_trace(DEMO.read_text())
    return traces(name.partition("-")[0])[name]


def tables(image: Path | None) -> list[dict[str, object]]:
    """Return the device tables of the machine that the traces expect; without `image` its disk is a scratch disk."""
    drive: dict[str, object] = {
        "unit": 0,
        "media": "disk",
        "model": "CHKPT TEST DISK",
        "serial": "testdisk",
        "firmware": "version",
    }
    drive |= {"size": "16M"} if image is None else {"image": str(image)}
    return [
        {"type": "pic"},
        {"type": "pit"},
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4},
        {"type": "ide", "name": "ide0", "port": 0x1F0, "control": 0x3F6, "irq": 14, "drive": [drive]},
    ]


def play(
    trace: Trace, machine: Machine, cut: Callable[[Machine], Machine] | None = None, at: Collection[int] = ()
) -> None:
    """Play a trace and compare every answer; before the exchanges in `at`, go on with what `cut` returns."""
    session = QtestSession(machine)
    player = Player(trace, through(session))
    for number in range(len(trace.exchanges)):
        if number in at and cut is not None:
            session.close()
            machine = cut(machine)
            session = QtestSession(machine)
            player.connect(through(session))
        difference = player.play(number)
        assert difference is None, str(difference)


def through(session: QtestSession) -> Send:
    """Return what sends a command to a session in the same process."""
    return lambda command: session.feed(command.encode() + b"\n").decode().splitlines()
