"""Every flipped bit, every truncation, everything added: found by whoever reads that part, and never another error."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Checkpoint
from chkpt.errors import ChkptError, CorruptError, RefusedError, SealedError, VersionError
from chkpt.snapshot import Reader, dumps, loads
from tests.support.checkpoints import plain, small
from tests.support.handmade import trailer

DATA = dumps(small())
TRAILER = len(DATA) - 68


def flipped(bit: int) -> bytes:
    data = bytearray(DATA)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def read_everything(data: bytes) -> None:
    """Read every part by the way a load does it, not by `verify`."""
    reader = Reader(data)
    plain(reader.checkpoint().contexts)


@pytest.mark.parametrize("read", [lambda data: Reader(data).verify(), read_everything], ids=["verify", "load"])
def test_every_flipped_bit_is_found(read: Callable[[bytes], None]) -> None:
    read(DATA)
    accepted = []
    for bit in range(8 * len(DATA)):
        try:
            read(flipped(bit))
        except CorruptError:
            continue
        accepted.append(bit)
    assert accepted == []


def test_a_flipped_bit_is_blamed_on_the_part_it_is_in() -> None:
    reader = Reader(DATA)
    parts = [("the header", 0)]
    parts += [(f"section {'/'.join(entry.path)}", entry.offset) for entry in reader.sections]
    end = reader.sections[-1].offset + reader.sections[-1].stored_size
    for number, stored_size in enumerate(reader.blobs[0]._pieces.stored_sizes):
        parts.append((f"piece {number} ", end))
        end += stored_size
    parts += [("the index", end), ("the trailer", TRAILER)]
    for (name, offset), (_, following) in zip(parts, [*parts[1:], ("", len(DATA))], strict=True):
        for byte in (offset, (offset + following) // 2, following - 1):
            with pytest.raises(CorruptError) as caught:
                Reader(flipped(8 * byte)).verify()
            assert str(caught.value).startswith(f"snapshot: {name}")
            assert f" at offset {offset}: " in str(caught.value)
            assert str(caught.value).endswith("; restore it from a copy")


def test_every_truncation_is_found_at_open() -> None:
    for size in range(len(DATA)):
        with pytest.raises(CorruptError):
            Reader(DATA[:size])


def test_a_truncated_file_is_told_from_another_kind_of_file() -> None:
    with pytest.raises(CorruptError, match="there is no trailer: "):
        Reader(DATA[:-1])
    for data in (
        b"",
        b"\x28\xb5",
        b"hello",
        bytes(1000),
        b"PK\x03\x04" * 100,
        DATA[1:-1],
        DATA[TRAILER : TRAILER + 20],
    ):
        with pytest.raises(CorruptError, match=r"^snapshot: not a chkpt snapshot$"):
            Reader(data)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_bytes_before_and_after_are_found_at_open(before: bytes, after: bytes) -> None:
    if before or after:
        with pytest.raises((CorruptError, SealedError)):  # an encrypted one is known by how it begins
            Reader(before + DATA + after)


@given(st.binary(max_size=300), st.integers(0, len(DATA)), st.integers(0, 40))
def test_bytes_put_in_and_taken_out_are_found(new: bytes, at: int, removed: int) -> None:
    data = DATA[:at] + new + DATA[at + removed :]
    if data != DATA:
        with pytest.raises(RefusedError):
            Reader(data).verify()


@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(1, 255)), min_size=1, max_size=8))
def test_no_damage_gives_another_error_than_ours(changes: list[tuple[int, int]]) -> None:
    data = bytearray(DATA)
    for at, difference in changes:
        data[at] ^= difference
    try:
        Reader(bytes(data)).verify()
    except ChkptError:
        return
    assert bytes(data) == DATA


def test_a_second_trailer_is_found() -> None:
    with pytest.raises(CorruptError, match=f"trailer .* {len(DATA)} bytes, .* {len(DATA) + 68}"):
        Reader(DATA + DATA[TRAILER:])


def test_a_snapshot_after_another_is_found() -> None:
    with pytest.raises(CorruptError, match=r"trailer is of a file of"):
        Reader(DATA + dumps(Checkpoint()))


def test_a_snapshot_inside_another_is_no_end() -> None:
    """Cut where a stored copy of a snapshot ends, a file ends with a trailer, but not with its own."""
    checkpoint = small()
    checkpoint.contexts["clock"].values["copy"] = DATA
    data = dumps(checkpoint)
    end = data.index(DATA[TRAILER:]) + 68
    assert end < len(data)
    with pytest.raises(CorruptError, match=r"trailer is of a file of"):
        Reader(data[:end])


def renumbered(number: int, *, index: bytes = b"") -> bytes:
    """The file, with another format in its trailer, and possibly another index."""
    start = int.from_bytes(DATA[TRAILER + 24 : TRAILER + 32], "little")
    index = index or DATA[start:TRAILER]
    return DATA[:start] + index + trailer(start, index, number=number)


def test_a_newer_format_is_told_before_anything_else_is_looked_at() -> None:
    with pytest.raises(VersionError) as caught:
        Reader(renumbered(3, index=b"whatever format 3 has here"))
    assert str(caught.value).startswith("snapshot: the trailer at offset ")
    assert str(caught.value).endswith(": the file is in format 3, and this chkpt reads formats up to 2; upgrade chkpt")


def test_there_is_no_format_0() -> None:
    with pytest.raises(CorruptError, match=r"there is no format 0"):
        Reader(renumbered(0))


def test_a_damaged_number_is_no_newer_format() -> None:
    with pytest.raises(CorruptError, match=r"the trailer does not match its checksum"):
        Reader(flipped(8 * (TRAILER + 16) + 1))


def test_the_message_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.zst"
    path.write_bytes(flipped(80))
    with pytest.raises(CorruptError) as caught:
        Reader.open(path)
    assert str(caught.value) == (
        f"{path}: the header at offset 0: the stored bytes do not match their digest; restore it from a copy"
    )


def test_loads_refuses_what_is_no_snapshot() -> None:
    with pytest.raises(CorruptError, match=r"not a chkpt snapshot"):
        loads(b"nothing")
