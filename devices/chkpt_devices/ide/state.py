"""The state of a channel and its drives: all that a guest can notice, and the command in flight.

The command in flight is a state machine written as data, as in OpenVMM's IDE: the kind of transfer, where on the medium
it goes on, how much is left, and the PIO block that now moves between the drive and the host.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, ClassVar, Final

from chkpt.device import U1, U4, U8, U16, U48, DiskState, Length, Range, Upgrade

MAX_BUFFER: Final = 0x10000
"""Bytes in the largest PIO block, rounded up: the byte count of a packet device is 16 bits wide."""

PACKET_SIZE: Final = 12
"""Bytes in a command packet (SFF-8020i, "command packets are 12 bytes")."""


class TransferKind(StrEnum):
    """What a command moves."""

    IDENTIFY = "identify"  # one block to the host: 256 words about the drive
    READ = "read"  # sectors of a disk to the host
    WRITE = "write"  # sectors from the host to a disk
    VERIFY = "verify"  # reads sectors of a disk and drops them; exists only while it waits for the medium
    FLUSH = "flush"  # nothing; exists only while it waits for the medium
    PACKET = "packet"  # a command packet from the host
    REPLY = "reply"  # a packet command's answer to the host
    READ_CD = "read-cd"  # sectors of a CD-ROM to the host


@dataclass(frozen=True, slots=True)
class TransferState:
    """A command that is not done yet.

    `lba`, `left`: of a disk, the next sector the medium is to read or write and the number of sectors from there;
    of a CD-ROM, the next 2048-byte sector and the number of bytes from there, `skip` bytes into that sector.
    `block`: the most that one PIO block may hold, in sectors of a disk, in bytes of a packet device.
    `buffer`: to the host, the block and the rest of a reply after it; from the host, the bytes that have come.
    `offset`, `length`: bytes of the block that have moved, and of the whole block. A waiting command has moved all of
    its block or has no block.
    """

    VERSION: ClassVar[int] = 1

    kind: TransferKind
    waiting: bool
    lba: U48
    left: U48
    skip: Annotated[int, Range(0, 2047)]
    block: U16
    extended: bool
    buffer: Annotated[bytes, Length(0, MAX_BUFFER)]
    offset: Annotated[int, Range(0, MAX_BUFFER)]
    length: Annotated[int, Range(0, MAX_BUFFER)]


class PowerMode(StrEnum):
    """The power mode of a drive (ATA/ATAPI-6, power management feature set)."""

    ACTIVE = "active"  # or idle, which CHECK POWER MODE does not distinguish here
    STANDBY = "standby"
    SLEEP = "sleep"  # left by a reset only


class MaxQuery(StrEnum):
    """Which native maximum the last command asked for. SET MAX ADDRESS must follow its own query at once."""

    NONE = "none"
    ADDRESS = "address"
    ADDRESS_EXT = "address-ext"


@dataclass(frozen=True, slots=True)
class AtaState:
    """What only a disk has. `max_sectors` is the size reported, below a host protected area."""

    VERSION: ClassVar[int] = 1

    multiple: Annotated[int, Range(0, 16)]
    heads: Annotated[int, Range(1, 16)]
    sectors_per_track: Annotated[int, Range(1, 255)]
    write_cache: bool
    smart: bool
    max_sectors: Annotated[int, Range(1, 1 << 48)]
    power_on_sectors: Annotated[int, Range(1, 1 << 48)]
    max_is_kept: bool
    max_is_extended: bool
    max_query: MaxQuery


class Attention(IntEnum):
    """A pending unit attention: the additional sense code it will be reported with (SFF-8020i)."""

    NONE = 0x00
    MEDIUM_CHANGED = 0x28
    RESET = 0x29


class MediaEvent(IntEnum):
    """The media event not reported yet, as GET EVENT STATUS NOTIFICATION codes it (MMC-2)."""

    NONE = 0
    EJECT_REQUEST = 1  # the button was pressed, but the tray is locked
    NEW_MEDIA = 2
    REMOVAL = 3


@dataclass(frozen=True, slots=True)
class AtapiState:
    """What only a CD-ROM drive has. Version 1 had no `MediaEvent.EJECT_REQUEST`."""

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar[dict[int, Upgrade]] = {1: dict}

    sense_key: U4
    asc: U8
    ascq: U8
    attention: Attention
    event: MediaEvent
    tray_open: bool
    locked: bool


@dataclass(frozen=True, slots=True)
class DriveState:
    """One drive: its registers, its settings, its command in flight, its medium. It is a disk or a CD-ROM drive."""

    VERSION: ClassVar[int] = 1
    FIXED: ClassVar[tuple[str, ...]] = ("ata", "atapi", "disk")

    status: U8
    error: U8
    feature: U8
    nsector: U8
    sector: U8
    lcyl: U8
    hcyl: U8
    device: U8
    hob_nsector: U8
    hob_sector: U8
    hob_lcyl: U8
    hob_hcyl: U8
    interrupt: bool
    power: PowerMode
    transfer_mode: U8
    keep_settings: bool
    transfer: TransferState | None
    ata: AtaState | None
    atapi: AtapiState | None
    disk: DiskState | None


@dataclass(frozen=True, slots=True)
class IdeState:
    """A channel: Device Control, the selected unit, and the drives that are present.

    Version 2 changed only `DiskState` and version 3 only `AtapiState`; both upgrade themselves.
    """

    VERSION: ClassVar[int] = 3
    FIXED: ClassVar[tuple[str, ...]] = ("drive0", "drive1")
    UPGRADES: ClassVar[dict[int, Upgrade]] = {1: dict, 2: dict}

    control: U8
    unit: U1
    drive0: DriveState | None
    drive1: DriveState | None
