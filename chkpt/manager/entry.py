"""A device of the machine, as the device manager knows it."""

from dataclasses import dataclass

from chkpt.device import Device
from chkpt.manager.host import DeviceHost
from chkpt.manager.types import AnyDeviceType


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device of the machine: its name, its type, and what it was given."""

    name: str
    type: AnyDeviceType
    device: Device
    host: DeviceHost
