"""A machine in this process with a device of every type, and a twin that gets the same commands and nothing else."""

import random
from collections.abc import Mapping
from typing import Final

from chkpt.context import Checkpoint
from chkpt.interop.qtest import QtestSession
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.snapshot import dumps
from tests.lab.reliability.served import PORTS, BrokenError

DEVICES: Final[tuple[Mapping[str, object], ...]] = (
    {"type": "pic"},
    {"type": "pit"},
    {"type": "serial", "name": "com1"},
    {"type": "ide", "name": "ide0", "drive": [{"unit": 0, "media": "disk", "size": "64K"}]},
    {"type": "cmos"},
    {"type": "i8042"},
    {"type": "port92"},
    {"type": "dma_page"},
    {"type": "debugcon"},
    {"type": "isa_debug_exit"},
)
MORE_PORTS: Final = (*PORTS, 0x60, 0x64, 0x70, 0x71, 0x80, 0x87, 0x92, 0x92)
MADE: Final = "2026-11-24T00:00:00Z"
"""The time in the header of every snapshot here, so that equal machines have equal bytes."""


def machine(*, cpu: bool) -> Machine:
    """Make a machine; `cpu` gives it a processor."""
    table: dict[str, object] = {"name": "m", "memory": "64K", "device": [dict(device) for device in DEVICES]}
    if cpu:
        table["cpu"] = {"model": "unicorn"}
    return Machine(parse(table))


def stir(machine: Machine, seed: str) -> None:
    """Bring a machine into a state that depends on the seed alone."""
    session = QtestSession(machine)
    for command in _commands(seed, 400):
        session.feed(command)
    session.close()
    machine.memory.write(0x100, random.Random(seed).randbytes(5000))


def snapshot(machine: Machine) -> bytes:
    """Return a machine's snapshot."""
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    checkpoint.header["created"] = MADE
    return dumps(checkpoint)


def go_on(machine: Machine, twin: Machine, seed: str, commands: int = 40) -> None:
    """Send both the same commands. Raise BrokenError if they answer differently."""
    sessions = QtestSession(machine), QtestSession(twin)
    for command in _commands(seed, commands):
        answers = [session.feed(command) for session in sessions]
        if answers[0] != answers[1]:
            raise BrokenError(f"to {command!r} one answers {answers[0]!r}, its twin {answers[1]!r}")
    for session in sessions:
        session.close()


def _commands(seed: str, count: int) -> list[bytes]:
    choose = random.Random(seed)
    found: list[str] = []
    for _ in range(count):
        kind = choose.random()
        if kind < 0.5:
            found.append(f"outb 0x{choose.choice(MORE_PORTS):x} 0x{choose.randrange(256):x}")
        elif kind < 0.9:
            found.append(f"inb 0x{choose.choice(MORE_PORTS):x}")
        else:
            found.append(f"clock_step {choose.randrange(1, 3_000_000)}")
    return [f"{command}\n".encode() for command in found]
