"""A small device that is as it should be, and copies of it with one fault each."""

from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from chkpt.device import U8, U16, CharBackend, DeviceType, Host, LineError, ModemLine, Port, Time
from chkpt.errors import StateError


@dataclass(frozen=True, slots=True)
class RelayState:
    VERSION: ClassVar[int] = 1

    value: U8
    level: bool
    deadline: Time | None
    waiting: bool


@dataclass(frozen=True, slots=True)
class RelayConfig:
    port: U16 = 0x300


class Relay:
    """A byte at `port`. Written, it waits until it is read at the next port, which sends it on, and rings 1 us later.

    It answers at four bytes of memory, an MSR and a serial line as well.
    """

    def __init__(self, host: Host, config: RelayConfig) -> None:
        self.clock = host.clock
        self.line = host.irq_line(5)
        self.timer = host.timer(lambda: self.drive(True))
        self.backend: CharBackend | None = None
        host.claim_ports(config.port, [Port(self.read, self.write), Port(self.send)])
        host.claim_memory(
            0xF000_0000, 4, lambda _offset, _width: self.value, lambda _o, _w, value: self.write(value & 0xFF)
        )
        host.claim_msrs(0x4000_0000, 1, lambda _: self.value, lambda _, value: self.write(value & 0xFF))
        host.add_char_frontend(self)
        self.reset()

    def reset(self) -> None:
        self.value = 0
        self.waiting = False
        self.timer.cancel()
        self.drive(False)

    def save(self) -> RelayState:
        return RelayState(self.value, self.level, self.timer.deadline, self.waiting)

    def load(self, state: RelayState) -> None:
        self.value = state.value
        self.waiting = state.waiting
        self.arm(state.deadline)
        self.drive(state.level)

    def arm(self, deadline: int | None) -> None:
        if deadline is None:
            self.timer.cancel()
        else:
            self.timer.arm(deadline)

    def drive(self, level: bool) -> None:
        self.level = level
        self.line.set(level)

    def read(self) -> int:
        self.drive(False)
        return self.value

    def write(self, value: int) -> None:
        self.value = value
        self.waiting = True

    def send(self) -> int:
        if self.waiting and self.backend is not None:
            self.backend.write(bytes([self.value]))
        was, self.waiting = self.waiting, False
        self.timer.arm(self.clock.now + 1000)
        return int(was)

    # -- the frontend

    def connect(self, backend: CharBackend, /) -> None:
        self.backend = backend

    def disconnect(self) -> None:
        self.backend = None

    def room(self) -> int:
        return 1

    def receive(self, data: bytes, errors: LineError = LineError.NONE, /) -> None:
        self.value = data[-1] if data else int(errors)

    def set_modem(self, lines: ModemLine, /) -> None:
        pass

    def writable(self) -> None:
        pass


def relay_type(cls: type[Relay], **options: Any) -> DeviceType[RelayConfig, RelayState]:
    return DeviceType("relay", cls, RelayConfig, RelayState, **options)


class LoadsNoValue(Relay):
    def load(self, state: RelayState) -> None:
        value = self.value
        super().load(state)
        self.value = value


class ArmsNoTimer(Relay):
    def load(self, state: RelayState) -> None:
        super().load(state)
        self.timer.cancel()


class InventsALevel(Relay):
    def load(self, state: RelayState) -> None:
        super().load(state)
        self.line.set(True)


class ForgetsThatAByteWaits(Relay):
    def save(self) -> RelayState:
        return RelayState(self.value, self.level, self.timer.deadline, waiting=False)


class SavesAndForgets(Relay):
    """To save it changes it."""

    def save(self) -> RelayState:
        state = super().save()
        self.waiting = False
        return state


class Fails(Relay):
    def write(self, value: int) -> None:
        if value == 0xFF:
            raise KeyError("no such value")
        super().write(value)


class RefusesItsOwn(Relay):
    def load(self, state: RelayState) -> None:
        if state.waiting:
            raise StateError("waiting is what it cannot be")
        super().load(state)


class ClearsNothing(Relay):
    """Counts writes in an attribute that is no state: a new machine has none, as one has that was saved at once."""

    def reset(self) -> None:
        super().reset()
        self.writes = 0

    def write(self, value: int) -> None:
        super().write(value)
        self.writes = 1

    def read(self) -> int:
        value = super().read()
        return value ^ 0x80 if self.writes and value == 0 else value

    def save(self) -> RelayState:
        state = super().save()
        self.writes = 0  # it knows that nothing is left of them after a save, and is wrong
        return state


class Caches(Relay):
    """Keeps what follows from its state anyway."""

    def reset(self) -> None:
        super().reset()
        self.cache: list[int] = []

    def read(self) -> int:
        self.cache.append(self.value)
        return super().read()


class Guarded(Relay):
    """Shows a flag that is no state only after three writes in a row that no noise makes."""

    code: ClassVar[tuple[int, ...]] = (0x12, 0x34, 0x56)

    def reset(self) -> None:
        super().reset()
        self.flag = False
        self.last: list[int] = []

    def write(self, value: int) -> None:
        self.last = [*self.last[-2:], value]
        if value == 0x77:
            self.flag = True
        super().write(value)

    def read(self) -> int:
        value = super().read()
        return value ^ 1 if self.flag and tuple(self.last) == self.code else value

    def save(self) -> RelayState:
        return super().save()


class Counts(Relay):
    """Answers what no machine can know: how often any device of its kind was read."""

    reads: ClassVar["count[int]"] = count()

    def read(self) -> int:
        super().read()
        return next(self.reads) & 0xFF
