"""Guests that come with chkpt: a ROM that boots from a disk without a BIOS, and disks that it can boot from.

The sources are beside the bytes, `boot.asm` and `demo.asm`; `python -m tests.guests.build` assembles them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from chkpt.device import SECTOR_SIZE, BackendType, FrontendKind, Length, Range, Rom
from chkpt.errors import ConfigError, NotFoundError
from chkpt_devices.backends.block import MAX_SIZE, CowDisk
from chkpt_devices.backends.identity import Kind, identity_of

HERE: Final = Path(__file__).parent

DISKS: Final = ("demo",)
"""The guests that are disks."""


@dataclass(frozen=True, slots=True)
class GuestConfig:
    """Which guest, and the size of its disk in bytes. The rest of the disk behind the guest is zeros."""

    name: Annotated[str, Length(1, 64)] = "demo"
    size: Annotated[int, Range(SECTOR_SIZE, MAX_SIZE)] = 1 << 20


def open_guest(config: GuestConfig) -> CowDisk:
    """Make a disk with a guest on it. As with an image, changes lie over it, and its content is its identity.

    Raises:
        NotFoundError: there is no such guest.
        ConfigError: its size is not a whole number of sectors, or less than the guest needs.
    """
    if config.name not in DISKS:
        raise NotFoundError(f"no guest {config.name}; there are: {', '.join(DISKS)}")
    content = (HERE / f"{config.name}.bin").read_bytes()
    if config.size % SECTOR_SIZE or config.size < len(content):
        raise ConfigError(
            f"guest {config.name} on {config.size} bytes: "
            f"not a whole number of {SECTOR_SIZE}-byte sectors, or less than its {len(content)} bytes"
        )

    def read(offset: int, length: int) -> bytes:
        return content[offset : offset + length].ljust(length, b"\0")

    @cache  # it never changes, and each load asks for it
    def identity(kind: Kind) -> bytes:
        return identity_of(kind, config.size, read, [(0, len(content))])

    return CowDisk(f"guest {config.name} on {config.size} bytes", config.size, read, identity, lambda: None)


GUEST: Final = BackendType(FrontendKind.BLOCK, "guest", open_guest, GuestConfig)
BOOT: Final = Rom("boot", (HERE / "boot.bin").read_bytes())
