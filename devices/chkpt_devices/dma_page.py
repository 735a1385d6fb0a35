"""The DMA page registers: sixteen bytes that a guest can write and read back, the POST code at port 0x80 among them.

Source: IBM PC AT Technical Reference (6280070), "System Board", "Page Register": an SN74LS612 at 0x80-0x8f. Registers
0x81-0x83, 0x87, 0x89-0x8b and 0x8f hold the high address bytes of the DMA channels; the others are spare, and 0x80 is
where a BIOS shows how far its power-on self test has come. There is no DMA controller here, so all are latches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Final

from chkpt.device import DeviceType, Host, Length, Port, Range
from chkpt.grammar import Grammar, In, Out, Phrase

REGISTERS: Final = 16


@dataclass(frozen=True, slots=True)
class DmaPageState:
    """The registers, in order of their ports."""

    VERSION: ClassVar[int] = 1

    pages: Annotated[bytes, Length(REGISTERS, REGISTERS)]


@dataclass(frozen=True, slots=True)
class DmaPageConfig:
    """The first of the sixteen ports."""

    port: Annotated[int, Range(0, 0x10000 - REGISTERS)] = 0x80


class DmaPage:
    """The SN74LS612."""

    def __init__(self, host: Host, config: DmaPageConfig) -> None:
        self._pages = bytearray(REGISTERS)
        host.claim_ports(config.port, [self._port(number) for number in range(REGISTERS)])

    def _port(self, number: int) -> Port:
        def read() -> int:
            return self._pages[number]

        def write(value: int) -> None:
            self._pages[number] = value

        return Port(read, write)

    def reset(self) -> None:
        """Clear the registers, whose contents are undefined at power-on."""
        self._pages[:] = bytes(REGISTERS)

    def save(self) -> DmaPageState:
        """Return the registers."""
        return DmaPageState(bytes(self._pages))

    def load(self, state: DmaPageState) -> None:
        """Take the registers."""
        self._pages[:] = state.pages


def _phrases(_: str, config: DmaPageConfig) -> list[Callable[[Random], Phrase]]:
    def remember(choose: Random) -> Phrase:
        port = config.port + choose.randrange(REGISTERS)
        yield Out(port, choose.randrange(256))
        yield In(port)

    return [remember]


DMA_PAGE: Final = DeviceType("dma_page", DmaPage, DmaPageConfig, DmaPageState, Grammar(_phrases))
