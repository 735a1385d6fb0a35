"""Small guests that would show what a restore loses, and page tables with addresses of more than 36 bits."""

import dataclasses
import struct
from collections.abc import Callable

import pytest

from chkpt.machine import Machine
from chkpt.machine.cpu.contract import Activity, CpuState, SegmentState, TableState
from chkpt.machine.cpu.power_on import power_on
from chkpt.snapshot import dumps, loads
from tests.guests import begin, computer, execution
from tests.support.rig import saved

MODELS = ["unicorn", "unicorn-portable"]
every_model = pytest.mark.parametrize("model", MODELS)

RESULT, HANDLER, CODE = 0x7000, 0x9000, 0x8000


def restored(machine: Machine, model: str) -> Machine:
    """Return another machine with what a snapshot of this one holds. It has been used, with a breakpoint set."""
    twin = computer(model)
    begin(twin, breakpoint_program(0x8100)[0])
    twin.run(ticks=60)
    twin.load(loads(dumps(saved(machine))))
    return twin


def same_end(make: Callable[[], Machine], model: str, ticks: int, cuts: range) -> Machine:
    """Check that a guest comes to the same end from every cut, and return the machine that was never cut."""
    whole = make()
    whole.run(ticks=ticks)
    for cut in cuts:
        machine = make()
        machine.run(ticks=cut)
        twin = restored(machine, model)
        for each in (machine, twin):
            each.run(ticks=ticks)
            assert execution(each).save() == execution(whole).save(), cut
            assert each.memory.read(RESULT, 64) == whole.memory.read(RESULT, 64), cut
        twin.close()
        machine.close()
    return whole


# -- debug registers --------------------------------------------------------------------------------------------------


def breakpoint_program(handler: int = HANDLER) -> tuple[bytes, bytes]:
    """Return a program that sets a breakpoint on a routine and calls it, and the handler of #DB, which clears it."""
    code = bytearray.fromhex("fa 31c0 8ed8 c7060400 0000 c70606000000")  # vector 1
    struct.pack_into("<H", code, 9, handler)
    code += bytes.fromhex("e8 0000")  # call the routine, so that it has been translated
    first = len(code) - 2
    code += bytes.fromhex("66b8 00000000 0f23c0 66b8 01000000 0f23f8")  # DR0 = the routine, DR7 = L0
    address = len(code) - 16
    code += bytes.fromhex("b92000 e2fe e8 0000")  # go round, then call the routine
    second = len(code) - 2
    code += bytes.fromhex("ebfe")
    routine = CODE + len(code)
    code += bytes.fromhex("43 40 c3")
    struct.pack_into("<I", code, address, routine)
    for at in (first, second):
        struct.pack_into("<h", code, at, routine - (CODE + at + 2))
    return bytes(code), bytes.fromhex("ff060070 66 31c0 0f23f8 cf")  # count, DR7 = 0, IRET


@every_model
def test_a_breakpoint_on_code_is_taken_whether_or_not_the_machine_was_restored(model: str) -> None:
    program, handler = breakpoint_program()

    def make() -> Machine:
        machine = computer(model)
        machine.memory.write(HANDLER, handler)
        begin(machine, program)
        return machine

    whole = same_end(make, model, 2000, range(10, 140, 11))
    assert whole.memory.load(RESULT, 2) == 1
    assert execution(whole).save().dr[6] & 1


@every_model
def test_a_breakpoint_of_the_machine_before_is_gone_after_a_load(model: str) -> None:
    program, handler = breakpoint_program()
    machine = computer(model)
    machine.memory.write(HANDLER, handler)
    begin(machine, program)
    machine.run(ticks=60)  # it is set, and not reached
    routine = execution(machine).save().dr[0]
    assert execution(machine).save().dr[7] & 1
    begin(machine, program[:5] + struct.pack("<BhH", 0xE8, routine - (CODE + 8), 0xFEEB))  # call it, and no more
    machine.run(ticks=2000)
    assert machine.memory.load(RESULT, 2) == 0
    assert machine.memory.read(0, 4) == bytes.fromhex("00000000")  # what the engine was armed with is not left there


# -- x87 and SSE ------------------------------------------------------------------------------------------------------


@every_model
def test_denormals_that_are_zeros_stay_zeros(model: str) -> None:
    """MXCSR.DAZ: a product of a denormal is 0 with it, and something without."""
    code = bytes.fromhex(
        "fa 31c0 8ed8 0f20e0 660d00060000 0f22e0"  # CR4.OSFXSR and OSXMMEXCPT
        "0fae160060 f30f10060460"  # LDMXCSR, MOVSS xmm0
        "b92000 e2fe"
        "f30f59060860 f30f11060070 0fae1e0470"  # MULSS, MOVSS and STMXCSR to the result
        "ebfe"
    )

    def make() -> Machine:
        machine = computer(model)
        machine.memory.write(0x6000, struct.pack("<IIf", 0x9FC0, 0x0000_0100, 2.0**120))
        begin(machine, code)
        return machine

    whole = same_end(make, model, 2000, range(40, 120, 20))
    assert struct.unpack("<II", whole.memory.read(RESULT, 8)) == (0, 0x9FC0)


# -- physical addresses of 40 bits ------------------------------------------------------------------------------------


def long_mode() -> CpuState:
    """Return a state in 64-bit mode."""
    code = SegmentState(8, 0, 0xFFFF_FFFF, 0xA0_9B00)
    data = SegmentState(16, 0, 0xFFFF_FFFF, 0xC0_9300)
    return dataclasses.replace(
        power_on(0, a20=True), rip=CODE, cs=code, ss=data, ds=data, es=data, rsp=0x7F00, cr0=0x8000_0033, cr3=0x1000,
        cr4=0x620, efer=0x500, idtr=TableState(0x5000, 0xFFF), gdtr=TableState(0x6000, 0x1F),
    )  # fmt: skip


def machine_with_page(model: str, entry: int) -> Machine:
    """Return a machine that reads the page at 2 MiB, which is where a page-table entry says."""
    machine = computer(model, memory="4M")
    tables = {0x1000: 0x2003, 0x2000: 0x3003, 0x3000: 0x83, 0x3008: 0x4003, 0x4000: entry}
    gate = struct.pack("<HHBBHII", HANDLER, 8, 0, 0x8E, 0, 0, 0)
    for at, value in tables.items():
        machine.memory.write(at, struct.pack("<Q", value))
    machine.memory.write(0x5000 + 16 * 14, gate)
    machine.memory.write(0x6000, struct.pack("<QQQ", 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
    machine.memory.write(CODE, bytes.fromhex("48 8b0c2500002000 48890c2500700000 f4"))  # read the page, keep it, halt
    machine.memory.write(HANDLER, bytes.fromhex("58 4889042508700000 f4"))  # keep the error code, halt
    execution(machine).load(long_mode())
    return machine


@every_model
@pytest.mark.parametrize("bit", [36, 37, 38, 39])
def test_an_address_of_up_to_40_bits_is_one_where_nothing_answers(model: str, bit: int) -> None:
    machine = machine_with_page(model, 1 << bit | 3)
    machine.run(ticks=10_000)
    assert execution(machine).cpu.activity is Activity.HALTED
    assert struct.unpack("<QQ", machine.memory.read(RESULT, 16)) == ((1 << 64) - 1, 0)
    machine.close()


@every_model
@pytest.mark.parametrize("bit", [40, 45, 51])
def test_a_page_table_entry_with_a_bit_above_the_announced_width_raises_a_page_fault_with_rsvd(
    model: str, bit: int
) -> None:
    machine = machine_with_page(model, 1 << bit | 3)
    machine.run(ticks=10_000)
    assert execution(machine).cpu.activity is Activity.HALTED
    assert struct.unpack("<QQ", machine.memory.read(RESULT, 16)) == (0, 0b1001)
    assert execution(machine).save().cr2 == 0x20_0000
    machine.close()
