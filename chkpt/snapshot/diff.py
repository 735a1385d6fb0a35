"""What differs between two checkpoints: contexts, tags, bytes of blobs.

Two saves of one machine in one state do not differ: what the header says about the writing of the file (`generator`,
`created`, `schemas`) is not compared. Blobs of two files are compared by the digests in their indexes first, so that a
blob is read only where it differs.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeAlias, TypeGuard, runtime_checkable

from chkpt.context import Blob, Checkpoint, Context, Value
from chkpt.snapshot.layout import Path

WRITING: Final = frozenset({"chkpt", "generator", "created", "schemas"})
"""The header's keys that tell about the file, not about the machine."""

GAP: Final = 16
"""So many equal bytes between two changed ones end a range; fewer are part of it."""

_CHANGED = re.compile(rb"[^\0]+(?:\0{1,%d}[^\0]+)*" % (GAP - 1))

Step: TypeAlias = str | int
"""A key of a map, or an index of a list, inside a value."""


class Absent(Enum):
    """Stands for a value that is not there; nil is one that is."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A context whose state is of another type, or of another version of it."""

    path: Path
    old: tuple[str, int]
    new: tuple[str, int]


@dataclass(frozen=True, slots=True)
class TagChange:
    """A tag, or one item inside its value, that is not the same. The header's tags have the path `()`."""

    path: Path
    tag: str
    steps: tuple[Step, ...]  # from the tag's value down to the item; empty for the whole value
    old: "Value | Absent"
    new: "Value | Absent"


@dataclass(frozen=True, slots=True)
class BlobChange:
    """A blob that is not the same. A size is None where there is no such blob.

    `ranges` are the bytes that differ, each from its first to behind its last; one range may bridge a few equal bytes
    (fewer than `GAP`). What only the longer one has counts as different. A blob that is new or gone has no ranges.
    """

    path: Path
    tag: str
    old_size: int | None
    new_size: int | None
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """All that differs. Of contexts that only one side has, the topmost are named."""

    header: tuple[TagChange, ...] = ()
    added: tuple[Path, ...] = ()
    removed: tuple[Path, ...] = ()
    types: tuple[TypeChange, ...] = ()
    tags: tuple[TagChange, ...] = ()
    blobs: tuple[BlobChange, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether anything differs."""
        return any((self.header, self.added, self.removed, self.types, self.tags, self.blobs))


def compare(old: Checkpoint, new: Checkpoint) -> Diff:
    """Return what differs between two checkpoints.

    Raises:
        RefusedError: one of them comes from a file and is not what was written there.
        StorageError: a file cannot be read.
    """
    found = _Found()
    for name in _either(old.header, new.header):
        if name not in WRITING:
            change = old.header.get(name, ABSENT), new.header.get(name, ABSENT)
            found.header += _value_changes((), name, (), *change)
    found.compare_contexts((), old.contexts, new.contexts)
    return Diff(
        header=tuple(found.header),
        added=tuple(found.added),
        removed=tuple(found.removed),
        types=tuple(found.types),
        tags=tuple(found.tags),
        blobs=tuple(found.blobs),
    )


class _Found:
    """What has been found so far."""

    def __init__(self) -> None:
        self.header: list[TagChange] = []
        self.added: list[Path] = []
        self.removed: list[Path] = []
        self.types: list[TypeChange] = []
        self.tags: list[TagChange] = []
        self.blobs: list[BlobChange] = []

    def compare_contexts(self, path: Path, old: Mapping[str, Context], new: Mapping[str, Context]) -> None:
        for name in _either(old, new):
            below = (*path, name)
            if name not in new:
                self.removed.append(below)
            elif name not in old:
                self.added.append(below)
            else:
                self._compare(below, old[name], new[name])

    def _compare(self, path: Path, old: Context, new: Context) -> None:
        types = (old.type, old.version), (new.type, new.version)
        if types[0] != types[1]:
            self.types.append(TypeChange(path, *types))
        for tag in _either(old.values, new.values):
            self.tags += _value_changes(path, tag, (), old.values.get(tag, ABSENT), new.values.get(tag, ABSENT))
        for tag in _either(old.blobs, new.blobs):
            self._compare_blobs(path, tag, old.blobs.get(tag), new.blobs.get(tag))
        self.compare_contexts(path, old.contexts, new.contexts)

    def _compare_blobs(self, path: Path, tag: str, old: Blob | None, new: Blob | None) -> None:
        if old is None or new is None:
            old_size, new_size = (None if blob is None else blob.size for blob in (old, new))
            self.blobs.append(BlobChange(path, tag, old_size, new_size))
        elif ranges := changed_ranges(old, new):
            self.blobs.append(BlobChange(path, tag, old.size, new.size, ranges))


def _either(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Return the names of both in the order of `old`, then those that only `new` has."""
    return [*old, *(name for name in new if name not in old)]


# -- values -----------------------------------------------------------------------------------------------------------


def _value_changes(
    path: Path, tag: str, steps: tuple[Step, ...], old: "Value | Absent", new: "Value | Absent"
) -> Iterator[TagChange]:
    """Yield what differs between two values: inside of maps, and of lists of equal length, item by item."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in _either(old, new):
            yield from _value_changes(path, tag, (*steps, key), old.get(key, ABSENT), new.get(key, ABSENT))
    elif _is_list(old) and _is_list(new) and len(old) == len(new):
        for index, (old_item, new_item) in enumerate(zip(old, new, strict=True)):
            yield from _value_changes(path, tag, (*steps, index), old_item, new_item)
    elif not _equal(old, new):
        yield TagChange(path, tag, steps, old, new)


def _is_list(value: object) -> TypeGuard[Sequence[Value]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _equal(old: object, new: object) -> bool:
    """Tell whether two values that are no maps or lists are the same: 1, 1.0 and true are three, NaN is itself."""
    if isinstance(old, float) and isinstance(new, float):
        return struct.pack("<d", old) == struct.pack("<d", new)
    return type(old) is type(new) and old == new


# -- blobs ------------------------------------------------------------------------------------------------------------


@runtime_checkable
class _Digested(Protocol):
    """A blob that knows the digests of its pieces without reading them."""

    def digests(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(index, digest)` of the pieces that are not all zero."""


def changed_ranges(old: Blob, new: Blob) -> tuple[tuple[int, int], ...]:
    """Return which bytes differ; see `BlobChange`.

    Raises:
        CorruptError: a piece read from a file is not the one that was written.
    """
    common, longest = sorted((old.size, new.size))
    ranges: list[tuple[int, int]] = []
    if not _known_equal(old, new):
        for start, old_piece, new_piece in _pairs(old, new, max(old.piece_size, new.piece_size)):
            for first, end in changed_bytes(old_piece, new_piece):
                _extend(ranges, start + first, min(start + end, common))
    if common < longest:
        _extend(ranges, common, longest)
    return tuple(ranges)


def _known_equal(old: Blob, new: Blob) -> bool:
    """Tell whether the digests alone say that nothing differs but the length, if that."""
    if not isinstance(old, _Digested) or not isinstance(new, _Digested) or old.piece_size != new.piece_size:
        return False
    return old.size == new.size and list(old.digests()) == list(new.digests())


def _pairs(old: Blob, new: Blob, piece_size: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield start and contents of the pieces that one or both blobs hold; a piece not held is empty."""
    old_pieces, new_pieces = _pieces_of(old, piece_size), _pieces_of(new, piece_size)
    old_next, new_next = next(old_pieces, None), next(new_pieces, None)
    while old_next is not None or new_next is not None:
        index = min(each[0] for each in (old_next, new_next) if each is not None)
        old_piece, new_piece = b"", b""
        if old_next is not None and old_next[0] == index:
            old_piece, old_next = old_next[1], next(old_pieces, None)
        if new_next is not None and new_next[0] == index:
            new_piece, new_next = new_next[1], next(new_pieces, None)
        yield index * piece_size, old_piece, new_piece


def _pieces_of(blob: Blob, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the content of a blob in pieces of another size, in order; those that are all zero may be left out."""
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


def changed_bytes(old: bytes, new: bytes) -> Iterator[tuple[int, int]]:
    """Yield first and end of the ranges that differ; the shorter one goes on with zeros."""
    if old == new:
        return
    size = max(len(old), len(new))
    difference = int.from_bytes(old, "little") ^ int.from_bytes(new, "little")
    for run in _CHANGED.finditer(difference.to_bytes(size, "little")):
        yield run.span()


def _extend(ranges: list[tuple[int, int]], first: int, end: int) -> None:
    """Append a range, or make the last one longer where it comes close. A range that is empty is none."""
    if first >= end:
        return
    if ranges and first - ranges[-1][1] < GAP:
        ranges[-1] = ranges[-1][0], end
    else:
        ranges.append((first, end))
