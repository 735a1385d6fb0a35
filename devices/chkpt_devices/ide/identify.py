"""The 256 words that IDENTIFY DEVICE and IDENTIFY PACKET DEVICE give.

Source: ATA/ATAPI-6 (T13/1410D) for what the words mean; QEMU's `hw/ide/core.c` for values that the
standard leaves open: a guest sees the disk that it knows from there. As in QEMU, the words report modes above
PIO, but this channel moves all data by PIO and aborts the DMA commands.
"""

from collections.abc import Mapping
from struct import pack
from typing import Final

from chkpt_devices.ide.address import MAX_LBA28, Geometry
from chkpt_devices.ide.config import DriveConfig, model_of

MAX_MULTIPLE: Final = 16
"""The most sectors that a block of READ or WRITE MULTIPLE may have."""

# Words 82 to 84 report what the drive has, 85 to 87 which of that is enabled
SMART: Final = 1 << 0
WRITE_CACHE: Final = 1 << 5
NOP: Final = 1 << 14  # words 82 and 85
LBA48: Final = 1 << 10  # words 83 and 86, as are the two below
FLUSH: Final = 1 << 12
FLUSH_EXT: Final = 1 << 13
VALID: Final = 1 << 14  # words 83, 84 and 87: "shall be set to one"

WORD_62: Final = 0x0007  # single word DMA 0 to 2
WORD_63: Final = 0x0007  # multiword DMA 0 to 2
WORD_88: Final = 0x003F  # Ultra DMA 0 to 5
MODE_WORDS: Final = ((62, WORD_62, 0x10), (63, WORD_63, 0x20), (88, WORD_88, 0x40))
"""Word, the modes it supports, and the sector count of SET FEATURES 0x03 that selects the first of them."""

DISK_WORDS: Final = {
    0: 0x0040,  # a fixed ATA device
    5: 512,  # bytes a sector, retired
    20: 3,  # dual ported buffer with look-ahead, retired
    21: 512,  # sectors of buffer, retired
    22: 4,  # bytes of ECC, retired
    47: 0x8000 | MAX_MULTIPLE,
    48: 1,  # 32-bit accesses of the data register work
    49: 0x0B00,  # IORDY, LBA, DMA
    51: 0x0200,  # PIO cycle timing mode 2
    52: 0x0200,  # DMA cycle timing mode 2, retired
    53: 0x0007,  # words 54-58, 64-70 and 88 are valid
    64: 0x0003,  # PIO modes 3 and 4
    65: 120, 66: 120, 67: 120, 68: 120,  # least cycle times in ns
    80: 0x00F0,  # ATA-4 to ATA-7
    81: 0x0016,  # ATA/ATAPI-5
    82: NOP | WRITE_CACHE | SMART,
    83: VALID | FLUSH_EXT | FLUSH | LBA48,
    84: VALID,
    86: FLUSH_EXT | FLUSH | LBA48,
    87: VALID,
    93: 0x6001,  # hardware reset: drive 0, 80-wire cable
}  # fmt: skip
"""The words that all disks share."""

CDROM_WORDS: Final = {
    0: 0x85C0,  # ATAPI, CD-ROM, removable, DRQ within 50 us of PACKET, 12-byte packets
    20: 3,
    21: 512,
    22: 4,
    48: 1,
    49: 0x0300,  # LBA, DMA
    53: 0x0007,
    64: 0x0003,
    65: 180, 66: 180, 67: 300, 68: 180,  # least cycle times in ns
    71: 30, 72: 30,  # microseconds from PACKET and from SERVICE to bus release
    80: 0x001E,  # ATA-1 to ATA/ATAPI-4
}  # fmt: skip
"""The words that all CD-ROM drives share."""


def _put_text(words: dict[int, int], first: int, length: int, text: str) -> None:
    """Put an ATA string at word `first`: padded with blanks, the first character in the upper byte."""
    padded = text.encode("ascii").ljust(length)
    for index in range(0, length, 2):
        words[first + index // 2] = padded[index] << 8 | padded[index + 1]


def _put_strings(words: dict[int, int], config: DriveConfig) -> None:
    _put_text(words, 10, 20, config.serial)
    _put_text(words, 23, 8, config.firmware)
    _put_text(words, 27, 40, model_of(config))


def _put_modes(words: dict[int, int], transfer_mode: int) -> None:
    """Put in the supported DMA modes, and in the upper byte the selected one, if any."""
    for word, supported, base in MODE_WORDS:
        words[word] = supported
        if transfer_mode & ~0x07 == base:
            words[word] |= 0x100 << (transfer_mode & 0x07)


def _pack_block(words: Mapping[int, int]) -> bytes:
    return pack("<256H", *[words.get(index, 0) for index in range(256)])


def identify_disk(
    config: DriveConfig,
    sectors: int,
    geometry: tuple[Geometry, Geometry],
    *,
    multiple: int,
    transfer_mode: int,
    write_cache: bool,
    smart: bool,
) -> bytes:
    """Return the answer of a disk of `sectors` sectors. `geometry`: the translation at power-on and the present one."""
    default, current = geometry
    capacity = current.capacity
    lba28 = min(sectors, MAX_LBA28)
    words = DISK_WORDS | {
        1: default.cylinders,
        3: default.heads,
        4: 512 * default.sectors,  # bytes a track, retired
        6: default.sectors,
        54: current.cylinders,
        55: current.heads,
        56: current.sectors,
        57: capacity & 0xFFFF,
        58: capacity >> 16,
        59: 0x0100 | multiple if multiple else 0,
        60: lba28 & 0xFFFF,
        61: lba28 >> 16,
        85: NOP | (WRITE_CACHE if write_cache else 0) | (SMART if smart else 0),
        100: sectors & 0xFFFF,
        101: sectors >> 16 & 0xFFFF,
        102: sectors >> 32 & 0xFFFF,
        103: sectors >> 48,
    }
    _put_strings(words, config)
    _put_modes(words, transfer_mode)
    return _pack_block(words)


def identify_cdrom(config: DriveConfig, *, transfer_mode: int) -> bytes:
    """Return the answer of a CD-ROM drive."""
    words = dict(CDROM_WORDS)
    _put_strings(words, config)
    _put_modes(words, transfer_mode)
    return _pack_block(words)
