"""The pair of 8259A interrupt controllers. The rules of the hardware are cited in each module."""

from typing import Final

from chkpt.device import DeviceType
from chkpt_devices.pic.chip import Pic, PicState
from chkpt_devices.pic.config import EdgeRequest, PicConfig
from chkpt_devices.pic.grammar import PIC_GRAMMAR

PIC: Final = DeviceType("pic", Pic, PicConfig, PicState, PIC_GRAMMAR)

__all__ = ["PIC", "EdgeRequest", "Pic", "PicConfig", "PicState"]
