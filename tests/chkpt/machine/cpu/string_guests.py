"""Guests in real, protected and long mode that read and write sectors of a disk by REP INS and REP OUTS."""

import dataclasses
from dataclasses import dataclass
from random import Random
from typing import Any

from chkpt.machine import Machine
from chkpt.machine.cpu.contract import CpuState, SegmentState, TableState
from chkpt.machine.cpu.power_on import power_on
from tests.guests import PC, SECOND, START, computer, execution

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
    disk: Any = board.devices.frontends["block"].backends["ide0.0"]
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
