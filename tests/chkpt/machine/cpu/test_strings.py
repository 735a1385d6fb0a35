"""REP INS and REP OUTS give the same run, tick for tick, whether or not their rounds are done in one go."""

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chkpt.machine import Machine
from chkpt.machine.cpu.execution import Outcome
from tests.chkpt.machine.cpu.string_guests import (
    BASE,
    DATA,
    LATE,
    MODES,
    OTHER,
    READ,
    TABLES,
    UNMAPPED,
    WRITE,
    Command,
    Move,
    Step,
    guest,
)
from tests.guests import SECOND, START, differences, everything, execution


def accesses(board: Machine) -> list[int]:
    """Return a list that gets the port of every single access from now on."""
    seen: list[int] = []
    bus: Any = execution(board)
    read, write = bus.read_port, bus.write_port

    def read_port(port: int, width: int) -> int:
        seen.append(port)
        return int(read(port, width))

    def write_port(port: int, width: int, value: int) -> None:
        seen.append(port)
        write(port, width, value)

    bus.read_port, bus.write_port = read_port, write_port
    return seen


def run(bits: int, steps: list[Step], cuts: list[int], *, interrupts: bool, bulk: bool) -> list[dict[str, Any]]:
    """Return all that is saved of a machine at each cut and at its end."""
    board = guest(bits, steps, interrupts=interrupts, bulk=bulk)
    found = []
    for cut in cuts:
        board.run(ticks=cut)
        found.append(everything(board))
    board.run(until=LATE)  # most are over by then
    found.append(everything(board))
    board.close()
    return found


def assert_same(bits: int, steps: list[Step], cuts: list[int], *, interrupts: bool) -> None:
    slow = run(bits, steps, cuts, interrupts=interrupts, bulk=False)
    fast = run(bits, steps, cuts, interrupts=interrupts, bulk=True)
    uncut = run(bits, steps, [], interrupts=interrupts, bulk=True)
    for one, other in zip([*slow, slow[-1]], fast + uncut, strict=True):
        assert not list(differences(one, other))


# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", MODES)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("opcode", "command"), [(0x6D, READ), (0x6F, WRITE)])
def test_a_sector_moves_in_one_go(bits: int, wide: bool, opcode: int, command: int) -> None:
    units = 128 if wide else 256
    board = guest(bits, [Command(command, 1), Move(opcode, units, 0x3000, wide)], interrupts=False, bulk=True)
    seen = accesses(board)
    assert board.run(until=SECOND) is Outcome.DEAD
    assert seen.count(DATA) == 2
    disk: Any = board.devices.frontends["block"].backends["ide0.0"]
    assert board.memory.read(0x3000 + BASE * (bits == 16), 512) == disk.read(0, 512)
    board.close()


@pytest.mark.parametrize("bits", MODES)
def test_what_moves_in_one_go_takes_the_time_of_its_rounds(bits: int) -> None:
    steps: list[Step] = [Command(READ, 4), Move(0x6D, 1024, 0x3000), Command(WRITE, 4, 9), Move(0x6F, 1024, 0x3000)]
    assert_same(bits, steps, list(range(300, 60_000, 2777)), interrupts=True)


EDGES: dict[str, tuple[int, list[Step]]] = {
    "a timer in mid-block": (16, [Command(READ, 8), Move(0x6D, 2048, 0x3000)]),
    "beyond the block": (32, [Command(READ, 1), Move(0x6D, 300, 0x3000)]),
    "without a block": (32, [Move(0x6D, 300, 0x3000), Move(0x6F, 300, 0x3000)]),
    "over a page": (32, [Command(READ, 1), Move(0x6D, 256, 0x3F00)]),
    "across a page in mid-unit": (32, [Command(READ, 1), Move(0x6D, 256, 0x3F01, wide=False)]),
    "an index that wraps": (16, [Command(READ, 1), Move(0x6D, 256, 0xFF81)]),
    "an index that wraps, of the other size": (32, [Command(READ, 1), Move(0x6D, 256, 0xFF_FF81, other=True)]),
    "upper halves of registers": (16, [Command(READ, 1), Move(0x6D, 0xABCD_0100, 0xABCD_3000)]),
    "downwards": (32, [Command(READ, 1), Move(0x6D, 256, 0x3800, down=True)]),
    "into a page that is missing": (64, [Command(READ, 2), Move(0x6D, 512, UNMAPPED - 0x180)]),
    "out of a page that is missing": (64, [Command(WRITE, 2), Move(0x6F, 512, UNMAPPED - 0x180)]),
    "into a page that lies elsewhere": (64, [Command(READ, 2), Move(0x6D, 512, OTHER - 0x180, wide=True)]),
    "into no RAM": (32, [Command(READ, 1), Move(0x6D, 256, 0x1F_FF80)]),
    "from no RAM": (32, [Command(WRITE, 1), Move(0x6F, 256, 0x1F_FF80)]),
    "into the page tables": (64, [Command(READ, 8), Move(0x6D, 2048, TABLES + 0x3000)]),
    "no round": (64, [Command(READ, 1), Move(0x6D, 0, 0x3000), Move(0x6D, 1, 0x3000), Move(0x6D, 2, 0x3000)]),
}


@pytest.mark.parametrize("edge", EDGES)
def test_nothing_is_different_at_the_edges(edge: str) -> None:
    bits, steps = EDGES[edge]
    assert_same(bits, steps, [Random(edge).randrange(200, 15_000) for _ in range(4)], interrupts=True)


@pytest.mark.parametrize("at", [START - 0x100, START - 0x700, START - 0x900])
def test_what_writes_over_its_own_instruction_is_left_to_the_engine(at: int) -> None:
    """Compare whole runs: the engine restarts a block that writes over itself, and a cut run does that elsewhere."""
    assert_same(32, [Command(READ, 4), Move(0x6D, 1024, at)], [], interrupts=True)


@pytest.mark.parametrize("bits", [16, 32])
def test_address_line_20_is_heeded(bits: int) -> None:
    steps: list[Step] = [Command(READ, 1), Move(0x6D, 256, 0x11_3000, other=bits == 16)]
    for gate in (0x00, 0x02):
        boards = [guest(bits, steps, interrupts=False, bulk=bulk) for bulk in (True, False)]
        for board in boards:
            board.ports.outb(0x92, gate)
            assert board.run(until=SECOND) is Outcome.DEAD
        assert not list(differences(everything(boards[0]), everything(boards[1])))
        place = (0x11_3000 + BASE * (bits == 16)) & ~(0 if gate else 1 << 20)
        assert boards[0].memory.read(place, 512) != bytes(512)
        for board in boards:
            board.close()


INDEX = st.one_of(st.integers(0x2000, 0x7000), st.sampled_from((0x2F80, 0x2F81, 0xFFFE, UNMAPPED - 6, OTHER - 2)))
MOVES = st.builds(
    Move, st.sampled_from((0x6D, 0x6F)), st.integers(0, 700), INDEX, st.booleans(), st.booleans(), st.booleans()
)
COMMANDS = st.builds(
    Command, st.sampled_from((READ, WRITE, 0xC4, 0xC5, 0xEC, 0xE7)), st.integers(1, 4), st.integers(0, 80)
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(bits=16, steps=[Command(READ, 2), Move(0x6D, 100, 0x2F81), Move(0x6F, 9, 5), Move(0x6D, 412, 5)], cuts=[999])
@given(
    bits=st.sampled_from(MODES),
    steps=st.lists(st.one_of(COMMANDS, MOVES), min_size=1, max_size=7),
    cuts=st.lists(st.integers(100, 30_000), max_size=3).map(sorted),
)
def test_no_run_shows_whether_rounds_are_done_in_one_go(bits: int, steps: list[Step], cuts: list[int]) -> None:
    assert_same(bits, steps, cuts, interrupts=True)
