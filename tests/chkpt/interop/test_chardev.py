"""qtest over a chardev: QEMU's syntax, and real conversations over sockets and pipes through the run loop."""

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.errors import StorageError, UsageError
from chkpt.interop import chardev
from chkpt.interop.chardev import Chardev, QtestChannel, parse_chardev
from chkpt.machine import Machine
from chkpt.machine.run.loop import RunLoop
from tests.support.small import cell, machine

# -- syntax -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stdio", Chardev(None)),
        ("unix:q.sock", Chardev(Path("q.sock"), server=False, wait=True)),
        ("unix:/run/q", Chardev(Path("/run/q"))),
        ("unix:/run/a:b", Chardev(Path("/run/a:b"))),
        ("unix:q,server=on", Chardev(Path("q"), server=True, wait=True)),
        ("unix:q,server=on,wait=off", Chardev(Path("q"), server=True, wait=False)),
        ("unix:q,server,wait=off", Chardev(Path("q"), server=True, wait=False)),
        ("unix:q,wait=off,server=on", Chardev(Path("q"), server=True, wait=False)),
        ("unix:q,server=off,wait=on", Chardev(Path("q"), server=False, wait=True)),
    ],
)
def test_a_chardev_is_written_as_for_qemu(text: str, expected: Chardev) -> None:
    assert parse_chardev(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write unix:PATH, unix:PATH,server=on,wait=off or stdio"),
        ("unix", "write unix:PATH"),
        ("unix:", "write unix:PATH"),
        ("unix:,server=on", "write unix:PATH"),
        ("stdio:x", "write unix:PATH"),
        ("tcp:localhost:1234", "write unix:PATH"),
        ("q.sock", "write unix:PATH"),
        ("unix:q,server=yes", "not 'server=yes'"),
        ("unix:q,nowait", "not 'nowait'"),
        ("unix:q,", "not ''"),
        ("unix:q,server=on,delay=off", "not 'delay=off'"),
    ],
)
def test_anything_else_is_a_usage_error(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_chardev(text)
    assert str(caught.value).startswith(f"--qtest {text}: ")
    assert reason in str(caught.value)


# -- a running machine ------------------------------------------------------------------------------------------------


class Client:
    """The other end of a conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(20)
        self._file = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def line(self) -> str:
        return self._file.readline().decode().rstrip("\n")

    def ask(self, command: str) -> list[str]:
        """Send a command and return the lines up to its answer."""
        self.send(command.encode() + b"\n")
        lines = [self.line()]
        while lines[-1].startswith("IRQ"):
            lines.append(self.line())
        return lines

    def close(self) -> None:
        self._file.close()
        self.connection.close()


class Rig:
    """A machine in a loop of its own thread, and how it is reached."""

    def __init__(self, directory: Path) -> None:
        self.board = machine("controller", "cell:a", memory=1 << 16)
        self.path = directory / "q.sock"
        self.loop = RunLoop(self.board, wall_clock=False)
        self.ended = threading.Event()
        self.clients: list[Client] = []
        self.channel: QtestChannel | None = None
        self._thread = threading.Thread(target=self.loop.run)

    def open(self, text: str) -> QtestChannel:
        self.channel = QtestChannel(
            self.board, parse_chardev(text), called=lambda: self.loop.has_calls, ended=self.ended.set
        )
        self.loop.add(self.channel)
        return self.channel

    def start(self) -> None:
        self._thread.start()

    def client(self) -> Client:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        self.clients.append(Client(connection))
        return self.clients[-1]

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.loop.stop()
        if self._thread.ident is None:
            self.loop.run()
        else:
            self._thread.join(20)
            assert not self._thread.is_alive()
        if self.channel is not None:
            self.channel.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.stop()


@pytest.fixture
def listening(rig: Rig) -> Rig:
    rig.open(f"unix:{rig.path},server=on,wait=off")
    rig.start()
    return rig


def test_a_conversation_over_a_socket(listening: Rig) -> None:
    client = listening.client()
    assert client.ask("irq_intercept_in pic0") == ["OK"]
    assert client.ask("outb 0x110 0x55") == ["OK"]
    assert client.ask("inb 0x110") == ["OK 0x0055"]
    assert client.ask("outb 0x111 5") == ["OK"]
    assert client.ask("clock_step 5000") == ["IRQ raise 5", "OK 5000"]
    assert client.ask("inb 0x111") == ["IRQ lower 5", "OK 0x0000"]
    assert client.ask("bogus") == ["FAIL Unknown command 'bogus'"]


def test_a_long_lock_step_conversation(listening: Rig) -> None:
    client = listening.client()
    for number in range(500):
        assert client.ask(f"outb 0x110 {number & 0xFF}") == ["OK"]
        assert client.ask("inb 0x110") == [f"OK 0x{number & 0xFF:04x}"]


def test_commands_may_be_sent_without_waiting_for_answers(listening: Rig) -> None:
    client = listening.client()
    count = 20_000
    sender = threading.Thread(target=client.send, args=(b"clock_step 1\n" * count,))
    sender.start()
    assert [client.line() for _ in range(count)] == [f"OK {number}" for number in range(1, count + 1)]
    sender.join(20)


def test_a_command_may_come_in_pieces(listening: Rig) -> None:
    client = listening.client()
    for piece in (b"out", b"b 0x1", b"10 ", b"7\ninb 0x", b"110\n"):
        client.send(piece)
    assert [client.line(), client.line()] == ["OK", "OK 0x0007"]


def test_a_large_answer_arrives_whole_however_slowly_it_is_read(listening: Rig) -> None:
    client = listening.client()
    client.send(b"memset 0 65536 0xa5\nread 0 65536\nb64read 0 65536\nread 0 65536\nclock_step 1\n")
    assert client.line() == "OK"
    assert client.line() == "OK 0x" + "a5" * 65536
    assert len(client.line()) == 3 + 87384
    assert client.line() == "OK 0x" + "a5" * 65536
    assert client.line() == "OK 1"


def test_a_great_many_large_answers_arrive_whole(listening: Rig) -> None:
    client = listening.client()
    client.send(b"read 0 65536\n" * 100 + b"clock_step 1\n")
    assert [len(client.line()) for _ in range(100)] == [5 + 2 * 65536] * 100
    assert client.line() == "OK 1"
    assert client.ask("clock_step 1") == ["OK 2"]


def test_the_next_client_may_come_when_the_first_has_gone_and_knows_no_level(listening: Rig) -> None:
    first = listening.client()
    assert first.ask("irq_intercept_in pic0") == ["OK"]
    assert first.ask("set_irq_in pic0 unnamed-gpio-in 3 1") == ["IRQ raise 3", "OK"]
    first.close()
    second = listening.client()
    assert second.ask("irq_intercept_in pic0") == ["OK"]
    assert second.ask("set_irq_in pic0 unnamed-gpio-in 3 0") == ["OK"]
    assert second.ask("inb 0x110") == ["OK 0x0000"]
    assert not listening.ended.is_set()


def test_a_second_client_waits_until_the_first_has_gone(listening: Rig) -> None:
    first = listening.client()
    assert first.ask("clock_step 1") == ["OK 1"]
    second = listening.client()
    second.send(b"clock_step 1\n")
    assert first.ask("clock_step 1") == ["OK 2"]
    first.close()
    assert second.line() == "OK 3"


def test_a_client_that_goes_in_mid_line_leaves_nothing_to_the_next(listening: Rig) -> None:
    first = listening.client()
    first.send(b"clock_step 100")
    first.close()
    second = listening.client()
    assert second.ask("clock_step 1") == ["OK 1"]


def test_a_client_that_goes_before_its_answer_does_no_harm(listening: Rig) -> None:
    for _ in range(20):
        client = listening.client()
        client.send(b"read 0 65536\n" * 10)
        client.close()
    assert listening.client().ask("endianness") == ["OK little"]


def test_a_line_that_no_command_caused_is_sent_unasked(listening: Rig) -> None:
    client = listening.client()
    client.ask("irq_intercept_in pic0")
    listening.loop.submit(lambda: listening.board.irq.force(4, True)).result(20)
    assert client.line() == "IRQ raise 4"
    listening.loop.submit(lambda: listening.board.irq.force(4, False)).result(20)
    assert client.line() == "IRQ lower 4"


def test_a_device_may_change_a_line_after_the_client_has_died(listening: Rig) -> None:
    client = listening.client()
    client.ask("irq_intercept_in pic0")

    def die_and_change() -> None:
        client.close()
        for level in (True, False, True):
            listening.board.irq.force(4, level)

    listening.loop.submit(die_and_change).result(20)
    assert listening.client().ask("endianness") == ["OK little"]
    assert listening.loop.error is None


def test_other_callers_get_their_turn_in_the_midst_of_a_burst(listening: Rig) -> None:
    client = listening.client()
    going = threading.Event()

    def chatter() -> None:
        with suppress(OSError):
            while not going.is_set():
                client.ask("clock_step 1")

    thread = threading.Thread(target=chatter)
    thread.start()
    times = [listening.loop.submit(lambda: listening.board.clock.now).result(20) for _ in range(50)]
    going.set()
    thread.join(20)
    assert times == sorted(times)


def test_a_line_that_has_no_end_is_not_kept_for_ever(
    listening: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chardev, "MAX_COMMAND", 1000)
    client = listening.client()
    with suppress(BrokenPipeError, ConnectionResetError):
        client.send(b"x" * 100_000)
        assert client.line() == ""
    assert listening.client().ask("endianness") == ["OK little"]
    assert "line of more than 1000 bytes" in caplog.text


# -- without a thread: the loop's view ---------------------------------------------------------------------------------


def poll_until(rig: Rig, done: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if done():
            return
        rig.loop._wake()
        rig.loop._round()
    assert done()


def test_lines_for_a_client_that_does_not_read_are_given_up_at_last(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chardev, "MAX_UNREAD_IRQ", 1000)
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    client = rig.client()
    client.send(b"irq_intercept_in pic0\n")
    poll_until(rig, lambda: channel._session is not None and channel._session._unwatch is not None)
    for number in range(200):
        rig.board.irq.force(4, number % 2 == 0)
    assert channel._client is None
    assert "does not read" in caplog.text
    assert tuple(rig.board.irq._watchers) == ()


def test_a_client_that_reads_gets_any_number_of_lines(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chardev, "MAX_UNREAD_IRQ", 1000)
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    client = rig.client()
    client.send(b"irq_intercept_in pic0\n")
    poll_until(rig, lambda: channel._session is not None and channel._session._unwatch is not None)
    assert client.line() == "OK"
    for number in range(500):
        rig.board.irq.force(4, number % 2 == 0)
        poll_until(rig, lambda: not channel.wants_write())
        assert client.line() == ("IRQ raise 4" if number % 2 == 0 else "IRQ lower 4")


def test_while_answers_wait_no_command_is_read(rig: Rig) -> None:
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    client = rig.client()
    client.send(b"read 0 65536\n" * 20 + b"clock_step 7\n")
    poll_until(rig, channel.wants_write)
    client.send(b"clock_step 1\n")
    unread = rig.board.clock.now
    for _ in range(3):
        rig.loop._wake()
        rig.loop._round()
    assert rig.board.clock.now == unread
    reader = threading.Thread(target=lambda: [client.line() for _ in range(22)])
    reader.start()
    poll_until(rig, lambda: rig.board.clock.now == 8 and not channel.wants_write())
    reader.join(20)


# -- the socket's file ------------------------------------------------------------------------------------------------


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_channel(rig: Rig) -> None:
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o600
    channel.close()
    channel.close()
    assert not rig.path.exists()


def test_a_socket_at_which_no_process_listens_is_replaced(rig: Rig) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(rig.path))
    stale.close()
    rig.open(f"unix:{rig.path},server=on,wait=off")
    rig.start()
    assert rig.client().ask("endianness") == ["OK little"]


def test_a_socket_at_which_a_process_listens_is_left_alone(rig: Rig) -> None:
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(rig.path))
    other.listen(1)
    with pytest.raises(StorageError, match="listens there already"):
        rig.open(f"unix:{rig.path},server=on")
    assert rig.path.exists()
    other.close()


def test_a_file_that_is_not_a_socket_is_left_alone(rig: Rig) -> None:
    rig.path.write_text("precious")
    with pytest.raises(StorageError, match=r"q\.sock: is not a socket"):
        rig.open(f"unix:{rig.path},server=on")
    assert rig.path.read_text() == "precious"


@pytest.mark.parametrize("name", ["none/q.sock", "x" * 200])
def test_a_socket_that_cannot_be_made_is_an_error(rig: Rig, tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match=r"q\.sock|xxx"):
        rig.open(f"unix:{tmp_path / name},server=on,wait=off")


def test_a_socket_that_has_replaced_ours_is_left_alone(rig: Rig) -> None:
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    rig.path.unlink()
    with sockets.listen(rig.path):
        channel.close()
        assert sockets.is_answering(rig.path)


def test_a_listener_that_does_not_accept_counts_as_a_listener(rig: Rig) -> None:
    with sockets.listen(rig.path, 0), sockets.connect(rig.path):  # its queue is full
        with pytest.raises(StorageError, match="listens there already"):
            rig.open(f"unix:{rig.path},server=on")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(chardev, "CONNECT_SECONDS", 0.01)
            with pytest.raises(StorageError, match="no client listens there"):
                rig.open(f"unix:{rig.path}")


def test_another_user_cannot_drive_the_machine(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    with monkeypatch.context() as patched, sockets.connect(rig.path) as foreign:
        patched.setattr(sockets, "find_peer", lambda _: sockets.Peer(4711, os.geteuid() + 1, 0))
        channel.poll()
        assert foreign.recv(1) == b""
    rig.start()
    assert rig.client().ask("endianness") == ["OK little"]


def test_wait_waits_for_the_first_client(rig: Rig) -> None:
    channel = rig.open(f"unix:{rig.path},server=on")
    thread = threading.Thread(target=channel.wait)
    thread.start()
    client = rig.client()
    thread.join(20)
    assert not thread.is_alive()
    rig.start()
    assert client.ask("endianness") == ["OK little"]


def test_there_is_nothing_to_wait_for_with_wait_off(rig: Rig) -> None:
    channel = rig.open(f"unix:{rig.path},server=on,wait=off")
    channel.wait()
    assert channel.fileno() is not None


# -- connecting -------------------------------------------------------------------------------------------------------


@contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        listening.settimeout(20)
        yield listening


def test_without_server_the_machine_connects_to_the_client(rig: Rig) -> None:
    with listener(rig.path) as listening:
        rig.open(f"unix:{rig.path}")
        client = Client(listening.accept()[0])
        rig.clients.append(client)
        rig.start()
        assert client.ask("clock_step 3") == ["OK 3"]


def test_a_client_that_does_not_listen_is_an_error(rig: Rig) -> None:
    with pytest.raises(StorageError, match="no client listens there: No such file or directory"):
        rig.open(f"unix:{rig.path}")


def test_when_a_client_that_listened_goes_the_machine_stays(rig: Rig) -> None:
    with listener(rig.path) as listening:
        channel = rig.open(f"unix:{rig.path}")
        client = Client(listening.accept()[0])
        client.close()
        poll_until(rig, lambda: channel._client is None)
        assert (channel.fileno(), channel.wants_write(), rig.ended.is_set()) == (None, False, False)
        channel.poll()
        channel.close()
        assert rig.path.exists()


# -- standard input and output ----------------------------------------------------------------------------------------


@pytest.fixture
def stdio(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Replace standard input and output by pipes; yield the other ends."""
    inside, into = os.pipe()
    out_of, outside = os.pipe()
    duplicate = os.dup
    monkeypatch.setattr("chkpt.interop.chardev.os.dup", lambda fd: duplicate(inside if fd == 0 else outside))
    yield into, out_of
    for fd in (inside, outside, into, out_of):
        with suppress(OSError):
            os.close(fd)


def test_standard_input_and_output_carry_a_conversation_until_the_input_ends(rig: Rig, stdio: tuple[int, int]) -> None:
    into, out_of = stdio
    rig.open("stdio")
    rig.start()
    os.write(into, b"clock_step 5\ninb 0x80\n")
    answers = b""
    while answers.count(b"\n") < 2:
        answers += os.read(out_of, 100)
    assert answers == b"OK 5\nOK 0x00ff\n"
    assert not rig.ended.is_set()
    os.close(into)
    assert rig.ended.wait(20)


def test_standard_input_and_output_are_left_as_they_were(rig: Rig, stdio: tuple[int, int]) -> None:
    modes: list[bool] = []
    set_blocking = os.set_blocking

    def note(fd: int, blocking: bool) -> None:
        modes.append(blocking)
        set_blocking(fd, blocking)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chkpt.interop.chardev.os.set_blocking", note)
        channel = rig.open("stdio")
        channel.close()
    assert modes == [False, False, True, True]


def test_to_close_the_channel_is_not_the_end_of_the_input(rig: Rig, stdio: tuple[int, int]) -> None:
    rig.open("stdio").close()
    assert not rig.ended.is_set()


def test_when_the_reader_of_the_output_goes_it_is_the_end(rig: Rig, stdio: tuple[int, int]) -> None:
    into, out_of = stdio
    rig.open("stdio")
    os.close(out_of)
    os.write(into, b"endianness\n")
    poll_until(rig, rig.ended.is_set)
    assert rig.ended.is_set()


def test_the_machine_is_the_one_that_was_given(listening: Rig) -> None:
    client = listening.client()
    client.ask("outb 0x110 9")
    board: Machine = listening.board
    assert cell(board, "a").value == 9
