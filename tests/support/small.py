"""Small devices, backends and machines to test the device manager and the machine with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from chkpt.context import SparseBlob
from chkpt.device import (
    U4,
    U8,
    U16,
    CharFrontend,
    DeviceType,
    DiskState,
    Host,
    LineError,
    ModemLine,
    Port,
    Time,
)
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import BackendTypes, DeviceTypes

# -- a device with a register, a timer and a line ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CellState:
    VERSION: ClassVar[int] = 1

    value: U8 = 0
    level: bool = False
    deadline: Time | None = None


@dataclass(frozen=True, slots=True)
class CellConfig:
    port: U16 = 0x100
    irq: U4 = 5


class Cell:
    """A byte at `port`. A write of n to the port after it raises the line n us later; a read of that lowers it."""

    def __init__(self, host: Host, config: CellConfig) -> None:
        self.host = host
        self.value = 0
        self.level = False
        self.fired: list[int] = []
        self.line = host.irq_line(config.irq)
        self.timer = host.timer(self._ring)
        host.claim_ports(
            config.port, [Port(read=self._read, write=self._write), Port(read=self._answer, write=self._start)]
        )

    def _read(self) -> int:
        return self.value

    def _write(self, value: int) -> None:
        self.value = value

    def _start(self, value: int) -> None:
        self.timer.arm(self.host.clock.now + 1000 * value)

    def _answer(self) -> int:
        self.drive(level=False)
        return 0

    def _ring(self) -> None:
        self.fired.append(self.host.clock.now)
        self.drive(level=True)

    def drive(self, *, level: bool) -> None:
        self.level = level
        self.line.set(level)

    def reset(self) -> None:
        self._become(CellState())

    def _become(self, state: CellState) -> None:
        self.value = state.value
        self.drive(level=state.level)
        if state.deadline is None:
            self.timer.cancel()
        else:
            self.timer.arm(state.deadline)

    def present(self) -> CellState:
        return CellState(self.value, self.level, self.timer.deadline)


class SavedCell(Cell):
    """A cell that can be saved, and not loaded."""

    def save(self) -> CellState:
        return self.present()


class LoadedCell(Cell):
    """A cell that can be loaded, and not saved."""

    def __init__(self, host: Host, config: CellConfig) -> None:
        super().__init__(host, config)
        self.errors: list[BaseException] = []  # raised by the next loads
        self.fails_late = False  # after the change, against the contract
        self.loaded: list[CellState] = []

    def load(self, state: CellState) -> None:
        self.loaded.append(state)
        error = self.errors.pop(0) if self.errors else None
        if error is not None and not self.fails_late:
            raise error
        self._become(state)
        if error is not None:
            raise error


class WholeCell(LoadedCell):
    """A cell as it should be."""

    def save(self) -> CellState:
        return self.present()


CELL = DeviceType("cell", WholeCell, CellConfig, CellState)
DEAF = DeviceType("deaf", SavedCell, CellConfig, CellState)
MUTE = DeviceType("mute", LoadedCell, CellConfig, CellState)
INERT: DeviceType[CellConfig, CellState] = DeviceType("inert", Cell, CellConfig, None)

# -- an interrupt controller ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ControllerState:
    VERSION: ClassVar[int] = 1

    levels: U16 = 0
    edges: U16 = 0


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    pass


class Controller:
    """Counts rising edges; INTR is high while any line is."""

    def __init__(self, host: Host, config: ControllerConfig) -> None:
        self.levels = 0
        self.edges = 0
        self.intr = host.cpu_interrupt_line()
        host.receive_irqs(self._set_level, self._acknowledge)

    def _set_level(self, number: int, level: bool) -> None:
        bit = 1 << number
        if level and not self.levels & bit:
            self.edges += 1
        self.levels = self.levels | bit if level else self.levels & ~bit
        self.intr.set(bool(self.levels))

    def _acknowledge(self) -> int:
        return 0x20 + self.levels.bit_length() - 1

    def reset(self) -> None:
        self.edges = 0

    def save(self) -> ControllerState:
        return ControllerState(self.levels, self.edges)

    def load(self, state: ControllerState) -> None:
        self.levels, self.edges = state.levels, state.edges
        self.intr.set(bool(self.levels))


CONTROLLER = DeviceType("controller", Controller, ControllerConfig, ControllerState)

# -- frontends of the four kinds, and backends for them ---------------------------------------------------------------


class Socket:
    """A frontend, and what happened to it."""

    def __init__(self) -> None:
        self.backend: object = None
        self.log: list[str] = []
        self.error: Exception | None = None

    def connect(self, backend: object, /) -> None:
        if self.error is not None:
            raise self.error
        self.backend = backend
        self.log.append("connect")

    def disconnect(self) -> None:
        self.backend = None
        self.log.append("disconnect")
        if self.error is not None:
            raise self.error


class DiskSocket(Socket):
    def retry(self) -> None:
        self.log.append("retry")


class NetSocket(Socket):
    def receive(self, frame: bytes, /) -> bool:
        return True


class CharSocket(Socket):
    def room(self) -> int:
        return 16

    def receive(self, data: bytes, errors: LineError = LineError.NONE, /) -> None:
        self.log.append(data.decode())

    def set_modem(self, lines: ModemLine, /) -> None:
        pass

    def writable(self) -> None:
        pass


class Panel:
    """A device with a frontend of each kind: a disk at unit 0, the others under its own name."""

    def __init__(self, host: Host, config: ControllerConfig) -> None:
        self.disk, self.net, self.char, self.console = DiskSocket(), NetSocket(), CharSocket(), Socket()
        host.add_block_frontend(self.disk, 0)
        host.add_net_frontend(self.net)
        host.add_char_frontend(self.char)
        host.add_console_frontend(self.console)

    def reset(self) -> None:
        pass


PANEL: DeviceType[ControllerConfig, object] = DeviceType("panel", Panel, ControllerConfig, None)


class Closable:
    """A backend that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.error: Exception | None = None

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


class Disk(Closable):
    """A disk of one sector, which stays empty."""

    size = 512
    read_only = False

    def read(self, offset: int, length: int, /) -> bytes:
        return bytes(length)

    def write(self, offset: int, data: bytes, /) -> None:
        pass

    def flush(self) -> None:
        pass

    def save(self) -> DiskState:
        return DiskState(512, b"", 512, SparseBlob(1, 1), SparseBlob(512, 512))

    def check(self, state: DiskState, /) -> None:
        pass

    def load(self, state: DiskState, /) -> None:
        pass


class Cable(Closable):
    """A network that takes every frame."""

    def send(self, frame: bytes, /) -> None:
        pass


class Line(Closable):
    """What is behind a serial port: remembers its frontend."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend: CharFrontend | None = None

    def attach(self, frontend: CharFrontend, /) -> None:
        self.frontend = frontend

    def write(self, data: bytes, /) -> int:
        return len(data)

    def set_break(self, level: bool, /) -> None:
        pass

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        pass

    def fileno(self) -> int | None:
        return None

    def wants_write(self) -> bool:
        return False

    def poll(self) -> None:
        pass


class Screen(Closable):
    """A text screen that nobody sees."""

    def draw(self, row: int, column: int, cells: bytes, /) -> None:
        pass

    def move_cursor(self, row: int, column: int, /) -> None:
        pass

    def resize(self, rows: int, columns: int, /) -> None:
        pass


# -- machines ---------------------------------------------------------------------------------------------------------

TYPES = (CELL, DEAF, MUTE, INERT, CONTROLLER, PANEL)


def types(*more: DeviceType[Any, Any]) -> DeviceTypes:
    """Return the device types of this module, and more."""
    return DeviceTypes((*TYPES, *more))


def machine(*names: str, memory: int = 0, backends: BackendTypes | None = None) -> Machine:
    """Build a machine from names such as `cell:a`; each device has ports of its own, from 0x100 on, 16 apart."""
    tables: list[Mapping[str, object]] = []
    for number, each in enumerate(names):
        type_name, _, name = each.partition(":")
        table: dict[str, object] = {"type": type_name, "name": name or type_name}
        if type_name not in {"controller", "panel"}:
            table["port"] = 0x100 + 16 * number
        tables.append(table)
    config = parse({"name": "small", "memory": memory, "device": tables})
    return Machine(config, device_types=types(), backend_types=backends)


def cell(of: Machine, name: str) -> WholeCell:
    """Return a cell of a machine."""
    found = of.devices.find(name)
    assert isinstance(found, Cell)
    return cast("WholeCell", found)
