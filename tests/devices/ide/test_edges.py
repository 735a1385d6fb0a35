"""Drives at the edges: of the disc and of the disk, of what a reply may hold, and what every command leaves behind."""

from collections.abc import Callable

import pytest

from chkpt.errors import ConfigError
from chkpt_devices.ide import AtapiState, Attention, MediaEvent, TransferKind
from chkpt_devices.ide.address import default_geometry
from chkpt_devices.ide.config import DriveConfig
from chkpt_devices.ide.identify import identify_disk
from chkpt_devices.ide.mmc import inquiry
from tests.devices.ide.bench import (
    BUSY,
    CD_SECTORS,
    CONTROL,
    COUNT,
    DATA_READY,
    DEVICE,
    DRIVE1,
    ERROR,
    FAILED,
    HCYL,
    IDLE,
    LBA,
    LCYL,
    SECTOR,
    SECTORS,
    STATUS,
    Bench,
    Medium,
    content,
    refused,
    with_transfer,
    words,
)
from tests.support.rig import rig, saved

INVALID_FIELD = (0x5, 0x24, 0)
NOT_READY = (0x2, 0x3A, 0)
MEDIUM_CHANGED = (0x6, 0x28, 0)
OUT_OF_RANGE = (0x5, 0x21, 0)
INQUIRY, READ_1 = (0x12, 0, 0, 0, 36), (0x28, 0, 0, 0, 0, 1, 0, 0, 1)
EJECT, LOAD = (0x1B, 0, 0, 0, 2), (0x1B, 0, 0, 0, 3)


@pytest.fixture
def cd() -> Bench:
    bench = Bench("cdrom")
    bench.settle()
    return bench


class Vast(Medium):
    """A medium that claims a size, and has nothing."""

    def __init__(self, size: int) -> None:
        super().__init__(0)
        self.claimed = size
        self.moved: list[tuple[str, int, int]] = []  # what is read and written, in sectors

    @property
    def size(self) -> int:
        return self.claimed

    def read(self, offset: int, length: int, /) -> bytes:
        self.moved.append(("read", offset // 512, length // 512))
        return bytes(length)

    def write(self, offset: int, data: bytes, /) -> None:
        self.moved.append(("write", offset // 512, len(data) // 512))


def with_disk(medium: Medium) -> Bench:
    """Return a bench whose disk has this medium."""
    bench = Bench("absent")
    bench.machine.devices.connect_block("ide0.0", medium)
    return bench


def with_disc(sectors: int) -> Bench:
    """Return a bench whose CD-ROM drive has a disc of this many sectors."""
    bench = Bench("empty")
    bench.machine.devices.connect_block("ide0.0", Vast(2048 * sectors))
    bench.settle()
    return bench


def high_bytes(bench: Bench) -> tuple[int, ...]:
    """Return what was in Count, LBA low, mid and high before."""
    bench.outb(CONTROL, 0x80)
    return tuple(bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL))


# -- replies of the CD-ROM drive, byte by byte ------------------------------------------------------------------------

RECOVERY = "01 06 00 05 00 00 00 00"
AUDIO = "0E 0E 04 00 00 00 00 00 00 00 00 00 00 00 00 00"
CAPABILITIES = "2A 12 0B 00 00 00 29 00 02 C2 00 00 02 00 02 C2 00 00 00 00"
TRACK_1, LEAD_OUT = "00 14 01 00", "00 14 AA 00"
LENGTH = (0, 0xFF)  # the length a host allocates, in bytes 7 and 8 of most packets

REPLIES = {
    # a command packet: the reply
    (0x5A, 0, 0x01, 0, 0, 0, 0, *LENGTH): f"00 0E 01 00 00 00 00 00 {RECOVERY}",
    (0x5A, 0, 0x0E, 0, 0, 0, 0, *LENGTH): f"00 16 01 00 00 00 00 00 {AUDIO}",
    (0x5A, 0, 0x2A, 0, 0, 0, 0, *LENGTH): f"00 1A 01 00 00 00 00 00 {CAPABILITIES}",
    (0x5A, 0, 0x3F, 0, 0, 0, 0, *LENGTH): f"00 32 01 00 00 00 00 00 {RECOVERY} {AUDIO} {CAPABILITIES}",
    (0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 9): "00 1A 01 00 00 00 00 00 2A",
    (0x43, 0, 0, 0, 0, 0, 0, *LENGTH): f"00 12 01 01 {TRACK_1} 00 00 00 00 {LEAD_OUT} 00 05 15 00",
    (0x43, 1, 0, 0, 0, 0, 1, *LENGTH): f"00 12 01 01 {TRACK_1} 00 00 00 00 {LEAD_OUT} 00 05 15 00",
    (0x43, 2, 0, 0, 0, 0, 1, *LENGTH): f"00 12 01 01 {TRACK_1} 00 00 02 00 {LEAD_OUT} 00 4A 02 38",
    (0x43, 2, 0, 0, 0, 0, 0xAA, *LENGTH): f"00 0A 01 01 {LEAD_OUT} 00 4A 02 38",
    (0x43, 2, 1, 0, 0, 0, 0, *LENGTH): f"00 0A 01 01 {TRACK_1} 00 00 02 00",
    (0x43, 0, 0, 0, 0, 0, 0, 0, 5): "00 12 01 01 00",
    (0x25,): "00 05 14 FF 00 00 08 00",
    (0x4A, 1, 0, 0, 0x10, 0, 0, *LENGTH): "00 06 04 10 02 02 00 00",
    (0x4A, 1, 0, 0, 0x10, 0, 0, 0, 3): "00 06 04",
    (0x4A, 1, 0, 0, 0x08, 0, 0, *LENGTH): "00 02 80 10",
    (0x46, 0, 0, 0, 0, 0, 0, *LENGTH): (
        "00 00 00 20 00 00 00 08 00 00 03 08 00 10 00 00 00 08 01 00 00 01 03 04 00 00 00 02 00 03 03 04 29 00 00 00"
    ),
    (0x46, 0, 0, 0, 0, 0, 0, 0, 9): "00 00 00 20 00 00 00 08 00",
    (0x03, 0, 0, 0, 18): "70 00 00 00 00 00 00 0A 00 00 00 00 00 00 00 00 00 00",
    (0x03, 0, 0, 0, 5): "70 00 00 00 00",
    (0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF): "00 00 00 00 00 01 00 00",
    (0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 3): "00 00 00",
}


@pytest.mark.parametrize("packet", REPLIES, ids=lambda packet: bytes(packet).hex())
def test_a_cdrom_drive_replies_to_the_byte(packet: tuple[int, ...]) -> None:
    cd = with_disc(0x51500)  # 74 minutes, 2 seconds and 56 frames, with the two seconds before it
    cd.packet(*packet)
    assert cd.reply() == bytes.fromhex(REPLIES[packet])


@pytest.mark.parametrize(
    ("model", "vendor", "product"),
    [
        ("VENDOR PRODUCT", b"VENDOR  ", b"PRODUCT         "),
        ("VENDOR A DRIVE 24X", b"VENDOR  ", b"A DRIVE 24X     "),
        ("LONGVENDOR LONGER THAN 16 BYTES", b"LONGVEND", b"LONGER THAN 16 B"),
        ("SHORT", b"SHORT   ", b"                "),
    ],
)
def test_inquiry_tells_the_first_word_as_the_vendor(model: str, vendor: bytes, product: bytes) -> None:
    head = bytes((0x05, 0x80, 0, 0x21, 31, 0, 0, 0))
    assert inquiry(DriveConfig(0, model=model, firmware="1.25B")) == head + vendor + product + b"1.25"
    assert inquiry(DriveConfig(0, model=model, firmware="7")) == head + vendor + product + b"7   "


@pytest.mark.parametrize(("sectors", "profile"), [(359_999, 8), (360_000, 8), (360_001, 0x10)])
def test_a_disc_of_more_than_80_minutes_is_a_dvd(sectors: int, profile: int) -> None:
    cd = with_disc(sectors)
    cd.packet(0x46, 0, 0, 0, 0, 0, 0, *LENGTH)
    assert cd.reply()[7] == profile


@pytest.mark.parametrize(
    ("sectors", "last", "lead_out"),
    [(0x9000_0000, 0x8FFF_FFFF, 0x9000_0000), (0x1_0000_0005, 0xFFFF_FFFE, 0xFFFF_FFFF)],
)
def test_a_disc_has_as_many_sectors_as_a_reply_can_tell(sectors: int, last: int, lead_out: int) -> None:
    cd = with_disc(sectors)
    cd.packet(0x25)
    assert cd.reply()[:4] == last.to_bytes(4, "big")
    cd.packet(0x43, 0, 0, 0, 0, 0, 0xAA, *LENGTH)
    assert cd.reply()[8:] == lead_out.to_bytes(4, "big")


def test_a_locked_door_shows_among_the_capabilities(cd: Bench) -> None:
    cd.packet(0x1E, 0, 0, 0, 1)
    cd.packet(0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 15)
    assert cd.reply()[14] == 0x2B
    cd.packet(0x5A, 0, 0x80 | 0x2A, 0, 0, 0, 0, 0, 15)  # the value at power-on
    assert cd.reply()[14] == 0x29


@pytest.mark.parametrize("first", [2, 99, 0xA9, 0xAB])
def test_a_disc_has_no_other_track(cd: Bench, first: int) -> None:
    assert cd.packet(0x43, 0, 0, 0, 0, 0, first, *LENGTH) == FAILED
    assert cd.sense() == INVALID_FIELD


@pytest.mark.parametrize("form", [3, 4, 5])
def test_a_table_of_contents_in_another_form_is_refused(cd: Bench, form: int) -> None:
    assert cd.packet(0x43, 0, form, 0, 0, 0, 0, *LENGTH) == FAILED
    assert cd.sense() == INVALID_FIELD


@pytest.mark.parametrize(
    ("classes", "allocated", "again"),
    [
        (0x10, 4, 2),  # the header alone: the event is not reported, so it stays
        (0x10, 5, 0),
        (0x10, 8, 0),
        (0x10, 0x0100, 0),
        (0x08, 8, 2),
        (0x00, 8, 2),
    ],
)
def test_an_event_is_forgotten_when_it_has_been_told(classes: int, allocated: int, again: int) -> None:
    cd = with_disc(CD_SECTORS)
    cd.packet(0x4A, 1, 0, 0, classes, 0, 0, *allocated.to_bytes(2, "big"))
    cd.reply()
    cd.packet(0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)
    assert cd.reply()[4] == again


def test_a_disc_that_is_taken_away_is_an_event(cd: Bench) -> None:
    cd.machine.devices.disconnect_block("ide0.0")
    cd.packet(0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)
    assert cd.reply() == bytes((0, 6, 4, 0x10, 3, 0, 0, 0))


@pytest.mark.parametrize("lba", [0, CD_SECTORS - 1, CD_SECTORS, CD_SECTORS + 1])
def test_the_last_sector_of_a_disc_is_the_last_to_seek(cd: Bench, lba: int) -> None:
    status = cd.packet(0x2B, 0, *lba.to_bytes(4, "big"))
    assert status == (IDLE if lba < CD_SECTORS else FAILED)


@pytest.mark.parametrize(("limit", "blocks"), [(5, [5]), (4, [4, 1]), (3, [2, 3]), (6, [5])])
def test_an_odd_reply_goes_whole_where_it_fits(cd: Bench, limit: int, blocks: list[int]) -> None:
    cd.packet(0x03, 0, 0, 0, 5, limit=limit)
    sizes = []
    while cd.inb(STATUS) == DATA_READY:
        sizes.append(cd.byte_count())
        cd.read_bytes(sizes[-1])
    assert sizes == blocks


def test_a_limit_that_lets_no_byte_through_ends_as_a_status(cd: Bench) -> None:
    assert cd.packet(*INQUIRY, limit=1) == FAILED
    assert cd.inb(COUNT) == 3


@pytest.mark.parametrize("packet", [(0x12, 1, 0, 0, 36), (0x12, 0, 1, 0, 36), (0x12, 1, 0x80, 0, 36)])
def test_there_is_no_vital_product_data(cd: Bench, packet: tuple[int, ...]) -> None:
    assert cd.packet(*packet) == FAILED
    assert cd.sense() == INVALID_FIELD


def test_inquiry_does_not_look_at_what_is_reserved(cd: Bench) -> None:
    assert cd.packet(0x12, 0xE0, 0, 0xFF, 36) == DATA_READY


def test_identify_packet_device_ends_without_an_interrupt(cd: Bench) -> None:
    cd.command(0xA1, count=0x55)
    cd.inb(STATUS)
    cd.since()
    cd.read_bytes(512)
    assert (cd.inb(STATUS), cd.inb(COUNT), cd.since()) == (IDLE, 0x55, [])


@pytest.mark.parametrize(("lba", "count"), [(CD_SECTORS - 1, 2), (CD_SECTORS - 5, 6), (CD_SECTORS, 1)])
def test_a_read_past_the_end_fails_before_its_first_block(cd: Bench, lba: int, count: int) -> None:
    assert cd.packet(0x28, 0, *lba.to_bytes(4, "big"), 0, 0, count, limit=2048) == FAILED
    assert cd.sense() == OUT_OF_RANGE


@pytest.mark.parametrize(
    ("limit", "blocks", "sectors"),
    [
        (1024, 2, 1),  # the first half of the second sector is not there
        (1024, 3, 1),  # nor its second half, of which the first has been read
        (1024, 4, 2),
        (4096, 1, 3),  # the second block ends in the fourth sector
        (3000, 1, 2),  # the second block begins in the second sector and ends in the third
        (2048, 1, 1),
    ],
)
def test_a_read_under_way_ends_with_its_disc(cd: Bench, limit: int, blocks: int, sectors: int) -> None:
    cd.packet(0x28, 0, 0, 0, 0, 0, 0, 0, 6, limit=limit)
    for _ in range(blocks - 1):
        cd.read_bytes(limit)
    cd.machine.devices.disconnect_block("ide0.0")
    cd.machine.devices.connect_block("ide0.0", Medium(4 * sectors, read_only=True))
    while cd.inb(STATUS) == DATA_READY:
        cd.read_bytes(cd.byte_count())
    assert cd.inb(STATUS) == FAILED
    assert cd.drive().atapi == AtapiState(*MEDIUM_CHANGED, Attention.NONE, MediaEvent.NEW_MEDIA, False, False)


# -- the tray ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [0x10, 0x20, 0x30, 0x50, 0xF0])
def test_a_power_condition_moves_no_tray(cd: Bench, condition: int) -> None:
    assert cd.packet(0x1B, 0, 0, 0, condition | 2) == IDLE
    cd.packet(0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    assert cd.reply()[1] == 0
    cd.packet(*EJECT)
    assert cd.packet(0x1B, 0, 0, 0, condition | 3) == IDLE
    cd.packet(0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    assert cd.reply()[1] == 0x10


def test_start_alone_closes_no_tray(cd: Bench) -> None:
    cd.packet(*EJECT)
    assert cd.packet(0x1B, 0, 0, 0, 1) == FAILED
    assert cd.sense() == NOT_READY
    cd.packet(0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    assert cd.reply()[1] == 0x10


# -- addresses of a disk ----------------------------------------------------------------------------------------------

FAR = 0x8765_43FF_FFFE  # three sectors on, the upper bytes are others
TRANSFERS = {
    # a command: its direction, whether its address has 48 bits, whether it moves blocks
    0x20: ("read", False, False),
    0x21: ("read", False, False),
    0x24: ("read", True, False),
    0x29: ("read", True, True),
    0xC4: ("read", False, True),
    0x30: ("write", False, False),
    0x31: ("write", False, False),
    0x34: ("write", True, False),
    0x39: ("write", True, True),
    0xC5: ("write", False, True),
}


@pytest.mark.parametrize("code", TRANSFERS, ids=hex)
def test_a_transfer_goes_where_the_registers_say_and_they_go_with_it(code: int) -> None:
    direction, extended, in_blocks = TRANSFERS[code]
    medium = Vast(512 << 48)
    bench = with_disk(medium)
    bench.command(0xC6, count=2)
    lba = FAR if extended else FAR & 0x0FFF_FFFF
    (bench.address48 if extended else bench.address)(lba, 3)
    bench.command(code)
    for sectors in (2, 1) if in_blocks else (1, 1, 1):
        assert bench.inb(STATUS) == DATA_READY
        if direction == "read":
            bench.read_bytes(512 * sectors)
        else:
            bench.write_bytes(bytes(512 * sectors))
    assert bench.inb(STATUS) == IDLE
    steps = ((0, 2), (2, 1)) if in_blocks else ((0, 1), (1, 1), (2, 1))
    assert medium.moved == [(direction, lba + at, sectors) for at, sectors in steps]
    after = (lba + 3).to_bytes(6, "little")
    assert tuple(bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)) == (0, *after[:3])
    if extended:
        assert high_bytes(bench) == (0, *after[3:])
    else:
        assert bench.inb(DEVICE) == LBA | after[3]


def test_an_extended_count_goes_down_in_16_bits() -> None:
    bench = with_disk(Vast(512 << 48))
    bench.address48(FAR, 0x0200)
    bench.command(0x24)
    assert bench.inb(COUNT) == 0xFF
    assert high_bytes(bench)[0] == 0x01


def test_a_reset_clears_the_high_bytes() -> None:
    bench = Bench()
    bench.address48(FAR, 0x0200)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    assert high_bytes(bench) == (0,) * 4


@pytest.mark.parametrize("code", [0x20, 0x30, 0xEC])
def test_a_block_that_is_ready_is_no_error(code: int) -> None:
    bench = Bench()
    bench.address(0, 1)
    assert (bench.command(0xFF), bench.inb(ERROR)) == (FAILED, 4)
    assert (bench.command(code), bench.inb(ERROR)) == (DATA_READY, 0)


@pytest.mark.parametrize(("cylinder", "head", "sector"), [(0x1234, 5, 6), (0xFFFF, 15, 62), (0x00FF, 15, 63)])
def test_a_chs_address_has_16_bits_of_cylinder(cylinder: int, head: int, sector: int) -> None:
    medium = Vast(512 << 28)
    bench = with_disk(medium)
    bench.chs(cylinder, head, sector, 1)
    bench.command(0x20)
    lba = (cylinder * 16 + head) * 63 + sector - 1
    assert medium.moved == [("read", lba, 1)]
    track, sector = divmod(lba + 1, 63)
    cylinder, head = divmod(track, 16)
    assert tuple(bench.inb(port) for port in (SECTOR, LCYL, HCYL, DEVICE)) == (
        sector + 1,
        cylinder & 0xFF,
        cylinder >> 8,
        0xA0 | head,
    )


# -- the last sectors of a disk ---------------------------------------------------------------------------------------


class Scratched(Medium):
    """A medium that cannot read one sector."""

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.bad = 512 * bad

    def read(self, offset: int, length: int, /) -> bytes:
        if offset <= self.bad < offset + length:
            raise OSError("bad sector")
        return super().read(offset, length)


@pytest.mark.parametrize(
    ("bad", "status"), [(99, IDLE), (100, FAILED), (355, FAILED), (356, FAILED), (699, FAILED), (700, IDLE)]
)
def test_verify_finds_a_bad_sector_wherever_it_is(bad: int, status: int) -> None:
    bench = with_disk(Scratched(bad))
    bench.address48(100, 600)
    assert bench.command(0x42) == status


@pytest.mark.parametrize(
    ("lba", "count", "status"),
    [(SECTORS - 1, 1, IDLE), (SECTORS - 2, 2, IDLE), (SECTORS - 1, 2, FAILED), (SECTORS - 2, 3, FAILED), (0, 0, IDLE)],
)
def test_verify_ends_with_the_last_sector(lba: int, count: int, status: int) -> None:
    bench = Bench(on_error="wait")
    bench.address(lba, count)
    assert bench.command(0x40) == status


@pytest.mark.parametrize(
    ("lba", "count", "status"), [(SECTORS - 16, 16, IDLE), (SECTORS - 15, 16, FAILED), (SECTORS - 1, 1, IDLE)]
)
def test_the_last_sector_is_the_last_to_write(lba: int, count: int, status: int) -> None:
    bench = Bench(on_error="wait")
    bench.address(lba, count)
    bench.command(0xC5)
    bench.write_bytes(b"new!" * 128 * count)
    assert bench.inb(STATUS) == status
    assert (bench.read_sectors(SECTORS - 1) == b"new!" * 128) is (status == IDLE)


@pytest.mark.parametrize(("cylinder", "head", "sector"), [(0, 0, 1), (3, 15, 31), (3, 15, 32), (0, 0, 0), (0, 0, 64)])
def test_seek_takes_a_chs_address_of_the_disk(cylinder: int, head: int, sector: int) -> None:
    bench = Bench()
    bench.chs(cylinder, head, sector, 1)
    there = 1 <= sector <= 63 and (cylinder * 16 + head) * 63 + sector <= SECTORS
    assert bench.command(0x70) == (IDLE if there else FAILED)


# -- the size of a disk -----------------------------------------------------------------------------------------------

LARGE = 0x0012_3456_789A


def test_read_native_max_ext_tells_a_large_disk_and_the_short_one_what_fits() -> None:
    bench = with_disk(Vast(512 * LARGE))
    bench.address48(0, 0)
    assert bench.command(0x27) == IDLE
    assert tuple(bench.inb(port) for port in (SECTOR, LCYL, HCYL)) == (0x99, 0x78, 0x56)
    assert high_bytes(bench)[1:] == (0x34, 0x12, 0x00)
    bench.address(0, 0)
    assert bench.command(0xF8) == IDLE
    assert tuple(bench.inb(port) for port in (SECTOR, LCYL, HCYL, DEVICE)) == (0xFE, 0xFF, 0xFF, 0xEF)


def test_set_max_ext_takes_all_48_bits() -> None:
    bench = with_disk(Vast(512 * LARGE))
    bench.address48(0, 0)
    bench.command(0x27)
    bench.address48(0x0002_4000_0005, 0)
    assert bench.command(0x37) == IDLE
    bench.command(0xEC)
    assert words(bench.read_bytes(512))[100:104] == [0x0006, 0x4000, 0x0002, 0]


@pytest.mark.parametrize(("head", "sector", "status"), [(2, 63, IDLE), (0, 0, FAILED), (15, 64, FAILED)])
def test_set_max_takes_a_chs_address(head: int, sector: int, status: int) -> None:
    bench = Bench()
    bench.chs(0, 0, 1, 0)
    assert bench.command(0xF8) == IDLE
    bench.chs(1, head, sector, 0)
    assert bench.command(0xF9) == status
    bench.command(0xEC)
    answer = words(bench.read_bytes(512))
    assert answer[60] == ((16 + head) * 63 + sector if status == IDLE else SECTORS)


@pytest.mark.parametrize(("size", "sectors"), [(0, 1), (511, 1), (512, 1), (1023, 1), (1024, 2)])
def test_the_smallest_disk_has_one_sector(size: int, sectors: int) -> None:
    bench = with_disk(Vast(size))
    bench.command(0xEC)
    assert words(bench.read_bytes(512))[60:62] == [sectors, 0]


def test_identify_tells_the_size_of_a_large_disk_in_every_form() -> None:
    geometry = default_geometry(LARGE)
    answer = words(
        identify_disk(
            DriveConfig(0), LARGE, (geometry, geometry), multiple=0, transfer_mode=0, write_cache=False, smart=False
        )
    )
    capacity = 16383 * 16 * 63
    assert (answer[1], answer[3:7]) == (16383, [16, 63 * 512, 512, 63])
    assert answer[54:60] == [16383, 16, 63, capacity & 0xFFFF, capacity >> 16, 0]
    assert answer[60:62] == [0xFFFF, 0x0FFF]
    assert answer[85] == 0x4000
    assert answer[100:104] == [0x789A, 0x3456, 0x0012, 0]


def test_a_translation_has_as_many_cylinders_as_a_word_can_tell() -> None:
    bench = with_disk(Vast(512 * LARGE))
    bench.outb(DEVICE, 0xA0)
    assert bench.command(0x91, count=1) == IDLE
    bench.command(0xEC)
    assert words(bench.read_bytes(512))[54:59] == [0xFFFF, 1, 1, 0xFFFF, 0]


@pytest.mark.parametrize(("kind", "code"), [("disk", 0xEC), ("cdrom", 0xA1)])
def test_identify_is_0_where_nothing_is_told(kind: str, code: int) -> None:
    bench = Bench(kind)
    bench.command(code)
    answer = words(bench.read_bytes(512))
    assert not any((*answer[7:10], *answer[69:71], *answer[76:80], *answer[104:]))


@pytest.mark.parametrize(("count", "status"), [(0x00, IDLE), (0xF1, IDLE), (0x01, FAILED), (0xF0, FAILED)])
def test_smart_autosave_is_switched_by_two_counts(count: int, status: int) -> None:
    assert Bench().command(0xB0, feature=0xD2, count=count, lcyl=0x4F, hcyl=0xC2) == status


# -- what a command leaves --------------------------------------------------------------------------------------------


def settled(act: Callable[[Bench], object]) -> Callable[[Bench], object]:
    """Return `act` done after the unit attention of the power-on has been taken."""

    def settle_and_act(bench: Bench) -> None:
        bench.settle()
        act(bench)

    return settle_and_act


def _stand_by_and_seek(bench: Bench) -> None:
    bench.command(0xE0)
    bench.address(1, 1)
    bench.command(0x70)


def _open_and_load(bench: Bench) -> None:
    bench.packet(*EJECT)
    bench.packet(*LOAD)


def _read_after_waiting(bench: Bench) -> None:
    bench.media[0].failing = True
    if bench.kinds == ("disk",):
        bench.address(1, 2)
        bench.command(0x20)
    else:
        bench.packet(*READ_1)
    assert bench.inb(STATUS) == BUSY
    bench.media[0].failing = False
    bench.machine.retry()
    assert bench.inb(STATUS) == DATA_READY


def _read_the_last(bench: Bench) -> None:
    bench.address(SECTORS - 1, 1)
    bench.command(0x20)


def _wait_for_all(bench: Bench) -> None:
    bench.media[0].failing = True
    bench.address48(0, 0)
    bench.command(0x24)


LEFT: dict[str, tuple[str, Callable[[Bench], object]]] = {
    "standby and idle": ("disk", lambda bench: (bench.command(0xE0), bench.command(0xE1))),
    "standby and seek": ("disk", _stand_by_and_seek),
    "a refused SET MULTIPLE": ("disk", lambda bench: bench.command(0xC6, count=3)),
    "READ NATIVE MAX EXT without LBA": ("disk", lambda bench: bench.command(0x27)),
    "an identification of a disk begun": ("disk", lambda bench: (bench.command(0xEC), bench.read_bytes(100))),
    "a read of a disk that waited": ("disk", _read_after_waiting),
    "a read that waited": ("cdrom", settled(_read_after_waiting)),
    "a command in place of an interrupt": ("disk", lambda bench: (bench.command(0xE1), bench.command(0x30))),
    "the last sector read": ("disk", _read_the_last),
    "65536 sectors that wait": ("disk", _wait_for_all),
    "nothing": ("empty", lambda bench: None),
    "an identification read": ("cdrom", lambda bench: (bench.command(0xA1), bench.read_bytes(512))),
    "an identification begun": ("cdrom", lambda bench: (bench.command(0xA1), bench.read_bytes(100))),
    "a unit attention taken as sense": ("cdrom", lambda bench: bench.sense()),
    "a tray that was open": ("cdrom", settled(_open_and_load)),
    "standby and a read": ("cdrom", settled(lambda bench: (bench.command(0xE0), bench.packet(*READ_1)))),
    "a disc taken away": ("cdrom", settled(lambda bench: bench.machine.devices.disconnect_block("ide0.0"))),
    "a reply in blocks of 2 bytes": ("cdrom", lambda bench: (bench.packet(*INQUIRY, limit=2), bench.read_bytes(2))),
    "a reply in blocks of 4 bytes": ("cdrom", lambda bench: (bench.packet(*INQUIRY, limit=4), bench.read_bytes(2))),
}


@pytest.mark.parametrize("what", LEFT)
def test_a_snapshot_can_hold_what_is_left_by(what: str) -> None:
    kind, act = LEFT[what]
    bench = Bench(kind, on_error="wait")
    act(bench)
    twin = Bench(kind, on_error="wait")
    if kind == "cdrom" and bench.drive().disk is None:
        twin.machine.devices.disconnect_block("ide0.0")
    twin.machine.load(saved(bench.machine), strict=True)
    assert twin.state() == bench.state()


@pytest.mark.parametrize(
    ("packet", "changes", "message"),
    [
        (READ_1, {"kind": TransferKind.READ, "left": 0}, "drive0.transfer: read is not a command of a CD-ROM drive"),
        (None, {"buffer": bytes(510), "length": 510}, "drive0.transfer: length is 510, but IDENTIFY has 512 bytes"),
        (INQUIRY, {"block": 1, "length": 12, "offset": 0}, "drive0.transfer: 24 bytes are left, with blocks of 1"),
        (INQUIRY, {"block": 10, "length": 11, "offset": 0}, "drive0.transfer: 25 bytes are left, with blocks of 10"),
    ],
)
def test_a_cdrom_drive_refuses_another_s_command(
    cd: Bench, packet: tuple[int, ...] | None, changes: dict[str, object], message: str
) -> None:
    if packet is None:
        cd.command(0xA1)
    else:
        cd.packet(*packet, limit=2048)
    assert message in refused(cd, with_transfer(cd.state(), **changes))


@pytest.mark.parametrize(
    ("wait", "changes", "message"),
    [
        (False, {"kind": TransferKind.REPLY, "lba": 0, "left": 0}, "drive0.transfer: reply is not a command of a disk"),
        (True, {"left": 0}, "drive0.transfer: read with no sector left"),
        (True, {"left": 0x10001}, "drive0.transfer: 65537 sectors from 1 on a disk of 4000 sectors"),
        (False, {"lba": SECTORS + 1}, "drive0.transfer: 1 sectors from 4001 on a disk of 4000 sectors"),
    ],
)
def test_a_disk_refuses_what_is_no_transfer_of_its_own(wait: bool, changes: dict[str, object], message: str) -> None:
    bench = Bench(on_error="wait")
    bench.media[0].failing = wait
    bench.address(1, 2)
    bench.command(0x20)
    assert refused(bench, with_transfer(bench.state(), **changes)) == message


def test_a_loaded_write_that_waits_takes_no_more_words() -> None:
    bench = Bench(on_error="wait")
    bench.media[0].failing = True
    bench.address(7, 1)
    bench.command(0x30)
    bench.write_bytes(b"new!" * 128)
    bench = bench.twin()
    bench.write_bytes(b"more")
    bench.machine.retry()
    assert bench.inb(STATUS) == IDLE
    assert bench.read_sectors(7) == b"new!" * 128
    assert bench.read_sectors(8) == content(8 * 512, 512)


def test_a_read_that_waits_has_something_left_to_read() -> None:
    cd = Bench("cdrom", on_error="wait")
    cd.settle()
    cd.media[0].failing = True
    cd.packet(*READ_1)
    assert "drive0.transfer: read-cd waits for no byte" in refused(cd, with_transfer(cd.state(), left=0))


def test_a_disc_keeps_what_was_written_to_it_before_it_was_put_in() -> None:
    drives = []
    for _ in range(2):
        bench, medium = Bench("empty"), Medium(4 * CD_SECTORS)
        bench.machine.devices.connect_block("ide0.0", medium)
        bench.settle()
        drives.append((bench, medium))
    (bench, medium), (twin, _) = drives
    medium.write(2048, b"new!" * 512)
    twin.channel.load(bench.channel.save())
    twin.packet(*READ_1)
    assert twin.reply() == b"new!" * 512


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        ("cdrom", "empty", "drive0 has a disc, but this drive has none: connect or disconnect its backend"),
        ("empty", "cdrom", "drive0 has no disc, but this drive has one: connect or disconnect its backend"),
    ],
)
def test_a_disc_on_one_side_only_is_told(there: str, here: str, message: str) -> None:
    assert refused(Bench(here), Bench(there).state()) == message


def test_another_disc_is_refused() -> None:
    bench, other = Bench("empty"), Bench("cdrom")
    bench.machine.devices.connect_block("ide0.0", Medium(4 * CD_SECTORS, read_only=True, digest=b"other"))
    assert refused(bench, other.state())


@pytest.mark.parametrize(("kind", "event"), [("empty", 0), ("cdrom", 2)])
def test_power_on_finds_a_disc_if_there_is_one(kind: str, event: int) -> None:
    bench = Bench(kind)
    bench.machine.reset()
    bench.packet(0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)
    assert bench.reply()[4] == event


@pytest.mark.parametrize("power_cycle", [False, True])
def test_settings_are_not_kept_over_a_reset_unless_that_is_asked_for_since_power_on(*, power_cycle: bool) -> None:
    bench = Bench()
    if power_cycle:
        bench.command(0xEF, feature=0x66)
        bench.machine.reset()
    bench.command(0xC6, count=2)
    bench.command(0xEF, feature=0x82)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    bench.command(0xEC)
    answer = words(bench.read_bytes(512))
    assert (answer[59], answer[85]) == (0x0110, 0x4021)


def test_a_channel_without_drives_reads_0_in_the_high_bytes_too() -> None:
    bench = Bench("none")
    assert bench.registers() == (0,) * 7
    assert high_bytes(bench) == (0,) * 4


@pytest.mark.parametrize("name", ["model", "serial", "firmware"])
def test_a_string_that_is_no_printable_ascii_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"drive 1: {name} 'A\xe9' is not printable ASCII$"):
        rig({"type": "ide", "drive": [{"unit": 0}, {"unit": 1, name: "A\xe9"}]})


def test_a_disk_that_appears_leaves_the_other_s_device_register_alone() -> None:
    bench = Bench("disk", "absent")
    bench.outb(DEVICE, 0xE5)
    bench.machine.devices.connect_block("ide0.1", Medium())
    assert bench.inb(DEVICE) == 0xE5


@pytest.mark.parametrize("first", ["absent", "none"])
def test_a_software_reset_reaches_drive_1_without_a_drive_0(first: str) -> None:
    bench = Bench(first, "disk")
    bench.outb(DEVICE, DRIVE1)
    bench.outb(COUNT, 7)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    bench.outb(DEVICE, DRIVE1)
    assert bench.registers() == (1, 1, 1, 0, 0, DRIVE1, IDLE)


@pytest.mark.parametrize("kind", ["absent", "empty", "none"])
def test_a_drive_without_a_medium_has_nothing_to_try_again(kind: str) -> None:
    bench = Bench(kind, "none") if kind != "none" else Bench("none", "absent")
    before = bench.state()
    bench.machine.retry()
    assert bench.state() == before


def test_a_disk_that_vanished_is_not_tried_again() -> None:
    bench = Bench(on_error="wait")
    bench.media[0].failing = True
    bench.address(0, 1)
    bench.command(0x20)
    medium = bench.machine.devices.disconnect_block("ide0.0")
    bench.machine.retry()
    assert bench.inb(STATUS) == 0
    bench.machine.devices.connect_block("ide0.0", medium)
    bench.machine.retry()
    assert (bench.inb(STATUS), bench.inb(ERROR), bench.inb(DEVICE)) == (IDLE, 1, LBA & 0x10 | 0xA0)
