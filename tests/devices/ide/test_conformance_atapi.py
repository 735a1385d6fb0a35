"""The CD-ROM drive against SFF-8020i (revision 2.6), MMC-2 (T10/1228D) and ATA/ATAPI-6's PACKET protocol, as tables.

Each row names its section by title: SFF-8020i's are of its clauses "Packet Command Operation" and "Packet Commands".
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.devices.ide.bench import (
    CD_SECTORS,
    COMMAND,
    CONTROL,
    COUNT,
    DATA,
    DATA_READY,
    DEVICE,
    ERROR,
    FAILED,
    FEATURE,
    HCYL,
    IDLE,
    LCYL,
    STATUS,
    Bench,
    Medium,
    content,
)

COD, IO = 0x01, 0x02
PACKET_IN, DATA_IN, DONE = COD, IO, COD | IO
"""Interrupt reasons: the packet goes to the drive, data goes to the host, the command is done."""

Packet = tuple[int, ...]
Sense = tuple[int, int, int]

TEST_UNIT_READY, READ_CAPACITY, SET_SPEED = (0x00,), (0x25,), (0xBB, 0, 2, 0xC4)
EJECT, LOAD, START, STOP = ((0x1B, 0, 0, 0, bits) for bits in (2, 3, 1, 0))
LOCK, UNLOCK = (0x1E, 0, 0, 0, 1), (0x1E, 0, 0, 0, 0)
EVENT = (0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)

NO_SENSE: Sense = (0, 0, 0)
NOT_READY: Sense = (0x2, 0x3A, 0)
MEDIUM_ERROR: Sense = (0x3, 0x11, 0)
INVALID_OPERATION: Sense = (0x5, 0x20, 0)
OUT_OF_RANGE: Sense = (0x5, 0x21, 0)
INVALID_FIELD: Sense = (0x5, 0x24, 0)
NOT_SAVED: Sense = (0x5, 0x39, 0)
REMOVAL_PREVENTED: Sense = (0x5, 0x53, 2)
CHANGED: Sense = (0x6, 0x28, 0)
RESET: Sense = (0x6, 0x29, 0)


def request_sense(allocated: int = 18) -> Packet:
    return (0x03, 0, 0, 0, allocated)


def inquiry(allocated: int = 36, evpd: int = 0, page: int = 0) -> Packet:
    return (0x12, evpd, page, 0, allocated)


def read_10(lba: int, count: int) -> Packet:
    return (0x28, 0, *lba.to_bytes(4, "big"), 0, *count.to_bytes(2, "big"))


def read_12(lba: int, count: int) -> Packet:
    return (0xA8, 0, *lba.to_bytes(4, "big"), *count.to_bytes(4, "big"))


def seek(lba: int) -> Packet:
    return (0x2B, 0, *lba.to_bytes(4, "big"))


def read_toc(first: int = 0, *, msf: bool = False, kind: int = 0, kind_mmc: int = 0, allocated: int = 0xFFFF) -> Packet:
    return (0x43, 2 if msf else 0, kind_mmc, 0, 0, 0, first, *allocated.to_bytes(2, "big"), kind << 6)


def read_disc_information(kind: int = 0, allocated: int = 0xFFFF) -> Packet:
    return (0x51, kind, 0, 0, 0, 0, 0, *allocated.to_bytes(2, "big"))


def read_cd(lba: int, count: int, *, kind: int = 0, fields: int = 0x10, sub: int = 0) -> Packet:
    return (0xBE, kind << 2, *lba.to_bytes(4, "big"), *count.to_bytes(3, "big"), fields, sub)


def mode_sense(page: int, control: int = 0, allocated: int = 0xFFFF) -> Packet:
    return (0x5A, 0, control << 6 | page, 0, 0, 0, 0, *allocated.to_bytes(2, "big"))


def get_configuration(first: int = 0, kind: int = 0, allocated: int = 0xFFFF) -> Packet:
    return (0x46, kind, *first.to_bytes(2, "big"), 0, 0, 0, *allocated.to_bytes(2, "big"))


def get_event(classes: int = 0x10, immediate: int = 1, allocated: int = 8) -> Packet:
    return (0x4A, immediate, 0, 0, classes, 0, 0, *allocated.to_bytes(2, "big"))


def mechanism_status(allocated: int = 8) -> Packet:
    return (0xBD, 0, 0, 0, 0, 0, 0, 0, *allocated.to_bytes(2, "big"))


def bench(kind: str = "cdrom") -> Bench:
    """Return a drive whose unit attention of the power-on has been taken."""
    made = Bench(kind)
    made.settle()
    return made


# -- the PACKET protocol (ATA/ATAPI-6, PACKET; SFF-8020i, "Packet Command Operation") ---------------------------------


@dataclass(frozen=True)
class Phase:
    """What the host sees: Status, interrupt reason, byte count (None: not said) and whether the drive interrupts."""

    status: int
    reason: int
    count: int | None
    interrupts: bool


class Host:
    """A host that carries out packet commands and looks at each phase, by Status or by Alternate Status alone."""

    def __init__(self, drive: Bench, *, reads_status: bool, nien: bool = False) -> None:
        self.drive = drive
        self.reads_status = reads_status
        self.nien = nien
        self.pending = False
        drive.outb(CONTROL, 0x02 if nien else 0)

    def see(self, phase: Phase) -> None:
        drive = self.drive
        self.pending |= phase.interrupts
        assert drive.inb(CONTROL) == phase.status
        assert drive.line == (self.pending and not self.nien)
        assert drive.inb(COUNT) & 0x07 == phase.reason
        if phase.count is not None:
            assert drive.byte_count() == phase.count
        if self.reads_status:
            assert drive.inb(STATUS) == phase.status
            self.pending = False
            assert not drive.line

    def send(self, packet: Packet, limit: int) -> None:
        """Write PACKET and the command packet. The drive asks for it without an interrupt (IDENTIFY word 0)."""
        drive = self.drive
        for port, value in ((DEVICE, 0xA0), (FEATURE, 0), (LCYL, limit & 0xFF), (HCYL, limit >> 8), (COMMAND, 0xA0)):
            drive.outb(port, value)
        self.pending = False  # a command takes the last one's interrupt back
        for at in range(6):
            self.see(Phase(DATA_READY, PACKET_IN, None, interrupts=False))
            pair = (*packet, *[0] * 12)[2 * at : 2 * at + 2]
            drive.outw(DATA, pair[0] | pair[1] << 8)

    def take(self, size: int, *, look: bool) -> bytes:
        """Read a block of `size` bytes, word by word; an odd one is padded to a word."""
        got = bytearray()
        while len(got) < size:
            if look and got:
                self.see(Phase(DATA_READY, DATA_IN, size, interrupts=False))
            got += self.drive.inw(DATA).to_bytes(2, "little")
        return bytes(got[:size])


def carry_out(host: Host, packet: Packet, limit: int, sizes: tuple[int, ...]) -> bytes:
    """Carry out a packet command that succeeds in blocks of these sizes, seeing every phase. Return its data."""
    host.send(packet, limit)
    data = b""
    for size in sizes:
        host.see(Phase(DATA_READY, DATA_IN, size, interrupts=True))
        data += host.take(size, look=sum(sizes) <= 64)
    host.see(Phase(IDLE, DONE, None, interrupts=True))
    assert host.drive.inb(ERROR) == 0
    assert host.drive.inw(DATA) == 0
    return data


@dataclass(frozen=True)
class Split:
    """A byte count limit, and the blocks in which `total` bytes come through it."""

    section: str
    limit: int
    total: int
    sizes: tuple[int, ...]


LIMITS = "PACKET, byte count limit"
SPLITS = (
    Split(LIMITS, 36, 36, (36,)),
    Split(LIMITS, 37, 36, (36,)),
    Split(f"{LIMITS}: even where more follows", 35, 36, (34, 2)),
    Split(LIMITS, 34, 36, (34, 2)),
    Split(LIMITS, 12, 36, (12, 12, 12)),
    Split(f"{LIMITS}: even where more follows", 13, 36, (12, 12, 12)),
    Split(LIMITS, 2, 36, (2,) * 18),
    Split(f"{LIMITS}: even where more follows", 3, 36, (2,) * 18),
    Split(f"{LIMITS}: odd last block", 36, 35, (35,)),
    Split(f"{LIMITS}: odd last block", 35, 35, (35,)),
    Split(f"{LIMITS}: odd last block", 34, 35, (34, 1)),
    Split(f"{LIMITS}: odd last block", 2, 5, (2, 2, 1)),
    Split(f"{LIMITS}: odd last block", 1, 1, (1,)),
    Split(f"{LIMITS}: FFFF is FFFE", 0xFFFF, 36, (36,)),
    Split(LIMITS, 0xFFFE, 36, (36,)),
)


@pytest.mark.parametrize(("reads_status", "nien"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.parametrize("case", SPLITS, ids=lambda case: f"{case.section}, {case.total} by {case.limit}")
def test_a_reply_comes_in_blocks_within_the_limit(case: Split, reads_status: bool, nien: bool) -> None:
    host = Host(bench(), reads_status=reads_status, nien=nien)
    whole = INQUIRY_DATA
    assert carry_out(host, inquiry(case.total), case.limit, case.sizes) == whole[: case.total]
    pending, drive = host.pending, host.drive
    drive.outb(CONTROL, 0)
    assert drive.line == pending  # held back by nIEN, not lost
    drive.inb(STATUS)
    assert not drive.line


READS = (
    (2048, (2048,) * 3),
    (2047, (2046,) * 3 + (6,)),
    (2049, (2048,) * 3),
    (4096, (4096, 2048)),
    (4095, (4094, 2050)),
    (6144, (6144,)),
    (6143, (6142, 2)),
    (1000, (1000,) * 6 + (144,)),
    (0xFFFF, (6144,)),
    (512, (512,) * 12),
)


@pytest.mark.parametrize(("limit", "sizes"), READS)
@pytest.mark.parametrize("packet", [read_10(7, 3), read_12(7, 3)], ids=["READ(10)", "READ(12)"])
def test_a_read_comes_in_blocks_within_the_limit_whatever_the_sectors(
    packet: Packet, limit: int, sizes: tuple[int, ...]
) -> None:
    """SFF-8020i, READ; ATA/ATAPI-6, PACKET: all blocks but the last are even and at most the limit."""
    assert carry_out(Host(bench(), reads_status=True), packet, limit, sizes) == content(7 * 2048, 3 * 2048)


@pytest.mark.parametrize(
    "packet", [TEST_UNIT_READY, SET_SPEED, seek(0), EJECT, LOCK, inquiry(0), read_10(0, 0)], ids=str
)
@pytest.mark.parametrize("limit", [0, 1, 2048])
def test_a_command_without_data_has_no_data_phase_whatever_the_limit(packet: Packet, limit: int) -> None:
    """ATA/ATAPI-6, PACKET: the limit counts for commands that transfer data."""
    assert carry_out(Host(bench(), reads_status=True), packet, limit, ()) == b""


@pytest.mark.parametrize(("limit", "total"), [(0, 36), (0, 1), (1, 36), (1, 2)])
def test_a_limit_that_lets_no_byte_through_aborts(limit: int, total: int) -> None:
    """ATA/ATAPI-6, PACKET: a limit of zero for a command with data aborts; so does 1 where a word is to come."""
    host = Host(bench(), reads_status=True)
    host.send(inquiry(total), limit)
    host.see(Phase(FAILED, DONE, None, interrupts=True))
    assert host.drive.inb(ERROR) == 0x04


@pytest.mark.parametrize("feature", range(8))
def test_packet_with_dma_or_overlap_aborts(feature: int) -> None:
    """ATA/ATAPI-6, PACKET, Features: bit 0 DMA and bit 1 OVL, which the drive does not announce."""
    drive = bench()
    status = drive.command(0xA0, feature=feature)
    assert status == (FAILED if feature & 3 else DATA_READY)
    assert drive.inb(ERROR) == (4 if feature & 3 else 0)
    assert drive.line == bool(feature & 3)


# -- what each command answers ----------------------------------------------------------------------------------------

INQUIRY_DATA = bytes((5, 0x80, 0, 0x21, 31, 0, 0, 0)) + b"CHKPT   " + b"CD-ROM          " + b"    "
TRACK_1, LEAD_OUT = (0, 0x14, 1, 0), (0, 0x14, 0xAA, 0)
RECOVERY = bytes((0x01, 6, 0, 5, 0, 0, 0, 0))
AUDIO = bytes((0x0E, 14, 4)) + bytes(13)
CAPABILITIES = bytes((0x2A, 18, 0x0B, 0, 0, 0, 0x29, 0, 2, 0xC2, 0, 0, 2, 0, 2, 0xC2, 0, 0, 0, 0))
PROFILES = bytes((0, 0, 0x03, 8, 0, 0x10, 0, 0, 0, 0x08, 1, 0))
CORE = bytes((0, 1, 0x03, 4, 0, 0, 0, 2))
REMOVABLE = bytes((0, 3, 0x03, 4, 0x29, 0, 0, 0))


def mode(pages: bytes, medium: int = 0x01) -> bytes:
    """Return mode pages behind their header of eight bytes (SFF-8020i, MODE SENSE)."""
    return bytes((0, 6 + len(pages), medium, 0, 0, 0, 0, 0)) + pages


def changeable(page: bytes) -> bytes:
    return page[:2] + bytes(len(page) - 2)


def features(*which: bytes) -> bytes:
    """Return features behind their header (MMC-2, GET CONFIGURATION): the current profile is CD-ROM."""
    body = b"".join(which)
    return (4 + len(body)).to_bytes(4, "big") + bytes((0, 0, 0, 0x08)) + body


@dataclass(frozen=True)
class Answer:
    section: str
    name: str
    packet: Packet
    data: bytes


FULL_TOC = bytes((
    *(0, 46, 1, 1),  # 46 bytes follow; sessions 1 to 1
    *(1, 0x14, 0, 0xA0, 0, 0, 0, 0, 1, 0, 0),  # point A0: the first track, and that the disc is not of CD-I or XA
    *(1, 0x14, 0, 0xA1, 0, 0, 0, 0, 1, 0, 0),  # point A1: the last track
    *(1, 0x14, 0, 0xA2, 0, 0, 0, 0, 0, 11, 25),  # point A2: the lead-out, in minutes, seconds and frames
    *(1, 0x14, 0, 0x01, 0, 0, 0, 0, 0, 2, 0),  # point 1: track 1, two seconds in
))  # fmt: skip
DISC_INFORMATION = bytes((0, 32, 0x0E, 1, 1, 1, 1, 0x20, 0, *bytes(25)))

ANSWERS = (
    Answer("SFF-8020i, TEST UNIT READY", "ready", TEST_UNIT_READY, b""),
    Answer("SFF-8020i, INQUIRY", "standard data", inquiry(), INQUIRY_DATA),
    Answer("SFF-8020i, INQUIRY", "no more than there is", inquiry(255), INQUIRY_DATA),
    Answer("SFF-8020i, INQUIRY", "cut to the allocation", inquiry(5), INQUIRY_DATA[:5]),
    Answer("SFF-8020i, INQUIRY", "no allocation is no error", inquiry(0), b""),
    Answer("SFF-8020i, REQUEST SENSE", "no sense", request_sense(), bytes((0x70, *[0] * 6, 10, *[0] * 10))),
    Answer("SFF-8020i, REQUEST SENSE", "cut to the allocation", request_sense(3), bytes((0x70, 0, 0))),
    Answer("SFF-8020i, READ CD-ROM CAPACITY", "last sector", READ_CAPACITY, bytes((0, 0, 2, 0xBB, 0, 0, 8, 0))),
    Answer("SFF-8020i, READ(10)", "first", read_10(0, 1), content(0, 2048)),
    Answer("SFF-8020i, READ(10)", "last", read_10(CD_SECTORS - 1, 1), content(2048 * (CD_SECTORS - 1), 2048)),
    Answer("SFF-8020i, READ(12)", "last", read_12(CD_SECTORS - 1, 1), content(2048 * (CD_SECTORS - 1), 2048)),
    Answer("SFF-8020i, READ", "none is no error", read_10(5, 0), b""),
    Answer("SFF-8020i, READ", "none is no error, (12)", read_12(5, 0), b""),
    Answer("SFF-8020i, SEEK", "to the last", seek(CD_SECTORS - 1), b""),
    Answer("SFF-8020i, READ TOC format 0", "LBA", read_toc(),
           bytes((0, 18, 1, 1, *TRACK_1, 0, 0, 0, 0, *LEAD_OUT, 0, 0, 2, 0xBC))),
    Answer("SFF-8020i, READ TOC format 0", "MSF", read_toc(msf=True),
           bytes((0, 18, 1, 1, *TRACK_1, 0, 0, 2, 0, *LEAD_OUT, 0, 0, 11, 25))),
    Answer("SFF-8020i, READ TOC format 0", "from track 1", read_toc(1),
           bytes((0, 18, 1, 1, *TRACK_1, 0, 0, 0, 0, *LEAD_OUT, 0, 0, 2, 0xBC))),
    Answer("SFF-8020i, READ TOC format 0", "from the lead-out", read_toc(0xAA),
           bytes((0, 10, 1, 1, *LEAD_OUT, 0, 0, 2, 0xBC))),
    Answer("SFF-8020i, READ TOC format 0", "cut to the allocation", read_toc(allocated=4), bytes((0, 18, 1, 1))),
    Answer("SFF-8020i, READ TOC format 1", "LBA", read_toc(kind=1), bytes((0, 10, 1, 1, *TRACK_1, 0, 0, 0, 0))),
    Answer("SFF-8020i, READ TOC format 1", "MSF", read_toc(kind=1, msf=True),
           bytes((0, 10, 1, 1, *TRACK_1, 0, 0, 2, 0))),
    Answer("MMC-2, READ TOC format 1", "in byte 2", read_toc(kind_mmc=1), bytes((0, 10, 1, 1, *TRACK_1, 0, 0, 0, 0))),
    Answer("MMC-2, READ TOC format 2", "all sessions", read_toc(kind_mmc=2), FULL_TOC),
    Answer("MMC-2, READ TOC format 2", "in byte 9", read_toc(kind=2), FULL_TOC),
    Answer("MMC-2, READ TOC format 2", "always MSF", read_toc(kind_mmc=2, msf=True), FULL_TOC),
    Answer("MMC-2, READ TOC format 2", "from session 1", read_toc(1, kind_mmc=2), FULL_TOC),
    Answer("MMC-2, READ TOC format 2", "cut to the allocation", read_toc(kind_mmc=2, allocated=15), FULL_TOC[:15]),
    Answer("MMC-2, READ DISC INFORMATION", "a finalised disc", read_disc_information(), DISC_INFORMATION),
    Answer("MMC-2, READ DISC INFORMATION", "cut to the allocation", read_disc_information(0, 2), DISC_INFORMATION[:2]),
    Answer("MMC-2, READ CD", "user data", read_cd(0, 1), content(0, 2048)),
    Answer("MMC-2, READ CD", "of mode 1", read_cd(CD_SECTORS - 1, 1, kind=2), content(2048 * (CD_SECTORS - 1), 2048)),
    Answer("MMC-2, READ CD", "several", read_cd(3, 2), content(3 * 2048, 4096)),
    Answer("MMC-2, READ CD", "no field of the sectors", read_cd(3, 2, fields=0), b""),
    Answer("MMC-2, READ CD", "none is no error", read_cd(3, 0), b""),
    Answer("SFF-8020i, MODE SENSE", "error recovery", mode_sense(0x01), mode(RECOVERY)),
    Answer("SFF-8020i, MODE SENSE", "audio control", mode_sense(0x0E), mode(AUDIO)),
    Answer("SFF-8020i, MODE SENSE", "capabilities", mode_sense(0x2A), mode(CAPABILITIES)),
    Answer("SFF-8020i, MODE SENSE", "all, in order", mode_sense(0x3F), mode(RECOVERY + AUDIO + CAPABILITIES)),
    Answer("SFF-8020i, MODE SENSE", "changeable", mode_sense(0x2A, 1), mode(changeable(CAPABILITIES))),
    Answer("SFF-8020i, MODE SENSE", "default", mode_sense(0x2A, 2), mode(CAPABILITIES)),
    Answer("SFF-8020i, MODE SENSE", "cut to the allocation", mode_sense(0x2A, 0, 8), mode(CAPABILITIES)[:8]),
    Answer("MMC-2, GET CONFIGURATION", "all", get_configuration(), features(PROFILES, CORE, REMOVABLE)),
    Answer("MMC-2, GET CONFIGURATION", "current ones", get_configuration(0, 1), features(PROFILES, CORE, REMOVABLE)),
    Answer("MMC-2, GET CONFIGURATION", "from 1", get_configuration(1), features(CORE, REMOVABLE)),
    Answer("MMC-2, GET CONFIGURATION", "from 2", get_configuration(2), features(REMOVABLE)),
    Answer("MMC-2, GET CONFIGURATION", "only 1", get_configuration(1, 2), features(CORE)),
    Answer("MMC-2, GET CONFIGURATION", "only 2, which is not there", get_configuration(2, 2), features()),
    Answer("MMC-2, GET CONFIGURATION", "beyond the last", get_configuration(4), features()),
    Answer("MMC-2, GET EVENT STATUS NOTIFICATION", "new media since power-on", get_event(),
           bytes((0, 6, 4, 0x10, 2, 2, 0, 0))),
    Answer("MMC-2, GET EVENT STATUS NOTIFICATION", "a class that is not there", get_event(0x02),
           bytes((0, 2, 0x80, 0x10))),
    Answer("MMC-2, GET EVENT STATUS NOTIFICATION", "the header alone", get_event(allocated=4),
           bytes((0, 6, 4, 0x10))),
    Answer("SFF-8020i, MECHANISM STATUS", "closed", mechanism_status(), bytes((0, 0, 0, 0, 0, 1, 0, 0))),
    Answer("SFF-8020i, SET CD SPEED", "taken", SET_SPEED, b""),
    Answer("SFF-8020i, START/STOP UNIT", "start", START, b""),
    Answer("SFF-8020i, START/STOP UNIT", "stop", STOP, b""),
    Answer("SFF-8020i, START/STOP UNIT", "load what is loaded", LOAD, b""),
    Answer("SFF-8020i, PREVENT/ALLOW MEDIUM REMOVAL", "prevent", LOCK, b""),
    Answer("SFF-8020i, PREVENT/ALLOW MEDIUM REMOVAL", "allow", UNLOCK, b""),
)  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: f"{case.section}: {case.name}")
def test_a_packet_command_answers(case: Answer) -> None:
    drive = bench()
    sizes = (len(case.data),) if case.data else ()
    assert carry_out(Host(drive, reads_status=True), case.packet, 0xFFFE, sizes) == case.data
    assert drive.sense() == NO_SENSE


# -- what each command fails with -------------------------------------------------------------------------------------


def no_disc() -> Bench:
    return bench("empty")


def open_tray() -> Bench:
    drive = bench()
    drive.packet(*EJECT)
    return drive


def locked() -> Bench:
    drive = bench()
    drive.packet(*LOCK)
    return drive


def scratched() -> Bench:
    drive = bench()
    drive.media[0].failing = True
    return drive


@dataclass(frozen=True)
class Failure:
    section: str
    name: str
    packet: Packet
    sense: Sense
    make: Callable[[], Bench] = bench


NEED_A_DISC = {
    "TEST UNIT READY": TEST_UNIT_READY,
    "READ CD-ROM CAPACITY": READ_CAPACITY,
    "READ(10)": read_10(0, 1),
    "READ(12)": read_12(0, 1),
    "SEEK": seek(0),
    "READ TOC": read_toc(),
    "READ DISC INFORMATION": read_disc_information(),
    "READ CD": read_cd(0, 1),
    "START/STOP UNIT": START,
}
FAILURES = (
    *(Failure(f"SFF-8020i, {name}", "no disc", packet, NOT_READY, no_disc) for name, packet in NEED_A_DISC.items()),
    *(Failure(f"SFF-8020i, {name}", "open tray", packet, NOT_READY, open_tray) for name, packet in NEED_A_DISC.items()),
    Failure("SFF-8020i, READ(10)", "past the end", read_10(CD_SECTORS, 1), OUT_OF_RANGE),
    Failure("SFF-8020i, READ(10)", "across the end", read_10(CD_SECTORS - 1, 2), OUT_OF_RANGE),
    Failure("SFF-8020i, READ(10)", "the last address", read_10(0xFFFFFFFF, 0xFFFF), OUT_OF_RANGE),
    Failure("SFF-8020i, READ(12)", "past the end", read_12(CD_SECTORS, 1), OUT_OF_RANGE),
    Failure("SFF-8020i, READ(12)", "across the end", read_12(CD_SECTORS - 1, 2), OUT_OF_RANGE),
    Failure("SFF-8020i, READ(12)", "the longest", read_12(0, 0xFFFFFFFF), OUT_OF_RANGE),
    Failure("SFF-8020i, READ(10)", "the medium fails", read_10(0, 1), MEDIUM_ERROR, scratched),
    Failure("SFF-8020i, READ(12)", "the medium fails", read_12(0, 1), MEDIUM_ERROR, scratched),
    Failure("SFF-8020i, SEEK", "past the end", seek(CD_SECTORS), OUT_OF_RANGE),
    Failure("SFF-8020i, INQUIRY", "vital product data", inquiry(36, 1), INVALID_FIELD),
    Failure("SFF-8020i, INQUIRY", "a page", inquiry(36, 0, 0x80), INVALID_FIELD),
    Failure("SFF-8020i, READ TOC", "track 2", read_toc(2), INVALID_FIELD),
    Failure("SFF-8020i, READ TOC", "track 99", read_toc(99), INVALID_FIELD),
    Failure("SFF-8020i, READ TOC", "format 3", read_toc(kind=3), INVALID_FIELD),
    Failure("MMC-2, READ TOC format 2", "session 2", read_toc(2, kind_mmc=2), INVALID_FIELD),
    Failure("MMC-2, READ DISC INFORMATION", "of a rewritable disc", read_disc_information(1), INVALID_FIELD),
    Failure("MMC-2, READ CD", "past the end", read_cd(CD_SECTORS, 1), OUT_OF_RANGE),
    Failure("MMC-2, READ CD", "across the end, no field", read_cd(CD_SECTORS - 1, 2, fields=0), OUT_OF_RANGE),
    Failure("MMC-2, READ CD", "the longest", read_cd(0, 0xFFFFFF), OUT_OF_RANGE),
    Failure("MMC-2, READ CD", "the medium fails", read_cd(0, 1), MEDIUM_ERROR, scratched),
    *(Failure("MMC-2, READ CD", f"sectors of type {kind}", read_cd(0, 1, kind=kind), (0x05, 0x64, 0x00))
      for kind in (1, 3, 4, 5, 6, 7)),
    *(Failure("MMC-2, READ CD", f"fields {fields:02x}", read_cd(0, 1, fields=fields), INVALID_FIELD)
      for fields in (0xF8, 0x80, 0x18, 0x12, 0x08)),
    Failure("MMC-2, READ CD", "a sub-channel", read_cd(0, 1, sub=1), INVALID_FIELD),
    Failure("MMC-2, READ TOC", "format 5", read_toc(kind_mmc=5), INVALID_FIELD),
    Failure("SFF-8020i, MODE SENSE", "no such page", mode_sense(0x0D), INVALID_FIELD),
    Failure("SFF-8020i, MODE SENSE", "page 0", mode_sense(0x00), INVALID_FIELD),
    Failure("SFF-8020i, MODE SENSE", "saved values", mode_sense(0x2A, 3), NOT_SAVED),
    Failure("SFF-8020i, MODE SENSE", "saved values of no page", mode_sense(0x0D, 3), NOT_SAVED),
    Failure("MMC-2, GET EVENT STATUS NOTIFICATION", "not at once", get_event(immediate=0), INVALID_FIELD),
    Failure("SFF-8020i, START/STOP UNIT", "eject while locked", EJECT, REMOVAL_PREVENTED, locked),
    *(Failure("SFF-8020i, packet commands", f"{code:02x} is not there", (code,), INVALID_OPERATION)
      for code in (0x01, 0x04, 0x08, 0x0A, 0x15, 0x1A, 0x2A, 0x42, 0x45, 0x47, 0x4B, 0x55, 0xB9, 0xBA, 0xFF)),
)  # fmt: skip


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: f"{case.section}: {case.name}")
def test_a_packet_command_fails_with_its_sense(case: Failure) -> None:
    """SFF-8020i, ATAPI Error register: CHECK in Status, the sense key in Error's upper half; then REQUEST SENSE."""
    drive = case.make()
    host = Host(drive, reads_status=True)
    host.send(case.packet, 0xFFFE)
    host.see(Phase(FAILED, DONE, None, interrupts=True))
    key, code, qualifier = case.sense
    assert drive.inb(ERROR) == key << 4
    sense = bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0))
    assert carry_out(host, request_sense(), 0xFFFE, (18,)) == sense
    assert drive.sense() == NO_SENSE  # taken once


def test_every_code_that_is_not_there_is_an_invalid_operation() -> None:
    """SFF-8020i, "Packet Commands": all but the seventeen that docs/DEVICES.md names."""
    there = {0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xA8, 0xBB, 0xBD, 0xBE}
    drive = bench()
    for code in set(range(256)) - there:
        assert drive.packet(code) == FAILED, hex(code)
        assert drive.sense() == INVALID_OPERATION, hex(code)


# -- sense, unit attention, tray, lock and events, as stories ---------------------------------------------------------

Step = tuple[str | Packet, object]
"""A packet command and its sense (NO_SENSE: it succeeds), or its data; or something that happens to the drive."""


def event(code: int, status: int) -> bytes:
    """Return the answer to GET EVENT STATUS NOTIFICATION: bit 0 of the status is the tray, bit 1 a disc."""
    return bytes((0, 6, 4, 0x10, code, status, 0, 0))


NOTHING, NEW, REMOVED = 0, 2, 3
STORIES: dict[str, tuple[Step, ...]] = {
    "SFF-8020i, Unit Attention: power-on fails the first command, once": (
        ("power on", None), (TEST_UNIT_READY, RESET), (TEST_UNIT_READY, NO_SENSE),
    ),
    "SFF-8020i, Unit Attention: INQUIRY does not take it": (
        ("power on", None), (inquiry(), INQUIRY_DATA), (TEST_UNIT_READY, RESET),
    ),
    "SFF-8020i, Unit Attention: REQUEST SENSE takes it": (
        ("power on", None), ("sense", RESET), (TEST_UNIT_READY, NO_SENSE),
    ),
    "MMC-2, Unit Attention: events and configuration do not take it": (
        ("power on", None), (EVENT, event(NEW, 2)), (get_configuration(1, 2), features(CORE)), (TEST_UNIT_READY, RESET),
    ),
    "SFF-8020i, Unit Attention: the failed command is not carried out": (
        ("power on", None), (EJECT, RESET), (mechanism_status(), bytes((0, 0, 0, 0, 0, 1, 0, 0))),
    ),
    "SFF-8020i, Unit Attention: also a command that is not there": (
        ("power on", None), ((0xFF,), RESET), ((0xFF,), INVALID_OPERATION),
    ),
    "SFF-8020i, Unit Attention: a reset outranks a change of medium": (
        ("power on", None), ("new disc", None), (TEST_UNIT_READY, RESET), (TEST_UNIT_READY, NO_SENSE),
    ),
    "SFF-8020i, Unit Attention: a medium changed since": (
        ("new disc", None), (TEST_UNIT_READY, CHANGED), (TEST_UNIT_READY, NO_SENSE),
    ),
    "SFF-8020i, Unit Attention: two changes are reported once": (
        ("new disc", None), ("new disc", None), (TEST_UNIT_READY, CHANGED), (TEST_UNIT_READY, NO_SENSE),
    ),
    "SFF-8020i, Unit Attention: comes before the drive is not ready": (
        ("new disc", None), ("no disc", None), (TEST_UNIT_READY, CHANGED), (TEST_UNIT_READY, NOT_READY),
    ),
    "SFF-8020i, REQUEST SENSE: a sense comes before a unit attention": (
        ((0xFF,), None), ("new disc", None), ("sense", INVALID_OPERATION), ("sense", CHANGED), ("sense", NO_SENSE),
    ),
    "SFF-8020i, REQUEST SENSE: a success clears the sense": (
        ((0xFF,), None), (TEST_UNIT_READY, NO_SENSE), ("sense", NO_SENSE),
    ),
    "SFF-8020i, REQUEST SENSE: the last failure is reported": (
        ((0xFF,), None), (mode_sense(0), None), ("sense", INVALID_FIELD), ("sense", NO_SENSE),
    ),
    "SFF-8020i, REQUEST SENSE: a cut answer has taken it": (
        ((0xFF,), None), (request_sense(2), bytes((0x70, 0))), ("sense", NO_SENSE),
    ),
    "ATA/ATAPI-6, software reset: sense, attention and lock stay": (
        (LOCK, NO_SENSE), ((0xFF,), None), ("SRST", None), ("sense", INVALID_OPERATION), (EJECT, REMOVAL_PREVENTED),
        ("new disc", None), ("SRST", None), (TEST_UNIT_READY, CHANGED),
    ),
    "ATA/ATAPI-6, DEVICE RESET: sense and attention stay": (
        ((0xFF,), None), ("DEVICE RESET", None), ("sense", INVALID_OPERATION),
        ("new disc", None), ("DEVICE RESET", None), (TEST_UNIT_READY, CHANGED),
    ),
    "SFF-8020i, PREVENT/ALLOW: power-on allows": (
        (LOCK, NO_SENSE), ("power on", None), ("sense", RESET), (EJECT, NO_SENSE),
    ),
    "SFF-8020i, START/STOP UNIT: eject, then load": (
        (EJECT, NO_SENSE), (TEST_UNIT_READY, NOT_READY), (mechanism_status(), bytes((0, 0x10, 0, 0, 0, 1, 0, 0))),
        (LOAD, NO_SENSE), (TEST_UNIT_READY, CHANGED), (TEST_UNIT_READY, NO_SENSE),
    ),
    "SFF-8020i, START/STOP UNIT: eject twice": ((EJECT, NO_SENSE), (EJECT, NO_SENSE)),
    "SFF-8020i, START/STOP UNIT: what is open ejects though locked": (
        (EJECT, NO_SENSE), (LOCK, NO_SENSE), (EJECT, NO_SENSE), (LOAD, NO_SENSE),
        ("sense", CHANGED), (EJECT, REMOVAL_PREVENTED), (UNLOCK, NO_SENSE), (EJECT, NO_SENSE),
    ),
    "SFF-8020i, START/STOP UNIT: a power condition moves nothing (MMC-2)": (
        ((0x1B, 0, 0, 0, 0x32), NO_SENSE), (TEST_UNIT_READY, NO_SENSE),
    ),
    "SFF-8020i, START/STOP UNIT: stop leaves the disc readable": (
        (STOP, NO_SENSE), (read_10(3, 1), content(3 * 2048, 2048)),
    ),
    "SFF-8020i, START/STOP UNIT: loading nothing changes no medium": (
        ("no disc", None), (EJECT, NO_SENSE), (LOAD, NO_SENSE), (TEST_UNIT_READY, NOT_READY), ("sense", NO_SENSE),
    ),
    "SFF-8020i, MODE SENSE: medium types and the lock": (
        (LOCK, NO_SENSE),
        (mode_sense(0x2A), mode(CAPABILITIES[:6] + b"\x2b" + CAPABILITIES[7:])),
        (mode_sense(0x2A, 2), mode(CAPABILITIES)),
        (UNLOCK, NO_SENSE), (EJECT, NO_SENSE), (mode_sense(0x01), mode(RECOVERY, 0x71)),
        ("no disc", None), (LOAD, NO_SENSE), (mode_sense(0x01), mode(RECOVERY, 0x70)),
    ),
    "MMC-2, GET EVENT STATUS NOTIFICATION: each event once": (
        (EVENT, event(NEW, 2)), (EVENT, event(NOTHING, 2)),
        (EJECT, NO_SENSE), (EVENT, event(REMOVED, 1)), (EVENT, event(NOTHING, 1)),
        (LOAD, NO_SENSE), (EVENT, event(NEW, 2)), ("sense", CHANGED),
    ),
    "MMC-2, GET EVENT STATUS NOTIFICATION: the last event counts": (
        (EJECT, NO_SENSE), (LOAD, NO_SENSE), (EVENT, event(NEW, 2)), (EVENT, event(NOTHING, 2)),
    ),
    "MMC-2, GET EVENT STATUS NOTIFICATION: a header alone takes no event": (
        (get_event(allocated=4), event(NEW, 2)[:4]), (EVENT, event(NEW, 2)),
    ),
    "MMC-2, GET EVENT STATUS NOTIFICATION: other classes take no event": (
        (get_event(0x02), bytes((0, 2, 0x80, 0x10))), (EVENT, event(NEW, 2)),
    ),
    "MMC-2, GET EVENT STATUS NOTIFICATION: the disc is taken away": (
        ("no disc", None), (EVENT, event(REMOVED, 0)), ("new disc", None), (EVENT, event(NEW, 2)),
    ),
    "MMC-2, GET EVENT STATUS NOTIFICATION: an empty tray has no event": (
        ("no disc", None), (EVENT, event(REMOVED, 0)), (EJECT, NO_SENSE), (EVENT, event(NOTHING, 1)),
    ),
}  # fmt: skip
"""Stories begin with a drive whose power-on attention was taken, a disc in it, and the event of that disc untold."""


def happen(drive: Bench, what: str) -> None:
    devices = drive.machine.devices
    match what:
        case "power on":
            drive.machine.reset()
        case "SRST":
            drive.outb(CONTROL, 0x04)
            drive.outb(CONTROL, 0x00)
        case "DEVICE RESET":
            drive.outb(COMMAND, 0x08)
        case "no disc":
            devices.disconnect_block("ide0.0")
        case "new disc":
            if drive.media:
                devices.disconnect_block("ide0.0")
            drive.media[0] = Medium(4 * CD_SECTORS, read_only=True)
            devices.connect_block("ide0.0", drive.media[0])


@pytest.mark.parametrize("story", STORIES)
def test_sense_attention_tray_lock_and_events(story: str) -> None:
    drive = bench()
    for number, (what, expected) in enumerate(STORIES[story]):
        where = f"step {number}: {what}"
        if what == "sense":
            assert drive.sense() == expected, where
        elif isinstance(what, str):
            happen(drive, what)
            if what == "no disc":
                drive.media.clear()
        elif isinstance(expected, bytes):
            assert drive.packet(*what) == DATA_READY, where
            assert drive.reply() == expected, where
        elif expected is None:
            assert drive.packet(*what) == FAILED, where  # its sense is looked at later
        elif expected == NO_SENSE:
            assert drive.packet(*what) == IDLE, where
        else:
            assert drive.packet(*what) == FAILED, where
            assert drive.sense() == expected, where
