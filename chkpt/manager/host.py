"""The `Host` that the device manager gives to one device, and whose claims it undoes when the device is removed."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from chkpt.device import (
    BlockFrontend,
    CharFrontend,
    Clock,
    ConsoleFrontend,
    FrontendKind,
    IrqLine,
    NetFrontend,
    Port,
    Timer,
)
from chkpt.manager.frontends import Frontend, FrontendsByKind
from chkpt.manager.resources import Resource, Resources

Undo = Callable[[], None]


class SettableClock(Clock, Protocol):
    """A clock that a load may set."""

    def set(self, now: int, /) -> None:
        """Make it `now` without firing anything."""


class Platform(Protocol):
    """The machine under the device manager. Each method that connects something returns a function that undoes it."""

    @property
    def clock(self) -> SettableClock:
        """The machine's clock."""

    def timer(self, fire: Callable[[], None], /) -> Timer:
        """Make a timer on the clock."""

    def map_ports(self, first: int, ports: Sequence[Port], /) -> Undo:
        """Route accesses to these ports."""

    def map_msrs(
        self, first: int, count: int, read: Callable[[int], int], write: Callable[[int, int], None], /
    ) -> Undo:
        """Route accesses to these MSRs."""

    def map_memory(
        self, first: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None], /
    ) -> Undo:
        """Route accesses to these addresses."""

    def drive_irq(self, number: int, /) -> tuple[IrqLine, Undo]:
        """Add a driver to an interrupt line. Raise ConfigError if there is no such line."""

    def drive_intr(self) -> tuple[IrqLine, Undo]:
        """Add a driver to the processor's INTR pin."""

    def drive_a20(self) -> tuple[IrqLine, Undo]:
        """Add a driver to the gate of address line 20."""

    def request_reset(self) -> None:
        """Reset the machine when the present access is over."""

    def request_exit(self, status: int, /) -> None:
        """Report to the machine's owner that the guest wants it to end."""

    def receive_irqs(
        self, owner: str, set_level: Callable[[int, bool], None], acknowledge: Callable[[], int], /
    ) -> Undo:
        """Route the interrupt lines to a controller. Raise ConflictError if there is one already."""

    def frozen_lines(self) -> AbstractContextManager[None]:
        """Hold every line's change back until the end, then report each line's level to the controller."""


class DeviceHost:
    """The `Host` of one device. It passes each claim to the machine and remembers how to undo it."""

    def __init__(self, name: str, platform: Platform, resources: Resources, frontends: FrontendsByKind) -> None:
        self.name = name
        self.clock: Clock = platform.clock
        self.timers: list[Timer] = []
        self._platform = platform
        self._resources = resources
        self._frontends = frontends
        self._undo: list[Undo] = []

    def close(self) -> None:
        """Undo every claim, the last one first, even if some fail. A second call does nothing.

        Raises:
            ExceptionGroup: the errors of those that failed.
        """
        failed: list[Exception] = []
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as exc:  # noqa: BLE001  the other claims must still be undone
                failed.append(exc)
        for timer in self.timers:  # last: the device may have armed one when it lost its backend
            timer.cancel()
        if failed:
            raise ExceptionGroup(f"device {self.name} could not undo all its claims", failed)

    def timer(self, fire: Callable[[], None], /) -> Timer:
        """See `Host.timer`."""
        timer = self._platform.timer(fire)
        self.timers.append(timer)
        return timer

    def claim_ports(self, first: int, ports: Sequence[Port], /) -> None:
        """See `Host.claim_ports`."""
        self._claim(Resource.PORT, first, len(ports))
        self._undo.append(self._platform.map_ports(first, ports))

    def claim_msrs(
        self, first: int, count: int, read: Callable[[int], int], write: Callable[[int, int], None], /
    ) -> None:
        """See `Host.claim_msrs`."""
        self._claim(Resource.MSR, first, count)
        self._undo.append(self._platform.map_msrs(first, count, read, write))

    def claim_memory(
        self, first: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None], /
    ) -> None:
        """See `Host.claim_memory`."""
        self._claim(Resource.MEMORY, first, size)
        self._undo.append(self._platform.map_memory(first, size, read, write))

    def irq_line(self, number: int, /) -> IrqLine:
        """See `Host.irq_line`."""
        line, undo = self._platform.drive_irq(number)
        self._undo.append(undo)
        return line

    def cpu_interrupt_line(self) -> IrqLine:
        """See `Host.cpu_interrupt_line`."""
        line, undo = self._platform.drive_intr()
        self._undo.append(undo)
        return line

    def a20_line(self) -> IrqLine:
        """See `Host.a20_line`."""
        line, undo = self._platform.drive_a20()
        self._undo.append(undo)
        return line

    def request_reset(self) -> None:
        """See `Host.request_reset`."""
        self._platform.request_reset()

    def request_exit(self, status: int, /) -> None:
        """See `Host.request_exit`."""
        self._platform.request_exit(status)

    def receive_irqs(self, set_level: Callable[[int, bool], None], acknowledge: Callable[[], int], /) -> None:
        """See `Host.receive_irqs`."""
        self._undo.append(self._platform.receive_irqs(self.name, set_level, acknowledge))

    def add_block_frontend(self, frontend: BlockFrontend, unit: int | None = None, /) -> None:
        """See `Host.add_block_frontend`."""
        self._add(FrontendKind.BLOCK, frontend, unit)

    def add_net_frontend(self, frontend: NetFrontend, unit: int | None = None, /) -> None:
        """See `Host.add_net_frontend`."""
        self._add(FrontendKind.NET, frontend, unit)

    def add_char_frontend(self, frontend: CharFrontend, unit: int | None = None, /) -> None:
        """See `Host.add_char_frontend`."""
        self._add(FrontendKind.CHAR, frontend, unit)

    def add_console_frontend(self, frontend: ConsoleFrontend, unit: int | None = None, /) -> None:
        """See `Host.add_console_frontend`."""
        self._add(FrontendKind.CONSOLE, frontend, unit)

    def _claim(self, kind: Resource, first: int, count: int) -> None:
        claim = self._resources.claim(kind, first, count, self.name)
        self._undo.append(lambda: self._resources.release(claim))

    def _add(self, kind: FrontendKind, frontend: Frontend[Any], unit: int | None) -> None:
        table = self._frontends[kind]
        name = self.name if unit is None else f"{self.name}.{unit}"
        table.add(name, frontend, self.name)
        self._undo.append(lambda: table.remove(name))
