"""Read a snapshot by position: trailer, index and header first, and a section or a piece when the caller uses it."""

import os
import zlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Final, Self, cast

from blake3 import blake3

from chkpt.context import Blob, Checkpoint, Context, Value
from chkpt.errors import (
    CorruptError,
    LimitError,
    NotFoundError,
    RefusedError,
    SealedError,
    StorageError,
    VersionError,
)
from chkpt.snapshot.check import blob_name
from chkpt.snapshot.codec import (
    FRAME_MAGIC,
    MAX_CONTENT,
    Plain,
    ValueCount,
    byte_string_head,
    check_map,
    decode_value,
    frame_beginning,
    frame_bound,
    frame_content,
)
from chkpt.snapshot.cores import on_all_cores
from chkpt.snapshot.frames import (
    DEVICES,
    FORMAT,
    MAGIC,
    TRAILER_SIZE,
    BlobEntry,
    Path,
    PieceTable,
    SectionEntry,
    Trailer,
    decode_index,
    decode_trailer,
    encode_trailer,
    is_zero,
    section_of,
)
from chkpt.snapshot.section import decode_section
from chkpt.snapshot.signatures import MAX_FRAME, Signature, decode_signatures
from chkpt.snapshot.source import FileSource, MemorySource, Source

_ADVICE: Final[dict[type[RefusedError], str]] = {
    CorruptError: "restore it from a copy",
    LimitError: "chkpt writes no such file, so do not trust it",
    VersionError: "upgrade chkpt",
}

_COPY_SIZE: Final = 1 << 20
"""Bytes that are copied at a time."""

_BEGINNING: Final = 1 << 12
"""Bytes of a file in which the reader looks for the beginning of the header."""

FIRST_KEY: Final = b"\xa5chkpt"
"""The first key of a header as stored (docs/FORMAT.md, R22). Before it are one to five bytes, the head of the map."""

_AGE_MAGIC: Final = b"age-encryption.org/v1\n"
"""How a file encrypted with age begins (age-encryption.org/v1, "Encrypted file format")."""


def is_encrypted(source: Source) -> bool:
    """Return whether the source is a file encrypted with age. Raise StorageError if it cannot be read."""
    return source.size >= len(_AGE_MAGIC) and source.read(0, len(_AGE_MAGIC)) == _AGE_MAGIC


def is_snapshot(path: str | os.PathLike[str]) -> bool:
    """Return whether the file at `path` is a snapshot, also one that is damaged, cut short, encrypted, or newer.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    source = FileSource(path)
    try:
        if is_encrypted(source):
            return True
        size = min(source.size, TRAILER_SIZE)
        if MAGIC in bytes(source.read(source.size - size, size)):
            return True
        begin = frame_beginning(source.read(0, min(source.size, _BEGINNING)), 16)
        return FIRST_KEY in begin
    finally:
        source.close()


class Reader:
    """An open snapshot. Trailer, index and header have been read and checked; the rest is read when the caller uses it.

    All that is read is checked against the digests in the index. Any number of threads may read. The reader is a
    context manager that closes the file at its end. What has not been read by then cannot be read any more.
    """

    __slots__ = (
        "_blobs",
        "_index_end",
        "_source",
        "_values",
        "blobs",
        "format",
        "header",
        "root_digest",
        "sections",
        "signatures",
    )

    header: dict[str, Value]
    """What the file says of the machine. The first keys are `chkpt`, `generator`, `created`."""
    sections: tuple[SectionEntry, ...]
    """The contexts that can be read one by one, in the order of the file: rising by path."""
    blobs: tuple["StoredBlob", ...]
    """The blobs of all contexts, rising by path and tag."""
    root_digest: bytes
    """BLAKE3-256 of the stored index, which has the digests of all else. Equal digests mean equal snapshots."""
    signatures: tuple[Signature, ...]
    """The signatures in the file, rising by key, not checked: `chkpt.seal` checks them."""
    format: int
    """The file's format, as its trailer says: 2 if it has signatures, else 1."""

    def __init__(self, data: bytes | bytearray | memoryview | Source, name: str = "snapshot") -> None:
        """Open a snapshot in memory, or in another source of bytes; `name` is for messages about one in memory.

        Raises:
            CorruptError: not a snapshot, cut short, or damaged in its trailer, index or header.
            VersionError: the format is newer than this chkpt reads.
            LimitError: the index or the header is longer than any that chkpt writes.
        """
        self._source = MemorySource(data, name) if isinstance(data, (bytes, bytearray, memoryview)) else data
        trailer = self._read_trailer()
        self.root_digest = trailer.root_digest
        self.format = trailer.format
        self.signatures = self._read_signatures(trailer)
        self._index_end = trailer.signatures_offset
        self._read_index(trailer)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the snapshot at `path`. Raises as the constructor does, and NotFoundError and StorageError."""
        source = FileSource(path)
        try:
            return cls(source)
        except BaseException:
            source.close()
            raise

    def close(self) -> None:
        """Close the file. Contexts and pieces that have been read stay usable; to read more raises StorageError."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The path of the file, or its name in messages."""
        return self._source.name

    def is_at(self, path: str | os.PathLike[str]) -> bool:
        """Return whether `path` leads to the file that was opened, or to another with its root digest."""
        try:
            source = FileSource(path)
        except (NotFoundError, StorageError):
            return False
        try:
            return source.file_id == self._source.file_id or type(self)(source).root_digest == self.root_digest
        except (RefusedError, StorageError):
            return False
        finally:
            source.close()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._source.size

    def section(self, path: str | Sequence[str]) -> Context:
        """Read one section: `devices/pit` or `("devices", "pit")`. A piece of its blobs is read when it is used.

        The contexts of the section `devices` are sections too. Each is read when it is looked up.

        Raises:
            NotFoundError: there is no such section.
            CorruptError: it is not what was written.
            LimitError: it holds more than chkpt writes.
            StorageError: the file cannot be read.
        """
        names = tuple(path.split("/") if isinstance(path, str) else path)
        for entry in self.sections:
            if entry.path == names:
                return self._read_section(entry)
        raise NotFoundError(f"there is no section {'/'.join(names)}", where=self.name)

    def checkpoint(self, *, keep: bool = True) -> Checkpoint:
        """Return the whole snapshot. A section is read when it is looked up, and a piece when it is used.

        The caller may replace, add and remove contexts as in a dictionary; the file does not change. Without `keep` a
        section is read each time that it is looked up, and takes no memory in between.
        """
        entries = {entry.path[0]: entry for entry in self.sections if len(entry.path) == 1}
        return Checkpoint(dict(self.header), LazyContexts(self, entries, keep=keep))

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read and check every byte of the file, in time proportional to the content.

        After each piece of a blob, this calls `progress` with the stored bytes of pieces so far, and the file's size.

        Raises:
            CorruptError: a part is not what was written; the message names it.
            LimitError: a part holds more than chkpt writes.
            StorageError: the file cannot be read.
        """
        for entry in self.sections:
            self._read_section(entry)
        read = done = 0
        for blob in self.blobs:
            for size in blob.verify(read):
                read, done = read + 1, done + size
                if progress is not None:
                    progress(done, self.size)

    def unsigned(self) -> Iterator[bytes | memoryview]:
        """Yield the stored bytes before signatures and trailer, a MiB at a time: all that the root digest covers.

        Raises:
            CorruptError: the file has become shorter.
            StorageError: the file cannot be read.
        """
        for offset in range(0, self._index_end, _COPY_SIZE):
            yield self._source.read(offset, min(_COPY_SIZE, self._index_end - offset))

    def trailer(self, signatures_size: int = 0) -> bytes:
        """Return the trailer of this snapshot with a frame of signatures of `signatures_size` bytes before it."""
        data = self._source.read(self.size - TRAILER_SIZE, TRAILER_SIZE)
        own = decode_trailer(data, self.size)
        if own is None or own.root_digest != self.root_digest:
            raise CorruptError("the trailer has changed while the file was read", where=self.name)
        return encode_trailer(own._replace(signatures_size=signatures_size))

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_trailer(self) -> Trailer:
        source = self._source
        size = min(source.size, TRAILER_SIZE)
        offset = source.size - size
        try:
            trailer = decode_trailer(source.read(offset, size), source.size)
            if trailer is None and source.read(0, min(source.size, len(FRAME_MAGIC))) == FRAME_MAGIC:
                raise CorruptError("there is no trailer: the file was cut short, or is not a chkpt snapshot")
            if trailer is not None and trailer.index_size > frame_bound(MAX_CONTENT):
                raise LimitError(f"an index of {trailer.index_size} bytes; the limit is {frame_bound(MAX_CONTENT)}")
        except RefusedError as exc:
            raise _add_place(exc, self.name, "the trailer", offset) from exc
        if trailer is None:  # another kind of file: the advice about a copy does not fit
            if is_encrypted(source):
                raise SealedError("encrypted with age; give the file with its identity (--identity)", where=self.name)
            raise CorruptError("not a chkpt snapshot", where=self.name)
        return trailer

    def _read_signatures(self, trailer: Trailer) -> tuple[Signature, ...]:
        offset, size = trailer.signatures_offset, trailer.signatures_size
        if not size:
            return ()
        try:
            if size > MAX_FRAME:
                raise LimitError(f"{size} bytes of signatures; the limit is {MAX_FRAME}")
            return decode_signatures(self._source.read(offset, size))
        except RefusedError as exc:
            raise _add_place(exc, self.name, "the signatures", offset) from exc

    def _read_index(self, trailer: Trailer) -> None:
        """Read the index and the header."""
        what, offset = "the index", trailer.index_offset
        try:
            value = self._read_value(offset, trailer.index_size, None, trailer.root_digest)
            index = decode_index(value, offset)
            self.sections = index.sections
            self._values = ValueCount(sum(entry.content_size for entry in index.sections))
            self.blobs = tuple(StoredBlob(self._source, index.pieces, entry) for entry in index.blobs)
            self._blobs: dict[Path, dict[Path, dict[str, Blob]]] = {}
            for blob in self.blobs:
                self._blobs.setdefault(section_of(blob.path), {}).setdefault(blob.path, {})[blob.tag] = blob
            what, offset = "the header", 0
            self.header = _decode_header(self._read_value(0, *index.header))
        except (RefusedError, MemoryError) as exc:
            raise _add_place(exc, self.name, what, offset) from exc

    def _read_value(
        self, offset: int, stored_size: int, content_size: int | None, digest: bytes, path: Path | None = None
    ) -> Plain:
        stored = self._source.read(offset, stored_size)
        if blake3(stored).digest() != digest:
            raise CorruptError("the stored bytes do not match their digest")
        content = frame_content(stored, content_size)
        del stored  # it may be as long as the content
        return decode_value(content) if path is None else self._values.decode(path, content)

    def _read_section(self, entry: SectionEntry, *, keep: bool = True) -> Context:
        path, _, _, offset, stored_size, content_size, digest = entry
        try:
            value = self._read_value(offset, stored_size, content_size, digest, path)
            context = decode_section(value, entry, self._blobs.get(path, {}))
        except (RefusedError, MemoryError) as exc:
            raise _add_place(exc, self.name, f"section {'/'.join(path)}", offset) from exc
        if path == (DEVICES,):
            devices = {other.path[1]: other for other in self.sections if len(other.path) == 2}
            context.contexts = LazyContexts(self, devices, keep=keep)
        return context


def _decode_header(value: Plain) -> dict[str, Value]:
    if not isinstance(value, dict) or not isinstance(number := value.get("chkpt"), int):
        raise CorruptError("the header is not a map with the format's number as `chkpt`")
    if number > FORMAT:
        raise VersionError(f"the file is in format {number}, and this chkpt reads format {FORMAT}")
    if number != FORMAT or isinstance(number, bool):
        raise CorruptError(f"there is no format {number}")
    if [*value][:3] != ["chkpt", "generator", "created"]:
        raise CorruptError("the header does not begin with chkpt, generator, created")
    if not isinstance(value["generator"], str) or not isinstance(value["created"], str):
        raise CorruptError("the header's `generator` and `created` are not text")
    header = cast("dict[str, Value]", value)
    try:
        check_map(header, 1)
    except TypeError as exc:
        raise CorruptError(str(exc)) from exc
    return header


class StoredBlob:
    """A blob in an open snapshot. A piece is read and checked when the caller uses it."""

    __slots__ = ("_pieces", "_source", "entry")

    def __init__(self, source: Source, pieces: PieceTable, entry: BlobEntry) -> None:
        self._source = source
        self._pieces = pieces
        self.entry = entry

    @property
    def path(self) -> Path:
        """The path of the context it belongs to."""
        return self.entry.path

    @property
    def tag(self) -> str:
        """Its tag in that context."""
        return self.entry.tag

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.entry.size

    @property
    def piece_size(self) -> int:
        """Bytes in every piece but the last."""
        return self.entry.piece_size

    @property
    def held(self) -> int:
        """How many of its pieces are not all zero."""
        return len(self.entry.indexes)

    @property
    def stored_size(self) -> int:
        """Bytes that its pieces take in the file. A piece counts once; other blobs may share it."""
        return sum(self._pieces.stored_sizes[number] for number in set(self.entry.numbers))

    def digests(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(index, BLAKE3-256 of the content)` of the pieces that are not all zero, without reading them."""
        for index, number in zip(self.entry.indexes, self.entry.numbers, strict=True):
            yield index, self._pieces.digest(number)

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        """Yield `(index, content)` of the pieces that are not all zero, in rising order of index.

        Raises:
            CorruptError: a piece is not what was written.
            StorageError: the file cannot be read, or has been closed.
        """
        numbers = (number for number, _ in groupby(self.entry.numbers))
        contents = on_all_cores(self._read, numbers, self.entry.piece_size)
        previous, piece = -1, memoryview(b"")
        for index, number in zip(self.entry.indexes, self.entry.numbers, strict=True):
            if number != previous:
                previous, piece = number, next(contents)
            yield index, piece

    def held_piece(self, at: int) -> tuple[int, memoryview]:
        """Return `(index, content)` of piece number `at`, from 0, of those that are not all zero.

        Raises as `pieces` does.
        """
        return self.entry.indexes[at], self._read(self.entry.numbers[at])

    def verify(self, read: int = 0) -> Iterator[int]:
        """Read and check the pieces that no earlier blob has: those from number `read` on. Yield their stored sizes.

        Raises as `pieces` does.
        """
        for number in self.entry.numbers:
            if number == read:  # pieces are numbered in the order of their first use
                self._read(number)
                read += 1
                yield self._pieces.stored_sizes[number]

    def _read(self, number: int) -> memoryview:
        """Return the content of the file's piece `number`."""
        pieces = self._pieces
        offset, length = pieces.offsets[number], pieces.lengths[number]
        head = byte_string_head(length)
        try:
            stored = self._source.read(offset, pieces.stored_sizes[number])
            if zlib.crc32(stored) != pieces.checksums[number]:
                raise CorruptError("the stored bytes do not match their checksum")
            content = frame_content(stored, len(head) + length)
            if not content.startswith(head):
                raise CorruptError(f"not a byte string of {length} bytes in the shortest msgpack encoding")
            piece = memoryview(content)[len(head) :]
            if blake3(piece).digest() != pieces.digest(number):
                raise CorruptError("the content does not match its digest")
            if is_zero(piece):
                raise CorruptError("an all-zero piece is stored")
        except (RefusedError, MemoryError) as exc:
            what = f"piece {number} ({blob_name(self.path, self.tag)})"
            raise _add_place(exc, self._source.name, what, offset) from exc
        return piece


class LazyContexts(MutableMapping[str, Context]):
    """Contexts by name. A context is read from its section when it is looked up, and kept if `keep`.

    A caller that goes through a file once does not keep them: this takes the memory of the largest section, not of all.
    """

    __slots__ = ("_items", "_keep", "_reader")

    def __init__(self, reader: Reader, entries: dict[str, SectionEntry], *, keep: bool) -> None:
        self._reader = reader
        self._keep = keep
        self._items: dict[str, Context | SectionEntry] = {**entries}

    def __getitem__(self, name: str) -> Context:
        held = self._items[name]
        if isinstance(held, Context):
            return held
        context = self._reader._read_section(held, keep=self._keep)
        if self._keep:
            self._items[name] = context
        return context

    def __setitem__(self, name: str, context: Context) -> None:
        self._items[name] = context

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<contexts {', '.join(self._items)}>"


def _add_place(exc: RefusedError | MemoryError, name: str, what: str, offset: int) -> RefusedError:
    """Return the error with the file, the place and the cure."""
    if isinstance(exc, MemoryError):
        exc = LimitError("not enough memory")
    return exc.within(f"{name}: {what} at offset {offset}", advice=_ADVICE[type(exc)])
