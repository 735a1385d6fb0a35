"""x87, MMX and SSE registers in FXSAVE's form (SDM vol. 1, 10.5.1), through the engine's public interface."""

import struct
from typing import Final

from unicorn import Uc, x86_const  # noqa: TID253  only a machine with such a CPU imports this

_HEADER: Final = struct.Struct("<HHBxHQQII")  # FCW FSW FTW FOP FIP FDP MXCSR MXCSR_MASK
_MASK: Final = 0xFFFF  # MXCSR's bits that may be set, as the engine's own FXSAVE has it
_R0: Final = x86_const.UC_X86_REG_FP0
_XMM0: Final = x86_const.UC_X86_REG_XMM0
_FCW, _FSW, _FTW, _MXCSR, _FOP, _FIP, _FDP = (
    getattr(x86_const, f"UC_X86_REG_{name}") for name in ("FPCW", "FPSW", "FPTAG", "MXCSR", "FOP", "FIP", "FDP")
)


def fxsave(uc: Uc) -> bytes:
    """Return the registers of an engine."""
    status, tags = uc.reg_read(_FSW), uc.reg_read(_FTW)
    top = status >> 11 & 7
    valid = sum(1 << number for number in range(8) if tags >> 2 * number & 3 != 3)
    parts = [
        _HEADER.pack(
            uc.reg_read(_FCW), status, valid, uc.reg_read(_FOP) & 0xFFFF,
            uc.reg_read(_FIP), uc.reg_read(_FDP), uc.reg_read(_MXCSR), _MASK,
        )
    ]  # fmt: skip
    for number in range(8):
        mantissa, exponent = uc.reg_read(_R0 + (top + number) % 8)
        parts.append(struct.pack("<QH6x", mantissa, exponent))
    parts += [uc.reg_read(_XMM0 + number).to_bytes(16, "little") for number in range(16)]
    return b"".join(parts).ljust(512, b"\0")


def fxrstor(uc: Uc, image: bytes) -> None:
    """Put the registers into an engine."""
    fcw, fsw, valid, fop, fip, fdp, mxcsr, _ = _HEADER.unpack_from(image)
    top = fsw >> 11 & 7
    for number in range(8):
        uc.reg_write(_R0 + (top + number) % 8, struct.unpack_from("<QH", image, 32 + 16 * number))
    tags = sum(0 if valid >> number & 1 else 3 << 2 * number for number in range(8))
    for register, value in ((_FCW, fcw), (_FSW, fsw), (_FTW, tags), (_FOP, fop), (_FIP, fip), (_FDP, fdp)):
        uc.reg_write(register, value)
    uc.reg_write(_MXCSR, mxcsr)  # whole: the engine's LDMXCSR takes reserved bits, too
    for number in range(16):
        uc.reg_write(_XMM0 + number, int.from_bytes(image[160 + 16 * number :][:16], "little"))
