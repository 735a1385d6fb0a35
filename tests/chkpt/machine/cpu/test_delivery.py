"""Interrupts, exceptions and system calls in every mode, by guests of our own. What is expected is the SDM's.

The sources, `tests/guests/protected.asm` and `long.asm`, say what a record holds, and have the cases in this order.
"""

import dataclasses
import shutil
import struct

import pytest

from chkpt.machine.cpu.execution import Outcome
from tests.guests import LOG, begin, computer, execution, guest, log_of
from tests.guests.build import assembled, sources

NONE = 0xEEEE_EEEE
NONE_64 = 0x6EEE_EEEE  # PUSH extends the sign

PROTECTED = [
    (0x30, NONE, 8, 0, 0x200, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # interrupt gate: IF cleared
    (0x32, NONE, 8, 0, 0x200, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0x200, 0),  # trap gate: IF kept
    (0x36, NONE, 8, 0, 0, 0x40, 0x10, 0x8FFFA, 0, 0, 0x10, 0, 0, 0),  # 16-bit interrupt gate: a frame of words
    (0x37, NONE, 8, 0, 0x200, 0x40, 0x10, 0x8FFFA, 0, 0, 0x10, 0, 0x200, 0),  # 16-bit trap gate
    (0x38, NONE, 8, 0, 0, 0xC, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # code in the LDT
    # a stack with 16-bit addresses: the high half of ESP stays
    (0x30, NONE, 0xC, 0, 0, 8, 0x78, 0x70000074, 0, 0, 0x10, 0, 0, 0),
    (0x30, NONE, 8, 0, 0, 8, 0x78, 0xFFF8, 0, 0, 0x10, 0, 0, 0),  # and wraps
    (0x31, NONE, 0x1B, 0, 0x200, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0),  # INT from ring 3: the stack of ring 0
    (3, NONE, 0x1B, 0, 0x200, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0x200, 0),  # INT3 through a trap gate
    (0x33, NONE, 0x1B, 0, 0, 0x29, 0x31, 0x93FEC, 0x98000, 0x23, 0, 0, 0, 0),  # to ring 1
    (0x34, NONE, 0x1B, 0, 0, 0x3B, 0x23, 0x97FF4, 0, 0, 0, 0, 0, 0),  # conforming code stays in ring 3
    # a gate of level 0: #GP of the gate, at the instruction
    (0xD, 0x182, 0x1B, 0, 0x10000, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0),
    (0xD, 0, 0x1B, 0, 0x10000, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0),  # CLI with IOPL 0
    (0xE, 5, 0x1B, 0, 0x10000, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0x72000),  # #PF: user, present
    (0xE, 7, 0x1B, 0, 0x10000, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0x71000),  # #PF: user, write, present
    (0xE, 6, 0x1B, 0, 0x10000, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0x70044),  # #PF: user, write
    (0x20, NONE, 0x1B, 0, 0x200, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0),  # IRQ 0 in ring 3
    (0, NONE, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #DE
    (1, NONE, 8, 0, 0x100, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #DB of a single step, behind the instruction
    (4, NONE, 8, 0, 0, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # INTO
    (6, NONE, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #UD
    (0xD, 0xF8, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #GP of a selector
    (0xB, 0x50, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #NP of a selector
    (0xC, 0x50, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #SS of a selector
    (0xE, 0, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0x70123),  # #PF: read
    (0xE, 2, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0x70124),  # #PF: write
    (0xE, 3, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0x71008),  # #PF: write, present, for CR0.WP
    (0xB, 0x1E2, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # the gate is not present
    (0xD, 0x1EA, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # it is a call gate
    (0xD, 0, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # it leads to the null selector
    (0xD, 0xF8, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # beyond the GDT
    (0xD, 0x10, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # to data
    (0xB, 0x48, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # to code that is not present
    (0xD, 0x10, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # a task gate to no task
    (0xD, 0x702, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # beyond the IDT's limit
    (0xE, 0, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0x70000),  # #PF at the gate itself
    (0xD, 0x18, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # to an outer ring
    # task gate: the task before, its EBX, NT
    (0xA5, NONE, 0x58, 0, 0, 8, 0x10, 0x9A000, 0x60, 8, 0x10, 0x0B0B0B0B, 0x4000, 0),
    (0xA6, NONE, 0x58, 0, 0, 0x40, 0x10, 0x7800, 0x68, 0, 0, 0xC16, 0, 0),  # task gate to a 16-bit task
    (0xA5, NONE, 0x58, 0xFFFFFFF4, 0, 8, 0x10, 0x9A000, 0x60, 8, 0x10, 0x12345678, 0x4000, 0),  # nested
    (0x32, NONE, 8, 0, 0, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # and back by IRET
    # #TS: the stack segment is code; its code on the task's stack
    (0xA5, 8, 0x58, 0, 0x10000, 8, 0x10, 0x99FFC, 0x60, 8, 0x10, 0x12345678, 0x4000, 0),
    (0xA5, 0, 0x58, 0, 0x10000, 8, 0x10, 0x99FFC, 0x60, 8, 0x10, 0, 0x4000, 0),  # #TS: the stack segment is null
    (0xA5, 2, 0x58, 0, 0x10000, 8, 0x10, 0x99FFC, 0x60, 8, 0x10, 0, 0x4000, 0x707EC),  # #PF while the frame is pushed
    (8, 0, 8, 0, 0, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #DF of two contributory faults
    (0xA5, 0, 0x58, 0, 0, 8, 0x10, 0x99FFC, 0x60, 8, 0x10, 0, 0x4000, 0x700F0),  # #DF of two page faults, in a task
    # INT from virtual-8086 mode with IOPL 3
    (0x40, NONE, 0x800, 0, 0x23000, 8, 0x10, 0x91FDC, 0xFFE, 0x9000, 0, 0x4444, 0x3000, 0),
    # with IOPL 0: #GP(0) at the instruction
    (0xD, 0, 0x800, 0, 0x30000, 8, 0x10, 0x91FDC, 0xFFE, 0x9000, 0, 0x4444, 0, 0),
    (0xD, 0, 0x800, 0, 0x30000, 8, 0x10, 0x91FDC, 0xFFE, 0x9000, 0, 0x4444, 0, 0),  # CLI with IOPL 0
    (6, NONE, 0x800, 0, 0x33000, 8, 0x10, 0x91FDC, 0xFFE, 0x9000, 0, 0x4444, 0x3000, 0),  # #UD
    # a gate that does not lead to ring 0
    (0xD, 0x18, 0x800, 0, 0x33000, 8, 0x10, 0x91FDC, 0xFFE, 0x9000, 0, 0x4444, 0x3000, 0),
    (0xA5, NONE, 0x58, 0, 0x23000, 8, 0x10, 0x9A000, 0x60, 8, 0x10, 0, 0x4000, 0),  # a task gate
    (0x43, NONE, 0x1B, 0, 0, 0x40, 0x10, 0x91FF6, 0x8000, 0x23, 0, 0, 0, 0),  # 16-bit gate from ring 3: SP and SS too
    (0x31, NONE, 0x1B, 0, 0, 8, 0x10, 0x73EC, 0x98000, 0x23, 0, 0, 0, 0),  # the stack of a 16-bit task-state segment
    (0x44, NONE, 0x1B, 0, 0, 0x82, 0x8A, 0x95FEC, 0x98000, 0x23, 0, 0, 0, 0),  # ring 3 to ring 2
    (0x31, NONE, 0x82, 0, 0, 8, 0x10, 0x91FEC, 0x96000, 0x8A, 0, 0, 0, 0),  # ring 2 to ring 0
    (0x33, NONE, 0x82, 0, 0, 0x29, 0x31, 0x93FEC, 0x96000, 0x8A, 0, 0, 0, 0),  # ring 2 to ring 1
    (0x31, NONE, 0x29, 0, 0, 8, 0x10, 0x91FEC, 0x94000, 0x31, 0, 0, 0, 0),  # ring 1 to ring 0
    (0x33, NONE, 0x29, 0, 0, 0x29, 0x31, 0x93FF4, 0, 0, 0, 0, 0, 0),  # within ring 1
    # IRQ 0 in virtual-8086 mode with IOPL 0
    (0x20, NONE, 0x800, 0, 0x20200, 8, 0x10, 0x91FDC, 0xFFE, 0x9000, 0, 0x4444, 0, 0),
    (0xE, 4, 0x1B, 0, 0x10000, 8, 0x10, 0x91FEC, 0x98000, 0x23, 0, 0, 0, 0x70048),  # #PF: user, read
    (7, NONE, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #NM
    (5, NONE, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #BR
    # #SS of the stack segment of ring 0; its code on the task's stack
    (0xA5, 0x50, 0x58, 0, 0x10000, 8, 0x10, 0x99FFC, 0x60, 8, 0x10, 0, 0x4000, 0),
    (0xB, 0x33, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # #UD, whose gate is not present: EXT
    (0xB, 0x1A, 8, 0, 0x10000, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # INT3, the same: no EXT
    (0xB, 0x103, 8, 0, 0x10200, 8, 0x10, 0x8FFF4, 0, 0, 0x10, 0, 0, 0),  # IRQ 0, the same: EXT
]  # fmt: skip

LONG = [
    # interrupt gate: the stack is aligned, SS and RSP are pushed
    (0x30, NONE_64, 8, 0, 0x200, 0x8FFF9, 0x10, 0x8FFC8, 0x1000000008, 0),
    (0x32, NONE_64, 8, 0, 0x200, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # trap gate
    (0x33, NONE_64, 8, 0, 0, 0x90000, 0x10, 0x93FD8, 0x1000000008, 0),  # IST 1
    (0x31, NONE_64, 0x2B, 0, 0x200, 0x98000, 0x23, 0x91FD8, 8, 0),  # INT from ring 3: the stack of ring 0, SS is null
    (0x33, NONE_64, 0x2B, 0, 0x200, 0x98000, 0x23, 0x93FD8, 8, 0),  # IST 1 from ring 3
    (0x34, NONE_64, 0x2B, 0, 0x200, 0x98000, 0x23, 0x97FD8, 0x2300000033, 0),  # conforming code stays in ring 3
    (0x31, NONE_64, 0x1B, 0, 0x200, 0x98000, 0x23, 0x91FD8, 8, 0),  # from compatibility mode
    (0xD, 0x182, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x91FD8, 8, 0),  # a gate of level 0
    (0xE, 6, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x91FD8, 8, 0x70008),  # #PF: user, write
    (0xD, 0, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # an address that is not canonical
    (0xD, 0x38, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # a gate to 32-bit code
    (0xB, 0x1B2, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # the gate is not present
    (0xD, 0x1BA, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # a 16-bit gate
    (0xD, 0, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # an entry that is not canonical
    (0xD, 0x202, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # beyond the IDT's limit
    (0xE, 2, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x94FD8, 8, 0x707D8),  # #PF while the frame is pushed, delivered on IST 2
    (8, 0, 8, 0, 0, 0x70100, 0x10, 0x94FD8, 0x1000000008, 0x700D0),  # #DF of two page faults, on IST 2
    (0xC, 0, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x94FD8, 8, 0),  # #SS: a stack that is not canonical
    (0xCA11, 0x200, 8, 0, 0, 0x98000, 0x10, 0, 0, 0),  # SYSCALL: R11, RCX, FMASK
    (0xCA32, 0x200, 8, 0, 0, 0x98000, 0x10, 0, 0, 0),  # SYSCALL from compatibility mode
    (0x31, NONE_64, 0x2B, 0, 0x200, 0x98000, 0x23, 0x91FD8, 8, 0),  # behind SYSRET
    (6, NONE_64, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x91FD8, 8, 0),  # SYSCALL without EFER.SCE
    (0x5E5E5E5E, 0, 8, 0, 0, 0x9A000, 0x10, 0, 0, 0),  # SYSENTER
    (0xD, 0, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x91FD8, 8, 0),  # SYSENTER without a code segment
    (0xD, 0x1D2, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # a task gate
    (0xD, 0x1DA, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # a call gate
    (0x20, NONE_64, 0x2B, 0, 0x200, 0x98000, 0x23, 0x91FD8, 8, 0),  # IRQ 0 in ring 3
    (0x20, NONE_64, 0x1B, 0, 0x200, 0x98000, 0x23, 0x91FD8, 8, 0),  # and in compatibility mode
    (0x20, NONE_64, 8, 0, 0x200, 0x90000, 0x10, 0x93FD8, 0x1000000008, 0),  # in ring 0, on IST 1
    (0xB, 0x103, 8, 0, 0x10200, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0),  # whose gate is not present: EXT
    (0xE, 0x15, 0x2B, 0, 0x10200, 0x98000, 0x23, 0x91FD8, 8, 0x73000),  # #PF: user, present, fetched
    (0xE, 9, 8, 0, 0x10000, 0x90000, 0x10, 0x8FFD8, 0x1000000008, 0x73000),  # #PF: present, a reserved bit
]  # fmt: skip


@pytest.mark.parametrize("model", ["unicorn", "unicorn-portable"])
@pytest.mark.parametrize(
    ("name", "form", "expected"), [("protected", "<14I", PROTECTED), ("long", "<10Q", LONG)], ids=["protected", "long"]
)
def test_every_event_is_delivered_as_the_manual_says(
    model: str, name: str, form: str, expected: list[tuple[int, ...]]
) -> None:
    machine = computer(model, memory="4M")
    begin(machine, guest(name))
    assert machine.run(ticks=1_000_000) is Outcome.SHUTDOWN
    assert log_of(machine, form) == expected
    assert machine.memory.load(LOG + 4, 4) == 0x600D, "it did not come to the end"
    assert execution(machine).cpu.reason.startswith("triple fault (vector 48), at 0008:")
    machine.close()


def test_real_mode_saves_flags_cs_and_ip_and_clears_if() -> None:
    machine = computer()
    begin(machine, guest("protected"))
    machine.run(ticks=1_000_000)
    # twice: IP counted from what must be saved, CS, FLAGS, FLAGS in the handler, where IP is
    assert struct.unpack("<10H", machine.memory.read(0x4F000, 20)) == (0, 0, 0x200, 0, 0x6FFA) * 2
    machine.close()


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)
def test_the_bytes_of_a_guest_are_those_of_its_source(source: object) -> None:
    nasm = shutil.which("nasm")
    if nasm is None:
        pytest.skip("nasm is not installed")
    path = next(each for each in sources() if each == source)
    assert assembled(path, nasm) == path.with_suffix(".bin").read_bytes()


def test_exceptions_without_end_and_without_an_instruction_shut_the_processor_down() -> None:
    """A page fault whose handler's page is not there, on a stack that wraps: a real processor would never stop."""
    machine = computer()
    pages = b"".join(struct.pack("<I", (page << 12 | 3) if page != 9 else 0) for page in range(64))
    machine.memory.write(0x1000, struct.pack("<I", 0x2003))  # page directory
    machine.memory.write(0x2000, pages)
    machine.memory.write(14 * 4, struct.pack("<HH", 0x9000, 0))  # the handler of #PF is on page 9
    begin(machine, b"\xea\x00\x90\x00\x00")  # jmp 0:9000h
    state = execution(machine).save()
    stack = dataclasses.replace(state.ss, selector=0x1000, base=0x10000)
    execution(machine).load(dataclasses.replace(state, cr0=state.cr0 | 1 << 31, cr3=0x1000, ss=stack))
    assert machine.run(ticks=1_000_000) is Outcome.SHUTDOWN
    assert execution(machine).cpu.reason.startswith("nothing runs but exceptions (vector 14), 4096 in a row, at 0000:")
