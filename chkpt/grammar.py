"""Conversations with a device: their steps, and the grammars by which device authors describe meaningful ones.

A step is what a guest or the host can do to a machine from outside. A phrase is a run of steps that belong together, as
a driver does them: a control word and the bytes of its count, a command and its data. It is a generator; each `yield`
gives it the answer of the step. It may be cut short, or interleaved with another phrase, at any step:

    def receive(choose: Random) -> Phrase:
        yield Receive(name, b"abc")
        while (yield In(port + 5)) or 0 & 1:  # LSR.DR
            yield In(port)

`chkpt prove` makes conversations from the phrases in a device type's grammar, and from random accesses to its claims.
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
    """Let `ns` nanoseconds pass. If it is None, let the time to the next deadline of a timer pass."""

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
    """Let characters arrive at a character frontend. They may be more than it has room for.

    `errors` are the bits of a `LineError`. All characters have the same errors.
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
    """Let the line behind a character frontend take `count` more bytes, or any number if it is None."""

    frontend: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Medium:
    """Let the medium behind a block frontend fail at every access, or work again."""

    frontend: str
    works: bool


@dataclass(frozen=True, slots=True)
class Plug:
    """Connect the backend of a frontend (a disk, a line, a network, a screen), or disconnect it."""

    frontend: str
    plugged: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """Let every drive try again what waits for a failed medium, as `resume` does."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Let an Ethernet frame arrive at a network frontend; the answer is 1 if it was taken."""

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
"""Steps that belong together. Each `yield` gives the step's answer: the value read, or 0 if the step reads nothing."""


def cut_short(phrase: Phrase, steps: int) -> Phrase:
    """Yield only the first `steps` steps of a phrase."""
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
    """The phrases of meaningful conversations with devices of one type.

    `phrases(name, config)` returns functions that begin a phrase, for the device of this name and configuration. A
    function that is listed twice is used twice as often. It takes everything random from its argument.
    `tables` are the tables, without `type` and `name`, by which the prover configures the device, one after the other.
    `caches` are attributes of the device that may differ after a load without effect: their values follow from other
    attributes, or mean nothing between two accesses. `_chips[]._count` is an attribute of each item of a sequence.
    """

    phrases: Callable[[str, C], Sequence[Callable[[Random], Phrase]]]
    tables: tuple[Mapping[str, object], ...] = ({},)
    caches: tuple[str, ...] = ()
