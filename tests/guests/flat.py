"""Guests of a few bytes in 32- or 64-bit mode: flat segments, ring 3, and handlers that note an exception and halt."""

import dataclasses
import struct
from typing import Final, NamedTuple

from chkpt.machine import Machine
from chkpt.machine.cpu.contract import CpuState, SegmentState, TableState
from chkpt.machine.cpu.power_on import power_on
from tests.guests import START, computer, execution

CODE, DATA, USER_CODE, USER_DATA, CONFORMING = 0x08, 0x10, 0x1B, 0x23, 0x28
USER: Final = START + 0x100
"""Where the code of ring 3 begins."""

RESULT: Final = 0x7000
"""What programs write to, 256 bytes of zeros."""

STACK, USER_STACK = 0x6000, 0x6800
_FOUND: Final = 0x7800
_NOTHING: Final = 0xFFFF
_PAGES, _GDT, _IDT, _TSS, _HANDLERS = 0x1000, 0x4000, 0x4800, 0x5000, 0x9000
_WITH_ERROR: Final = (8, 10, 11, 12, 13, 14, 17)
_FLAGS: Final = (0x9B00, 0x9300, 0xFB00, 0xF300, 0x9F00)
"""Of the segments, in their order: code and data of rings 0 and 3, conforming code."""


class Ending(NamedTuple):
    """How a program ended: what it wrote, its registers, and the exception that ended it, if one did."""

    result: bytes
    state: CpuState
    vector: int | None
    error: int
    at: int  # the address that the exception pushed


def run_flat(bits: int, code: str, user: str = "", *, model: str = "unicorn", **registers: object) -> Ending:
    """Run a program, in hex, to its HLT or to an exception. `user` is at USER; its HLT is #GP."""
    machine = computer(model)
    try:
        put_flat(machine, bits, code, user, **registers)
        machine.run(ticks=10_000)
        return ending_of(machine, bits)
    finally:
        machine.close()


def ending_of(machine: Machine, bits: int) -> Ending:
    """Return how a program ended."""
    state, load = execution(machine).save(), machine.memory.load
    vector = load(_FOUND, 4)
    return Ending(
        machine.memory.read(RESULT, 256),
        state,
        None if vector == _NOTHING else vector,
        load(_FOUND + 8, 4),
        load(state.rsp, bits // 8),
    )


def put_flat(machine: Machine, bits: int, code: str, user: str = "", **registers: object) -> None:
    """Let a machine begin with a program."""
    write = machine.memory.write
    segments = [_segment(bits, 8 * (number + 1), flags) for number, flags in enumerate(_FLAGS)]
    write(_GDT, struct.pack(f"<{1 + len(segments)}Q", 0, *map(_descriptor, segments)))
    for vector in range(32):
        handler = _HANDLERS + 64 * vector
        gate = struct.pack("<HHHHQ", handler, CODE, 0x8E00, 0, 0)
        write(_IDT + bits // 4 * vector, gate[: bits // 4])
        note = bytes.fromhex("c70425") + struct.pack("<II", _FOUND, vector)  # mov dword [_FOUND], vector
        pop = bytes.fromhex("8f0425") + struct.pack("<I", _FOUND + 8) if vector in _WITH_ERROR else b""
        write(handler, note + pop + b"\xf4")
    write(_TSS + 4, struct.pack("<II", STACK, DATA if bits == 32 else 0))
    write(_PAGES, struct.pack("<Q", 0x2007))
    write(0x2000, struct.pack("<Q", 0x3007))
    write(0x3000, struct.pack("<Q", 0x87))  # 2 MiB
    write(_FOUND, struct.pack("<Q", _NOTHING))
    write(START, bytes.fromhex(code) + b"\xf4")
    write(USER, bytes.fromhex(user) + b"\xf4")
    long = {"cr0": 0x8000_0033, "cr3": _PAGES, "cr4": 0x620, "efer": 0xD00} if bits == 64 else {"cr0": 0x33}
    data = dict.fromkeys(("ds", "es", "fs", "gs", "ss"), segments[1])
    state = dataclasses.replace(
        power_on(0, a20=True),
        rip=START,
        rsp=STACK,
        cs=segments[0],
        tr=SegmentState(0x40, _TSS, 0x67, 0x8B00),
        gdtr=TableState(_GDT, 8 * len(segments) + 7),
        idtr=TableState(_IDT, 0x7FF),
        **{**data, **long, **registers},  # type: ignore[arg-type]  # of many types
    )
    execution(machine).load(state)


def to_user(bits: int, *, iret: bool, cs: int = USER_CODE, ss: int = USER_DATA) -> str:
    """Return a program, in hex, that goes to the code of ring 3 by IRET or RET far."""
    frame = [ss, USER_STACK, *([0x2] if iret else []), cs, USER]
    code = b"".join(b"\x68" + struct.pack("<I", each) for each in frame)  # push
    return (code + (b"\x48" if bits == 64 else b"") + (b"\xcf" if iret else b"\xcb")).hex()


def _segment(bits: int, selector: int, flags: int) -> SegmentState:
    size = 0xA0_0000 if bits == 64 and flags & 0x800 else 0xC0_0000
    return SegmentState(selector, 0, 0xFFFF_FFFF, flags | size)


def _descriptor(segment: SegmentState) -> int:
    return 0xFFFF | (segment.flags | 0xF_0000) << 32
