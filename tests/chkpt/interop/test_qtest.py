"""The qtest protocol: every command of QEMU's, malformed ones, pipelining, and the rules of IRQ lines."""

import base64
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import DeviceError
from chkpt.interop.qtest import MAX_ANSWERS, MAX_SPAN, QtestSession
from chkpt.machine import Machine
from tests.support.descriptors import none_left
from tests.support.small import cell, machine


@pytest.fixture
def board() -> Machine:
    return machine("controller", "cell:a", memory=1 << 16)


@pytest.fixture
def session(board: Machine) -> QtestSession:
    return QtestSession(board)


Ask = Callable[[str], str]


@pytest.fixture
def ask(session: QtestSession) -> Ask:
    """Return a function that sends a command and returns its answer lines, without the last line end."""

    def ask(command: str) -> str:
        answer = session.feed(command.encode() + b"\n").decode()
        assert answer.endswith("\n")
        return answer[:-1]

    return ask


def first(command: str) -> str:
    return command.partition(" ")[0]


# -- ports ------------------------------------------------------------------------------------------------------------


def test_port_accesses_have_the_widths_of_their_letters(ask: Ask) -> None:
    assert ask("outb 0x110 0x86") == "OK"
    assert ask("inb 0x110") == "OK 0x0086"
    assert ask("inw 0x110") == "OK 0x0086"
    assert ask("inw 0x10f") == "OK 0x86ff"
    assert ask("inl 0x110") == "OK 0xffff0086"
    assert ask("inb 0x80") == "OK 0x00ff"
    assert ask("outw 0x110 0x1234") == "OK"
    assert ask("inb 0x110") == "OK 0x0034"
    assert ask("outl 0x110 0xffffff77") == "OK"
    assert ask("inb 0x110") == "OK 0x0077"


def test_a_value_that_is_too_wide_is_cut(ask: Ask) -> None:
    assert ask("outb 0x110 0x12345678") == "OK"
    assert ask("inb 0x110") == "OK 0x0078"


@pytest.mark.parametrize("number", ["0x110", "0X110", "272", "0420", "0x0110"])
def test_numbers_are_hexadecimal_decimal_or_octal_as_in_c(ask: Ask, number: str) -> None:
    ask("outb 0x110 5")
    assert ask(f"inb {number}") == "OK 0x0005"


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("letter", "size"), [("b", 1), ("w", 2), ("l", 4), ("q", 8)])
def test_memory_accesses_are_little_endian_and_answer_16_digits(ask: Ask, letter: str, size: int) -> None:
    assert ask(f"write{letter} 0x100 0x1122334455667788") == "OK"
    assert ask(f"read{letter} 0x100") == f"OK 0x{0x1122334455667788 & ((1 << 8 * size) - 1):016x}"
    assert ask(f"read 0x100 {size}") == "OK 0x" + bytes.fromhex("8877665544332211")[:size].hex()
    assert ask(f"read 0x{0x100 + size:x} 1") == "OK 0x00"
    assert ask("memset 0x100 16 0xff") == "OK"
    assert ask(f"read{letter} 0x100") == f"OK 0x{(1 << 8 * size) - 1:016x}"


def test_read_and_write_move_runs_of_bytes(ask: Ask) -> None:
    assert ask("write 0x200 4 0xdeadBEEF") == "OK"
    assert ask("read 0x1ff 6") == "OK 0x00deadbeef00"
    assert ask("write 0x200 2 0x112233") == "OK"
    assert ask("read 0x200 3") == "OK 0x1122be"
    assert ask("write 0x200 4 0x99") == "OK"  # missing bytes are zeros
    assert ask("read 0x200 4") == "OK 0x99000000"


def test_write_of_a_word_of_less_than_three_letters_is_qemu_s_own_error(ask: Ask) -> None:
    assert ask("write 0x200 1 0x") == "ERR invalid argument size"
    assert ask("write 0x200 1 ") == "ERR invalid argument size"
    assert ask("b64write 0x200 1 QQ") == "ERR invalid argument size"


def test_base64_carries_the_same_bytes(ask: Ask) -> None:
    assert ask(f"b64write 0x300 5 {base64.b64encode(b'hello').decode()}") == "OK"
    assert ask("read 0x300 6") == "OK 0x68656c6c6f00"
    assert ask("b64read 0x300 5") == "OK aGVsbG8="
    assert ask("b64write 0x300 2 aGVsbG8=") == "OK"
    assert ask("b64write 0x301 3 AAAA") == "OK"
    assert ask("b64read 0x300 5") == "OK aAAAAG8="


def test_memset_fills(ask: Ask) -> None:
    assert ask("memset 0x400 4 0x1ab") == "OK"
    assert ask("read 0x3ff 6") == "OK 0x00abababab00"
    assert ask("memset 0x400 0 5") == "OK"


def test_a_hole_reads_ones(ask: Ask) -> None:
    assert ask("readl 0xfee00000") == "OK 0x00000000ffffffff"
    assert ask("read 0xffff 2") == "OK 0x00ff"
    assert ask("write 0xfee00000 1 0x55") == "OK"


@given(st.integers(0, 0xFFF0), st.binary(min_size=1, max_size=40))
def test_what_is_written_is_read_in_either_coding(address: int, data: bytes) -> None:
    board = machine(memory=1 << 16)
    session = QtestSession(board)
    size = len(data)
    text = base64.b64encode(data)
    assert session.feed(b"write %#x %d 0x%b\n" % (address, size, data.hex().encode())) == b"OK\n"
    assert session.feed(b"b64read %d %d\n" % (address, size)) == b"OK %b\n" % base64.b64encode(
        board.memory.read(address, size)
    )
    assert session.feed(b"b64write 0 %d %b\n" % (size, text)) == b"OK\n"
    assert session.feed(b"read 0 %d\n" % size) == b"OK 0x%b\n" % data.hex().encode()


# -- the clock --------------------------------------------------------------------------------------------------------


def test_clock_step_moves_the_clock_and_answers_it_in_decimal(ask: Ask) -> None:
    assert ask("clock_step 1000") == "OK 1000"
    assert ask("clock_step 0x10") == "OK 1016"
    assert ask("clock_step 0") == "OK 1016"


def test_clock_step_without_a_number_goes_to_the_next_deadline(board: Machine, ask: Ask) -> None:
    assert ask("clock_step") == "OK 0"
    ask("outb 0x111 5")
    assert ask("clock_step") == "OK 5000"
    assert cell(board, "a").fired == [5000]
    assert ask("clock_step") == "OK 5000"


def test_clock_step_runs_every_timer_on_the_way(board: Machine, ask: Ask) -> None:
    ask("outb 0x111 5")
    assert ask("clock_step 10000") == "OK 10000"
    assert cell(board, "a").fired == [5000]


def test_clock_set_goes_forward_only(ask: Ask) -> None:
    assert ask("clock_set 500") == "OK 500"
    assert ask("clock_set 100") == "OK 500"
    assert ask("clock_set 0x200") == "OK 512"


@pytest.mark.parametrize("command", ["clock_set 0x8000000000000000", "clock_step 0x7fffffffffffffff"])
def test_the_clock_stays_within_63_bits(ask: Ask, command: str) -> None:
    ask("clock_step 1")
    assert ask(command) == f"FAIL {first(command)}: a clock of 9223372036854775808 ns is beyond 63 bits"
    assert ask("clock_step 0") == "OK 1"


# -- other commands ---------------------------------------------------------------------------------------------------


def test_the_machine_is_little_endian_and_loads_no_modules(ask: Ask) -> None:
    assert ask("endianness") == "OK little"
    assert ask("module_load accel- qtest") == "FAIL"


@pytest.mark.parametrize(
    "command", ["", " ", "INB 0x60", "inb\t0x60", "rtas 1", "quit", "in", "outbb 1 2", "\r", "\x00"]
)
def test_an_unknown_command_is_answered_so(ask: Ask, command: str) -> None:
    assert ask(command) == f"FAIL Unknown command '{first(command)}'"


@pytest.mark.parametrize(
    "command",
    [
        "inb",
        "outb 0x60",
        "readb",
        "writeb 0",
        "read 0",
        "write 0 1",
        "b64read 0",
        "b64write 0 1",
        "memset 0 1",
        "clock_set",
        "irq_intercept_in",
        "irq_intercept_out",
        "set_irq_in pic0 unnamed-gpio-in 0",
        "module_load x",
    ],
)
def test_a_command_that_lacks_a_word_fails_and_the_next_one_works(ask: Ask, command: str) -> None:
    assert ask(command) == f"FAIL {first(command)}: a word is missing"
    assert ask("endianness") == "OK little"


@pytest.mark.parametrize(
    "command",
    [
        "inb x",
        "inb 0xg",
        "inb 0x",
        "inb  0x60",
        "inb -1",
        "inb +1",
        "inb 1_0",
        "inb 0x1_0",
        "inb 1.5",
        "inb 08",
        "inb 0b1",
        "inb 0o7",
        "inb 0x60\r",
        "inb 0x60\t",
        "inb 0x10000000000000000",
        "inb 99999999999999999999999",
        "inb \u0663",
        "outb 0x60 y",
        "readl z",
        "writel 0 z",
        "read 0 z",
        "memset 0 1 z",
        "clock_step z",
        "clock_step -5",
        "clock_set z",
        "set_irq_in pic0 unnamed-gpio-in z 1",
        "set_irq_in pic0 unnamed-gpio-in 1 z",
        "inb " + "9" * 5000,
    ],
    ids=lambda command: ascii(command)[:40],
)
def test_a_malformed_number_fails_and_the_next_command_works(ask: Ask, command: str) -> None:
    answer = ask(command)
    assert answer.startswith(f"FAIL {first(command)}: b")
    assert answer.endswith("is not a number of 64 bits")
    assert len(answer) < 200
    assert ask("endianness") == "OK little"


@pytest.mark.parametrize("command", ["inb 0x10000", "outw 65536 1", "inl 0xffffffffffffffff"])
def test_a_port_that_does_not_exist_fails(ask: Ask, command: str) -> None:
    assert ask(command).startswith(f"FAIL {first(command)}: there is no port 0x")


@pytest.mark.parametrize("size", [0, MAX_SPAN + 1, 1 << 63])
@pytest.mark.parametrize("command", ["read 0 {}", "write 0 {} 0x00", "b64read 0 {}", "b64write 0 {} AAAA"])
def test_a_size_beyond_the_limits_fails(ask: Ask, command: str, size: int) -> None:
    assert ask(command.format(size)).endswith(f": a size of {size} is not 1 to {MAX_SPAN}")


def test_the_last_port_and_the_greatest_size_are_taken(ask: Ask) -> None:
    assert ask("inb 0xffff") == "OK 0x00ff"
    assert ask(f"memset 0x10000 {MAX_SPAN} 0") == "OK"


def test_a_memset_of_too_much_fails(ask: Ask) -> None:
    assert ask(f"memset 0 {MAX_SPAN + 1} 0") == f"FAIL memset: a size of {MAX_SPAN + 1} is not 0 to {MAX_SPAN}"


@pytest.mark.parametrize(
    "command",
    ["write 0 2 0xzz11", "write 0 2 0x1", "b64write 0 2 ????", "b64write 0 2 AAA", "b64write 0 2 \xe9\xe9\xe9\xe9"],
)
def test_data_that_cannot_be_read_fails_and_writes_nothing(ask: Ask, command: str) -> None:
    assert ask(command).startswith(f"FAIL {first(command)}: ")
    assert ask("read 0 2") == "OK 0x0000"


@given(
    st.lists(
        st.sampled_from(["inb", "write", "b64write", "0x10", "1", "", "clock_step", "set_irq_in", "pic0", "é", "\t"]),
        max_size=6,
    )
)
def test_every_line_gets_exactly_one_answer(words: list[str]) -> None:
    session = QtestSession(machine(memory=4096))
    answer = session.feed(" ".join(words).encode() + b"\n")
    assert answer.count(b"\n") == 1
    assert answer.startswith((b"OK", b"FAIL", b"ERR"))


def test_an_error_of_a_device_is_the_answer(board: Machine, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: int, data: bytes) -> None:
        raise DeviceError("two\nlines")

    monkeypatch.setattr(board.memory, "write", fail)
    assert ask("write 0 1 0x00") == "FAIL write: two lines"
    assert ask("endianness") == "OK little"


def test_a_fault_of_a_device_is_not_taken_for_a_malformed_command(board: Machine) -> None:
    def fail() -> None:
        raise IndexError("a device's own")

    board.clock.timer(fail).arm(5)
    session = QtestSession(board)
    session.feed(b"irq_intercept_out pic0\n")
    with pytest.raises(IndexError, match="a device's own"):
        session.feed(b"clock_step 10\n")
    board.irq.force(3, True)  # reported at once: no command is running any more
    assert session.feed(b"endianness\n") == b"OK little\n"


# -- lines of text ----------------------------------------------------------------------------------------------------


def test_commands_may_come_many_at_once(session: QtestSession) -> None:
    assert session.feed(b"outb 0x110 1\ninb 0x110\nbogus\nclock_step 5\n") == (
        b"OK\nOK 0x0001\nFAIL Unknown command 'bogus'\nOK 5\n"
    )


def test_a_command_may_come_in_pieces(session: QtestSession) -> None:
    assert session.feed(b"outb 0x11") == b""
    assert session.pending == 9
    assert session.feed(b"0 7\nin") == b"OK\n"
    assert session.feed(b"b 0x110") == b""
    assert session.feed(b"\n") == b"OK 0x0007\n"
    assert session.pending == 0
    assert session.feed(b"") == b""


CONVERSATION = b"outb 0x110 66\ninb 0x110\nclock_step 3\nwrite 0 2 0x1234\nread 0 2\nbogus\n\ninb 0x110\n"


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=8))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int]) -> None:
    whole = QtestSession(machine("controller", "cell:a", memory=4096)).feed(CONVERSATION)
    session = QtestSession(machine("controller", "cell:a", memory=4096))
    places = [0, *sorted(cuts), len(CONVERSATION)]
    pieces = [CONVERSATION[start:end] for start, end in pairwise(places)]
    assert b"".join(map(session.feed, pieces)) == whole


# -- IRQ lines --------------------------------------------------------------------------------------------------------


def test_nothing_is_reported_before_a_device_is_intercepted(ask: Ask) -> None:
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 1") == "OK"


def test_the_lines_of_a_command_come_before_its_answer(ask: Ask) -> None:
    assert ask("irq_intercept_in pic0") == "OK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 1") == "IRQ raise 3\nOK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 0") == "IRQ lower 3\nOK"


def test_a_line_comes_on_a_change_of_level_only(ask: Ask) -> None:
    ask("irq_intercept_in pic0")
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 0") == "OK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 1") == "IRQ raise 3\nOK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 7") == "OK"


def test_a_timer_s_lines_come_with_the_step_that_ran_it(ask: Ask) -> None:
    ask("irq_intercept_in pic0")
    assert ask("outb 0x111 5") == "OK"
    assert ask("clock_step 4999") == "OK 4999"
    assert ask("clock_step 1") == "IRQ raise 5\nOK 5000"
    assert ask("inb 0x111") == "IRQ lower 5\nOK 0x0000"


def test_the_lines_of_many_commands_stand_each_before_its_own_answer(session: QtestSession) -> None:
    answers = session.feed(
        b"irq_intercept_in pic0\nset_irq_in pic0 unnamed-gpio-in 1 1\n"
        b"outb 0x110 1\nset_irq_in pic0 unnamed-gpio-in 1 0\n"
    )
    assert answers == b"OK\nIRQ raise 1\nOK\nOK\nIRQ lower 1\nOK\n"


def test_a_step_reports_its_edges_in_their_order(board: Machine, ask: Ask) -> None:
    ask("irq_intercept_in pic0")
    for number, time in ((1, 30), (2, 10), (3, 20)):
        board.clock.timer(lambda n=number: board.irq.force(n, True)).arm(time)  # type: ignore[misc]  # see mypy 4226
    assert ask("clock_step 100") == "IRQ raise 2\nIRQ raise 3\nIRQ raise 1\nOK 100"


def test_the_slave_s_inputs_are_lines_8_to_15(ask: Ask) -> None:
    assert ask("irq_intercept_in pic1") == "OK"
    assert ask("set_irq_in pic1 unnamed-gpio-in 6 1") == "IRQ raise 6\nOK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 6 1") == "OK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 7 1") == "OK"
    assert ask("set_irq_in pic1 unnamed-gpio-in 0 1") == "IRQ raise 0\nOK"


def test_the_master_s_inputs_are_lines_0_to_7(ask: Ask) -> None:
    ask("irq_intercept_in pic0")
    assert ask("set_irq_in pic1 unnamed-gpio-in 0 1") == "OK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 7 1") == "IRQ raise 7\nOK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 0 1") == "IRQ raise 0\nOK"


def test_the_master_s_output_is_the_processor_s_pin_and_the_slave_s_is_line_2(board: Machine) -> None:
    master, slave = QtestSession(board), QtestSession(board)
    master.feed(b"irq_intercept_out pic0\n")
    slave.feed(b"irq_intercept_out pic1\n")
    assert master.feed(b"set_irq_in pic0 unnamed-gpio-in 3 1\n") == b"IRQ raise 0\nOK\n"
    assert slave.feed(b"set_irq_in pic0 unnamed-gpio-in 2 1\n") == b"IRQ raise 0\nOK\n"
    assert master.feed(b"set_irq_in pic0 unnamed-gpio-in 3 0\n") == b"OK\n"
    assert master.feed(b"set_irq_in pic0 unnamed-gpio-in 2 0\n") == b"IRQ lower 0\nOK\n"


def test_set_irq_in_drives_the_machine_s_line(board: Machine, ask: Ask) -> None:
    assert ask("set_irq_in pic0 unnamed-gpio-in 7 1") == "OK"
    assert ask("set_irq_in pic1 unnamed-gpio-in 0 0x1") == "OK"
    assert board.irq.outside == 1 << 7 | 1 << 8
    assert ask("set_irq_in pic0 unnamed-gpio-in 7 0") == "OK"
    assert board.irq.outside == 1 << 8


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("set_irq_in pic2 unnamed-gpio-in 0 1", "FAIL Unknown device"),
        ("set_irq_in  unnamed-gpio-in 0 1", "FAIL Unknown device"),
        ("set_irq_in pic0 gpio 0 1", "FAIL Unknown IRQ"),
        ("set_irq_in pic0 unnamed-gpio-in 8 1", "FAIL Unknown IRQ"),
        ("irq_intercept_in ioapic", "FAIL Unknown device"),
        ("irq_intercept_out com1", "FAIL Unknown device"),
        ("irq_intercept_in ", "FAIL Unknown device"),
    ],
)
def test_a_device_or_pin_that_does_not_exist_fails(board: Machine, ask: Ask, command: str, answer: str) -> None:
    assert ask(command) == answer
    assert board.irq.outside == 0


def test_one_device_is_intercepted_in_a_session(ask: Ask) -> None:
    assert ask("irq_intercept_in pic0") == "OK"
    assert ask("irq_intercept_in pic0") == "OK"
    for other in ("irq_intercept_in pic1", "irq_intercept_out pic0"):
        assert ask(other) == "FAIL IRQ intercept already enabled"
    assert ask("set_irq_in pic0 unnamed-gpio-in 1 1") == "IRQ raise 1\nOK"


def test_an_unknown_device_does_not_use_up_the_session_s_one(ask: Ask) -> None:
    assert ask("irq_intercept_in none") == "FAIL Unknown device"
    assert ask("irq_intercept_in pic1") == "OK"


def test_the_level_at_the_time_of_the_intercept_is_not_reported_and_counts_as_low(ask: Ask) -> None:
    ask("set_irq_in pic0 unnamed-gpio-in 3 1")
    assert ask("irq_intercept_in pic0") == "OK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 0") == "OK"
    assert ask("set_irq_in pic0 unnamed-gpio-in 3 1") == "IRQ raise 3\nOK"


def test_the_intercepted_signal_still_reaches_its_target(board: Machine, ask: Ask) -> None:
    ask("irq_intercept_in pic0")
    ask("set_irq_in pic0 unnamed-gpio-in 3 1")
    assert board.irq.intr


def test_a_shared_line_is_reported_once(board: Machine, ask: Ask) -> None:
    ask("irq_intercept_in pic0")
    cell(board, "a").drive(level=True)
    assert ask("set_irq_in pic0 unnamed-gpio-in 5 1") == "OK"
    assert ask("inb 0x111") == "OK 0x0000"
    assert ask("set_irq_in pic0 unnamed-gpio-in 5 0") == "IRQ lower 5\nOK"


def test_a_line_that_no_command_caused_is_reported_at_once(board: Machine) -> None:
    reported: list[bytes] = []
    session = QtestSession(board, reported.append)
    session.feed(b"irq_intercept_in pic0\n")
    board.irq.force(4, True)
    board.irq.force(4, False)
    assert reported == [b"IRQ raise 4\n", b"IRQ lower 4\n"]
    assert session.feed(b"endianness\n") == b"OK little\n"


def test_a_load_reports_what_has_changed_since(board: Machine) -> None:
    reported: list[bytes] = []
    session = QtestSession(board, reported.append)
    session.feed(b"irq_intercept_in pic0\nset_irq_in pic0 unnamed-gpio-in 4 1\n")
    with board.irq.freeze():
        board.irq.outside = 1 << 6 | 1 << 12
    assert reported == [b"IRQ lower 4\n", b"IRQ raise 6\n"]


def test_a_new_session_counts_pins_as_low_and_a_closed_one_reports_nothing(board: Machine) -> None:
    reported: list[bytes] = []
    first = QtestSession(board, reported.append)
    first.feed(b"irq_intercept_in pic0\nset_irq_in pic0 unnamed-gpio-in 4 1\n")
    first.close()
    first.close()
    board.irq.force(3, True)
    assert reported == []
    second = QtestSession(board)
    second.feed(b"irq_intercept_in pic0\n")
    assert second.feed(b"set_irq_in pic0 unnamed-gpio-in 4 0\n") == b"OK\n"
    assert second.feed(b"set_irq_in pic0 unnamed-gpio-in 3 0\n") == b"OK\n"
    assert second.feed(b"set_irq_in pic0 unnamed-gpio-in 4 1\n") == b"IRQ raise 4\n" + b"OK\n"


def test_a_session_opens_nothing(board: Machine) -> None:
    with none_left():
        assert QtestSession(board).feed(b"inb 0x60\n") == b"OK 0x00ff\n"


def rest(session: QtestSession) -> bytes:
    """Return the answers to all that waits."""
    answers = b""
    while session.has_backlog:
        answers += session.feed(b"")
    return answers


def test_commands_wait_while_there_are_many_answers(session: QtestSession) -> None:
    whole = b"OK 0x" + b"00" * 0x10000 + b"\n"
    first = session.feed(b"read 0 0x10000\n" * 100 + b"clock_step 7\ncl")
    assert MAX_ANSWERS <= len(first) < MAX_ANSWERS + len(whole)
    assert session.has_backlog
    assert first + rest(session) == whole * 100 + b"OK 7\n"
    assert session.feed(b"ock_step 1\n") == b"OK 8\n"


def test_what_comes_while_commands_wait_is_answered_after_them(session: QtestSession) -> None:
    answers = session.feed(b"read 0 0x10000\n" * 20)
    answers += session.feed(b"clock_step 7\n") + rest(session)
    assert answers.endswith(b"00\nOK 7\n")
    assert answers.count(b"\n") == 21


def test_a_lack_of_memory_fails_one_command(
    session: QtestSession, board: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_address: int, _size: int) -> bytes:
        raise MemoryError

    monkeypatch.setattr(board.memory, "read", refuse)
    assert session.feed(b"read 0 16\nclock_step 1\n") == b"FAIL read: not enough memory\nOK 1\n"
