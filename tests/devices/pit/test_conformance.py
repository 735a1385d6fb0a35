"""The 8254 against its datasheet (Intel, 231164): the figures as drawn, and a reference chip that counts every pulse.

The figures prove the reference chip, the reference chip proves the product: in every programme, random ones among them,
every byte read, every level of OUT and GATE and every edge of the interrupt line is the same, to the nanosecond.
"""

import random
from collections.abc import Callable, Iterator
from copy import copy

import pytest

from tests.devices.pit.bench import CLOCK, Bench
from tests.devices.pit.model import HZ, SECOND, Counter8254, Timer8254

# -- Figures 15 to 20: the modes --------------------------------------------------------------------------------------

# "CW=10" a control word, "LSB=4" a count, "GATE=0" a level; "OUT=1" what must be seen before the next CLK pulse;
# "3_" a CLK pulse, after which the CE holds 3 (hexadecimal) and OUT is low, "0-" the same with OUT high, "N-" one at
# which the figure leaves the CE undefined. "4!_" is a CLK pulse that loads: the product does that one without a pulse.
FIGURES = {
    "15, first": "CW=10 OUT=0 LSB=4 OUT=0 4!_ 3_ 2_ 1_ 0- FFFF- FFFE-",
    "15, second": "CW=10 LSB=3 3!_ 2_ GATE=0 2_ 2_ GATE=1 1_ 0- FFFF-",
    "15, third": "CW=10 LSB=3 3!_ 2_ 1_ LSB=2 2!_ 1_ 0- FFFF-",
    "16, first": "CW=12 OUT=1 LSB=3 N- GATE=0 N- GATE=1 3!_ 2_ 1_ 0- FFFF- GATE=0 GATE=1 3!_ 2_",
    "16, second": "CW=12 LSB=3 N- GATE=0 GATE=1 3!_ 2_ 1_ GATE=0 GATE=1 3!_ 2_ 1_ 0-",
    "16, third": "CW=12 LSB=2 N- GATE=0 GATE=1 2!_ LSB=4 1_ 0- FFFF- FFFE- GATE=0 GATE=1 4!_ 3_",
    "17, first": "CW=14 OUT=1 LSB=3 3!- 2- 1_ 3- 2- 1_ 3-",
    "17, second": "CW=14 LSB=3 3!- 2- GATE=0 2- GATE=1 3!- 2- 1_ 3-",
    "17, third": "CW=14 LSB=4 4!- 3- LSB=5 2- 1_ 5- 4- 3-",
    "18, first": "CW=16 OUT=1 LSB=4 4!- 2- 4_ 2_ 4- 2- 4_ 2_ 4- 2-",
    "18, second": "CW=16 LSB=5 4!- 2- 0- 4_ 2_ 4- 2- 0- 4_ 2_",
    "18, third": "CW=16 LSB=4 4!- 2- 4_ GATE=0 OUT=1 4- 4- GATE=1 4!- 2- 4_ 2_",
    "19, first": "CW=18 OUT=1 LSB=3 3!- 2- 1- 0_ FFFF- FFFE- FFFD-",
    "19, second": "CW=18 LSB=3 GATE=0 3!- 3- 3- GATE=1 2- 1- 0_ FFFF-",
    "19, third": "CW=18 LSB=3 3!- 2- 1- LSB=2 2!- 1- 0_ FFFF-",
    "20, first": "CW=1A OUT=1 LSB=3 N- GATE=0 GATE=1 3!- 2- 1- 0_ FFFF- GATE=0 GATE=1 3!-",
    "20, second": "CW=1A LSB=3 N- N- GATE=0 GATE=1 3!- 2- GATE=0 GATE=1 3!- 2- 1- 0_ FFFF- FFFE-",
    "20, third": "CW=1A LSB=3 N- GATE=0 GATE=1 3!- 2- 1- LSB=5 0_ FFFF- FFFE- GATE=0 GATE=1 5!- 4-",
}


@pytest.mark.parametrize("figure", FIGURES)
def test_the_reference_chip_draws_the_figure(figure: str) -> None:
    chip = Counter8254(gate=True)
    for word in FIGURES[figure].split():
        name, _, value = word.partition("=")
        match name:
            case "CW":
                chip.control(int(value, 16))
            case "LSB":
                chip.write(int(value, 16))
            case "GATE":
                chip.set_gate(value == "1")
            case "OUT":
                assert chip.out is (value == "1"), word
            case _:
                assert chip.will_load() is ("!" in word), word
                chip.clk()
                shown = "N" if word[0] == "N" else f"{chip.ce:X}"
                assert f"{shown}{'-' if chip.out else '_'}" == word.replace("!", ""), word


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("begin", [0, 1, 123_456_789])
def test_the_product_draws_the_figure(figure: str, begin: int) -> None:
    bench = Bench()
    bench.go(begin)
    bench.gate(1)
    start, clock = begin, 0
    for word in FIGURES[figure].split():
        name, _, value = word.partition("=")
        match name:
            case "CW":
                bench.outb(0x43, 0x80 | int(value, 16))
            case "LSB":
                bench.outb(0x42, int(value, 16))
            case "GATE":
                bench.gate(int(value))
            case "OUT":
                assert bench.inb(0x61) >> 5 & 1 == int(value), word
            case _:
                if "!" in word:
                    start, clock = bench.machine.clock.now, 0
                else:
                    clock += 1
                    bench.go(start - (-clock * SECOND // HZ))
                counter = bench.pit.save().counters[2]
                bench.outb(0x43, 0x80)
                lsb = bench.inb(0x42)
                shown = "N" if word[0] == "N" else f"{lsb:X}"
                expected = word[:-1].replace("!", "")[-2:]
                assert (shown, counter.out) == (expected, word[-1] == "-"), word


# -- Figure 21: GATE --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "low_stops", "rise_loads", "low_raises_out"),
    [
        (0, True, False, False),
        (1, False, True, False),
        (2, True, True, True),
        (3, True, True, True),
        (4, True, False, False),
        (5, False, True, False),
    ],
)
def test_figure_21_what_gate_does(mode: int, *, low_stops: bool, rise_loads: bool, low_raises_out: bool) -> None:
    bench = Bench()
    bench.gate(1)
    bench.program(2, mode, 10)
    bench.gate(0)
    bench.gate(1)  # begins modes 1 and 5
    assert not after(bench, {0: 4, 1: 4, 2: 9, 3: 7, 4: 10, 5: 10}[mode])
    before = bench.count()
    bench.gate(0)
    assert bool(bench.inb(0x61) & 0x20) is low_raises_out
    bench.machine.step(3 * CLOCK)
    assert (bench.count() == before) is low_stops
    before = bench.count()
    bench.gate(1)
    assert bench.count() == (10 if rise_loads else before)


def after(bench: Bench, clock: int) -> bool:
    """Go to a clock of a counter that began at 0; return OUT of counter 2."""
    bench.go(-(-clock * SECOND // HZ))
    return bool(bench.inb(0x61) & 0x20)


# -- Figures 10 to 14 and 22: commands, status, limits ----------------------------------------------------------------


def test_figure_13_the_read_back_commands_in_turn() -> None:
    bench = Bench()
    for counter, (mode, count) in enumerate([(2, 0x1234), (3, 0x2346), (1, 0x3456)]):
        bench.program(counter, mode, count)
    bench.outb(0x43, 0b1100_0010)  # count and status of counter 0
    bench.outb(0x43, 0b1110_0100)  # status of counter 1
    bench.outb(0x43, 0b1110_1100)  # status of counters 2 and 1: "Status latched for counter 2, but not counter 1"
    bench.outb(0x43, 0b1101_1000)  # count of counter 2
    bench.outb(0x43, 0b1100_0100)  # count and status of counter 1: "Count latched for counter 1, but not status"
    bench.outb(0x43, 0b1110_0010)  # status of counter 0: "Command ignored"
    bench.machine.step(SECOND // 1000)
    assert [bench.inb(0x40) for _ in range(3)] == [0xB4, 0x34, 0x12]
    assert [bench.inb(0x41) for _ in range(3)] == [0xB6, 0x46, 0x23]
    assert bench.inb(0x42) == 0xF2  # null count: mode 1 waits for its trigger
    assert bench.inb(0x42) | bench.inb(0x42) << 8 == bench.pit.save().counters[2].count


@pytest.mark.parametrize("select", range(4), ids=["both", "status alone", "count alone", "neither"])
@pytest.mark.parametrize("counters", range(8))
@pytest.mark.parametrize("latched_before", [False, True])
def test_figure_10_every_read_back_command(select: int, counters: int, *, latched_before: bool) -> None:
    bench, chip = Bench(), Timer8254()
    no_count, no_status = (0, 0x20, 0, 0x20)[select], (0, 0, 0x10, 0x10)[select]
    writes = [(0x43, 0x34), (0x40, 0x34), (0x40, 0x12), (0x43, 0x57), (0x41, 0x99), (0x43, 0xA8), (0x42, 0x77)]
    for port, value in [*writes, *([(0x43, 0x00), (0x43, 0x40)] if latched_before else [])]:
        both(bench, chip, port, value)
    go(bench, chip, 1000 * CLOCK)
    both(bench, chip, 0x43, 0xC0 | no_count | no_status | counters << 1)
    go(bench, chip, 1100 * CLOCK)
    reads = [0x40, 0x40, 0x40, 0x40, 0x41, 0x41, 0x41, 0x42, 0x42, 0x42]
    assert [bench.inb(port) for port in reads] == [chip.inb(port) for port in reads]


@pytest.mark.parametrize("mode", range(6))
@pytest.mark.parametrize(("bcd", "longest"), [(0, 65536), (1, 10000)])
def test_figure_22_the_least_and_the_greatest_count(mode: int, bcd: int, longest: int) -> None:
    least = 2 if mode in {2, 3} else 1
    for count, length in ((least, least), (0, longest)):
        bench = Bench()
        bench.gate(1)
        bench.program(2, mode, count, bcd=bcd)
        bench.gate(0)
        bench.gate(1)
        first = {0: length, 1: length, 2: length - 1, 3: (length + 1) // 2, 4: length, 5: length}[mode]
        rises = mode in {0, 1}
        assert after(bench, first - 1) is not rises
        assert after(bench, first) is rises


# -- any programme ----------------------------------------------------------------------------------------------------


def both(bench: Bench, chip: Timer8254, port: int, value: int) -> None:
    bench.outb(port, value)
    chip.outb(port, value)


def go(bench: Bench, chip: Timer8254, time: int) -> None:
    bench.go(time)
    chip.run(time)


def check_pins(bench: Bench, chip: Timer8254) -> None:
    """Compare what can be seen without touching a latch."""
    assert bench.inb(0x61) == chip.inb(0x61)
    assert bench.machine.irq.level(0) is chip.line
    for counter, reference in zip(bench.pit.save().counters, chip.counters, strict=True):
        assert (counter.out, counter.gate, counter.null_count) == (reference.out, reference.gate, reference.null_count)


@pytest.mark.parametrize("mode", range(8))
@pytest.mark.parametrize("access", [1, 2, 3])
@pytest.mark.parametrize("bcd", [0, 1])
def test_every_mode_and_access_to_the_tick(mode: int, access: int, bcd: int) -> None:
    """Follow counter 2 over every edge of its CLK, the nanosecond before it and the nanosecond of it."""
    for count in (2, 3, 5, 16, 19) if access != 2 else (0x100, 0x300):
        written = int(str(count), 16) if bcd and access != 2 else count
        bench, chip = Bench(), Timer8254()
        edges = bench.edges()
        go(bench, chip, 1_000_003)
        both(bench, chip, 0x61, 1)
        for counter in (0, 2):
            both(bench, chip, 0x43, counter << 6 | access << 4 | mode << 1 | bcd)
            for byte in (written & 0xFF,) * (access & 1) + (written >> 8,) * (access >> 1):
                both(bench, chip, 0x40 + counter, byte)
        both(bench, chip, 0x61, 0)
        both(bench, chip, 0x61, 1)
        for clock in range(1, 3 * count + 4 if access != 2 else 3):
            for before in (1, 0):
                go(bench, chip, chip.moment(2, clock) - before)
                check_pins(bench, chip)
            both(bench, chip, 0x43, 0x80)
            assert [bench.inb(0x42) for _ in range(2)] == [chip.inb(0x42) for _ in range(2)]
        go(bench, chip, chip.now + 2000 * CLOCK)
        check_pins(bench, chip)
        assert edges == chip.edges


Step = tuple[str, int, int]  # ("out", port, value), ("in", port, 0) or ("go", time, 0)
Phrase = Callable[[random.Random, Timer8254, int], Iterator[Step]]


def control(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    access = choose.choice([1, 1, 2, 3, 3])
    yield "out", 0x43, counter << 6 | access << 4 | choose.randrange(8) << 1 | choose.randrange(2)
    if choose.random() < 0.8:
        yield from count(choose, chip, counter)


def count(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    reference = chip.counters[counter]
    for _ in range(2 if reference.access == 3 and reference.first is None else 1):
        yield from one_byte(choose, chip, counter)


def one_byte(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    """Write a byte that makes a legal count: decimal digits in BCD, not 1 in modes 2 and 3 (Figure 22)."""
    reference = chip.counters[counter]
    most = reference.access == 2 or (reference.access == 3 and reference.first is not None)
    tens, ones = choose.choice([(0, 0), (0, 0), (0, 1)] if most else [(0, 9), (0, 9), (9, 9)])
    value = choose.randint(0, tens) << 4 | choose.randint(0, ones)
    if reference.mode in {2, 3} and (value, reference.access) == (1, 1):
        value = 2
    if reference.mode in {2, 3} and (value, reference.access, reference.first) == (0, 3, 1):
        value = 1
    yield "out", 0x40 + counter, value


def latch(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    yield "out", 0x43, choose.choice([counter << 6, 0xC0 | choose.randrange(64)])


def read(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    for _ in range(choose.randrange(1, 5)):
        yield "in", 0x40 + counter, 0


def gate(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    yield "out", 0x61, choose.randrange(4)


def some_time(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    clocks = choose.choice([0, 1, 1, 2, 3, 5, choose.randrange(40), choose.randrange(400)])
    yield "go", chip.now + clocks * SECOND // HZ + choose.randrange(3), 0


def to_a_clock(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    """Go to the nanosecond at which a clock of this counter falls, or to the one before it."""
    clock = chip.pulses[counter] + choose.choice([1, 1, 2, 7])
    yield "go", max(chip.now, chip.moment(counter, clock) - choose.randrange(2)), 0


def to_an_edge(choose: random.Random, chip: Timer8254, counter: int) -> Iterator[Step]:
    """Go to the clock at which OUT changes next, and move GATE there, where it matters most."""
    clock = chip.pulses[counter] + clocks_to_edge(chip.counters[counter])
    yield "go", max(chip.now, chip.moment(counter, clock) - choose.choice([0, 0, 1])), 0
    for _ in range(choose.randrange(4) if counter == 2 else 0):
        yield "out", 0x61, chip.counters[2].gate ^ 1
        yield "go", chip.now + choose.choice([0, 0, 838, 839, 1677, 2515]), 0


PHRASES: list[Phrase]
PHRASES = [control, count, count, one_byte, latch, read, gate, gate, some_time, some_time, to_a_clock, to_an_edge]


def programme(choose: random.Random, chip: Timer8254) -> Iterator[Step]:
    """Yield accesses for ever. `chip` is expected to follow them."""
    while True:
        yield from choose.choice(PHRASES)(choose, chip, choose.choice([0, 1, 2, 2, 2]))


def clocks_to_edge(chip: Counter8254) -> int:
    """Return how many CLK pulses OUT stays as it is, 500 at the most."""
    trial = copy(chip)
    for clock in range(1, 500):
        trial.clk()
        if trial.out is not chip.out:
            return clock
    return 500


def run(seed: int, length: int, reopen: Callable[[random.Random], bool]) -> None:
    """Run a random programme on both; go on with a saved and loaded copy of the product where `reopen` says so."""
    choose = random.Random(seed)
    bench, chip = Bench(), Timer8254()
    edges = bench.edges()
    steps = programme(choose, chip)
    for number in range(length):
        kind, where, value = next(steps)
        place = f"seed {seed}, step {number}: {kind} {where:#x} {value:#x}"
        if reopen(choose):
            bench = bench.reopened()
            bench.edges(edges)
        match kind:
            case "out":
                both(bench, chip, where, value)
            case "in":
                assert bench.inb(where) == chip.inb(where), place
            case _:
                go(bench, chip, where)
        try:
            check_pins(bench, chip)
            assert edges == chip.edges
        except AssertionError as exc:
            raise AssertionError(place) from exc


@pytest.mark.parametrize("seed", range(60))
def test_any_programme_gives_the_bytes_and_the_edges_of_the_reference_chip(seed: int) -> None:
    run(seed, 150, lambda _: False)


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_any_programme_does_so_when_it_is_saved_and_loaded_on_the_way(seed: int) -> None:
    run(seed, 100, lambda choose: choose.random() < 0.2)


@pytest.mark.long
@pytest.mark.parametrize("block", range(100))
def test_thousands_of_programmes_give_the_bytes_and_the_edges_of_the_reference_chip(block: int) -> None:
    for seed in range(100_000 + 100 * block, 100_100 + 100 * block):
        run(seed, 300, lambda choose: choose.random() < 0.01)
