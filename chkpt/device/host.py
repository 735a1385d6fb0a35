"""What a machine gives a device: ports, lines, the clock, timers, and places for its frontends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chkpt.device.backends import BlockFrontend, CharFrontend, ConsoleFrontend, NetFrontend


@dataclass(frozen=True, slots=True)
class Port:
    """What answers at one I/O port. Without `read` a read gives all ones; without `write` a write is dropped.

    A 16-bit access calls `read_word` or `write_word`. Without these it is two byte accesses, at this port and the next.
    A 32-bit access is two word accesses at this port if the port has them (the ATA data register), else four byte
    accesses at four ports. Values written are already cut to their width.

    With `byte_only` only an access of one byte at this port comes here. The part of a wider access that falls on this
    port is dropped, or reads all ones: a register of a chip set may lie under a wider one of another chip, and the bus
    does not split an access to that (PIIX3, 290550: the reset control register at 0xcf9, under the dword at 0xcf8).

    `read_block(count, width)` does at once what up to `count` accesses of `width` bytes (2 or 4) would do one after the
    other. It must only do accesses that give waiting data, move no line, arm no timer, and ask nothing of a backend; it
    may give less, or nothing. `write_block(data, width)` does the same with writes and returns how many accesses it has
    taken. The caller gets the same result as from single accesses, but faster.
    """

    read: Callable[[], int] | None = None
    write: Callable[[int], None] | None = None
    read_word: Callable[[], int] | None = None
    write_word: Callable[[int], None] | None = None
    read_block: Callable[[int, int], bytes] | None = None
    write_block: Callable[[bytes, int], int] | None = None
    byte_only: bool = False


class IrqLine(Protocol):
    """A line that this device drives. Several devices may share a line: it is high while any of them drives it high."""

    def set(self, level: bool, /) -> None:
        """Drive the line high or low. A level that is the same as before changes nothing."""


class Clock(Protocol):
    """The machine's virtual clock."""

    @property
    def now(self) -> int:
        """Nanoseconds since the machine's start. In a timer's callback this is exactly the timer's deadline."""


class Timer(Protocol):
    """A one-shot timer on the machine's clock. Timers with equal deadlines fire in the order of their making."""

    @property
    def deadline(self) -> int | None:
        """When it will fire; None if it is not armed."""

    def arm(self, deadline: int, /) -> None:
        """Fire once at `deadline` (absolute ns), which replaces any other. A past deadline fires at the next step."""

    def cancel(self) -> None:
        """Do not fire. Nothing happens if it is not armed."""


class Host(Protocol):
    """What a machine gives one device. When the device is removed, the machine undoes every claim made here."""

    @property
    def name(self) -> str:
        """The device's name in this machine."""

    @property
    def clock(self) -> Clock:
        """The machine's clock."""

    def timer(self, fire: Callable[[], None], /) -> Timer:
        """Make a timer that calls `fire`."""

    def claim_ports(self, first: int, ports: Sequence[Port], /) -> None:
        """Answer at the I/O ports `first`, `first + 1`, ...

        Raises:
            ConflictError: one of the ports has an owner; the message names both devices.
        """

    def claim_msrs(
        self, first: int, count: int, read: Callable[[int], int], write: Callable[[int, int], None], /
    ) -> None:
        """Answer at `count` model-specific registers: `read(msr)`, `write(msr, value)`.

        `Machine.msrs` reaches them: it is for an embedder's own processor. The processor of `[cpu]` does not reach
        them, as its engine handles RDMSR and WRMSR itself. So a machine with `[cpu]` refuses such a device.

        Raises:
            ConflictError: one of them has an owner.
            ConfigError: the machine has the processor of `[cpu]`.
        """

    def claim_memory(
        self, first: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None], /
    ) -> None:
        """Answer at `size` bytes of physical memory: `read(offset, width)`, `write(offset, width, value)`.

        Offsets count from `first`, widths are 1, 2, 4 or 8 bytes. Raises ConflictError.
        """

    def irq_line(self, number: int, /) -> IrqLine:
        """Drive the machine's interrupt line `number` (0 to 15). It is low until set."""

    def cpu_interrupt_line(self) -> IrqLine:
        """Drive the processor's INTR pin."""

    def a20_line(self) -> IrqLine:
        """Drive the gate of address line 20. It is enabled while any device drives it high. It is low until set."""

    def request_reset(self) -> None:
        """Reset the machine, with this device, as soon as the present access is over.

        Call it only in a write to the device or in the callback of one of its timers.
        """

    def request_exit(self, status: int, /) -> None:
        """Report to the machine's owner that the guest wants the machine to end with `status`."""

    def receive_irqs(self, set_level: Callable[[int, bool], None], acknowledge: Callable[[], int], /) -> None:
        """Make this device the interrupt controller.

        The machine calls `set_level(number, level)` at every change of a line, and for each line after a load. The
        controller must keep the level of each line in its state, and see an edge only if a level differs from that.
        `acknowledge()` is the processor's interrupt-acknowledge cycle and returns the vector.

        Raises:
            ConflictError: the machine has a controller already.
        """

    def add_block_frontend(self, frontend: BlockFrontend, unit: int | None = None, /) -> None:
        """Let a block backend be connected, under the device's name or `NAME.UNIT`. Raises ConflictError."""

    def add_net_frontend(self, frontend: NetFrontend, unit: int | None = None, /) -> None:
        """Let a network backend be connected. Raises ConflictError."""

    def add_char_frontend(self, frontend: CharFrontend, unit: int | None = None, /) -> None:
        """Let a character backend be connected. Raises ConflictError."""

    def add_console_frontend(self, frontend: ConsoleFrontend, unit: int | None = None, /) -> None:
        """Let a console backend be connected. Raises ConflictError."""
