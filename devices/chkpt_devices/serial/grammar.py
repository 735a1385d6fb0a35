"""How a driver and a peer talk through a 16550A."""

from collections.abc import Callable
from random import Random
from typing import Final

from chkpt.device import LineError
from chkpt.grammar import Grammar, In, Modem, Out, Phrase, Receive, Room, Wait
from chkpt_devices.serial.config import SerialConfig

FCR: Final = (0x00, 0x01, 0x07, 0x03, 0x05, 0x41, 0x81, 0xC1)
MCR: Final = (0x00, 0x0B, 0x0B, 0x1B, 0x13, 0x1F)
CHARACTER_NS: Final = 1_041_666  # ten bits at 9600 baud, and less at any faster rate


def _phrases(name: str, config: SerialConfig) -> list[Callable[[Random], Phrase]]:
    rbr, ier, fcr, lcr, mcr, lsr, msr, scr = range(config.port, config.port + 8)
    iir, thr = fcr, rbr

    def set_up(choose: Random) -> Phrase:
        word = choose.choice((0x03, 0x03, choose.randrange(0x80)))
        if choose.random() < 0.5:
            yield Out(lcr, word | 0x80)
            yield Out(rbr, choose.choice((1, 12, choose.randrange(256))))
            yield Out(ier, choose.choice((0, 0, choose.randrange(256))))
        yield Out(lcr, word)
        yield Out(fcr, choose.choice(FCR))
        yield Out(mcr, choose.choice((*MCR, choose.randrange(32))))
        yield Out(ier, choose.randrange(16))

    def hear(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 3)):
            errors = choose.choice((0, 0, 0, LineError.PARITY, LineError.FRAMING, LineError.BREAK | LineError.FRAMING))
            yield Receive(name, choose.randbytes(choose.choice((1, 1, 2, 4, 8, 14, 17))), int(errors))
            if choose.random() < 0.5:
                yield Wait(CHARACTER_NS * choose.choice((1, 4, 5)) // choose.choice((1, 12)))

    def drain(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 20)):
            if not (yield In(lsr)) & 1:
                break
            yield In(rbr)

    def send(choose: Random) -> Phrase:
        if choose.random() < 0.4:
            yield Room(name, choose.choice((0, 1, 3, None)))
        for _ in range(choose.choice((1, 2, 16, 20))):
            yield Out(thr, choose.randrange(256))
        yield In(choose.choice((iir, lsr)))
        if choose.random() < 0.4:
            yield Room(name, choose.choice((1, 2, None)))

    def serve(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 4)):
            identification = yield In(iir)
            if identification & 1:
                break
            if choose.random() < 0.8:
                yield In({0: msr, 2: iir, 4: rbr, 6: lsr, 12: rbr}.get(identification & 0x0F, iir))

    def modem(choose: Random) -> Phrase:
        yield Modem(name, choose.randrange(16) << 4)
        if choose.random() < 0.5:
            yield In(msr)

    def switch(choose: Random) -> Phrase:
        register = choose.choice((ier, fcr, lcr, mcr, scr))
        values = {ier: range(16), fcr: FCR, mcr: range(32)}.get(register, range(256))
        yield Out(register, choose.choice(values))

    def look(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 4)):
            yield In(choose.choice((rbr, ier, iir, lcr, mcr, lsr, msr, scr)))

    return [set_up, set_up, hear, hear, drain, send, send, serve, modem, switch, look]


SERIAL_GRAMMAR: Final = Grammar(_phrases)
