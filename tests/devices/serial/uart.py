"""The product's 16550A in a machine of its own, with the same handles as the model in `ns16550`."""

from typing import cast

from chkpt.device import LineError, ModemLine
from chkpt.snapshot import dumps, loads
from chkpt_devices.backends.char import Memory, MemoryConfig
from chkpt_devices.serial.chip import Serial
from tests.devices.serial.model import DLAB, DLL, DLM, LCR
from tests.support.rig import rig, saved

BASE, LINE = 0x3F8, 4
TABLE = {"type": "serial", "name": "com1", "port": BASE, "irq": LINE}


class Uart:
    """A machine with one 16550A. Its line holds `capacity` bytes, without end if None."""

    def __init__(self, capacity: int | None = None, line: Memory | None = None) -> None:
        self.machine = rig(TABLE)
        self.device = cast("Serial", self.machine.devices.find("com1"))
        self.line = Memory(MemoryConfig(capacity)) if line is None else line
        self.machine.devices.connect_char("com1", self.line)
        self.edges: list[bool] = []
        self.machine.irq.watch(lambda number, level: self.edges.append(level))

    def through_a_file(self) -> "Uart":
        """Return a new machine that goes on from this one's snapshot, on the same line."""
        snapshot = dumps(saved(self.machine))
        self.machine.devices.disconnect_char("com1")
        twin = Uart(line=self.line)
        twin.machine.load(loads(snapshot), strict=True)
        twin.edges.clear()
        return twin

    def read(self, register: int) -> int:
        return self.machine.ports.inb(BASE + register)

    def write(self, register: int, value: int) -> None:
        self.machine.ports.outb(BASE + register, value)

    def set_line(self, lcr: int, divisor: int) -> None:
        for register, value in ((LCR, lcr | DLAB), (DLL, divisor & 0xFF), (DLM, divisor >> 8), (LCR, lcr)):
            self.write(register, value)

    def receive(self, data: bytes, flags: int = 0) -> None:
        self.device.receive(data, LineError(flags))

    def take(self, count: int) -> bytes:
        taken = bytes(self.line.output[:count])
        del self.line.output[:count]
        self.line.poll()
        return taken

    def set_modem(self, pins: int) -> None:
        self.device.set_modem(ModemLine(pins))

    def step(self, nanoseconds: int) -> None:
        self.machine.step(nanoseconds)

    @property
    def irq(self) -> bool:
        return self.machine.irq.level(LINE)
