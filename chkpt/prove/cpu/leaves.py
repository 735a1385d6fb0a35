"""A processor's state, leaf by leaf: each flag, each part of a segment, each register of the FXSAVE image."""

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any, Final

from chkpt.machine.cpu.contract import CpuState

FLAGS: Final = {
    "CF": 0, "PF": 2, "AF": 4, "ZF": 6, "SF": 7, "TF": 8, "IF": 9, "DF": 10, "OF": 11, "NT": 14, "RF": 16, "VM": 17,
    "AC": 18, "VIF": 19, "VIP": 20, "ID": 21,
}  # fmt: skip
"""The flags of RFLAGS by their bits (SDM vol. 1, 3.4.3)."""

IMAGE: Final = (
    ("fcw", "<H", 0), ("fsw", "<H", 2), ("ftw", "<B", 4), ("fop", "<H", 6), ("fip", "<Q", 8), ("fdp", "<Q", 16),
    ("mxcsr", "<I", 24),
)  # fmt: skip


def leaves(state: CpuState) -> Iterator[tuple[str, object]]:
    """Yield the leaves of a state: `cs.limit`, `rflags.AC`, `xmm9`, `msr 0x174`."""
    for field in dataclasses.fields(state):
        yield from _leaf(field.name, getattr(state, field.name))


def _leaf(name: str, value: Any) -> Iterator[tuple[str, object]]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield f"{name}.{field.name}", getattr(value, field.name)
    elif name == "rflags":
        yield from ((f"rflags.{flag}", value >> bit & 1) for flag, bit in FLAGS.items())
        yield "rflags.IOPL", value >> 12 & 3
    elif name == "fxsave":
        yield from ((part, struct.unpack_from(form, value, at)[0]) for part, form, at in IMAGE)
        yield from ((f"st{number}", value[32 + 16 * number :][:10]) for number in range(8))
        yield from ((f"xmm{number}", value[160 + 16 * number :][:16]) for number in range(16))
    elif name == "msrs":
        yield from ((f"msr {number:#x}", content) for number, content in value)
    elif name == "dr":
        yield from ((f"dr{number}", content) for number, content in enumerate(value))
    else:
        yield name, value
