"""A second encoder of format 1, written after docs/FORMAT.md, that also makes what the first one never would."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import zstandard
from blake3 import blake3

Index: TypeAlias = dict[str, list[object]]

TRAILER_SIZE = 68


def pack(value: object) -> bytes:
    content: bytes = msgpack.packb(value)
    return content


def frame(content: bytes, *, checksum: bool = True, content_size: bool = True) -> bytes:
    compressor = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=content_size)
    if content_size:
        return compressor.compress(content)
    stream = compressor.compressobj()
    return stream.compress(content) + stream.flush()


def digest(data: bytes) -> bytes:
    return blake3(data).digest()


def trailer(
    offset: int, index: bytes, *, number: int = 1, size: int | None = None, root_digest: bytes | None = None
) -> bytes:
    size = len(index) if size is None else size
    root_digest = digest(index) if root_digest is None else root_digest
    fields = struct.pack("<II8sIIQ32s", 0x184D2A5C, 60, b"\x89CHKPT\r\n", number, size, offset, root_digest)
    return fields + struct.pack("<I", zlib.crc32(fields))


@dataclass
class Section:
    """A section's entry in the index, its content, and its frame where that is not just the content's."""

    path: list[object]
    content: bytes
    type: object = ""
    version: object = 0
    stored: bytes | None = None
    content_size: int | None = None


@dataclass
class Blob:
    """A blob's entry in the index."""

    path: list[object]
    tag: str
    size: int
    piece_size: int
    indexes: list[int]
    numbers: list[int]


@dataclass
class Piece:
    """A piece, and its frame where that is not just the piece's."""

    data: bytes
    stored: bytes | None = None
    digest: bytes | None = None


def section(*path: str, type: str = "", version: int = 0, **rest: object) -> Section:  # noqa: A002
    """Return a section in good order; `rest` are `values` and `contexts`."""
    value: dict[str, object] = {"path": [*path]}
    if type:
        value["type"] = type
    if version:
        value["version"] = version
    return Section([*path], pack(value | rest), type, version)


@dataclass
class File:
    """A snapshot in parts. `build` puts them together."""

    header: object = field(default_factory=lambda: {"chkpt": 1, "generator": "hand", "created": "2026-11-23T00:00:00Z"})
    header_content: bytes | None = None
    sections: list[Section] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    edit: Callable[[Index], object] = lambda index: index  # may change the index, or give another value in its place
    index_content: bytes | None = None
    gap: bytes = b""  # what lies between the last frame and the index

    def build(self) -> bytes:
        header = pack(self.header) if self.header_content is None else self.header_content
        frames = [frame(header)]
        index: Index = {"header": [len(frames[0]), len(header), digest(frames[0])], "sections": [], "blobs": []}
        for part in self.sections:
            stored = frame(part.content) if part.stored is None else part.stored
            size = len(part.content) if part.content_size is None else part.content_size
            frames.append(stored)
            index["sections"].append([part.path, part.type, part.version, len(stored), size, digest(stored)])
        stored_pieces = [frame(pack(piece.data)) if piece.stored is None else piece.stored for piece in self.pieces]
        frames += stored_pieces
        for blob in self.blobs:
            count = len(blob.indexes)
            indexes, numbers = struct.pack(f"<{count}Q", *blob.indexes), struct.pack(f"<{count}I", *blob.numbers)
            index["blobs"].append([blob.path, blob.tag, blob.size, blob.piece_size, indexes, numbers])
        count = len(stored_pieces)
        index["pieces"] = [
            struct.pack(f"<{count}I", *map(len, stored_pieces)),
            struct.pack(f"<{count}I", *map(zlib.crc32, stored_pieces)),
            b"".join(digest(piece.data) if piece.digest is None else piece.digest for piece in self.pieces),
        ]
        frames.append(self.gap)
        value = self.edit(index)
        index_frame = frame(pack(value) if self.index_content is None else self.index_content)
        return b"".join([*frames, index_frame, trailer(sum(map(len, frames)), index_frame)])
