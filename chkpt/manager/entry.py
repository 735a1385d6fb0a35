"""A device of the machine, as the device manager knows it."""

from dataclasses import dataclass
from typing import Any

from chkpt.device import Device, KeepsDate
from chkpt.manager.host import DeviceHost
from chkpt.manager.types import AnyDeviceType


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device of the machine: its name, its type, what it was given, and what it offers.

    `saves` and `loads` are found once, when the device is added: the check of a Protocol takes longer than the save of
    a small device.
    """

    name: str
    type: AnyDeviceType
    config: object
    device: Device
    host: DeviceHost
    saves: bool
    loads: bool

    def save(self) -> object:
        """Return the device's state. Call this only if it `saves`."""
        device: Any = self.device
        return device.save()

    def load(self, state: object) -> None:
        """Load a state into the device. Call this only if it `loads`."""
        device: Any = self.device
        device.load(state)

    def load_later(self, state: object, seconds: int) -> bool:
        """Load a state. If the device keeps a date, move it on by so many seconds. Return whether the date moved."""
        self.load(state)
        return bool(seconds) and isinstance(self.device, KeepsDate) and self.device.advance_date(seconds)
