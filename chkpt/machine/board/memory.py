"""Physical memory: RAM from address 0, with ROM and the address ranges of devices over it.

An address with none of these reads as ones, and drops writes.
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
"""An anonymous mapping, which is zero at first; 0 bytes of RAM are an empty bytearray, as no mapping can be empty."""

PAGE_SIZE = 4096
"""A processor maps RAM in pages; `MachineConfig.memory` is a multiple of it."""

PIECE_SIZE = 64 * 1024
"""The size of the pieces that RAM is saved in: so small that in a little-used machine most pieces are zero."""

_ZEROS = bytes(PIECE_SIZE)

_PROGRESS = 64  # pieces between two calls of `progress`

_HUGE = 2 << 20
"""The size of a huge page of x86-64: the kernel gives it with one fault in place of 512."""


@dataclass(frozen=True, slots=True)
class Region:
    """A range of addresses of a device, or a ROM."""

    first: int
    size: int
    read: Read
    write: Write
    rom: bytes | None = None  # the content of a ROM


class RamBlob:
    """RAM as a blob: a view of live memory; use it before the machine runs on."""

    __slots__ = ("_ram", "piece_size", "size")

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self.size = len(ram)
        self.piece_size = PIECE_SIZE

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces that are not all zero."""
        with memoryview(self._ram) as ram:
            for index in _find_nonzero(ram):
                yield index, bytes(ram[index * PIECE_SIZE : (index + 1) * PIECE_SIZE])

    def copy(self) -> "RamCopy":
        """Return a copy of the present content. It takes as much memory as the pieces that are not all zero."""
        with memoryview(self._ram) as ram:
            indexes = _find_nonzero(ram)
            held = _allocate(min(len(indexes) * PIECE_SIZE, self.size))
            if len(held) >= _HUGE and isinstance(held, mmap.mmap):
                with suppress(OSError):  # the kernel has no huge pages
                    held.madvise(mmap.MADV_HUGEPAGE)
            with memoryview(held) as to:
                for at, index in enumerate(indexes):
                    piece = ram[index * PIECE_SIZE : (index + 1) * PIECE_SIZE]
                    to[at * PIECE_SIZE : at * PIECE_SIZE + len(piece)] = piece
        return RamCopy(self.size, indexes, held)


class RamCopy:
    """A copy of RAM, as a blob."""

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
    """RAM that has been read from a blob, ready to become the RAM of a machine."""

    __slots__ = ("piece_size", "ram", "size")

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.size = len(ram)
        self.piece_size = PIECE_SIZE

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces that are not all zero."""
        return RamBlob(self.ram).pieces()


def _find_nonzero(ram: memoryview) -> list[int]:
    """Return the indexes of the pieces that are not all zero; `startswith` compares as fast as memory can be read."""
    return [
        start // PIECE_SIZE
        for start in range(0, len(ram), PIECE_SIZE)
        if not _ZEROS.startswith(ram[start : start + PIECE_SIZE])
    ]


class Memory:
    """What the processor sees at physical addresses."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._ram: Ram = _allocate(size)
        self._regions: list[tuple[int, Region]] = []
        self._on_write: Callable[[], None] = _do_nothing
        self._on_rearrange: Callable[[], None] = _do_nothing

    # -- ranges of devices --------------------------------------------------------------------------------------------

    def map(self, first: int, size: int, read: Read, write: Write) -> Callable[[], None]:
        """Route `size` bytes from `first`; return a function that ends this. No byte may have an owner."""
        return self._add(Region(first, size, read, write))

    def map_rom(self, first: int, image: bytes) -> Callable[[], None]:
        """Put a ROM of whole pages, which drops writes, at `first`; return its removal. No byte may have an owner."""
        if first % PAGE_SIZE or len(image) % PAGE_SIZE:
            raise ValueError(f"a ROM of {len(image)} bytes at {first:#x} does not consist of whole pages")

        def read(offset: int, width: int) -> int:
            return int.from_bytes(image[offset : offset + width], "little")

        return self._add(Region(first, len(image), read, _drop_write, image))

    def _add(self, region: Region) -> Callable[[], None]:
        entry = (region.first, region)
        insort(self._regions, entry, key=lambda item: item[0])
        self._on_rearrange()

        def unmap() -> None:
            self._regions.remove(entry)
            self._on_rearrange()

        return unmap

    def _region(self, address: int, size: int) -> Region | None:
        """Return the first region with any of these bytes."""
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
            self._on_write()
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
        """Read a little-endian number of 1, 2, 4 or 8 bytes; if a device has all of it, in one access."""
        region = self._region(address, width) if self._regions else None
        if region is not None and region.first <= address and address + width <= region.first + region.size:
            return region.read(address - region.first, width) & ((1 << 8 * width) - 1)
        return int.from_bytes(self.read(address, width), "little")

    def store(self, address: int, width: int, value: int) -> None:
        """Write a little-endian number of 1, 2, 4 or 8 bytes; if a device has all of it, in one access."""
        value &= (1 << 8 * width) - 1
        region = self._region(address, width) if self._regions else None
        if region is not None and region.first <= address and address + width <= region.first + region.size:
            region.write(address - region.first, width, value)
        else:
            self.write(address, value.to_bytes(width, "little"))

    # -- the whole of it ----------------------------------------------------------------------------------------------

    def blob(self) -> RamBlob:
        """Return RAM as a blob, which can be copied."""
        return RamBlob(self._ram)

    def replace(self, ram: Ram) -> None:
        """Replace the present RAM by `ram`, of the same size."""
        self._ram = ram
        self._on_rearrange()

    # -- for the processor, which accesses RAM directly ---------------------------------------------------------------

    @property
    def ram(self) -> Ram:
        """RAM itself. A write to it does not call the `on_write` of `watch`."""
        return self._ram

    def watch(self, *, on_write: Callable[[], None], on_rearrange: Callable[[], None]) -> None:
        """Call the processor's functions when others write to RAM, and when RAM or its addresses are exchanged."""
        self._on_write, self._on_rearrange = on_write, on_rearrange

    def unwatch(self) -> None:
        """Call the processor's functions no more."""
        self._on_write = self._on_rearrange = _do_nothing

    def ram_runs(self) -> list[tuple[int, int]]:
        """Return the runs `(first, size)` of pages that are only RAM."""
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
        """Return the first address and the content of each ROM. A processor runs code there, too."""
        return [(first, region.rom) for first, region in self._regions if region.rom is not None]

    def is_ram(self, page: int) -> bool:
        """Whether the page at address `page` is only RAM."""
        return page + PAGE_SIZE <= self.size and not (self._regions and self._region(page, PAGE_SIZE))


def _do_nothing() -> None:
    """Take the place of a watcher while there is none."""


def _drop_write(_offset: int, _width: int, _value: int) -> None:
    """Drop a write to ROM."""


def ram_of(blob: Blob, progress: Callable[[int, int], None] | None = None) -> Ram:
    """Read all of `blob` into new RAM, which verifies it, and return that.

    Now and then `progress` is called with the number of bytes that are done, and of all bytes.

    Raises:
        StorageError: the host does not have enough memory.
    """
    if isinstance(blob, ReadyRam):
        return blob.ram
    ram = _allocate(blob.size)
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


def _allocate(size: int) -> Ram:
    try:
        return mmap.mmap(-1, size) if size else bytearray()
    except (OSError, OverflowError, MemoryError) as exc:
        raise _no_memory(size, exc) from exc
