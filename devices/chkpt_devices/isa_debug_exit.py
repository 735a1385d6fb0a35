"""A port that ends the machine, for tests that run in it.

Source: QEMU, hw/misc/debugexit.c. A write of VALUE asks for the exit status VALUE * 2 + 1, so that it is never 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Final

from chkpt.device import U16, DeviceType, Host, Port, Range
from chkpt.grammar import Grammar, In, Out, Phrase


@dataclass(frozen=True, slots=True)
class IsaDebugExitState:
    """Nothing: the port keeps no state."""

    VERSION: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class IsaDebugExitConfig:
    """The first port, and the number of ports."""

    port: U16 = 0x501
    size: Annotated[int, Range(1, 4)] = 2


class IsaDebugExit:
    """The port."""

    def __init__(self, host: Host, config: IsaDebugExitConfig) -> None:
        self._request_exit = host.request_exit
        host.claim_ports(config.port, [Port(self._read, self._write, write_word=self._write)] * config.size)

    def reset(self) -> None:
        """Do nothing."""

    def save(self) -> IsaDebugExitState:
        """Return nothing."""
        return IsaDebugExitState()

    def load(self, state: IsaDebugExitState) -> None:
        """Take nothing."""

    def _read(self) -> int:
        return 0  # as in QEMU

    def _write(self, value: int) -> None:
        self._request_exit(value << 1 | 1)


def _phrases(_: str, config: IsaDebugExitConfig) -> list[Callable[[Random], Phrase]]:
    def end(choose: Random) -> Phrase:
        yield In(config.port)
        yield Out(config.port, choose.randrange(256))

    return [end]


ISA_DEBUG_EXIT: Final = DeviceType(
    "isa_debug_exit", IsaDebugExit, IsaDebugExitConfig, IsaDebugExitState, Grammar(_phrases)
)
