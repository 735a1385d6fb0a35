"""Conversations in the qtest protocol, recorded from a real QEMU: how to read one, and how to replay it.

A trace begins with `# key: value` lines, with the keys in lower case. Then come comments `# ...`, commands `> ...`, and
below each command the lines of the answer `< ...`; `< OK *` stands for any value. Four shorthands stand for series of
plain commands: `await_ready PORT`, `insw PORT N`, `outsw PORT N HEX` and `identify_words PORT LIST`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DEMO: Final = Path(__file__).with_name("demo.trace")
"""The trace that `chkpt demo --trace` replays."""

DEMO_MACHINE: Final = Path(__file__).with_name("demo.toml")
"""The machine that the trace expects. Its disk, `disk.img`, has the content that `disk` returns."""

SECTORS: Final = 32768
"""Sectors of the disk that the traces expect."""

BUSY = 0x80
"""BSY in an ATA status register (ATA/ATAPI-6, 7.15)."""

Send = Callable[[str], list[str]]
"""A function that sends one plain command and returns its answer lines, any `IRQ` lines first."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and QEMU's answer."""

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
        """The command that makes the machine report the trace's `IRQ` lines, None if the trace has none."""
        named = self.facts.get("intercept", "")
        device, _, direction = named.partition("-")
        return f"irq_intercept_{direction} {device}" if direction in {"in", "out"} else None


def parse_trace(text: str) -> Trace:
    """Parse a trace. Raise ValueError for a line that does not belong in one."""
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
            raise ValueError(f"not a line of a trace: {line!r}")
    finish()
    return Trace(facts, tuple(exchanges), tuple(cuts))


def disk() -> bytes:
    """Return the content of the disk that the traces expect: byte b of sector s is s * 7 + b * 13 + (s >> 8)."""
    rows = [bytes((first + 13 * b) & 0xFF for b in range(512)) for first in range(256)]
    return b"".join(rows[(7 * s + (s >> 8)) & 0xFF] for s in range(SECTORS))


def perform(command: str, send: Send) -> list[str]:
    """Run one command of a trace, a shorthand or a plain one, and return its answer lines in the trace's form."""
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
    """An answer that differs from the recorded one. In `expected` and `actual`, `IRQ` lines come before the answer."""

    number: int
    command: str
    expected: tuple[str, ...]
    actual: tuple[str, ...]

    def __str__(self) -> str:
        return f"exchange {self.number}, {self.command}: {', '.join(self.expected)} expected, {', '.join(self.actual)}"


class Player:
    """Replays the exchanges of a trace in order, over one or several connections, and compares the answers.

    Rules of the comparison:

    * `OK *` stands for any value.
    * QEMU completes a disk command in its main loop, so the `IRQ` lines of a command may be recorded with the
      `await_ready` after it. The lines of the two are compared as one sequence.
    * In a trace of kind `pit` only rising edges were recorded.
    * On a new connection every pin counts as low until it is reported. So a pin that was high before shows no fall.
    """

    def __init__(self, trace: Trace, send: Send) -> None:
        """Begin a conversation; see `connect`."""
        self._exchanges = trace.exchanges
        self._intercept = trace.intercept
        self._rising_only = trace.facts.get("kind") == "pit"
        self._levels: dict[str, bool] = {}  # the level of each pin that this connection reported
        self._high_before: set[str] = set()  # pins that were high when an earlier connection ended
        self._expected_irq: list[str] = []
        self._actual_irq: list[str] = []
        self.connect(send)

    def connect(self, send: Send) -> None:
        """Go on over another connection, and request the trace's `IRQ` lines there.

        Raises:
            ValueError: the machine does not report them.
        """
        self._high_before |= {pin for pin, high in self._levels.items() if high}
        self._levels.clear()
        self._send = send
        if self._intercept is not None and (answer := send(self._intercept)) != ["OK"]:
            raise ValueError(f"{self._intercept}: {', '.join(answer)}")

    def play(self, number: int) -> Difference | None:
        """Replay an exchange and return how its answer differs, or None. Call this for each exchange in order."""
        exchange = self._exchanges[number]
        *wanted_irq, wanted = exchange.answer
        try:
            *irq, answer = perform(exchange.command, self._send)
        except ValueError as exc:  # the machine refused a command of a shorthand
            return Difference(number, exchange.command, exchange.answer, (str(exc),))
        self._actual_irq += self._note_levels(irq)
        self._expected_irq += self._drop_hidden_falls(wanted_irq)
        expected: tuple[str, ...] = ()
        actual: tuple[str, ...] = ()
        if not self._is_joined_to_next(number):
            expected, actual = tuple(self._expected_irq), tuple(self._actual_irq)
            self._expected_irq.clear()
            self._actual_irq.clear()
        open_value = wanted == "OK *" and answer.startswith("OK")
        if expected == actual and (open_value or wanted == answer):
            return None
        return Difference(number, exchange.command, (*expected, wanted), (*actual, answer))

    def _note_levels(self, lines: list[str]) -> list[str]:
        """Note the reported levels, and return the lines that a trace of this kind records."""
        for line in lines:
            _, verb, pin = line.split(" ")
            self._levels[pin] = verb == "raise"
        return [line for line in lines if not self._rising_only or line.startswith("IRQ raise")]

    def _drop_hidden_falls(self, lines: list[str]) -> list[str]:
        """Return the recorded lines without the falls that this connection cannot show: see `Player`.

        If a pin was high at the cut, a recorded rise after the cut is the one before it, which QEMU reported late.
        """
        shown: list[str] = []
        for line in lines:
            _, verb, pin = line.split(" ")
            if verb == "lower" and pin in self._high_before:
                self._high_before.discard(pin)
            else:
                shown.append(line)
        return shown

    def _is_joined_to_next(self, number: int) -> bool:
        """Return whether the next exchange is an `await_ready`, whose lines belong to this one."""
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
    """Yield the numbers in a list such as `1,3-6`."""
    for part in wanted.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


SHORTHANDS: dict[str, Callable[..., str]] = {
    "await_ready": _await_ready,
    "insw": _read_words,
    "outsw": _write_words,
    "identify_words": _identify_words,
}
