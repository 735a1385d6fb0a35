"""Descriptors and task-state segments, as interrupt delivery reads them (SDM vol. 3, 3.4.5 and chapter 7)."""

from chkpt.machine.cpu.paging import FaultError, Linear
from chkpt.machine.cpu.registers import ACCESSED, FLAGS, GRANULAR, Registers, S, Segment

_GDTR, _LDTR, _TR = 8, 6, 7
_TS_FAULT = 10
_IS_32 = 1 << 11  # of a task-state segment's flags: type 9 or 11, not 1 or 3


class Segments:
    """The descriptor tables."""

    def __init__(self, registers: Registers, linear: Linear) -> None:
        self._registers = registers
        self._linear = linear

    def address(self, selector: int, vector: int, ext: int) -> int:
        """Return the linear address of a descriptor. Raise FaultError `vector` if the table has none."""
        table = self._registers.segment(_LDTR if selector & 4 else _GDTR)
        if (selector | 7) > table.limit or (selector & 4 and not table.selector & ~3):
            raise FaultError(vector, selector & 0xFFFC | ext)
        return table.base + (selector & ~7)

    def find(self, selector: int, vector: int, ext: int) -> Segment:
        """Return a code or data segment. Raise FaultError `vector` for another kind, or if there is none."""
        segment = unpack_descriptor(selector, self._linear.load(self.address(selector, vector, ext), 8))
        if not segment.flags & S:
            raise FaultError(vector, selector & 0xFFFC | ext)
        return segment

    def mark_accessed(self, segment: Segment) -> Segment:
        """Mark a segment's descriptor as accessed, as a load does; return the segment."""
        if segment.flags & ACCESSED:
            return segment
        at = self.address(segment.selector, _TS_FAULT, 0) + 5
        self._linear.write(at, bytes([segment.flags >> 8 & 0xFF | 1]))
        return segment._replace(flags=segment.flags | ACCESSED)


class Tss:
    """The present task-state segment."""

    def __init__(self, registers: Registers, linear: Linear) -> None:
        self._tr = registers.segment(_TR)
        self._linear = linear

    def stack(self, level: int, ext: int) -> tuple[int, int]:
        """Return ESP and SS for an inner ring (figures 7-2 and 7-10). Raise FaultError 10 if it has none."""
        if self._tr.flags & _IS_32:
            pointer, selector = self._load(4 + 8 * level, 4, ext), self._load(8 + 8 * level, 2, ext)
        else:
            pointer, selector = self._load(2 + 4 * level, 2, ext), self._load(4 + 4 * level, 2, ext)
        return pointer, selector

    def pointer(self, offset: int, ext: int) -> int:
        """Return a stack pointer of a 64-bit task-state segment (figure 7-11). Raise FaultError 10 if it has none."""
        return self._load(offset, 8, ext)

    def _load(self, offset: int, size: int, ext: int) -> int:
        if offset + size - 1 > self._tr.limit:
            raise FaultError(_TS_FAULT, self._tr.selector & 0xFFFC | ext)
        return self._linear.load(self._tr.base + offset, size)


def unpack_descriptor(selector: int, raw: int) -> Segment:
    """Return a descriptor of 8 bytes as a segment register holds it."""
    flags = raw >> 32 & FLAGS
    limit = raw & 0xFFFF | raw >> 32 & 0xF_0000
    if flags & GRANULAR:
        limit = limit << 12 | 0xFFF
    return Segment(selector, raw >> 16 & 0xFF_FFFF | raw >> 32 & 0xFF00_0000, limit, flags)
