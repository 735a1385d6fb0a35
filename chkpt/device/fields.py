"""What the fields of a state and of a configuration may be."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar, Protocol, TypeAlias, runtime_checkable

from chkpt.context import Blob, Value


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value of an integer field, both allowed."""

    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class Length:
    """The least and the greatest length of a `bytes`, `str` or tuple field, both allowed."""

    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class MachineTime:
    """Marks an integer field as a time: absolute nanoseconds on the machine's clock.

    A load that does not set the machine's clock shifts these fields, and no others, by the difference of the clocks.
    """


U1: TypeAlias = Annotated[int, Range(0, 1)]
U2: TypeAlias = Annotated[int, Range(0, 3)]
U3: TypeAlias = Annotated[int, Range(0, 7)]
U4: TypeAlias = Annotated[int, Range(0, 0xF)]
U7: TypeAlias = Annotated[int, Range(0, 0x7F)]
U8: TypeAlias = Annotated[int, Range(0, 0xFF)]
U16: TypeAlias = Annotated[int, Range(0, 0xFFFF)]
U32: TypeAlias = Annotated[int, Range(0, 0xFFFF_FFFF)]
U48: TypeAlias = Annotated[int, Range(0, 0xFFFF_FFFF_FFFF)]
U64: TypeAlias = Annotated[int, Range(0, 0xFFFF_FFFF_FFFF_FFFF)]
Time: TypeAlias = Annotated[int, Range(-(1 << 63), (1 << 63) - 1), MachineTime()]
"""Absolute nanoseconds of the machine's clock."""


class OfMachine(Enum):
    """Marks a field of a configuration that the machine fills in if the table does not have it."""

    RAM_BELOW_4G = "bytes of RAM below 4 GiB"
    RAM_FROM_4G = "bytes of RAM from 4 GiB on"
    DISKS = "sectors of the ATA disks"
    """Four numbers: of the drives 0 and 1 of the channel at port 0x1f0, then of those at 0x170; 0 for none."""


@runtime_checkable
class State(Protocol):
    """A frozen, slotted dataclass with a VERSION; every field annotated with its range.

    Fields may be: an integer with a `Range` (U8, Time, ...), `bool`, `bytes` or `str` with a `Length`, an `Enum` of
    str or int, `Blob`, another such dataclass (it becomes a child context), `X | None` of these, a fixed tuple
    `tuple[A, B]` or a `tuple[A, ...]` with a `Length`.

    `UPGRADES[n]` (optional) turns the nested dict of version n into that of version n + 1.

    `FIXED` (optional) names the fields that come from the configuration or the host. They are in the state only to be
    compared: a load refuses a value that differs from the device's, and a context (`X | None`) that only one side has.
    `chkpt compat` reads `FIXED`; the device's `load` compares.
    """

    VERSION: ClassVar[int]


StateDict: TypeAlias = "dict[str, Value | Blob]"
"""A state as nested dicts of values and blobs."""


class Upgrade(Protocol):
    """A pure function from the nested dict of one version of a state to that of the next version.

    A dict inside it that the function passes on keeps its saved version, and its own dataclass upgrades it. A dict that
    the function makes must be of the present version of its dataclass.
    """

    def __call__(self, state: StateDict, /) -> StateDict:
        """Return the state in the form of the next version."""
