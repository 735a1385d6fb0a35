"""A guest that writes its pages for ever, in an order that shows whether RAM and processor are of one moment."""

from pathlib import Path
from typing import Final

from chkpt.machine import Machine

CODE: Final = bytes.fromhex(
    "66 31 ed"  #        xor ebp, ebp
    "ba fd 03"  # again: mov dx, 3fdh
    "ec"  #        in al, dx
    "a8 20"  #        test al, 20h      the transmitter is empty
    "74 08"  #        jz next
    "ba f8 03"  #        mov dx, 3f8h
    "fe c3"  #        inc bl
    "88 d8"  #        mov al, bl
    "ee"  #        out dx, al
    "89 e8"  # next:  mov ax, bp        the number of this write; its page is that, modulo 128
    "83 e0 7f"  #        and ax, 7fh
    "86 c4"  #        xchg al, ah
    "05 00 10"  #        add ax, 1000h
    "8e c0"  #        mov es, ax
    "26 66 89 2e 00 00"  #  mov [es:0], ebp
    "66 45"  #        inc ebp
    "f7 c5 7f 00"  #        test bp, 7fh
    "75 e6"  #        jnz next
    "eb d4"  #        jmp again
)
"""Counts its writes in EBP, puts the number of each into the next of `PAGES`, round and round; sends 1, 2, 3, ..."""

PAGES: Final = 128
FIRST: Final = 0x10000
PAGE: Final = 4096

BIOS_SIZE: Final = 1 << 16
RESET: Final = bytes.fromhex("ea 00 00 00 f0")  # jmp f000:0000; a processor begins 16 bytes below the top


def write_bios(path: Path) -> None:
    """Write a BIOS that is this guest. The machine needs 1 MiB of RAM at least."""
    bios = bytearray(BIOS_SIZE)
    bios[: len(CODE)] = CODE
    bios[-16 : -16 + len(RESET)] = RESET
    path.write_bytes(bios)


def find_torn(machine: Machine) -> str:
    """Return which parts of a machine that runs the guest are of different moments; empty if none are.

    Each page must hold the last number that fell to it before the one in EBP; or that one, between the write and the
    count. So a snapshot is found torn if the guest has made two writes between any two parts of it.
    """
    count = machine.processor().save().rbp
    wrong: list[str] = []
    for at in range(PAGES):
        held = int.from_bytes(machine.memory.read(FIRST + at * PAGE, 4), "little")
        last = count - 1 - (count - 1 - at) % PAGES
        if held != max(0, last) and (held, at) != (count, count % PAGES):
            wrong.append(f"page {at} holds {held}")
    return f"at write {count} {', '.join(wrong[:3])}; {len(wrong)} of {PAGES} pages are wrong" if wrong else ""
