"""The layout of a snapshot file: the order of its frames, its index, its trailer; see `docs/FORMAT.md`.

    header | section ... | piece ... | index | signatures (format 2 only) | trailer

The index lists the frames in the order of the file with their stored sizes. The frames lie end to end from offset 0 to
the index. The index has no offsets, so it cannot describe an overlap or a hole.

The errors say only what is wrong. The reader adds the file and the place.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple, TypeAlias

from chkpt.context import MAX_PIECE_SIZE
from chkpt.errors import CorruptError, LimitError, VersionError
from chkpt.snapshot.check import blob_name, check_blob, check_kind, check_name, check_tag
from chkpt.snapshot.codec import Plain, byte_string_head, check_length, frame_bound

FORMAT: Final = 1
"""The format's number: in the header as the key `chkpt`, and in the trailer of a file without signatures."""

SIGNED_FORMAT: Final = 2
"""The number in the trailer of a file with signatures between index and trailer; all else is as in format 1."""

DEVICES: Final = "devices"
"""The context under the root whose children have sections of their own."""

DIGEST_SIZE: Final = 32
"""Bytes in a BLAKE3-256 digest."""

MAX_SECTIONS_SIZE: Final = 64 << 20
"""Bytes of content in all sections of a file together."""

_ZEROS: Final = bytes(MAX_PIECE_SIZE)

Path: TypeAlias = tuple[str, ...]
"""The names from below the root down to a context."""


def is_zero(piece: bytes | memoryview) -> bool:
    """Return whether a piece is all zero. `startswith` compares at the speed of memory, and accepts a view."""
    return _ZEROS.startswith(piece)


def section_of(path: Sequence[str]) -> Path:
    """Return the path of the section that holds the context at `path`."""
    return tuple(path[:2]) if path[0] == DEVICES else tuple(path[:1])


# ---------------------------------------------------------------------------------------------------------------------
# The trailer
# ---------------------------------------------------------------------------------------------------------------------

# A skippable frame (RFC 8878, 3.1.2) with a payload of 60 bytes that begins with our own magic. All little-endian:
# frame magic, payload size, magic, format, stored size of the index, offset of the index, digest of the stored index;
# then a CRC-32 of these. The CRC distinguishes a newer format from a damaged number.
_TRAILER: Final = struct.Struct("<II8sIIQ32s")
_CHECK: Final = struct.Struct("<I")
_SKIPPABLE: Final = 0x184D2A5C
MAGIC: Final = b"\x89CHKPT\r\n"

TRAILER_SIZE: Final = _TRAILER.size + _CHECK.size
"""Bytes in the trailer, its frame header included. The same in every format."""

_BEGINNING: Final = struct.pack("<II8s", _SKIPPABLE, TRAILER_SIZE - 8, MAGIC)


class Trailer(NamedTuple):
    """The place of the index, and the length of the frame of signatures behind it: 0 if there is none."""

    index_offset: int
    index_size: int
    root_digest: bytes
    signatures_size: int = 0

    @property
    def format(self) -> int:
        """The format of the file."""
        return SIGNED_FORMAT if self.signatures_size else FORMAT

    @property
    def signatures_offset(self) -> int:
        """Where the index ends."""
        return self.index_offset + self.index_size


def encode_trailer(trailer: Trailer) -> bytes:
    """Return the last bytes of a file."""
    offset, size, digest, _ = trailer
    covered = _TRAILER.pack(_SKIPPABLE, TRAILER_SIZE - 8, MAGIC, trailer.format, size, offset, digest)
    return covered + _CHECK.pack(zlib.crc32(covered))


def decode_trailer(data: bytes | memoryview, file_size: int) -> Trailer | None:
    """Decode the last `TRAILER_SIZE` bytes of a file of `file_size` bytes. Return None if they are not a trailer.

    Raises:
        CorruptError: the trailer is damaged, or it belongs to a file of another length.
        VersionError: a newer format; only magic, size and CRC have been checked then.
    """
    if len(data) != TRAILER_SIZE or data[: len(_BEGINNING)] != _BEGINNING:
        return None
    if _CHECK.unpack_from(data, _TRAILER.size)[0] != zlib.crc32(data[: _TRAILER.size]):
        raise CorruptError("the trailer does not match its checksum")
    _, _, _, number, size, offset, digest = _TRAILER.unpack_from(data)
    if number > SIGNED_FORMAT:
        raise VersionError(f"the file is in format {number}, and this chkpt reads formats up to {SIGNED_FORMAT}")
    if number < FORMAT:
        raise CorruptError(f"there is no format {number}")
    least = offset + size + TRAILER_SIZE + (number == SIGNED_FORMAT)
    if file_size < least or (number == FORMAT and file_size != least):
        raise CorruptError(f"the trailer is of a file of {least} bytes, and this one has {file_size}")
    return Trailer(offset, size, digest, file_size - offset - size - TRAILER_SIZE)


# ---------------------------------------------------------------------------------------------------------------------
# The index
# ---------------------------------------------------------------------------------------------------------------------


class HeaderEntry(NamedTuple):
    """What the index says of the header, the first frame of the file."""

    stored_size: int
    content_size: int
    digest: bytes


class SectionEntry(NamedTuple):
    """What the index says of a section. `digest` is of the stored bytes."""

    path: Path
    type: str
    version: int
    offset: int
    stored_size: int
    content_size: int
    digest: bytes


class BlobEntry(NamedTuple):
    """What the index says of a blob: piece `indexes[i]` of it is the file's piece `numbers[i]`; the others are zero."""

    path: Path
    tag: str
    size: int
    piece_size: int
    indexes: "array[int]"
    numbers: "array[int]"


class PieceTable:
    """The pieces of a file in its order, as columns. A digest is of the content, a checksum of the stored bytes."""

    __slots__ = ("checksums", "digests", "lengths", "offsets", "stored_sizes")

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.stored_sizes = array("I")
        self.lengths = array("I")
        self.checksums = array("I")
        self.digests: bytes | bytearray = bytearray()

    def __len__(self) -> int:
        return len(self.stored_sizes)

    def add(self, offset: int, stored_size: int, length: int, checksum: int, digest: bytes) -> None:
        """Append a piece of `length` bytes."""
        self.offsets.append(offset)
        self.stored_sizes.append(stored_size)
        self.lengths.append(length)
        self.checksums.append(checksum)
        self.digests += digest

    def digest(self, number: int) -> bytes:
        """Return the digest of the content of piece `number`."""
        return bytes(self.digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE])


class Index(NamedTuple):
    """All that the index says."""

    header: HeaderEntry
    sections: tuple[SectionEntry, ...]
    blobs: tuple[BlobEntry, ...]
    pieces: PieceTable


def encode_index(index: Index) -> Plain:
    """Return the value of the index frame."""
    sections: list[Plain] = [
        [[*entry.path], entry.type, entry.version, entry.stored_size, entry.content_size, entry.digest]
        for entry in index.sections
    ]
    blobs: list[Plain] = [
        [
            [*entry.path],
            entry.tag,
            entry.size,
            entry.piece_size,
            _encode_column(entry.indexes),
            _encode_column(entry.numbers),
        ]
        for entry in index.blobs
    ]
    pieces = index.pieces
    return {
        "header": [*index.header],
        "sections": sections,
        "blobs": blobs,
        "pieces": [_encode_column(pieces.stored_sizes), _encode_column(pieces.checksums), bytes(pieces.digests)],
    }


def decode_index(value: Plain, index_offset: int) -> Index:
    """Decode the value of the index frame, which begins at `index_offset`.

    Raises:
        CorruptError: it does not describe the bytes from 0 to `index_offset`.
        LimitError: a content is too long.
    """
    if not isinstance(value, dict) or tuple(value) != ("header", "sections", "blobs", "pieces"):
        raise CorruptError("the index is not a map of header, sections, blobs, pieces")
    header = HeaderEntry(*_check_row(value["header"], "header", _HEADER_ROW))
    _check_frame(header.stored_size, header.content_size, header.digest, ("the header",))
    sections = _decode_sections(value["sections"], header.stored_size)
    pieces = _decode_pieces(value["pieces"])
    blobs = _decode_blobs(value["blobs"], {entry.path for entry in sections}, pieces)
    first_piece = sections[-1].offset + sections[-1].stored_size if sections else header.stored_size
    ends = array("Q", accumulate(pieces.stored_sizes, initial=first_piece))
    if ends.pop() != index_offset:
        raise CorruptError(f"the frames listed do not fill the file up to the index at offset {index_offset}")
    pieces.offsets = ends
    return Index(header, sections, blobs, pieces)


_SectionRow: TypeAlias = tuple[list[Plain], str, int, int, int, bytes]
_BlobRow: TypeAlias = tuple[list[Plain], str, int, int, bytes, bytes]
_HEADER_ROW: Final[list[type]] = [int, int, bytes]
_SECTION_ROW: Final[list[type]] = [list, str, int, int, int, bytes]
_BLOB_ROW: Final[list[type]] = [list, str, int, int, bytes, bytes]
_PIECES_ROW: Final[list[type]] = [bytes, bytes, bytes]


def _decode_sections(value: Plain, offset: int) -> tuple[SectionEntry, ...]:
    entries: list[SectionEntry] = []
    previous: Path = ()
    total = 0
    for item in _check_rows(value, "sections"):
        row: _SectionRow = _check_row(item, "section", _SECTION_ROW)
        names, kind, version, stored_size, content_size, digest = row
        path = _decode_path(names)
        if len(path) > 1 and (len(path) > 2 or path[0] != DEVICES):
            raise CorruptError("cannot be a section of its own", subject="/".join(path))
        if path <= previous:
            raise CorruptError(f"section {'/'.join(path)} is listed twice, or after {'/'.join(previous)}")
        if len(path) == 2 and previous[:1] != path[:1]:
            raise CorruptError(f"section {'/'.join(path)} is listed without a section {DEVICES}")
        _apply(check_kind, kind, version, where=f"section {'/'.join(path)}")
        _check_frame(stored_size, content_size, digest, path)
        entries.append(SectionEntry(path, kind, version, offset, stored_size, content_size, digest))
        offset += stored_size
        total += content_size
        previous = path
    if total > MAX_SECTIONS_SIZE:
        raise LimitError(f"{total} bytes of content in all sections; the limit is {MAX_SECTIONS_SIZE}")
    return tuple(entries)


def _decode_pieces(value: Plain) -> PieceTable:
    stored_sizes, checksums, digests = _check_row(value, "pieces", _PIECES_ROW)
    pieces = PieceTable()
    pieces.stored_sizes = _decode_column("I", stored_sizes)
    pieces.checksums = _decode_column("I", checksums)
    pieces.digests = digests
    if len(pieces.checksums) != len(pieces) or len(digests) != len(pieces) * DIGEST_SIZE:
        raise CorruptError("the columns of the pieces are not equally long")
    return pieces


def _decode_blobs(value: Plain, sections: set[Path], pieces: PieceTable) -> tuple[BlobEntry, ...]:
    entries: list[BlobEntry] = []
    previous: tuple[Path, str] = ((), "")
    for item in _check_rows(value, "blobs"):
        row: _BlobRow = _check_row(item, "blob", _BLOB_ROW)
        path_value, tag, size, piece_size, indexes, numbers = row
        path = _decode_path(path_value)
        _apply(check_tag, tag, where=f"a blob of {'/'.join(path)}")
        name = blob_name(path, tag)
        if section_of(path) not in sections:
            raise CorruptError(f"blob {name} is in no section")
        if (path, tag) <= previous:
            raise CorruptError(f"blob {name} is listed after {blob_name(*previous)}: not in rising order, or twice")
        _apply(check_blob, size, piece_size, where=f"blob {name}")
        entry = BlobEntry(path, tag, size, piece_size, _decode_column("Q", indexes), _decode_column("I", numbers))
        if len(entry.indexes) != len(entry.numbers):
            raise CorruptError(f"the two columns of blob {name} are not equally long")
        _check_pieces(entry, pieces)
        entries.append(entry)
        previous = (path, tag)
    if len(pieces.lengths) != len(pieces):
        raise CorruptError(f"piece {len(pieces.lengths)} belongs to no blob")
    return tuple(entries)


def _check_pieces(entry: BlobEntry, pieces: PieceTable) -> None:
    """Check which pieces a blob has, and append the lengths of those that no earlier blob has."""
    lengths, stored_sizes = pieces.lengths, pieces.stored_sizes
    last, rest = divmod(entry.size, entry.piece_size)
    previous = -1
    for index, number in zip(entry.indexes, entry.numbers, strict=True):
        length = entry.piece_size if index < last else rest
        if index <= previous or index > last or not length:
            raise CorruptError(f"{blob_name(entry.path, entry.tag)} has no place for piece {index} after {previous}")
        previous = index
        if number < len(lengths):
            if lengths[number] != length:
                raise CorruptError(f"piece {number} is {lengths[number]} bytes long, and also {length}")
        elif number > len(lengths) or number >= len(stored_sizes):
            raise CorruptError(f"piece {number} is not listed, or not in the order of its first use")
        else:
            lengths.append(length)
            if not 0 < stored_sizes[number] <= frame_bound(len(byte_string_head(length)) + length):
                raise CorruptError(f"piece {number} of {length} bytes cannot be stored in {stored_sizes[number]}")


# -- parts of an index ------------------------------------------------------------------------------------------------


def _check_rows(value: Plain, name: str) -> list[Plain]:
    if not isinstance(value, list):
        raise CorruptError(f"the index's {name} are not an array")
    return value


def _check_row(value: Plain, name: str, kinds: list[type]) -> Any:
    """Return an entry of the index. Raise CorruptError if its items are not of these types."""
    if not isinstance(value, list) or [*map(type, value)] != kinds:
        raise CorruptError(f"the index's {name} entry is not an array of {', '.join(kind.__name__ for kind in kinds)}")
    return value


def _apply(rule: Callable[..., None], *given: Plain, where: str = "") -> None:
    """Apply a rule of `chkpt.snapshot.check` to a part of an index."""
    try:
        rule(*given)
    except (TypeError, ValueError) as exc:
        raise CorruptError(str(exc), where=where) from exc
    except LimitError as exc:
        raise LimitError(str(exc), where=where) from exc


def _decode_path(names: list[Any]) -> Path:
    for name in names:
        _apply(check_name, name)
    if not names:
        raise CorruptError("the index has an empty path")
    return tuple(names)


def _check_frame(stored_size: int, content_size: int, digest: bytes, path: Path) -> None:
    check_length(content_size)
    if not 0 < stored_size <= frame_bound(content_size):
        raise CorruptError(f"of {content_size} bytes cannot be stored in {stored_size}", subject="/".join(path))
    if len(digest) != DIGEST_SIZE:
        raise CorruptError(f"the digest of {'/'.join(path)} has {len(digest)} bytes")


def _encode_column(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _decode_column(typecode: str, column: bytes) -> "array[int]":
    numbers = array(typecode)
    if len(column) % numbers.itemsize:
        raise CorruptError(f"a column of {len(column)} bytes does not hold numbers of {numbers.itemsize}")
    numbers.frombytes(column)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
