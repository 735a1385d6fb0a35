"""The PC's pair of 8259A interrupt controllers, and the ELCR that goes with them.

Source: Intel 8259A datasheet, order number 231468 ("the datasheet" below). The edge/level control registers are not
part of the 8259A; they follow Intel's 82371AB (PIIX4), order number 290562, and QEMU's `hw/intc/i8259.c`.

The master's INT pin drives the processor's INTR, the slave's INT pin drives line 2, which is the master's input IR2.
INT is a level, computed after each command and each change of an input. It does not pulse at an acknowledge.

An interrupt-acknowledge sequence is one step here: both INTA cycles happen in `Pic.acknowledge`, so there is no state
between them. A chip in MCS-80 mode expects a third INTA, which an x86 processor does not send. The processor then reads
what the chip shows in the second cycle: the low byte of its CALL address.

The chips take their role, master or slave, from the board's wiring. ICW4's BUF and M/S are stored and have no effect:
a guest cannot see the data buffers that they control.

The machine's configuration chooses what happens to an edge whose input falls before the acknowledge: `EdgeRequest`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final

from chkpt.device import U3, U8, Host, IrqLine, Port
from chkpt.errors import StateError
from chkpt_devices.pic.config import EdgeRequest, PicConfig

# ICW1, at A0 = 0 (datasheet figure 7)
ICW1_IC4: Final = 0x01  # an ICW4 will follow
ICW1_SNGL: Final = 0x02  # no other 8259A: no ICW3 will follow
ICW1_ADI: Final = 0x04  # MCS-80: call addresses 4 bytes apart, else 8
ICW1_LTIM: Final = 0x08  # every input is level triggered
ICW1_SELECT: Final = 0x10  # distinguishes an ICW1 from OCW2 and OCW3
ICW1_A7_A5: Final = 0xE0  # MCS-80: bits 7-5 of the call address
ICW1_A7_A6: Final = 0xC0  # the same at an interval of 8, bit 5 comes from the level

# ICW2 and ICW3, at A0 = 1
ICW2_T7_T3: Final = 0xF8  # 8086: the upper bits of the vector, the lower three are the level
ICW3_ID: Final = 0x07  # of a slave: its address on the cascade lines

# ICW4, at A0 = 1
ICW4_UPM: Final = 0x01  # 8086 mode, else MCS-80
ICW4_AEOI: Final = 0x02  # automatic end of interrupt
ICW4_SFNM: Final = 0x10  # special fully nested mode

# OCW3, at A0 = 0 (datasheet figure 8); OCW2's commands are in `Intel8259A.__init__`
OCW3_RIS: Final = 0x01  # with RR: read the ISR, else the IRR
OCW3_RR: Final = 0x02  # RIS counts
OCW3_P: Final = 0x04  # poll: the next read acknowledges
OCW3_SELECT: Final = 0x08  # distinguishes an OCW3 from an OCW2
OCW3_SMM: Final = 0x20  # with ESMM: special mask mode
OCW3_ESMM: Final = 0x40  # SMM counts
OCW2_LEVEL: Final = 0x07  # L2-L0, the level of a specific command

POLL_PENDING: Final = 0x80  # in the poll byte: bits 2-0 hold a level that was waiting
SPURIOUS_LEVEL: Final = 7  # given when an acknowledge finds no request (datasheet, "Edge and level triggered modes")
FLOATING_BUS: Final = 0xFF  # read in the second INTA when no chip shows a vector

CASCADE_LINE: Final = 2  # the slave's INT on a PC
MASTER_ELCR_MASK: Final = 0xF8  # the timer, the keyboard and the cascade are always edge triggered (PIIX4, ELCR1)
SLAVE_ELCR_MASK: Final = 0xDE  # so are the clock and the FPU, IRQ 8 and 13 (PIIX4, ELCR2)

LOWEST_AFTER_ICW1: Final = 7  # "IR7 input is assigned priority 7" (datasheet, ICW1)
SLAVE_ID_AFTER_ICW1: Final = 7  # "The slave mode address is set to 7" (datasheet, ICW1)


ORDERS: Final = tuple([1 << ((lowest + 1 + rank) & 7) for rank in range(8)] for lowest in range(8))
"""ORDERS[lowest]: the levels' bits, highest priority first, when `lowest` is the level of lowest priority."""

HIGHEST: Final = tuple(bytes(next((b for b in order if b & mask), 0) for mask in range(256)) for order in ORDERS)
"""HIGHEST[lowest][mask]: the bit of highest priority in `mask`, 0 if it is empty."""

ABOVE: Final = tuple({0: 0xFF} | {bit: sum(order[:rank]) for rank, bit in enumerate(order)} for order in ORDERS)
"""ABOVE[lowest][bit]: the bits of higher priority than `bit`; all of them if it is 0."""


class Awaited(StrEnum):
    """What the next write at A0 = 1 means."""

    OCW1 = "ocw1"
    ICW2 = "icw2"
    ICW3 = "icw3"
    ICW4 = "icw4"


# Names of their own, because Python 3.11 takes ten times as long to look a member up in its class.
AWAITING_ICW3: Final = Awaited.ICW3
AWAITING_ICW4: Final = Awaited.ICW4


@dataclass(frozen=True, slots=True)
class ChipState:
    """All of one 8259A that a guest can ever notice. In every mask, bit n stands for input IRn.

    The defaults are the state at power-on. The datasheet leaves it open; as in QEMU, the pair works as the PC wires it,
    with vectors from 0.
    """

    VERSION: ClassVar[int] = 1

    irr: U8 = 0  # requests: latched edges, and the level-triggered inputs that are high
    isr: U8 = 0  # levels in service
    imr: U8 = 0  # masked levels
    lines: U8 = 0  # the levels of the inputs; a change from them is an edge
    elcr: U8 = 0  # inputs made level triggered one by one
    icw1: U8 = ICW1_SELECT | ICW1_IC4  # as last written, as icw2 is; ICW1 resets a slave's icw3, and icw4
    icw2: U8 = 0
    icw3: U8 = 1 << CASCADE_LINE  # master: inputs with a slave; slave: its address
    icw4: U8 = ICW4_UPM  # 0 if ICW1 said that there is none
    awaited: Awaited = Awaited.OCW1
    lowest: U3 = LOWEST_AFTER_ICW1  # the level of lowest priority
    rotate_on_aeoi: bool = False
    special_mask: bool = False
    poll: bool = False  # the next read acknowledges
    read_isr: bool = False  # a read at A0 = 0 gives the ISR, else the IRR
    int_out: bool = False  # the INT pin


@dataclass(frozen=True, slots=True)
class PicState:
    """The pair's state."""

    VERSION: ClassVar[int] = 1

    master: ChipState = ChipState()
    slave: ChipState = ChipState(icw3=CASCADE_LINE)


class Intel8259A:
    """One chip, its ELCR byte included."""

    # These are computed: the first five by `_decode_icws`, the others by `_compute_enabled`.
    level_triggered: int  # inputs that are level triggered
    falling: int  # inputs whose request ends when they fall
    cascade: int  # master: levels whose vector a slave gives; slave: levels at which it gives one
    nested: int  # levels that may interrupt themselves: the slaves' in special fully nested mode
    aeoi: bool
    foremost: int  # the level of highest priority in service, which a non-specific EOI ends
    enabled: int  # levels whose request raises INT

    def __init__(self, int_line: IrqLine, *, is_master: bool, edge_request: EdgeRequest) -> None:
        self._int_line = int_line
        self._is_master = is_master
        self._edge_request = edge_request
        self._elcr_mask = MASTER_ELCR_MASK if is_master else SLAVE_ELCR_MASK
        self._power_on = PicState().master if is_master else PicState().slave
        # By bits 7-3 of the value: D4 D3 = 00 is OCW2, where R, SL and EOI say which; 01 is OCW3, 1x ICW1.
        self._commands: tuple[Callable[[int], None], ...] = tuple(
            write
            for ocw2 in (
                self._clear_rotate_on_aeoi,  # R SL EOI = 000
                self._end_of_interrupt,  # 001: non-specific EOI
                self._do_nothing,  # 010
                self._specific_end_of_interrupt,  # 011
                self._set_rotate_on_aeoi,  # 100
                self._rotate_on_end_of_interrupt,  # 101: on non-specific EOI
                self._set_priority,  # 110
                self._rotate_on_specific_end_of_interrupt,  # 111
            )
            for write in (ocw2, self._write_ocw3, self._write_icw1, self._write_icw1)
        )
        self.assign(self._power_on)

    # -- state ---------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after power-on. The inputs keep their levels: what is high must fall and rise again."""
        self.assign(replace(self._power_on, lines=self.lines, int_out=self.int_out))
        self.drive()

    def save(self) -> ChipState:
        """Return the chip's state."""
        return ChipState(
            irr=self.irr,
            isr=self.isr,
            imr=self.imr,
            lines=self.lines,
            elcr=self.elcr,
            icw1=self.icw1,
            icw2=self.icw2,
            icw3=self.icw3,
            icw4=self.icw4,
            awaited=self.awaited,
            lowest=self.lowest,
            rotate_on_aeoi=self.rotate_on_aeoi,
            special_mask=self.special_mask,
            poll=self.poll,
            read_isr=self.read_isr,
            int_out=self.int_out,
        )

    def assign(self, state: ChipState) -> None:
        """Take every register and pin from `state`. The INT line is not driven."""
        self.irr = state.irr
        self.isr = state.isr
        self.imr = state.imr
        self.lines = state.lines
        self.elcr = state.elcr
        self.icw1 = state.icw1
        self.icw2 = state.icw2
        self.icw3 = state.icw3
        self.icw4 = state.icw4
        self.awaited = state.awaited
        self.lowest = state.lowest
        self.rotate_on_aeoi = state.rotate_on_aeoi
        self.special_mask = state.special_mask
        self.poll = state.poll
        self.read_isr = state.read_isr
        self.int_out = state.int_out
        self._decode_icws()
        self._compute_enabled()

    def check(self, state: ChipState, name: str) -> None:
        """Assign `state`, and raise StateError if it is not one that the chip can be in."""
        self.assign(state)
        unlike = (state.irr ^ state.lines) & self.level_triggered
        no_icw3 = state.icw1 & ICW1_SNGL
        no_icw4 = not state.icw1 & ICW1_IC4
        for wrong, what in (
            (state.elcr & ~self._elcr_mask, "elcr sets a bit of an input that is always edge triggered"),
            (not state.icw1 & ICW1_SELECT, "icw1 has bit 4 clear, so it is not an ICW1"),
            (no_icw3 and state.awaited is AWAITING_ICW3, "icw3 is awaited, but icw1 says that there is none"),
            (no_icw4 and state.awaited is AWAITING_ICW4, "icw4 is awaited, but icw1 says that there is none"),
            (no_icw4 and state.icw4, "icw4 is not 0, but icw1 says that there is none"),
            (unlike, "irr differs from lines at a level-triggered input"),
            ((self.irr & self.enabled != 0) is not state.int_out, "int_out is not what the registers ask for"),
        ):
            if wrong:
                raise StateError(f"{name}.{what}")

    # -- the pins -----------------------------------------------------------------------------------------------------

    def set_input(self, bit: int, level: bool) -> None:
        """Take the level of an input. A rise is a request, which the fall may end.

        A level that the input already has changes nothing: after a load each input is driven once more.
        """
        if level is (self.lines & bit != 0):
            return
        self.lines ^= bit
        if level:
            self.irr |= bit
        elif self.irr & bit & self.falling:
            self.irr &= ~bit
        else:
            return
        self.drive()

    def drive(self) -> None:
        """Bring the INT pin to the level that the registers ask for."""
        level = self.irr & self.enabled != 0
        if level is not self.int_out:
            self.int_out = level
            self._int_line.set(level)

    def accept(self) -> int:
        """Acknowledge the request of highest priority and return its bit, 0 if there is none. INT is left to `drive`.

        The automatic EOI, if set, is over when this returns.
        """
        bit = HIGHEST[self.lowest][self.irr & self.enabled]
        if bit:
            self.irr &= ~bit | self.level_triggered
            if self.aeoi:
                self.isr &= ~bit
                if self.rotate_on_aeoi:
                    self.lowest = bit.bit_length() - 1
            else:
                self.isr |= bit
            self._compute_enabled()
        return bit

    def vector(self, level: int) -> int:
        """Return the byte that the chip shows for `level` in the second INTA cycle."""
        if self.icw4 & ICW4_UPM:
            return self.icw2 & ICW2_T7_T3 | level
        if self.icw1 & ICW1_ADI:
            return self.icw1 & ICW1_A7_A5 | level << 2
        return self.icw1 & ICW1_A7_A6 | level << 3

    # -- the ports ----------------------------------------------------------------------------------------------------

    def read_command(self) -> int:
        """Read at A0 = 0: the poll byte after a poll command, else the IRR or the ISR."""
        if self.poll:
            return self._read_poll()
        return self.isr if self.read_isr else self.irr

    def read_data(self) -> int:
        """Read at A0 = 1: the poll byte after a poll command, else the IMR."""
        if self.poll:
            return self._read_poll()
        return self.imr

    def write_command(self, value: int) -> None:
        """Write at A0 = 0: ICW1, OCW2 or OCW3."""
        self._commands[value >> 3](value)
        self.drive()

    def write_data(self, value: int) -> None:
        """Write at A0 = 1: the awaited ICW, else OCW1, the mask."""
        if self.awaited is Awaited.OCW1:
            self.imr = value
            self._compute_enabled()
        else:
            self._write_icw(value)
        self.drive()

    def read_elcr(self) -> int:
        """Read the edge/level control register."""
        return self.elcr

    def write_elcr(self, value: int) -> None:
        """Write the edge/level control register; the bits of inputs that are always edge triggered stay 0.

        An input that becomes level triggered requests as its level says; one that becomes edge triggered keeps the
        request it had.
        """
        self.elcr = value & self._elcr_mask
        self._decode_icws()
        self._follow_levels()
        self.drive()

    def _read_poll(self) -> int:
        """Acknowledge, and return the poll byte; 0 if nothing waits (bits 2-0 then as in QEMU)."""
        self.poll = False
        bit = self.accept()
        if not bit:
            return 0
        self.drive()
        return POLL_PENDING | bit.bit_length() - 1

    # -- initialization command words ---------------------------------------------------------------------------------

    def _write_icw1(self, value: int) -> None:
        """Begin an initialization (datasheet, ICW1, a-f). As in QEMU, it clears the ISR, poll and AEOI rotation."""
        self.icw1 = value
        self.irr = self.isr = self.imr = 0
        self.lowest = LOWEST_AFTER_ICW1
        self.special_mask = self.read_isr = self.poll = self.rotate_on_aeoi = False
        if not self._is_master:
            self.icw3 = SLAVE_ID_AFTER_ICW1
        if not value & ICW1_IC4:
            self.icw4 = 0
        self.awaited = Awaited.ICW2
        self._decode_icws()
        self._follow_levels()
        self._compute_enabled()

    def _write_icw(self, value: int) -> None:
        """Take the ICW whose turn it is, and find the one that comes after it."""
        if self.awaited is Awaited.ICW2:
            self.icw2 = value
            after = Awaited.ICW4 if self.icw1 & ICW1_SNGL else Awaited.ICW3
        elif self.awaited is Awaited.ICW3:
            self.icw3 = value
            after = Awaited.ICW4
        else:
            self.icw4 = value
            after = Awaited.OCW1
        self.awaited = after if after is not Awaited.ICW4 or self.icw1 & ICW1_IC4 else Awaited.OCW1
        self._decode_icws()
        self._compute_enabled()

    # -- operation command words --------------------------------------------------------------------------------------

    def _write_ocw3(self, value: int) -> None:
        """Set what the next reads give, and the special mask mode. A poll has priority over a register read."""
        if value & OCW3_P:
            self.poll = True
        if value & OCW3_RR:
            self.read_isr = value & OCW3_RIS != 0
        if value & OCW3_ESMM:
            self.special_mask = value & OCW3_SMM != 0
            self._compute_enabled()

    def _clear_rotate_on_aeoi(self, _value: int) -> None:
        self.rotate_on_aeoi = False

    def _set_rotate_on_aeoi(self, _value: int) -> None:
        self.rotate_on_aeoi = True

    def _do_nothing(self, _value: int) -> None:
        pass

    def _end_of_interrupt(self, _value: int) -> None:
        self.isr &= ~self.foremost
        self._compute_enabled()

    def _rotate_on_end_of_interrupt(self, _value: int) -> None:
        if self.foremost:
            self._rotate_on_specific_end_of_interrupt(self.foremost.bit_length() - 1)

    def _specific_end_of_interrupt(self, value: int) -> None:
        self.isr &= ~(1 << (value & OCW2_LEVEL))
        self._compute_enabled()

    def _rotate_on_specific_end_of_interrupt(self, value: int) -> None:
        self.isr &= ~(1 << (value & OCW2_LEVEL))
        self._set_priority(value)

    def _set_priority(self, value: int) -> None:
        self.lowest = value & OCW2_LEVEL
        self._compute_enabled()

    # -- what follows from the registers ------------------------------------------------------------------------------

    def _decode_icws(self) -> None:
        """Compute what the ICWs and the ELCR say about each level."""
        single = self.icw1 & ICW1_SNGL
        if self._is_master:
            self.cascade = 0 if single else self.icw3
        else:
            # A slave that was set up as the only chip does not look at the cascade lines.
            self.cascade = 0xFF if single else 1 << (self.icw3 & ICW3_ID)
        self.nested = self.cascade if self._is_master and self.icw4 & ICW4_SFNM else 0
        self.aeoi = self.icw4 & ICW4_AEOI != 0
        self.level_triggered = 0xFF if self.icw1 & ICW1_LTIM else self.elcr
        self.falling = 0xFF if self._edge_request is EdgeRequest.WITHDRAWN else self.level_triggered

    def _follow_levels(self) -> None:
        """Copy the levels of the level-triggered inputs to their requests."""
        self.irr = self.irr & ~self.level_triggered | self.lines & self.level_triggered

    def _compute_enabled(self) -> None:
        """Compute which levels may interrupt now: not masked, and above what is in service.

        In special mask mode a masked level in service does not count, and a non-specific EOI passes it over: "An IS
        bit that is masked by an IMR bit will not be cleared by a non-specific EOI if the 8259A is in the Special Mask
        Mode" (datasheet, "End of interrupt").
        """
        foremost = HIGHEST[self.lowest][self.isr & ~self.imr if self.special_mask else self.isr]
        self.foremost = foremost
        self.enabled = (ABOVE[self.lowest][foremost] | foremost & self.nested) & ~self.imr


class Pic:
    """The master and the slave, as the PC wires them."""

    def __init__(self, host: Host, config: PicConfig) -> None:
        self._intr = host.cpu_interrupt_line()
        self._cascade = host.irq_line(CASCADE_LINE)
        self._master, self._slave = master, slave = self._make_pair(config)
        # A load tries the state on these spare chips before it touches the real ones. They drive nothing.
        self._spares = self._make_pair(config)
        for port, chip in ((config.master_port, master), (config.slave_port, slave)):
            host.claim_ports(port, [Port(chip.read_command, chip.write_command), Port(chip.read_data, chip.write_data)])
        host.claim_ports(config.elcr_port, [Port(chip.read_elcr, chip.write_elcr) for chip in (master, slave)])
        host.receive_irqs(self._set_level, self.acknowledge)

    def _make_pair(self, config: PicConfig) -> tuple[Intel8259A, Intel8259A]:
        return (
            Intel8259A(self._intr, is_master=True, edge_request=config.edge_request),
            Intel8259A(self._cascade, is_master=False, edge_request=config.edge_request),
        )

    def reset(self) -> None:
        """Go to the state after power-on; the ELCR becomes 0."""
        self._master.reset()
        self._slave.reset()

    def acknowledge(self) -> int:
        """Run both INTA cycles and return the vector.

        If the request has gone by now, the vector is that of IR7 and nothing is in service ("default IR7"). If the
        slave's request has gone, the master has its level in service and the slave gives its IR7. If the master
        leaves the vector to a slave that is not addressed, the bus floats.
        """
        master, slave = self._master, self._slave
        bit = master.accept()
        level = bit.bit_length() - 1 if bit else SPURIOUS_LEVEL
        if not master.cascade & 1 << level:
            vector = master.vector(level)
        elif slave.cascade & 1 << level:
            bit = slave.accept()
            vector = slave.vector(bit.bit_length() - 1 if bit else SPURIOUS_LEVEL)
            slave.drive()
        else:
            vector = FLOATING_BUS
        master.drive()
        return vector

    def save(self) -> PicState:
        """Return the state of both chips."""
        return PicState(self._master.save(), self._slave.save())

    def load(self, state: PicState) -> None:
        """Become the saved pair and drive line 2 and INTR to their levels.

        Raises:
            StateError: the registers contradict each other.
        """
        spare_master, spare_slave = self._spares
        spare_master.check(state.master, "master")
        spare_slave.check(state.slave, "slave")
        if state.slave.int_out and not state.master.lines & 1 << CASCADE_LINE:
            raise StateError("slave.int_out is high, but the master's input 2 is low")
        self._master.assign(state.master)
        self._slave.assign(state.slave)
        self._cascade.set(self._slave.int_out)
        self._intr.set(self._master.int_out)

    def _set_level(self, number: int, level: bool) -> None:
        """Take the level of line `number`; 0 to 7 are the master's inputs, 8 to 15 the slave's."""
        chip = self._slave if number & 8 else self._master
        chip.set_input(1 << (number & 7), level)
