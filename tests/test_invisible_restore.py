"""A guest cannot tell: the prover finds nothing in our devices, alone and together, and has looked everywhere."""

from typing import Any, Final

import pytest

from chkpt.device import DeviceType
from chkpt.machine.config import parse
from chkpt.prove import Proof, prove, report, setups_of
from chkpt_devices.ide import IDE
from chkpt_devices.pic import PIC
from chkpt_devices.pit import PIT
from chkpt_devices.serial import SERIAL
from tests.support.unnoticeable import UNNOTICEABLE

TYPES: Final = (PIT, PIC, SERIAL, IDE)
MACHINE: Final = parse({
    "device": [
        {"type": "pic"},
        {"type": "pit"},
        {"type": "serial", "name": "com1"},
        {"type": "serial", "name": "com2", "port": 0x2F8, "irq": 3},
        {
            "type": "ide",
            "name": "ide0",
            "drive": [
                {"unit": 0, "size": "64K", "on_error": "wait"},
                {"unit": 1, "media": "cdrom", "size": "64K"},
            ],
        },
    ]
})  # fmt: skip


def check(proof: Proof) -> None:
    assert proof.finding is None, "\n".join(report(proof))


def test_a_machine_with_all_devices_is_restored_invisibly() -> None:
    check(prove(setups_of(MACHINE), runs=12))


@pytest.mark.parametrize("device_type", [PIT, PIC, SERIAL], ids=lambda each: each.name)
def test_every_register_is_reached_and_every_field_moves(device_type: DeviceType[Any, Any]) -> None:
    """A comparison proves nothing of what no conversation touches."""
    proof = prove(setups_of(device_type), runs=10, seed=2)
    check(proof)
    reach = next(each for each in proof.reach if each.device == device_type.name)
    assert (reach.registers.missing, reach.fields.missing) == ((), ())


@pytest.mark.long
def test_every_register_of_a_channel_is_reached_and_every_field_moves() -> None:
    proof = prove(setups_of(IDE), runs=3000, seed=3)
    check(proof)
    reach = next(each for each in proof.reach if each.device == "ide")
    unmoved = {*UNNOTICEABLE["ide"], *NEVER_MOVED}
    assert (reach.registers.missing, {*reach.fields.missing} - unmoved) == ((), set())


NEVER_MOVED: Final = {f"drive{unit}.atapi.ascq": "no error that these packets meet has a qualifier" for unit in (0, 1)}
"""Why a field has its first value after all conversations; it has tests of its own in `tests/devices/ide/`."""


@pytest.mark.long
@pytest.mark.parametrize("device_type", TYPES, ids=lambda each: each.name)
def test_a_device_is_restored_invisibly_many_times(device_type: DeviceType[Any, Any]) -> None:
    check(prove(setups_of(device_type), runs=4000, seed=4))


@pytest.mark.long
def test_a_machine_is_restored_invisibly_many_times() -> None:
    check(prove(setups_of(MACHINE), runs=4000, seed=5))
