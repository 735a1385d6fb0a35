"""What differs between two checkpoints: contexts, tags, bytes of blobs.

Two saves of one machine in one state do not differ: what the header says about the writing of the file (`generator`,
`created`, `schemas`) is not compared.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias, TypeGuard

from chkpt.context import Blob, Checkpoint, Context, Value
from chkpt.snapshot.frames import Path
from chkpt.snapshot.ranges import PieceComparison, Range, Ranges

WRITING: Final = frozenset({"chkpt", "generator", "created", "schemas"})
"""The header's keys that are about the file, not about the machine."""

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
    (fewer than `ranges.GAP`). What only the longer one has counts as different. A blob that is new or gone has none.
    """

    path: Path
    tag: str
    old_size: int | None
    new_size: int | None
    ranges: tuple[Range, ...] = ()


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
        """Return whether anything differs."""
        return any((self.header, self.added, self.removed, self.types, self.tags, self.blobs))


def compare(old: Checkpoint, new: Checkpoint) -> Diff:
    """Return what differs between two checkpoints, all of it in memory.

    Raises:
        RefusedError: one of them comes from a file and is not what was written there.
        StorageError: a file cannot be read.
    """
    found = Comparison(old, new)
    return Diff(
        header=tuple(found.header()),
        added=tuple(found.added),
        removed=tuple(found.removed),
        types=tuple(found.types),
        tags=tuple(found.tags()),
        blobs=tuple(BlobChange(*each[:4], tuple(each.ranges or ())) for each in found.blobs),
    )


class BlobDifference(NamedTuple):
    """A blob that is not the same, as `BlobChange` has it. Its ranges have been counted, and are made when iterated."""

    path: Path
    tag: str
    old_size: int | None
    new_size: int | None
    ranges: Ranges | None = None


class Comparison:
    """What differs between two checkpoints, without the values: `header` and `tags` read them again, one by one.

    So it takes the memory of one section of each checkpoint at a time if neither keeps what it has read. The order in
    each part is that of `Diff`.
    """

    def __init__(self, old: Checkpoint, new: Checkpoint) -> None:
        """Compare all.

        Raises:
            RefusedError: one of them comes from a file and is not what was written there.
            StorageError: a file cannot be read.
        """
        self.added: list[Path] = []
        self.removed: list[Path] = []
        self.types: list[TypeChange] = []
        self.blobs: list[BlobDifference] = []
        self._old = old
        self._new = new
        self._pieces = PieceComparison()
        self._with_tags: set[Path] = set()  # the contexts with tags that differ, and those around them
        self._compare_contexts((), old.contexts, new.contexts)

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        parts = (self.added, self.removed, self.types, self.blobs, self._with_tags)
        return any(parts) or any(True for _ in self.header())

    def header(self) -> Iterator[TagChange]:
        """Yield what differs in the headers."""
        for name in _either(self._old.header, self._new.header):
            if name not in WRITING:
                change = self._old.header.get(name, ABSENT), self._new.header.get(name, ABSENT)
                yield from _value_changes((), name, (), *change)

    def tags(self) -> Iterator[TagChange]:
        """Yield the tags that differ. A section is read for that if one of its tags is among them.

        Raises:
            RefusedError: a file is not any more what it was.
            StorageError: a file cannot be read.
        """
        return self._tags_below((), self._old.contexts, self._new.contexts)

    def _compare_contexts(self, path: Path, old: Mapping[str, Context], new: Mapping[str, Context]) -> None:
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
        if any(True for _ in _tag_changes(path, old, new)):
            self._with_tags.update(path[:depth] for depth in range(1, len(path) + 1))
        for tag in _either(old.blobs, new.blobs):
            self._compare_blobs(path, tag, old.blobs.get(tag), new.blobs.get(tag))
        self._compare_contexts(path, old.contexts, new.contexts)

    def _compare_blobs(self, path: Path, tag: str, old: Blob | None, new: Blob | None) -> None:
        if old is None or new is None:
            old_size, new_size = (None if blob is None else blob.size for blob in (old, new))
            self.blobs.append(BlobDifference(path, tag, old_size, new_size))
        elif ranges := Ranges(old, new, self._pieces):
            self.blobs.append(BlobDifference(path, tag, old.size, new.size, ranges))

    def _tags_below(self, path: Path, old: Mapping[str, Context], new: Mapping[str, Context]) -> Iterator[TagChange]:
        for name in old:
            below = (*path, name)
            if below in self._with_tags:  # the contexts have no name here, so that they are let go before the next ones
                yield from self._tags_in(below, old[name], new[name])

    def _tags_in(self, path: Path, old: Context, new: Context) -> Iterator[TagChange]:
        yield from _tag_changes(path, old, new)
        yield from self._tags_below(path, old.contexts, new.contexts)


def _either(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Return the names of both in the order of `old`, then those that only `new` has."""
    return [*old, *(name for name in new if name not in old)]


# -- values -----------------------------------------------------------------------------------------------------------


def _tag_changes(path: Path, old: Context, new: Context) -> Iterator[TagChange]:
    for tag in _either(old.values, new.values):
        yield from _value_changes(path, tag, (), old.values.get(tag, ABSENT), new.values.get(tag, ABSENT))


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
    """Return whether two values that are no maps or lists are the same: 1, 1.0 and true are three, NaN is itself."""
    if isinstance(old, float) and isinstance(new, float):
        return struct.pack("<d", old) == struct.pack("<d", new)
    return type(old) is type(new) and old == new
