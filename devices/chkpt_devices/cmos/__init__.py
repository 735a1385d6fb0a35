"""The MC146818A clock and its RAM. The rules of the hardware are cited in each module."""

from typing import Final

from chkpt.device import DeviceType
from chkpt_devices.cmos.chip import Cmos, CmosState
from chkpt_devices.cmos.config import Boot, CmosConfig
from chkpt_devices.cmos.grammar import CMOS_GRAMMAR

CMOS: Final = DeviceType("cmos", Cmos, CmosConfig, CmosState, CMOS_GRAMMAR)

__all__ = ["CMOS", "Boot", "Cmos", "CmosConfig", "CmosState"]
