"""The PC's real-time clock and its battery-backed RAM: a Motorola MC146818A with 114 bytes of RAM behind two ports.

Source: Motorola MC146818A datasheet (MC146818A/D, "DS" below); the use of the RAM follows the IBM PC AT Technical
Reference (6280070), "CMOS RAM", and what QEMU and its firmware added for larger memories. The crystal has 32.768 kHz.

An update cycle takes place every second of the machine's clock. The periodic taps do not tick: the time shows
whether an edge has come. A timer is armed only while an edge would interrupt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from struct import pack
from typing import Annotated, ClassVar, Final

from chkpt.device import U7, U8, Host, Length, Port, Range, Time
from chkpt.errors import ConfigError, StateError
from chkpt_devices.cmos.calendar import DAY_OF_WEEK, HOURS, MINUTES, SECONDS, WRITABLE, Calendar, Modes
from chkpt_devices.cmos.config import MIB, RAM, RAM_SIZE, Boot, CmosConfig

SECOND: Final = 1_000_000_000
CRYSTAL_HZ: Final = 32_768
BUC_NS: Final = 244_000  # UIP comes this long before an update cycle (DS table 6, tBUC)
UC_NS: Final = 1_984_000  # an update cycle at 32.768 kHz (DS table 6, tUC)
FIRST_NS: Final = SECOND // 2 + UC_NS  # from the release of the divider chain to the end of the first (DS, "DV0-2")

# The address map (DS figure 15)
SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM = 1, 3, 5
A, B, C, D = 10, 11, 12, 13
CALENDAR: Final = {0: SECONDS, 2: MINUTES, 4: HOURS, **{at: at - 6 + DAY_OF_WEEK for at in range(6, A)}}

A_UIP: Final = 0x80
A_DV_SHIFT: Final = 4
DV_RUNS: Final = (0, 1, 2)  # the three crystals; 6 and 7 hold the chain in reset, 3 to 5 are for the factory
A_RS: Final = 0x0F

B_SET, B_PIE, B_AIE, B_UIE, B_SQWE, B_DM, B_24 = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
C_IRQF, C_PF, C_AF, C_UF = 0x80, 0x40, 0x20, 0x10
C_FLAGS: Final = C_PF | C_AF | C_UF  # each in the place of its enable in register B
D_VRT: Final = 0x80  # the battery is good

ALARM_ANY: Final = 0xC0  # "don't care" of an alarm byte (DS, "Time, Calendar, and Alarm Locations")

# The RAM in which a PC's firmware looks for the size of memory (AT Technical Reference; from 0x34 on QEMU)
RAM_DISK_TYPES: Final = 0x12  # of the first channel's drive 0 in the high half, of drive 1 in the low one
DISK_TYPE_EXTENDED: Final = 0xF  # the type is in 0x19, or 0x1a
RAM_DISK_TYPE: Final = (0x19, 0x1A)
DISK_TYPE_USER: Final = 47  # the geometry is in the RAM
RAM_DISK_GEOMETRY: Final = (0x1B, 0x24)  # nine bytes of each
RAM_TRANSLATION: Final = 0x39  # two bits of each drive of the two channels, lowest first (as QEMU has it)
TRANSLATION_LBA: Final = 1
RAM_BOOT: Final = (0x3D, 0x38)  # first and second device of the boot order, low half first; high half: the third
RAM_EQUIPMENT: Final = 0x14
EQUIPMENT_FPU: Final = 0x02  # and no diskette, and a display that has its own firmware
RAM_BASE_KIB: Final = 0x15
RAM_EXTENDED_KIB: Final = (0x17, 0x30)
RAM_ABOVE_16M: Final = 0x34  # in units of 64 KiB
RAM_ABOVE_4G: Final = 0x5B  # in units of 64 KiB, three bytes
RAM_CENTURY: Final = 0x32

HEADS: Final = 16
SECTORS_PER_TRACK: Final = 63
MAX_CYLINDERS: Final = 16383  # the most that IDENTIFY DEVICE reports (ATA/ATAPI-6)
MAX_BIOS_CYLINDERS: Final = 1024  # ten bits of INT 13h

KIB: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class CmosState:
    """The clock's state. The bytes of time, calendar and alarm are as the program reads them."""

    VERSION: ClassVar[int] = 1

    index: U7
    seconds: U7  # bit 7 cannot be written (DS, "Address Map")
    seconds_alarm: U8
    minutes: U8
    minutes_alarm: U8
    hours: U8
    hours_alarm: U8
    day_of_week: U8
    day_of_month: U8
    month: U8
    year: U8
    a: U7  # without UIP
    b: U8
    c: Annotated[int, Range(0, C_FLAGS)]  # without IRQF
    ram: Annotated[bytes, Length(RAM_SIZE, RAM_SIZE)]
    chain_start: Time | None  # when the divider chain was released; None while it is held in reset
    periodic_deadline: Time | None  # when PF comes, or has come unless c shows it; None: it is set, or nothing sets it
    cycle_aborted: bool  # the next update cycle does not happen: SET was high when it should have begun


BOOT_CODES: Final = {Boot.DISKETTE: 1, Boot.DISK: 2, Boot.CDROM: 3, Boot.NETWORK: 4}


class Cmos:
    """The MC146818A behind an index port and a data port."""

    def __init__(self, host: Host, config: CmosConfig) -> None:
        self._clock = host.clock
        self._irq = host.irq_line(config.irq)
        self._update_timer = host.timer(self._update)
        self._periodic_timer = host.timer(self._periodic)
        self._calendar = Calendar()
        self._alarms = {SECONDS_ALARM: 0, MINUTES_ALARM: 0, HOURS_ALARM: 0}
        self._index = 0
        self._a = 0x26  # what every BIOS sets: 32.768 kHz, 1024 Hz
        self._b = B_24
        self._c = 0
        self._cycle_aborted = False
        self._periodic_deadline: int | None = None
        now = host.clock.now
        date = _parse_date(config.base) + timedelta(seconds=now // SECOND)
        self._calendar.set(date, self._modes)
        self._ram = _make_ram(config, date)
        # A second of the calendar begins with one of the machine's clock.
        self._chain_start: int | None = now // SECOND * SECOND - FIRST_NS
        self._seek_edge()
        self._follow_chain()
        host.claim_ports(config.port, [Port(write=self._write_index), Port(self._read, self._write)])

    # -- the device ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Do what the RESET pin does (DS, "RESET"): clear the enables and the flags. The battery keeps the rest."""
        self._b &= ~(B_PIE | B_AIE | B_UIE | B_SQWE)
        self._clear_flags()
        self._follow_irq()

    def save(self) -> CmosState:
        """Return the state."""
        seconds, minutes, hours, day_of_week, day_of_month, month, year = self._calendar.bytes
        return CmosState(
            index=self._index,
            seconds=seconds,
            seconds_alarm=self._alarms[SECONDS_ALARM],
            minutes=minutes,
            minutes_alarm=self._alarms[MINUTES_ALARM],
            hours=hours,
            hours_alarm=self._alarms[HOURS_ALARM],
            day_of_week=day_of_week,
            day_of_month=day_of_month,
            month=month,
            year=year,
            a=self._a,
            b=self._b,
            c=self._c,
            ram=bytes(self._ram),
            chain_start=self._chain_start,
            periodic_deadline=self._periodic_deadline,
            cycle_aborted=self._cycle_aborted,
        )

    def load(self, state: CmosState) -> None:
        """Take `state`, which was saved at the time that the machine's clock now shows."""
        _check(state, self._clock.now)
        self._calendar.bytes[:] = bytes(
            (
                state.seconds,
                state.minutes,
                state.hours,
                state.day_of_week,
                state.day_of_month,
                state.month,
                state.year,
            )
        )
        self._alarms[SECONDS_ALARM] = state.seconds_alarm
        self._alarms[MINUTES_ALARM] = state.minutes_alarm
        self._alarms[HOURS_ALARM] = state.hours_alarm
        self._index = state.index
        self._a = state.a
        self._b = state.b
        self._c = state.c
        self._ram[:] = state.ram
        self._chain_start = state.chain_start
        self._periodic_deadline = state.periodic_deadline
        self._cycle_aborted = state.cycle_aborted
        self._follow_chain()
        self._follow_irq()

    def advance_date(self, seconds: int) -> bool:
        """Advance the date by so many seconds, unless SET or a divider chain in reset stops the updates.

        Return whether the date is advanced. No flag is set: alarms of that time are lost, as on a machine that was off.
        """
        if self._b & B_SET or self._chain_start is None:
            return False
        return self._calendar.skip(seconds, self._modes)

    # -- the ports ----------------------------------------------------------------------------------------------------

    def _write_index(self, value: int) -> None:
        """Take the address of the next access. Bit 7 masks the NMI, which has no source here."""
        self._index = value & 0x7F

    def _read(self) -> int:
        index = self._index
        if index >= RAM:
            return self._ram[index - RAM]
        if index in CALENDAR:
            return self._calendar.bytes[CALENDAR[index]]
        if index in self._alarms:
            return self._alarms[index]
        if index == A:
            return self._a | (A_UIP if self._is_updating() else 0)
        if index == B:
            return self._b
        return self._read_c() if index == C else D_VRT

    def _write(self, value: int) -> None:
        index = self._index
        if index >= RAM:
            self._ram[index - RAM] = value
        elif index in CALENDAR:
            self._calendar.bytes[CALENDAR[index]] = value & WRITABLE.get(CALENDAR[index], 0xFF)
        elif index in self._alarms:
            self._alarms[index] = value
        elif index == A:
            self._write_a(value & ~A_UIP)
        elif index == B:
            self._write_b(value)

    def _read_c(self) -> int:
        """Return the flags, and clear all of them (DS, "Register C")."""
        self._see_edge()
        c = self._c | (C_IRQF if self._c & self._b & C_FLAGS else 0)
        self._clear_flags()
        self._follow_irq()
        return c

    def _write_a(self, value: int) -> None:
        """Take the divider and the rate. A chain that is released from its reset begins anew."""
        self._see_edge()
        self._a = value
        if value >> A_DV_SHIFT not in DV_RUNS:
            self._chain_start = None
            self._cycle_aborted = False
        elif self._chain_start is None:
            self._chain_start = self._clock.now
        self._seek_edge()
        self._follow_chain()

    def _write_b(self, value: int) -> None:
        """Take modes, enables and SET, which clears UIE and stops an update cycle (DS, "Register B")."""
        if value & B_SET:
            value &= ~B_UIE
        elif self._b & B_SET and self._is_in_cycle():
            self._cycle_aborted = True
        self._see_edge()
        self._b = value
        self._arm_periodic()
        self._follow_irq()

    # -- the update cycle ---------------------------------------------------------------------------------------------

    @property
    def _modes(self) -> Modes:
        return Modes(bool(self._b & B_DM), bool(self._b & B_24))

    def _follow_chain(self) -> None:
        """Arm the timers for the end of the next update cycle and the next periodic edge that interrupts."""
        end = next_update(self._chain_start, self._clock.now)
        if end is None:
            self._update_timer.cancel()
        else:
            self._update_timer.arm(end)
        self._arm_periodic()

    def _is_in_cycle(self) -> bool:
        """Return whether UIP is 1 at this time, unless SET forbids it."""
        return is_in_cycle(self._chain_start, self._clock.now)

    def _is_updating(self) -> bool:
        return not self._b & B_SET and not self._cycle_aborted and self._is_in_cycle()

    def _update(self) -> None:
        """End an update cycle: show the next second, compare the alarm, set the flags."""
        self._update_timer.arm(self._clock.now + SECOND)
        if not self._b & B_SET and not self._cycle_aborted:
            self._calendar.advance(self._modes)
            self._c |= C_UF
            if self._is_alarm_time():
                self._c |= C_AF
            self._follow_irq()
        self._cycle_aborted = False

    def _is_alarm_time(self) -> bool:
        shown = self._calendar.bytes
        places = ((SECONDS_ALARM, SECONDS), (MINUTES_ALARM, MINUTES), (HOURS_ALARM, HOURS))
        return all(self._alarms[alarm] in {shown[place], self._alarms[alarm] | ALARM_ANY} for alarm, place in places)

    # -- the periodic interrupt ---------------------------------------------------------------------------------------

    def _seek_edge(self) -> None:
        """Wait for the next edge of the selected tap, unless PF is set already, which makes the edge invisible."""
        rate = 0 if self._c & C_PF else self._a & A_RS
        self._periodic_deadline = next_edge(self._chain_start, rate, self._clock.now)

    def _see_edge(self) -> None:
        """Set PF if its time has come while no timer was armed for it."""
        deadline = self._periodic_deadline
        if deadline is not None and deadline <= self._clock.now:
            self._c |= C_PF
            self._periodic_deadline = None

    def _arm_periodic(self) -> None:
        """Watch for the edge while it would interrupt."""
        if self._b & B_PIE and self._periodic_deadline is not None:
            self._periodic_timer.arm(self._periodic_deadline)
        else:
            self._periodic_timer.cancel()

    def _periodic(self) -> None:
        self._see_edge()
        self._follow_irq()

    # -- flags and the interrupt line ---------------------------------------------------------------------------------

    def _clear_flags(self) -> None:
        self._c = 0
        self._seek_edge()
        self._arm_periodic()

    def _follow_irq(self) -> None:
        """Drive the line: high while IRQF is 1."""
        self._irq.set(bool(self._c & self._b & C_FLAGS))


# -- times that follow from the divider chain -------------------------------------------------------------------------


def next_update(chain_start: int | None, now: int) -> int | None:
    """Return the end of the next update cycle, or None while the chain is held in reset."""
    if chain_start is None:
        return None
    first = chain_start + FIRST_NS
    return first + max(0, (now - first) // SECOND + 1) * SECOND


def is_in_cycle(chain_start: int | None, now: int) -> bool:
    """Return whether an update cycle is under way, or begins within tBUC."""
    end = next_update(chain_start, now)
    return end is not None and now >= end - UC_NS - BUC_NS


def next_edge(chain_start: int | None, rate: int, now: int) -> int | None:
    """Return when the tap of this rate has its next edge (DS table 5); rate 0 has none.

    An edge falls on the first nanosecond at which its clock of the crystal has come.
    """
    if chain_start is None or not rate:
        return None
    clocks = 1 << (rate + 6 if rate <= 2 else rate - 1)
    number = (now - chain_start) * CRYSTAL_HZ // SECOND // clocks + 1
    return chain_start - -number * clocks * SECOND // CRYSTAL_HZ


# -- what a new clock has ---------------------------------------------------------------------------------------------


def _parse_date(text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"base {text!r} is not a date such as 2000-01-01T00:00:00") from None
    if date.tzinfo is not None or date.microsecond or not 1900 <= date.year < 2500:
        raise ConfigError(f"base {text!r} must lie in the years 1900 to 2499, in whole seconds and without a zone")
    return date


def _make_ram(config: CmosConfig, date: datetime) -> bytearray:
    """Return the RAM as a setup program would have left it."""
    ram = bytearray(128)
    ram[RAM_EQUIPMENT] = EQUIPMENT_FPU
    century = date.year // 100
    ram[RAM_CENTURY] = century // 10 << 4 | century % 10
    base = min(config.memory // KIB, 640)
    ram[RAM_BASE_KIB : RAM_BASE_KIB + 2] = base.to_bytes(2, "little")
    extended = min(max(config.memory - MIB, 0) // KIB, 0xFFFF)
    for at in RAM_EXTENDED_KIB:
        ram[at : at + 2] = extended.to_bytes(2, "little")
    above = min(max(config.memory - 16 * MIB, 0) // (64 * KIB), 0xFFFF)
    ram[RAM_ABOVE_16M : RAM_ABOVE_16M + 2] = above.to_bytes(2, "little")
    ram[RAM_ABOVE_4G : RAM_ABOVE_4G + 3] = (config.high_memory // (64 * KIB)).to_bytes(3, "little")
    _put_disks(ram, config.disks)
    codes = [BOOT_CODES[each] for each in config.boot] + [0] * 3
    ram[RAM_BOOT[0]] = codes[1] << 4 | codes[0]
    ram[RAM_BOOT[1]] = codes[2] << 4
    for at, value in config.bytes:
        ram[at] = value
    return ram[RAM:]


def _put_disks(ram: bytearray, disks: Sequence[int]) -> None:
    """Put in what a BIOS reads of the hard disks: their geometry, and which disks it translates.

    A disk has 16 heads and 63 sectors, as its IDENTIFY DEVICE says. A BIOS shows a disk of more
    than 1024 such cylinders with up to 255 heads (LBA translation), else a program sees only 504 MiB.
    """
    for unit, sectors in enumerate(disks):
        if not sectors:
            continue
        cylinders = min(sectors // (HEADS * SECTORS_PER_TRACK), MAX_CYLINDERS)
        if cylinders > MAX_BIOS_CYLINDERS:
            ram[RAM_TRANSLATION] |= TRANSLATION_LBA << 2 * unit
        if unit < len(RAM_DISK_TYPE):  # there is room for the first channel only
            ram[RAM_DISK_TYPES] |= DISK_TYPE_EXTENDED << (0 if unit else 4)
            ram[RAM_DISK_TYPE[unit]] = DISK_TYPE_USER
            at = RAM_DISK_GEOMETRY[unit]
            control = 0xC0 | (0x08 if HEADS > 8 else 0)  # no retries, more than 8 heads
            ram[at : at + 9] = pack("<HBHBHB", cylinders, HEADS, 0xFFFF, control, cylinders, SECTORS_PER_TRACK)


def _check(state: CmosState, now: int) -> None:
    """Raise StateError if `state` is not one that a clock can be in now."""
    start = state.chain_start
    if (start is not None) is not (state.a >> A_DV_SHIFT in DV_RUNS):
        raise StateError("chain_start must be set if register A lets the divider chain run, and only then")
    if start is not None and start > now:
        raise StateError("chain_start is in the future")
    if state.c & ~C_FLAGS:
        raise StateError(f"c is {state.c:#x}, which has bits that are not flags")
    if state.b & B_SET and state.b & B_UIE:
        raise StateError("b has UIE beside SET, which clears it")
    if state.cycle_aborted and not is_in_cycle(start, now):
        raise StateError("cycle_aborted is true outside the time of an update cycle")
    rate = 0 if state.c & C_PF else state.a & A_RS
    deadline = state.periodic_deadline
    before = now if deadline is None else min(now, deadline - 1)
    expected = next_edge(start, rate, before if start is None else max(start, before))
    if deadline != expected:
        raise StateError("periodic_deadline is not an edge of the tap that register A selects")
    if deadline is not None and deadline <= now and state.b & B_PIE:
        raise StateError("periodic_deadline has passed, but PF is not set")
