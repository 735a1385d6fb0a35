"""The 8042 keyboard controller and its keyboard. The rules of the hardware are cited in each module."""

from typing import Final

from chkpt.device import DeviceType
from chkpt_devices.i8042.chip import I8042, I8042State
from chkpt_devices.i8042.config import I8042Config, Input
from chkpt_devices.i8042.grammar import I8042_GRAMMAR

KEYBOARD_CONTROLLER: Final = DeviceType("i8042", I8042, I8042Config, I8042State, I8042_GRAMMAR)

__all__ = ["I8042", "KEYBOARD_CONTROLLER", "I8042Config", "I8042State", "Input"]
