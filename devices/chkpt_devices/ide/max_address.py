"""The size that a disk reports: the host protected area commands of ATA/ATAPI-6.

As in QEMU, IDENTIFY does not announce the host protected area feature set, but the commands work.
"""

from typing import Final

from chkpt_devices.ide.address import MAX_LBA28
from chkpt_devices.ide.state import MaxQuery

LAST_TOLD_28: Final = MAX_LBA28 - 1
"""The most that READ NATIVE MAX ADDRESS reports (ATA/ATAPI-6): one less than IDENTIFY words 60-61 can count."""

KEPT: Final = 0x01
"""SET MAX ADDRESS, sector count bit 0, called VV: the new size outlives a power cycle."""

SECURITY_SUBCOMMANDS: Final = range(0x01, 0x05)
"""Features of SET MAX that belong to its security extensions, which this disk does not have."""


class MaxAddress:
    """The number of sectors that a disk answers for, at most its native one."""

    __slots__ = ("is_extended", "is_kept", "native", "power_on_sectors", "query", "sectors")

    def __init__(self) -> None:
        self.insert(1)

    def insert(self, native: int) -> None:
        """Begin with a new disk of `native` sectors."""
        self.native = native
        self.power_on_sectors = native
        self.power_on()

    def power_on(self) -> None:
        """Go to the size kept over a power cycle."""
        self.sectors = self.power_on_sectors
        self.is_kept = False  # whether a kept size was set since power-on
        self.is_extended = False  # whether SET MAX ADDRESS EXT set the size
        self.query = MaxQuery.NONE

    def ask(self, query: MaxQuery) -> int:
        """Return the last native address that fits into the answer of READ NATIVE MAX."""
        self.query = query
        last = self.native - 1
        return last if query is MaxQuery.ADDRESS_EXT else min(last, LAST_TOLD_28)

    def set(self, query: MaxQuery, last: int | None, *, keep: bool) -> bool:
        """Let `last` be the last address, if the command before asked for the native one. Return False if not."""
        extended = query is MaxQuery.ADDRESS_EXT
        if self.query is not query or last is None or last >= self.native:
            return False
        if self.is_extended and not extended:
            return False
        if keep and self.is_kept:  # allowed once per power cycle
            return False
        self.sectors = last + 1
        self.is_extended = extended and self.sectors < self.native
        if keep:
            self.power_on_sectors = self.sectors
            self.is_kept = True
        return True
