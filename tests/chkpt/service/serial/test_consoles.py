"""Consoles of a serial port: what goes to them, what comes from them, and what they cannot do to the guest."""

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.service.serial import consoles
from chkpt.service.serial.consoles import MAX_CONNECTIONS, MAX_UNSENT, Consoles
from chkpt.service.serial.tap import Tap
from tests.support.served import COM1, table

RBR_THR, FCR, LSR = 0x3F8, 0x3FA, 0x3FD


class Bench:
    """A machine with a serial port and its consoles, polled by hand as the run loop does it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.machine = Machine(parse(table(COM1)))
        self.tap = Tap()
        self.machine.devices.connect_char("com1", self.tap)
        self.machine.ports.outb(FCR, 0x01)
        self.paused = False
        self.consoles = Consoles(sockets.listen(path), self.tap, lambda: self.paused)

    def attach(self) -> socket.socket:
        stream = sockets.connect(self.path)
        stream.setblocking(False)
        self.run()
        return stream

    def ready(self) -> bool:
        fd = self.consoles.fileno()
        assert fd is not None
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))

    def run(self, rounds: int = 1000) -> None:
        """Run until nothing is ready. A descriptor that stays ready for nothing would spin the run loop."""
        for _ in range(rounds):
            if not self.ready():
                return
            self.consoles.poll()
        pytest.fail("the run loop would spin")

    def send(self, data: bytes) -> None:
        """Let the guest send."""
        for byte in data:
            self.machine.ports.outb(RBR_THR, byte)

    def received(self) -> bytes:
        """Let the guest read what it has."""
        data = bytearray()
        while self.machine.ports.inb(LSR) & 1:
            data.append(self.machine.ports.inb(RBR_THR))
        return bytes(data)


@pytest.fixture
def bench(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(consoles, "LAST_MS", 600_000)  # however busy this host is
    made = Bench(runtime / "com1.console")
    yield made
    made.consoles.close()
    made.machine.close()


def test_output_goes_to_every_console(bench: Bench) -> None:
    with bench.attach() as one, bench.attach() as two:
        bench.send(b"hello")
        assert one.recv(100) == two.recv(100) == b"hello"


def test_output_before_is_not_repeated(bench: Bench) -> None:
    bench.send(b"before")
    with bench.attach() as one:
        bench.send(b"after")
        assert one.recv(100) == b"after"


def test_input_comes_from_every_console(bench: Bench) -> None:
    with bench.attach() as one, bench.attach() as two:
        one.send(b"a")
        bench.run()
        two.send(b"b")
        bench.run()
        assert bench.received() == b"ab"


def test_no_input_overruns_the_port(bench: Bench) -> None:
    text = bytes(range(0x20, 0x7F)) * 3
    with bench.attach() as one, bench.attach() as two:
        one.send(text)
        two.send(text)
        got = bytearray()
        while len(got) < 2 * len(text):
            bench.run()
            assert not bench.machine.ports.inb(LSR) & 2
            read = bench.received()
            assert 0 < len(read) <= 16
            got += read
        assert sorted(got) == sorted(text * 2)


def test_paused_machine_takes_no_input_but_gives_output(bench: Bench) -> None:
    with bench.attach() as one:
        bench.paused = True
        one.send(b"x")
        bench.run()
        assert bench.received() == b""
        bench.send(b"out")
        assert one.recv(100) == b"out"
        bench.paused = False
        bench.run()
        assert bench.received() == b"x"


def test_slow_console_loses_the_oldest_and_no_other_console_anything(bench: Bench) -> None:
    with bench.attach() as slow, bench.attach() as quick:
        seen = bytearray()
        sent = bytearray()
        for number in range(100_000):
            if len(sent) > 4 * MAX_UNSENT + 500_000:
                break
            data = b"%06d\n" % number
            bench.tap.write(data)
            sent += data
            if number % 100 == 0:
                seen += quick.recv(1 << 20)
        bench.run()
        seen += quick.recv(1 << 20)
        assert seen == sent
        got = bytearray()
        while True:
            try:
                got += slow.recv(1 << 20)
            except BlockingIOError:
                if not bench.ready():
                    break
                bench.consoles.poll()
        assert len(got) < len(sent)
        assert sent.endswith(got[-MAX_UNSENT:])
        bench.send(b"on")
        assert slow.recv(100) == b"on"


def test_blocked_console_does_not_spin_the_loop(bench: Bench) -> None:
    with bench.attach() as slow:
        bench.tap.write(b"x" * (1 << 22))
        bench.run()
        assert slow.recv(10) == b"x" * 10


def test_end_of_typing_is_not_the_end_of_reading(bench: Bench) -> None:
    with bench.attach() as one:
        one.send(b"last")
        one.shutdown(socket.SHUT_WR)
        bench.run()
        assert bench.received() == b"last"
        bench.run()
        bench.send(b"still here")
        assert one.recv(100) == b"still here"


@pytest.mark.parametrize("unread", [False, True])
def test_what_was_typed_before_hanging_up_arrives(bench: Bench, unread: bool) -> None:
    with bench.attach() as one:
        if unread:
            bench.send(b"never read")
        one.send(b"0123456789" * 4)
    got = b""
    for _ in range(5):
        bench.run()
        got += bench.received()
    assert got == b"0123456789" * 4
    assert not bench.consoles._connections


def test_hung_up_console_is_forgotten_even_when_the_guest_never_reads(bench: Bench) -> None:
    with bench.attach() as one:
        one.send(b"x" * 16)
        bench.run()
    bench.run()
    bench.consoles.fileno()
    assert not bench.consoles._connections


def test_output_to_a_console_that_hung_up_is_dropped(bench: Bench) -> None:
    bench.attach().close()
    bench.send(b"nobody")
    bench.run()
    bench.consoles.fileno()
    assert not bench.consoles._connections


def test_hang_up_while_paused_does_not_spin_the_loop(bench: Bench) -> None:
    with bench.attach() as one:
        bench.paused = True
        one.send(b"typed")
    bench.run()
    bench.paused = False
    bench.run()
    assert bench.received() == b"typed"


def test_too_many_consoles_are_turned_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "MAX_CONNECTIONS", 2)
    assert MAX_CONNECTIONS > 2
    with bench.attach() as one, bench.attach(), bench.attach() as third:
        assert third.recv(1) == b""
        bench.send(b"x")
        assert one.recv(1) == b"x"


# -- this process's own -----------------------------------------------------------------------------------------------


def read_all(stream: socket.socket, seen: bytearray) -> None:
    while data := stream.recv(1 << 16):
        seen += data


def test_own_stream_gets_all_from_the_first_byte_on_and_the_last_before_its_end(bench: Bench) -> None:
    own = bench.consoles.attach(lambda: False)
    data = bytes(n & 0xFF for n in range(MAX_UNSENT * 6))
    seen = bytearray()
    with own:
        bench.tap.write(data[:1])
        assert own.recv(1) == data[:1]
        reader = threading.Thread(target=read_all, args=(own, seen))
        reader.start()
        for at in range(1, len(data), 1000):
            bench.tap.write(data[at : at + 1000])
            assert bench.consoles._own is not None
            assert len(bench.consoles._own.unsent) < MAX_UNSENT + 1000
        bench.consoles.conclude()
        reader.join()
    assert data[:1] + seen == data


def test_own_stream_that_does_not_read_lets_the_machine_go_on_where_it_is_called(bench: Bench) -> None:
    asked: list[int] = []

    def called() -> bool:
        asked.append(1)
        return True

    with bench.consoles.attach(called) as own:
        for _ in range(20):
            bench.tap.write(bytes(MAX_UNSENT))
        seen = bytearray()
        reader = threading.Thread(target=read_all, args=(own, seen))
        reader.start()
        bench.consoles.conclude()
        reader.join()
    assert asked
    assert len(seen) == 20 * MAX_UNSENT


def test_own_stream_that_hung_up_holds_nothing(bench: Bench) -> None:
    with bench.consoles.attach(lambda: False) as own:
        own.sendall(b"x")
    for _ in range(20):
        bench.tap.write(bytes(MAX_UNSENT))
    bench.run()
    assert bench.received() == b"x"
    bench.consoles.conclude()
    with bench.attach() as other:
        bench.send(b"to another")
        assert other.recv(100) == b"to another"


def test_own_stream_types_as_any_console(bench: Bench) -> None:
    with bench.consoles.attach(lambda: False) as own:
        own.sendall(b"abc")
        bench.run()
        assert bench.received() == b"abc"
        bench.consoles.conclude()
        assert own.recv(1) == b""


def test_closing_ends_every_console(bench: Bench) -> None:
    with bench.attach() as one:
        bench.consoles.close()
        assert one.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            bench.attach()
        bench.consoles = Consoles(sockets.listen(bench.path.with_name("again")), Tap(), lambda: False)
