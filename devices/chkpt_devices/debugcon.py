"""The debug console: a port at which firmware writes its log, a character at a time.

Source: QEMU, hw/char/debugcon.c; Bochs had it first, at 0xe9. SeaBIOS writes to 0x402, if that port reads 0xe9. There
is no status: a guest cannot wait. So the device keeps up to `ROOM` characters that a backend does not take at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Final

from chkpt.device import U8, U16, CharBackend, DeviceType, Host, Length, LineError, ModemLine, Port
from chkpt.grammar import Grammar, In, Out, Phrase, Room

ROOM: Final = 4096
"""The most characters that wait for a backend. Those after them are lost."""


@dataclass(frozen=True, slots=True)
class DebugconState:
    """The characters that the backend has not taken yet."""

    VERSION: ClassVar[int] = 1

    unsent: Annotated[bytes, Length(0, ROOM)]


@dataclass(frozen=True, slots=True)
class DebugconConfig:
    """The port, and the byte that a read of it gives."""

    port: U16 = 0x402
    readback: U8 = 0xE9


class Debugcon:
    """The port. It is its own character frontend."""

    def __init__(self, host: Host, config: DebugconConfig) -> None:
        self._clock = host.clock
        self._resume = host.timer(self._send)  # sends what a load or a new backend found waiting
        self._backend: CharBackend | None = None
        self._blocked = False  # the backend took too little and has not called `writable` since
        self._unsent = bytearray()
        self._readback = config.readback
        host.claim_ports(config.port, [Port(self._read, self._write)])
        host.add_char_frontend(self)

    # -- the device ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Do nothing: a reset does not lose what the guest has written."""

    def save(self) -> DebugconState:
        """Return the waiting characters."""
        return DebugconState(bytes(self._unsent))

    def load(self, state: DebugconState) -> None:
        """Take the waiting characters. They are sent when the clock runs."""
        self._unsent[:] = state.unsent
        self._send_when_running()

    # -- the guest's side ---------------------------------------------------------------------------------------------

    def _read(self) -> int:
        return self._readback

    def _write(self, value: int) -> None:
        if len(self._unsent) < ROOM:
            self._unsent.append(value)
        if not self._blocked:
            self._send()

    # -- the backend's side -------------------------------------------------------------------------------------------

    def connect(self, backend: CharBackend, /) -> None:
        """Use `backend`. Waiting characters go to it when the clock runs."""
        self._backend = backend
        self._send_when_running()

    def disconnect(self) -> None:
        """Forget the backend. Characters that it did not take are lost, unless they wait for the clock to run."""
        self._backend = None
        if self._resume.deadline is None:
            self._send()

    def room(self) -> int:
        """Return 0: it takes nothing."""
        return 0

    def receive(self, data: bytes, errors: LineError = LineError.NONE, /) -> None:
        """Drop what comes: a guest cannot read it."""

    def set_modem(self, lines: ModemLine, /) -> None:
        """Do nothing: there is no modem."""

    def writable(self) -> None:
        """Send the waiting characters, unless they must wait for the clock to run."""
        if self._resume.deadline is None:
            self._send()

    def _send(self) -> None:
        """Send as many waiting characters as the backend takes. Without a backend they are lost."""
        self._resume.cancel()
        unsent = self._unsent
        if unsent:
            del unsent[: len(unsent) if self._backend is None else self._backend.write(bytes(unsent))]
        self._blocked = bool(unsent)

    def _send_when_running(self) -> None:
        """Send the waiting characters when the clock runs: a paused machine sends nothing."""
        self._blocked = False
        if self._unsent:
            self._resume.arm(self._clock.now)
        else:
            self._resume.cancel()


def _phrases(name: str, config: DebugconConfig) -> list[Callable[[Random], Phrase]]:
    def say(choose: Random) -> Phrase:
        yield In(config.port)
        for character in choose.randbytes(choose.randint(1, 8)):
            yield Out(config.port, character)

    def block(choose: Random) -> Phrase:
        yield Room(name, choose.choice((0, 0, 1, 5)))
        yield from say(choose)
        yield Room(name, choose.choice((0, 3, None)))

    return [say, block]


DEBUGCON: Final = DeviceType("debugcon", Debugcon, DebugconConfig, DebugconState, Grammar(_phrases))
