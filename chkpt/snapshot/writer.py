"""Writes a snapshot in one pass: header, sections, pieces, index, signatures if it is signed, trailer.

The order is fixed, so that one machine state has one encoding: sections and blobs by their paths, pieces by their first
use. Tags keep the order in which the state declares them, which is the order a reader wants to see.
"""

import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

from blake3 import blake3

from chkpt.context import MAX_PIECE_SIZE, Blob, Checkpoint, Context, Value
from chkpt.errors import LimitError, StateError, StorageError
from chkpt.snapshot.codec import (
    MAX_VALUES,
    ValueCount,
    byte_string_head,
    check_map,
    encode_piece,
    encode_value,
    frame_content,
)
from chkpt.snapshot.cores import on_all_cores
from chkpt.snapshot.frames import (
    DEVICES,
    FORMAT,
    MAX_BLOB_SIZE,
    MAX_SECTIONS_SIZE,
    BlobEntry,
    HeaderEntry,
    Index,
    Path,
    PieceTable,
    SectionEntry,
    Trailer,
    blob_name,
    check_name,
    encode_index,
    encode_trailer,
    is_zero,
)
from chkpt.snapshot.section import HeldBlob, encode_section
from chkpt.version import __version__

GENERATOR: Final = f"chkpt {__version__}"
"""Who wrote a snapshot, where the checkpoint's header does not say."""


_BLOB: Final = "; put long bytes into a blob"
_PROGRESS: Final = 64  # pieces between two words of progress
_FEWER: Final = "; give the blobs larger pieces"


class Writable(Protocol):
    """A binary file, as far as `dump` needs one. It may take less than it is given and say how much."""

    def write(self, data: bytes, /) -> int | None:
        """Append `data`."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written: bytes in the file, its name among all snapshots, and what is in it."""

    size: int
    root_digest: bytes
    sections: int
    pieces: int


Sign: TypeAlias = Callable[[bytes], bytes]
"""Given the root digest of a snapshot, returns the frame of its signatures (`encode_signatures`)."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called now and then with how many bytes of all blobs have been gone through, and how many there are."""


def dump(
    checkpoint: Checkpoint, file: Writable, *, sign: Sign | None = None, progress: Progress | None = None
) -> Summary:
    """Write `checkpoint` to a binary file, in one pass and without seeking; long blobs on all cores.

    What the header lacks of `generator` and `created` (RFC 3339, UTC) is filled in. With `sign` the file is signed.

    Raises:
        StateError: something in the checkpoint cannot be written; the message names it.
        LimitError: the checkpoint is longer or deeper than a reader would take.
        CorruptError: a blob that comes from a file is not what was written there.
        StorageError: the file refused a write.
        TypeError: `checkpoint` is something else.
    """
    check_type(checkpoint)

    def write(data: bytes) -> None:
        try:
            taken = file.write(data)
            while taken is not None and 0 < taken < len(data):
                data = data[taken:]
                taken = file.write(data)
        except OSError as exc:
            raise StorageError(str(exc.strerror or exc), where=str(getattr(file, "name", "the snapshot"))) from exc
        if taken == 0 and data:
            raise StorageError("the file takes no more", where=str(getattr(file, "name", "the snapshot")))

    return _Writer(write, progress).write(checkpoint, sign)


def dumps(checkpoint: Checkpoint, *, sign: Sign | None = None) -> bytes:
    """Return `checkpoint` as the bytes of a snapshot file. Raises as `dump` does."""
    check_type(checkpoint)
    frames: list[bytes] = []
    _Writer(frames.append).write(checkpoint, sign)
    return b"".join(frames)


def check_type(checkpoint: object) -> None:
    """Raise TypeError, with the cure, if something else than a checkpoint is to be written."""
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"a snapshot is written of a Checkpoint, not of a {type(checkpoint).__name__}: "
            "checkpoint = Checkpoint(); machine.save(checkpoint)"
        )


def check_header(header: dict[str, Value]) -> None:
    """Raise what `dump` would raise of a checkpoint with this header, before there is anything to save.

    Raises:
        StateError: something in it cannot be written.
        LimitError: it is longer or deeper than a reader would take.
    """
    _Writer(lambda _: None).write_header(header)


class _Writer:
    """The state of one pass."""

    __slots__ = ("_done", "_numbers", "_offset", "_pieces", "_progress", "_put", "_total")

    def __init__(self, put: Callable[[bytes], None], progress: Progress | None = None) -> None:
        self._put = put
        self._progress = progress
        self._done = self._total = 0  # bytes of blobs
        self._offset = 0
        self._pieces = PieceTable()
        self._numbers: dict[bytes, int] = {}  # digest of a piece's content -> its number

    def write(self, checkpoint: Checkpoint, sign: Sign | None) -> Summary:
        header = self.write_header(checkpoint.header)
        blobs: list[HeldBlob] = []
        sections = tuple(self._write_section(path, context, blobs) for path, context in _sections(checkpoint))
        content_size = sum(entry.content_size for entry in sections)
        if content_size > MAX_SECTIONS_SIZE:
            raise LimitError(f"{content_size} bytes of content in all sections; the limit is {MAX_SECTIONS_SIZE}")
        if content_size > MAX_VALUES:
            self._count_values(checkpoint, content_size)
        blobs.sort(key=lambda held: (held.path, held.tag))
        self._total = sum(held.blob.size for held in blobs)
        entries = tuple(self._write_blob(*held) for held in blobs)
        index_offset = self._offset
        frame = self._frame(encode_index(Index(header, sections, entries, self._pieces)), "the index", _FEWER)[0]
        digest = blake3(frame).digest()
        self._write(frame)
        signatures = b"" if sign is None else sign(digest)
        if signatures:
            self._write(signatures)
        self._write(encode_trailer(Trailer(index_offset, len(frame), digest, len(signatures))))
        return Summary(self._offset, digest, len(sections), len(self._pieces))

    def _write(self, data: bytes) -> None:
        self._put(data)
        self._offset += len(data)

    def _frame(self, value: object, name: str, advice: str = "") -> tuple[bytes, int]:
        """Return the frame of `value` and the size of its content; `advice` says what to do where it is too long."""
        try:
            return encode_value(value)
        except ValueError as exc:
            raise StateError(str(exc), where=name) from exc
        except LimitError as exc:
            raise LimitError(f"{exc}{advice}", where=name) from exc

    def write_header(self, given: dict[str, Value]) -> HeaderEntry:
        """Write the header, completed."""
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
        frame, size = self._frame(header, "the header")
        self._write(frame)
        return HeaderEntry(len(frame), size, blake3(frame).digest())

    def _write_section(self, path: Path, context: Context, blobs: list[HeldBlob]) -> SectionEntry:
        value = encode_section(path, context, blobs)
        try:
            frame, size = self._frame(value, "/".join(path), _BLOB)
        except StateError:
            self._find_fault(path, context)
            raise
        offset = self._offset
        self._write(frame)
        return SectionEntry(path, context.type, context.version, offset, len(frame), size, blake3(frame).digest())

    def _count_values(self, checkpoint: Checkpoint, content_size: int) -> None:
        """Raise LimitError where the sections hold more values than a reader takes; only long ones can."""
        values = ValueCount(content_size)
        for path, context in _sections(checkpoint):
            frame, size = self._frame(encode_section(path, context, []), "/".join(path))
            try:
                values.add(path, frame_content(frame, size))
            except LimitError as exc:
                raise LimitError(f"{exc}{_BLOB}", where="/".join(path)) from exc

    def _find_fault(self, path: Path, context: Context) -> None:
        """Raise StateError with the tag of the value in `context` that cannot be encoded, if it is one."""
        for tag, value in context.values.items():
            self._frame({tag: value}, blob_name(path, ascii(tag)[1:-1]))
        if path != (DEVICES,):
            for name, child in context.contexts.items():
                self._find_fault((*path, ascii(name)[1:-1]), child)

    def _write_blob(self, path: Path, tag: str, blob: Blob) -> BlobEntry:
        size, piece_size = blob.size, blob.piece_size
        if not 0 <= size <= MAX_BLOB_SIZE or not 1 <= piece_size <= MAX_PIECE_SIZE:
            raise StateError(f"{size} bytes in pieces of {piece_size}", where=blob_name(path, tag))
        indexes, numbers = array("Q"), array("I")
        pieces = _checked(blob, blob_name(path, tag), indexes)
        for encoded in on_all_cores(self._encode, pieces, piece_size):
            numbers.append(self._write_piece(encoded))
            if self._progress is not None and not len(numbers) % _PROGRESS:
                self._progress(self._done + indexes[len(numbers) - 1] * piece_size, self._total)
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)
        return BlobEntry(path, tag, size, piece_size, indexes, numbers)

    def _encode(self, piece: bytes | memoryview) -> tuple[bytes, bytes | None, int]:
        """Return the digest of a piece, its frame unless an equal piece has been written, and its length.

        Several threads do this at once. Two may encode two pieces that are equal: the second frame is then not used.
        """
        head = byte_string_head(len(piece))
        # A copy, so that what is digested is what is written, whatever runs meanwhile.
        content = b"".join((head, piece))
        digest = blake3(memoryview(content)[len(head) :]).digest()
        return digest, None if digest in self._numbers else encode_piece(content), len(piece)

    def _write_piece(self, encoded: tuple[bytes, bytes | None, int]) -> int:
        """Write a piece, unless an equal one has been written, and return its number."""
        digest, frame, length = encoded
        number = self._numbers.get(digest)
        if number is None:
            assert frame is not None  # what was in the table then is in it now
            number = self._numbers[digest] = len(self._pieces)
            self._pieces.add(self._offset, len(frame), length, zlib.crc32(frame), digest)
            self._write(frame)
        return number


def _checked(blob: Blob, name: str, indexes: "array[int]") -> Iterator[bytes | memoryview]:
    """Yield the pieces of a blob that are not all zero, and put their indexes into `indexes`.

    Raises:
        StateError: a piece that cannot be, or is out of its place.
    """
    last, rest = divmod(blob.size, blob.piece_size)
    previous = -1
    for index, piece in blob.pieces():
        length = blob.piece_size if index < last else rest
        if not previous < index <= last or not length or len(piece) != length:
            raise StateError(f"piece {index} of {len(piece)} bytes after piece {previous}", where=name)
        previous = index
        if not is_zero(piece):
            indexes.append(index)
            yield piece


def _sections(checkpoint: Checkpoint) -> Iterator[tuple[Path, Context]]:
    """Yield the contexts that have sections of their own, in the order of the file."""
    for name in _sorted_names(checkpoint.contexts):
        context = checkpoint.contexts[name]
        yield (name,), context
        if name == DEVICES:
            for child in _sorted_names(context.contexts):
                yield (name, child), context.contexts[child]


def _sorted_names(contexts: Mapping[str, Context]) -> list[str]:
    try:
        for name in contexts:
            check_name(name)
    except ValueError as exc:
        raise StateError(str(exc)) from exc
    return sorted(contexts)
