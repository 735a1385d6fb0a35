"""What the engine does otherwise than a processor: docs/GUESTS.md has a table of it, and this holds it to the table."""

import struct
from dataclasses import dataclass

import pytest

from chkpt.device import DeviceType, Host
from chkpt.errors import ConfigError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.contract import Activity
from chkpt.manager import DeviceTypes
from tests.guests import begin, computer, execution

RESULT, HANDLER = 0x7000, 0x9000


def run(code: str, vector: int) -> Machine:
    """Run real-mode code to its HLT; the handler of `vector` writes FFFF to the result and halts, too."""
    machine = computer()
    machine.memory.write(4 * vector, struct.pack("<HH", HANDLER, 0))
    machine.memory.write(HANDLER, bytes.fromhex("2ec7060070ffff f4"))
    begin(machine, bytes.fromhex("31c0 8ed8 8ed0 bc00 7e" + code + "f4"))
    machine.run(ticks=10_000)
    assert execution(machine).cpu.activity is Activity.HALTED
    return machine


def test_a_register_that_there_is_not_reads_0_and_takes_what_is_written() -> None:
    machine = run("66b9 34120000 66b8 78563412 0f30 0f32 66a30070", 13)
    assert machine.memory.load(RESULT, 4) == 0
    machine.close()


def test_movaps_takes_an_address_that_is_not_aligned() -> None:
    machine = run("0f20e0 660d00060000 0f22e0 0f28060160 c70600700100", 13)
    assert machine.memory.load(RESULT, 2) == 1
    machine.close()


def test_osxsave_is_taken_though_there_is_no_xsave() -> None:
    machine = run("0f20e0 660d00000400 0f22e0 c70600700100", 13)
    assert machine.memory.load(RESULT, 2) == 1
    assert execution(machine).save().cr4 & 1 << 18
    machine.close()


# -- registers of devices ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoConfig:
    """Nothing to configure."""


class Register:
    """A device with a model-specific register."""

    def __init__(self, host: Host, config: NoConfig) -> None:
        host.claim_msrs(0x4B56_4D00, 1, lambda _: 7, lambda _msr, _value: None)

    def reset(self) -> None:
        """Do nothing."""


def types() -> DeviceTypes:
    return DeviceTypes("device type", [DeviceType("register", Register, NoConfig, None)])


def test_a_device_with_registers_is_refused_beside_a_processor_that_would_not_reach_them() -> None:
    table: dict[str, object] = {"memory": "1M", "device": [{"type": "register"}]}
    machine = Machine(parse(table), device_types=types())
    assert machine.msrs.rdmsr(0x4B56_4D00) == 7
    with pytest.raises(ConfigError, match=r"MSR 0x4b564d00: the processor of \[cpu\] does not let RDMSR and WRMSR out"):
        Machine(parse({**table, "cpu": {}}), device_types=types())
