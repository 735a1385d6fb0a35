"""A bench for the IDE tests: a machine with one channel, a guest that drives it, and a medium that can fail."""

import errno
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from chkpt.device import DiskState
from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt.manager import BackendTypes
from chkpt_devices.backends.block import SCRATCH, CowDisk
from chkpt_devices.ide import Channel, DriveState, IdeState, TransferKind, TransferState
from tests.support.rig import rig

PORT, CONTROL, IRQ = 0x1F0, 0x3F6, 14
DATA, ERROR, COUNT, SECTOR, LCYL, HCYL, DEVICE, STATUS = range(PORT, PORT + 8)
FEATURE, COMMAND = ERROR, STATUS

SECTORS = 4000
"""Sectors of the bench's disk: its translation is 3 cylinders, 16 heads, 63 sectors."""

CD_SECTORS = 700
LBA, DRIVE1 = 0xE0, 0xF0

IDLE, DATA_READY, FAILED, BUSY = 0x50, 0x58, 0x41, 0xD0


def content(offset: int, length: int) -> bytes:
    """Return what the bench's media hold: every 512-byte sector is another one."""
    first, last = offset // 512, -(-(offset + length) // 512)
    rows = b"".join(bytes((s * 7 + b * 13 + (s >> 8)) & 0xFF for b in range(512)) for s in range(first, last))
    return rows[offset - first * 512 :][:length]


class Medium:
    """A block backend over `content`, which fails while `failing` is set."""

    def __init__(self, sectors: int = SECTORS, *, read_only: bool = False, digest: bytes = b"bench") -> None:
        self.failing = False
        self.flushes = 0
        self.disk = CowDisk("bench", 512 * sectors, content, lambda _: digest, lambda: None, read_only=read_only)

    @property
    def size(self) -> int:
        return self.disk.size

    @property
    def read_only(self) -> bool:
        return self.disk.read_only

    def read(self, offset: int, length: int, /) -> bytes:
        self._fail()
        return self.disk.read(offset, length)

    def write(self, offset: int, data: bytes, /) -> None:
        self._fail()
        self.disk.write(offset, data)

    def flush(self) -> None:
        self._fail()
        self.flushes += 1

    def save(self) -> DiskState:
        return self.disk.save()

    def check(self, state: DiskState, /) -> None:
        self.disk.check(state)

    def load(self, state: DiskState, /) -> None:
        self.disk.load(state)

    def close(self) -> None:
        self.disk.close()

    def _fail(self) -> None:
        if self.failing:
            raise OSError(errno.ENOSPC, "no space left")


class Bench:
    """A machine with a channel, and a guest at its ports.

    `media` are the drives by unit: "disk", "cdrom", "absent" (a disk without a backend), "empty" (a CD-ROM drive
    without one), or "none". `edges` collects the changes of the interrupt line.
    """

    def __init__(self, *media: str, on_error: str = "report", read_only: bool = False) -> None:
        self.kinds = media or ("disk",)
        self.options = {"on_error": on_error}
        self.read_only = read_only
        drives = [
            {"unit": unit, "media": "cdrom" if kind in {"cdrom", "empty"} else "disk", **self.options}
            for unit, kind in enumerate(self.kinds)
            if kind != "none"
        ]
        table = {"type": "ide", "name": "ide0", "drive": drives}
        self.machine: Machine = rig(table, backends=BackendTypes([SCRATCH]))
        self.media: dict[int, Medium] = {}
        for unit, kind in enumerate(self.kinds):
            if kind in {"disk", "cdrom"}:
                self.media[unit] = Medium(
                    SECTORS if kind == "disk" else 4 * CD_SECTORS, read_only=read_only or kind == "cdrom"
                )
                self.machine.devices.connect_block(f"ide0.{unit}", self.media[unit])
        self.channel = cast("Channel", self.machine.devices.find("ide0"))
        self.edges: list[str] = []
        self.machine.irq.watch(lambda line, level: self.edges.append("raise" if level else "lower"))
        self.inb = self.machine.ports.inb
        self.outb = self.machine.ports.outb
        self.inw = self.machine.ports.inw
        self.outw = self.machine.ports.outw

    # -- save and load ------------------------------------------------------------------------------------------------

    def twin(self) -> "Bench":
        """Return a new bench with the state of this one."""
        twin = Bench(*self.kinds, read_only=self.read_only, on_error=self.options["on_error"])
        twin.channel.load(self.channel.save())
        twin.edges.clear()
        return twin

    def state(self) -> IdeState:
        return self.channel.save()

    def drive(self, unit: int = 0) -> DriveState:
        state = self.state()
        drive = state.drive1 if unit else state.drive0
        assert drive is not None
        return drive

    def transfer(self, unit: int = 0) -> TransferState:
        transfer = self.drive(unit).transfer
        assert transfer is not None
        return transfer

    def kind(self, unit: int = 0) -> TransferKind | None:
        transfer = self.drive(unit).transfer
        return None if transfer is None else transfer.kind

    # -- what a guest does --------------------------------------------------------------------------------------------

    @property
    def line(self) -> bool:
        return self.machine.irq.level(IRQ)

    def since(self) -> list[str]:
        """Return the changes of the interrupt line since the last call."""
        edges, self.edges[:] = list(self.edges), []
        return edges

    def registers(self) -> tuple[int, ...]:
        """Return Error to Device and Alternate Status: everything without a side effect."""
        return (*(self.inb(port) for port in range(ERROR, STATUS)), self.inb(CONTROL))

    def address(self, lba: int, count: int, *, device: int = LBA) -> None:
        """Write a 28-bit address and a count."""
        self.outb(DEVICE, device | lba >> 24 & 0x0F)
        self.outb(COUNT, count & 0xFF)
        self.outb(SECTOR, lba & 0xFF)
        self.outb(LCYL, lba >> 8 & 0xFF)
        self.outb(HCYL, lba >> 16 & 0xFF)

    def address48(self, lba: int, count: int, *, device: int = LBA) -> None:
        """Write a 48-bit address and a count."""
        self.outb(DEVICE, device)
        for shift in (8, 0):
            self.outb(COUNT, count >> shift & 0xFF)
            self.outb(SECTOR, lba >> (24 if shift else 0) & 0xFF)
            self.outb(LCYL, lba >> (32 if shift else 8) & 0xFF)
            self.outb(HCYL, lba >> (40 if shift else 16) & 0xFF)

    def chs(self, cylinder: int, head: int, sector: int, count: int) -> None:
        """Write a CHS address and a count."""
        self.outb(DEVICE, 0xA0 | head)
        self.outb(COUNT, count)
        self.outb(SECTOR, sector)
        self.outb(LCYL, cylinder & 0xFF)
        self.outb(HCYL, cylinder >> 8)

    def command(self, code: int, **registers: int) -> int:
        """Write registers by name, then a command; return Alternate Status."""
        for name, value in registers.items():
            self.outb({"feature": FEATURE, "count": COUNT, "sector": SECTOR, "lcyl": LCYL, "hcyl": HCYL}[name], value)
        self.outb(COMMAND, code)
        return self.inb(CONTROL)

    def read_bytes(self, length: int) -> bytes:
        return b"".join(self.inw(DATA).to_bytes(2, "little") for _ in range((length + 1) // 2))[:length]

    def write_bytes(self, data: bytes) -> None:
        for at in range(0, len(data), 2):
            self.outw(DATA, int.from_bytes(data[at : at + 2], "little"))

    def read_sectors(self, lba: int, count: int = 1) -> bytes:
        """Read sectors by READ SECTORS, as a driver does."""
        self.address(lba, count)
        self.command(0x20)
        return b"".join(self.read_block(512) for _ in range(count))

    def read_block(self, length: int) -> bytes:
        assert self.inb(STATUS) == DATA_READY
        return self.read_bytes(length)

    def packet(self, *packet: int, limit: int = 0xFFFE, device: int = 0xA0) -> int:
        """Send a command packet, padded to 12 bytes; return Alternate Status."""
        self.outb(DEVICE, device)
        self.command(0xA0, feature=0, lcyl=limit & 0xFF, hcyl=limit >> 8)
        self.write_bytes(bytes(packet).ljust(12, b"\0"))
        return self.inb(CONTROL)

    def byte_count(self) -> int:
        return self.inb(LCYL) | self.inb(HCYL) << 8

    def reply(self) -> bytes:
        """Read what a packet command sends, block by block, until it is done."""
        parts: list[bytes] = []
        while self.inb(STATUS) & 0x08:
            parts.append(self.read_bytes(self.byte_count()))
        return b"".join(parts)

    def sense(self) -> tuple[int, int, int]:
        """Return sense key, code and qualifier by REQUEST SENSE."""
        self.packet(0x03, 0, 0, 0, 18)
        data = self.reply()
        return data[2], data[12], data[13]

    def settle(self) -> None:
        """Take the unit attention of the power-on, as a driver's first commands do."""
        self.packet(0x00)
        self.sense()
        self.since()


def with_drive(state: IdeState, **changes: object) -> IdeState:
    """Return a state whose drive 0 has other fields."""
    assert state.drive0 is not None
    return replace(state, drive0=replace(state.drive0, **changes))  # type: ignore[arg-type] # names chosen by the test


def with_transfer(state: IdeState, **changes: object) -> IdeState:
    """Return a state whose drive 0 has another command in flight."""
    assert state.drive0 is not None
    assert state.drive0.transfer is not None
    return with_drive(state, transfer=replace(state.drive0.transfer, **changes))  # type: ignore[arg-type] # the same


def refused(bench: Bench, state: IdeState) -> str:
    """Load a state that cannot be; return the message. Nothing may change by it."""
    before = bench.state()
    message = ""
    try:
        bench.channel.load(state)
    except StateError as exc:
        message = str(exc)
    assert message, "the state was taken"
    assert bench.state() == before
    return message


def words(block: bytes) -> Sequence[int]:
    """Return the words of a block."""
    return [int.from_bytes(block[at : at + 2], "little") for at in range(0, len(block), 2)]
