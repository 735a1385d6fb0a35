"""The machine as its device manager sees it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chkpt.device import IrqLine, Timer
from chkpt.errors import ConfigError
from chkpt.machine.board.a20 import A20Gate
from chkpt.machine.board.clock import MachineClock
from chkpt.machine.board.guest_requests import Requests
from chkpt.machine.board.lines import INTR, LINES, IrqLines
from chkpt.machine.board.memory import Memory
from chkpt.machine.board.msrs import MsrBus
from chkpt.machine.board.ports import PortBus


class MachinePlatform:
    """What the device manager uses of a machine. See `chkpt.manager.Platform`."""

    def __init__(
        self,
        *,
        clock: MachineClock,
        ports: PortBus,
        memory: Memory,
        irq: IrqLines,
        a20: A20Gate,
        msrs: MsrBus,
        requests: Requests,
        has_processor: bool,
    ) -> None:
        """Take the parts of the machine that devices may use."""
        self.clock = clock
        self.map_ports = ports.map
        self.receive_irqs = irq.receive
        self.drive_a20 = a20.drive
        self.request_reset = requests.request_reset
        self.request_exit = requests.request_exit
        self._map_msrs = msrs.map
        self._has_processor = has_processor
        self._map_memory = memory.map
        self._irq = irq
        self._a20 = a20
        self._settle = requests.settle

    def timer(self, fire: Callable[[], None], /) -> Timer:
        """Make a timer on the clock."""

        def fire_and_settle() -> None:
            fire()
            self._settle()

        return self.clock.timer(fire_and_settle)

    def map_msrs(
        self, first: int, count: int, read: Callable[[int], int], write: Callable[[int, int], None], /
    ) -> Callable[[], None]:
        """Route accesses to these MSRs. Raise ConfigError if the machine has a processor: it would not reach them."""
        if self._has_processor:
            raise ConfigError(
                f"MSR {first:#x}: the processor of [cpu] does not let RDMSR and WRMSR out to devices; "
                "leave out [cpu], or the device"
            )

        def write_and_settle(msr: int, value: int) -> None:
            write(msr, value)
            self._settle()

        return self._map_msrs(first, count, read, write_and_settle)

    def map_memory(
        self, first: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None], /
    ) -> Callable[[], None]:
        """Route accesses to these addresses."""

        def write_and_settle(offset: int, width: int, value: int) -> None:
            write(offset, width, value)
            self._settle()

        return self._map_memory(first, size, read, write_and_settle)

    def drive_irq(self, number: int, /) -> tuple[IrqLine, Callable[[], None]]:
        """Add a driver to an interrupt line."""
        if number == INTR:
            raise ConfigError(f"there is no interrupt line {number}: they are 0 to {LINES - 1}")
        return self._irq.drive(number)

    def drive_intr(self) -> tuple[IrqLine, Callable[[], None]]:
        """Add a driver to the processor's INTR pin."""
        return self._irq.drive(INTR)

    @contextmanager
    def frozen_lines(self) -> Iterator[None]:
        """Hold every line's change back until the end."""
        with self._irq.freeze(), self._a20.freeze():
            yield
