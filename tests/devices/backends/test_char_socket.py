"""`socket`: peers that come, go, come back, and do not read; Unix and TCP, listening and connecting."""

import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.errors import ConfigError, StorageError
from chkpt_devices.backends.char_socket import HELD_SIZE, Socket, SocketConfig
from tests.devices.backends.terminal import Terminal, is_awake, run, settle
from tests.support.descriptors import few_descriptors, none_left


@pytest.fixture(params=["unix", "tcp"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> SocketConfig:
    return SocketConfig(path=str(tmp_path / "line.sock")) if request.param == "unix" else SocketConfig(port=0)


@pytest.fixture
def line(config: SocketConfig) -> Iterator[Socket]:
    backend = Socket(config)
    yield backend
    backend.close()


def dial(line: Socket) -> socket.socket:
    """Connect to a listening line, and wait until it has taken us."""
    peer = socket.socket(socket.AF_UNIX if isinstance(line.address, str) else socket.AF_INET)
    peer.connect(line.address)
    peer.settimeout(5)
    return peer


def receive(peer: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = peer.recv(count - len(data))
        assert piece, "the line was closed"
        data += piece
    return bytes(data)


def accepted(line: Socket) -> bool:
    return line._peer is not None


def test_bytes_go_both_ways(line: Socket) -> None:
    terminal = Terminal(line)
    with dial(line) as peer:
        peer.sendall(b"typed")
        run(line, lambda: terminal.received == b"typed")
        assert terminal.send(b"shown")
        assert receive(peer, 5) == b"shown"
        settle(line)


def test_without_a_peer_output_is_dropped(line: Socket) -> None:
    terminal = Terminal(line)
    assert terminal.send(b"nobody")
    with dial(line) as peer:
        run(line, lambda: accepted(line))
        assert terminal.send(b"hello")
        assert receive(peer, 5) == b"hello"


def test_a_peer_that_goes_and_comes_back_is_served_again(line: Socket) -> None:
    terminal = Terminal(line, room=99)
    for turn in (b"one", b"two", b"three"):
        with dial(line) as peer:
            peer.sendall(turn)
            run(line, lambda turn=turn: terminal.received.endswith(turn))  # type: ignore[misc] # the default binds this turn's
            assert terminal.send(turn)
            assert receive(peer, len(turn)) == turn
        run(line, lambda: not accepted(line))
        assert terminal.send(b"dropped")
        settle(line)


def test_a_second_peer_waits_until_the_first_has_gone(line: Socket) -> None:
    terminal = Terminal(line)
    first = dial(line)
    run(line, lambda: accepted(line))
    second = dial(line)
    settle(line)
    terminal.send(b"1")
    assert receive(first, 1) == b"1"
    first.close()
    run(line, lambda: not accepted(line))
    run(line, lambda: accepted(line))
    terminal.send(b"2")
    assert receive(second, 1) == b"2"
    second.close()


def test_input_stays_with_the_host_while_there_is_no_room(line: Socket) -> None:
    terminal = Terminal(line, room=3)
    with dial(line) as peer:
        peer.sendall(b"abcdefgh")
        run(line, lambda: not terminal.free)
        assert not is_awake(line)
        line.poll()
        assert terminal.received == b"abc"
        terminal.free = 16
        run(line, lambda: terminal.received == b"abcdefgh")


def test_what_a_peer_sent_before_it_went_is_not_lost(line: Socket) -> None:
    terminal = Terminal(line, room=4)
    with dial(line) as peer:
        peer.sendall(b"abcdefgh")
    run(line, lambda: not terminal.free)
    settle(line)
    assert terminal.send(b"nobody reads this")
    assert terminal.send(b"nor this")
    settle(line)
    terminal.free = 16
    run(line, lambda: terminal.received == b"abcdefgh")


def test_a_peer_that_goes_makes_way_though_the_guest_does_not_read(line: Socket) -> None:
    terminal = Terminal(line, room=0)
    with dial(line) as first:
        run(line, lambda: accepted(line))
        first.sendall(b"xyz")
    run(line, lambda: not accepted(line))
    with dial(line) as second:
        run(line, lambda: accepted(line))
        assert terminal.send(b"shown")
        assert receive(second, 5) == b"shown"
        second.sendall(b"typed")
        settle(line)
        assert terminal.received == b""
        terminal.free = 2
        run(line, lambda: terminal.received == b"xy")
        settle(line)
        terminal.free = 16
        run(line, lambda: terminal.received == b"xyztyped")


def test_a_failed_send_makes_way_for_the_next_peer(line: Socket) -> None:
    terminal = Terminal(line, room=0)
    first = dial(line)
    run(line, lambda: accepted(line))
    first.sendall(b"xyz")
    first.close()
    for _ in range(100):  # TCP notices only when the answer to the first is there
        assert terminal.send(b"into the void")
        if not accepted(line):
            break
    assert not accepted(line)
    with dial(line) as second:
        run(line, lambda: accepted(line))
        assert terminal.send(b"shown")
        assert receive(second, 5) == b"shown"
        terminal.free = 3
        run(line, lambda: terminal.received == b"xyz")


def test_more_than_can_be_held_keeps_the_connection_and_is_not_lost(line: Socket) -> None:
    terminal = Terminal(line, room=0)
    sent = bytes(range(256)) * (HELD_SIZE // 256) + b"the rest"
    with dial(line) as first:
        run(line, lambda: accepted(line))
        first.sendall(sent)
    run(line, lambda: len(line._held) == HELD_SIZE)
    assert accepted(line)
    assert not is_awake(line)
    assert terminal.send(b"nobody reads this")
    assert not is_awake(line)
    terminal.free = 100
    run(line, lambda: not accepted(line))
    terminal.free = len(sent)
    run(line, lambda: terminal.received == sent)
    settle(line)


def test_a_peer_that_only_sends_is_kept_though_it_reads_nothing(tmp_path: Path) -> None:
    line = Socket(SocketConfig(path=str(tmp_path / "line.sock")))
    terminal = Terminal(line)
    with dial(line) as peer:
        run(line, lambda: accepted(line))
        peer.shutdown(socket.SHUT_RD)
        assert terminal.send(b"unread")
        peer.sendall(b"typed")
        run(line, lambda: terminal.received == b"typed")
        assert accepted(line)
    line.close()


def test_a_peer_that_does_not_read_blocks_the_line_and_gets_every_byte(line: Socket) -> None:
    terminal = Terminal(line)
    peer = dial(line)
    run(line, lambda: accepted(line))
    sent = terminal.fill(1024)
    assert not is_awake(line)
    received = bytearray()
    peer.setblocking(False)
    while len(received) < len(sent):
        try:
            received += peer.recv(1 << 16)
        except BlockingIOError:
            if is_awake(line):
                line.poll()
    assert received == sent
    assert not terminal.unsent
    peer.close()


def test_a_blocked_line_without_room_sleeps_and_wakes_only_to_write(line: Socket) -> None:
    terminal = Terminal(line, room=0)
    peer = dial(line)
    run(line, lambda: accepted(line))
    peer.sendall(b"typed")
    terminal.fill(1024)
    assert not is_awake(line)
    while terminal.unsent:
        peer.recv(1 << 16)
        if is_awake(line):
            line.poll()
    assert not is_awake(line)
    assert terminal.received == b""
    peer.close()


def test_a_peer_that_goes_while_output_waits_frees_the_line(line: Socket) -> None:
    terminal = Terminal(line)
    peer = dial(line)
    run(line, lambda: accepted(line))
    terminal.fill(1024)
    peer.close()
    run(line, lambda: not terminal.unsent)
    run(line, lambda: not accepted(line))
    settle(line)


def test_a_peer_that_vanishes_raises_no_signal(line: Socket) -> None:
    terminal = Terminal(line)
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        peer = dial(line)
        run(line, lambda: accepted(line))
        if peer.family == socket.AF_INET:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that it resets
        peer.close()
        for _ in range(10):
            assert terminal.send(b"into the void")
        run(line, lambda: not accepted(line))
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_a_connecting_line_serves_its_peer_and_stays_without_one_when_it_goes(tmp_path: Path) -> None:
    for address in (str(tmp_path / "server.sock"), ("127.0.0.1", 0)):
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as server:
            server.bind(address)
            server.listen()
            if isinstance(address, str):
                line = Socket(SocketConfig(path=address, listen=False))
            else:
                line = Socket(SocketConfig(host="127.0.0.1", port=server.getsockname()[1], listen=False))
            assert line.address == server.getsockname()
            terminal = Terminal(line)
            peer, _ = server.accept()
            peer.sendall(b"in")
            run(line, lambda: terminal.received == b"in")  # noqa: B023 - called within this turn
            assert terminal.send(b"out")
            assert receive(peer, 3) == b"out"
            peer.close()
            run(line, lambda: not accepted(line))  # noqa: B023 - called within this turn
            assert (line.fileno(), terminal.send(b"dropped")) == (None, True)
            line.close()


def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    line = Socket(SocketConfig(path=str(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    line.close()
    assert not path.exists()


def test_an_abandoned_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    line = Socket(SocketConfig(path=str(path)))
    dial(line).close()
    line.close()


def test_a_unix_socket_that_somebody_else_has_taken_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    line = Socket(SocketConfig(path=str(path)))
    path.unlink()
    path.write_text("precious")
    line.close()
    assert path.read_text() == "precious"


def test_a_socket_in_use_is_not_taken_away(config: SocketConfig) -> None:
    first = Socket(config)
    again = config if isinstance(first.address, str) else SocketConfig(port=first.address[1])
    with pytest.raises(StorageError, match=r"in use.*; (remove it|name an address)"):
        Socket(again)
    dial(first).close()
    first.close()


def test_a_peer_is_turned_away_while_no_descriptor_is_left(line: Socket) -> None:
    assert not is_awake(line)
    with few_descriptors() as taken:
        os.close(taken.pop())
        with dial(line) as peer:
            assert is_awake(line)
            line.poll()
            assert peer.recv(1) == b""
            assert not is_awake(line)  # no peer is left waiting: it would make the run loop spin
    with dial(line) as peer:
        line.poll()
        assert line.write(b"x") == 1
        assert receive(peer, 1) == b"x"


def test_the_descriptor_kept_for_that_is_given_back(config: SocketConfig) -> None:
    with none_left():
        Socket(config).close()


def test_a_file_in_the_way_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    path.write_text("precious")
    with pytest.raises(StorageError, match=r"line.sock: .*; remove it or name another path"):
        Socket(SocketConfig(path=str(path)))
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "config",
    [SocketConfig(path="nobody.sock", listen=False), SocketConfig(port=1, listen=False)],
    ids=["unix", "tcp"],
)
def test_a_connection_that_is_refused_names_the_address(
    config: SocketConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"(nobody.sock|127.0.0.1:1): .*; is the other side listening\?"):
        Socket(config)


def test_a_host_that_is_not_ours_cannot_be_listened_on() -> None:
    with pytest.raises(StorageError, match=r"192.0.2.1:0: .*; name an address of this host"):
        Socket(SocketConfig(host="192.0.2.1", port=0))


@pytest.mark.parametrize(
    "config",
    [
        SocketConfig(),
        SocketConfig(path="a", port=1),
        SocketConfig(path="a", host="localhost"),
        SocketConfig(host="localhost"),
        SocketConfig(path="x" * 108),
        SocketConfig(path="ä" * 54),
    ],
    ids=["neither", "both", "path and host", "host alone", "too long", "too long in bytes"],
)
def test_a_configuration_without_one_usable_address_is_refused(config: SocketConfig) -> None:
    with pytest.raises(ConfigError, match="backend socket: "):
        Socket(config)
