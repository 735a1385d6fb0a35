"""Port 0x92, "system control port A": a quick way to address line 20, and to a reset.

Source: Intel 82371AB PIIX4 (290562), "P92 - Port 92 Register"; it comes from IBM's PS/2. Bit 1 is FAST_A20, which is
combined with the keyboard controller's A20GATE: the line is enabled while one of them is high. Bit 0 is FAST_INIT,
whose rise resets. Bits 7-2 are reserved and read 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Final

from chkpt.device import U16, DeviceType, Host, Port
from chkpt.grammar import Grammar, In, Out, Phrase

FAST_INIT: Final = 0x01
FAST_A20: Final = 0x02


@dataclass(frozen=True, slots=True)
class Port92State:
    """The bits that a read shows. FAST_INIT is not one: it is 0 again after its reset."""

    VERSION: ClassVar[int] = 1

    fast_a20: bool


@dataclass(frozen=True, slots=True)
class Port92Config:
    """The port."""

    port: U16 = 0x92


class Port92:
    """The register."""

    def __init__(self, host: Host, config: Port92Config) -> None:
        self._a20 = host.a20_line()
        self._request_reset = host.request_reset
        host.claim_ports(config.port, [Port(self._read, self._write)])
        self.reset()

    def reset(self) -> None:
        """Enable address line 20: without a keyboard controller nothing else would, and the first fetch needs it."""
        self._drive(True)

    def save(self) -> Port92State:
        """Return the register."""
        return Port92State(self._fast_a20)

    def load(self, state: Port92State) -> None:
        """Take the register."""
        self._drive(state.fast_a20)

    def _drive(self, level: bool) -> None:
        self._fast_a20 = level
        self._a20.set(level)

    def _read(self) -> int:
        return FAST_A20 if self._fast_a20 else 0

    def _write(self, value: int) -> None:
        self._drive(bool(value & FAST_A20))
        if value & FAST_INIT:
            self._request_reset()


def _phrases(_: str, config: Port92Config) -> list[Callable[[Random], Phrase]]:
    def switch(choose: Random) -> Phrase:
        yield Out(config.port, choose.choice((0, FAST_A20)))
        yield In(config.port)

    return [switch]


PORT92: Final = DeviceType("port92", Port92, Port92Config, Port92State, Grammar(_phrases))
