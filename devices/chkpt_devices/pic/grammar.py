"""How a driver talks to the 8259A pair: initialisations, masks, ends of interrupts, polls, and the lines themselves."""

from collections.abc import Callable
from random import Random
from typing import Final

from chkpt.grammar import Acknowledge, Grammar, In, Line, Out, Phrase
from chkpt_devices.pic.config import PicConfig

EOI: Final = (0x20, 0x60, 0xA0, 0xE0, 0xC0, 0x80, 0x00)  # OCW2, datasheet "Operation Command Word 2"
WITH_LEVEL: Final = 0x40  # set in those that have the level in bits 2-0
OCW3: Final = (0x0A, 0x0B, 0x0C, 0x0E, 0x48, 0x68, 0x6B)  # IRR, ISR, poll, special mask off and on


def _phrases(_: str, config: PicConfig) -> list[Callable[[Random], Phrase]]:
    ports = (config.master_port, config.slave_port)

    def initialise(choose: Random) -> Phrase:
        slave = choose.randrange(2)
        port = ports[slave]
        icw1 = 0x10 | choose.choice((0x01, 0x01, 0x01, choose.randrange(16)))
        yield Out(port, icw1)
        yield Out(port + 1, choose.choice((0x20, 0x28, choose.randrange(256))))
        if not icw1 & 2:
            yield Out(port + 1, choose.choice((2 if slave else 4, choose.randrange(256))))
        if icw1 & 1:
            yield Out(port + 1, choose.choice((0x01, 0x03, 0x11, 0x13, choose.randrange(32))))
        yield Out(port + 1, choose.choice((0, 0, choose.randrange(256))))

    def request(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 4)):
            number = choose.choice([n for n in range(16) if n != 2])
            yield Line(number, level=True)
            if choose.random() < 0.5:
                yield Line(number, level=False)

    def serve(choose: Random) -> Phrase:
        yield from request(choose)
        for _ in range(choose.randint(1, 3)):
            yield Acknowledge()
        for _ in range(choose.randint(0, 3)):
            yield from end(choose)

    def end(choose: Random) -> Phrase:
        ocw2 = choose.choice(EOI)
        yield Out(choose.choice(ports), ocw2 | choose.randrange(8) if ocw2 & WITH_LEVEL else ocw2)

    def mask(choose: Random) -> Phrase:
        yield Out(choose.choice(ports) + 1, choose.choice((0, 0xFF, choose.randrange(256))))

    def look(choose: Random) -> Phrase:
        port = choose.choice(ports)
        yield Out(port, choose.choice(OCW3))
        yield In(choose.choice((port, port, port + 1)))
        yield In(port)

    def trigger(choose: Random) -> Phrase:
        yield Out(config.elcr_port + choose.randrange(2), choose.randrange(256))
        yield from request(choose)

    return [initialise, initialise, request, serve, serve, end, mask, look, look, trigger]


PIC_GRAMMAR: Final = Grammar(_phrases, caches=("_spares",))  # chips on which a load tries a state
