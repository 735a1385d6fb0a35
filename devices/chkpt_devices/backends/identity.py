"""The identity of a disk's base: a digest of its content. Holes cost nothing.

An identity of kind 1 is the byte 1 and BLAKE3-256, in the mode that derives keys and with the context
"chkpt image identity 1", of

    the size of the content | for each piece of 1 MiB that is not all zero: its number | BLAKE3-256 of the piece

Size and number have 64 bits, little-endian. The last piece may be shorter. Pieces of zeros are left out, so a hole of a
sparse file is not read, and a file has the same identity whether its zeros are holes or not.

An older identity, kind 0, is the BLAKE3-256 of the whole content: 32 bytes. Snapshots that have it still load.
See `docs/decisions/0030-the-identity-of-an-image.md`.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Final, TypeAlias

from blake3 import blake3

IDENTITY_PIECE: Final = 1 << 20
"""Bytes that are read and digested together."""

_CONTEXT: Final = "chkpt image identity 1"
_ZEROS: Final = bytes(IDENTITY_PIECE)
_DIGEST_SIZE: Final = 32

Read: TypeAlias = Callable[[int, int], bytes]
"""Returns `length` bytes at `offset`, or raises OSError."""

Extents: TypeAlias = Iterable[tuple[int, int]]
"""The beginning and the end of each run of bytes that may have other bytes than zero, in rising order."""


class Kind(IntEnum):
    """The kinds of identity."""

    WHOLE = 0  # the BLAKE3-256 of the content, without the byte for the kind
    PIECES = 1


def kind_of(identity: bytes) -> Kind:
    """Return the kind of an identity. Only identities of one kind can be equal."""
    return Kind.WHOLE if len(identity) == _DIGEST_SIZE else Kind.PIECES


def identity_of(
    kind: Kind, size: int, read: Read, extents: Extents, check: Callable[[], object] = lambda: None
) -> bytes:
    """Return the identity of a content of `size` bytes.

    `check` is called before each piece. Errors of `check`, `read` and `extents` pass through.
    """
    return (_digest_whole if kind is Kind.WHOLE else _digest_pieces)(size, read, extents, check)


def _digest_pieces(size: int, read: Read, extents: Extents, check: Callable[[], object]) -> bytes:
    hasher = blake3(size.to_bytes(8, "little"), derive_key_context=_CONTEXT)
    following = 0  # a piece that two extents share is read once
    for start, end in extents:
        for number in range(max(start // IDENTITY_PIECE, following), -(-end // IDENTITY_PIECE)):
            check()
            offset = number * IDENTITY_PIECE
            piece = read(offset, min(IDENTITY_PIECE, size - offset))
            if not _ZEROS.startswith(piece):
                hasher.update(number.to_bytes(8, "little") + blake3(piece).digest())
            following = number + 1
    return bytes((Kind.PIECES,)) + hasher.digest()


def _digest_whole(size: int, read: Read, extents: Extents, check: Callable[[], object]) -> bytes:
    hasher = blake3()
    at = 0
    for start, end in (*extents, (size, size)):
        while at < start:
            check()
            length = min(IDENTITY_PIECE, start - at)
            hasher.update(_ZEROS[:length])
            at += length
        while at < end:
            check()
            content = read(at, min(IDENTITY_PIECE, end - at))
            hasher.update(content)
            at += len(content)
    return hasher.digest()


def extents_of(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of a file that are not holes; the whole file if the system cannot say (lseek(2), SEEK_DATA)."""
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # ENXIO: there is no data from here on
                yield at, size
            return
        end = min(os.lseek(file, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end
        at = max(end, at + 1)
