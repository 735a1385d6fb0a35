"""How a driver talks to a channel: commands with their data, settings, packets, resets."""

from collections.abc import Callable
from random import Random
from typing import Final

from chkpt.grammar import Grammar, In, Insw, Medium, Out, Outsw, Phrase, Plug, Retry, cut_short
from chkpt_devices.ide.config import IdeConfig, Media
from chkpt_devices.ide.mmc import Packet
from chkpt_devices.ide.registers import (
    BSY,
    DATA,
    DEV,
    DEVICE,
    DRQ,
    ERROR,
    HOB,
    LBA,
    LBA_HIGH,
    LBA_LOW,
    LBA_MID,
    NIEN,
    OBSOLETE,
    SECTOR_COUNT,
    SRST,
    STATUS,
    Command,
    Feature,
)

READS: Final = (Command.READ_SECTORS, Command.READ_SECTORS_EXT, Command.READ_MULTIPLE, Command.READ_MULTIPLE_EXT)
WRITES: Final = (Command.WRITE_SECTORS, Command.WRITE_SECTORS_EXT, Command.WRITE_MULTIPLE, Command.WRITE_MULTIPLE_EXT)
OTHERS: Final = (
    Command.NOP,
    Command.DEVICE_RESET,
    Command.RECALIBRATE,
    Command.VERIFY,
    Command.VERIFY_EXT,
    Command.SEEK,
    Command.DIAGNOSTIC,
    Command.IDENTIFY,
    Command.IDENTIFY_PACKET,
    Command.FLUSH,
    Command.FLUSH_EXT,
    Command.CHECK_POWER,
    Command.IDLE_IMMEDIATE,
    Command.STANDBY_IMMEDIATE,
    Command.SLEEP,
    Command.READ_NATIVE_MAX,
)
EXTENDED: Final = frozenset((
    Command.READ_SECTORS_EXT, Command.READ_MULTIPLE_EXT, Command.WRITE_SECTORS_EXT, Command.WRITE_MULTIPLE_EXT,
    Command.VERIFY_EXT,
))  # fmt: skip
SMART_KEY: Final = (0x4F, 0xC2)  # in LBA mid and high (ATA/ATAPI-6, SMART)
BLOCK: Final = 0x10000
"""Bytes in the longest block of data."""


class _Driver:
    """A driver of one channel. Each method with `choose` as its only parameter begins a phrase."""

    def __init__(self, name: str, config: IdeConfig) -> None:
        self._port = config.port
        self._control = config.control
        self._drives = [f"{name}.{drive.unit}" for drive in config.drive]
        units = [drive.unit * DEV for drive in config.drive]
        self._units = units * 4 + [0, DEV]  # mostly drives that are present
        self._disks = [drive.unit * DEV for drive in config.drive if drive.media is Media.DISK] * 8 + self._units
        self._cdroms = [drive.unit * DEV for drive in config.drive if drive.media is Media.CDROM] * 8 + self._units

    def phrases(self) -> list[Callable[[Random], Phrase]]:
        """Return all phrases, and those that reach more states several times."""
        phrases: list[Callable[[Random], Phrase]] = [self._read, self._write, self._other] * 3
        phrases += [
            self._setting,
            self._setting,
            self._setting,
            self._identify,
            self._look,
            self._reset,
            self._interrupts,
        ]
        phrases += [self._packets] * (4 if len(self._cdroms) > len(self._units) else 1)
        return phrases + ([self._fail, self._fail, self._change] if self._drives else [])

    # -- commands with data -------------------------------------------------------------------------------------------

    def _read(self, choose: Random) -> Phrase:
        count = choose.choice((1, 2, 3, 5, 0x201))
        yield from self._task(choose, choose.choice(READS), count=count, lba=_address(choose))
        yield from self._move(choose, to_host=True)
        yield from self._look(choose)

    def _write(self, choose: Random) -> Phrase:
        yield from self._task(choose, choose.choice(WRITES), count=choose.choice((1, 2, 3)), lba=_address(choose))
        yield from self._move(choose, to_host=False)
        yield from self._look(choose)

    def _other(self, choose: Random) -> Phrase:
        yield from self._task(choose, choose.choice(OTHERS), count=choose.choice((0, 1, 3)), lba=_address(choose))
        yield from self._move(choose, to_host=True)
        yield from self._look(choose)

    def _identify(self, choose: Random) -> Phrase:
        yield Out(self._port + DEVICE, OBSOLETE | choose.choice(self._units))
        yield Out(self._port + STATUS, choose.choice((Command.IDENTIFY, Command.IDENTIFY_PACKET)))
        while (yield In(self._control)) & DRQ:
            yield Insw(self._port + DATA, choose.choice((10, 246, 256)))

    def _task(self, choose: Random, command: int, *, count: int, lba: int, feature: int = 0) -> Phrase:
        """Write the registers of a command, and the command."""
        port, extended = self._port, command in EXTENDED
        if extended:
            yield Out(port + SECTOR_COUNT, count >> 8 & 0xFF)
            for at in range(3):
                yield Out(port + LBA_LOW + at, lba >> 24 + 8 * at & 0xFF)
        yield Out(port + ERROR, feature)
        yield Out(port + SECTOR_COUNT, count & 0xFF)
        for at in range(3):
            yield Out(port + LBA_LOW + at, lba >> 8 * at & 0xFF)
        form = OBSOLETE | LBA if extended or choose.random() < 0.6 else OBSOLETE
        yield Out(port + DEVICE, form | choose.choice(self._disks) | (0 if extended else lba >> 24 & 0x0F))
        yield Out(port + STATUS, command)

    def _move(self, choose: Random, *, to_host: bool) -> Phrase:
        """Move the drive's block, whole or in part, in words or double words, or read it in bytes."""
        data = self._port + DATA
        left = choose.choice((0, 1, 10, 255, 256, 300, BLOCK, BLOCK, BLOCK))
        to_host ^= choose.random() < 0.1
        while left > 0 and (yield In(self._control)) & (DRQ | BSY) == DRQ:
            count = min(left, choose.choice((1, 7, 250, 256, 256, 512)))
            left -= count
            if choose.random() < 0.9:
                yield Insw(data, count) if to_host else Outsw(data, choose.randbytes(2 * count))
            elif to_host:
                yield In(data, choose.choice((1, 4)))
            else:
                yield Out(data, choose.randrange(1 << 32), 4)
        yield In(choose.choice((self._control, self._port + STATUS)))

    # -- what later commands depend on --------------------------------------------------------------------------------

    def _setting(self, choose: Random) -> Phrase:
        """Change a setting that later commands depend on, and use it."""
        kinds = (
            *(self._geometry, self._multiple, self._smart, self._power),
            *(self._feature, self._maximum) * 2,
        )
        for _ in range(choose.randint(1, 3)):
            yield from choose.choice(kinds)(choose)
        uses = (self._read, self._write, self._other, self._look, self._reset, self._identify, self._identify)
        for _ in range(choose.randint(1, 2)):
            yield from choose.choice(uses)(choose)

    def _geometry(self, choose: Random) -> Phrase:
        heads, sectors = choose.choice(((4, 8), (1, 1), (16, 63), (2, 17)))
        yield Out(self._port + SECTOR_COUNT, sectors)
        yield Out(self._port + DEVICE, OBSOLETE | choose.choice(self._disks) | heads - 1)
        yield Out(self._port + STATUS, Command.INITIALIZE_PARAMETERS)

    def _multiple(self, choose: Random) -> Phrase:
        yield from self._task(choose, Command.SET_MULTIPLE, count=choose.choice((0, 1, 2, 4, 16, 3)), lba=0)

    def _feature(self, choose: Random) -> Phrase:
        mode = choose.choice((0x00, 0x08, 0x0C, 0x20, 0x22, 0x42))
        yield from self._task(choose, Command.SET_FEATURES, count=mode, lba=0, feature=choose.choice([*Feature]))

    def _smart(self, choose: Random) -> Phrase:
        lba = SMART_KEY[0] << 8 | SMART_KEY[1] << 16
        yield from self._task(choose, Command.SMART, count=0, lba=lba, feature=choose.choice((0xD8, 0xD9)))

    def _power(self, choose: Random) -> Phrase:
        command = choose.choice((Command.STANDBY, Command.IDLE, Command.STANDBY_IMMEDIATE, Command.SLEEP))
        yield from self._task(choose, command, count=0, lba=0)

    def _maximum(self, choose: Random) -> Phrase:
        """Send SET MAX ADDRESS (EXT) right after its query, to be kept over a power cycle or not."""
        port, extended = self._port, choose.random() < 0.5
        query = Command.READ_NATIVE_MAX_EXT if extended else Command.READ_NATIVE_MAX
        yield Out(port + DEVICE, OBSOLETE | LBA | choose.choice(self._disks))
        yield Out(port + STATUS, query)
        if extended:
            for at in range(4):
                yield Out(port + SECTOR_COUNT + at, 0)
        yield Out(port + SECTOR_COUNT, choose.randrange(2))
        for value in (choose.choice((20, 99, 126, 127)), 0, 0):
            yield Out(port + LBA_LOW, value)
        yield Out(port + STATUS, Command.SET_MAX_EXT if extended else Command.SET_MAX)
        if choose.random() < 0.5:
            yield Out(port + STATUS, query)
            yield from self._look(choose)

    # -- packets ------------------------------------------------------------------------------------------------------

    def _packets(self, choose: Random) -> Phrase:
        """Send a few packets: the first one after a reset only reports the reset, and some depend on the one before."""
        if choose.random() < 0.2:
            yield from self._pieces(choose)
            return
        packets = REFUSED_EJECT if choose.random() < 0.3 else [_packet(choose) for _ in range(choose.randint(1, 4))]
        for packet in packets:
            yield from self._packet(choose, packet)
        yield from self._look(choose)

    def _pieces(self, choose: Random) -> Phrase:
        """Ask for a reply of an odd length that comes in several pieces, and read most of them."""
        port = self._port
        yield Out(port + DEVICE, OBSOLETE | choose.choice(self._cdroms))
        yield Out(port + ERROR, 0)
        yield Out(port + LBA_MID, choose.choice((2, 4, 12)))
        yield Out(port + LBA_HIGH, 0)
        yield Out(port + STATUS, Command.PACKET)
        yield Outsw(port + DATA, bytes((Packet.INQUIRY, 0, 0, 0, choose.choice((13, 21, 35)), *bytes(7))))
        for _ in range(choose.randrange(20)):
            yield In(port + DATA, 2)

    def _packet(self, choose: Random, packet: bytes) -> Phrase:
        port = self._port
        yield Out(port + DEVICE, OBSOLETE | choose.choice(self._cdroms))
        yield Out(port + ERROR, choose.choice((0, 0, 0, 0, 0, 1)))
        limit = choose.choice((0, 3, 12, 0x100, 0x102, 0x800, 0xFFFF, 0xFFFF))
        yield Out(port + LBA_MID, limit & 0xFF)
        yield Out(port + LBA_HIGH, limit >> 8)
        yield Out(port + STATUS, Command.PACKET)
        yield Outsw(port + DATA, packet[: choose.choice((12,) * 8 + (2, 10))])
        yield from self._move(choose, to_host=True)

    # -- the channel, and the media behind it -------------------------------------------------------------------------

    def _look(self, choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 8)):
            if choose.random() < 0.3:
                yield Out(self._control, choose.choice((HOB, HOB, 0)))
            register = choose.choice((ERROR, SECTOR_COUNT, LBA_LOW, LBA_MID, LBA_HIGH, DEVICE, STATUS))
            yield In(self._port + register)

    def _reset(self, choose: Random) -> Phrase:
        yield Out(self._control, choose.choice((SRST, SRST | NIEN)))
        yield In(self._control)
        yield Out(self._control, choose.choice((0, 0, NIEN)))
        yield from self._look(choose)

    def _interrupts(self, choose: Random) -> Phrase:
        yield Out(self._control, NIEN)
        yield from choose.choice((self._read, self._other, self._identify))(choose)
        yield Out(self._control, 0)
        yield In(self._port + STATUS)

    def _fail(self, choose: Random) -> Phrase:
        """Let a medium fail during a command, and try the command again."""
        drive = choose.choice(self._drives)
        command = choose.choice((self._read, self._write, self._other, self._packets))
        if choose.random() < 0.5:
            yield from cut_short(command(choose), 12)
        yield Medium(drive, works=False)
        yield from command(choose)
        yield Medium(drive, works=True)
        yield Retry()
        yield from self._move(choose, to_host=True)

    def _change(self, choose: Random) -> Phrase:
        """Take a medium out, also during a command, and put one in: at once, or between packets."""
        drive = choose.choice(self._drives)
        under_way = choose.random() < 0.5
        if under_way:
            yield from cut_short(
                choose.choice((self._packets, self._packets, self._read))(choose), choose.randint(7, 12)
            )
        yield Plug(drive, plugged=False)
        if choose.random() < 0.7:
            yield from choose.choice((self._packets, self._other, self._look))(choose)
        yield Plug(drive, plugged=True)
        if under_way:
            yield from self._move(choose, to_host=True)
        yield from choose.choice((self._packets, self._packets, self._look))(choose)


def _address(choose: Random) -> int:
    return choose.choice((1, 2, 3, 60, 0x101, choose.randrange(128), choose.randrange(1 << 28)))


def _packet(choose: Random) -> bytes:
    """Return a command packet."""
    code = choose.choice([*Packet, *OFTEN * 3])
    length = choose.choice((0, 1, 8, 40, 255))
    fields = {
        Packet.READ_10: (0, 0, 0, 0, choose.randrange(34), 0, 0, choose.choice((0, 1, 2, 2)), 0),
        Packet.READ_12: (0, 0, 0, 0, choose.randrange(34), 0, 0, 0, choose.choice((0, 1, 2, 2))),
        Packet.START_STOP: (0, 0, 0, choose.choice((0, 1, 2, 2, 3)), 0, 0, 0, 0, 0),
        Packet.PREVENT_ALLOW: (0, 0, 0, choose.choice((0, 1)), 0, 0, 0, 0, 0),
        Packet.GET_EVENT: (choose.choice((0, 1, 1)), 0, 0, choose.choice((0x10, 0x10, 0x02)), 0, 0, 0, length, 0),
        Packet.MODE_SENSE: (0, choose.choice((0x01, 0x0E, 0x2A, 0x3F, 0x6A, 0xAA)), 0, 0, 0, 0, 0, length, 0),
        Packet.READ_TOC: (
            choose.choice((0, 2)),
            choose.choice((0, 0, 1, 2)),
            0,
            0,
            0,
            choose.choice((0, 1, 0xAA)),
            0,
            length,
            0,
        ),
        Packet.READ_CD: (
            choose.choice((0, 0, 8, 4)),
            0,
            0,
            0,
            choose.randrange(34),
            0,
            0,
            choose.choice((0, 1, 2)),
            choose.choice((0x10, 0x10, 0x10, 0, 0xF8)),
        ),
        Packet.INQUIRY: (0, 0, 0, length, 0, 0, 0, 0, 0),
        Packet.REQUEST_SENSE: (0, 0, 0, choose.choice((18, 18, 4)), 0, 0, 0, 0, 0),
    }.get(code, (choose.randrange(2), 0, 0, 0, choose.randrange(40), 0, 0, length, 0))
    return bytes((code, *fields, 0, 0))


OFTEN: Final = (
    Packet.READ_10,
    Packet.READ_12,
    Packet.START_STOP,
    Packet.PREVENT_ALLOW,
    Packet.REQUEST_SENSE,
    Packet.GET_EVENT,
    Packet.TEST_UNIT_READY,
)
"""Packets that others depend on, or that depend on others."""

REFUSED_EJECT: Final = (
    bytes((Packet.PREVENT_ALLOW, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)),
    bytes((Packet.START_STOP, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0)),
    bytes((Packet.REQUEST_SENSE, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0)),
)
"""The one error whose sense has a qualifier."""

DISK: Final = {"media": "disk", "size": "64K"}
CDROM: Final = {"media": "cdrom", "size": "64K"}
WAIT: Final = {"on_error": "wait"}

IDE_GRAMMAR: Final[Grammar[IdeConfig]] = Grammar(
    lambda name, config: _Driver(name, config).phrases(),
    (
        {"drive": [{"unit": 0, **DISK, **WAIT}, {"unit": 1, **CDROM}]},
        {"drive": [{"unit": 0, **CDROM, **WAIT}, {"unit": 1, **DISK}]},
        {"drive": [{"unit": 0, **DISK}, {"unit": 1, **CDROM, **WAIT}]},
        {"drive": [{"unit": 0, **CDROM}, {"unit": 1, **DISK, **WAIT}]},
    ),
)
