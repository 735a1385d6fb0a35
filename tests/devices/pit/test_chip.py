"""The PC's timer: edges of its interrupt line to the nanosecond, port 61h, its state."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from chkpt_devices.pit.chip import PitState
from chkpt_devices.pit.counter import Phase
from tests.devices.pit.bench import CONTROL, HZ, PORT_B, SECOND, Bench, ns
from tests.support.rig import rig, saved

# -- edges of the interrupt line, to the nanosecond -------------------------------------------------------------------


def expected_edges(mode: int, length: int, until: int) -> list[tuple[int, bool]]:
    """Return the edges of OUT after a count written at 0, from the datasheet's wording."""
    if mode == 0:
        clocks = [(length, True)]
    elif mode == 4:
        clocks = [(length, False), (length + 1, True)]
    else:
        low = length - 1 if mode == 2 else (length + 1) // 2
        periods = range(until * HZ // SECOND // length + 1)
        clocks = [edge for k in periods for edge in ((k * length + low, False), ((k + 1) * length, True))]
    return [(ns(clock), level) for clock, level in clocks if ns(clock) <= until]


@pytest.mark.parametrize("mode", [0, 2, 3, 4])
@pytest.mark.parametrize("count", [2, 3, 18, 1193, 11932, 65535])
def test_edges_fall_on_the_first_nanosecond_of_their_clock(mode: int, count: int) -> None:
    bench = Bench()
    until = min(SECOND, ns(200 * count))
    bench.program(0, mode)
    edges = bench.edges()
    bench.write(0, count)
    bench.machine.step(until)
    assert edges == expected_edges(mode, count, until)


def test_an_hour_at_18_hz_does_not_drift() -> None:
    bench = Bench()
    bench.program(0, 2, 0)
    edges = bench.edges()
    bench.machine.step(3600 * SECOND)
    rises = [time for time, level in edges if level]
    assert len(rises) == 3600 * HZ // 65536
    assert rises[-1] == ns(65536 * len(rises))


@given(
    mode=st.sampled_from([0, 2, 3, 4]),
    count=st.integers(2, 300),
    steps=st.lists(st.integers(0, 300_000), min_size=1, max_size=12),
    reopen=st.integers(0, 11),
)
def test_edges_do_not_depend_on_the_steps_nor_on_a_save_and_load(
    mode: int, count: int, steps: list[int], reopen: int
) -> None:
    bench = Bench()
    bench.program(0, mode, count)
    edges = bench.edges()
    for number, step in enumerate(steps):
        if number == reopen:
            bench = bench.reopened()
            bench.edges(edges)
        bench.machine.step(step)
    assert edges == expected_edges(mode, count, sum(steps))


def test_a_new_count_of_counter_0_changes_the_edges_from_the_next_period_on() -> None:
    bench = Bench()
    bench.program(0, 2, 100)
    bench.go(ns(150))
    edges = bench.edges()
    bench.write(0, 30)
    bench.go(ns(261))
    assert edges == [
        (ns(clock), level)
        for clock, level in [(199, False), (200, True), (229, False), (230, True), (259, False), (260, True)]
    ]


def test_a_legal_count_after_an_illegal_one_brings_edges() -> None:
    bench = Bench()
    bench.program(0, 2, 1)
    bench.go(ns(5))
    edges = bench.edges()
    bench.write(0, 3)
    bench = bench.reopened()
    bench.edges(edges)
    bench.go(ns(9))
    assert edges == [(ns(8), False), (ns(9), True)]


@pytest.mark.parametrize("mode", range(6))
def test_a_control_word_moves_out_at_once(mode: int) -> None:
    bench = Bench()
    bench.program(0, 0, 100)
    assert not bench.machine.irq.level(0)
    bench.program(0, mode)
    assert bench.machine.irq.level(0) is (mode != 0)


def test_the_first_byte_of_a_count_lowers_the_line_in_mode_0() -> None:
    bench = Bench()
    bench.program(0, 0, 1)
    bench.go(ns(1))
    assert bench.machine.irq.level(0)
    bench.outb(0x40, 5)
    assert not bench.machine.irq.level(0)
    bench.machine.step(SECOND)
    assert not bench.machine.irq.level(0)


def test_counters_1_and_2_drive_no_line() -> None:
    bench = Bench()
    bench.program(0, 1, 5)  # counter 0 awaits a trigger that never comes
    edges = bench.edges()
    bench.gate(1)
    bench.program(1, 3, 2)
    bench.program(2, 3, 2)
    bench.machine.step(SECOND)
    assert edges == []


@pytest.mark.parametrize(("bcd", "length"), [(0, 65536), (1, 10000)])
def test_a_count_of_zero_is_the_greatest(bcd: int, length: int) -> None:
    bench = Bench()
    bench.program(0, 0, 0, bcd=bcd)
    edges = bench.edges()
    bench.machine.step(SECOND)
    assert edges == [(ns(length), True)]


def test_at_power_on_the_counters_are_square_waves_of_the_longest_period() -> None:
    bench = Bench()
    assert [bench.status(counter) for counter in range(3)] == [0x86, 0x86, 0x86]
    bench.go(ns(100))
    assert [bench.inb(0x40 + counter) for counter in range(3)] == [0x38, 0x38, 0x00]  # 2 is stopped by its GATE
    bench.go(ns(32768))
    assert [bench.status(counter) for counter in range(3)] == [0x06, 0x06, 0x86]


def test_the_line_stays_low_until_the_first_control_word() -> None:
    bench = Bench()
    edges = bench.edges()
    bench.write(0, 100, access=1)
    bench.go(SECOND)
    assert edges == []
    bench.program(0, 2)
    assert edges == [(SECOND, True)]


def test_the_control_port_floats_when_read() -> None:
    assert Bench().inb(CONTROL) == 0xFF


# -- port 61h ---------------------------------------------------------------------------------------------------------


def test_port_61h_keeps_its_low_four_bits() -> None:
    bench = Bench()
    for value in range(256):
        bench.outb(PORT_B, value)
        assert bench.inb(PORT_B) & 0xCF == value & 0x0F


def test_port_61h_shows_a_refresh_every_18_clocks() -> None:
    bench = Bench()
    levels = []
    for refresh in range(1, 5):
        bench.go(ns(18 * refresh) - 1)
        levels.append(bench.inb(PORT_B) & 0x10)
        bench.go(ns(18 * refresh))
        levels.append(bench.inb(PORT_B) & 0x10)
    assert levels == [0x00, 0x10, 0x10, 0x00, 0x00, 0x10, 0x10, 0x00]


def test_port_61h_shows_out_of_counter_2() -> None:
    bench = Bench()
    bench.program(2, 0, 5)
    bench.gate(1)
    bench.go(ns(5) - 1)
    assert not bench.inb(PORT_B) & 0x20
    bench.go(ns(5))
    assert bench.inb(PORT_B) & 0x20


def test_the_ports_and_the_line_come_from_the_configuration() -> None:
    machine = rig({"type": "pit", "port": 0x140, "speaker_port": 0x161, "irq": 5})
    machine.ports.outb(0x143, 0x10)
    machine.ports.outb(0x140, 1)
    assert not machine.irq.level(5)
    machine.step(ns(1))
    assert machine.irq.level(5)
    machine.ports.outb(0x161, 3)
    assert machine.ports.inb(0x161) & 0x0F == 3
    assert machine.ports.inb(0x40) == machine.ports.inb(0x61) == 0xFF


# -- the state --------------------------------------------------------------------------------------------------------


class TestPit(DeviceContract):
    table = {"type": "pit"}

    def stir(self, machine: Machine) -> None:
        bench = Bench(machine)
        bench.outb(PORT_B, 0x0B)
        bench.program(0, 3, 1000)
        machine.step(ns(1700))
        bench.write(0, 333)  # waits for the end of the half-period
        bench.outb(0x40, 0x55)  # and half of one more
        bench.inb(0x40)
        bench.program(1, 5, 0x1234, bcd=1)
        bench.outb(CONTROL, 0xC4)
        bench.inb(0x41)
        bench.inb(0x41)
        bench.program(2, 4, 100)
        machine.step(ns(30))
        bench.outb(PORT_B, 0x0A)
        bench.outb(CONTROL, 0xE8)
        machine.step(ns(7))


def changed(state: PitState, where: int | None, fields: Mapping[str, object]) -> PitState:
    """Return a state with other fields: its own, or those of counter `where`."""
    if where is None:
        return dataclasses.replace(state, **cast("Any", fields))
    counters = list(state.counters)
    counters[where] = dataclasses.replace(counters[where], **cast("Any", fields))
    return dataclasses.replace(state, counters=tuple(counters))


@pytest.mark.parametrize(
    ("where", "fields", "message"),
    [
        (1, {"cr_lsb": 5}, "counters/1: .*access is not of two bytes"),
        (1, {"read_msb_next": True}, "counters/1: .*access is not of two bytes"),
        (2, {"latched_msb_next": True}, "counters/2: latched_msb_next, but no count is latched"),
        (0, {"phase": Phase.AWAITING_TRIGGER}, "counters/0: phase awaits a trigger"),
        (2, {"cr_lsb": 5}, "counters/2: phase is counting, but half of a new count stops its mode"),
        (0, {"phase": Phase.AWAITING_COUNT}, "counters/0: no count is loaded, but null_count is clear"),
        (2, {"null_count": True}, "counters/2: null_count is set, but its mode loads a count at once"),
        (0, {"count": 7}, "counters/0: count is not cr"),
        (0, {"start": SECOND}, "counters/0: its count begins in the future"),
        (0, {"origin": 1 << 40}, "counters/0: its count begins in the future"),
        (0, {"held": 3}, "counters/0: held contradicts"),
        (2, {"held": None}, "counters/2: held contradicts"),
        (2, {"held": 1 << 40}, "counters/2: held is more than the clocks that have passed"),
        (1, {"gate": False, "held": 0}, "counters/1: gate is not at its wired level"),
        (None, {"port_b": 1}, "counters/2: gate is not"),
        (0, {"out": False}, "counters/0: out is not"),
        (2, {"out": True}, "counters/2: out is not"),
        (None, {"edge_deadline": None}, "edge_deadline is not when OUT of counter 0 changes"),
        (None, {"edge_deadline": SECOND}, "edge_deadline is not when OUT of counter 0 changes"),
        (None, {"irq": False}, "irq is not at the level of OUT of counter 0"),
        (None, {"refresh_start": SECOND}, "refresh_start is in the future"),
    ],
    ids=str,
)
def test_a_state_that_no_timer_can_be_in_is_refused(where: int | None, fields: dict[str, object], message: str) -> None:
    bench = Bench()
    bench.program(0, 3, 1000)
    bench.program(1, 2, 18, access=1)
    bench.program(2, 0, 50)
    bench.go(ns(2100))
    before = bench.pit.save()
    with pytest.raises(StateError, match=f"^{message}"):
        bench.pit.load(changed(before, where, fields))
    assert bench.pit.save() == before


def test_a_save_shows_a_new_count_from_the_period_on_in_which_it_counts() -> None:
    bench = Bench()
    bench.program(1, 2, 10)
    bench.write(1, 20)
    bench.go(ns(10) - 1)
    before = bench.pit.save().counters[1]
    bench.go(ns(10))
    after = bench.pit.save().counters[1]
    assert (before.count, before.null_count, before.origin) == (10, True, 0)
    assert (after.count, after.null_count, after.origin) == (20, False, 10)
    assert bench.count(1) == 20
    assert bench.pit.save().counters[1] == after


def test_a_counter_that_has_no_edge_before_it_has_no_deadline() -> None:
    bench = Bench()
    bench.program(0, 3, 0)
    assert bench.pit.save().edge_deadline == ns(32768)
    bench.program(0, 3)
    assert bench.pit.save().edge_deadline is None


def test_an_edge_that_was_due_when_saved_comes_at_the_next_step() -> None:
    bench = Bench()
    bench.program(0, 0, 10)
    late = dataclasses.replace(bench.pit.save(), edge_deadline=0)
    edges = bench.edges()
    bench.pit.load(late)
    assert edges == []
    bench.machine.step(ns(10))
    assert edges == [(ns(10), True)]


def test_a_partial_load_keeps_the_distance_of_every_time_from_the_clock() -> None:
    bench = Bench()
    bench.program(0, 2, 1000)
    bench.go(ns(300))
    checkpoint = saved(bench.machine)
    other = Bench()
    other.go(SECOND)
    other.machine.load(checkpoint, only=["pit"])
    edges = other.edges()
    assert other.count(0) == 700
    assert other.inb(PORT_B) & 0x10 == bench.inb(PORT_B) & 0x10
    other.machine.step(ns(700) + 1)
    assert edges == [(SECOND + ns(999) - ns(300), False), (SECOND + ns(1000) - ns(300), True)]


def test_a_reset_restarts_the_counters_now_and_lowers_the_line() -> None:
    bench = Bench()
    bench.program(0, 0, 3)
    bench.gate(1)
    bench.go(SECOND)
    bench.machine.reset()
    edges = bench.edges()
    assert not bench.machine.irq.level(0)
    bench.go(SECOND + ns(100))
    assert [bench.inb(0x40 + counter) for counter in range(3)] == [0x38, 0x38, 0x00]
    bench.go(3 * SECOND)
    assert edges == []
