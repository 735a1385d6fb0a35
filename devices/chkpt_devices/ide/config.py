"""The configuration of a channel and its drives."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from chkpt.device import U1, U4, Length, Range
from chkpt.errors import ConfigError

LAST_BLOCK: Final = 0xFFF8
"""The highest port at which eight of them begin."""


class Media(StrEnum):
    """The medium of a drive."""

    DISK = "disk"
    CDROM = "cdrom"


class OnError(StrEnum):
    """What a drive does when the host fails to read or write its medium."""

    REPORT = "report"  # the command fails
    WAIT = "wait"  # the drive stays busy, and tries again when the machine is resumed


@dataclass(frozen=True, slots=True)
class DriveConfig:
    """One drive. The strings are what IDENTIFY reports; An empty `model` stands for a name by `media`."""

    unit: U1
    media: Media = Media.DISK
    model: Annotated[str, Length(0, 40)] = ""
    serial: Annotated[str, Length(0, 20)] = ""
    firmware: Annotated[str, Length(0, 8)] = ""
    on_error: OnError = OnError.REPORT


@dataclass(frozen=True, slots=True)
class IdeConfig:
    """A channel: its ports, its interrupt line, its drives. The defaults are a PC's first channel."""

    port: Annotated[int, Range(0, LAST_BLOCK)] = 0x1F0
    control: Annotated[int, Range(0, 0xFFFF)] = 0x3F6
    irq: U4 = 14
    drive: Annotated[tuple[DriveConfig, ...], Length(0, 2)] = ()


DEFAULT_MODELS: Final = {Media.DISK: "CHKPT HARDDISK", Media.CDROM: "CHKPT CD-ROM"}


def model_of(drive: DriveConfig) -> str:
    """Return the model that a drive's IDENTIFY and INQUIRY report."""
    return drive.model or DEFAULT_MODELS[drive.media]


def check(config: IdeConfig) -> None:
    """Check what the fields' ranges do not.

    Raises:
        ConfigError: two drives of one unit, or a string that is not printable ASCII.
    """
    units = [drive.unit for drive in config.drive]
    if len(set(units)) != len(units):
        raise ConfigError(f"two drives are unit {units[0]}: a channel has units 0 and 1")
    for drive in config.drive:
        for name, text in (("model", drive.model), ("serial", drive.serial), ("firmware", drive.firmware)):
            if not (text.isascii() and text.isprintable()):
                raise ConfigError(f"drive {drive.unit}: {name} {text!r} is not printable ASCII")
