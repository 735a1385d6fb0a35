"""A device whose state leaves one field out is caught by the prover, and the field is named."""

import random
import re
from typing import Any, Final

import pytest

from chkpt.device import DeviceType
from chkpt.prove import Finding, prove
from devices.cmos import CMOS
from devices.debugcon import DEBUGCON
from devices.dma_page import DMA_PAGE
from devices.i8042 import KEYBOARD_CONTROLLER
from devices.ide import IDE
from devices.pic import PIC
from devices.pit import PIT
from devices.port92 import PORT92
from devices.serial import SERIAL
from tests.chkpt.prove.forgetful import fields, setups

SECONDS: Final = 60

BOARD: Final = (CMOS, KEYBOARD_CONTROLLER, PORT92, DMA_PAGE, DEBUGCON)
"""The small devices of a PC."""

UNNOTICEABLE: Final = {
    "ide": {
        **{
            f"drive{unit}.disk.{field}": "the disk's identity, which is the same on every machine that takes the state"
            for unit in (0, 1)
            for field in ("size", "digest", "block_size")
        },
    },
}
"""Fields that no guest can notice, and what they are for."""

CALLED: Final = {
    "pit": {
        "counters.mode": "_m|_mode",
        "counters.cr": "_cr",
        "counters.count": "count",
        "counters.out": "out",
        "irq": "_level",
        "edge_deadline": "deadline",
        "counters.origin": "_origin|_reload_at",
    },
    "serial": {"tsr": "_unsent", "xmit_fifo": "_unsent", "timeout_deadline": "deadline"},
    "cmos": {
        **dict.fromkeys(("seconds", "minutes", "hours", "day_of_week", "day_of_month", "month", "year"), "bytes"),
        **dict.fromkeys(("seconds_alarm", "minutes_alarm", "hours_alarm"), "_alarms"),
    },
    "i8042": {"answer": "_answer_waiting"},
}
"""Attributes by which a field is known where they are not called like it."""

EVERY: Final = [
    (device_type, field)
    for device_type in (PIT, PIC, SERIAL, IDE, *BOARD)
    for field in fields(device_type)
    if field not in UNNOTICEABLE.get(device_type.name, {})
]
SMALL: Final = [each for each in EVERY if each[0] in BOARD]
SAMPLE: Final = [
    *random.Random("planted holes").sample(EVERY[: -len(SMALL)], 12),
    *random.Random("small devices").sample(SMALL, 4),
]


def named(finding: Finding, device_type: DeviceType[Any, Any], field: str) -> bool:
    """Tell whether a finding names the field: by an attribute, by the field of a state, or in a refusal's words."""
    name = field.rpartition(".")[2]
    known = CALLED.get(device_type.name, {}).get(field, rf"_?{name}")
    divergence = finding.divergence
    attributes = [part for each in divergence.attributes for part in re.split(r"[.\[\]]+", each.path)]
    words = re.split(r"\W+", f"{divergence.original} {' '.join(divergence.fields)}")
    return any(re.fullmatch(known, part) for part in attributes) or name in words


def check_caught(device_type: DeviceType[Any, Any], field: str) -> None:
    proof = prove(setups(device_type, field), runs=1_000_000, seconds=SECONDS, seed=1)
    assert proof.finding is not None, f"not caught in {proof.runs} runs"
    assert named(proof.finding, device_type, field), proof.finding.divergence


@pytest.mark.parametrize(("device_type", "field"), SAMPLE, ids=lambda value: getattr(value, "name", value))
def test_a_forgotten_field_is_caught_and_named(device_type: DeviceType[Any, Any], field: str) -> None:
    check_caught(device_type, field)


@pytest.mark.long
@pytest.mark.parametrize(("device_type", "field"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_every_forgotten_field_is_caught_and_named(device_type: DeviceType[Any, Any], field: str) -> None:
    check_caught(device_type, field)
