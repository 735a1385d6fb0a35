"""The setup header of a bzImage (Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").

Offsets are those of that document, in bytes from the start of the file.
"""

from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from chkpt.errors import ConfigError

HEADER: Final = 0x1F1
"""The offset of the setup header, in the file and in the boot parameters."""

HEADER_END: Final = 0x290
"""The end of the longest setup header; the boot parameters go on there."""

ENTRY_64: Final = 0x200
"""The offset of the 64-bit entry in the kernel's own code (boot.rst, "64-bit Boot Protocol")."""

_SECTOR: Final = 512
_BOOT_FLAG, _MAGIC, _VERSION = 0x1FE, 0x202, 0x206
_FIRST_VERSION: Final = 0x20C  # 2.12: xloadflags
_XLF_KERNEL_64: Final = 1
_LOADED_HIGH: Final = 1


@dataclass(frozen=True, slots=True)
class BzImage:
    """The parts of a bzImage that a boot loader needs. Sizes are in bytes."""

    header: bytes  # from HEADER on
    code: bytes  # after the real-mode part; it begins with the 32-bit entry
    payload: bytes  # the compressed kernel in it, with its size in the last four bytes
    pref_address: int  # the preferred address of the code
    init_size: int  # the memory that it needs there until it finds more by itself
    initrd_max: int  # the last address that an initrd may have
    cmdline_size: int  # without the NUL at its end


def parse_bzimage(image: bytes) -> BzImage:
    """Read a bzImage.

    Raises:
        ConfigError: it is not a bzImage, is cut off, or has no 64-bit entry.
    """
    if len(image) < HEADER_END or image[_BOOT_FLAG : _BOOT_FLAG + 2] != b"\x55\xaa":
        raise ConfigError("it is not a bzImage: it does not begin with a boot sector")
    if image[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise ConfigError("it is not a bzImage: its setup header is missing")
    version = _u16(image, _VERSION)
    if version < _FIRST_VERSION:
        raise ConfigError(
            f"it has boot protocol {version >> 8}.{version & 0xFF:02}, but 2.12 is the first with a 64-bit entry"
        )
    if not _u16(image, 0x236) & _XLF_KERNEL_64:
        raise ConfigError("it is a 32-bit kernel: it has no 64-bit entry")
    if not image[0x211] & _LOADED_HIGH:
        raise ConfigError("it is a zImage, which is loaded below 1 MiB")
    end = _MAGIC + image[0x201]
    if not 0x268 <= end <= HEADER_END:
        raise ConfigError(f"its setup header ends at {end:#x}, not from 0x268 to {HEADER_END:#x}")
    begin = ((image[HEADER] or 4) + 1) * _SECTOR
    size = _u32(image, 0x1F4) * 16
    if len(image) < begin + size or size <= ENTRY_64:
        raise ConfigError(f"it is cut off: it has {len(image)} bytes of {begin + max(size, ENTRY_64)}")
    code = image[begin : begin + size]
    offset, length = _u32(image, 0x248), _u32(image, 0x24C)
    if length < 8 or offset + length > size:
        raise ConfigError(f"its payload of {length} bytes at {offset:#x} is not within its {size} bytes of code")
    pref_address, init_size = _u64(image, 0x258), _u32(image, 0x260)
    return BzImage(
        image[HEADER:end],
        code,
        code[offset : offset + length],
        pref_address,
        max(init_size, size),
        _u32(image, 0x22C),
        _u32(image, 0x238),
    )


def _u16(image: bytes, at: int) -> int:
    return int(unpack_from("<H", image, at)[0])


def _u32(image: bytes, at: int) -> int:
    return int(unpack_from("<I", image, at)[0])


def _u64(image: bytes, at: int) -> int:
    return int(unpack_from("<Q", image, at)[0])
