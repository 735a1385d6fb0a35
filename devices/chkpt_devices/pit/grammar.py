"""How a driver talks to the 8254: control words with their counts, latches and reads, the gate at port 61h."""

from collections.abc import Callable
from random import Random
from typing import Final

from chkpt.grammar import Grammar, In, Out, Phrase, Wait
from chkpt_devices.pit.config import PitConfig

CLOCK_NS: Final = 838  # one clock of 1 193 182 Hz, rounded down
COUNTS: Final = (0, 1, 2, 3, 4, 9, 10, 0x99, 0x100, 0x0200, 0x9999, 0xFFFF)


def _phrases(_: str, config: PitConfig) -> list[Callable[[Random], Phrase]]:
    control, port_b = config.port + 3, config.speaker_port

    def program(choose: Random) -> Phrase:
        counter, access = choose.randrange(3), choose.choice((1, 2, 3, 3))
        yield Out(control, counter << 6 | access << 4 | choose.randrange(16))
        yield from write_count(choose, counter, access)

    def write_count(choose: Random, counter: int, access: int) -> Phrase:
        for _ in range(choose.choice((1, 1, 2))):
            count = choose.choice((*COUNTS, choose.randrange(0x10000), choose.randrange(200)))
            if access & 1:
                yield Out(config.port + counter, count & 0xFF)
            if access & 2:
                yield Out(config.port + counter, count >> 8)
            yield from pass_time(choose)

    def reload(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 3)):
            yield Out(config.port + choose.randrange(3), choose.choice((0, 1, 5, choose.randrange(256))))

    def latch(choose: Random) -> Phrase:
        if choose.random() < 0.5:
            yield Out(control, choose.randrange(3) << 6)
        else:
            yield Out(control, 0xC0 | choose.randrange(64))
        yield from pass_time(choose)
        yield from read(choose)

    def read(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 6)):
            yield In(config.port + choose.randrange(3))

    def gate(choose: Random) -> Phrase:
        yield Out(port_b, choose.randrange(4))
        yield from pass_time(choose)
        yield In(port_b)

    def pass_time(choose: Random) -> Phrase:
        if choose.random() < 0.6:
            yield Wait(CLOCK_NS * choose.choice((1, 2, 3, 10, 100, 700)) + choose.randrange(3))

    return [program, program, program, reload, latch, latch, read, gate, gate]


PIT_GRAMMAR: Final = Grammar(
    _phrases,
    caches=(  # a counter carries out a reload that is due when it is next read or saved
        "_counters[]._reload_at",
        "_counters[]._null_count",
        "_counters[]._origin",
        "_counters[]._waveform",
    ),
)
