"""A second 16550A, written from the datasheet with nothing of the product's in it, to hold the product against.

Source: NS16550D (TL/C/8652, June 1995), cited as DS. It keeps what the chip is made of (characters with their flags, a
shift register, deltas, a deadline) and works out every register from that when it is read. Characters cost no time to
move, as in the product; where DS is silent the recorded QEMU decides (`docs/DEVICES.md`).
"""

from fractions import Fraction
from typing import Final

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7

ERBFI, ETBEI, ELSI, EDSSI = 0x01, 0x02, 0x04, 0x08
DR, OE, PE, FE, BI, THRE, TEMT, FIFO_ERROR = (1 << bit for bit in range(8))
DLAB, BREAK, LOOP = 0x80, 0x40, 0x10
FIFOS, RECV_RESET, XMIT_RESET = 0x01, 0x02, 0x04
CTS, DSR, RI, DCD = 0x10, 0x20, 0x40, 0x80

LEVELS: Final = {0x00: 1, 0x40: 4, 0x80: 8, 0xC0: 14}
"""DS 8.5: bytes at which the receive FIFO interrupts, by FCR bits 7 and 6."""

DEPTH: Final = 16
"""DS 1.0: bytes in each FIFO."""


def four_characters(lcr: int, divisor: int) -> int:
    """Return the time-out of DS 8.11 in ns: four characters of a start bit, data, parity and stop bits (DS 8.1).

    The baud clock is the crystal's 1.8432 MHz over 16 times the divisor (DS 8.3). As recorded, each character is cut
    to a whole nanosecond.
    """
    data = {0: 5, 1: 6, 2: 7, 3: 8}[lcr & 3]
    stop = Fraction(1) if not lcr & 4 else Fraction(3, 2) if data == 5 else Fraction(2)
    bits = 1 + data + (1 if lcr & 8 else 0) + stop
    return 4 * int(bits * 16 * (divisor or 1 << 16) * 1_000_000_000 / 1_843_200)


class Model:
    """The chip, its line and its modem's pins. `capacity` is how many bytes the line holds until they are taken."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.output = bytearray()
        self.now = 0
        self.pins = CTS | DSR | DCD
        self.reset()

    def reset(self) -> None:
        """DS table I. The divisor and the pins are not the chip's to reset; the product starts with 9600 baud."""
        self.divisor = 12
        self.ier = self.fcr = self.lcr = self.mcr = self.scr = 0
        self.fifo: list[tuple[int, int]] = []  # received characters with their PE, FE and BI
        self.held, self.full, self.flags = 0, False, 0  # the same without FIFOs: RBR
        self.overrun = False
        self.deadline: int | None = None
        self.timed_out = False
        self.shift: int | None = None
        self.queue: list[int] = []  # THR, or the transmit FIFO
        self.thr_told = False  # THR-empty is pending
        self.deltas = 0
        self.shown = self.pins  # what MSR bits 7 to 4 were last

    @property
    def fifos(self) -> bool:
        return bool(self.fcr & FIFOS)

    # -- registers that follow from the rest --------------------------------------------------------------------------

    def lsr(self) -> int:
        """DS 8.4, bit by bit."""
        if self.fifos:
            ready, flags = bool(self.fifo), self.fifo[0][1] if self.fifo else 0
        else:
            ready, flags = self.full, self.flags
        value = flags | (DR if ready else 0) | (OE if self.overrun else 0)
        if not self.queue:
            value |= THRE if self.shift is not None else THRE | TEMT
        return value | (FIFO_ERROR if any(errors for _, errors in self.fifo) else 0)

    def iir(self) -> int:
        """DS table IV, from the highest priority to the lowest; the time-out is named before data."""
        at_level = len(self.fifo) >= LEVELS[self.fcr & 0xC0] if self.fifos else self.full
        sources = (
            (ELSI, bool(self.lsr() & (OE | PE | FE | BI)), 0x06),
            (ERBFI, self.timed_out, 0x0C),
            (ERBFI, at_level, 0x04),
            (ETBEI, self.thr_told, 0x02),
            (EDSSI, bool(self.deltas), 0x00),
        )
        which = next((code for enable, pending, code in sources if pending and self.ier & enable), 0x01)
        return which | (0xC0 if self.fifos else 0x00)

    @property
    def irq(self) -> bool:
        return not self.iir() & 1

    # -- the processor's side -----------------------------------------------------------------------------------------

    def read(self, register: int) -> int:
        if self.lcr & DLAB and register in {DLL, DLM}:
            return self.divisor >> 8 * register & 0xFF
        match register:
            case 0:
                return self._read_rbr()
            case 2:
                value = self.iir()
                if value & 0x0F == 0x02:  # table IV: reading IIR resets THR-empty if that is its answer
                    self.thr_told = False
                return value
            case 5:
                value = self.lsr()
                self.overrun, self.flags = False, 0
                if self.fifo:
                    self.fifo[0] = (self.fifo[0][0], 0)
                return value
            case 6:
                value, self.deltas = self.shown | self.deltas, 0
                return value
            case _:
                return {1: self.ier, 3: self.lcr, 4: self.mcr, 7: self.scr}[register]

    def _read_rbr(self) -> int:
        if not self.fifos:
            self.full = False
            return self.held
        if not self.fifo:
            return 0
        byte, _ = self.fifo.pop(0)
        self.timed_out = False  # DS 8.11 C and D
        self.deadline = self.now + four_characters(self.lcr, self.divisor) if self.fifo else None
        return byte

    def write(self, register: int, value: int) -> None:
        if self.lcr & DLAB and register in {DLL, DLM}:
            kept = 0x00FF if register == DLM else 0xFF00
            self.divisor = self.divisor & kept | value << 8 * register
            return
        match register:
            case 0:
                self.thr_told = False
                if len(self.queue) == (DEPTH if self.fifos else 1):
                    del self.queue[0]
                self.queue.append(value)
                self._send()
            case 1:
                changed, self.ier = (self.ier ^ value) & ETBEI, value & 0x0F
                if changed:
                    self.thr_told = bool(self.ier & ETBEI) and not self.queue
            case 2:
                self._write_fcr(value)
            case 3 | 4:
                self._rewire(value if register == LCR else self.lcr, value & 0x1F if register == MCR else self.mcr)
            case 7:
                self.scr = value
            case _:
                pass

    def _write_fcr(self, value: int) -> None:
        """DS 8.5: bit 0 must be 1 for the others to count, and its change clears both FIFOs."""
        toggled = bool(value & FIFOS) != self.fifos
        if not value & FIFOS and not toggled:
            return
        if toggled or value & RECV_RESET:
            self.fifo.clear()
            self.full, self.flags = False, 0
            self.deadline, self.timed_out = None, False
        if toggled or value & XMIT_RESET:
            self.queue.clear()
            self.thr_told = True
        self.fcr = value & 0xC9 if value & FIFOS else 0

    def _rewire(self, lcr: int, mcr: int) -> None:
        """DS 8.1 and 8.8: in loopback SOUT is SIN's source, and a break on it is received."""
        was_broken = self.lcr & BREAK and self.mcr & LOOP
        self.lcr, self.mcr = lcr, mcr
        if lcr & BREAK and mcr & LOOP and not was_broken:
            parity_wanted_a_one = lcr & 0x08 and not lcr & 0x10
            self._arrive(0, BI | FE | (PE if parity_wanted_a_one else 0))
        self._send()
        self._see_modem()

    # -- the line's side ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, flags: int = 0) -> None:
        if not self.mcr & LOOP:
            for byte in data:
                self._arrive(0 if flags & BI else byte, flags)

    def _arrive(self, byte: int, flags: int) -> None:
        if not self.fifos:
            self.overrun |= self.full
            self.held, self.full = byte, True
            self.flags |= flags
            return
        self.deadline = self.now + four_characters(self.lcr, self.divisor)
        if len(self.fifo) == DEPTH:
            self.overrun = True
        else:
            self.fifo.append((byte, flags))

    def _send(self) -> None:
        """Move characters to the line while the shift register is free, or what it holds can leave."""
        while self.shift is not None or self.queue:
            if self.shift is None:
                self.shift = self.queue.pop(0)
                if not self.queue:
                    self.thr_told = True  # table IV: THR, or the transmit FIFO, has become empty
            if not self._leave(self.shift):
                return
            self.shift = None

    def _leave(self, byte: int) -> bool:
        if self.lcr & BREAK:
            return True  # the break hides it (DS 8.1)
        if self.mcr & LOOP:
            self._arrive(byte & (1 << 5 + (self.lcr & 3)) - 1, 0)
            return True
        if self.capacity is not None and len(self.output) >= self.capacity:
            return False
        self.output.append(byte)
        return True

    def take(self, count: int) -> bytes:
        """Take bytes off the line as a peer does, which may let others leave."""
        taken = bytes(self.output[:count])
        del self.output[:count]
        self._send()
        return taken

    def set_modem(self, pins: int) -> None:
        self.pins = pins
        self._see_modem()

    def _see_modem(self) -> None:
        """DS 8.9 (deltas; RI reports only its end) and 8.8 (in loopback RTS, DTR, OUT 1 and OUT 2 are the inputs)."""
        lines = self.pins
        if self.mcr & LOOP:
            wires = ((0x02, CTS), (0x01, DSR), (0x04, RI), (0x08, DCD))
            lines = sum(line for output, line in wires if self.mcr & output)
        for line, delta in ((CTS, 0x01), (DSR, 0x02), (RI, 0x04), (DCD, 0x08)):
            if (lines ^ self.shown) & line and not (line == RI and lines & RI):
                self.deltas |= delta
        self.shown = lines

    def step(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        if self.deadline is not None and self.deadline <= self.now:
            self.deadline, self.timed_out = None, True
