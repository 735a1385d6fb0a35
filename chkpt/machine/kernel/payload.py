"""The compressed kernel in a bzImage: told by its first bytes, unpacked by the library of its kind, up to a limit.

Behind the compressed data are four bytes with the size of what comes of it (Linux, scripts/Makefile.lib, `size_append`;
gzip has the same of its own), which are held against what has come.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Final, Protocol

from chkpt.errors import ConfigError, CorruptError
from chkpt.extras import install
from chkpt.snapshot.codec import foreign_content

_SIZE: Final = 4
_MEMORY: Final = 512 << 20
"""What xz and lzma may take for their dictionaries: the kernel's own build takes up to 128 MiB."""

_WINDOW: Final = 1 << 27
"""zstd's window: 128 MiB, as `zstd --ultra -22` has it."""

_LZ4_BLOCK: Final = 8 << 20
"""What a block of LZ4's legacy format may grow to (lz4_Frame_format.md, "Legacy frame")."""

_LZ4_MAGIC: Final = bytes.fromhex("02214c18")
_ELF: Final = b"\x7fELF"

Unpack = Callable[[bytes, int], bytes]
"""Takes what is packed and how many bytes are wanted; gives as many, or one more where there are more."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def unpacked(payload: bytes, limit: int) -> bytes:
    """Return the kernel in a payload.

    Args:
        payload: as it lies in the bzImage.
        limit: the most bytes that may come of it.

    Raises:
        ConfigError: it is of no known kind, damaged, not of the size that it tells, or beyond the limit; or the library
            of its kind is not installed.
    """
    if payload.startswith(_ELF):
        return payload
    size = int.from_bytes(payload[-_SIZE:], "little")
    name, unpack = _kind(payload)
    if size > limit:
        raise ConfigError(f"its {name} payload unpacks to {size} bytes, more than the {limit} bytes of memory")
    try:
        content = unpack(payload, size)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, _BrokenError) as exc:
        raise ConfigError(f"its {name} payload is damaged: {exc}") from exc
    if len(content) != size:
        more = "more than" if len(content) > size else f"{len(content)} bytes of"
        raise ConfigError(f"its {name} payload is damaged: it unpacks to {more} the {size} bytes that it tells")
    return content


class _BrokenError(Exception):
    """Packed data that cannot be unpacked."""


def _kind(payload: bytes) -> tuple[str, Unpack]:
    for magic, name, unpack in _KINDS:
        if payload.startswith(magic):
            if unpack is None:
                break
            return name, unpack
    raise ConfigError(
        f"its payload is of no kind that can be unpacked here: it begins with {payload[:6].hex()}; "
        'let it unpack itself with unpack = "guest"'
    )


def _gzip(packed: bytes, size: int) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(packed, size + 1)


def _xz(packed: bytes, size: int) -> bytes:
    return _stepwise(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY), packed, size)


def _lzma(packed: bytes, size: int) -> bytes:
    return _stepwise(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY), packed[:-_SIZE], size)


def _bzip2(packed: bytes, size: int) -> bytes:
    return _stepwise(bz2.BZ2Decompressor(), packed, size)


def _stepwise(decompressor: _Decompressor, packed: bytes, size: int) -> bytes:
    content = decompressor.decompress(packed, max_length=size + 1)
    while len(content) <= size and not decompressor.eof and not decompressor.needs_input:
        more = decompressor.decompress(b"", max_length=size + 1 - len(content))
        if not more:
            break
        content += more
    return content


def _zstd(packed: bytes, size: int) -> bytes:
    try:
        return foreign_content(packed[:-_SIZE], size + 1, _WINDOW)
    except CorruptError as exc:
        raise _BrokenError(str(exc)) from exc


def _lz4(packed: bytes, size: int) -> bytes:
    """Unpack LZ4's legacy format: blocks, each behind its packed size; the magic number may come again."""
    try:
        decompress: Callable[..., bytes] = import_module("lz4.block").decompress
    except ImportError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "lz4":
            raise
        raise ConfigError(f"lz4 is not installed, which this kernel's payload needs: {install('guest')}") from exc
    end = len(packed) - _SIZE
    parts: list[bytes] = []
    at, room = len(_LZ4_MAGIC), size + 1
    while at < end:
        head = packed[at : at + 4]
        at += 4
        if head == _LZ4_MAGIC:
            continue
        length = int.from_bytes(head, "little")
        if not length or at + length > end:
            raise _BrokenError(f"a block of {length} bytes at {at:#x} is not within it")
        part = decompress(packed[at : at + length], uncompressed_size=min(_LZ4_BLOCK, room))
        parts.append(part)
        at += length
        room -= len(part)
    return b"".join(parts)


_KINDS: Final[tuple[tuple[bytes, str, Unpack | None], ...]] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"\xfd7zXZ\0", "xz", _xz),
    (b"BZh", "bzip2", _bzip2),
    (b"\x5d\0\0", "lzma", _lzma),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (_LZ4_MAGIC, "lz4", _lz4),
)
"""By their first bytes. There is no well-kept library for lzo, the one other kind that a kernel may have."""
