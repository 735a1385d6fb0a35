"""The channel: data port, HOB, drive selection, interrupts, resets, and channels that lack a drive."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ConfigError, ConflictError
from tests.devices.ide.bench import (
    COMMAND,
    CONTROL,
    COUNT,
    DATA,
    DATA_READY,
    DEVICE,
    DRIVE1,
    ERROR,
    FAILED,
    HCYL,
    IDLE,
    LBA,
    LCYL,
    PORT,
    SECTOR,
    STATUS,
    Bench,
    content,
)
from tests.support.rig import rig

SIGNATURE = (1, 1, 1, 0, 0, 0xA0, IDLE)
PACKET_SIGNATURE = (1, 1, 1, 0x14, 0xEB, 0xA0, 0x00)


# -- Data -------------------------------------------------------------------------------------------------------------


def test_a_byte_read_of_data_takes_a_whole_word() -> None:
    bench = Bench()
    bench.address(0, 1)
    bench.command(0x20)
    sector = content(0, 512)
    assert [bench.inb(DATA) for _ in range(256)] == list(sector[::2])
    assert bench.inb(STATUS) == IDLE


def test_a_32_bit_read_of_data_takes_two_words() -> None:
    bench = Bench()
    bench.address(0, 1)
    bench.command(0x20)
    data = b"".join(bench.machine.ports.inl(DATA).to_bytes(4, "little") for _ in range(128))
    assert data == content(0, 512)


def test_a_32_bit_write_of_data_gives_two_words() -> None:
    bench = Bench()
    bench.address(0, 1)
    bench.command(0x30)
    for number in range(128):
        bench.machine.ports.outl(DATA, number << 16 | 0xFFFF - number)
    expected = b"".join((number << 16 | 0xFFFF - number).to_bytes(4, "little") for number in range(128))
    assert bench.media[0].disk.read(0, 512) == expected


def test_data_without_a_block_reads_zero_and_takes_nothing() -> None:
    bench = Bench()
    before = bench.state()
    assert bench.inw(DATA) == 0
    bench.outw(DATA, 0x1234)
    bench.outb(DATA, 0x12)
    assert bench.state() == before


def test_words_the_wrong_way_are_dropped() -> None:
    bench = Bench()
    bench.address(0, 1)
    bench.command(0x20)
    before = bench.state()
    bench.outw(DATA, 0x1234)
    assert bench.state() == before
    bench.read_bytes(512)
    bench.command(0x30, count=1)
    before = bench.state()
    assert bench.inw(DATA) == 0
    assert bench.state() == before


# -- registers --------------------------------------------------------------------------------------------------------


def test_hob_shows_the_bytes_written_before_until_the_next_write() -> None:
    bench = Bench()
    for port, (first, second) in zip((COUNT, SECTOR, LCYL, HCYL), ((1, 2), (3, 4), (5, 6), (7, 8)), strict=True):
        bench.outb(port, first)
        bench.outb(port, second)
    assert [bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)] == [2, 4, 6, 8]
    bench.outb(CONTROL, 0x80)
    assert [bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)] == [1, 3, 5, 7]
    assert (bench.inb(ERROR), bench.inb(DEVICE), bench.inb(STATUS)) == (1, 0xA0, IDLE)


@pytest.mark.parametrize("port", [ERROR, COUNT, SECTOR, LCYL, HCYL, DEVICE, COMMAND])
def test_any_write_to_the_command_block_clears_hob(port: int) -> None:
    bench = Bench()
    bench.outb(LCYL, 5)
    bench.outb(LCYL, 6)
    bench.outb(CONTROL, 0x80)
    assert bench.inb(LCYL) == 5
    bench.outb(port, 9 if port == LCYL else 0xE0 if port == DEVICE else 0)
    assert bench.inb(LCYL) == (9 if port == LCYL else 6)


@pytest.mark.parametrize("kind", ["disk", "cdrom"])
def test_a_diagnostic_leaves_the_bytes_written_before_and_a_reset_clears_them(kind: str) -> None:
    bench = Bench(kind)
    bench.outb(LCYL, 5)
    bench.outb(LCYL, 6)
    bench.command(0x90)
    bench.outb(CONTROL, 0x80)
    assert bench.inb(LCYL) == 5
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x80)
    assert bench.inb(LCYL) == 0


def test_registers_and_commands_written_during_a_transfer_are_dropped() -> None:
    bench = Bench()
    bench.address(0, 2)
    bench.command(0x20)
    bench.inb(STATUS)
    before = bench.state()
    for port in range(ERROR, STATUS + 1):
        bench.outb(port, 0xEC)
    assert bench.state() == before


def test_device_reads_with_its_obsolete_bits_set() -> None:
    bench = Bench()
    bench.outb(DEVICE, 0x00)
    assert bench.inb(DEVICE) == 0xA0


# -- interrupts -------------------------------------------------------------------------------------------------------


def test_only_a_read_of_status_takes_the_interrupt_back() -> None:
    bench = Bench()
    bench.command(0xE1)
    for port in (CONTROL, *range(ERROR, STATUS)):
        bench.inb(port)
    assert bench.line
    bench.inb(STATUS)
    assert not bench.line


def test_a_command_takes_the_last_ones_interrupt_back() -> None:
    bench = Bench()
    bench.command(0xE1)
    bench.command(0x30, count=1, sector=1)
    assert bench.since() == ["raise", "lower"]


@pytest.mark.parametrize(("kind", "code"), [("disk", 0x20), ("cdrom", 0xA1)])
def test_a_command_that_is_dropped_takes_the_interrupt_back_too(kind: str, code: int) -> None:
    bench = Bench(kind)
    bench.command(code, count=1, sector=1)
    before = bench.drive()
    assert before.interrupt
    bench.outb(COMMAND, 0xEC)
    assert not bench.line
    assert bench.drive() == replace(before, interrupt=False)


def test_nien_holds_an_interrupt_back_and_lets_it_through_again() -> None:
    bench = Bench()
    bench.outb(CONTROL, 0x02)
    bench.command(0xE1)
    assert bench.since() == []
    bench.outb(CONTROL, 0x00)
    assert bench.since() == ["raise"]
    bench.outb(CONTROL, 0x02)
    assert bench.since() == ["lower"]
    bench.inb(STATUS)
    bench.outb(CONTROL, 0x00)
    assert bench.since() == []


def test_an_interrupt_pending_behind_nien_is_state() -> None:
    bench = Bench()
    bench.outb(CONTROL, 0x02)
    bench.command(0xE1)
    twin = bench.twin()
    assert not twin.line
    twin.outb(CONTROL, 0x00)
    assert twin.since() == ["raise"]


def test_the_line_is_high_after_a_load_if_it_was_at_the_save() -> None:
    bench = Bench()
    bench.command(0xE1)
    twin = bench.twin()
    assert twin.line
    twin.inb(STATUS)
    assert not twin.line


# -- two drives -------------------------------------------------------------------------------------------------------


def test_writes_go_to_both_drives_and_results_to_one() -> None:
    bench = Bench("disk", "disk")
    bench.address(7, 3, device=DRIVE1)
    bench.command(0xE5)
    assert [bench.inb(port) for port in (COUNT, SECTOR, DEVICE)] == [0xFF, 7, DRIVE1]
    bench.outb(DEVICE, LBA)
    assert [bench.inb(port) for port in (COUNT, SECTOR, DEVICE)] == [3, 7, LBA]


def test_each_drive_has_its_own_medium() -> None:
    bench = Bench("disk", "disk")
    bench.media[1].disk.write(512, b"slave   " * 64)
    bench.address(1, 1, device=DRIVE1)
    bench.command(0x20)
    assert bench.read_block(512) == b"slave   " * 64
    assert bench.read_sectors(1) == content(512, 512)


def test_only_the_selected_drive_drives_the_line() -> None:
    bench = Bench("disk", "disk")
    bench.command(0xE1)
    bench.outb(DEVICE, DRIVE1)
    assert bench.since() == ["raise", "lower"]
    assert bench.inb(STATUS) == IDLE
    assert bench.twin().since() == []
    bench.outb(DEVICE, LBA)
    assert bench.since() == ["raise"]


def test_diagnostic_shows_both_signatures_and_interrupts_once() -> None:
    bench = Bench("disk", "cdrom")
    bench.outb(DEVICE, DRIVE1)
    bench.command(0x90)
    assert bench.since() == ["raise"]
    assert bench.registers() == SIGNATURE
    bench.outb(DEVICE, 0xB0)
    assert bench.registers() == (*PACKET_SIGNATURE[:5], 0xB0, 0x00)
    assert not bench.line


def test_a_drive_that_sleeps_takes_no_part_in_diagnostic() -> None:
    bench = Bench("disk", "cdrom")
    bench.outb(DEVICE, 0xB0)
    bench.command(0xE6, count=9)
    bench.outb(DEVICE, LBA)
    bench.command(0x90)
    assert bench.registers() == SIGNATURE
    assert (bench.drive(1).status, bench.drive(1).nsector, bench.drive(1).device) == (0x40, 9, 0xA0)
    assert bench.twin().state() == bench.state()


def test_the_diagnostic_code_goes_with_the_next_command() -> None:
    bench = Bench()
    bench.command(0x90)
    assert bench.inb(ERROR) == 1
    bench.command(0xE1)
    assert bench.inb(ERROR) == 0


# -- resets -----------------------------------------------------------------------------------------------------------


def test_power_on_shows_the_signature_without_an_interrupt() -> None:
    bench = Bench()
    assert bench.registers() == SIGNATURE
    assert not bench.line


def test_software_reset_is_busy_while_it_is_held() -> None:
    bench = Bench("disk", "cdrom")
    bench.outb(DEVICE, DRIVE1)
    bench.command(0xE1)
    bench.outb(CONTROL, 0x04)
    assert bench.inb(CONTROL) == bench.inb(STATUS) == 0x80
    assert not bench.line
    bench.command(0xEC)
    assert bench.inb(STATUS) == 0x80
    bench.outb(CONTROL, 0x00)
    assert bench.registers() == SIGNATURE
    bench.outb(DEVICE, 0xB0)
    assert bench.registers() == (*PACKET_SIGNATURE[:5], 0xB0, 0x00)


def test_a_reset_under_way_is_state() -> None:
    bench = Bench("disk", "cdrom")
    bench.outb(CONTROL, 0x06)
    twin = bench.twin()
    assert twin.inb(STATUS) == 0x80
    twin.outb(CONTROL, 0x00)
    assert twin.registers() == SIGNATURE


@pytest.mark.parametrize("code", [0x20, 0x30, 0xEC, 0xC4])
def test_software_reset_gives_up_a_transfer(code: int) -> None:
    bench = Bench()
    bench.address(0, 4)
    bench.command(code)
    bench.inw(DATA)
    bench.outw(DATA, 1)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    assert bench.kind() is None
    assert bench.inw(DATA) == 0
    assert bench.registers() == SIGNATURE
    assert not bench.line


def test_software_reset_makes_16_the_multiple_again() -> None:
    bench = Bench()
    bench.command(0xC6, count=2)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    bench.address(0, 16)
    bench.command(0xC4)
    assert bench.read_block(16 * 512) == content(0, 16 * 512)
    assert bench.inb(STATUS) == IDLE


def test_the_machines_reset_keeps_what_was_written() -> None:
    bench = Bench()
    bench.address(0, 1)
    bench.command(0x30)
    bench.write_bytes(b"kept    " * 64)
    bench.machine.reset()
    assert bench.registers() == SIGNATURE
    assert bench.read_sectors(0) == b"kept    " * 64


# -- drives that are not there ----------------------------------------------------------------------------------------


def test_drive_0_answers_for_an_absent_drive_1_with_status_0() -> None:
    bench = Bench("disk")
    bench.address(0x123456, 9, device=DRIVE1)
    assert bench.registers() == (1, 9, 0x56, 0x34, 0x12, DRIVE1, 0)
    assert bench.inb(STATUS) == 0
    assert bench.inw(DATA) == 0


@pytest.mark.parametrize("alone", [("cdrom", "none"), ("cdrom", "absent"), ("empty", "none")])
def test_a_packet_device_0_shows_zeros_and_no_signature_for_an_absent_drive_1(alone: tuple[str, ...]) -> None:
    """ATA/ATAPI-6, "Device 0 only configurations": else a driver finds the drive twice."""
    bench = Bench(*alone)
    signature = [bench.inb(register) for register in (ERROR, COUNT, SECTOR, LCYL, HCYL)]
    assert signature == [1, 1, 1, 0x14, 0xEB]
    bench.outb(DEVICE, 0xB0)
    assert [bench.inb(register) for register in (ERROR, COUNT, SECTOR, LCYL, HCYL, STATUS)] == [0] * 6
    assert bench.inb(DEVICE) & 0x10
    bench.outb(LCYL, 0x55)
    assert bench.inb(LCYL) == 0
    twin = bench.twin()
    assert [twin.inb(register) for register in (ERROR, COUNT, SECTOR, LCYL, HCYL, STATUS)] == [0] * 6
    bench.outb(DEVICE, 0xA0)
    assert bench.inb(LCYL) == 0x55


def test_an_absent_drive_1_takes_no_command_but_diagnostic() -> None:
    bench = Bench("disk", "absent")
    bench.outb(DEVICE, DRIVE1)
    for code in (0xEC, 0x20, 0xE1, 0x08):
        bench.command(code)
        assert bench.inb(STATUS) == 0
    assert bench.since() == []
    bench.command(0x90)
    assert bench.since() == ["raise"]
    assert bench.registers() == SIGNATURE


@pytest.mark.parametrize("media", [("none", "none"), ("absent",), ("absent", "absent")])
def test_a_channel_without_drives_reads_zero_and_survives_everything(media: tuple[str, ...]) -> None:
    bench = Bench(*media)
    for value in (0xEC, 0x90, 0xF0):
        for port in (*range(PORT, PORT + 8), CONTROL):
            bench.outb(port, value)
            assert bench.inb(port) == 0
        bench.outb(CONTROL, 0x04)
        bench.outb(CONTROL, 0x00)
    assert bench.since() == []
    assert bench.twin().state() == bench.state()


def test_a_lone_drive_1_answers_when_it_is_selected() -> None:
    bench = Bench("none", "disk")
    assert bench.registers() == (0,) * 7
    bench.address(3, 1, device=DRIVE1)
    bench.command(0x20)
    assert bench.read_block(512) == content(512 * 3, 512)
    bench.command(0x90)
    assert bench.registers() == (0,) * 7  # DIAGNOSTIC selects drive 0
    assert not bench.line


def test_a_disk_appears_with_its_backend_and_vanishes_with_it() -> None:
    bench = Bench("disk", "disk")
    bench.outb(DEVICE, DRIVE1)
    bench.command(0xE1)
    medium = bench.machine.devices.disconnect_block("ide0.1")
    assert bench.inb(STATUS) == 0
    assert not bench.line
    bench.machine.devices.connect_block("ide0.1", medium)
    assert bench.registers() == (1, 1, 1, 0, 0, 0xB0, IDLE)
    assert bench.command(0xEC) == DATA_READY


def test_a_disk_connected_during_a_software_reset_is_in_reset_too() -> None:
    bench = Bench("disk", "disk")
    medium = bench.machine.devices.disconnect_block("ide0.0")
    bench.outb(CONTROL, 0x04)
    bench.machine.devices.connect_block("ide0.0", medium)
    assert bench.inb(STATUS) == 0x80
    assert bench.twin().state() == bench.state()
    bench.outb(CONTROL, 0x00)
    assert bench.registers() == SIGNATURE


def test_a_transfer_ends_when_its_disk_vanishes() -> None:
    bench = Bench()
    bench.address(0, 2)
    bench.command(0x20)
    bench.machine.devices.disconnect_block("ide0.0")
    assert bench.inw(DATA) == 0
    assert bench.inb(STATUS) == 0


# -- configuration ----------------------------------------------------------------------------------------------------


def test_two_drives_of_one_unit_are_refused() -> None:
    with pytest.raises(ConfigError, match="unit 1"):
        rig({"type": "ide", "drive": [{"unit": 1}, {"unit": 1, "media": "cdrom"}]})


@pytest.mark.parametrize("field", ["model", "serial", "firmware"])
def test_strings_that_identify_cannot_tell_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        rig({"type": "ide", "drive": [{"unit": 0, field: "Größe"}]})


def test_ports_of_another_channel_conflict() -> None:
    with pytest.raises(ConflictError, match="ide0"):
        rig({"type": "ide", "name": "ide0"}, {"type": "ide", "name": "ide1", "control": 0x376, "irq": 15})


def test_a_second_channel_has_its_own_ports_and_line() -> None:
    machine = rig(
        {"type": "ide", "name": "ide0"},
        {"type": "ide", "name": "ide1", "port": 0x170, "control": 0x376, "irq": 15,
         "drive": [{"unit": 0, "media": "cdrom"}]},
    )  # fmt: skip
    machine.ports.outb(0x177, 0xEC)
    assert machine.ports.inb(0x376) == FAILED
    assert (machine.irq.level(14), machine.irq.level(15)) == (False, True)
    assert machine.ports.inb(0x377) == 0xFF  # the floppy controller's


# -- what the prover found --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media", ["disk", "cdrom"])
@pytest.mark.parametrize("code", [0x08, 0x90, 0xEC])
def test_in_a_software_reset_no_command_is_heard(media: str, code: int) -> None:
    bench = Bench(media)
    bench.outb(CONTROL, 0x04)
    bench.outb(COMMAND, code)
    assert bench.inb(CONTROL) == 0x80
    bench = bench.twin()
    bench.outb(CONTROL, 0)
    assert bench.inb(ERROR) == 1
    assert not bench.line


def test_beside_an_absent_drive_0_drive_1_comes_out_of_reset_with_drive_0_selected() -> None:
    bench = Bench("none", "disk")
    bench.outb(CONTROL, 0x04)
    bench.outb(DEVICE, DRIVE1)
    bench.outb(CONTROL, 0)
    bench = bench.twin()
    bench.outb(DEVICE, DRIVE1)
    assert bench.inb(DEVICE) == DRIVE1
    assert bench.inb(STATUS) == IDLE


def test_a_disk_that_vanishes_leaves_nothing_to_the_next_one() -> None:
    bench = Bench()
    bench.command(0x00)  # NOP fails, and interrupts
    bench.outb(ERROR, 0x99)
    fresh = Bench().drive()
    disk = bench.machine.devices.disconnect_block("ide0.0")
    bench.machine.devices.connect_block("ide0.0", disk)
    assert bench.edges == ["raise", "lower"]
    assert bench.drive() == fresh


# -- Data in blocks ---------------------------------------------------------------------------------------------------


@given(
    command=st.sampled_from((0x20, 0xC4, 0xEC, 0x30, 0xC5, 0x90)),
    moves=st.lists(st.tuples(st.booleans(), st.sampled_from((2, 4)), st.integers(0, 300)), max_size=8),
)
def test_a_block_does_what_its_accesses_would_and_leaves_the_last_word(
    command: int, moves: list[tuple[bool, int, int]]
) -> None:
    bench = Bench()
    bench.address(3, 3)
    bench.command(0xC6, count=2)
    bench.address(3, 3)
    bench.command(command)
    twin = bench.twin()
    ports = bench.machine.ports
    for reads, width, count in moves:
        single = (
            (twin.machine.ports.inw, twin.outw) if width == 2 else (twin.machine.ports.inl, twin.machine.ports.outl)
        )
        bench.since(), twin.since()
        if reads:
            data = ports.read_block(DATA, width, count)
            assert len(data) <= count * width
            assert data == b"".join(single[0](DATA).to_bytes(width, "little") for _ in range(len(data) // width))
        else:
            data = bytes(range(256)) * 5
            taken = ports.write_block(DATA, width, data[: count * width])
            assert taken <= count
            for at in range(taken):
                single[1](DATA, int.from_bytes(data[at * width :][:width], "little"))
        assert bench.since() == twin.since() == []
        assert bench.state() == twin.state()
        if count % 2:  # now and then to the end of the block
            assert bench.inw(DATA) == twin.inw(DATA)
            bench.outw(DATA, count)
            twin.outw(DATA, count)
            assert bench.state() == twin.state()


def test_a_block_is_all_but_the_last_word_of_what_waits() -> None:
    bench = Bench()
    bench.read_sectors(0)
    bench.address(0, 1)
    bench.command(0x20)
    assert bench.machine.ports.read_block(DATA, 2, 1000) == content(0, 510)
    assert bench.machine.ports.read_block(DATA, 2, 1000) == b""
    assert bench.inw(DATA).to_bytes(2, "little") == content(510, 2)
    bench.address(0, 1)
    bench.command(0x30)
    assert bench.machine.ports.write_block(DATA, 4, bytes(1000)) == 127
    assert bench.machine.ports.write_block(DATA, 4, bytes(1000)) == 0
    assert bench.machine.ports.write_block(DATA, 2, bytes(1000)) == 1
    assert bench.machine.ports.write_block(DATA, 2, bytes(1000)) == 0
