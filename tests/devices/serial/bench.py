"""A machine with one 16550A and a line to test with, and the names of its registers and their bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from chkpt.device import LineError
from chkpt_devices.backends.char import Memory, MemoryConfig
from chkpt_devices.serial.chip import Serial
from tests.support.rig import rig, saved

TABLE = {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4}
RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7

DR, OE, PE, FE, BI, THRE, TEMT, FIFO_ERROR = (1 << bit for bit in range(8))
IDLE = THRE | TEMT
ERBFI, ETBEI, ELSI, EDSSI = 0x01, 0x02, 0x04, 0x08
FIFOS, TRIGGER_4, TRIGGER_14 = 0x01, 0x41, 0xC1
RECV_RESET, XMIT_RESET = 0x02, 0x04
EIGHT_BITS, STB, PEN, EPS, BREAK, DLAB = 0x03, 0x04, 0x08, 0x10, 0x40, 0x80
DTR, RTS, OUT1, OUT2, LOOP = 0x01, 0x02, 0x04, 0x08, 0x10
FOUR_CHARACTERS = 347_220  # of 10 bits at 115200 baud, each cut to a whole nanosecond


class Line(Memory):
    """A memory backend that also notes what the UART shows it."""

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__(MemoryConfig(capacity))
        self.shown: list[tuple[str, object]] = []

    def set_break(self, level: bool, /) -> None:
        self.shown.append(("break", level))

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        self.shown.append(("modem", (dtr, rts)))

    def take(self, count: int) -> bytes:
        """Make room as a peer that reads `count` bytes does."""
        taken = bytes(self.output[:count])
        del self.output[:count]
        self.poll()
        return taken


class Uart:
    """A machine with nothing but one 16550A, and by default a line; 115200 8N1."""

    def __init__(self, fcr: int = 0, ier: int = 0, capacity: int | None = None, *, line: Line | None = None) -> None:
        self.machine = rig(TABLE)
        self.device = cast("Serial", self.machine.devices.find("com1"))
        self.line = Line(capacity) if line is None else line
        self.machine.devices.connect_char("com1", self.line)
        self.set_line(EIGHT_BITS, 1)
        self.write(FCR, fcr)
        self.write(IER, ier)
        self.line.shown.clear()

    def read(self, register: int) -> int:
        return self.machine.ports.inb(0x3F8 + register)

    def write(self, register: int, *values: int) -> None:
        for value in values:
            self.machine.ports.outb(0x3F8 + register, value)

    def set_line(self, lcr: int, divisor: int) -> None:
        self.write(LCR, lcr | DLAB)
        self.write(DLL, divisor & 0xFF)
        self.write(DLM, divisor >> 8)
        self.write(LCR, lcr)

    def receive(self, data: bytes, errors: LineError = LineError(0)) -> None:  # noqa: B008 - an immutable flag
        self.device.receive(data, errors)

    def read_all(self) -> bytes:
        data = bytearray()
        while self.read(LSR) & DR:
            data.append(self.read(RBR))
        return bytes(data)

    @property
    def irq(self) -> bool:
        return self.machine.irq.level(4)

    @contextmanager
    def edges(self) -> Iterator[list[bool]]:
        """Note every change of the interrupt line."""
        seen: list[bool] = []
        stop = self.machine.irq.watch(lambda number, level: seen.append(level) if number == 4 else None)
        yield seen
        stop()


def restored(uart: Uart) -> Uart:
    """Save, load into a new machine, and go on with the same line."""
    checkpoint = saved(uart.machine)
    uart.machine.devices.disconnect_char("com1")
    twin = Uart(line=uart.line)
    twin.machine.load(checkpoint, strict=True)
    twin.line.shown.clear()
    return twin
