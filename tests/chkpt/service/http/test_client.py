"""The client against services that misbehave."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.errors import ChkptError, CorruptError, NoMachineError
from chkpt.service import directory
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient, _Connection, find


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[MachineClient]:
    """Answer one request with these bytes, whatever it is."""
    listener = sockets.listen(path / "api.sock")
    listener.setblocking(True)

    def run() -> None:
        stream, _ = listener.accept()
        with stream:
            stream.recv(1 << 16)
            stream.sendall(answer)
            stream.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield MachineClient("m", path)
    finally:
        thread.join()
        listener.close()


def http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", NoMachineError, "machine m has cut the connection"),
        (b"nonsense\r\n\r\n", NoMachineError, "machine m has cut the connection"),
        (http(200, b"{}")[:-1], NoMachineError, "machine m has cut the connection"),
        (http(200, b"<html>"), ChkptError, r"answered with what is not JSON \(HTTP 200\)"),
        (http(500, b"\xff"), ChkptError, r"answered with what is not JSON \(HTTP 500\)"),
        (http(500, b"[]"), ChkptError, "an error that cannot be read"),
        (http(422, b'{"error": "CorruptError", "message": "bad"}'), CorruptError, "bad"),
        (http(422, b'{"error": "NewError", "message": "from the future"}'), ChkptError, "from the future"),
    ],
)
def test_answers(runtime: Path, answer: bytes, error: type[ChkptError], words: str) -> None:
    with answering(runtime, answer) as machine, pytest.raises(error, match=words) as raised:
        machine.machine()
    assert type(raised.value) is error


def test_machine_that_is_busy_is_told_apart_from_one_that_has_ended(runtime: Path) -> None:
    with sockets.listen(runtime / "api.sock"), pytest.raises(NoMachineError, match="machine m does not answer"):
        MachineClient("m", runtime).machine(timeout=0.01)
    (runtime / "api.sock").unlink()
    with pytest.raises(NoMachineError, match="machine m has ended"):
        MachineClient("m", runtime).machine()
    with pytest.raises(NoMachineError, match="machine m has ended"):
        MachineClient("m", runtime).stop()


def test_machine_that_is_starting_has_not_ended(runtime: Path) -> None:
    claimed = directory.claim("m")  # as `serve` does before it makes the machine and listens
    machine = find("m")
    for call in (machine.machine, machine.stop):
        with pytest.raises(NoMachineError, match=r"^machine m is starting, or ending.* try again$"):
            call()
    claimed.remove()
    with pytest.raises(NoMachineError, match=r"^machine m has ended$"):
        machine.machine()


@pytest.mark.parametrize(
    ("moment", "goes_on"), [("connect", None), ("request", "may go on"), ("getresponse", "goes on")]
)
@pytest.mark.parametrize(
    ("call", "verb"),
    [
        (lambda machine: machine.save(SaveRequest("/a.zst")), "save"),
        (lambda machine: machine.load(Path("/a.zst")), "load"),
        (lambda machine: machine.step(ticks=1), "step"),
        (lambda machine: machine.change_medium("ide0.0", None), "change a medium"),
        (lambda machine: machine.machine(), None),
    ],
    ids=["save", "load", "step", "media", "machine"],
)
def test_ctrl_c_has_a_message_if_the_machine_goes_on(
    runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    moment: str,
    goes_on: str | None,
    call: Callable[[MachineClient], object],
    verb: str | None,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with sockets.listen(runtime / "api.sock"):
        monkeypatch.setattr(_Connection, moment, interrupted)
        with pytest.raises(KeyboardInterrupt) as raised:
            call(MachineClient("m", runtime))
    said = (f"machine m was asked to {verb} and {goes_on} with it",) if verb is not None and goes_on is not None else ()
    assert raised.value.args == said
