"""Where Unicorn keeps the registers, found by writing marks through its public interface and searching for them.

A saved context of the engine is a copy of QEMU's `CPUX86State`, whose layout depends on the build. So this assumes
nothing: registers that have no mark are compared with the values that a new engine must have.
"""

import ctypes
from typing import Final

from unicorn import Uc, x86_const  # noqa: TID253  only a machine with such a CPU imports this
from unicorn.unicorn import UcContext  # noqa: TID253

from chkpt.errors import ConfigError
from chkpt.extras import UNICORN
from chkpt.machine.cpu.registers import Layout, Registers

HEADER: Final = 40
"""Bytes of a context before the registers; they hold pointers of the engine."""

_REGISTERS: Final = tuple(
    getattr(x86_const, f"UC_X86_REG_{name}")
    for name in [
        "RAX",
        "RCX",
        "RDX",
        "RBX",
        "RSP",
        "RBP",
        "RSI",
        "RDI",
        "R8",
        "R9",
        "R10",
        "R11",
        "R12",
        "R13",
        "R14",
        "R15",
    ]
)
_DEBUG: Final = tuple(getattr(x86_const, f"UC_X86_REG_DR{number}") for number in range(4))
_LSTAR: Final = 0xC000_0082
_CR2: Final = 0x0000_0123_4567_89A0
_GDTR: Final = (0, 0x0000_0123_4567_8000, 0x7F, 0)  # selector, base, limit, flags
_IDTR: Final = (0, 0x0000_0123_4567_9000, 0xFF7, 0)


def buffer_of(context: UcContext) -> memoryview:
    """Return the bytes of a context after its header, as live memory. Keep the context while they are used."""
    address = ctypes.cast(context.context, ctypes.c_void_p).value
    return memoryview((ctypes.c_ubyte * (context.size - HEADER)).from_address((address or 0) + HEADER)).cast("B")


def discover(uc: Uc) -> Layout:
    """Return the layout of a new engine in 64-bit mode, which cannot be used for anything else afterwards.

    Raises:
        ConfigError: chkpt does not know how to drive this build.
    """
    marks = [0x1122_3344_5566_0000 + at for at in range(16)]
    for register, mark in zip(_REGISTERS, marks, strict=True):
        uc.reg_write(register, mark)
    debug = [0x0000_1122_3344_0000 + 8 * at for at in range(4)]
    for register, mark in zip(_DEBUG, debug, strict=True):
        uc.reg_write(register, mark)
    lstar = 0x0000_7711_2233_4400
    uc.reg_write(x86_const.UC_X86_REG_MSR, (_LSTAR, lstar))
    uc.reg_write(x86_const.UC_X86_REG_CR2, _CR2)
    uc.reg_write(x86_const.UC_X86_REG_GDTR, _GDTR)
    uc.reg_write(x86_const.UC_X86_REG_IDTR, _IDTR)
    context = uc.context_save()  # a name keeps it alive while its bytes are copied
    whole = bytes(buffer_of(context))
    layout = Layout(
        len(whole),
        _find_marks(whole, marks, "the general registers"),
        _find_marks(whole, [lstar], "LSTAR"),
        _find_marks(whole, debug, "the debug registers"),
    )
    _verify(layout, whole)
    return layout


def _find_marks(whole: bytes, marks: list[int], what: str) -> int:
    pattern = b"".join(mark.to_bytes(8, "little") for mark in marks)
    at = whole.find(pattern)
    if at < 0 or at % 8 or whole.find(pattern, at + 1) >= 0:
        raise _unknown_build(f"{what} cannot be found")
    return at


def _verify(layout: Layout, whole: bytes) -> None:
    """Compare the registers without marks with those of a new engine."""
    if layout.regs + 600 > layout.lstar or layout.lstar + 24 > layout.dr or layout.dr + 168 != len(whole):
        raise _unknown_build("the registers are in another order")
    aligned = (ctypes.c_uint64 * (len(whole) // 8)).from_buffer_copy(whole)
    registers = Registers(memoryview(aligned), layout)
    expected = {
        "EFER": (registers.efer, 0x500),
        "the A20 mask": (registers.a20, True),
        "CR0": (registers.cr(0) & 0x8000_0001, 1),
        "CR2": (registers.cr(2), _CR2),
        "GDTR": (registers.segment(8).base, _GDTR[1]),
        "CR3": (registers.cr(3), 0),
        "the direction": (registers.direction, 1),
        "the mode": (registers.hflags & 0xC080, 0xC080),
        "the rest of the mode": (registers.hflags2, 1),
        "the task priority": (registers.task_priority, 0),
        "the limit of IDTR": (registers.segment(9).limit, _IDTR[2]),
        "the present exception": (int.from_bytes(whole[layout.old_exception :][:4], "little"), 0xFFFF_FFFF),
    }
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise _unknown_build(f"{what} reads {found:#x}, not {wanted:#x}")


def _unknown_build(reason: str) -> ConfigError:
    return ConfigError(
        f"chkpt does not know how to drive this build of unicorn: {reason}; it knows pip install '{UNICORN}'"
    )
