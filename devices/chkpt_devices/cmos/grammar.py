"""How a driver talks to the MC146818A: sets and reads the time, asks for its interrupts, keeps bytes in its RAM."""

from collections.abc import Callable
from random import Random
from typing import Final

from chkpt.grammar import Grammar, In, Out, Phrase, Wait
from chkpt_devices.cmos.config import CmosConfig

SECOND: Final = 1_000_000_000
A, B, C = 10, 11, 12
MODES: Final = (0x02, 0x02, 0x00, 0x04, 0x06)
LAST: Final = {
    0x00: (0x59, 0x59, 0x91, 0x07, 0x31, 0x12, 0x99),
    0x02: (0x59, 0x59, 0x23, 0x07, 0x28, 0x02, 0x99),
    0x04: (59, 59, 0x8B, 7, 30, 11, 99),
    0x06: (59, 59, 23, 7, 29, 2, 96),
}
"""The last moments of something, for each mode."""


def _phrases(_: str, config: CmosConfig) -> list[Callable[[Random], Phrase]]:  # noqa: PLR0915  one phrase after another
    index, data = config.port, config.port + 1

    def put(register: int, value: int) -> Phrase:
        yield Out(index, register)
        yield Out(data, value)

    def set_time(choose: Random) -> Phrase:
        mode = choose.choice(MODES)
        yield from put(B, 0x80 | mode)
        for register, value in zip((0, 2, 4, 6, 7, 8, 9), LAST[mode], strict=True):
            if choose.random() < 0.7:
                yield from put(register, value if choose.random() < 0.8 else choose.randrange(256))
        if choose.random() < 0.3:
            yield Wait(choose.choice((1_000, 1_000_000, SECOND)))
        yield from put(B, mode | choose.choice((0, 0x10, 0x20, 0x40, 0x70)))
        yield from pass_seconds(choose)

    def read_time(choose: Random) -> Phrase:
        yield Out(index, A)
        if (yield In(data)) & 0x80 and choose.random() < 0.5:
            yield Wait(2_228_000)
        for register in range(10):
            yield Out(index, register)
            yield In(data)

    def alarm(choose: Random) -> Phrase:
        yield Out(index, 0)
        soon = ((yield In(data)) & 0x7F) + choose.choice((1, 1, 2, 7))
        yield from put(1, choose.choice((soon, soon, 0xC0, choose.randrange(256))))
        yield from put(3, choose.choice((0xC0, 0xFF, 0xFF, choose.randrange(256))))
        yield from put(5, choose.choice((0xC0, 0xFF, 0xFF, choose.randrange(256))))
        yield from enable(choose)
        yield from pass_seconds(choose)
        yield from flags(choose)

    def enable(choose: Random) -> Phrase:
        yield from put(B, choose.choice((0x02, 0x12, 0x22, 0x42, 0x72, choose.randrange(256))))

    def flags(choose: Random) -> Phrase:
        yield Out(index, C)
        for _ in range(choose.choice((1, 1, 2))):
            yield In(data)

    def rate(choose: Random) -> Phrase:
        yield from put(A, choose.choice((0x26, 0x20 | choose.randrange(16), choose.randrange(128), 0x70)))
        yield Wait(choose.choice((1_000, 976_562, 976_563, 3_906_250, 500_000_000)))
        yield from flags(choose)

    def near_an_update(choose: Random) -> Phrase:
        if choose.random() < 0.5:  # release the chain: then it is known when the update comes
            yield from put(A, 0x70)
            yield from put(A, 0x26)
            yield Wait(SECOND // 2 - choose.choice((0, 243_999, 244_000, 244_001)))
        yield from put(B, choose.choice((0x82, 0x02)))
        yield from put(B, 0x02)
        yield Out(index, A)
        yield In(data)
        yield Wait(choose.choice((1, 1_984_000, 2_228_000)))
        yield In(data)
        yield from flags(choose)

    def remember(choose: Random) -> Phrase:
        register = choose.randrange(14, 128)
        if choose.random() < 0.6:
            yield from put(register, choose.randrange(256))
        else:
            yield Out(index, register | choose.choice((0, 0x80)))
        yield In(data)

    def pass_seconds(choose: Random) -> Phrase:
        yield Wait(choose.choice((SECOND - 1, SECOND, SECOND + 1, 3 * SECOND, choose.randrange(SECOND))))

    return [set_time, set_time, read_time, alarm, alarm, enable, flags, rate, rate, near_an_update, remember]


CMOS_GRAMMAR: Final = Grammar(_phrases)
