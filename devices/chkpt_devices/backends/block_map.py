"""Which blocks of a disk have changed: one bit a block, in pieces that exist only where something has.

Its blob grows with what has changed, not with the disk: all bits of a disk of 4 TiB are 128 MiB.
"""

from typing import Final

from chkpt.device import Blob, SparseBlob
from chkpt.errors import StateError

MAP_PIECE: Final = 0x10000
"""Bytes in a piece of the map, and in one of the blob."""

_BLOCK_BITS: Final = 19  # the low bits of a block's number: its place in a piece of 8 * MAP_PIECE blocks
_BYTE_MASK: Final = MAP_PIECE - 1


class BlockMap:
    """A set of numbers below `blocks`. Bit i of byte j of its blob stands for number 8 * j + i."""

    def __init__(self, blocks: int) -> None:
        """Make an empty set."""
        self._blocks = blocks
        self._size = -(-blocks // 8)
        self._pieces: dict[int, bytearray] = {}
        self._saved: dict[int, bytes] = {}
        self._stale: set[int] = set()  # pieces that have changed since the last save

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __contains__(self, number: int) -> bool:
        piece = self._pieces.get(number >> _BLOCK_BITS)
        return piece is not None and bool(piece[number >> 3 & _BYTE_MASK] >> (number & 7) & 1)

    def add(self, number: int) -> None:
        """Add a number to the set."""
        index = number >> _BLOCK_BITS
        piece = self._pieces.get(index)
        if piece is None:
            piece = self._pieces[index] = bytearray(min(MAP_PIECE, self._size - index * MAP_PIECE))
        piece[number >> 3 & _BYTE_MASK] |= 1 << (number & 7)
        self._stale.add(index)

    def save(self) -> SparseBlob:
        """Return the blob of the set; what is added later does not alter it."""
        if self._stale:
            self._saved = {**self._saved, **{index: bytes(self._pieces[index]) for index in self._stale}}
            self._stale.clear()
        return SparseBlob(self._size, MAP_PIECE, self._saved)

    def check(self, blob: Blob) -> None:
        """Raise StateError if a blob cannot be of such a set. This does not read its pieces."""
        if blob.size != self._size or blob.piece_size <= 0:
            raise StateError(
                f"the disk's changed has {blob.size} bytes in pieces of {blob.piece_size}, and should have {self._size}"
            )

    def from_blob(self, blob: Blob) -> "BlockMap":
        """Return the set of a blob, below the same number.

        Raises:
            StateError: the blob cannot be of such a set.
            CorruptError: it comes from a file and is damaged.
        """
        self.check(blob)
        new = BlockMap(self._blocks)
        for number, content in blob.pieces():
            start = number * blob.piece_size
            if len(content) != min(blob.piece_size, self._size - start):
                raise StateError(f"piece {number} of the disk's changed has {len(content)} bytes")
            new._put(start, bytes(content))
        beyond = 8 * self._size - self._blocks
        last = new._pieces.get((self._size - 1) // MAP_PIECE)
        if last is not None and last[-1] >> (8 - beyond):
            raise StateError("the disk's changed has bits beyond the last block")
        new._stale = set(new._pieces)
        return new

    def _put(self, start: int, content: bytes) -> None:
        """Copy the bits of `content`, which begin at byte `start` of the map."""
        at = 0
        while at < len(content):
            index, place = divmod(start + at, MAP_PIECE)
            part = content[at : at + MAP_PIECE - place]
            at += len(part)
            if any(part):
                size = min(MAP_PIECE, self._size - index * MAP_PIECE)
                self._pieces.setdefault(index, bytearray(size))[place : place + len(part)] = part
