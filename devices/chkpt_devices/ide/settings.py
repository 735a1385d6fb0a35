"""The settings of every drive: power mode, transfer mode, and whether a software reset reverts them."""

from collections.abc import Callable, Mapping
from typing import Final

from chkpt_devices.ide.registers import DRDY, Command, Feature
from chkpt_devices.ide.state import PowerMode
from chkpt_devices.ide.taskfile import TaskFile

POWER_ON_MODE: Final = 0x45  # Ultra DMA 5, as QEMU's IDENTIFY has it selected

TRANSFER_MODES: Final = frozenset((
    0x00, 0x01,  # PIO default, the same without IORDY
    *range(0x08, 0x0D),  # PIO with flow control, modes 0 to 4
    *range(0x10, 0x13),  # single word DMA 0 to 2 (obsolete)
    *range(0x20, 0x23),  # multiword DMA 0 to 2
    *range(0x40, 0x46),  # Ultra DMA 0 to 5
))  # fmt: skip
"""Sector counts that SET FEATURES 0x03 takes (ATA/ATAPI-6). Only IDENTIFY shows them: all data moves by PIO."""

STANDBY_COUNT: Final = 0x00  # CHECK POWER MODE: in standby (ATA/ATAPI-6)
ACTIVE_COUNT: Final = 0xFF  # active or idle


class Settings:
    """The settings of one drive, and the commands that change them."""

    __slots__ = ("_task", "keep", "power", "transfer_mode")

    def __init__(self, task: TaskFile) -> None:
        self._task = task
        self.power = PowerMode.ACTIVE
        self.transfer_mode = POWER_ON_MODE
        self.keep = False

    def power_on(self) -> None:
        """Take the settings of power-on. The reset that follows wakes the drive up."""
        self.transfer_mode = POWER_ON_MODE
        self.keep = False

    @property
    def asleep(self) -> bool:
        """Whether the drive reacts only to a reset."""
        return self.power is PowerMode.SLEEP

    def commands(self) -> Mapping[int, Callable[[], None]]:
        """Return the power commands. Each has an obsolete second code."""
        return {
            Command.STANDBY_IMMEDIATE: self._standby,
            Command.STANDBY_IMMEDIATE_OLD: self._standby,
            Command.STANDBY: self._standby,
            Command.STANDBY_OLD: self._standby,
            Command.IDLE_IMMEDIATE: self._idle,
            Command.IDLE_IMMEDIATE_OLD: self._idle,
            Command.IDLE: self._idle,
            Command.IDLE_OLD: self._idle,
            Command.CHECK_POWER: self._check,
            Command.CHECK_POWER_OLD: self._check,
            Command.SLEEP: self._sleep,
            Command.SLEEP_OLD: self._sleep,
        }

    def set_feature(self) -> bool:
        """Carry out the SET FEATURES that all drives know; return False if it is not one of them."""
        feature = self._task.feature
        if feature == Feature.TRANSFER_MODE:
            if self._task.nsector not in TRANSFER_MODES:
                return False
            self.transfer_mode = self._task.nsector
        elif feature in {Feature.KEEP_SETTINGS, Feature.REVERT_SETTINGS}:
            self.keep = feature == Feature.KEEP_SETTINGS
        else:
            return False
        return True

    def _standby(self) -> None:
        self.power = PowerMode.STANDBY
        self._task.complete(DRDY)

    def _idle(self) -> None:
        self.power = PowerMode.ACTIVE
        self._task.complete(DRDY)

    def _sleep(self) -> None:
        self.power = PowerMode.SLEEP
        self._task.complete(DRDY)

    def _check(self) -> None:
        self._task.nsector = STANDBY_COUNT if self.power is PowerMode.STANDBY else ACTIVE_COUNT
        self._task.complete()
