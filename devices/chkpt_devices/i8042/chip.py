"""The PC's keyboard controller, an Intel 8042 with the AT's program and the PS/2's auxiliary port, and its keyboard.

Source: IBM PC AT Technical Reference (6280070, "TR" below), "Keyboard Controller"; for the auxiliary port IBM Personal
System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller" ("PS/2"); where they are
silent, QEMU's hw/input/pckbd.c. Nothing is connected to the auxiliary port.

A byte takes no time from the keyboard to the controller or back: as soon as the output buffer is read, it
holds the next byte, and the interrupt line falls and rises.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final

from chkpt.device import U8, CharBackend, Host, Length, LineError, ModemLine, Port, Range
from chkpt.errors import StateError
from chkpt_devices.i8042.config import I8042Config, Input
from chkpt_devices.i8042.keyboard import BREAK, BUFFER, OVERRUN, RESEND, SET_1, WITH_PARAMETER, Keyboard

# Status (TR, "Status Register")
OBF, SYS, A2, UNLOCKED, AUX_OBF, TIMEOUT = 0x01, 0x04, 0x08, 0x10, 0x20, 0x40

# The command byte (TR; PS/2)
KBD_INT, AUX_INT, SYSTEM, KBD_DISABLED, AUX_DISABLED, TRANSLATE = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40
RESET_COMMAND_BYTE: Final = KBD_INT | AUX_INT  # as in QEMU

# The ports of the 8042 (TR, "Input Port", "Output Port", "Test Inputs")
INPUT_PORT: Final = 0xB0  # not locked, a colour display, no manufacturing jumper, all RAM
OUT_RESET, OUT_A20, OUT_KBD_INT, OUT_AUX_INT = 0x01, 0x02, 0x10, 0x20
OUT_LATCHED: Final = 0xFF & ~(OUT_KBD_INT | OUT_AUX_INT)
TEST_CLOCK, TEST_DATA = 0x01, 0x02

# Commands (TR, "Commands"; PS/2 for those of the auxiliary port; HP's for A20, as in QEMU)
READ_COMMAND_BYTE, WRITE_COMMAND_BYTE = 0x20, 0x60
DISABLE_AUX, ENABLE_AUX, TEST_AUX = 0xA7, 0xA8, 0xA9
SELF_TEST, TEST_KBD, DISABLE_KBD, ENABLE_KBD = 0xAA, 0xAB, 0xAD, 0xAE
READ_INPUT, READ_OUTPUT, WRITE_OUTPUT = 0xC0, 0xD0, 0xD1
WRITE_KBD_BUFFER, WRITE_AUX_BUFFER, WRITE_AUX = 0xD2, 0xD3, 0xD4
DISABLE_A20, ENABLE_A20 = 0xDD, 0xDF
READ_TEST = 0xE0
PULSE: Final = 0xF0  # and above: each of the low four bits that is 0 pulses its line of the output port
NEXT_IS_DATA: Final = (WRITE_COMMAND_BYTE, WRITE_OUTPUT, WRITE_KBD_BUFFER, WRITE_AUX_BUFFER, WRITE_AUX)

SELF_TEST_PASSED: Final = 0x55
TEST_PASSED: Final = 0x00


class Source(IntEnum):
    """Where the byte in the output buffer comes from."""

    NONE = 0
    KBD = 1  # or the controller itself
    AUX = 2
    AUX_TIMEOUT = 3  # no device has answered


STATUS_OF: Final = {
    Source.NONE: 0,
    Source.KBD: OBF,
    Source.AUX: OBF | AUX_OBF,
    Source.AUX_TIMEOUT: OBF | AUX_OBF | TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class KeyboardState:
    """The keyboard's state."""

    VERSION: ClassVar[int] = 1

    scan_set: Annotated[int, Range(1, 2)]
    scanning: bool
    keys: Annotated[bytes, Length(0, BUFFER + 1)]  # scan codes not sent yet
    answers: Annotated[bytes, Length(0, 3)]  # not sent yet; they are sent before the keys
    last_sent: U8
    parameter_of: U8  # the command whose second byte is to come; 0: none


@dataclass(frozen=True, slots=True)
class I8042State:
    """The controller's state, and the keyboard's."""

    VERSION: ClassVar[int] = 1

    command_byte: U8
    output_port: U8  # but for the bits that show the interrupt lines
    a2: bool  # whether the last write was a command
    command: U8  # whose data byte is to come; 0: none
    output: U8  # the output buffer; it keeps its last byte
    output_source: Source
    answer: U8  # the controller's, while it waits for the output buffer, else 0
    answer_source: Source
    released: bool  # BREAK has come from the keyboard, but not yet the code that follows it
    keyboard: KeyboardState


class I8042:
    """The controller, and the character frontend that types on its keyboard."""

    def __init__(self, host: Host, config: I8042Config) -> None:
        self._text = config.input is Input.TEXT
        self._keyboard = Keyboard()
        self._kbd_irq = host.irq_line(config.irq)
        self._aux_irq = host.irq_line(config.aux_irq)
        self._a20 = host.a20_line()
        self._request_reset = host.request_reset
        self._do: dict[int, Callable[[], None]] = {
            READ_COMMAND_BYTE: lambda: self._answer(self._command_byte),
            DISABLE_AUX: lambda: self._set_command_byte(self._command_byte | AUX_DISABLED),
            ENABLE_AUX: lambda: self._set_command_byte(self._command_byte & ~AUX_DISABLED),
            TEST_AUX: lambda: self._answer(TEST_PASSED),
            SELF_TEST: self._self_test,
            TEST_KBD: lambda: self._answer(TEST_PASSED),
            DISABLE_KBD: lambda: self._set_command_byte(self._command_byte | KBD_DISABLED),
            ENABLE_KBD: lambda: self._set_command_byte(self._command_byte & ~KBD_DISABLED),
            READ_INPUT: lambda: self._answer(INPUT_PORT),
            READ_OUTPUT: lambda: self._answer(self._shown_output_port()),
            DISABLE_A20: lambda: self._set_output_port(self._output_port & ~OUT_A20),
            ENABLE_A20: lambda: self._set_output_port(self._output_port | OUT_A20),
            READ_TEST: self._read_test,
        }
        host.claim_ports(config.data_port, [Port(self._read_data, self._write_data)])
        host.claim_ports(config.command_port, [Port(self._read_status, self._write_command)])
        host.add_char_frontend(self)
        self.reset()

    # -- the device ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after power-on: all pins of the output port are high, address line 20 is enabled."""
        self._keyboard.reset()
        self._command_byte = RESET_COMMAND_BYTE
        self._output_port = OUT_LATCHED
        self._a2 = True  # as in QEMU
        self._command = 0
        self._output = 0
        self._output_source = Source.NONE
        self._answer_waiting = 0
        self._answer_source = Source.NONE
        self._released = False
        self._a20.set(True)
        self._follow_irqs()

    def save(self) -> I8042State:
        """Return the state."""
        keyboard = self._keyboard
        return I8042State(
            command_byte=self._command_byte,
            output_port=self._output_port,
            a2=self._a2,
            command=self._command,
            output=self._output,
            output_source=self._output_source,
            answer=self._answer_waiting,
            answer_source=self._answer_source,
            released=self._released,
            keyboard=KeyboardState(
                scan_set=keyboard.scan_set,
                scanning=keyboard.scanning,
                keys=bytes(keyboard.keys),
                answers=bytes(keyboard.answers),
                last_sent=keyboard.last_sent,
                parameter_of=keyboard.parameter_of,
            ),
        )

    def load(self, state: I8042State) -> None:
        """Take the saved state of the controller and the keyboard."""
        _check(state)
        self._command_byte = state.command_byte
        self._output_port = state.output_port
        self._a2 = state.a2
        self._command = state.command
        self._output = state.output
        self._output_source = state.output_source
        self._answer_waiting = state.answer
        self._answer_source = state.answer_source
        self._released = state.released
        keyboard, saved = self._keyboard, state.keyboard
        keyboard.scan_set = saved.scan_set
        keyboard.scanning = saved.scanning
        keyboard.keys[:] = saved.keys
        keyboard.answers[:] = saved.answers
        keyboard.last_sent = saved.last_sent
        keyboard.parameter_of = saved.parameter_of
        self._a20.set(bool(state.output_port & OUT_A20))
        self._follow_irqs()

    # -- the ports ----------------------------------------------------------------------------------------------------

    def _read_data(self) -> int:
        """Return the output buffer, and let the next byte into it."""
        output = self._output
        self._output_source = Source.NONE
        self._follow_irqs()
        self._fill()
        return output

    def _read_status(self) -> int:
        status = STATUS_OF[self._output_source] | UNLOCKED
        if self._command_byte & SYSTEM:
            status |= SYS
        return status | A2 if self._a2 else status

    def _write_command(self, value: int) -> None:
        """Take a command; an unknown one does nothing."""
        self._a2 = True
        self._command = value if value in NEXT_IS_DATA else 0
        if value in self._do:
            self._do[value]()
        elif value >= PULSE and not value & OUT_RESET:
            self._request_reset()

    def _write_data(self, value: int) -> None:
        """Take a command's data byte, or one for the keyboard."""
        self._a2 = False
        command, self._command = self._command, 0
        if command == WRITE_COMMAND_BYTE:
            self._set_command_byte(value)
        elif command == WRITE_OUTPUT:
            self._set_output_port(value & OUT_LATCHED)
        elif command == WRITE_KBD_BUFFER:
            self._answer(value)
        elif command == WRITE_AUX_BUFFER:
            self._answer(value, Source.AUX)
        elif command == WRITE_AUX:
            # "If the device does not respond", PS/2: the byte is FE, and the time-out shows.
            self._command_byte &= ~AUX_DISABLED
            self._answer(RESEND, Source.AUX_TIMEOUT)
        else:
            self._keyboard.command(value)
            self._set_command_byte(self._command_byte & ~KBD_DISABLED)  # TR, "Sending Data to the Keyboard"

    # -- commands -----------------------------------------------------------------------------------------------------

    def _set_command_byte(self, value: int) -> None:
        self._command_byte = value
        self._fill()

    def _self_test(self) -> None:
        self._command_byte |= SYSTEM
        self._answer(SELF_TEST_PASSED)

    def _read_test(self) -> None:
        """Answer with the lines from the keyboard: the clock is held low while the keyboard is disabled."""
        self._answer(TEST_DATA if self._command_byte & KBD_DISABLED else TEST_CLOCK | TEST_DATA)

    def _shown_output_port(self) -> int:
        kbd, aux = self._irq_levels()
        return self._output_port | (OUT_KBD_INT if kbd else 0) | (OUT_AUX_INT if aux else 0)

    def _set_output_port(self, value: int) -> None:
        """Drive the pins: bit 1 enables address line 20, bit 0 resets while it is low."""
        self._output_port = value | OUT_RESET
        self._a20.set(bool(value & OUT_A20))
        if not value & OUT_RESET:
            self._request_reset()

    # -- the output buffer --------------------------------------------------------------------------------------------

    def _answer(self, value: int, source: Source = Source.KBD) -> None:
        """Give the system a byte of the controller's own; it replaces one that still waits for the buffer."""
        self._answer_waiting = value
        self._answer_source = source
        self._fill()

    def _fill(self) -> None:
        """Let the next byte into the output buffer if it is empty: the controller's own, else the keyboard's."""
        if not self._output_source:
            if self._answer_source:
                self._output, self._answer_waiting = self._answer_waiting, 0
                self._output_source, self._answer_source = self._answer_source, Source.NONE
            else:
                self._fetch()
        self._follow_irqs()

    def _fetch(self) -> None:
        """Take the next byte from the keyboard unless that is disabled; translate it if the command byte says so."""
        while self._keyboard.ready and not self._command_byte & KBD_DISABLED:
            code = self._keyboard.send()
            if self._command_byte & TRANSLATE:
                if code == BREAK:
                    self._released = True
                    continue
                code = translate(code) | (0x80 if self._released else 0)
            self._released = False
            self._output = code
            self._output_source = Source.KBD
            return

    def _irq_levels(self) -> tuple[bool, bool]:
        """Return the levels of the two interrupt lines: the output buffer is full, and the interrupt enabled."""
        if self._output_source is Source.KBD:
            return self._command_byte & (KBD_INT | KBD_DISABLED) == KBD_INT, False  # disabled: as in QEMU
        return False, bool(self._output_source and self._command_byte & AUX_INT)

    def _follow_irqs(self) -> None:
        kbd, aux = self._irq_levels()
        self._kbd_irq.set(kbd)
        self._aux_irq.set(aux)

    # -- the keyboard's keys: the frontend ----------------------------------------------------------------------------

    def connect(self, backend: CharBackend, /) -> None:
        """Do nothing: a keyboard sends nothing back."""

    def disconnect(self) -> None:
        """Do nothing."""

    def room(self) -> int:
        """Return how many bytes the keyboard's buffer has room for; none while it does not scan its keys."""
        return self._keyboard.room(text=self._text)

    def receive(self, data: bytes, errors: LineError = LineError.NONE, /) -> None:  # noqa: ARG002  a cable has none
        """Type on the keyboard."""
        if self._text:
            self._keyboard.type(data)
        else:
            self._keyboard.press(data)
        self._fill()

    def set_modem(self, lines: ModemLine, /) -> None:
        """Do nothing: there is no modem."""

    def writable(self) -> None:
        """Do nothing: nothing waits."""


def translate(code: int) -> int:
    """Translate a byte from the keyboard from set 2 to set 1."""
    if code < len(SET_1):
        return SET_1[code]
    return {0x83: 0x41, 0x84: 0x54}.get(code, code)


def _check(state: I8042State) -> None:
    """Raise StateError if `state` is not one that a controller and its keyboard can be in."""
    if state.output_port & ~OUT_LATCHED or not state.output_port & OUT_RESET:
        raise StateError("output_port has the bit of an interrupt line set, or holds the machine in reset")
    if state.command and state.command not in NEXT_IS_DATA:
        raise StateError(f"command is {state.command:#x}, which takes no data byte")
    if state.command and not state.a2:
        raise StateError("command waits for its data byte, but a2 says that the data byte has come")
    if state.answer_source and not state.output_source:
        raise StateError("answer waits for the output buffer, but that is empty")
    if state.answer and not state.answer_source:
        raise StateError("answer is set, but has no source")
    keyboard = state.keyboard
    sendable = (keyboard.keys or keyboard.answers) and not state.command_byte & KBD_DISABLED
    if sendable and not state.output_source:
        raise StateError("the keyboard has bytes to send, but the output buffer is empty")
    if keyboard.parameter_of and keyboard.parameter_of not in WITH_PARAMETER:
        raise StateError(f"keyboard/parameter_of is {keyboard.parameter_of:#x}, which takes no second byte")
    if len(keyboard.keys) > BUFFER and keyboard.keys[BUFFER] != OVERRUN[keyboard.scan_set]:
        raise StateError("keyboard/keys does not end with the code of an overrun")
