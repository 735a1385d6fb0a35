"""The few instructions that the random programs are made of, as bytes (SDM vol. 2).

Each takes the mode, 16, 32 or 64: in 16-bit mode 32-bit operands have the prefix 66, in 64-bit mode general registers
are used whole (REX.W). Addresses are absolute and below 64 KiB.
"""

from struct import pack

Bits = int
"""The mode: 16, 32 or 64."""


def wide(bits: Bits) -> bytes:
    """Return the prefix of an instruction with an operand as wide as a register."""
    return {16: b"\x66", 32: b"", 64: b"\x48"}[bits]


def at(bits: Bits, reg: int, address: int) -> bytes:
    """Return ModRM and what follows it, for register `reg` and an absolute address."""
    if bits == 16:
        return pack("<BH", reg << 3 | 6, address)
    return pack("<BI", reg << 3 | 5, address) if bits == 32 else pack("<BBI", reg << 3 | 4, 0x25, address)


def both(reg: int, rm: int) -> bytes:
    """Return ModRM for two registers."""
    return bytes((0xC0 | reg << 3 | rm,))


def move(bits: Bits, reg: int, value: int) -> bytes:
    """MOV reg, value: 32 bits of it, in 64-bit mode 64."""
    if bits == 64:
        return bytes((0x48, 0xB8 | reg)) + pack("<Q", value & (1 << 64) - 1)
    return wide(bits) + bytes((0xB8 | reg,)) + pack("<I", value & 0xFFFF_FFFF)


def store(bits: Bits, address: int, reg: int) -> bytes:
    """MOV [address], reg."""
    return wide(bits) + b"\x89" + at(bits, reg, address)


def load(bits: Bits, reg: int, address: int) -> bytes:
    """MOV reg, [address]."""
    return wide(bits) + b"\x8b" + at(bits, reg, address)


def store_number(bits: Bits, address: int, value: int) -> bytes:
    """MOV dword [address], value."""
    return (b"\x66" if bits == 16 else b"") + b"\xc7" + at(bits, 0, address) + pack("<I", value)


def store_byte(bits: Bits, address: int, value: int) -> bytes:
    """MOV byte [address], value."""
    return b"\xc6" + at(bits, 0, address) + bytes((value,))


def push_flags(bits: Bits, value: int) -> bytes:
    """PUSH value and POPF, of 32 bits."""
    return (b"\x66" if bits == 16 else b"") + b"\x68" + pack("<I", value) + (b"\x66" if bits == 16 else b"") + b"\x9d"


def move_control(number: int, *, to: bool) -> bytes:
    """MOV CRn, EAX or MOV EAX, CRn; CR8 is there in 64-bit mode."""
    return (b"\x44" if number > 7 else b"") + bytes((0x0F, 0x22 if to else 0x20, 0xC0 | (number & 7) << 3))


def move_debug(number: int, *, to: bool) -> bytes:
    """MOV DRn, EAX or MOV EAX, DRn."""
    return bytes((0x0F, 0x23 if to else 0x21, 0xC0 | number << 3))


def port_in_dx(bits: Bits, port: int) -> bytes:
    """MOV DX, port."""
    return (b"" if bits == 16 else b"\x66") + b"\xba" + pack("<H", port)


def out(port: int, value: int) -> bytes:
    """MOV AL, value and OUT port, AL: of the first 256 ports."""
    return bytes((0xB0, value, 0xE6, port))


def sse(bits: Bits, opcode: bytes, xmm: int, address: int) -> bytes:
    """An instruction with XMM `xmm` and memory; XMM8 to 15 are there in 64-bit mode."""
    prefix, code = (opcode[:1], opcode[1:]) if opcode[0] in {0x66, 0xF2, 0xF3} else (b"", opcode)
    rex = b"\x44" if xmm > 7 else b""
    return prefix + rex + code + at(bits, xmm & 7, address)
