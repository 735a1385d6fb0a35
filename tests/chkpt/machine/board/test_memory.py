"""Physical memory: RAM from 0, ranges of devices over it, holes that float high, and RAM as a blob."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import MAX_PIECE_SIZE, SparseBlob, blob_bytes
from chkpt.errors import StorageError
from chkpt.machine.board.memory import PIECE_SIZE, Memory, ReadyRam, ram_of

SIZE = 8192


@dataclass
class Range:
    """A device's range with a memory of its own, and a log of its accesses."""

    content: bytearray
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    def read(self, offset: int, width: int) -> int:
        self.asked.append(("read", offset, width))
        return int.from_bytes(self.content[offset : offset + width], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        self.asked.append(("write", offset, width))
        self.content[offset : offset + width] = value.to_bytes(width, "little")


@pytest.fixture
def memory() -> Memory:
    return Memory(SIZE)


# -- RAM and holes ----------------------------------------------------------------------------------------------------


def test_ram_is_zero_and_keeps_what_is_written(memory: Memory) -> None:
    assert memory.read(0, SIZE) == bytes(SIZE)
    memory.write(100, b"hello")
    assert memory.read(99, 7) == b"\0hello\0"


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers_are_little_endian_and_cut_to_their_width(memory: Memory, width: int) -> None:
    memory.store(16, width, 0xFFEE_DDCC_BBAA_9988_7766_5544_3322_1100)
    assert memory.read(16, 9) == bytes.fromhex("0011223344556677")[:width].ljust(9, b"\0")
    assert memory.load(16, width) == 0x7766_5544_3322_1100 & ((1 << 8 * width) - 1)


def test_negative_numbers_are_cut_too(memory: Memory) -> None:
    memory.store(0, 2, -1)
    assert memory.read(0, 3) == b"\xff\xff\0"


def test_a_rom_keeps_its_content_and_is_not_ram(memory: Memory) -> None:
    image = bytes(range(256)) * 16
    undo = memory.map_rom(4096, image)
    memory.write(4090, bytes(12))
    memory.store(4098, 4, 0)
    assert memory.read(4090, 12) == bytes(6) + image[:6]
    assert memory.load(4097, 2) == 0x0201
    assert memory.roms() == [(4096, image)]
    assert memory.ram_runs() == [(0, 4096)]
    assert not memory.is_ram(4096)
    undo()
    assert memory.roms() == []
    assert memory.read(4096, 6) == bytes(6)


@pytest.mark.parametrize(("first", "size"), [(4096, 100), (100, 4096)])
def test_a_rom_is_of_whole_pages(memory: Memory, first: int, size: int) -> None:
    with pytest.raises(ValueError, match="whole pages"):
        memory.map_rom(first, bytes(size))


def test_a_hole_reads_ones_and_drops_writes(memory: Memory) -> None:
    for address in (SIZE, SIZE + 100, 1 << 40, (1 << 64) - 1):
        memory.write(address, b"\0\0")
        memory.store(address, 4, 0)
        assert memory.read(address, 3) == b"\xff\xff\xff"
        assert memory.load(address, 8) == (1 << 64) - 1
    assert memory.read(0, SIZE) == bytes(SIZE)


def test_an_access_over_the_end_of_ram_is_half_of_each(memory: Memory) -> None:
    memory.write(SIZE - 2, b"abcd")
    assert memory.read(SIZE - 2, 4) == b"ab\xff\xff"
    memory.store(SIZE - 1, 4, 0x0403_0201)
    assert memory.load(SIZE - 2, 4) == 0xFFFF_0161


def test_a_machine_without_ram_is_one_hole() -> None:
    memory = Memory(0)
    memory.write(0, b"a")
    assert (memory.read(0, 2), memory.load(0, 4), memory.blob().size) == (b"\xff\xff", 0xFFFF_FFFF, 0)
    assert list(memory.blob().pieces()) == []


def test_nothing_can_be_read_and_written() -> None:
    memory = Memory(SIZE)
    memory.write(5, b"")
    assert memory.read(5, 0) == b""


def test_more_ram_than_the_host_gives_is_an_error_of_ours() -> None:
    with pytest.raises(StorageError, match="bytes of RAM are more than this host gives"):
        Memory(1 << 62)
    with pytest.raises(StorageError):
        Memory(1 << 70)


# -- ranges of devices ------------------------------------------------------------------------------------------------


def test_a_range_lies_over_ram_and_ram_comes_back_below_it(memory: Memory) -> None:
    memory.write(0x1000, b"ram!")
    device = Range(bytearray(b"mmio"))
    undo = memory.map(0x1000, 4, device.read, device.write)
    assert memory.read(0xFFF, 6) == b"\0mmio\0"
    memory.write(0x1001, b"XY")
    undo()
    assert memory.read(0x1000, 4) == b"ram!"
    assert device.content == b"mXYo"


def test_a_range_may_lie_beyond_ram(memory: Memory) -> None:
    device = Range(bytearray(b"mmio"))
    memory.map(0xFEC0_0000, 4, device.read, device.write)
    assert memory.read(0xFEBF_FFFF, 6) == b"\xffmmio\xff"


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_number_that_a_range_has_whole_is_one_access(memory: Memory, width: int) -> None:
    device = Range(bytearray(range(16)))
    memory.map(0x1000, 16, device.read, device.write)
    assert memory.load(0x1008, width) == int.from_bytes(range(8, 8 + width), "little")
    memory.store(0x1008, width, 0xFFFF_FFFF_FFFF_FFFF)
    assert memory.load(0x1000, width) == 0x0706_0504_0302_0100 & ((1 << 8 * width) - 1)
    memory.store(0x1000, width, 0)
    assert device.asked == [("read", 8, width), ("write", 8, width), ("read", 0, width), ("write", 0, width)]


def test_a_run_that_ends_in_a_range_ends_there(memory: Memory) -> None:
    device = Range(bytearray(b"mmio"))
    memory.map(0x1000, 4, device.read, device.write)
    assert memory.read(0xFFE, 4) == b"\0\0mm"
    memory.write(0xFFE, b"abcd")
    assert memory.read(0xFFE, 6) == b"abcdio"
    assert [offset for _, offset, _ in device.asked] == [0, 1, 0, 1, 0, 1, 2, 3]


def test_a_number_over_the_edge_of_a_range_is_single_bytes(memory: Memory) -> None:
    device = Range(bytearray(b"\x11\x22"))
    memory.map(0x1000, 2, device.read, device.write)
    assert memory.load(0xFFF, 4) == 0x0022_1100
    memory.store(0x1001, 2, 0xBBAA)
    assert device.content == b"\x11\xaa"
    assert memory.read(0x1002, 1) == b"\xbb"
    assert device.asked == [("read", 0, 1), ("read", 1, 1), ("write", 1, 1)]


def test_a_range_that_answers_too_wide_is_cut(memory: Memory) -> None:
    memory.map(0, 8, lambda offset, width: -1, lambda offset, width, value: None)
    assert (memory.load(0, 2), memory.read(0, 2)) == (0xFFFF, b"\xff\xff")


def test_a_run_over_several_ranges_ram_and_a_hole_is_put_together(memory: Memory) -> None:
    first, second = Range(bytearray(b"AA")), Range(bytearray(b"BB"))
    memory.map(SIZE - 1, 2, second.read, second.write)
    memory.map(SIZE - 4, 2, first.read, first.write)
    assert memory.read(SIZE - 5, 8) == b"\0AA\0BB\xff\xff"
    memory.write(SIZE - 5, b"01234567")
    assert first.content + second.content == b"1245"
    assert memory.read(SIZE - 5, 8) == b"01234" + b"5\xff\xff"


def test_two_equal_ranges_are_undone_one_at_a_time(memory: Memory) -> None:
    device = Range(bytearray(b"ab"))
    undo = memory.map(0, 1, device.read, device.write)
    memory.map(1, 1, device.read, device.write)
    undo()
    assert memory.read(0, 2) == b"\0a"


layouts = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=4)
accesses = st.lists(
    st.tuples(st.booleans(), st.integers(0, 80), st.binary(min_size=1, max_size=40), st.sampled_from([0, 1, 2, 4, 8])),
    max_size=12,
)


@given(st.integers(0, 64), layouts, accesses)
def test_memory_behaves_like_an_array_of_bytes(
    size: int, wanted: list[tuple[int, int]], plan: list[tuple[bool, int, bytes, int]]
) -> None:
    memory = Memory(size)
    model: dict[int, int] = dict.fromkeys(range(size), 0)
    taken: set[int] = set()
    for first, length in wanted:
        span = set(range(first, first + length))
        if not span & taken:
            device = Range(bytearray(length))
            memory.map(first, length, device.read, device.write)
            taken |= span
            model |= dict.fromkeys(span, 0)
    for is_read, address, data, width in plan:
        count = width or len(data)
        expected = bytes(model.get(address + at, 0xFF) for at in range(count))
        if is_read:
            read = memory.load(address, width).to_bytes(width, "little") if width else memory.read(address, count)
            assert read == expected
            continue
        content = data.ljust(count, b"\0")[:count]
        if width:
            memory.store(address, width, int.from_bytes(content, "little"))
        else:
            memory.write(address, content)
        model |= {address + at: byte for at, byte in enumerate(content) if address + at in model}
    assert memory.read(0, 130) == bytes(model.get(at, 0xFF) for at in range(130))


# -- as a blob --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4096, PIECE_SIZE, PIECE_SIZE + 4096, 3 * PIECE_SIZE])
def test_the_blob_of_ram_has_the_pieces_that_are_not_zero(size: int) -> None:
    memory = Memory(size)
    memory.write(size - 1, b"x")
    blob = memory.blob()
    assert (blob.size, blob.piece_size) == (size, PIECE_SIZE)
    assert [index for index, _ in blob.pieces()] == [(size - 1) // PIECE_SIZE]
    assert blob_bytes(blob) == bytes(size - 1) + b"x"
    assert PIECE_SIZE <= MAX_PIECE_SIZE


def test_the_blob_is_a_view_of_live_memory(memory: Memory) -> None:
    blob = memory.blob()
    memory.write(0, b"later")
    assert blob_bytes(blob)[:5] == b"later"


def test_the_ranges_of_devices_are_not_in_the_blob(memory: Memory) -> None:
    device = Range(bytearray(b"mmio"))
    memory.map(0, 4, device.read, device.write)
    memory.write(0, b"abcd")
    assert blob_bytes(memory.blob()) == bytes(SIZE)


@given(st.dictionaries(st.integers(0, 4), st.binary(min_size=1, max_size=3), max_size=5), st.integers(1, 3))
def test_ram_of_a_blob_has_its_content(pieces: dict[int, bytes], piece_size: int) -> None:
    held = {index: piece.ljust(piece_size, b"\0")[:piece_size] for index, piece in pieces.items()}
    blob = SparseBlob(5 * piece_size, piece_size, held)
    assert bytes(ram_of(blob)[:]) == blob_bytes(blob)


def test_ram_of_an_empty_blob_is_no_ram() -> None:
    assert len(ram_of(SparseBlob(0, 1))) == 0


def test_ram_can_be_taken_from_views() -> None:
    class Views:
        size = 4
        piece_size = 2

        def pieces(self) -> Iterator[tuple[int, memoryview]]:
            yield 1, memoryview(b"ab")

    assert bytes(ram_of(Views())[:]) == b"\0\0ab"


def test_replaced_ram_is_seen_and_an_older_blob_keeps_the_old(memory: Memory) -> None:
    memory.write(0, b"old")
    old = memory.blob()
    memory.replace(ram_of(SparseBlob(SIZE, SIZE, {0: b"new".ljust(SIZE, b"\0")})))
    assert memory.read(0, 3) == b"new"
    memory.write(0, b"more")
    assert blob_bytes(old)[:4] == b"old\0"


# -- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 4096, PIECE_SIZE, 3 * PIECE_SIZE + 4096, 4 << 20])
def test_a_copy_of_ram_stays_as_it_is_and_holds_what_is_not_zero(size: int) -> None:
    memory = Memory(size)
    for at in range(0, size, 2 * PIECE_SIZE):
        memory.write(at, b"first")
    if size:
        memory.write(size - 5, b"last!")
    before = blob_bytes(memory.blob())
    copy = memory.blob().copy()
    memory.write(0, bytes(size))
    assert (copy.size, copy.piece_size) == (size, PIECE_SIZE)
    assert blob_bytes(copy) == before
    assert [index for index, _ in copy.pieces()] == sorted({*range(0, -(-size // PIECE_SIZE), 2), *_last(size)})


def _last(size: int) -> list[int]:
    return [(size - 1) // PIECE_SIZE] if size else []


def test_ram_that_is_ready_is_taken_as_it_is() -> None:
    memory = Memory(2 * PIECE_SIZE)
    memory.write(PIECE_SIZE + 1, b"here")
    calls: list[tuple[int, int]] = []
    ready = ReadyRam(ram_of(memory.blob(), lambda done, total: calls.append((done, total))))
    assert ram_of(ready) is ready.ram
    assert blob_bytes(ready) == blob_bytes(memory.blob())
    assert all(total == 2 * PIECE_SIZE for _, total in calls)
