"""The machine at the entry of a kernel (Linux, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"; zero-page.rst).

Below 1 MiB are a descriptor table, the boot parameters, page tables and the command line. The kernel copies what it
needs before it uses this memory for other things.
"""

import dataclasses
from struct import pack, pack_into
from typing import Final

from chkpt.machine.cpu.contract import CpuState, SegmentState, TableState
from chkpt.machine.kernel.bzimage import HEADER, BzImage

MIB: Final = 1 << 20
GIB: Final = 1 << 30

GDT_AT: Final = 0x6000
PARAMETERS_AT: Final = 0x7000
TABLES_AT: Final = 0x8000
CMDLINE_AT: Final = 0x2_0000
CMDLINE_MAX: Final = 0xFFFF

_PAGE: Final = 4096
_STACK: Final = 0x2_0000  # empty
_BASE_END: Final = 0x9_FC00  # here a BIOS has its extended data area
_RAM, _RESERVED = 1, 2  # types of a range in the memory map (ACPI 6.5, 15.1)
_UNKNOWN_LOADER: Final = 0xFF
_WHOLE_GIBS: Final = 4  # that the page tables map

_CODE: Final = SegmentState(0x10, 0, 0xFFFF_FFFF, 0xA0_9B00)
_DATA: Final = SegmentState(0x18, 0, 0xFFFF_FFFF, 0xC0_9300)
_GDT: Final = pack("<4Q", 0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)


def parameters(image: BzImage, memory: int, initrd: tuple[int, int], cmdline_size: int) -> bytes:
    """Return the boot parameters, the "zero page".

    Args:
        image: its setup header becomes part of the page.
        memory: bytes of RAM, at least 1 MiB.
        initrd: its address and size; 0, 0 if there is none.
        cmdline_size: of the command line, without the NUL at its end.
    """
    page = bytearray(_PAGE)
    page[HEADER : HEADER + len(image.header)] = image.header
    page[0x210] = _UNKNOWN_LOADER
    pack_into("<II", page, 0x218, *initrd)
    pack_into("<I", page, 0x228, CMDLINE_AT)
    pack_into("<I", page, 0x238, cmdline_size)
    ranges = [(0, _BASE_END, _RAM), (_BASE_END, MIB - _BASE_END, _RESERVED)]
    if memory > MIB:
        ranges.append((MIB, memory - MIB, _RAM))
    page[0x1E8] = len(ranges)
    for at, each in enumerate(ranges):
        pack_into("<QQI", page, 0x2D0 + 20 * at, *each)
    return bytes(page)


def low_memory() -> dict[int, bytes]:
    """Return the descriptor table and the page tables by address. They map the first 4 GiB to themselves."""
    pointers = [TABLES_AT + (2 + at) * _PAGE | 3 for at in range(_WHOLE_GIBS)]
    tables = pack("<Q", TABLES_AT + _PAGE | 3).ljust(_PAGE, b"\0")
    tables += pack(f"<{_WHOLE_GIBS}Q", *pointers).ljust(_PAGE, b"\0")
    large = [at << 21 | 0x83 for at in range(_WHOLE_GIBS * 512)]  # present, writable, 2 MiB
    tables += pack(f"<{len(large)}Q", *large)
    return {GDT_AT: _GDT, TABLES_AT: tables}


def start(reset: CpuState, entry: int) -> CpuState:
    """Return the processor's state at the kernel's 64-bit entry.

    Args:
        reset: its state after a reset.
        entry: the address of the entry.
    """
    return dataclasses.replace(
        reset,
        rip=entry,
        rflags=2,
        rsi=PARAMETERS_AT,
        rdx=0,
        rsp=_STACK,
        cs=_CODE,
        es=_DATA,
        ss=_DATA,
        ds=_DATA,
        fs=_DATA,
        gs=_DATA,
        gdtr=TableState(GDT_AT, len(_GDT) - 1),
        idtr=TableState(0, 0),
        cr0=0x8000_0011,  # PG, ET, PE
        cr3=TABLES_AT,
        cr4=0x20,  # PAE
        efer=0x500,  # LMA, LME
    )
