"""Conversations in the qtest protocol, recorded from a real QEMU: how to read one, and how to play it.

A trace has `# key: value` comments, commands `> ...`, and below each the answer lines `< ...`. `< OK *` leaves the
value open. Five shorthands stand for runs of plain commands: `await_ready PORT`, `insw PORT N`, `outsw PORT N HEX`,
`identify_words PORT LIST` and `set_irq_in`, the last of which QEMU knows, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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


def parse(text: str) -> Trace:
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
            elif not exchanges and colon and " " not in key:
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


def same(expected: tuple[str, ...], actual: list[str]) -> bool:
    """Tell whether an answer is the recorded one, `OK *` standing for any value."""
    if expected and expected[-1] == "OK *" and actual and actual[-1].startswith("OK"):
        return list(expected[:-1]) == actual[:-1]
    return list(expected) == actual


def _await_ready(ask: Callable[[str], int], port: str) -> str:
    while (status := ask(f"inb {port}")) & BUSY:
        pass
    return f"0x{status:04x}"


def _insw(ask: Callable[[str], int], port: str, count: str) -> str:
    words = (ask(f"inw {port}") for _ in range(int(count)))
    return "0x" + b"".join(word.to_bytes(2, "little") for word in words).hex()


def _outsw(ask: Callable[[str], int], port: str, count: str, data: str) -> str:
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
    "insw": _insw,
    "outsw": _outsw,
    "identify_words": _identify_words,
}
