"""SYSCALL and SYSENTER, which the engine does not do (SDM vol. 2B)."""

from chkpt.machine.cpu.delivery import GP, UD, Cause, Event
from chkpt.machine.cpu.registers import CS, CX, IF, LMA, LONG, PE, RF, SCE, SP, SS, VM, Registers, Segment

_R11 = 11
_CODE_32, _CODE_64, _DATA = 0x00C0_9B00, 0x00A0_9B00, 0x00C0_9300
_TOP = 0xFFFF_FFFF


def enter_syscall(registers: Registers, after: int) -> Event | None:
    """Do SYSCALL; `after` is the next instruction's address. Return an exception if it is not allowed."""
    if not registers.efer & SCE or not registers.cr(0) & PE or not registers.efer & LMA:
        return Event(UD, Cause.EXCEPTION)  # as with Intel, only long mode has it
    star, lstar, cstar, mask = registers.star()
    from_64 = bool(registers.segment(CS).flags & LONG)
    registers[CX] = after
    registers[_R11] = registers.eflags & ~RF
    selector = star >> 32 & 0xFFFC
    registers.set_segment(CS, Segment(selector, 0, _TOP, _CODE_64))
    registers.set_segment(SS, Segment(selector + 8, 0, _TOP, _DATA))
    registers.eflags = registers.eflags & ~(mask | RF) & 0xFFFF_FFFF | 2
    registers.eip = lstar if from_64 else cstar
    return None


def enter_sysenter(registers: Registers, _after: int, msrs: tuple[int, ...]) -> Event | None:
    """Do SYSENTER; return an exception if it is not allowed. `msrs` are SYSENTER_CS, _ESP, _EIP."""
    base, pointer, entry = msrs
    if not registers.cr(0) & PE or not base & 0xFFFC:
        return Event(GP, Cause.EXCEPTION, 0)
    selector = base & 0xFFFC
    long = bool(registers.efer & LMA)
    registers.set_segment(CS, Segment(selector, 0, _TOP, _CODE_64 if long else _CODE_32))
    registers.set_segment(SS, Segment(selector + 8, 0, _TOP, _DATA))
    registers.eflags &= ~(VM | IF | RF)
    registers[SP] = pointer if long else pointer & _TOP
    registers.eip = entry if long else entry & _TOP
    return None
