"""The 8254 interval timer. The rules of the hardware are cited in each module."""

from typing import Final

from chkpt.device import DeviceType
from chkpt_devices.pit.chip import Pit, PitState
from chkpt_devices.pit.config import PitConfig
from chkpt_devices.pit.grammar import PIT_GRAMMAR

PIT: Final = DeviceType("pit", Pit, PitConfig, PitState, PIT_GRAMMAR)

__all__ = ["PIT", "Pit", "PitConfig", "PitState"]
