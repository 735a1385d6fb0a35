"""The contract of a processor: what a machine asks of it, what it asks of the machine, and its state.

Time is counted in **ticks**: one tick is one byte of guest code that was run, and an access to a port costs some more.
A processor stops only between two blocks of code, where nothing is half done, so a stop cannot be seen by the guest.
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
    SHUTDOWN = "shutdown"  # by a triple fault, or where it cannot go on; only a reset wakes it


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
    """Everything a guest could notice of the processor, in the context `cpu`. No engine's own layout is in it."""

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
    fcs: U16  # the selectors of the last x87 instruction and of its operand, for which FXSAVE64 has no room
    fds: U16
    msrs: Annotated[tuple[Msr, ...], Length(0, 256)]  # number and value


class Bus(Protocol):
    """What answers a processor besides memory. Each access may fire timers that are due by then."""

    def read_port(self, port: int, width: int, /) -> int:
        """Read 1, 2 or 4 bytes from a port."""

    def write_port(self, port: int, width: int, value: int, /) -> None:
        """Write 1, 2 or 4 bytes to a port."""

    @property
    def port_cost(self) -> int:
        """The ticks that an access to a port takes, which `read_port` and `write_port` charge."""

    @property
    def block_reads(self) -> Container[int]:
        """The ports that `read_block` may have something of: a live view."""

    @property
    def block_writes(self) -> Container[int]:
        """The ports of which `write_block` may take something: a live view."""

    def read_block(self, port: int, width: int, count: int, /) -> bytes:
        """Read up to `count` more units from a port, as many as only give what waits. Charges nothing."""

    def write_block(self, port: int, width: int, data: bytes, /) -> int:
        """Write units to a port, as many as it only takes up; return how many those were. Charges nothing."""

    def read_memory(self, address: int, width: int, /) -> int:
        """Read 1, 2, 4 or 8 bytes where a device answers, or nothing."""

    def write_memory(self, address: int, width: int, value: int, /) -> None:
        """Write 1, 2, 4 or 8 bytes where a device answers, or nothing."""

    def read_tsc(self) -> int:
        """Return the time-stamp counter."""


class Cpu(Protocol):
    """One processor."""

    @property
    def ticks(self) -> int:
        """How many it has run, up to now: within a call of the bus, too."""

    @property
    def activity(self) -> Activity:
        """What it does."""

    @property
    def reason(self) -> str:
        """Why it is shut down; empty otherwise."""

    @property
    def interrupts_enabled(self) -> bool:
        """RFLAGS.IF."""

    @property
    def shadow(self) -> bool:
        """Whether the instruction before holds interrupts back for one more (STI, MOV SS, POP SS)."""

    @property
    def a20(self) -> bool:
        """Whether address line 20 gets through. May be set within a call of the bus."""

    @a20.setter
    def a20(self, level: bool, /) -> None: ...

    def run(self, until: int, /, *, watch: bool = False) -> bool:
        """Run to the first end of a block at or after `until`, counted in ticks: one block at the least.

        Returns earlier where the processor halts or shuts down, and where `hurry` is called. An exception of the bus
        goes through.

        Args:
            until: the tick.
            watch: an interrupt waits; return, with True, at the first end of a block with RFLAGS.IF set, too. `shadow`
                may still hold the interrupt back there.
        """

    def hurry(self, until: int = 0, /) -> None:
        """Within a call of the bus: let the present `run` end at the first end of a block at or after `until`."""

    def charge(self, ticks: int, /) -> None:
        """Within a call of the bus: let it take that much longer."""

    def interrupt(self, vector: int, /) -> None:
        """Take an external interrupt: not while `shadow`, or without `interrupts_enabled`. Wakes it from HLT."""

    def invalidate(self) -> None:
        """Forget translations of code: RAM was changed, or replaced, from outside."""

    def reset(self) -> None:
        """Go to the state after power-on. The ticks and A20 stay."""

    def save(self, *, sync: bool) -> CpuState:
        """Return its state. A pure read."""

    def check(self, state: CpuState, /) -> None:
        """Raise StateError where no processor can be in `state`. Changes nothing."""

    def load(self, state: CpuState, /) -> None:
        """Become the processor in `state`, which has been checked."""

    def close(self) -> None:
        """Give its memory back."""
