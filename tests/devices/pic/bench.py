"""A machine with one 8259A pair to test with, and the names of its ports and commands."""

from typing import cast

from chkpt_devices.pic.chip import ChipState, Pic
from tests.support.rig import rig

MASTER, SLAVE, MASTER_DATA, SLAVE_DATA, ELCR1, ELCR2 = 0x20, 0xA0, 0x21, 0xA1, 0x4D0, 0x4D1
READ_IRR, READ_ISR, POLL = 0x0A, 0x0B, 0x0C
EOI, SPECIFIC_EOI, ROTATE_EOI, ROTATE_SPECIFIC_EOI, SET_PRIORITY = 0x20, 0x60, 0xA0, 0xE0, 0xC0
SET_ROTATE_IN_AEOI, CLEAR_ROTATE_IN_AEOI = 0x80, 0x00
SET_SPECIAL_MASK, CLEAR_SPECIAL_MASK = 0x68, 0x48
UPM, AEOI, SFNM = 0x01, 0x02, 0x10


class Board:
    """A machine with nothing but the pair."""

    def __init__(self, **options: object) -> None:
        self.machine = rig({"type": "pic", **options})
        self.pic = cast("Pic", self.machine.devices.find("pic"))
        self.ack = self.machine.irq.acknowledge

    def out(self, port: int, *values: int) -> None:
        for value in values:
            self.machine.ports.outb(port, value)

    def inp(self, port: int) -> int:
        return self.machine.ports.inb(port)

    def init(self, *, icw1: int = 0x11, master_icw4: int = UPM, slave_icw4: int = UPM) -> "Board":
        """Write all four ICWs as a PC's firmware does: vectors 0x08 and 0x70, every line open."""
        self.out(MASTER, icw1)
        self.out(MASTER_DATA, 0x08, 0x04, master_icw4)
        self.out(SLAVE, icw1)
        self.out(SLAVE_DATA, 0x70, 0x02, slave_icw4)
        return self

    def up(self, *lines: int) -> None:
        for line in lines:
            self.machine.irq.force(line, True)

    def down(self, *lines: int) -> None:
        for line in lines:
            self.machine.irq.force(line, False)

    def pulse(self, *lines: int) -> None:
        for line in lines:
            self.up(line)
            self.down(line)

    def intr(self) -> bool:
        return self.machine.irq.intr

    def irr(self, port: int = MASTER) -> int:
        self.out(port, READ_IRR)
        return self.inp(port)

    def isr(self, port: int = MASTER) -> int:
        self.out(port, READ_ISR)
        return self.inp(port)

    def poll(self, port: int = MASTER) -> int:
        self.out(port, POLL)
        return self.inp(port)

    @property
    def master(self) -> ChipState:
        return self.pic.save().master

    @property
    def slave(self) -> ChipState:
        return self.pic.save().slave
