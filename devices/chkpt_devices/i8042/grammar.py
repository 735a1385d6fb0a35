"""How a BIOS, a driver and a user at the keyboard talk through an 8042."""

from collections.abc import Callable
from random import Random
from typing import Final

from chkpt.grammar import Grammar, In, Out, Phrase, Receive
from chkpt_devices.i8042.config import I8042Config

COMMANDS: Final = (0x20, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAD, 0xAE, 0xC0, 0xD0, 0xDD, 0xDF, 0xE0, 0xF1)
COMMAND_BYTES: Final = (0x03, 0x47, 0x47, 0x45, 0x57, 0x75, 0x00)
KEYBOARD: Final = (0xEE, 0xF2, 0xF4, 0xF4, 0xF5, 0xF6, 0xF8, 0xFE, 0xFE, 0xFF, 0x12)
RESET: Final = 0xFE


def _phrases(name: str, config: I8042Config) -> list[Callable[[Random], Phrase]]:
    data, command = config.data_port, config.command_port

    def drain(choose: Random) -> Phrase:
        for _ in range(choose.randint(1, 8)):
            if not (yield In(command)) & 1:
                break
            yield In(data)

    def ask(choose: Random) -> Phrase:
        yield Out(command, choose.choice(COMMANDS))
        if choose.random() < 0.7:
            yield In(data)

    def configure(choose: Random) -> Phrase:
        yield Out(command, 0x60)
        yield Out(data, choose.choice((*COMMAND_BYTES, choose.randrange(256))))

    def loop_back(choose: Random) -> Phrase:
        yield Out(command, choose.choice((0xD2, 0xD3, 0xD4)))
        yield Out(data, choose.randrange(256))
        yield from drain(choose)

    def output_port(choose: Random) -> Phrase:
        yield Out(command, 0xD1)
        yield Out(data, choose.choice((0xDF, 0xDD, choose.randrange(256) | 1)))
        yield Out(command, 0xD0)
        yield In(data)

    def instruct(choose: Random) -> Phrase:
        yield Out(data, choose.choice(KEYBOARD))
        if choose.random() < 0.7:
            yield from drain(choose)

    def with_parameter(choose: Random) -> Phrase:
        instruction = choose.choice((0xED, 0xF0, 0xF0, 0xF0, 0xF3, 0xFB))
        yield Out(data, instruction)
        yield In(data)
        yield Out(data, choose.randrange(4) if instruction == 0xF0 else choose.randrange(256))
        yield from drain(choose)

    def strike(choose: Random) -> Phrase:
        if choose.random() < 0.2:
            yield Out(data, 0xF4)
        codes = b"aZ5\r\x03~" if config.input == "text" else b"\xf0\xf0\x1c\xe0\x83"
        yield Receive(name, bytes(choose.choices(codes, k=choose.choice((1, 1, 2, 5)))))
        if choose.random() < 0.6:
            yield from drain(choose)

    def restart(_: Random) -> Phrase:
        yield Out(command, RESET)

    often = [drain, ask, ask, configure, loop_back, output_port, instruct, instruct, with_parameter]
    return [*often, *often, strike, strike, strike, strike, restart]


I8042_GRAMMAR: Final = Grammar(_phrases, tables=({}, {"input": "scan codes"}))
