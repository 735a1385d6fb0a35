"""Trailer, index and names, apart from any file."""

import sys
from array import array

import pytest

from chkpt.errors import CorruptError
from chkpt.snapshot.check import check_name
from chkpt.snapshot.frames import (
    TRAILER_SIZE,
    BlobEntry,
    HeaderEntry,
    Index,
    PieceTable,
    SectionEntry,
    Trailer,
    decode_index,
    decode_trailer,
    encode_index,
    encode_trailer,
    is_zero,
    section_of,
)
from tests.support import handmade


def test_a_trailer_is_as_the_description_says() -> None:
    index = b"the index"
    data = encode_trailer(Trailer(1000, len(index), handmade.digest(index)))
    assert data == handmade.trailer(1000, index)
    assert len(data) == TRAILER_SIZE == handmade.TRAILER_SIZE


def test_a_trailer_comes_back() -> None:
    trailer = Trailer(0x1_0000_0001, 0xFFFF_FFFF, bytes(range(32)))
    assert decode_trailer(encode_trailer(trailer), 0x1_0000_0001 + 0xFFFF_FFFF + TRAILER_SIZE) == trailer


def test_a_trailer_of_another_length_is_none() -> None:
    data = encode_trailer(Trailer(0, 0, bytes(32)))
    assert decode_trailer(data[:-1], TRAILER_SIZE) is None
    assert decode_trailer(b"", 0) is None


def index() -> Index:
    pieces = PieceTable()
    pieces.add(130, 20, 10, 0xDEAD_BEEF, b"p" * 32)
    return Index(
        HeaderEntry(100, 90, b"h" * 32),
        (SectionEntry(("a",), "t", 3, 100, 30, 25, b"s" * 32),),
        (BlobEntry(("a", "b"), "c", 1 << 40, 10, array("Q", [1 << 33]), array("I", [0])),),
        pieces,
    )


def test_an_index_comes_back_with_its_offsets() -> None:
    decoded = decode_index(encode_index(index()), 150)
    assert decoded[:3] == index()[:3]
    assert list(decoded.pieces.offsets) == [130]
    assert list(decoded.pieces.lengths) == [10]
    assert decoded.pieces.digest(0) == b"p" * 32


def test_numbers_are_little_endian_on_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, pieces = handmade_columns()
    assert (blobs, pieces) == ((1 << 33).to_bytes(8, "little"), (0xDEAD_BEEF).to_bytes(4, "little"))
    other = "big" if sys.byteorder == "little" else "little"
    value = encode_index(index())
    monkeypatch.setattr(sys, "byteorder", other)
    swapped_blobs, swapped_pieces = handmade_columns()
    assert (swapped_blobs, swapped_pieces) == (blobs[::-1], pieces[::-1])
    with pytest.raises(CorruptError):
        decode_index(value, 150)
    decode_index(encode_index(index()), 150)


def handmade_columns() -> tuple[bytes, bytes]:
    """Return a blob's indexes and the pieces' checksums as they are in the index."""
    match encode_index(index()):
        case {"blobs": [[*_, bytes() as indexes, bytes()]], "pieces": [bytes(), bytes() as checksums, bytes()]}:
            return indexes, checksums
    raise AssertionError("the index has another shape")


@pytest.mark.parametrize(
    ("path", "section"),
    [
        (("a",), ("a",)),
        (("a", "b", "c"), ("a",)),
        (("devices",), ("devices",)),
        (("devices", "ide0"), ("devices", "ide0")),
        (("devices", "ide0", "0"), ("devices", "ide0")),
    ],
)
def test_a_context_is_in_the_section_of_its_ancestor(path: tuple[str, ...], section: tuple[str, ...]) -> None:
    assert section_of(path) == section


@pytest.mark.parametrize("name", ["", "/", "a/b", ".", "..", "\0", "x" * 256, "e\u0301", "\u0440ic", 5, None, b"a"])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match=r"context"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["a", " ", "...", "devices", "\N{FLOPPY DISK}" * 255, "\u0440\u0438\u0441", "\u00e9\u65e5"]
)
def test_a_name_is_any_other_text(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("length", [1, 100, 4096, 1 << 20])
def test_a_piece_is_zero_when_every_byte_is(length: int) -> None:
    piece = bytearray(length)
    assert is_zero(bytes(piece))
    assert is_zero(memoryview(piece))
    piece[-1] = 1
    assert not is_zero(bytes(piece))
    assert not is_zero(memoryview(piece))
