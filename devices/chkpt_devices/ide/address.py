"""The address of a command on a disk: CHS, 28-bit and 48-bit addresses in the task file."""

from dataclasses import dataclass
from typing import Final

from chkpt_devices.ide.registers import HEAD, LBA
from chkpt_devices.ide.taskfile import TaskFile

MAX_LBA28: Final = 0x0FFF_FFFF
DEFAULT_HEADS: Final = 16
DEFAULT_SECTORS: Final = 63
MAX_CYLINDERS: Final = 16383  # the most that IDENTIFY word 1 reports (ATA/ATAPI-6, IDENTIFY DEVICE)


@dataclass(frozen=True, slots=True)
class Geometry:
    """A translation of CHS addresses. Sectors of a track count from 1."""

    cylinders: int
    heads: int
    sectors: int

    @property
    def capacity(self) -> int:
        """The number of sectors that have a CHS address."""
        return self.cylinders * self.heads * self.sectors


def default_geometry(sectors: int) -> Geometry:
    """Return the translation at power-on of a disk of `sectors` sectors: 16 heads and 63 sectors, as QEMU has it."""
    track = DEFAULT_HEADS * DEFAULT_SECTORS
    if sectors < track:
        per_track = min(sectors, DEFAULT_SECTORS)
        return Geometry(sectors // per_track, 1, per_track)
    return Geometry(min(sectors // track, MAX_CYLINDERS), DEFAULT_HEADS, DEFAULT_SECTORS)


def read_address(task: TaskFile, heads: int, sectors: int, *, extended: bool) -> int | None:
    """Return the number of the sector that the registers address, or None if no disk can have that sector.

    The translation has `heads` heads and `sectors` sectors a track. `extended` addresses are of 48 bits, and LBAs.
    """
    if task.device & LBA:
        low = task.hcyl << 16 | task.lcyl << 8 | task.sector
        if extended:
            return task.hob_hcyl << 40 | task.hob_lcyl << 32 | task.hob_sector << 24 | low
        return (task.device & HEAD) << 24 | low
    head = task.device & HEAD
    if extended or head >= heads or not 1 <= task.sector <= sectors:
        return None
    return ((task.hcyl << 8 | task.lcyl) * heads + head) * sectors + task.sector - 1


def write_address(task: TaskFile, lba: int, heads: int, sectors: int, *, extended: bool) -> None:
    """Put the number of a sector into the registers, in the form in which they held the command's address."""
    if task.device & LBA:
        task.sector = lba & 0xFF
        task.lcyl = lba >> 8 & 0xFF
        task.hcyl = lba >> 16 & 0xFF
        if extended:
            task.hob_sector = lba >> 24 & 0xFF
            task.hob_lcyl = lba >> 32 & 0xFF
            task.hob_hcyl = lba >> 40 & 0xFF
        else:
            task.device = task.device & ~HEAD | lba >> 24 & HEAD
        return
    track, sector = divmod(lba, sectors)
    cylinder, head = divmod(track, heads)
    task.sector = sector + 1
    task.lcyl = cylinder & 0xFF
    task.hcyl = cylinder >> 8 & 0xFF
    task.device = task.device & ~HEAD | head


def read_count(task: TaskFile, *, extended: bool) -> int:
    """Return the number of sectors the registers ask for: 1 to 256, extended 1 to 65,536."""
    if extended:
        return (task.hob_nsector << 8 | task.nsector) or 0x10000
    return task.nsector or 0x100


def write_count(task: TaskFile, count: int, *, extended: bool) -> None:
    """Put the number of sectors left into the registers."""
    task.nsector = count & 0xFF
    if extended:
        task.hob_nsector = count >> 8 & 0xFF
