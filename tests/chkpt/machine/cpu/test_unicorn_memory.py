"""The engine's memory follows the machine's: RAM, ROM, and the bus for everything else, through A20."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("unicorn")

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc  # noqa: TID253  skipped above if it is missing

from chkpt.machine.board.memory import PAGE_SIZE, Memory
from chkpt.machine.cpu.unicorn_memory import EngineMemory

SIZE = 2 << 20
ROM_AT = (4 << 30) - PAGE_SIZE
HOLE_AT = 3 << 30


class Wired:
    """An engine whose memory is that of a machine, with a log of what reaches the bus."""

    def __init__(self) -> None:
        self.memory = Memory(SIZE)
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.stored: list[tuple[int, int, int]] = []
        self.registers = SimpleNamespace(a20=True)
        bus = SimpleNamespace(
            read_memory=lambda _address, _width: 0x55,
            write_memory=lambda address, width, value: self.stored.append((address, width, value)),
        )
        self.engine = EngineMemory(self.uc, self.memory, cast("Any", bus), cast("Any", self.registers))
        self.engine.map()


@pytest.fixture
def wired() -> Wired:
    return Wired()


def test_the_engine_and_the_machine_share_one_ram(wired: Wired) -> None:
    wired.memory.write(0x1234, b"ram")
    assert bytes(wired.uc.mem_read(0x1234, 3)) == b"ram"
    wired.engine.write(0x1234, b"cpu")
    assert wired.memory.read(0x1234, 3) == b"cpu"


def test_a_range_of_a_device_takes_its_pages_from_the_engine_until_it_goes(wired: Wired) -> None:
    unmap = wired.memory.map(PAGE_SIZE, 16, lambda _offset, _width: 0x77, lambda *_: None)
    wired.engine.map()
    assert wired.engine.find_ram(PAGE_SIZE + 0x100) is None
    assert bytes(wired.uc.mem_read(PAGE_SIZE, 1)) == b"\x55"
    unmap()
    wired.engine.map()
    assert wired.engine.find_ram(PAGE_SIZE + 0x100) == PAGE_SIZE + 0x100
    assert bytes(wired.uc.mem_read(PAGE_SIZE, 1)) == b"\0"


def test_a_rom_is_in_the_engine_until_it_goes(wired: Wired) -> None:
    unmap = wired.memory.map_rom(ROM_AT, b"\xf4" * PAGE_SIZE)
    wired.engine.map()
    assert bytes(wired.uc.mem_read(ROM_AT, 2)) == b"\xf4\xf4"
    unmap()
    wired.engine.map()
    assert bytes(wired.uc.mem_read(ROM_AT, 1)) == b"\x55"


def test_a_hole_is_the_bus_s(wired: Wired) -> None:
    assert bytes(wired.uc.mem_read(HOLE_AT, 1)) == b"\x55"
    wired.uc.mem_write(HOLE_AT + 4, b"\x11\x22")
    assert wired.stored == [(HOLE_AT + 4, 2, 0x2211)]


def test_without_a20_the_second_mebibyte_is_the_first(wired: Wired) -> None:
    wired.registers.a20 = False
    wired.engine.write(0x10_0500, b"low")
    assert wired.memory.read(0x500, 3) == wired.engine.read(0x10_0500, 3) == b"low"
    assert wired.engine.find_ram(0x10_0500) == 0x500


def test_replaced_ram_is_the_engine_s_ram(wired: Wired) -> None:
    new = Memory(SIZE)
    new.write(0, b"new")
    wired.memory.replace(new.ram)
    wired.engine.map()
    assert bytes(wired.uc.mem_read(0, 3)) == b"new"


def test_ram_that_is_let_go_of_is_no_longer_mapped(wired: Wired) -> None:
    assert wired.engine.has_ram
    wired.engine.unmap_ram()
    assert not wired.engine.has_ram
