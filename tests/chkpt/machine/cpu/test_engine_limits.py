"""What the engine does otherwise than a processor: docs/GUESTS.md has a table of it, and this holds it to the table."""

import struct
from dataclasses import dataclass

import pytest

from chkpt.device import DeviceType, Host
from chkpt.errors import ConfigError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.contract import Activity, SegmentState
from chkpt.manager import DeviceTypes
from tests.guests import START, begin, computer, execution
from tests.guests.flat import DATA, run_flat, to_user

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


def test_a_missing_register_reads_0_and_takes_writes() -> None:
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


def test_smsw_of_a_32_bit_register_leaves_its_upper_half() -> None:
    machine = run("66b8ffffffff 660f01e0 66a30070", 6)  # smsw eax; mov [RESULT], eax
    assert machine.memory.load(RESULT, 4) == 0xFFFF_0010
    machine.close()
    assert run_flat(32, "b8ffffffff 0f01e0").state.rax == 0xFFFF_0033


@pytest.mark.parametrize(("code", "behind"), [("8ed0 90 90", 2), ("6a10 17 90 90", 3)], ids=["MOV SS", "POP SS"])
def test_a_breakpoint_on_code_behind_a_load_of_ss_is_not_held_back(code: str, behind: int) -> None:
    dr = (START + behind, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x401)
    ending = run_flat(32, code, rax=DATA, dr=dr)
    assert (ending.vector, ending.at) == (1, START + behind)


@pytest.mark.parametrize("code", ["a100700000", "a300700000", "8e1500700000"], ids=["load", "store", "MOV SS"])
@pytest.mark.parametrize("kind", [1, 3], ids=["write", "access"])
def test_a_breakpoint_on_data_does_not_come(code: str, kind: int) -> None:
    arm = "b800700000 0f23c0 b8" + struct.pack("<I", 0x401 | kind << 16 | 3 << 18).hex() + "0f23f8"
    fill = "c70500700000 10000000"
    ending = run_flat(32, fill + arm + code + "90 90")
    assert ending.vector is None
    assert ending.state.dr[6] == 0xFFFF_0FF0


def test_an_access_through_a_null_selector_or_beyond_a_limit_is_done() -> None:
    assert run_flat(32, "31c0 8ed8 c7050070000077000000").result[0] == 0x77
    short = SegmentState(0x10, 0, 0xFFF, 0x40_9300)
    assert run_flat(32, "c7050070000077000000", ds=short).result[0] == 0x77


def test_a_return_to_ring_3_that_nullifies_fs_clears_its_base() -> None:
    fs = SegmentState(DATA, 0x12_3000, 0xFFFF_FFFF, 0xC0_9300)
    assert run_flat(64, to_user(64, iret=True), fs=fs).state.fs.base == 0


def test_cr8_takes_the_low_four_bits_of_any_value() -> None:
    ending = run_flat(64, "b835000000 440f22c0 440f20c3")  # mov eax, 35h; mov cr8, rax; mov rbx, cr8
    assert (ending.vector, ending.state.rbx) == (None, 5)


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
    return DeviceTypes([DeviceType("register", Register, NoConfig, None)])


def test_a_device_with_registers_is_refused_beside_a_processor_that_would_not_reach_them() -> None:
    table: dict[str, object] = {"memory": "1M", "device": [{"type": "register"}]}
    machine = Machine(parse(table), device_types=types())
    assert machine.msrs.rdmsr(0x4B56_4D00) == 7
    with pytest.raises(ConfigError, match=r"MSR 0x4b564d00: .* RDMSR and WRMSR"):
        Machine(parse({**table, "cpu": {}}), device_types=types())
