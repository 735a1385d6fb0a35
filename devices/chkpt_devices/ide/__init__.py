"""An ATA channel with disks and CD-ROM drives. The rules of the hardware are cited in each module."""

from chkpt.device import DeviceType
from chkpt_devices.ide.channel import Channel
from chkpt_devices.ide.config import DriveConfig, IdeConfig, Media, OnError
from chkpt_devices.ide.grammar import IDE_GRAMMAR
from chkpt_devices.ide.state import (
    AtapiState,
    AtaState,
    Attention,
    DriveState,
    IdeState,
    MaxQuery,
    MediaEvent,
    PowerMode,
    TransferKind,
    TransferState,
)

IDE = DeviceType("ide", Channel, IdeConfig, IdeState, IDE_GRAMMAR)

__all__ = [
    "IDE",
    "AtaState",
    "AtapiState",
    "Attention",
    "Channel",
    "DriveConfig",
    "DriveState",
    "IdeConfig",
    "IdeState",
    "MaxQuery",
    "Media",
    "MediaEvent",
    "OnError",
    "PowerMode",
    "TransferKind",
    "TransferState",
]
