"""A device whose state leaves one field out is caught by the prover, and the field is named."""

import random
import re
from time import process_time
from typing import Any, Final
from unittest import mock

import pytest

from chkpt.device import DeviceType
from chkpt.prove import Finding, prove
from chkpt_devices.cmos import CMOS
from chkpt_devices.debugcon import DEBUGCON
from chkpt_devices.dma_page import DMA_PAGE
from chkpt_devices.i8042 import KEYBOARD_CONTROLLER
from chkpt_devices.ide import IDE
from chkpt_devices.pic import PIC
from chkpt_devices.pit import PIT
from chkpt_devices.port92 import PORT92
from chkpt_devices.reset_control import RESET_CONTROL
from chkpt_devices.serial import SERIAL
from tests.chkpt.prove.forgetful import fields, setups
from tests.support.unnoticeable import UNNOTICEABLE

SECONDS: Final = 60
"""Of the processor, so that it does not count what else runs on the machine."""

BOARD: Final = (CMOS, KEYBOARD_CONTROLLER, PORT92, RESET_CONTROL, DMA_PAGE, DEBUGCON)
"""The small devices of a PC."""

CALLED: Final = {
    "pit": {
        "counters.mode": {"m"},
        "irq": {"level"},
        "edge_deadline": {"deadline"},
        "counters.origin": {"reload_at"},
    },
    "serial": {"tsr": {"unsent"}, "xmit_fifo": {"unsent"}, "timeout_deadline": {"deadline"}},
    "ide": {
        **{f"drive{unit}.transfer.{field}": {"block", "words_in", "words_out", "out_end"}
           for unit in (0, 1) for field in ("buffer", "offset", "length")},
        **{f"drive{unit}.transfer.{field}": {"transfer"} for unit in (0, 1) for field in ("kind", "waiting")},
        **{f"drive{unit}.disk.changed": {"blocks"} for unit in (0, 1)},
        **{f"drive{unit}.atapi.{field}": {"sense"} for unit in (0, 1) for field in ("sense_key", "asc", "ascq")},
    },
    "cmos": {
        **{field: {"bytes"}
           for field in ("seconds", "minutes", "hours", "day_of_week", "day_of_month", "month", "year")},
        **{field: {"alarms"} for field in ("seconds_alarm", "minutes_alarm", "hours_alarm")},
    },
    "i8042": {"answer": {"answer_waiting"}},
}  # fmt: skip
"""Attributes by which a field is known where none is called like it, or like its beginning or end."""

EVERY: Final = [
    (device_type, field)
    for device_type in (PIT, PIC, SERIAL, IDE, *BOARD)
    for field in fields(device_type)
    if field not in UNNOTICEABLE.get(device_type.name, {})
]
SMALL: Final = [each for each in EVERY if each[0] in BOARD]
SAMPLE: Final = [
    each
    for device_type in (PIT, PIC, SERIAL, IDE)
    for each in random.Random("holes of each device").sample([each for each in EVERY if each[0] is device_type], 1)
] + random.Random("small devices").sample(SMALL, 2)


def named(finding: Finding, device_type: DeviceType[Any, Any], field: str) -> bool:
    """Return whether a finding names the field: by an attribute, by the field of a state, or in a refusal's words."""
    name = field.rpartition(".")[2]
    divergence = finding.divergence
    words = {word.lstrip("_") for each in divergence.attributes for word in re.split(r"[.\[\]]+", each.path)}
    alike = {word for word in words if len(word) > 3 and (name.startswith(word) or name.endswith(word))}
    words |= {*re.split(r"\W+", f"{divergence.original} {' '.join(divergence.fields)}")}
    return bool(alike) or bool(words & {name, *CALLED.get(device_type.name, {}).get(field, ())})


def check_caught(device_type: DeviceType[Any, Any], field: str) -> None:
    with mock.patch("chkpt.prove.prover.monotonic", process_time):
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
