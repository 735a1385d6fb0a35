"""Physical memory: RAM from address 0, and ROM and the ranges that devices answer for, which lie over it.

Where there is none of them, reads give ones and writes are dropped.
"""

import mmap
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from chkpt.context import Blob
from chkpt.errors import StorageError

Read = Callable[[int, int], int]
Write = Callable[[int, int, int], None]

Ram: TypeAlias = mmap.mmap | bytearray
"""Zeroed on demand by the operating system; no RAM at all is an empty bytearray, as no mapping can be empty."""

PAGE_SIZE = 4096
"""A processor maps RAM in pages; `MachineConfig.memory` is a multiple of it."""

PIECE_SIZE = 64 * 1024
"""RAM is saved in pieces of this size: small enough that a little-used machine has mostly zero pieces."""

_ZEROS = bytes(PIECE_SIZE)

_PROGRESS = 64  # pieces between two words of progress

_HUGE = 2 << 20
"""The pages of x86-64 that the kernel gives at once where it is asked to: one fault in place of 512."""


@dataclass(frozen=True, slots=True)
class Region:
    """A run of addresses that a device answers for, or ROM."""

    first: int
    size: int
    read: Read
    write: Write
    rom: bytes | None = None  # its content


class RamBlob:
    """RAM as a blob: a view of live memory, to be used before the machine runs on."""

    __slots__ = ("_ram", "piece_size", "size")

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self.size = len(ram)
        self.piece_size = PIECE_SIZE

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces that are not all zero."""
        with memoryview(self._ram) as ram:
            for index in _held(ram):
                yield index, bytes(ram[index * PIECE_SIZE : (index + 1) * PIECE_SIZE])

    def copy(self) -> "RamCopy":
        """Return the present content, which stays as it is. It takes the memory of the pieces that are not all zero."""
        with memoryview(self._ram) as ram:
            indexes = _held(ram)
            held = _zeroed(min(len(indexes) * PIECE_SIZE, self.size))
            if len(held) >= _HUGE and isinstance(held, mmap.mmap):
                with suppress(OSError):  # a kernel without them
                    held.madvise(mmap.MADV_HUGEPAGE)
            with memoryview(held) as to:
                for at, index in enumerate(indexes):
                    piece = ram[index * PIECE_SIZE : (index + 1) * PIECE_SIZE]
                    to[at * PIECE_SIZE : at * PIECE_SIZE + len(piece)] = piece
        return RamCopy(self.size, indexes, held)


class RamCopy:
    """What RAM held at a time."""

    __slots__ = ("_held", "_indexes", "piece_size", "size")

    def __init__(self, size: int, indexes: list[int], held: Ram) -> None:
        self._held = held
        self._indexes = indexes
        self.size = size
        self.piece_size = PIECE_SIZE

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the pieces that are not all zero."""
        with memoryview(self._held) as held:
            for at, index in enumerate(self._indexes):
                length = min(PIECE_SIZE, self.size - index * PIECE_SIZE)
                yield index, held[at * PIECE_SIZE : at * PIECE_SIZE + length]


class ReadyRam:
    """RAM that has been read from a blob and is ready to be taken."""

    __slots__ = ("piece_size", "ram", "size")

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.size = len(ram)
        self.piece_size = PIECE_SIZE

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces that are not all zero."""
        return RamBlob(self.ram).pieces()


def _held(ram: memoryview) -> list[int]:
    """Return the indexes of the pieces that are not all zero; `startswith` compares at the speed of memory."""
    return [
        start // PIECE_SIZE
        for start in range(0, len(ram), PIECE_SIZE)
        if not _ZEROS.startswith(ram[start : start + PIECE_SIZE])
    ]


class Memory:
    """What the processor sees at physical addresses."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._ram: Ram = _zeroed(size)
        self._regions: list[tuple[int, Region]] = []
        self._written: Callable[[], None] = _nobody
        self._rearranged: Callable[[], None] = _nobody

    # -- ranges of devices --------------------------------------------------------------------------------------------

    def map(self, first: int, size: int, read: Read, write: Write) -> Callable[[], None]:
        """Route `size` bytes from `first`; return how to undo it. None may have an owner."""
        return self._add(Region(first, size, read, write))

    def map_rom(self, first: int, image: bytes) -> Callable[[], None]:
        """Put a ROM of whole pages at `first`, which drops writes; return how to undo it. No byte may have an owner."""
        if first % PAGE_SIZE or len(image) % PAGE_SIZE:
            raise ValueError(f"a ROM of {len(image)} bytes at {first:#x} is not one of whole pages")

        def read(offset: int, width: int) -> int:
            return int.from_bytes(image[offset : offset + width], "little")

        return self._add(Region(first, len(image), read, _dropped, image))

    def _add(self, region: Region) -> Callable[[], None]:
        entry = (region.first, region)
        insort(self._regions, entry, key=lambda item: item[0])
        self._rearranged()

        def unmap() -> None:
            self._regions.remove(entry)
            self._rearranged()

        return unmap

    def _region(self, address: int, size: int) -> Region | None:
        """Return the first region that has any of these bytes."""
        for first, region in self._regions:
            if first < address + size and address < first + region.size:
                return region
        return None

    # -- accesses -----------------------------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes from `address`; bytes of a device's range are read one at a time."""
        region = self._region(address, size) if self._regions else None
        if region is None:
            content = bytes(self._ram[address : address + size])
            return content + b"\xff" * (size - len(content))
        content = b""
        before = max(region.first - address, 0)
        if before:
            content = self.read(address, before)
        inside = min(region.first + region.size - (address + before), size - before)
        offset = address + before - region.first
        content += bytes(region.read(offset + i, 1) & 0xFF for i in range(inside))
        done = before + inside
        return content + self.read(address + done, size - done) if done < size else content

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at `address`; bytes of a device's range are written one at a time."""
        region = self._region(address, len(data)) if self._regions else None
        if region is None:
            fits = min(len(data), max(self.size - address, 0))
            self._ram[address : address + fits] = data[:fits]
            self._written()
            return
        before = max(region.first - address, 0)
        if before:
            self.write(address, data[:before])
        inside = min(region.first + region.size - (address + before), len(data) - before)
        offset = address + before - region.first
        for i in range(inside):
            region.write(offset + i, 1, data[before + i])
        if before + inside < len(data):
            self.write(address + before + inside, data[before + inside :])

    def load(self, address: int, width: int) -> int:
        """Read a little-endian number of 1, 2, 4 or 8 bytes, in one access where a device has all of it."""
        region = self._region(address, width) if self._regions else None
        if region is not None and region.first <= address and address + width <= region.first + region.size:
            return region.read(address - region.first, width) & ((1 << 8 * width) - 1)
        return int.from_bytes(self.read(address, width), "little")

    def store(self, address: int, width: int, value: int) -> None:
        """Write a little-endian number of 1, 2, 4 or 8 bytes, in one access where a device has all of it."""
        value &= (1 << 8 * width) - 1
        region = self._region(address, width) if self._regions else None
        if region is not None and region.first <= address and address + width <= region.first + region.size:
            region.write(address - region.first, width, value)
        else:
            self.write(address, value.to_bytes(width, "little"))

    # -- the whole of it ----------------------------------------------------------------------------------------------

    def blob(self) -> RamBlob:
        """Return RAM as a blob, of which a copy can be made."""
        return RamBlob(self._ram)

    def replace(self, ram: Ram) -> None:
        """Take `ram`, of the same size, in place of the present RAM."""
        self._ram = ram
        self._rearranged()

    # -- what a processor needs, which reaches RAM by itself ----------------------------------------------------------

    @property
    def ram(self) -> Ram:
        """RAM itself. What is written to it here is not told to `watch`."""
        return self._ram

    def watch(self, *, written: Callable[[], None], rearranged: Callable[[], None]) -> None:
        """Tell the processor when RAM is written to by another, and when other addresses are RAM, or RAM is another."""
        self._written, self._rearranged = written, rearranged

    def unwatch(self) -> None:
        """Tell nobody any more."""
        self._written = self._rearranged = _nobody

    def ram_runs(self) -> list[tuple[int, int]]:
        """Return the runs `(first, size)` of pages that are RAM and nothing else."""
        runs: list[tuple[int, int]] = []
        begin = 0
        for first, region in self._regions:
            end = first // PAGE_SIZE * PAGE_SIZE
            if begin < min(end, self.size):
                runs.append((begin, min(end, self.size) - begin))
            begin = max(begin, -(-(first + region.size) // PAGE_SIZE) * PAGE_SIZE)
        if begin < self.size:
            runs.append((begin, self.size - begin))
        return runs

    def roms(self) -> list[tuple[int, bytes]]:
        """Return the ROMs: where each begins, and its content. A processor runs code there, too."""
        return [(first, region.rom) for first, region in self._regions if region.rom is not None]

    def is_ram(self, page: int) -> bool:
        """Whether the page at address `page` is RAM and nothing else."""
        return page + PAGE_SIZE <= self.size and not (self._regions and self._region(page, PAGE_SIZE))


def _nobody() -> None:
    """Nobody watches."""


def _dropped(_offset: int, _width: int, _value: int) -> None:
    """Drop what is written to ROM."""


def ram_of(blob: Blob, progress: Callable[[int, int], None] | None = None) -> Ram:
    """Return new RAM with the content of `blob`, whose every piece has been read and verified by then.

    `progress` is told now and then how many bytes have been gone through, and how many there are.

    Raises:
        StorageError: the host has no memory for it.
    """
    if isinstance(blob, ReadyRam):
        return blob.ram
    ram = _zeroed(blob.size)
    try:
        if isinstance(ram, mmap.mmap):
            with memoryview(ram) as view:
                for index, piece in blob.pieces():
                    start = index * blob.piece_size
                    view[start : start + len(piece)] = piece
                    if progress is not None and not index % _PROGRESS:
                        progress(start, blob.size)
    except MemoryError as exc:
        raise _no_memory(blob.size, exc) from exc
    return ram


def _no_memory(size: int, exc: Exception) -> StorageError:
    return StorageError(f"{size} bytes of RAM are more than this host gives: {str(exc) or type(exc).__name__}")


def _zeroed(size: int) -> Ram:
    try:
        return mmap.mmap(-1, size) if size else bytearray()
    except (OSError, OverflowError, MemoryError) as exc:
        raise _no_memory(size, exc) from exc
