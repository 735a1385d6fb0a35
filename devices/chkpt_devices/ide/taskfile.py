"""The registers of one drive, and the PIO block that moves between the drive and the host."""

from collections.abc import Callable
from struct import pack, unpack
from typing import Final

from chkpt_devices.ide.registers import ABRT, BSY, DEV, DRQ, FAILED, MOVING, OBSOLETE, PASSED, READY, STUCK

HAS_REGISTERS: Final = BSY | DRQ
"""While one of these is set the drive, not the host, has the registers (ATA/ATAPI-6)."""


def _do_nothing() -> None:
    """Stand in for `block_end` until the drive sets it."""


class TaskFile:
    """One drive's registers and PIO block.

    `words_in` holds what the host has still to read, the next word last, so that reading is one `pop`. `words_out`
    collects what the host writes until there are `out_end` words. At the end of either `block_end` is called.
    """

    __slots__ = (
        "block", "block_end", "device", "error", "feature", "hcyl", "hob_hcyl", "hob_lcyl", "hob_nsector", "hob_sector",
        "interrupt", "lcyl", "nsector", "out_end", "sector", "status", "update_line", "words_in", "words_out",
    )  # fmt: skip

    def __init__(self, update_line: Callable[[], None]) -> None:
        """Make a drive's registers; `update_line` is called whenever the drive wants to interrupt."""
        self.update_line = update_line
        self.block_end: Callable[[], None] = _do_nothing
        self.clear()

    def clear(self) -> None:
        """Clear all registers and the block, as before power-on."""
        self.status = 0
        self.error = 0
        self.feature = 0
        self.nsector = 0
        self.sector = 0
        self.lcyl = 0
        self.hcyl = 0
        self.device = 0
        self.hob_nsector = 0
        self.hob_sector = 0
        self.hob_lcyl = 0
        self.hob_hcyl = 0
        self.interrupt = False
        self.block = b""  # the whole block, while the host reads it
        self.words_in: list[int] = []
        self.words_out: list[int] = []
        self.out_end = 0

    # -- how a command ends -------------------------------------------------------------------------------------------

    def complete(self, status: int = READY) -> None:
        """End the command without an error, and interrupt."""
        self.drop_block()
        self.status = status
        self.error = 0
        self.raise_interrupt()

    def end_of_data(self) -> None:
        """End the command without an interrupt: the last block interrupted when it was ready."""
        self.drop_block()
        self.status = READY
        self.error = 0

    def abort(self, error: int = ABRT) -> None:
        """End the command with an error, and interrupt. Count and address stay and show how far it came."""
        self.drop_block()
        self.status = FAILED
        self.error = error
        self.raise_interrupt()

    def raise_interrupt(self) -> None:
        """Ask for the host's attention until it reads Status."""
        self.interrupt = True
        self.update_line()

    def clear_interrupt(self) -> None:
        """Withdraw the request, as a read of Status and a write of Command do."""
        if self.interrupt:
            self.interrupt = False
            self.update_line()

    # -- the PIO block ------------------------------------------------------------------------------------------------

    def offer(self, block: bytes, offset: int = 0) -> None:
        """Let the host read `block`, of which it has `offset` bytes (even) already. An odd end is padded."""
        self.block = block
        padded = block + b"\0" if len(block) & 1 else block
        words = list(unpack(f"<{len(padded) // 2}H", padded))
        words.reverse()
        if offset:
            del words[len(words) - offset // 2 :]
        self.words_in = words
        self.words_out = []
        self.status = MOVING
        self.error = 0

    def take(self, length: int, begun: bytes = b"") -> None:
        """Let the host write a block of `length` bytes (even), of which `begun` has come already."""
        self.words_out = list(unpack(f"<{len(begun) // 2}H", begun))
        self.out_end = length // 2
        self.status = MOVING
        self.error = 0

    def written_bytes(self) -> bytes:
        """Return the bytes that the host has written."""
        words = self.words_out
        return pack(f"<{len(words)}H", *words)

    def stall(self) -> None:
        """Be busy until the medium works again. The bytes that the host has written stay for the next try."""
        self.block = b""
        self.words_in = []
        self.out_end = 0
        self.status = STUCK

    def drop_block(self) -> None:
        """Drop the block, moved or not."""
        self.block = b""
        self.words_in = []
        self.words_out = []
        self.out_end = 0

    @property
    def read_so_far(self) -> int:
        """The number of bytes of the block that the host has read."""
        return (len(self.block) + 1) // 2 * 2 - 2 * len(self.words_in)

    # -- resets -------------------------------------------------------------------------------------------------------

    def sign(self, signature: tuple[int, int], status: int) -> None:
        """Show the drive's signature (ATA/ATAPI-6), as after a reset and DIAGNOSTIC. No interrupt."""
        self.drop_block()
        self.nsector = 1
        self.sector = 1
        self.lcyl, self.hcyl = signature
        self.device = OBSOLETE | self.device & DEV
        self.status = status
        self.error = PASSED

    def forget_previous(self) -> None:
        """Clear the bytes that HOB shows, as a reset does. A signature alone leaves them, as in QEMU."""
        self.hob_nsector = self.hob_sector = self.hob_lcyl = self.hob_hcyl = 0
