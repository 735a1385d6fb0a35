"""What a snapshot is made of: named, nested contexts of tagged values and blobs.

Palacios' checkpoint store knows contexts with tags (`vmm_checkpoint.c`); these nest. A context is plain data:
it knows no device, no file and no encoding, so that it can be looked at when the device's class is gone.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

Value: TypeAlias = "bool | int | float | str | bytes | Sequence[Value] | Mapping[str, Value] | None"
"""What a tag may hold. Integers are at most 64 bits wide, signed or unsigned."""

MAX_PIECE_SIZE = 1 << 20
"""Bytes in the largest piece of a blob."""


class Blob(Protocol):
    """A long run of bytes, held in pieces; a piece that is all zero is not held at all."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def piece_size(self) -> int:
        """Bytes in every piece but the last, at most `MAX_PIECE_SIZE`."""

    def pieces(self) -> Iterable[tuple[int, bytes | memoryview]]:
        """Yield `(index, content)` of the pieces that are not all zero, in rising order of index.

        The content is full length (the last piece may be shorter). It may be a view of live memory: use it
        before the machine runs on.

        Raises:
            CorruptError: a piece read from a file is not the one that was written.
        """


@dataclass(frozen=True, slots=True)
class SparseBlob:
    """A blob in memory: the pieces that are not all zero, by index."""

    size: int
    piece_size: int
    held: Mapping[int, bytes] = field(default_factory=dict)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the held pieces in order."""
        for index in sorted(self.held):
            yield index, self.held[index]


def blob_bytes(blob: Blob) -> bytes:
    """Return the whole content of a blob, zeros filled in."""
    content = bytearray(blob.size)
    for index, piece in blob.pieces():
        start = index * blob.piece_size
        content[start : start + len(piece)] = piece
    return bytes(content)


@dataclass(slots=True)
class Context:
    """One named node: tagged values, blobs, and contexts below it.

    `type` and `version` tell which state the values are (a device type's name and its state's VERSION);
    a context that is only part of another one leaves them empty.
    """

    type: str = ""
    version: int = 0
    values: dict[str, Value] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    contexts: Mapping[str, "Context"] = field(default_factory=dict)


@dataclass(slots=True)
class Checkpoint:
    """All that one snapshot says: a header about the machine, and the contexts directly under the root."""

    header: dict[str, Value] = field(default_factory=dict)
    contexts: MutableMapping[str, Context] = field(default_factory=dict)
