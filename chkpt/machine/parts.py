"""The parts of a machine beside its devices: the clock, the processor, the lines, RAM, and the BIOS or kernel."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from chkpt.context import Blob, Context
from chkpt.device import U16, U64, Range
from chkpt.errors import StateError
from chkpt.machine.board.clock import MachineClock
from chkpt.machine.board.lines import IrqLines
from chkpt.machine.board.memory import Memory, ram_of
from chkpt.machine.cpu.contract import CpuState
from chkpt.machine.cpu.execution import Execution
from chkpt.machine.firmware import Firmware, FirmwareState
from chkpt.machine.kernel import Kernel, KernelState
from chkpt.manager import Action, Part, Skip, StatePart, strict_reasons
from chkpt.state import from_context, printable, to_context

log = logging.getLogger("chkpt.machine")


@dataclass(frozen=True, slots=True)
class ClockState:
    """The virtual clock, in the context `clock`."""

    VERSION: ClassVar[int] = 1

    now: Annotated[int, Range(0, (1 << 63) - 1)]  # not a `Time`: a load that shifts times never loads it


@dataclass(frozen=True, slots=True)
class LinesState:
    """The interrupt lines driven from outside the machine (bit n: line n), in the context `lines`."""

    VERSION: ClassVar[int] = 1

    outside: U16


@dataclass(frozen=True, slots=True)
class MemoryState:
    """RAM, in the context `memory`."""

    VERSION: ClassVar[int] = 1
    FIXED: ClassVar[tuple[str, ...]] = ("size",)

    size: U64
    ram: Blob


PARTS: Final[Mapping[str, type]] = {
    "clock": ClockState,
    "cpu": CpuState,
    "firmware": FirmwareState,
    "kernel": KernelState,
    "lines": LinesState,
    "memory": MemoryState,
}
"""What a machine saves beside its devices: the context's name, which is its type, and its state."""


AnyPart = Part[Any]


class MemoryPart:
    """RAM. A load reads it whole into new memory, so undoing it only puts the old memory back."""

    name = "memory"
    state = MemoryState

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def save(self) -> MemoryState:
        """Return a view of RAM; use it before the machine runs on."""
        return MemoryState(self._memory.size, self._memory.blob())

    def check(self, state: MemoryState) -> None:
        """Raise StateError if a snapshot is of a machine with another size of RAM."""
        if state.size != self._memory.size:
            raise StateError(f"memory.size is {state.size}, but this machine has {self._memory.size} bytes of RAM")
        if state.ram.size != state.size:
            raise StateError(f"memory.ram has {state.ram.size} bytes, but memory.size is {state.size}")

    def prepare(self, state: MemoryState) -> Action:
        """Read the snapshot's RAM.

        Raises:
            RefusedError: the snapshot is damaged.
            StorageError: it cannot be read, or the host does not have enough memory.
        """
        new, old = ram_of(state.ram), self._memory.ram
        return Action(
            self.name, "memory cannot be loaded", lambda: self._memory.replace(new), lambda: self._memory.replace(old)
        )


def clock_part(clock: MachineClock) -> AnyPart:
    """Return the clock as a part."""
    return StatePart("clock", ClockState, lambda: ClockState(clock.now), lambda state: clock.set(state.now))


def cpu_part(execution: Execution) -> AnyPart:
    """Return the processor as a part."""
    return StatePart("cpu", CpuState, execution.save, execution.load, execution.cpu.check)


def lines_part(irq: IrqLines) -> AnyPart:
    """Return the lines as a part: the levels that are driven from outside. Devices drive theirs when they load."""

    def load(state: LinesState) -> None:
        irq.outside = state.outside

    return StatePart("lines", LinesState, lambda: LinesState(irq.outside), load)


def firmware_part(firmware: Firmware) -> AnyPart:
    """Return the BIOS as a part; a load only compares it."""
    return StatePart("firmware", FirmwareState, lambda: firmware.state, lambda _: None, firmware.check)


def kernel_part(kernel: Kernel) -> AnyPart:
    """Return the booted kernel as a part; its state is None if the machine has not been booted yet."""

    def load(state: KernelState | None) -> None:
        kernel.state = state

    return StatePart("kernel", KernelState, lambda: kernel.state, load)


def contexts_of(parts: Sequence[AnyPart]) -> dict[str, Context]:
    """Save each part into a context of its own. A part without a state gets none."""
    states = {part.name: part.save() for part in parts}
    return {name: to_context(state, name) for name, state in states.items() if state is not None}


class PartsPlan:
    """The states of the parts in a snapshot, read and validated. Nothing has changed yet."""

    def __init__(self, parts: Sequence[AnyPart], contexts: Mapping[str, Context], *, partial: bool) -> None:
        """Read the states of `parts`. A partial load only needs the clock, for the difference of the clocks.

        Raises:
            RefusedError: a state cannot be loaded.
        """
        self.skipped: list[Skip] = []
        self.unknown: list[str] = []
        self._parts = [part for part in parts if not partial or part.name == "clock"]
        self._states: dict[str, Any] = {}
        for part in self._parts:
            context = contexts.get(part.name)
            if context is None:
                self.skipped.append(Skip(part.name, "its context is missing"))
            else:
                self._states[part.name] = self._read(part, context)
        if not partial:
            known = {"devices", *(part.name for part in parts)}
            others = [name for name in contexts if name not in known]
            self.skipped += [Skip(printable(name), "this machine has no such part") for name in others]

    @property
    def reasons(self) -> list[str]:
        """The findings that make a strict load refuse the snapshot."""
        return strict_reasons(self.skipped, self.unknown)

    @property
    def saved_clock(self) -> int | None:
        """The time of the saved clock, None if the snapshot has none."""
        clock: ClockState | None = self._states.get("clock")
        return None if clock is None else clock.now

    def actions(self) -> list[Action]:
        """Check every state, do the work that takes long, and return an action for each part.

        Raises:
            ChkptError: a state cannot be loaded.
        """
        found = [(part, self._states[part.name]) for part in self._parts if part.name in self._states]
        for part, state in found:
            part.check(state)
        return [part.prepare(state) for part, state in found]

    def log(self) -> None:
        """Log the parts that are skipped and the tags that are passed over."""
        for skip in self.skipped:
            log.warning("%s: skipped: %s", skip.name, skip.reason)
        for path in self.unknown:
            log.warning("%s: unknown tag, passed over", path)

    def _read(self, part: AnyPart, context: Context) -> Any:
        if context.type != part.name:
            raise StateError(f"{part.name} is of type {context.type!r}, not {part.name}")
        return from_context(context, part.state, part.name, self.unknown)
