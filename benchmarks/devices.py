"""Save and load of the four devices in memory, and their ports a second."""

import pickle
from typing import Any

from benchmarks.figure import Figure, figure, seconds
from benchmarks.machines import at_the_cut
from chkpt import Checkpoint, dumps, loads

QEMU = "QEMU 7.2: 590 µs for isapc's devices"


def memory() -> list[Figure]:
    """Measure save to bytes and load from bytes."""
    machine, twin = at_the_cut(), at_the_cut()

    def save() -> bytes:
        checkpoint = Checkpoint()
        machine.devices.save(checkpoint)
        return dumps(checkpoint)

    snapshot = save()

    def load() -> None:
        twin.devices.load(loads(snapshot))

    states: dict[str, Any] = {entry.name: _device(entry.device).save() for entry in machine.devices}
    pickled = pickle.dumps(states)
    pickling = sorted(seconds(lambda: pickle.dumps(states), number=200))[15] * 1e6
    unpickling = sorted(seconds(lambda: pickle.loads(pickled), number=200))[15] * 1e6
    return [
        figure(
            f"save four devices to {len(snapshot)} bytes",
            seconds(save, number=200),
            unit="µs",
            target=150,
            baseline=f"{QEMU}; pickle of the states alone {pickling:.0f} µs",
            scale=1e6,
        ),
        figure(
            "load four devices from bytes",
            seconds(load, number=200),
            unit="µs",
            target=150,
            baseline=f"pickle of the states alone {unpickling:.0f} µs",
            scale=1e6,
        ),
    ]


def _device(device: object) -> Any:
    return device


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
