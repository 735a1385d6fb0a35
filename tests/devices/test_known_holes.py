"""What other systems lose of the timer and of the interrupt controllers when they save, this one keeps.

Palacios loses the pins OUT and GATE of every counter and the levels of the 8259A's inputs; QEMU and KVM keep no null
count; v86 and gem5 keep no latched status, no rotation and no special mask. Each case saves to the bytes of a file,
loads them in a new machine, and says what must come then.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from chkpt.machine import Machine
from chkpt.snapshot import dumps, loads
from tests.devices.pit.model import Timer8254
from tests.support.rig import rig, saved

MASTER, MASTER_DATA, SLAVE, SLAVE_DATA, ELCR1 = 0x20, 0x21, 0xA0, 0xA1, 0x4D0
CONTROL, PORT_B = 0x43, 0x61
NULL_COUNT, OUT = 0x40, 0x80
CLOCK = 839  # nanoseconds, a little more than one clock


class Cut:
    """A machine that can be replaced by a new one, through a file."""

    def __init__(self) -> None:
        self.edges: list[tuple[int, bool]] = []  # of line 0
        self.go_on_with(rig({"type": "pic"}, {"type": "pit"}))

    def go_on_with(self, machine: Machine) -> None:
        def note(line: int, level: bool) -> None:
            if line == 0:
                self.edges.append((machine.clock.now, level))

        self.machine = machine
        self.unwatch = machine.irq.watch(note)

    def reopen(self) -> None:
        self.unwatch()
        snapshot = dumps(saved(self.machine))
        self.machine.close()
        twin = rig({"type": "pic"}, {"type": "pit"})
        twin.load(loads(snapshot), strict=True)
        self.go_on_with(twin)

    def intr(self) -> bool:
        return self.machine.irq.intr

    def out(self, port: int, *values: int) -> None:
        for value in values:
            self.machine.ports.outb(port, value)

    def inp(self, port: int, times: int = 1) -> list[int]:
        return [self.machine.ports.inb(port) for _ in range(times)]

    def go(self, time: int) -> None:
        self.machine.step(time - self.machine.clock.now)

    def pulse(self, *lines: int) -> None:
        for line in lines:
            self.machine.irq.force(line, True)
            self.machine.irq.force(line, False)

    def init(self, icw4: int = 0x01) -> None:
        self.out(MASTER, 0x11)
        self.out(MASTER_DATA, 0x08, 0x04, icw4)
        self.out(SLAVE, 0x11)
        self.out(SLAVE_DATA, 0x70, 0x02, icw4)

    def acknowledge(self) -> int:
        return self.machine.irq.acknowledge()

    def isr(self, chip: int = MASTER) -> int:
        self.out(chip, 0x0B)
        return self.inp(chip)[0]


@pytest.fixture
def cut() -> Cut:
    return Cut()


# -- the timer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", range(6))
@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("low", [99, 1, 2, 3, 4], ids=lambda low: f"GATE low at {low}")
def test_out_gate_and_count_of_every_counter_survive_a_save_at_any_instant(mode: int, count: int, low: int) -> None:
    """Go on in a new machine at every clock and at the nanosecond before it; a chip that counts says what must come."""
    cut, chip = Cut(), Timer8254()

    def out(port: int, value: int) -> None:
        cut.out(port, value)
        chip.outb(port, value)

    for counter in range(3):
        out(CONTROL, counter << 6 | 0x10 | mode << 1)
        out(0x40 + counter, count)
    out(PORT_B, 1)
    for clock in range(1, 4 * count):
        for time in (clock * CLOCK - 1, clock * CLOCK):
            cut.go(time)
            chip.run(time)
            cut.reopen()
            assert cut.inp(PORT_B) == [chip.inb(PORT_B)]
            for port in (0x40, 0x41, 0x42):
                out(CONTROL, 0xC0 | 2 << (port & 3))
                assert cut.inp(port, 2) == [chip.inb(port), chip.inb(port)]
        if clock in {low, low + 4}:
            out(PORT_B, int(clock != low))
    assert cut.edges == chip.edges


def test_a_square_wave_in_its_low_half_stays_there(cut: Cut) -> None:
    cut.out(CONTROL, 0x36)
    cut.out(0x40, 10, 0)
    cut.go(7 * CLOCK)
    cut.reopen()
    assert not cut.machine.irq.level(0)
    cut.go(100 * CLOCK)
    rises = [time for time, level in cut.edges if level]
    assert rises[:3] == [0, 8381, 16762]  # 10 and 20 clocks of 1193182 Hz, begun at the control word


def test_an_expired_count_of_mode_0_interrupts_no_more(cut: Cut) -> None:
    cut.out(CONTROL, 0x30)
    cut.out(0x40, 5, 0)
    cut.go(10 * CLOCK)
    cut.reopen()
    cut.go(1_000_000_000)  # it wraps 18 times
    assert cut.edges == [(4191, True)]


def test_a_latched_count_and_a_latched_status_wait_for_their_reads(cut: Cut) -> None:
    cut.out(CONTROL, 0x74)
    cut.out(0x41, 0x34, 0x12)
    cut.go(4 * CLOCK)
    cut.out(CONTROL, 0xC4)
    cut.go(50 * CLOCK)
    read = []
    for _ in range(3):
        cut.reopen()
        read += cut.inp(0x41)
    assert read == [0xB4, 0x30, 0x12]


def test_a_count_read_by_half_goes_on_with_its_other_half(cut: Cut) -> None:
    cut.out(CONTROL, 0xB0)  # GATE of counter 2 is low: the count stands
    cut.out(0x42, 0x34, 0x12)
    assert cut.inp(0x42) == [0x34]
    cut.reopen()
    assert cut.inp(0x42, 2) == [0x12, 0x34]


@pytest.mark.parametrize("mode", range(6))
def test_half_of_a_written_count_waits_for_the_other_half(mode: int, cut: Cut) -> None:
    cut.out(CONTROL, 0xB0 | mode << 1)
    cut.out(0x42, 0x34)
    cut.reopen()
    cut.out(0x42, 0x12)
    cut.out(PORT_B, 1)
    cut.out(CONTROL, 0x80)
    assert cut.inp(0x42, 2) == [0x34, 0x12]


@pytest.mark.parametrize("mode", [1, 2, 3, 5])
def test_a_count_that_is_written_and_not_loaded_keeps_its_null_count_and_comes_with_the_trigger(
    mode: int, cut: Cut
) -> None:
    cut.out(CONTROL, 0x90 | mode << 1)
    cut.out(0x42, 100)
    cut.out(PORT_B, 1)
    cut.out(0x42, 50)
    cut.reopen()
    cut.out(CONTROL, 0xE8)
    assert cut.inp(0x42)[0] & NULL_COUNT
    cut.out(PORT_B, 0)
    cut.out(PORT_B, 1)
    cut.out(CONTROL, 0xC8)
    status, count = cut.inp(0x42, 2)
    assert (status & NULL_COUNT, count) == (0, 50)


def test_a_counter_in_bcd_counts_on_in_bcd_and_so_does_its_next_count(cut: Cut) -> None:
    cut.out(CONTROL, 0x71)
    for _ in range(2):
        cut.out(0x41, 0x00, 0x10)
        cut.reopen()
        cut.go(cut.machine.clock.now + 3 * CLOCK)
        cut.out(CONTROL, 0x40)
        assert cut.inp(0x41, 2) == [0x97, 0x09]
    cut.out(CONTROL, 0xE4)
    assert cut.inp(0x41) == [0x31]


def test_a_counter_without_a_count_waits_with_out_at_its_modes_level(cut: Cut) -> None:
    cut.out(CONTROL, 0x30)
    cut.out(CONTROL, 0x74)
    cut.reopen()
    cut.out(CONTROL, 0xE6)
    assert [*cut.inp(0x40), *cut.inp(0x41)] == [NULL_COUNT | 0x30, OUT | NULL_COUNT | 0x34]
    assert not cut.machine.irq.level(0)


@pytest.mark.parametrize("value", range(16))
def test_port_61h_keeps_its_bits_and_the_phase_of_the_refresh(value: int, cut: Cut) -> None:
    cut.go(40 * CLOCK)
    cut.machine.reset()  # the refreshes count from here
    cut.out(PORT_B, value)
    cut.go(55 * CLOCK)
    cut.reopen()
    assert cut.inp(PORT_B)[0] & 0x1F == value
    cut.go(40 * CLOCK + 15086)  # 18 clocks later
    assert cut.inp(PORT_B)[0] & 0x1F == value | 0x10


# -- the interrupt controllers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [0, 1, *range(3, 16)])
def test_a_line_that_is_high_and_served_requests_no_more_until_it_falls_and_rises(line: int, cut: Cut) -> None:
    cut.init()
    cut.machine.irq.force(line, True)
    vector = cut.acknowledge()
    cut.out(SLAVE, 0x20)
    cut.out(MASTER, 0x20)
    cut.reopen()
    assert (cut.machine.irq.level(line), cut.intr()) == (True, False)
    cut.machine.irq.force(line, False)
    cut.reopen()
    assert not cut.intr()
    cut.machine.irq.force(line, True)
    assert cut.intr()
    assert cut.acknowledge() == vector


@pytest.mark.parametrize("line", [0, 1, *range(3, 16)])
def test_an_edge_whose_line_has_fallen_stays_requested(line: int, cut: Cut) -> None:
    cut.init()
    cut.pulse(line)
    cut.reopen()
    assert (cut.machine.irq.level(line), cut.intr()) == (False, True)
    assert cut.machine.irq.level(2) is (line > 7)  # the slave's INT
    assert cut.acknowledge() == (0x08 + line if line < 8 else 0x70 + line - 8)


class Chip(NamedTuple):
    """One of the pair: its port, its first line, and that line's vector."""

    port: int
    first: int
    vector: int


CHIPS = pytest.mark.parametrize("chip", [Chip(MASTER, 0, 0x08), Chip(SLAVE, 8, 0x70)], ids=["master", "slave"])


@CHIPS
def test_the_ranks_that_a_rotation_has_made_stay(chip: Chip, cut: Cut) -> None:
    cut.init()
    cut.pulse(chip.first + 3)
    cut.acknowledge()
    cut.out(chip.port, 0xA0)  # rotate on non-specific EOI: level 3 is the lowest now
    cut.out(MASTER, 0x62)
    cut.reopen()
    cut.pulse(chip.first + 3, chip.first + 4, chip.first)
    served = []
    while cut.intr():
        served.append(cut.acknowledge() - chip.vector)
        cut.out(chip.port, 0x20)
        cut.out(MASTER, 0x62)
    assert served == [4, 0, 3]


@CHIPS
def test_rotation_in_automatic_eoi_stays_on(chip: Chip, cut: Cut) -> None:
    cut.init(icw4=0x03)
    cut.out(chip.port, 0x80)
    cut.reopen()
    cut.pulse(chip.first)
    assert (cut.acknowledge(), cut.isr(chip.port)) == (chip.vector, 0)
    cut.reopen()
    cut.pulse(chip.first, chip.first + 1)
    assert cut.acknowledge() == chip.vector + 1


@CHIPS
@pytest.mark.parametrize("written", [1, 2, 3])
def test_an_initialization_goes_on_where_it_stood(chip: Chip, written: int, cut: Cut) -> None:
    cut.init()
    words = [
        (chip.port, 0x11),
        (chip.port + 1, 0x40),
        (chip.port + 1, 0x02),
        (chip.port + 1, 0x01),
        (chip.port + 1, 0xEF),
    ]
    for port, word in words[:written]:
        cut.out(port, word)
    cut.reopen()
    for port, word in words[written:]:
        cut.out(port, word)
    assert cut.inp(chip.port + 1) == [0xEF]
    cut.pulse(chip.first + 4)
    assert cut.acknowledge() == 0x44


def test_an_initialization_that_ends_with_icw2_ends_there_after_a_load_as_well(cut: Cut) -> None:
    for chip in (MASTER, SLAVE):
        cut.out(chip, 0x12)
    cut.reopen()
    for chip in (MASTER, SLAVE):
        cut.out(chip + 1, 0x40, 0xEF)
        assert cut.inp(chip + 1) == [0xEF]


def test_the_wiring_that_icw3_tells_stays(cut: Cut) -> None:
    cut.init()
    cut.out(SLAVE, 0x11)
    cut.out(SLAVE_DATA, 0x70, 0x05, 0x01)  # a slave of address 5, which no master calls
    cut.pulse(9)
    cut.reopen()
    assert cut.acknowledge() == 0xFF
    cut.init()
    cut.out(MASTER, 0x11)
    cut.out(MASTER_DATA, 0x08, 0x00, 0x01)  # a master without slaves
    cut.pulse(9)
    cut.reopen()
    assert cut.acknowledge() == 0x0A


@CHIPS
def test_a_poll_waits_for_its_read(chip: Chip, cut: Cut) -> None:
    cut.init()
    cut.pulse(chip.first + 5)
    cut.out(chip.port, 0x0C)
    cut.reopen()
    assert cut.inp(chip.port) == [0x85]
    assert cut.isr(chip.port) == 0x20


@CHIPS
@pytest.mark.parametrize(("select", "value"), [(0x0A, 0x10), (0x0B, 0x20)])
def test_the_register_selected_for_reading_stays_selected(chip: Chip, select: int, value: int, cut: Cut) -> None:
    cut.init()
    cut.pulse(chip.first + 5)
    cut.acknowledge()
    cut.pulse(chip.first + 4)
    cut.out(chip.port, select)
    cut.reopen()
    assert cut.inp(chip.port) == [value]


@CHIPS
def test_special_mask_mode_stays_on(chip: Chip, cut: Cut) -> None:
    cut.init()
    cut.pulse(chip.first + 3)
    cut.acknowledge()
    cut.out(chip.port + 1, 0x08)
    cut.out(chip.port, 0x68)
    cut.out(MASTER, 0x62)
    cut.reopen()
    assert cut.inp(chip.port + 1) == [0x08]
    cut.pulse(chip.first + 6)
    assert cut.acknowledge() == chip.vector + 6


@CHIPS
def test_a_level_in_service_keeps_lower_ones_out(chip: Chip, cut: Cut) -> None:
    cut.init()
    cut.pulse(chip.first + 3)
    cut.acknowledge()
    cut.out(MASTER, 0x62)
    cut.reopen()
    cut.pulse(chip.first + 6)
    assert not cut.intr()
    assert cut.isr(chip.port) == 0x08
    cut.out(chip.port, 0x20)
    assert cut.acknowledge() == chip.vector + 6


def test_special_fully_nested_mode_stays_on(cut: Cut) -> None:
    cut.init(icw4=0x11)
    cut.pulse(12)
    cut.acknowledge()
    cut.reopen()
    cut.pulse(9)
    assert cut.intr()
    assert cut.acknowledge() == 0x71


@CHIPS
@pytest.mark.parametrize("how", ["LTIM", "ELCR"])
def test_a_level_triggered_input_stays_level_triggered(chip: Chip, how: str, cut: Cut) -> None:
    cut.init()
    if how == "LTIM":
        cut.out(chip.port, 0x19)
        cut.out(chip.port + 1, chip.vector, 4 if chip.port == MASTER else 2, 0x01)
    else:
        cut.out(ELCR1 + (chip.port == SLAVE), 0x40)
    cut.machine.irq.force(chip.first + 6, True)
    for _ in range(3):
        assert cut.intr()  # as long as it is high
        assert cut.acknowledge() == chip.vector + 6
        cut.reopen()
        cut.out(chip.port, 0x20)
        cut.out(MASTER, 0x62)
    cut.machine.irq.force(chip.first + 6, False)
    assert cut.intr() is (chip.port == SLAVE)  # the master's IR2 has seen an edge
    assert cut.acknowledge() == (0x77 if chip.port == SLAVE else 0x0F)


def test_a_request_of_the_slave_that_has_gone_is_still_a_spurious_irq_15(cut: Cut) -> None:
    cut.init()
    cut.pulse(9)
    cut.out(SLAVE_DATA, 0x02)
    cut.reopen()
    assert cut.intr()
    assert cut.acknowledge() == 0x77
    assert cut.isr() == 0x04


VECTORS: Mapping[str, tuple[int, int, int]] = {
    "8086": (0x11, 0x01, 0x4D),  # T7-T3 of ICW2, and the level
    "MCS-80, interval 4": (0xD5, 0x00, 0xD4),
    "MCS-80, interval 8": (0xD1, 0x00, 0xE8),
}


@CHIPS
@pytest.mark.parametrize("mode", VECTORS)
def test_the_vector_is_made_as_before(chip: Chip, mode: str, cut: Cut) -> None:
    icw1, icw4, expected = VECTORS[mode]
    cut.init()
    cut.out(chip.port, icw1)
    cut.out(chip.port + 1, 0x48, 4 if chip.port == MASTER else 2, icw4)
    cut.pulse(chip.first + 5)
    cut.reopen()
    assert cut.acknowledge() == expected
