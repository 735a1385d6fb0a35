"""The compressed kernel in a bzImage: its first bytes show the kind, a library of that kind unpacks it, up to a limit.

The last four bytes of a payload are the size of the unpacked kernel (Linux, scripts/Makefile.lib, `size_append`; gzip's
own format has the same). It is compared with the result.
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
"""Bytes that xz and lzma may use for their dictionaries: the kernel's build uses up to 128 MiB."""

_WINDOW: Final = 1 << 27
"""The largest window of zstd: 128 MiB, as of `zstd --ultra -22`."""

_LZ4_BLOCK: Final = 8 << 20
"""The most bytes of an unpacked block of LZ4's legacy format (lz4_Frame_format.md, "Legacy frame")."""

_LZ4_MAGIC: Final = bytes.fromhex("02214c18")
_ELF: Final = b"\x7fELF"

Unpacker = Callable[[bytes, int], bytes]
"""Takes packed data and the expected number of bytes; returns the content, cut off one byte beyond that number."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def unpack_kernel(payload: bytes, limit: int) -> bytes:
    """Return the kernel in a payload.

    Args:
        payload: the one of a bzImage.
        limit: the most bytes that the kernel may have.

    Raises:
        ConfigError: its kind is not known, it is damaged, its size is wrong or beyond the limit; or the library of its
            kind is not installed.
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
        raise ConfigError(f"its {name} payload is damaged: it unpacks to {more} the {size} bytes that it declares")
    return content


class _BrokenError(Exception):
    """Signals packed data that cannot be unpacked."""


def _kind(payload: bytes) -> tuple[str, Unpacker]:
    for magic, name, unpack in _KINDS:
        if payload.startswith(magic):
            if unpack is None:
                break
            return name, unpack
    raise ConfigError(
        f"its payload is of a kind that cannot be unpacked here: it begins with {payload[:6].hex()}; "
        'let the guest unpack it with unpack = "guest"'
    )


def _gzip(packed: bytes, size: int) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(packed, size + 1)


def _xz(packed: bytes, size: int) -> bytes:
    return _decompress(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY), packed, size)


def _lzma(packed: bytes, size: int) -> bytes:
    return _decompress(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY), packed[:-_SIZE], size)


def _bzip2(packed: bytes, size: int) -> bytes:
    return _decompress(bz2.BZ2Decompressor(), packed, size)


def _decompress(decompressor: _Decompressor, packed: bytes, size: int) -> bytes:
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
    """Unpack LZ4's legacy format: blocks, each after its packed size; the magic number may be repeated."""
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
            raise _BrokenError(f"a block of {length} bytes at {at:#x} is incomplete")
        part = decompress(packed[at : at + length], uncompressed_size=min(_LZ4_BLOCK, room))
        parts.append(part)
        at += length
        room -= len(part)
    return b"".join(parts)


_KINDS: Final[tuple[tuple[bytes, str, Unpacker | None], ...]] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"\xfd7zXZ\0", "xz", _xz),
    (b"BZh", "bzip2", _bzip2),
    (b"\x5d\0\0", "lzma", _lzma),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (_LZ4_MAGIC, "lz4", _lz4),
)
"""The kinds by their first bytes. lzo, the only other one, has no well-maintained library."""
