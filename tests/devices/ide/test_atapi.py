"""A CD-ROM drive: the PACKET protocol, the packet commands, sense data, tray and lock."""

from collections.abc import Callable

import pytest

from chkpt_devices.ide import Attention, MediaEvent
from tests.devices.ide.bench import (
    BUSY,
    CD_SECTORS,
    COMMAND,
    CONTROL,
    COUNT,
    DATA_READY,
    DEVICE,
    DRIVE1,
    ERROR,
    FAILED,
    HCYL,
    IDLE,
    LCYL,
    STATUS,
    Bench,
    Medium,
    content,
)

NOT_READY = (0x2, 0x3A, 0)
MEDIUM_CHANGED = (0x6, 0x28, 0)
POWERED_ON = (0x6, 0x29, 0)
INVALID_FIELD = (0x5, 0x24, 0)
OUT_OF_RANGE = (0x5, 0x21, 0)
INVALID_OPERATION = (0x5, 0x20, 0)
REMOVAL_PREVENTED = (0x5, 0x53, 2)
EJECT, LOAD = (0x1B, 0, 0, 0, 2), (0x1B, 0, 0, 0, 3)
EVENT = (0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)


@pytest.fixture
def cd() -> Bench:
    bench = Bench("cdrom")
    bench.settle()
    return bench


@pytest.fixture
def empty() -> Bench:
    bench = Bench("empty")
    bench.settle()
    return bench


def read_10(lba: int, count: int) -> tuple[int, ...]:
    return (0x28, 0, *lba.to_bytes(4, "big"), 0, *count.to_bytes(2, "big"))


def read_12(lba: int, count: int) -> tuple[int, ...]:
    return (0xA8, 0, *lba.to_bytes(4, "big"), *count.to_bytes(4, "big"))


# -- the protocol -----------------------------------------------------------------------------------------------------


def test_packet_asks_for_the_packet_without_an_interrupt(cd: Bench) -> None:
    assert cd.command(0xA0, feature=0) == DATA_READY
    assert cd.inb(COUNT) == 1
    assert cd.since() == []


def test_a_command_without_data_ends_with_one_interrupt(cd: Bench) -> None:
    assert cd.packet(0x00) == IDLE
    assert (cd.inb(COUNT), cd.inb(ERROR)) == (3, 0)
    assert cd.since() == ["raise"]


def test_a_reply_interrupts_with_its_block_and_at_its_end(cd: Bench) -> None:
    assert cd.packet(0x25) == DATA_READY
    assert (cd.inb(COUNT), cd.byte_count()) == (2, 8)
    assert cd.since() == ["raise"]
    cd.inb(STATUS)
    cd.since()
    cd.read_bytes(8)
    assert cd.since() == ["raise"]
    assert (cd.inb(COUNT), cd.inb(STATUS)) == (3, IDLE)


def test_a_failure_has_the_sense_key_in_error_and_interrupts_once(cd: Bench) -> None:
    assert cd.packet(*read_10(CD_SECTORS, 1)) == FAILED
    assert (cd.inb(COUNT), cd.inb(ERROR)) == (3, 0x50)
    assert cd.since() == ["raise"]


@pytest.mark.parametrize("feature", [0x01, 0x02, 0x03])
def test_dma_and_overlap_abort(cd: Bench, feature: int) -> None:
    assert cd.command(0xA0, feature=feature) == FAILED
    assert cd.inb(ERROR) == 4


@pytest.mark.parametrize("code", [0x20, 0xEC])
def test_a_disks_commands_abort_with_the_signature(cd: Bench, code: int) -> None:
    assert cd.command(code, count=9, lcyl=9, hcyl=9) == FAILED
    assert (cd.inb(ERROR), cd.inb(COUNT), cd.inb(LCYL), cd.inb(HCYL)) == (4, 1, 0x14, 0xEB)


@pytest.mark.parametrize("code", [0x00, 0x30, 0xC4, 0xE7, 0x91])
def test_other_commands_of_a_disk_abort(cd: Bench, code: int) -> None:
    assert cd.command(code) == FAILED


def test_features_that_only_a_disk_has_abort(cd: Bench) -> None:
    assert cd.command(0xEF, feature=0x02) == FAILED
    assert cd.command(0xEF, feature=0x66) == IDLE


@pytest.mark.parametrize("at", ["packet", "reply", "idle", "sleep"])
def test_device_reset_shows_the_signature_without_an_interrupt(cd: Bench, at: str) -> None:
    if at == "packet":
        cd.command(0xA0)
    elif at == "reply":
        cd.packet(*read_10(0, 4))
    elif at == "sleep":
        cd.command(0xE6)
    cd.inb(STATUS)
    cd.since()
    cd.outb(COMMAND, 0x08)
    assert cd.registers() == (1, 1, 1, 0x14, 0xEB, 0xA0, 0)
    assert cd.since() == []
    assert cd.kind() is None
    assert cd.packet(0x00) == IDLE


def test_device_reset_leaves_the_other_drive_alone() -> None:
    bench = Bench("disk", "cdrom")
    bench.address(5, 5)
    bench.outb(DEVICE, DRIVE1)
    bench.outb(COMMAND, 0x08)
    assert bench.inb(DEVICE) == 0xB0
    assert bench.drive(0).nsector == 5


# -- blocks and limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        (0xFFFF, [6144]),
        (6144, [6144]),
        (2048, [2048, 2048, 2048]),
        (4096, [4096, 2048]),
        (3000, [3000, 3000, 144]),
        (3001, [3000, 3000, 144]),
        (5000, [5000, 1144]),
    ],
)
def test_blocks_are_as_long_as_the_host_allows(cd: Bench, limit: int, sizes: list[int]) -> None:
    cd.packet(*read_10(20, 3), limit=limit)
    data = b""
    for size in sizes:
        assert cd.since() == ["raise"]
        assert cd.inb(STATUS) == DATA_READY
        assert (cd.byte_count(), cd.inb(COUNT)) == (size, 2)
        cd.since()
        data += cd.read_bytes(size)
    assert data == content(20 * 2048, 6144)
    assert cd.since() == ["raise"]
    assert (cd.inb(STATUS), cd.inb(COUNT)) == (IDLE, 3)


def test_the_largest_block_is_65534_bytes(cd: Bench) -> None:
    cd.packet(*read_10(0, 40), limit=0xFFFF)
    assert cd.byte_count() == 0xFFFE
    assert cd.reply() == content(0, 40 * 2048)


def test_a_reply_comes_in_blocks_too(cd: Bench) -> None:
    cd.packet(0x12, 0, 0, 0, 36)
    whole = cd.reply()
    cd.packet(0x12, 0, 0, 0, 36, limit=10)
    assert [cd.byte_count(), cd.reply()] == [10, whole]
    assert cd.byte_count() == 6


def test_a_last_block_of_odd_length_ends_with_a_padded_word(cd: Bench) -> None:
    cd.packet(0x12, 0, 0, 0, 5)
    assert cd.byte_count() == 5
    assert [cd.inw(0x1F0) for _ in range(3)] == [0x8005, 0x2100, 31]
    assert cd.inb(STATUS) == IDLE


@pytest.mark.parametrize("limit", [0, 1])
@pytest.mark.parametrize("packet", [(0x12, 0, 0, 0, 36), read_10(0, 1)])
def test_a_limit_that_lets_no_byte_through_aborts(cd: Bench, packet: tuple[int, ...], limit: int) -> None:
    assert cd.packet(*packet, limit=limit) == FAILED
    assert cd.inb(ERROR) == 4
    assert cd.kind() is None


def test_a_limit_of_zero_does_for_a_command_without_data(cd: Bench) -> None:
    assert cd.packet(0x00, limit=0) == IDLE


def test_an_allocation_of_zero_is_no_error(cd: Bench) -> None:
    assert cd.packet(0x12, 0, 0, 0, 0) == IDLE


# -- reads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_10, read_12])
def test_reads_give_the_sectors(cd: Bench, read: Callable[[int, int], tuple[int, ...]]) -> None:
    cd.packet(*read(CD_SECTORS - 2, 2))
    assert cd.reply() == content((CD_SECTORS - 2) * 2048, 4096)


@pytest.mark.parametrize("read", [read_10, read_12])
def test_reading_no_sector_is_no_error(cd: Bench, read: Callable[[int, int], tuple[int, ...]]) -> None:
    assert cd.packet(*read(0, 0)) == IDLE


@pytest.mark.parametrize(
    "packet", [read_10(CD_SECTORS - 1, 2), read_12(0xFFFF_FFFF, 0xFFFF_FFFF), (0x2B, 0, 0, 0, CD_SECTORS >> 8, 0xFF)]
)
def test_sectors_past_the_end_are_out_of_range(cd: Bench, packet: tuple[int, ...]) -> None:
    assert cd.packet(*packet) == FAILED
    assert cd.sense() == OUT_OF_RANGE


def test_seek_takes_any_sector_of_the_disc(cd: Bench) -> None:
    assert cd.packet(0x2B, 0, 0, 0, (CD_SECTORS - 1) >> 8, (CD_SECTORS - 1) & 0xFF) == IDLE


def test_a_failed_read_is_reported_as_a_medium_error(cd: Bench) -> None:
    cd.media[0].failing = True
    assert cd.packet(*read_10(0, 1)) == FAILED
    assert cd.sense() == (0x3, 0x11, 0)


@pytest.mark.parametrize("cut", [False, True], ids=["", "saved"])
def test_a_failed_read_is_waited_for(cut: bool) -> None:
    bench = Bench("cdrom", on_error="wait")
    bench.settle()
    bench.packet(*read_10(3, 2), limit=3000)
    data = bench.read_bytes(2998)
    bench.media[0].failing = True
    data += bench.read_bytes(2)
    assert bench.inb(STATUS) == BUSY
    if cut:
        bench = bench.twin()
    bench.media[0].failing = False
    bench.since()
    bench.machine.retry()
    assert bench.since() == ["raise"]
    assert data + bench.reply() == content(3 * 2048, 4096)


def test_a_read_that_waits_fails_when_the_disc_is_taken_away() -> None:
    bench = Bench("cdrom", on_error="wait")
    bench.settle()
    bench.media[0].failing = True
    bench.packet(*read_10(0, 1))
    bench.machine.devices.disconnect_block("ide0.0")
    assert bench.inb(STATUS) == FAILED
    assert bench.sense() == NOT_READY


@pytest.mark.parametrize(
    ("sectors", "cut"), [(4 * 10, False), (4 * CD_SECTORS, False), (4 * CD_SECTORS, True)], ids=["shorter", "", "saved"]
)
def test_a_read_under_way_never_goes_on_on_another_disc(cd: Bench, sectors: int, *, cut: bool) -> None:
    """MMC-2, "Unit Attention Condition": the rest would be of a file that the guest has not asked for."""
    cd.packet(*read_10(CD_SECTORS - 2, 2), limit=2048)
    cd.machine.devices.disconnect_block("ide0.0")
    cd.machine.devices.connect_block("ide0.0", Medium(sectors, read_only=True))
    bench = cd.twin() if cut else cd
    assert bench.read_bytes(2048) == content((CD_SECTORS - 2) * 2048, 2048)
    assert bench.inb(STATUS) == FAILED
    assert bench.sense() == MEDIUM_CHANGED
    assert bench.packet(0) == IDLE


# -- replies ----------------------------------------------------------------------------------------------------------


def test_inquiry_tells_vendor_and_product(cd: Bench) -> None:
    cd.packet(0x12, 0, 0, 0, 96)
    assert cd.reply() == bytes((0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0)) + b"CHKPT   CD-ROM              "


def test_inquiry_has_no_vital_product_data(cd: Bench) -> None:
    assert cd.packet(0x12, 1, 0, 0, 36) == FAILED
    assert cd.sense() == INVALID_FIELD


def test_read_capacity_tells_the_last_sector(cd: Bench) -> None:
    cd.packet(0x25)
    assert cd.reply() == (CD_SECTORS - 1).to_bytes(4, "big") + (2048).to_bytes(4, "big")


def test_the_table_of_contents_has_one_track_and_the_lead_out(cd: Bench) -> None:
    cd.packet(0x43, 0, 0, 0, 0, 0, 0, 0, 100)
    lead_out = CD_SECTORS.to_bytes(4, "big")
    assert cd.reply() == bytes((0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0)) + lead_out


def test_the_table_of_contents_in_minutes_seconds_and_frames(cd: Bench) -> None:
    cd.packet(0x43, 2, 0, 0, 0, 0, 0, 0, 100)
    reply = cd.reply()
    second, frame = divmod(CD_SECTORS + 150, 75)
    assert (reply[8:12], reply[16:20]) == (bytes((0, 0, 2, 0)), bytes((0, 0, second, frame)))


def test_the_table_of_contents_from_the_lead_out_on(cd: Bench) -> None:
    cd.packet(0x43, 0, 0, 0, 0, 0, 0xAA, 0, 100)
    assert cd.reply()[:8] == bytes((0, 10, 1, 1, 0, 0x14, 0xAA, 0))


def test_the_table_of_contents_has_no_track_2(cd: Bench) -> None:
    assert cd.packet(0x43, 0, 0, 0, 0, 0, 2, 0, 100) == FAILED
    assert cd.sense() == INVALID_FIELD


@pytest.mark.parametrize("place", [(2, 1), (9, 0x40)], ids=["MMC-2", "SFF-8020i"])
def test_session_information(cd: Bench, place: tuple[int, int]) -> None:
    packet = [0x43, 0, 0, 0, 0, 0, 0, 0, 100, 0]
    packet[place[0]] = place[1]
    cd.packet(*packet)
    assert cd.reply() == bytes((0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(("page", "length"), [(0x01, 16), (0x0E, 24), (0x2A, 28), (0x3F, 52)])
def test_mode_sense_gives_pages(cd: Bench, page: int, length: int) -> None:
    cd.packet(0x5A, 0, page, 0, 0, 0, 0, 1, 0)
    reply = cd.reply()
    assert len(reply) == length
    assert int.from_bytes(reply[:2], "big") == length - 2
    assert reply[8] & 0x3F == (0x01 if page == 0x3F else page)


def test_mode_sense_says_that_nothing_can_be_changed(cd: Bench) -> None:
    cd.packet(0x5A, 0, 0x40 | 0x2A, 0, 0, 0, 0, 1, 0)
    assert cd.reply()[8:] == bytes((0x2A, 18)) + bytes(18)


@pytest.mark.parametrize(("page", "sense"), [(0x05, INVALID_FIELD), (0xC0 | 0x2A, (0x5, 0x39, 0))])
def test_mode_sense_refuses_unknown_pages_and_saved_values(cd: Bench, page: int, sense: tuple[int, int, int]) -> None:
    assert cd.packet(0x5A, 0, page, 0, 0, 0, 0, 1, 0) == FAILED
    assert cd.sense() == sense


def test_mode_sense_tells_lock_and_medium(cd: Bench) -> None:
    def look() -> tuple[int, int]:
        cd.packet(0x5A, 0, 0x2A, 0, 0, 0, 0, 1, 0)
        reply = cd.reply()
        return reply[2], reply[14] & 0x02

    assert look() == (0x01, 0)
    cd.packet(0x1E, 0, 0, 0, 1)
    assert look() == (0x01, 2)
    cd.packet(0x1E, 0, 0, 0, 0)
    cd.packet(*EJECT)
    assert look() == (0x71, 0)


def test_an_empty_drive_tells_no_medium(empty: Bench) -> None:
    empty.packet(0x5A, 0, 0x2A, 0, 0, 0, 0, 1, 0)
    assert empty.reply()[2] == 0x70


@pytest.mark.parametrize(("sectors", "profile"), [(CD_SECTORS, 0x0008), (400_000, 0x0010), (0, 0)])
def test_get_configuration_tells_the_profile_by_the_size(empty: Bench, sectors: int, profile: int) -> None:
    if sectors:
        empty.machine.devices.connect_block("ide0.0", Medium(4 * sectors, read_only=True))
    empty.packet(0x46, 0, 0, 0, 0, 0, 0, 1, 0)
    reply = empty.reply()
    assert int.from_bytes(reply[:4], "big") == len(reply) - 4
    assert int.from_bytes(reply[6:8], "big") == profile
    assert reply[8:12] == bytes((0, 0, 3, 8))
    assert [reply[at : at + 3] for at in (12, 16)] == [
        bytes((0, 0x10, profile == 0x10)), bytes((0, 0x08, profile == 0x08))
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "first", "features"), [(0, 0, [0, 1, 3]), (0, 2, [3]), (2, 1, [1]), (2, 2, [])])
def test_get_configuration_gives_the_features_asked_for(cd: Bench, kind: int, first: int, features: list[int]) -> None:
    cd.packet(0x46, kind, 0, first, 0, 0, 0, 1, 0)
    reply = cd.reply()
    at, found = 8, []
    while at < len(reply):
        found.append(int.from_bytes(reply[at : at + 2], "big"))
        at += 4 + reply[at + 3]
    assert found == features
    assert at == len(reply)


def test_mechanism_status_tells_the_tray(cd: Bench) -> None:
    cd.packet(0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    assert cd.reply() == bytes((0, 0, 0, 0, 0, 1, 0, 0))
    cd.packet(*EJECT)
    cd.packet(0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    assert cd.reply()[1] == 0x10


def test_set_speed_is_taken(cd: Bench) -> None:
    assert cd.packet(0xBB, 0, 0xFF, 0xFF) == IDLE


def test_an_unknown_packet_command_is_invalid(cd: Bench) -> None:
    assert cd.packet(0xFF) == FAILED
    assert cd.sense() == INVALID_OPERATION


# -- sense and unit attention -----------------------------------------------------------------------------------------


def test_sense_is_taken_once(cd: Bench) -> None:
    cd.packet(0xFF)
    assert cd.sense() == INVALID_OPERATION
    assert cd.sense() == (0, 0, 0)


def test_another_command_clears_the_sense(cd: Bench) -> None:
    cd.packet(0xFF)
    cd.packet(0x00)
    assert cd.sense() == (0, 0, 0)


def test_sense_data_is_a_current_error_of_18_bytes(cd: Bench) -> None:
    cd.packet(0xFF)
    cd.packet(0x03, 0, 0, 0, 255)
    assert cd.reply() == bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0))


def test_power_on_is_a_unit_attention() -> None:
    bench = Bench("cdrom")
    assert bench.packet(*read_10(0, 1)) == FAILED
    assert bench.inb(ERROR) == 0x60
    assert bench.sense() == POWERED_ON
    assert bench.packet(*read_10(0, 1)) == DATA_READY


@pytest.mark.parametrize("packet", [(0x12, 0, 0, 0, 36), EVENT, (0x46, 0, 0, 0, 0, 0, 0, 1, 0)])
def test_some_commands_stand_above_a_unit_attention(packet: tuple[int, ...]) -> None:
    bench = Bench("cdrom")
    assert bench.packet(*packet) == DATA_READY
    bench.reply()
    assert bench.sense() == POWERED_ON


def test_request_sense_takes_a_unit_attention() -> None:
    bench = Bench("cdrom")
    assert bench.sense() == POWERED_ON
    assert bench.packet(0x00) == IDLE


def test_another_disc_is_a_unit_attention_and_an_event(cd: Bench) -> None:
    cd.machine.devices.disconnect_block("ide0.0")
    assert cd.packet(0x00) == FAILED
    assert cd.sense() == NOT_READY
    cd.machine.devices.connect_block("ide0.0", Medium(40, read_only=True))
    assert cd.packet(0x00) == FAILED
    assert cd.sense() == MEDIUM_CHANGED
    assert cd.packet(0x00) == IDLE
    cd.packet(*EVENT)
    assert cd.reply() == bytes((0, 6, 4, 0x10, 2, 2, 0, 0))


@pytest.mark.parametrize("packet", [(0x00,), (0x25,), read_10(0, 1), read_12(0, 1), (0x2B,), (0x43,)])
def test_commands_about_a_disc_fail_without_one(empty: Bench, packet: tuple[int, ...]) -> None:
    assert empty.packet(*packet) == FAILED
    assert empty.sense() == NOT_READY


# -- tray, lock, events -----------------------------------------------------------------------------------------------


def test_eject_and_load(cd: Bench) -> None:
    assert cd.packet(*EJECT) == IDLE
    assert cd.packet(0x00) == FAILED
    assert cd.sense() == NOT_READY
    assert cd.packet(*LOAD) == IDLE
    assert cd.packet(0x00) == FAILED
    assert cd.sense() == MEDIUM_CHANGED
    assert cd.packet(0x00) == IDLE


def test_a_locked_tray_stays_closed(cd: Bench) -> None:
    cd.packet(0x1E, 0, 0, 0, 1)
    assert cd.packet(*EJECT) == FAILED
    assert cd.sense() == REMOVAL_PREVENTED
    cd.packet(0x1E, 0, 0, 0, 0)
    assert cd.packet(*EJECT) == IDLE


def test_loading_an_empty_tray_changes_no_medium(empty: Bench) -> None:
    assert empty.packet(*EJECT) == IDLE
    assert empty.packet(*LOAD) == IDLE
    assert empty.packet(0x00) == FAILED
    assert empty.sense() == NOT_READY


def test_start_needs_a_disc_and_stop_does_not(cd: Bench, empty: Bench) -> None:
    start, stop, standby = (0x1B, 0, 0, 0, 1), (0x1B, 0, 0, 0, 0), (0x1B, 0, 0, 0, 0x30)
    assert [cd.packet(*each) for each in (start, stop, standby)] == [IDLE, IDLE, IDLE]
    assert [empty.packet(*each) for each in (start, stop, standby)] == [FAILED, IDLE, IDLE]


def test_an_event_is_told_once(cd: Bench) -> None:
    cd.packet(*EVENT)
    assert cd.reply() == bytes((0, 6, 4, 0x10, 2, 2, 0, 0))
    cd.packet(*EVENT)
    assert cd.reply() == bytes((0, 6, 4, 0x10, 0, 2, 0, 0))
    cd.packet(*EJECT)
    cd.packet(*EVENT)
    assert cd.reply() == bytes((0, 6, 4, 0x10, 3, 1, 0, 0))


def test_events_of_other_classes_are_not_there(cd: Bench) -> None:
    cd.packet(0x4A, 1, 0, 0, 0x02, 0, 0, 0, 8)
    assert cd.reply() == bytes((0, 2, 0x80, 0x10))


def test_events_are_not_told_later(cd: Bench) -> None:
    assert cd.packet(0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8) == FAILED
    assert cd.sense() == INVALID_FIELD


def test_power_on_unlocks_and_forgets_the_sense(cd: Bench) -> None:
    cd.packet(0x1E, 0, 0, 0, 1)
    cd.packet(0xFF)
    cd.machine.reset()
    atapi = cd.drive().atapi
    assert atapi is not None
    assert (atapi.locked, atapi.sense_key, atapi.attention, atapi.event) == (
        False, 0, Attention.RESET, MediaEvent.NEW_MEDIA
    )  # fmt: skip


def test_software_reset_keeps_sense_and_lock(cd: Bench) -> None:
    cd.packet(0x1E, 0, 0, 0, 1)
    cd.packet(0xFF)
    cd.outb(CONTROL, 0x04)
    cd.outb(CONTROL, 0x00)
    assert cd.sense() == INVALID_OPERATION
    cd.packet(*EJECT)
    assert cd.sense() == REMOVAL_PREVENTED


# -- saved in the middle ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", range(6))
def test_a_packet_cut_at_every_word(word: int) -> None:
    bench = Bench("cdrom")
    bench.settle()
    packet = bytes(read_10(9, 1)).ljust(12, b"\0")
    bench.command(0xA0, feature=0, lcyl=0, hcyl=8)
    bench.write_bytes(packet[: 2 * word])
    bench = bench.twin()
    bench.write_bytes(packet[2 * word :])
    assert bench.reply() == content(9 * 2048, 2048)


def test_a_packet_cut_before_its_limit_matters() -> None:
    bench = Bench("cdrom")
    bench.settle()
    bench.command(0xA0, feature=0, lcyl=0, hcyl=0)
    bench.outw(0x1F0, 0)
    twin = bench.twin()
    twin.write_bytes(bytes(10))
    assert twin.inb(STATUS) == IDLE


@pytest.mark.parametrize("cut", [0, 2, 1498, 1500, 2998, 3000, 3002, 4094])
@pytest.mark.parametrize("limit", [1500, 3000, 0xFFFE])
def test_a_read_cut_within_and_between_blocks(limit: int, cut: int) -> None:
    bench = Bench("cdrom")
    bench.settle()
    bench.packet(*read_10(9, 2), limit=limit)
    data = bench.read_bytes(cut)
    bench = bench.twin()
    data += bench.read_bytes(4096 - cut)
    assert data == content(9 * 2048, 4096)
    assert (bench.inb(COUNT), bench.inb(STATUS)) == (3, IDLE)


@pytest.mark.parametrize("cut", range(0, 36, 2))
def test_a_reply_cut_within_and_between_blocks(cut: int) -> None:
    bench = Bench("cdrom")
    bench.packet(0x12, 0, 0, 0, 35, limit=12)
    data = bench.read_bytes(cut)
    bench = bench.twin()
    assert (
        data + bench.read_bytes(35 - cut) == bytes((0x05, 0x80, 0, 0x21, 31, 0, 0, 0)) + b"CHKPT   CD-ROM             "
    )
    assert bench.inb(STATUS) == IDLE


def test_sense_attention_tray_lock_and_events_are_state(cd: Bench) -> None:
    cd.packet(0xFF)
    assert cd.twin().sense() == INVALID_OPERATION
    cd.packet(*EJECT)
    cd.packet(*LOAD)
    cd.packet(0x1E)
    cd.machine.devices.disconnect_block("ide0.0")
    cd.machine.devices.connect_block("ide0.0", cd.media[0])
    twin = cd.twin()
    assert twin.packet(0x00) == FAILED
    assert twin.sense() == MEDIUM_CHANGED
    twin.packet(*EJECT)
    again = twin.twin()
    again.packet(*EVENT)
    assert again.reply()[4:6] == bytes((3, 1))
