"""A serial port to test character backends with, and the part of a run loop that they see."""

import os
import select
from collections.abc import Callable

from chkpt.device import CharBackend, LineError, ModemLine


class Terminal:
    """A character frontend with a little room, which keeps what it receives and what it has not been able to send."""

    def __init__(self, backend: CharBackend, room: int = 16) -> None:
        self.free = room
        self.received = bytearray()
        self.unsent = bytearray()
        self.backend = backend
        backend.attach(self)

    def connect(self, backend: CharBackend, /) -> None:
        raise NotImplementedError

    def disconnect(self) -> None:
        raise NotImplementedError

    def room(self) -> int:
        return self.free

    def receive(self, data: bytes, errors: LineError = LineError(0), /) -> None:  # noqa: B008 - an immutable flag
        assert 0 < len(data) <= self.free
        self.free -= len(data)
        self.received += data

    def set_modem(self, lines: ModemLine, /) -> None:
        raise NotImplementedError

    def writable(self) -> None:
        del self.unsent[: self.backend.write(bytes(self.unsent))]

    def send(self, data: bytes) -> bool:
        """Send as a UART does, nothing while something waits; return whether all of it went."""
        if self.unsent:
            return False
        self.unsent += data
        self.writable()
        return not self.unsent

    def fill(self, size: int = 16) -> bytes:
        """Send until the host takes no more, nor a while later; return all that was sent, what waits included."""
        sent = bytearray()
        while True:
            while not self.unsent:
                data = bytes((len(sent) + at) % 251 for at in range(size))
                self.send(data)
                sent += data
            if not is_awake(self.backend, 50):
                return bytes(sent)
            self.backend.poll()


def is_awake(backend: CharBackend, milliseconds: int = 0) -> bool:
    """Whether a run loop would call `poll` within this time."""
    descriptor = backend.fileno()
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | (select.POLLOUT if backend.wants_write() else 0))
    return bool(poll.poll(milliseconds))


def read_exactly(descriptor: int, count: int) -> bytes:
    """Read `count` bytes, waiting for them; fail when they do not come, or more do."""
    data = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(data) < count:
        assert poll.poll(5000), f"only {len(data)} bytes of {count} came"
        data += os.read(descriptor, 1 << 16)
    assert len(data) == count
    return bytes(data)


def run(backend: CharBackend, until: Callable[[], object], rounds: int = 10_000) -> None:
    """Turn the run loop until something is so; fail when it never becomes so."""
    for _ in range(rounds):
        if until():
            return
        descriptor = backend.fileno()
        if descriptor is None:
            raise AssertionError("the backend waits for nothing")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if backend.wants_write() else 0))
        assert poll.poll(5000), "the backend is never ready"
        backend.poll()
    raise AssertionError(f"not so after {rounds} rounds")


def settle(backend: CharBackend, rounds: int = 100) -> None:
    """Turn the run loop until it would sleep; fail when it would spin."""
    for _ in range(rounds):
        if not is_awake(backend):
            return
        backend.poll()
    raise AssertionError(f"still awake after {rounds} rounds")
