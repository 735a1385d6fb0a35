"""Checks a checkpoint whole, before the first byte of its file is written, and encodes its header and sections.

Encoding is part of the check: only the encoder sees that an integer is too wide or a section too long. So the frames
are kept until all of them are known to be good. They are short: RAM and disks are in blobs.
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
"""Who wrote a snapshot, if the checkpoint's header does not say."""

_BLOB: Final = "; put long bytes into a blob"
_FEWER: Final = "; save fewer contexts and blobs"

_FEW: Final = 30
"""So many entries of an index are never too long: 33 texts of 255 characters, 4 bytes each, 30 times, are 1 MB."""


class BlobPart(NamedTuple):
    """A blob that is to be written, with what it says of itself before its pieces are read."""

    path: Path
    tag: str
    blob: Blob
    size: int
    piece_size: int


class Outline(NamedTuple):
    """All of a file but its pieces: the frames of header and sections, what the index says of them, and the blobs."""

    frames: list[bytes]
    header: HeaderEntry
    sections: tuple[SectionEntry, ...]
    blobs: tuple[BlobPart, ...]


def check_checkpoint(checkpoint: Checkpoint) -> Outline:
    """Check all of a checkpoint but the pieces of its blobs, in the order of the file.

    Raises:
        StateError: something in it cannot be written; the message names the context, and the tag if there is one.
        LimitError: it is longer or deeper than a reader would take.
    """
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
    """Raise what `dump` would raise of a checkpoint with this header, before there is anything to save.

    Raises:
        StateError: something in it cannot be written.
        LimitError: it is longer or deeper than a reader would take.
    """
    _encode_header(header)


def _encode_header(given: dict[str, Value]) -> tuple[bytes, HeaderEntry]:
    """Return the frame of the header, completed, and what the index says of it."""
    if not isinstance(given, dict | Mapping):
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
    """Yield the contexts that have sections of their own, in the order of the file. Their own names are checked."""
    if not isinstance(checkpoint.contexts, dict | Mapping):
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
            for child in sorted(context.contexts):  # `_check` has seen these names with the context
                yield (name, child), context.contexts[child]


def _check(context: Context, path: Path, depth: int, blobs: list[BlobPart]) -> None:
    """Check `context`, the `depth`-th map in its section, and what is below it in the section; append its blobs."""
    if not isinstance(context, Context):
        raise StateError(f"a {type(context).__name__} is not a Context", where="/".join(path))
    contexts = context.contexts
    for items in (context.values, context.blobs, contexts):
        if type(items) is not dict and not isinstance(items, Mapping):
            raise StateError(f"a {type(items).__name__} stands where a dictionary must", where="/".join(path))
    check_context(context, path, depth, contexts, StateError)
    for tag, blob in context.blobs.items():
        blobs.append(_blob_part(path, tag, blob))
    if contexts and path != (DEVICES,):
        for name, child in contexts.items():
            _check(child, (*path, name), depth + 2, blobs)


def _blob_part(path: Path, tag: str, blob: Blob) -> BlobPart:
    if not all(hasattr(blob, name) for name in ("size", "piece_size", "pieces")):
        raise StateError(f"a {type(blob).__name__} is not a blob", where=blob_name(path, tag))
    part = BlobPart(path, tag, blob, blob.size, blob.piece_size)
    try:
        check_blob(part.size, part.piece_size)
    except ValueError as exc:
        raise StateError(str(exc), where=blob_name(path, tag)) from exc
    return part


def _encode(value: object, where: str, advice: str = "") -> tuple[bytes, int]:
    """Return the frame of `value` and the size of its content; `advice` says what to do if it is too long."""
    try:
        return encode_value(value)
    except ValueError as exc:
        raise StateError(str(exc), where=where) from exc
    except LimitError as exc:
        raise LimitError(f"{exc}{advice}", where=where) from exc


def _find_fault(path: Path, context: Context) -> None:
    """Raise StateError with the tag of the value in `context` that cannot be encoded, if it is one."""
    for tag, value in context.values.items():
        _encode({tag: value}, tag_place(path, tag))
    if path != (DEVICES,):
        for name, child in context.contexts.items():
            _find_fault((*path, name), child)


def _count_values(frames: Iterable[bytes], sections: Iterable[SectionEntry], content_size: int) -> None:
    """Raise LimitError if the sections hold more values than a reader takes; only long ones can."""
    values = ValueCount(content_size)
    for frame, entry in zip(frames, sections, strict=True):
        try:
            values.add(entry.path, frame_content(frame, entry.content_size))
        except LimitError as exc:
            raise LimitError(f"{exc}{_BLOB}", where="/".join(entry.path)) from exc


def _check_index(outline: Outline) -> None:
    """Raise LimitError if the index has too many values or too much text; pieces only make it longer."""
    none = array("Q")
    blobs = (BlobEntry(part.path, part.tag, part.size, part.piece_size, none, none) for part in outline.blobs)
    _encode(encode_index(Index(outline.header, outline.sections, tuple(blobs), PieceTable())), "the index", _FEWER)
