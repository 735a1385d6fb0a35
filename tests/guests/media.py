"""Disks and CD-ROMs to boot from, made of bytes."""

import struct
from pathlib import Path
from typing import Final

SECTOR: Final = 512
CD_SECTOR: Final = 2048
TEXT_AT: Final = 16
"""Where boot_sector.asm looks for the number of the sector with its text."""

PVD, BOOT_RECORD, TERMINATOR, CATALOG, BOOT_IMAGE, TEXT = range(16, 22)
"""The sectors of our CD-ROM, the first of which ECMA-119 fixes, the second El Torito."""


def boot_sector(text_sector: int) -> bytes:
    """Return boot_sector.asm's sector, that says the text in a sector."""
    code = (Path(__file__).parent / "boot_sector.bin").read_bytes()
    return code[:TEXT_AT] + struct.pack("<I", text_sector) + code[TEXT_AT + 4 :]


def boot_disk(text: str, sectors: int = 128) -> bytes:
    """Return a disk whose boot sector says a text."""
    return (boot_sector(1) + text.encode().ljust(SECTOR, b"\0")).ljust(sectors * SECTOR, b"\0")


def boot_cdrom(text: str) -> bytes:
    """Return a CD-ROM that boots without emulation of a diskette (El Torito 1.0, 2.0), and says a text."""
    sectors = {
        PVD: b"\x01CD001\x01\0" + b" " * 32 + b"CHKPT".ljust(32) + bytes(8) + _both(TEXT + 1),
        BOOT_RECORD: b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", CATALOG),
        TERMINATOR: b"\xffCD001\x01",
        CATALOG: _validation() + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, BOOT_IMAGE),
        BOOT_IMAGE: boot_sector(TEXT),
        TEXT: text.encode(),
    }
    image = bytearray(CD_SECTOR * (TEXT + 1))
    for number, content in sectors.items():
        image[number * CD_SECTOR : number * CD_SECTOR + len(content)] = content
    return bytes(image)


def _validation() -> bytes:
    """Return the catalog's first entry, whose words add up to 0."""
    entry = bytearray(struct.pack("<BBH24sH2s", 1, 0, 0, b"chkpt", 0, b"\x55\xaa"))
    total = sum(struct.unpack("<16H", entry))
    struct.pack_into("<H", entry, 28, -total & 0xFFFF)
    return bytes(entry)


def _both(value: int) -> bytes:
    """Return a number in both orders of bytes."""
    return struct.pack("<I", value) + struct.pack(">I", value)
