"""What QEMU's models keep and ours do not, from its sources (7.2): what its odd answers follow from.

Nothing here judges. A rule that excuses an answer takes from here what QEMU's own arithmetic gives, so that it excuses
that very value and no other.
"""

from collections import deque
from dataclasses import dataclass, field
from struct import pack, unpack
from typing import Final

from chkpt.interop.trace import BUSY
from chkpt_devices.ide.registers import DEV, DRQ, HOB, SRST, Command
from chkpt_devices.pit.waveform import clocks
from chkpt_devices.serial.registers import CRYSTAL_HZ, TIMEOUT_CHARACTERS
from tests.lab.oracle.command import DATA_PORT
from tests.lab.oracle.command import Command as Sent
from tests.lab.oracle.ours import View

CONTROL: Final = 0x43
GATE_PORT: Final = 0x61
DEVICE_CONTROL: Final = 0x3F6
COMMAND_PORT: Final = 0x1F7
DEFAULT_CYLINDERS: Final = 32  # of the 16 MiB disk, with 16 heads and 63 sectors


# -- hw/timer/i8254.c -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Counter:
    """`PITChannelState`: one counter, which counts in binary from its last load on, come what may."""

    gate: bool
    count: int = 0x10000
    start: int = 0
    mode: int = 3
    access: int = 0
    bcd: bool = False
    latched: int | None = None  # latched_count, with count_latched below
    latched_access: int = 0
    latched_of: int = 0  # the count that was counted when the count was latched last
    status: int | None = None
    msb_next: bool = False  # of a read
    lsb: int | None = None  # the first byte of a count

    def counted(self, now: int) -> int:
        """Return the clocks since the last load."""
        return clocks(now - self.start)

    def shown(self, now: int) -> int:
        """Return `pit_get_count`."""
        passed = self.counted(now)
        if self.mode in {0, 1, 4, 5}:
            return self.count - passed & 0xFFFF
        if self.mode == 3:
            return self.count - 2 * passed % self.count & 0xFFFF
        return self.count - passed % self.count & 0xFFFF

    def out(self, now: int) -> bool:
        """Return `pit_get_out`."""
        passed = self.counted(now)
        if self.mode == 1:
            return passed < self.count
        if self.mode == 2:
            return passed % self.count == 0 and passed != 0
        if self.mode == 3:
            return passed % self.count < (self.count + 1) >> 1
        if self.mode in {4, 5}:
            return passed == self.count
        return passed >= self.count

    def latch(self, now: int) -> None:
        """Latch the count, which before any control word is no latch."""
        if self.latched is None and self.access:
            self.latched = self.shown(now)
            self.latched_access = self.access
            self.latched_of = self.count

    def latch_status(self, now: int) -> None:
        """Latch the status."""
        if self.status is None:
            self.status = self.out(now) << 7 | self.access << 4 | self.mode << 1 | self.bcd

    def program(self, word: int) -> None:
        """Take a control word. What is latched stays latched."""
        self.access = word >> 4 & 3
        self.mode = word >> 1 & 7
        self.bcd = bool(word & 1)
        self.msb_next = False
        self.lsb = None

    def write(self, value: int, now: int) -> None:
        """Take a byte of a count."""
        if self.access == 3 and self.lsb is None:
            self.lsb = value
            return
        if self.access == 3:
            value = value << 8 | (self.lsb or 0)
            self.lsb = None
        elif self.access == 2:
            value <<= 8
        self.count = value or 0x10000
        self.start = now

    def read(self, now: int) -> int:
        """Return what a read gives."""
        if self.status is not None:
            value, self.status = self.status, None
            return value
        if self.latched is not None:
            latched, access = self.latched, self.latched_access
            if access == 3:
                self.latched_access = 2
            else:
                self.latched = None
            return latched >> 8 if access == 2 else latched & 0xFF
        shown = self.shown(now)
        upper = self.access == 2 or (self.access == 3 and self.msb_next)
        self.msb_next = self.access == 3 and not self.msb_next
        return shown >> 8 if upper else shown & 0xFF

    def set_gate(self, gate: bool, now: int) -> None:
        """Take GATE, whose rise loads the count in modes 1, 2, 3 and 5; low, it stops nothing."""
        if gate and not self.gate and self.mode in {1, 2, 3, 5}:
            self.start = now
        self.gate = gate


@dataclass(slots=True)
class Timer:
    """The 8254: its counters, and the value that the last read of one gave."""

    counters: tuple[Counter, ...] = field(
        default_factory=lambda: (Counter(gate=True), Counter(gate=True), Counter(gate=False))
    )
    last_read: int = -1
    pulses: bool = False  # line 0 has mode 2's levels, until a count of another mode is written
    pulsed: bool = False  # so it had before the last command, or has

    def observe(self, sent: Sent, now: int) -> None:
        """Follow an access."""
        self.last_read = -1
        self.pulsed = self.pulses
        self._access(sent, now)
        self.pulsed |= self.pulses

    def _access(self, sent: Sent, now: int) -> None:
        if sent.port == GATE_PORT and sent.writes:
            self.counters[2].set_gate(bool(sent.value & 1), now)
        elif not 0x40 <= sent.port <= CONTROL:
            return
        elif sent.port == CONTROL:
            if sent.writes:
                self._control(sent.value & 0xFF, now)
        elif sent.writes:
            counter = self.counters[sent.port - 0x40]
            counter.write(sent.value & 0xFF, now)
            if sent.port == 0x40 and counter.lsb is None:
                self.pulses = counter.mode == 2
        else:
            self.last_read = self.counters[sent.port - 0x40].read(now)

    def _control(self, word: int, now: int) -> None:
        if word >> 6 == 3:
            for number, counter in enumerate(self.counters):
                if word & 2 << number:
                    if not word & 0x20:
                        counter.latch(now)
                    if not word & 0x10:
                        counter.latch_status(now)
        elif word & 0x30:
            self.counters[word >> 6].program(word)
            self.pulses |= not word >> 6 and self.counters[0].mode == 2
        else:
            self.counters[word >> 6].latch(now)


# -- hw/intc/i8259.c --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Inputs:
    """The inputs of both chips that were high at an ICW1, which QEMU takes for low from then on. Bit n: line n."""

    forgotten: int = 0

    def observe(self, sent: Sent, before: View) -> None:
        """Follow a command."""
        if sent.verb == "set_irq_in" and not sent.value:
            self.forgotten &= ~(1 << sent.line)
        elif sent.writes and sent.port in {0x20, 0xA0} and sent.value & 0x10:
            number = sent.port >> 7
            self.forgotten |= before.chip(number).lines << 8 * number


# -- hw/char/serial.c -------------------------------------------------------------------------------------------------


def timeout_ns(divisor: int, lcr: int) -> int:
    """Return the time of four characters as `serial_update_parameters` has it: in C's `float`."""
    bits = 1 + 5 + (lcr & 3) + (2 if lcr & 4 else 1) + bool(lcr & 8)
    speed = _float(CRYSTAL_HZ // 16 / divisor)
    return int(_float(_float(1e9 / speed) * bits)) * TIMEOUT_CHARACTERS


def _float(value: float) -> float:
    single: float = unpack("f", pack("f", value))[0]
    return single


@dataclass(slots=True)
class Uart:
    """The 16550A, where QEMU has other values in its registers."""

    mcr_written: bool = False
    deadline: int | None = None  # of the receive time-out
    fifo_masks: deque[int] = field(default_factory=deque)  # of the word length each byte in the FIFO was received with
    rbr_mask: int = 0xFF  # the same of the last byte without FIFOs
    read_mask: int = 0xFF  # the same of the byte that was read last

    def observe(self, sent: Sent, before: View, after: View) -> None:
        """Follow an access."""
        old, new = before.serial, after.serial
        self.mcr_written |= sent.writes and sent.port == 0x3FC
        if new.timeout_deadline is None:
            self.deadline = None
        elif new.timeout_deadline != old.timeout_deadline or self.deadline is None:
            self.deadline = after.now + timeout_ns(new.divisor or 0x10000, new.lcr)
        mask = (1 << 5 + (new.lcr & 3)) - 1
        if sent.reads and sent.port == 0x3F8 and not old.lcr & 0x80:
            self.read_mask = self.rbr_mask
            if new.fcr and self.fifo_masks:
                self.read_mask = self.fifo_masks.popleft()
        elif len(new.recv_fifo) > len(old.recv_fifo):
            self.fifo_masks.append(mask)
        elif sent.writes and sent.port == 0x3F8 and new.mcr & 0x10 and not (new.fcr or new.lcr & 0x80):
            self.rbr_mask = mask
        if not new.recv_fifo:
            self.fifo_masks.clear()


# -- hw/ide/core.c ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Bus:
    """The ATA channel: the registers of the drive that is absent, and what is under way in the main loop."""

    unsettled: bool = False  # a command or a reset is under way until a poll finds BSY clear
    settling: bool = False  # so it was before the last command
    used: bool = False  # there was a command or a reset
    features: tuple[int, int] = (0, 0)  # the last two values of Features
    absent: list[int] = field(default_factory=lambda: [0, 1, 1, 0xFF, 0xFF, 0xA0])  # 0x1f1 to 0x1f6 of drive 1
    write_cache: bool = True  # which outlives a reset
    identity: dict[int, int] = field(default_factory=dict)  # words of IDENTIFY, kept from the first one on

    def observe(self, sent: Sent, before: View, after: View) -> None:
        """Follow a command."""
        self.settling = self.unsettled
        if sent.verb == "await_ready":
            self.unsettled = False
        elif sent.writes and sent.port == DEVICE_CONTROL:
            if sent.value & SRST and not before.ide.control & SRST:
                self._reset()
        elif sent.writes and sent.port == COMMAND_PORT:
            self._command(sent.value, before)
        elif sent.words and sent.port == DATA_PORT:
            old, new = before.drive.transfer, after.drive.transfer
            self.unsettled = old is not None and (new is None or new.offset == 0)
        elif sent.writes and 0x1F1 <= sent.port <= 0x1F6 and not before.drive.status & (BUSY | DRQ):
            value = sent.value & 0xFF
            if sent.port == 0x1F1:
                self.features = (self.features[1], value)
            else:
                self.absent[sent.port - 0x1F1] = value | 0xA0 if sent.port == 0x1F6 else value

    def _command(self, code: int, before: View) -> None:
        present = not before.ide.unit
        self.unsettled = present
        self.used |= present
        if not present or before.drive.status & DRQ:
            return
        if code == Command.IDENTIFY and not self.identity:
            self._identify(before)
        elif code == Command.SET_FEATURES:
            self._set_feature(before.drive.feature, before.drive.nsector)

    def _identify(self, before: View) -> None:
        """Make the answer of `ide_identify`, as far as commands can change it."""
        ata = before.drive.ata
        assert ata is not None
        heads, sectors, cylinders = ata.heads, ata.sectors_per_track, DEFAULT_CYLINDERS
        capacity = cylinders * heads * sectors
        self.identity = {1: cylinders, 3: heads, 4: 512 * sectors, 6: sectors}
        self.identity |= {54: cylinders, 55: heads, 56: sectors, 57: capacity & 0xFFFF, 58: capacity >> 16}
        self.identity |= {59: 0x100 | ata.multiple if ata.multiple else 0, 85: 0x4021 if self.write_cache else 0x4001}
        self.identity |= {62: 0x0007, 63: 0x0007, 88: 0x203F}

    def _set_feature(self, feature: int, mode: int) -> None:
        """Follow `cmd_set_features`, which changes the answer that is kept."""
        words = {2: 62, 4: 63, 8: 88}
        if feature in {0x02, 0x82}:
            self.write_cache = feature == 0x02
        if not self.identity:
            return
        if feature in {0x02, 0x82}:
            self.identity[85] = 0x4021 if self.write_cache else 0x4001
        elif feature == 0x03 and mode >> 3 in {0, 1, *words}:
            self.identity |= {62: 0x0007, 63: 0x0007, 88: 0x003F}
            if mode >> 3 in words:
                self.identity[words[mode >> 3]] |= 0x100 << (mode & 7)

    def _reset(self) -> None:
        self.unsettled = self.used = True
        self.features = (0, 0)
        self.absent = [0, 1, 1, 0xFF, 0xFF, 0xA0]

    def register(self, port: int, before: View) -> int | None:
        """Return what a register of the absent drive shows, or None where the other drive is selected."""
        if not before.drive.device & DEV or before.ide.control & HOB:
            return None
        return self.absent[port - 0x1F1]


# -- all of it --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Theirs:
    """What to know of QEMU in one conversation."""

    timer: Timer = field(default_factory=Timer)
    inputs: Inputs = field(default_factory=Inputs)
    uart: Uart = field(default_factory=Uart)
    bus: Bus = field(default_factory=Bus)

    def observe(self, sent: Sent, before: View, after: View) -> None:
        """Follow a command that was carried out."""
        if before.has("pit"):
            self.timer.observe(sent, before.now)
        if before.has("pic"):
            self.inputs.observe(sent, before)
        if before.has("serial"):
            self.uart.observe(sent, before, after)
        if before.has("ide"):
            self.bus.observe(sent, before, after)
