"""Save and load of the four devices in memory, and their ports a second."""

import pickle
import statistics
from collections.abc import Callable
from typing import Any

from chkpt import Checkpoint, dumps, loads
from tests.lab.benchmarks.figure import Figure, figure, seconds
from tests.lab.benchmarks.machines import at_the_cut

QEMU = "QEMU 7.2: 590 µs to save isapc's devices to a file"


def memory() -> list[Figure]:
    """Measure save and load, to and from a checkpoint in memory, and with the snapshot's encoding around it."""
    machine, twin = at_the_cut(), at_the_cut()

    def save() -> Checkpoint:
        checkpoint = Checkpoint()
        machine.devices.save(checkpoint)
        return checkpoint

    checkpoint = save()
    snapshot = dumps(checkpoint)
    states: dict[str, Any] = {entry.name: entry.save() for entry in machine.devices}
    pickled = pickle.dumps(states)
    pickling = f"pickle of the states alone {_median(lambda: pickle.dumps(states)):.0f} µs"
    unpickling = f"pickle of the states alone {_median(lambda: pickle.loads(pickled)):.0f} µs"
    calls: list[tuple[str, Callable[[], object], str]] = [
        ("save four devices to a checkpoint", save, QEMU),
        ("load four devices from a checkpoint", lambda: twin.devices.load(checkpoint), QEMU),
        (f"save four devices to {len(snapshot)} bytes", lambda: dumps(save()), pickling),
        ("load four devices from bytes", lambda: twin.devices.load(loads(snapshot)), unpickling),
    ]
    return [
        figure(what, seconds(call, number=200), unit="µs", target=150, baseline=baseline, scale=1e6)
        for what, call, baseline in calls
    ]


def _median(call: Callable[[], object]) -> float:
    """Return the microseconds of a call."""
    return statistics.median(seconds(call, number=200)) * 1e6


def ports() -> list[Figure]:
    """Measure register reads and writes through the port bus."""
    machine = at_the_cut()
    inb, outb = machine.ports.inb, machine.ports.outb
    number = 20_000

    def reads(port: int) -> list[float]:
        def run() -> None:
            for _ in range(number):
                inb(port)

        return [number / taken for taken in seconds(run, number=1)]

    def writes(port: int, value: int) -> list[float]:
        def run() -> None:
            for _ in range(number):
                outb(port, value)

        return [number / taken for taken in seconds(run, number=1)]

    def nothing(_port: int) -> int:
        return 0

    def calls() -> None:
        for _ in range(number):
            nothing(0x21)

    bare = sorted(number / taken for taken in seconds(calls, number=1))[15] / 1e6
    baseline = f"a bare Python call {bare:.1f} M/s"
    cases = [
        ("read PIC IMR (0x21)", reads(0x21)),
        ("write PIC IMR (0x21)", writes(0x21, 0)),
        ("read UART LSR (0x3fd)", reads(0x3FD)),
        ("read UART SCR (0x3ff)", reads(0x3FF)),
        ("write UART SCR (0x3ff)", writes(0x3FF, 0x5A)),
        ("read IDE alternate status (0x3f6)", reads(0x3F6)),
    ]
    return [
        figure(what, samples, unit="M/s", target=1, baseline=baseline, most=False, scale=1e-6)
        for what, samples in cases
    ]
