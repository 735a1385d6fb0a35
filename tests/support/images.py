"""Small kernels: a bzImage around an ELF file around a few instructions."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from struct import pack, pack_into

import lz4.block
import zstandard

AT = 0x20_0000
TOLD = 0x1_5000  # where the guest puts RSI

# mov [TOLD], rsi; inc byte [TOLD+8]; cli; hlt
CODE = bytes.fromhex("48893425") + pack("<I", TOLD) + bytes.fromhex("fe0425") + pack("<I", TOLD + 8) + b"\xfa\xf4"


def elf(code: bytes = CODE, *, address: int = AT, entry: int | None = None, more: int = 64, machine: int = 62) -> bytes:
    """Return an executable with one segment, which has `more` bytes of zeros behind it."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    start = address if entry is None else entry
    header = pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = pack("<IIQQQQQQ", 1, 5, 120, 0xFFFF_FFFF_8000_0000, address, len(code), len(code) + more, 4096)
    return header + program + code


def _lz4(content: bytes) -> bytes:
    half = len(content) // 2
    blocks = [lz4.block.compress(part, store_size=False) for part in (content[:half], content[half:])]
    return bytes.fromhex("02214c18") + b"".join(pack("<I", len(block)) + block for block in blocks)


def _sized(pack_: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda content: pack_(content) + pack("<I", len(content))


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,  # it ends with its size
    "xz": _sized(lambda content: lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_CRC32)),
    "lzma": _sized(lambda content: lzma.compress(content, lzma.FORMAT_ALONE)),
    "bzip2": _sized(bz2.compress),
    "zstd": _sized(zstandard.compress),
    "lz4": _sized(_lz4),
    "none": lambda content: content,
}


def bzimage(
    payload: bytes = gzip.compress(elf()),
    *,
    version: int = 0x20F,
    xloadflags: int = 1,
    loadflags: int = 1,
    pref_address: int = AT,
    init_size: int = 0x1_0000,
    cmdline_size: int = 2047,
    initrd_max: int = 0x7FFF_FFFF,
    header_end: int = 0x26C,
    setup_sects: int = 3,
    length: int | None = None,
) -> bytes:
    """Return a bzImage."""
    code = bytearray(0x200) + CODE.ljust(0x100, b"\0") + payload
    code += bytes(-len(code) % 16)
    setup = bytearray(((setup_sects or 4) + 1) * 512)
    setup[0x1F1] = setup_sects
    pack_into("<I", setup, 0x1F4, len(code) // 16)
    setup[0x1FE:0x206] = b"\x55\xaa\xeb" + bytes([header_end - 0x202]) + b"HdrS"
    pack_into("<H", setup, 0x206, version)
    setup[0x211] = loadflags
    pack_into("<I", setup, 0x22C, initrd_max)
    pack_into("<HI", setup, 0x236, xloadflags, cmdline_size)
    pack_into("<II", setup, 0x248, 0x300, len(payload) if length is None else length)
    pack_into("<QI", setup, 0x258, pref_address, init_size)
    return bytes(setup + code)
