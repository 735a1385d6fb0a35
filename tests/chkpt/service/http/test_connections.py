"""Clients that are slow, silent, too many, half gone or none at all: none of them holds the machine or its end."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.errors import ChkptError
from chkpt.service import directory
from chkpt.service import launch as server
from chkpt.service.api.requests import SaveRequest
from chkpt.service.control import RunningMachine
from chkpt.service.http import connections
from chkpt.service.http.client import MachineClient
from chkpt.service.http.connections import Connection, Phase
from tests.support.served import COM1, UnixHTTP, ask, launch, serving

NOBODY = 65534
GET = b"GET /v1/machine HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def machine() -> Iterator[MachineClient]:
    with serving(launch(COM1)) as client:
        yield client


def connect(machine: MachineClient) -> socket.socket:
    stream = sockets.connect(machine.path / "api.sock")
    stream.settimeout(60)
    return stream


def ended(stream: socket.socket) -> bytes:
    """Return what comes until the other side ends the connection."""
    got = bytearray()
    with suppress(ConnectionResetError):
        while data := stream.recv(1 << 16):
            got += data
    return bytes(got)


def response(stream: socket.socket) -> tuple[int, dict[str, object]]:
    """Read one answer, which is always JSON."""
    answer = HTTPResponse(stream)
    answer.begin()
    assert answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(answer.read())


# -- slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "begin", "drip"),
    [
        (Phase.HEAD, b"", b""),
        (Phase.HEAD, b"GET /v1/machine HTTP/1.1\r\nHost: x\r\nX: ", b"y"),
        (Phase.BODY, b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n{", b" "),
        (Phase.BODY, b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (Phase.HEAD, GET + b"G", b""),
    ],
    ids=["silence", "head", "body", "chunks", "second request"],
)
def test_request_that_never_ends_is_given_up_however_it_drips(
    machine: MachineClient, monkeypatch: pytest.MonkeyPatch, phase: Phase, begin: bytes, drip: bytes
) -> None:
    with monkeypatch.context() as patch, connect(machine) as stream:
        patch.setitem(connections.SECONDS, phase, 0.2)  # for this client alone: the next may be slow, too
        stream.sendall(begin)
        stream.settimeout(0.02)
        while True:
            try:
                if not stream.recv(1 << 16):
                    break
            except TimeoutError:
                with suppress(BrokenPipeError, ConnectionResetError):
                    stream.sendall(drip)
            except ConnectionResetError:
                break
    assert machine.machine()["name"] == "m"


def test_client_that_does_not_read_is_given_up_and_asked_no_more(
    machine: MachineClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It sends requests for ever: while their answers are not taken none is answered, and memory does not grow."""
    sent = 0
    with monkeypatch.context() as patch, connect(machine) as stream, caplog.at_level("INFO", "chkpt.service"):
        patch.setitem(connections.SECONDS, Phase.TAKING, 0.2)
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 100_000_000:
                sent += stream.send(GET * 100)
    assert sent < 100_000_000
    assert f"for {Phase.TAKING.value}: closed" in caplog.text
    assert machine.machine()["name"] == "m"


def test_connection_without_another_request_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 0.1)
    with serving(launch(COM1)) as machine, connect(machine) as stream:
        stream.sendall(GET + GET)
        assert ended(stream).count(b"HTTP/1.1 200") == 2


def test_time_of_the_machine_is_not_the_clients(machine: MachineClient, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    describe, received = RunningMachine.describe, Connection.data_received

    def hurry(connection: Connection, data: bytes) -> None:
        """Leave next to no time from now on, and not before: the client of this test may be slow."""
        for phase in connections.SECONDS:
            patch.setitem(connections.SECONDS, phase, 0.05)
        connection._start_phase(connection._phase)
        received(connection, data)

    with monkeypatch.context() as patch, connect(machine) as stream:
        patch.setattr(RunningMachine, "describe", lambda self: held.wait(60) and describe(self))
        patch.setattr(Connection, "data_received", hurry)
        stream.sendall(GET)
        time.sleep(0.3)
        held.set()
        assert response(stream)[0] == 200


# -- half gone, or no client at all -----------------------------------------------------------------------------------


def test_client_that_has_ended_its_side_is_answered(machine: MachineClient, tmp_path: Path) -> None:
    body = json.dumps({"path": str(tmp_path / "a.zst")}).encode()
    with connect(machine) as stream:
        stream.sendall(b"POST /v1/save HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        stream.shutdown(socket.SHUT_WR)
        assert ended(stream).startswith(b"HTTP/1.1 200")
    assert (tmp_path / "a.zst").is_file()


@pytest.mark.parametrize(
    "begin", [b"", b"GET /v1/mach", b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
)
def test_client_that_ends_its_side_in_mid_request_is_gone(machine: MachineClient, begin: bytes) -> None:
    with connect(machine) as stream:
        stream.sendall(begin)
        stream.shutdown(socket.SHUT_WR)
        assert b"200" not in ended(stream)
    assert machine.machine()["name"] == "m"


JUNK = [
    b"\0\xff nonsense\r\n\r\n",
    bytes(range(256)) * 8,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500,  # the beginning of TLS
    b"GET /v1/machine HTTP/1.1\r\n\r\n",  # no Host
    b"GET /v1/machine HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /v1/machine HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /v1/machine HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
    b"GET " + b"/" * (1 << 17),
    b"GET /v1/machine HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (1 << 17),
    b'{"execute": "qmp_capabilities"}\r\n\r\n',
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_what_is_no_http_is_refused_in_json(machine: MachineClient, junk: bytes) -> None:
    with connect(machine) as stream:
        stream.sendall(junk)
        status, document = response(stream)
        assert (status, document["error"], document["exit_status"]) == (400, "UsageError", 2)
        assert document["message"] == "the request is not HTTP/1.1, or its head is longer than 16384 bytes"
        assert ended(stream) == b""
    assert machine.machine()["name"] == "m"


@pytest.mark.parametrize("begin", [b"", b"1\r\n{\r\n"], ids=["first chunk", "second chunk"])
@pytest.mark.parametrize(
    "target", [b"GET /v1/machine", b"POST /v1/machine", b"POST /v1/stop", b"POST /nothing", b"PUT /"]
)
def test_bad_chunk_is_refused_in_json_and_logs_no_traceback_whatever_it_was_sent_to(
    machine: MachineClient, caplog: pytest.LogCaptureFixture, target: bytes, begin: bytes
) -> None:
    with connect(machine) as stream:
        stream.sendall(target + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + begin + b"zz\r\n")
        status, document = response(stream)
        assert (status, document["error"]) == (400, "UsageError")
        assert ended(stream) == b""
    assert machine.machine()["name"] == "m"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 9999999", b"Content-Length: 9999999\r\nExpect: 100-continue", b"Transfer-Encoding: chunked"],
)
def test_body_that_is_too_long_is_refused_before_it_is_read(machine: MachineClient, head: bytes) -> None:
    with connect(machine) as stream:
        stream.sendall(b"POST /v1/save HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        if b"Length" not in head:
            stream.sendall(b"200000\r\n" + b" " * 0x200000)
        elif b"Expect" not in head:
            stream.sendall(b" " * ((1 << 20) + 1))
        else:
            assert stream.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n")).startswith(b"HTTP/1.1 100")
            stream.sendall(b" " * ((1 << 20) + 1))
        assert response(stream)[0] == 413
    assert machine.machine()["name"] == "m"


def test_requests_sent_at_once_are_answered_in_order(machine: MachineClient) -> None:
    with connect(machine) as stream:
        for target in (b"machine", b"nothing", b"devices", b"pause"):
            stream.sendall(b"GET /v1/" + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        stream.shutdown(socket.SHUT_WR)
        text = ended(stream)
    assert [line.split()[1] for line in text.split(b"\r\n") if b"HTTP/1.1 " in line][:1] == [b"200"]


# -- too many ---------------------------------------------------------------------------------------------------------


def test_clients_beyond_the_limit_are_told_or_turned_away(
    machine: MachineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with ExitStack() as stack:
        taken = [stack.enter_context(connect(machine)) for _ in range(3)]
        for stream in taken:
            stream.sendall(GET)
            assert response(stream)[0] == 200
        told = [stack.enter_context(connect(machine)) for _ in range(3)]
        gone = stack.enter_context(connect(machine))
        assert ended(gone) == b""
        for stream in told:
            stream.sendall(GET)
            status, document = response(stream)
            assert (status, document["error"]) == (503, "ChkptError")
            assert document["message"] == "3 clients are connected already; try again later"
            assert ended(stream) == b""
        for stream in taken:
            stream.sendall(GET)
            assert response(stream)[0] == 200
        taken[0].close()
        while ask(machine, "GET", "/v1/machine")[0] == 503:
            pass  # it has not seen yet that one has gone


def test_process_without_descriptors_turns_clients_away_and_recovers(tmp_path: Path) -> None:
    program = ["prlimit", "--nofile=40", str(Path(sys.executable).parent / "chkpt"), "run", "--name", "few"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            assert "is running" in run.stdout.readline()
            machine = MachineClient("few", directory.root() / "few")
            with ExitStack() as stack:
                consoles = [stack.enter_context(machine.console("com1")) for _ in range(60)]  # which may stay for ever
                assert [ended(stream) for stream in consoles[-10:]] == [b""] * 10
                streams = [stack.enter_context(connect(machine)) for _ in range(20)]
                assert [ended(stream) for stream in streams[-10:]] == [b""] * 10
                consoles[0].setblocking(False)
                with pytest.raises(BlockingIOError):
                    consoles[0].recv(1)
            while not (tmp_path / "a.zst").exists():  # until the service has seen that they have gone
                with suppress(ChkptError):
                    machine.save(SaveRequest(str(tmp_path / "a.zst")))
            machine.stop()
        except BaseException:
            run.kill()
            raise
        errors = run.communicate()[1]
    assert run.returncode == 0
    assert "Traceback" not in errors
    assert "no descriptor is left: a connection is turned away" in errors


# -- somebody else ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["api.sock", "com1.console"])
def test_another_user_is_turned_away_even_where_modes_and_directories_are_open(
    machine: MachineClient, runtime: Path, name: str
) -> None:
    code = (
        "import os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "client = socket.socket(socket.AF_UNIX); client.connect(sys.argv[1])\n"
        "try: client.sendall(b'GET /v1/machine HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "except BrokenPipeError: pass\n"
        "try: print(client.recv(99))\n"
        "except ConnectionResetError: print(b'')\n"
    )
    path = machine.path / name
    run = [sys.executable, "-c", code, str(path)]
    assert "PermissionError" in subprocess.run(run, capture_output=True, text=True, check=False).stderr
    for each in (path, machine.path, machine.path.parent, runtime):
        each.chmod(stat.S_IMODE(each.stat().st_mode) | 0o077)
    assert subprocess.run(run, capture_output=True, text=True, check=False).stdout == "b''\n"
    for each in (runtime, machine.path.parent, machine.path):
        each.chmod(0o700)
    assert machine.machine()["name"] == "m"


# -- the end ----------------------------------------------------------------------------------------------------------


def test_clients_that_hang_do_not_hold_the_end(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.5)
    with ExitStack() as stack:
        with serving(launch(COM1)) as machine:
            for begin in (
                b"",
                b"GET /v1/ma",
                GET,
                b"POST /v1/save HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
                b"POST /v1/save HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            ):
                stack.enter_context(connect(machine)).sendall(begin)
            stack.enter_context(machine.console("com1")).sendall(b"typed, and never read")
            stack.enter_context(machine.console("com1")).shutdown(socket.SHUT_RD)
            stubborn = stack.enter_context(connect(machine))
            stubborn.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    stubborn.send(GET * 100)
            assert UnixHTTP(machine.path / "api.sock").timeout
        assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]
    assert "Traceback" not in caplog.text
    assert "Exception in ASGI application" not in caplog.text


def test_clients_in_mid_request_do_not_even_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE_SECONDS", 1000)
    monkeypatch.setattr(connections, "SECONDS", {})
    with ExitStack() as stack, serving(launch(COM1)) as machine:
        for begin in (b"", b"GET /v1/ma", GET, b"POST /v1/save HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"):
            stack.enter_context(connect(machine)).sendall(begin)
