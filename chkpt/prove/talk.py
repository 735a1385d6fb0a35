"""Make a random conversation with a machine: phrases of its devices' grammars, and random accesses to their claims.

Phrases are cut short, and interleaved with each other and with waits: a device may be saved between the bytes of a
count as well as after them.
"""

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Final

from chkpt.device import LineError
from chkpt.grammar import (
    Acknowledge,
    Frame,
    In,
    Line,
    Medium,
    Modem,
    Out,
    Phrase,
    Plug,
    Rdmsr,
    Read,
    Receive,
    Reset,
    Retry,
    Room,
    Wait,
    Write,
    Wrmsr,
)
from chkpt.machine import Machine
from chkpt.machine.board.lines import LINES
from chkpt.manager import DeviceEntry, Resource

Opening = Callable[[Random], Phrase]
"""A function that begins a phrase."""

GRAMMAR_SHARE: Final = 0.8  # the share of phrases from the grammar, if the device has one
CUT_SHORT: Final = 0.25  # the share of phrases that are cut short
MEAN_PATIENCE: Final = 8  # the mean number of steps of a phrase that is cut short
INTERRUPTED: Final = 0.02  # the share of steps before which another phrase begins
OUTSIDE: Final = 0.25  # the share of phrases from the outside world: time, lines, the reset button
DEEPEST: Final = 3  # the most phrases inside each other

LONGEST_WAIT: Final = 10**10
"""Nanoseconds. Ten seconds are longer than any time that the devices here know."""

MANY_DEADLINES: Final = 200
"""A wait is at most so many times the time to the next deadline, as a fast timer could fire millions of times."""


def conversation(machine: Machine, choose: Random, names: Collection[str] = ()) -> Phrase:
    """Make an endless conversation with the devices `names` of a machine, or with all if there are no names.

    It reads the machine's clock, to wait until just before a deadline. It takes everything else from `choose`.
    """
    devices = [entry for entry in machine.devices if not names or entry.name in names]
    openings = [(_of_the_grammar(entry), _blind(machine, entry)) for entry in devices]
    return _converse(openings, _outside(machine), choose, 1)


def _converse(
    devices: Sequence[tuple[Sequence[Opening], Sequence[Opening]]],
    outside: Sequence[Opening],
    choose: Random,
    depth: int,
) -> Phrase:
    """Yield the steps of phrases, interrupted by others: one phrase inside another, else without end."""
    while True:
        grammar, blind = choose.choice(devices)
        if choose.random() < OUTSIDE or not (grammar or blind):
            opening = choose.choice(outside)
        else:
            by_grammar = grammar and (not blind or choose.random() < GRAMMAR_SHARE)
            opening = choose.choice(grammar if by_grammar else blind)
        left = 1 + int(choose.expovariate(1 / MEAN_PATIENCE)) if choose.random() < CUT_SHORT else -1
        phrase = opening(choose)
        answer: int | None = None
        while left:
            if depth < DEEPEST and choose.random() < INTERRUPTED:
                yield from _converse(devices, outside, choose, depth + 1)
            try:
                step = next(phrase) if answer is None else phrase.send(answer)
            except StopIteration:
                break
            answer = yield step
            left -= 1
        if depth > 1:
            return


# -- phrases of the grammars ------------------------------------------------------------------------------------------


def _of_the_grammar(entry: DeviceEntry) -> Sequence[Opening]:
    grammar = entry.type.grammar
    return [] if grammar is None else grammar.phrases(entry.name, entry.config)


# -- random accesses --------------------------------------------------------------------------------------------------


def _blind(machine: Machine, entry: DeviceEntry) -> list[Opening]:
    """Return openings of random accesses to a device's claims and frontends."""
    claims = machine.devices.claims(entry.name)
    openings: list[Opening] = []
    for kind, say in ((Resource.PORT, _ports), (Resource.MEMORY, _memory), (Resource.MSR, _msrs)):
        numbers = [range(claim.first, claim.first + claim.count) for claim in claims if claim.kind is kind]
        if numbers:
            openings += [say(numbers)] * 4
    frontends = machine.devices.frontends
    openings += [_serial_line(name) for name in frontends["char"].of(entry.name)]
    openings += [_medium(name) for name in frontends["block"].of(entry.name) if name in frontends["block"].backends]
    openings += [_network(name) for name in frontends["net"].of(entry.name)]
    return openings


def _ports(claims: Sequence[range]) -> Opening:
    def phrase(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 4)):
            port, width = choose.choice(choose.choice(claims)), choose.choices((1, 2, 4), (12, 2, 1))[0]
            if choose.random() < 0.5:
                yield In(port, width)
            else:
                yield Out(port, _value(choose, width), width)

    return phrase


def _memory(claims: Sequence[range]) -> Opening:
    def phrase(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 4)):
            claim, width = choose.choice(claims), choose.choice((1, 2, 4, 4, 8))
            address = claim.start + choose.randrange(max(1, len(claim) // width)) * width
            if choose.random() < 0.5:
                yield Read(address, width)
            else:
                yield Write(address, _value(choose, width), width)

    return phrase


def _msrs(claims: Sequence[range]) -> Opening:
    def phrase(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 4)):
            msr = choose.choice(choose.choice(claims))
            yield Rdmsr(msr) if choose.random() < 0.5 else Wrmsr(msr, _value(choose, 8))

    return phrase


def _value(choose: Random, width: int) -> int:
    """Return a number that is random, or has one bit set, or is one of the ends."""
    bits = 8 * width
    return choose.choice(
        (0, 1, (1 << bits) - 1, 1 << choose.randrange(bits), *(choose.randrange(1 << bits) for _ in range(4)))
    )


def _serial_line(frontend: str) -> Opening:
    def phrase(choose: Random) -> Phrase:
        kind = choose.randrange(10)
        if kind == 9:
            yield Plug(frontend, plugged=False)
            if choose.random() < 0.8:
                yield Plug(frontend, plugged=True)
        elif kind % 3 == 0:
            errors = choose.choice((0, 0, 0, *(int(error) for error in LineError)))
            yield Receive(frontend, choose.randbytes(choose.choice((1, 1, 2, 5, 20))), errors)
        elif kind % 3 == 1:
            yield Modem(frontend, choose.randrange(16) << 4)
        else:
            yield Room(frontend, choose.choice((0, 0, 1, 2, 20, None)))

    return phrase


def _medium(frontend: str) -> Opening:
    def phrase(choose: Random) -> Phrase:
        if choose.random() < 0.6:
            yield Medium(frontend, works=choose.random() < 0.7)
            if choose.random() < 0.5:
                yield Retry()
        else:
            yield Plug(frontend, plugged=choose.random() < 0.6)

    return phrase


def _network(frontend: str) -> Opening:
    def phrase(choose: Random) -> Phrase:
        yield Frame(frontend, choose.randbytes(choose.choice((14, 60, 64, 1514))))

    return phrase


# -- the outside world ------------------------------------------------------------------------------------------------


def _outside(machine: Machine) -> list[Opening]:
    """Return openings of what happens outside the devices, most of all waits."""
    openings: list[Opening] = [_any_time(machine), _until_a_deadline, _just_before_a_deadline(machine)] * 6 + [_reset]
    if machine.irq.controller is not None:
        openings += [_line, _acknowledge] * 3
    return openings


def _any_time(machine: Machine) -> Opening:
    def phrase(choose: Random) -> Phrase:
        clock = machine.clock
        ns = int(LONGEST_WAIT ** choose.random())  # every order of magnitude as often as any other
        if clock.next_deadline is not None:
            ns = min(ns, MANY_DEADLINES * max(1, clock.next_deadline - clock.now))
        yield Wait(ns)

    return phrase


def _until_a_deadline(_: Random) -> Phrase:
    yield Wait()


def _just_before_a_deadline(machine: Machine) -> Opening:
    def phrase(_: Random) -> Phrase:
        clock = machine.clock
        if clock.next_deadline is not None:
            yield Wait(max(0, clock.next_deadline - clock.now - 1))

    return phrase


def _line(choose: Random) -> Phrase:
    number = choose.randrange(LINES)
    yield Line(number, level=True)
    if choose.random() < 0.7:
        yield Line(number, level=False)


def _acknowledge(_: Random) -> Phrase:
    yield Acknowledge()


def _reset(_: Random) -> Phrase:
    yield Reset()
