"""The I/O ports: widths, halves, and the bus that floats high if no device answers."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.device import Port
from chkpt.machine.board.ports import PortBus


class Log(list[tuple[str, int]]):
    """A log of the writes."""

    def into(self, name: str) -> Callable[[int], None]:
        return lambda value: self.append((name, value))


def giving(value: int) -> Callable[[], int]:
    return lambda: value


def byte(cells: dict[int, int], port: int) -> Port:
    """Return a port that is one byte of a memory."""
    return Port(read=lambda: cells[port], write=lambda value: cells.update({port: value}))


def test_without_a_device_reads_give_ones_and_writes_are_dropped() -> None:
    bus = PortBus()
    assert (bus.inb(0x80), bus.inw(0x80), bus.inl(0x80)) == (0xFF, 0xFFFF, 0xFFFF_FFFF)
    bus.outb(0x80, 1)
    bus.outw(0x80, 1)
    bus.outl(0x80, 1)


def test_ports_are_mapped_one_after_the_other_and_unmapped_together() -> None:
    bus = PortBus()
    unmap = bus.map(0x100, [Port(read=lambda: 1), Port(read=lambda: 2)])
    other = bus.map(0x102, [Port(read=lambda: 3)])
    assert [bus.inb(0xFF + at) for at in range(5)] == [0xFF, 1, 2, 3, 0xFF]
    unmap()
    assert [bus.inb(0xFF + at) for at in range(5)] == [0xFF, 0xFF, 0xFF, 3, 0xFF]
    other()
    assert bus.inb(0x102) == 0xFF


def test_a_port_without_a_half_floats_in_that_direction_only() -> None:
    bus, log = PortBus(), Log()
    bus.map(0x100, [Port(read=lambda: 5), Port(write=log.into("x"))])
    bus.outb(0x100, 1)
    bus.outb(0x101, 2)
    assert (bus.inb(0x100), bus.inb(0x101), log) == (5, 0xFF, [("x", 2)])


def test_a_written_value_is_cut_to_the_width() -> None:
    bus, log = PortBus(), Log()
    bus.map(0x100, [Port(write=log.into("b"), write_word=log.into("w"))])
    bus.outb(0x100, 0x1234_5678)
    bus.outw(0x100, 0x1234_5678)
    bus.outl(0x100, 0xFF_1234_5678)
    bus.outb(0x100, -1)
    assert log == [("b", 0x78), ("w", 0x5678), ("w", 0x5678), ("w", 0x1234), ("b", 0xFF)]


def test_a_word_access_to_byte_ports_is_two_byte_accesses_low_first() -> None:
    bus, log = PortBus(), Log()
    bus.map(0x100, [Port(read=lambda: 0x34, write=log.into("0")), Port(read=lambda: 0x12, write=log.into("1"))])
    assert bus.inw(0x100) == 0x1234
    bus.outw(0x100, 0xABCD)
    assert log == [("0", 0xCD), ("1", 0xAB)]


def test_a_word_access_over_the_edge_of_a_device_floats_there() -> None:
    bus = PortBus()
    bus.map(0x100, [Port(read=lambda: 0x34)])
    assert (bus.inw(0x100), bus.inw(0xFF), bus.inl(0xFE)) == (0xFF34, 0x34FF, 0xFF34_FFFF)


def test_a_long_access_to_byte_ports_is_four_byte_accesses_low_first() -> None:
    bus, log = PortBus(), Log()
    values = [0x78, 0x56, 0x34, 0x12]
    bus.map(0x100, [Port(read=giving(v), write=log.into(str(at))) for at, v in enumerate(values)])
    assert bus.inl(0x100) == 0x1234_5678
    bus.outl(0x100, 0x89AB_CDEF)
    assert log == [("0", 0xEF), ("1", 0xCD), ("2", 0xAB), ("3", 0x89)]


def test_a_long_access_to_a_word_port_is_two_word_accesses_to_that_port() -> None:
    words = iter([0x5678, 0x1234])
    bus, log = PortBus(), Log()
    bus.map(
        0x1F0,
        [Port(read_word=lambda: next(words), write_word=log.into("data")), Port(read=lambda: 0, write=log.into("x"))],
    )
    assert bus.inl(0x1F0) == 0x1234_5678
    bus.outl(0x1F0, 0x89AB_CDEF)
    assert log == [("data", 0xCDEF), ("data", 0x89AB)]


def test_a_byte_access_to_a_port_with_a_word_half_only_floats() -> None:
    bus, log = PortBus(), Log()
    bus.map(0x100, [Port(read_word=lambda: 0x1234, write_word=log.into("w"))])
    bus.outb(0x100, 1)
    assert (bus.inb(0x100), log) == (0xFF, [])


def test_the_second_half_of_a_long_access_may_be_a_word_port() -> None:
    bus = PortBus()
    bus.map(0x100, [Port(read=lambda: 1), Port(read=lambda: 2), Port(read_word=lambda: 0xABCD)])
    assert bus.inl(0x100) == 0xABCD_0201


def test_accesses_wrap_at_the_last_port() -> None:
    bus, log = PortBus(), Log()
    bus.map(0xFFFF, [Port(read=lambda: 0x34, write=log.into("last"))])
    bus.map(0, [Port(read=lambda: 0x12, write=log.into("first"))])
    assert (bus.inw(0xFFFF), bus.inl(0xFFFE)) == (0x1234, 0xFF12_34FF)
    bus.outw(0xFFFF, 0xABCD)
    assert log == [("last", 0xCD), ("first", 0xAB)]


@pytest.mark.parametrize("port", [-1, 0x1_0000, 1 << 40])
def test_a_port_number_out_of_range_floats(port: int) -> None:
    bus = PortBus()
    bus.map(0, [Port(read=lambda: 0)])
    assert bus.inb(port) == 0xFF


@given(
    st.dictionaries(st.integers(0, 0x1F), st.integers(0, 0xFF), max_size=20),
    st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.integers(0, 0x1F), st.integers(0, 0xFFFF_FFFF)), max_size=20),
)
def test_byte_ports_behave_like_bytes_of_a_memory(cells: dict[int, int], accesses: list[tuple[int, int, int]]) -> None:
    bus = PortBus()
    model = dict(cells)
    for port in cells:
        bus.map(port, [byte(cells, port)])
    read = {1: bus.inb, 2: bus.inw, 4: bus.inl}
    write = {1: bus.outb, 2: bus.outw, 4: bus.outl}
    for width, port, value in accesses:
        expected = sum(model.get(port + at, 0xFF) << 8 * at for at in range(width))
        assert read[width](port) == expected
        write[width](port, value)
        model |= {port + at: value >> 8 * at & 0xFF for at in range(width) if port + at in model}
        assert cells == model


# -- a port that answers to bytes alone -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0xCF6, 0xCFA))
@pytest.mark.parametrize("width", [2, 4])
def test_a_wider_access_does_not_reach_a_port_for_bytes(first: int, width: int) -> None:
    bus = PortBus()
    wrote: list[tuple[int, int]] = []

    def port(number: int, *, byte_only: bool) -> Port:
        return Port(lambda: number & 0x7F, lambda value: wrote.append((number, value)), byte_only=byte_only)

    undo = bus.map(0xCF6, [port(number, byte_only=number == 0xCF9) for number in range(0xCF6, 0xCFE)])
    read, write = {2: (bus.inw, bus.outw), 4: (bus.inl, bus.outl)}[width]
    numbers = range(first, first + width)
    answers = [0xFF if number == 0xCF9 else number & 0x7F for number in numbers]
    assert read(first) == int.from_bytes(answers, "little")
    write(first, 0x44332211)
    values = zip(numbers, (0x11, 0x22, 0x33, 0x44), strict=False)
    assert wrote == [(number, value) for number, value in values if number != 0xCF9]
    bus.outb(0xCF9, 0x55)
    assert (wrote[-1], bus.inb(0xCF9)) == ((0xCF9, 0x55), 0x79)
    undo()
    bus.map(0xCF9, [port(0xCF9, byte_only=False)])
    bus.outw(0xCF9, 0x66)
    assert wrote[-1] == (0xCF9, 0x66)
