"""An input as a snapshot file whose sizes, digests and checksums hold.

Behind a BLAKE3 digest and a zstd frame a fuzzer that changes bytes of a file finds nothing. So the input is the file's
parts before they are compressed and digested, in msgpack:

    {"header": value, "sections": [[path, type, version, value]], "blobs": [row of the index], "pieces": [bytes],
     "index": {key: value},          # "index" replaces what the file's own index says
     "signatures": bytes}            # keys and signatures, which make it a file of format 2

A part that is a byte string is a frame's content as it is. An input of another shape is a file.
"""

import struct
import zlib
from typing import Any

from tests.lab.fuzz.trees import pack, unpack
from tests.support.handmade import TRAILER_SIZE, File, Index, Piece, Section, trailer


def built(data: bytes) -> bytes:
    """Return the file that an input stands for."""
    try:
        parts = unpack(data)
    except ValueError:
        return mended(data)
    return _file(parts) if isinstance(parts, dict) else mended(data)


def mended(data: bytes) -> bytes:
    """Return a file whose trailer's digest and checksum are those of its index, if it has a trailer at all."""
    if len(data) < TRAILER_SIZE:
        return data
    body, end = data[:-TRAILER_SIZE], data[-TRAILER_SIZE:]
    number, size, offset = struct.unpack_from("<IIQ", end, 16)
    index = body[offset : offset + size] or body
    return body + end[:16] + trailer(offset, index, number=number, size=size)[16:]


def _file(parts: dict[Any, Any]) -> bytes:
    sections: list[Section] = []
    for row in _rows(parts.get("sections")):
        if len(row) == 4:
            path, kind, version, value = row
            sections.append(Section(path, _content(value), kind, version))
    pieces = parts.get("pieces")
    held = [Piece(piece) for piece in pieces if isinstance(piece, bytes)] if isinstance(pieces, list) else []
    replaced = parts.get("index")

    def edit(index: Index) -> object:
        edited: dict[Any, Any] = {**index, "blobs": parts.get("blobs", [])}
        return edited | replaced if isinstance(replaced, dict) else edited

    header = _content(parts.get("header"))
    file = File(header_content=header, sections=sections, pieces=held, edit=edit).build()
    signatures = parts.get("signatures")
    return signed(file, signatures) if isinstance(signatures, bytes) else file


def signed(file: bytes, entries: bytes) -> bytes:
    """Return a file of format 1 as one of format 2, with these keys and signatures."""
    payload = b"\x89CHKSIG\n" + entries
    frame = struct.pack("<II", 0x184D2A5B, len(payload) + 4) + payload
    frame += struct.pack("<I", zlib.crc32(frame))
    body, (size, offset) = file[:-TRAILER_SIZE], struct.unpack_from("<IQ", file, len(file) - TRAILER_SIZE + 20)
    return body + frame + trailer(offset, body[offset : offset + size], number=2)


def _rows(value: object) -> list[list[Any]]:
    return [row for row in value if isinstance(row, list)] if isinstance(value, list) else []


def _content(value: object) -> bytes:
    return value if isinstance(value, bytes) and value else pack(value)


def parts_of(file: bytes) -> bytes:
    """Return the input that stands for a good snapshot file: a seed for the fuzzer."""
    from chkpt.snapshot import Reader

    reader = Reader(file)
    sections: list[object] = []
    for entry in reader.sections:
        value = unpack(_stored(file, entry.offset, entry.stored_size))
        sections.append([[*entry.path], entry.type, entry.version, value])
    pieces: dict[int, bytes] = {}
    blobs: list[object] = []
    for blob in reader.blobs:
        for number, (_, piece) in zip(blob.entry.numbers, blob.pieces(), strict=True):
            pieces[number] = bytes(piece)
        indexes = struct.pack(f"<{len(blob.entry.indexes)}Q", *blob.entry.indexes)
        numbers = struct.pack(f"<{len(blob.entry.numbers)}I", *blob.entry.numbers)
        blobs.append([[*blob.path], blob.tag, blob.size, blob.piece_size, indexes, numbers])
    header = {**reader.header}
    parts: dict[str, object] = {"header": header, "sections": sections, "blobs": blobs, "pieces": [*pieces.values()]}
    if reader.signatures:
        parts["signatures"] = b"".join(key + signature for key, signature in reader.signatures)
    return pack(parts)


def _stored(file: bytes, offset: int, size: int) -> bytes:
    from chkpt.snapshot.codec import frame_content

    return frame_content(file[offset : offset + size])
