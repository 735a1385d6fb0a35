"""A processor's registers: a view of the engine's own bytes, which interrupt delivery and the state use.

The engine keeps them in QEMU's `CPUX86State`; `unicorn_context` finds their places in it at start.
"""

from dataclasses import dataclass
from typing import NamedTuple

AX, CX, DX, BX, SP, BP, SI, DI = range(8)
ES, CS, SS, DS, FS, GS = range(6)

# RFLAGS (SDM vol. 1, 3.4.3)
TF, IF, DF, IOPL, NT, RF, VM, AC = 1 << 8, 1 << 9, 1 << 10, 3 << 12, 1 << 14, 1 << 16, 1 << 17, 1 << 18
PE, MP_EM_TS, WP, PG = 1, 0xE, 1 << 16, 1 << 31  # CR0
PSE, PAE, OSFXSR = 1 << 4, 1 << 5, 1 << 9  # CR4
SCE, LME, LMA, NXE = 1, 1 << 8, 1 << 10, 1 << 11  # EFER

# a segment's flags: bits of the descriptor's high half (SDM vol. 3, 3.4.5)
ACCESSED, WRITABLE, CONFORMING, CODE, S, PRESENT = 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 15
EXPAND_DOWN, LONG, BIG, GRANULAR = 1 << 10, 1 << 21, 1 << 22, 1 << 23
FLAGS = 0x00F0_FF00

# QEMU's hflags: what translated code depends on (target/i386/cpu.h, HF_*_SHIFT)
_INHIBIT, _CS32, _SS32, _ADDSEG, _PE = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
_MP_SHIFT, _LMA, _CS64, _OSFXSR, _IOBPT = 8, 1 << 14, 1 << 15, 1 << 22, 1 << 24
_VINTR = 1 << 3  # of hflags2: MOV to and from CR8 reach the engine's copy of it, not an APIC that it does not have
_KNOWN = 3 | _INHIBIT | _CS32 | _SS32 | _ADDSEG | _PE | MP_EM_TS << _MP_SHIFT | _LMA | _CS64 | _OSFXSR

_M64 = 0xFFFF_FFFF_FFFF_FFFF


class Segment(NamedTuple):
    """A segment register with its hidden part."""

    selector: int
    base: int
    limit: int
    flags: int

    @property
    def dpl(self) -> int:
        """The descriptor's privilege level."""
        return self.flags >> 13 & 3


NULL = Segment(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of the registers in the engine's bytes, in bytes. Registers without a field follow others."""

    size: int
    regs: int  # 16 of 8 bytes, then eip, eflags, cc_dst, cc_src, cc_src2, cc_op and df, hflags and hflags2, segments
    lstar: int  # star, vm_hsave before it; cstar, fmask after it
    dr: int  # error_code, exception_is_int, exception_next_eip before it; old_exception after it

    @property
    def a20_mask(self) -> int:
        """A20's mask, 32 bits."""
        return self.regs + 496

    @property
    def old_exception(self) -> int:
        """The exception that is being delivered, 32 bits, -1 for none."""
        return self.dr + 96

    @property
    def task_priority(self) -> int:
        """CR8, 8 bits; the registers end 12 bytes after it."""
        return self.dr + 156


class Registers:
    """The registers in a buffer of `layout.size` bytes, which must be aligned to 8 bytes.

    `eflags` is not in it: the engine computes that only on request.
    """

    __slots__ = ("_dr", "_lstar", "_regs", "_task_priority", "_view8", "_view32", "_view64", "eflags")

    def __init__(self, buffer: memoryview, layout: Layout) -> None:
        whole = buffer.cast("B")[: layout.size & ~7]
        self._view8 = whole
        self._view64 = whole.cast("Q")
        self._view32 = whole.cast("I")
        self._regs = layout.regs // 8
        self._lstar = layout.lstar // 8
        self._dr = layout.dr // 8
        self._task_priority = layout.task_priority
        self.eflags = 2

    # -- numbers ------------------------------------------------------------------------------------------------------

    def __getitem__(self, number: int) -> int:
        """Return a general register."""
        return self._view64[self._regs + number]

    def __setitem__(self, number: int, value: int) -> None:
        self._view64[self._regs + number] = value & _M64

    @property
    def eip(self) -> int:
        """The offset of the next instruction in CS."""
        return self._view64[self._regs + 16]

    @eip.setter
    def eip(self, value: int) -> None:
        self._view64[self._regs + 16] = value & _M64

    def cr(self, number: int) -> int:
        """Return a control register."""
        return self._view64[self._regs + 53 + number]

    def set_cr(self, number: int, value: int) -> None:
        """Set a control register; it takes effect with `settle`."""
        self._view64[self._regs + 53 + number] = value

    @property
    def task_priority(self) -> int:
        """CR8, 0 to 15. It holds back no interrupt: those of the 8259A do not pass an APIC's priority."""
        return self._view8[self._task_priority]

    @task_priority.setter
    def task_priority(self, value: int) -> None:
        self._view8[self._task_priority] = value
        self._view32[2 * self._regs + 45] |= _VINTR

    def dr(self, number: int) -> int:
        """Return a debug register."""
        return self._view64[self._dr + number]

    def set_dr(self, number: int, value: int) -> None:
        """Set a debug register."""
        self._view64[self._dr + number] = value

    @property
    def efer(self) -> int:
        """The extended feature enable register."""
        return self._view64[self._regs + 74]

    @efer.setter
    def efer(self, value: int) -> None:
        self._view64[self._regs + 74] = value

    def star(self) -> tuple[int, int, int, int]:
        """Return STAR, LSTAR, CSTAR and FMASK."""
        at, view = self._lstar, self._view64
        return view[at - 2], view[at], view[at + 1], view[at + 2]

    @property
    def a20(self) -> bool:
        """Whether address line 20 gets through."""
        return bool(self._view32[2 * self._regs + 124] & 1 << 20)

    @a20.setter
    def a20(self, level: bool) -> None:
        self._view32[2 * self._regs + 124] = 0xFFFF_FFFF if level else 0xFFEF_FFFF

    @property
    def direction(self) -> int:
        """What a string instruction adds: 1, or -1 as 32 bits."""
        return self._view32[2 * self._regs + 43]

    @direction.setter
    def direction(self, value: int) -> None:
        self._view32[2 * self._regs + 43] = value

    # -- segments -----------------------------------------------------------------------------------------------------

    def segment(self, number: int) -> Segment:
        """Return segment register `number`; 6 is LDTR, 7 TR, 8 GDTR, 9 IDTR."""
        at = self._regs + 23 + 3 * number
        low, high = self._view32[2 * at], self._view64[at + 2]
        return Segment(low, self._view64[at + 1], high & 0xFFFF_FFFF, high >> 32)

    def set_segment(self, number: int, segment: Segment) -> None:
        """Set a segment register; it takes effect with `settle`."""
        at = self._regs + 23 + 3 * number
        self._view64[at] = segment.selector
        self._view64[at + 1] = segment.base
        self._view64[at + 2] = segment.limit | segment.flags << 32

    # -- the summary of the registers ---------------------------------------------------------------------------------

    @property
    def cpl(self) -> int:
        """The current privilege level."""
        return self._view32[2 * self._regs + 44] & 3

    @property
    def shadow(self) -> bool:
        """Whether interrupts are held back for one instruction."""
        return bool(self._view32[2 * self._regs + 44] & _INHIBIT)

    @property
    def code_bits(self) -> int:
        """The default size of addresses in the code segment: 16, 32 or 64."""
        flags = self._view32[2 * self._regs + 44]
        return 64 if flags & _CS64 else 32 if flags & _CS32 else 16

    @property
    def has_port_breakpoint(self) -> bool:
        """Whether a debug register watches a port."""
        return bool(self._view32[2 * self._regs + 44] & _IOBPT)

    @property
    def engine_eflags(self) -> int:
        """RFLAGS as the engine keeps them: the system flags are right, the arithmetic ones and DF are elsewhere."""
        return self._view32[2 * self._regs + 34]

    @property
    def hflags(self) -> int:
        """The engine's summary of the registers, on which translated code depends."""
        return self._view32[2 * self._regs + 44]

    @property
    def hflags2(self) -> int:
        """The rest of that summary, on which code does not depend."""
        return self._view32[2 * self._regs + 45]

    def settle(self, *, shadow: bool = False) -> None:
        """Compute the engine's summary again, after a change of segments, control registers or the mode."""
        cs, ss = self.segment(CS), self.segment(SS)
        cr0 = self.cr(0)
        flags = ss.dpl | (cr0 & MP_EM_TS) << _MP_SHIFT
        long = bool(self.efer & LMA)
        flags |= _PE if cr0 & PE else 0
        flags |= _LMA if long else 0
        flags |= _SS32 if ss.flags & BIG else 0
        flags |= _OSFXSR if self.cr(4) & OSFXSR else 0
        flags |= _INHIBIT if shadow else 0
        if long and cs.flags & LONG:
            flags |= _CS32 | _CS64
        else:
            flags |= _CS32 if cs.flags & BIG else 0
            flat = not (self.segment(DS).base | self.segment(ES).base | ss.base)
            if not (flat and cr0 & PE and not self.eflags & VM and cs.flags & BIG):
                flags |= _ADDSEG
        at = 2 * self._regs + 44
        self._view32[at] = self._view32[at] & ~_KNOWN | flags

    # -- exceptions ---------------------------------------------------------------------------------------------------

    @property
    def error_code(self) -> int:
        """The error code of the exception that the engine has just raised."""
        return self._view32[2 * self._dr - 4]

    @property
    def is_software(self) -> bool:
        """Whether the engine has just raised an INT n, INT3 or INTO."""
        return self._view32[2 * self._dr - 3] != 0

    def forget_exception(self) -> None:
        """Mark the exception as delivered in the engine, which otherwise escalates the next one."""
        self._view32[2 * self._dr + 24] = 0xFFFF_FFFF
