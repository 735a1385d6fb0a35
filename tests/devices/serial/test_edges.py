"""The 16550A at the edges of its registers: what is not there, what is there already, what cannot be together."""

from dataclasses import replace

import pytest

from chkpt.errors import StateError
from tests.devices.serial.bench import (
    BI,
    BREAK,
    DR,
    DTR,
    EIGHT_BITS,
    ETBEI,
    FCR,
    FE,
    FIFO_ERROR,
    FIFOS,
    IDLE,
    IER,
    IIR,
    LCR,
    LOOP,
    LSR,
    MCR,
    OE,
    OUT1,
    PEN,
    RBR,
    RTS,
    THR,
    THRE,
    TRIGGER_14,
    Uart,
    restored,
)


@pytest.mark.parametrize("value", [0x00, 0x08, 0x40, 0xC0, 0xCE])
def test_the_fifos_are_off_without_bit_0_whatever_else_is_written(value: int) -> None:
    uart = Uart(TRIGGER_14)
    uart.write(FCR, value)
    assert uart.read(IIR) & 0xC0 == 0
    uart.receive(b"ab")
    assert uart.read(LSR) == IDLE | DR | OE
    assert uart.read(RBR) == ord("b")


@pytest.mark.parametrize("ier", [0, ETBEI])
def test_the_line_rises_after_resets_as_it_did_before(ier: int) -> None:
    uart = Uart(ier=ier)
    for _ in range(3):
        uart.machine.reset()
        assert not uart.irq
        uart.write(IER, ETBEI)
        assert uart.irq


def test_a_full_thr_is_saved_without_the_fifos() -> None:
    uart = Uart(capacity=1)
    uart.write(THR, *b"abc")
    twin = restored(uart)
    assert twin.read(LSR) == 0
    twin.machine.step(1)
    assert (twin.line.take(1), twin.read(LSR)) == (b"a", THRE)
    assert (twin.line.take(1), twin.read(LSR)) == (b"b", IDLE)
    assert twin.line.take(1) == b"c"


@pytest.mark.parametrize(("fcr", "lsr"), [(0, DR | BI | FE), (FIFOS, DR | BI | FE | FIFO_ERROR)])
def test_a_looped_break_is_saved_with_its_errors(fcr: int, lsr: int) -> None:
    uart = Uart(fcr)
    uart.write(MCR, LOOP)
    uart.write(LCR, EIGHT_BITS | BREAK)
    uart = restored(uart)
    assert uart.read(LSR) == IDLE | lsr
    assert (uart.read(LSR), uart.read(RBR)) == (IDLE | DR, 0)


def test_the_line_is_told_of_its_pins_when_they_change_and_not_before() -> None:
    uart = Uart()
    report = []
    for register, value in (
        (MCR, OUT1),
        (LCR, EIGHT_BITS | PEN),
        (MCR, DTR),
        (MCR, DTR | OUT1),
        (LCR, EIGHT_BITS | BREAK),
        (MCR, DTR),
        (LCR, BREAK),
        (MCR, DTR | RTS),
        (MCR, DTR | RTS | LOOP),  # in loopback no pin is active
        (LCR, 0),
        (MCR, LOOP),
    ):
        uart.write(register, value)
        report.append(dict(uart.line.shown))
        uart.line.shown.clear()
    assert report == [
        {},
        {},
        {"modem": (True, False), "break": False},
        {},
        {"modem": (True, False), "break": True},
        {},
        {},
        {"modem": (True, True), "break": True},
        {"modem": (False, False), "break": False},
        {},
        {},
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tsr": 0, "lsr": THRE, "mcr": LOOP, "msr": 0}, "tsr waits, but in loopback"),
        ({"tsr": 0, "lsr": THRE, "lcr": BREAK}, "tsr waits, but in loopback or during a break"),
        ({"xmit_fifo": b"a", "lsr": 0, "thr_ipending": False}, "recv_fifo has 0 bytes, xmit_fifo 1, but tsr is empty"),
        (
            {"recv_fifo": b"a", "recv_errors": b"\x01", "lsr": IDLE | DR | FIFO_ERROR},
            "recv_errors has bits other than PE",
        ),
        (
            {"xmit_fifo": b"a", "tsr": 0, "lsr": 0, "thr_ipending": True},
            "recv_fifo has 0 bytes, xmit_fifo 1, but thr_i",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_begins_with_what_is_wrong(changes: dict[str, object], message: str) -> None:
    uart = Uart(FIFOS)
    state = uart.device.save()
    with pytest.raises(StateError) as caught:
        uart.device.load(replace(state, **changes))  # type: ignore[arg-type] # a table of fields of several types
    assert str(caught.value).startswith(message)
    assert uart.device.save() == state
