"""An unpacked kernel: the loadable segments of an ELF file (System V ABI, "Object Files")."""

from dataclasses import dataclass
from struct import calcsize, iter_unpack, unpack_from
from typing import Final

from chkpt.errors import ConfigError

_HEADER: Final = "<16sHHIQQQIHHHHHH"
_PROGRAM: Final = "<IIQQQQQQ"
_CLASS_64, _LITTLE, _EXECUTABLE, _X86_64, _LOAD = 2, 1, 2, 62, 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of physical addresses: `content`, then zeros up to `size` bytes."""

    address: int
    content: bytes
    size: int

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Executable:
    """The entry, and the segments to load."""

    entry: int
    segments: tuple[Segment, ...]


def parse_elf(content: bytes) -> Executable:
    """Read an ELF file.

    Raises:
        ConfigError: it is not that of a 64-bit x86 kernel, or is cut off.
    """
    if len(content) < calcsize(_HEADER) or not content.startswith(b"\x7fELF"):
        raise ConfigError("the kernel in it is not an ELF file")
    ident, kind, machine, _, entry, at, _, _, _, size, count, *_ = unpack_from(_HEADER, content)
    if (ident[4], ident[5], kind, machine) != (_CLASS_64, _LITTLE, _EXECUTABLE, _X86_64):
        raise ConfigError("the kernel in it is not a 64-bit executable for x86")
    if size != calcsize(_PROGRAM) or at + size * count > len(content):
        raise ConfigError("the kernel in it is cut off: its program headers are incomplete")
    segments = tuple(
        _segment(content, offset, address, file_size, memory_size)
        for what, _, offset, _, address, file_size, memory_size, _ in iter_unpack(
            _PROGRAM, content[at : at + size * count]
        )
        if what == _LOAD and memory_size
    )
    if not any(segment.address <= entry < segment.end for segment in segments):
        raise ConfigError(f"the kernel in it has its entry at {entry:#x}, outside its segments")
    return Executable(entry, segments)


def _segment(content: bytes, offset: int, address: int, file_size: int, memory_size: int) -> Segment:
    if offset + file_size > len(content) or file_size > memory_size:
        raise ConfigError(f"the kernel in it is cut off: its segment for {address:#x} is incomplete")
    return Segment(address, content[offset : offset + file_size], memory_size)
