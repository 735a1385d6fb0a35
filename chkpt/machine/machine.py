"""A machine: assembled from its configuration, stepped by its owner, saved and loaded as a whole."""

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from chkpt.context import Blob, Checkpoint, Context, Value
from chkpt.device import U16, U64, FrontendKind, IrqLine, Time, Timer
from chkpt.errors import ChkptError, ConfigError, StateError, StrictError
from chkpt.machine import config as machine_config
from chkpt.machine.clock import MachineClock
from chkpt.machine.config import BackendConfig, MachineConfig
from chkpt.machine.irq import INTR, LINES, IrqLines
from chkpt.machine.memory import Memory, Ram, ram_of
from chkpt.machine.msrs import MsrBus
from chkpt.machine.ports import PortBus
from chkpt.manager import (
    BackendTypes,
    DeviceManager,
    DeviceTypes,
    LoadReport,
    SaveReport,
    Skip,
    installed_backend_types,
    installed_device_types,
)
from chkpt.state import from_context, from_table, to_context

log = logging.getLogger("chkpt.machine")


@dataclass(frozen=True, slots=True)
class ClockState:
    """The virtual clock, in the context `clock`."""

    VERSION: ClassVar[int] = 1

    now: Time


@dataclass(frozen=True, slots=True)
class LinesState:
    """The interrupt lines driven from outside the machine (bit n: line n), in the context `lines`."""

    VERSION: ClassVar[int] = 1

    outside: U16


@dataclass(frozen=True, slots=True)
class MemoryState:
    """RAM, in the context `memory`."""

    VERSION: ClassVar[int] = 1

    size: U64
    ram: Blob


class MachinePlatform:
    """The machine as the device manager sees it. See `chkpt.manager.Platform`."""

    def __init__(self, clock: MachineClock, ports: PortBus, msrs: MsrBus, memory: Memory, irq: IrqLines) -> None:
        self.clock = clock
        self.map_ports = ports.map
        self.map_msrs = msrs.map
        self.map_memory = memory.map
        self.receive_irqs = irq.receive
        self._irq = irq

    def timer(self, fire: Callable[[], None], /) -> Timer:
        """Make a timer on the clock."""
        return self.clock.timer(fire)

    def drive_irq(self, number: int, /) -> tuple[IrqLine, Callable[[], None]]:
        """Add a driver to an interrupt line."""
        if number == INTR:
            raise ConfigError(f"there is no interrupt line {number}: they are 0 to {LINES - 1}")
        return self._irq.drive(number)

    def drive_intr(self) -> tuple[IrqLine, Callable[[], None]]:
        """Add a driver to the processor's INTR pin."""
        return self._irq.drive(INTR)

    def frozen_lines(self) -> AbstractContextManager[None]:
        """Hold every line's change back until the end."""
        return self._irq.frozen()


class Machine:
    """An emulated machine without a processor: its owner accesses the ports and moves the clock.

        machine = Machine()                       # the default machine
        machine.ports.outb(0x43, 0x34)
        machine.step(1_000_000)                   # one millisecond
        machine.save(checkpoint)

    Not safe for use by two threads at once; `chkpt.machine.loop.RunLoop` holds a lock around it.
    """

    def __init__(
        self,
        config: MachineConfig | None = None,
        *,
        device_types: DeviceTypes | None = None,
        backend_types: BackendTypes | None = None,
    ) -> None:
        """Assemble a machine; what fails leaves nothing open.

        Args:
            config: what it is made of, the default machine when left out.
            device_types: the types its devices may be of, the installed ones when left out.
            backend_types: the types its backends may be of, the installed ones when left out.

        Raises:
            ConfigError: the configuration does not describe a machine.
            NotFoundError: an unknown type of device or backend.
            ConflictError: two devices claim the same.
            StorageError: an image or a backend cannot be opened.
        """
        self.config = machine_config.default() if config is None else config
        self.clock = MachineClock()
        self.ports = PortBus()
        self.msrs = MsrBus()
        self.memory = Memory(self.config.memory)
        self.irq = IrqLines()
        platform = MachinePlatform(self.clock, self.ports, self.msrs, self.memory, self.irq)
        types = installed_device_types() if device_types is None else device_types
        self.devices = DeviceManager(platform, types)
        self._backend_types = backend_types
        try:
            for device in self.config.devices:
                self.devices.create(device.type, device.name, device.options)
                for backend in device.backends:
                    self.connect(backend)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.config.name

    def connect(self, backend: BackendConfig) -> None:
        """Open a backend and connect it to its frontend; the machine closes it.

        Raises:
            NotFoundError: no such type or frontend.
            ExistsError: the frontend has a backend.
            ConfigError: the options do not fit.
            StorageError: the host refuses.
        """
        if self._backend_types is None:
            self._backend_types = installed_backend_types()
        backend_type = self._backend_types.find(backend.type)
        where = f"backend {backend.type} of {backend.frontend}"
        opened: Any = backend_type.open(from_table(backend.options, backend_type.config, where))
        connect: dict[FrontendKind, Callable[[str, Any], None]] = {
            FrontendKind.BLOCK: self.devices.connect_block,
            FrontendKind.NET: self.devices.connect_net,
            FrontendKind.CHAR: self.devices.connect_char,
            FrontendKind.CONSOLE: self.devices.connect_console,
        }
        try:
            connect[backend_type.kind](backend.frontend, opened)
        except ChkptError:
            opened.close()
            raise

    # -- running ------------------------------------------------------------------------------------------------------

    def step(self, nanoseconds: int) -> None:
        """Move the clock forward, firing every timer due on the way. Raise ValueError for a negative step."""
        if nanoseconds < 0:
            raise ValueError(f"a step of {nanoseconds} ns would move the clock back")
        self.clock.advance_to(self.clock.now + nanoseconds)

    def reset(self) -> None:
        """Reset every device, as the reset button does. RAM, disks and the clock stay."""
        self.devices.reset()

    def retry(self) -> None:
        """Let every drive try once more what waits for a failed backend."""
        for name in self.devices.ends.block.names:
            self.devices.ends.block.find(name).retry()

    def close(self) -> None:
        """Remove every device and close every backend. A second call does nothing."""
        self.devices.close()

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint) -> SaveReport:
        """Put the whole machine into `checkpoint`: header, `clock`, `lines`, `memory`, `devices`.

        The blob of RAM is a view of live memory: write the snapshot before the machine runs on.

        Raises:
            SaveError: a device could not be saved; `checkpoint` is unchanged.
        """
        report = self.devices.save(checkpoint)
        checkpoint.header["machine"] = self.name
        checkpoint.header["clock_ns"] = self.clock.now
        checkpoint.header["config"] = cast("Value", self.config.table)
        devices = checkpoint.contexts.pop("devices")
        checkpoint.contexts["clock"] = to_context(ClockState(self.clock.now), "clock")
        checkpoint.contexts["lines"] = to_context(LinesState(self.irq.outside), "lines")
        checkpoint.contexts["memory"] = to_context(MemoryState(self.memory.size, self.memory.blob()), "memory")
        checkpoint.contexts["devices"] = devices
        return report

    def load(
        self,
        checkpoint: Checkpoint,
        *,
        only: Collection[str] = (),
        skip: Collection[str] = (),
        rename: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> LoadReport:
        """Become the machine in `checkpoint`, whole or not at all.

        With `only` or `skip` just those devices are loaded: clock, lines and RAM stay as they are, and each time in
        the loaded states is shifted by the difference between this machine's clock and the saved one.

        Raises:
            RefusedError: the snapshot cannot be taken. Nothing has changed.
            NotFoundError, UsageError: see `DeviceManager.plan_load`. Nothing has changed.
            LoadError: a device's `load` raised. Everything is as it was.
        """
        plan = self.devices.plan_load(checkpoint, only=only, skip=skip, rename=rename, strict=strict)
        clock = _part(checkpoint, "clock", ClockState)
        if only or skip:
            return plan.apply(shift=0 if clock is None else self.clock.now - clock.now)
        lines = _part(checkpoint, "lines", LinesState)
        memory = _part(checkpoint, "memory", MemoryState)
        found = {"clock": clock, "lines": lines, "memory": memory}
        missing = tuple(Skip(name, "its context is missing") for name, part in found.items() if part is None)
        for each in missing:
            log.warning("%s: skipped: %s", each.name, each.reason)
        if strict and missing:
            raise StrictError(f"refused by strict, nothing has changed: no context {missing[0].name}")
        ram = None if memory is None else self._ram(memory)
        outside = self.irq.outside
        with self.irq.frozen():
            self.irq.outside = outside if lines is None else lines.outside
            try:
                report = plan.apply(now=None if clock is None else clock.now)
            except BaseException:
                self.irq.outside = outside
                raise
        if ram is not None:
            self.memory.replace(ram)
        return LoadReport(report.loaded, missing + report.skipped, report.left, report.unknown)

    def _ram(self, memory: MemoryState) -> Ram:
        if memory.size != self.memory.size or memory.ram.size != memory.size:
            raise StateError(f"memory.size is {memory.size}, but this machine has {self.memory.size} bytes of RAM")
        return ram_of(memory.ram)


def _part(checkpoint: Checkpoint, name: str, state: type[Any]) -> Any:
    """Return the state in a context directly under the root, or None where the context is missing."""
    context: Context | None = checkpoint.contexts.get(name)
    if context is None:
        return None
    if context.type != name:
        raise StateError(f"{name} is of type {context.type}, not {name}")
    return from_context(context, state, name)
