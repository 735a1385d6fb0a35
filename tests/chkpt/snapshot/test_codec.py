"""The traps of the two libraries, at the place where they are met."""

import tracemalloc

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import CorruptError, LimitError
from chkpt.snapshot import codec
from chkpt.snapshot.codec import (
    MAX_CONTENT,
    byte_string_head,
    check_length,
    decode_value,
    encode_piece,
    encode_value,
    frame_bound,
    frame_content,
)
from tests.support.checkpoints import plain_value, values


@given(values)
def test_a_value_comes_back(value: object) -> None:
    frame, size = encode_value(value)
    content = frame_content(frame, size)
    assert decode_value(content) == plain_value(value)  # type: ignore[arg-type]  # the strategy gives values


@given(st.binary(min_size=1, max_size=3000))
def test_a_frame_is_never_longer_than_its_bound(content: bytes) -> None:
    assert len(encode_piece(content)) <= frame_bound(len(content))


@pytest.mark.parametrize("size", [1, 100_000, 131_072, 131_073, MAX_CONTENT])
def test_the_worst_frame_is_within_its_bound(size: int) -> None:
    noise = bytes((n * n * 2654435761 >> 13) & 0xFF for n in range(4096)) * (size // 4096 + 1)
    assert len(encode_piece(noise[:size])) <= frame_bound(size)
    assert frame_bound(size) >= size + 18 + 3 * (size // (1 << 17) + 1) + 4  # header, raw blocks, checksum (RFC 8878)


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65535, 65536, 1 << 20])
def test_the_head_of_a_byte_string_is_msgpacks(length: int) -> None:
    assert byte_string_head(length) + bytes(length) == msgpack.packb(bytes(length))


def test_every_frame_states_its_size_and_has_a_checksum() -> None:
    for frame in (encode_value({"a": 1})[0], encode_piece(b"piece")):
        parameters = zstandard.get_frame_parameters(frame)
        assert parameters.content_size in {4, 5}
        assert parameters.has_checksum
        assert not parameters.dict_id


@given(st.binary(max_size=5000))
def test_any_bytes_are_a_value_in_its_one_encoding_or_refused(content: bytes) -> None:
    try:
        value = decode_value(content)
    except (CorruptError, LimitError):
        return
    assert msgpack.packb(value) == content


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_after_a_frames_magic_are_a_frame_or_refused(garbage: bytes, size: int) -> None:
    try:
        content = frame_content(b"\x28\xb5\x2f\xfd" + garbage, size)
    except (CorruptError, LimitError):
        return
    assert len(content) == size


def test_no_content_is_no_value() -> None:
    with pytest.raises(CorruptError, match=r"a frame without content"):
        check_length(0)
    with pytest.raises(LimitError, match=r"16777217 bytes of content"):
        check_length(MAX_CONTENT + 1)
    check_length(MAX_CONTENT)


LONG = msgpack.packb(bytes(5000))


@pytest.mark.parametrize(
    "content",
    [b"\x92" + LONG, b"\x92" + LONG + b"\xc1", LONG[:-1], LONG + b"\x01", b"\x92" + LONG + b"\xc6\xff\xff\xff\xff"],
    ids=["cut short", "no value", "cut inside", "bytes after", "a claim"],
)
def test_a_long_content_that_is_no_value_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptError, match=r"^not one msgpack value"):
        decode_value(content)


def test_less_content_than_the_frame_states_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit in a frame's header can do this to zstandard without an error."""
    frame, size = encode_value({"a": 1})
    monkeypatch.setattr(codec._ZSTD, "decompress", lambda *_, **__: b"")
    with pytest.raises(CorruptError, match=r"states 4 bytes of content, and gives 0"):
        frame_content(frame, size)


def foreign(content: bytes, *, window_log: int = 20) -> bytes:
    """Return a frame as another program may make it: without its size and without a checksum."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log, write_content_size=False, write_checksum=False, enable_ldm=True
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(content)


@pytest.mark.parametrize("most", [0, 1, 4999, 5000, 5001, 1 << 30])
def test_a_foreign_frame_gives_its_content_up_to_a_limit(most: int) -> None:
    content = bytes(range(250)) * 20
    assert codec.foreign_content(foreign(content), most, 1 << 20) == content[:most]


def test_of_a_long_foreign_frame_no_more_than_the_limit_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        assert codec.foreign_content(bomb, 1000, 1 << 27) == bytes(1000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_foreign_frame_that_is_cut_off_gives_what_is_there() -> None:
    content = bytes(range(256)) * 2000
    assert content.startswith(codec.foreign_content(foreign(content)[:-3], 1 << 20, 1 << 20))


def test_a_foreign_frame_that_asks_for_a_longer_window_is_refused() -> None:
    with pytest.raises(CorruptError):
        codec.foreign_content(foreign(bytes(1 << 22), window_log=21), 100, 1 << 20)


@pytest.mark.parametrize("packed", [b"not a frame", foreign(b"abc")[:4] + b"\xff" * 20])
def test_bytes_that_are_not_a_foreign_frame_are_refused(packed: bytes) -> None:
    with pytest.raises(CorruptError):
        codec.foreign_content(packed, 100, 1 << 20)
