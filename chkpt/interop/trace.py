"""Conversations in the qtest protocol, recorded from a real QEMU: how to read one, and how to play it.

A trace begins with `# key: value` lines, the keys in small letters. Then come comments `# ...`, commands `> ...`, and
below each command the answer's lines `< ...`; `< OK *` leaves the value open. Five shorthands stand for runs of plain
commands: `await_ready PORT`, `insw PORT N`, `outsw PORT N HEX`, `identify_words PORT LIST` and `set_irq_in`, which QEMU
knows, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DEMO: Final = Path(__file__).with_name("demo.trace")
"""One trace to show: what `chkpt demo` plays."""

DEMO_MACHINE: Final = Path(__file__).with_name("demo.toml")
"""The machine that it expects; its disk, `disk.img`, has the content `disk`."""

SECTORS: Final = 32768
"""Sectors of the disk that the traces expect."""

BUSY = 0x80
"""BSY in an ATA status register (ATA/ATAPI-6, 7.15)."""

Send = Callable[[str], list[str]]
"""Sends one plain command and returns its answer lines, any `IRQ` lines first."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and what QEMU answered."""

    command: str
    answer: tuple[str, ...]
    comment: str = ""  # the comment lines right before it


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded conversation. `cuts` are the numbers of exchanges before which a `# cut` stands."""

    facts: dict[str, str]
    exchanges: tuple[Exchange, ...]
    cuts: tuple[int, ...] = field(default=())

    @property
    def intercept(self) -> str | None:
        """The command that makes the machine tell the trace's `IRQ` lines, or None where it has none."""
        named = self.facts.get("intercept", "")
        device, _, direction = named.partition("-")
        return f"irq_intercept_{direction} {device}" if direction in {"in", "out"} else None


def parse_trace(text: str) -> Trace:
    """Read a trace. Raise ValueError for a line that is none."""
    facts: dict[str, str] = {}
    exchanges: list[Exchange] = []
    cuts: list[int] = []
    comments: list[str] = []
    command: str | None = None
    answer: list[str] = []

    def finish() -> None:
        nonlocal command
        if command is not None:
            exchanges.append(Exchange(command, tuple(answer), "\n".join(comments)))
            comments.clear()
            answer.clear()
            command = None

    for line in text.splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "#":
            finish()
            key, colon, value = rest.partition(": ")
            if rest == "cut":
                cuts.append(len(exchanges))
            elif not exchanges and colon and key.isalpha() and key.islower():
                facts[key] = value
            else:
                comments.append(rest)
        elif mark == ">":
            finish()
            command = rest
        elif mark == "<" and command is not None:
            answer.append(rest)
        elif line.strip():
            raise ValueError(f"no line of a trace: {line!r}")
    finish()
    return Trace(facts, tuple(exchanges), tuple(cuts))


def disk() -> bytes:
    """Return the content of the disk that the traces expect: byte b of sector s is s * 7 + b * 13 + (s >> 8)."""
    rows = [bytes((first + 13 * b) & 0xFF for b in range(512)) for first in range(256)]
    return b"".join(rows[(7 * s + (s >> 8)) & 0xFF] for s in range(SECTORS))


def perform(command: str, send: Send) -> list[str]:
    """Run one command of a trace, a shorthand or a plain one, and return its answer lines as a trace writes them."""
    word, _, rest = command.partition(" ")
    shorthand = SHORTHANDS.get(word)
    if shorthand is None:
        return send(command)
    lines: list[str] = []

    def ask(plain: str) -> int:
        *before, answer = send(plain)
        lines.extend(before)
        status, _, value = answer.partition(" ")
        if status != "OK":
            raise ValueError(f"{plain}: {answer}")
        return int(value, 16) if value else 0

    value = shorthand(ask, *rest.split(" "))
    return [*lines, f"OK {value}" if value else "OK"]


@dataclass(frozen=True, slots=True)
class Difference:
    """An answer that is not the recorded one. In `expected` and `actual`, `IRQ` lines stand before the answer."""

    number: int
    command: str
    expected: tuple[str, ...]
    actual: tuple[str, ...]

    def __str__(self) -> str:
        return f"exchange {self.number}, {self.command}: {', '.join(self.expected)} expected, {', '.join(self.actual)}"


class Player:
    """Plays the exchanges of a trace in order, over one connection or several, and compares the answers.

    What an equal answer is:

    * `OK *` stands for any value.
    * QEMU completes a disk command in its main loop, so the `IRQ` lines of a command may stand with the `await_ready`
      after it: the lines of the two are compared as one sequence.
    * In a trace of kind `pit` only rising edges were written down.
    * A new connection has been told no level, so all count as low: a pin that was high shows no fall.
    """

    def __init__(self, trace: Trace, send: Send) -> None:
        """Begin a conversation; see `connect`."""
        self._exchanges = trace.exchanges
        self._intercept = trace.intercept
        self._rising_only = trace.facts.get("kind") == "pit"
        self._levels: dict[str, bool] = {}  # what the connection was told of each pin
        self._high_before: set[str] = set()  # pins that were high when an earlier connection ended
        self._expected_irq: list[str] = []
        self._actual_irq: list[str] = []
        self.connect(send)

    def connect(self, send: Send) -> None:
        """Go on over another connection, and ask there for the trace's `IRQ` lines.

        Raises:
            ValueError: the machine does not tell them.
        """
        self._high_before |= {pin for pin, high in self._levels.items() if high}
        self._levels.clear()
        self._send = send
        if self._intercept is not None and (answer := send(self._intercept)) != ["OK"]:
            raise ValueError(f"{self._intercept}: {', '.join(answer)}")

    def play(self, number: int) -> Difference | None:
        """Play an exchange, one after the other, and return how its answer differs, or None."""
        exchange = self._exchanges[number]
        *wanted_irq, wanted = exchange.answer
        try:
            *irq, answer = perform(exchange.command, self._send)
        except ValueError as exc:  # a command of a shorthand was refused
            return Difference(number, exchange.command, exchange.answer, (str(exc),))
        self._actual_irq += self._note_levels(irq)
        self._expected_irq += self._drop_known(wanted_irq)
        expected: tuple[str, ...] = ()
        actual: tuple[str, ...] = ()
        if not self._joins_next(number):
            expected, actual = tuple(self._expected_irq), tuple(self._actual_irq)
            self._expected_irq.clear()
            self._actual_irq.clear()
        open_value = wanted == "OK *" and answer.startswith("OK")
        if expected == actual and (open_value or wanted == answer):
            return None
        return Difference(number, exchange.command, (*expected, wanted), (*actual, answer))

    def _note_levels(self, lines: list[str]) -> list[str]:
        """Remember the levels told, and return the lines that a trace of this kind would have."""
        for line in lines:
            _, verb, pin = line.split(" ")
            self._levels[pin] = verb == "raise"
        return [line for line in lines if not self._rising_only or line.startswith("IRQ raise")]

    def _drop_known(self, lines: list[str]) -> list[str]:
        """Return the recorded lines that this connection will show, or an earlier one has shown.

        A rise of a pin that was high at the cut is the rise before the cut, which QEMU told late.
        """
        shown: list[str] = []
        for line in lines:
            _, verb, pin = line.split(" ")
            if verb == "lower" and pin in self._high_before:
                self._high_before.discard(pin)
            else:
                shown.append(line)
        return shown

    def _joins_next(self, number: int) -> bool:
        """Tell whether the next exchange is an `await_ready`, whose lines belong to this one."""
        return number + 1 < len(self._exchanges) and self._exchanges[number + 1].command.startswith("await_ready")


def _await_ready(ask: Callable[[str], int], port: str) -> str:
    while (status := ask(f"inb {port}")) & BUSY:
        pass
    return f"0x{status:04x}"


def _read_words(ask: Callable[[str], int], port: str, count: str) -> str:
    words = (ask(f"inw {port}") for _ in range(int(count)))
    return "0x" + b"".join(word.to_bytes(2, "little") for word in words).hex()


def _write_words(ask: Callable[[str], int], port: str, count: str, data: str) -> str:
    content = bytes.fromhex(data.removeprefix("0x"))
    for at in range(int(count)):
        ask(f"outw {port} {int.from_bytes(content[2 * at : 2 * at + 2], 'little'):#x}")
    return ""


def _identify_words(ask: Callable[[str], int], port: str, wanted: str) -> str:
    words = [ask(f"inw {port}") for _ in range(256)]
    return "0x" + b"".join(words[at].to_bytes(2, "little") for at in _numbers(wanted)).hex()


def _numbers(wanted: str) -> Iterator[int]:
    """Yield the numbers of a list such as `1,3-6`."""
    for part in wanted.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


SHORTHANDS: dict[str, Callable[..., str]] = {
    "await_ready": _await_ready,
    "insw": _read_words,
    "outsw": _write_words,
    "identify_words": _identify_words,
}
