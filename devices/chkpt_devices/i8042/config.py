"""The configuration of the keyboard controller."""

from dataclasses import dataclass
from enum import StrEnum

from chkpt.device import U4, U16


class Input(StrEnum):
    """What the bytes that arrive from the character backend are."""

    TEXT = "text"  # each is typed on a US keyboard
    SCAN_CODES = "scan codes"  # each is sent by the keyboard


@dataclass(frozen=True, slots=True)
class I8042Config:
    """The controller's ports, its interrupt lines, and what its keyboard types."""

    data_port: U16 = 0x60
    command_port: U16 = 0x64
    irq: U4 = 1
    aux_irq: U4 = 12
    input: Input = Input.TEXT
