"""What a snapshot consists of: named, nested contexts of tagged values and blobs.

Palacios' checkpoint store has contexts with tags (`vmm_checkpoint.c`). Ours may also contain other contexts. A context
is plain data. It knows no device, file or encoding, so it can be read even if the device's class no longer exists.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

Value: TypeAlias = bool | int | float | str | bytes | Sequence["Value"] | Mapping[str, "Value"] | None
"""What a tag may hold. Integers are at most 64 bits wide, signed or unsigned."""

MAX_PIECE_SIZE = 1 << 20
"""Bytes in the largest piece of a blob."""

MAX_KEY: Final = 255
"""Characters in a name, in a tag, and in any other key of a map."""

_ALIKE: Final = ("LATIN ", "GREEK ", "CYRILLIC ")
"""How Unicode's names of letters begin in the three scripts that share most of their shapes (UTS 39)."""


class Blob(Protocol):
    """A long run of bytes in pieces. A piece that is all zero is not held."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def piece_size(self) -> int:
        """Bytes in every piece but the last, at most `MAX_PIECE_SIZE`."""

    def pieces(self) -> Iterable[tuple[int, bytes | memoryview]]:
        """Yield `(index, content)` of the pieces that are not all zero, in rising order of index.

        Each content has `piece_size` bytes; only the last piece may be shorter. It may be a view of live memory: use it
        before the machine goes on.

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
    """Return the whole content of a blob, with the zeros."""
    content = bytearray(blob.size)
    for index, piece in blob.pieces():
        start = index * blob.piece_size
        content[start : start + len(piece)] = piece
    return bytes(content)


@dataclass(slots=True, repr=False)
class Context:
    """One named node: tagged values, blobs, and contexts below it.

    `type` and `version` say which state the values are (a device type's name and its state's VERSION);
    a context that is only part of another one leaves them empty.
    """

    type: str = ""
    version: int = 0
    values: dict[str, Value] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    contexts: Mapping[str, "Context"] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, object]) -> "Context":
        """Return a copy whose blobs no live memory can change."""
        return Context(
            self.type,
            self.version,
            deepcopy(self.values, memo),
            {tag: owned_blob(blob) for tag, blob in self.blobs.items()},
            {name: deepcopy(context, memo) for name, context in self.contexts.items()},
        )

    def __repr__(self) -> str:
        kind = f" {self.type} version {self.version}" if self.type else ""
        return f"<Context{kind}: {len(self.values)} values, {len(self.blobs)} blobs, {len(self.contexts)} contexts>"


@dataclass(slots=True, repr=False)
class Checkpoint:
    """All that one snapshot says: a header about the machine, and the contexts directly under the root."""

    header: dict[str, Value] = field(default_factory=dict)
    contexts: MutableMapping[str, Context] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Checkpoint of {self.header.get('machine', 'no machine')}: {', '.join(self.contexts) or 'empty'}>"

    def __deepcopy__(self, memo: dict[int, object]) -> "Checkpoint":
        """Return a copy that needs no file and no machine: sections and blobs are read, live memory is copied.

        Raises:
            ChkptError: a part cannot be read.
        """
        contexts = {name: deepcopy(context, memo) for name, context in self.contexts.items()}
        return Checkpoint(deepcopy(self.header, memo), contexts)


def owned_blob(blob: Blob) -> Blob:
    """Return a blob of the same content that no live memory can change. Pieces that are `bytes` are not copied."""
    return SparseBlob(blob.size, blob.piece_size, {index: bytes(piece) for index, piece in blob.pieces()})


def owned_context(context: Context) -> Context:
    """Return the context with blobs, its own and those below it, that no live memory can change."""
    return Context(
        context.type,
        context.version,
        context.values,
        {tag: owned_blob(blob) for tag, blob in context.blobs.items()},
        {name: owned_context(child) for name, child in context.contexts.items()},
    )


def name_problem(name: object) -> str | None:
    """Return why `name` cannot be a context's name, as a phrase that follows the name; None if it can.

    Names are compared code point by code point. So each must have only one spelling and look like no other
    (docs/decisions/0019-names-in-a-hostile-file.md).
    """
    if not isinstance(name, str):
        return "is not text"
    if not name or "/" in name or name in {".", ".."}:
        return "is empty, has a /, or would be a step of a path"
    if len(name) > MAX_KEY:
        return f"has more than {MAX_KEY} characters"
    if not name.isprintable():
        return "has characters that do not show"
    return None if name.isascii() else _likeness(name)


def _likeness(name: str) -> str | None:
    """Return why a reader could mistake the name for another one."""
    if unicodedata.normalize("NFKC", name) != name:
        return "has another spelling that looks the same (NFKC)"
    scripts = {script for char in name for script in _ALIKE if unicodedata.name(char, "").startswith(script)}
    if len(scripts) > 1:
        return f"mixes letters of {' and '.join(sorted(script.strip().title() for script in scripts))}"
    return None
