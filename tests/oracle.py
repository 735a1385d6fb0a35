"""The recorded conversations: 150 traces of a real QEMU, the machine they expect, and how an answer is compared."""

import io
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import zstandard

from chkpt.interop.qtest import QtestSession
from chkpt.interop.trace import Exchange, Trace, parse, perform
from chkpt.machine import Machine

TRACES = Path(__file__).parent / "traces"
KINDS = ("pit", "pic", "serial", "ide", "mixed")
SECTORS = 32768


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
                found[Path(member.name).stem] = parse(file.read().decode())
    return found


def trace(name: str) -> Trace:
    """Return one trace: `demo`, or a name such as `ide-007`."""
    if name == "demo":
        return parse((TRACES / "demo.trace").read_text())
    return traces(name.partition("-")[0])[name]


def disk() -> bytes:
    """Return the content of the disk that the traces expect."""
    rows = [bytes((first + b * 13) & 0xFF for b in range(512)) for first in range(256)]
    return b"".join(rows[(s * 7 + (s >> 8)) & 0xFF] for s in range(SECTORS))


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


class Client:
    """A qtest client in the same process, and what it has been told of each pin."""

    def __init__(self, machine: Machine, trace: Trace) -> None:
        self.session = QtestSession(machine)
        self.told: dict[str, bool] = {}
        if trace.intercept is not None:
            assert self.send(trace.intercept) == ["OK"]

    def send(self, command: str) -> list[str]:
        lines = self.session.feed(command.encode() + b"\n").decode().splitlines()
        for line in lines[:-1]:
            _, verb, pin = line.split(" ")
            self.told[pin] = verb == "raise"
        return lines


def play(trace: Trace, machine: Machine, cut: Callable[[Machine], Machine] | None = None, at: int = -1) -> None:
    """Play a trace and compare every answer; before exchange `at`, go on with the machine that `cut` returns.

    `IRQ` lines of a disk command may stand with the `await_ready` after it: the two are compared as one sequence. In
    `pit` traces only rising edges were written down.
    """
    client = Client(machine, trace)
    rising_only = trace.facts["kind"] == "pit"
    untold: set[str] = set()  # pins that were high at the cut: the new client was never told, so sees no fall
    expected_irq: list[str] = []
    actual_irq: list[str] = []
    for number, exchange in enumerate(trace.exchanges):
        if number == at and cut is not None:
            client.session.close()
            machine = cut(machine)
            untold = {pin for pin, high in client.told.items() if high}
            client = Client(machine, trace)
        *irq, answer = perform(exchange.command, client.send)
        *wanted_irq, wanted = exchange.answer
        if wanted != "OK *":
            assert answer == wanted, f"exchange {number}: {exchange.command}"
        for line in wanted_irq:
            _, verb, pin = line.split(" ")
            if pin in untold:
                untold.discard(pin)
                if verb == "lower":
                    continue
            expected_irq.append(line)
        actual_irq += [line for line in irq if not rising_only or line.startswith("IRQ raise")]
        if not _joined(trace.exchanges, number):
            assert actual_irq == expected_irq, f"exchange {number}: {exchange.command}"
            expected_irq.clear()
            actual_irq.clear()


def _joined(exchanges: tuple[Exchange, ...], number: int) -> bool:
    """Tell whether the next exchange is an `await_ready`, whose lines belong to this one."""
    return number + 1 < len(exchanges) and exchanges[number + 1].command.startswith("await_ready")
