"""Write a snapshot in one pass: header, sections, pieces, index, signatures if it is signed, trailer.

The order is fixed, so that one machine state has one encoding: sections and blobs by their paths, pieces by their first
use. Tags keep the order in which the state declares them, for the reader of an `inspect`.
"""

import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from blake3 import blake3

from chkpt.context import Checkpoint
from chkpt.errors import LimitError, StateError, StorageError
from chkpt.snapshot.check import blob_name
from chkpt.snapshot.codec import byte_string_head, encode_piece, encode_value
from chkpt.snapshot.cores import on_all_cores
from chkpt.snapshot.frames import BlobEntry, Index, PieceTable, Trailer, encode_index, encode_trailer, is_zero
from chkpt.snapshot.outline import BlobPart, Outline, check_checkpoint

_PROGRESS: Final = 64  # pieces between two calls of `progress`
_FEWER: Final = "; give the blobs larger pieces"


class Writable(Protocol):
    """The part of a binary file that `dump` needs. `write` may accept less than it is given and return how much."""

    def write(self, data: bytes, /) -> int | None:
        """Append `data`."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written: the bytes in the file, its root digest, and the numbers of sections and pieces."""

    size: int
    root_digest: bytes
    sections: int
    pieces: int


Sign: TypeAlias = Callable[[bytes], bytes]
"""Makes the frame of signatures (`encode_signatures`) from the root digest of a snapshot."""

Progress: TypeAlias = Callable[[int, int], None]
"""The writer calls it now and then with how many bytes of all blobs are done, and the total."""


def dump(
    checkpoint: Checkpoint, file: Writable, *, sign: Sign | None = None, progress: Progress | None = None
) -> Summary:
    """Write `checkpoint` to a binary file, in one pass and without a seek. Long blobs are encoded on all cores.

    The writer checks all of it, except the pieces of its blobs, before it writes the first byte.

    It adds `generator` and `created` (RFC 3339, UTC) to the header if they are missing. With `sign` it signs the file.

    Raises:
        StateError: something in the checkpoint cannot be written; the message names it.
        LimitError: the checkpoint is longer or deeper than a reader accepts.
        CorruptError: a blob that comes from a file is not what was written there.
        StorageError: the file refused a write.
        TypeError: `checkpoint` is something else.
    """
    return write_outline(check_checkpoint(checkpoint), file, sign=sign, progress=progress)


def write_outline(
    outline: Outline, file: Writable, *, sign: Sign | None = None, progress: Progress | None = None
) -> Summary:
    """Write a checkpoint that has been checked (`check_checkpoint`). Works only once: it clears the frames.

    Raises:
        StateError, CorruptError: a piece of a blob is not what it must be.
        LimitError: there are too many pieces for an index.
        StorageError: the file refused a write.
    """

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

    return _Writer(write, progress).write(outline, sign)


def dumps(checkpoint: Checkpoint, *, sign: Sign | None = None) -> bytes:
    """Return `checkpoint` as the bytes of a snapshot file. Raises as `dump` does."""
    frames: list[bytes] = []
    _Writer(frames.append).write(check_checkpoint(checkpoint), sign)
    return b"".join(frames)


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

    def write(self, outline: Outline, sign: Sign | None) -> Summary:
        """Write what `check_checkpoint` has returned, and the pieces. Only pieces can still be refused."""
        for frame in outline.frames:
            self._write(frame)
        outline.frames.clear()  # the pieces may take long
        self._total = sum(part.size for part in outline.blobs)
        blobs = tuple(self._write_blob(part) for part in outline.blobs)
        index_offset = self._offset
        frame = _encode_index(Index(outline.header, outline.sections, blobs, self._pieces))
        digest = blake3(frame).digest()
        self._write(frame)
        signatures = b"" if sign is None else sign(digest)
        if signatures:
            self._write(signatures)
        self._write(encode_trailer(Trailer(index_offset, len(frame), digest, len(signatures))))
        return Summary(self._offset, digest, len(outline.sections), len(self._pieces))

    def _write(self, data: bytes) -> None:
        self._put(data)
        self._offset += len(data)

    def _write_blob(self, part: BlobPart) -> BlobEntry:
        path, tag, _, size, piece_size = part
        indexes, numbers = array("Q"), array("I")
        pieces = _check_pieces(part, indexes)
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

        Several threads call this at once. Two may encode equal pieces: the second frame is then not used.
        """
        head = byte_string_head(len(piece))
        # A copy, so that digest and written bytes agree even if another thread changes the piece.
        content = b"".join((head, piece))
        digest = blake3(memoryview(content)[len(head) :]).digest()
        return digest, None if digest in self._numbers else encode_piece(content), len(piece)

    def _write_piece(self, encoded: tuple[bytes, bytes | None, int]) -> int:
        """Write a piece, unless an equal one has been written, and return its number."""
        digest, frame, length = encoded
        number = self._numbers.get(digest)
        if number is None:
            assert frame is not None  # it is None only if the table had the digest, and the table keeps it
            number = self._numbers[digest] = len(self._pieces)
            self._pieces.add(self._offset, len(frame), length, zlib.crc32(frame), digest)
            self._write(frame)
        return number


def _check_pieces(part: BlobPart, indexes: "array[int]") -> Iterator[bytes | memoryview]:
    """Check the pieces of a blob. Yield those that are not all zero, and append their indexes to `indexes`.

    Raises:
        StateError: a piece has the wrong length, a wrong index, or is out of order.
    """
    path, tag, blob, size, piece_size = part
    last, rest = divmod(size, piece_size)
    previous = -1
    for index, piece in blob.pieces():
        length = piece_size if index < last else rest
        if not previous < index <= last or not length or len(piece) != length:
            raise StateError(f"piece {index} of {len(piece)} bytes after piece {previous}", where=blob_name(path, tag))
        previous = index
        if not is_zero(piece):
            indexes.append(index)
            yield piece


def _encode_index(index: Index) -> bytes:
    """Return the frame of the index. Raise LimitError if it is too long: there are too many pieces."""
    try:
        return encode_value(encode_index(index))[0]
    except LimitError as exc:
        raise LimitError(f"{exc}{_FEWER}", where="the index") from exc
