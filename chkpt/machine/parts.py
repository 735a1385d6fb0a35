"""What a snapshot has of a machine beside its devices: the clock, the processor, the lines, RAM and what it booted."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeVar

from chkpt.context import Blob, Checkpoint
from chkpt.device import U16, U64, Range
from chkpt.errors import StateError
from chkpt.machine.cpu.contract import CpuState
from chkpt.machine.firmware import FirmwareState
from chkpt.machine.kernel import KernelState
from chkpt.manager import Skip, strict_reasons
from chkpt.state import from_context, printable

log = logging.getLogger("chkpt.machine")

P = TypeVar("P")


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

OPTIONAL: Final = {"cpu": "execution", "firmware": "firmware", "kernel": "kernel"}
"""Those that not every machine has, and the machine's attributes for them."""


class Parts:
    """What a snapshot has beside the devices: read and validated, None where it is missing or not asked for."""

    def __init__(self, checkpoint: Checkpoint, *, partial: bool, here: Collection[str]) -> None:
        self.partial = partial
        self.skipped: list[Skip] = []
        self.unknown: list[str] = []
        self._contexts = checkpoint.contexts
        self.clock = self._read("clock", ClockState)
        self.cpu = None if partial or "cpu" not in here else self._read("cpu", CpuState)
        self.lines = None if partial else self._read("lines", LinesState)
        self.firmware = None if partial or "firmware" not in here else self._read("firmware", FirmwareState)
        self.kernel = None if partial or "kernel" not in here else self._read("kernel", KernelState)
        self.memory = None if partial else self._read("memory", MemoryState)
        if not partial:
            known = {"clock", "lines", "memory", "devices", *here}
            others = [name for name in checkpoint.contexts if name not in known]
            self.skipped += [Skip(printable(name), "this machine has no such part") for name in others]

    @property
    def reasons(self) -> list[str]:
        """What a strict load refuses."""
        return strict_reasons(self.skipped, self.unknown)

    def log(self) -> None:
        """Log what is skipped or passed over."""
        for skip in self.skipped:
            log.warning("%s: skipped: %s", skip.name, skip.reason)
        for path in self.unknown:
            log.warning("%s: unknown tag, passed over", path)

    def _read(self, name: str, state: type[P]) -> P | None:
        context = self._contexts.get(name)
        if context is None:
            self.skipped.append(Skip(name, "its context is missing"))
            return None
        if context.type != name:
            raise StateError(f"{name} is of type {context.type!r}, not {name}")
        return from_context(context, state, name, self.unknown)
