"""Linear addresses, translated as the processor does (SDM vol. 3, chapter 4), for the accesses that we make for it.

The engine itself walks the tables for the guest's accesses. This is for the accesses of interrupt delivery, which the
engine leaves to us: descriptors, task-state segments, stacks.
"""

from collections.abc import Iterator
from typing import Protocol

from chkpt.machine.cpu.registers import LMA, NXE, PAE, PG, PSE, WP, Registers

_P, _RW, _US, _A, _D, _PS, _NX = 1, 2, 4, 1 << 5, 1 << 6, 1 << 7, 1 << 63
_ADDRESS = 0x000F_FFFF_FFFF_F000
_RESERVED = 0x0007_FF00_0000_0000  # of 64-bit entries: addresses are 40 bits wide at most


class FaultError(Exception):
    """An exception of the processor: its vector, its error code if it has one, and for #PF the address."""

    def __init__(self, vector: int, error: int | None = None, address: int | None = None) -> None:
        super().__init__(f"exception {vector}")
        self.vector = vector
        self.error = error
        self.address = address


class Physical(Protocol):
    """Physical memory, as the processor reaches it."""

    def read(self, address: int, size: int, /) -> bytes:
        """Return `size` bytes that lie in one page."""

    def write(self, address: int, data: bytes, /) -> None:
        """Put bytes that lie in one page, and forget translated code there."""


class Linear:
    """Linear memory under the present CR0, CR3, CR4 and EFER."""

    def __init__(self, registers: Registers, physical: Physical) -> None:
        self._registers = registers
        self._physical = physical

    def read(self, address: int, size: int, *, user: bool = False) -> bytes:
        """Return `size` bytes. Raise FaultError 14."""
        return b"".join(
            self._physical.read(self.translate(at, write=False, user=user), part)
            for at, part in self._parts(address, size)
        )

    def load(self, address: int, size: int) -> int:
        """Return a number of `size` bytes, read with the rights of the system. Raise FaultError 14."""
        return int.from_bytes(self.read(address, size), "little")

    def fetch(self, physical: int, size: int) -> bytes:
        """Return `size` bytes of one page at a physical address."""
        return self._physical.read(physical, size)

    def write(self, address: int, data: bytes, *, user: bool = False) -> None:
        """Put `data`, all of it or nothing. Raise FaultError 14."""
        places = [
            (self.translate(at, write=True, user=user), part) for at, part in self._parts(address, len(data))
        ]  # fmt: skip
        done = 0
        for physical, part in places:
            self._physical.write(physical, data[done : done + part])
            done += part

    def _parts(self, address: int, size: int) -> Iterator[tuple[int, int]]:
        """Cut a run of addresses at page boundaries."""
        mask = 0xFFFF_FFFF_FFFF_FFFF if self._registers.efer & LMA else 0xFFFF_FFFF
        while size:
            part = min(size, 4096 - (address & 4095))
            yield address & mask, part
            address += part
            size -= part

    def translate(self, linear: int, *, write: bool, user: bool) -> int:
        """Return the physical address, with the accessed and dirty bits set as the processor does.

        Raises:
            FaultError: 14, with the error code and the address.
        """
        registers = self._registers
        cr0, cr4 = registers.cr(0), registers.cr(4)
        if not cr0 & PG:
            return linear
        wide = bool(cr4 & PAE)
        size, bits = (8, 9) if wide else (4, 10)
        if registers.efer & LMA:
            level, table = 4, registers.cr(3) & _ADDRESS
        elif wide:
            level, table = 3, registers.cr(3) & 0xFFFF_FFE0
        else:
            level, table = 2, registers.cr(3) & 0xFFFF_F000
        wanted = 2 * write | 4 * user
        allowed = _RW | _US
        path: list[tuple[int, int]] = []
        while True:
            shift = 12 + (level - 1) * bits
            at = table + (linear >> shift & ((1 << bits) - 1)) * size
            entry = int.from_bytes(self._physical.read(at, size), "little")
            if not entry & _P:
                raise FaultError(14, wanted, linear)
            pointer = wide and level == 3 and not registers.efer & LMA  # a PAE page-directory pointer: it has no rights
            large = level > 1 and not pointer and bool(entry & _PS) and (wide or bool(cr4 & PSE))
            if wide and self._is_reserved(entry, level, shift, large=large):
                raise FaultError(14, wanted | 9, linear)
            if not pointer:
                allowed &= entry
                path.append((at, entry))
            if level == 1 or large:
                break
            table = entry & (_ADDRESS if wide else 0xFFFF_F000)
            level -= 1
        if (user and not allowed & _US) or (write and not allowed & _RW and (user or cr0 & WP)):
            raise FaultError(14, wanted | 1, linear)
        self._mark(path, write=write)
        base = entry & (_ADDRESS if wide else 0xFFFF_F000)
        if large and not wide:  # PSE-36: bits 13 to 20 are the address's bits 32 to 39
            base = entry & 0xFFC0_0000 | (entry >> 13 & 0xFF) << 32
        offset = (1 << shift) - 1
        return base & ~offset | linear & offset

    def _is_reserved(self, entry: int, level: int, shift: int, *, large: bool) -> bool:
        reserved = _RESERVED | (0 if self._registers.efer & NXE else _NX)
        if large:
            reserved |= ((1 << shift) - 1) & ~0x1FFF
        if level == 4:
            reserved |= _PS
        return bool(entry & reserved)

    def _mark(self, path: list[tuple[int, int]], *, write: bool) -> None:
        for at, entry in path:
            marked = entry | _A
            if write and at == path[-1][0]:
                marked |= _D
            if marked != entry:
                self._physical.write(at, bytes([marked & 0xFF]))
