"""The contract of a processor: what a machine asks of it, what it asks of the machine, and its state.

Time is counted in **ticks**: one tick for each byte of guest code that runs, and more for an access to a port. A
processor stops only between two blocks of code. Nothing is half done there, so the guest cannot notice a stop.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Protocol, TypeAlias

from chkpt.device import U16, U32, U64, Length, Range, Upgrade


class Activity(StrEnum):
    """What a processor does (SDM vol. 3, 24.4.2)."""

    ACTIVE = "active"
    HALTED = "halted"  # by HLT; an interrupt wakes it
    SHUTDOWN = "shutdown"  # by a triple fault, or because it cannot go on; only a reset wakes it


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment register with its hidden part."""

    VERSION: ClassVar[int] = 1

    selector: U16
    base: U64
    limit: U32  # in bytes, G applied
    flags: U32  # bits 8 to 23 of the descriptor's high half, at their places


@dataclass(frozen=True, slots=True)
class TableState:
    """GDTR or IDTR."""

    VERSION: ClassVar[int] = 1

    base: U64
    limit: U32


Ticks: TypeAlias = Annotated[int, Range(0, (1 << 63) - 1)]
Msr: TypeAlias = tuple[U32, U64]


@dataclass(frozen=True, slots=True)
class CpuState:
    """Everything a guest could notice of the processor, in the context `cpu`. It is the same for every engine."""

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: lambda plain: {**plain, "fcs": 0, "fds": 0}}

    ticks: Ticks  # since the machine was made; a reset does not set them back
    activity: Activity
    reason: Annotated[str, Length(0, 200)]  # of a shutdown
    sync: bool  # whether a pending interrupt may be taken here (docs/decisions/0010-interrupts-at-sync-points.md)
    shadow: bool  # the instruction before was STI, or loaded SS
    a20: bool
    rip: U64
    rflags: U64
    rax: U64
    rcx: U64
    rdx: U64
    rbx: U64
    rsp: U64
    rbp: U64
    rsi: U64
    rdi: U64
    r8: U64
    r9: U64
    r10: U64
    r11: U64
    r12: U64
    r13: U64
    r14: U64
    r15: U64
    es: SegmentState
    cs: SegmentState
    ss: SegmentState
    ds: SegmentState
    fs: SegmentState
    gs: SegmentState
    ldtr: SegmentState
    tr: SegmentState
    gdtr: TableState
    idtr: TableState
    cr0: U64
    cr2: U64
    cr3: U64
    cr4: U64
    cr8: U64
    efer: U64
    dr: Annotated[tuple[U64, ...], Length(8, 8)]
    fxsave: Annotated[bytes, Length(512, 512)]  # x87, MMX and SSE as FXSAVE64 stores them (SDM vol. 1, 10.5.1)
    fcs: U16  # selectors of the last x87 instruction and of its operand, which FXSAVE64 does not store
    fds: U16
    msrs: Annotated[tuple[Msr, ...], Length(0, 256)]  # number and value


class Bus(Protocol):
    """What answers a processor beside memory. Each access may fire timers that are due."""

    def read_port(self, port: int, width: int, /) -> int:
        """Read 1, 2 or 4 bytes from a port."""

    def write_port(self, port: int, width: int, value: int, /) -> None:
        """Write 1, 2 or 4 bytes to a port."""

    @property
    def port_cost(self) -> int:
        """The ticks that an access to a port takes, which `read_port` and `write_port` charge."""

    @property
    def block_reads(self) -> Container[int]:
        """The ports that `read_block` can read: a live view."""

    @property
    def block_writes(self) -> Container[int]:
        """The ports that `write_block` can write: a live view."""

    def read_block(self, port: int, width: int, count: int, /) -> bytes:
        """Read up to `count` more units from a port, those that only return waiting data. Charges no ticks."""

    def write_block(self, port: int, width: int, data: bytes, /) -> int:
        """Write units to a port, as many as it only stores; return their number. Charges no ticks."""

    def read_memory(self, address: int, width: int, /) -> int:
        """Read 1, 2, 4 or 8 bytes from an address without RAM and ROM."""

    def write_memory(self, address: int, width: int, value: int, /) -> None:
        """Write 1, 2, 4 or 8 bytes to an address without RAM."""

    def read_tsc(self) -> int:
        """Return the time-stamp counter."""


class Cpu(Protocol):
    """One processor."""

    @property
    def ticks(self) -> int:
        """The ticks that it has run, up to now: within a call of the bus, too."""

    @property
    def activity(self) -> Activity:
        """Whether it is active, halted or shut down."""

    @property
    def reason(self) -> str:
        """Why it is shut down; empty if it is not."""

    @property
    def interrupts_enabled(self) -> bool:
        """RFLAGS.IF."""

    @property
    def shadow(self) -> bool:
        """Whether the last instruction (STI, MOV SS, POP SS) holds interrupts back for one more."""

    @property
    def a20(self) -> bool:
        """Whether address line 20 gets through. May be set within a call of the bus."""

    @a20.setter
    def a20(self, level: bool, /) -> None: ...

    def run(self, until: int, /, *, watch: bool = False) -> bool:
        """Run to the first end of a block at or after `until`, counted in ticks: at least one block.

        Returns earlier if the processor halts or shuts down, or `hurry` is called. Exceptions of the bus pass through.

        Args:
            until: the tick.
            watch: an interrupt waits; also return, with True, at the first end of a block with RFLAGS.IF set. `shadow`
                may still hold the interrupt back there.
        """

    def hurry(self, until: int = 0, /) -> None:
        """Within a call of the bus: let the present `run` end at the first end of a block at or after `until`."""

    def charge(self, ticks: int, /) -> None:
        """Within a call of the bus: add ticks to the present `run`."""

    def interrupt(self, vector: int, /) -> None:
        """Take an external interrupt, which ends HLT. Needs `interrupts_enabled`, and no `shadow`."""

    def invalidate(self) -> None:
        """Forget translated code: RAM was changed or replaced from outside."""

    def reset(self) -> None:
        """Go to the state after power-on. The ticks and A20 stay."""

    def save(self, *, sync: bool) -> CpuState:
        """Return its state. Changes nothing."""

    def check(self, state: CpuState, /) -> None:
        """Raise StateError if no processor can be in `state`. Changes nothing."""

    def load(self, state: CpuState, /) -> None:
        """Become the processor in `state`, which has been checked."""

    def close(self) -> None:
        """Give its memory back."""
