"""REP INS and REP OUTS give the same run, tick for tick, whether or not their rounds are done in one go."""

import dataclasses
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chkpt.machine import Machine
from chkpt.machine.cpu.contract import CpuState, SegmentState, TableState
from chkpt.machine.cpu.power_on import power_on
from chkpt.machine.execution import Outcome
from tests.guests import PC, SECOND, START, computer, differences, everything, execution

DATA, READ, WRITE = 0x1F0, 0x20, 0x30
BASE = 0x1_0010  # of the data segments in real mode: an index wraps in the middle of a page
TABLES = 0x10_0000
UNMAPPED = 0x5_0000  # a page of which the tables know nothing
OTHER = 0x6_0000  # and one that lies elsewhere
MODES = (16, 32, 64)
LATE = SECOND // 200

# -- guests -----------------------------------------------------------------------------------------------------------


def put(port: int, value: int, bits: int) -> bytes:
    """Return code that writes a byte to a port."""
    return load(0xBA, port, bits) + bytes((0xB0, value, 0xEE))


def load(opcode: int, value: int, bits: int) -> bytes:
    """Return a MOV of 32 bits to a register."""
    return (b"\x66" if bits == 16 else b"") + bytes((opcode,)) + value.to_bytes(4, "little")


@dataclass(frozen=True)
class Command:
    """A command to the drive."""

    command: int
    sectors: int
    lba: int = 0

    def code(self, bits: int) -> bytes:
        registers = ((0x1F2, self.sectors), (0x1F3, self.lba), (0x1F4, 0), (0x1F5, 0), (0x1F6, 0xE0))
        written = b"".join(put(port, value, bits) for port, value in registers)
        return written + put(0x1F7, self.command, bits)


@dataclass(frozen=True)
class Move:
    """A REP INS or REP OUTS."""

    opcode: int
    count: int
    index: int
    wide: bool = False  # 32 bits
    other: bool = False  # the other size of addresses
    down: bool = False

    def code(self, bits: int) -> bytes:
        index = 0xBF if self.opcode == 0x6D else 0xBE
        prefixes = (b"\x66" if self.wide is (bits == 16) else b"") + (b"\x67" if self.other else b"")
        registers = load(0xBA, DATA, bits) + load(0xB9, self.count, bits) + load(index, self.index, bits)
        return registers + (b"\xfd" if self.down else b"\xfc") + prefixes + bytes((0xF3, self.opcode))


Step = Command | Move


def state(bits: int) -> CpuState:
    """Return a processor in real mode, flat protected mode, or long mode with paging."""
    real = power_on(0, a20=True)
    if bits == 16:
        code, data = SegmentState(0, 0, 0xFFFF, 0x9B00), SegmentState(BASE >> 4, BASE, 0xFFFF, 0x9300)
        return dataclasses.replace(real, rip=START, rsp=0x7000, cs=code, es=data, ss=data, ds=data)
    flags = 0xA0_9B00 if bits == 64 else 0xC0_9B00
    code, data = SegmentState(8, 0, 0xFFFF_FFFF, flags), SegmentState(16, 0, 0xFFFF_FFFF, 0xC0_9300)
    flat = dataclasses.replace(real, rip=START, rsp=0x7000, cs=code, es=data, ss=data, ds=data, idtr=TableState(0, 0))
    if bits == 32:
        return dataclasses.replace(flat, cr0=real.cr0 | 1)
    return dataclasses.replace(flat, cr0=0x8000_0011, cr3=TABLES, cr4=0x20, efer=0x500)


def tables() -> bytes:
    """Return page tables of the first 2 MiB, with a page that is missing and one that is another."""
    pages = [at << 12 | 3 for at in range(512)]
    pages[UNMAPPED >> 12] = 0
    pages[OTHER >> 12] = 0x9_0003
    entries = [[TABLES + 0x1000 | 3], [TABLES + 0x2000 | 3], [TABLES + 0x3000 | 3], pages]
    return b"".join(b"".join(entry.to_bytes(8, "little") for entry in table).ljust(4096, b"\0") for table in entries)


# IRQ 0 counts at DS:7F0h and ends; the 8254 interrupts every 100 us
HANDLER = bytes.fromhex("50ff06f007b020e62058cf")
TIMER = bytes.fromhex("b011e620b020e621b004e621b001e621b0fee621b034e643b077e640b000e640")


def guest(bits: int, steps: list[Step], *, interrupts: bool, bulk: bool) -> Machine:
    """Build a machine that is about to take `steps` and to halt for ever."""
    board = computer(device=[*PC, {"type": "port92"}])
    choose = Random(7)
    disk: Any = board.devices.ends.block.backends["ide0.0"]
    disk.write(0, choose.randbytes(64 * 512))
    board.memory.write(0x2_0000, choose.randbytes(0x1_0000))
    board.memory.write(TABLES, tables())
    board.memory.write(0x7E0, HANDLER)
    board.memory.write(0x80, (0x7E0).to_bytes(4, "little"))  # vector 20h
    begin = TIMER + (b"\xfb" if bits == 16 else b"") if interrupts else put(0x3F6, 2, bits)
    board.memory.write(START, begin + b"".join(step.code(bits) for step in steps) + b"\xfa\xf4")
    execution(board).load(state(bits))
    cpu: Any = execution(board).cpu
    cpu.bulk = bulk
    return board


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
    disk: Any = board.devices.ends.block.backends["ide0.0"]
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
    """Compare whole runs: the engine starts a block anew that writes over itself, which a cut run does elsewhere."""
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
