"""Port 0xcf9, the reset control register of Intel's chip sets: how firmware resets a machine when all else fails.

Source: Intel 82371SB PIIX3 (290550), "RC - Reset Control Register". Bit 2, RCPU, begins a reset when it rises; bit 1,
SRST, chooses between a hard reset and a soft one, which here are the same. The other bits are reserved and read 0.
The register answers to bytes: a dword at 0xcf8 is an address of PCI's configuration space, and goes to the host bridge.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Final

from chkpt.device import U16, DeviceType, Host, Port
from chkpt.grammar import Grammar, In, Out, Phrase

SRST: Final = 0x02
RCPU: Final = 0x04


@dataclass(frozen=True, slots=True)
class ResetControlState:
    """What is left of the register when it is read: RCPU is 0 again after the reset that it makes."""

    VERSION: ClassVar[int] = 1

    srst: bool


@dataclass(frozen=True, slots=True)
class ResetControlConfig:
    """Where it answers."""

    port: U16 = 0xCF9


class ResetControl:
    """The register."""

    def __init__(self, host: Host, config: ResetControlConfig) -> None:
        self._request_reset = host.request_reset
        host.claim_ports(config.port, [Port(self._read, self._write, byte_only=True)])
        self.reset()

    def reset(self) -> None:
        """Clear the register."""
        self._srst = False

    def save(self) -> ResetControlState:
        """Return the register."""
        return ResetControlState(self._srst)

    def load(self, state: ResetControlState) -> None:
        """Take the register."""
        self._srst = state.srst

    def _read(self) -> int:
        return SRST if self._srst else 0

    def _write(self, value: int) -> None:
        self._srst = bool(value & SRST)
        if value & RCPU:
            self._request_reset()


def _phrases(_: str, config: ResetControlConfig) -> list[Callable[[Random], Phrase]]:
    def choice(choose: Random) -> Phrase:
        yield Out(config.port, choose.choice((0, SRST)))
        yield In(config.port)

    return [choice]


RESET_CONTROL: Final = DeviceType(
    "reset_control", ResetControl, ResetControlConfig, ResetControlState, Grammar(_phrases)
)
