"""The state after power-on (SDM vol. 3, table 10-1), and the model-specific registers that are state."""

from typing import Final

from chkpt.errors import StateError
from chkpt.machine.cpu.contract import Activity, CpuState, SegmentState, TableState
from chkpt.machine.cpu.registers import LMA, PG

_PAT: Final = 0x277
_MCG_STATUS, _MCG_CTL, _MC0_CTL = 0x17A, 0x17B, 0x400
_ALL_ONES: Final = frozenset((_MCG_CTL, *range(_MC0_CTL, _MC0_CTL + 40, 4)))
"""The registers that enable machine checks: all ones after power-on."""

MSRS: Final = tuple(sorted({
    0x174, 0x175, 0x176,  # SYSENTER_CS, _ESP, _EIP
    _MCG_STATUS, *_ALL_ONES,
    *range(_MC0_CTL, _MC0_CTL + 40),  # machine checks: CPUID has none, but the engine keeps ten banks
    0x1A0,  # MISC_ENABLE
    *range(0x200, 0x210), 0x250, 0x258, 0x259, *range(0x268, 0x270), 0x2FF,  # MTRRs: the same
    _PAT,
    0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084,  # STAR, LSTAR, CSTAR, FMASK
    0xC000_0102, 0xC000_0103,  # KERNEL_GS_BASE, TSC_AUX
    0xD90, 0xC001_0117,  # BNDCFGS, VM_HSAVE_PA: the same
}))  # fmt: skip
"""The numbers of the model-specific registers that are saved; EFER, FS_BASE and GS_BASE are registers of their own."""

# FCW, FTW (all empty), MXCSR and its mask after power-on and FNINIT, with which every BIOS begins
_FXSAVE: Final = bytes.fromhex("7f03").ljust(24, b"\0") + bytes.fromhex("801f0000 ffff0000")
_POWER_ON: Final = {_PAT: 0x0007_0406_0007_0406, **dict.fromkeys(_ALL_ONES, (1 << 64) - 1)}


def power_on(ticks: int, *, a20: bool) -> CpuState:
    """Return the state after power-on.

    The base of CS is F0000, not FFFF0000: the same code is there, and A20, which a reset leaves, does not hide it.
    """
    data = SegmentState(0, 0, 0xFFFF, 0x9300)
    code = SegmentState(0xF000, 0xF_0000, 0xFFFF, 0x9B00)
    table = TableState(0, 0xFFFF)
    return CpuState(
        ticks=ticks, activity=Activity.ACTIVE, reason="", sync=True, shadow=False, a20=a20, rip=0xFFF0, rflags=2,
        rax=0, rcx=0, rdx=0x663, rbx=0, rsp=0, rbp=0, rsi=0, rdi=0, r8=0, r9=0, r10=0, r11=0, r12=0,
        r13=0, r14=0, r15=0,
        es=data, cs=code, ss=data, ds=data, fs=data, gs=data,
        ldtr=SegmentState(0, 0, 0xFFFF, 0x8200), tr=SegmentState(0, 0, 0xFFFF, 0x8B00), gdtr=table, idtr=table,
        cr0=0x6000_0010, cr2=0, cr3=0, cr4=0, cr8=0, efer=0, dr=(0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400),
        fxsave=_FXSAVE.ljust(512, b"\0"), fcs=0, fds=0,
        msrs=tuple((msr, _POWER_ON.get(msr, 0)) for msr in MSRS),
    )  # fmt: skip


def check_state(state: CpuState) -> None:
    """Raise StateError if no processor can be in `state`."""
    strange = next((msr for msr, _ in state.msrs if msr not in MSRS), None)
    if strange is not None:
        raise StateError(f"cpu.msrs has {strange:#x}, which this processor does not have")
    if bool(state.efer & LMA) and not state.cr0 & PG:
        raise StateError("cpu.efer has long mode active, but cpu.cr0 has no paging")
    if state.cr8 > 15:
        raise StateError(f"cpu.cr8 is {state.cr8}, not a priority of 0 to 15")
