"""A random program in a small machine: phrases in a loop, with handlers for what they raise.

0x1000  page tables      0x4000  GDT, and from 0x4100 the IDT (in 16-bit mode the vectors are at 0)
0x5000  LDTs, TSSs       0x6000  handlers        0x6e00  the stack's end      0x7000  data      0x8000  the program
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from struct import pack
from typing import Final

from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.contract import CpuState, SegmentState, TableState
from chkpt.machine.cpu.power_on import power_on
from chkpt.prove.cpu.encode import Bits, at, move, out, port_in_dx
from chkpt.prove.cpu.phrases import DATA, GDT, HIGHER, NEXT, PHRASES, SERIAL, Place

CODE: Final = 0x8000
STACK: Final = 0x6E00
ROUNDS: Final = 0x6FE0
FAULTS: Final = 0x6FD0
TIMER: Final = 0x6FC0
LINE_4: Final = 0x6FB0
HANDLERS: Final = 0x6000
GDT_SIZE: Final = 0x70
IDT: Final = 0x4100
LDT: Final = 0x5000
TSS: Final = 0x5080
VECTORS: Final = 0x31
IRQ_BASE: Final = 0x28
"""The vector of line 0. The vectors below 0x28 are exceptions, 0x30 is an INT of the program's."""

PHRASES_OF_A_PROGRAM: Final = 30
LIMIT: Final = 60_000
"""Ticks after which a program is over, wherever it is."""

MACHINE: Final[dict[str, object]] = {
    "name": "prover",
    "memory": "2M",
    "cpu": {"rate": 1_000_000},  # a tick is a microsecond, so that the timer comes often
    "device": [{"type": "pic"}, {"type": "pit"}, {"type": "port92"}, {"type": "serial"}],
}


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its mode, and its phrases by name and by what they choose from. Equal programs are equal bytes."""

    bits: Bits
    phrases: tuple[tuple[str, int], ...]
    rounds: int = 3
    count: int = 60  # of the timer, in periods of 838 ns
    nested: bool = False  # the PIC ends each interrupt by itself, and trap gates leave IF set: requests follow at once

    def parts(self) -> list[tuple[int, str, bytes]]:
        """Return the address, the name and the bytes of each phrase."""
        address, parts = CODE, list[tuple[int, str, bytes]]()
        for name, seed in self.phrases:
            code = PHRASES[name][0](Place(self.bits, address, Random(seed)))  # noqa: S311  nothing secret
            parts.append((address, name, code))
            address += len(code)
        return parts

    def code(self) -> bytes:
        """Return the whole program: the phrases, again for each round, then CLI and HLT."""
        body = b"".join(code for _, _, code in self.parts())
        body += (b"\x66" if self.bits == 16 else b"") + b"\xff" + at(self.bits, 1, ROUNDS)  # DEC dword
        size = 4 if self.bits == 16 else 6
        back = -(len(body) + size)
        body += b"\x0f\x85" + (pack("<h", back) if self.bits == 16 else pack("<i", back))
        return body + b"\xfa\xf4"


def make_program(seed: int) -> Program:
    """Return a random program."""
    choose = Random(seed)  # noqa: S311  nothing secret
    names, weights = [*PHRASES], [weight for _, weight in PHRASES.values()]
    chosen = choose.choices(names, weights, k=PHRASES_OF_A_PROGRAM)
    phrases = tuple((name, choose.getrandbits(48)) for name in chosen)
    return Program(
        choose.choice((16, 32, 64)), phrases, choose.randint(2, 4), choose.randint(40, 400), choose.random() < 0.5
    )


def new_machine(model: str = "unicorn") -> Machine:
    """Return a machine for programs. Raise ConfigError if there is no processor to be had."""
    return Machine(parse({**MACHINE, "cpu": {"model": model, "rate": 1_000_000}}))


def put(program: Program, machine: Machine) -> None:
    """Put a program into a new machine, before its first instruction."""
    memory, bits = machine.memory, program.bits
    handlers = _handlers(bits)
    memory.write(HANDLERS, b"".join(handlers))
    starts = [HANDLERS + sum(map(len, handlers[:number])) for number in range(len(handlers))]
    fault, debug, timer, line_4 = starts
    targets = dict.fromkeys(range(VECTORS), fault) | {1: debug, IRQ_BASE: timer, IRQ_BASE + 4: line_4}
    for vector, target in targets.items():
        gate = 0x8F00 if program.nested and target in {timer, line_4} else 0x8E00
        if bits == 16:
            memory.write(4 * vector, pack("<HH", target, 0))
        elif bits == 32:
            memory.write(IDT + 8 * vector, pack("<HHHH", target, 8, gate, 0))
        else:
            memory.write(IDT + 16 * vector, pack("<HHHHII", target, 8, gate, 0, 0, 0))
    memory.write(GDT, _descriptors(bits))
    memory.write(LDT, pack("<QQQ", 0x00CF_9300_0000_FFFF, 0x00CF_9300_0100_7FFF, 0x00CF_9B00_0000_1FFF))
    for address, entry in ((0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x83)):
        memory.write(address, pack("<Q", entry))
    memory.write(DATA, Random(program.phrases.__repr__()).randbytes(0x800))  # noqa: S311  nothing secret
    memory.write(ROUNDS, pack("<I", program.rounds))
    memory.write(CODE, program.code())
    for port, value in (
        *((0x20, 0x11), (0x21, IRQ_BASE), (0x21, 4), (0x21, 3 if program.nested else 1)),  # ICW1 to ICW4 (bit 1: AEOI)
        *((0x21, 0xEE), (SERIAL + 4, 8)),  # lines 0 and 4 alone; OUT2 lets the serial port drive its line
        *((0x43, 0x34), (0x40, program.count & 0xFF), (0x40, program.count >> 8)),  # counter 0, mode 2
        (0x92, 2),
    ):
        machine.ports.outb(port, value)
    machine.processor().load(_begin(bits))


def _descriptors(bits: Bits) -> bytes:
    """Return the GDT: code, data, data with another limit, both with another base, LDTs, TSSs."""
    code = 0x00AF_9B00_0000_FFFF if bits == 64 else 0x00CF_9B00_0000_FFFF
    flat = (0, code, 0x00CF_9300_0000_FFFF, 0x00CF_9300_0000_7FFF)
    table = pack("<6Q", *flat, 0x00CF_9300_0000_FFFF | HIGHER << 16, 0x00CF_9B00_0000_FFFF | HIGHER << 16)
    for base, limit, kind in ((LDT, 0x17, 0x82), (LDT + 8, 7, 0x82), (TSS, 0x67, 0x89), (TSS + 0x80, 0x77, 0x89)):
        table += pack("<QQ", limit | base << 16 | kind << 40, 0)  # bits 32 to 63 of the base are in the second half
    assert len(table) == GDT_SIZE
    return table


def _begin(bits: Bits) -> CpuState:
    """Return the state before the first instruction, in the program's mode."""
    state = replace(power_on(0, a20=True), rip=CODE, rsp=STACK, cr4=0x600)  # OSFXSR, OSXMMEXCPT
    if bits == 16:
        return replace(state, cs=SegmentState(0, 0, 0xFFFF, 0x9B00))
    code = SegmentState(8, 0, 0xFFFF_FFFF, 0xA0_9B00 if bits == 64 else 0xCF_9B00)
    data = SegmentState(0x10, 0, 0xFFFF_FFFF, 0xCF_9300)
    state = replace(
        state, cs=code, ss=data, ds=data, es=data, fs=data, gs=data, cr0=0x33,
        gdtr=TableState(GDT, GDT_SIZE - 1), idtr=TableState(IDT, (8 if bits == 32 else 16) * VECTORS - 1),
    )  # fmt: skip
    return state if bits == 32 else replace(state, cr0=0x8000_0033, cr3=0x1000, cr4=0x620, efer=0xD00)


def _handlers(bits: Bits) -> Sequence[bytes]:
    """Return the handlers of a fault, of #DB, of the timer and of the serial port."""
    wide = b"\x66" if bits == 16 else b""
    stack = {16: b"\xbc" + pack("<H", STACK), 32: b"\xbc" + pack("<I", STACK), 64: b"\x48\xc7\xc4" + pack("<I", STACK)}
    count = b"\xff"
    fault = stack[bits] + wide + count + at(bits, 0, FAULTS) + b"\xff" + at(bits, 4, NEXT)
    back = b"\x48\xcf" if bits == 64 else b"\xcf"
    push, pop = wide + b"\x50", wide + b"\x58"
    clear = move(bits, 0, 0x400) + b"\x0f\x23\xf8" + b"\x0f\x21\xf0"  # DR7, then EAX from DR6
    debug = push + clear + wide + b"\x89" + at(bits, 0, FAULTS + 4) + pop + back
    timer = push + wide + count + at(bits, 0, TIMER) + out(0x20, 0x20) + pop + back
    identify = port_in_dx(bits, SERIAL + 2) + b"\xec"  # IIR: that ends the request
    line_4 = push + wide + b"\x52" + wide + count + at(bits, 0, LINE_4) + identify
    line_4 += out(0x20, 0x20) + wide + b"\x5a" + pop + back
    return fault, debug, timer, line_4
