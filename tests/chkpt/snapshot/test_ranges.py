"""The ranges that differ in two blobs are found, by as little reading as the digests allow."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Blob, Checkpoint, Context, SparseBlob
from chkpt.errors import CorruptError
from chkpt.snapshot import Reader, StoredBlob, dumps, ranges
from chkpt.snapshot.ranges import GAP, PieceComparison, Range, Ranges, changed_bytes
from tests.support.checkpoints import blob_contents, sparse
from tests.support.handmade import Blob as BlobRow
from tests.support.handmade import File, Piece, section


def changed(old: Blob, new: Blob) -> tuple[Range, ...]:
    """Return the ranges, and see that as many have been counted, and that they are the same when none is kept."""
    found = Ranges(old, new, PieceComparison())
    again = PieceComparison()
    again.room = 0
    made = tuple(found)
    assert len(made) == found.count
    assert tuple(Ranges(old, new, again)) == made == tuple(found)
    assert bool(found) == bool(made)
    return made


def stored(blob: Blob) -> StoredBlob:
    """Return the blob as a file has it."""
    return Reader(dumps(Checkpoint({}, {"a": Context("", 0, {}, {"b": blob})}))).blobs[0]


@given(blob_contents(), blob_contents(), st.integers(1, 70), st.integers(1, 70))
def test_the_ranges_hold_every_byte_that_differs(old: bytes, new: bytes, old_size: int, new_size: int) -> None:
    ranges = changed(sparse(old, old_size), sparse(new, new_size))
    size = max(len(old), len(new))
    inside = {at for first, end in ranges for at in range(first, end)}
    for at in range(size):
        if old[at : at + 1] != new[at : at + 1]:
            assert at in inside
    ends = [-GAP]
    for first, end in ranges:
        assert first - ends[-1] >= GAP, "ranges closer than GAP are one"
        assert old[first : first + 1] != new[first : first + 1]
        assert old[end - 1 : end] != new[end - 1 : end]
        ends.append(end)
    assert not inside or max(inside) < size


def test_fewer_equal_bytes_than_the_gap_are_bridged() -> None:
    def apart(distance: int) -> tuple[tuple[int, int], ...]:
        new = bytearray(100)
        new[10] = new[11 + distance] = 1
        return changed(sparse(bytes(100), 50), sparse(bytes(new), 50))

    assert apart(GAP - 1) == ((10, 11 + GAP),)
    assert apart(GAP) == ((10, 11), (11 + GAP, 12 + GAP))


def test_ranges_go_on_over_the_ends_of_pieces() -> None:
    new = bytes(60) + b"x" * 80 + bytes(60)
    assert changed(sparse(bytes(200), 64), sparse(new, 64)) == ((60, 140),)


def test_what_only_the_longer_blob_has_is_one_range() -> None:
    assert changed(sparse(bytes(100), 10), sparse(bytes(30), 10)) == ((30, 100),)
    assert changed(sparse(b"", 10), sparse(bytes(3), 10)) == ((0, 3),)
    assert changed(sparse(b"a" * 30, 10), sparse(b"a" * 29 + b"b" * 20, 10)) == ((29, 49),)


@given(blob_contents(), blob_contents(), st.integers(1, 70), st.integers(1, 70))
def test_in_files_they_are_the_same(old: bytes, new: bytes, old_size: int, new_size: int) -> None:
    here = sparse(old, old_size), sparse(new, new_size)
    assert changed(stored(here[0]), stored(here[1])) == changed(*here)


def test_long_runs_are_compared_block_by_block_and_ranges_go_on_over_the_blocks() -> None:
    size = 5 << 16
    new = bytearray(size)
    new[(1 << 16) - 3 : (1 << 16) + 3] = b"abcdef"
    new[size - 1] = 1
    assert [*changed_bytes(bytes(size), new)] == [((1 << 16) - 3, (1 << 16) + 3), (size - 1, size)]
    assert [*changed_bytes(bytes(new), b"")] == [((1 << 16) - 3, (1 << 16) + 3), (size - 1, size)]


# -- what is read -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A blob of a file whose pieces cannot be read, only their digests."""

    size: int
    piece_size: int
    known: dict[int, bytes]

    def digests(self) -> Iterator[tuple[int, bytes]]:
        yield from self.known.items()

    def held_piece(self, _at: int) -> tuple[int, bytes]:
        raise CorruptError("not to be read")

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        raise CorruptError("not to be read")


def test_pieces_of_equal_digests_are_not_read() -> None:
    old = Unreadable(9, 3, {0: b"d"})
    assert changed(old, Unreadable(9, 3, {0: b"d"})) == ()
    assert changed(old, Unreadable(10, 3, {0: b"d", 3: b"e"})) == ((9, 10),)
    for other in (Unreadable(9, 3, {1: b"d"}), Unreadable(9, 3, {0: b"e"}), SparseBlob(9, 3, {0: b"abc"})):
        with pytest.raises(CorruptError):
            changed(old, other)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the numbers of the pieces that are read from files."""
    numbers: list[int] = []
    read = StoredBlob._read

    def counted(blob: StoredBlob, number: int) -> memoryview:
        numbers.append(number)
        return read(blob, number)

    monkeypatch.setattr(StoredBlob, "_read", counted)
    return numbers


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the lengths of the runs of bytes that are compared."""
    lengths: list[int] = []

    def counted(old: bytes, new: bytes) -> Iterator[Range]:
        lengths.append(max(len(old), len(new)))
        return changed_bytes(old, new)

    monkeypatch.setattr(ranges, "changed_bytes", counted)
    return lengths


def in_turn(pieces: list[bytes], count: int, piece_size: int) -> StoredBlob:
    """Return a blob in a file of a few KiB: `count` pieces, these in turn."""
    numbers = [at % len(pieces) for at in range(count)]
    blob = BlobRow(["a"], "b", count * piece_size, piece_size, [*range(count)], numbers)
    return Reader(File(sections=[section("a")], blobs=[blob], pieces=[*map(Piece, pieces)]).build()).blobs[0]


@pytest.mark.parametrize(("old_count", "new_count", "pairs"), [(2, 2, 2), (2, 3, 6), (1, 5, 5)])
def test_pieces_that_repeat_are_compared_once_for_each_pair(
    old_count: int, new_count: int, pairs: int, reads: list[int], compared: list[int]
) -> None:
    """A file of 33 KB with 20,000 pieces of 1 MiB in turn took 45 s."""
    size = 4096
    old = in_turn([bytes([1 + at]) * size for at in range(old_count)], 20_000, size)
    new = in_turn([bytes([101 + at]) * size for at in range(new_count)], 20_000, size)
    assert tuple(Ranges(old, new, PieceComparison())) == ((0, 20_000 * size),)
    assert compared == [size] * pairs
    assert len(reads) == 2 * pairs


def test_pieces_that_repeat_in_many_blobs_are_compared_once(reads: list[int]) -> None:
    old, new = in_turn([b"a" * 64, b"b" * 64], 100, 64), in_turn([b"c" * 64, b"d" * 64], 100, 64)
    comparison = PieceComparison()
    for _ in range(50):
        assert Ranges(old, new, comparison).count == 1
    assert len(reads) == 4


def test_blobs_in_pieces_of_two_sizes_are_compared_by_the_larger_ones(reads: list[int], compared: list[int]) -> None:
    """By the smaller ones a file with pieces of one byte took minutes."""
    assert changed(sparse(bytes(range(200)), 1), sparse(bytes(range(1, 201)), 100))
    assert set(compared) == {100}
    compared.clear()
    old, new = in_turn([b"a", b"b"], 2000, 1), in_turn([b"c" * 100], 20, 100)
    assert tuple(Ranges(old, new, PieceComparison())) == ((0, 2000),)
    assert compared == [100]
    assert len(reads) == 101


def test_ranges_without_number_take_no_memory() -> None:
    """Two files of 1 KB with some ten million took 1.4 GB."""
    old = in_turn([b"x" * 17_000], 10_000, 17_000)
    new = in_turn([(b"y" + b"x" * GAP) * 1000], 10_000, 17_000)
    tracemalloc.start()
    try:
        found = Ranges(old, new, PieceComparison())
        assert found.count == 10_000_000
        assert [*islice(found, 2)] == [(0, 1), (GAP + 1, GAP + 2)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20
