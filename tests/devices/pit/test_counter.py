"""One counter of the 8254: the datasheet's figures and cases by table, and any use of it against one that ticks."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.devices.pit.bench import CLOCK, CONTROL, HZ, NULL_COUNT, OUT, PORT_B, SECOND, Bench, ns

# -- the modes, clock by clock (datasheet, "Mode Definitions", figures of modes 0 to 5) -------------------------------

START = 123_456_789
Action = tuple[Any, ...]  # ("write", count), ("gate", level) or ("lsb", byte), done at a clock
LOW: Action = ("gate", 0)
HIGH: Action = ("gate", 1)

FIGURES: Mapping[str, tuple[int, int, Mapping[int, tuple[Action, ...]], str, str]] = {
    # name: mode, count, actions at clocks, what the counting element shows at clocks 0, 1, ..., OUT at the same
    "0": (0, 4, {}, "4 3 2 1 0 FFFF FFFE", "____---"),
    "0, gate": (0, 3, {1: (LOW,), 3: (HIGH,)}, "3 2 2 2 1 0 FFFF", "_____--"),
    "0, written with gate low": (0, 2, {0: (LOW,), 2: (HIGH,)}, "2 2 2 1 0", "____-"),
    "0, gate pulse within a clock": (0, 3, {1: (LOW, HIGH)}, "3 2 1 0", "___-"),
    "0, new count": (0, 3, {2: (("write", 2),)}, "3 2 2 1 0 FFFF", "____--"),
    "0, first byte stops": (0, 5, {2: (("lsb", 2),)}, "5 4 3 3 3 3", "______"),
    "0, first byte lowers": (0, 2, {3: (("lsb", 2),), 5: (("msb", 0),)}, "2 1 0 FFFF FFFF 2 1 0", "__-____-"),
    "0, gate after the count": (0, 1, {2: (LOW,), 4: (HIGH,)}, "1 0 FFFF FFFF FFFF FFFE", "_-----"),
    "1": (1, 3, {2: (LOW, HIGH)}, "0 0 3 2 1 0 FFFF", "--___--"),
    "1, retriggered": (1, 3, {1: (LOW, HIGH), 3: (LOW,), 4: (HIGH,)}, "0 3 2 1 3 2 1 0", "-______-"),
    "1, gate low does not stop": (1, 3, {1: (LOW, HIGH, LOW)}, "0 3 2 1 0 FFFF", "-___--"),
    "1, new count": (1, 2, {1: (LOW, HIGH, ("write", 4)), 4: (LOW, HIGH)}, "0 2 1 0 4 3 2 1 0", "-__-____-"),
    "2": (2, 3, {}, "3 2 1 3 2 1 3", "--_--_-"),
    "2, gate": (2, 3, {1: (LOW,), 3: (HIGH,)}, "3 2 2 3 2 1 3", "-----_-"),
    "2, gate in the pulse": (2, 3, {2: (LOW,), 4: (HIGH,)}, "3 2 1 1 3 2 1 3", "------_-"),
    "2, new count": (2, 4, {1: (("write", 5),)}, "4 3 2 1 5 4 3 2 1 5", "---_----_-"),
    "2, new count and trigger": (2, 4, {1: (("write", 3),), 2: (LOW, HIGH)}, "4 3 3 2 1 3", "----_-"),
    "2, two new counts": (2, 4, {1: (("write", 9),), 2: (("write", 2),)}, "4 3 2 1 2 1 2 1", "---_-_-_"),
    "2, new count while stopped": (2, 4, {1: (LOW, ("write", 2)), 6: (HIGH,)}, "4 3 3 3 3 3 2 1 2 1", "-------_-_"),
    "2, illegal count of 1": (2, 1, {}, "1 1 1", "---"),
    "2, from 1 to a legal count": (2, 1, {1: (("write", 2),)}, "1 1 2 1 2 1", "---_-_"),
    "3, even": (3, 4, {}, "4 2 4 2 4 2", "--__--"),
    "3, odd": (3, 5, {}, "4 2 0 4 2 4 2 0 4 2", "---__---__"),
    "3, of 2": (3, 2, {}, "2 2 2 2", "-_-_"),
    "3, of 3": (3, 3, {}, "2 0 2 2 0 2", "--_--_"),
    "3, gate": (3, 4, {1: (LOW,), 3: (HIGH,)}, "4 2 2 4 2 4 2", "-----__"),
    "3, gate while low": (3, 4, {2: (LOW,), 4: (HIGH,)}, "4 2 4 4 4 2 4", "------_"),
    "3, new count while high": (3, 6, {1: (("write", 4),)}, "6 4 2 4 2 4 2 4 2", "---__--__"),
    "3, new count while low": (3, 4, {3: (("write", 6),)}, "4 2 4 2 6 4 2 6 4 2 6", "--__---___-"),
    "3, new odd count while high": (3, 4, {0: (("write", 5),)}, "4 2 4 2 4 2 0 4 2", "--__---__"),
    "3, new count and trigger": (3, 6, {1: (("write", 4),), 2: (LOW, HIGH)}, "6 4 4 2 4 2 4", "----__-"),
    "3, illegal count of 1": (3, 1, {}, "0 0 0", "---"),
    "4": (4, 3, {}, "3 2 1 0 FFFF FFFE", "---_--"),
    "4, gate": (4, 3, {1: (LOW,), 3: (HIGH,)}, "3 2 2 2 1 0 FFFF", "-----_-"),
    "4, gate in the strobe": (4, 1, {1: (LOW,), 3: (HIGH,)}, "1 0 0 0 FFFF FFFE", "-_----"),
    "4, gate pulse in the strobe": (4, 1, {1: (LOW, HIGH)}, "1 0 FFFF", "-_-"),
    "4, new count": (4, 3, {2: (("write", 2),)}, "3 2 2 1 0 FFFF", "----_-"),
    "4, first byte does nothing": (4, 2, {1: (("lsb", 9),)}, "2 1 0 FFFF", "--_-"),
    "5": (5, 3, {1: (LOW, HIGH)}, "0 3 2 1 0 FFFF", "----_-"),
    "5, retriggered": (5, 3, {1: (LOW, HIGH), 3: (LOW, HIGH)}, "0 3 2 3 2 1 0 FFFF", "------_-"),
    "5, gate low does not stop": (5, 2, {1: (LOW, HIGH, LOW)}, "0 2 1 0 FFFF", "---_-"),
    "5, new count": (5, 3, {1: (LOW, HIGH), 2: (("write", 5),), 3: (LOW, HIGH)}, "0 3 2 5 4 3 2 1 0", "--------_"),
    "6 is 2": (6, 3, {}, "3 2 1 3", "--_-"),
    "7 is 3": (7, 4, {}, "4 2 4 2", "--__"),
}


def act(bench: Bench, action: Action) -> None:
    match action:
        case ("write", int(count)):
            bench.write(2, count)
        case ("lsb" | "msb", int(byte)):
            bench.outb(0x42, byte)
        case ("gate", int(level)):
            bench.gate(level)
        case _:
            raise AssertionError(action)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("reopen", [False, True], ids=["whole", "saved and loaded at every clock"])
def test_the_figures_of_the_modes(figure: str, *, reopen: bool) -> None:
    mode, count, actions, elements, outs = FIGURES[figure]
    bench = Bench()
    bench.go(START)
    bench.gate(1)
    bench.program(2, 0, 0)  # so that the counting element shows 0 until it is loaded
    bench.program(2, mode)
    if actions.get(0, ())[:1] == (LOW,):
        bench.gate(0)
    bench.write(2, count)
    shown, levels = [], []
    for clock in range(len(outs)):
        bench.go(START + CLOCK * clock)
        for action in actions.get(clock, ()):
            act(bench, action)
        if reopen:
            bench = bench.reopened()
        shown.append(f"{bench.count():X}")
        levels.append("-" if bench.inb(PORT_B) & 0x20 else "_")
        assert bool(bench.status() & OUT) is (levels[-1] == "-")
    assert (" ".join(shown), "".join(levels)) == (elements, outs)


@pytest.mark.parametrize(
    ("mode", "count", "clocks", "shown"),
    [
        (0, 0x0100, 1, 0x0099),
        (0, 0x2000, 1, 0x1999),
        (0, 0x1234, 235, 0x0999),
        (0, 0x0000, 1, 0x9999),
        (0, 0x0001, 2, 0x9999),
        (0, 0x0001, 10_001, 0x0000),
        (2, 0x0010, 10, 0x0010),
        (2, 0x0010, 9, 0x0001),
        (3, 0x0100, 1, 0x0098),
        (3, 0x0015, 8, 0x0014),
        (3, 0x0000, 1, 0x9998),
        (0, 0x000A, 1, 0x0009),  # no BCD digit: counts down like one
        (0, 0x001A, 11, 0x0009),
        (0, 0x00F0, 1, 0x00E9),
    ],
)
def test_bcd_counts_in_four_decades(mode: int, count: int, clocks: int, shown: int) -> None:
    bench = Bench()
    bench.gate(1)
    bench.program(2, mode, count, bcd=1)
    bench.go(ns(clocks))
    assert bench.count() == shown


# -- reading, writing, latching ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("access", "reads"), [(1, [0x34, 0x34]), (2, [0x12, 0x12]), (3, [0x34, 0x12, 0x34])])
@pytest.mark.parametrize("latch", [False, True])
def test_a_count_is_read_in_the_bytes_of_its_access_mode(access: int, reads: list[int], *, latch: bool) -> None:
    bench = Bench()
    bench.program(2, 0, 0x1234)  # GATE is low: it stays
    bench.program(2, 0, access=access)  # the counting element still shows it
    if latch:
        bench.outb(CONTROL, 0x80)
    assert [bench.inb(0x42) for _ in reads] == reads


@pytest.mark.parametrize(("access", "count"), [(1, 0x0034), (2, 0x1200), (3, 0x1234)])
def test_a_count_is_written_in_the_bytes_of_its_access_mode(access: int, count: int) -> None:
    bench = Bench()
    bench.program(2, 0, 0x5678)
    bench.program(2, 0, 0x1234, access=access)
    assert bench.pit.save().counters[2].count == count


def test_reads_and_writes_of_one_counter_may_be_interleaved() -> None:
    bench = Bench()
    bench.program(2, 4, 0x1234)
    assert bench.inb(0x42) == 0x34
    bench.outb(0x42, 0x78)
    assert bench.inb(0x42) == 0x12
    bench.outb(0x42, 0x56)
    assert bench.count() == 0x5678


def test_a_latched_count_stays_until_it_is_read() -> None:
    bench = Bench()
    bench.program(1, 2, 1000)
    bench.outb(CONTROL, 0x40)
    bench.go(ns(10))
    bench.outb(CONTROL, 0x40)  # ignored
    bench.outb(CONTROL, 0xD4)  # so is this one, a read-back of the count
    assert bench.inb(0x41) | bench.inb(0x41) << 8 == 1000
    assert bench.inb(0x41) | bench.inb(0x41) << 8 == 990


def test_a_latch_begins_with_the_least_byte_and_leaves_the_flip_flop_of_other_reads_alone() -> None:
    bench = Bench()
    bench.program(2, 0, 0x1234)
    assert [bench.inb(0x42), bench.count(), bench.inb(0x42)] == [0x34, 0x1234, 0x12]


@pytest.mark.parametrize("command", [0xD8, 0xC8, 0x80])
def test_a_count_is_latched_as_it_is_at_the_command(command: int) -> None:
    bench = Bench()
    bench.gate(1)
    bench.program(2, 2, 1000)
    bench.go(ns(10))
    bench.outb(CONTROL, command)
    bench.go(ns(20))
    status = [bench.inb(0x42)] if command == 0xC8 else []
    assert [*status, bench.inb(0x42) | bench.inb(0x42) << 8, bench.count()] == [*([0xB4] if status else []), 990, 980]


def test_a_read_back_of_both_gives_the_status_first() -> None:
    bench = Bench()
    bench.program(0, 2, 0x1234)
    bench.program(1, 3, 0x4321, access=2)
    bench.outb(CONTROL, 0xC6)
    assert [bench.inb(0x40) for _ in range(3)] == [0xB4, 0x34, 0x12]
    assert [bench.inb(0x41) for _ in range(2)] == [0xA6, 0x43]
    assert bench.inb(0x40) == 0x34


def test_a_status_latched_after_the_count_is_read_before_it() -> None:
    bench = Bench()
    bench.program(0, 2, 0x1234)
    bench.outb(CONTROL, 0x00)
    bench.outb(CONTROL, 0xE2)
    assert [bench.inb(0x40) for _ in range(3)] == [0xB4, 0x34, 0x12]


def test_a_latched_status_stays_until_it_is_read() -> None:
    bench = Bench()
    bench.program(0, 0, 5)
    bench.outb(CONTROL, 0xE2)
    bench.go(ns(5))
    bench.outb(CONTROL, 0xE2)
    assert [bench.inb(0x40), bench.status(0)] == [0x30, 0xB0]


@pytest.mark.parametrize("word", [0x30, 0x12, 0x24, 0x36, 0x38, 0x3A, 0x3C, 0x3E, 0x31, 0x15])
def test_the_status_shows_the_control_word_as_written(word: int) -> None:
    bench = Bench()
    bench.outb(CONTROL, word)
    assert bench.status(0) & 0x3F == word


def test_a_control_word_drops_what_is_latched_and_half_done() -> None:
    bench = Bench()
    bench.program(2, 4, 0x1234)
    bench.inb(0x42)
    bench.outb(CONTROL, 0xC8)
    bench.outb(0x42, 0x99)
    bench.program(2, 4)
    assert bench.pit.save().counters[2].cr == 0
    bench.write(2, 0x5678)
    assert [bench.inb(0x42), bench.inb(0x42)] == [0x78, 0x56]


def test_a_command_for_one_counter_leaves_the_others_alone() -> None:
    bench = Bench()
    before = bench.pit.save().counters
    bench.program(1, 2, 7)
    bench.outb(CONTROL, 0xC4)
    after = bench.pit.save().counters
    assert (after[0], after[2]) == (before[0], before[2])


@pytest.mark.parametrize("mode", [0, 2, 3, 4])
def test_null_count_is_set_by_a_control_word_and_cleared_by_the_load(mode: int) -> None:
    bench = Bench()
    bench.program(0, mode)
    assert bench.status(0) & NULL_COUNT
    bench.outb(0x40, 10)
    assert bench.status(0) & NULL_COUNT
    bench.outb(0x40, 0)
    assert not bench.status(0) & NULL_COUNT


@pytest.mark.parametrize(("mode", "end"), [(2, 10), (3, 5)])
def test_null_count_is_set_until_the_period_ends(mode: int, end: int) -> None:
    bench = Bench()
    bench.program(1, mode, 10)
    bench.outb(0x41, 20)
    assert not bench.status(1) & NULL_COUNT
    bench.outb(0x41, 0)
    bench.go(ns(end) - 1)
    assert bench.status(1) & NULL_COUNT
    bench.go(ns(end))
    assert not bench.status(1) & NULL_COUNT


@pytest.mark.parametrize("mode", [1, 5])
def test_null_count_is_set_until_the_trigger(mode: int) -> None:
    bench = Bench()
    bench.program(2, mode, 10)
    bench.go(SECOND)
    assert bench.status() & NULL_COUNT
    bench.gate(1)
    assert not bench.status() & NULL_COUNT


@pytest.mark.parametrize("mode", range(6))
def test_a_rising_gate_before_the_count_is_whole_triggers_nothing(mode: int) -> None:
    bench = Bench()
    bench.program(2, mode)
    bench.outb(0x42, 5)
    bench.gate(1)
    assert bench.status() & NULL_COUNT


# -- any use of a counter, against one that ticks ---------------------------------------------------------------------


class Ticking:
    """A counter that does at each clock what the datasheet says of it, and knows no arithmetic but one step."""

    def __init__(self) -> None:
        self.mode, self.bcd, self.access = 0, False, 3
        self.cr = self.ce = 0
        self.null, self.out, self.gate = True, False, True
        self.lsb: int | None = None
        self.loaded = self.armed = self.odd = False
        self.start = self.ticks = 0

    def control(self, mode: int, access: int, *, bcd: bool) -> None:
        self.mode, self.access, self.bcd = mode, access, bcd
        self.null, self.loaded, self.out, self.lsb, self.armed = True, False, mode != 0, None, False

    def write(self, value: int, now: int) -> None:
        if self.access == 3 and self.lsb is None:
            self.lsb = value
            if self.mode == 0:
                self.loaded = self.out = False
            return
        self.cr = value << 8 | (self.lsb or 0) if self.access == 3 else value << 8 * (self.access - 1)
        self.lsb = None
        self.null = self.armed = True
        if self.mode in {0, 4} or (self.mode in {2, 3} and not self.loaded):
            self.load(now)

    def set_gate(self, level: bool, now: int) -> None:
        rises, self.gate = level and not self.gate, level
        if rises and ((self.mode in {1, 5} and (self.armed or self.loaded)) or (self.mode in {2, 3} and self.loaded)):
            self.load(now)
        if not level and self.mode in {2, 3}:
            self.out = True

    def load(self, now: int) -> None:
        self.start, self.ticks = now, 0
        self.transfer()
        self.loaded, self.strobe = True, True
        self.out = self.mode not in {0, 1}

    def transfer(self) -> None:
        self.null, self.odd = False, self.mode == 3 and bool(self.cr & 1)
        self.ce = self.cr & ~1 if self.mode == 3 else self.cr

    def decrement(self) -> None:
        if self.bcd:
            number = (int(f"{self.ce:04X}") - 1) % 10_000
            self.ce = int(str(number), 16)
        else:
            self.ce = (self.ce - 1) % 65_536

    def run(self, now: int) -> None:
        while self.loaded and self.ticks < (now - self.start) * HZ // SECOND:
            self.ticks += 1
            self.tick()

    def tick(self) -> None:
        counts = self.gate or self.mode in {1, 5}
        if self.mode in {4, 5}:
            self.out = True
        if not counts:
            return
        if self.mode == 2:
            self.tick_rate()
        elif self.mode == 3:
            self.tick_square_wave()
        else:
            self.decrement()
            if self.ce == 0 and self.strobe:
                self.out, self.strobe = self.mode in {0, 1}, False

    def tick_rate(self) -> None:
        if self.ce == 1:
            self.transfer()
            self.out = True
        else:
            self.decrement()
            self.out = self.ce != 1

    def tick_square_wave(self) -> None:
        if self.odd and self.out and self.ce == 0:
            self.transfer()
            self.out = False
            return
        self.decrement()
        self.decrement()
        if self.ce == 0 and not (self.odd and self.out):
            self.out = not self.out
            self.transfer()


DIGITS = st.integers(2, 99).map(lambda count: int(str(count), 16))  # legal in BCD and in binary
COUNTS = st.one_of(DIGITS.filter(lambda count: count < 0x20), DIGITS, st.just(0))
OPERATIONS = st.one_of(
    st.tuples(st.just("control"), st.integers(0, 5), st.sampled_from([1, 3]), st.booleans()),
    st.tuples(st.just("count"), COUNTS),
    st.tuples(st.just("count"), COUNTS),
    st.tuples(st.just("lsb"), COUNTS),
    st.tuples(st.just("gate"), st.booleans()),
    st.tuples(st.just("gate"), st.booleans()),
    st.tuples(st.just("step"), st.integers(0, 30_000)),
    st.tuples(st.just("step"), st.integers(0, 3_000)),
    st.tuples(st.just("step"), st.integers(1, 40).map(ns)),
    st.tuples(st.just("reopen")),
)


@settings(max_examples=300)
@given(
    beginning=st.tuples(
        st.tuples(st.just("step"), st.integers(1, 30_000)),
        st.tuples(st.just("control"), st.integers(0, 5), st.sampled_from([1, 3]), st.booleans()),
        st.tuples(st.just("count"), COUNTS),
    ),
    operations=st.lists(OPERATIONS, max_size=30),
)
def test_any_use_of_a_counter_is_as_a_ticking_counter_has_it(
    beginning: tuple[tuple[Any, ...], ...], operations: list[tuple[Any, ...]]
) -> None:
    bench, model = Bench(), Ticking()
    bench.gate(1)
    bench.program(2, 0, 0)
    bench.program(2, 0)
    for operation in [*beginning, *operations]:
        now = bench.machine.clock.now
        match operation:
            case ("control", int(mode), int(access), bool(bcd)):
                bench.program(2, mode, access=access, bcd=bcd)
                model.control(mode, access, bcd=bcd)
            case ("count", int(count)):
                for byte in (count, 0)[: 2 if model.access == 3 and model.lsb is None else 1]:
                    bench.outb(0x42, byte if model.lsb is None else 0)
                    model.write(byte if model.lsb is None else 0, now)
            case ("lsb", int(byte)) if model.access == 3 and model.lsb is None:
                bench.outb(0x42, byte)
                model.write(byte, now)
            case ("gate", bool(level)):
                bench.gate(level)
                model.set_gate(level, now)
            case ("step", int(time)):
                bench.machine.step(time)
                model.run(bench.machine.clock.now)
            case ("reopen",):
                bench = bench.reopened()
        bench.outb(CONTROL, 0xC8)
        status = bench.inb(0x42)
        assert (bool(status & OUT), bool(status & NULL_COUNT)) == (model.out, model.null), operation
        shown = [bench.inb(0x42)] + ([bench.inb(0x42)] if model.access == 3 else [])
        assert shown == [model.ce & 0xFF, model.ce >> 8][: len(shown)], operation
