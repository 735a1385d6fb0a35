"""The 16550A: the datasheet's tables, every interrupt identification, back-pressure, and save and load anywhere."""

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.context import Checkpoint
from chkpt.device import LineError, ModemLine
from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from chkpt_devices.serial.chip import Serial
from chkpt_devices.serial.registers import SerialState
from tests.devices.serial.bench import (
    BI,
    BREAK,
    DLAB,
    DLL,
    DLM,
    DR,
    DTR,
    EDSSI,
    EIGHT_BITS,
    ELSI,
    ERBFI,
    ETBEI,
    FCR,
    FE,
    FIFO_ERROR,
    FIFOS,
    FOUR_CHARACTERS,
    IDLE,
    IER,
    IIR,
    LCR,
    LOOP,
    LSR,
    MCR,
    MSR,
    OE,
    OUT1,
    OUT2,
    PE,
    RBR,
    RECV_RESET,
    RTS,
    SCR,
    TABLE,
    TEMT,
    THR,
    THRE,
    TRIGGER_4,
    TRIGGER_14,
    XMIT_RESET,
    Line,
    Uart,
    restored,
)
from tests.support.recorded import traces
from tests.support.rig import rig, saved


class TestSerial(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        device = cast("Serial", machine.devices.find("com1"))
        for register, value in ((LCR, 0x9B), (DLL, 2), (DLM, 1), (LCR, 0x1B), (FCR, TRIGGER_14), (IER, 0x0F), (SCR, 9)):
            machine.ports.outb(0x3F8 + register, value)
        device.receive(b"unread")
        device.receive(b"x", LineError.PARITY)
        for register, value in ((MCR, LOOP | DTR), (THR, 0x55)):
            machine.ports.outb(0x3F8 + register, value)
        machine.step(1000)


# -- registers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("register", "value"),
    [(RBR, 0x00), (IER, 0x00), (IIR, 0x01), (LCR, 0x00), (MCR, 0x00), (LSR, 0x60), (MSR, 0xB0), (SCR, 0x00)],
)
def test_a_register_after_reset(register: int, value: int) -> None:
    machine = rig(TABLE)
    assert machine.ports.inb(0x3F8 + register) == value
    assert not machine.irq.level(4)


@pytest.mark.parametrize(
    ("register", "mask"), [(IER, 0x0F), (LCR, 0xFF), (MCR, 0x1F), (SCR, 0xFF)], ids=["ier", "lcr", "mcr", "scr"]
)
def test_a_register_keeps_the_bits_it_has(register: int, mask: int) -> None:
    uart = Uart()
    for value in (0xFF, 0x55, 0xAA, 0x00):
        uart.write(register, value)
        assert uart.read(register) == value & mask


def test_the_divisor_latches_stand_before_data_and_ier_while_dlab_is_set() -> None:
    uart = Uart(ier=ERBFI)
    uart.write(LCR, DLAB | EIGHT_BITS)
    uart.write(DLL, 0x34)
    uart.write(DLM, 0x12)
    assert (uart.read(DLL), uart.read(DLM)) == (0x34, 0x12)
    uart.write(LCR, EIGHT_BITS)
    assert (uart.read(RBR), uart.read(IER)) == (0, ERBFI)
    assert uart.line.output == b""


def test_a_write_of_lsr_or_msr_changes_nothing() -> None:
    uart = Uart()
    uart.write(LSR, 0xFF)
    uart.write(MSR, 0xFF)
    assert (uart.read(LSR), uart.read(MSR)) == (IDLE, 0xB0)


@pytest.mark.parametrize(("written", "shown"), [(0x00, 0x01), (0x06, 0x01), (0x01, 0xC1), (0xC9, 0xC1)])
def test_iir_shows_whether_the_fifos_are_on(written: int, shown: int) -> None:
    uart = Uart()
    uart.write(FCR, written)
    assert uart.read(IIR) == shown


def test_fcr_without_its_enable_bit_takes_no_other_bit() -> None:
    uart = Uart(ier=ETBEI)
    uart.read(IIR)
    uart.receive(b"a")
    uart.write(FCR, RECV_RESET | XMIT_RESET)
    assert uart.read(LSR) == IDLE | DR
    assert uart.read(IIR) == 0x01


# -- interrupts -------------------------------------------------------------------------------------------------------

SOURCES = ("line status", "time-out", "data", "THR empty", "modem status")


def pending(*, fifos: bool, sources: set[str]) -> SerialState:
    """Return a state in which exactly these sources ask for an interrupt."""
    state = replace(Uart(fcr=TRIGGER_4 if fifos else 0).device.save(), thr_ipending="THR empty" in sources)
    lsr = IDLE | (OE if "line status" in sources else 0)
    if "modem status" in sources:
        state = replace(state, msr=state.msr | 0x01)
    if not fifos:
        return replace(state, lsr=lsr | (DR if "data" in sources else 0))
    waiting = b"four" if "data" in sources else b"1" if "time-out" in sources else b""
    return replace(
        state,
        recv_fifo=waiting,
        recv_errors=bytes(len(waiting)),
        lsr=lsr | (DR if waiting else 0),
        timeout_ipending="time-out" in sources,
    )


@pytest.mark.parametrize("ier", range(16))
@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
def test_iir_names_the_highest_of_every_combination_of_sources(ier: int, fifos: bool) -> None:
    order = [("line status", ELSI, 0x06), ("time-out", ERBFI, 0x0C), ("data", ERBFI, 0x04)]
    order += [("THR empty", ETBEI, 0x02), ("modem status", EDSSI, 0x00)]
    uart = Uart()
    for choice in range(32):
        sources = {source for bit, source in enumerate(SOURCES) if choice >> bit & 1}
        if not fifos:
            sources.discard("time-out")
        uart.device.load(replace(pending(fifos=fifos, sources=sources), ier=ier))
        expected = next((iir for source, enable, iir in order if source in sources and ier & enable), 0x01)
        assert uart.irq == (expected != 0x01), sources
        assert uart.read(IIR) == expected | (0xC0 if fifos else 0), sources


def test_out2_does_not_gate_the_interrupt() -> None:
    uart = Uart(ier=ERBFI)
    uart.receive(b"a")
    for mcr in (OUT2, 0):
        uart.write(MCR, mcr)
        assert uart.irq


def test_reading_rbr_takes_the_data_interrupt_back() -> None:
    uart = Uart(ier=ERBFI)
    uart.receive(b"a")
    assert (uart.irq, uart.read(IIR), uart.read(RBR), uart.irq) == (True, 0x04, ord("a"), False)


@pytest.mark.parametrize(("fcr", "level"), [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_the_data_interrupt_comes_at_the_trigger_level_and_goes_below_it(fcr: int, level: int) -> None:
    uart = Uart(fcr=fcr, ier=ERBFI)
    uart.receive(bytes(level - 1))
    assert not uart.irq
    uart.receive(b"!")
    assert (uart.irq, uart.read(IIR)) == (True, 0xC4)
    uart.read(RBR)
    assert not uart.irq


def test_a_lower_trigger_level_takes_effect_at_once() -> None:
    uart = Uart(fcr=TRIGGER_14, ier=ERBFI)
    uart.receive(bytes(4))
    uart.write(FCR, TRIGGER_4)
    assert uart.read(IIR) == 0xC4


def test_a_thr_write_drops_the_interrupt_and_raises_it_again() -> None:
    uart = Uart(ier=ETBEI)
    with uart.edges() as seen:
        uart.write(THR, 0x41)
    assert seen == [False, True]


def test_reading_iir_takes_the_thr_interrupt_back_only_when_it_names_it() -> None:
    uart = Uart(ier=ETBEI | ERBFI)
    uart.receive(b"a")
    assert uart.read(IIR) == 0x04
    uart.read(RBR)
    assert (uart.read(IIR), uart.irq, uart.read(IIR)) == (0x02, False, 0x01)


def test_enabling_the_thr_interrupt_asks_for_it_again_but_a_repeated_write_does_not() -> None:
    uart = Uart(ier=ETBEI)
    uart.read(IIR)
    uart.write(IER, ETBEI | ERBFI)
    assert not uart.irq
    uart.write(IER, 0, ETBEI)
    assert uart.irq


@pytest.mark.parametrize(("before", "fcr"), [(0x01, 0x05), (0x00, 0x01), (0x01, 0x00)], ids=["reset", "on", "off"])
def test_a_reset_of_the_transmit_fifo_asks_for_the_thr_interrupt(before: int, fcr: int) -> None:
    uart = Uart(fcr=before, ier=ETBEI)
    uart.read(IIR)
    uart.write(FCR, fcr)
    assert uart.irq


# -- receive time-out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lcr", "divisor", "nanoseconds"),
    [
        (0x03, 1, 347_220),  # 8N1
        (0x03, 12, 4_166_664),
        (0x07, 12, 4_583_332),  # 8N2
        (0x1B, 96, 36_666_664),  # 8E1
        (0x1F, 1, 416_664),  # 8E2
        (0x0A, 1, 347_220),  # 7O1
        (0x00, 1, 243_052),  # 5N1
        (0x04, 1, 260_416),  # 5N1.5
        (0x05, 1, 312_500),  # 6N2
        (0x03, 0xFFFF, 22_755_208_332),
        (0x03, 0, 22_755_555_552),  # 0 counts as 65536
    ],
)
def test_the_time_out_comes_after_four_characters_to_the_nanosecond(lcr: int, divisor: int, nanoseconds: int) -> None:
    uart = Uart(fcr=TRIGGER_14, ier=ERBFI)
    uart.set_line(lcr, divisor)
    uart.receive(b"a")
    uart.machine.step(nanoseconds - 1)
    assert (uart.irq, uart.read(IIR)) == (False, 0xC1)
    uart.machine.step(1)
    assert (uart.irq, uart.read(IIR)) == (True, 0xCC)


@pytest.mark.parametrize("touch", ["arrival", "read", "overrun"])
def test_the_time_out_starts_anew_when_the_fifo_is_touched(touch: str) -> None:
    uart = Uart(fcr=TRIGGER_14, ier=ERBFI)
    uart.receive(bytes(16) if touch == "overrun" else b"ab")
    uart.machine.step(FOUR_CHARACTERS - 1)
    if touch == "read":
        uart.read(RBR)
    else:
        uart.receive(b"c")
    uart.machine.step(FOUR_CHARACTERS - 1)
    assert uart.read(IIR) != 0xCC
    uart.machine.step(1)
    assert uart.read(IIR) == 0xCC


def test_there_is_no_time_out_after_the_last_byte_was_read() -> None:
    uart = Uart(fcr=TRIGGER_14, ier=ERBFI)
    uart.receive(b"a")
    uart.read(RBR)
    uart.machine.step(10 * FOUR_CHARACTERS)
    assert uart.read(IIR) == 0xC1


def test_a_pending_time_out_outlives_an_arrival_and_ends_with_a_read() -> None:
    uart = Uart(fcr=TRIGGER_14, ier=ERBFI)
    uart.receive(b"ab")
    uart.machine.step(FOUR_CHARACTERS)
    uart.receive(b"c")
    assert uart.read(IIR) == 0xCC
    uart.read(RBR)
    assert uart.read(IIR) == 0xC1
    uart.machine.step(FOUR_CHARACTERS)
    assert uart.read(IIR) == 0xCC


@pytest.mark.parametrize("fcr", [TRIGGER_14 | RECV_RESET, 0x00], ids=["reset", "off"])
@pytest.mark.parametrize("elapsed", [0, FOUR_CHARACTERS], ids=["running", "pending"])
def test_clearing_the_receive_fifo_ends_the_time_out(fcr: int, elapsed: int) -> None:
    uart = Uart(fcr=TRIGGER_14, ier=ERBFI)
    uart.receive(b"a")
    uart.machine.step(elapsed)
    uart.write(FCR, fcr)
    uart.machine.step(FOUR_CHARACTERS)
    assert uart.read(IIR) & 0x0F == 0x01


def test_the_time_out_runs_whatever_ier_says() -> None:
    uart = Uart(fcr=TRIGGER_14)
    uart.receive(b"a")
    uart.machine.step(FOUR_CHARACTERS)
    assert not uart.irq
    uart.write(IER, ERBFI)
    assert uart.read(IIR) == 0xCC


def test_there_is_no_time_out_without_fifos() -> None:
    uart = Uart(ier=ERBFI)
    uart.receive(b"a")
    uart.machine.step(10 * FOUR_CHARACTERS)
    assert uart.read(IIR) == 0x04


# -- receiver ---------------------------------------------------------------------------------------------------------


def test_an_overrun_of_the_fifo_loses_the_new_byte() -> None:
    uart = Uart(fcr=FIFOS, ier=ELSI)
    uart.receive(bytes(range(17)))
    assert (uart.irq, uart.read(IIR), uart.read(LSR), uart.irq) == (True, 0xC6, IDLE | DR | OE, False)
    assert uart.read_all() == bytes(range(16))


def test_an_overrun_without_fifos_loses_the_old_byte() -> None:
    uart = Uart()
    uart.receive(b"ab")
    assert (uart.read(LSR), uart.read(LSR)) == (IDLE | DR | OE, IDLE | DR)
    assert uart.read_all() == b"b"


def test_only_a_read_of_lsr_clears_the_overrun() -> None:
    uart = Uart(fcr=FIFOS)
    uart.receive(bytes(17))
    uart.read(RBR)
    uart.write(FCR, FIFOS | RECV_RESET)
    assert (uart.read(LSR), uart.read(LSR)) == (IDLE | OE, IDLE)


def test_an_empty_fifo_reads_0_and_rbr_reads_the_last_byte_again() -> None:
    uart = Uart()
    uart.receive(b"a")
    assert (uart.read(RBR), uart.read(RBR)) == (ord("a"), ord("a"))
    uart.write(FCR, FIFOS)
    assert uart.read(RBR) == 0


def test_error_flags_travel_with_their_byte() -> None:
    uart = Uart(fcr=FIFOS, ier=ELSI)
    uart.receive(b"a")
    uart.receive(b"b", LineError.PARITY)
    uart.receive(b"c")
    uart.receive(b"d", LineError.FRAMING | LineError.PARITY)
    uart.receive(b"x", LineError.BREAK)
    story = []
    for _ in range(6):
        story.append((uart.irq, uart.read(LSR) & ~IDLE, uart.irq, uart.read(LSR) & ~IDLE, uart.read(RBR)))
    assert story == [
        (False, DR | FIFO_ERROR, False, DR | FIFO_ERROR, ord("a")),
        (True, DR | FIFO_ERROR | PE, False, DR | FIFO_ERROR, ord("b")),
        (False, DR | FIFO_ERROR, False, DR | FIFO_ERROR, ord("c")),
        (True, DR | FIFO_ERROR | PE | FE, False, DR | FIFO_ERROR, ord("d")),
        (True, DR | FIFO_ERROR | BI, False, DR, 0),
        (False, 0, False, 0, 0),
    ]


def test_flags_that_nobody_read_leave_with_their_byte() -> None:
    uart = Uart(fcr=FIFOS, ier=ELSI)
    uart.receive(b"a", LineError.FRAMING)
    uart.receive(b"b")
    uart.read(RBR)
    assert (uart.irq, uart.read(LSR)) == (False, IDLE | DR)


def test_a_byte_lost_to_overrun_takes_its_flags_with_it() -> None:
    uart = Uart(fcr=FIFOS)
    uart.receive(bytes(16))
    uart.receive(b"x", LineError.PARITY)
    assert uart.read(LSR) == IDLE | DR | OE


def test_without_fifos_flags_stay_until_lsr_is_read_and_bit_7_is_0() -> None:
    uart = Uart(ier=ELSI)
    uart.receive(b"a", LineError.PARITY)
    uart.read(RBR)
    assert (uart.irq, uart.read(LSR), uart.irq, uart.read(LSR)) == (True, IDLE | PE, False, IDLE)


def test_clearing_the_receive_fifo_clears_its_flags() -> None:
    uart = Uart(fcr=FIFOS, ier=ELSI)
    uart.receive(b"a", LineError.PARITY)
    uart.write(FCR, FIFOS | RECV_RESET)
    assert (uart.irq, uart.read(LSR)) == (False, IDLE)


@pytest.mark.parametrize(("fcr", "rooms"), [(0, [1, 0, 1]), (FIFOS, [16, 13, 14])], ids=["16450", "fifos"])
def test_room_is_what_fits_without_overrun(fcr: int, rooms: list[int]) -> None:
    uart = Uart(fcr=fcr)
    seen = [uart.device.room()]
    uart.receive(b"abc" if fcr else b"a")
    seen.append(uart.device.room())
    uart.read(RBR)
    seen.append(uart.device.room())
    assert seen == rooms


@pytest.mark.parametrize(("lcr", "mask"), [(0, 0x1F), (1, 0x3F), (2, 0x7F), (3, 0xFF)])
def test_a_character_in_loopback_has_as_many_bits_as_lcr_says_and_on_the_line_eight(lcr: int, mask: int) -> None:
    uart = Uart(fcr=FIFOS)
    uart.write(LCR, lcr)
    uart.receive(b"\xff")
    uart.write(THR, 0xFF)
    uart.write(MCR, LOOP)
    uart.write(THR, 0xFF)
    assert (uart.read(RBR), uart.read(RBR), bytes(uart.line.output)) == (0xFF, mask, b"\xff")


# -- transmitter and back-pressure ------------------------------------------------------------------------------------


def test_a_character_is_sent_in_no_time() -> None:
    uart = Uart()
    uart.write(THR, *b"hello")
    assert (bytes(uart.line.output), uart.read(LSR)) == (b"hello", IDLE)


def test_without_a_backend_characters_go_nowhere() -> None:
    uart = Uart(ier=ETBEI)
    uart.machine.devices.disconnect_char("com1")
    uart.write(THR, *b"hello")
    assert (uart.read(LSR), uart.irq, bytes(uart.line.output)) == (IDLE, True, b"")


def test_without_fifos_a_blocked_line_fills_shift_register_and_thr() -> None:
    uart = Uart(capacity=2, ier=ETBEI)
    report = []
    for byte in b"ABCD":
        uart.write(THR, byte)
        report.append((uart.read(LSR), uart.irq))
    assert report == [(IDLE, True), (IDLE, True), (THRE, True), (0, False)]
    assert uart.line.take(1) == b"A"
    assert (uart.read(LSR), uart.irq, bytes(uart.line.output)) == (THRE, True, b"BC")
    assert uart.line.take(2) == b"BC"
    assert (uart.read(LSR), bytes(uart.line.output)) == (IDLE, b"D")


def test_without_fifos_a_write_into_a_full_thr_replaces_it() -> None:
    uart = Uart(capacity=1)
    uart.write(THR, *b"ABCD")
    uart.line.take(1)
    uart.line.take(1)
    assert uart.line.take(9) == b"D"


def test_with_fifos_a_blocked_line_leaves_seventeen_bytes_in_the_uart() -> None:
    uart = Uart(fcr=FIFOS, capacity=1, ier=ETBEI)
    report = []
    for byte in range(18):
        uart.write(THR, byte)
        report.append(uart.read(LSR))
    assert report == [IDLE, THRE] + [0] * 16
    assert not uart.irq
    received = bytearray()
    while data := uart.line.take(1):
        received += data
        assert uart.irq == (len(received) >= 16)  # then byte 17 has left the FIFO for the shift register
    assert received == bytes(range(18))
    assert uart.read(LSR) == IDLE


def test_a_write_into_a_full_transmit_fifo_loses_the_oldest_byte_in_it() -> None:
    uart = Uart(fcr=FIFOS, capacity=0)
    uart.write(THR, *range(18))
    uart.line._capacity = 100
    uart.line.poll()
    assert uart.line.output == bytes([0, *range(2, 18)])


def test_a_reset_of_the_transmit_fifo_leaves_the_shift_register() -> None:
    uart = Uart(fcr=FIFOS, capacity=1)
    uart.write(THR, *b"abcdef")
    uart.write(FCR, FIFOS | XMIT_RESET)
    assert uart.read(LSR) == THRE
    assert (uart.line.take(1), uart.line.take(1), uart.line.take(1)) == (b"a", b"b", b"")


def test_enabling_the_thr_interrupt_while_thr_is_full_waits_until_it_is_empty() -> None:
    uart = Uart(capacity=1)
    uart.write(THR, *b"abc")
    uart.write(IER, ETBEI)
    assert not uart.irq
    uart.line.take(1)
    assert uart.irq


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.integers(1, 20))), st.sampled_from([0, FIFOS]))
def test_a_guest_that_heeds_thre_loses_no_byte(steps: list[bytes | int], fcr: int) -> None:
    uart = Uart(fcr=fcr, capacity=3)
    sent, received = bytearray(), bytearray()
    for step in steps:
        if isinstance(step, int):
            received += uart.line.take(step)
        elif uart.read(LSR) & THRE:
            data = step[: 16 if fcr else 1]
            uart.write(THR, *data)
            sent += data
    while data := uart.line.take(2):
        received += data
    assert received == sent
    assert uart.read(LSR) == IDLE


# -- modem ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rise", "fall"),
    [(ModemLine.CTS, 0x01, 0x01), (ModemLine.DSR, 0x02, 0x02), (ModemLine.RI, 0x00, 0x04), (ModemLine.DCD, 0x08, 0x08)],
)
def test_a_modem_line_sets_its_delta_until_msr_is_read(line: ModemLine, rise: int, fall: int) -> None:
    uart = Uart(ier=EDSSI)
    uart.device.set_modem(ModemLine(0))
    uart.read(MSR)
    uart.device.set_modem(line)
    assert (uart.irq, uart.read(MSR), uart.irq, uart.read(MSR)) == (rise != 0, line | rise, False, line)
    uart.device.set_modem(ModemLine(0))
    assert (uart.read(IIR), uart.read(MSR), uart.irq, uart.read(MSR)) == (0x00, fall, False, 0)


def test_a_delta_stays_when_the_line_goes_back() -> None:
    uart = Uart()
    uart.device.set_modem(ModemLine(0xA0))
    uart.device.set_modem(ModemLine(0xB0))
    assert uart.read(MSR) == 0xB1


def test_the_modem_lines_go_back_to_their_levels_without_a_peer_on_disconnect() -> None:
    uart = Uart()
    uart.device.set_modem(ModemLine.RI)
    uart.machine.devices.disconnect_char("com1")
    assert uart.read(MSR) & 0xF0 == 0xB0


@pytest.mark.parametrize("mcr", range(16))
def test_in_loopback_msr_shows_the_outputs(mcr: int) -> None:
    uart = Uart()
    uart.write(MCR, LOOP | mcr)
    pairs = ((RTS, ModemLine.CTS), (DTR, ModemLine.DSR), (OUT1, ModemLine.RI), (OUT2, ModemLine.DCD))
    assert uart.read(MSR) & 0xF0 == sum(line for output, line in pairs if mcr & output)


def test_in_loopback_a_change_of_an_output_sets_a_delta_and_interrupts() -> None:
    uart = Uart(ier=EDSSI)
    uart.write(MCR, LOOP | OUT1)
    uart.read(MSR)
    uart.write(MCR, LOOP | RTS)
    assert (uart.irq, uart.read(MSR), uart.irq) == (True, 0x10 | 0x01 | 0x04, False)


def test_the_line_is_told_of_the_outputs_and_in_loopback_that_none_is_active() -> None:
    uart = Uart()
    uart.write(MCR, DTR, DTR, DTR | RTS | OUT2)
    uart.write(LCR, EIGHT_BITS | BREAK)
    uart.write(MCR, DTR | RTS | LOOP, DTR | RTS)
    uart.write(LCR, EIGHT_BITS)
    report = dict.fromkeys(("modem", "break"), cast("object", None))
    changes = []
    for what, value in uart.line.shown:
        if report[what] != value:
            changes.append((what, value))
        report[what] = value
    assert changes == [
        ("modem", (True, False)),
        ("break", False),
        ("modem", (True, True)),
        ("break", True),
        ("modem", (False, False)),
        ("break", False),
        ("modem", (True, True)),
        ("break", True),
        ("break", False),
    ]


def test_a_new_backend_is_told_of_the_outputs() -> None:
    uart = Uart()
    uart.write(MCR, RTS)
    uart.machine.devices.disconnect_char("com1")
    other = Line()
    uart.machine.devices.connect_char("com1", other)
    assert other.shown == [("modem", (False, True)), ("break", False)]


# -- loopback and break -----------------------------------------------------------------------------------------------


def test_in_loopback_what_is_sent_is_received_and_the_line_is_cut_off() -> None:
    uart = Uart(fcr=FIFOS)
    uart.write(MCR, LOOP)
    assert uart.device.room() == 0
    uart.write(THR, *b"ping")
    uart.receive(b"lost")
    assert (uart.read_all(), bytes(uart.line.output)) == (b"ping", b"")


def test_what_a_blocked_line_left_comes_back_when_loopback_begins() -> None:
    uart = Uart(fcr=FIFOS, capacity=1)
    uart.write(THR, *b"abc")
    uart.write(MCR, LOOP)
    assert uart.read(LSR) == IDLE | DR
    assert uart.read_all() == b"bc"


@pytest.mark.parametrize(
    ("lcr", "flags"),
    [(0x03, BI | FE), (0x0B, BI | FE | PE), (0x1B, BI | FE), (0x2B, BI | FE | PE), (0x3B, BI | FE)],
    ids=["none", "odd", "even", "mark", "space"],
)
def test_a_break_in_loopback_is_received_as_one_character(lcr: int, flags: int) -> None:
    uart = Uart(fcr=FIFOS, ier=ELSI)
    uart.write(LCR, lcr)
    uart.write(MCR, LOOP)
    uart.write(LCR, lcr | BREAK, lcr | BREAK)
    uart.write(THR, 0x55)
    assert (uart.irq, uart.read(LSR)) == (True, IDLE | DR | FIFO_ERROR | flags)
    assert uart.read_all() == b"\0"
    uart.write(LCR, lcr)
    uart.write(THR, 0x55)
    assert uart.read_all() == b"\x55"


def test_a_break_that_loopback_turns_inwards_is_received() -> None:
    uart = Uart(fcr=FIFOS)
    uart.write(LCR, EIGHT_BITS | BREAK)
    uart.write(MCR, LOOP)
    assert uart.read(LSR) & BI


def test_during_a_break_the_transmitter_works_but_nothing_is_sent() -> None:
    uart = Uart(ier=ETBEI)
    uart.write(LCR, EIGHT_BITS | BREAK)
    with uart.edges() as seen:
        uart.write(THR, 0)
    assert (seen, uart.read(LSR), bytes(uart.line.output)) == ([False, True], IDLE, b"")


def test_what_waits_for_a_blocked_line_when_a_break_begins_is_lost_behind_it() -> None:
    uart = Uart(capacity=0)
    uart.write(THR, *b"ab")
    assert uart.read(LSR) == 0
    uart.write(LCR, EIGHT_BITS | BREAK)
    assert uart.read(LSR) == IDLE
    uart.line._capacity = 100
    uart.line.poll()
    assert uart.line.output == b""


# -- save and load ----------------------------------------------------------------------------------------------------


def test_a_loaded_uart_sends_nothing_before_the_clock_runs_and_then_each_byte_once() -> None:
    uart = Uart(fcr=FIFOS, capacity=2)
    uart.write(THR, *b"abcdef")
    line = uart.line
    line._capacity = 100
    twin = restored(uart)
    line.poll()
    assert (bytes(line.output), twin.read(LSR)) == (b"ab", 0)
    twin.machine.step(0)
    assert (bytes(line.output), twin.read(LSR)) == (b"abcdef", IDLE)
    twin.machine.step(1_000_000)
    line.poll()
    assert line.output == b"abcdef"


def test_a_loaded_uart_that_stays_blocked_goes_on_waiting() -> None:
    uart = Uart(fcr=FIFOS, capacity=1)
    uart.write(THR, *b"abc")
    twin = restored(uart)
    twin.machine.step(1000)
    assert (bytes(twin.line.output), twin.read(LSR)) == (b"a", 0)
    assert (twin.line.take(1), twin.line.take(1), twin.line.take(1)) == (b"a", b"b", b"c")


def test_a_loaded_uart_sends_what_waits_before_what_the_guest_writes_next() -> None:
    uart = Uart(fcr=FIFOS, capacity=0)
    uart.write(THR, *b"abc")
    uart.line._capacity = None
    twin = restored(uart)
    twin.write(THR, *b"d")
    assert twin.line.output == b"abcd"


def test_what_waits_after_a_load_goes_to_the_backend_that_comes_later() -> None:
    uart = Uart(fcr=FIFOS, capacity=0)
    uart.write(THR, *b"abc")
    twin = restored(uart)
    twin.machine.devices.disconnect_char("com1")
    later = Line()
    twin.machine.devices.connect_char("com1", later)
    assert (bytes(later.output), twin.read(LSR)) == (b"", 0)
    twin.machine.step(0)
    assert (bytes(later.output), twin.read(LSR)) == (b"abc", IDLE)


def test_what_waits_for_a_backend_that_is_taken_away_is_lost() -> None:
    uart = Uart(fcr=FIFOS, capacity=0)
    uart.write(THR, *b"abc")
    uart.machine.devices.disconnect_char("com1")
    assert uart.read(LSR) == IDLE


def test_a_reset_loses_what_waits_and_keeps_the_modem_lines() -> None:
    uart = Uart(fcr=FIFOS, ier=ETBEI, capacity=0)
    uart.write(THR, *b"abc")
    uart.device.set_modem(ModemLine.RI)
    uart.machine.reset()
    uart.line._capacity = None
    uart.line.poll()
    uart.machine.step(1)
    assert (bytes(uart.line.output), uart.read(LSR), uart.read(MSR), uart.irq) == (b"", IDLE, ModemLine.RI, False)
    uart.write(THR, 0x1F)
    assert uart.line.output == b"\x1f"


def test_a_removed_uart_lets_its_interrupt_line_go() -> None:
    uart = Uart(fcr=FIFOS, ier=ETBEI, capacity=0)
    uart.write(THR, *b"abc")
    uart.machine.devices.remove("com1")
    uart.machine.step(1)
    assert not uart.irq


def test_load_shows_the_line_the_outputs() -> None:
    uart = Uart()
    uart.write(MCR, DTR)
    uart.write(LCR, EIGHT_BITS | BREAK)
    checkpoint = saved(uart.machine)
    other = Uart()
    other.machine.load(checkpoint)
    assert other.line.shown == [("modem", (True, False)), ("break", True)]


BASE = Uart(fcr=FIFOS).device.save()


@pytest.mark.parametrize(
    "changes",
    [
        {"fcr": 0x03},
        {"fcr": 0x40},
        {"recv_fifo": b"a"},
        {"recv_errors": b"\0"},
        {"recv_fifo": b"a", "recv_errors": b"\0"},
        {"recv_fifo": b"a", "recv_errors": b"\x01", "lsr": IDLE | DR | FIFO_ERROR},
        {"recv_fifo": b"a", "recv_errors": bytes([PE]), "lsr": IDLE | DR | FIFO_ERROR},
        {"recv_fifo": b"a", "recv_errors": b"\0", "lsr": IDLE | DR, "fcr": 0},
        {"lsr": IDLE | DR},
        {"lsr": IDLE | PE},
        {"lsr": IDLE | FIFO_ERROR},
        {"lsr": IDLE | FIFO_ERROR, "fcr": 0},
        {"lsr": 0},
        {"lsr": TEMT},
        {"tsr": 0},
        {"tsr": 0, "lsr": 0},
        {"tsr": 0, "xmit_fifo": b"a", "lsr": THRE},
        {"xmit_fifo": b"a", "lsr": 0},
        {"tsr": 0, "xmit_fifo": b"ab", "lsr": 0, "fcr": 0, "thr_ipending": False},
        {"tsr": 0, "xmit_fifo": b"a", "lsr": 0, "thr_ipending": True},
        {"msr": 0x00},
        {"mcr": LOOP},
        {"modem_lines": 0xB1},
        {"timeout_ipending": True},
        {"timeout_deadline": 5},
    ],
    ids=str,
)
def test_load_refuses_what_no_uart_can_be_and_changes_nothing(changes: dict[str, object]) -> None:
    uart = Uart(fcr=TRIGGER_4, ier=ERBFI)
    uart.receive(b"abcd")
    before = uart.device.save()
    broken = replace(BASE, **changes)  # type: ignore[arg-type] # a table of fields of several types
    with pytest.raises(StateError, match=r"0x|bytes|bits"):
        uart.device.load(broken)
    assert uart.device.save() == before


ACTIONS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("write"), st.sampled_from([THR, THR, IER, FCR, LCR, MCR, SCR]), st.integers(0, 255)),
    st.tuples(st.just("write"), st.just(FCR), st.sampled_from([FIFOS, TRIGGER_4, TRIGGER_14, 0x00])),
    st.tuples(st.just("write"), st.just(LCR), st.sampled_from([0x03, 0x43, 0x83])),
    st.tuples(st.just("receive"), st.integers(1, 18), st.sampled_from([0, PE, FE, BI])),
    st.tuples(st.just("step"), st.sampled_from([1, 1000, FOUR_CHARACTERS, 4_166_664]), st.just(0)),
    st.tuples(st.just("modem"), st.just(0), st.sampled_from([0x00, 0x40, 0xB0, 0xF0])),
    st.tuples(st.just("take"), st.integers(1, 20), st.just(0)),
)


def act(uart: Uart, action: tuple[str, int, int]) -> object:
    """Do one thing to a UART and return what its guest or peer sees of it."""
    kind, which, value = action
    match kind:
        case "read":
            return uart.read(which)
        case "write":
            uart.write(which, value)
        case "receive":
            uart.receive(bytes(range(0x41, 0x41 + which)), LineError(value))
        case "step":
            uart.machine.step(which)
        case "modem":
            uart.device.set_modem(ModemLine(value))
        case _:
            return uart.line.take(which)
    return None


@settings(deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_a_uart_that_is_saved_and_loaded_before_every_action_cannot_be_told_from_one_that_is_not(
    actions: list[tuple[str, int, int]],
) -> None:
    whole, cut = Uart(capacity=3), Uart(capacity=3)
    for action in actions:
        cut = restored(cut)
        cut.machine.step(0)
        assert act(cut, action) == act(whole, action)
        assert (cut.irq, cut.line.output) == (whole.irq, whole.line.output)
        assert cut.device.save() == whole.device.save()


@settings(deadline=None)
@given(st.lists(ACTIONS, max_size=40))
def test_every_state_a_uart_reaches_can_be_loaded_and_its_line_follows_iir(actions: list[tuple[str, int, int]]) -> None:
    uart = Uart(capacity=3)
    for action in actions:
        act(uart, action)
        state = uart.device.save()
        uart.device.load(state)
        assert uart.device.save() == state
        assert uart.irq == (not uart.device._iir & 1)


@pytest.mark.parametrize("name", [f"serial-{number:03}" for number in range(0, 30, 3)])
def test_the_recorded_answers_come_out_when_cut_before_every_command(name: str) -> None:
    machine = rig(TABLE)
    for exchange in traces("serial")[name].exchanges:
        command, *arguments = exchange.command.split()
        if not (command == "clock_step" or arguments[0].startswith("0x3f")):
            continue  # the other devices' part, in tests/test_traces.py
        checkpoint: Checkpoint = saved(machine)
        before = machine.irq.level(4)
        machine = rig(TABLE)
        machine.load(checkpoint, strict=True)
        seen = [f"IRQ {'raise' if before else 'lower'} 4"]
        machine.irq.watch(lambda n, up, seen=seen: seen.append(f"IRQ {'raise' if up else 'lower'} {n}"))  # type: ignore[misc] # the default binds the list of this turn
        numbers = [int(argument, 0) for argument in arguments]
        answer = "OK"
        if command == "clock_step":
            machine.step(*numbers)
            answer = f"OK {machine.clock.now}"
        elif command == "inb":
            answer = f"OK {machine.ports.inb(*numbers):#06x}"
        else:
            machine.ports.outb(*numbers)
        *wanted_irq, wanted = exchange.answer
        assert wanted in {answer, "OK *"}, exchange
        assert seen[1:] == [line for line in wanted_irq if line.endswith(" 4")], exchange
