"""16550A UART: its registers by the datasheet's names, and its state.

Source: National Semiconductor PC16550D / NS16550D, TL/C/8652, June 1995, cited as DS; see `chkpt_devices.serial.chip`.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from chkpt.device import U4, U8, U16, Length, LineError, ModemLine, Range, Time
from chkpt.errors import StateError

# Registers by offset from the base port (DS table II). With LCR.DLAB set, 0 and 1 are the divisor latches.
#   0  RBR (read), THR (write), DLL      4  MCR  modem control
#   1  IER interrupt enable, DLM         5  LSR  line status, read only
#   2  IIR (read), FCR (write)           6  MSR  modem status, read only
#   3  LCR line control                  7  SCR  scratchpad

# Interrupt enable register (DS 8.7).
IER_ERBFI: Final = 0x01  # received data available, and the time-out
IER_ETBEI: Final = 0x02  # transmitter holding register empty
IER_ELSI: Final = 0x04  # receiver line status
IER_EDSSI: Final = 0x08  # modem status
IER_MASK: Final = 0x0F  # bits 4 to 7 are always 0

# Interrupt identification register (DS 8.6, table IV), highest priority first.
IIR_LINE_STATUS: Final = 0x06
IIR_TIMEOUT: Final = 0x0C  # before data at the same priority, as QEMU has it
IIR_DATA: Final = 0x04
IIR_THR_EMPTY: Final = 0x02
IIR_MODEM_STATUS: Final = 0x00
IIR_NONE: Final = 0x01  # bit 0 is 0 while an interrupt is pending
IIR_ID: Final = 0x0F
IIR_FIFOS: Final = 0xC0  # both bits are FCR bit 0

# FIFO control register (DS 8.5).
FCR_ENABLE: Final = 0x01
FCR_RECV_RESET: Final = 0x02  # clears itself
FCR_XMIT_RESET: Final = 0x04  # clears itself
FCR_KEPT: Final = 0xC9  # enable, DMA mode (shown only by RXRDY and TXRDY, which a PC does not use), trigger
TRIGGER: Final = (1, 4, 8, 14)  # bytes in the receive FIFO at which the data interrupt comes, by FCR bits 7 and 6
FIFO_SIZE: Final = 16

# Line control register (DS 8.1).
LCR_WORD: Final = 0x03  # data bits less 5
LCR_STB: Final = 0x04  # two stop bits; with 5 data bits one and a half
LCR_PEN: Final = 0x08  # a parity bit
LCR_EPS: Final = 0x10  # even parity
LCR_SB: Final = 0x40  # break: the outgoing line is held at space
LCR_DLAB: Final = 0x80  # offsets 0 and 1 are the divisor latches

# Modem control register (DS 8.8).
MCR_DTR: Final = 0x01
MCR_RTS: Final = 0x02
MCR_OUT1: Final = 0x04
MCR_OUT2: Final = 0x08  # gates the interrupt on some PC cards, but not in QEMU's PC and not here
MCR_LOOP: Final = 0x10
MCR_MASK: Final = 0x1F  # bits 5 to 7 are always 0

# Line status register (DS 8.4).
LSR_DR: Final = 0x01  # data ready
LSR_OE: Final = 0x02  # overrun
LSR_PE: Final = int(LineError.PARITY)
LSR_FE: Final = int(LineError.FRAMING)
LSR_BI: Final = int(LineError.BREAK)
LSR_THRE: Final = 0x20  # THR, or the whole transmit FIFO, is empty
LSR_TEMT: Final = 0x40  # and the shift register too
LSR_FIFO_ERROR: Final = 0x80  # PE, FE or BI somewhere in the receive FIFO
LSR_CHARACTER: Final = LSR_PE | LSR_FE | LSR_BI  # belong to one character
RECV_ERRORS: Final = frozenset(bits for bits in range(0x100) if not bits & ~LSR_CHARACTER)  # a character's flags
LSR_INTERRUPT: Final = LSR_OE | LSR_CHARACTER  # raise the line status interrupt, cleared by a read

# Modem status register (DS 8.9). The upper half has the levels, in the bits of ModemLine.
MSR_DCTS: Final = 0x01
MSR_DDSR: Final = 0x02
MSR_TERI: Final = 0x04  # trailing edge of RI: only its end sets it
MSR_DDCD: Final = 0x08
MSR_DELTAS: Final = 0x0F
MSR_LINES: Final = 0xF0

UNPLUGGED: Final = int(ModemLine.CTS | ModemLine.DSR | ModemLine.DCD)  # the lines when nothing drives them, as in QEMU
LOOPED: Final = tuple(  # what MSR bits 7 to 4 show in loopback (DS 8.8): RTS, DTR, OUT1, OUT2 at CTS, DSR, RI, DCD
    (mcr & MCR_RTS) << 3 | (mcr & MCR_DTR) << 5 | (mcr & (MCR_OUT1 | MCR_OUT2)) << 4 for mcr in range(MCR_MASK + 1)
)

RESET_DIVISOR: Final = 12  # 9600 baud, as in QEMU: the latches are undefined after power-on
CRYSTAL_HZ: Final = 1_843_200
CLOCKS_PER_BIT: Final = 16
TIMEOUT_CHARACTERS: Final = 4  # DS 8.11


@dataclass(frozen=True, slots=True)
class SerialState:
    """All that a guest can notice of a 16550A. IIR follows from the rest."""

    VERSION: ClassVar[int] = 1

    divisor: U16  # DLL and DLM
    ier: U4
    fcr: U8  # without the two reset bits, which clear themselves
    lcr: U8
    mcr: Annotated[int, Range(0, MCR_MASK)]
    lsr: U8  # as a read would give it
    msr: U8  # as a read would give it
    scr: U8
    rbr: U8  # the last character received in 16450 mode
    recv_fifo: Annotated[bytes, Length(0, FIFO_SIZE)]
    recv_errors: Annotated[bytes, Length(0, FIFO_SIZE)]  # PE, FE, BI of each byte of recv_fifo, in LSR's bits
    timeout_ipending: bool
    timeout_deadline: Time | None
    tsr: U8 | None  # the character in the transmitter's shift register
    xmit_fifo: Annotated[bytes, Length(0, FIFO_SIZE)]  # in 16450 mode the THR: at most one byte
    thr_ipending: bool
    modem_lines: U8  # levels at the four modem input pins, in MSR's bits; differs from msr in loopback


def refuse_inconsistent(state: SerialState) -> None:
    """Raise StateError if the fields contradict each other."""
    fifos = bool(state.fcr & FCR_ENABLE)
    waiting = state.recv_fifo
    errors = state.recv_errors
    lsr = 0 if state.xmit_fifo else LSR_THRE if state.tsr is not None else LSR_THRE | LSR_TEMT
    known = LSR_THRE | LSR_TEMT | LSR_FIFO_ERROR
    if fifos:
        known |= LSR_DR | LSR_CHARACTER
        lsr |= (LSR_DR | errors[0] if waiting and errors else 0) | (LSR_FIFO_ERROR if any(errors) else 0)
    lines = LOOPED[state.mcr] if state.mcr & MCR_LOOP else state.modem_lines
    lost_bits = state.fcr & ~(FCR_KEPT if fifos else 0)
    unhindered = bool(state.mcr & MCR_LOOP or state.lcr & LCR_SB)
    rules = (
        (lost_bits != 0, "fcr is {0.fcr:#04x}, but {lost_bits:#04x} cannot stay set"),
        (not fifos and (len(waiting) > 0 or len(state.xmit_fifo) > 1), "{parts}, but fcr has the FIFOs off"),
        (len(errors) != len(waiting), "{parts}, but recv_errors {errors}"),
        (not RECV_ERRORS.issuperset(errors), "recv_errors has bits other than PE, FE and BI"),
        (len(state.xmit_fifo) > 0 and state.tsr is None, "{parts}, but tsr is empty"),
        (state.lsr & known != lsr, "lsr is {0.lsr:#04x}, which contradicts the FIFOs and tsr"),
        (state.msr & MSR_LINES != lines, "msr is {0.msr:#04x}, which contradicts modem_lines and mcr"),
        (state.modem_lines & ~MSR_LINES != 0, "modem_lines is {0.modem_lines:#04x}: bits 0 to 3 are not lines"),
        (state.tsr is not None and unhindered, "tsr waits, but in loopback or during a break nothing does"),
        (state.thr_ipending and len(state.xmit_fifo) > 0, "{parts}, but thr_ipending is set"),
        (state.timeout_ipending and not waiting, "{parts}, but timeout_ipending is set"),
        (state.timeout_deadline is not None and not waiting, "{parts}, but timeout_deadline is set"),
    )
    for broken, reason in rules:
        if broken:
            parts = f"recv_fifo has {len(waiting)} bytes, xmit_fifo {len(state.xmit_fifo)}"
            raise StateError(reason.format(state, parts=parts, lost_bits=lost_bits, errors=len(errors)))
