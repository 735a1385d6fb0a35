"""The 16550A against its datasheet: tables with the section of NS16550D (TL/C/8652, June 1995) in each row; a model.

`ns16550.Model` is a second chip written from the same pages. Where a table can say the answer outright it does; where
the combinations are too many for that, the model says it.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product

import pytest

from tests.devices.serial.model import (
    BI,
    BREAK,
    CTS,
    DCD,
    DEPTH,
    DR,
    DSR,
    EDSSI,
    ELSI,
    ERBFI,
    ETBEI,
    FCR,
    FE,
    FIFO_ERROR,
    FIFOS,
    IER,
    IIR,
    LCR,
    LEVELS,
    LOOP,
    LSR,
    MCR,
    MSR,
    OE,
    PE,
    RBR,
    RI,
    SCR,
    TEMT,
    THR,
    THRE,
    Model,
    four_characters,
)
from tests.devices.serial.uart import Uart

IDLE = THRE | TEMT
ERRORS = {"parity": PE, "framing": FE, "break": BI}
FOUR = 347_220
"""The time-out at 115200 baud, 8N1."""

# -- interrupt identification (DS 8.6, table IV) ----------------------------------------------------------------------

SOURCES = ("overrun", "parity", "framing", "break", "time-out", "data", "THR empty", "modem")
TABLE_IV = (  # by priority: the sources, the enable bit of DS 8.7, IIR bits 3 to 0
    ({"overrun", "parity", "framing", "break"}, ELSI, 0x6),
    ({"time-out"}, ERBFI, 0xC),
    ({"data"}, ERBFI, 0x4),
    ({"THR empty"}, ETBEI, 0x2),
    ({"modem"}, EDSSI, 0x0),
)
TRIGGER_8 = 0x81


def every_subset(fifos: bool) -> Iterator[frozenset[str]]:
    names = [name for name in SOURCES if fifos or name != "time-out"]
    return map(frozenset, chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


def provoke(uart: Uart | Model, sources: frozenset[str], ier: int, *, fifos: bool) -> None:
    """Bring exactly these sources about as a guest and its peers can; the line is blocked in the end."""
    uart.write(LCR, 0x03)
    uart.write(FCR, TRIGGER_8 if fifos else 0)
    uart.write(IER, ier & ETBEI)  # enabling asks for the THR-empty interrupt
    if "THR empty" not in sources:
        uart.read(IIR)  # which withdraws the interrupt
    flags = sum(bit for name, bit in ERRORS.items() if name in sources)
    if "overrun" in sources:
        uart.receive(bytes(DEPTH + 1 if fifos else 2))
        for _ in range(DEPTH if fifos else 1):
            uart.read(RBR)
    if flags or sources & {"data", "time-out"}:
        uart.receive(b"!", flags)
        if fifos and "data" in sources:
            uart.receive(b"1234567")
        if "time-out" in sources:
            uart.step(four_characters(0x03, 12))
        if not fifos and "data" not in sources:
            uart.read(RBR)  # the flags stay until LSR is read
    if "modem" in sources:
        uart.set_modem(DSR | DCD)
    uart.write(IER, ier)


@pytest.mark.parametrize("ier", range(16))
@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
def test_iir_names_the_highest_enabled_source_of_every_combination(ier: int, fifos: bool) -> None:
    uart = Uart()
    for sources in every_subset(fifos):
        uart.machine.reset()
        uart.set_modem(CTS | DSR | DCD)
        uart.read(MSR)
        provoke(uart, sources, ier, fifos=fifos)
        report = next((code for names, enable, code in TABLE_IV if names & sources and ier & enable), 0x1)
        assert uart.irq == (report != 0x1), sources
        assert uart.read(IIR) == report | (0xC0 if fifos else 0), sources


def write_thr(uart: Uart | Model) -> None:
    uart.write(THR, 0x55)


SERVICES: dict[str, Callable[[Uart | Model], object]] = {  # DS table IV, "Interrupt Reset Control"
    "read IIR": lambda uart: uart.read(IIR),
    "read LSR": lambda uart: uart.read(LSR),
    "read RBR": lambda uart: uart.read(RBR),
    "read MSR": lambda uart: uart.read(MSR),
    "write THR": write_thr,
}
RESETS = {  # what each takes back; "at trigger" and "one byte" differ in what RBR leaves
    "read IIR": {"THR empty"},  # only if IIR names it
    "read LSR": {"overrun", "parity", "framing", "break"},
    "read RBR": {"time-out", "data"},
    "read MSR": {"modem"},
    "write THR": {"THR empty"},
}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
def test_each_source_is_reset_by_its_own_access_and_by_no_other(service: str, fifos: bool) -> None:
    """With all enabled, the sources that are left after one access are those that the table does not give to it."""
    uart = Uart(capacity=0)
    uart.write(FCR, FIFOS)
    for sources in every_subset(fifos):
        uart.machine.reset()
        uart.set_modem(CTS | DSR | DCD)
        uart.read(MSR)
        provoke(uart, sources, 0x0F, fifos=fifos)
        if service == "write THR":
            uart.write(THR, 0)  # goes to the shift register, where the line leaves it
        before = next((code for names, _, code in TABLE_IV if names & sources), 0x1)
        SERVICES[service](uart)
        left = sources - RESETS[service]
        if service == "read IIR" and before != 0x2:
            left = sources
        if fifos and service == "read RBR":
            left -= set(ERRORS)  # they were the first byte's
        assert uart.read(IIR) & 0x0F == next((code for names, _, code in TABLE_IV if names & left), 0x1), sources


@pytest.mark.parametrize("ier", range(16))
@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
def test_serving_every_combination_to_its_end_answers_as_the_model_does(ier: int, fifos: bool) -> None:
    services = list(SERVICES.items())
    for number, sources in enumerate(every_subset(fifos)):
        uart, model = Uart(capacity=1), Model(capacity=1)
        provoke(uart, sources, ier, fifos=fifos)
        provoke(model, sources, ier, fifos=fifos)
        turn = number % len(services)
        for name, serve in (services[turn:] + services[:turn]) * 2:
            assert serve(uart) == serve(model), (sources, name)
            assert (uart.read(IIR), uart.irq) == (model.read(IIR), model.irq), (sources, name)


# -- error flags travel with their byte (DS 8.4) ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("count", [1, 2, 15, 16])
def test_a_flag_shows_when_its_byte_is_at_the_top_and_bit_7_as_long_as_it_waits(count: int, name: str) -> None:
    flag = ERRORS[name]
    for position in range(count):
        uart = Uart()
        uart.write(FCR, FIFOS)
        uart.write(IER, ELSI)
        for index in range(count):
            uart.receive(bytes([0x40 + index]), flag if index == position else 0)
        for index in range(count):
            waits = FIFO_ERROR if index <= position else 0
            top = index == position
            assert uart.irq == top, (position, index)
            assert uart.read(LSR) == IDLE | DR | waits | (flag if top else 0), (position, index)
            assert uart.read(LSR) == IDLE | DR | (waits if index < position else 0)  # the first read cleared them
            assert not uart.irq
            assert uart.read(RBR) == (0 if top and flag == BI else 0x40 + index)
        assert uart.read(LSR) == IDLE


@pytest.mark.parametrize(("first", "second"), list(combinations(range(16), 2)))
def test_bit_7_stays_until_the_last_flagged_byte_has_shown_its_flags(first: int, second: int) -> None:
    """DS 8.4: LSR7 is cleared by a read of LSR if there are no subsequent errors in the FIFO."""
    uart = Uart()
    uart.write(FCR, FIFOS)
    for index in range(16):
        uart.receive(b"x", {first: PE, second: FE}.get(index, 0))
    seen = []
    for _ in range(16):
        seen.append(uart.read(LSR) & ~(IDLE | DR))
        uart.read(RBR)
    assert seen == [
        (FIFO_ERROR if index <= second else 0) | {first: PE, second: FE}.get(index, 0) for index in range(16)
    ]


@dataclass(frozen=True)
class Received:
    """What arrives, and LSR (without THRE and TEMT) and RBR as they are read in turn."""

    section: str
    name: str
    fcr: int
    arrivals: tuple[tuple[bytes, int], ...]
    reads: tuple[tuple[int, int], ...]  # register, value


OVERRUNS = (
    Received("8.4 OE", "16450: the new byte replaces the old", 0, ((b"ab", 0),),
             ((LSR, DR | OE), (LSR, DR), (RBR, 0x62), (LSR, 0))),
    Received("8.4 OE", "16450: reported once for many", 0, ((b"abcd", 0),), ((LSR, DR | OE), (RBR, 0x64), (LSR, 0))),
    Received("8.4 OE", "16450: RBR does not clear it", 0, ((b"ab", 0),), ((RBR, 0x62), (LSR, OE), (LSR, 0))),
    Received("8.4 OE", "16450: the flags of both bytes", 0, ((b"a", PE), (b"b", FE)),
             ((LSR, DR | OE | PE | FE), (RBR, 0x62), (LSR, 0))),
    Received("8.4 OE", "fifos: none at 16 bytes", FIFOS, ((bytes(16), 0),), ((LSR, DR),)),
    Received("8.4 OE", "fifos: none beyond the trigger level", 0x41, ((bytes(15), 0),), ((LSR, DR),)),
    Received("8.4 OE", "fifos: byte 17 is lost", FIFOS, ((bytes(range(17)), 0),),
             ((LSR, DR | OE), (LSR, DR), *((RBR, n) for n in range(16)), (LSR, 0))),
    Received("8.4 OE", "fifos: set at once, not at the top", FIFOS, ((bytes(16), 0), (b"x", 0)), ((LSR, DR | OE),)),
    Received("8.4 OE", "fifos: RBR does not clear it", FIFOS, ((bytes(17), 0),), ((RBR, 0), (LSR, DR | OE))),
    Received("8.4 OE", "fifos: the lost byte's flags are lost", FIFOS, ((bytes(16), 0), (b"x", PE)),
             ((LSR, DR | OE),)),
    Received("8.4 OE", "fifos: a lost break is lost", FIFOS, ((bytes(16), 0), (b"x", BI)), ((LSR, DR | OE),)),
    Received("8.4 BI", "a break is one character of zeros", FIFOS, ((b"\xff", BI | FE),),
             ((LSR, DR | BI | FE | FIFO_ERROR), (RBR, 0), (LSR, 0))),
    Received("8.4 BI", "16450: likewise, and bit 7 is 0", 0, ((b"\xff", BI | FE),),
             ((LSR, DR | BI | FE), (RBR, 0), (LSR, 0))),
)  # fmt: skip


@pytest.mark.parametrize("case", OVERRUNS, ids=lambda case: f"{case.section}: {case.name}")
def test_overrun_and_break(case: Received) -> None:
    uart = Uart()
    uart.write(FCR, case.fcr)
    for data, flags in case.arrivals:
        uart.receive(data, flags)
    for number, (register, value) in enumerate(case.reads):
        seen = uart.read(register)
        assert (seen & ~IDLE if register == LSR else seen) == value, number


# -- the time-out (DS 8.11) -------------------------------------------------------------------------------------------

DIVISORS = (1, 2, 3, 12, 96, 384, 1047, 0x0900, 0xFFFF)


@pytest.mark.parametrize("lcr", range(0x40))
def test_the_time_out_comes_to_the_nanosecond_for_every_frame_and_divisor(lcr: int) -> None:
    """LCR bits 0 to 5 are word length, stop bits and parity; even or stick parity is as long as odd."""
    data, parity = 5 + (lcr & 3), lcr >> 3 & 1
    half_bits = 2 + 2 * data + 2 * parity + (2 if not lcr & 4 else 3 if data == 5 else 4)
    uart = Uart()
    for divisor in DIVISORS:
        uart.machine.reset()
        uart.set_line(lcr, divisor)
        uart.write(FCR, 0xC1)
        uart.write(IER, ERBFI)
        uart.receive(b"a")
        character = half_bits * 8 * divisor * 1_000_000_000 // 1_843_200
        uart.step(4 * character - 1)
        assert (uart.irq, uart.read(IIR)) == (False, 0xC1), divisor
        uart.step(1)
        assert (uart.irq, uart.read(IIR)) == (True, 0xCC), divisor


def test_the_longest_time_out_is_160_ms_at_300_baud() -> None:
    """DS 8.11 names the case: 8 data bits, parity, 2 stop bits, in all 12 bits."""
    assert four_characters(0x0F, 384) == 160_000_000


@dataclass(frozen=True)
class TimeOut:
    """Accesses and waits, then whether the time-out is pending."""

    section: str
    name: str
    steps: tuple[tuple[str, int], ...]  # arrive n bytes, read n bytes, wait ns, write FCR, IER
    pending: bool


TIME_OUTS = (
    TimeOut("8.11 A", "no character, none", (("wait", 9 * FOUR),), False),
    TimeOut("8.11 A", "one character is enough", (("arrive", 1), ("wait", FOUR)), True),
    TimeOut("8.11 A", "just before", (("arrive", 1), ("wait", FOUR - 1)), False),
    TimeOut("8.11 A", "full FIFO", (("arrive", 16), ("wait", FOUR)), True),
    TimeOut("8.11 D", "a new character starts it anew",
            (("arrive", 1), ("wait", FOUR - 1), ("arrive", 1), ("wait", FOUR - 1)), False),
    TimeOut("8.11 D", "four times from the new character",
            (("arrive", 1), ("wait", FOUR - 1), ("arrive", 1), ("wait", FOUR)), True),
    TimeOut("8.11 D", "a lost character starts it anew",
            (("arrive", 16), ("wait", FOUR - 1), ("arrive", 1), ("wait", FOUR - 1)), False),
    TimeOut("8.11 D", "a read starts it anew",
            (("arrive", 2), ("wait", FOUR - 1), ("read", 1), ("wait", FOUR - 1)), False),
    TimeOut("8.11 D", "four times from the read",
            (("arrive", 2), ("wait", FOUR - 1), ("read", 1), ("wait", FOUR)), True),
    TimeOut("8.11 A", "the last character read, none",
            (("arrive", 2), ("read", 2), ("wait", 9 * FOUR)), False),
    TimeOut("8.11 C", "a read clears it", (("arrive", 2), ("wait", FOUR), ("read", 1)), False),
    TimeOut("8.11 C", "and it comes again", (("arrive", 2), ("wait", FOUR), ("read", 1), ("wait", FOUR)), True),
    TimeOut("8.11 C", "an arrival does not clear it", (("arrive", 1), ("wait", FOUR), ("arrive", 1)), True),
    TimeOut("8.11 C", "reading all clears it", (("arrive", 2), ("wait", FOUR), ("read", 2), ("wait", FOUR)), False),
    TimeOut("8.5 FCR1", "a reset clears it", (("arrive", 1), ("wait", FOUR), ("fcr", 0xC3)), False),
    TimeOut("8.5 FCR1", "a reset stops it", (("arrive", 1), ("fcr", 0xC3), ("wait", 9 * FOUR)), False),
    TimeOut("8.5 FCR2", "a reset of the other FIFO does not", (("arrive", 1), ("fcr", 0xC5), ("wait", FOUR)), True),
    TimeOut("8.5 FCR0", "FIFOs off and on clear it",
            (("arrive", 1), ("wait", FOUR), ("fcr", 0), ("fcr", 0xC1)), False),
    TimeOut("8.5 FCR0", "FIFOs off and on stop it",
            (("arrive", 1), ("fcr", 0), ("fcr", 0xC1), ("wait", 9 * FOUR)), False),
    TimeOut("8.5 FCR6", "another trigger level does not touch it",
            (("arrive", 1), ("fcr", 0x81), ("wait", FOUR)), True),
    TimeOut("8.7 IER0", "disabled it runs on", (("ier", 0), ("arrive", 1), ("wait", FOUR), ("ier", ERBFI)), True),
    TimeOut("8.11 A", "it needs the FIFOs", (("fcr", 0), ("arrive", 1), ("wait", 9 * FOUR)), False),
)  # fmt: skip


@pytest.mark.parametrize("case", TIME_OUTS, ids=lambda case: f"{case.section}: {case.name}")
def test_the_time_out(case: TimeOut) -> None:
    uart = Uart()
    uart.set_line(0x03, 1)
    uart.write(FCR, 0xC1)
    uart.write(IER, ERBFI)
    for what, value in case.steps:
        match what:
            case "arrive":
                uart.receive(bytes(value))
            case "read":
                for _ in range(value):
                    uart.read(RBR)
            case "wait":
                uart.step(value)
            case "fcr":
                uart.write(FCR, value)
            case _:
                uart.write(IER, value)
    assert (uart.read(IIR) & 0x0F == 0x0C) == case.pending


# -- trigger levels, FIFO reset and toggle (DS 8.5) -------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "level"), LEVELS.items())
@pytest.mark.parametrize("count", range(17))
def test_data_interrupts_from_the_trigger_level_on_and_no_longer_below(bits: int, level: int, count: int) -> None:
    uart = Uart()
    uart.write(FCR, bits | FIFOS)
    uart.write(IER, ERBFI)
    uart.receive(bytes(count))
    for left in range(count, -1, -1):
        assert (uart.irq, uart.read(IIR)) == ((True, 0xC4) if left >= level else (False, 0xC1)), left
        uart.read(RBR)


@dataclass(frozen=True)
class Fcr:
    """FCR before, what waits in both directions, FCR written; what is left of each and whether THR-empty is pending."""

    section: str
    name: str
    before: int
    written: int
    received: int  # bytes left to read
    sent: int  # bytes that the line still gets, of the one in the shift register and two behind it
    pending: bool


FCRS = (
    Fcr("8.5 FCR0", "enable again: nothing", 0x01, 0x01, 3, 3, pending=False),
    Fcr("8.5 FCR1", "receive reset", 0x01, 0x03, 0, 3, pending=False),
    Fcr("8.5 FCR2", "transmit reset: not the shift register", 0x01, 0x05, 3, 1, pending=True),
    Fcr("8.5 FCR1, 2", "both", 0x01, 0x07, 0, 1, pending=True),
    Fcr("8.5 FCR0", "off clears both", 0x01, 0x00, 0, 1, pending=True),
    Fcr("8.5 FCR0", "off with reset bits", 0x01, 0x06, 0, 1, pending=True),
    Fcr("8.5 FCR6, 7", "a new level clears nothing", 0x01, 0xC1, 3, 3, pending=False),
    Fcr("8.5 FCR3", "the DMA mode clears nothing", 0x01, 0x09, 3, 3, pending=False),
    Fcr("8.5 FCR0", "on clears RBR and THR", 0x00, 0x01, 0, 1, pending=True),
    Fcr("8.5 FCR0", "without bit 0 the resets do not count", 0x00, 0x06, 1, 2, pending=False),
    Fcr("8.5 FCR0", "without bit 0 the level does not count", 0x00, 0xC0, 1, 2, pending=False),
)


@pytest.mark.parametrize("case", FCRS, ids=lambda case: f"{case.section}: {case.name}")
def test_what_a_write_of_fcr_clears(case: Fcr) -> None:
    uart = Uart(capacity=0)
    uart.write(FCR, case.before)
    uart.write(IER, ETBEI)
    for byte in b"abc" if case.before else b"ab":
        uart.write(THR, byte)
    uart.receive(b"123" if case.before else b"1")
    uart.write(FCR, case.written)
    assert (uart.read(IIR) & 0x0F == 0x02) == case.pending
    assert bool(uart.read(LSR) & THRE) == case.pending
    received = 0
    while uart.read(LSR) & DR:
        uart.read(RBR)
        received += 1
    assert received == case.received
    uart.line._capacity = 100
    uart.line.poll()
    assert uart.line.output == b"abc"[: case.sent]
    assert uart.read(LSR) == IDLE


# -- the THR-empty interrupt (DS 8.6, 8.7, 8.11; as recorded) ---------------------------------------------------------


@dataclass(frozen=True)
class ThrEmpty:
    """Writes, "read" of a register and bytes the line takes, on a line that is blocked; then pending or not."""

    section: str
    name: str
    steps: tuple[tuple[str, int], ...]
    pending: bool


THR_EMPTY = (
    ThrEmpty("table I", "none after reset", (), False),
    ThrEmpty("8.7 IER1", "enabling reports an empty THR", (("ier", ETBEI),), True),
    ThrEmpty("8.7 IER1", "again after off and on", (("ier", ETBEI), ("read", IIR), ("ier", 0), ("ier", ETBEI)), True),
    ThrEmpty("8.7 IER1", "a write that leaves bit 1 does not", (("ier", 2), ("read", IIR), ("ier", 7)), False),
    ThrEmpty("table IV", "IIR takes it back", (("ier", ETBEI), ("read", IIR)), False),
    ThrEmpty("table IV", "LSR does not", (("ier", ETBEI), ("read", LSR)), True),
    ThrEmpty("table IV", "RBR does not", (("ier", ETBEI), ("read", RBR)), True),
    ThrEmpty("table IV", "MSR does not", (("ier", ETBEI), ("read", MSR)), True),
    ThrEmpty("8.4 THRE", "THR to the shift register", (("ier", 2), ("read", IIR), ("thr", 1)), True),
    ThrEmpty("table IV", "a write of THR takes it back", (("ier", ETBEI), ("thr", 1), ("thr", 2)), False),
    ThrEmpty("8.4 THRE", "when the line takes one", (("ier", 2), ("thr", 1), ("thr", 2), ("take", 1)), True),
    ThrEmpty("8.7 IER1", "enabling with a full THR reports nothing", (("thr", 1), ("thr", 2), ("ier", 2)), False),
    ThrEmpty("8.4 THRE", "but its emptying does", (("thr", 1), ("thr", 2), ("ier", 2), ("take", 1)), True),
    ThrEmpty("8.11 A", "FIFO: only when it is empty",
             (("fcr", 1), ("ier", 2), ("thr", 1), ("thr", 2), ("thr", 3), ("take", 1)), False),
    ThrEmpty("8.11 A", "FIFO: when it is empty",
             (("fcr", 1), ("ier", 2), ("thr", 1), ("thr", 2), ("thr", 3), ("take", 2)), True),
    ThrEmpty("8.5 FCR2", "a reset empties it", (("fcr", 1), ("ier", 2), ("thr", 1), ("thr", 2), ("fcr", 5)), True),
    ThrEmpty("8.5 FCR2", "of an empty one too", (("fcr", 1), ("ier", 2), ("read", IIR), ("fcr", 5)), True),
    ThrEmpty("8.5 FCR1", "the other reset does not", (("fcr", 1), ("ier", 2), ("read", IIR), ("fcr", 3)), False),
    ThrEmpty("8.11", "the first after FCR0 changes is immediate", (("ier", 2), ("read", IIR), ("fcr", 1)), True),
    ThrEmpty("8.11", "likewise off", (("fcr", 1), ("ier", 2), ("read", IIR), ("fcr", 0)), True),
    ThrEmpty("8.8", "in loopback what is sent leaves", (("ier", 2), ("read", IIR), ("mcr", LOOP), ("thr", 1)), True),
    ThrEmpty("8.1 LCR6", "and during a break", (("ier", 2), ("read", IIR), ("lcr", BREAK), ("thr", 1)), True),
    ThrEmpty("8.1 LCR6", "a break empties a blocked THR", (("ier", 2), ("thr", 1), ("thr", 2), ("lcr", BREAK)), True),
    ThrEmpty("8.8", "so does loopback", (("ier", 2), ("thr", 1), ("thr", 2), ("mcr", LOOP)), True),
)  # fmt: skip


@pytest.mark.parametrize("case", THR_EMPTY, ids=lambda case: f"{case.section}: {case.name}")
def test_when_the_thr_empty_interrupt_is_pending(case: ThrEmpty) -> None:
    registers = {"thr": THR, "ier": IER, "fcr": FCR, "lcr": LCR, "mcr": MCR}
    uart = Uart(capacity=1)
    uart.line.output += b"x"  # the line is full
    for what, value in case.steps:
        if what == "read":
            uart.read(value)
        elif what == "take":
            for _ in range(value):
                uart.take(1)
        else:
            uart.write(registers[what], value)
    uart.read(LSR)
    uart.read(RBR)
    assert (uart.read(IIR) & 0x0F == 0x02) == case.pending


def test_a_thr_write_shows_a_low_pulse_on_the_line() -> None:
    """Table IV: the write resets the interrupt, and THR is empty again at once."""
    for fcr in (0, FIFOS):
        uart = Uart()
        uart.write(FCR, fcr)
        uart.write(IER, ETBEI)
        uart.edges.clear()
        uart.write(THR, 0x55)
        assert uart.edges == [False, True]


# -- loopback and the modem (DS 8.8, 8.9) -----------------------------------------------------------------------------


def looped(mcr: int) -> int:
    """DS 8.8: CTS is RTS, DSR is DTR, RI is OUT 1, DCD is OUT 2."""
    return (CTS if mcr & 2 else 0) | (DSR if mcr & 1 else 0) | (RI if mcr & 4 else 0) | (DCD if mcr & 8 else 0)


def deltas(before: int, after: int) -> int:
    """DS 8.9: a changed line sets its delta; of RI only the end (the pin, which is active low, goes high)."""
    changed = before ^ after
    return (
        (0x01 if changed & CTS else 0)
        | (0x02 if changed & DSR else 0)
        | (0x04 if before & RI and not after & RI else 0)
        | (0x08 if changed & DCD else 0)
    )


@pytest.mark.parametrize("before", range(16))
def test_in_loopback_every_change_of_mcr_shows_in_msr(before: int) -> None:
    for after in range(16):
        uart = Uart()
        uart.write(IER, EDSSI)
        uart.write(MCR, LOOP | before)
        assert uart.read(MSR) == looped(before) | deltas(CTS | DSR | DCD, looped(before))
        uart.write(MCR, LOOP | after)
        report = deltas(looped(before), looped(after))
        assert uart.irq == (report != 0)
        assert uart.read(MSR) == looped(after) | report
        assert (uart.irq, uart.read(MSR)) == (False, looped(after))


@pytest.mark.parametrize("mcr", range(16))
def test_leaving_loopback_shows_the_pins_again(mcr: int) -> None:
    for pins in range(0, 0x100, 0x10):
        uart = Uart()
        uart.write(MCR, LOOP | mcr)
        uart.set_modem(pins)  # not seen
        assert uart.read(MSR) & 0xF0 == looped(mcr)
        uart.write(MCR, mcr)
        assert uart.read(MSR) == pins | deltas(looped(mcr), pins)


@pytest.mark.parametrize("before", range(0, 0x100, 0x10))
def test_every_change_of_the_pins_shows_in_msr(before: int) -> None:
    for after in range(0, 0x100, 0x10):
        uart = Uart()
        uart.set_modem(before)
        uart.read(MSR)
        uart.write(IER, EDSSI)
        uart.set_modem(after)
        report = deltas(before, after)
        assert uart.irq == (report != 0)
        assert (uart.read(MSR), uart.irq, uart.read(MSR)) == (after | report, False, after)


@pytest.mark.parametrize(
    ("levels", "teri"), [((0, RI), 0), ((RI, 0), 4), ((0, RI, 0), 4), ((RI, 0, RI), 4), ((RI, RI), 0), ((0, 0), 0)]
)
def test_teri_is_set_by_the_trailing_edge_only_and_stays(levels: tuple[int, ...], teri: int) -> None:
    """DS 8.9, bit 2."""
    uart = Uart()
    uart.set_modem(levels[0])
    uart.read(MSR)
    for level in levels[1:]:
        uart.set_modem(level)
    assert uart.read(MSR) == levels[-1] | teri


@pytest.mark.parametrize("word", range(4))
@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
def test_loopback_brings_every_character_back_cut_to_its_word(word: int, fifos: bool) -> None:
    """DS 8.8: what is transmitted is immediately received; DS 8.1: bits 0 and 1 are the word's length."""
    uart = Uart()
    uart.write(LCR, word)
    uart.write(FCR, FIFOS if fifos else 0)
    uart.write(MCR, LOOP)
    for byte in range(256):
        uart.write(THR, byte)
        assert (uart.read(LSR), uart.read(RBR)) == (IDLE | DR, byte & (0x1F, 0x3F, 0x7F, 0xFF)[word])
    assert uart.line.output == b""


BREAK_FLAGS = {  # DS 8.4 by DS 8.1's parity: a break is all zeros, so parity that wants a one is wrong
    0x00: BI | FE,  # none
    0x08: BI | FE | PE,  # odd
    0x18: BI | FE,  # even
    0x28: BI | FE | PE,  # stick, a one
    0x38: BI | FE,  # stick, a zero
    0x20: BI | FE,  # without PEN the other bits say nothing
    0x10: BI | FE,
}


@pytest.mark.parametrize(("parity", "flags"), BREAK_FLAGS.items())
@pytest.mark.parametrize("word", range(4))
@pytest.mark.parametrize("way", ["break in loopback", "loopback in break"])
def test_a_break_in_loopback_is_one_character(parity: int, flags: int, word: int, way: str) -> None:
    uart = Uart()
    uart.write(FCR, FIFOS)
    uart.write(LCR, parity | word)
    registers = ((MCR, LOOP), (LCR, parity | word | BREAK))
    for register, value in registers if way == "break in loopback" else reversed(registers):
        uart.write(register, value)
    assert uart.read(LSR) == IDLE | DR | FIFO_ERROR | flags
    assert (uart.read(RBR), uart.read(LSR)) == (0, IDLE)


def test_the_time_out_of_a_break_in_loopback_follows_the_lcr_that_begins_it() -> None:
    """DS 8.11 B: a character's time is that of LCR's frame, which the same write may change."""
    uart = Uart()
    uart.set_line(0x03, 1)
    uart.write(FCR, 0xC1)
    uart.write(IER, ERBFI)
    uart.write(MCR, LOOP)
    uart.write(LCR, 0x07 | BREAK)  # a second stop bit: 11 bits in place of 10
    uart.step(four_characters(0x07, 1) - 1)
    assert uart.read(IIR) == 0xC1
    uart.step(1)
    assert uart.read(IIR) == 0xCC


# -- back-pressure (DS 8.4 THRE and TEMT) -----------------------------------------------------------------------------


@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
@pytest.mark.parametrize("room", range(4))
def test_lsr_says_what_waits_for_a_line_that_takes_a_few_bytes(room: int, fifos: bool) -> None:
    """The line takes `room` bytes; the next waits in the shift register, those after it in THR or FIFO."""
    uart = Uart(capacity=room)
    uart.write(FCR, FIFOS if fifos else 0)
    fits = room + 1 + (DEPTH if fifos else 1)
    for sent in range(1, fits + 1):
        uart.write(THR, sent)
        waiting = max(0, sent - room)
        assert uart.read(LSR) == (IDLE if not waiting else THRE if waiting == 1 else 0), sent
        assert uart.line.output == bytes(range(1, min(sent, room) + 1))
    got = bytearray()
    while room and len(got) < fits:
        got += uart.take(1)
        waiting = max(0, fits - room - len(got))
        assert uart.read(LSR) == (IDLE if not waiting else THRE if waiting == 1 else 0), got
    if room:
        assert got == bytes(range(1, fits + 1))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fifos", [False, True], ids=["16450", "fifos"])
def test_a_driver_that_heeds_the_interrupt_loses_nothing_whatever_the_line_takes(seed: int, fifos: bool) -> None:
    """DS 8.11: up to 16 characters may be written at each THR-empty interrupt, without FIFOs one (DS 8.4)."""
    choose, uart = random.Random(seed), Uart(capacity=2)
    uart.write(FCR, FIFOS if fifos else 0)
    uart.write(IER, ETBEI)
    message = bytes(range(200))
    sent, got = 0, bytearray()
    while len(got) < len(message):
        if uart.irq and sent < len(message):
            assert uart.read(IIR) & 0x0F == 0x02
            for byte in message[sent : sent + (16 if fifos else 1)]:
                uart.write(THR, byte)
            sent += 16 if fifos else 1
        got += uart.take(choose.randrange(6))
    assert got == message


# -- anything, against the model --------------------------------------------------------------------------------------


def random_steps(seed: int, length: int) -> Iterator[tuple[str, int, int]]:
    """Yield steps: mostly sensible ones, some noise."""
    choose = random.Random(seed)
    for _ in range(length):
        kind = choose.choices(
            ("read", "noise", "fcr", "lcr", "mcr", "ier", "thr", "receive", "step", "modem", "take"),
            (12, 2, 2, 1, 2, 2, 6, 5, 4, 2, 4),
        )[0]
        match kind:
            case "read":
                yield "read", choose.choice([RBR, RBR, IIR, LSR, LSR, MSR, IER, LCR, MCR, SCR]), 0
            case "noise":
                yield "write", choose.randrange(8), choose.randrange(256)
            case "fcr":
                yield "write", FCR, choose.choice([0, 1, 1, 0x41, 0x81, 0xC1, 3, 5, 7, 6, 0xC0])
            case "lcr":
                yield "write", LCR, choose.choice([3, 3, 3, 0x43, 0x4B, 0x1F, 0x00, 0x83])
            case "mcr":
                yield "write", MCR, choose.choice([0, 0x0B, choose.randrange(32)])
            case "ier":
                yield "write", IER, choose.randrange(16)
            case "thr":
                yield "write", THR, choose.randrange(256)
            case "receive":
                yield "receive", choose.choice([1, 1, 1, 2, 5, 17]), choose.choice([0, 0, 0, PE, FE, BI, BI | FE])
            case "step":
                yield "step", choose.choice([1, 1000, FOUR - 1, FOUR, 4_166_663, 4_166_664]), 0
            case "modem":
                yield "modem", choose.randrange(16) << 4, 0
            case _:
                yield "take", choose.randrange(8), 0


def do(uart: Uart | Model, step: tuple[str, int, int]) -> object:
    kind, which, value = step
    match kind:
        case "read":
            return uart.read(which)
        case "write":
            uart.write(which, value)
        case "receive":
            uart.receive(bytes(range(0x80, 0x80 + which)), value)
        case "step":
            uart.step(which)
        case "modem":
            uart.set_modem(which)
        case _:
            return uart.take(which)
    return None


def agree(seed: int, length: int, *, cut: bool = False) -> None:
    capacity = (None, 0, 1, 3, 20)[seed % 5]
    uart, model = Uart(capacity), Model(capacity)
    for number, step in enumerate(random_steps(seed, length)):
        where = f"seed {seed}, step {number}: {step}"
        if cut:
            uart = uart.through_a_file()
            uart.step(0)
        assert do(uart, step) == do(model, step), where
        assert uart.irq == model.irq, where
        assert uart.line.output == model.output, where


@pytest.mark.parametrize("seed", range(50))
def test_a_random_conversation_answers_as_the_model_does(seed: int) -> None:
    agree(seed, 1000)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_conversation_answers_as_the_model_does_when_cut_before_every_step(seed: int) -> None:
    agree(seed, 200, cut=True)


@pytest.mark.long
def test_many_random_conversations_answer_as_the_model_does() -> None:
    for seed in range(1000, 3000):
        agree(seed, 2000)


def test_the_conversations_reach_every_identification_flag_and_mode() -> None:
    """A comparison proves nothing of what it does not reach."""
    seen: set[tuple[str, int]] = set()
    for seed in range(50):
        model = Model((None, 0, 1, 3, 20)[seed % 5])
        for step in random_steps(seed, 1000):
            do(model, step)
            lsr = model.lsr()
            seen.add(("iir", model.iir()))
            seen |= {("lsr", bit) for bit in (DR, OE, PE, FE, BI, THRE, TEMT, FIFO_ERROR) if lsr & bit}
            seen |= {("empty", bit) for bit in (THRE, TEMT) if not lsr & bit}
            seen |= {("delta", bit) for bit in (1, 2, 4, 8) if model.deltas & bit}
    wanted = {("iir", code | fifos) for code, fifos in product((0x0, 0x1, 0x2, 0x4, 0x6), (0, 0xC0))} | {("iir", 0xCC)}
    wanted |= {("lsr", 1 << bit) for bit in range(8)} | {("empty", THRE), ("empty", TEMT)}
    assert seen == wanted | {("delta", bit) for bit in (1, 2, 4, 8)}
