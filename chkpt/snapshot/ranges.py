"""Find which bytes of two blobs differ, as ranges from the first byte to behind the last.

Blobs of files are compared by the digests in their indexes. A piece is read only if it differs, and a pair of pieces
that comes again is compared once. Ranges are counted first, and made when the caller iterates over them: two files of
some KiB may have thousands of millions of them.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

from blake3 import blake3

from chkpt.context import MAX_PIECE_SIZE, Blob
from chkpt.snapshot.cores import on_all_cores

GAP: Final = 16
"""Equal bytes between two changed ones that end a range. Fewer are part of the range."""

Range: TypeAlias = tuple[int, int]

T = TypeVar("T")

_CHANGED: Final = re.compile(rb"[^\0]+(?:\0{1,%d}[^\0]+)*" % (GAP - 1))

_BLOCK: Final = 1 << 16
"""Bytes that are compared at a time."""

_BATCH: Final = 16 << 20
"""Bytes of the pieces that are compared before the first of their ranges is returned."""

_REMEMBERED_PAIRS: Final = 1 << 12
_REMEMBERED_NUMBERS: Final = 1 << 20
"""How many pairs of pieces, with how many ends of ranges, a comparison keeps: some 5 MiB."""

_KEPT_NUMBERS: Final = 1 << 19
"""How many ends of ranges are kept between the count and the iteration: 4 MiB."""


def changed_bytes(old: bytes | bytearray | memoryview, new: bytes | bytearray | memoryview) -> Iterator[Range]:
    """Yield first and end of the ranges that differ. The shorter side counts as continued with zeros."""
    return _join(_changed_in_blocks(memoryview(old), memoryview(new)))


def _changed_in_blocks(old: memoryview, new: memoryview) -> Iterator[Range]:
    for start in range(0, max(len(old), len(new)), _BLOCK):
        a, b = bytes(old[start : start + _BLOCK]), bytes(new[start : start + _BLOCK])
        if a != b:
            difference = int.from_bytes(a, "little") ^ int.from_bytes(b, "little")
            for run in _CHANGED.finditer(difference.to_bytes(max(len(a), len(b)), "little")):
                yield start + run.start(), start + run.end()


def _join(ranges: Iterable[Range]) -> Iterator[Range]:
    """Yield the ranges; ranges with less than `GAP` between them are joined to one. Skip empty ranges."""
    last = None
    for first, end in ranges:
        if first >= end:
            continue
        if last is not None and first - last[1] < GAP:
            last = last[0], end
            continue
        if last is not None:
            yield last
        last = first, end
    if last is not None:
        yield last


# -- blobs ------------------------------------------------------------------------------------------------------------

_Bounds: TypeAlias = "array[int]"
"""The ranges in one piece: first and end of each, one after another."""


class Ranges:
    """The ranges that differ in two blobs. Bytes that only the longer blob has count as different."""

    __slots__ = ("_bounds", "_compare", "_new", "_old", "count")

    count: int
    """How many ranges there are."""

    def __init__(self, old: Blob, new: Blob, compare: "PieceComparison") -> None:
        """Count the ranges.

        Raises:
            CorruptError: a piece read from a file is not the one that was written.
            StorageError: the file cannot be read.
        """
        self._old = old
        self._new = new
        self._compare = compare
        kept: array[int] | None = array("Q")
        self.count, end = 0, -GAP
        for start, ends in self._pieces():
            if not ends:
                continue
            near = start + ends[0] - end < GAP
            self.count += len(ends) // 2 - near
            end = start + ends[-1]
            if kept is not None and len(kept) + len(ends) > compare.room:
                kept = None
            if kept is not None:
                if near:
                    kept.pop()
                kept.extend(start + each for each in ends[near:])
        if kept is not None:
            compare.room -= len(kept)
        self._bounds = kept

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return self.count > 0

    def __iter__(self) -> Iterator[Range]:
        """Yield the ranges in rising order. Raise as the constructor does, if the files have changed since."""
        if self._bounds is not None:
            return zip(self._bounds[::2], self._bounds[1::2], strict=True)
        return _join(
            (start + ends[at], start + ends[at + 1]) for start, ends in self._pieces() for at in range(0, len(ends), 2)
        )

    def _pieces(self) -> Iterator[tuple[int, _Bounds]]:
        """Yield the start of each piece, and the ranges in it."""
        common, longest = sorted((self._old.size, self._new.size))
        for start, ends in self._compare.pieces(self._old, self._new):
            yield start, ends if start + MAX_PIECE_SIZE <= common else _cut(ends, common - start)
        if common < longest:
            yield common, array("Q", (0, longest - common))


def _cut(ends: _Bounds, size: int) -> _Bounds:
    """Return the ranges before `size`. A range that goes beyond it ends there."""
    cut = array("Q")
    for at in range(0, len(ends), 2):
        if ends[at] < size:
            cut.extend((ends[at], min(ends[at + 1], size)))
    return cut


@runtime_checkable
class Digested(Protocol):
    """A blob that has the digests of its pieces without a read of the pieces."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def piece_size(self) -> int:
        """Bytes in every piece but the last."""

    def digests(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(index, digest)` of the pieces that are not all zero."""

    def held_piece(self, at: int) -> tuple[int, bytes | memoryview]:
        """Return `(index, content)` of piece number `at`, from 0, of those that `digests` yields."""


class _Unit(NamedTuple):
    """The bytes of a blob that are compared at a time: whole pieces, or parts of the first and the last."""

    number: int
    key: bytes  # equal keys, equal content
    begin: int  # its first piece, as a number among the pieces that are not all zero
    end: int  # behind the last


_ZEROS: Final = _Unit(0, b"", 0, 0)


class PieceComparison:
    """Compare pieces, and keep the result of each pair. Each comparison of two checkpoints makes one."""

    __slots__ = ("_numbers", "_results", "room")

    room: int
    """How many more ends of ranges may be kept."""

    def __init__(self) -> None:
        """Begin without results."""
        self.room = _KEPT_NUMBERS
        self._results: dict[tuple[bytes, bytes], _Bounds] = {}
        self._numbers = 0

    def pieces(self, old: Blob, new: Blob) -> Iterator[tuple[int, _Bounds]]:
        """Yield start and ranges of the pieces that may differ, in the larger piece size of the two blobs.

        With the smaller size, a file with pieces of one byte would take minutes. Bytes that only one of the blobs has
        are not compared.

        Raises:
            CorruptError: a piece read from a file is not the one that was written.
            StorageError: the file cannot be read.
        """
        size = max(old.piece_size, new.piece_size)
        if not isinstance(old, Digested) or not isinstance(new, Digested):
            for start, old_piece, new_piece in _piece_pairs(old, new, size):
                yield start, _compare_bytes(old_piece, new_piece)
            return
        units = (pair for pair in _unit_pairs(old, new, size) if pair[0] < min(old.size, new.size))
        while batch := list(islice(units, min(max(_BATCH // size, 1), _REMEMBERED_PAIRS))):
            pairs = {(a.key, b.key): (a, b) for _, a, b in batch}
            found = {pair: self._results[pair] for pair in pairs if pair in self._results}
            unknown = {pair: units for pair, units in pairs.items() if pair not in found}

            def compare(pair: tuple[_Unit, _Unit], old: Digested = old, new: Digested = new) -> _Bounds:
                return _compare_bytes(_read_unit(old, pair[0], size), _read_unit(new, pair[1], size))

            for pair, ends in zip(unknown, on_all_cores(compare, unknown.values(), size), strict=True):
                found[pair] = ends
                self._remember(pair, ends)
            for start, a, b in batch:
                yield start, found[a.key, b.key]

    def _remember(self, pair: tuple[bytes, bytes], ends: _Bounds) -> None:
        if len(self._results) < _REMEMBERED_PAIRS and self._numbers + len(ends) <= _REMEMBERED_NUMBERS:
            self._results[pair] = ends
            self._numbers += len(ends)


def _compare_bytes(old: bytes | bytearray | memoryview, new: bytes | bytearray | memoryview) -> _Bounds:
    return array("I", (end for each in changed_bytes(old, new) for end in each))


def _unit_pairs(old: Digested, new: Digested, size: int) -> Iterator[tuple[int, _Unit, _Unit]]:
    """Yield start and both units of each place at which the keys differ."""
    old_units, new_units = (((unit.number, unit) for unit in _units(blob, size)) for blob in (old, new))
    for number, old_unit, new_unit in _merge(old_units, new_units, _ZEROS):
        if old_unit.key != new_unit.key:
            yield number * size, old_unit, new_unit


def _merge(old: Iterator[tuple[int, T]], new: Iterator[tuple[int, T]], zeros: T) -> Iterator[tuple[int, T, T]]:
    """Yield each number of either side with the items of both sides. A side without the number has `zeros`."""
    old_next, new_next = next(old, None), next(new, None)
    while old_next is not None or new_next is not None:
        number = min(each[0] for each in (old_next, new_next) if each is not None)
        old_item = new_item = zeros
        if old_next is not None and old_next[0] == number:
            old_item, old_next = old_next[1], next(old, None)
        if new_next is not None and new_next[0] == number:
            new_item, new_next = new_next[1], next(new, None)
        yield number, old_item, new_item


def _units(blob: Digested, size: int) -> Iterator[_Unit]:
    """Yield the units of `size` bytes that are not all zero."""
    if blob.piece_size == size:
        for at, (index, digest) in enumerate(blob.digests()):
            yield _Unit(index, digest, at, at + 1)
        return
    unit, begin, end, key = -1, 0, 0, blake3()
    for at, (index, digest) in enumerate(blob.digests()):
        first = index * blob.piece_size
        for target in sorted({first // size, (min(first + blob.piece_size, blob.size) - 1) // size}):
            if target != unit:
                if end > begin:
                    yield _Unit(unit, key.digest(), begin, end)
                unit, begin, key = target, at, blake3()
            key.update((first - target * size).to_bytes(8, "big", signed=True) + digest)
            end = at + 1
    if end > begin:
        yield _Unit(unit, key.digest(), begin, end)


def _read_unit(blob: Digested, unit: _Unit, size: int) -> bytes | bytearray | memoryview:
    """Return the content of a unit. Bytes that are in none of its pieces are zero."""
    if unit.begin == unit.end:
        return b""
    if blob.piece_size == size:
        return blob.held_piece(unit.begin)[1]
    content = bytearray(size)
    for at in range(unit.begin, unit.end):
        index, piece = blob.held_piece(at)
        start = index * blob.piece_size - unit.number * size
        part = piece[max(-start, 0) : size - start]
        content[max(start, 0) : max(start, 0) + len(part)] = part
    return content


# -- blobs without digests --------------------------------------------------------------------------------------------


def _piece_pairs(old: Blob, new: Blob, piece_size: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield start and contents of the pieces that one or both blobs hold; a piece not held is empty."""
    for index, old_piece, new_piece in _merge(_cut_pieces(old, piece_size), _cut_pieces(new, piece_size), b""):
        yield index * piece_size, old_piece, new_piece


def _cut_pieces(blob: Blob, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the content of a blob in pieces of another size, in order. Pieces that are all zero may be left out."""
    if blob.piece_size == size:
        yield from ((index, bytes(piece)) for index, piece in blob.pieces())
        return
    current, content = -1, bytearray()
    for index, piece in blob.pieces():
        at, end = index * blob.piece_size, index * blob.piece_size + len(piece)
        while at < end:
            target, within = divmod(at, size)
            if target != current:
                if content:
                    yield current, bytes(content)
                current, content = target, bytearray(size)
            fits = min(size - within, end - at)
            offset = at - index * blob.piece_size
            content[within : within + fits] = piece[offset : offset + fits]
            at += fits
    if content:
        yield current, bytes(content)
