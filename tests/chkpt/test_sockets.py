"""A Unix socket is this user's alone, from its first moment, under any umask, and with no descriptor left."""

import os
import select
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.errors import StorageError
from tests.support.descriptors import few_descriptors, none_left

NOBODY = 65534


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o177, 0o777])
def test_socket_is_for_its_user_alone_under_any_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        sockets.listen(tmp_path / "s").close()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_socket_is_never_open_to_others_not_even_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def listen(_: socket.socket, __: int) -> None:
        seen.append(stat.S_IMODE((tmp_path / "s").stat().st_mode))

    monkeypatch.setattr(sockets.Listener, "listen", listen)
    monkeypatch.setattr(Path, "chmod", lambda *_: seen.append(stat.S_IMODE((tmp_path / "s").stat().st_mode)))
    with umask(0):
        sockets.listen(tmp_path / "s").close()
    assert seen == [0o600, 0o600]


def test_peer_is_who_has_connected(tmp_path: Path) -> None:
    with sockets.listen(tmp_path / "s") as listener, sockets.connect(tmp_path / "s"):
        stream, _ = listener.accept()
        with stream:
            assert sockets.find_peer(stream) == sockets.Peer(os.getpid(), os.geteuid(), os.getegid())


def test_peer_of_another_user_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "find_peer", lambda _: sockets.Peer(4711, os.geteuid() + 1, 0))
    with sockets.listen(tmp_path / "s") as listener, sockets.connect(tmp_path / "s") as client:
        with pytest.raises(ConnectionAbortedError):
            listener.accept()
        assert client.recv(1) == b""
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert f"process 4711 of user {os.geteuid() + 1} tried to connect: turned away" in caplog.text


def test_root_is_welcome_to_every_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [uid for uid in (0, 999, 1000, 1001, NOBODY) if sockets.Peer(1, uid, 0).is_welcome] == [0, 1000]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_turned_away_even_where_the_modes_let_it_in(tmp_path: Path) -> None:
    path = Path("/tmp") / f"chkpt-test-{os.getpid()}.sock"
    code = (
        "import os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "client = socket.socket(socket.AF_UNIX); client.connect(sys.argv[1])\n"
        "print(client.recv(1))\n"
    )
    with sockets.listen(path) as listener:
        try:
            run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
            assert "PermissionError" in run.stderr  # the mode alone keeps it out
            path.chmod(0o666)
            with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as child:
                select.select([listener], [], [])
                with pytest.raises(ConnectionAbortedError):
                    listener.accept()
                assert child.communicate()[0] == b"b''\n"
        finally:
            path.unlink()


def test_connection_is_turned_away_while_no_descriptor_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sockets.listen(tmp_path / "s") as listener, ExitStack() as stack:
        clients = [stack.enter_context(sockets.connect(tmp_path / "s")) for _ in range(3)]
        with few_descriptors() as taken:
            for client in clients[:2]:
                with pytest.raises(BlockingIOError):
                    listener.accept()
                assert client.recv(1) == b""
            os.close(taken.pop())
            stream, _ = listener.accept()
            stream.close()
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        assert poll.poll(0) == []  # nobody is left waiting, who would keep the loop spinning
    assert caplog.text.count("no descriptor is left: a connection is turned away") == 2


def test_listener_that_lost_its_reserve_gets_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sockets.listen(tmp_path / "s") as listener, ExitStack() as stack:
        clients = [stack.enter_context(sockets.connect(tmp_path / "s")) for _ in range(2)]
        with few_descriptors() as taken:

            def faster() -> int:
                taken.append(os.open("/dev/null", os.O_RDONLY))  # as another thread might, in between
                raise OSError(24, "Too many open files")

            with monkeypatch.context() as patched:
                patched.setattr(sockets, "_open_reserve", faster)
                with pytest.raises(BlockingIOError):
                    listener.accept()
            with pytest.raises(BlockingIOError):
                listener.accept()  # nothing can be done for the second
            os.close(taken.pop())
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert [client.recv(1) for client in clients] == [b"", b""]


def test_listener_closes_its_reserve(tmp_path: Path) -> None:
    with none_left():
        listener = sockets.listen(tmp_path / "s")
        listener.close()
        listener.close()


def test_socket_that_cannot_be_listened_on_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(105, "No buffer space available")

    monkeypatch.setattr(sockets.Listener, "listen", refuse)
    with pytest.raises(StorageError, match=r"s: No buffer space available"):
        sockets.listen(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_file_in_the_way_of_a_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StorageError, match=r"s: Address already in use"):
        sockets.listen(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def fill(path: Path) -> list[socket.socket]:
    """Connect until the listener takes nobody else, as when its process is stopped."""
    clients: list[socket.socket] = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(str(path))
        except BlockingIOError:
            client.close()
            return clients
        clients.append(client)


def test_connecting_to_one_that_takes_nobody_ends_in_time_or_once_it_does(tmp_path: Path) -> None:
    with sockets.listen(tmp_path / "s", 1) as listener:
        clients = fill(tmp_path / "s")
        with pytest.raises(TimeoutError):
            sockets.connect(tmp_path / "s", 0.05)
        assert sockets.is_answering(tmp_path / "s")  # it is busy, not gone
        thread = threading.Timer(0.05, lambda: clients.append(listener.accept()[0]))
        thread.start()
        with sockets.connect(tmp_path / "s", 60) as client:
            assert client.getblocking()
        thread.join()
        for each in clients:
            each.close()


def test_socket_answers_while_somebody_listens(tmp_path: Path) -> None:
    with sockets.listen(tmp_path / "s"):
        assert sockets.is_answering(tmp_path / "s")
    assert not sockets.is_answering(tmp_path / "s")
    (tmp_path / "file").write_text("")
    assert not sockets.is_answering(tmp_path / "file")
    assert not sockets.is_answering(tmp_path / "absent")


def test_identity_tells_a_file_from_its_successor(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "b").write_text("")
    found = sockets.file_id(tmp_path / "a")
    assert found is not None
    assert found == sockets.file_id(tmp_path / "a") != sockets.file_id(tmp_path / "b")
    assert sockets.file_id(tmp_path / "absent") is None


def test_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with sockets.listen(deep / "api.sock") as listener, sockets.connect(deep / "api.sock") as client:
        assert (deep / "api.sock").is_socket()
        client.sendall(b"x")
        listener.setblocking(True)
        with listener.accept()[0] as peer:
            assert peer.recv(1) == b"x"


@pytest.mark.parametrize("length", [106, 107, 108])
def test_paths_around_the_limit_of_a_socket_address_work(tmp_path: Path, length: int) -> None:
    room = length - len(os.fsencode(tmp_path)) - 1
    if room < 1:
        pytest.skip("the temporary directory's own path is too long")
    path = tmp_path / ("s" * room)
    assert len(os.fsencode(path)) == length
    with sockets.listen(path), sockets.connect(path):
        assert path.is_socket()


def test_listening_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent/s: No such file"):
        sockets.listen(tmp_path / "absent" / "s")
    with pytest.raises(FileNotFoundError):
        sockets.connect(tmp_path / "s")


def test_descriptors_of_long_paths_are_closed(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with none_left():
        for _ in range(3):
            sockets.listen(deep / "s").close()
            (deep / "s").unlink()


def test_name_that_no_socket_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"too long for a socket \(107 bytes"):
        sockets.listen(tmp_path / ("n" * 100))
