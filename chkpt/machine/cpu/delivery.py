"""Interrupts and exceptions, delivered as a processor does (SDM vol. 3, chapter 6); the engine leaves this to us.

Real mode, 16- and 32-bit protected mode, virtual-8086 mode, compatibility and 64-bit mode; interrupt, trap and task
gates; stack switches and IST; error codes; faults during delivery, #DF and the triple fault. A delivery reads and
checks everything before it changes anything, so one that faults leaves the registers as they were.
"""

from dataclasses import dataclass
from enum import Enum, auto

from chkpt.machine.cpu.paging import FaultError, Linear
from chkpt.machine.cpu.registers import (
    AC,
    BIG,
    CODE,
    CONFORMING,
    CS,
    DS,
    ES,
    EXPAND_DOWN,
    FS,
    GS,
    IF,
    LMA,
    LONG,
    NT,
    NULL,
    PE,
    PRESENT,
    RF,
    SP,
    SS,
    TF,
    VM,
    WRITABLE,
    Registers,
    Segment,
)
from chkpt.machine.cpu.segments import Segments, Tss
from chkpt.machine.cpu.tasks import switch_task

DE, UD, DF, TS, NP, SS_FAULT, GP, PF, AC_FAULT = 0, 6, 8, 10, 11, 12, 13, 14, 17
WITH_ERROR = frozenset({DF, TS, NP, SS_FAULT, GP, PF, AC_FAULT})
"""The exceptions that push an error code in protected mode (SDM vol. 3, table 6-1)."""

_FAULTS = frozenset({DE, 5, UD, 7, TS, NP, SS_FAULT, GP, PF, 16, AC_FAULT, 19})
"""The faults but #DB: they push RFLAGS with RF set (SDM vol. 3, 17.3.1.1).

RF lets the instruction run without its breakpoint when the handler returns.
"""

_CONTRIBUTORY = frozenset({DE, TS, NP, SS_FAULT, GP})  # table 6-4
_TASK, _KIND_32, _TRAP = 5, 8, 1  # bits of a gate's type: 6, 7 are 16-bit, E, F 32- or 64-bit; odd ones leave IF
_CANONICAL = 1 << 47


class TripleFaultError(Exception):
    """A fault during the delivery of a double fault: the processor shuts down."""


class Cause(Enum):
    """The cause of an event."""

    EXCEPTION = auto()
    INTERRUPT = auto()  # from outside
    SOFTWARE = auto()  # INT n, INT3, INTO: the gate's privilege level counts


@dataclass(frozen=True, slots=True)
class Event:
    """An interrupt or exception to deliver."""

    vector: int
    cause: Cause
    error: int | None = None

    @property
    def is_software(self) -> bool:
        """Whether an instruction of the guest raised it on purpose."""
        return self.cause is Cause.SOFTWARE

    @property
    def is_external(self) -> bool:
        """Whether faults during delivery have EXT set in their error codes (SDM vol. 3, 6.13)."""
        return self.cause is not Cause.SOFTWARE

    @property
    def pushed_flags(self) -> int:
        """The bits that the pushed RFLAGS have in addition."""
        return RF if self.cause is Cause.EXCEPTION and self.vector in _FAULTS else 0


@dataclass(frozen=True, slots=True)
class _Gate:
    kind: int
    selector: int
    offset: int
    ist: int


@dataclass(frozen=True, slots=True)
class _Stack:
    """The stack that a frame goes to."""

    segment: Segment
    pointer: int
    fresh: bool  # not the present one


class Delivery:
    """Delivers events to one processor."""

    def __init__(self, registers: Registers, linear: Linear) -> None:
        self._registers = registers
        self._linear = linear
        self._segments = Segments(registers, linear)

    def deliver(self, event: Event, *, retry: int | None = None) -> None:
        """Deliver `event`, or the fault that its delivery raises.

        Args:
            event: the first event.
            retry: the EIP of a software interrupt's own instruction, to which a fault during delivery returns.

        Raises:
            TripleFaultError: the processor shuts down. The registers are as they were before the last attempt.
        """
        while True:
            try:
                self._enter(event)
            except FaultError as fault:
                if event.is_software and retry is not None:
                    self._registers.eip = retry
                if fault.address is not None:
                    self._registers.set_cr(2, fault.address)
                event = _escalate(event, fault)
            else:
                self._registers.settle()
                self._registers.forget_exception()
                return

    def _enter(self, event: Event) -> None:
        if not self._registers.cr(0) & PE:
            self._enter_real(event)
        elif self._registers.efer & LMA:
            self._enter_long(event)
        else:
            self._enter_protected(event)

    # -- real mode (SDM vol. 3, 20.1.4) -------------------------------------------------------------------------------

    def _enter_real(self, event: Event) -> None:
        registers = self._registers
        table = registers.segment(9)
        if event.vector * 4 + 3 > table.limit:
            raise FaultError(GP)
        entry = self._linear.load(table.base + event.vector * 4, 4)
        cs = registers.segment(CS)
        flags = registers.eflags & 0xFFFF
        stack = _Stack(registers.segment(SS), registers[SP], fresh=False)
        self._push(stack, (flags, cs.selector, registers.eip), 2, user=False)
        registers.eflags &= ~(IF | TF | AC | RF)
        registers.set_segment(CS, Segment(entry >> 16, entry >> 16 << 4, cs.limit, cs.flags))
        registers.eip = entry & 0xFFFF

    # -- protected and virtual-8086 mode (6.12, 20.3) -----------------------------------------------------------------

    def _enter_protected(self, event: Event) -> None:
        registers = self._registers
        gate = self._find_gate(event, 8)
        if gate.kind == _TASK:
            switch_task(
                registers,
                self._linear,
                self._segments,
                gate.selector,
                event.error,
                external=event.is_external,
                pushed_flags=event.pushed_flags,
            )
            return
        was, virtual = registers.cpl, bool(registers.eflags & VM)
        cs, level = self._find_code(gate.selector, event)
        if virtual and level != 0:
            raise FaultError(GP, _selector_error(gate.selector, event))
        inner = level < was
        width = 4 if gate.kind & _KIND_32 else 2
        old = registers.segment(SS)
        stack = self._find_inner_stack(level, event) if inner else _Stack(old, registers[SP], fresh=False)
        frame: list[int] = []
        if virtual:
            frame += [registers.segment(each).selector for each in (GS, FS, DS, ES)]
        if inner:
            frame += [old.selector, registers[SP]]
        frame += [registers.eflags | event.pushed_flags, registers.segment(CS).selector, registers.eip]
        if event.error is not None:
            frame.append(event.error)
        if gate.offset > cs.limit:
            raise FaultError(GP, int(event.is_external))
        self._push(stack, tuple(frame), width, user=level == 3, external=event.is_external)
        if virtual:
            for each in (GS, FS, DS, ES):
                registers.set_segment(each, NULL)
        self._enter_handler(cs, gate, level)

    def _find_inner_stack(self, level: int, event: Event) -> _Stack:
        """Return the stack of an inner ring from the task-state segment (figures 7-2 and 7-10)."""
        ext = int(event.is_external)
        pointer, selector = Tss(self._registers, self._linear).stack(level, ext)
        if not selector & ~3:
            raise FaultError(TS, ext)
        code = selector & 0xFFFC | ext
        segment = self._segments.find(selector, TS, ext)
        if selector & 3 != level or segment.dpl != level or not _is_writable(segment):
            raise FaultError(TS, code)
        if not segment.flags & PRESENT:
            raise FaultError(SS_FAULT, code)
        return _Stack(self._segments.mark_accessed(segment), pointer, fresh=True)

    # -- long mode (6.14) ---------------------------------------------------------------------------------------------

    def _enter_long(self, event: Event) -> None:
        registers = self._registers
        gate = self._find_gate(event, 16)
        was = registers.cpl
        cs, level = self._find_code(gate.selector, event)
        old = registers.segment(SS)
        ext = int(event.is_external)
        if gate.ist:
            pointer = Tss(registers, self._linear).pointer(0x1C + 8 * gate.ist, ext)
        elif level < was:
            pointer = Tss(registers, self._linear).pointer(4 + 8 * level, ext)
        else:
            pointer = registers[SP]
        pointer &= ~0xF
        if not _is_canonical(pointer) or not _is_canonical(pointer - 1):
            raise FaultError(SS_FAULT, ext)
        if not _is_canonical(gate.offset):
            raise FaultError(GP, ext)
        flags = registers.eflags | event.pushed_flags
        frame = [old.selector, registers[SP], flags, registers.segment(CS).selector, registers.eip]
        if event.error is not None:
            frame.append(event.error)
        data = b"".join(each.to_bytes(8, "little") for each in reversed(frame))
        self._linear.write(pointer - len(data), data, user=level == 3)
        registers[SP] = pointer - len(data)
        if level != was:
            registers.set_segment(SS, Segment(level, 0, 0, level << 13))
        self._enter_handler(cs, gate, level)

    # -- for all modes ------------------------------------------------------------------------------------------------

    def _find_gate(self, event: Event, size: int) -> _Gate:
        """Return the gate of an event. Raise FaultError if it cannot be used."""
        table = self._registers.segment(9)
        code = event.vector * 8 | 2 | event.is_external
        if event.vector * size + size - 1 > table.limit:
            raise FaultError(GP, code)
        raw = self._linear.load(table.base + event.vector * size, size)
        kind, level = raw >> 40 & 0x1F, raw >> 45 & 3
        if kind not in ({0xE, 0xF} if size == 16 else {_TASK, 6, 7, 0xE, 0xF}):
            raise FaultError(GP, code)
        if event.is_software and level < self._registers.cpl:
            raise FaultError(GP, code)
        if not raw & 1 << 47:
            raise FaultError(NP, code)
        offset = raw & 0xFFFF
        if kind & _KIND_32:
            offset |= raw >> 32 & 0xFFFF_0000
        if size == 16:
            offset |= raw >> 64 << 32 & 0xFFFF_FFFF_0000_0000
        return _Gate(kind, raw >> 16 & 0xFFFF, offset, raw >> 32 & 7 if size == 16 else 0)

    def _find_code(self, selector: int, event: Event) -> tuple[Segment, int]:
        """Return the code segment of a gate, and the level of the handler. Raise FaultError if it cannot be used."""
        if not selector & ~3:
            raise FaultError(GP, int(event.is_external))
        code, was = _selector_error(selector, event), self._registers.cpl
        cs = self._segments.find(selector, GP, int(event.is_external))
        if not cs.flags & CODE or cs.dpl > was:
            raise FaultError(GP, code)
        if self._registers.efer & LMA and cs.flags & (LONG | BIG) != LONG:
            raise FaultError(GP, code)
        if not cs.flags & PRESENT:
            raise FaultError(NP, code)
        level = was if cs.flags & CONFORMING else cs.dpl
        return self._segments.mark_accessed(cs)._replace(selector=selector & ~3 | level), level

    def _push(self, stack: _Stack, frame: tuple[int, ...], width: int, *, user: bool, external: bool = False) -> None:
        """Put the frame on a stack, the first value first, and make it the present stack."""
        mask = 0xFFFF_FFFF if stack.segment.flags & BIG else 0xFFFF
        size = len(frame) * width
        bottom = (stack.pointer - size) & mask
        code = stack.segment.selector & 0xFFFC if stack.fresh else 0
        if not _is_within(stack.segment, bottom, size, mask):
            raise FaultError(SS_FAULT, code | external)
        data = b"".join((each & (1 << 8 * width) - 1).to_bytes(width, "little") for each in reversed(frame))
        split = min(size, mask + 1 - bottom)  # a stack of 64 KiB may wrap
        if split < size:
            self._linear.translate(stack.segment.base & 0xFFFF_FFFF, write=True, user=user)  # all or nothing
        self._linear.write(stack.segment.base + bottom, data[:split], user=user)
        self._linear.write(stack.segment.base, data[split:], user=user)
        pointer = stack.pointer if stack.fresh else self._registers[SP]
        self._registers[SP] = pointer & ~mask | bottom
        if stack.fresh:
            self._registers.set_segment(SS, stack.segment)

    def _enter_handler(self, cs: Segment, gate: _Gate, level: int) -> None:
        registers = self._registers
        registers.set_segment(CS, cs)
        registers.eip = gate.offset
        registers.eflags &= ~(TF | NT | RF | VM)
        if not gate.kind & _TRAP:
            registers.eflags &= ~IF
        assert cs.selector & 3 == level


def _escalate(event: Event, fault: FaultError) -> Event:
    """Return the event to deliver after a fault during delivery (SDM vol. 3, table 6-5)."""
    first = event.vector if event.cause is Cause.EXCEPTION else None
    if first == DF:
        raise TripleFaultError
    contributory = fault.vector in _CONTRIBUTORY
    if (first in _CONTRIBUTORY and contributory) or (first == PF and (contributory or fault.vector == PF)):
        return Event(DF, Cause.EXCEPTION, 0)
    return Event(fault.vector, Cause.EXCEPTION, fault.error)


def _selector_error(selector: int, event: Event) -> int:
    return selector & 0xFFFC | event.is_external


def _is_writable(segment: Segment) -> bool:
    return not segment.flags & CODE and bool(segment.flags & WRITABLE)


def _is_canonical(address: int) -> bool:
    return address < _CANONICAL or address >= (1 << 64) - _CANONICAL


def _is_within(segment: Segment, bottom: int, size: int, mask: int) -> bool:
    """Whether a frame lies within a stack segment."""
    top = bottom + size - 1
    if top > mask:  # it wraps, which only a segment of the whole 64 KiB allows
        return mask == 0xFFFF and segment.limit >= mask
    if segment.flags & EXPAND_DOWN:
        return bottom > segment.limit
    return top <= segment.limit
