"""A reference 8259A, and the pair as a PC wires it, as plain as can be: priority is found by asking level after level.

Written from the datasheet (Intel, 231468), and, where that is silent, from what the recorded conversations settle: INT
is a level without pulses, and a poll with nothing pending reads 0. An edge stays requested until it is acknowledged, as
there, or, with `withdraws`, as long as the input is high, as the datasheet has it.
"""

from dataclasses import dataclass, field

from chkpt_devices.pic.chip import Awaited, ChipState, PicState


def bits(value: int) -> list[bool]:
    return [bool(value >> level & 1) for level in range(8)]


def byte(levels: list[bool]) -> int:
    return sum(1 << level for level in range(8) if levels[level])


@dataclass
class Chip8259:
    """One chip. Lists are by level, IR0 first."""

    master: bool
    pins: list[bool] = field(default_factory=lambda: [False] * 8)
    irr: list[bool] = field(default_factory=lambda: [False] * 8)
    isr: list[bool] = field(default_factory=lambda: [False] * 8)
    imr: list[bool] = field(default_factory=lambda: [False] * 8)
    elcr: int = 0
    icw1: int = 0x11
    icw2: int = 0
    icw3: int = 0
    icw4: int = 0x01
    icws_to_come: list[int] = field(default_factory=list)
    lowest: int = 7
    rotate_in_aeoi: bool = False
    special_mask: bool = False
    poll: bool = False
    read_isr: bool = False
    withdraws: bool = False

    # -- the state, to start from any and to compare ------------------------------------------------------------------

    @classmethod
    def of(cls, state: ChipState, *, master: bool, withdraws: bool = False) -> "Chip8259":
        to_come = {Awaited.OCW1: [], Awaited.ICW2: [2, 3, 4], Awaited.ICW3: [3, 4], Awaited.ICW4: [4]}[state.awaited]
        chip = cls(master, bits(state.lines), bits(state.irr), bits(state.isr), bits(state.imr), state.elcr)
        chip.icw1, chip.icw2, chip.icw3, chip.icw4 = state.icw1, state.icw2, state.icw3, state.icw4
        chip.icws_to_come = [number for number in to_come if chip.announced(number)]
        chip.lowest, chip.rotate_in_aeoi = state.lowest, state.rotate_on_aeoi
        chip.special_mask, chip.poll, chip.read_isr = state.special_mask, state.poll, state.read_isr
        chip.withdraws = withdraws
        return chip

    def state(self) -> ChipState:
        return ChipState(
            irr=byte(self.irr),
            isr=byte(self.isr),
            imr=byte(self.imr),
            lines=byte(self.pins),
            elcr=self.elcr,
            icw1=self.icw1,
            icw2=self.icw2,
            icw3=self.icw3,
            icw4=self.icw4,
            awaited=Awaited(f"icw{self.icws_to_come[0]}" if self.icws_to_come else "ocw1"),
            lowest=self.lowest,
            rotate_on_aeoi=self.rotate_in_aeoi,
            special_mask=self.special_mask,
            poll=self.poll,
            read_isr=self.read_isr,
            int_out=self.int_out(),
        )

    # -- priority ------------------------------------------------------------------------------------------------------

    def by_priority(self) -> list[int]:
        """Return the levels, the highest first; the one after the lowest is the highest (Automatic Rotation)."""
        return [(self.lowest + 1 + rank) % 8 for rank in range(8)]

    def in_service(self, level: int) -> bool:
        """Whether a level keeps others out: not where it is masked in special mask mode."""
        return self.isr[level] and not (self.special_mask and self.imr[level])

    def interrupting(self) -> int | None:
        """Return the level that asks for the processor: the first that may, before any that is in service."""
        for level in self.by_priority():
            asks = self.irr[level] and not self.imr[level]
            if self.in_service(level):
                # Special fully nested mode: "when an interrupt request from a certain slave is in service this slave
                # is not locked out from the master's priority logic".
                return level if asks and self.icw4 & 0x10 and self.has_slave(level) else None
            if asks:
                return level
        return None

    def int_out(self) -> bool:
        return self.interrupting() is not None

    def has_slave(self, level: int) -> bool:
        return self.master and not self.icw1 & 0x02 and bool(self.icw3 >> level & 1)

    def is_called_by(self, level: int) -> bool:
        """Whether a slave takes the cascade lines' number for its own. A slave set up as the only chip does not."""
        return bool(self.icw1 & 0x02) or self.icw3 & 7 == level

    # -- requests and acknowledges -------------------------------------------------------------------------------------

    def level_triggered(self, level: int) -> bool:
        return bool(self.icw1 & 0x08) or bool(self.elcr >> level & 1)

    def set_pin(self, level: int, high: bool) -> None:
        if high and not self.pins[level]:
            self.irr[level] = True
        if self.pins[level] and not high and (self.withdraws or self.level_triggered(level)):
            self.irr[level] = False
        self.pins[level] = high

    def follow_pins(self) -> None:
        for level in range(8):
            if self.level_triggered(level):
                self.irr[level] = self.pins[level]

    def accept(self) -> int | None:
        """Take the first INTA, or the read after a poll command; return the level, None for a spurious one."""
        level = self.interrupting()
        if level is not None:
            if not self.level_triggered(level):
                self.irr[level] = False
            self.isr[level] = True
            if self.icw4 & 0x02:
                self.end(level, rotate=self.rotate_in_aeoi)
        return level

    def vector(self, level: int | None) -> int:
        """Return what the second INTA reads; IR7's where the request has gone."""
        number = 7 if level is None else level
        if self.icw4 & 0x01:
            return self.icw2 // 8 * 8 + number
        return self.icw1 // 32 * 32 + number * 4 if self.icw1 & 0x04 else self.icw1 // 64 * 64 + number * 8

    def end(self, level: int, *, rotate: bool) -> None:
        self.isr[level] = False
        if rotate:
            self.lowest = level

    # -- the processor's side ------------------------------------------------------------------------------------------

    def read(self, a0: int) -> int:
        if self.poll:
            self.poll = False
            level = self.accept()
            return 0 if level is None else 0x80 + level
        if a0:
            return byte(self.imr)
        return byte(self.isr if self.read_isr else self.irr)

    def write(self, a0: int, value: int) -> None:
        if a0 and self.icws_to_come:
            self.write_icw(self.icws_to_come.pop(0), value)
        elif a0:
            self.imr = bits(value)
        elif value & 0x10:
            self.write_icw1(value)
        elif value & 0x08:
            self.write_ocw3(value)
        else:
            self.write_ocw2(value & 0xE0, value & 7)

    def announced(self, number: int) -> bool:
        return not (number == 3 and self.icw1 & 0x02) and not (number == 4 and not self.icw1 & 0x01)

    def write_icw1(self, value: int) -> None:
        """Begin an initialization (datasheet, ICW1, a to f); ISR, poll and rotation in AEOI go too, as in QEMU."""
        self.icw1 = value
        self.irr, self.isr, self.imr = [False] * 8, [False] * 8, [False] * 8  # a, b
        self.lowest = 7  # c
        if not self.master:
            self.icw3 = 7  # d
        self.special_mask = self.read_isr = False  # e
        if not value & 0x01:
            self.icw4 = 0  # f
        self.poll = self.rotate_in_aeoi = False
        self.icws_to_come = [number for number in (2, 3, 4) if self.announced(number)]
        self.follow_pins()

    def write_icw(self, number: int, value: int) -> None:
        if number == 2:
            self.icw2 = value
        elif number == 3:
            self.icw3 = value
        else:
            self.icw4 = value

    def write_ocw2(self, command: int, level: int) -> None:
        served = [each for each in self.by_priority() if self.in_service(each)][:1]
        match command:
            case 0x00 | 0x80:
                self.rotate_in_aeoi = command == 0x80
            case 0x20 | 0xA0:  # non-specific EOI
                for each in served:
                    self.end(each, rotate=command == 0xA0)
            case 0x60 | 0xE0:  # specific EOI
                self.end(level, rotate=command == 0xE0)
            case 0xC0:
                self.lowest = level

    def write_ocw3(self, value: int) -> None:
        if value & 0x04:
            self.poll = True
        if value & 0x02:
            self.read_isr = bool(value & 0x01)
        if value & 0x40:
            self.special_mask = bool(value & 0x20)


@dataclass
class Pair8259:
    """Master and slave: the slave's INT is the master's IR2; the ELCRs as in PIIX4."""

    master: Chip8259
    slave: Chip8259

    @classmethod
    def of(cls, state: PicState, *, withdraws: bool = False) -> "Pair8259":
        return cls(
            Chip8259.of(state.master, master=True, withdraws=withdraws),
            Chip8259.of(state.slave, master=False, withdraws=withdraws),
        )

    def state(self) -> PicState:
        return PicState(self.master.state(), self.slave.state())

    def settle(self) -> None:
        self.master.set_pin(2, self.slave.int_out())

    def set_line(self, line: int, high: bool) -> None:
        (self.slave if line > 7 else self.master).set_pin(line % 8, high)
        self.settle()

    def acknowledge(self) -> int:
        level = self.master.accept()
        wanted = 7 if level is None else level
        vector = self.master.vector(level)
        if self.master.has_slave(wanted):
            vector = self.slave.vector(self.slave.accept()) if self.slave.is_called_by(wanted) else 0xFF
        self.settle()
        return vector

    def inb(self, port: int) -> int:
        if port >= 0x4D0:
            return self.chip(port).elcr
        value = self.chip(port).read(port & 1)
        self.settle()
        return value

    def outb(self, port: int, value: int) -> None:
        chip = self.chip(port)
        if port >= 0x4D0:
            chip.elcr = value & (0xF8 if chip.master else 0xDE)
            chip.follow_pins()
        else:
            chip.write(port & 1, value)
        self.settle()

    def chip(self, port: int) -> Chip8259:
        return self.slave if port in {0xA0, 0xA1, 0x4D1} else self.master
