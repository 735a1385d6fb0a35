"""A machine: assembled from its configuration, run by its owner, saved and loaded as a whole."""

import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

from chkpt.context import Checkpoint, Value, owned_context
from chkpt.device import FrontendKind, Identifies, OfMachine
from chkpt.errors import ChkptError, ConfigError, RefusedError, SaveError
from chkpt.machine import config as machine_config
from chkpt.machine.board.a20 import A20Gate
from chkpt.machine.board.clock import MachineClock
from chkpt.machine.board.guest_requests import Requests
from chkpt.machine.board.lines import IrqLines
from chkpt.machine.board.memory import Memory, ReadyRam, ram_of
from chkpt.machine.board.msrs import MsrBus
from chkpt.machine.board.ports import PortBus
from chkpt.machine.config import KEYS_TAKEN, BackendConfig, MachineConfig
from chkpt.machine.cpu.contract import Activity
from chkpt.machine.cpu.execution import Execution, Outcome
from chkpt.machine.firmware import Firmware, open_firmware
from chkpt.machine.kernel import Kernel, Prepared, start
from chkpt.machine.media import NOTHING, Exchange, Medium
from chkpt.machine.parts import (
    PARTS,
    AnyPart,
    MemoryPart,
    PartsPlan,
    clock_part,
    contexts_of,
    cpu_part,
    firmware_part,
    kernel_part,
    lines_part,
)
from chkpt.machine.platform import MachinePlatform
from chkpt.manager import (
    AnyBackendType,
    BackendTypes,
    DeviceManager,
    DeviceTypes,
    LoadReport,
    SaveReport,
    Transaction,
    installed_backend_types,
    installed_device_types,
    refuse_strictly,
)
from chkpt.snapshot import check_header
from chkpt.state import from_table, pack_schemas

log = logging.getLogger("chkpt.machine")


class Machine:
    """An emulated machine. Its owner accesses the ports and moves the clock, or lets the processor run.

        machine = Machine()                       # the default machine, which has no processor
        machine.ports.outb(0x43, 0x34)
        machine.step(1_000_000)                   # one millisecond
        machine.save(checkpoint)

    Two threads must not use it at once; `chkpt.machine.run.loop.RunLoop` runs the calls of others in its own thread.
    """

    config: MachineConfig
    """The parts of the machine. A load with media changes the backends in it."""
    clock: MachineClock
    """The machine's virtual time in nanoseconds, and its timers."""
    requests: Requests
    """The guest's requests: a reset, which happens after the present access, or the machine's end."""
    ports: PortBus
    """The I/O ports: `ports.inb(0x3F8)`, `ports.outb(0x43, 0x34)`, and words and long words."""
    msrs: MsrBus
    """The model-specific registers of devices, for a processor of the embedder."""
    memory: Memory
    """The physical memory: RAM from address 0, ROM, and the ranges of devices."""
    irq: IrqLines
    """The levels of the interrupt lines 0 to 15 and of the processor's INTR pin, and their watchers."""
    a20: A20Gate
    """The gate of address line 20: whether any device enables it."""
    devices: DeviceManager
    """The devices by name, and the frontends that backends are connected to."""
    execution: Execution | None
    """Runs the processor; None if the machine has none."""
    firmware: Firmware | None
    """The BIOS or ROM that the processor begins with; None if the machine has none."""
    kernel: Kernel | None
    """The kernel that the machine boots without firmware; None if it has none."""
    half_loaded: bool
    """Whether a failed load could not be undone. A later whole load clears it."""

    def __init__(
        self,
        config: MachineConfig | None = None,
        *,
        device_types: DeviceTypes | None = None,
        backend_types: BackendTypes | None = None,
        boot: bool = True,
    ) -> None:
        """Assemble a machine. If that fails, nothing is left open.

        Args:
            config: what it is made of; without it, the default machine.
            device_types: the types that its devices may have; without it, the installed ones.
            backend_types: the types that its backends may have; without it, the installed ones.
            boot: put the configured kernel into RAM; a machine that will be loaded does not need it.

        Raises:
            ConfigError: the configuration does not describe a machine, or asks for a CPU that is not installed, or for
                a kernel that cannot be booted.
            NotFoundError: an unknown type of device or backend.
            ConflictError: two devices claim the same resource.
            StorageError: an image or a backend cannot be opened.
            TypeError: `config` is not a MachineConfig.
        """
        if config is not None and not isinstance(config, MachineConfig):
            raise TypeError(
                f"config is of type {type(config).__name__}, not MachineConfig; "
                "for a TOML file, call Machine.from_toml(path)"
            )
        self.config = machine_config.default() if config is None else config
        self.clock = MachineClock()
        self.requests = Requests(self._reset_by_guest)
        self.ports = PortBus(self.requests)
        self.msrs = MsrBus()
        self.memory = Memory(self.config.memory)
        self.irq = IrqLines()
        self.a20 = A20Gate()
        types = installed_device_types() if device_types is None else device_types
        self._platform = MachinePlatform(
            clock=self.clock,
            ports=self.ports,
            memory=self.memory,
            irq=self.irq,
            a20=self.a20,
            msrs=self.msrs,
            requests=self.requests,
            has_processor=self.config.cpu is not None,
        )
        self.devices = DeviceManager(self._platform, types)
        self._backend_types = backend_types
        self._opened: list[tuple[BackendConfig, Any]] = []  # backends whose devices are not made yet
        self.half_loaded = False
        self.execution = None
        self.firmware = None
        self.kernel = None
        try:
            if self.config.firmware is not None:
                self.firmware = open_firmware(self.config.firmware, self.memory)
            if self.config.cpu is not None:
                cpu = self.config.cpu
                self.execution = Execution(
                    cpu.model,
                    cpu.rate,
                    clock=self.clock,
                    ports=self.ports,
                    memory=self.memory,
                    irq=self.irq,
                    a20=self.a20,
                    requests=self.requests,
                )
            for device in self.config.devices:
                self._opened += [(backend, self.open_backend(backend)) for backend in device.backends]
            facts = self._collect_facts()
            for device in self.config.devices:
                self.devices.create(device.type, device.name, device.options, KEYS_TAKEN, facts)
                for _ in device.backends:
                    self._connect(*self._opened.pop(0))
            self._check_header()
            if self.config.kernel is not None:
                self.kernel = Kernel(self.config.kernel, self.memory.size)
                if boot:
                    self._boot(self.kernel, self.kernel.prepare())
                else:
                    self._shut_down("no kernel has been booted or loaded")
        except BaseException as exc:
            self.close()
            if isinstance(exc, ChkptError) and self.config.source:
                raise exc.within(self.config.source) from exc
            raise

    @classmethod
    def from_toml(
        cls,
        path: str | os.PathLike[str],
        *,
        device_types: DeviceTypes | None = None,
        backend_types: BackendTypes | None = None,
        boot: bool = True,
    ) -> Self:
        """Assemble the machine that a TOML file describes. Relative paths in it count from its own directory.

        Raises:
            NotFoundError: there is no such file.
            ChkptError: an error of `chkpt.machine.config.read` or of the class itself.
        """
        config = machine_config.read(Path(path))
        return cls(config, device_types=device_types, backend_types=backend_types, boot=boot)

    def clone(self) -> Self:
        """Return another machine in the same state. The two share no memory, and each goes on alone.

        The clone opens the same images again, and has everything that this guest has written to its disks. It has no
        character, network and console backends, as two machines cannot share a terminal; connect others.

        Raises:
            SaveError: a device cannot be saved.
            ChkptError: an image cannot be opened again, or has been replaced meanwhile.
        """
        checkpoint = Checkpoint()
        self.save(checkpoint, copy=True)
        blocks = self.devices.frontends[FrontendKind.BLOCK]
        gone = {
            backend.frontend: None
            for device in self.config.devices
            for backend in device.backends
            if backend.frontend not in blocks.names
        }
        config = machine_config.with_backends(self.config, gone)
        twin = type(self)(config, device_types=self.devices.types, backend_types=self._backend_types, boot=False)
        try:
            twin.load(checkpoint, strict=True)
        except BaseException:
            twin.close()
            raise
        return twin

    def __repr__(self) -> str:
        return f"<Machine {self.name}: {len(self.devices)} devices, at {self.clock.now / 1e9:.6f} s>"

    def _collect_facts(self) -> dict[OfMachine, object]:
        """Return the facts about the machine that device types may ask for. RAM is in one piece from address 0."""
        size = self.memory.size
        return {
            OfMachine.RAM_BELOW_4G: min(size, 4 << 30),
            OfMachine.RAM_FROM_4G: max(size - (4 << 30), 0),
            OfMachine.DISKS: machine_config.disk_sectors(
                self.config, {backend.frontend: opened for backend, opened in self._opened}
            ),
        }

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
        self._connect(backend, self.open_backend(backend))

    def open_backend(self, backend: BackendConfig) -> Any:
        """Open a backend; the caller closes it. Raises the errors of `connect`. The machine does not change."""
        backend_type = self._backend_type(backend)
        where = f"backend {backend.type} of {backend.frontend}"
        return backend_type.open(from_table(backend.options, backend_type.config, where))

    def _backend_type(self, backend: BackendConfig) -> AnyBackendType:
        if self._backend_types is None:
            self._backend_types = installed_backend_types()
        return self._backend_types.find(backend.type)

    def _connect(self, backend: BackendConfig, opened: Any) -> None:
        """Connect a backend to its frontend; if that fails, close it."""
        try:
            self.devices.connect(self._backend_type(backend).kind, backend.frontend, opened)
        except BaseException:
            opened.close()
            raise

    # -- running ------------------------------------------------------------------------------------------------------

    def step(self, nanoseconds: int) -> None:
        """Move the clock forward, firing every timer due on the way. Raise ValueError for a negative step."""
        if nanoseconds < 0:
            raise ValueError(f"a step of {nanoseconds} ns would move the clock back")
        self.clock.advance_to(self.clock.now + nanoseconds)

    def run(
        self, *, ticks: int | None = None, until: int | None = None, enough: Callable[[], bool] | None = None
    ) -> Outcome:
        """Let the processor run; see `Execution.run`. Raise ConfigError if the machine has none."""
        return self.processor().run(ticks=ticks, until=until, enough=enough)

    def processor(self) -> Execution:
        """Return the execution of the processor. Raise ConfigError if the machine has none."""
        if self.execution is None:
            raise ConfigError(f'machine {self.name} has no CPU to run: give it one with [cpu] model = "unicorn"')
        return self.execution

    def reset(self) -> None:
        """Reset the processor and every device, as the reset button does. RAM, disks and the clock stay.

        The BIOS is put below 1 MiB again; a kernel is read and booted again.

        Raises:
            ConfigError, NotFoundError, StorageError: the kernel cannot be booted. Nothing has changed.
        """
        prepared = None if self.kernel is None else self.kernel.prepare()
        self._restart()
        if self.kernel is not None and prepared is not None:
            self._boot(self.kernel, prepared)

    def _reset_by_guest(self) -> None:
        """Reset the machine. If its kernel is gone, the processor stands still: a guest cannot get an error."""
        try:
            self.reset()
        except ChkptError as exc:
            log.error("machine %s: its guest wants a reset, but cannot be booted: %s", self.name, exc)  # noqa: TRY400  not our fault
            self._restart()
            self._shut_down(f"reset without a kernel: {exc}")

    def _restart(self) -> None:
        if self.execution is not None:
            self.execution.reset()
        self.devices.reset()
        if self.firmware is not None:
            self.firmware.reset()

    def _boot(self, kernel: Kernel, prepared: Prepared) -> None:
        """Put a kernel into RAM, and the processor, which has been reset, before its first instruction."""
        if not self.a20.level:
            self.ports.outb(0x92, self.ports.inb(0x92) | 2)  # as a boot loader does
        if not self.a20.level:
            raise ConfigError("kernel: address line 20 is disabled, and there is no port 0x92 to enable it")
        for address, content in prepared.content.items():
            self.memory.write(address, content)
        for address, size in prepared.zeros.items():
            self.memory.write(address, bytes(size))
        execution = self.processor()
        execution.load(replace(start(execution.save(), prepared.entry), sync=True))
        kernel.state = prepared.state

    def _shut_down(self, reason: str) -> None:
        execution = self.processor()
        execution.load(replace(execution.save(), activity=Activity.SHUTDOWN, reason=reason[:200]))

    def retry(self) -> None:
        """Let every drive repeat the requests that wait for a failed backend."""
        for name in self.devices.frontends["block"].names:
            self.devices.frontends["block"].find(name).retry()

    def close(self) -> None:
        """Remove every device and close every backend. A second call does nothing."""
        try:
            self.devices.close()
        finally:
            while self._opened:
                self._opened.pop()[1].close()
            if self.execution is not None:
                self.execution.cpu.close()

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint, *, copy: bool = False) -> SaveReport:
        """Replace the content of `checkpoint` with a header and all parts of the machine.

        The parts are `clock`, `cpu`, `lines`, `firmware`, `kernel`, `memory` and `devices`, as far as it has them.

        The blobs of RAM and of devices may be views of live memory: write the snapshot before the machine runs on. With
        `copy` they are copies and the machine may run on at once; that takes as much memory as the guest uses.

        Raises:
            SaveError: a device could not be saved, or the machine is half loaded; `checkpoint` is unchanged.
        """
        _require_checkpoint(checkpoint, "chkpt.Checkpoint() is an empty one; write it with chkpt.dumps or a store")
        if self.half_loaded:
            raise SaveError(f"machine {self.name} is half loaded, as a load has failed, so it cannot be saved; end it")
        whole = Checkpoint()
        report = self.devices.save(whole)
        devices = whole.contexts["devices"]
        contexts = contexts_of(self._parts())
        if copy:
            contexts["memory"].blobs["ram"] = self.memory.blob().copy()
        schemas = self._schemas(contexts, report.saved)
        contexts["devices"] = owned_context(devices) if copy else devices
        checkpoint.header = self._header(schemas)
        checkpoint.contexts = contexts
        return report

    def _parts(self) -> list[AnyPart]:
        """Return the parts of this machine beside its devices, in the order in which they are loaded."""
        return [
            clock_part(self.clock),
            *(() if self.execution is None else (cpu_part(self.execution),)),
            lines_part(self.irq),
            *(() if self.firmware is None else (firmware_part(self.firmware),)),
            *(() if self.kernel is None else (kernel_part(self.kernel),)),
            MemoryPart(self.memory),
        ]

    def _header(self, schemas: bytes) -> dict[str, Value]:
        table = cast("Value", self.config.table)
        return {"machine": self.name, "clock_ns": self.clock.now, "config": table, "schemas": schemas}

    def _check_header(self) -> None:
        """Raise ConfigError if the header of a snapshot of this machine would be refused."""
        devices = [entry.name for entry in self.devices if entry.saves]
        try:
            check_header(self._header(self._schemas(PARTS, devices)))
        except RefusedError as exc:
            raise ConfigError(f"machine {self.name} could never be saved: {exc}") from exc

    def prepare(self, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None) -> None:
        """Read the snapshot's RAM into `checkpoint`, the slow part of a whole load; the machine may run on.

        Another thread may call this. RAM of another size is not read: `load` refuses it.

        Raises:
            RefusedError: the snapshot is damaged.
            StorageError: it cannot be read.
        """
        memory = checkpoint.contexts.get("memory")
        ram = None if memory is None else memory.blobs.get("ram")
        if memory is not None and ram is not None and ram.size == self.config.memory:
            memory.blobs["ram"] = ReadyRam(ram_of(ram, progress))

    def unidentified_disks(self, likes: Collection[bytes] = (), also: Collection[object] = ()) -> list[Identifies]:
        """Return the disks that a save, or a load of states with these identities, would wait for.

        To avoid that the machine stands still meanwhile, call their `identify` first.

        Args:
            likes: the identities in the snapshot to load, see `chkpt.machine.disks.identities`.
            also: the disks that come with the load, see `load`.
        """
        disks = [*self._identifying_disks(), *(disk for disk in also if isinstance(disk, Identifies))]
        return [disk for disk in disks if not all(map(disk.is_identified, (b"", *likes)))]

    def end_identifying(self) -> None:
        """Let calls that wait for the identity of a disk fail, as the machine is to end. Any thread may call this."""
        for disk in self._identifying_disks():
            disk.end_identifying()

    def _identifying_disks(self) -> list[Identifies]:
        return [
            disk for disk in list(self.devices.frontends["block"].backends.values()) if isinstance(disk, Identifies)
        ]

    def _schemas(self, parts: Collection[str], devices: Collection[str]) -> bytes:
        """Return the schemas of the states in a snapshot, by type; they outlive the classes (decision 0023)."""
        states = {name: PARTS[name] for name in parts if name in PARTS}
        for name in devices:
            device_type = self.devices.entry(name).type
            if device_type.state is not None:
                states[device_type.name] = device_type.state
        return pack_schemas({name: states[name] for name in sorted(states)})

    def load(
        self,
        checkpoint: Checkpoint,
        *,
        only: Collection[str] = (),
        skip: Collection[str] = (),
        rename: Mapping[str, str] | None = None,
        strict: bool = False,
        seconds: int = 0,
        media: Mapping[str, Medium | None] = NOTHING,
    ) -> LoadReport:
        """Become the machine in `checkpoint`, whole or not at all.

        With `only`, or a device of this machine in `skip`, the load is partial: only devices and media change, and
        each time in the loaded states is shifted by the difference between this machine's clock and the saved one. The
        dates in devices advance by `seconds`, as if the machine had been off for so long; 0 leaves them.
        A part of the snapshot that this machine does not have is skipped, logged and reported, as a device is.
        The load connects `media`, by drive; if it succeeds, the machine owns them. None empties a drive: the guest sees
        that the disc in the snapshot has been taken out.

        Raises:
            RefusedError: the snapshot cannot be loaded. Nothing has changed.
            NotFoundError, UsageError: see `DeviceManager.plan_load`, or `media` has a drive that is not loaded. Nothing
                has changed.
            LoadError: a part failed to load, such as a device whose `load` raised. Everything is as it was.
            HalfLoadedError: not everything could be put back, and `half_loaded` is set. Without memory, MemoryError.
            StorageError: the host does not have enough memory for the RAM. Nothing has changed.
        """
        _require_checkpoint(checkpoint, "chkpt.load(path), chkpt.loads(data) and store.load(name) return one")
        partial = bool(only) or any(name in self.devices for name in skip)
        devices = self.devices.plan_load(checkpoint, only=only, skip=skip, rename=rename)
        parts = PartsPlan(self._parts(), checkpoint.contexts, partial=partial)
        parts.log()
        exchange = Exchange(self.devices, media)
        exchange.check(checkpoint, only, skip, rename or {})
        if strict:
            refuse_strictly([*parts.reasons, *devices.reasons])
        # The report is made before anything changes, as memory may run out.
        tables = {drive: None if medium is None else medium.table for drive, medium in media.items()}
        config = machine_config.with_backends(self.config, tables) if media else self.config
        found = devices.report
        skipped, unknown = (*parts.skipped, *found.skipped), (*parts.unknown, *found.unknown)
        report = LoadReport(found.loaded, skipped, found.left, unknown, found.dated)
        apart = 0 if parts.saved_clock is None else self.clock.now - parts.saved_clock
        actions = [*(() if partial else parts.actions()), exchange.prepare()]
        actions += devices.actions(jump=0 if partial else -apart, shift=apart if partial else 0, seconds=seconds)
        self._apply(Transaction(self._platform.frozen_lines, actions), whole=not partial)
        self.config = config
        try:
            if media:
                exchange.finish()
            devices.log_loaded()
        except MemoryError:  # the load is done and must not be reported as failed
            pass
        return report

    def _apply(self, transaction: Transaction, *, whole: bool) -> None:
        """Do the actions of a load. If that fails and cannot be undone, the machine is half loaded."""
        before, self.half_loaded = self.half_loaded, True
        try:
            transaction.apply()
        except BaseException:
            self.half_loaded = before or transaction.is_half_done
            raise
        if whole:
            self.requests.forget()
        self.half_loaded = before and not whole


def _require_checkpoint(value: object, cure: str) -> None:
    """Raise TypeError, with the cure, if a value is not a checkpoint."""
    if not isinstance(value, Checkpoint):
        raise TypeError(f"a machine is saved to and loaded from a Checkpoint, not {type(value).__name__}: {cure}")
