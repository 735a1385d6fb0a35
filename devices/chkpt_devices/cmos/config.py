"""The configuration of the clock and its RAM."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from chkpt.device import U4, U8, U64, Length, OfMachine, Range

MIB: Final = 1 << 20
RAM: Final = 14  # the first byte of RAM, behind the registers
RAM_SIZE: Final = 128 - RAM


class Boot(StrEnum):
    """What a BIOS may boot from."""

    DISKETTE = "diskette"
    DISK = "disk"
    CDROM = "cdrom"
    NETWORK = "network"


Byte: TypeAlias = tuple[Annotated[int, Range(RAM, RAM + RAM_SIZE - 1)], U8]
"""The address of a byte of the RAM, and what is there."""


@dataclass(frozen=True, slots=True)
class CmosConfig:
    """The clock's ports, its interrupt line, the date when the machine's clock is 0, and what its RAM holds.

    `memory` is the bytes of RAM below 4 GiB, `high_memory` of that from there on, `disks` the sectors of the hard
    disks: the machine's own if left out. `boot` is the order in which a BIOS tries to boot. `bytes` replaces
    bytes of the RAM, such as [[0x3d, 0x02]]. `base` is in the form of ISO 8601.
    """

    port: Annotated[int, Range(0, 0xFFFE)] = 0x70
    irq: U4 = 8
    base: Annotated[str, Length(10, 19)] = "2000-01-01T00:00:00"
    memory: Annotated[int, Range(0, 1 << 32), OfMachine.RAM_BELOW_4G] = 16 * MIB
    high_memory: Annotated[int, Range(0, (1 << 40) - 1), OfMachine.RAM_FROM_4G] = 0
    disks: Annotated[tuple[U64, ...], Length(4, 4), OfMachine.DISKS] = (0, 0, 0, 0)
    boot: Annotated[tuple[Boot, ...], Length(0, 3)] = (Boot.DISK, Boot.CDROM)
    bytes: Annotated[tuple[Byte, ...], Length(0, RAM_SIZE)] = ()
