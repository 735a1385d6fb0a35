"""The configuration of a serial port."""

from dataclasses import dataclass
from typing import Annotated

from chkpt.device import U4, Range


@dataclass(frozen=True, slots=True)
class SerialConfig:
    """The first of the UART's eight ports, and its interrupt line."""

    port: Annotated[int, Range(0, 0xFFF8)] = 0x3F8
    irq: U4 = 4
