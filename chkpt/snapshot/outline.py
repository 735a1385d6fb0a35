"""Check a whole checkpoint before the first byte of its file is written, and encode its header and sections.

The encoder is part of the check: only it finds an integer that is too wide or a section that is too long. So all frames
are in memory until the check is complete. They are short: RAM and disks are in blobs.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from blake3 import blake3

from chkpt.context import Blob, Checkpoint, Context, Value
from chkpt.errors import LimitError, StateError
from chkpt.snapshot.check import blob_name, check_blob, check_context, check_name, tag_place
from chkpt.snapshot.codec import MAX_VALUES, ValueCount, check_map, encode_value, frame_content
from chkpt.snapshot.frames import (
    DEVICES,
    FORMAT,
    MAX_SECTIONS_SIZE,
    BlobEntry,
    HeaderEntry,
    Index,
    Path,
    PieceTable,
    SectionEntry,
    encode_index,
)
from chkpt.snapshot.section import encode_section
from chkpt.version import __version__

GENERATOR: Final = f"chkpt {__version__}"
"""The program that wrote a snapshot, if the checkpoint's header does not name one."""

_BLOB: Final = "; put long bytes into a blob"
_FEWER: Final = "; save fewer contexts and blobs"

_FEW: Final = 30
"""An index with so few entries is never too long: 33 texts of 255 characters, 4 bytes each, 30 times, are 1 MB."""


class BlobPart(NamedTuple):
    """A blob to write, with the sizes that it states before its pieces are read."""

    path: Path
    tag: str
    blob: Blob
    size: int
    piece_size: int


class Outline(NamedTuple):
    """All of a file except its pieces: the frames of header and sections, their entries in the index, and the blobs."""

    frames: list[bytes]
    header: HeaderEntry
    sections: tuple[SectionEntry, ...]
    blobs: tuple[BlobPart, ...]


def check_checkpoint(checkpoint: Checkpoint) -> Outline:
    """Check all of a checkpoint except the pieces of its blobs, in the order of the file.

    Raises:
        StateError: something in it cannot be written; the message names the context, and the tag if there is one.
        LimitError: it is longer or deeper than a reader accepts.
        TypeError: `checkpoint` is something else.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"a snapshot is written of a Checkpoint, not of a {type(checkpoint).__name__}: "
            "checkpoint = Checkpoint(); machine.save(checkpoint)"
        )
    frame, header = _encode_header(checkpoint.header)
    frames, offset = [frame], len(frame)
    sections: list[SectionEntry] = []
    blobs: list[BlobPart] = []
    content_size = 0
    for path, context in _sections(checkpoint):
        _check(context, path, 1, blobs)
        try:
            frame, size = _encode(encode_section(path, context), "/".join(path), _BLOB)
        except StateError:
            _find_fault(path, context)
            raise
        content_size += size
        if content_size > MAX_SECTIONS_SIZE:
            raise LimitError(
                f"{content_size} bytes of content in the sections up to here; the limit is {MAX_SECTIONS_SIZE}{_BLOB}",
                where="/".join(path),
            )
        digest = blake3(frame).digest()
        sections.append(SectionEntry(path, context.type, context.version, offset, len(frame), size, digest))
        frames.append(frame)
        offset += len(frame)
    if content_size > MAX_VALUES:
        _count_values(frames[1:], sections, content_size)
    blobs.sort(key=lambda part: (part.path, part.tag))
    outline = Outline(frames, header, tuple(sections), tuple(blobs))
    if len(sections) + len(blobs) > _FEW:
        _check_index(outline)
    return outline


def check_header(header: dict[str, Value]) -> None:
    """Raise if `dump` would refuse a checkpoint with this header. Call it before the machine is saved.

    Raises:
        StateError: something in it cannot be written.
        LimitError: it is longer or deeper than a reader accepts.
    """
    _encode_header(header)


def _encode_header(given: dict[str, Value]) -> tuple[bytes, HeaderEntry]:
    """Return the frame of the header with the missing keys added, and its entry in the index."""
    if not isinstance(given, Mapping):
        raise StateError(f"the header is a {type(given).__name__}, not a dictionary")
    header: dict[str, Value] = {"chkpt": FORMAT, "generator": GENERATOR, "created": "", **given}
    header["chkpt"] = FORMAT
    if not header["created"]:
        header["created"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    try:
        check_map(header, 1)
    except TypeError as exc:
        raise StateError(str(exc), where="the header") from exc
    except LimitError as exc:
        raise LimitError(str(exc), where="the header") from exc
    if not isinstance(header["generator"], str) or not isinstance(header["created"], str):
        raise StateError("`generator` and `created` must be text", where="the header")
    frame, size = _encode(header, "the header")
    return frame, HeaderEntry(len(frame), size, blake3(frame).digest())


def _sections(checkpoint: Checkpoint) -> Iterator[tuple[Path, Context]]:
    """Yield the contexts that have sections of their own, in the order of the file. Check the names at the root."""
    if not isinstance(checkpoint.contexts, Mapping):
        raise StateError(f"the contexts are a {type(checkpoint.contexts).__name__}, not a dictionary")
    try:
        for name in checkpoint.contexts:
            check_name(name)
    except ValueError as exc:
        raise StateError(str(exc)) from exc
    for name in sorted(checkpoint.contexts):
        context = checkpoint.contexts[name]
        yield (name,), context
        if name == DEVICES:
            for child in sorted(context.contexts):  # `_check` has checked these names with the context
                yield (name, child), context.contexts[child]


def _check(context: Context, path: Path, depth: int, blobs: list[BlobPart]) -> None:
    """Check `context`, the `depth`-th map in its section, and what is below it in the section; append its blobs."""
    if not isinstance(context, Context):
        raise StateError(f"a {type(context).__name__} is not a Context", where="/".join(path))
    contexts = context.contexts
    for items in (context.values, context.blobs, contexts):
        if type(items) is not dict and not isinstance(items, Mapping):
            raise StateError(
                f"values, blobs and contexts must be dictionaries, not a {type(items).__name__}", where="/".join(path)
            )
    check_context(context, path, depth, contexts, StateError)
    for tag, blob in context.blobs.items():
        blobs.append(_make_blob_part(path, tag, blob))
    if contexts and path != (DEVICES,):
        for name, child in contexts.items():
            _check(child, (*path, name), depth + 2, blobs)


def _make_blob_part(path: Path, tag: str, blob: Blob) -> BlobPart:
    if not all(hasattr(blob, name) for name in ("size", "piece_size", "pieces")):
        raise StateError(f"a {type(blob).__name__} is not a blob", where=blob_name(path, tag))
    part = BlobPart(path, tag, blob, blob.size, blob.piece_size)
    try:
        check_blob(part.size, part.piece_size)
    except ValueError as exc:
        raise StateError(str(exc), where=blob_name(path, tag)) from exc
    return part


def _encode(value: object, where: str, advice: str = "") -> tuple[bytes, int]:
    """Return the frame of `value` and the size of its content; `advice` is the cure if it is too long."""
    try:
        return encode_value(value)
    except ValueError as exc:
        raise StateError(str(exc), where=where) from exc
    except LimitError as exc:
        raise LimitError(f"{exc}{advice}", where=where) from exc


def _find_fault(path: Path, context: Context) -> None:
    """Raise StateError with the tag of the value in `context` that cannot be encoded. Return if there is none."""
    for tag, value in context.values.items():
        _encode({tag: value}, tag_place(path, tag))
    if path != (DEVICES,):
        for name, child in context.contexts.items():
            _find_fault((*path, name), child)


def _count_values(frames: Iterable[bytes], sections: Iterable[SectionEntry], content_size: int) -> None:
    """Raise LimitError if the sections hold more values than a reader accepts. Only long sections can."""
    values = ValueCount(content_size)
    for frame, entry in zip(frames, sections, strict=True):
        try:
            values.add(entry.path, frame_content(frame, entry.content_size))
        except LimitError as exc:
            raise LimitError(f"{exc}{_BLOB}", where="/".join(entry.path)) from exc


def _check_index(outline: Outline) -> None:
    """Raise LimitError if the index has too many values or too much text. Pieces add only bytes, not values."""
    none = array("Q")
    blobs = (BlobEntry(part.path, part.tag, part.size, part.piece_size, none, none) for part in outline.blobs)
    _encode(encode_index(Index(outline.header, outline.sections, tuple(blobs), PieceTable())), "the index", _FEWER)
