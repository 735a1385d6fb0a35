"""A machine on the bench does each step, writes down what shows, and is saved and loaded with its ends."""

import pytest

from chkpt.errors import StateError
from chkpt.grammar import (
    Acknowledge,
    In,
    Insw,
    Line,
    Medium,
    Modem,
    Out,
    Outsw,
    Plug,
    Rdmsr,
    Read,
    Receive,
    Reset,
    Retry,
    Room,
    Wait,
    Write,
    Wrmsr,
)
from chkpt.machine.config import parse
from chkpt.prove import setups_of
from chkpt.prove.bench import FAULT, Bench
from chkpt.prove.ends import DiskEnd
from chkpt_devices.ide import IDE
from chkpt_devices.serial import SERIAL
from tests.chkpt.prove import faulty
from tests.chkpt.prove.faulty import relay_type


def relay() -> Bench:
    (setup,) = setups_of(relay_type(faulty.Relay))
    return Bench(setup)


def uart() -> Bench:
    (setup,) = setups_of(SERIAL)
    return Bench(setup)


def disk() -> Bench:
    return Bench(setups_of(IDE)[2])  # whose disk reports what fails


def read_sector(bench: Bench, lba: int) -> int:
    for port, value in ((0x1F2, 1), (0x1F3, lba), (0x1F4, 0), (0x1F5, 0), (0x1F6, 0xE0), (0x1F7, 0x20)):
        bench.do(Out(port, value))
    return bench.do(Insw(0x1F0, 256))


def test_ports_memory_and_msrs_are_accessed() -> None:
    bench = relay()
    assert bench.do(Out(0x300, 0x1FF)) == 0
    assert bench.do(In(0x300)) == 0xFF
    assert bench.do(Write(0xF000_0000, 0x21, 4)) == 0
    assert bench.do(Read(0xF000_0000, 4)) == 0x21
    assert bench.do(Wrmsr(0x4000_0000, 0x33)) == 0
    assert bench.do(Rdmsr(0x4000_0000)) == 0x33
    assert bench.do(Rdmsr(1)) == bench.do(Wrmsr(1, 1)) == FAULT


def test_words_come_as_one_answer() -> None:
    bench = disk()
    first = read_sector(bench, 1)
    assert first != read_sector(bench, 2)
    for port, value in ((0x1F2, 1), (0x1F3, 3), (0x1F7, 0x30)):
        bench.do(Out(port, value))
    bench.do(Outsw(0x1F0, first.to_bytes(512, "little")))
    assert read_sector(bench, 3) == first


def test_time_passes_by_nanoseconds_or_to_the_next_deadline() -> None:
    bench = relay()
    bench.do(Wait(5))
    bench.do(In(0x301))
    bench.do(Wait())
    assert bench.machine.clock.now == 1005
    assert bench.events == [(1005, 16, True), (1005, 5, True)]  # the controller's INTR, and the line behind it
    bench.do(Wait())
    assert bench.machine.clock.now == 1005


def test_address_line_20_is_an_edge_and_a_level() -> None:
    bench = Bench(setups_of(parse({"device": [{"type": "port92"}]}))[0])
    before = bench.levels()
    bench.do(Wait(5))
    bench.do(Out(0x92, 0))
    assert bench.events == [(5, 17, False)]
    assert before != bench.levels() == (*before[:17], False)


def test_lines_are_driven_and_acknowledged() -> None:
    bench = relay()
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1)):
        bench.do(Out(port, value))
    bench.do(Line(3, level=True))
    assert bench.do(Acknowledge()) == 0x23


def test_what_leaves_is_written_down_until_it_is_forgotten() -> None:
    bench = uart()
    bench.do(Out(0x3F8, 0x41))
    bench.do(Out(0x3FC, 3))
    assert bench.logs == [[0x41, (True, True, False)]]
    bench.forget()
    assert bench.logs == [[]]
    assert bench.events == []


def test_a_line_takes_what_it_has_room_for_and_asks_for_the_rest() -> None:
    bench = uart()
    bench.do(Room("serial", 1))
    bench.do(Out(0x3FA, 1))
    for value in (1, 2, 3):
        bench.do(Out(0x3F8, value))
    assert bench.logs == [[1]]
    bench.do(Room("serial", 1))
    assert bench.logs == [[1, 2]]
    bench.do(Room("serial"))
    assert bench.logs == [[1, 2, 3]]


def test_characters_and_modem_lines_arrive() -> None:
    bench = uart()
    bench.do(Receive("serial", b"x", 4))
    assert bench.do(In(0x3FD)) & 5 == 5
    bench.do(Modem("serial", 0x10))
    assert bench.do(In(0x3FE)) >> 4 == 1


def test_an_unplugged_line_shows_no_level() -> None:
    bench = uart()
    bench.do(Out(0x3FC, 1))
    high = bench.levels()
    bench.do(Plug("serial", plugged=False))
    bench.do(Plug("serial", plugged=False))
    assert bench.levels() != high
    bench.do(Plug("serial", plugged=True))
    assert bench.levels() == high


def test_a_medium_fails_as_it_is_told_and_is_tried_again() -> None:
    bench = Bench(setups_of(IDE)[0])  # whose disk waits
    bench.do(Medium("ide.0", works=False))
    for port, value in ((0x1F2, 1), (0x1F3, 1), (0x1F6, 0xE0), (0x1F7, 0x20)):
        bench.do(Out(port, value))
    assert bench.do(In(0x3F6)) & 0x80
    bench.do(Medium("ide.0", works=True))
    bench.do(Retry())
    assert bench.do(In(0x3F6)) & 0x88 == 8


def test_no_two_of_the_first_sectors_are_alike_on_a_disk_of_zeros() -> None:
    medium = disk().ends["ide.0"]
    assert isinstance(medium, DiskEnd)
    assert len({medium.read(512 * sector, 512) for sector in range(128)}) == 128


def test_what_is_written_is_what_is_read() -> None:
    medium = disk().ends["ide.0"]
    assert isinstance(medium, DiskEnd)
    medium.write(1024, bytes(range(256)) * 4)
    assert medium.read(512, 1536)[512:] == bytes(range(256)) * 4
    assert medium.log == [(1024, bytes(range(256)) * 4)]


def test_media_differ_by_their_content() -> None:
    one, other = disk().ends["ide.0"], disk().ends["ide.0"]
    assert isinstance(one, DiskEnd)
    assert isinstance(other, DiskEnd)
    assert not one.differs(other)
    one.write(512, bytes(512))
    assert one.differs(other)
    other.write(512, bytes(512))
    assert not one.differs(other)
    other.write(512, b"x" * 512)
    assert one.differs(other)


def test_a_twin_has_the_state_and_the_ends_of_the_original() -> None:
    bench = uart()
    for step in (Room("serial", 0), Out(0x3FA, 1), Out(0x3F8, 7), Out(0x3FC, 3), Receive("serial", b"ab")):
        bench.do(step)
    twin = bench.twin(bench.save())
    assert twin.levels() == bench.levels()
    assert twin.logs == [[]]
    assert twin.save() == bench.save()
    twin.do(Room("serial", 5))
    assert twin.logs == [[7]]


def test_a_twin_may_have_been_in_use_before() -> None:
    bench = uart()
    bench.do(Out(0x3FF, 1))
    twin = bench.twin(bench.save(), (Out(0x3FF, 9), Out(0x3F9, 15), Plug("serial", plugged=False)))
    assert twin.save() == bench.save()


def test_a_medium_that_is_out_of_its_drive_goes_to_the_twin_with_its_content() -> None:
    bench = disk()
    medium = bench.ends["ide.0"]
    assert isinstance(medium, DiskEnd)
    medium.write(0, bytes(512))
    bench.do(Plug("ide.0", plugged=False))
    twin = bench.twin(bench.save())
    assert twin.do(In(0x1F7)) == 0
    twin.do(Plug("ide.0", plugged=True))
    assert read_sector(twin, 0) == 0


def test_a_failing_medium_fails_in_the_twin_too() -> None:
    bench = disk()
    bench.do(Medium("ide.0", works=False))
    twin = bench.twin(bench.save())
    read_sector(twin, 1)
    assert twin.do(In(0x3F6)) & 1


def test_equal_machines_give_equal_bytes() -> None:
    one, other = uart(), uart()
    for bench in (one, other):
        bench.do(Out(0x3FF, 3))
        bench.do(Reset())
    assert one.save() == other.save()


def test_a_refused_load_goes_through() -> None:
    (setup,) = setups_of(relay_type(faulty.RefusesItsOwn))
    bench = Bench(setup)
    bench.do(Out(0x300, 1))
    with pytest.raises(StateError, match="waiting is what it cannot be"):
        bench.twin(bench.save())


def test_a_machine_on_the_bench_has_no_processor_no_ram_and_nothing_of_the_host() -> None:
    table = {
        "memory": "16M",
        "cpu": {},
        "firmware": {"bios": "/nowhere/either"},
        "device": [{"type": "serial", "backend": {"type": "file", "path": "/nowhere/at/all"}}],
    }
    (setup,) = setups_of(parse(table))
    bench = Bench(setup)
    assert bench.machine.memory.size == 0
    bench.do(Out(0x3F8, 1))
    assert bench.logs == [[1]]
