"""The timer where one thing has happened twice, or was on its way when the machine was saved."""

from collections.abc import Mapping

import pytest

from tests.devices.pit.bench import CLOCK, CONTROL, PORT_B, Bench

# name: mode, count, what is done at clocks to counter 2, what it shows at clocks 0, 1, ..., its OUT at the same
TWICE: Mapping[str, tuple[int, int, Mapping[int, str], str, str]] = {
    "GATE stops mode 0 twice": (0, 4, {1: "low", 2: "high", 4: "low", 5: "high"}, "4 3 3 2 1 1 0 FFFF", "______--"),
    "GATE stops mode 4 twice": (4, 4, {1: "low", 2: "high", 4: "low", 5: "high"}, "4 3 3 2 1 1 0 FFFF", "------_-"),
    "mode 3 takes a count in each half-period": (3, 4, {1: "6", 3: "8"}, "4 2 6 4 2 8 6 4 2 8", "--___----_"),
    "mode 2 takes a count in each period": (2, 3, {1: "4", 4: "2"}, "3 2 1 4 3 2 1 2 1 2", "--_---_-_-"),
}


@pytest.mark.parametrize("what", TWICE)
def test_what_a_counter_does_once_it_does_again(what: str) -> None:
    mode, count, actions, elements, outs = TWICE[what]
    bench = Bench()
    bench.gate(1)
    bench.program(2, mode, count)
    shown, levels = [], []
    for clock in range(len(outs)):
        bench.go(CLOCK * clock)
        match actions.get(clock):
            case "low" | "high" as level:
                bench.gate(int(level == "high"))
            case str(new):
                bench.write(2, int(new))
        shown.append(f"{bench.count():X}")
        levels.append("-" if bench.inb(PORT_B) & 0x20 else "_")
    assert (" ".join(shown), "".join(levels)) == (elements, outs)


@pytest.mark.parametrize(
    ("command", "read"),
    [
        (0xD8, [0x34, 0x12]),  # read-back of the count
        (0xE8, [0xB8, 0x0A, 0x12]),  # of the status: then the count as it is by now
        (0xC8, [0xB8, 0x34, 0x12]),  # of both: the status comes first
    ],
)
def test_what_the_read_back_command_latched_is_read_after_a_load(command: int, read: list[int]) -> None:
    bench = Bench()
    bench.gate(1)
    bench.program(2, 4, 0x1234)
    bench.outb(CONTROL, command)
    bench.go(CLOCK * 42)
    bench = bench.reopened()
    bench.program(1, 0)  # another counter's control word leaves it alone
    assert [bench.inb(0x42) for _ in read] == read
