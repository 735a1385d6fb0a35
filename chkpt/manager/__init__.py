"""The device manager: device types, devices, what they claim, their frontends, and their save and load."""

from chkpt.manager.entry import DeviceEntry
from chkpt.manager.host import Platform
from chkpt.manager.load import LoadPlan
from chkpt.manager.manager import DeviceManager
from chkpt.manager.names import CONTEXT, device_names
from chkpt.manager.reports import LoadReport, SaveReport, Skip, refuse_strictly, strict_reasons
from chkpt.manager.resources import Claim, Resource
from chkpt.manager.transaction import Action, Part, StatePart, Transaction
from chkpt.manager.types import (
    AnyBackendType,
    BackendTypes,
    DeviceTypes,
    installed_backend_types,
    installed_device_types,
    installed_roms,
)

__all__ = [
    "CONTEXT",
    "Action",
    "AnyBackendType",
    "BackendTypes",
    "Claim",
    "DeviceEntry",
    "DeviceManager",
    "DeviceTypes",
    "LoadPlan",
    "LoadReport",
    "Part",
    "Platform",
    "Resource",
    "SaveReport",
    "Skip",
    "StatePart",
    "Transaction",
    "device_names",
    "installed_backend_types",
    "installed_device_types",
    "installed_roms",
    "refuse_strictly",
    "strict_reasons",
]
