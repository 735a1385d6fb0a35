"""From the engine's registers to a state and back."""

from typing import Any, Final

from chkpt.machine.cpu.contract import Activity, CpuState, SegmentState, TableState
from chkpt.machine.cpu.registers import Registers, Segment

_GENERAL: Final = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
_SEGMENTS: Final = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")  # in the engine's order
_CONTROL: Final = (0, 2, 3, 4)


def registers_into_state(
    registers: Registers,
    *,
    ticks: int,
    activity: Activity,
    reason: str,
    sync: bool,
    fxsave: bytes,
    fcs: int,
    fds: int,
    msrs: tuple[tuple[int, int], ...],
) -> CpuState:
    """Return a state of the registers and of the values that are not in them."""
    gdtr, idtr = registers.segment(8), registers.segment(9)
    values: dict[str, Any] = {name: registers[number] for number, name in enumerate(_GENERAL)}
    values |= {name: SegmentState(*registers.segment(number)) for number, name in enumerate(_SEGMENTS)}
    values |= {f"cr{number}": registers.cr(number) for number in _CONTROL}
    return CpuState(
        ticks=ticks,
        activity=activity,
        reason=reason,
        sync=sync,
        shadow=registers.shadow,
        a20=registers.a20,
        rip=registers.eip,
        rflags=registers.eflags,
        cr8=registers.task_priority,
        gdtr=TableState(gdtr.base, gdtr.limit),
        idtr=TableState(idtr.base, idtr.limit),
        efer=registers.efer,
        dr=tuple(registers.dr(number) for number in range(8)),
        fxsave=fxsave,
        fcs=fcs,
        fds=fds,
        msrs=msrs,
        **values,
    )


def state_into_registers(state: CpuState, registers: Registers) -> None:
    """Put a state into the registers, except for the values that are not in them."""
    for number, name in enumerate(_GENERAL):
        registers[number] = getattr(state, name)
    for number, name in enumerate(_SEGMENTS):
        segment: SegmentState = getattr(state, name)
        registers.set_segment(number, Segment(segment.selector, segment.base, segment.limit, segment.flags))
    registers.set_segment(8, Segment(0, state.gdtr.base, state.gdtr.limit, 0))
    registers.set_segment(9, Segment(0, state.idtr.base, state.idtr.limit, 0))
    for number in _CONTROL:
        registers.set_cr(number, getattr(state, f"cr{number}"))
    registers.task_priority = state.cr8
    for number in range(8):  # which arms no breakpoint: see `UnicornCpu`
        registers.set_dr(number, state.dr[number])
    registers.efer = state.efer
    registers.a20 = state.a20
    registers.eip = state.rip
    registers.eflags = state.rflags
    registers.forget_exception()
    registers.settle(shadow=state.shadow)
