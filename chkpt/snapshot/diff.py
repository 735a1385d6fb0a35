"""Find what differs between two checkpoints: contexts, tags, bytes of blobs.

Two saves of one machine in one state do not differ: the keys of the header about the file (`generator`, `created`,
`schemas`) are not compared.
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

ItemKey: TypeAlias = str | int
"""A key of a map, or an index of a list, inside a value."""


class Absent(Enum):
    """The mark of a value that does not exist. nil is a value that exists."""

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
    """A tag that differs, or one item inside its value that differs. The header's tags have the path `()`."""

    path: Path
    tag: str
    steps: tuple[ItemKey, ...]  # from the tag's value down to the item; empty for the whole value
    old: "Value | Absent"
    new: "Value | Absent"


@dataclass(frozen=True, slots=True)
class BlobChange:
    """A blob that differs. A size is None if that side has no such blob.

    `ranges` are the bytes that differ: the first, and the one behind the last. A range may have a few equal bytes in it
    (fewer than `ranges.GAP`). Bytes that only the longer blob has count as different. A blob that only one side has
    has no ranges.
    """

    path: Path
    tag: str
    old_size: int | None
    new_size: int | None
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """All that differs. Of a context that only one side has, the contexts below it are not listed."""

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
    """Return all that differs between two checkpoints, in memory.

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
    """A blob that differs, as `BlobChange` has it. Its ranges are counted, and made by an iteration."""

    path: Path
    tag: str
    old_size: int | None
    new_size: int | None
    ranges: Ranges | None = None


class Comparison:
    """What differs between two checkpoints, without the values: `header` and `tags` read them again, one by one.

    If neither checkpoint keeps what it has read, this takes the memory of one section of each at a time. The order in
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
        self._tag_paths: set[Path] = set()  # of the contexts with tags that differ, and of those around them
        self._compare_contexts((), old.contexts, new.contexts)

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        parts = (self.added, self.removed, self.types, self.blobs, self._tag_paths)
        return any(parts) or any(True for _ in self.header())

    def header(self) -> Iterator[TagChange]:
        """Yield what differs in the headers."""
        for name in _merge_names(self._old.header, self._new.header):
            if name not in WRITING:
                change = self._old.header.get(name, ABSENT), self._new.header.get(name, ABSENT)
                yield from _value_changes((), name, (), *change)

    def tags(self) -> Iterator[TagChange]:
        """Yield the tags that differ. Read only the sections that have such a tag.

        Raises:
            RefusedError: a file has changed since the constructor read it.
            StorageError: a file cannot be read.
        """
        return self._tags_below((), self._old.contexts, self._new.contexts)

    def _compare_contexts(self, path: Path, old: Mapping[str, Context], new: Mapping[str, Context]) -> None:
        for name in _merge_names(old, new):
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
            self._tag_paths.update(path[:depth] for depth in range(1, len(path) + 1))
        for tag in _merge_names(old.blobs, new.blobs):
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
            if below in self._tag_paths:  # no variable holds the contexts, so that Python frees them before the next
                yield from self._tags_in(below, old[name], new[name])

    def _tags_in(self, path: Path, old: Context, new: Context) -> Iterator[TagChange]:
        yield from _tag_changes(path, old, new)
        yield from self._tags_below(path, old.contexts, new.contexts)


def _merge_names(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Return the names of `old` in its order, then those that only `new` has."""
    return [*old, *(name for name in new if name not in old)]


# -- values -----------------------------------------------------------------------------------------------------------


def _tag_changes(path: Path, old: Context, new: Context) -> Iterator[TagChange]:
    for tag in _merge_names(old.values, new.values):
        yield from _value_changes(path, tag, (), old.values.get(tag, ABSENT), new.values.get(tag, ABSENT))


def _value_changes(
    path: Path, tag: str, steps: tuple[ItemKey, ...], old: "Value | Absent", new: "Value | Absent"
) -> Iterator[TagChange]:
    """Yield what differs between two values. Compare maps, and lists of equal length, item by item."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in _merge_names(old, new):
            yield from _value_changes(path, tag, (*steps, key), old.get(key, ABSENT), new.get(key, ABSENT))
    elif _is_list(old) and _is_list(new) and len(old) == len(new):
        for index, (old_item, new_item) in enumerate(zip(old, new, strict=True)):
            yield from _value_changes(path, tag, (*steps, index), old_item, new_item)
    elif not _is_equal(old, new):
        yield TagChange(path, tag, steps, old, new)


def _is_list(value: object) -> TypeGuard[Sequence[Value]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_equal(old: object, new: object) -> bool:
    """Return whether two values, not maps or lists, are equal. 1, 1.0 and true differ; NaN equals itself."""
    if isinstance(old, float) and isinstance(new, float):
        return struct.pack("<d", old) == struct.pack("<d", new)
    return type(old) is type(new) and old == new
