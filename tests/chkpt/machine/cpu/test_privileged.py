"""Instructions of systems that the engine runs by itself: SMSW, MOV CR8, loads of SS, RET far and IRET to ring 3."""

import pytest

from chkpt.machine.cpu import MODELS
from chkpt.snapshot import dumps, loads
from tests.guests import START, begin, computer, execution
from tests.guests.flat import CONFORMING, DATA, USER, USER_CODE, USER_DATA, ending_of, put_flat, run_flat, to_user
from tests.support.rig import saved

GP = 13
SELECTORS = "8cd8 8cc1 8ce2 8ceb"
"""MOV of DS, ES, FS and GS to EAX, ECX, EDX and EBX."""


# -- SMSW (SDM vol. 2B) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [0x10, 0x1A, 0x1E])
def test_smsw_in_real_mode_stores_16_bits_of_cr0(word: int) -> None:
    machine = computer()
    machine.memory.write(6 * 4, b"\0\x90\0\0")  # the handler of #UD
    machine.memory.write(0x9000, b"\xf4")
    # mov eax, word; lmsw ax; mov eax, -1; smsw ax; mov [7000h], eax; smsw [7006h], with each size of operands
    code = f"66b8{word:02x}000000 0f01f0 66b8ffffffff 0f01e0 66a30070 0f01260670 660f01260c70 f4"
    begin(machine, bytes.fromhex(code))
    machine.memory.write(0x7004, b"\xee" * 12)
    machine.run(ticks=10_000)
    low = bytes((word, 0))
    assert machine.memory.read(0x7000, 16) == (low + b"\xff\xff" + b"\xee\xee" + low + b"\xee" * 4 + low + b"\xee\xee")
    machine.close()


def test_smsw_in_64_bit_mode_stores_16_bits_or_all_of_cr0() -> None:
    # mov rax, -1, and the same in RCX and RDX; smsw rax, ecx, dx; smsw [7000h], of 64 bits
    registers = "48c7c0ffffffff 48c7c1ffffffff 48c7c2ffffffff 480f01e0 0f01e1 660f01e2"
    ending = run_flat(64, registers + "480f01242500700000")
    assert (ending.state.rax, ending.state.rcx, ending.state.rdx) == (0x8000_0033, 0x8000_0033, 0xFFFF_FFFF_FFFF_0033)
    assert ending.result[:4] == b"\x33\0\0\0"


# -- CR8 (SDM vol. 3, 10.8.6) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_cr8_is_what_was_written_last(model: str) -> None:
    # mov eax, 5; mov cr8, rax; mov rbx, cr8; mov al, 0Ah; mov cr8, rax; mov rcx, cr8
    ending = run_flat(64, "b805000000 440f22c0 440f20c3 b00a 440f22c0 440f20c1", model=model)
    assert (ending.vector, ending.state.rbx, ending.state.rcx, ending.state.cr8) == (None, 5, 10, 10)


def test_cr8_is_saved_and_loaded_and_0_after_a_reset() -> None:
    wait = "b900100000 ffc9 75fc"  # mov ecx, 1000h; dec ecx; jnz
    machine, other = computer(), computer("unicorn-portable")
    put_flat(machine, 64, "b807000000 440f22c0" + wait + "440f20c3")
    machine.run(ticks=1000)
    snapshot = dumps(saved(machine))
    other.load(loads(snapshot))
    other.run(ticks=100_000)
    assert ending_of(other, 64).state.rbx == 7
    other.reset()
    assert execution(other).save().cr8 == 0
    machine.close()
    other.close()


@pytest.mark.parametrize("code", ["440f20c3", "440f22c0"], ids=["from", "to"])
def test_cr8_is_not_for_ring_3(code: str) -> None:
    ending = run_flat(64, to_user(64, iret=True), code, cr8=3)
    assert (ending.vector, ending.error, ending.at, ending.state.cr8) == (GP, 0, USER, 3)


# -- loads of SS (SDM vol. 3, 6.8.3) ----------------------------------------------------------------------------------

SET_TF = "9c 810c2400010000 9d"
"""PUSHF, OR and POPF, nine bytes; the single step comes behind the next instruction."""


@pytest.mark.parametrize(
    ("code", "steps_over"),
    [(SET_TF + "8ed8 90 90", 11), (SET_TF + "8ed0 90 90", 12), ("6a10" + SET_TF + "17 90 90", 13)],
    ids=["MOV DS", "MOV SS", "POP SS"],
)
def test_a_single_step_behind_a_load_of_ss_comes_behind_the_next_instruction(code: str, steps_over: int) -> None:
    ending = run_flat(32, code, rax=DATA)
    assert (ending.vector, ending.at, ending.state.dr[6]) == (1, START + steps_over, 0xFFFF_4FF0)


# -- RET far and IRET (SDM vol. 2) ------------------------------------------------------------------------------------

RETURNS = pytest.mark.parametrize("iret", [True, False], ids=["IRET", "RET"])
MODES = pytest.mark.parametrize("bits", [32, 64])


@RETURNS
@MODES
def test_a_return_to_ring_3_nullifies_data_segments_of_ring_0(bits: int, iret: bool) -> None:
    state = run_flat(bits, to_user(bits, iret=iret), SELECTORS).state
    assert (state.rax, state.rcx, state.rdx, state.rbx) == (0, 0, 0, 0)
    assert (state.ds.selector, state.es.selector, state.fs.selector, state.gs.selector) == (0, 0, 0, 0)


@RETURNS
@MODES
def test_a_return_to_ring_3_keeps_data_segments_of_ring_3_and_conforming_code(bits: int, iret: bool) -> None:
    load = f"66b8{USER_DATA:02x}00 8ed8 8ee8 66b8{CONFORMING:02x}00 8ec0"  # DS, GS, ES
    state = run_flat(bits, load + to_user(bits, iret=iret), SELECTORS).state
    assert (state.rax, state.rcx, state.rdx, state.rbx) == (USER_DATA, CONFORMING, 0, USER_DATA)


@RETURNS
@MODES
@pytest.mark.parametrize(
    ("cs", "ss", "error"),
    [(3, USER_DATA, 0), (0, USER_DATA, 0), (USER_CODE, 3, 0), (USER_CODE, 0, 0), (USER_CODE, DATA, DATA)],
    ids=["null CS, RPL 3", "null CS", "null SS, RPL 3", "null SS", "SS of ring 0"],
)
def test_a_return_to_a_null_selector_is_gp_at_the_return(bits: int, iret: bool, cs: int, ss: int, error: int) -> None:
    code = to_user(bits, iret=iret, cs=cs, ss=ss)
    ending = run_flat(bits, code)
    assert (ending.vector, ending.error) == (GP, error)
    assert ending.at == START + len(bytes.fromhex(code)) - (2 if bits == 64 else 1)
    assert (ending.state.ds.selector, ending.state.es.selector) == (DATA, DATA)
