"""Conversations with a device: the steps they are made of, and what an author says about meaningful ones.

A step is what a guest or the host can do to a machine from outside. A phrase is a run of steps that belong together, as
a driver would do them: a control word and the bytes of its count, a command and its data. It is a generator that is
told the answer of each step, and may be cut short or interleaved with another at any step:

    def receive(choose: Random) -> Phrase:
        yield Receive(name, b"abc")
        while (yield In(port + 5)) or 0 & 1:  # LSR.DR
            yield In(port)

`chkpt prove` makes conversations of the phrases in a device type's grammar, and of noise on everything it claims.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class In:
    """Read a port, `width` bytes wide: 1, 2 or 4."""

    port: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Out:
    """Write the low `width` bytes of `value` to a port."""

    port: int
    value: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Insw:
    """Read `count` words from a 16-bit port, as `rep insw` does.

    The answer is their bytes as one little-endian number.
    """

    port: int
    count: int


@dataclass(frozen=True, slots=True)
class Outsw:
    """Write the words in `data`, an even number of bytes, to a 16-bit port, as `rep outsw` does."""

    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Read physical memory, `width` bytes wide: 1, 2, 4 or 8."""

    address: int
    width: int = 4


@dataclass(frozen=True, slots=True)
class Write:
    """Write the low `width` bytes of `value` to physical memory."""

    address: int
    value: int
    width: int = 4


@dataclass(frozen=True, slots=True)
class Rdmsr:
    """Read a model-specific register."""

    msr: int


@dataclass(frozen=True, slots=True)
class Wrmsr:
    """Write a model-specific register."""

    msr: int
    value: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `ns` nanoseconds pass, or the time to the next deadline of a timer where it is None."""

    ns: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Drive an interrupt line, 0 to 15, from outside the machine."""

    number: int
    level: bool


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Run the processor's interrupt-acknowledge cycle; the answer is the vector."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Let characters arrive at the character frontend `frontend`, as many as it has room for or as overrun it.

    `errors` are the bits of a `LineError`, the same for all of them.
    """

    frontend: str
    data: bytes
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Modem:
    """Drive the modem inputs of a character frontend: the bits of a `ModemLine`."""

    frontend: str
    lines: int


@dataclass(frozen=True, slots=True)
class Room:
    """Let the line behind a character frontend take `count` more bytes and then no more; None: as many as come."""

    frontend: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Medium:
    """Let the medium behind a block frontend fail at every access, or work again."""

    frontend: str
    works: bool


@dataclass(frozen=True, slots=True)
class Plug:
    """Connect what is behind a frontend (a disk, a line, a network, a screen), or disconnect it."""

    frontend: str
    plugged: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """Let every drive try again what waits for a failed medium, as resuming the machine does."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Let an Ethernet frame arrive at a network frontend; the answer is 1 where it was taken."""

    frontend: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Reset:
    """Press the machine's reset button."""


Step: TypeAlias = (
    In
    | Out
    | Insw
    | Outsw
    | Read
    | Write
    | Rdmsr
    | Wrmsr
    | Wait
    | Line
    | Acknowledge
    | Receive
    | Modem
    | Room
    | Medium
    | Plug
    | Retry
    | Frame
    | Reset
)
"""One thing done to a machine from outside."""

Phrase: TypeAlias = Generator[Step, int, None]
"""Steps that belong together. Each `yield` gives the step's answer: the value read, 0 if there is none."""


def cut_short(phrase: Phrase, steps: int) -> Phrase:
    """Say no more of a phrase than its first `steps` steps."""
    answer: int | None = None
    for _ in range(steps):
        try:
            step = next(phrase) if answer is None else phrase.send(answer)
        except StopIteration:
            return
        answer = yield step


C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Grammar(Generic[C]):
    """What meaningful conversations with a device of one type are made of.

    `phrases(name, config)` gives what begins a phrase, for the device of this name and configuration; one that is
    listed twice comes twice as often. Everything random is taken from the `Random` that it is given.
    `tables` are the device's tables of a machine's TOML, without `type` and `name`, that are worth to be proved.
    `caches` are attributes of the device that may differ after a load and not be noticed: what they hold follows from
    others, or means nothing between two accesses. `_chips[]._count` is one of each item of a sequence.
    """

    phrases: Callable[[str, C], Sequence[Callable[[Random], Phrase]]]
    tables: tuple[Mapping[str, object], ...] = ({},)
    caches: tuple[str, ...] = ()
