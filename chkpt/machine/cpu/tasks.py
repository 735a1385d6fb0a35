"""The switch to another task through a task gate (SDM vol. 3, 7.3). The engine does the IRET back."""

from dataclasses import dataclass

from chkpt.machine.cpu.paging import FaultError, Linear
from chkpt.machine.cpu.registers import (
    BIG,
    CODE,
    CONFORMING,
    CS,
    NT,
    NULL,
    PG,
    PRESENT,
    SP,
    SS,
    VM,
    WRITABLE,
    Registers,
    Segment,
)
from chkpt.machine.cpu.segments import Segments, unpack_descriptor

_TS_FAULT, _NP, _SS_FAULT, _GP = 10, 11, 12, 13
_LDTR, _TR = 6, 7
_TS_FLAG = 1 << 3  # CR0.TS
_BUSY, _IS_32 = 1 << 9, 1 << 11  # of a task-state segment's flags
_KIND = 0x1F00  # S and the type
_V86_FLAGS = 0xF300  # a virtual-8086 segment: present, level 3, writable data (20.2.1)


@dataclass(frozen=True, slots=True)
class _Form:
    """The offsets in a task-state segment (figures 7-2 and 7-10)."""

    width: int
    ip: int  # then the flags and 8 general registers
    segments: int
    count: int  # of segment registers
    ldt: int
    cr3: int | None
    size: int


_FORM_16 = _Form(2, 0x0E, 0x22, 4, 0x2A, None, 0x2C)
_FORM_32 = _Form(4, 0x20, 0x48, 6, 0x60, 0x1C, 0x68)


def switch_task(
    registers: Registers,
    linear: Linear,
    segments: Segments,
    selector: int,
    error: int | None,
    *,
    external: bool,
    pushed_flags: int,
) -> None:
    """Nest the task of `selector` in the present one, whose saved EFLAGS also get `pushed_flags`.

    Raises:
        FaultError: the switch is not possible. The fault is one of the present task, or of the new task if its
            registers are loaded.
    """
    ext = int(external)
    code = selector & 0xFFFC | ext
    if selector & 4 or not selector & ~3:
        raise FaultError(_GP, code)
    at = segments.address(selector, _GP, ext)
    task = unpack_descriptor(selector, linear.load(at, 8))
    if task.flags & _KIND & ~_IS_32 != 1 << 8:  # an available one, of 16 or 32 bits
        raise FaultError(_GP, code)
    if not task.flags & PRESENT:
        raise FaultError(_NP, code)
    form = _FORM_32 if task.flags & _IS_32 else _FORM_16
    if task.limit < form.size - 1:
        raise FaultError(_TS_FAULT, code)
    image = linear.read(task.base, form.size)
    old = registers.segment(_TR)
    _store(registers, linear, old, pushed_flags)
    linear.write(task.base, old.selector.to_bytes(2, "little"))
    linear.write(at + 5, bytes([task.flags >> 8 & 0xFF | _BUSY >> 8]))
    registers.set_segment(_TR, task._replace(flags=task.flags | _BUSY))
    registers.set_cr(0, registers.cr(0) | _TS_FLAG)
    _load(registers, segments, linear, image=image, form=form, ext=ext)
    if error is not None:
        _push(registers, linear, error, form.width)


def _store(registers: Registers, linear: Linear, old: Segment, pushed_flags: int) -> None:
    """Put the registers into the present task's segment, with `pushed_flags` set in the saved EFLAGS."""
    form = _FORM_32 if old.flags & _IS_32 else _FORM_16
    mask = (1 << 8 * form.width) - 1
    values = [registers.eip, registers.eflags | pushed_flags, *(registers[each] for each in range(8))]
    linear.write(old.base + form.ip, b"".join((each & mask).to_bytes(form.width, "little") for each in values))
    selectors = [registers.segment(each).selector for each in range(form.count)]
    linear.write(old.base + form.segments, b"".join(each.to_bytes(form.width, "little") for each in selectors))


def _load(registers: Registers, segments: Segments, linear: Linear, *, image: bytes, form: _Form, ext: int) -> None:
    """Load the registers of the new task."""

    def word(at: int) -> int:
        return int.from_bytes(image[at : at + form.width], "little")

    if form.cr3 is not None and registers.cr(0) & PG:
        registers.set_cr(3, word(form.cr3))
    registers.eip = word(form.ip)
    registers.eflags = word(form.ip + form.width) | NT | 2
    for each in range(8):
        registers[each] = word(form.ip + (2 + each) * form.width)
    selectors = [word(form.segments + each * form.width) & 0xFFFF for each in range(form.count)] + [0] * (
        6 - form.count
    )
    for each, selector in enumerate(selectors):
        registers.set_segment(each, NULL._replace(selector=selector))
    registers.set_segment(_LDTR, NULL)
    ldt = word(form.ldt) & 0xFFFF
    if ldt & ~3:
        at = segments.address(ldt & ~4, _TS_FAULT, ext) if not ldt & 4 else None
        table = NULL if at is None else unpack_descriptor(ldt, linear.load(at, 8))
        if table.flags & (_KIND | PRESENT) != 0x200 | PRESENT:
            raise FaultError(_TS_FAULT, ldt & 0xFFFC | ext)
        registers.set_segment(_LDTR, table)
    if registers.eflags & VM:
        for each, selector in enumerate(selectors):
            registers.set_segment(each, Segment(selector, selector << 4, 0xFFFF, _V86_FLAGS))
        return
    for each in (CS, SS, *(each for each in range(6) if each not in {CS, SS})):
        registers.set_segment(each, _find_segment(segments, each, selectors[each], selectors[CS] & 3, ext))


def _find_segment(segments: Segments, register: int, selector: int, level: int, ext: int) -> Segment:
    """Return the segment for a register of the new task. Raise FaultError if it does not fit."""
    if not selector & ~3:
        if register in {CS, SS}:
            raise FaultError(_TS_FAULT, selector & 0xFFFC | ext)
        return NULL._replace(selector=selector)
    code = selector & 0xFFFC | ext
    segment = segments.find(selector, _TS_FAULT, ext)
    flags = segment.flags
    if register == CS:
        fits = bool(flags & CODE) and (segment.dpl <= level if flags & CONFORMING else segment.dpl == level)
    elif register == SS:
        fits = not flags & CODE and bool(flags & WRITABLE) and segment.dpl == level == selector & 3
    else:
        readable = not flags & CODE or bool(flags & WRITABLE)
        conforming = flags & (CODE | CONFORMING) == CODE | CONFORMING
        fits = readable and (conforming or segment.dpl >= max(level, selector & 3))
    if not fits:
        raise FaultError(_TS_FAULT, code)
    if not flags & PRESENT:
        raise FaultError(_SS_FAULT if register == SS else _NP, code)
    return segments.mark_accessed(segment)


def _push(registers: Registers, linear: Linear, error: int, width: int) -> None:
    """Push the error code on the new task's stack."""
    stack = registers.segment(SS)
    mask = 0xFFFF_FFFF if stack.flags & BIG else 0xFFFF
    pointer = (registers[SP] - width) & mask
    if pointer + width - 1 > stack.limit:
        raise FaultError(_SS_FAULT, 1)
    linear.write(stack.base + pointer, error.to_bytes(width, "little"), user=stack.dpl == 3)
    registers[SP] = registers[SP] & ~mask | pointer
