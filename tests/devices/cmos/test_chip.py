"""The MC146818A: time and calendar in every mode, update cycle, alarm, periodic rates, flags, RAM, save and load."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ConfigError, StateError
from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from chkpt_devices.cmos.chip import Cmos, CmosState
from tests.support.rig import rig, saved

TABLE = {"type": "cmos"}
SECOND = 1_000_000_000
CYCLE = 1_984_000  # tUC
EARLY = 244_000  # tBUC
SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, DOW, DAY, MONTH, YEAR, A, B, C, D = range(14)
TIME = (SECONDS, MINUTES, HOURS, DOW, DAY, MONTH, YEAR)
SET, PIE, AIE, UIE, SQWE, DM, H24 = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
UIP = IRQF = 0x80
PF, AF, UF = 0x40, 0x20, 0x10


class Clock:
    """A machine with a clock and an interrupt controller."""

    def __init__(self, **config: object) -> None:
        self.machine = rig({"type": "pic"}, {**TABLE, **config})

    def read(self, register: int) -> int:
        self.machine.ports.outb(0x70, register)
        return self.machine.ports.inb(0x71)

    def write(self, register: int, value: int) -> None:
        self.machine.ports.outb(0x70, register)
        self.machine.ports.outb(0x71, value)

    def show(self, *time: int, b: int) -> None:
        """Set the time in the mode of `b`, and let it run."""
        self.write(B, SET | b)
        for register, value in zip(TIME, time, strict=True):
            self.write(register, value)
        self.write(B, b)

    @property
    def time(self) -> tuple[int, ...]:
        return tuple(self.read(register) for register in TIME)

    @property
    def irq(self) -> bool:
        return self.machine.irq.level(8)

    @property
    def device(self) -> Cmos:
        return cast("Cmos", self.machine.devices.find("cmos"))

    def go(self, ns: int) -> None:
        self.machine.step(ns)

    def to(self, ns: int) -> None:
        """Go on until so many nanoseconds of the present second are over."""
        self.go((ns - self.machine.clock.now) % SECOND)


class TestCmos(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        clock = Clock.__new__(Clock)
        clock.machine = machine
        clock.show(0x59, 0x59, 0x23, 1, 0x31, 0x12, 0x99, b=H24 | PIE | UIE | AIE)
        clock.write(HOURS_ALARM, 0xC5)
        clock.write(A, 0x2C)
        clock.write(0x40, 0x77)
        clock.go(3 * SECOND + 7)
        clock.write(A, 0x2D)

    def test_reset_brings_back_the_state_of_a_new_device(self) -> None:
        """The RESET pin clears enables and flags; the battery keeps all else (DS, "RESET")."""
        clock = Clock()
        self.stir(clock.machine)
        before = clock.device.save()
        assert clock.irq
        clock.machine.reset()
        after = clock.device.save()
        assert after == replace(before, b=H24, c=0, periodic_deadline=after.periodic_deadline)
        assert not clock.irq


# -- the calendar (DS table 2) ----------------------------------------------------------------------------------------

CARRIES = [
    # mode, before, a second later
    (H24, (0x00, 0x00, 0x00, 7, 0x01, 0x01, 0x00), (0x01, 0x00, 0x00, 7, 0x01, 0x01, 0x00)),
    (H24, (0x09, 0x00, 0x00, 7, 0x01, 0x01, 0x00), (0x10, 0x00, 0x00, 7, 0x01, 0x01, 0x00)),
    (H24, (0x59, 0x09, 0x00, 7, 0x01, 0x01, 0x00), (0x00, 0x10, 0x00, 7, 0x01, 0x01, 0x00)),
    (H24, (0x59, 0x59, 0x19, 7, 0x01, 0x01, 0x00), (0x00, 0x00, 0x20, 7, 0x01, 0x01, 0x00)),
    (H24, (0x59, 0x59, 0x23, 7, 0x09, 0x01, 0x00), (0x00, 0x00, 0x00, 1, 0x10, 0x01, 0x00)),
    (H24, (0x59, 0x59, 0x23, 3, 0x30, 0x09, 0x09), (0x00, 0x00, 0x00, 4, 0x01, 0x10, 0x09)),
    (H24, (0x59, 0x59, 0x23, 3, 0x31, 0x12, 0x99), (0x00, 0x00, 0x00, 4, 0x01, 0x01, 0x00)),
    (H24, (0x59, 0x59, 0x23, 3, 0x28, 0x02, 0x97), (0x00, 0x00, 0x00, 4, 0x01, 0x03, 0x97)),
    (H24, (0x59, 0x59, 0x23, 3, 0x28, 0x02, 0x96), (0x00, 0x00, 0x00, 4, 0x29, 0x02, 0x96)),
    (H24, (0x59, 0x59, 0x23, 3, 0x29, 0x02, 0x96), (0x00, 0x00, 0x00, 4, 0x01, 0x03, 0x96)),
    (0, (0x59, 0x59, 0x11, 3, 0x01, 0x01, 0x00), (0x00, 0x00, 0x92, 3, 0x01, 0x01, 0x00)),  # noon
    (0, (0x59, 0x59, 0x92, 3, 0x01, 0x01, 0x00), (0x00, 0x00, 0x81, 3, 0x01, 0x01, 0x00)),
    (0, (0x59, 0x59, 0x89, 3, 0x01, 0x01, 0x00), (0x00, 0x00, 0x90, 3, 0x01, 0x01, 0x00)),
    (0, (0x59, 0x59, 0x91, 3, 0x01, 0x01, 0x00), (0x00, 0x00, 0x12, 4, 0x02, 0x01, 0x00)),  # midnight
    (0, (0x59, 0x59, 0x12, 3, 0x01, 0x01, 0x00), (0x00, 0x00, 0x01, 3, 0x01, 0x01, 0x00)),
    (DM | H24, (59, 59, 23, 7, 31, 12, 99), (0, 0, 0, 1, 1, 1, 0)),
    (DM | H24, (9, 0, 0, 7, 1, 1, 0), (10, 0, 0, 7, 1, 1, 0)),
    (DM | H24, (59, 59, 23, 7, 28, 2, 96), (0, 0, 0, 1, 29, 2, 96)),
    (DM, (59, 59, 11, 7, 1, 1, 0), (0, 0, 0x8C, 7, 1, 1, 0)),
    (DM, (59, 59, 0x8B, 7, 1, 1, 0), (0, 0, 12, 1, 2, 1, 0)),
    (DM, (59, 59, 0x89, 7, 1, 1, 0), (0, 0, 0x8A, 7, 1, 1, 0)),
    # what the table does not have counts on
    (H24, (0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF), (0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)),
    (DM | H24, (0x7F, 1, 1, 1, 1, 1, 1), (0x00, 1, 1, 1, 1, 1, 1)),
    (H24, (0x59, 0x5A, 1, 1, 1, 1, 1), (0x00, 0x60, 1, 1, 1, 1, 1)),
    (H24, (0x59, 0x59, 0x23, 1, 0x31, 0x20, 0), (0x00, 0x00, 0x00, 2, 0x01, 0x21, 0)),
]


@pytest.mark.parametrize(("b", "before", "after"), CARRIES)
def test_a_second_later(b: int, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    clock = Clock()
    clock.show(*before, b=b)
    assert clock.time == before
    clock.go(SECOND)
    assert clock.time == after


@given(
    base=st.datetimes(datetime(1900, 1, 1), datetime(2499, 12, 31)).map(lambda each: each.replace(microsecond=0)),  # noqa: DTZ001  the chip knows no zones
    seconds=st.integers(0, 200),
)
def test_it_is_the_base_and_the_machines_clock(base: datetime, seconds: int) -> None:
    # A century ends without a leap day where the chip has one (DS: every fourth year).
    clock = Clock(base=base.isoformat())
    clock.go(seconds * SECOND)
    now = base + timedelta(seconds=seconds)
    if (now.year % 100 == 0) and now.year % 400 and now.month == 3 and base.month == 2:
        return
    values = (now.second, now.minute, now.hour, now.isoweekday() % 7 + 1, now.day, now.month, now.year % 100)
    assert clock.time == tuple(int(str(value), 16) for value in values)
    assert clock.read(0x32) == int(str(base.year // 100), 16)


def test_a_day_has_86400_seconds() -> None:
    clock = Clock(base="2024-02-28")
    clock.go(86_400 * SECOND)
    assert clock.time == (0, 0, 0, 5, 0x29, 0x02, 0x24)


@pytest.mark.parametrize("base", ["yesterday!", "1899-12-31", "2500-01-01", "2000-01-01T00:00Z", "2000-02-30"])
def test_a_base_that_is_no_date_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match="base"):
        Clock(base=base)


def test_bit_7_of_the_seconds_cannot_be_written() -> None:
    clock = Clock()
    clock.write(SECONDS, 0xFF)
    assert clock.read(SECONDS) == 0x7F


# -- the update cycle -------------------------------------------------------------------------------------------------


def test_uip_is_1_from_244_microseconds_before_the_cycle_to_its_end() -> None:
    clock = Clock()
    seen = []
    for at in (0, SECOND - CYCLE - EARLY - 1, SECOND - CYCLE - EARLY, SECOND - 1, SECOND):
        clock.to(at % SECOND if at < SECOND else 0)
        seen.append(clock.read(A) & UIP)
    assert seen == [0, 0, UIP, UIP, 0]


def test_the_time_changes_at_the_end_of_the_cycle() -> None:
    clock = Clock()
    clock.go(SECOND - 1)
    assert clock.read(SECONDS) == 0
    clock.go(1)
    assert clock.read(SECONDS) == 1


def test_set_stops_the_update_and_the_chain_goes_on() -> None:
    clock = Clock()
    clock.go(SECOND // 4)
    clock.write(B, SET | H24)
    clock.go(5 * SECOND)
    assert (clock.read(SECONDS), clock.read(A) & UIP) == (0, 0)
    clock.write(B, H24)
    clock.go(3 * SECOND // 4)
    assert clock.read(SECONDS) == 1


def test_set_clears_uip_and_aborts_the_cycle() -> None:
    clock = Clock()
    clock.to(SECOND - 1000)
    clock.write(B, SET | H24)
    assert clock.read(A) & UIP == 0
    clock.write(B, H24)
    assert clock.read(A) & UIP == 0
    clock.go(1000)
    assert (clock.read(SECONDS), clock.read(C)) == (0, PF)
    clock.go(SECOND)
    assert clock.read(SECONDS) == 1


def test_set_that_is_cleared_before_the_cycle_does_not_abort_it() -> None:
    clock = Clock()
    clock.to(SECOND - CYCLE - EARLY - 1)
    clock.write(B, SET | H24)
    clock.write(B, H24)
    clock.to(0)
    assert clock.read(SECONDS) == 1


def test_set_clears_uie() -> None:
    clock = Clock()
    clock.write(B, SET | UIE | H24)
    assert clock.read(B) == SET | H24


@pytest.mark.parametrize("dv", [3, 4, 5, 6, 7])
def test_a_divider_chain_held_in_reset_updates_nothing(dv: int) -> None:
    clock = Clock()
    clock.read(C)
    clock.write(A, dv << 4 | 6)
    clock.go(5 * SECOND)
    assert (clock.read(SECONDS), clock.read(A), clock.read(C)) == (0, dv << 4 | 6, 0)


@pytest.mark.parametrize("dv", [0, 1, 2])
def test_the_first_cycle_begins_half_a_second_after_the_chain_is_released(dv: int) -> None:
    clock = Clock()
    clock.write(A, 0x76)
    clock.go(123_456_789)
    clock.write(A, dv << 4 | 6)
    clock.go(SECOND // 2 - EARLY - 1)
    assert clock.read(A) & UIP == 0
    clock.go(1)
    assert clock.read(A) & UIP
    clock.go(EARLY + CYCLE - 1)
    assert clock.read(SECONDS) == 0
    clock.go(1)
    assert clock.read(SECONDS) == 1
    clock.go(SECOND)
    assert clock.read(SECONDS) == 2


# -- flags and interrupts ---------------------------------------------------------------------------------------------


def test_the_update_ended_flag_is_set_with_and_without_its_enable() -> None:
    clock = Clock()
    clock.write(A, 0x20)
    clock.read(C)
    clock.go(SECOND)
    assert (clock.read(C), clock.irq) == (UF, False)
    clock.write(B, H24 | UIE)
    clock.go(SECOND)
    assert clock.irq
    assert clock.read(C) == IRQF | UF
    assert (clock.read(C), clock.irq) == (0, False)


def test_an_enable_that_finds_its_flag_interrupts_at_once() -> None:
    clock = Clock()
    clock.go(SECOND)
    clock.write(B, H24 | UIE)
    assert clock.irq
    clock.write(B, H24)
    assert not clock.irq


ALARMS = [
    ((0x05, 0x00, 0x00), [5]),
    ((0xC0, 0x00, 0x00), list(range(1, 60))),
    ((0xFF, 0xC5, 0xFF), list(range(1, 130))),
    ((0x03, 0xFF, 0xC0), [3, 63, 123]),
    ((0x03, 0x01, 0xC0), [63]),
    ((0x03, 0x01, 0x01), []),
    ((0x83, 0xFF, 0xFF), []),
]


@pytest.mark.parametrize(("alarm", "times"), ALARMS)
def test_the_alarm_comes_where_every_byte_is_equal_or_does_not_care(
    alarm: tuple[int, int, int], times: list[int]
) -> None:
    clock = Clock()
    for register, value in zip((SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM), alarm, strict=True):
        clock.write(register, value)
    clock.write(B, H24 | AIE)
    seen = []
    for second in range(1, 130):
        clock.go(SECOND)
        if clock.irq:
            seen.append(second)
            assert clock.read(C) & (IRQF | AF) == IRQF | AF
    assert seen == times


PERIODS = {
    1: 3_906_250, 2: 7_812_500, 3: 122_070, 4: 244_141, 5: 488_281, 6: 976_563, 7: 1_953_125, 8: 3_906_250,
    9: 7_812_500, 10: 15_625_000, 11: 31_250_000, 12: 62_500_000, 13: 125_000_000, 14: 250_000_000, 15: 500_000_000,
}  # fmt: skip
"""DS table 5, for 32.768 kHz, in nanoseconds."""


@pytest.mark.parametrize(("rate", "period"), PERIODS.items())
def test_the_periodic_interrupt_has_the_rates_of_table_5(rate: int, period: int) -> None:
    clock = Clock()
    clock.write(A, 0x20 | rate)
    clock.write(B, H24 | PIE)
    clock.read(C)
    edges = []
    for _ in range(20):
        edges.append(cast("int", clock.device.save().periodic_deadline))
        clock.go(edges[-1] - clock.machine.clock.now)
        assert clock.read(C) & (IRQF | PF) == IRQF | PF
    assert all(abs(later - earlier - period) <= 1 for earlier, later in pairwise(edges))


def test_an_enable_that_comes_before_the_edge_lets_it_interrupt() -> None:
    clock = Clock()
    clock.read(C)
    clock.write(B, H24 | PIE)
    clock.go(cast("int", clock.device.save().periodic_deadline) - 1)
    assert not clock.irq
    clock.go(1)
    assert clock.irq


def test_a_thousand_seconds_of_the_periodic_interrupt_do_not_drift() -> None:
    clock = Clock()
    clock.write(A, 0x2D)
    clock.write(B, H24 | PIE)
    clock.read(C)
    count = 0
    while clock.machine.clock.now < 1000 * SECOND:
        clock.machine.clock.advance_to(cast("int", clock.machine.clock.next_deadline))
        count += bool(clock.read(C) & PF)
    assert count == 8 * 1000


def test_rate_0_gives_no_edge() -> None:
    clock = Clock()
    clock.write(A, 0x20)
    clock.read(C)
    clock.write(B, H24 | PIE)
    clock.go(SECOND)
    assert clock.read(C) == UF


def test_the_periodic_flag_is_set_though_nobody_watches() -> None:
    clock = Clock()
    clock.read(C)
    clock.go(976_563)
    assert clock.read(C) == PF
    assert clock.read(C) == 0
    clock.go(976_563)
    clock.write(B, H24 | PIE)
    assert clock.irq


def test_a_new_rate_counts_from_the_divider_chain() -> None:
    clock = Clock()
    clock.write(A, 0x70)
    clock.write(A, 0x2F)
    clock.go(100_000_000)
    clock.read(C)
    clock.write(A, 0x2D)
    clock.go(24_999_999)
    assert clock.read(C) == 0
    clock.go(1)
    assert clock.read(C) == PF


def test_without_a_watched_edge_the_clock_wakes_once_a_second() -> None:
    clock = Clock()
    clock.read(C)
    clock.go(SECOND // 2)
    assert clock.machine.clock.next_deadline == SECOND


# -- registers --------------------------------------------------------------------------------------------------------


def test_registers_after_power_on() -> None:
    clock = Clock()
    assert [clock.read(register) for register in (A, B, C, D)] == [0x26, 0x02, 0x00, 0x80]


def test_c_and_d_cannot_be_written_and_a_has_seven_bits() -> None:
    clock = Clock()
    clock.write(C, 0x70)
    clock.write(D, 0x00)
    clock.write(A, 0xFF)
    assert [clock.read(register) for register in (A, C, D)] == [0x7F, 0x00, 0x80]


def test_the_ram_keeps_114_bytes_and_bit_7_of_the_index_is_not_part_of_it() -> None:
    clock = Clock()
    for register in range(14, 128):
        clock.write(register | 0x80, register ^ 0x5A)
    assert [clock.read(register) for register in range(14, 128)] == [register ^ 0x5A for register in range(14, 128)]


def test_the_index_port_cannot_be_read() -> None:
    assert Clock().machine.ports.inb(0x70) == 0xFF


MEMORIES = [
    # below 4 GiB, above: base KiB, extended KiB, 64 KiB above 16 MiB, 64 KiB above 4 GiB
    (0, 0, (0, 0, 0, 0)),
    (512 << 10, 0, (512, 0, 0, 0)),
    (1 << 20, 0, (640, 0, 0, 0)),
    (16 << 20, 0, (640, 15 << 10, 0, 0)),
    (256 << 20, 0, (640, 0xFFFF, 240 * 16, 0)),
    (3 << 30, 5 << 30, (640, 0xFFFF, (3 << 30) - (16 << 20) >> 16, 5 << 14)),
    (1 << 32, 0, (640, 0xFFFF, 0xFF00, 0)),
]


@pytest.mark.parametrize(("memory", "high", "sizes"), MEMORIES)
def test_the_ram_tells_firmware_the_machines_memory(memory: int, high: int, sizes: tuple[int, ...]) -> None:
    clock = Clock(memory=memory, high_memory=high)
    base, extended, again, above = (clock.read(at) | clock.read(at + 1) << 8 for at in (0x15, 0x17, 0x30, 0x34))
    beyond = clock.read(0x5B) | clock.read(0x5C) << 8 | clock.read(0x5D) << 16
    assert (base, extended, above, beyond) == sizes
    assert again == extended


def test_no_diskette_is_told_of() -> None:
    clock = Clock()
    assert (clock.read(0x10), clock.read(0x14)) == (0x00, 0x02)


# -- save and load ----------------------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(1, 2 * SECOND), min_size=1, max_size=4), a=st.sampled_from((0x26, 0x2D, 0x0F)))
def test_edges_do_not_depend_on_a_save_and_load(cuts: list[int], a: int) -> None:
    def prepared() -> Clock:
        clock = Clock()
        clock.write(A, a)
        clock.write(B, H24 | PIE | UIE)
        clock.read(C)
        return clock

    whole, cut = prepared(), prepared()
    for ns in cuts:
        whole.go(ns)
        cut.go(ns)
        twin = Clock()
        twin.machine.load(saved(cut.machine), strict=True)
        cut = twin
        assert cut.irq is whole.irq
        assert cut.machine.clock.next_deadline == whole.machine.clock.next_deadline
        assert [cut.read(register) for register in range(14)] == [whole.read(register) for register in range(14)]


def broken(**changes: Any) -> CmosState:
    clock = Clock()
    clock.read(C)
    return replace(clock.device.save(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chain_start": None}, "chain_start must be set"),
        ({"a": 0x76}, "chain_start must be set"),
        ({"chain_start": 1}, "chain_start is in the future"),
        ({"c": 0x01}, "not flags"),
        ({"b": SET | UIE}, "UIE beside SET"),
        ({"cycle_aborted": True}, "cycle_aborted"),
        ({"periodic_deadline": None}, "periodic_deadline is not an edge"),
        ({"periodic_deadline": 5}, "periodic_deadline is not an edge"),
        ({"periodic_deadline": -(1 << 40)}, "periodic_deadline is not an edge"),
        ({"c": PF}, "periodic_deadline is not an edge"),
        ({"a": 0x20}, "periodic_deadline is not an edge"),
    ],
)
def test_a_state_that_cannot_be_is_refused_and_nothing_changes(changes: dict[str, object], message: str) -> None:
    clock = Clock()
    before = clock.device.save()
    with pytest.raises(StateError, match=message):
        clock.device.load(broken(**changes))
    assert clock.device.save() == before


def test_an_edge_that_has_passed_is_refused_where_it_would_have_interrupted() -> None:
    clock = Clock()
    clock.read(C)
    clock.go(976_563)
    state = clock.device.save()
    clock.device.load(state)
    with pytest.raises(StateError, match="PF is not set"):
        clock.device.load(replace(state, b=H24 | PIE))


# -- what a BIOS reads of drives and boot order -----------------------------------------------------------------------


def ram(machine: Machine, first: int, count: int = 1) -> list[int]:
    found = []
    for at in range(first, first + count):
        machine.ports.outb(0x70, at)
        found.append(machine.ports.inb(0x71))
    return found


def ide(port: int, *drives: dict[str, object]) -> dict[str, object]:
    return {"type": "ide", "name": f"ide{port:x}", "port": port, "control": port + 0x206, "irq": 14, "drive": drives}


def test_the_ram_tells_of_the_disks_as_qemu_has_it() -> None:
    """Read from QEMU 7.2, -M isapc, with disks of 2 GiB and 64 MiB, on the bytes 0x12 and 0x19 to 0x2c and 0x39."""
    machine = rig({"type": "cmos"}, ide(0x1F0, {"unit": 0, "size": "2G"}, {"unit": 1, "size": "64M"}))
    assert ram(machine, 0x12) == [0xFF]
    assert ram(machine, 0x19, 2) == [47, 47]
    assert ram(machine, 0x1B, 9) == [0x41, 0x10, 16, 0xFF, 0xFF, 0xC8, 0x41, 0x10, 63]
    assert ram(machine, 0x24, 9) == [0x82, 0x00, 16, 0xFF, 0xFF, 0xC8, 0x82, 0x00, 63]
    assert ram(machine, 0x39) == [0x01]


def test_only_disks_on_the_two_channels_are_told_of_and_whatever_the_order_of_the_devices() -> None:
    cdrom: dict[str, object] = {"unit": 0, "media": "cdrom", "size": "2G"}
    machine = rig(
        ide(0x168, {"unit": 0, "size": "2G"}),
        {"type": "cmos"},
        ide(0x1F0, cdrom, {"unit": 1, "size": "1M"}),
        ide(0x170, {"unit": 1, "size": "4G"}),
    )
    assert (ram(machine, 0x12), ram(machine, 0x19, 2), ram(machine, 0x1B, 9)) == ([0x0F], [0, 47], [0] * 9)
    assert ram(machine, 0x39) == [0x40]


def test_a_machine_without_disks_tells_of_none() -> None:
    machine = rig({"type": "cmos"}, ide(0x1F0, {"unit": 0}))
    assert (ram(machine, 0x12), ram(machine, 0x19, 20), ram(machine, 0x39)) == ([0], [0] * 20, [0])


@pytest.mark.parametrize(
    ("boot", "first", "third"),
    [
        (None, 0x32, 0x00),
        ([], 0x00, 0x00),
        (["cdrom"], 0x03, 0x00),
        (["diskette", "network", "disk"], 0x41, 0x20),
    ],
)
def test_the_boot_order_is_a_key_of_the_toml(boot: list[str] | None, first: int, third: int) -> None:
    machine = rig({"type": "cmos", **({} if boot is None else {"boot": boot})})
    assert (ram(machine, 0x3D), ram(machine, 0x38)) == ([first], [third])


def test_a_byte_of_the_ram_can_be_set_in_the_toml() -> None:
    machine = rig({"type": "cmos", "bytes": [[0x3D, 0x03], [0x7F, 0xAA]]})
    assert (ram(machine, 0x3D), ram(machine, 0x7F), ram(machine, 0x38)) == ([0x03], [0xAA], [0x00])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"boot": ["usb"]}, "boot"),
        ({"boot": ["disk"] * 4}, "boot has 4 items, not 0 to 3"),
        ({"bytes": [[0x0D, 1]]}, "bytes"),
        ({"bytes": [[0x80, 1]]}, "bytes"),
        ({"bytes": [[0x20, 256]]}, "bytes"),
        ({"bytes": [[0x20]]}, "bytes"),
    ],
)
def test_what_cannot_be_in_the_ram_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rig({"type": "cmos", **table})
