"""QEMU's qtest protocol (softmmu/qtest.c, 7.2): lines of text that access a machine's ports, memory, lines and clock.

One line is one command and gets one answer line, in order. `IRQ raise N` and `IRQ lower N` lines come before the answer
of the command that caused them. This module handles the protocol; it opens no socket.

If QEMU would abort (a malformed number, a port above 0xffff), this answers `FAIL` with the reason and goes on.
"""

import base64
import binascii
from collections import deque
from collections.abc import Callable

from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.machine.board.lines import INTR

Words = list[bytes]

GROUPS = {
    (b"in", b"pic0"): {number: number for number in range(8)},
    (b"in", b"pic1"): {number + 8: number for number in range(8)},
    (b"out", b"pic0"): {INTR: 0},
    (b"out", b"pic1"): {2: 0},
}
"""The pins that can be intercepted: the machine's line and its number in an `IRQ` line."""

MAX_SPAN = 1 << 24
"""Bytes that one command may read or write. QEMU has no limit; a service needs one."""

MAX_ANSWERS = 1 << 20
"""Bytes of answers after which a session waits until they are sent. This limits the memory for a client that does not
read."""


class Malformed(Exception):  # noqa: N818  it ends one command, not the session
    """A command that cannot be understood."""


class QtestSession:
    """One client's conversation with one machine. In a new session every pin counts as low until it is reported."""

    def __init__(self, machine: Machine, report: Callable[[bytes], None] = lambda _: None) -> None:
        """Begin a conversation.

        Args:
            machine: what the commands access.
            report: called with each `IRQ` line that no command caused, for example one from a backend's input.
        """
        self._machine = machine
        self._report = report
        self._answering = False
        self._partial = bytearray()
        self._waiting: deque[bytes] = deque()
        self._lines: list[bytes] = []
        self._reported: dict[int, bool] = {}
        self._intercepted: tuple[bytes, bytes] | None = None
        self._pins: dict[int, int] = {}
        self._unwatch: Callable[[], None] | None = None
        width = {b"b": 1, b"w": 2, b"l": 4, b"q": 8}
        ports = machine.ports
        self._commands: dict[bytes, tuple[int, Callable[[Words], bytes]]] = {  # with the minimum number of words
            b"outb": (3, _make_out(ports.outb)),
            b"outw": (3, _make_out(ports.outw)),
            b"outl": (3, _make_out(ports.outl)),
            b"inb": (2, _make_in(ports.inb)),
            b"inw": (2, _make_in(ports.inw)),
            b"inl": (2, _make_in(ports.inl)),
            **{b"read" + letter: (2, self._make_load(size)) for letter, size in width.items()},
            **{b"write" + letter: (3, self._make_store(size)) for letter, size in width.items()},
            b"read": (3, self._read),
            b"write": (4, self._write),
            b"b64read": (3, self._b64read),
            b"b64write": (4, self._b64write),
            b"memset": (4, self._memset),
            b"clock_step": (1, self._clock_step),
            b"clock_set": (2, self._clock_set),
            b"irq_intercept_in": (2, lambda words: self._intercept(b"in", words)),
            b"irq_intercept_out": (2, lambda words: self._intercept(b"out", words)),
            b"set_irq_in": (5, self._set_irq_in),
            b"endianness": (1, lambda _: b"OK little\n"),
            b"module_load": (3, lambda _: b"FAIL\n"),
        }

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the client and return the answers to the complete commands.

        After `MAX_ANSWERS` bytes of answers the other commands wait (`has_backlog`). Send the answers and call this
        again, if necessary with no bytes.
        """
        if self._partial:
            if b"\n" not in data:  # do not copy a long command once for each of its pieces
                self._partial += data
                data = b""
            else:
                data = bytes(self._partial) + data
                self._partial = bytearray()
        if data.endswith(b"\n"):
            lines = data[:-1].split(b"\n")
        else:
            *lines, rest = data.split(b"\n")
            self._partial += rest
        if len(lines) == 1 and not self._waiting:
            return self.command(lines[0])
        self._waiting.extend(lines)
        answers: list[bytes] = []
        size = 0
        while self._waiting and size < MAX_ANSWERS:
            answers.append(self.command(self._waiting.popleft()))
            size += len(answers[-1])
        return b"".join(answers)

    @property
    def has_backlog(self) -> bool:
        """Whether complete commands wait until the answers before them are sent."""
        return bool(self._waiting)

    @property
    def pending(self) -> int:
        """Bytes of an unfinished command."""
        return len(self._partial)

    def command(self, line: bytes) -> bytes:
        """Run one command, without its line end, and return its answer lines."""
        words = line.split(b" ")
        least, run = self._commands.get(words[0], (1, _unknown))
        self._answering = True
        try:
            answer = run(words) if len(words) >= least else b"FAIL %b: a word is missing\n" % words[0]
        except (Malformed, ChkptError, OSError) as exc:
            answer = b"FAIL %b: %b\n" % (words[0], " ".join(str(exc).split()).encode())
        except MemoryError:
            answer = b"FAIL %b: not enough memory\n" % words[0]
        finally:
            self._answering = False
        if self._lines:
            answer = b"".join(self._lines) + answer
            self._lines.clear()
        return answer

    def close(self) -> None:
        """End the session; stop watching the interrupt lines."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    # -- memory -------------------------------------------------------------------------------------------------------

    def _make_load(self, width: int) -> Callable[[Words], bytes]:
        memory = self._machine.memory
        return lambda words: b"OK 0x%016x\n" % memory.load(_parse_number(words[1]), width)

    def _make_store(self, width: int) -> Callable[[Words], bytes]:
        memory = self._machine.memory

        def store(words: Words) -> bytes:
            memory.store(_parse_number(words[1]), width, _parse_number(words[2]))
            return b"OK\n"

        return store

    def _read(self, words: Words) -> bytes:
        return b"OK 0x%b\n" % self._machine.memory.read(_parse_number(words[1]), _parse_span(words[2])).hex().encode()

    def _write(self, words: Words) -> bytes:
        size = _parse_span(words[2])
        if len(words[3]) < 3:
            return b"ERR invalid argument size\n"
        try:
            data = bytes.fromhex(words[3][2:][: 2 * size].decode())
        except ValueError as exc:
            raise Malformed(str(exc)) from exc
        self._machine.memory.write(_parse_number(words[1]), data.ljust(size, b"\0"))
        return b"OK\n"

    def _b64read(self, words: Words) -> bytes:
        return b"OK %b\n" % base64.b64encode(self._machine.memory.read(_parse_number(words[1]), _parse_span(words[2])))

    def _b64write(self, words: Words) -> bytes:
        size = _parse_span(words[2])
        if len(words[3]) < 3:
            return b"ERR invalid argument size\n"
        try:
            data = base64.b64decode(words[3], validate=True)
        except binascii.Error as exc:
            raise Malformed(str(exc)) from exc
        self._machine.memory.write(_parse_number(words[1]), data[:size].ljust(size, b"\0"))
        return b"OK\n"

    def _memset(self, words: Words) -> bytes:
        size = _parse_span(words[2], least=0)
        self._machine.memory.write(_parse_number(words[1]), bytes([_parse_number(words[3]) & 0xFF]) * size)
        return b"OK\n"

    # -- clock --------------------------------------------------------------------------------------------------------

    def _clock_step(self, words: Words) -> bytes:
        clock = self._machine.clock
        if len(words) > 1:
            clock.advance_to(_check_time(clock.now + _parse_number(words[1])))
        elif clock.next_deadline is not None:
            clock.advance_to(clock.next_deadline)
        return b"OK %d\n" % clock.now

    def _clock_set(self, words: Words) -> bytes:
        clock = self._machine.clock
        clock.advance_to(_check_time(_parse_number(words[1])))
        return b"OK %d\n" % clock.now

    # -- interrupt lines ----------------------------------------------------------------------------------------------

    def _intercept(self, direction: bytes, words: Words) -> bytes:
        group = (direction, words[1])
        if group not in GROUPS:
            return b"FAIL Unknown device\n"
        if self._intercepted is None:
            self._intercepted = group
            self._pins = GROUPS[group]
            self._unwatch = self._machine.irq.watch(self._watch)
        elif self._intercepted != group:
            return b"FAIL IRQ intercept already enabled\n"
        return b"OK\n"

    def _watch(self, number: int, level: bool) -> None:
        pin = self._pins.get(number)
        if pin is not None and self._reported.get(pin, False) != level:
            self._reported[pin] = level
            line = b"IRQ raise %d\n" % pin if level else b"IRQ lower %d\n" % pin
            if self._answering:
                self._lines.append(line)
            else:
                self._report(line)

    def _set_irq_in(self, words: Words) -> bytes:
        device, name, pin, level = words[1:5]
        number, base = _parse_number(pin), {b"pic0": 0, b"pic1": 8}.get(device)
        if base is None:
            return b"FAIL Unknown device\n"
        if name != b"unnamed-gpio-in" or number > 7:
            return b"FAIL Unknown IRQ\n"
        self._machine.irq.force(base + number, _parse_number(level) != 0)
        return b"OK\n"


def _unknown(words: Words) -> bytes:
    return b"FAIL Unknown command '%b'\n" % words[0]


def _make_in(read: Callable[[int], int]) -> Callable[[Words], bytes]:
    return lambda words: b"OK 0x%04x\n" % read(_parse_port(words[1]))


def _make_out(write: Callable[[int, int], None]) -> Callable[[Words], bytes]:
    def out(words: Words) -> bytes:
        write(_parse_port(words[1]), _parse_number(words[2]))
        return b"OK\n"

    return out


def _parse_number(word: bytes) -> int:
    """Parse a number as C's strtoul does with base 0: decimal, 0x hexadecimal, 0 octal; at most 64 bits."""
    try:
        if word[:2] in {b"0x", b"0X"}:
            number = int(word, 16) if word.isalnum() else -1  # int() would also take blanks, signs and underscores
        else:
            number = int(word, 8 if word[:1] == b"0" else 10) if word.isdigit() else -1
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise Malformed(f"{word[:40]!r} is not a number of 64 bits")
    return number


def _parse_port(word: bytes) -> int:
    port = _parse_number(word)
    if port > 0xFFFF:
        raise Malformed(f"there is no port {port:#x}")
    return port


def _parse_span(word: bytes, least: int = 1) -> int:
    size = _parse_number(word)
    if not least <= size <= MAX_SPAN:
        raise Malformed(f"a size of {size} is not {least} to {MAX_SPAN}")
    return size


def _check_time(now: int) -> int:
    if now >= 1 << 63:
        raise Malformed(f"a clock of {now} ns is beyond 63 bits")
    return now
