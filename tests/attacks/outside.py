"""Attacks on the outside of the file: its end, its frames, what lies between them."""

import struct
import zlib
from typing import Final

from chkpt.errors import LimitError, VersionError
from tests.attacks.parts import CLOCK, GOOD, PAGE, Attack, Make, entry, good, header, later, long_piece, piece, stored
from tests.support.handmade import TRAILER_SIZE, Piece, digest, frame, pack, trailer

MIB: Final = 1 << 20
FILE: Final = GOOD.build()
END: Final = len(FILE) - TRAILER_SIZE
INDEX_AT: Final = int.from_bytes(FILE[END + 24 : END + 32], "little")
INDEX: Final = FILE[INDEX_AT:END]
SKIPPABLE: Final = struct.pack("<II", 0x184D2A50, 20) + bytes(20)
SCRIPT: Final = b"#!/bin/sh\necho owned\nexit\n"
ZIP: Final = b"PK\x05\x06" + bytes(18)
"""An empty archive, which is found from its end."""


def ending(offset: int = INDEX_AT, index: bytes = INDEX, *, before: bytes = FILE[:INDEX_AT], **other: object) -> Make:
    """Return what is before the index, an index, and a trailer that says so or otherwise."""
    return lambda: before + index + trailer(offset, index, **other)  # type: ignore[arg-type]  # of trailer


def flipped(at: int, bit: int = 1) -> Make:
    """Return the good file with a bit flipped."""
    return lambda: FILE[:at] + bytes([FILE[at] ^ bit]) + FILE[at + 1 :]


def long_index() -> bytes:
    data = bytes(17 * MIB)
    return data + trailer(0, data)


def wrapping() -> bytes:
    """Return a file whose offset and size of the index add up to its length modulo 2 ** 64."""
    data = FILE[:END]
    size = 1 << 20
    return data + trailer((len(data) - size) % (1 << 64), data, size=size)


def half_trailer() -> bytes:
    """Return a file that ends with a frame of the trailer's kind and another payload."""
    return FILE[:END] + struct.pack("<II", 0x184D2A5C, 60) + b"\x89CHKPT\n\n" + bytes(52)


def signatures(*keys: int, frame: int = 0x184D2A5B, size: int | None = None) -> bytes:
    """Return a frame of signatures by these keys."""
    payload = b"\x89CHKSIG\n" + b"".join(bytes([key]) * 32 + bytes(64) for key in keys)
    data = struct.pack("<II", frame, len(payload) + 4 if size is None else size) + payload
    return data + struct.pack("<I", zlib.crc32(data))


def signed(frame: bytes) -> Make:
    """Return the good file with this between index and trailer."""
    return lambda: FILE[:END] + frame + trailer(INDEX_AT, INDEX, number=2)


def with_dictionary() -> bytes:
    """A frame that says it needs the dictionary 7: a bit in the descriptor, and one more byte after it."""
    plain = frame(CLOCK)
    return plain[:4] + bytes([plain[4] | 1]) + b"\x07" + plain[5:]


def with_window(log: int) -> bytes:
    """A frame with one raw block that asks for a window of 2 ** log bytes (RFC 8878, 3.1.1)."""
    plain = frame(CLOCK)
    descriptor = 0b1000_0100  # content size in 4 bytes, no single segment, checksum
    block = (len(CLOCK) << 3 | 1).to_bytes(3, "little") + CLOCK
    head = plain[:4] + bytes([descriptor, (log - 10) << 3]) + len(CLOCK).to_bytes(4, "little")
    return head + block + plain[-4:]


def run_of_runs() -> bytes:
    """A frame that states 65791 bytes and has a thousand blocks of a byte 128 KiB times each (RFC 8878, 3.1.1.2)."""
    block = (1 << 17 << 3 | 0b010).to_bytes(3, "little") + b"\0"
    last = (1 << 17 << 3 | 0b011).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x64\xff\xff" + block * 1000 + last + bytes(4)


TRAILER: Final = (
    Attack(1, "another kind of file", lambda: ZIP * 20, "not a chkpt snapshot"),
    Attack(1, "nothing", lambda: b"", "not a chkpt snapshot"),
    Attack(1, "cut short", lambda: FILE[:-1], "there is no trailer: the file was cut short, or is not a chkpt"),
    Attack(1, "another magic", half_trailer, "there is no trailer"),
    Attack(1, "another size of the skippable frame", flipped(END + 4), "there is no trailer"),
    Attack(1, "polyglot: an archive behind it", lambda: FILE + ZIP, "there is no trailer"),
    Attack(2, "a flipped bit", flipped(END + 40), "the trailer does not match its checksum"),
    Attack(2, "a checksum of nothing", lambda: FILE[:-4] + bytes(4), "the trailer does not match its checksum"),
    Attack(2, "a damaged format is no newer one", flipped(END + 16, 2), "the trailer does not match its checksum"),
    Attack(3, "format 0", ending(number=0), "there is no format 0"),
    Attack(3, "format 3", ending(index=b"whatever", number=3), "the file is in format 3, and this chkpt", VersionError),
    Attack(3, "format 2 ** 32 - 1", ending(number=0xFFFF_FFFF), "the file is in format 4294967295", VersionError),
    Attack(4, "two trailers", lambda: FILE + FILE[END:], "the trailer is of a file of"),
    Attack(4, "two snapshots", lambda: FILE + FILE, "the trailer is of a file of"),
    Attack(4, "bytes before it", lambda: SCRIPT + FILE, "the trailer is of a file of"),
    Attack(4, "an index behind the end", ending(1 << 40), "the trailer is of a file of"),
    Attack(4, "an index inside the trailer", ending(INDEX_AT + 8), "the trailer is of a file of"),
    Attack(4, "an index of no length", ending(size=0), "the trailer is of a file of"),
    Attack(4, "an offset that overflows", wrapping, "the trailer is of a file of 1844674407370955"),
    Attack(5, "an index of 17 MiB", long_index, "an index of 17825792 bytes; the limit is 16842816", LimitError),
    Attack(6, "another root digest", ending(root_digest=bytes(32)), "the index at offset"),
    Attack(6, "a flipped bit in the index", flipped(INDEX_AT + 20), "the stored bytes do not match their digest"),
)

FRAMES: Final = (
    Attack(7, "no frame", stored(b"\0" * 20), "not a zstd frame"),
    Attack(7, "a skippable frame", stored(SKIPPABLE, 20), "not a zstd frame"),
    Attack(7, "a skippable frame before the frame", stored(SKIPPABLE + frame(CLOCK)), "not a zstd frame"),
    Attack(7, "a frame of zstd 0.7", stored(b"\x27" + frame(CLOCK)[1:]), "not a zstd frame"),
    Attack(7, "an index that is no frame", ending(index=b"\x81\xa1a\x01" * 9), "not a zstd frame"),
    Attack(7, "a piece that is no frame", piece(b"\0" * 90), "not a zstd frame"),
    Attack(8, "no checksum", stored(frame(CLOCK, checksum=False)), "must state its size, have a checksum"),
    Attack(8, "no size", stored(frame(CLOCK, content_size=False)), "must state its size, have a checksum"),
    Attack(8, "a dictionary", stored(with_dictionary()), "must state its size, have a checksum"),
    Attack(8, "a piece without checksum", piece(frame(pack(PAGE), checksum=False)), "must state its size, have a"),
    Attack(9, "a window of 32 MiB", stored(with_window(25)), "asks for a window of 33554432 bytes", LimitError),
    Attack(9, "a window of 2 TiB", stored(with_window(41)), "header cannot be read"),
    Attack(10, "another size", stored(frame(CLOCK), 10), "bytes of content, and the index 10"),
    Attack(
        10,
        "a bomb of 256 MiB",
        later(lambda: stored(frame(bytes(256 * MIB)), 16 * MIB)),
        "states 268435456 bytes of content",
    ),
    Attack(10, "nothing in it", stored(frame(b""), 0), "a frame without content"),
    Attack(
        10,
        "17 MiB of content",
        later(lambda: good(index_content=b"\x01" * (17 * MIB))),
        "17825792 bytes of content in",
        LimitError,
    ),
    Attack(10, "a piece of another size", piece(long_piece(PAGE + b"x")), "states 1004 bytes of content, and the"),
    Attack(11, "bytes behind it", stored(frame(CLOCK) + b"x"), "the zstd frame cannot be decompressed"),
    Attack(11, "two of them", stored(frame(bytes(200)) * 2, 200), "the zstd frame cannot be decompressed"),
    Attack(11, "a skippable frame behind it", stored(frame(CLOCK) + SKIPPABLE), "the zstd frame cannot be decompr"),
    Attack(11, "cut short", stored(frame(CLOCK)[:-1]), "the zstd frame cannot be decompressed"),
    Attack(11, "no more than its header", stored(frame(CLOCK)[:5]), "header cannot be read"),
    Attack(11, "another checksum", stored(frame(CLOCK)[:-1] + b"?"), "the zstd frame cannot be decompressed"),
    Attack(11, "long runs", stored(run_of_runs(), 65791), "the zstd frame cannot be decompressed"),
    Attack(11, "two frames as a piece", piece(long_piece(PAGE) * 2), "the zstd frame cannot be decompressed"),
)

SIGNATURES: Final = (
    Attack(4, "format 2 without signatures", ending(number=2), "the trailer is of a file of"),
    Attack(57, "garbage", signed(b"x" * 116), "not a frame of signatures"),
    Attack(57, "half a signature", signed(signatures(1)[:60]), "60 bytes are not a whole frame of signatures"),
    Attack(57, "two frames", signed(signatures(1) * 2), "bytes are not a whole frame of signatures"),
    Attack(57, "a frame of the trailer's kind", signed(signatures(1, frame=0x184D2A5C)), "not a frame of signatures"),
    Attack(57, "a frame that is longer", signed(signatures(1, size=1 << 31)), "not a frame of signatures"),
    Attack(58, "a flipped bit", signed(signatures(1)[:40] + b"!" + signatures(1)[41:]), "do not match their checksum"),
    Attack(59, "none", signed(signatures()), "20 bytes are not a whole frame of signatures"),
    Attack(59, "seventeen", signed(signatures(*range(17))), "1652 bytes of signatures; the limit is 1556", LimitError),
    Attack(59, "a megabyte", signed(bytes(MIB)), "1048576 bytes of signatures; the limit is 1556", LimitError),
    Attack(
        60, "another order", signed(signatures(2, 1)), "the signatures do not rise by key, or one key has signed twice"
    ),
    Attack(60, "twice", signed(signatures(1, 1)), "the signatures do not rise by key, or one key has signed twice"),
)

HEADER: Final = (
    Attack(22, "a list", good(header=[1]), "the header is not a map with"),
    Attack(22, "no number", good(header={"generator": "", "created": ""}), "the header is not a map with"),
    Attack(22, "no more than a number", good(header={"chkpt": 1}), "does not begin with chkpt, generator, created"),
    Attack(22, "another order", good(header={"generator": "", "chkpt": 1, "created": ""}), "does not begin with chkpt"),
    Attack(23, "format 0", header(chkpt=0), "there is no format 0"),
    Attack(23, "format true", header(chkpt=True), "there is no format True"),
    Attack(23, "format 2", header(chkpt=2), "the file is in format 2, and this chkpt reads format 1", VersionError),
    Attack(24, "a generator that is a number", header(generator=5), "`generator` and `created` are not text"),
    Attack(24, "a time that is nil", header(created=None), "`generator` and `created` are not text"),
)

STORED: Final = (
    Attack(
        31,
        "another digest of a section",
        entry("sections", 0, 5, bytes(32)),
        "the stored bytes do not match their digest",
    ),
    Attack(31, "a flipped bit in the header", flipped(20), "the stored bytes do not match their digest"),
    Attack(51, "a flipped bit in a piece", flipped(INDEX_AT - 8), "the stored bytes do not match their checksum"),
    Attack(52, "text", piece(frame(b"\xda\x03\xe8" + PAGE)), "not a byte string of 1000 bytes in the shortest"),
    Attack(52, "a long head", piece(frame(b"\xc6\0\0\x03\xe8" + PAGE[:998])), "not a byte string of 1000 bytes"),
    Attack(53, "another digest", piece(frame(pack(PAGE)), bytes(32)), "the content does not match its digest"),
    Attack(
        53, "two pieces swapped", good(pieces=[Piece(PAGE, digest=digest(b"")), GOOD.pieces[1]]), "match its digest"
    ),
    Attack(54, "zeros", piece(frame(pack(bytes(1000))), digest(bytes(1000))), "an all-zero piece is stored"),
)


OUTSIDE: Final = (*TRAILER, *FRAMES, *SIGNATURES, *HEADER, *STORED)
