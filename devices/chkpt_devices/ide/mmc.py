"""The replies of a CD-ROM drive to packet commands, byte by byte.

Source: SFF-8020i revision 2.6; MMC-2 (T10/1228D) for GET CONFIGURATION, GET EVENT STATUS NOTIFICATION, READ DISC
INFORMATION, READ CD, and format 2 of READ TOC.
Numbers of more than one byte are big-endian.
"""

from enum import IntEnum
from struct import pack
from typing import Final

from chkpt_devices.ide.config import DriveConfig, model_of
from chkpt_devices.ide.state import MediaEvent

CD_SECTOR: Final = 2048
"""Bytes of data in a mode 1 sector."""

LARGEST_CD: Final = 80 * 60 * 75
"""Sectors on a CD of 80 minutes. A larger image is taken for a DVD, as in QEMU."""


class Packet(IntEnum):
    """Operation codes, the first byte of a command packet."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    INQUIRY = 0x12
    START_STOP = 0x1B
    PREVENT_ALLOW = 0x1E
    READ_CAPACITY = 0x25
    READ_10 = 0x28
    SEEK = 0x2B
    READ_TOC = 0x43
    GET_CONFIGURATION = 0x46
    GET_EVENT = 0x4A
    READ_DISC_INFORMATION = 0x51
    MODE_SENSE = 0x5A
    READ_12 = 0xA8
    SET_SPEED = 0xBB
    MECHANISM_STATUS = 0xBD
    READ_CD = 0xBE


# Sense keys (SFF-8020i)
NOT_READY: Final = 0x2
MEDIUM_ERROR: Final = 0x3
ILLEGAL_REQUEST: Final = 0x5
UNIT_ATTENTION: Final = 0x6

# Additional sense codes (SFF-8020i)
UNRECOVERED_READ: Final = 0x11
INVALID_OPERATION: Final = 0x20
ADDRESS_OUT_OF_RANGE: Final = 0x21
INVALID_FIELD: Final = 0x24
SAVING_UNSUPPORTED: Final = 0x39
MEDIUM_NOT_PRESENT: Final = 0x3A
LOAD_OR_EJECT_FAILED: Final = 0x53
REMOVAL_PREVENTED: Final = 0x02  # qualifier of the code above
ILLEGAL_MODE: Final = 0x64  # for this track (MMC-2)

# READ CD (MMC-2): what is asked of each sector
ANY_TYPE: Final = 0
MODE_1: Final = 2
USER_DATA: Final = 0x10
MAIN_CHANNEL: Final = 0xFE  # every field of a sector's main channel, and error information
SUB_CHANNEL: Final = 0x07

ERROR_RECOVERY_PAGE: Final = 0x01
AUDIO_PAGE: Final = 0x0E
CAPABILITIES_PAGE: Final = 0x2A
ALL_PAGES: Final = 0x3F

MEDIA_CLASS: Final = 4
"""Notification class of media events."""

LEAD_OUT: Final = 0xAA
"""Track number of the lead-out in a table of contents."""

DATA_TRACK: Final = 0x14
"""ADR 1 (position) and control 4 (data track)."""

PROFILE_CD: Final = 0x0008
PROFILE_DVD: Final = 0x0010


def inquiry(config: DriveConfig) -> bytes:
    """Return standard INQUIRY data. The first word of the model is the vendor, the rest the product."""
    vendor, _, product = model_of(config).partition(" ")
    return pack(
        ">BBBBBxxx8s16s4s",
        0x05,  # a CD-ROM drive
        0x80,  # its medium is removable
        0x00,  # no ANSI version: SFF-8020i
        0x21,  # ATAPI version 2, response format 1
        31,  # bytes after this one
        vendor.encode("ascii").ljust(8),  # the format cuts a longer name
        product.encode("ascii").ljust(16),
        config.firmware.encode("ascii").ljust(4),
    )


def sense_data(key: int, code: int, qualifier: int) -> bytes:
    """Return the answer to REQUEST SENSE: a current error, without an address."""
    return pack(">BBB4xB4xBB4x", 0x70, 0, key, 10, code, qualifier)


def address_of(lba: int, *, msf: bool) -> bytes:
    """Return a disc address: the LBA, or minutes, seconds and frames from the end of the lead-in."""
    if not msf:
        return pack(">I", lba)
    second, frame = divmod(lba + 150, 75)  # the first two seconds come before LBA 0
    minute, second = divmod(second, 60)
    return bytes((0, minute & 0xFF, second, frame))


def table_of_contents(sectors: int, first: int, *, msf: bool) -> bytes | None:
    """Return format 0: one data track and the lead-out, from track `first` on; None if there is no such track."""
    if first > 1 and first != LEAD_OUT:
        return None
    tracks = bytes((0, DATA_TRACK, LEAD_OUT, 0)) + address_of(sectors, msf=msf)
    if first != LEAD_OUT:
        tracks = bytes((0, DATA_TRACK, 1, 0)) + address_of(0, msf=msf) + tracks
    return pack(">HBB", 2 + len(tracks), 1, 1) + tracks


def session_information(*, msf: bool) -> bytes:
    """Return format 1: one session, which begins with track 1."""
    return pack(">HBB", 10, 1, 1) + bytes((0, DATA_TRACK, 1, 0)) + address_of(0, msf=msf)


def full_table_of_contents(sectors: int, session: int) -> bytes | None:
    """Return format 2, the lead-in's entries from a session on; None if there is no such session.

    Its addresses are always minutes, seconds and frames.
    """
    if session > 1:
        return None
    points = (
        (0xA0, bytes((1, 0, 0))),  # the first track; a disc of CD-ROM or CD-DA
        (0xA1, bytes((1, 0, 0))),  # the last track
        (0xA2, address_of(sectors, msf=True)[1:]),  # the lead-out
        (1, address_of(0, msf=True)[1:]),
    )
    rows = b"".join(bytes((1, DATA_TRACK, 0, point, 0, 0, 0, 0)) + address for point, address in points)
    return pack(">HBB", 2 + len(rows), 1, 1) + rows


def disc_information() -> bytes:
    """Return the answer to READ DISC INFORMATION: a finalised disc of one session with one track, not rewritable."""
    return pack(
        ">HBBBBBBB25x",
        32,  # bytes after these two
        0x0E,  # the last session is complete, and so is the disc
        1,  # first track
        1,  # sessions
        1,  # first track of the last session
        1,  # last track of the last session
        0x20,  # URU: unrestricted use
        0x00,  # a disc of CD-ROM or CD-DA
    )


def _page(page: int, *, locked: bool, speed: int) -> bytes:
    if page == ERROR_RECOVERY_PAGE:
        return bytes((page, 6, 0, 5, 0, 0, 0, 0))  # five tries to read a sector
    if page == AUDIO_PAGE:
        return bytes((page, 14, 4)) + bytes(13)  # play commands return at once
    return pack(
        ">BBBBBBBBHHHHxxxx",
        page,
        18,  # bytes after this one
        0x0B,  # reads CD-R, CD-RW and DVD-ROM
        0x00,  # writes nothing
        0x00,
        0x00,
        0x29 | (0x02 if locked else 0),  # tray, can eject, can lock, is locked
        0x00,
        speed,
        0,  # no volume levels
        512,  # KiB of buffer
        speed,
    )


def mode_sense(page: int, control: int, medium: int, *, locked: bool) -> bytes | None:
    """Return the header and mode page `page`, None if there is no such page.

    `control` is 0 for the current values, 1 for what can be changed (nothing), 2 for the values at power-on.
    `medium` is the medium type code of the header.
    """
    known = (ERROR_RECOVERY_PAGE, AUDIO_PAGE, CAPABILITIES_PAGE)
    wanted = known if page == ALL_PAGES else (page,)
    if not set(wanted) <= set(known):
        return None
    pages = b""
    for each in wanted:
        content = _page(each, locked=locked and control == 0, speed=706)  # KB/s, 4 times that of an audio CD
        pages += content[:2] + bytes(len(content) - 2) if control == 1 else content
    return pack(">HB5x", 6 + len(pages), medium) + pages


def configuration(first: int, *, only: bool, profile: int) -> bytes:
    """Return the features from number `first` on, or only that one. `profile` is the current one, 0 without a disc."""
    features = {
        0x0000: pack(">BBHBxHBx", 0x03, 8, PROFILE_DVD, profile == PROFILE_DVD, PROFILE_CD, profile == PROFILE_CD),
        0x0001: pack(">BBI", 0x03, 4, 2),  # core: the interface is ATAPI
        0x0003: pack(">BBBxxx", 0x03, 4, 0x29),  # removable medium: tray, can eject, can lock
    }
    chosen = b""
    for number, content in features.items():
        if number == first or (number > first and not only):
            chosen += pack(">H", number) + content
    return pack(">IxxH", 4 + len(chosen), profile) + chosen


def media_event(classes: int, event: MediaEvent, *, tray_open: bool, present: bool) -> bytes:
    """Return the answer to GET EVENT STATUS NOTIFICATION for the requested classes, of which media is supported."""
    if not classes & 1 << MEDIA_CLASS:
        return pack(">HBB", 2, 0x80, 1 << MEDIA_CLASS)  # NEA: no event of these classes
    return pack(">HBBBBxx", 6, MEDIA_CLASS, 1 << MEDIA_CLASS, event, tray_open | present << 1)


def mechanism_status(*, tray_open: bool) -> bytes:
    """Return the answer to MECHANISM STATUS: no changer, no audio playing."""
    return bytes((0, 0x10 if tray_open else 0, 0, 0, 0, 1, 0, 0))
