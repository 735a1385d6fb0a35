"""The configuration of the timer."""

from dataclasses import dataclass
from typing import Annotated

from chkpt.device import U4, U16, Range


@dataclass(frozen=True, slots=True)
class PitConfig:
    """The first of the timer's four ports, the port of the speaker, and the interrupt line of counter 0."""

    port: Annotated[int, Range(0, 0xFFFC)] = 0x40
    speaker_port: U16 = 0x61
    irq: U4 = 0
