"""The result of CPUID, which the machine defines, not the engine (SDM vol. 2A, CPUID).

It describes a plain 64-bit processor with x87, MMX, SSE, SSE2 and SSE3. It has no APIC, RDTSCP, XSAVE, AVX, MTRRs and
MONITOR: CPUID reports only features that the engine and the machine have and that a saved state holds.
"""

from typing import Final

from chkpt.machine.cpu.registers import LMA

ADDRESS_BITS: Final = 40
"""The width of physical addresses, as the engine has it: a higher bit in a page-table entry raises #PF with RSVD.

All addresses of that width are mapped, as an access to an unmapped one stops the engine.
"""

VENDOR: Final = b"GenuineIntel"
BRAND: Final = b"chkpt virtual CPU".ljust(48, b"\0")

_FPU, _DE, _PSE, _TSC, _MSR, _PAE, _CX8, _SEP, _PGE, _CMOV = (1 << bit for bit in (0, 2, 3, 4, 5, 6, 8, 11, 13, 15))
_PAT, _PSE36, _CLFLUSH, _MMX, _FXSR, _SSE, _SSE2 = (1 << bit for bit in (16, 17, 19, 23, 24, 25, 26))
_SSE3, _CX16 = 1, 1 << 13
_SYSCALL, _NX, _LM, _LAHF = 1 << 11, 1 << 20, 1 << 29, 1

Leaf = tuple[int, int, int, int]
"""EAX, EBX, ECX, EDX."""

_LEAF_1_EDX: Final = (
    _FPU | _DE | _PSE | _TSC | _MSR | _PAE | _CX8 | _SEP | _PGE | _CMOV
    | _PAT | _PSE36 | _CLFLUSH | _MMX | _FXSR | _SSE | _SSE2
)  # fmt: skip


def _words(text: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text), 4))


def _leaves() -> dict[int, Leaf]:
    ebx, edx, ecx = _words(VENDOR)
    brand = _words(BRAND)
    return {
        0: (1, ebx, ecx, edx),
        1: (0x663, 8 << 8, _SSE3 | _CX16, _LEAF_1_EDX),  # family 6; CLFLUSH takes 8 * 8 bytes
        0x8000_0000: (0x8000_0008, ebx, ecx, edx),
        0x8000_0001: (0, 0, _LAHF, _NX | _LM),
        0x8000_0002: (brand[0], brand[1], brand[2], brand[3]),
        0x8000_0003: (brand[4], brand[5], brand[6], brand[7]),
        0x8000_0004: (brand[8], brand[9], brand[10], brand[11]),
        0x8000_0008: (ADDRESS_BITS | 48 << 8, 0, 0, 0),  # the widths of physical and linear addresses
    }


_LEAVES: Final = _leaves()


def cpuid(leaf: int, efer: int) -> Leaf:
    """Return the result of CPUID for a value of EAX. As with Intel, it has SYSCALL in long mode only."""
    if leaf == 0x8000_0001 and efer & LMA:
        eax, ebx, ecx, edx = _LEAVES[leaf]
        return eax, ebx, ecx, edx | _SYSCALL
    return _LEAVES.get(leaf, (0, 0, 0, 0))
