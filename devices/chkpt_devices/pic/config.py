"""The configuration of the interrupt controllers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from chkpt.device import Range


class EdgeRequest(StrEnum):
    """What happens to the request of an edge-triggered input that falls before the acknowledge."""

    KEPT = "kept"
    """It stays until it is acknowledged, as in QEMU."""
    WITHDRAWN = "withdrawn"
    """It ends, as if the input were level triggered (datasheet, "Edge and Level Triggered Modes").

    An acknowledge that comes too late finds the default IR7.
    """


@dataclass(frozen=True, slots=True)
class PicConfig:
    """The ports, two for each chip and two for the ELCR, and what the chips do with an edge that has gone."""

    master_port: Annotated[int, Range(0, 0xFFFE)] = 0x20
    slave_port: Annotated[int, Range(0, 0xFFFE)] = 0xA0
    elcr_port: Annotated[int, Range(0, 0xFFFE)] = 0x4D0
    edge_request: EdgeRequest = EdgeRequest.KEPT
