"""The 16550A serial port. The rules of the hardware are cited in each module."""

from typing import Final

from chkpt.device import DeviceType
from chkpt_devices.serial.chip import Serial
from chkpt_devices.serial.config import SerialConfig
from chkpt_devices.serial.grammar import SERIAL_GRAMMAR
from chkpt_devices.serial.registers import SerialState

SERIAL: Final = DeviceType("serial", Serial, SerialConfig, SerialState, SERIAL_GRAMMAR)

__all__ = ["SERIAL", "Serial", "SerialConfig", "SerialState"]
