"""A whole device in one page: a register, an interrupt line, and a timer. README, "Write your own device"."""

# ruff: noqa: D101, D102  the README tells what it is
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from chkpt.device import U4, U8, U16, DeviceType, Host, Port, Time
from chkpt.grammar import Grammar, In, Out, Phrase, Wait


@dataclass(frozen=True, slots=True)
class ScratchpadState:
    VERSION: ClassVar[int] = 1

    scr: U8
    pending: bool  # the level of the interrupt line
    deadline: Time | None  # when it rises


@dataclass(frozen=True, slots=True)
class ScratchpadConfig:
    port: U16 = 0x2E0
    irq: U4 = 5


class Scratchpad:
    def __init__(self, host: Host, config: ScratchpadConfig) -> None:
        self._clock = host.clock
        self._line = host.irq_line(config.irq)
        self._alarm = host.timer(lambda: self._drive(True))
        host.claim_ports(config.port, [Port(read=self._read, write=self._write)])
        self.reset()

    def reset(self) -> None:
        self._scr = 0
        self._alarm.cancel()
        self._drive(False)

    def save(self) -> ScratchpadState:
        return ScratchpadState(self._scr, self._pending, self._alarm.deadline)

    def load(self, state: ScratchpadState) -> None:
        self._scr = state.scr
        if state.deadline is None:
            self._alarm.cancel()
        else:
            self._alarm.arm(state.deadline)
        self._drive(state.pending)

    def _drive(self, level: bool) -> None:
        self._pending = level
        self._line.set(level)

    def _read(self) -> int:
        self._drive(False)
        return self._scr

    def _write(self, value: int) -> None:
        self._scr = value
        self._alarm.arm(self._clock.now + value * 1000)  # the line rises that many microseconds from now


def phrases(_: str, config: ScratchpadConfig) -> list[Callable[[Random], Phrase]]:
    """How a driver talks to it, for chkpt prove."""

    def alarm(choose: Random) -> Phrase:
        microseconds = choose.randrange(256)
        yield Out(config.port, microseconds)
        yield Wait(microseconds * 1000 - choose.choice((0, 0, 1, 500)))
        yield In(config.port)

    return [alarm]


SCRATCHPAD = DeviceType("scratchpad", Scratchpad, ScratchpadConfig, ScratchpadState, Grammar(phrases))
