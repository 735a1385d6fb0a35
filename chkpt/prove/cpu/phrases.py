"""The phrases of the random programs: each is a few instructions with random operands.

A phrase leaves the stack, the code and the tables as they are, so phrases may follow each other in any order. A phrase
that raises an exception first stores the address at which the handlers continue the program.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from struct import pack
from typing import Final

from chkpt.machine.cpu.power_on import MSRS
from chkpt.prove.cpu.encode import (
    Bits,
    at,
    both,
    load,
    move,
    move_control,
    move_debug,
    out,
    port_in_dx,
    push_flags,
    sse,
    store,
    store_byte,
    store_number,
    wide,
)

DATA: Final = 0x7000
"""The data of the phrases: 4 KiB. The dumps of the registers are at its end."""

NEXT: Final = 0x6FF0
"""Where a program goes on after an exception."""

SERIAL: Final = 0x3F8
"""A serial port: its interrupt enable register, written 0 and then 2, raises line 4 at once (16550A: THRE)."""

GENERAL: Final = (0, 1, 2, 3, 5, 6, 7)
"""All general registers but the stack pointer."""

SELECTORS: Final = (0x10, 0x18)
"""Of data segments, in 32- and 64-bit mode."""

HIGHER_DATA, HIGHER_CODE = 0x20, 0x28
"""Of segments that begin at `HIGHER`, in 32-bit mode."""

HIGHER: Final = 0x100

LDTS: Final = (0x30, 0x40)
"""Of local descriptor tables."""

TSSS: Final = (0x50, 0x60)
"""Of task state segments."""

GDT: Final = 0x4000


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a phrase: the mode, its address, and the random generator."""

    bits: Bits
    address: int
    choose: Random

    def data(self, size: int = 16) -> int:
        """Return the address of some data, aligned."""
        return DATA + self.choose.randrange(0x800 // size) * size

    def register(self) -> int:
        """Return the number of a general register."""
        return self.choose.choice(GENERAL)

    def number(self) -> int:
        """Return a number of 64 bits: often one with few bits, or at an edge."""
        choose = self.choose
        return choose.choice(
            (0, 1, (1 << 31) - 1, 1 << 63, (1 << 64) - 1, choose.getrandbits(8), choose.getrandbits(64))
        )


Phrase = Callable[[Place], bytes]


def integer(place: Place) -> bytes:
    """Arithmetic between registers and memory."""
    bits, choose = place.bits, place.choose
    one, other = place.register(), place.register()
    opcode = choose.choice((0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x87))
    return move(bits, one, place.number()) + choose.choice((
        wide(bits) + bytes((opcode,)) + both(other, one),
        wide(bits) + b"\xc1" + both(choose.choice((0, 1, 2, 3, 4, 5, 7)), one) + bytes((choose.randrange(64),)),
        wide(bits) + b"\xf7" + both(choose.choice((2, 3, 4, 5)), one),
        wide(bits) + b"\x0f\xaf" + both(one, other),
        store(bits, place.data(), one) + load(bits, other, place.data()),
        b"\x0f" + bytes((0x90 | choose.randrange(16),)) + at(bits, 0, place.data()),
    ))  # fmt: skip


def high_registers(place: Place) -> bytes:
    """R8 to R15, in 64-bit mode."""
    if place.bits != 64:
        return integer(place)
    number, other = place.choose.randrange(8), place.choose.randrange(8)
    add = bytes((0x4D, 0x01)) + both(other, number)
    return bytes((0x49, 0xB8 | number)) + pack("<Q", place.number()) + add


def flags(place: Place) -> bytes:
    """POPF of what does no harm, PUSHF, and what depends on it."""
    bits, choose = place.bits, place.choose
    value = choose.getrandbits(22) & 0x24_7CD5 | 2  # CF PF AF ZF SF DF OF IOPL NT AC ID
    back = (b"\x66" if bits == 16 else b"") + b"\x9c" + wide(bits)[: bits == 16] + bytes((0x58 | place.register(),))
    return push_flags(bits, value) + choose.choice((b"", back, b"\xfc", b"\xfd", b"\xf5"))


def strings(place: Place) -> bytes:
    """REP STOS, MOVS and CMPS within the data, in either direction."""
    bits, choose = place.bits, place.choose
    code = b"" if bits == 64 else b"\x1e\x07"  # ES like DS
    code += move(bits, 7, place.data() + 0x100) + move(bits, 6, place.data() + 0x100)
    code += move(bits, 1, choose.randrange(1, 40)) + choose.choice((b"\xfc", b"\xfd"))
    size = b"\x67" if bits == 16 else b""  # ECX, ESI and EDI
    return code + size + choose.choice((b"\xf3\xaa", b"\xf3\xa4", b"\xf3\xab", b"\xf3\xa6")) + b"\xfc"


def x87(place: Place) -> bytes:
    """Loads, arithmetic, and what is kept of them: codes, tags, stack, control word, environment."""
    bits, choose = place.bits, place.choose
    data = place.data()
    control = store_number(bits, data, choose.getrandbits(4) << 8 | 0x37F & 0xF0FF | 0x3F) + b"\xd9" + at(bits, 5, data)
    return b"".join(
        choose.choice((
            b"\xd9\xe8", b"\xd9\xeb", b"\xd9\xee", b"\xd9\xed", b"\xd9\xec",  # FLD1, FLDPI, FLDZ, FLDLN2, FLDLG2
            b"\xd8\xc1", b"\xd8\xc9", b"\xd8\xe1", b"\xd8\xf1", b"\xd9\xfa", b"\xd9\xe0", b"\xd9\xc9",
            b"\xdd\xc2", b"\xd9\xf7", b"\xd9\xf6", b"\xd9\xe4", b"\xd9\xe5", b"\xd8\xd9", b"\xdb\xe3",
            b"\xdd" + at(bits, 3, place.data()), b"\xdb" + at(bits, 7, place.data()), control,
            b"\xd9" + at(bits, 6, place.data(32)), b"\xdd" + at(bits, 7, place.data()),  # FNSTENV, FNSTSW
        ))
        for _ in range(choose.randint(1, 5))
    )  # fmt: skip


def xmm(place: Place) -> bytes:
    """SSE arithmetic, and MXCSR with its rounding, flush-to-zero, DAZ and sticky flags."""
    bits, choose = place.bits, place.choose
    data = place.data()
    number = choose.randrange(16 if bits == 64 else 8)
    code = choose.choice(
        (b"\x0f\x10", b"\x0f\x58", b"\x0f\x59", b"\x0f\x5e", b"\x0f\x57", b"\xf2\x0f\x51", b"\xf3\x0f\x5c")
    )
    control = store_number(bits, data, 0x1F80 | choose.getrandbits(16) & 0xE07F) + b"\x0f\xae" + at(bits, 2, data)
    keep = sse(bits, b"\x0f\x11", number, place.data()) + b"\x0f\xae" + at(bits, 3, place.data())
    return choose.choice((b"", control)) + sse(bits, code, number, place.data()) + choose.choice((b"", keep))


def control_registers(place: Place) -> bytes:
    """CR0's WP, AM and NE, CR2, CR3, CR4's TSD, DE and PGE, in 64-bit mode CR8: read, changed, written."""
    bits, choose = place.bits, place.choose
    registers = ((0, 0x5_0020), (4, 0x8C), (2, 0xFFFF_F000), (3, 0), (8, 0xF))
    number, mask = choose.choice(registers if bits == 64 else registers[:-1])
    change = wide(bits) + b"\x35" + pack("<I", choose.getrandbits(32) & mask & 0x7FFF_FFFF)
    return move_control(number, to=False) + change + move_control(number, to=True) + store(bits, place.data(), 0)


def debug_registers(place: Place) -> bytes:
    """DR0 to DR3 and DR6, which no enabled breakpoint looks at."""
    bits, choose = place.bits, place.choose
    number = choose.choice((0, 1, 2, 3, 6))
    value = choose.getrandbits(4) | 0xFFFF_0FF0 if number == 6 else 0x10_0000 + choose.getrandbits(16)
    read = move_debug(choose.choice((0, 1, 2, 3, 6, 7)), to=False) + store(bits, place.data(), 0)
    return move(bits, 0, value) + move_debug(number, to=True) + read


def breakpoint_on_code(place: Place) -> bytes:
    """A breakpoint on an instruction a few bytes ahead, with code in between; the handler of #DB clears it."""
    bits, choose = place.bits, place.choose
    between = b"\x90" * choose.randrange(1, 8) + integer(place) + bytes((0xEB, 0x00))

    def arm(target: int) -> bytes:
        return move(bits, 0, target) + move_debug(0, to=True) + move(bits, 0, 0x401) + move_debug(7, to=True) + between

    return arm(place.address + len(arm(0))) + b"\x40\xeb\x00"[bits == 64 :] + b"\x90"


def model_specific(place: Place) -> bytes:
    """RDMSR of what the round before has written, and WRMSR, of what is kept."""
    bits, choose = place.bits, place.choose
    usable = [msr for msr in MSRS if msr != 0x277]  # the page attribute table
    if bits == 64:
        usable += [0xC000_0100, 0xC000_0102] * 8
    msr = choose.choice(usable)
    enable = msr in {0x17B, *range(0x400, 0x428, 4)}  # machine checks: all ones, or zeros
    low = choose.choice((0, 0xFFFF_FFFF)) if enable else choose.getrandbits(32)
    high = low if enable else choose.getrandbits(15) if msr in {0xC000_0100, 0xC000_0102} else choose.getrandbits(16)
    write = move(bits, 1, msr) + move(bits, 0, low) + move(bits, 2, high) + b"\x0f\x30"
    read = move(bits, 1, msr) + b"\x0f\x32" + store(bits, place.data(), 0)
    return read + write  # the read of the next round is far from the write, so that cuts fall between them


def segments(place: Place) -> bytes:
    """Loads of data segments, and what shows them and the tables."""
    bits, choose = place.bits, place.choose
    name = choose.choice((0, 4, 5) if bits != 64 else (0, 3, 4, 5))  # ES FS GS, DS
    selector = choose.getrandbits(12) if bits == 16 else choose.choice(SELECTORS)
    code = move(bits, 0, selector) + b"\x8e" + both(name, 0) + b"\x8c" + at(bits, name, place.data())
    table = choose.choice((0, 1))  # SGDT, SIDT
    return code + choose.choice((b"", b"\x0f\x01" + at(bits, table, place.data())))


def bases(place: Place) -> bytes:
    """DS, SS or CS with another base, for a few blocks; 64-bit mode has no bases."""
    bits, choose = place.bits, place.choose
    if bits == 64:
        return segments(place)
    data, code, flat, flat_code = (0x10, 0x10, 0, 0) if bits == 16 else (HIGHER_DATA, HIGHER_CODE, 0x10, 8)
    within = b"\xeb\x00" + move(bits, 3, place.number()) + b"\xeb\x00"
    if choose.random() < 0.4:

        def far(selector: int, offset: int) -> bytes:
            return b"\xea" + pack("<HH" if bits == 16 else "<IH", offset, selector)

        ahead = place.address + len(far(0, 0))
        return far(code, ahead - HIGHER) + within + far(flat_code, ahead + len(within) + len(far(0, 0)))
    name, use = choose.choice((
        (3, within + store(bits, place.data() - HIGHER, 3)),
        (2, within + wide(bits) + b"\x53\xeb\x00" + wide(bits) + b"\x5f"),  # PUSH EBX, POP EDI
    ))  # fmt: skip
    return move(bits, 0, data) + b"\x8e" + both(name, 0) + use + move(bits, 0, flat) + b"\x8e" + both(name, 0)


def tables(place: Place) -> bytes:
    """SLDT, STR, and LAR and LSL by way of the LDT, of what the round before has loaded; then LLDT or LTR."""
    bits, choose = place.bits, place.choose
    if bits == 16:
        return segments(place)
    look = b"".join(b"\x0f\x00" + both(kind, 0) + store(bits, place.data(), 0) for kind in (0, 1))
    for opcode in (0x02, 0x03):
        look += move(bits, 1, choose.choice((0x04, 0x0C, 0x14))) + bytes((0x0F, opcode)) + both(0, 1)
        look += store(bits, place.data(), 0) + b"\x0f\x94" + at(bits, 0, place.data())  # SETZ
    if choose.random() < 0.5:
        return look + move(bits, 0, choose.choice((0, *LDTS))) + b"\x0f\x00" + both(2, 0)
    tss = choose.choice(TSSS)
    return look + store_byte(bits, GDT + tss + 5, 0x89) + move(bits, 0, tss) + b"\x0f\x00" + both(3, 0)  # not busy


def single_steps(place: Place) -> bytes:
    """A few instructions with TF."""
    bits = place.bits
    return push_flags(bits, 0x102) + integer(place) + b"\xeb\x00" + push_flags(bits, 2)


def exceptions(place: Place) -> bytes:
    """An instruction that raises one, or an INT; the handler counts it and goes on behind."""
    bits, choose = place.bits, place.choose
    zero = move(bits, 1, 0) + wide(bits) + b"\xf7" + both(6, 1)  # DIV by zero
    faults = [b"\xcc", b"\x0f\x0b", b"\xcd\x30", zero]
    if bits != 16:
        faults.append(move(bits, 0, 0x1000) + b"\x8e" + both(4, 0))  # a selector beyond the GDT
    if bits == 64:
        faults.append(wide(bits) + b"\x8b" + at(64, 0, 0x7000_0000))  # a page that is not there
    fault = choose.choice(faults)

    def whole(goes_on: int) -> bytes:
        return store_number(bits, NEXT, goes_on) + fault

    return whole(place.address + len(whole(0)))


def self_modifying(place: Place) -> bytes:
    """Write into the instruction ahead, which has run before in an earlier round."""
    bits = place.bits
    jump = b"\xeb\x00"  # a new block, as of a processor that has fetched ahead

    def whole(target: int) -> bytes:
        return store_byte(bits, target, place.choose.getrandbits(8)) + jump + b"\xb0\x00"

    size = len(whole(0))
    return whole(place.address + size - 1)


def address_line_20(place: Place) -> bytes:
    """A20 off and on by port 0x92, with an access through it where 32 bits reach."""
    bits = place.bits
    access = b"" if bits == 16 else store(bits, 0x10_0000 + place.data(), 3) + load(bits, 6, 0x10_0000 + place.data())
    off = b"\xb0" + bytes((place.choose.choice((0, 0, 2)),)) + b"\xe6\x92"
    return off + access


def interrupts(place: Place) -> bytes:
    """A window for the timer's interrupt: a long one, one of a single instruction behind STI, or HLT."""
    choose = place.choose
    inside = choose.choice((b"\x90", b"\x90" * 40, b"\xf4", integer(place)))
    return b"\xfb" + inside + b"\xfa"


def waiting(place: Place) -> bytes:
    """Requests that wait through blocks of code with interrupts off, until STI or POPF lets them in."""
    bits, choose = place.bits, place.choose
    serial = port_in_dx(bits, SERIAL + 1) + b"\xb0\x00\xee\xb0\x02\xee"  # IER
    timer = out(0x43, 0x30) + out(0x43, 0x34) + out(0x40, choose.randint(60, 250)) + out(0x40, 0)  # OUT falls and rises
    held = b"".join(integer(place) + b"\xeb\x00" for _ in range(choose.randrange(4)))
    opened = choose.choice((b"\xfb", b"\xfb\x90", push_flags(bits, 0x202)))
    inside = choose.choice((b"", b"\xeb\x00", b"\xf4", b"\x90" * 8 + b"\xeb\x00"))
    return serial + choose.choice((b"", timer)) + held + opened + inside + b"\xfa"


def ports(place: Place) -> bytes:
    """The timer's count, which shows the time."""
    return b"\xb0\x00\xe6\x43\xe4\x40\x88" + at(place.bits, 0, place.data()) + b"\xe4\x40"


def dump(place: Place) -> bytes:
    """FXSAVE and the general registers, into memory."""
    bits = place.bits
    data = DATA + 0x800 + place.choose.randrange(3) * 0x200
    rex = b"\x48" if bits == 64 else b""
    return rex + b"\x0f\xae" + at(bits, 0, data) + b"".join(store(bits, place.data(), reg) for reg in GENERAL)


PHRASES: Final[Mapping[str, tuple[Phrase, int]]] = {
    "integer": (integer, 6), "R8 to R15": (high_registers, 2), "flags": (flags, 3), "string": (strings, 2),
    "x87": (x87, 4), "SSE": (xmm, 5), "control register": (control_registers, 3),
    "debug register": (debug_registers, 2), "breakpoint": (breakpoint_on_code, 1),
    "MSR": (model_specific, 4), "segment": (segments, 3), "base": (bases, 2),
    "LDT and TSS": (tables, 2), "single steps": (single_steps, 1),
    "exception": (exceptions, 3), "self-modifying": (self_modifying, 1), "A20": (address_line_20, 1),
    "interrupt window": (interrupts, 3), "interrupt waits": (waiting, 2), "port": (ports, 1), "dump": (dump, 1),
}  # fmt: skip
"""The phrases by name, with how often each is chosen."""
