"""What the keyboard controller is configured with."""

from dataclasses import dataclass
from enum import StrEnum

from chkpt.device import U4, U16


class Input(StrEnum):
    """What the bytes that arrive from the character backend are."""

    TEXT = "text"  # each is typed on a US keyboard
    SCAN_CODES = "scan codes"  # each is sent by the keyboard


@dataclass(frozen=True, slots=True)
class I8042Config:
    """Where the controller answers, its interrupt lines, and what is typed on the keyboard."""

    data_port: U16 = 0x60
    command_port: U16 = 0x64
    irq: U4 = 1
    aux_irq: U4 = 12
    input: Input = Input.TEXT
