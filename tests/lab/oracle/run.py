"""Many conversations: which ones a seed gives, what they bring, and how a difference is told."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

from chkpt.interop.trace import Difference
from tests.lab.oracle import ours, qemu
from tests.lab.oracle.conversation import Conversation, Outcome
from tests.lab.oracle.phrases import DEVICES, speech
from tests.lab.oracle.shrink import shortest

LENGTH: Final = 400
"""Commands of one conversation."""

MAX_HELD_BACK: Final = 4
"""How many commands are thought of for each that is sent: where nearly all are held back, a conversation is over."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What both machines are made of."""

    image: Path
    modules: Path

    def hold(self, kind: str, commands: Sequence[str], most: int = LENGTH) -> tuple[Outcome, int]:
        """Hold one conversation; return what it brought, and how many plain commands QEMU got."""
        with qemu.running(self.image, self.modules) as theirs, ours.running(self.image) as here:
            return Conversation(theirs, here, DEVICES[kind]).hold(commands, most), theirs.commands


@dataclass(slots=True)
class Tally:
    """What the conversations of one kind have brought."""

    kind: str
    conversations: int = 0
    commands: int = 0
    plain: int = 0  # of the protocol: a shorthand is many
    seconds: float = 0.0
    excused: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)
    trace: str = ""  # the first conversation with a difference that no rule explains


def commands_of(seed: str, kind: str, number: int, most: int = LENGTH) -> list[str]:
    """Return what the conversation of this number would say."""
    speaker = Random(f"{seed}/{kind}/{number}")
    return list(islice(speech(speaker, kind), most * MAX_HELD_BACK))


def tally(bench: Bench, kind: str, seed: str, commands: int, told: Callable[[str], None]) -> Tally:
    """Hold conversations of a kind until so many commands were sent, or one has a difference that no rule explains."""
    began = time.monotonic()
    result = Tally(kind)
    while result.commands < commands and not result.trace:
        most = min(LENGTH, commands - result.commands)
        speech_ = commands_of(seed, kind, result.conversations, most)
        outcome, plain = bench.hold(kind, speech_, most)
        result.conversations += 1
        result.commands += len(outcome.exchanges)
        result.plain += plain
        result.excused += outcome.excused
        result.held_back += outcome.held_back
        result.seconds = time.monotonic() - began
        if outcome.difference is not None:
            told(f"{kind} conversation {result.conversations - 1} of seed {seed} differs: {outcome.difference}")
            result.trace = shortened(bench, kind, outcome)
    return result


def shortened(bench: Bench, kind: str, outcome: Outcome) -> str:
    """Return a conversation that differs as a trace, shortened."""
    last = outcome
    assert outcome.difference is not None
    differing = outcome.difference.command

    def still_differs(commands: list[str]) -> list[str] | None:
        nonlocal last
        held, _ = bench.hold(kind, commands, len(commands))
        if held.difference is None or held.difference.command != differing:
            return None
        last = held
        return [exchange.command for exchange in held.exchanges]

    shortest([exchange.command for exchange in outcome.exchanges], still_differs)
    return as_trace(kind, last)


def as_trace(kind: str, outcome: Outcome) -> str:
    """Return a conversation in the format of `chkpt.interop.trace`, our last answer as a comment."""
    first, *rest = outcome.exchanges
    direction, _, group = first.command.removeprefix("irq_intercept_").partition(" ")
    lines = [f"# kind: {kind}", "# source: a live QEMU, -M isapc", f"# intercept: {group}-{direction}"]
    for exchange in rest:
        lines += [f"> {exchange.command}", *(f"< {answer}" for answer in exchange.answer)]
    return "\n".join([*lines, *_our_answer(outcome.difference)]) + "\n"


def _our_answer(difference: Difference | None) -> list[str]:
    return [] if difference is None else [f"# chkpt: {answer}" for answer in difference.actual]
