"""The contract between a device and a machine: what the device must offer, and what the machine gives it.

A device is a plain class. The machine gives it a `Host` (ports, lines, clock, frontends) and its configuration. Its
state is a separate frozen dataclass with a range on every field. So a device knows nothing of files, encodings or other
devices. The shape follows rust-vmm's vm-superio.

    class Timer8254:
        def __init__(self, host: Host, config: PitConfig) -> None: ...
        def reset(self) -> None: ...
        def save(self) -> PitState: ...           # optional: without it the device is skipped on save
        def load(self, state: PitState) -> None:  # optional: without it the device is skipped on load

    PIT = DeviceType("pit", Timer8254, PitConfig, PitState)   # named in the entry-point group "chkpt.devices"
"""

from chkpt.context import Blob, SparseBlob  # part of the contract
from chkpt.device.backends import (
    SECTOR_SIZE,
    BlockBackend,
    BlockFrontend,
    CharBackend,
    CharFrontend,
    ConsoleBackend,
    ConsoleFrontend,
    DiskState,
    FrontendKind,
    Identifies,
    LineError,
    ModemLine,
    NetBackend,
    NetFrontend,
    RemovableFrontend,
)
from chkpt.device.fields import (
    U1,
    U2,
    U3,
    U4,
    U7,
    U8,
    U16,
    U32,
    U48,
    U64,
    Length,
    MachineTime,
    OfMachine,
    Range,
    State,
    StateDict,
    Time,
    Upgrade,
)
from chkpt.device.host import Clock, Host, IrqLine, Port, Timer
from chkpt.device.types import BackendType, Device, DeviceType, KeepsDate, Loads, Rom, Saves

__all__ = [
    "SECTOR_SIZE",
    "U1",
    "U2",
    "U3",
    "U4",
    "U7",
    "U8",
    "U16",
    "U32",
    "U48",
    "U64",
    "BackendType",
    "Blob",
    "BlockBackend",
    "BlockFrontend",
    "CharBackend",
    "CharFrontend",
    "Clock",
    "ConsoleBackend",
    "ConsoleFrontend",
    "Device",
    "DeviceType",
    "DiskState",
    "FrontendKind",
    "Host",
    "Identifies",
    "IrqLine",
    "KeepsDate",
    "Length",
    "LineError",
    "Loads",
    "MachineTime",
    "ModemLine",
    "NetBackend",
    "NetFrontend",
    "OfMachine",
    "Port",
    "Range",
    "RemovableFrontend",
    "Rom",
    "Saves",
    "SparseBlob",
    "State",
    "StateDict",
    "Time",
    "Timer",
    "Upgrade",
]
