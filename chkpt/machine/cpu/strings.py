"""REP INS and REP OUTS in one go: many rounds at once, while nothing can come between them.

The engine runs each round as a block of its own and calls us for each. While a device has more data, a round only moves
a unit, counts it and takes time. So many rounds can be done at once, with the same result for the guest, the clock and
every stop. Cases that could differ are left to the engine: another page, whose access could fault; an index that wraps;
a write over the instruction itself; single steps; a descending index.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from chkpt.machine.board.memory import PAGE_SIZE
from chkpt.machine.cpu.paging import FaultError, Linear
from chkpt.machine.cpu.registers import CS, CX, DI, DS, ES, SI, TF, Registers

INS: Final = 0x6D
OUTS: Final = 0x6F
_REP, _OPERAND_SIZE, _ADDRESS_SIZE = 0xF3, 0x66, 0x67
_LONGEST: Final = 5
"""The bytes of an instruction that are read: the opcode, each prefix once, and one more."""


class Repeat(NamedTuple):
    """The rounds that may follow the present one, of one instruction."""

    opcode: int
    length: int  # of the instruction, in bytes
    physical: int  # address of the next unit, before A20
    rounds: int  # at least 1
    mask: int  # of the index and the counter


class Strings:
    """Finds a REP INS or REP OUTS that is being run."""

    def __init__(self, registers: Registers, linear: Linear, find_ram: Callable[[int], int | None]) -> None:
        """Take the registers and memory.

        Args:
            registers: up to date, with EIP at the instruction.
            linear: linear memory.
            find_ram: returns a physical address behind A20, or None if it is not in a page of RAM.
        """
        self._registers = registers
        self._linear = linear
        self._find_ram = find_ram

    def find(self, opcode: int, width: int) -> Repeat | None:
        """Return the rounds that may follow the present one, which moves `width` bytes; None if none may."""
        registers = self._registers
        if (
            registers.direction != 1
            or registers.engine_eflags & TF
            or registers.shadow
            or registers.has_port_breakpoint
        ):
            return None
        bits = registers.code_bits
        wrap = (1 << (64 if bits == 64 else 32)) - 1
        user = registers.cpl == 3
        at = registers.eip if bits == 64 else registers.segment(CS).base + registers.eip & wrap
        try:
            code = self._linear.translate(at, write=False, user=user)
            found = _decode(self._linear.fetch(code, min(_LONGEST, PAGE_SIZE - at % PAGE_SIZE)), opcode, bits)
            if found is None:
                return None
            length, mask = found
            index = registers[DI if opcode == INS else SI] & mask
            base = 0 if bits == 64 else registers.segment(ES if opcode == INS else DS).base
            address = base + index & wrap
            into_page = address % PAGE_SIZE + width
            rounds = min(
                (registers[CX] & mask) - 1,
                (PAGE_SIZE - into_page) // width,
                (mask + 1 - index) // width - 1,
            )
            if rounds <= 0:
                return None
            physical = self._linear.translate(address, write=opcode == INS, user=user) + width
        except FaultError:
            return None
        place = self._find_ram(physical)
        if place is None or (opcode == INS and place // PAGE_SIZE == (self._find_ram(code) or 0) // PAGE_SIZE):
            return None
        return Repeat(opcode, length, physical, rounds, mask)

    def advance(self, repeat: Repeat, count: int, width: int) -> None:
        """Update the registers as `count` rounds do."""
        registers, mask = self._registers, repeat.mask
        number = DI if repeat.opcode == INS else SI
        kept = ~mask if mask == 0xFFFF else 0  # a 32-bit result clears the upper half
        registers[number] = registers[number] & kept | registers[number] + count * width & mask
        registers[CX] = registers[CX] & kept | registers[CX] - count & mask


def _decode(code: bytes, opcode: int, bits: int) -> tuple[int, int] | None:
    """Return the length of a REP of `opcode` and the mask of its address size; None for another instruction."""
    repeated = other_size = False
    for at, byte in enumerate(code):
        if byte == opcode:
            size = {16: 32, 32: 16, 64: 32}[bits] if other_size else bits
            return (at + 1, (1 << size) - 1) if repeated else None
        if byte == _REP:
            repeated = True
        elif byte == _ADDRESS_SIZE:
            other_size = True
        elif byte != _OPERAND_SIZE:
            return None
    return None
