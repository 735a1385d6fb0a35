"""Guests of our own, and machines that run them."""

import dataclasses
import hashlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chkpt.machine import Machine
from chkpt.machine.config import parse, read, with_backends
from chkpt.machine.cpu.execution import Execution, Outcome
from chkpt.machine.cpu.power_on import power_on
from chkpt.snapshot import Reader, dumps
from tests.support.rig import saved

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "chkpt" / "cli" / "demo" / "demo.toml"
START = 0x8000
LOG = 0x50000
SECOND = 1_000_000_000

PC: tuple[Mapping[str, object], ...] = (
    {"type": "pic"},
    {"type": "pit"},
    {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4, "backend": {"type": "memory"}},
    {
        "type": "ide",
        "name": "ide0",
        "port": 0x1F0,
        "control": 0x3F6,
        "irq": 14,
        "drive": [{"unit": 0, "media": "disk", "size": "1M"}],
    },
)


def computer(model: str = "unicorn", *, rate: int = 20_000_000, memory: str = "2M", **more: object) -> Machine:
    """Build a PC with a processor."""
    return Machine(parse({"memory": memory, "cpu": {"model": model, "rate": rate}, "device": list(PC), **more}))


def execution(machine: Machine) -> Execution:
    assert machine.execution is not None
    return machine.execution


def begin(machine: Machine, code: bytes) -> None:
    """Put real-mode code at 0:8000h and let the processor begin there."""
    machine.memory.write(START, code)
    state = power_on(0, a20=True)
    code_segment = dataclasses.replace(state.cs, selector=0, base=0)
    execution(machine).load(dataclasses.replace(state, rip=START, cs=code_segment))


def guest(name: str) -> bytes:
    return (HERE / f"{name}.bin").read_bytes()


def busy(model: str = "unicorn", rounds: int = 2) -> Machine:
    """Build a machine that is about to run busy.asm."""
    machine = computer(model)
    begin(machine, guest("busy"))
    machine.memory.write(0x500, struct.pack("<H", rounds))
    return machine


def demo(model: str = "unicorn", **more: object) -> Machine:
    """Build the machine of `chkpt demo`, whose serial port is in memory."""
    config = with_backends(read(DEMO), {"com1": {"type": "memory"}})
    return Machine(parse({**config.table, "cpu": {"model": model}, **more}))


def key(machine: Machine, text: str) -> Outcome:
    """Type one key, and let the guest run until it sleeps."""
    backend: Any = machine.devices.frontends["char"].backends["com1"]
    backend.feed(text.encode())
    return machine.run()


def asked(model: str = "unicorn", **more: object) -> Machine:
    """Build the machine of `chkpt demo`, and boot it up to its question."""
    machine = demo(model, **more)
    assert machine.run() is Outcome.IDLE
    assert output(machine).endswith(b"(q: quit)? ")
    return machine


def finish(machine: Machine) -> Outcome:
    """Run a guest to its end, a second of its clock at most."""
    return machine.run(until=SECOND)


def output(machine: Machine) -> bytes:
    backend: Any = machine.devices.frontends["char"].backends["com1"]
    return bytes(backend.output)


def everything(machine: Machine) -> dict[str, Any]:
    """Return all that is saved of a machine."""
    from chkpt.testing import plain_checkpoint  # which imports pytest: not for a process that only goes on

    return plain_checkpoint(saved(machine))


def differences(one: Mapping[str, Any], other: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths of what two machines do not have alike: short, where a whole one would be megabytes."""
    for key in one.keys() | other.keys():
        here, there = one.get(key), other.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from differences(here, there, path + key)
        elif here != there:
            yield path + key


def digest(machine: Machine) -> str:
    """Return one digest of all that is saved of a machine."""
    return hashlib.sha256(repr(everything(machine)).encode()).hexdigest()


def ending(machine: Machine) -> dict[str, object]:
    """Return what two runs must have alike at their ends: ticks, clock, and digests of RAM, disk and all that is saved.

    `output` is what the serial port has sent since the machine was made.
    """
    reader = Reader(dumps(saved(machine)))
    disk = machine.devices.frontends["block"].backends["ide0.0"]
    return {
        "ticks": execution(machine).cpu.ticks,
        "clock": machine.clock.now,
        "ram": hashlib.sha256(machine.memory.ram).hexdigest(),
        "disk": hashlib.sha256(disk.read(0, disk.size)).hexdigest(),
        "sections": {"/".join(each.path): each.digest.hex() for each in reader.sections},
        "output": output(machine).decode("ascii"),
    }


def log_of(machine: Machine, form: str) -> list[tuple[int, ...]]:
    """Return the records of a guest that keeps a log."""
    size = machine.memory.load(LOG, 4)
    return list(struct.iter_unpack(form, machine.memory.read(LOG + 16, size)))


def shell_table(name: str = "m", **more: object) -> dict[str, object]:
    """Return a machine whose BIOS is shell.asm; without a disk, so that it starts fast."""
    return {
        "name": name,
        "memory": "1M",
        "cpu": {},
        "firmware": {"bios": str(HERE / "shell.bin")},
        "device": [
            {"type": "pic"},
            {"type": "pit"},
            {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4},
            {"type": "cmos"},
            {"type": "isa_debug_exit"},
        ],
        **more,
    }
