"""A timer alone in a machine, seen through its ports."""

from typing import cast

from chkpt.machine import Machine
from chkpt_devices.pit.chip import Pit
from tests.support.rig import rig, saved

HZ = 1_193_182
SECOND = 10**9
CLOCK = 840  # nanoseconds, a little more than one clock: some hundred of them are as many clocks from any start

CONTROL, PORT_B = 0x43, 0x61
OUT, NULL_COUNT = 0x80, 0x40  # of the status byte


def ns(clock: int) -> int:
    """Return the first nanosecond at which a counter that started at 0 has seen `clock` clocks."""
    return -(-clock * SECOND // HZ)


class Bench:
    """A timer alone in a machine, seen through its ports."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = rig({"type": "pit"}) if machine is None else machine
        self.inb = self.machine.ports.inb
        self.outb = self.machine.ports.outb

    @property
    def pit(self) -> Pit:
        return cast("Pit", self.machine.devices.find("pit"))

    def go(self, time: int) -> None:
        self.machine.step(time - self.machine.clock.now)

    def program(self, counter: int, mode: int, *counts: int, access: int = 3, bcd: int = 0) -> None:
        self.outb(CONTROL, counter << 6 | access << 4 | mode << 1 | bcd)
        for count in counts:
            self.write(counter, count, access)

    def write(self, counter: int, count: int, access: int = 3) -> None:
        if access & 1:
            self.outb(0x40 + counter, count & 0xFF)
        if access & 2:
            self.outb(0x40 + counter, count >> 8)

    def gate(self, level: int) -> None:
        self.outb(PORT_B, level)

    def count(self, counter: int = 2) -> int:
        self.outb(CONTROL, counter << 6)
        return self.inb(0x40 + counter) | self.inb(0x40 + counter) << 8

    def status(self, counter: int = 2) -> int:
        self.outb(CONTROL, 0xE0 | 2 << counter)
        return self.inb(0x40 + counter)

    def edges(self, found: list[tuple[int, bool]] | None = None) -> list[tuple[int, bool]]:
        """Collect from now on when the interrupt line changes, and to what."""
        found = [] if found is None else found
        self.machine.irq.watch(lambda line, level: found.append((self.machine.clock.now, level)))
        return found

    def reopened(self) -> "Bench":
        """Save, and go on in another machine."""
        other = rig({"type": "pit"})
        other.load(saved(self.machine), strict=True)
        return Bench(other)
