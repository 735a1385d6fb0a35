"""16550A UART: a PC's serial port, at the level of its registers.

Source: National Semiconductor PC16550D / NS16550D, "Universal Asynchronous Receiver/Transmitter with FIFOs"
(TL/C/8652, June 1995), cited below as DS. If DS leaves a point open, this follows QEMU's hw/char/serial.c.

A character takes no time to send or to receive; only the receive time-out uses the clock. The transmitter
waits only for a line that takes no more (`CharBackend.write` takes less than it was given). Then the shift register,
THR and transmit FIFO fill up, and LSR shows it.

A backend sends and gets whole bytes, whatever word length LCR sets, as in QEMU. So a guest without firmware works even
if it never sets LCR (5 bits after a reset). Loopback has words of LCR's length.
"""

from chkpt.device import CharBackend, Host, LineError, ModemLine, Port
from chkpt_devices.serial.config import SerialConfig
from chkpt_devices.serial.registers import (
    CLOCKS_PER_BIT,
    CRYSTAL_HZ,
    FCR_ENABLE,
    FCR_KEPT,
    FCR_RECV_RESET,
    FCR_XMIT_RESET,
    FIFO_SIZE,
    IER_EDSSI,
    IER_ELSI,
    IER_ERBFI,
    IER_ETBEI,
    IER_MASK,
    IIR_DATA,
    IIR_FIFOS,
    IIR_ID,
    IIR_LINE_STATUS,
    IIR_MODEM_STATUS,
    IIR_NONE,
    IIR_THR_EMPTY,
    IIR_TIMEOUT,
    LCR_DLAB,
    LCR_EPS,
    LCR_PEN,
    LCR_SB,
    LCR_STB,
    LCR_WORD,
    LOOPED,
    LSR_BI,
    LSR_CHARACTER,
    LSR_DR,
    LSR_FE,
    LSR_FIFO_ERROR,
    LSR_INTERRUPT,
    LSR_OE,
    LSR_PE,
    LSR_TEMT,
    LSR_THRE,
    MCR_DTR,
    MCR_LOOP,
    MCR_MASK,
    MCR_RTS,
    MSR_DELTAS,
    MSR_LINES,
    MSR_TERI,
    RESET_DIVISOR,
    TIMEOUT_CHARACTERS,
    TRIGGER,
    UNPLUGGED,
    SerialState,
    refuse_inconsistent,
)


class Serial:
    """A 16550A between a guest's ports and a character backend. It is its own character frontend."""

    def __init__(self, host: Host, config: SerialConfig) -> None:
        self._clock = host.clock
        self._timeout = host.timer(self._time_out)
        self._resume = host.timer(self._transmit)  # sends what a load or a new backend found waiting
        self._backend: CharBackend | None = None
        self._blocked = False  # the backend took too little and has not called `writable` since
        self._modem_lines = UNPLUGGED
        self._clear()
        self._irq = host.irq_line(config.irq)
        host.claim_ports(
            config.port,
            (
                Port(self._read_data, self._write_data),
                Port(self._read_ier, self._write_ier),
                Port(self._read_iir, self._write_fcr),
                Port(self._read_lcr, self._write_lcr),
                Port(self._read_mcr, self._write_mcr),
                Port(self._read_lsr),  # writing it is for factory tests (DS 8.4)
                Port(self._read_msr),
                Port(self._read_scr, self._write_scr),
            ),
        )
        host.add_char_frontend(self)

    def _clear(self) -> None:
        """Give every register its value after a reset (DS table I). The modem's lines do not change."""
        self._divisor = RESET_DIVISOR
        self._ier = self._fcr = self._lcr = self._mcr = self._scr = self._rbr = 0
        self._iir = IIR_NONE
        self._lsr = LSR_THRE | LSR_TEMT
        self._msr = self._modem_lines
        self._recv_fifo = bytearray()
        self._recv_errors = bytearray()
        self._timeout_ipending = False
        self._unsent = bytearray()  # the shift register's character, then those of the THR or transmit FIFO
        self._thr_ipending = False
        self._derive()

    def _derive(self) -> None:
        """Compute what follows from FCR, LCR and the divisor: trigger level, a character's width, the time-out."""
        data_bits = 5 + (self._lcr & LCR_WORD)
        half_bits = 2 * (1 + data_bits + 1)  # with a start and a stop bit
        if self._lcr & LCR_PEN:
            half_bits += 2
        if self._lcr & LCR_STB:
            half_bits += 1 if data_bits == 5 else 2
        divisor = self._divisor or 0x10000  # DS allows 1 to 65535; 0 works like 65536
        character_ns = 1_000_000_000 * half_bits * CLOCKS_PER_BIT * divisor // (2 * CRYSTAL_HZ)
        self._timeout_ns = TIMEOUT_CHARACTERS * character_ns
        self._word_mask = (1 << data_bits) - 1
        self._trigger = TRIGGER[self._fcr >> 6]

    # -- the device ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after power-on; characters that wait to be sent are lost."""
        self._timeout.cancel()
        self._resume.cancel()
        self._blocked = False
        self._clear()
        self._irq.set(False)
        self._show_outputs()

    def save(self) -> SerialState:
        """Return the state."""
        unsent = self._unsent
        return SerialState(
            divisor=self._divisor,
            ier=self._ier,
            fcr=self._fcr,
            lcr=self._lcr,
            mcr=self._mcr,
            lsr=self._lsr,
            msr=self._msr,
            scr=self._scr,
            rbr=self._rbr,
            recv_fifo=bytes(self._recv_fifo),
            recv_errors=bytes(self._recv_errors),
            timeout_ipending=self._timeout_ipending,
            timeout_deadline=self._timeout.deadline,
            tsr=unsent[0] if unsent else None,
            xmit_fifo=bytes(unsent[1:]),
            thr_ipending=self._thr_ipending,
            modem_lines=self._modem_lines,
        )

    def load(self, state: SerialState) -> None:
        """Take the saved state. Characters that were not sent wait until the clock runs, then are sent once."""
        refuse_inconsistent(state)
        self._divisor = state.divisor
        self._ier = state.ier
        self._fcr = state.fcr
        self._lcr = state.lcr
        self._mcr = state.mcr
        self._lsr = state.lsr
        self._msr = state.msr
        self._scr = state.scr
        self._rbr = state.rbr
        self._recv_fifo = bytearray(state.recv_fifo)
        self._recv_errors = bytearray(state.recv_errors)
        self._timeout_ipending = state.timeout_ipending
        self._unsent = bytearray() if state.tsr is None else bytearray((state.tsr, *state.xmit_fifo))
        self._thr_ipending = state.thr_ipending
        self._modem_lines = state.modem_lines
        self._derive()
        if state.timeout_deadline is None:
            self._timeout.cancel()
        else:
            self._timeout.arm(state.timeout_deadline)
        self._send_when_running()
        self._update()
        self._irq.set(not self._iir & IIR_NONE)
        self._show_outputs()

    # -- the guest's side: one method a port and direction ------------------------------------------------------------

    def _read_data(self) -> int:
        """Read RBR, or DLL."""
        if self._lcr & LCR_DLAB:
            return self._divisor & 0xFF
        if self._fcr:
            byte = self._pop_received() if self._recv_fifo else 0  # an empty FIFO reads 0, as in QEMU
        else:
            byte = self._rbr
            self._lsr &= ~LSR_DR
        self._update()
        return byte

    def _write_data(self, value: int) -> None:
        """Write THR, or DLL."""
        if self._lcr & LCR_DLAB:
            self._divisor = self._divisor & 0xFF00 | value
            self._derive()
            return
        unsent = self._unsent
        if len(unsent) > (FIFO_SIZE if self._fcr else 1):
            del unsent[1]  # a transmit overrun loses the oldest character that waits, as in QEMU
        unsent.append(value)
        self._lsr &= ~(LSR_THRE | LSR_TEMT)
        self._thr_ipending = False
        if self._iir & IIR_ID == IIR_THR_EMPTY:
            self._update()
        if not self._blocked:
            self._transmit()

    def _read_ier(self) -> int:
        """Read IER, or DLM."""
        return self._divisor >> 8 if self._lcr & LCR_DLAB else self._ier

    def _write_ier(self, value: int) -> None:
        """Write IER, or DLM."""
        if self._lcr & LCR_DLAB:
            self._divisor = value << 8 | self._divisor & 0xFF
            self._derive()
            return
        value &= IER_MASK
        if (value ^ self._ier) & IER_ETBEI:
            # Enabling the interrupt requests it again. This is not in DS, but chips do it and Windows needs it (QEMU).
            self._thr_ipending = bool(value & IER_ETBEI and self._lsr & LSR_THRE)
        self._ier = value
        self._update()

    def _read_iir(self) -> int:
        """Read IIR. If it reports an empty THR, the read withdraws that interrupt (DS table IV)."""
        iir = self._iir
        if iir & IIR_ID == IIR_THR_EMPTY:
            self._thr_ipending = False
            self._update()
        return iir

    def _write_fcr(self, value: int) -> None:
        """Write FCR. Without bit 0 the other bits have no effect; a change of bit 0 clears both FIFOs (DS 8.5)."""
        toggled = (value ^ self._fcr) & FCR_ENABLE
        if not value & FCR_ENABLE and not toggled:
            return
        if toggled or value & FCR_RECV_RESET:
            self._recv_fifo.clear()
            self._recv_errors.clear()
            self._lsr &= ~(LSR_DR | LSR_CHARACTER | LSR_FIFO_ERROR)
            self._timeout_ipending = False
            self._timeout.cancel()
        if toggled or value & FCR_XMIT_RESET:
            del self._unsent[1:]  # the shift register is not cleared
            self._lsr |= LSR_THRE
            self._thr_ipending = True
        self._fcr = value & FCR_KEPT if value & FCR_ENABLE else 0  # so it is 0 exactly while the FIFOs are off
        self._derive()
        self._update()

    def _read_lcr(self) -> int:
        return self._lcr

    def _write_lcr(self, value: int) -> None:
        self._change_line(value, self._mcr)

    def _read_mcr(self) -> int:
        return self._mcr

    def _write_mcr(self, value: int) -> None:
        self._change_line(self._lcr, value & MCR_MASK)
        self._follow_modem()

    def _read_lsr(self) -> int:
        """Read LSR, which clears its error bits, also in the FIFO for the character at its top (DS 8.4)."""
        lsr = self._lsr
        if lsr & LSR_INTERRUPT:
            self._lsr &= ~LSR_INTERRUPT
            if lsr & LSR_FIFO_ERROR:
                self._recv_errors[0] = 0
                if not any(self._recv_errors):
                    self._lsr &= ~LSR_FIFO_ERROR
            self._update()
        return lsr

    def _read_msr(self) -> int:
        """Read MSR, which clears its delta bits (DS 8.9)."""
        msr = self._msr
        if msr & MSR_DELTAS:
            self._msr = msr & MSR_LINES
            self._update()
        return msr

    def _read_scr(self) -> int:
        return self._scr

    def _write_scr(self, value: int) -> None:
        self._scr = value

    # -- interrupts ---------------------------------------------------------------------------------------------------

    def _update(self) -> None:
        """Recompute IIR, the enabled interrupt of the highest priority, and drive the line: high while bit 0 is 0."""
        ier = self._ier
        lsr = self._lsr
        if lsr & LSR_INTERRUPT and ier & IER_ELSI:
            iir = IIR_LINE_STATUS
        elif self._timeout_ipending and ier & IER_ERBFI:
            iir = IIR_TIMEOUT
        elif lsr & LSR_DR and ier & IER_ERBFI and (not self._fcr or len(self._recv_fifo) >= self._trigger):
            iir = IIR_DATA
        elif self._thr_ipending and ier & IER_ETBEI:
            iir = IIR_THR_EMPTY
        elif self._msr & MSR_DELTAS and ier & IER_EDSSI:
            iir = IIR_MODEM_STATUS
        else:
            iir = IIR_NONE
        if (iir ^ self._iir) & IIR_NONE:
            self._irq.set(not iir & IIR_NONE)
        self._iir = iir | IIR_FIFOS if self._fcr else iir

    def _time_out(self) -> None:
        """Note that for the time of four characters the receive FIFO was neither read nor filled, and is not empty."""
        self._timeout_ipending = True
        self._update()

    # -- receiver -----------------------------------------------------------------------------------------------------

    def _put_received(self, byte: int, errors: int) -> None:
        """Move a character and its error flags from the receiver's shift register to the FIFO or RBR."""
        if not self._fcr:
            if self._lsr & LSR_DR:
                self._lsr |= LSR_OE  # the character before is lost
            self._rbr = byte
            self._lsr |= LSR_DR | errors
            return
        self._timeout.arm(self._clock.now + self._timeout_ns)
        if len(self._recv_fifo) == FIFO_SIZE:
            self._lsr |= LSR_OE  # this character is lost
            return
        if not self._recv_fifo:
            self._lsr |= errors  # LSR shows the errors of the character at the top
        self._recv_fifo.append(byte)
        self._recv_errors.append(errors)
        self._lsr |= LSR_DR | LSR_FIFO_ERROR if errors else LSR_DR

    def _pop_received(self) -> int:
        """Take the character at the top of the receive FIFO with its flags, and show the flags of the next."""
        byte = self._recv_fifo.pop(0)
        errors = self._recv_errors
        del errors[0]
        lsr = self._lsr
        if lsr & LSR_FIFO_ERROR:
            lsr &= ~(LSR_CHARACTER | LSR_FIFO_ERROR)
            if any(errors):
                lsr |= LSR_FIFO_ERROR | errors[0]
        self._timeout_ipending = False
        if errors:
            self._timeout.arm(self._clock.now + self._timeout_ns)
        else:
            lsr &= ~LSR_DR
            self._timeout.cancel()
        self._lsr = lsr
        return byte

    # -- transmitter --------------------------------------------------------------------------------------------------

    def _transmit(self) -> None:
        """Send as many characters as the line takes, and show in LSR whether some still wait.

        During a break the characters are lost, and so are those that the line had not taken when it began: the break
        acts on the outgoing pin alone, and the transmitter serves the guest as a timer (DS 8.1).
        """
        unsent = self._unsent
        sent = len(unsent)
        if not self._lcr & LCR_SB:
            if self._mcr & MCR_LOOP:
                for byte in unsent:
                    self._put_received(byte & self._word_mask, 0)
            elif self._backend is not None and unsent:
                sent = self._backend.write(bytes(unsent))
        del unsent[:sent]
        self._blocked = bool(unsent)
        if len(unsent) <= 1:
            if not self._lsr & LSR_THRE:
                self._thr_ipending = True
            self._lsr |= LSR_THRE if unsent else LSR_THRE | LSR_TEMT
        if self._ier:
            self._update()

    def _send_when_running(self) -> None:
        """Send the waiting characters when the clock runs: a paused machine sends nothing."""
        self._blocked = False
        if self._unsent:
            self._resume.arm(self._clock.now)
        else:
            self._resume.cancel()

    # -- line and modem -----------------------------------------------------------------------------------------------

    def _change_line(self, lcr: int, mcr: int) -> None:
        """Take new values of LCR and MCR. Show the change to the line, or in loopback to the receiver."""
        outputs = self._outputs()
        looped_break = self._mcr & MCR_LOOP and self._lcr & LCR_SB
        self._lcr = lcr
        self._mcr = mcr
        self._derive()  # a break that begins now is timed by the new frame
        if self._backend is not None and self._outputs() != outputs:
            self._show_outputs()
        if mcr & MCR_LOOP and lcr & LCR_SB and not looped_break:
            # A break is a character of zeros: its stop bit is missing, and odd parity wants a one (DS 8.4).
            self._put_received(0, LSR_BI | LSR_FE | (LSR_PE if lcr & (LCR_PEN | LCR_EPS) == LCR_PEN else 0))
            self._update()
        if self._unsent and (mcr & MCR_LOOP or lcr & LCR_SB):
            self._transmit()  # neither waits for the line

    def _outputs(self) -> tuple[bool, bool, bool]:
        """Return DTR, RTS and break as the pins have them: in loopback they are inactive (DS 8.8)."""
        if self._mcr & MCR_LOOP:
            return False, False, False
        return bool(self._mcr & MCR_DTR), bool(self._mcr & MCR_RTS), bool(self._lcr & LCR_SB)

    def _show_outputs(self) -> None:
        """Report to the backend the levels of the outgoing pins."""
        if self._backend is not None:
            dtr, rts, in_break = self._outputs()
            self._backend.set_modem(dtr, rts)
            self._backend.set_break(in_break)

    def _follow_modem(self) -> None:
        """Bring MSR to the modem's lines, or in loopback to MCR's, and note what changed."""
        lines = LOOPED[self._mcr] if self._mcr & MCR_LOOP else self._modem_lines
        before = self._msr & MSR_LINES
        if lines == before:
            return
        deltas = (lines ^ before) >> 4
        if lines & ModemLine.RI:
            deltas &= ~MSR_TERI
        self._msr = lines | self._msr & MSR_DELTAS | deltas
        self._update()

    # -- the line's side: the frontend --------------------------------------------------------------------------------

    def connect(self, backend: CharBackend, /) -> None:
        """Use `backend`. Waiting characters go to it when the clock runs."""
        self._backend = backend
        self._show_outputs()
        self._send_when_running()

    def disconnect(self) -> None:
        """Forget the backend. Characters that it did not take are lost, unless they wait for the clock to run."""
        self._backend = None
        if self._resume.deadline is None:
            self._transmit()
        self.set_modem(ModemLine(UNPLUGGED))

    def room(self) -> int:
        """Return how many characters fit: the rest of the FIFO, or RBR; in loopback the line is cut off."""
        if self._mcr & MCR_LOOP:
            return 0
        if self._fcr:
            return FIFO_SIZE - len(self._recv_fifo)
        return 0 if self._lsr & LSR_DR else 1

    def receive(self, data: bytes, errors: LineError = LineError(0), /) -> None:  # noqa: B008 - an immutable flag
        """Take characters from the line. In loopback they are lost, because the line is cut off."""
        if self._mcr & MCR_LOOP:
            return
        flags = int(errors) & LSR_CHARACTER
        for byte in data:
            self._put_received(0 if flags & LSR_BI else byte, flags)
        self._update()

    def set_modem(self, lines: ModemLine, /) -> None:
        """Take the levels of the four modem inputs."""
        self._modem_lines = int(lines) & MSR_LINES
        self._follow_modem()

    def writable(self) -> None:
        """Send the waiting characters, unless they must wait for the clock to run."""
        if self._resume.deadline is None:
            self._transmit()
