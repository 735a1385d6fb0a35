"""Why a command is not sent."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.oracle.case import Case


@dataclass(frozen=True, slots=True)
class Limit:
    """Why a command is not sent: what QEMU would make of it, and what a datasheet says."""

    name: str
    device: str
    qemu: str
    reason: str
    holds_back: Callable[[Case], bool]
