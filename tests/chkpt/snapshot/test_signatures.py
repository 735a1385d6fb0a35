"""The frame of signatures, and where it is in a file."""

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ChkptError, CorruptError, LimitError, RefusedError, VersionError
from chkpt.snapshot import Reader, dumps
from chkpt.snapshot.frames import TRAILER_SIZE
from chkpt.snapshot.signatures import (
    MAX_FRAME,
    MAX_SIGNATURES,
    Signature,
    decode_signatures,
    encode_signatures,
    signed_message,
)
from tests.support import handmade
from tests.support.checkpoints import small


def one(number: int) -> Signature:
    return Signature(bytes([number]) * 32, bytes([255 - number]) * 64)


def by_hand(*entries: bytes, magic: bytes = b"\x89CHKSIG\n", frame: int = 0x184D2A5B, size: int | None = None) -> bytes:
    payload = magic + b"".join(entries)
    data = struct.pack("<II", frame, len(payload) + 4 if size is None else size) + payload
    return data + struct.pack("<I", zlib.crc32(data))


FRAME = encode_signatures([one(2), one(1)])
PLAIN = dumps(small())
SIGNED = dumps(small(), sign=lambda _: FRAME)


def test_the_frame_is_as_the_description_says() -> None:
    assert by_hand(bytes([1]) * 32 + bytes([254]) * 64, bytes([2]) * 32 + bytes([253]) * 64) == FRAME
    assert decode_signatures(FRAME) == (one(1), one(2))


def test_what_is_signed_is_the_context_the_format_and_the_digest() -> None:
    assert signed_message(bytes(range(32)), 1) == b"chkpt snapshot signature 1\0\1\0\0\0" + bytes(range(32))


def test_a_signed_file_is_the_same_snapshot_in_format_2() -> None:
    plain, signed = Reader(PLAIN), Reader(SIGNED)
    assert (plain.format, plain.signatures) == (1, ())
    assert (signed.format, signed.signatures) == (2, (one(1), one(2)))
    assert signed.root_digest == plain.root_digest
    assert signed.header == plain.header
    assert signed.header["chkpt"] == 1
    signed.verify()
    body = PLAIN[:-TRAILER_SIZE]
    assert body + FRAME + handmade.trailer(index_offset(), body[index_offset() :], number=2) == SIGNED
    assert b"".join(signed.unsigned()) == body == b"".join(plain.unsigned())
    assert signed.trailer() == PLAIN[-TRAILER_SIZE:]
    assert plain.trailer(len(FRAME)) == SIGNED[-TRAILER_SIZE:]


def index_offset() -> int:
    return int.from_bytes(PLAIN[-44:-36], "little")


def with_frame(frame: bytes, number: int = 2) -> bytes:
    body = PLAIN[:-TRAILER_SIZE]
    return body + frame + handmade.trailer(index_offset(), body[index_offset() :], number=number)


def test_an_older_reader_finds_a_newer_format_not_damage() -> None:
    """Format 1 looked at the last 68 bytes, at their first 20 and their CRC-32, and refused what is newer."""
    magic, size, name, number = struct.unpack_from("<II8sI", SIGNED, len(SIGNED) - 68)
    assert (magic, size, name, number) == (0x184D2A5C, 60, b"\x89CHKPT\r\n", 2)
    assert zlib.crc32(SIGNED[-68:-4]) == int.from_bytes(SIGNED[-4:], "little")
    with pytest.raises(VersionError):
        Reader(with_frame(FRAME, number=3))


BAD = {
    "none": (b"", CorruptError),
    "a byte": (b"x", CorruptError),
    "no signature": (by_hand(), CorruptError),
    "half a signature": (by_hand(bytes(95)), CorruptError),
    "cut short": (FRAME[:-1], CorruptError),
    "a byte too much": (FRAME + b"\0", CorruptError),
    "another magic": (by_hand(bytes(96), magic=b"\x89CHKPT\r\n"), CorruptError),
    "the trailer's frame": (by_hand(bytes(96), frame=0x184D2A5C), CorruptError),
    "another size": (by_hand(bytes(96), size=96), CorruptError),
    "twice": (FRAME + FRAME, CorruptError),
    "one key twice": (by_hand(bytes(96), bytes(95) + b"\1"), CorruptError),
    "keys that fall": (by_hand(b"\1" * 96, bytes(96)), CorruptError),
    "17 signatures": (by_hand(*(bytes([n]) * 96 for n in range(17))), LimitError),
    "a mebibyte": (by_hand(bytes(1 << 20)), LimitError),
}


@pytest.mark.parametrize(("frame", "error"), BAD.values(), ids=BAD)
def test_another_frame_is_refused(frame: bytes, error: type[ChkptError]) -> None:
    with pytest.raises(error):
        decode_signatures(frame)
    if frame:
        with pytest.raises(error, match=r"the signatures at offset \d+: .*; |the trailer"):
            Reader(with_frame(frame))
    else:
        with pytest.raises(CorruptError, match=r"the trailer is of a file of \d+ bytes"):
            Reader(with_frame(frame))


def test_signatures_in_format_1_are_refused() -> None:
    with pytest.raises(CorruptError, match="the trailer is of a file of"):
        Reader(with_frame(FRAME, number=1))


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_a_flipped_bit_anywhere_in_a_signed_file_is_found(bit: int) -> None:
    data = bytearray(SIGNED)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RefusedError):
        Reader(bytes(data)).verify()


@given(st.integers(0, len(SIGNED) - 1))
def test_a_signed_file_cut_short_anywhere_is_refused(size: int) -> None:
    with pytest.raises(RefusedError):
        Reader(SIGNED[:size])


def test_the_most_signatures_fit_and_one_more_does_not() -> None:
    most = encode_signatures(map(one, range(MAX_SIGNATURES)))
    assert len(most) == MAX_FRAME
    assert len(decode_signatures(most)) == MAX_SIGNATURES
    with pytest.raises(LimitError):
        encode_signatures(map(one, range(MAX_SIGNATURES + 1)))


@pytest.mark.parametrize("signatures", [[], [one(1), one(1)], [Signature(b"", bytes(64))], [Signature(bytes(32), b"")]])
def test_what_is_no_list_of_signatures_is_not_written(signatures: list[Signature]) -> None:
    with pytest.raises(ValueError, match="signature"):
        encode_signatures(signatures)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd command is not installed")
def test_zstd_reads_a_signed_file(tmp_path: Path) -> None:
    (tmp_path / "plain.zst").write_bytes(PLAIN)
    (tmp_path / "signed.zst").write_bytes(SIGNED)
    subprocess.run(["zstd", "-tq", tmp_path / "signed.zst"], check=True)
    plain, signed = (
        subprocess.run(["zstd", "-dcq", tmp_path / name], check=True, capture_output=True).stdout
        for name in ("plain.zst", "signed.zst")
    )
    assert signed == plain
